//! Options of a service on the command line: `--set NAME=VALUE`, with names as in `configure`.

use anyhow::Context as _;
use serde_json::{Map, Value, json};

/// The members that these texts give. A value that is JSON is taken as such, and any other as a text.
pub fn read(set: &[String]) -> anyhow::Result<Map<String, Value>> {
    let member = |set: &String| {
        let (name, value) = set
            .split_once('=')
            .with_context(|| format!("--set {set} has no value; write NAME=VALUE"))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
        Ok((name.to_owned(), value))
    };
    set.iter().map(member).collect()
}
