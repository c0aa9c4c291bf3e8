//! `photog models import`: networks from files that the user has.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, anyhow, bail};
use serde_json::json;

use super::{NotAccepted, Outcome, Stock, fail_if_any, print_json, shown};
use crate::{
    cli::{out, progress::size},
    models::catalog::{Entry, Expected, Identity, Lock, Role},
    store::{DataFolder, StoreError, write_atomic_with},
};

/// How deep folders are searched.
const DEPTH_MAX: usize = 8;
/// Most files and folders that are looked at.
const FILES_MAX: usize = 100_000;

pub(super) fn run(
    stock: &Stock,
    paths: &[PathBuf],
    name: Option<&str>,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let given = match name {
        Some(name) => {
            if paths.len() != 1 || paths[0].is_dir() {
                bail!("--as says what one file is; give one file with it");
            }
            let entry = stock.entry(name)?;
            if entry.pack.is_some() {
                bail!(
                    "`{name}` is built into photog, and no file takes its place; import the file without \
                     --as, or describe it under another name in a list of your own (models.toml)"
                );
            }
            Some(entry)
        }
        None => None,
    };
    let mut import = Import {
        stock,
        outcomes: Vec::new(),
        taken: BTreeSet::new(),
        unknown: Vec::new(),
    };
    for path in paths {
        if path.is_dir() {
            let mut files = Vec::new();
            let mut looked_at = 0;
            find(path, 0, &mut looked_at, &mut files)
                .with_context(|| format!("the folder {}", path.display()))?;
            for file in files {
                import.file(&file, None, false)?;
            }
        } else {
            import.file(path, given, true)?;
        }
    }
    import.finish(as_json)
}

/// All files with the ending of some role below a folder, in the order of their paths. Links to folders are not followed.
fn find(
    folder: &Path,
    depth: usize,
    looked_at: &mut usize,
    files: &mut Vec<PathBuf>,
) -> anyhow::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        *looked_at += 1;
        if *looked_at > FILES_MAX {
            bail!("it has more than {FILES_MAX} files; name a smaller folder or the files");
        }
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if depth < DEPTH_MAX {
                // A folder that may not be read has nothing for its user.
                match find(&path, depth + 1, looked_at, files) {
                    Err(error) if error.downcast_ref::<std::io::Error>().is_some() => {
                        tracing::warn!(folder = %path.display(), %error, "not searched");
                    }
                    other => other?,
                }
            }
        } else if ends_as_network(&path) && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn ends_as_network(path: &Path) -> bool {
    let end = path.extension();
    end.is_some_and(|end| Role::ALL.into_iter().any(|role| end == role.ending()))
}

struct Import<'a> {
    stock: &'a Stock,
    outcomes: Vec<Outcome>,
    /// Names of the entries that have their file now.
    taken: BTreeSet<String>,
    /// Files of folders that are no known network.
    unknown: Vec<PathBuf>,
}

impl<'a> Import<'a> {
    /// Takes one file. `named` files must be known ones; of a folder, what is known is taken.
    fn file(&mut self, path: &Path, given: Option<&'a Entry>, named: bool) -> anyhow::Result<()> {
        let fail = |text: String| Outcome::failed(&shown(path), text);
        let found = match recognise(self.stock, path, given) {
            Ok(found) => found,
            Err(error) => {
                self.outcomes
                    .push(fail(format!("it cannot be read, {error}")));
                return Ok(());
            }
        };
        let Some((entry, identity)) = found else {
            if named {
                self.outcomes.push(fail(String::from(
                    "it is none of the known networks; say which it is with --as NAME (`photog \
                     models list` shows the names), or describe it in models.toml in the data folder",
                )));
            } else {
                self.unknown.push(path.to_owned());
            }
            return Ok(());
        };
        // A first file may have been pinned a moment ago.
        let expected = Lock::load(&self.stock.root)?.expected(entry);
        if let Err(why) = expected.check(&identity) {
            // In a folder, a file that only has the name of a known one is another file.
            if named || expected.pinned {
                let way = if expected.pinned {
                    "; if it is the better one, take the entry out of models.lock and import it \
                     again"
                } else {
                    "; get it again from its source, or describe it in models.toml under another \
                     name"
                };
                let text = format!("it is not the file of `{}`: {why}{way}", entry.name);
                self.outcomes.push(fail(text));
            } else {
                self.unknown.push(path.to_owned());
            }
            return Ok(());
        }
        if self.taken.insert(entry.name.clone()) {
            let outcome = self.take(path, entry, &expected, &identity);
            self.outcomes
                .push(outcome.unwrap_or_else(|error| fail(format!("{error:#}"))));
        }
        Ok(())
    }

