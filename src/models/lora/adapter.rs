//! The settings of an adapter of PEFT: rank and alpha of each layer, where no tensor holds them.
//!
//! They stand in `adapter_config.json` beside the file, or in the file's own metadata where diffusers
//! wrote it (`lora_adapter_metadata`, with the name of the network before each key). Scale is
//! `alpha / rank`, or `alpha / √rank` with `use_rslora`; patterns name layers that differ.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::{Layer, LoraError, Network, Tensors, error::shown};

/// Longest text of settings in bytes: with a pattern for each layer it is some tens of kilobytes.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// The key of the settings in a file of diffusers.
const METADATA_KEY: &str = "lora_adapter_metadata";
/// What the settings beside a file are called in texts.
const BESIDE: &str = "adapter_config.json";
/// Ways to begin a training that change the weights below the adapter too.
const CHANGED_BASES: [&str; 5] = ["pissa", "olora", "corda", "loftq", "lora_ga"];

/// The settings for each network, as far as there are any.
#[derive(Debug, Default)]
pub(super) struct Adapters {
    /// By network; `None` holds for those that are not named.
    settings: BTreeMap<Option<Network>, Settings>,
}

/// The settings of one adapter.
#[derive(Debug)]
struct Settings {
    place: &'static str,
    rank: Option<f64>,
    alpha: Option<f64>,
    is_root: bool,
    ranks: Patterns,
    alphas: Patterns,
}

impl Adapters {
    /// Reads the settings of a file. Those beside it go before those inside.
    pub(super) fn read(tensors: &impl Tensors) -> Result<Self, LoraError> {
        let mut settings = BTreeMap::new();
        if let Some(text) = tensors.metadata().get(METADATA_KEY) {
            for (network, map) in by_network(parse(text, METADATA_KEY)?) {
                settings.insert(network, Settings::read(&map, METADATA_KEY)?);
            }
        }
        if let Some(text) = tensors.adapter_config() {
            settings.clear();
            settings.insert(None, Settings::read(&parse(text, BESIDE)?, BESIDE)?);
        }
        Ok(Self { settings })
    }

    /// The scale of a layer whose factors have this rank; `None` where nothing is said.
    pub(super) fn scale(&self, layer: &Layer, rank: usize) -> Result<Option<f64>, LoraError> {
        let named = self.settings.get(&Some(layer.network));
        match named.or_else(|| self.settings.get(&None)) {
            Some(settings) => settings.scale(&layer.path, rank),
            None => Ok(None),
        }
    }
}

impl Settings {
    fn read(map: &Map<String, Value>, place: &'static str) -> Result<Self, LoraError> {
        refuse_kinds(map)?;
        // LoHa calls its alpha otherwise than LoRA.
        let alpha = map.get("lora_alpha").or_else(|| map.get("alpha"));
        Ok(Self {
            place,
            rank: number(map.get("r"), "r", place)?,
            alpha: number(alpha, "lora_alpha", place)?,
            is_root: is_set(map, "use_rslora"),
            ranks: Patterns::read(map, "rank_pattern", place)?,
            alphas: Patterns::read(map, "alpha_pattern", place)?,
        })
    }

    fn scale(&self, path: &str, rank: usize) -> Result<Option<f64>, LoraError> {
        let said = self.ranks.find(path).or(self.rank);
        let rank = rank as f64;
        if let Some(said) = said
            && said != rank
        {
            return Err(LoraError::Settings {
                place: self.place,
                reason: format!(
                    "they give {} the rank {said}, and its factors have the rank {rank}",
                    shown(path)
                ),
            });
        }
        let alpha = self.alphas.find(path).or(self.alpha);
        let divisor = if self.is_root { rank.sqrt() } else { rank };
        // Zero stands for an alpha that is not given.
        Ok(alpha
            .filter(|&alpha| alpha != 0.0)
            .map(|alpha| alpha / divisor))
    }
}

