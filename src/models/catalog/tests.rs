//! Lists of networks: what is read from them, what is refused, and which file is taken.

use std::fs;

use super::*;
use crate::{
    models::{check_network, place::Place},
    pack::Pack,
};

/// A list with one embedding whose fields can be exchanged.
fn list(changes: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("name", "\"mine\""),
        ("role", "\"face-embedding\""),
        ("file", "\"mine.onnx\""),
        ("about", "\"a network\""),
        ("license", "\"MIT\""),
        (
            "preprocess",
            "{ size = [8, 8], mean = [0, 0, 0], scale = [1, 1, 1], order = \"rgb\" }",
        ),
        ("embedding_length", "3"),
        ("thresholds", "{ same_person = 0.5 }"),
    ];
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        if !value.is_empty() {
            fields.push((name, value));
        }
    }
    let lines: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name} = {value}\n"))
        .collect();
    format!("[[model]]\n{}", lines.concat())
}

fn refusal(text: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(OWN_LIST), text).unwrap();
    match Catalog::load(home.path()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was taken: {text}"),
    }
}

#[test]
fn the_built_in_list_has_every_role_and_a_way_to_get_the_two_that_are_needed() {
    let catalog = Catalog::built_in();
    for role in Role::ALL {
        let is_known = catalog.entries().iter().any(|entry| entry.role == role);
        // Which LoRA to take is a matter of taste.
        assert!(is_known || role == Role::Lora);
        let hint = catalog.how_to_get(role);
        assert!(
            hint.contains("photog models import") && hint.contains(role.folder()),
            "{hint}"
        );
    }
    assert_eq!(
        catalog.downloadable(Role::FaceDetector).unwrap().name,
        "yunet"
    );
    assert_eq!(
        catalog.downloadable(Role::FaceEmbedding).unwrap().name,
        "sface"
    );
    assert!(
        catalog
            .how_to_get(Role::FaceDetector)
            .contains("photog models pull yunet")
    );
    assert!(
        catalog
            .entries()
            .iter()
            .all(|entry| !catalog.is_own(&entry.name))
    );
}

#[test]
fn a_file_that_may_be_used_for_research_only_is_never_fetched() {
    for entry in Catalog::built_in().entries() {
        let is_open = ["MIT", "Apache-2.0"].contains(&entry.license.as_str());
        assert!(is_open || entry.url.is_none(), "{}", entry.name);
    }
}

#[test]
fn preparations_are_those_of_the_networks_sources() {
    let catalog = Catalog::built_in();
    let preprocess = |name: &str| catalog.find(name).unwrap().preprocess.clone().unwrap();
    let mobile = preprocess("mobilefacenet");
    for (channel, (mean, deviation)) in [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]
        .into_iter()
        .enumerate()
    {
        for value in [0.0_f32, 17.0, 255.0] {
            let ours = (value - mobile.mean[channel]) * mobile.scale[channel];
            let theirs = (value / 255.0 - mean) / deviation;
            assert!((ours - theirs).abs() < 1e-5, "{channel}: {ours} {theirs}");
        }
    }
    let parsing = preprocess("bisenet-resnet18");
    assert_eq!((parsing.mean, parsing.scale), (mobile.mean, mobile.scale));
    let arcface = preprocess("arcface-w600k-r50");
    assert!(
        (255.0 - arcface.mean[0])
            .mul_add(arcface.scale[0], -1.0)
            .abs()
            < 1e-6
    );
}

#[test]
fn the_operators_list_goes_first_and_overrides_by_name() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(Catalog::load(home.path()).unwrap(), Catalog::built_in());
    let text = list(&[]) + &list(&[("name", "\"sface\""), ("file", "\"other.onnx\"")]);
    fs::write(home.path().join(OWN_LIST), text).unwrap();
    let catalog = Catalog::load(home.path()).unwrap();
    let names: Vec<_> = catalog.entries().iter().map(|entry| &*entry.name).collect();
    assert_eq!(names[..2], ["mine", "sface"]);
    assert_eq!(names.len(), Catalog::built_in().entries().len() + 1);
    assert_eq!(catalog.find("sface").unwrap().file, "other.onnx");
    assert!(catalog.is_own("mine") && catalog.is_own("sface"));
    assert!(!catalog.is_own("yunet") && !catalog.is_own("nothing"));
}

