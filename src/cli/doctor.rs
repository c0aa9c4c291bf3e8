//! `photog doctor`: what could keep the appliance from working, and what to do about it.

mod gpu;

use std::{
    net::TcpListener,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::json;

use crate::{
    config::{Config, DeviceChoice, Settings},
    domain::{MIB, Role},
    models::{
        ModelError,
        backend::{Device, cuda_devices},
        catalog,
        shelf::Shelf,
        supply::{self, Supply},
    },
    pipeline::lack_of,
    queue::{QueueError, Store},
    store::{DataFolder, write_atomic},
};

use super::{device as choice, out, packs};

/// 2026-01-01: a clock before it was never set.
const CLOCK_MIN_SECONDS: u64 = 1_767_225_600;
/// Free space below which work is possible but not for long.
const DISK_COMFORT_BYTES: u64 = 5 * 1024 * MIB;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Ok,
    Warning,
    Failure,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "FAILURE",
        }
    }
}

/// One finding: what was looked at, how it is, what to do.
struct Finding {
    name: &'static str,
    level: Level,
    text: String,
}

/// Checks everything. Exit code 1 when something keeps `photog serve` from working.
pub fn run(settings: &Settings, as_json: bool) -> anyhow::Result<ExitCode> {
    let config = settings.check()?;
    let findings = examine(&config);
    if as_json {
        let list: Vec<_> = findings
            .iter()
            .map(|finding| {
                let level = finding.level.as_str().to_lowercase();
                json!({"check": finding.name, "level": level, "text": finding.text})
            })
            .collect();
        out::json(&json!({ "findings": list }))?;
    } else {
        let row = |finding: &Finding| {
            vec![
                finding.level.as_str().to_owned(),
                finding.name.to_owned(),
                finding.text.clone(),
            ]
        };
        let rows: Vec<_> = findings.iter().map(row).collect();
        out::bytes(out::table(&rows).as_bytes())?;
    }
    let failed = findings
        .iter()
        .any(|finding| finding.level == Level::Failure);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = examine_all_but_models(config);
    findings.extend(gpu::examine(config.device, &gpu::This));
    // Whether a file can be used does not depend on the device, and the processor is always there.
    let supply = packs::of_server(config, &config.data_dir);
    findings.extend(pack(&supply));
    findings.extend(models(&Shelf::new(supply, Device::Cpu)));
    findings
}

fn examine_all_but_models(config: &Config) -> Vec<Finding> {
    if !config.data_dir.exists() {
        // Looking must not make a folder, least of all under a mistyped name.
        let text = format!(
            "{} does not exist yet; the first start makes it",
            config.data_dir.display()
        );
        return vec![
            finding("folders", Level::Ok, text),
            port(config),
            clock(),
            device(config),
        ];
    }
    let folder = match DataFolder::open(&config.data_dir) {
        Ok(folder) => folder,
        Err(error) => {
            let text = format!(
                "{} cannot be made or used: {error}; check its path and permissions",
                config.data_dir.display()
            );
            return vec![
                finding("folders", Level::Failure, text),
                clock(),
                device(config),
                port(config),
            ];
        }
    };
    let in_use = folder.lock().is_none();
    vec![
        folders(&folder),
        database(&folder, in_use),
        port(config),
        clock(),
        disk(&folder, config),
        device(config),
    ]
}

fn finding(name: &'static str, level: Level, text: impl Into<String>) -> Finding {
    Finding {
        name,
        level,
        text: text.into(),
    }
}

fn folders(folder: &DataFolder) -> Finding {
    let root = folder.root().display();
    let probe = folder.root().join("doctor.probe");
    match write_atomic(&probe, b"photog") {
        Err(error) => {
            let text = format!("{root} cannot be written: {error}; check owner and permissions");
            finding("folders", Level::Failure, text)
        }
        Ok(()) => match std::fs::remove_file(&probe) {
            Ok(()) => finding("folders", Level::Ok, format!("{root} can be written")),
            Err(error) => finding(
                "folders",
                Level::Warning,
                format!("{} cannot be removed: {error}", probe.display()),
            ),
        },
    }
}

fn database(folder: &DataFolder, in_use: bool) -> Finding {
    let path = folder.database();
    if !path.exists() {
        return finding(
            "database",
            Level::Ok,
            "there is none yet; the first start makes it",
        );
    }
    if in_use {
        let text = "a running photog has it open; it was checked when that one started";
        return finding("database", Level::Ok, text);
    }
    match Store::check_file(&path) {
        Ok(()) => finding(
            "database",
            Level::Ok,
            format!("{} is whole", path.display()),
        ),
        Err(
            error @ (QueueError::Damaged { .. }
            | QueueError::Newer { .. }
            | QueueError::Foreign { .. }),
        ) => finding("database", Level::Failure, error.to_string()),
        Err(error) => finding(
            "database",
            Level::Failure,
            format!("{} cannot be read: {error}", path.display()),
        ),
    }
}

