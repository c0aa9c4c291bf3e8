//! `photog models` as its users see it.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    networks::{Host, entry, network, network_with_a_weight_outside, sha256},
    program::Home,
};

/// Where the files come to.
fn folder(home: &Home) -> PathBuf {
    home.data().join("webui/models/photog")
}

/// A home whose data folder has this list.
fn home_with(list: &str) -> Home {
    let home = Home::new();
    fs::create_dir(home.data()).unwrap();
    fs::write(home.data().join("models.toml"), list).unwrap();
    home
}

/// What `photog models list` says of an entry.
fn listed(home: &Home, name: &str) -> serde_json::Value {
    let list = home.run(&["models", "list", "--json"]).json();
    let mut models = list["models"].as_array().unwrap().iter();
    models.find(|model| model["name"] == name).unwrap().clone()
}

#[test]
fn list_shows_every_network_and_how_to_get_one() {
    let home = Home::new();
    let run = home.run(&["models", "list"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    for word in [
        "yunet",
        "mobilefacenet",
        "lightqnet",
        "missing",
        "photog models pull yunet",
    ] {
        assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
    }
    let list = home.run(&["models", "list", "--json"]).json();
    let models = list["models"].as_array().unwrap();
    for model in models {
        let state = if model["pack"].is_null() {
            "missing"
        } else {
            "built in"
        };
        assert_eq!(
            (&model["state"], &model["in_use"]),
            (&state.into(), &false.into()),
            "{model}"
        );
    }
    assert_eq!(list["missing"].as_array().unwrap().len(), 6);
    assert!(!home.data().exists(), "looking made a folder");
}

#[test]
fn list_says_what_of_the_folders_is_not_used() {
    let home = Home::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let checkpoints = home.data().join("webui/models/Stable-diffusion");
    fs::create_dir_all(&checkpoints).unwrap();
    fs::write(checkpoints.join("old.ckpt"), b"not looked at").unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), checkpoints.join("mine")).unwrap();
    let reasons = [
        "webui/models/Stable-diffusion/old.ckpt: it is a pickle",
        "webui/models/Stable-diffusion: `mine` was not searched: links to folders are not followed",
    ];

    let list = home.run(&["models", "list", "--json"]).json();
    let told = list["not_used"].as_array().unwrap();
    assert_eq!(told.len(), reasons.len(), "{told:?}");
    let text = home.run(&["models", "list"]).stdout;
    for (told, reason) in told.iter().zip(reasons) {
        assert!(told.as_str().unwrap().starts_with(reason), "{told}");
        assert!(text.contains(&format!("Not used: {reason}")), "{text}");
    }
    // Neither is taken for an empty folder, which built-in networks would stand in for.
    assert!(!text.contains("holds no models"), "{text}");
}

#[test]
fn a_broken_list_is_refused_with_the_entry_and_the_field() {
    let home = home_with(&entry("mine", &[("lisense", "MIT")]));
    for action in ["list", "verify", "pull"] {
        let run = home.run(&["models", action]);
        let line = run.failure();
        assert!(
            line.contains("models.toml") && line.contains("`mine`") && line.contains("lisense"),
            "{line}"
        );
    }
}

