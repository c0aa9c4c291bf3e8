//! Which files are listed, and by which names.

use std::os::unix::fs::symlink;

use super::*;

#[test]
fn folders_that_are_missing_hold_nothing() {
    let home = Home::new();
    for kind in Kind::ALL {
        assert_eq!(home.library.scan(kind), Listing::default(), "{kind}");
    }
}

#[test]
fn each_kind_has_its_folder_and_the_webuis_name() {
    let home = Home::new();
    let places = [
        (Kind::Checkpoint, "models/Stable-diffusion", "sub_a.b"),
        (Kind::Lora, "models/Lora", "a.b"),
        (Kind::Vae, "models/VAE", "a.b"),
        (Kind::ControlNet, "models/ControlNet", "a.b"),
        (Kind::Embedding, "embeddings", "a.b"),
        (Kind::Taesd, "models/VAE-approx", "a.b"),
        (Kind::Upscaler, "models/ESRGAN", "a.b"),
    ];
    for (kind, folder, name) in places {
        let path = home.put(kind, "sub/a.b.safetensors", "12345");
        assert!(path.starts_with(home.folder.path().join("webui").join(folder)));
        let listed = home.listed(kind, "sub/a.b.safetensors");
        assert_eq!(listed.name, name);
        assert_eq!((listed.kind, listed.bytes), (kind, 5));
        assert_eq!(path_of(&listed), path);
        assert_eq!(listed.title(None), "sub/a.b.safetensors");
        assert_eq!(listed.short_title(None), "a.b");
        let hash: FileHash = "0123456789abcdef".repeat(4).parse().unwrap();
        assert_eq!(
            listed.title(Some(&hash)),
            "sub/a.b.safetensors [0123456789]"
        );
        assert_eq!(listed.short_title(Some(&hash)), "a.b [0123456789]");
    }
}

#[test]
fn names_are_sorted_without_regard_to_capitals() {
    let home = Home::new();
    for name in ["b", "C", "a", "B"] {
        home.put(Kind::Lora, &format!("{name}.safetensors"), "x");
    }
    assert_eq!(
        home.names(Kind::Lora),
        [
            "a.safetensors",
            "B.safetensors",
            "b.safetensors",
            "C.safetensors"
        ]
    );
}

#[test]
fn hidden_files_and_downloads_that_are_not_done_are_left_out() {
    let home = Home::new();
    for name in [
        "good.SafeTensors",
        ".hidden.safetensors",
        ".cache/a.safetensors",
        "a.safetensors.part",
        "b.safetensors.crdownload",
        "c.safetensors.unchecked",
        "d.safetensors.tmp",
        "e.safetensors",
        "e.safetensors.aria2",
        "two\nlines.safetensors",
        "notes.txt",
        "safetensors",
    ] {
        home.put(Kind::Checkpoint, name, "x");
    }
    home.put(Kind::Checkpoint, "empty.safetensors", "");
    let listing = home.library.scan(Kind::Checkpoint);
    let names: Vec<_> = listing.files.iter().map(|file| &file.file_name).collect();
    assert_eq!(names, ["good.SafeTensors"]);
    assert_eq!(listing.files[0].name, "good");
    assert!(listing.refused.is_empty() && listing.notes.is_empty());
}

#[test]
fn pickles_are_refused_with_what_to_do() {
    let home = Home::new();
    for name in ["sub/a.ckpt", "b.PT", "c.bin", "d.pth", "e.pkl"] {
        home.put(Kind::Embedding, name, "x");
    }
    let listing = home.library.scan(Kind::Embedding);
    assert!(listing.files.is_empty());
    let names: Vec<_> = listing
        .refused
        .iter()
        .map(|file| &*file.file_name)
        .collect();
    assert_eq!(names, ["b.PT", "c.bin", "d.pth", "e.pkl", "sub/a.ckpt"]);
    assert!(listing.refused[0].hint.contains(".safetensors"));
}

#[test]
fn the_folder_of_a_whole_model_is_one_checkpoint() {
    let home = Home::new();
    home.put(Kind::Checkpoint, "my/sd-v1.5/model_index.json", "{}");
    home.put(Kind::Checkpoint, "my/sd-v1.5/.cache/x", "hidden");
    let weights = "my/sd-v1.5/unet/diffusion_pytorch_model.safetensors";
    let weights = home.put(Kind::Checkpoint, weights, "12345678");
    set_changed(&weights, 4_000_000_000);
    home.put(Kind::Checkpoint, "my/sd-v1.5/vae/a.ckpt", "x");
    let listing = home.library.scan(Kind::Checkpoint);
    let [model] = &listing.files[..] else {
        panic!("{listing:?}");
    };
    assert_eq!(model.file_name, "my/sd-v1.5");
    assert_eq!(model.name, "my_sd-v1.5");
    assert_eq!(model.bytes, 11);
    assert_eq!(
        model.changed,
        SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)
    );
    assert!(listing.refused.is_empty());
}