/// Values for single layers, by the ends of their paths.
#[derive(Debug, Default)]
struct Patterns(HashMap<String, (usize, f64)>);

impl Patterns {
    /// Patterns are regular expressions; those that are plain paths are understood, with the signs
    /// for begin and end and an escaped dot.
    fn read(map: &Map<String, Value>, key: &str, place: &'static str) -> Result<Self, LoraError> {
        let patterns = match map.get(key) {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Object(patterns)) => patterns,
            Some(_) => return Err(settings(place, format!("{key} is not a table"))),
        };
        let mut found = HashMap::new();
        for (order, (pattern, value)) in patterns.iter().enumerate() {
            let path = pattern.strip_prefix('^').unwrap_or(pattern);
            let path = path.strip_suffix('$').unwrap_or(path).replace("\\.", ".");
            let is_plain = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '_' | '.');
            if !path.chars().all(is_plain) {
                let text = format!("the pattern {} of {key} is not a path", shown(pattern));
                return Err(settings(place, text));
            }
            if let Some(value) = number(Some(value), key, place)? {
                found.entry(path).or_insert((order, value));
            }
        }
        Ok(Self(found))
    }

    /// The value of the first pattern that the path ends in.
    fn find(&self, path: &str) -> Option<f64> {
        if self.0.is_empty() {
            return None;
        }
        let starts = path.match_indices('.').map(|(at, _)| at + 1);
        std::iter::once(0)
            .chain(starts)
            .filter_map(|start| self.0.get(&path[start..]))
            .min_by_key(|(order, _)| *order)
            .map(|(_, value)| *value)
    }
}

/// Refuses adapters that are more than two factors beside a layer.
fn refuse_kinds(map: &Map<String, Value>) -> Result<(), LoraError> {
    let refuse = |kind: String, key| Err(LoraError::unsupported(kind, key));
    if let Some(kind) = map.get("peft_type").and_then(Value::as_str)
        && !["LORA", "LOHA"].contains(&kind)
    {
        return refuse(format!("the adapter kind {}", shown(kind)), "peft_type");
    }
    if is_set(map, "use_dora") {
        return refuse("DoRA".into(), "use_dora");
    }
    if is_set(map, "fan_in_fan_out") {
        return refuse("a network with turned weights".into(), "fan_in_fan_out");
    }
    // Such a file means something only beside the base that was changed with it.
    let start = map.get("init_lora_weights").and_then(Value::as_str);
    if let Some(start) = start.map(str::to_ascii_lowercase)
        && CHANGED_BASES.iter().any(|known| start.starts_with(known))
    {
        let kind = format!("a training that began with {}", shown(&start));
        return refuse(kind, "init_lora_weights");
    }
    Ok(())
}

fn is_set(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key) == Some(&Value::Bool(true))
}

fn number(value: Option<&Value>, key: &str, place: &'static str) -> Result<Option<f64>, LoraError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64().filter(|number| number.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => Err(settings(place, format!("{key} is not a number"))),
        },
    }
}

fn parse(text: &str, place: &'static str) -> Result<Map<String, Value>, LoraError> {
    if text.len() > TEXT_BYTES_MAX {
        let reason = format!("they are longer than {TEXT_BYTES_MAX} bytes");
        return Err(settings(place, reason));
    }
    serde_json::from_str(text).map_err(|error| settings(place, error.to_string()))
}

/// Parts settings by the names of networks before their keys.
fn by_network(map: Map<String, Value>) -> BTreeMap<Option<Network>, Map<String, Value>> {
    let mut parted: BTreeMap<_, Map<_, _>> = BTreeMap::new();
    for (key, value) in map {
        let (network, key) = match key.split_once('.') {
            Some(("unet" | "transformer", key)) => (Some(Network::Unet), key.to_owned()),
            Some(("text_encoder", key)) => (Some(Network::Text), key.to_owned()),
            _ => (None, key),
        };
        parted.entry(network).or_default().insert(key, value);
    }
    parted
}

