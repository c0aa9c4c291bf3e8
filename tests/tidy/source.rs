//! Reads the project's own files: which there are, and what of a Rust file is no test.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Folders that are no part of the sources, wherever they stand.
const SKIPPED: [&str; 5] = ["target", "photog-data", ".venv", "__pycache__", ".git"];
/// What begins an item that is compiled for tests only.
const TEST_ONLY: &str = "#[cfg(test)]";

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Text of a file, named by its path below the root.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All text files below a folder or at a path, by their paths below the root.
pub fn texts(below: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root().join(below)];
    while let Some(path) = open.pop() {
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| SKIPPED.contains(&name)) {
            continue;
        }
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            let name = path.strip_prefix(root()).unwrap();
            found.insert(name.to_str().unwrap().to_owned(), text);
        }
    }
    found
}

/// The Rust files of the library and the program without their tests and comments.
pub fn production() -> BTreeMap<String, String> {
    let sources = texts("src");
    let tests: Vec<PathBuf> = sources
        .iter()
        .flat_map(|(path, text)| test_modules(Path::new(path), text))
        .collect();
    let is_test = |path: &str| {
        let plain = Path::new(path).with_extension("");
        tests.iter().any(|test| plain.starts_with(test))
    };
    sources
        .into_iter()
        .filter(|(path, _)| is_rust(path) && !is_test(path))
        .map(|(path, text)| (path, without_tests(&text)))
        .collect()
}

/// Whether a path names a Rust file.
pub fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|end| end == "rs")
}

/// Top-level module of a source file: `queue` for `src/queue/model/mod.rs`.
pub fn module(path: &str) -> &str {
    let below = path.trim_start_matches("src/").trim_end_matches(".rs");
    below.split('/').next().unwrap_or(below)
}

/// The paths, without extension, of modules that a file declares for tests only.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let folder = match path.file_name().and_then(|name| name.to_str()) {
        Some("mod.rs" | "lib.rs") => path.parent().unwrap().to_owned(),
        _ => path.with_extension(""),
    };
    text.split(TEST_ONLY)
        .skip(1)
        .filter_map(|rest| rest.trim_start().lines().next())
        .filter_map(|line| line.strip_suffix(';')?.rsplit_once("mod "))
        .map(|(_, name)| folder.join(name))
        .collect()
}

/// The lines of formatted code that are neither comments nor inside an item for tests.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == TEST_ONLY {
            skip_item(&mut lines, line);
        } else if !line.trim_start().starts_with("//") {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Skips the item after an attribute: one line with a semicolon, or up to the closing brace
/// below the attribute.
fn skip_item<'a>(lines: &mut impl Iterator<Item = &'a str>, attribute: &str) {
    let indent = attribute.len() - attribute.trim_start().len();
    let end = format!("{}}}", &attribute[..indent]);
    let mut item = lines.skip_while(|line| line.trim_start().starts_with("#["));
    let first = item.next().unwrap_or_default();
    if !first.ends_with(';') {
        item.find(|line| *line == end);
    }
}

/// Names that follow `crate::` in the code, groups in braces included.
pub fn used_modules(code: &str) -> BTreeSet<String> {
    code.match_indices("crate::")
        .filter(|(at, _)| !code[..*at].ends_with(is_word))
        .flat_map(|(at, found)| heads(&code[at + found.len()..]))
        .collect()
}

/// The first name of a path, or of each path of the group that begins here.
fn heads(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else {
        return vec![first_word(rest)];
    };
    let mut depth = 0;
    let mut start = 0;
    let mut heads = Vec::new();
    for (at, sign) in group.char_indices() {
        match sign {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                heads.push(first_word(group[start..at].trim_start()));
                start = at + 1;
                if sign == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|sign| is_word(*sign)).collect()
}

/// Whether the code has a path that begins with the library's name.
pub fn begins_a_path(code: &str, library: &str) -> bool {
    code.match_indices(&format!("{library}::"))
        .any(|(at, _)| !code[..at].ends_with(|sign| is_word(sign) || sign == ':'))
}

/// Whether the text has this word, standing by itself.
pub fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_word) && !text[at + word.len()..].starts_with(is_word)
    })
}

fn is_word(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}

#[test]
fn groups_and_plain_paths_are_read() {
    let code =
        "use crate::{\n    a::{b, c},\n    d,\n    e::f,\n};\nlet x = crate::g::h(); my_crate::i";
    let names: Vec<_> = used_modules(code).into_iter().collect();
    assert_eq!(names, ["a", "d", "e", "g"]);
}

#[test]
fn tests_and_comments_are_not_code() {
    let text = "//! crate::a\nfn f() {}\n#[cfg(test)]\nmod samples;\nfn g() {\n    // crate::b\n    h();\n}\n\n#[cfg(test)]\nmod tests {\n    use crate::c;\n    fn t() {\n    }\n}\nfn last() {}\n";
    assert_eq!(
        without_tests(text),
        "fn f() {}\nfn g() {\n    h();\n}\n\nfn last() {}\n"
    );
    let declared = test_modules(Path::new("src/a/mod.rs"), text);
    assert_eq!(declared, [Path::new("src/a/samples")]);
}
