//! The WebUI's options: known ones with their defaults, and whatever else clients set.
//!
//! What was set is one small file, whole or absent. Which checkpoint is meant is said by its title,
//! which may change when the hash of its file becomes known, so it is looked up whenever somebody
//! asks.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use serde_json::{Map, Value, json};

use crate::store::{StoreError, write_atomic};

use super::sd_models::{SdModel, SdModels};

/// Known options with their defaults.
const DEFAULTS: &str = include_str!("../../assets/webui_options.json");
/// Most bytes of all options that were set, as JSON.
const BYTES_MAX: usize = 256 * 1024;
/// Longest name of an option, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// The option that names the checkpoint.
const CHECKPOINT: &str = "sd_model_checkpoint";
/// What the checkpoint's file hashes to. It follows from the checkpoint and cannot be set.
const CHECKPOINT_HASH: &str = "sd_checkpoint_hash";

/// Options as names and values.
pub(super) type Options = Map<String, Value>;

/// Why options were not set.
#[derive(Debug, thiserror::Error)]
pub(super) enum OptionsError {
    /// There is no such checkpoint.
    #[error("model {0:?} not found; GET /sdapi/v1/sd-models lists those there are")]
    NoSuchModel(String),
    /// A known option has a value of another type.
    #[error("the option {name} has to be {wanted}")]
    WrongType {
        /// Name of the option.
        name: String,
        /// What it has to be.
        wanted: &'static str,
    },
    /// More than is kept.
    #[error(
        "an option's name has at most {NAME_BYTES_MAX} bytes, and all options that were set at most \
         {BYTES_MAX}; set less"
    )]
    TooMuch,
    /// The file could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The options, in memory and in their file.
#[derive(Debug)]
pub(super) struct OptionStore {
    path: PathBuf,
    set: Mutex<Options>,
}

impl OptionStore {
    /// Reads the file, if there is one. One that cannot be read counts as none.
    pub(super) fn open(path: PathBuf) -> Self {
        let set = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(%error, "the WebUI's options cannot be read; the defaults count");
                Options::new()
            }),
            Err(_) => Options::new(),
        };
        Self {
            path,
            set: Mutex::new(set),
        }
    }

    /// All options with the values in effect.
    pub(super) fn all(&self, models: &dyn SdModels) -> Options {
        self.with_checkpoint(|set| {
            chosen(set, models).or_else(|| models.checkpoints().into_iter().next())
        })
    }

    /// The options that a task takes along. Where nobody has chosen a checkpoint, the task does not
    /// name one either: it is made with the one that is first when its turn comes.
    pub(super) fn of_task(&self, models: &dyn SdModels) -> Options {
        self.with_checkpoint(|set| chosen(set, models))
    }

    /// All options; which checkpoint they name follows from those that were set.
    fn with_checkpoint(&self, named: impl FnOnce(&Options) -> Option<SdModel>) -> Options {
        let set = self
            .set
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut all = defaults();
        let model = named(&set);
        all.extend(set);
        let (title, hash) = match model {
            Some(SdModel { title, sha256, .. }) => (Some(title), sha256.unwrap_or_default()),
            None => (None, String::new()),
        };
        all.insert(CHECKPOINT.to_owned(), json!(title));
        all.insert(CHECKPOINT_HASH.to_owned(), json!(hash));
        all
    }

    /// Sets some options and keeps the rest: all of these or none.
    pub(super) fn set(&self, given: Options, models: &dyn SdModels) -> Result<(), OptionsError> {
        let known = defaults();
        let mut changes = Options::new();
        for (name, value) in given {
            if name.len() > NAME_BYTES_MAX {
                return Err(OptionsError::TooMuch);
            }
            check_type(&name, &value, &known)?;
            if name == CHECKPOINT
                && let Some(title) = value.as_str()
            {
                let found = models.find_checkpoint(title);
                let shown = || title.chars().take(100).collect();
                let model = found.ok_or_else(|| OptionsError::NoSuchModel(shown()))?;
                changes.insert(name, Value::from(model.title));
            } else if name != CHECKPOINT_HASH {
                changes.insert(name, value);
            }
        }
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = set.clone();
        for (name, value) in changes {
            // Null is the default.
            if value.is_null() && known.contains_key(&name) {
                all.shift_remove(&name);
            } else {
                all.insert(name, value);
            }
        }
        self.write(&all)?;
        *set = all;
        Ok(())
    }

    fn write(&self, all: &Options) -> Result<(), OptionsError> {
        let text = serde_json::to_vec_pretty(all)
            .expect("options have string keys only, so they always serialize");
        if text.len() > BYTES_MAX {
            return Err(OptionsError::TooMuch);
        }
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(StoreError::from)?;
        }
        Ok(write_atomic(&self.path, &text)?)
    }
}

/// The checkpoint that was chosen. One whose file has gone is no choice any more.
fn chosen(set: &Options, models: &dyn SdModels) -> Option<SdModel> {
    let title = set.get(CHECKPOINT)?.as_str()?;
    models.find_checkpoint(title)
}

