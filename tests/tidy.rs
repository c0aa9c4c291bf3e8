//! What compilers and linters do not check: the tables of the crate page, the length of files,
//! words, licences, and that every setting, metric and address is documented.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail as the test itself does"
)]

#[path = "tidy/licences.rs"]
mod licences;
#[path = "tidy/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};

use photog::config::{KEYS, Settings};
use prometheus_client::{encoding::text::encode, registry::Registry};

use source::{begins_a_path, has_word, is_rust, module, production, read, texts, used_modules};

/// Everything that people of this project write.
const WRITTEN: [&str; 10] = [
    "src",
    "tests",
    "benches",
    "assets",
    ".ci",
    "README.md",
    "CHANGELOG.md",
    "Cargo.toml",
    "clippy.toml",
    "models.toml",
];
/// Longest Rust file in lines, tests included: beyond it a file has more than one idea.
const FILE_LINES_MAX: usize = 600;

#[test]
fn modules_use_exactly_what_the_table_says() {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, code) in production() {
        let modules = used.entry(module(&path).to_owned()).or_default();
        modules.extend(used_modules(&code));
    }
    let mut above = BTreeSet::new();
    for row in crate_table("module") {
        let name = single(&row[0]);
        let mut found = used.remove(&name).expect("each row names a module");
        found.remove(&name);
        let allowed = words(&row[1]);
        if row[1] != "everything" {
            assert_eq!(
                found, allowed,
                "what `{name}` uses is not what its row says"
            );
        }
        assert!(
            found.is_subset(&above),
            "`{name}` uses a module that stands below it"
        );
        above.insert(name);
    }
    let rest: Vec<_> = used.into_keys().collect();
    assert_eq!(rest, ["lib", "main"], "modules without a row");
}

#[test]
fn modules_are_reached_by_their_full_path() {
    // A path that climbs to the root by `super` would escape the table.
    for (path, code) in production() {
        let depth = path.matches('/').count() - usize::from(path.ends_with("/mod.rs"));
        let climb = "super::".repeat(depth);
        assert!(!code.contains(&climb), "{path} climbs to the root");
    }
}

#[test]
fn libraries_are_known_to_their_modules_only() {
    for row in crate_table("library") {
        let homes = words(&row[1]);
        for library in words(&row[0]) {
            let users: BTreeSet<String> = production()
                .into_iter()
                .filter(|(_, code)| begins_a_path(code, &library))
                .map(|(path, _)| module(&path).to_owned())
                .collect();
            assert_eq!(
                users, homes,
                "who knows `{library}` is not what its row says"
            );
        }
    }
}

#[test]
fn files_hold_one_idea() {
    let long: BTreeMap<String, usize> = WRITTEN
        .into_iter()
        .flat_map(texts)
        .filter(|(path, _)| is_rust(path))
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .collect();
    assert!(
        long.is_empty(),
        "files over {FILE_LINES_MAX} lines: {long:?}; cut each along an idea"
    );
}

#[test]
fn nothing_is_left_for_later() {
    // In pieces, so that this file passes.
    let unfinished = ["TO_DO", "FIX_ME", "XX_X", "db_g"].map(|word| word.replace('_', ""));
    for (path, text) in WRITTEN.into_iter().flat_map(texts) {
        for (line, number) in text.lines().zip(1..) {
            for word in &unfinished {
                assert!(!has_word(line, word), "{path}:{number} has {word}");
            }
        }
    }
}

#[test]
fn nothing_names_a_folder_of_one_machine() {
    let folders = ["work", "root", "home", "Users"].map(|name| format!("/{name}/"));
    for (path, text) in WRITTEN.into_iter().flat_map(texts) {
        for (line, number) in text.lines().zip(1..) {
            let named = folders.iter().find(|folder| {
                line.match_indices(*folder)
                    .any(|(at, _)| !line[..at].ends_with(|sign: char| sign.is_alphanumeric()))
            });
            // An address that a request may try, which is refused.
            let is_example = line.contains("/user/");
            assert!(named.is_none() || is_example, "{path}:{number}: {line}");
        }
    }
}

#[test]
fn only_tests_unwrap() {
    for (path, code) in production() {
        assert!(!code.contains(".unwrap()"), "{path} has an unwrap");
    }
}

#[test]
fn every_metric_is_in_the_readme() {
    let mut registry = Registry::default();
    let jobs = photog::observe::JobMetrics::default();
    // A family without a value is not listed.
    jobs.record("echo", std::time::Duration::ZERO, "OK");
    jobs.record_wait("echo", std::time::Duration::ZERO);
    jobs.register(&mut registry);
    photog::observe::CommitMetrics::default().register(&mut registry);
    let mut registered = String::new();
    encode(&mut registered, &registry).unwrap();
    let counted = registered.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some(match kind {
            "counter" => format!("{name}_total"),
            _ => name.to_owned(),
        })
    });
    let code = &production()["src/http/routes/metrics.rs"];
    let written = code.match_indices("photog_").map(|(at, _)| {
        code[at..]
            .chars()
            .take_while(|sign| is_name(*sign))
            .collect()
    });
    let mut names: BTreeSet<String> = counted.chain(written).collect();
    // The counter's family, written beside its sample.
    names.remove("photog_puts");
    let readme = read("README.md");
    let documented: BTreeSet<String> = table(&readme, "metric")
        .iter()
        .map(|row| single(row[0].split('{').next().unwrap()))
        .collect();
    assert_eq!(names, documented);
}

#[test]
fn the_example_configuration_shows_every_setting_with_its_default() {
    let example = read("assets/photog.example.toml");
    let settings: Vec<&str> = example
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| {
            line.split(" = ")
                .next()
                .is_some_and(|name| name.chars().all(is_name))
        })
        .filter(|line| line.contains(" = "))
        .collect();
    let names: Vec<_> = settings
        .iter()
        .filter_map(|line| line.split(" = ").next())
        .collect();
    let known: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(names, known);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("photog.toml");
    let effective = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let settings = Settings::collect(Some(&file), [], []).unwrap();
        format!("{:?}", settings.check().unwrap())
    };
    assert_eq!(effective(&settings.join("\n")), effective(""));
    assert_eq!(effective(&example), effective(""));
}

#[test]
fn settings_are_explained_in_the_words_of_the_program() {
    let example = read("assets/photog.example.toml");
    for key in KEYS {
        let flat = example.replace("\n# ", " ");
        assert!(flat.contains(key.help), "`{}`: {}", key.name, key.help);
    }
}

/// The rows of the crate page's table whose first column has this heading.
fn crate_table(heading: &str) -> Vec<Vec<String>> {
    let page = read("src/lib.rs").replace("\n//! ", "\n");
    table(&page, heading)
}

/// The rows of the Markdown table whose first column has this heading.
fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let start = format!("| {heading} |");
    let rows: Vec<Vec<String>> = text
        .lines()
        .skip_while(|line| !line.starts_with(&start))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect();
    assert!(!rows.is_empty(), "no table of {heading}");
    rows
}

/// What stands in backquotes in a cell.
fn words(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(ToOwned::to_owned)
        .collect()
}

fn single(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

fn is_name(sign: char) -> bool {
    sign.is_ascii_lowercase() || sign == '_'
}