#[test]
fn the_first_file_of_a_role_that_is_there_is_taken() {
    let home = tempfile::tempdir().unwrap();
    let catalog = Catalog::built_in();
    let present = |role| catalog.present(role, home.path(), None);
    assert_eq!(present(Role::FaceEmbedding), None);
    fs::create_dir_all(home.path().join(MODEL_FOLDER)).unwrap();
    let put = |name: &str| {
        fs::write(catalog.find(name).unwrap().path(home.path()), "x").unwrap();
    };
    let taken = || {
        let (entry, place) = present(Role::FaceEmbedding).unwrap();
        assert_eq!(place, entry.path(home.path()).into());
        assert!(place.is_there());
        entry.name.clone()
    };
    put("arcface-w600k-r50");
    assert_eq!(taken(), "arcface-w600k-r50");
    put("mobilefacenet");
    assert_eq!(taken(), "mobilefacenet");
    assert_eq!(present(Role::FaceDetector), None);
    fs::create_dir(catalog.find("yunet").unwrap().path(home.path())).unwrap();
    assert_eq!(present(Role::FaceDetector), None, "a folder is no file");
}

#[test]
fn the_list_has_the_networks_of_the_packs_as_they_are_built_in() {
    let catalog = Catalog::built_in();
    for entry in catalog
        .entries()
        .iter()
        .filter(|entry| entry.pack.is_some())
    {
        let place = entry.place(Path::new("any"));
        assert!(
            matches!(place, Place::Pack(..)) && place.is_there(),
            "{place}"
        );
        let found = Identity::at(&place).unwrap();
        let expected = Lock::default().expected(entry);
        assert!(expected.size.is_some() && expected.sha256.is_some());
        assert_eq!(
            expected.check(&found),
            Ok(()),
            "{} in models.toml: size = {}, sha256 = \"{}\"",
            entry.name,
            found.size,
            found.sha256
        );
        check_network(entry, &place).unwrap();
    }
    // And it has all of them.
    for pack in Pack::ALL {
        for path in pack.files() {
            let is_of = |entry: &&Entry| {
                let place = entry.place(Path::new("any")).to_string();
                let path = Place::Pack(pack, path.clone()).to_string();
                path == place || path.starts_with(&format!("{place}/"))
            };
            assert!(
                catalog.entries().iter().any(|entry| is_of(&entry)),
                "{path}"
            );
        }
    }
}

#[test]
fn a_pack_serves_a_role_with_its_own_and_the_folder_with_all_others() {
    let home = tempfile::tempdir().unwrap();
    let catalog = Catalog::built_in();
    let of_pack = |role| catalog.present(role, home.path(), Some(Pack::Demo));
    for (role, name) in [
        (Role::FaceDetector, "demo-detector"),
        (Role::FaceEmbedding, "demo-embedding"),
        (Role::Checkpoint, "demo"),
    ] {
        let (entry, place) = of_pack(role).unwrap();
        assert_eq!((&*entry.name, place.pack()), (name, Some(Pack::Demo)));
        assert_eq!(catalog.present(role, home.path(), None), None);
        assert!(catalog.how_to_get(role).contains("`--pack demo`"));
    }
    assert_eq!(of_pack(Role::FaceQuality), None);
    assert!(!catalog.how_to_get(Role::FaceQuality).contains("--pack"));
    // A file of the same name in the data folder is none of the pack's, and not known.
    let path = catalog.find("demo-detector").unwrap().path(home.path());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "x").unwrap();
    assert_eq!(catalog.present(Role::FaceDetector, home.path(), None), None);
}

#[test]
fn an_entry_of_a_pack_names_one_that_there_is_and_no_address() {
    let packed = |more: &str| list(&[]) + "pack = \"demo\"\n" + more;
    assert!(read::entries(&packed("")).is_ok());
    let text = refusal(&packed("url = \"https://example.org/a\"\n"));
    assert!(text.contains("`url`") && text.contains("pack"), "{text}");
    let text = refusal(&(list(&[]) + "pack = \"dmeo\"\n"));
    assert!(text.contains("dmeo") && text.contains("`demo`"), "{text}");
    // A folder is a whole model of a pack and nothing else.
    let folder = list(&[("file", "\"mine\"")]);
    for text in [folder.clone(), folder + "pack = \"demo\"\n"] {
        assert!(refusal(&text).contains("`file`"));
    }
}

