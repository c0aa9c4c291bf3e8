//! `photog models verify`.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;

use super::{Outcome, State, Stock, print_json, shown};
use crate::{
    cli::out,
    models::{
        catalog::{Entry, Identity},
        check_network,
    },
};

pub(super) fn run(stock: &Stock, names: &[String], as_json: bool) -> anyhow::Result<ExitCode> {
    let entries: Vec<&Entry> = if names.is_empty() {
        let all = stock.catalog.entries().iter();
        all.filter(|entry| stock.state(entry) != State::Missing)
            .collect()
    } else {
        let asked_for = names.iter().map(|name| stock.entry(name));
        asked_for.collect::<anyhow::Result<_>>()?
    };
    let outcomes: Vec<Outcome> = entries.iter().map(|entry| verify(stock, entry)).collect();
    if as_json {
        print_json(&outcomes, &json!({}))?;
    } else if outcomes.is_empty() {
        out::line(&format!(
            "Nothing to verify: no known network is in {}; `photog models list` says how to get \
             one.",
            shown(&stock.root.join("webui/models"))
        ))?;
    } else {
        let rows: Vec<Vec<String>> = outcomes
            .iter()
            .map(|outcome| {
                let state = if outcome.is_failed() {
                    "FAILURE"
                } else {
                    outcome.state
                };
                vec![state.to_owned(), outcome.name.clone(), outcome.text.clone()]
            })
            .collect();
        out::bytes(out::table(&rows).as_bytes())?;
    }
    let failed = outcomes.iter().filter(|outcome| outcome.is_failed());
    match failed.count() {
        0 => Ok(ExitCode::SUCCESS),
        count => bail!(
            "{count} of {} networks cannot be used; the list says why and what to do",
            outcomes.len()
        ),
    }
}

fn verify(stock: &Stock, entry: &Entry) -> Outcome {
    let place = entry.place(&stock.root);
    let again = if entry.pack.is_some() {
        String::from("get photog again, since it is a part of it")
    } else if entry.url.is_some() {
        format!("`photog models pull {}` fetches it again", entry.name)
    } else {
        String::from("bring it again with `photog models import PATH`")
    };
    let failed = |text: String| Outcome::failed(&entry.name, text);
    if stock.state(entry) == State::Missing {
        return failed(format!("{place} is missing; {again}"));
    }
    let found = match Identity::at(&place) {
        Ok(found) => found,
        Err(error) => {
            return failed(format!("{place} cannot be read, {error}; {again}"));
        }
    };
    let expected = stock.lock.expected(entry);
    if let Err(why) = expected.check(&found) {
        return failed(format!(
            "{place} is damaged or another file, {why}; {again}"
        ));
    }
    if let Err(error) = check_network(entry, &place) {
        return failed(format!("{error}; {again}"));
    }
    let (state, text) = if expected.sha256.is_some() {
        ("ok", format!("{place} is whole"))
    } else {
        let text = format!(
            "{place} holds a fitting network; its hash is not known: `photog models import {place}` \
             pins it"
        );
        ("not pinned", text)
    };
    Outcome {
        name: entry.name.clone(),
        state,
        text,
        more: json!({
            "role": entry.role,
            "file": entry.file,
            "size": found.size,
            "sha256": found.sha256,
        }),
    }
}
