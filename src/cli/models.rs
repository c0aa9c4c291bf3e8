//! `photog models`: which networks there are, and how they come into the data folder.

mod import;
mod list;
mod pull;
mod verify;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    config::{PackChoice, Settings},
    models::{
        ModelError,
        catalog::{Catalog, Entry, Identity, Lock, MODEL_FOLDER, Role},
        check_network,
        place::Place,
    },
    pack::Pack,
    store::sync_folder,
};

use super::out;

/// Arguments of `photog models`.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the known networks, and which of them are there and used
    List,
    /// Fetch networks: those named, or else one for each purpose that has none yet
    Pull {
        /// Names from `photog models list`
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Take networks from files, or all known ones from folders
    Import {
        /// Files and folders
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Which network the file is, by its name from `photog models list`
        #[arg(long = "as", value_name = "NAME")]
        name: Option<String>,
    },
    /// Check files against their known hashes, and whether they hold the network they should
    Verify {
        /// Names from `photog models list` [default: all whose file is there]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
}

/// Runs the command.
pub fn run(args: &ModelsArgs, settings: &Settings, as_json: bool) -> anyhow::Result<ExitCode> {
    let config = settings.check()?;
    let root = std::path::absolute(&config.data_dir)
        .with_context(|| format!("the folder {}", config.data_dir.display()))?;
    let stock = Stock::open(root, config.pack)?;
    match &args.action {
        Action::List => list::run(&stock, as_json),
        Action::Pull { names } => pull::run(&stock, names, &config.network, as_json),
        Action::Import { paths, name } => import::run(&stock, paths, name.as_deref(), as_json),
        Action::Verify { names } => verify::run(&stock, names, as_json),
    }
}

/// What is known, and the data folder in which it may be.
struct Stock {
    root: PathBuf,
    catalog: Catalog,
    lock: Lock,
    /// Whether commands take networks from a pack.
    choice: PackChoice,
}

impl Stock {
    /// Reads the lists. Nothing is made, least of all a folder under a mistyped name.
    fn open(root: PathBuf, choice: PackChoice) -> anyhow::Result<Self> {
        Ok(Self {
            catalog: Catalog::load(&root)?,
            lock: Lock::load(&root)?,
            root,
            choice,
        })
    }

    /// Where ONNX files lie.
    fn folder(&self) -> PathBuf {
        self.root.join(MODEL_FOLDER)
    }

    fn entry(&self, name: &str) -> anyhow::Result<&Entry> {
        match self.catalog.find(name) {
            Some(entry) => Ok(entry),
            None => bail!("there is no network `{name}`; `photog models list` shows all names"),
        }
    }

    /// The pack whose networks commands use, if one was named.
    fn pack(&self) -> Option<Pack> {
        match self.choice {
            PackChoice::Named(pack) => Some(pack),
            PackChoice::Auto | PackChoice::None => None,
        }
    }

    /// The network of the data folder that serves a role of ONNX files.
    fn of_folder(&self, role: Role) -> Option<&Entry> {
        let found = self.catalog.present(role, &self.root, None);
        found.map(|(entry, _)| entry)
    }

    /// How the file of an entry looks from outside, without reading it.
    fn state(&self, entry: &Entry) -> State {
        let path = match entry.place(&self.root) {
            Place::Disk(path) => path,
            place if place.is_there() => return State::BuiltIn,
            Place::Pack(..) => return State::Missing,
        };
        let expected = self.lock.expected(entry).size;
        match fs::metadata(path) {
            Ok(data) if !data.is_file() => State::Damaged,
            Ok(data) if expected.is_some_and(|size| size != data.len()) => State::Damaged,
            Ok(_) => State::Present,
            Err(_) => State::Missing,
        }
    }

    /// The file of an entry, if it is whole: by its hash, or where none is known by what it holds.
    fn whole(&self, entry: &Entry) -> Option<Identity> {
        let place = entry.place(&self.root);
        let found = Identity::at(&place).ok()?;
        let expected = self.lock.expected(entry);
        expected.check(&found).ok()?;
        (expected.sha256.is_some() || check_network(entry, &place).is_ok()).then_some(found)
    }

    /// Where a file waits until it has been looked into; nothing else looks for this name.
    fn unchecked(&self, entry: &Entry) -> PathBuf {
        let name = format!("{}.unchecked", entry.file);
        entry.path(&self.root).with_file_name(name)
    }

    /// Looks into the waiting file of an entry whose hash is not known, pins it and gives it its
    /// name. A file that is not the network is thrown away.
    fn accept(&self, entry: &Entry, found: &Identity) -> Result<(), NotAccepted> {
        let unchecked = self.unchecked(entry);
        if let Err(error) = check_network(entry, &Place::from(&*unchecked)) {
            // What remains of it is harmless.
            let _ = fs::remove_file(&unchecked);
            return Err(NotAccepted::Network(error));
        }
        let path = entry.path(&self.root);
        // The pin first: a file without one could be exchanged unseen.
        Lock::pin(&self.root, entry, found)
            .map_err(anyhow::Error::new)
            .and_then(|()| {
                fs::rename(&unchecked, &path)
                    .with_context(|| format!("{} cannot be written", shown(&path)))?;
                Ok(sync_folder(&self.root.join(entry.role.folder()))?)
            })
            .map_err(NotAccepted::Other)
    }
}

/// Why a file was not taken.
enum NotAccepted {
    /// It is not the network.
    Network(ModelError),
    /// It could not be written.
    Other(anyhow::Error),
}

/// How a file looks from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Present,
    /// It is part of the program.
    BuiltIn,
    Missing,
    /// It has not the size that it should have.
    Damaged,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::BuiltIn => "built in",
            Self::Missing => "missing",
            Self::Damaged => "damaged",
        }
    }
}

/// What came of one network.
struct Outcome {
    /// Name of the entry; of the file where there is no entry.
    name: String,
    /// What came of it, as programs read it; `failed` is a failure.
    state: &'static str,
    /// The same for people.
    text: String,
    /// More for programs.
    more: Value,
}

impl Outcome {
    fn failed(name: &str, text: String) -> Self {
        Self {
            name: name.to_owned(),
            state: "failed",
            text,
            more: json!({}),
        }
    }

    fn is_failed(&self) -> bool {
        self.state == "failed"
    }

    fn json(&self) -> Value {
        let mut value = json!({"name": self.name, "state": self.state, "text": self.text});
        if let (Some(members), Some(more)) = (value.as_object_mut(), self.more.as_object()) {
            members.extend(more.clone());
        }
        value
    }
}

/// One line that says which of the networks failed; nothing when none did.
fn fail_if_any(outcomes: &[Outcome]) -> anyhow::Result<ExitCode> {
    let failed: Vec<String> = outcomes
        .iter()
        .filter(|outcome| outcome.is_failed())
        .map(|outcome| format!("{}: {}", outcome.name, outcome.text))
        .collect();
    match &failed[..] {
        [] => Ok(ExitCode::SUCCESS),
        [one] => bail!("{one}"),
        many => bail!(
            "{} of {} networks failed: {}",
            many.len(),
            outcomes.len(),
            many.join("; ")
        ),
    }
}

/// Prints what came of the networks as one document, with further members.
fn print_json(outcomes: &[Outcome], more: &Value) -> anyhow::Result<()> {
    let mut document = json!({"models": outcomes.iter().map(Outcome::json).collect::<Vec<_>>()});
    if let (Some(members), Some(more)) = (document.as_object_mut(), more.as_object()) {
        members.extend(more.clone());
    }
    Ok(out::json(&document)?)
}

/// A path for people and programs.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
