//! `photog models list`.

use std::{path::Path, process::ExitCode};

use serde_json::{Value, json};

use super::{State, Stock, shown};
use crate::{
    cli::out,
    config::PackChoice,
    models::{
        catalog::{Entry, Role},
        library, supply,
    },
};

/// Most files that are named of those that are not used.
const NAMED_MAX: usize = 100;

pub(super) fn run(stock: &Stock, as_json: bool) -> anyhow::Result<ExitCode> {
    let used_for = |role| stock.catalog.present(role, &stock.root, stock.pack());
    let used: Vec<&str> = Role::ONNX
        .into_iter()
        .filter_map(used_for)
        .map(|(entry, _)| entry.name.as_str())
        .collect();
    let is_used = |entry: &Entry| used.contains(&entry.name.as_str());
    let missing: Vec<Role> = Role::ONNX
        .into_iter()
        .filter(|role| used_for(*role).is_none())
        .collect();
    let foreign = foreign(stock);
    let not_used = library::not_used(&stock.root);
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
            "not_used": not_used,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = vec![
        ["NAME", "PURPOSE", "STATE", "USED", "BY", "FILE", "LICENCE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for entry in stock.catalog.entries() {
        let way = match (entry.pack, &entry.url) {
            (Some(_), _) => "--pack",
            (None, Some(_)) => "pull",
            (None, None) => "import",
        };
        rows.push(vec![
            entry.name.clone(),
            entry.role.to_string(),
            stock.state(entry).as_str().to_owned(),
            used_text(entry, is_used(entry)).to_owned(),
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
    say(format!("The files lie in {}:", shown(&stock.root)));
    for (folder, roles) in folders() {
        say(format!("  {folder}: {}", roles.join(", ")));
    }
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
    if stock.choice == PackChoice::Auto && supply::is_empty(&stock.root) {
        say(String::from(
            "The data folder holds no models: `photog serve` works with what is built in, and so does \
             each command with `--pack demo`.",
        ));
    }
    if !foreign.is_empty() {
        say(format!(
            "Not known, and not used: {}. Describe them in models.toml in the data folder to use \
             them.",
            foreign.join(", ")
        ));
    }
    for text in not_used.iter().take(NAMED_MAX) {
        say(format!("Not used: {text}."));
    }
    out::bytes(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Of ONNX files the first of each purpose is used; of others that which a request names.
fn used_text(entry: &Entry, is_used: bool) -> &'static str {
    match (entry.role.is_onnx(), is_used) {
        (true, true) => "yes",
        (true, false) => "-",
        (false, _) => "by name",
    }
}

/// Where files lie, and of which roles.
fn folders() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut folders: Vec<(&str, Vec<&str>)> = Vec::new();
    for role in Role::ALL {
        match folders.last_mut() {
            Some((folder, roles)) if *folder == role.folder() => roles.push(role.as_str()),
            _ => folders.push((role.folder(), vec![role.as_str()])),
        }
    }
    folders
}

fn describe(stock: &Stock, entry: &Entry, is_used: bool) -> Value {
    let expected = stock.lock.expected(entry);
    json!({
        "name": entry.name,
        "role": entry.role,
        "state": stock.state(entry).as_str(),
        "in_use": is_used,
        "file": entry.file,
        "path": entry.place(&stock.root).to_string(),
        "pack": entry.pack,
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
            entries.all(|entry| entry.pack.is_some() || entry.file != *name)
        })
        // Terminals obey control characters.
        .map(|name| name.chars().filter(|sign| !sign.is_control()).collect())
        .take(NAMED_MAX)
        .collect();
    names.sort();
    names
}
