//! Reads lists of networks, strictly: what is unknown, out of bounds or missing is an error that
//! names its entry.

use std::{collections::BTreeSet, fs::File, io::Read as _, path::Path};

use super::{CatalogError, Entry, Preprocess, Role, Thresholds};

/// Largest list in bytes.
const LIST_BYTES_MAX: u64 = 1 << 20;
/// Most entries of one list.
const ENTRIES_MAX: usize = 1000;
/// Longest name of an entry.
const NAME_BYTES_MAX: usize = 64;
/// Longest name of a file; file systems take 255, and a file in transfer has a longer name.
const FILE_BYTES_MAX: usize = 200;
/// Longest text for people, and longest address.
const TEXT_BYTES_MAX: usize = 2000;
/// Longest side of a network's input in pixels.
const SIDE_MAX: u32 = 4096;
/// Most numbers that describe a face.
const EMBEDDING_LENGTH_MAX: usize = 4096;
/// A detector's coarsest grid has a cell for each 32 pixels.
const DETECTOR_STEP: u32 = 32;

/// The text of a list or lock file; `None` when there is no such file.
pub(super) fn text(path: &Path) -> Result<Option<String>, CatalogError> {
    let failed = |reason: String| CatalogError::Read {
        file: path.display().to_string(),
        reason,
    };
    // Opening a pipe would wait for its writer.
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
        Ok(data) if !data.is_file() => return Err(failed(String::from("it is no plain file"))),
        Ok(_) => {}
    }
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LIST_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > LIST_BYTES_MAX {
        return Err(failed(format!("it is larger than {LIST_BYTES_MAX} bytes")));
    }
    Ok(Some(text))
}

/// The tables under `model` of a document; the error names the line of broken TOML.
pub(super) fn tables(text: &str) -> Result<Vec<toml::Value>, String> {
    let document: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.unwrap_or_default().matches('\n').count() + 1;
        format!("line {line}: {}", error.message())
    })?;
    let mut models = Vec::new();
    for (name, value) in document {
        match value {
            toml::Value::Array(items) if name == "model" => models = items,
            _ if name == "model" => {
                return Err(String::from("each entry has to begin with `[[model]]`"));
            }
            _ => {
                return Err(format!(
                    "`{}` is not known; every entry begins with `[[model]]`",
                    shown(&name)
                ));
            }
        }
    }
    if models.len() > ENTRIES_MAX {
        return Err(format!("it has more than {ENTRIES_MAX} entries"));
    }
    Ok(models)
}

