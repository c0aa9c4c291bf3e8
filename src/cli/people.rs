//! `photog people`: who is trained, and how somebody goes.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    config::Settings,
    domain::PersonId,
    people::{Listed, People, Person, Summary, Unfinished},
    store::DataFolder,
};

use super::out;

/// What stands in a cell for which nothing is known.
const NOTHING: &str = "-";

/// Arguments of `photog people`.
#[derive(Debug, Args)]
pub struct PeopleArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List trained persons and trainings that are not done
    List,
    /// Show how a person was trained; with --json the whole record
    Show {
        /// The person's id
        #[arg(value_name = "ID")]
        id: PersonId,
    },
    /// Remove persons for good: record, photos, LoRA, checkpoints
    Rm {
        /// Ids from `photog people list`
        #[arg(required = true, value_name = "ID")]
        ids: Vec<PersonId>,
    },
}

/// Runs the command. It works beside a running server.
pub fn run(args: &PeopleArgs, settings: &Settings, as_json: bool) -> anyhow::Result<ExitCode> {
    let config = settings.check()?;
    let root = std::path::absolute(&config.data_dir)
        .with_context(|| format!("the folder {}", config.data_dir.display()))?;
    // Nothing is made, least of all a folder under a mistyped name.
    let data = DataFolder::at(root);
    let people = People::new(data.clone());
    match &args.action {
        Action::List => {
            let (listed, unfinished) = (people.list()?, people.unfinished()?);
            if as_json {
                out::json(&list_as_json(&listed, &unfinished))?;
            } else {
                out::bytes(list_as_text(&data, &listed, &unfinished).as_bytes())?;
            }
        }
        Action::Show { id } => {
            let person = people.get(id).with_context(|| id.to_string())?;
            if as_json {
                // By way of the text, so that numbers have the digits of the file.
                out::json(&serde_json::from_slice(&person.to_json()?)?)?;
            } else {
                out::bytes(person_as_text(&data, &person).as_bytes())?;
            }
        }
        Action::Rm { ids } => return remove(&people, ids, as_json),
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes each; who cannot be removed hinders no other.
fn remove(people: &People, ids: &[PersonId], as_json: bool) -> anyhow::Result<ExitCode> {
    let mut outcomes = Vec::new();
    let mut failures = Vec::new();
    for id in ids {
        let failure = match people.remove(id) {
            Ok(true) => None,
            Ok(false) => Some(crate::people::PeopleError::NotFound.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if failure.is_none() && !as_json {
            out::line(&format!("removed {id}"))?;
        }
        outcomes.push(json!({
            "model_id": id.as_str(),
            "removed": failure.is_none(),
            "reason": failure,
        }));
        failures.extend(failure.map(|text| format!("{id}: {text}")));
    }
    if as_json {
        out::json(&json!({ "people": outcomes }))?;
    }
    match &failures[..] {
        [] => Ok(ExitCode::SUCCESS),
        [one] => bail!("{one}"),
        many => bail!(
            "{} of {} persons were not removed: {}",
            many.len(),
            ids.len(),
            many.join("; ")
        ),
    }
}

/// The members that `GET /api/people` has.
fn list_as_json(listed: &Listed, unfinished: &[Unfinished]) -> Value {
    let person = |summary: &Summary| {
        json!({
            "model_id": summary.model_id.as_str(),
            "created": summary.created,
            "seconds": summary.seconds,
            "train_steps": summary.train_steps,
            "used_images": summary.used_images,
            "score": summary.best_score.map(|score| (f64::from(score) * 1e4).round() / 1e4),
            "base": summary.base,
            "pack": summary.pack,
            "caption": summary.caption,
            "lora": summary.lora,
            "ref_image": summary.ref_image,
            "thumbnail": summary.thumbnail,
        })
    };
    let damaged = listed
        .damaged
        .iter()
        .map(|damage| json!({"model_id": damage.model_id.as_str(), "reason": damage.reason}));
    json!({
        "people": listed.people.iter().map(person).collect::<Vec<_>>(),
        "in_training": ids(unfinished, true),
        "unfinished": ids(unfinished, false),
        "damaged": damaged.collect::<Vec<_>>(),
    })
}

fn list_as_text(data: &DataFolder, listed: &Listed, unfinished: &[Unfinished]) -> String {
    let mut text = String::new();
    if listed.people.is_empty() {
        text = format!("There is no trained person in {}.\n", data.root().display());
    } else {
        let titles = ["ID", "TRAINED", "STEPS", "PHOTOS", "SCORE", "BASE"];
        let mut rows = vec![titles.map(str::to_owned).to_vec()];
        for summary in &listed.people {
            rows.push(vec![
                summary.model_id.to_string(),
                summary.created.clone(),
                summary.train_steps.to_string(),
                summary.used_images.to_string(),
                shown_score(summary.best_score),
                summary.base.name.clone(),
            ]);
        }
        text.push_str(&out::table(&rows));
    }
    let mut say = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    let now = ids(unfinished, true);
    if !now.is_empty() {
        say(format!("In training: {}.", now.join(", ")));
    }
    let early = ids(unfinished, false);
    if !early.is_empty() {
        say(format!(
            "Not done: {}. The next training of the same id goes on; `photog people rm ID` removes \
             what is there.",
            early.join(", ")
        ));
    }
    for damage in &listed.damaged {
        say(format!(
            "The record of {} is damaged, {}: train it anew with `overwrite`, or remove it.",
            damage.model_id, damage.reason
        ));
    }
    text
}

fn person_as_text(data: &DataFolder, person: &Person) -> String {
    let path = |below: &str| data.root().join(below).display().to_string();
    let judged = person.scores.iter().filter(|score| score.score.is_some());
    let base = match &person.pack {
        Some(pack) => format!("{} (of the {pack} pack)", person.base.name),
        None => person.base.name.clone(),
    };
    let mut rows = vec![
        ["id", person.model_id.as_str()].map(str::to_owned).to_vec(),
        vec![
            String::from("trained"),
            format!("{}, in {:.1} s", person.created, person.seconds),
        ],
        vec![String::from("base"), base],
        vec![String::from("caption"), person.caption.clone()],
        vec![String::from("steps"), person.train_steps.to_string()],
        vec![String::from("photos"), person.used_images.to_string()],
        vec![
            String::from("score"),
            match judged.count() {
                0 => NOTHING.to_owned(),
                count => format!(
                    "{}, the best of {count} validation pictures",
                    shown_score(person.best_score())
                ),
            },
        ],
        vec![String::from("LoRA"), path(&person.lora)],
        vec![String::from("reference"), path(&person.ref_image)],
    ];
    for warning in &person.warnings {
        rows.push(vec![String::from("warning"), warning.clone()]);
    }
    out::table(&rows)
}

fn ids(unfinished: &[Unfinished], in_training: bool) -> Vec<&str> {
    let those = unfinished
        .iter()
        .filter(|one| one.in_training == in_training);
    those.map(|one| one.model_id.as_str()).collect()
}

fn shown_score(score: Option<f32>) -> String {
    score.map_or_else(|| NOTHING.to_owned(), |score| format!("{score:.3}"))
}