fn settings(place: &'static str, reason: String) -> LoraError {
    LoraError::Settings { place, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, LoraError> {
        Settings::read(&parse(text, BESIDE)?, BESIDE)
    }

    fn scale(text: &str, path: &str, rank: usize) -> Option<f64> {
        read(text).unwrap().scale(path, rank).unwrap()
    }

    #[test]
    fn scale_is_alpha_by_rank_or_by_its_root() {
        assert_eq!(scale(r#"{"r": 4, "lora_alpha": 2}"#, "a", 4), Some(0.5));
        let root = r#"{"r": 4, "lora_alpha": 2, "use_rslora": true}"#;
        assert_eq!(scale(root, "a", 4), Some(1.0));
        assert_eq!(scale(r#"{"r": 4}"#, "a", 4), None);
        assert_eq!(scale(r#"{"lora_alpha": 0}"#, "a", 4), None);
        assert_eq!(
            scale(r#"{"peft_type": "LOHA", "alpha": 2}"#, "a", 4),
            Some(0.5)
        );
    }

    #[test]
    fn the_first_pattern_that_fits_a_layer_counts() {
        let text = r#"{"r": 4, "lora_alpha": 4,
            "rank_pattern": {"a.to_q": 2},
            "alpha_pattern": {"to_q": 8, "^b\\.to_k$": 16, "a.to_q": 1}}"#;
        assert_eq!(scale(text, "a.to_q", 2), Some(4.0));
        assert_eq!(scale(text, "b.to_q", 4), Some(2.0));
        assert_eq!(scale(text, "b.to_k", 4), Some(4.0));
        assert_eq!(scale(text, "auto_q", 4), Some(1.0));
    }

    #[test]
    fn a_rank_that_differs_from_that_of_the_factors_is_an_error() {
        let error = read(r#"{"r": 4}"#).unwrap().scale("a", 8).unwrap_err();
        assert!(error.to_string().contains("the rank 4"), "{error}");
    }

    #[test]
    fn settings_of_networks_are_told_apart() {
        let text = r#"{"unet.r": 4, "text_encoder.r": 8, "r": 2, "unet.rank_pattern": {"a.b": 1}}"#;
        let parted = by_network(parse(text, BESIDE).unwrap());
        assert_eq!(parted[&Some(Network::Unet)]["r"], 4);
        assert_eq!(parted[&Some(Network::Text)]["r"], 8);
        assert_eq!(parted[&None]["r"], 2);
        assert_eq!(parted[&Some(Network::Unet)]["rank_pattern"]["a.b"], 1);
    }

    #[test]
    fn adapters_that_are_more_than_two_factors_are_refused_by_name() {
        for (text, kind) in [
            (r#"{"peft_type": "LOKR"}"#, "LOKR"),
            (r#"{"use_dora": true}"#, "DoRA"),
            (r#"{"fan_in_fan_out": true}"#, "turned"),
            (r#"{"init_lora_weights": "pissa_niter_4"}"#, "pissa"),
        ] {
            let error = read(text).unwrap_err();
            assert!(matches!(error, LoraError::Unsupported { .. }), "{error}");
            assert!(error.to_string().contains(kind), "{error}");
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_errors() {
        for text in [
            "",
            "[]",
            r#"{"r": "four"}"#,
            r#"{"lora_alpha": [1]}"#,
            r#"{"alpha_pattern": 3}"#,
            r#"{"alpha_pattern": {"a": "b"}}"#,
            r#"{"alpha_pattern": {".*\\.(to_q|to_k)": 2}}"#,
        ] {
            let error = read(text).unwrap_err();
            assert!(matches!(error, LoraError::Settings { .. }), "{error}");
        }
        assert!(read(&" ".repeat(TEXT_BYTES_MAX + 1)).is_err());
        assert!(read(&"[".repeat(10_000)).is_err());
    }
}
