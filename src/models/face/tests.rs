mod demo_pack;

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use safetensors::SafeTensors;

use super::detector::{Decode, STRIDES};
use super::scrfd::Scrfd;
use super::suppress::suppress;
use super::yunet::YuNet;
use super::*;
use crate::imaging::samples::shared_photos;
use crate::models::onnx::{HostTensor, Port};

/// Names and row lengths of YuNet's outputs, in the order of its files.
fn yunet_outputs() -> Vec<(String, usize)> {
    let kinds = [("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)];
    kinds
        .iter()
        .flat_map(|(kind, channels)| STRIDES.map(|stride| (format!("{kind}_{stride}"), *channels)))
        .collect()
}

fn port(name: &str, dims: &[Option<usize>]) -> Port {
    Port {
        name: name.into(),
        dims: dims.to_vec(),
    }
}

fn yunet() -> YuNet {
    let outputs = yunet_outputs();
    let ports = outputs
        .iter()
        .map(|(name, channels)| port(name, &[None, None, Some(*channels)]));
    YuNet::new(&ports.collect::<Vec<_>>()).unwrap()
}

fn scrfd() -> Scrfd {
    let ports: Vec<Port> = [1, 4, 10]
        .iter()
        .flat_map(|channels| STRIDES.map(|_| port("448", &[None, Some(*channels)])))
        .collect();
    Scrfd::new(&ports).unwrap()
}

/// A tensor of zeros with `rows` rows.
fn zeros(rows: usize, channels: usize) -> HostTensor {
    HostTensor {
        shape: vec![1, rows, channels],
        data: vec![0.0; rows * channels],
    }
}

/// The golden outputs folder of the test data.
fn golden(test: &str) -> Option<PathBuf> {
    let photos = shared_photos(test)?;
    Some(photos.parent()?.join("golden"))
}

fn read_tensors(file: &Path, names: &[(String, usize)]) -> Vec<HostTensor> {
    let bytes = std::fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let read = |name: &str| {
        let tensor = tensors.tensor(name).unwrap();
        let words = tensor.data().chunks_exact(4);
        HostTensor {
            shape: tensor.shape().to_vec(),
            data: words
                .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
                .collect(),
        }
    };
    names.iter().map(|(name, _)| read(name)).collect()
}

#[test]
fn golden_outputs_of_yunet_give_the_golden_face() {
    let Some(golden) = golden("golden_outputs_of_yunet_give_the_golden_face") else {
        return;
    };
    let file = golden.join("tensors/yunet_astronaut_outputs.safetensors");
    let outputs = read_tensors(&file, &yunet_outputs());
    let candidates = yunet().candidates(&outputs, [512, 512], 0.6).unwrap();
    assert!(candidates.len() > 1, "several cells see the face");
    let faces = suppress(candidates, 0.3);
    let text = std::fs::read_to_string(golden.join("detection.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = expected["images"]["images/persons/s05/01.png"]["yunet"]
        .as_array()
        .unwrap();
    assert_eq!(faces.len(), expected.len());
    for (face, expected) in faces.iter().zip(expected) {
        let near = |found: f32, golden: &serde_json::Value, most: f64| {
            let golden = golden.as_f64().unwrap();
            assert!(
                (f64::from(found) - golden).abs() <= most,
                "{found} and {golden}"
            );
        };
        near(face.score, &expected["score"], 2e-5);
        let Bounds {
            left,
            top,
            right,
            bottom,
        } = face.bounds;
        for (at, side) in [left, top, right, bottom].into_iter().enumerate() {
            near(side, &expected["box"][at], 0.01);
        }
        for (at, point) in face.points.iter().enumerate() {
            near(point[0], &expected["landmarks"][at][0], 0.01);
            near(point[1], &expected["landmarks"][at][1], 0.01);
        }
    }
}

#[test]
fn a_cell_of_yunet_is_read_as_defined() {
    // A picture of 64 x 32: the grid of 16 has 4 columns and 2 rows; cell 6 is column 2 of row 1.
    let mut outputs: Vec<HostTensor> = Vec::new();
    for (name, channels) in yunet_outputs() {
        let stride: usize = name.split('_').nth(1).unwrap().parse().unwrap();
        outputs.push(zeros((64 / stride) * (32 / stride), channels));
    }
    outputs[1].data[6] = 0.9;
    outputs[4].data[6] = 0.4;
    outputs[7].data[24..28].copy_from_slice(&[0.5, -0.25, 1.0, 0.0]);
    outputs[10].data[60..62].copy_from_slice(&[0.25, 0.5]);
    let faces = yunet().candidates(&outputs, [64, 32], 0.59).unwrap();
    assert_eq!(faces.len(), 1);
    let face = faces[0];
    assert!((face.score - 0.6).abs() < 1e-6);
    let half = 8.0 * 1.0_f32.exp();
    let expected = Bounds {
        left: 40.0 - half,
        top: 4.0,
        right: 40.0 + half,
        bottom: 20.0,
    };
    assert_eq!(face.bounds, expected);
    assert_eq!(face.points[0], [36.0, 24.0]);
    assert_eq!(face.points[4], [32.0, 16.0]);
}

#[test]
fn an_anchor_of_scrfd_is_read_as_defined_in_any_order_of_outputs() {
    // The same grid with two anchors for each cell; anchor 13 is the second one of cell 6.
    let mut outputs = Vec::new();
    for channels in [1, 4, 10] {
        for stride in STRIDES {
            let mut output = zeros(2 * (64 / stride) * (32 / stride), channels);
            if stride == 16 {
                match channels {
                    1 => output.data[13] = 0.7,
                    4 => output.data[52..56].copy_from_slice(&[1.0, 0.5, 2.0, 0.25]),
                    _ => output.data[130..132].copy_from_slice(&[0.5, -0.5]),
                }
            }
            // Some files leave out the batch.
            output.shape.remove(0);
            outputs.push(output);
        }
    }
    for turn in 0..outputs.len() {
        outputs.rotate_left(turn);
        let faces = scrfd().candidates(&outputs, [64, 32], 0.5).unwrap();
        assert_eq!(faces.len(), 1);
        let expected = Bounds {
            left: 16.0,
            top: 8.0,
            right: 64.0,
            bottom: 20.0,
        };
        assert_eq!(faces[0].bounds, expected);
        assert_eq!(faces[0].points[0], [40.0, 8.0]);
        assert_eq!(faces[0].points[1], [32.0, 16.0]);
    }
}

#[test]
fn networks_with_other_outputs_are_refused() {
    let mut ports: Vec<Port> = yunet_outputs()
        .iter()
        .map(|(name, channels)| port(name, &[None, None, Some(*channels)]))
        .collect();
    ports[7].dims[2] = Some(5);
    let reason = YuNet::new(&ports).err().unwrap();
    assert!(reason.contains("bbox_16"), "{reason}");
    ports.remove(11);
    ports[7].dims[2] = None;
    let reason = YuNet::new(&ports).err().unwrap();
    assert!(reason.contains("kps_32"), "{reason}");
    let some = |count: usize, channels| vec![port("448", &[None, Some(channels)]); count];
    for (ports, words) in [
        (some(6, 1), "without points"),
        (some(5, 1), "5 outputs"),
        (some(9, 1), "rows of 4 numbers"),
    ] {
        let reason = Scrfd::new(&ports).err().unwrap();
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn outputs_of_another_size_are_an_error() {
    let small: Vec<HostTensor> = yunet_outputs()
        .iter()
        .map(|(_, channels)| zeros(1, *channels))
        .collect();
    for decode in [&yunet() as &dyn Decode, &scrfd()] {
        assert!(decode.candidates(&small, [64, 64], 0.5).is_err());
        assert!(decode.candidates(&[], [64, 64], 0.5).is_err());
    }
}

#[test]
fn a_score_that_is_no_number_is_an_error() {
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut outputs: Vec<HostTensor> = yunet_outputs()
            .iter()
            .map(|(name, channels)| {
                let stride: usize = name.split('_').nth(1).unwrap().parse().unwrap();
                zeros((32 / stride) * (32 / stride), *channels)
            })
            .collect();
        outputs[0].data[3] = wrong;
        let error = yunet().candidates(&outputs, [32, 32], 0.5).unwrap_err();
        assert!(error.contains("not finite"), "{error}");
    }
}

/// Any number that a network may give.
fn any_number() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -3.0..3.0_f32,
        1 => any::<f32>(),
        1 => Just(f32::NAN),
        1 => Just(f32::INFINITY),
        1 => Just(90.0_f32),
    ]
}

proptest! {
    #[test]
    fn hostile_outputs_never_panic_and_never_give_what_is_not_finite(
        numbers in prop::collection::vec(any_number(), 1..200),
        (columns, rows) in (1..4_usize, 1..4_usize),
        wrong in prop::option::of((0..12_usize, 0..9_usize)),
        tame_scores in any::<bool>(),
    ) {
        let (width, height) = (32 * columns, 32 * rows);
        for (decode, anchors) in [(&yunet() as &dyn Decode, 1), (&scrfd(), 2)] {
            let mut outputs: Vec<HostTensor> = yunet_outputs()
                .iter()
                .map(|(name, channels)| {
                    let stride: usize = name.split('_').nth(1).unwrap().parse().unwrap();
                    let mut output = zeros(anchors * (width / stride) * (height / stride), *channels);
                    for (at, value) in output.data.iter_mut().enumerate() {
                        *value = numbers[(at * 7 + channels) % numbers.len()];
                        if *channels == 1 && tame_scores {
                            *value = if at % 5 == 0 { 1.0 } else { 0.0 };
                        }
                    }
                    output
                })
                .collect();
            if let Some((output, length)) = wrong {
                outputs[output].data.truncate(length);
            }
            if let Ok(faces) = decode.candidates(&outputs, [width, height], 0.5) {
                for face in suppress(faces, 0.3) {
                    prop_assert!(face.is_finite());
                    let Pose { roll, yaw, pitch } = Pose::of(&face.points);
                    prop_assert!(roll.is_finite() && yaw.is_finite() && pitch.is_finite());
                }
            }
        }
    }
}
