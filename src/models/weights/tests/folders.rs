//! Files on a disk: maps, sets of files, and which of several copies is taken.

use std::fs;
use std::path::Path;

use super::super::{Container, Files};
use super::{error, named, pack};
use crate::models::place::Place;
use crate::pack::Pack;

/// Writes files of one tensor each, named as the file's sign says.
fn write(folder: &Path, files: &[(&str, &str)]) {
    for (file, tensor) in files {
        fs::write(folder.join(file), pack(&named(&[(tensor, &[2, 2])]), &[])).unwrap();
    }
}

fn index(folder: &Path, name: &str, map: &[(&str, &str)]) {
    let map: serde_json::Map<String, serde_json::Value> = map
        .iter()
        .map(|&(tensor, file)| (tensor.to_owned(), file.into()))
        .collect();
    let text = serde_json::json!({"metadata": {"total_size": 8}, "weight_map": map});
    fs::write(folder.join(name), text.to_string()).unwrap();
}

fn names(path: &Path) -> Vec<String> {
    let container = Container::open(path).unwrap();
    container.names().map(String::from).collect()
}

#[test]
fn a_mapped_file_holds_what_its_bytes_hold() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    // Larger than a page, so that tensors begin on different ones.
    let tensors = named(&[("a", &[3000]), ("b", &[5, 1000]), ("c", &[7])]);
    let bytes = pack(&tensors, &[("format", "pt")]);
    fs::write(&path, &bytes).unwrap();
    let mapped = Container::open(&path).unwrap();
    let memory = Container::from_bytes("a", bytes.clone()).unwrap();
    for (at, (name, shape)) in tensors.iter().enumerate() {
        let view = mapped.get(name).unwrap();
        assert_eq!(view, memory.get(name).unwrap());
        assert_eq!(view.shape, shape);
        assert_eq!(view.to_f32().unwrap()[0], at as f32);
    }
    assert_eq!(mapped.metadata()["format"], "pt");
    assert_eq!(mapped.metadata(), memory.metadata());
    for cut in [0, 5, 8, 40, bytes.len() - 1] {
        fs::write(&path, &bytes[..cut]).unwrap();
        let text = error(Container::open(&path));
        assert!(text.contains("cut off"), "{cut}: {text}");
    }
}

#[test]
fn full_precision_is_taken_before_half() {
    let order = [
        "diffusion_pytorch_model.safetensors",
        "model.safetensors",
        "diffusion_pytorch_model.fp16.safetensors",
        "model.fp16.safetensors",
    ];
    let folder = tempfile::tempdir().unwrap();
    for file in order.into_iter().rev() {
        write(folder.path(), &[(file, file)]);
        assert_eq!(names(folder.path()), [file]);
    }
}

#[test]
fn a_set_of_files_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (first, second) = (
        "m-00001-of-00002.safetensors",
        "m-00002-of-00002.safetensors",
    );
    write(path, &[(first, "a"), (second, "b")]);
    for name in [
        "diffusion_pytorch_model.safetensors.index.json",
        "model.safetensors.index.json",
        "model.safetensors.index.fp16.json",
        "model.fp16.safetensors.index.json",
    ] {
        index(path, name, &[("a", first), ("b", second)]);
        assert_eq!(names(path), ["a", "b"], "{name}");
        assert_eq!(names(&path.join(name)), ["a", "b"], "{name}");
        fs::remove_file(path.join(name)).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn links_lead_where_the_operator_wants() {
    let (store, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(store.path(), &[("blob", "a")]);
    let link = folder.path().join("part.safetensors");
    std::os::unix::fs::symlink(store.path().join("blob"), link).unwrap();
    let name = "model.safetensors.index.json";
    index(folder.path(), name, &[("a", "part.safetensors")]);
    assert_eq!(names(folder.path()), ["a"]);
}

#[test]
fn an_index_that_leads_elsewhere_or_lies_is_refused() {
    let outer = tempfile::tempdir().unwrap();
    write(outer.path(), &[("secret.safetensors", "a")]);
    let path = outer.path().join("model");
    fs::create_dir_all(path.join("sub")).unwrap();
    write(
        &path,
        &[("here.safetensors", "a"), ("sub/in.safetensors", "a")],
    );
    let absolute = outer
        .path()
        .join("secret.safetensors")
        .display()
        .to_string();
    let name = "model.safetensors.index.json";
    let elsewhere = "only .safetensors files of the same folder";
    for (tensor, file, reason) in [
        ("a", "../secret.safetensors", elsewhere),
        ("a", absolute.as_str(), elsewhere),
        ("a", "sub/in.safetensors", elsewhere),
        ("a", "sub\\in.safetensors", elsewhere),
        ("a", "", elsewhere),
        ("a", "..", elsewhere),
        ("a", "here.bin", elsewhere),
        ("a", "here\0.safetensors", elsewhere),
        ("a", "gone.safetensors", "which is not there"),
        ("b", "here.safetensors", "holds `b`, which it does not"),
    ] {
        index(&path, name, &[(tensor, file)]);
        for text in [
            error(Container::open(&path)),
            error(Container::open(&path.join(name))),
        ] {
            assert!(text.contains(reason), "{file}: {text}");
        }
    }
    for text in ["", "[]", "{}", "{\"weight_map\": {\"a\": 1}}"] {
        fs::write(path.join(name), text).unwrap();
        assert!(
            error(Container::open(&path)).contains("no index of files"),
            "{text}"
        );
    }
    let many: Vec<(String, String)> = (0..70)
        .map(|at| (at.to_string(), format!("{at}.safetensors")))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    for &(tensor, file) in &many {
        write(&path, &[(file, tensor)]);
    }
    index(&path, name, &many);
    assert!(error(Container::open(&path)).contains("more than 64 files"));
}

#[test]
fn a_folder_in_place_of_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("model.safetensors")).unwrap();
    assert!(error(Container::open(folder.path())).contains("no plain file"));
}

#[test]
fn what_was_opened_may_be_shared_by_threads() {
    fn check<T: Send + Sync>() {}
    check::<Container>();
    check::<Files>();
}

#[test]
fn a_folder_of_pickles_says_so() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pytorch_model.bin"), [0; 9]).unwrap();
    assert!(error(Container::open(folder.path())).contains("PyTorch pickle"));
}

#[test]
fn a_model_of_a_pack_is_read_where_it_lies_in_the_program() {
    let path = "Stable-diffusion/demo";
    let place = Place::Pack(Pack::Demo, String::from(path));
    let Files::Checkpoint(model) = Files::at(&place).unwrap() else {
        panic!("the demo pack has a checkpoint");
    };
    assert!(model.tokenizer.is_some());
    let side = model.native_side();
    assert!((8..=512).contains(&side), "{side}");
    let container = model.unet.container();
    let shown = "demo:Stable-diffusion/demo/unet/diffusion_pytorch_model.safetensors";
    assert_eq!(container.name(), shown);
    let file = format!("{path}/unet/diffusion_pytorch_model.safetensors");
    let bytes = Pack::Demo.file(&file).unwrap().bytes.as_ptr_range();
    for name in container.names() {
        let view = container.get(name).unwrap().bytes;
        assert!(bytes.contains(&view.as_ptr()), "{name} was copied");
    }
    let single = Container::at(&Place::Pack(Pack::Demo, file)).unwrap();
    assert!(single.names().eq(container.names()));
    for path in ["Stable-diffusion/none", "Stable-diffusion"] {
        let place = Place::Pack(Pack::Demo, String::from(path));
        assert!(Files::at(&place).is_err(), "{path}");
        assert!(error(Container::at(&place)).contains("no such file"));
    }
}
