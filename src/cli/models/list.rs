//! `photog models list`.

use std::{path::Path, process::ExitCode};

use serde_json::{Value, json};

use super::{State, Stock, shown};
use crate::{
    cli::out,
    models::catalog::{Entry, Role},
};

/// Most foreign files that are named.
const FOREIGN_MAX: usize = 100;

pub(super) fn run(stock: &Stock, as_json: bool) -> anyhow::Result<ExitCode> {
    let used: Vec<&str> = Role::ALL
        .into_iter()
        .filter_map(|role| stock.catalog.present(role, &stock.root))
        .map(|(entry, _)| entry.name.as_str())
        .collect();
    let is_used = |entry: &Entry| used.contains(&entry.name.as_str());
    let missing: Vec<Role> = Role::ALL
        .into_iter()
        .filter(|role| stock.catalog.present(*role, &stock.root).is_none())
        .collect();
    let foreign = foreign(stock);
    if as_json {
        let models: Vec<Value> = stock
            .catalog
            .entries()
            .iter()
            .map(|entry| describe(stock, entry, is_used(entry)))
            .collect();
        let missing: Vec<Value> = missing
            .iter()
            .map(|role| json!({"role": role, "hint": stock.catalog.how_to_get(*role)}))
            .collect();
        out::json(&json!({
            "folder": shown(&stock.folder()),
            "models": models,
            "missing": missing,
            "other_files": foreign,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = vec![
        ["NAME", "PURPOSE", "STATE", "USED", "BY", "FILE", "LICENCE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for entry in stock.catalog.entries() {
        let way = if entry.url.is_some() {
            "pull"
        } else {
            "import"
        };
        rows.push(vec![
            entry.name.clone(),
            entry.role.to_string(),
            stock.state(entry).as_str().to_owned(),
            if is_used(entry) { "yes" } else { "-" }.to_owned(),
            way.to_owned(),
            entry.file.clone(),
            entry.license.clone(),
        ]);
    }
    let mut text = out::table(&rows);
    text.push('\n');
    let mut say = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    say(format!("The files lie in {}.", shown(&stock.folder())));
    for entry in stock.catalog.entries() {
        if stock.state(entry) == State::Damaged {
            say(format!(
                "{} has not the size that it should have: `photog models verify {}` says more.",
                entry.file, entry.name
            ));
        }
    }
    for role in missing {
        say(format!(
            "There is no {role}: {}.",
            stock.catalog.how_to_get(role)
        ));
    }
    if !foreign.is_empty() {
        say(format!(
            "Not known, and not used: {}. Describe them in models.toml in the data folder to use \
             them.",
            foreign.join(", ")
        ));
    }
    out::bytes(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn describe(stock: &Stock, entry: &Entry, is_used: bool) -> Value {
    let expected = stock.lock.expected(entry);
    json!({
        "name": entry.name,
        "role": entry.role,
        "state": stock.state(entry).as_str(),
        "in_use": is_used,
        "file": entry.file,
        "about": entry.about,
        "license": entry.license,
        "source": entry.source,
        "url": entry.url,
        "size": expected.size,
        "sha256": expected.sha256,
        "pinned": expected.pinned,
        "own": stock.catalog.is_own(&entry.name),
    })
}

/// ONNX files in the folder that no entry names.
fn foreign(stock: &Stock) -> Vec<String> {
    let Ok(files) = std::fs::read_dir(stock.folder()) else {
        return Vec::new();
    };
    let mut names: Vec<String> = files
        .filter_map(|file| file.ok()?.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "onnx"))
        .filter(|name| {
            let mut entries = stock.catalog.entries().iter();
            entries.all(|entry| entry.file != *name)
        })
        // Terminals obey control characters.
        .map(|name| name.chars().filter(|sign| !sign.is_control()).collect())
        .take(FOREIGN_MAX)
        .collect();
    names.sort();
    names
}