/// A known option keeps the type of its default; a text may be null where the default is.
fn check_type(name: &str, value: &Value, known: &Options) -> Result<(), OptionsError> {
    let (fits, wanted) = match known.get(name) {
        Some(Value::Bool(_)) => (value.is_boolean(), "true or false"),
        Some(Value::Number(number)) if number.is_f64() => (value.is_number(), "a number"),
        Some(Value::Number(_)) => (is_whole(value), "a whole number"),
        Some(Value::String(_) | Value::Null) => (value.is_string(), "a text"),
        Some(Value::Array(_)) => (value.is_array(), "an array"),
        Some(Value::Object(_)) => (value.is_object(), "an object"),
        None => (true, "anything"),
    };
    if fits || value.is_null() {
        return Ok(());
    }
    Err(OptionsError::WrongType {
        name: name.to_owned(),
        wanted,
    })
}

/// Forms send whole numbers as `2.0` too.
fn is_whole(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// The options that photog knows, with the WebUI's defaults.
fn defaults() -> Options {
    serde_json::from_str(DEFAULTS).expect("the list of options is a JSON object, as a test reads")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sd_models::{SdEmbedding, SdLora, SdMemory, SdUpscaler, SdVae};

    /// One checkpoint, `a.safetensors [0123456789]`, as long as it is there.
    struct Stock {
        has_one: bool,
    }

    const ONE: Stock = Stock { has_one: true };

    impl SdModels for Stock {
        fn checkpoints(&self) -> Vec<SdModel> {
            if !self.has_one {
                return Vec::new();
            }
            vec![SdModel {
                title: String::from("a.safetensors [0123456789]"),
                model_name: String::from("a"),
                hash: Some(String::from("0123456789")),
                sha256: Some(String::from("0123456789abcdef")),
                filename: String::from("a.safetensors"),
                config: None,
            }]
        }

        fn vaes(&self) -> Vec<SdVae> {
            Vec::new()
        }

        fn loras(&self) -> Vec<SdLora> {
            Vec::new()
        }

        fn embeddings(&self) -> Vec<SdEmbedding> {
            Vec::new()
        }

        fn upscalers(&self) -> Vec<SdUpscaler> {
            Vec::new()
        }

        fn find_checkpoint(&self, text: &str) -> Option<SdModel> {
            let known = ["a", "a.safetensors", "a.safetensors [0123456789]"];
            known.contains(&text).then(|| self.checkpoints().pop())?
        }

        fn refresh(&self) {}

        fn unload(&self) {}

        fn memory(&self) -> SdMemory {
            SdMemory::default()
        }
    }

    fn options(value: &Value) -> Options {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_was_set_is_there_again_after_a_restart_and_the_rest_has_its_default() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webui/options.json");
        let store = OptionStore::open(path.clone());
        let given = json!({"sd_model_checkpoint": "a", "CLIP_stop_at_last_layers": 2, "mine": [1]});
        store.set(options(&given), &ONE).unwrap();
        for store in [store, OptionStore::open(path)] {
            let all = store.all(&ONE);
            assert_eq!(all["sd_model_checkpoint"], "a.safetensors [0123456789]");
            assert_eq!(all["sd_checkpoint_hash"], "0123456789abcdef");
            assert_eq!(all["CLIP_stop_at_last_layers"], 2);
            assert_eq!(all["mine"], json!([1]));
            assert_eq!(all["samples_format"], "png");
            // A checkpoint that has gone is not named any more.
            assert_eq!(
                store.all(&Stock { has_one: false })["sd_model_checkpoint"],
                Value::Null
            );
        }
    }

    #[test]
    fn a_task_names_a_checkpoint_only_if_one_was_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let store = OptionStore::open(folder.path().join("options.json"));
        let none = store.of_task(&ONE);
        assert_eq!(none["sd_model_checkpoint"], Value::Null);
        assert_eq!(none["sd_checkpoint_hash"], "");
        assert_eq!(none["samples_format"], "png");
        // Readers of the options are told which one is in effect.
        assert!(store.all(&ONE)["sd_model_checkpoint"].is_string());
        let given = json!({"sd_model_checkpoint": "a"});
        store.set(options(&given), &ONE).unwrap();
        assert_eq!(store.of_task(&ONE), store.all(&ONE));
        let gone = store.of_task(&Stock { has_one: false });
        assert_eq!(gone["sd_model_checkpoint"], Value::Null);
    }

    #[test]
    fn of_several_options_all_are_set_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let store = OptionStore::open(folder.path().join("options.json"));
        let long = "x".repeat(BYTES_MAX);
        for refused in [
            json!({"jpeg_quality": 90, "sd_model_checkpoint": "b"}),
            json!({"jpeg_quality": 90, "enable_pnginfo": "yes"}),
            json!({"jpeg_quality": 90, "eta_noise_seed_delta": 0.5}),
            json!({"jpeg_quality": 90, "mine": long}),
            json!({"jpeg_quality": 90, long: 1}),
        ] {
            assert!(store.set(options(&refused), &ONE).is_err());
            assert_eq!(store.all(&ONE)["jpeg_quality"], 80);
        }
        store
            .set(options(&json!({"jpeg_quality": 90.0})), &ONE)
            .unwrap();
        assert_eq!(store.all(&ONE)["jpeg_quality"], 90.0);
        store
            .set(options(&json!({"jpeg_quality": null})), &ONE)
            .unwrap();
        assert_eq!(store.all(&ONE)["jpeg_quality"], 80);
    }

    #[test]
    fn a_file_that_cannot_be_read_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("options.json");
        std::fs::write(&path, "[").unwrap();
        assert_eq!(OptionStore::open(path).all(&ONE)["jpeg_quality"], 80);
    }
}