#[test]
fn a_field_that_is_unknown_missing_or_of_the_wrong_type_is_refused_with_the_entry() {
    let cases: [(&[(&str, &str)], &str); 7] = [
        (&[("lisense", "\"MIT\"")], "lisense"),
        (&[("license", "")], "license"),
        (&[("role", "\"face-swap\"")], "face-swap"),
        (&[("size", "-1")], "-1"),
        (&[("thresholds", "{ same_preson = 0.5 }")], "same_preson"),
        (
            &[(
                "preprocess",
                "{ size = [8], mean = [0, 0, 0], scale = [1, 1, 1], order = \"rgb\" }",
            )],
            "length",
        ),
        (&[("embedding_length", "\"3\"")], "`embedding_length`"),
    ];
    for (changes, word) in cases {
        let text = refusal(&list(changes));
        assert!(
            text.contains("entry `mine`") && text.contains(word) && text.contains(OWN_LIST),
            "{word}: {text}"
        );
    }
}

#[test]
fn values_out_of_bounds_are_refused_with_the_field() {
    let preprocess = |size: &str, mean: &str, scale: &str| {
        format!("{{ size = {size}, mean = {mean}, scale = {scale}, order = \"bgr\" }}")
    };
    let ones = "[1, 1, 1]";
    let long = format!("\"{}.onnx\"", "x".repeat(300));
    let cases: Vec<(&str, String, &str)> = vec![
        ("name", "\"Mine\"".into(), "entry `Mine`: `name`"),
        ("name", "\"\"".into(), "`name`"),
        ("name", "\"a/b\"".into(), "`name`"),
        ("name", "\"a\\u001bb\"".into(), "entry `ab`: `name`"),
        ("file", "\"../mine.onnx\"".into(), "`file`"),
        ("file", "\"a/mine.onnx\"".into(), "`file`"),
        ("file", "\"a\\\\mine.onnx\"".into(), "`file`"),
        ("file", "\"mine.bin\"".into(), "`file`"),
        ("file", "\"mine.safetensors\"".into(), ".onnx"),
        ("file", "\".onnx\"".into(), "`file`"),
        ("file", "\".hidden.onnx\"".into(), "`file`"),
        ("file", "\"a\\u0000.onnx\"".into(), "`file`"),
        ("file", long, "`file`"),
        ("about", "\"two\\nlines\"".into(), "`about`"),
        ("url", "\"file:///etc/passwd\"".into(), "`url`"),
        ("url", "\"https://a b\"".into(), "`url`"),
        ("size", "0".into(), "`size`"),
        ("size", "9000000000000".into(), "`size`"),
        ("sha256", "\"abc\"".into(), "`sha256`"),
        ("sha256", format!("\"{}\"", "g".repeat(64)), "`sha256`"),
        ("embedding_length", "0".into(), "`embedding_length`"),
        ("embedding_length", "5000".into(), "`embedding_length`"),
        (
            "embedding_length",
            String::new(),
            "`embedding_length` is missing",
        ),
        (
            "thresholds",
            String::new(),
            "`thresholds.same_person` is missing",
        ),
        (
            "thresholds",
            "{ same_person = 1.5 }".into(),
            "`thresholds.same_person`",
        ),
        (
            "thresholds",
            "{ same_person = nan }".into(),
            "`thresholds.same_person`",
        ),
        (
            "thresholds",
            "{ same_person = 0.5, score = 0.5 }".into(),
            "`thresholds.score` has no meaning",
        ),
        ("detector", "\"yunet\"".into(), "`detector` has no meaning"),
        (
            "preprocess",
            preprocess("[0, 8]", ones, ones),
            "`preprocess.size`",
        ),
        (
            "preprocess",
            preprocess("[8, 5000]", ones, ones),
            "`preprocess.size`",
        ),
        (
            "preprocess",
            preprocess("[8, 8]", "[1, inf, 1]", ones),
            "`preprocess.mean`",
        ),
        (
            "preprocess",
            preprocess("[8, 8]", ones, "[1, 0, 1]"),
            "`preprocess.scale`",
        ),
        (
            "preprocess",
            preprocess("[8, 8]", ones, "[1, 1, nan]"),
            "`preprocess.scale`",
        ),
        (
            "preprocess",
            preprocess("[8, 8]", ones, "[1, 1, 1e300]"),
            "`preprocess.scale`",
        ),
        (
            "preprocess",
            String::from("{ mean = [0, 0, 0], scale = [1, 1, 1], order = \"rgb\" }"),
            "`preprocess.size` is missing",
        ),
    ];
    for (field, value, word) in cases {
        let text = refusal(&list(&[(field, &value)]));
        assert!(text.contains(word), "{field} = {value}: {text}");
        assert!(!text.contains(char::is_control), "{text}");
    }
}