#[test]
fn the_folder_of_one_network_is_one_model_of_its_kind() {
    let home = Home::new();
    for kind in [Kind::Vae, Kind::ControlNet, Kind::Taesd, Kind::Lora] {
        home.put(kind, "canny/config.json", "{}");
        home.put(kind, "canny/diffusion_pytorch_model.safetensors", "x");
        home.put(kind, "other/config.json", "{}");
        home.put(kind, "other/a.safetensors", "x");
    }
    for kind in [Kind::Vae, Kind::ControlNet, Kind::Taesd] {
        assert_eq!(home.names(kind), ["canny", "other/a.safetensors"], "{kind}");
    }
    assert_eq!(home.names(Kind::Lora).len(), 2);
}

#[test]
fn a_vae_beside_a_checkpoint_is_a_vae_and_no_checkpoint() {
    let home = Home::new();
    let model = home.put_listed(Kind::Checkpoint, "model.safetensors", "x");
    assert_eq!(home.library.vae_of(&model), None);
    home.put(Kind::Checkpoint, "model.vae.safetensors", "x");
    home.put(Kind::Checkpoint, "old.vae.pt", "x");
    home.put(Kind::Checkpoint, "old.ckpt", "x");
    home.put(Kind::Checkpoint, "folder/model_index.json", "{}");
    home.put(Kind::Vae, "other.safetensors", "x");
    home.put(Kind::Vae, "model-2.safetensors", "x");
    assert_eq!(
        home.names(Kind::Vae),
        [
            "model-2.safetensors",
            "model.vae.safetensors",
            "other.safetensors"
        ]
    );
    assert_eq!(
        home.names(Kind::Checkpoint),
        ["folder", "model.safetensors"]
    );
    let refused = |kind| {
        let all = home.library.scan(kind).refused.into_iter();
        all.map(|file| file.file_name).collect::<Vec<_>>()
    };
    assert_eq!(refused(Kind::Vae), ["old.vae.pt"]);
    assert_eq!(refused(Kind::Checkpoint), ["old.ckpt"]);
    let vae = home.library.vae_of(&model).unwrap();
    assert_eq!(vae.file_name, "model.vae.safetensors");
    assert_eq!(vae.kind, Kind::Vae);
}

#[test]
fn links_lead_to_files_and_not_to_folders() {
    let home = Home::new();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("big.safetensors"), "123").unwrap();
    home.put(Kind::Checkpoint, "a.safetensors", "x");
    let link = |target: &Path, name: &str| {
        symlink(target, home.path(Kind::Checkpoint, name)).unwrap();
    };
    link(&elsewhere.path().join("big.safetensors"), "b.safetensors");
    link(&elsewhere.path().join("none"), "broken.safetensors");
    link(elsewhere.path(), "folder");
    link(&home.path(Kind::Checkpoint, ""), "circle");
    link(elsewhere.path(), "folder.safetensors");
    assert_eq!(
        home.names(Kind::Checkpoint),
        ["a.safetensors", "b.safetensors"]
    );
    assert_eq!(home.listed(Kind::Checkpoint, "b.safetensors").bytes, 3);
    // The folder of a kind is the operator's choice.
    let folder = home.folder.path().join(Kind::Lora.folder());
    symlink(elsewhere.path(), folder).unwrap();
    assert_eq!(home.names(Kind::Lora), ["big.safetensors"]);
}

#[test]
fn very_deep_folders_are_not_searched_and_the_operator_is_told() {
    let home = Home::new();
    home.put(Kind::Lora, "1/2/3/4/5/6/7/8/in.safetensors", "x");
    home.put(Kind::Lora, "1/2/3/4/5/6/7/8/9/out.safetensors", "x");
    let listing = home.library.scan(Kind::Lora);
    assert_eq!(listing.files.len(), 1);
    assert_eq!(listing.files[0].name, "in");
    assert!(
        listing.notes[0].contains("1/2/3/4/5/6/7/8/9"),
        "{listing:?}"
    );
}

#[test]
fn a_folder_with_far_too_many_files_is_cut_and_the_operator_is_told() {
    let home = Home::new();
    for name in ["1", "2", "a/3", "a/4"] {
        home.put(Kind::Lora, &format!("{name}.safetensors"), "x");
    }
    let up_to = |count| scan::scan_up_to(count, home.folder.path(), Kind::Lora);
    let all = up_to(5);
    assert_eq!((all.files.len(), all.notes.len()), (4, 0));
    let some = up_to(4);
    assert_eq!(some.files.len(), 3);
    assert!(some.notes[0].contains("too many"), "{some:?}");
    assert!(up_to(0).files.is_empty());
}

#[test]
fn the_preview_file_is_a_taesd_of_sd1_that_can_decode() {
    let home = Home::new();
    assert_eq!(home.library.preview_file(), None);
    for name in [
        "other.safetensors",
        "taesd_encoder.safetensors",
        "taesdxl_decoder.safetensors",
        "taef1.safetensors",
    ] {
        home.put(Kind::Taesd, name, "x");
    }
    assert_eq!(home.library.preview_file(), None);
    home.put(Kind::Taesd, "TAESD_decoder.safetensors", "x");
    let file = home.library.preview_file().unwrap();
    assert_eq!(file.name, "TAESD_decoder");
}
