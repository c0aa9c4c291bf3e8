//! Checkpoints of a pack beside the files of a data folder.

use super::*;
use crate::{
    models::{
        catalog::{Catalog, Identity},
        supply::PackRule,
    },
    pack::Pack,
};

/// A library of a data folder with a rule about the demo pack.
fn library(home: &Home, rule: PackRule) -> Library<Arc<FakeLoader>> {
    let supply = Supply::new(home.folder.path(), rule);
    Library::new(supply, Arc::clone(&home.loader), 1 << 30)
}

fn names(library: &Library<Arc<FakeLoader>>, kind: Kind) -> Vec<String> {
    let all = library.list(kind).into_iter();
    all.map(|listed| listed.file_name).collect()
}

#[test]
fn a_pack_gives_its_checkpoint_alone_and_leaves_all_else_to_the_folder() {
    let home = Home::new();
    for kind in Kind::ALL {
        home.put(kind, "mine.safetensors", "abc");
    }
    home.put(Kind::Checkpoint, "mine.vae.safetensors", "abc");
    let library = library(&home, PackRule::Always(Pack::Demo));
    assert_eq!(names(&library, Kind::Checkpoint), ["demo"]);
    for kind in Kind::ALL
        .into_iter()
        .filter(|kind| *kind != Kind::Checkpoint)
    {
        let is_there = names(&library, kind).contains(&String::from("mine.safetensors"));
        assert!(is_there, "{kind}");
    }
    assert_eq!(names(&library, Kind::Vae).len(), 2);
    assert_eq!(home.names(Kind::Checkpoint), ["mine.safetensors"]);
}

#[test]
fn a_checkpoint_of_a_pack_has_name_title_size_and_hash_like_any_other() {
    let home = Home::new();
    let library = library(&home, PackRule::Always(Pack::Demo));
    let [demo] = &library.list(Kind::Checkpoint)[..] else {
        panic!("there is one");
    };
    let catalog = Catalog::built_in();
    let entry = catalog.find("demo").unwrap();
    assert_eq!(demo.place, entry.place(home.folder.path()));
    assert_eq!((demo.name.as_str(), demo.stem()), ("demo", "demo"));
    assert_eq!(Some(demo.bytes), entry.size);
    // It is known without having been asked for.
    let hash = library.known_sha256(demo).unwrap();
    assert_eq!(library.sha256(demo, &mut never).unwrap(), hash);
    assert_eq!(Some(hash.to_string()), entry.sha256);
    assert_eq!(Identity::at(&demo.place).unwrap().sha256, hash.to_string());
    assert_eq!(library.title(demo), format!("demo [{}]", hash.short()));
    for text in ["demo", "DEMO", &library.title(demo), &hash.short()] {
        let found = library.find_checkpoint(Some(text)).unwrap();
        assert_eq!(found.listed, *demo, "{text}");
    }
    assert!(!home.folder.path().join("webui").exists());
}

#[test]
fn what_comes_into_an_empty_folder_takes_the_place_of_the_pack() {
    let home = Home::new();
    let library = library(&home, PackRule::WhileEmpty(Pack::Demo));
    let demo = library.find_checkpoint(None).unwrap().listed;
    assert_eq!(demo.file_name, "demo");
    let path = home.put(Kind::Checkpoint, "mine.safetensors", "abc");
    assert_eq!(names(&library, Kind::Checkpoint), ["mine.safetensors"]);
    assert!(library.find_checkpoint(Some("demo")).is_err());
    fs::remove_file(path).unwrap();
    assert_eq!(library.find_checkpoint(None).unwrap().listed, demo);
}

#[test]
fn what_is_built_in_is_asked_of_the_loader_by_its_place() {
    let home = Home::new();
    let library = library(&home, PackRule::Always(Pack::Demo));
    let demo = library.find_checkpoint(None).unwrap().listed;
    let error = library.painter(&demo, None).unwrap_err();
    assert!(
        error.to_string().contains("demo:Stable-diffusion/demo"),
        "{error}"
    );
    let gone = Listed {
        place: Place::Pack(Pack::Demo, String::from("Stable-diffusion/other")),
        ..demo
    };
    let error = library.painter(&gone, None).unwrap_err();
    assert!(matches!(error, LoadError::Gone { .. }), "{error}");
}