#[test]
fn broken_lists_are_refused_with_the_place() {
    let cases = [
        (list(&[]) + "x = \n", "line 10"),
        (String::from("models = []\n"), "`models`"),
        (String::from("[model]\nname = \"mine\"\n"), "[[model]]"),
        (
            list(&[]) + &list(&[("file", "\"b.onnx\"")]),
            "`mine` is there twice",
        ),
        (list(&[]) + &list(&[("name", "\"b\"")]), "`mine.onnx`"),
        (String::from("[[model]]\n"), "entry 1"),
        ("#".repeat(2 << 20), "larger"),
    ];
    for (text, word) in cases {
        let text = refusal(&text);
        assert!(text.contains(word), "{word}: {text}");
    }
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(OWN_LIST)).unwrap();
    assert!(matches!(
        Catalog::load(home.path()),
        Err(CatalogError::Read { .. })
    ));
}

/// A list with a ControlNet.
fn control_net(more: &str) -> String {
    format!(
        "[[model]]\nname = \"edges\"\nrole = \"controlnet\"\nfile = \"edges.safetensors\"\n\
         about = \"edges\"\nlicense = \"MIT\"\n{more}"
    )
}

#[test]
fn networks_that_make_pictures_lie_where_the_webui_has_them() {
    let home = tempfile::tempdir().unwrap();
    let entries = read::entries(&control_net("size = 6000000000\n")).unwrap();
    let [entry] = &entries[..] else {
        panic!("{entries:?}");
    };
    assert_eq!(
        entry.path(home.path()),
        home.path()
            .join("webui/models/ControlNet/edges.safetensors")
    );
    let folders: Vec<_> = Role::ALL.into_iter().map(Role::folder).collect();
    assert_eq!(
        folders[6..],
        [
            "webui/models/Stable-diffusion",
            "webui/models/VAE",
            "webui/models/ControlNet",
            "webui/models/VAE-approx",
            "webui/models/Lora",
        ]
    );
    // Names of files may be the same in different folders.
    let other = control_net("").replace("edges\"\nrole = \"controlnet", "b\"\nrole = \"vae");
    assert!(read::entries(&(control_net("") + &other)).is_ok());
}

#[test]
fn networks_that_make_pictures_have_no_fields_of_face_networks() {
    let cases = [
        (
            "embedding_length = 3\n",
            "`embedding_length` has no meaning",
        ),
        (
            "preprocess = { mean = [0, 0, 0], scale = [1, 1, 1], order = \"rgb\" }\n",
            "`preprocess` has no meaning",
        ),
        ("thresholds = { score = 0.5 }\n", "`thresholds.score`"),
        ("size = 90000000000\n", "`size`"),
    ];
    for (more, word) in cases {
        let text = refusal(&control_net(more));
        assert!(text.contains(word), "{word}: {text}");
    }
    let text = refusal(&control_net("").replace(".safetensors", ".onnx"));
    assert!(text.contains(".safetensors"), "{text}");
    let text = refusal(&list(&[("preprocess", "")]));
    assert!(text.contains("`preprocess` is missing"), "{text}");
}

#[test]
fn only_what_enlarges_or_detects_may_take_any_size() {
    let preprocess = "{ mean = [0, 0, 0], scale = [1, 1, 1], order = \"rgb\" }";
    let of_role = |role: &str| {
        list(&[
            ("role", &format!("\"{role}\"")),
            ("preprocess", preprocess),
            ("embedding_length", ""),
            ("thresholds", ""),
        ])
    };
    assert!(read::entries(&of_role("super-resolution")).is_ok());
    for role in ["face-parsing", "face-fusion"] {
        let text = refusal(&of_role(role));
        assert!(text.contains("`preprocess.size` is missing"), "{text}");
    }
}

#[test]
fn hashes_may_be_written_in_capitals() {
    let text = list(&[("sha256", &format!("\"{}\"", "AB".repeat(32)))]);
    let entries = read::entries(&text).unwrap();
    assert_eq!(entries[0].sha256.as_deref(), Some(&*"ab".repeat(32)));
}