fn port(config: &Config) -> Finding {
    let address = config.listen;
    if !address.ip().is_loopback() && config.token.is_none() {
        let text = format!(
            "{address} can be reached from other machines and there is no token; set PHOTOG_TOKEN or `token_file`"
        );
        return finding("port", Level::Failure, text);
    }
    match TcpListener::bind(address) {
        Ok(_) => finding("port", Level::Ok, format!("{address} is free")),
        Err(error) => {
            let text = format!(
                "{address} cannot be listened on ({error}); a running photog has it, or choose another with --listen"
            );
            finding("port", Level::Warning, text)
        }
    }
}

fn clock() -> Finding {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |passed| passed.as_secs());
    if now < CLOCK_MIN_SECONDS {
        let text =
            "the clock stands before 2026; set it, or results and history leave at wrong times";
        return finding("clock", Level::Failure, text);
    }
    let text = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    finding("clock", Level::Ok, text)
}

fn disk(folder: &DataFolder, config: &Config) -> Finding {
    let Some(free) = folder.free_bytes() else {
        return finding(
            "disk",
            Level::Warning,
            "the file system does not tell its free space",
        );
    };
    let (free_mib, reserve_mib) = (free / MIB, config.disk_reserve_bytes / MIB);
    if free < config.disk_reserve_bytes {
        let text = format!(
            "{free_mib} MiB are free, {reserve_mib} are kept back: every put is refused; free space"
        );
        return finding("disk", Level::Failure, text);
    }
    let level = if free < DISK_COMFORT_BYTES {
        Level::Warning
    } else {
        Level::Ok
    };
    finding("disk", level, format!("{free_mib} MiB are free"))
}

fn device(config: &Config) -> Finding {
    let text = match choice::choose(config.device) {
        Err(text) => return finding("device", Level::Failure, text),
        Ok(Device::Cpu) => {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let gpu = match (config.device, cuda_devices()) {
                (DeviceChoice::Auto, Err(reason)) => format!("; no GPU is used: {reason}"),
                _ => String::new(),
            };
            format!("{} with {cores} cores{gpu}", Device::Cpu)
        }
        Ok(device) => {
            let count = cuda_devices().unwrap_or(1);
            format!("{device}; GPUs in this machine: {count}")
        }
    };
    finding("device", Level::Ok, text)
}

/// Whether the server's networks are those of a pack.
fn pack(supply: &Supply) -> Option<Finding> {
    let pack = supply.pack()?;
    let text = format!(
        "the {pack} pack is used; results are {}",
        supply::notice(pack)
    );
    Some(finding("pack", Level::Warning, text))
}

/// What services lack, and whether the networks that are there can be used.
fn models(shelf: &Shelf) -> Vec<Finding> {
    let lacks = [Role::Check, Role::Train, Role::Predict]
        .into_iter()
        .filter_map(|role| lack_of(role, shelf))
        .map(|lack| finding("models", Level::Warning, lack.text));
    let mut findings: Vec<Finding> = lacks.collect();
    match shelf.faces() {
        Ok(_) => findings.insert(0, finding("models", Level::Ok, files(shelf))),
        // Said already.
        Err(ModelError::Missing { .. } | ModelError::List(_)) => {}
        Err(error) => {
            let text = format!(
                "photos cannot be judged: {error}; look with `photog models verify`, and bring \
                 another file or move this one away"
            );
            findings.insert(0, finding("models", Level::Warning, text));
        }
    }
    let finish = [
        shelf.parser().map(drop),
        shelf.fusion().map(drop),
        shelf.enlarger().map(drop),
    ];
    for error in finish.into_iter().filter_map(Result::err) {
        // Portraits do without those that are missing, and a list is spoken of already.
        if !matches!(error, ModelError::Missing { .. } | ModelError::List(_)) {
            let text = format!(
                "portraits cannot be finished with it: {error}; look with `photog models verify`, and \
                 bring another file or move this one away"
            );
            findings.push(finding("models", Level::Warning, text));
        }
    }
    findings
}

/// Which file serves which role.
fn files(shelf: &Shelf) -> String {
    let files = catalog::Role::ONNX.map(|role| match shelf.entry(role) {
        Ok(entry) => format!("{role} {}", entry.file),
        Err(_) => format!("no {role}"),
    });
    files.join(", ")
}
