//! Files that want to do harm, or were harmed.

use proptest::prelude::*;
use prost::Message;
use safetensors::SafeTensors;

use super::parity::{all, cases, fixture};
use crate::models::ModelError;
use crate::models::backend::Device;
use crate::models::onnx::wire::{self, attribute_kind, data_type};
use crate::models::onnx::{HostTensor, OnnxModel};

fn value(name: &str) -> wire::ValueInfo {
    let dim = wire::Dimension { dim_value: 0 };
    let shape = wire::TensorShape { dim: vec![dim; 4] };
    let tensor_type = wire::TensorType {
        elem_type: data_type::FLOAT,
        shape: Some(shape),
    };
    let r#type = Some(wire::Type {
        tensor_type: Some(tensor_type),
    });
    wire::ValueInfo {
        name: name.into(),
        r#type,
    }
}

fn node(op_type: &str, input: &[&str], output: &str) -> wire::Node {
    wire::Node {
        input: input.iter().map(ToString::to_string).collect(),
        output: vec![output.into()],
        name: format!("the {op_type}"),
        op_type: op_type.into(),
        ..Default::default()
    }
}

fn ints(name: &str, values: &[i64]) -> wire::Tensor {
    wire::Tensor {
        dims: vec![values.len() as i64],
        data_type: data_type::INT64,
        int64_data: values.to_vec(),
        name: name.into(),
        ..Default::default()
    }
}

fn model(node: Vec<wire::Node>, initializer: Vec<wire::Tensor>) -> wire::Model {
    wire::Model {
        opset_import: vec![wire::OperatorSet {
            domain: String::new(),
            version: 17,
        }],
        graph: Some(wire::Graph {
            node,
            initializer,
            input: vec![value("x")],
            output: vec![value("y")],
            sparse_initializer: vec![],
        }),
        functions: vec![],
    }
}

fn load(model: &wire::Model) -> Result<OnnxModel, ModelError> {
    OnnxModel::load(&model.encode_to_vec(), "bad.onnx", Device::Cpu)
}

fn refusal(model: &wire::Model) -> String {
    match load(model) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("the file was accepted"),
    }
}

/// Runs a model that loads on one pixel and returns why it failed.
fn failure(model: &wire::Model) -> String {
    let input = HostTensor {
        shape: vec![1, 1, 1, 1],
        data: vec![1.0],
    };
    match load(model).and_then(|model| model.run(vec![input])) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("the model ran"),
    }
}

