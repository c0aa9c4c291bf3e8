//! `photog models pull`: the one command that fetches networks, and only because it was asked to.

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use serde_json::json;

use super::{NotAccepted, Outcome, Stock, fail_if_any, print_json, shown};
use crate::{
    cli::{
        out,
        progress::{Progress, Unit, size},
        signals,
    },
    fetch::{Download, DownloadError, Downloaded, NetworkPolicy, Patience, download},
    job::CancelToken,
    models::catalog::{Entry, Identity, Role},
    store::DataFolder,
};

pub(super) fn run(
    stock: &Stock,
    names: &[String],
    policy: &NetworkPolicy,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let wanted = if names.is_empty() {
        standard(stock)
    } else {
        let entries = names.iter().map(|name| stock.entry(name));
        entries.collect::<anyhow::Result<Vec<_>>>()?
    };
    let notes = if names.is_empty() {
        notes(stock)
    } else {
        vec![]
    };
    let cancel = CancelToken::default();
    if wanted.iter().any(|entry| entry.pack.is_none()) {
        DataFolder::open(&stock.root)
            .with_context(|| format!("the data folder {}", stock.root.display()))?;
        signals::cancel_on_signal(&cancel)?;
    }
    let mut outcomes = Vec::new();
    for entry in wanted {
        let outcome = pull(stock, entry, policy, &cancel, as_json)?;
        if !as_json && !outcome.is_failed() {
            out::line(&format!("{}: {}", outcome.name, outcome.text))?;
        }
        outcomes.push(outcome);
        if cancel.reason().is_some() {
            break;
        }
    }
    if as_json {
        print_json(&outcomes, &json!({ "notes": notes }))?;
    } else {
        if outcomes.is_empty() {
            out::line("Nothing to fetch: every purpose that can be fetched for has its network.")?;
        }
        for note in notes {
            out::line(&note)?;
        }
    }
    fail_if_any(&outcomes)
}

/// For each role of ONNX files that has no file, or a damaged one: the first network that can be fetched.
/// Those that make pictures are large and a matter of taste; they are fetched by name.
fn standard(stock: &Stock) -> Vec<&Entry> {
    let wanted = |role| match stock.of_folder(role) {
        Some(entry) => stock.whole(entry).is_none().then_some(entry),
        None => stock.catalog.downloadable(role),
    };
    Role::ONNX
        .into_iter()
        .filter_map(wanted)
        .filter(|entry| entry.url.is_some())
        .collect()
}

/// The roles of ONNX files that have none and that nothing can be fetched for.
fn notes(stock: &Stock) -> Vec<String> {
    Role::ONNX
        .into_iter()
        .filter(|role| stock.of_folder(*role).is_none())
        .filter(|role| stock.catalog.downloadable(*role).is_none())
        .map(|role| {
            let way = stock.catalog.how_to_get(role);
            format!("There is no {role} to fetch: {way}.")
        })
        .collect()
}

fn pull(
    stock: &Stock,
    entry: &Entry,
    policy: &NetworkPolicy,
    cancel: &CancelToken,
    as_json: bool,
) -> anyhow::Result<Outcome> {
    let path = entry.path(&stock.root);
    let expected = stock.lock.expected(entry);
    if let Some(found) = stock.whole(entry) {
        if let Some(pack) = entry.pack {
            let text = format!(
                "it is built into photog, and nothing has to be fetched; `--pack {pack}` uses it"
            );
            return Ok(outcome(entry, "built in", text, &found));
        }
        let text = format!("{} is there already", shown(&path));
        return Ok(outcome(entry, "already there", text, &found));
    }
    if entry.pack.is_some() {
        let text = String::from("it is not whole; get photog again, since it is a part of it");
        return Ok(Outcome::failed(&entry.name, text));
    }
    let Some(url) = &entry.url else {
        let text = format!(
            "it cannot be fetched, its file has to be brought: get {} from {} and run `photog models \
             import PATH`",
            entry.file,
            entry.source.as_deref().unwrap_or("its source")
        );
        return Ok(Outcome::failed(&entry.name, text));
    };
    if !as_json {
        let from = entry.source.as_deref().unwrap_or(url);
        let bytes = expected
            .size
            .map_or_else(String::new, |bytes| format!(", {}", size(bytes)));
        out::line(&format!(
            "{}: {}; licence: {}; source: {from}{bytes}",
            entry.name, entry.about, entry.license
        ))?;
    }
    // A file whose hash is not known waits under another name until it has been looked into.
    let target = if expected.sha256.is_some() {
        path.clone()
    } else {
        stock.unchecked(entry)
    };
    let wanted = Download {
        url,
        trusted: stock.catalog.is_own(&entry.name),
        target: &target,
        bytes_max: entry.role.bytes_max(),
        size: expected.size,
        sha256: expected.sha256.as_deref(),
    };
    let mut progress = Progress::new(&entry.name, Unit::Bytes);
    let fetched = download(
        &wanted,
        policy,
        &Patience::default(),
        cancel,
        &mut |done, total| progress.set(done, total),
    );
    progress.end();
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(error) => return Ok(Outcome::failed(&entry.name, advise(&error))),
    };
    let found = Identity {
        size: fetched.size,
        sha256: fetched.sha256.clone(),
    };
    if target != path {
        match stock.accept(entry, &found) {
            Ok(()) => {}
            Err(NotAccepted::Network(error)) => {
                let text = format!(
                    "what came is not this network and was thrown away: {error}; check the address at \
                     its source, or bring the file with `photog models import PATH`"
                );
                return Ok(Outcome::failed(&entry.name, text));
            }
            Err(NotAccepted::Other(error)) => {
                return Ok(Outcome::failed(&entry.name, format!("{error:#}")));
            }
        }
    }
    let text = told(&fetched, &path);
    Ok(outcome(entry, "fetched", text, &found))
}

fn outcome(entry: &Entry, state: &'static str, text: String, found: &Identity) -> Outcome {
    Outcome {
        name: entry.name.clone(),
        state,
        text,
        more: json!({
            "role": entry.role,
            "file": entry.file,
            "size": found.size,
            "sha256": found.sha256,
            "license": entry.license,
            "source": entry.source,
        }),
    }
}

fn told(fetched: &Downloaded, path: &Path) -> String {
    let (all, path) = (size(fetched.size), shown(path));
    match fetched.resumed {
        0 => format!("fetched {all} into {path}"),
        there => format!(
            "fetched {all} into {path}; {} of it had come in an earlier call",
            size(there)
        ),
    }
}

/// What went wrong, with the way around it that this program offers.
fn advise(error: &DownloadError) -> String {
    match error {
        DownloadError::Cancelled
        | DownloadError::Busy
        | DownloadError::Io(_)
        | DownloadError::Store(_) => error.to_string(),
        _ => format!("{error}; a file from elsewhere is taken by `photog models import PATH`"),
    }
}
