//! Apps that may call the hosted API, and their tokens.

use std::{collections::BTreeMap, io::Read as _, path::Path};

use crate::domain::Secret;

use super::{ConfigError, FILE_BYTES_MAX, warn_if_open};

/// Longest id of an app in bytes.
const ID_BYTES_MAX: usize = 128;

/// The apps of the setting, or those of the file if there are none.
pub(super) fn read(given: &[String], file: &str) -> Result<BTreeMap<String, Secret>, ConfigError> {
    if !given.is_empty() || file.is_empty() {
        return collect("`apps`", given.iter().map(String::as_str));
    }
    let name = format!("the apps file {file}");
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| ConfigError(format!("{name} cannot be read: {error}")))?;
    warn_if_open(Path::new(file));
    let lines = text.lines().map(str::trim);
    let apps = collect(&name, lines.filter(|line| !is_comment(line)))?;
    if apps.is_empty() {
        return Err(ConfigError(format!(
            "{name} holds no app; write appid:token, one a line"
        )));
    }
    Ok(apps)
}

fn is_comment(line: &str) -> bool {
    line.is_empty() || line.starts_with('#')
}

/// Errors tell the place and not the text, which holds a token.
fn collect<'a>(
    from: &str,
    given: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<String, Secret>, ConfigError> {
    let mut apps = BTreeMap::new();
    for (number, text) in (1..).zip(given) {
        let pair = text.split_once(':');
        let good = |id: &str, token: &str| is_id(id) && !token.is_empty();
        let Some((id, token)) = pair.filter(|(id, token)| good(id, token)) else {
            return Err(ConfigError(format!(
                "{from}: app {number} is not appid:token, where the id has 1 to {ID_BYTES_MAX} visible \
                 ASCII signs and no colon"
            )));
        };
        if apps.insert(id.to_owned(), Secret::new(token)).is_some() {
            return Err(ConfigError(format!("{from} has the app `{id}` twice")));
        }
    }
    Ok(apps)
}

/// An id stands in a header, before a colon.
fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