#[test]
fn an_unknown_operator_is_named_with_its_node_and_file() {
    let error = refusal(&model(vec![node("Frobnicate", &["x"], "y")], vec![]));
    for part in ["bad.onnx", "Frobnicate", "the Frobnicate", "not supported"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn an_unknown_attribute_is_named_with_its_node_and_file() {
    let mut relu = node("Relu", &["x"], "y");
    relu.attribute.push(wire::Attribute {
        name: "ceiling".into(),
        kind: attribute_kind::FLOAT,
        ..Default::default()
    });
    let error = refusal(&model(vec![relu], vec![]));
    for part in ["bad.onnx", "the Relu", "`ceiling`"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn operators_of_other_domains_and_versions_are_refused() {
    let mut relu = node("Relu", &["x"], "y");
    relu.domain = "com.example".into();
    assert!(refusal(&model(vec![relu], vec![])).contains("com.example"));
    let mut old = model(vec![node("Relu", &["x"], "y")], vec![]);
    old.opset_import[0].version = 3;
    assert!(refusal(&old).contains("version 3"));
    old.opset_import.clear();
    assert!(refusal(&old).contains("no ONNX file"));
}

#[test]
fn cycles_and_missing_tensors_are_refused() {
    let cycle = model(
        vec![node("Add", &["x", "b"], "a"), node("Relu", &["a"], "b")],
        vec![],
    );
    assert!(refusal(&cycle).contains("cycle"));
    let itself = model(vec![node("Add", &["x", "y"], "y")], vec![]);
    assert!(refusal(&itself).contains("cycle"));
    let missing = model(vec![node("Conv", &["x", "weights"], "y")], vec![]);
    assert!(refusal(&missing).contains("`weights`"));
    let twice = model(
        vec![node("Relu", &["x"], "y"), node("Relu", &["x"], "y")],
        vec![],
    );
    assert!(refusal(&twice).contains("twice"));
    assert!(refusal(&model(vec![], vec![])).contains("`y`"));
}

#[test]
fn a_claim_is_held_against_the_bytes_before_memory_is_asked_for() {
    let mut tensor = ints("shape", &[1]);
    tensor.dims = vec![1 << 50];
    let error = refusal(&model(
        vec![node("Reshape", &["x", "shape"], "y")],
        vec![tensor.clone()],
    ));
    assert!(error.contains("claims"), "{error}");
    tensor.dims = vec![i64::MAX, i64::MAX, 4];
    let error = refusal(&model(
        vec![node("Reshape", &["x", "shape"], "y")],
        vec![tensor.clone()],
    ));
    assert!(error.contains("impossible"), "{error}");
    tensor.dims = vec![-1];
    let error = refusal(&model(
        vec![node("Reshape", &["x", "shape"], "y")],
        vec![tensor],
    ));
    assert!(error.contains("-1"), "{error}");
}

#[test]
fn results_beyond_all_measure_are_refused() {
    let huge = ints("huge", &[1 << 20, 1 << 20, 1 << 20, 4]);
    let expand = model(
        vec![node("Expand", &["x", "huge"], "y")],
        vec![huge.clone()],
    );
    assert!(failure(&expand).contains("too large"));
    let fill = [
        node("ConstantOfShape", &["huge"], "z"),
        node("Add", &["x", "z"], "y"),
    ];
    assert!(refusal(&model(fill.to_vec(), vec![huge])).contains("too large"));
    let pads = ints("pads", &[0, 0, 1 << 30, 1 << 30, 0, 0, 1 << 30, 1 << 30]);
    let pad = model(vec![node("Pad", &["x", "pads"], "y")], vec![pads]);
    assert!(failure(&pad).contains("too large"));
    let sizes = ints("sizes", &[1, 1, 1 << 40, 1]);
    let resize = model(
        vec![node("Resize", &["x", "", "", "sizes"], "y")],
        vec![sizes],
    );
    assert!(failure(&resize).contains("would make"));
    // Doubling again and again reaches the limit of all that is alive.
    let mut nodes = vec![node("Relu", &["x"], "v0")];
    for i in 0..40 {
        let (from, to) = (format!("v{i}"), format!("v{}", i + 1));
        let mut concat = node("Concat", &[&from, &from], &to);
        concat.attribute.push(wire::Attribute {
            name: "axis".into(),
            i: 3,
            kind: attribute_kind::INT,
            ..Default::default()
        });
        nodes.push(concat);
    }
    nodes.push(node("Relu", &["v40"], "y"));
    let error = failure(&model(nodes, vec![]));
    assert!(
        error.contains("too large") || error.contains("more memory"),
        "{error}"
    );
}

/// Floats in the file, all 1.
fn floats(name: &str, dims: &[i64]) -> wire::Tensor {
    wire::Tensor {
        dims: dims.to_vec(),
        data_type: data_type::FLOAT,
        float_data: vec![1.0; dims.iter().product::<i64>() as usize],
        name: name.into(),
        ..Default::default()
    }
}

fn with_int(mut node: wire::Node, name: &str, value: i64) -> wire::Node {
    node.attribute.push(wire::Attribute {
        name: name.into(),
        i: value,
        kind: attribute_kind::INT,
        ..Default::default()
    });
    node
}

fn with_ints(mut node: wire::Node, name: &str, values: &[i64]) -> wire::Node {
    node.attribute.push(wire::Attribute {
        name: name.into(),
        ints: values.to_vec(),
        kind: attribute_kind::INTS,
        ..Default::default()
    });
    node
}

#[test]
fn convolutions_that_do_not_fit_each_other_are_refused() {
    let pair = [
        node("Conv", &["x", "first"], "between"),
        with_int(node("Conv", &["between", "second"], "y"), "group", 16),
    ];
    for outputs in [8, 32] {
        let weights = vec![
            floats("first", &[outputs, 1, 1, 1]),
            floats("second", &[16, 1, 1, 1]),
        ];
        let error = failure(&model(pair.to_vec(), weights));
        let given = format!("takes 16 channels and was given {outputs}");
        assert!(error.contains(&given), "{error}");
    }
}

#[test]
fn blocks_beyond_all_measure_are_refused() {
    for operator in ["DepthToSpace", "SpaceToDepth"] {
        for side in [1 << 32, i64::MAX] {
            let deep = with_int(node(operator, &["x"], "y"), "blocksize", side);
            let error = refusal(&model(vec![deep], vec![]));
            assert!(error.contains("`blocksize`"), "{error}");
        }
    }
}

#[test]
fn an_axis_that_is_cut_twice_is_refused() {
    let slice = [
        node("Slice", &["list", "starts", "ends", "axes"], "part"),
        node("Reshape", &["x", "part"], "y"),
    ];
    let given = vec![
        ints("list", &[1; 10]),
        ints("starts", &[0, 5]),
        ints("ends", &[1, 10]),
        ints("axes", &[0, 0]),
    ];
    let error = refusal(&model(slice.to_vec(), given));
    assert!(error.contains("names an axis twice"), "{error}");
}

#[test]
fn tensors_without_numbers_claim_nothing_and_meet_no_pixels() {
    let huge = |dims: &[i64]| wire::Tensor {
        dims: dims.to_vec(),
        ..floats("none", &[0])
    };
    for dims in [
        &[0, 1 << 40][..],
        &[1 << 40, 0, 1 << 40],
        &[0, 1 << 30, 1 << 30, 16],
    ] {
        let sum = [
            node("ReduceSum", &["none"], "sum"),
            node("Add", &["x", "sum"], "y"),
        ];
        let error = refusal(&model(sum.to_vec(), vec![huge(dims)]));
        assert!(error.contains("impossible sizes"), "{error}");
    }
    // What is computed of nothing is refused as well, whoever does it.
    let of_nothing = |operator: &str, more: &[&str]| {
        let inputs = [&["none"], more].concat();
        let nodes = vec![node(operator, &inputs, "z"), node("Add", &["x", "z"], "y")];
        let statistics = more.iter().map(|name| floats(name, &[2]));
        let tensors = std::iter::once(huge(&[1, 2, 0, 3])).chain(statistics);
        match load(&model(nodes, tensors.collect())) {
            Err(error) => error.to_string(),
            Ok(model) => {
                let input = HostTensor {
                    shape: vec![1, 1, 1, 1],
                    data: vec![1.0],
                };
                model.run(vec![input]).unwrap_err().to_string()
            }
        }
    };
    for (operator, more) in [
        ("Softmax", &[][..]),
        ("ReduceMax", &[]),
        ("GlobalAveragePool", &[]),
        ("BatchNormalization", &["a", "b", "c", "d"]),
    ] {
        let error = of_nothing(operator, more);
        assert!(error.contains("bad.onnx"), "{operator}: {error}");
    }
    let expand = model(
        vec![node("Expand", &["x", "sizes"], "y")],
        vec![ints("sizes", &[1, 1, 0, 1])],
    );
    assert!(failure(&expand).contains("no numbers"));
}

#[test]
fn a_small_file_does_not_become_a_large_one_in_memory() {
    // One tensor under many names.
    let mut constant = node("Constant", &[], "v0");
    constant.output.extend((1..1000).map(|at| format!("v{at}")));
    constant.attribute.push(wire::Attribute {
        name: "value".into(),
        t: Some(floats("", &[8])),
        kind: attribute_kind::TENSOR,
        ..Default::default()
    });
    let add = node("Add", &["x", "v999"], "y");
    let error = refusal(&model(vec![constant, add], vec![]));
    assert!(error.contains("only its first output"), "{error}");
    // One large result after another.
    let mut nodes = vec![node("ConstantOfShape", &["sizes"], "v0")];
    for at in 0..100 {
        let (from, to) = (format!("v{at}"), format!("v{}", at + 1));
        nodes.push(node("Relu", &[&from], &to));
    }
    nodes.push(node("Add", &["x", "v100"], "y"));
    let error = refusal(&model(nodes, vec![ints("sizes", &[4096, 4096])]));
    assert!(error.contains("it and others make more than"), "{error}");
    // One set of weights that every convolution packs for itself.
    let mut nodes = Vec::new();
    let mut from = String::from("x");
    for at in 0..10_000 {
        let to = format!("v{at}");
        nodes.push(node("Conv", &[&from, "weights"], &to));
        from = to;
    }
    nodes.push(node("Relu", &[&from], "y"));
    let error = refusal(&model(nodes, vec![floats("weights", &[256, 256, 1, 1])]));
    assert!(error.contains("its convolutions need"), "{error}");
}

#[test]
fn a_border_beyond_all_measure_is_refused() {
    let wide = node("Expand", &["x", "sizes"], "wide");
    for operator in ["MaxPool", "AveragePool"] {
        let pool = node(operator, &["wide"], "y");
        let pool = with_ints(pool, "kernel_shape", &[1024, 1024]);
        let pool = with_ints(pool, "pads", &[1000; 4]);
        let sizes = ints("sizes", &[1, 1 << 16, 1, 1]);
        let error = failure(&model(vec![wide.clone(), pool], vec![sizes]));
        assert!(error.contains("too large"), "{error}");
    }
    let conv = node("Conv", &["wide", "weights"], "y");
    let conv = with_ints(conv, "pads", &[1024; 4]);
    let conv = with_int(conv, "group", 1 << 16);
    let tensors = vec![
        ints("sizes", &[1, 1 << 16, 1, 1]),
        floats("weights", &[1 << 16, 1, 1, 1]),
    ];
    let error = failure(&model(vec![wide, conv], tensors));
    assert!(error.contains("too large"), "{error}");
}

#[test]
fn what_only_training_has_is_refused() {
    let mut pool = with_ints(node("MaxPool", &["x"], "y"), "kernel_shape", &[1, 1]);
    pool.output.push("indices".into());
    let error = refusal(&model(vec![pool], vec![]));
    assert!(error.contains("only its first output"), "{error}");
    let training = wire::Tensor {
        data_type: data_type::BOOL,
        int32_data: vec![1],
        int64_data: vec![],
        ..ints("training", &[1])
    };
    let dropout = node("Dropout", &["x", "", "training"], "y");
    let error = refusal(&model(vec![dropout], vec![training]));
    assert!(error.contains("as in training"), "{error}");
    let pool = with_ints(node("AveragePool", &["x"], "y"), "kernel_shape", &[2, 2]);
    let pool = with_ints(pool, "dilations", &[2, 2]);
    let error = refusal(&model(vec![pool], vec![]));
    assert!(error.contains("not neighbours"), "{error}");
}

#[test]
fn an_input_of_unknown_rank_and_too_many_attributes_are_refused() {
    let mut vague = model(vec![node("Relu", &["x"], "y")], vec![]);
    let graph = vague.graph.as_mut().unwrap();
    let kind = graph.input[0].r#type.as_mut().unwrap();
    kind.tensor_type.as_mut().unwrap().shape = None;
    assert!(refusal(&vague).contains("how many axes"));
    let mut relu = node("Relu", &["x"], "y");
    for at in 0..100 {
        relu = with_int(relu, &format!("a{at}"), 1);
    }
    let error = refusal(&model(vec![relu], vec![]));
    assert!(error.contains("more than 64 attributes"), "{error}");
}

#[test]
fn more_parts_than_any_network_has_are_refused_before_they_are_decoded() {
    // Half a million empty nodes: two bytes each in the file, hundreds once decoded.
    let graph: Vec<u8> = [0x0a, 0x00].repeat(500_000);
    let mut bytes = vec![0x3a];
    prost::encoding::encode_varint(graph.len() as u64, &mut bytes);
    bytes.extend(graph);
    let error = OnnxModel::load(&bytes, "bad.onnx", Device::Cpu)
        .err()
        .map(|e| e.to_string());
    assert!(
        error.as_deref().unwrap_or("").contains("parts"),
        "{error:?}"
    );
}

#[test]
fn weights_in_other_files_stay_inside_the_folder_of_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("models");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(folder.path().join("secret.bin"), [0; 16]).unwrap();
    std::fs::write(inside.join("weights.bin"), 2f32.to_le_bytes().repeat(4)).unwrap();
    std::os::unix::fs::symlink("../secret.bin", inside.join("link.bin")).unwrap();
    let with = |location: &str, length: &str| {
        let entry = |key: &str, value: &str| wire::Entry {
            key: key.into(),
            value: value.into(),
        };
        let weights = wire::Tensor {
            dims: vec![4],
            data_type: data_type::FLOAT,
            name: "w".into(),
            data_location: 1,
            external_data: vec![entry("location", location), entry("length", length)],
            ..Default::default()
        };
        let model = model(vec![node("Mul", &["x", "w"], "y")], vec![weights]);
        let path = inside.join("model.onnx");
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        OnnxModel::open(&path, Device::Cpu)
    };
    let model = with("weights.bin", "16").unwrap();
    let input = HostTensor {
        shape: vec![1, 1, 1, 1],
        data: vec![3.0],
    };
    assert_eq!(model.run(vec![input]).unwrap()[0].data, [6.0; 4]);
    let outside = folder.path().join("secret.bin").display().to_string();
    for location in ["../secret.bin", outside.as_str(), "link.bin", ""] {
        let error = with(location, "16")
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains("outside the folder"), "{location}: {error}");
    }
    for length in ["17", "99999999999999", "many"] {
        assert!(with("weights.bin", length).is_err(), "{length}");
    }
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused_and_does_no_harm() {
    let bytes = fixture("onnx_operators.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("conv_3x3/model").unwrap();
    let whole = tensor.data();
    assert!(OnnxModel::load(whole, "whole.onnx", Device::Cpu).is_ok());
    for length in 0..whole.len() {
        // A cut between two fields of the outermost message may leave a file that is whole.
        let _ = OnnxModel::load(&whole[..length], "cut.onnx", Device::Cpu);
    }
    for length in [0, 1, whole.len() / 2] {
        assert!(
            OnnxModel::load(&whole[..length], "cut.onnx", Device::Cpu).is_err(),
            "{length}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Damaged files are refused, or run and fail, or run: nothing of it panics.
    #[test]
    fn damaged_files_never_panic(
        case in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let bytes = fixture("onnx_operators.safetensors");
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let cases = cases(&file);
        let case = case.get(&cases);
        let mut model = file.tensor(&format!("{case}/model")).unwrap().data().to_vec();
        for (at, value) in damage {
            let at = at.index(model.len());
            model[at] = value;
        }
        if let Ok(model) = OnnxModel::load(&model, "damaged.onnx", Device::Cpu) {
            let _ = model.run(all(&file, case, "in"));
        }
    }

    /// Noise is refused.
    #[test]
    fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(OnnxModel::load(&noise, "noise.onnx", Device::Cpu).is_err());
    }
}
