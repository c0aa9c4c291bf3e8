//! The command line as its users see it: exit codes, one line per failure, results on standard
//! output and everything else on standard error.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the helpers of a test fail and print as the test itself does"
)]

#[path = "cli/generate.rs"]
mod generate;
#[path = "cli/models.rs"]
mod models;
#[path = "cli/networks.rs"]
mod networks;
#[path = "cli/packs.rs"]
mod packs;
#[path = "cli/people.rs"]
mod people;
#[path = "cli/portrait.rs"]
mod portrait;
#[path = "cli/program.rs"]
mod program;
#[path = "cli/train.rs"]
mod train;

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use image::{ImageFormat, RgbImage};
use photog::{config::KEYS, models::catalog::MODEL_FOLDER};
use program::{Home, fold};
use serde_json::Value;

#[test]
fn help_names_every_command_and_version_the_version() {
    let home = Home::new();
    let help = home.run(&["--help"]);
    assert_eq!(help.code, Some(0));
    for command in [
        "demo",
        "serve",
        "check",
        "train",
        "generate",
        "models",
        "people",
        "doctor",
        "config",
        "completions",
    ] {
        assert!(help.stdout.contains(command), "{command}: {}", help.stdout);
        let own = home.run(&[command, "--help"]);
        assert_eq!(own.code, Some(0));
        assert!(own.stdout.contains(&format!("photog {command}")));
    }
    let version = home.run(&["--version"]);
    assert_eq!(
        version.stdout,
        concat!("photog ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn wrong_usage_ends_with_2_and_shows_the_usage() {
    let home = Home::new();
    let wrong: [&[&str]; 12] = [
        &[],
        &["bogus"],
        &["serve", "--lisen", "127.0.0.1:1"],
        &["serve", "--listen"],
        &["check"],
        &["train"],
        &["models"],
        &["models", "import"],
        &["people"],
        &["people", "show"],
        &["people", "rm"],
        &["completions", "csh"],
    ];
    for args in wrong {
        let run = home.run(args);
        assert_eq!(run.code, Some(2), "{args:?}: {run:?}");
        assert_eq!(run.stdout, "", "{args:?}");
        assert!(!run.stderr.is_empty(), "{args:?}");
    }
    assert!(!home.data().exists());
}

#[test]
fn an_unknown_setting_is_refused_with_the_nearest_name_and_a_broken_file_with_the_place() {
    let home = Home::new();
    let run = home.run_with(&["config"], &[("PHOTOG_LISTN", "127.0.0.1:1")]);
    let line = run.failure();
    assert!(
        line.contains("PHOTOG_LISTN") && line.contains("`listen`"),
        "{line}"
    );

    let file = home.file("photog.toml", "data_dri = \"x\"\n");
    let run = home.run(&["--config", &file, "config"]);
    let line = run.failure();
    assert!(
        line.contains(&file) && line.contains("`data_dir`"),
        "{line}"
    );

    let file = home.file("broken.toml", "listen = \n");
    let run = home.run(&["--config", &file, "config"]);
    let line = run.failure();
    assert!(line.contains(&file) && line.contains("line 1"), "{line}");
}

#[test]
fn config_lists_every_setting_with_its_source() {
    let home = Home::new();
    let table = home.run(&["config"]);
    assert_eq!(table.code, Some(0));
    let first_words = table
        .stdout
        .lines()
        .skip(1)
        .map(|line| line.split(' ').next().unwrap());
    assert!(first_words.eq(KEYS.iter().map(|key| key.name)));

    let listed = home.run(&["config", "--json"]).json();
    let names = listed["settings"].as_array().unwrap().iter();
    assert!(
        names
            .map(|setting| &setting["name"])
            .eq(KEYS.iter().map(|key| key.name))
    );
    assert!(!home.data().exists(), "listing settings makes nothing");
}

#[test]
fn a_flag_beats_a_variable_and_that_the_file_and_that_the_default() {
    let home = Home::new();
    let file = home.file(
        "photog.toml",
        "data_dir = \"f\"\nlisten = \"127.0.0.1:1\"\nresult_days = 1\n",
    );
    let variables = [
        ("PHOTOG_CONFIG", file.as_str()),
        ("PHOTOG_DATA_DIR", "v"),
        ("PHOTOG_LISTEN", "127.0.0.1:2"),
        ("PHOTOG_TOKEN", "sesame"),
    ];
    let run = home.run_with(&["config", "--json", "--data-dir", "c"], &variables);
    assert!(!run.stdout.contains("sesame") && !run.stderr.contains("sesame"));
    let listed = run.json();
    let found = |name: &str| {
        let settings = listed["settings"].as_array().unwrap();
        let setting = settings
            .iter()
            .find(|setting| setting["name"] == name)
            .unwrap();
        (setting["value"].clone(), setting["source"].clone())
    };
    assert_eq!(found("data_dir"), ("c".into(), "command line".into()));
    assert_eq!(
        found("listen"),
        ("127.0.0.1:2".into(), "PHOTOG_LISTEN".into())
    );
    assert_eq!(found("result_days"), ("1".into(), file.as_str().into()));
    assert_eq!(found("history_days"), ("30".into(), "default".into()));
    assert_eq!(found("token"), ("***".into(), "PHOTOG_TOKEN".into()));
}

#[test]
fn doctor_finds_nothing_wrong_on_a_fresh_machine() {
    let home = Home::new();
    let run = home.run(&["doctor", "--json"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(level(&run.json(), "folders"), "ok");
    assert!(!home.data().exists(), "looking made a folder");
    assert!(home.serve(&[]).stop().0.success());
    let run = home.run(&["doctor", "--json"]);
    assert_eq!(level(&run.json(), "database"), "ok");
    let run = home.run(&["doctor"]);
    assert_eq!(run.code, Some(0));
    assert!(!run.stdout.contains("FAILURE"), "{}", run.stdout);
}

#[test]
fn doctor_fails_for_what_keeps_serve_from_starting() {
    let home = Home::new();
    let run = home.run_with(&["doctor", "--json"], &[("PHOTOG_LISTEN", "0.0.0.0:0")]);
    assert_eq!(
        (run.code, level(&run.json(), "port")),
        (Some(1), "failure".into())
    );

    let run = home.run(&["doctor", "--json", "--device", "cuda:1000"]);
    assert_eq!(
        (run.code, level(&run.json(), "device")),
        (Some(1), "failure".into())
    );

    let file = home.file("not-a-folder", "");
    let run = home.run(&["doctor", "--json", "--data-dir", &file]);
    assert_eq!(
        (run.code, level(&run.json(), "folders")),
        (Some(1), "failure".into())
    );
}

#[test]
fn doctor_warns_of_a_port_in_use_and_serve_refuses_it() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let variables = [("PHOTOG_LISTEN", address.as_str())];
    let run = home.run_with(&["doctor", "--json"], &variables);
    assert_eq!(
        (run.code, level(&run.json(), "port")),
        (Some(0), "warning".into())
    );

    let run = home.run_with(&["serve"], &variables);
    let line = run.failure();
    assert!(
        line.contains(&address) && line.contains("--listen"),
        "{line}"
    );
}

#[test]
fn doctor_fails_for_a_folder_that_cannot_be_written() {
    if rustix::process::geteuid().is_root() {
        println!("skipped: root may write everywhere");
        return;
    }
    let home = Home::new();
    assert!(home.serve(&[]).stop().0.success());
    fs::set_permissions(home.data(), fs::Permissions::from_mode(0o500)).unwrap();
    let run = home.run(&["doctor", "--json"]);
    assert_eq!(
        (run.code, level(&run.json(), "folders")),
        (Some(1), "failure".into())
    );
    let line = home.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(line.failure().contains("photog-data"), "{line:?}");
}

#[test]
fn a_database_that_is_not_ours_to_touch_is_refused_and_left_alone() {
    let cases = [
        (Spoil::Overwrite, "is damaged", "restore a backup"),
        (Spoil::Cut, "is damaged", "restore a backup"),
        (Spoil::Renumber, "has version 9999", "newer photog"),
        (
            Spoil::Replace,
            "is not a photog database",
            "another data folder",
        ),
    ];
    for (spoil, what, advice) in cases {
        let home = Home::new();
        assert!(home.serve(&[]).stop().0.success());
        fold(&home.database());
        spoil.apply(&home.database());
        let before = fs::read(home.database()).unwrap();

        let run = home.run(&["serve", "--listen", "127.0.0.1:0"]);
        let line = run.failure();
        assert!(
            line.contains(what) && line.contains(advice),
            "{what}: {line}"
        );
        let run = home.run(&["doctor", "--json"]);
        assert_eq!(
            (run.code, level(&run.json(), "database")),
            (Some(1), "failure".into()),
            "{what}"
        );
        assert!(run.stdout.contains(what), "{}", run.stdout);
        assert!(
            fs::read(home.database()).unwrap() == before,
            "{what}: the file has changed"
        );
    }
}

#[test]
fn check_without_a_detector_says_how_to_get_one() {
    let home = Home::new();
    let photo = picture(&home, "photo.png", 640, 513);
    for format in [&["check"][..], &["check", "--json"]] {
        let run = home.run(&[format, &[&photo]].concat());
        let line = run.failure();
        for part in [
            "face-detector",
            "webui/models/photog",
            "photog models",
            "--pack demo",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    assert!(!home.data().exists(), "judging files makes no data folder");
}

#[test]
fn check_judges_pictures_in_a_table_and_in_json() {
    let Some(data) = shared_data("check_judges_pictures_in_a_table_and_in_json") else {
        return;
    };
    let home = Home::new();
    bring_networks(&home, &data);
    let person = |name: &str| {
        let path = data.join("images/persons").join(name);
        path.to_str().unwrap().to_owned()
    };
    let (good, other) = (person("p02/04.jpg"), person("p03/01.jpg"));
    let small = picture(&home, "small.png", 640, 512);
    let plain = picture(&home, "plain.png", 640, 513);
    let text = home.file("text.jpg", "no picture");

    let run = home.run(&["check", &good]);
    assert_eq!(run.code, Some(0), "{run:?}");
    for part in ["1024x1280", &good, "success", "1 (36", "yes"] {
        assert!(run.stdout.contains(part), "{part}: {run:?}");
    }

    let photos = [&*good, &small, &plain, &text, "missing.jpg", &other];
    let run = home.run(&[&["check", "--json", "--same-person"], &photos[..]].concat());
    assert_eq!(run.code, Some(1), "{run:?}");
    let result = run.json();
    let results = result["check_results"].as_array().unwrap();
    let codes: Vec<_> = results
        .iter()
        .map(|result| result["code"].as_u64().unwrap())
        .collect();
    assert_eq!(codes, [1, 4, 5, 3, 2, 9]);
    assert_eq!(result["same_person"], false);
    assert_eq!(
        (&results[0]["width"], &results[0]["height"]),
        (&1024.into(), &1280.into())
    );
    assert_eq!(results[0]["faces"].as_array().unwrap().len(), 1);
    assert!(results.iter().map(|result| &result["url"]).eq(&photos));

    let run = home.run(&[&["check", "--same-person"], &photos[..]].concat());
    assert_eq!(
        (run.code, run.stdout.lines().count()),
        (Some(1), 1 + photos.len() + 1)
    );
    assert!(run.stdout.ends_with("same person: no\n"), "{run:?}");
    assert!(run.stderr.contains("5 of 6 photos"), "{run:?}");
}

#[test]
fn doctor_names_the_networks_that_are_there_and_the_one_that_cannot_be_used() {
    let test = "doctor_names_the_networks_that_are_there_and_the_one_that_cannot_be_used";
    let Some(data) = shared_data(test) else {
        return;
    };
    let home = Home::new();
    bring_networks(&home, &data);
    let run = home.run(&["doctor", "--json"]);
    assert_eq!(
        (run.code, level(&run.json(), "models")),
        (Some(0), "ok".into())
    );
    assert!(run.stdout.contains("mobilefacenet.onnx"), "{}", run.stdout);
    let detector = home.data().join(MODEL_FOLDER).join("yunet_n_dynamic.onnx");
    fs::write(detector, b"no network").unwrap();
    let run = home.run(&["doctor", "--json"]);
    assert_eq!(
        (run.code, level(&run.json(), "models")),
        (Some(0), "warning".into())
    );
    assert!(
        run.stdout.contains("yunet_n_dynamic.onnx"),
        "{}",
        run.stdout
    );
}

#[test]
fn completions_are_printed_for_each_shell() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let run = home.run(&["completions", shell]);
        assert_eq!((run.code, &*run.stderr), (Some(0), ""), "{shell}");
        for word in ["photog", "doctor", "data-dir"] {
            assert!(run.stdout.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn serve_says_where_it_listens_and_nothing_else_on_standard_output() {
    let home = Home::new();
    let server = home.serve(&["--pack", "none"]);
    assert!(std::net::TcpStream::connect(&server.address).is_ok());
    let (status, rest) = server.stop();
    assert_eq!((status.code(), &*rest), (Some(0), ""));
}

#[test]
fn serve_refuses_to_be_open_to_other_machines_without_a_token() {
    let home = Home::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let run = home.run(&["serve", "--listen", address]);
        let line = run.failure();
        assert!(line.contains("token") && line.contains(address), "{line}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    }
    let server = home.serve(&["--token", "sesame"]);
    assert!(server.stop().0.success());
}

#[test]
fn a_second_serve_on_the_same_folder_is_refused_and_the_first_goes_on() {
    let home = Home::new();
    let server = home.serve(&[]);
    let run = home.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(
        run.failure().contains("in use by another photog"),
        "{run:?}"
    );
    let run = home.run(&["doctor", "--json"]);
    assert_eq!(
        (run.code, level(&run.json(), "database")),
        (Some(0), "ok".into())
    );
    assert!(std::net::TcpStream::connect(&server.address).is_ok());
    assert!(server.stop().0.success());
    assert!(
        home.serve(&[]).stop().0.success(),
        "the folder is free again"
    );
}

#[test]
fn services_that_contradict_each_other_or_themselves_are_refused() {
    let home = Home::new();
    let echo = |member: &str| {
        format!(
            r#"{{"metadata": {{"name": "try", "type": "Async", "photog_role": "echo", {member}}}}}"#
        )
    };
    let good = home.file("good.json", echo(r#""instance": 1"#));
    let twin = home.file("twin.json", echo(r#""instance": 2"#));
    let many = home.file("many.json", echo(r#""instance": "many""#));
    let broken = home.file("broken.json", "{\"metadata\": ");
    let missing = home.path("missing.json").to_str().unwrap().to_owned();
    let cases: [(&[&str], &[&str]); 4] = [
        (&[&good, &twin], &["try"]),
        (&[&many], &["many.json", "metadata.instance"]),
        (&[&broken], &["broken.json", "line 1"]),
        (&[&missing], &["missing.json"]),
    ];
    for (files, words) in cases {
        let mut args = vec!["serve", "--listen", "127.0.0.1:0"];
        for file in files {
            args.extend(["--service", file]);
        }
        let run = home.run(&args);
        let line = run.failure();
        for word in words {
            assert!(line.contains(word), "{word}: {line}");
        }
    }
    assert!(home.serve(&["--service", &good]).stop().0.success());
}

/// What may have happened to a database.
enum Spoil {
    Overwrite,
    Cut,
    Renumber,
    Replace,
}

impl Spoil {
    fn apply(self, database: &Path) {
        let mut bytes = fs::read(database).unwrap();
        match self {
            // All but the first page.
            Self::Overwrite => bytes[4096..].fill(0xa5),
            Self::Cut => bytes.truncate(bytes.len() / 2),
            // The version stands in the header, in big-endian bytes.
            Self::Renumber => bytes[60..64].copy_from_slice(&9999_u32.to_be_bytes()),
            Self::Replace => bytes = b"notes of mine".to_vec(),
        }
        fs::write(database, bytes).unwrap();
    }
}

/// The level of the finding of this name.
fn level(findings: &Value, name: &str) -> String {
    let mut findings = findings["findings"].as_array().unwrap().iter();
    let finding = findings.find(|finding| finding["check"] == name).unwrap();
    finding["level"].as_str().unwrap().to_owned()
}

/// A picture of one colour.
fn picture(home: &Home, name: &str, width: u32, height: u32) -> String {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let pixels = RgbImage::from_pixel(width, height, image::Rgb([90, 120, 150]));
    pixels.write_to(&mut bytes, ImageFormat::Png).unwrap();
    home.file(name, bytes.into_inner())
}

/// Where the test data lie; `None` with a printed line when they are not there.
fn shared_data(test: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = std::env::var_os("PHOTOG_TEST_DATA").unwrap_or_else(|| "../shared/data".into());
    let data = root.join(data);
    if data.join("models").is_dir() {
        return Some(data);
    }
    println!("skipped {test}: no test data in {}", data.display());
    None
}

/// Puts the real networks into the data folder.
fn bring_networks(home: &Home, data: &Path) {
    let folder = home.data().join(MODEL_FOLDER);
    fs::create_dir_all(&folder).unwrap();
    for file in [
        "yunet_n/original/yunet_n_dynamic.onnx",
        "mobilefacenet/mobilefacenet.onnx",
        "lightqnet_050/lightqnet_050.onnx",
    ] {
        let from = data.join("models").join(file);
        fs::copy(&from, folder.join(from.file_name().unwrap())).unwrap();
    }
}
