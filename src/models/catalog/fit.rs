//! Whether a file holds a network that its entry describes.

use std::path::Path;

use super::{DetectorKind, Entry, Role};
use crate::models::{
    ModelError,
    backend::Device,
    onnx::{OnnxModel, Port},
};

/// The three grids of a detector have a cell for each of so many pixels.
const GRIDS: [u32; 3] = [8, 16, 32];
/// SCRFD's outputs: score, box and points for each grid.
const SCRFD_OUTPUTS: usize = 9;

/// Loads the network of a file and holds its inputs and outputs against what the entry says.
pub fn check_network(entry: &Entry, path: &Path) -> Result<(), ModelError> {
    let network = OnnxModel::open(path, Device::Cpu)?;
    fits(entry, network.inputs(), network.outputs()).map_err(|reason| ModelError::Refused {
        file: entry.file.clone(),
        reason,
    })
}

/// Holds ports against an entry. Sizes that the file leaves open fit everything.
fn fits(entry: &Entry, inputs: &[Port], outputs: &[Port]) -> Result<(), String> {
    let role = entry.role;
    let [input] = inputs else {
        return Err(format!(
            "it has {} inputs, and a {role} has one picture",
            inputs.len()
        ));
    };
    picture(entry, &input.dims)?;
    match entry.detector {
        Some(DetectorKind::YuNet) => {
            for grid in GRIDS {
                for kind in ["cls", "obj", "bbox", "kps"] {
                    let name = format!("{kind}_{grid}");
                    if !outputs.iter().any(|port| port.name == name) {
                        return Err(format!(
                            "it has no output `{name}`, which every YuNet with five points has"
                        ));
                    }
                }
            }
            Ok(())
        }
        Some(DetectorKind::Scrfd) if outputs.len() != SCRFD_OUTPUTS => Err(format!(
            "it has {} outputs, and a SCRFD with five points has {SCRFD_OUTPUTS}",
            outputs.len()
        )),
        Some(DetectorKind::Scrfd) => Ok(()),
        None => numbers(role, entry.embedding_length.unwrap_or(1), outputs),
    }
}

/// The input has to be batches of pictures of the entry's size: `[N, 3, height, width]`.
fn picture(entry: &Entry, dims: &[Option<usize>]) -> Result<(), String> {
    let [_, channels, height, width] = dims else {
        return Err(format!(
            "its input has {} dimensions, and a batch of pictures has four",
            dims.len()
        ));
    };
    if channels.is_some_and(|channels| channels != 3) {
        return Err(String::from(
            "its input has not the three channels of a colour picture",
        ));
    }
    match (entry.preprocess.size, width, height) {
        (None, None, None) => Ok(()),
        (None, ..) => Err(String::from(
            "it takes pictures of one size, and the list says any; give `preprocess.size`",
        )),
        (Some([w, h]), width, height) => {
            let matches =
                |side: &Option<usize>, wanted: u32| side.is_none_or(|side| side == wanted as usize);
            if matches(width, w) && matches(height, h) {
                return Ok(());
            }
            Err(format!(
                "its pictures have not the {w}x{h} pixels of `preprocess.size`"
            ))
        }
    }
}