    /// Copies a file that may be the one. Where its hash was not known, looks into the copy and pins
    /// it. Says what came of it.
    fn take(
        &self,
        from: &Path,
        entry: &Entry,
        expected: &Expected,
        identity: &Identity,
    ) -> anyhow::Result<Outcome> {
        let root = &self.stock.root;
        DataFolder::open(root).with_context(|| format!("the data folder {}", root.display()))?;
        let path = entry.path(root);
        let is_there = Identity::of(&path).is_ok_and(|there| there == *identity);
        if expected.sha256.is_none() {
            copy(from, &self.stock.unchecked(entry), identity)?;
            self.stock.accept(entry, identity).map_err(|why| match why {
                NotAccepted::Network(error) => anyhow!(
                    "it is not the network `{}`: {error}; a network has to be one file, with its \
                     weights inside",
                    entry.name
                ),
                NotAccepted::Other(error) => error,
            })?;
        } else if !is_there {
            copy(from, &path, identity)?;
        }
        let text = if is_there {
            format!("{} is there already", shown(&path))
        } else {
            format!(
                "imported {} as {} ({})",
                shown(from),
                shown(&path),
                size(identity.size)
            )
        };
        Ok(Outcome {
            name: entry.name.clone(),
            state: if is_there {
                "already there"
            } else {
                "imported"
            },
            text,
            more: json!({
                "role": entry.role,
                "from": shown(from),
                "file": entry.file,
                "size": identity.size,
                "sha256": identity.sha256,
                "license": entry.license,
            }),
        })
    }

    fn finish(self, as_json: bool) -> anyhow::Result<ExitCode> {
        let Self {
            mut outcomes,
            unknown,
            ..
        } = self;
        if outcomes.is_empty() {
            outcomes.push(Outcome::failed(
                "import",
                String::from(
                    "no known network was found there; `photog models list` shows which are known, \
                     and --as NAME says what a single file is",
                ),
            ));
        }
        if as_json {
            let unknown: Vec<String> = unknown.iter().map(|path| shown(path)).collect();
            print_json(&outcomes, &json!({ "not_known": unknown }))?;
        } else {
            for outcome in outcomes.iter().filter(|outcome| !outcome.is_failed()) {
                out::line(&format!("{}: {}", outcome.name, outcome.text))?;
            }
            if !unknown.is_empty() {
                out::line(&format!(
                    "{} other files are none of the known networks and were left.",
                    unknown.len()
                ))?;
            }
        }
        fail_if_any(&outcomes)
    }
}

/// Which network a file is: the one that was given, else by its hash, else by its name.
fn recognise<'a>(
    stock: &'a Stock,
    path: &Path,
    given: Option<&'a Entry>,
) -> std::io::Result<Option<(&'a Entry, Identity)>> {
    let bytes = fs::metadata(path)?.len();
    let name = path.file_name().and_then(|name| name.to_str());
    let entries = || {
        let all = stock.catalog.entries().iter();
        all.filter(|entry| entry.pack.is_none())
    };
    let hash = |entry: &Entry| stock.lock.expected(entry).sha256;
    let may_be = |entry: &Entry| {
        let size = stock.lock.expected(entry).size;
        hash(entry).is_some() && size.is_none_or(|size| size == bytes)
    };
    let by_name = || entries().find(|entry| Some(entry.file.as_str()) == name);
    // Reading is spared where nothing can come of it.
    if given.is_none() && by_name().is_none() && !entries().any(may_be) {
        return Ok(None);
    }
    let identity = Identity::of(path)?;
    let by_hash = || entries().find(|entry| hash(entry).as_ref() == Some(&identity.sha256));
    let entry = given.or_else(by_hash).or_else(by_name);
    Ok(entry.map(|entry| (entry, identity)))
}

/// Copies a file whole or not at all; what was copied has to be what was judged.
fn copy(from: &Path, to: &Path, identity: &Identity) -> anyhow::Result<()> {
    let mut source = File::open(from)?;
    write_atomic_with(to, |file| {
        let copied = Identity::copy(&mut source, file).map_err(StoreError::Io)?;
        if copied != *identity {
            bail!("it changed while it was copied; try again");
        }
        anyhow::Ok(())
    })
}