#[test]
fn a_folder_gives_what_is_known_by_hash_whatever_its_name_and_leaves_the_rest() {
    let bytes = network("a");
    let home = home_with(&entry("mine", &[("sha256", &sha256(&bytes))]));
    fs::create_dir_all(home.path("given/deep/er")).unwrap();
    home.file("given/deep/er/renamed.onnx", &bytes);
    home.file("given/mine.onnx", network("another"));
    home.file("given/other.onnx", "something else");
    home.file("given/readme.txt", "text");
    let run = home.run(&["models", "import", "given", "--json"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let result = run.json();
    assert_eq!(result["models"][0]["name"], "mine");
    assert_eq!(result["models"][0]["state"], "imported");
    assert_eq!(result["not_known"].as_array().unwrap().len(), 2);
    assert_eq!(fs::read(folder(&home).join("mine.onnx")).unwrap(), bytes);
    assert_eq!(fs::read_dir(folder(&home)).unwrap().count(), 1);
    assert!(
        !home.data().join("models.lock").exists(),
        "the list gives the hash"
    );
    let mine = listed(&home, "mine");
    assert_eq!(
        (&mine["state"], &mine["in_use"]),
        (&"present".into(), &true.into())
    );

    let run = home.run(&["models", "import", "given"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("there already"), "{run:?}");
    let run = home.run(&["models", "verify", "mine"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.starts_with("ok"), "{run:?}");
}

#[test]
fn a_file_that_is_not_the_known_one_is_refused_by_name_and_by_word() {
    let home = home_with(&entry("mine", &[("sha256", &sha256(&network("a")))]));
    let same_name = home.file("mine.onnx", network("b"));
    let unknown = home.file("unknown.onnx", network("b"));
    for args in [
        &["models", "import", &same_name][..],
        &["models", "import", &unknown, "--as", "mine"],
    ] {
        let run = home.run(args);
        let line = run.failure();
        assert!(
            line.contains("not the file of `mine`") && line.contains(&sha256(&network("b"))),
            "{line}"
        );
    }
    let run = home.run(&["models", "import", &unknown]);
    assert!(run.failure().contains("--as NAME"), "{run:?}");
    let run = home.run(&["models", "import", &unknown, "--as", "nothing"]);
    assert!(run.failure().contains("`nothing`"), "{run:?}");
    let run = home.run(&["models", "import", "missing.onnx"]);
    assert!(run.failure().contains("missing.onnx"), "{run:?}");
    fs::create_dir(home.path("empty")).unwrap();
    let run = home.run(&["models", "import", "empty"]);
    assert!(run.failure().contains("no known network"), "{run:?}");
    assert!(!folder(&home).exists(), "a refused file made a folder");
}

#[test]
fn the_first_file_of_an_entry_without_a_hash_is_looked_into_and_pinned() {
    let home = home_with(&entry("mine", &[]));
    let broken = home.file("broken.onnx", "no network");
    let run = home.run(&["models", "import", &broken, "--as", "mine"]);
    assert!(run.failure().contains("not the network `mine`"), "{run:?}");
    assert!(!home.data().join("models.lock").exists());

    let first = home.file("first.onnx", network("a"));
    let run = home.run(&["models", "import", &first, "--as", "mine"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(listed(&home, "mine")["pinned"], true);
    assert_eq!(listed(&home, "mine")["sha256"], *sha256(&network("a")));

    let second = home.file("second.onnx", network("b"));
    let run = home.run(&["models", "import", &second, "--as", "mine"]);
    assert!(run.failure().contains("models.lock"), "{run:?}");
    assert_eq!(
        fs::read(folder(&home).join("mine.onnx")).unwrap(),
        network("a")
    );
    let run = home.run(&["models", "pull", "mine"]);
    assert!(run.stdout.contains("there already"), "{run:?}");
    // The pinned file is known by its hash from now on.
    fs::remove_file(folder(&home).join("mine.onnx")).unwrap();
    assert_eq!(home.run(&["models", "import", &first]).code, Some(0));
}

#[test]
fn a_network_whose_weights_lie_elsewhere_is_not_taken() {
    let home = home_with(&entry("mine", &[]));
    let file = home.file("given.onnx", network_with_a_weight_outside());
    home.file("weight.bin", 1_f32.to_le_bytes());
    let run = home.run(&["models", "import", &file, "--as", "mine"]);
    let line = run.failure();
    assert!(
        line.contains("weight.bin") && line.contains("with its weights inside"),
        "{line}"
    );
    let left: Vec<_> = fs::read_dir(folder(&home)).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!home.data().join("models.lock").exists());
}

#[test]
fn damaged_files_are_found_and_fetched_again() {
    let (known, means) = (vec![7; 3000], network("a"));
    let hosts = [Host::of(known.clone()), Host::of(means.clone())];
    let detector = entry(
        "finder",
        &[("url", &hosts[0].url()), ("sha256", &sha256(&known))],
    );
    let detector = detector
        .replace("face-embedding", "face-detector")
        .replace("embedding_length = 3", "detector = \"yunet\"")
        .replace("size = [112, 112], ", "")
        .replace("same_person = 0.9", "score = 0.5, overlap = 0.5");
    let home = home_with(&(detector + &entry("mine", &[("url", &hosts[1].url())])));
    // Put there by hand: one bit is wrong in the one, the other is cut and its hash is not known.
    fs::create_dir_all(folder(&home)).unwrap();
    let mut flipped = known.clone();
    flipped[1500] ^= 1;
    fs::write(folder(&home).join("finder.onnx"), flipped).unwrap();
    fs::write(folder(&home).join("mine.onnx"), &means[..means.len() / 2]).unwrap();
    let run = home.run(&["models", "verify"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    for word in ["photog models pull finder", "photog models pull mine"] {
        assert!(run.stdout.contains(word), "{word}: {run:?}");
    }
    let checked = run.stdout.lines().count();
    let said = format!("2 of {checked} networks");
    assert!(run.stderr.contains(&said), "{run:?}");
    let run = home.run(&["check", "photo.jpg"]);
    assert!(run.failure().contains("finder.onnx"), "{run:?}");

    let run = home.run(&["models", "pull"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(fs::read(folder(&home).join("finder.onnx")).unwrap(), known);
    assert_eq!(fs::read(folder(&home).join("mine.onnx")).unwrap(), means);
}

#[test]
fn verify_finds_damage_and_networks_of_another_kind() {
    let long = entry("long", &[]).replace("embedding_length = 3", "embedding_length = 4");
    let home = home_with(&(entry("mine", &[]) + &long));
    let file = home.file("mine.onnx", network("a"));
    assert_eq!(home.run(&["models", "import", &file]).code, Some(0));
    let path = folder(&home).join("mine.onnx");
    let mut bytes = network("a");
    bytes[20] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let run = home.run(&["models", "verify"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(
        run.stdout.contains("FAILURE") && run.stdout.contains("sha256"),
        "{run:?}"
    );
    bytes.push(0);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(listed(&home, "mine")["state"], "damaged");

    let run = home.run(&["models", "import", &file, "--as", "long"]);
    assert!(run.failure().contains("3 numbers"), "{run:?}");
    // Put there by hand, without a pin.
    fs::write(folder(&home).join("long.onnx"), network("a")).unwrap();
    let run = home.run(&["models", "verify", "long", "yunet", "--json"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let result = run.json();
    let text = |at: usize| result["models"][at]["text"].as_str().unwrap().to_owned();
    assert!(text(0).contains("3 numbers"), "{result}");
    assert!(
        text(1).contains("missing") && text(1).contains("pull yunet"),
        "{result}"
    );
}

#[test]
fn a_network_that_makes_pictures_comes_to_its_folder_of_the_webui() {
    let home = home_with(
        "[[model]]\nname = \"style\"\nrole = \"lora\"\nfile = \"style.safetensors\"\n\
         about = \"a style\"\nlicense = \"CC0-1.0\"\n",
    );
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/reference/fixtures/diffusion"
    );
    let lora = format!("{folder}/tiny_lora_kohya.safetensors");
    let run = home.run(&["models", "import", "--as", "style", &lora]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let path = home.data().join("webui/models/Lora/style.safetensors");
    assert_eq!(fs::read(&path).unwrap(), fs::read(&lora).unwrap());
    let style = listed(&home, "style");
    assert_eq!(
        (&style["state"], &style["pinned"]),
        (&"present".into(), &true.into())
    );
    assert_eq!(style["path"], path.to_str().unwrap());
    let run = home.run(&["models", "verify", "style"]);
    assert!(run.stdout.starts_with("ok"), "{run:?}");
    // Another kind of network is not taken for it.
    let run = home.run(&["models", "import", "--as", "vae-ft-mse", &lora]);
    let line = run.failure();
    assert!(line.contains("it is a lora, and a vae is wanted"), "{line}");
    let vaes = fs::read_dir(home.data().join("webui/models/VAE")).unwrap();
    assert_eq!(vaes.count(), 0);
}

#[test]
fn pull_fetches_one_network_for_each_purpose_and_says_its_licence() {
    let known = vec![7; 3000];
    let (finder, means) = (Host::of(known.clone()), Host::of(network("a")));
    let detector = format!(
        "[[model]]\nname = \"finder\"\nrole = \"face-detector\"\nfile = \"finder.onnx\"\n\
         about = \"finds\"\nlicense = \"CC0-1.0\"\ndetector = \"yunet\"\nurl = \"{}\"\n\
         sha256 = \"{}\"\nthresholds = {{ score = 0.5, overlap = 0.5 }}\n\
         preprocess = {{ mean = [0, 0, 0], scale = [1, 1, 1], order = \"bgr\" }}\n",
        finder.url(),
        sha256(&known)
    );
    let home = home_with(&(detector + &entry("mine", &[("url", &means.url())])));
    let run = home.run(&["models", "pull"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    for word in [
        "finder",
        "mine",
        "CC0-1.0",
        "https://example.org/mine",
        "no face-quality",
    ] {
        assert!(run.stdout.contains(word), "{word}: {run:?}");
    }
    assert_eq!(fs::read(folder(&home).join("finder.onnx")).unwrap(), known);
    assert_eq!(
        fs::read(folder(&home).join("mine.onnx")).unwrap(),
        network("a")
    );
    assert_eq!(fs::read_dir(folder(&home)).unwrap().count(), 2);
    assert_eq!(listed(&home, "mine")["pinned"], true);

    let run = home.run(&["models", "pull"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("Nothing to fetch"), "{run:?}");
    let run = home.run(&["models", "pull", "mine", "--json"]);
    assert_eq!(run.json()["models"][0]["state"], "already there");
    assert_eq!((finder.requests().len(), means.requests().len()), (1, 1));
}

#[test]
fn pull_refuses_what_is_not_the_network() {
    let not_a_network = Host::of(b"<html>sign in</html>".to_vec());
    let another = Host::of(network("b"));
    let gone = Host::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    });
    let list = [
        entry("page", &[("url", &not_a_network.url())]),
        entry(
            "hashed",
            &[("url", &another.url()), ("sha256", &sha256(&network("a")))],
        ),
        entry("gone", &[("url", &gone.url())]),
        entry("brought", &[]),
    ];
    let home = home_with(&list.concat());
    for (name, words) in [
        ("page", ["thrown away", "photog models import"]),
        ("hashed", ["sha256", "photog models import"]),
        ("gone", ["404", "photog models import"]),
        (
            "brought",
            ["https://example.org/brought", "photog models import"],
        ),
        ("nothing", ["`nothing`", "photog models list"]),
    ] {
        let run = home.run(&["models", "pull", name, "--json"]);
        assert_eq!(run.code, Some(1), "{run:?}");
        for word in words {
            assert!(run.stderr.contains(word), "{name}: {word}: {run:?}");
        }
    }
    let left: Vec<_> = fs::read_dir(folder(&home)).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!home.data().join("models.lock").exists());
}

#[test]
fn an_interrupted_pull_goes_on_where_it_was_stopped() {
    let bytes: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
    let sent = bytes.clone();
    let host = Host::new(move |number, stream| {
        let (line, range, body) = match number {
            0 => ("200 OK", "", &sent[..60_000]),
            _ => (
                "206 Partial Content",
                "Content-Range: bytes 60000-99999/100000\r\n",
                &sent[60_000..],
            ),
        };
        let length = if number == 0 { 100_000 } else { body.len() };
        let head =
            format!("HTTP/1.1 {line}\r\nETag: \"a\"\r\n{range}Content-Length: {length}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(body);
        if number == 0 {
            // Until the other side gives up.
            let _ = stream.peek(&mut [0]);
        }
    });
    let home = home_with(&entry(
        "mine",
        &[("url", &host.url()), ("sha256", &sha256(&bytes))],
    ));
    let pull = ["models", "pull", "mine"];
    let child = home.command(&pull).spawn().unwrap();
    let part = folder(&home).join("mine.onnx.part");
    wait_until(|| fs::metadata(&part).is_ok_and(|data| data.len() == 60_000));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("stopped") && said.contains("goes on from there"),
        "{said}"
    );

    let run = home.run(&pull);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.stdout.contains("had come in an earlier call"),
        "{run:?}"
    );
    assert_eq!(fs::read(folder(&home).join("mine.onnx")).unwrap(), bytes);
    let requests = host.requests();
    assert_eq!(requests.len(), 2);
    assert!(
        requests[1].contains("range: bytes=60000-\r\n"),
        "{requests:?}"
    );
    assert!(requests[1].contains("if-range: \"a\"\r\n"), "{requests:?}");
    assert!(!part.exists());
}

#[test]
fn the_shared_networks_are_found_by_their_hashes_and_fit_their_purposes() {
    let data = std::env::var_os("PHOTOG_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let networks = data.join("models");
    if !networks.is_dir() {
        println!(
            "skipped: {} with the shared networks is missing",
            networks.display()
        );
        return;
    }
    let home = Home::new();
    let networks = fs::canonicalize(networks).unwrap();
    let run = home.run(&["models", "import", networks.to_str().unwrap()]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let brought = ["yunet", "mobilefacenet", "lightqnet", "srvgg-animevideov3"];
    for name in brought {
        let listed = listed(&home, name);
        assert_eq!(listed["in_use"], true, "{listed}");
    }
    let run = home.run(&["models", "verify", "--json"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let verified = run.json();
    let models = verified["models"].as_array().unwrap();
    // Those that were brought, and those that are built in.
    let packed = photog::models::catalog::Catalog::built_in();
    let packed = packed.entries().iter().filter(|entry| entry.pack.is_some());
    assert_eq!(models.len(), brought.len() + packed.count());
    assert!(
        models.iter().all(|model| model["state"] == "ok"),
        "{verified}"
    );
    let list = home.run(&["models", "list"]);
    let lacks: Vec<&str> = list
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("There is no ")?.split(':').next())
        .collect();
    assert_eq!(lacks, ["face-parsing", "face-fusion"], "{list:?}");
}

/// Waits for something that another process does.
fn wait_until(is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "it did not happen");
        thread::sleep(Duration::from_millis(5));
    }
}
