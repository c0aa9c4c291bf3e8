//! `photog config`: every setting, its value and where that came from.

use std::process::ExitCode;

use serde_json::json;

use crate::config::Settings;

use super::out;

/// Lists the settings; fails when one of them cannot be used.
pub fn run(settings: &Settings, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        let list: Vec<_> = settings
            .listing()
            .map(|(key, value, source)| {
                json!({"name": key.name, "value": value, "source": source.to_string(), "help": key.help})
            })
            .collect();
        out::json(&json!({ "settings": list }))?;
    } else {
        let mut rows = vec![
            ["SETTING", "VALUE", "SOURCE", "MEANING"]
                .map(str::to_owned)
                .to_vec(),
        ];
        rows.extend(settings.listing().map(|(key, value, source)| {
            let value = if value.is_empty() {
                String::from("-")
            } else {
                value
            };
            vec![
                key.name.to_owned(),
                value,
                source.to_string(),
                key.help.to_owned(),
            ]
        }));
        out::bytes(out::table(&rows).as_bytes())?;
    }
    settings.check()?;
    Ok(ExitCode::SUCCESS)
}