#[test]
fn a_pin_holds_until_it_is_taken_out() {
    let home = tempfile::tempdir().unwrap();
    let entry = &read::entries(&list(&[])).unwrap()[0];
    let first = Identity {
        size: 3,
        sha256: "ab".repeat(32),
    };
    let second = Identity {
        size: 3,
        sha256: "cd".repeat(32),
    };
    let lock = Lock::load(home.path()).unwrap();
    assert_eq!(lock.expected(entry).check(&first), Ok(()));
    Lock::pin(home.path(), entry, &first).unwrap();
    let lock = Lock::load(home.path()).unwrap();
    assert_eq!(lock.expected(entry).check(&first), Ok(()));
    let text = lock.expected(entry).check(&second).unwrap_err();
    assert!(
        text.contains(LOCK_FILE) && text.contains(&first.sha256),
        "{text}"
    );
    // An entry of that name with another file is another network.
    let other = Entry {
        file: String::from("other.onnx"),
        ..entry.clone()
    };
    assert_eq!(lock.expected(&other).sha256, None);
    fs::remove_file(home.path().join(LOCK_FILE)).unwrap();
    let lock = Lock::load(home.path()).unwrap();
    assert_eq!(lock.expected(entry).check(&second), Ok(()));
}

#[test]
fn a_hash_of_the_list_goes_before_a_pin() {
    let home = tempfile::tempdir().unwrap();
    let catalog = Catalog::built_in();
    let yunet = catalog.find("yunet").unwrap();
    let other = Identity {
        size: 1,
        sha256: "ab".repeat(32),
    };
    Lock::pin(home.path(), yunet, &other).unwrap();
    assert!(!home.path().join(LOCK_FILE).exists());
    let expected = Lock::load(home.path()).unwrap().expected(yunet);
    assert_eq!(expected.sha256, yunet.sha256);
    assert!(
        expected
            .check(&other)
            .unwrap_err()
            .contains("the list gives")
    );
}

#[test]
fn a_lock_that_photog_did_not_write_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(LOCK_FILE);
    let pin = |name: &str, file: &str, size: &str, hash: &str| {
        format!(
            "[[model]]\nname = \"{name}\"\nfile = \"{file}\"\nsize = {size}\nsha256 = \"{hash}\"\n"
        )
    };
    let hash = "ab".repeat(32);
    let good = pin("a", "a.onnx", "1", &hash);
    fs::write(&path, &good).unwrap();
    assert!(Lock::load(home.path()).is_ok());
    for text in [
        good.clone() + &good,
        pin("a", "../a.onnx", "1", &hash),
        pin("a", "a.onnx", "0", &hash),
        pin("a", "a.onnx", "1", "ab"),
        pin("A", "a.onnx", "1", &hash),
        good + "about = \"x\"\n",
        String::from("x"),
    ] {
        fs::write(&path, &text).unwrap();
        let error = Lock::load(home.path()).unwrap_err();
        assert!(error.to_string().contains(LOCK_FILE), "{error}");
    }
}

#[test]
fn an_identity_is_size_and_hash_of_a_plain_file() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("abc");
    fs::write(&path, "abc").unwrap();
    // The first test vector of FIPS 180-2.
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let found = Identity::of(&path).unwrap();
    assert_eq!((found.size, &*found.sha256), (3, expected));
    assert!(Identity::of(home.path()).is_err());
    assert!(Identity::of(&home.path().join("none")).is_err());
}

#[test]
fn the_shared_files_are_those_of_the_list() {
    let folder = std::env::var_os("PHOTOG_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    if !folder.is_dir() {
        println!(
            "skipped: {} with the shared networks is missing",
            folder.display()
        );
        return;
    }
    let catalog = Catalog::built_in();
    for (name, below) in [
        ("yunet", "models/yunet_n/original"),
        ("mobilefacenet", "models/mobilefacenet"),
        ("lightqnet", "models/lightqnet_050"),
        ("srvgg-animevideov3", "models/srvgg_animevideov3"),
    ] {
        let entry = catalog.find(name).unwrap();
        let path = folder.join(below).join(&entry.file);
        let found = Identity::of(&path).unwrap();
        let expected = Lock::default().expected(entry);
        assert_eq!(expected.check(&found), Ok(()), "{name}");
        assert!(expected.size.is_some() && expected.sha256.is_some());
        check_network(entry, &path.into()).unwrap();
    }
}
