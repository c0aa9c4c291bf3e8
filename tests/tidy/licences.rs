//! Every dependency has to have a licence under which this program may be given away as
//! `MIT OR Apache-2.0` with no more than its notices.

use std::process::Command;

use serde_json::Value;

use crate::source::root;

/// Licences that ask for notices at most.
const ALLOWED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages of the tensor library with the Mozilla licence. It covers their own files only and asks
/// that these stay available, as they are in the package registry; this program does not change them.
const UNCHANGED: [&str; 2] = ["colored", "option-ext"];

#[test]
fn every_dependency_may_be_given_away() {
    let refused: Vec<String> = packages()
        .iter()
        .filter_map(|package| {
            let licence = package["license"].as_str().unwrap_or("none");
            let unchanged =
                licence == "MPL-2.0" && UNCHANGED.iter().any(|name| package["name"] == *name);
            (!is_allowed(licence) && !unchanged).then(|| format!("{}: {licence}", package["name"]))
        })
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// What is compiled on this machine's kind, tests and benches included.
fn packages() -> Vec<Value> {
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    let found = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        found.status.success(),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
    let metadata: Value = serde_json::from_slice(&found.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether an SPDX expression can be met with allowed licences. The older `A/B` is `A OR B`. An
/// exception (`WITH`) only permits more.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    let allowed = any(&mut words);
    allowed && words.is_empty()
}

fn any(words: &mut Vec<&str>) -> bool {
    let mut allowed = all(words);
    while words.pop_if(|word| *word == "OR").is_some() {
        allowed |= all(words);
    }
    allowed
}

fn all(words: &mut Vec<&str>) -> bool {
    let mut allowed = one(words);
    while words.pop_if(|word| *word == "AND").is_some() {
        allowed &= one(words);
    }
    allowed
}

fn one(words: &mut Vec<&str>) -> bool {
    let allowed = match words.pop() {
        Some("(") => {
            let inner = any(words);
            inner && words.pop() == Some(")")
        }
        Some(licence) => ALLOWED.contains(&licence),
        None => false,
    };
    if words.pop_if(|word| *word == "WITH").is_some() {
        words.pop();
    }
    allowed
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0-only OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0-only",
        "MIT OR GPL-2.0-only AND MPL-2.0",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in [
        "",
        "none",
        "GPL-3.0-only",
        "MPL-2.0",
        "MIT AND MPL-2.0",
        "(MIT OR GPL-2.0-only) AND MPL-2.0",
        "MIT MIT",
    ] {
        assert!(!is_allowed(bad), "{bad}");
    }
}