/// There has to be one output with so many numbers for each picture.
fn numbers(role: Role, length: usize, outputs: &[Port]) -> Result<(), String> {
    let [output] = outputs else {
        return Err(format!(
            "it has {} outputs, and a {role} has one",
            outputs.len()
        ));
    };
    // The first dimension is the batch; without a known one the first run will tell.
    let found: Option<usize> = output.dims.iter().skip(1).copied().product();
    if output.dims.is_empty() || found.is_none_or(|found| found == length) {
        return Ok(());
    }
    Err(format!(
        "it gives {} numbers for a face, and the list says {length}",
        found.unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::catalog::Catalog;

    type Sizes = &'static [usize];
    /// Inputs, named outputs, and a word of the refusal.
    type Case = (
        &'static [Sizes],
        &'static [(&'static str, Sizes)],
        &'static str,
    );

    fn port(name: &str, dims: &[usize]) -> Port {
        Port {
            name: name.to_owned(),
            // 0 stands for any size here.
            dims: dims
                .iter()
                .map(|dim| Some(*dim).filter(|dim| *dim > 0))
                .collect(),
        }
    }

    fn judge(name: &str, inputs: &[&[usize]], outputs: &[(&str, &[usize])]) -> Result<(), String> {
        let catalog = Catalog::built_in();
        let inputs: Vec<Port> = inputs.iter().map(|dims| port("input", dims)).collect();
        let outputs: Vec<Port> = outputs
            .iter()
            .map(|(name, dims)| port(name, dims))
            .collect();
        fits(catalog.find(name).unwrap(), &inputs, &outputs)
    }

    #[test]
    fn an_embedding_has_one_picture_and_its_length() {
        let good: [(&[usize], &[usize]); 4] = [
            (&[0, 3, 112, 112], &[0, 128]),
            (&[1, 3, 112, 112], &[1, 128, 1, 1]),
            (&[1, 3, 0, 0], &[0, 0]),
            (&[1, 0, 112, 0], &[]),
        ];
        for (input, output) in good {
            let judged = judge("mobilefacenet", &[input], &[("embedding", output)]);
            assert_eq!(judged, Ok(()), "{input:?} {output:?}");
        }
        let bad: [Case; 7] = [
            (&[], &[("e", &[0, 128])], "0 inputs"),
            (&[&[0, 3, 112, 112], &[1]], &[("e", &[0, 128])], "2 inputs"),
            (&[&[0, 3, 112]], &[("e", &[0, 128])], "3 dimensions"),
            (&[&[0, 1, 112, 112]], &[("e", &[0, 128])], "three channels"),
            (&[&[0, 3, 112, 96]], &[("e", &[0, 128])], "112x112"),
            (&[&[0, 3, 112, 112]], &[], "0 outputs"),
            (&[&[0, 3, 112, 112]], &[("e", &[0, 512])], "512 numbers"),
        ];
        for (inputs, outputs, word) in bad {
            let text = judge("mobilefacenet", inputs, outputs).unwrap_err();
            assert!(text.contains(word), "{word}: {text}");
        }
    }

    #[test]
    fn a_detector_has_the_outputs_of_its_kind() {
        let names = ["cls", "obj", "bbox", "kps"]
            .map(|kind| GRIDS.map(|grid| format!("{kind}_{grid}")))
            .concat();
        let outputs: Vec<(&str, &[usize])> =
            names.iter().map(|name| (name.as_str(), &[][..])).collect();
        let any: &[usize] = &[0, 3, 0, 0];
        let fixed: &[usize] = &[1, 3, 640, 640];
        assert_eq!(judge("yunet", &[any], &outputs), Ok(()));
        assert_eq!(judge("yunet-2023mar", &[fixed], &outputs), Ok(()));
        assert_eq!(judge("scrfd-10g", &[any], &outputs[..9]), Ok(()));
        let text = judge("yunet", &[fixed], &outputs).unwrap_err();
        assert!(text.contains("preprocess.size"), "{text}");
        let text = judge("yunet", &[any], &outputs[..11]).unwrap_err();
        assert!(text.contains("`kps_32`"), "{text}");
        let text = judge("scrfd-10g", &[any], &outputs[..6]).unwrap_err();
        assert!(text.contains("6 outputs"), "{text}");
    }

    #[test]
    fn a_quality_is_one_number() {
        let input: &[usize] = &[0, 3, 96, 96];
        assert_eq!(judge("lightqnet", &[input], &[("score", &[0, 1])]), Ok(()));
        assert_eq!(judge("lightqnet", &[input], &[("score", &[1])]), Ok(()));
        assert!(judge("lightqnet", &[input], &[("score", &[0, 2])]).is_err());
    }
}