/// The entries of a list in its order. The error names the entry.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let mut names = BTreeSet::new();
    let mut files = BTreeSet::new();
    for (value, number) in tables(text)?.into_iter().zip(1..) {
        let name = value.get("name").and_then(toml::Value::as_str);
        let label = name.map_or_else(
            || format!("entry {number}"),
            |name| format!("entry `{}`", shown(name)),
        );
        let entry = entry(value).map_err(|reason| format!("{label}: {reason}"))?;
        if !names.insert(entry.name.clone()) {
            return Err(format!("{label} is there twice"));
        }
        if !files.insert((entry.pack, entry.role.folder(), entry.file.clone())) {
            return Err(format!(
                "{label}: another entry has the file `{}` too",
                entry.file
            ));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(value: toml::Value) -> Result<Entry, String> {
    let mut entry: Entry = value.try_into().map_err(|error| message(&error))?;
    check_texts(&entry)?;
    if let Some(hash) = &mut entry.sha256 {
        hash.make_ascii_lowercase();
        if !is_sha256(hash) {
            return Err(String::from("`sha256` must be 64 hexadecimal digits"));
        }
    }
    if entry
        .size
        .is_some_and(|size| size == 0 || size > entry.role.bytes_max())
    {
        let most = entry.role.bytes_max();
        return Err(format!("`size` must be from 1 to {most}"));
    }
    if let Some(preprocess) = &entry.preprocess {
        check_preprocess(preprocess)?;
    }
    if entry.pack.is_some() && entry.url.is_some() {
        let reason = "`url` has no meaning for a network of a pack; take it out";
        return Err(String::from(reason));
    }
    check_role(&entry)?;
    check_picture_size(&entry)?;
    Ok(entry)
}

/// Whether this is a hash as entries hold it.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether this can be the name of an entry.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|sign: char| sign.is_ascii_lowercase() || sign.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

/// Whether this is a plain name of a network's file, which leads nowhere else.
pub(super) fn is_file_name(file: &str) -> bool {
    file.len() <= FILE_BYTES_MAX
        && Role::ALL.into_iter().any(|role| ends_as(file, role))
        && !file.starts_with('.')
        && !file.contains(['/', '\\'])
        && !file.contains(char::is_control)
}

/// Whether a file has the ending of this role's files.
fn ends_as(file: &str, role: Role) -> bool {
    let end = Path::new(file).extension();
    end.is_some_and(|end| end == role.ending())
}

fn check_texts(entry: &Entry) -> Result<(), String> {
    if !is_name(&entry.name) {
        return Err(format!(
            "`name` must be at most {NAME_BYTES_MAX} small letters, digits, `.`, `_` and `-`, and \
             begin with a letter or digit"
        ));
    }
    // A whole model in a pack is a folder.
    let is_folder = entry.pack.is_some() && entry.role == Role::Checkpoint && is_name(&entry.file);
    let is_file = is_file_name(&entry.file) && ends_as(&entry.file, entry.role);
    if !is_folder && !is_file {
        return Err(format!(
            "`file` must be the plain name of a file that ends in .{}, without a folder",
            entry.role.ending()
        ));
    }
    let texts = [
        ("about", Some(&entry.about)),
        ("license", Some(&entry.license)),
        ("source", entry.source.as_ref()),
        ("url", entry.url.as_ref()),
    ];
    for (field, text) in texts {
        // Terminals obey control characters.
        if text.is_some_and(|text| text.len() > TEXT_BYTES_MAX || text.contains(char::is_control)) {
            return Err(format!(
                "`{field}` must be one line of at most {TEXT_BYTES_MAX} bytes"
            ));
        }
    }
    let is_address = |url: &String| {
        (url.starts_with("https://") || url.starts_with("http://"))
            && !url.contains(char::is_whitespace)
    };
    if !entry.url.as_ref().is_none_or(is_address) {
        return Err(String::from("`url` must begin with https:// or http://"));
    }
    Ok(())
}

fn check_preprocess(preprocess: &Preprocess) -> Result<(), String> {
    if let Some(sides) = preprocess.size
        && sides.iter().any(|side| !(1..=SIDE_MAX).contains(side))
    {
        return Err(format!(
            "`preprocess.size` must be width and height, each from 1 to {SIDE_MAX}"
        ));
    }
    if !preprocess.mean.iter().all(|mean| mean.is_finite()) {
        return Err(String::from(
            "`preprocess.mean` must be three plain numbers",
        ));
    }
    // The smallest numbers have no exact inverse and stand for a slip.
    if !preprocess.scale.iter().all(|scale| scale.is_normal()) {
        return Err(String::from(
            "`preprocess.scale` must be three plain numbers other than 0",
        ));
    }
    Ok(())
}

/// What a role needs has to be there, and what it does not know must not.
fn check_role(entry: &Entry) -> Result<(), String> {
    use Role::{FaceDetector, FaceEmbedding, FaceQuality};

    let role = entry.role;
    let Thresholds {
        score,
        overlap,
        same_person,
        quality,
    } = entry.thresholds;
    let fields = [
        ("detector", entry.detector.is_some(), FaceDetector),
        ("thresholds.score", score.is_some(), FaceDetector),
        ("thresholds.overlap", overlap.is_some(), FaceDetector),
        (
            "embedding_length",
            entry.embedding_length.is_some(),
            FaceEmbedding,
        ),
        (
            "thresholds.same_person",
            same_person.is_some(),
            FaceEmbedding,
        ),
        ("thresholds.quality", quality.is_some(), FaceQuality),
    ];
    let owned = fields.map(|(field, is_there, owner)| (field, is_there, owner == role));
    let preprocess = ("preprocess", entry.preprocess.is_some(), role.is_onnx());
    for (field, is_there, is_needed) in [preprocess].into_iter().chain(owned) {
        if is_there != is_needed {
            return Err(if is_there {
                format!("`{field}` has no meaning for a {role}; take it out")
            } else {
                format!("`{field}` is missing, which a {role} needs")
            });
        }
    }
    for (field, value) in [
        ("score", score),
        ("overlap", overlap),
        ("same_person", same_person),
        ("quality", quality),
    ] {
        if value.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
            return Err(format!("`thresholds.{field}` must be from 0 to 1"));
        }
    }
    if entry
        .embedding_length
        .is_some_and(|length| !(1..=EMBEDDING_LENGTH_MAX).contains(&length))
    {
        return Err(format!(
            "`embedding_length` must be from 1 to {EMBEDDING_LENGTH_MAX}"
        ));
    }
    Ok(())
}

/// Detectors and super-resolution take pictures of any size, or detectors of whole cells; the others
/// take one size.
fn check_picture_size(entry: &Entry) -> Result<(), String> {
    let role = entry.role;
    let Some(preprocess) = &entry.preprocess else {
        return Ok(());
    };
    let may_be_any = matches!(role, Role::FaceDetector | Role::SuperResolution);
    match preprocess.size {
        None if !may_be_any => Err(format!(
            "`preprocess.size` is missing, which a {role} needs"
        )),
        Some(sides)
            if role == Role::FaceDetector && sides.iter().any(|side| side % DETECTOR_STEP > 0) =>
        {
            Err(format!(
                "`preprocess.size` of a {role} must be multiples of {DETECTOR_STEP}"
            ))
        }
        _ => Ok(()),
    }
}

/// What is wrong with a value and in which field, on one line.
pub(super) fn message(error: &toml::de::Error) -> String {
    let lines = error.to_string();
    let lines: Vec<&str> = lines.lines().map(str::trim).collect();
    // It repeats what the list holds.
    let text = lines.join(" ");
    let plain = text.trim().chars().filter(|sign| !sign.is_control());
    plain.take(TEXT_BYTES_MAX).collect()
}

/// A text from a list, fit to be shown: short and without control characters.
fn shown(text: &str) -> String {
    text.chars()
        .filter(|sign| !sign.is_control())
        .take(NAME_BYTES_MAX)
        .collect()
}
