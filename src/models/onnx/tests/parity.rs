//! The engine against onnxruntime, whose answers stand in `tests/reference/fixtures`.

use burn::Dispatch;
use burn::backend::Flex;
use burn::backend::flex::FlexDevice;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::models::backend::Device;
use crate::models::onnx::engine::Engine;
use crate::models::onnx::kernels::Kernels;
use crate::models::onnx::{HostTensor, read};

pub fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/fixtures/");
    std::fs::read(format!("{folder}{name}")).expect("the fixture is part of the repository")
}

fn host(view: &TensorView<'_>) -> HostTensor {
    let data = view
        .data()
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    HostTensor {
        shape: view.shape().to_vec(),
        data: data.collect(),
    }
}

/// All tensors `<case>/<kind>/<i>/...` in the order of `i`.
pub fn all(file: &SafeTensors<'_>, case: &str, kind: &str) -> Vec<HostTensor> {
    let prefix = format!("{case}/{kind}/");
    let mut found: Vec<(usize, HostTensor)> = file
        .iter()
        .filter_map(|(name, view)| {
            let index = name
                .strip_prefix(&prefix)?
                .split('/')
                .next()?
                .parse()
                .ok()?;
            Some((index, host(&view)))
        })
        .collect();
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, tensor)| tensor).collect()
}

pub fn cases(file: &SafeTensors<'_>) -> Vec<String> {
    let mut names: Vec<String> = file
        .names()
        .into_iter()
        .filter_map(|name| name.strip_suffix("/model"))
        .map(Into::into)
        .collect();
    names.sort();
    names
}

/// What is wrong with one case on one backend.
fn compare<B: Kernels>(
    file: &SafeTensors<'_>,
    case: &str,
    device: B::Device,
) -> Result<(), String> {
    let model = file.tensor(&format!("{case}/model")).unwrap();
    let graph =
        read(model.data().to_vec().into(), case, None).map_err(|error| error.to_string())?;
    let engine = Engine::<B>::new(graph, device).map_err(|error| error.to_string())?;
    let expected = all(file, case, "out");
    // Twice: the second run finds memory that the first one has used.
    for _ in 0..2 {
        let outputs = engine
            .run(all(file, case, "in"))
            .map_err(|error| error.to_string())?;
        assert_eq!(outputs.len(), expected.len(), "{case}");
        for (output, expected) in outputs.iter().zip(&expected) {
            if output.shape != expected.shape {
                return Err(format!(
                    "{:?} instead of {:?}",
                    output.shape, expected.shape
                ));
            }
            let scale = expected
                .data
                .iter()
                .fold(1e-3_f32, |scale, x| scale.max(x.abs()));
            let pairs = output.data.iter().zip(&expected.data);
            let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, |worst, x| {
                if x > worst || x.is_nan() { x } else { worst }
            });
            if !(worst <= 2e-5 * scale) {
                return Err(format!("differs by {worst} of {scale}"));
            }
        }
    }
    Ok(())
}

fn compare_all(name: &str) {
    let bytes = fixture(name);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let cases = cases(&file);
    assert!(!cases.is_empty());
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(reason) = compare::<Flex>(&file, case, FlexDevice) {
            wrong.push(format!("{case} with the kernels of the CPU: {reason}"));
        }
        if let Err(reason) = compare::<Dispatch>(&file, case, Device::Cpu.dispatch()) {
            wrong.push(format!("{case} with Burn's own: {reason}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        2 * cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn operators_agree_with_onnxruntime() {
    compare_all("onnx_operators.safetensors");
}

#[test]
fn networks_agree_with_onnxruntime() {
    compare_all("onnx_networks.safetensors");
}
