//! The table of all settings.

use super::ConfigError;
use crate::domain::{PORTRAIT_NEGATIVE, PORTRAIT_PROMPT};

/// What a value has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Flag,
    /// Whole number from the first to the second.
    Whole(u64, u64),
    /// Comma-separated in the environment, an array in the file.
    List,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Name in the file; the environment variable is `PHOTOG_` and the name in capitals.
    pub name: &'static str,
    pub(super) kind: Kind,
    /// Default as text; empty for none.
    pub(super) default: &'static str,
    /// What it is for.
    pub help: &'static str,
}

const fn key(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        help,
    }
}

/// Every setting.
pub const KEYS: &[Key] = &[
    key(
        "data_dir",
        Kind::Text,
        "./photog-data",
        "folder of database, models, people and portraits",
    ),
    key(
        "listen",
        Kind::Text,
        "127.0.0.1:7860",
        "address and port of the server",
    ),
    key(
        "token",
        Kind::Text,
        "",
        "token that opens every address; needed when listening beyond this machine",
    ),
    key("token_file", Kind::Text, "", "file that holds the token"),
    key(
        "apps",
        Kind::List,
        "",
        "apps that may call the hosted API, each as appid:token",
    ),
    key(
        "apps_file",
        Kind::Text,
        "",
        "file that holds the apps, one a line",
    ),
    key(
        "app_clock_seconds",
        Kind::Whole(0, 86_400),
        "0",
        "how far an app's X-Request-Time may be off, in seconds; 0 does not look at it",
    ),
    key(
        "services",
        Kind::List,
        "",
        "service JSON files; the four built-in services when empty",
    ),
    key(
        "buckets",
        Kind::List,
        "",
        "local folders of buckets, each as oss://bucket/prefix=FOLDER",
    ),
    key("device", Kind::Text, "auto", "auto, cpu, cuda or cuda:N"),
    key(
        "pack",
        Kind::Text,
        "auto",
        "networks that are built in: demo, none, or auto, with which `photog serve` takes those of the \
         demo pack while the data folder holds no models",
    ),
    key(
        "device_slots",
        Kind::Whole(0, 1000),
        "0",
        "most slots of all services on the device; 0 is no limit of its own",
    ),
    key(
        "device_memory_mib",
        Kind::Whole(0, 1 << 30),
        "0",
        "memory of the device that slots may reserve together, each as much as its service's \
         `metadata.photog_slot_memory_mib` says, in MiB; 0 does not count it",
    ),
    key(
        "models_memory_mib",
        Kind::Whole(0, 1 << 30),
        "0",
        "memory that models may hold before the longest unused are dropped, in MiB; 0 is half of the \
         machine's memory on the CPU, and on a GPU as much as it has",
    ),
    key(
        "portrait_prompt",
        Kind::Text,
        PORTRAIT_PROMPT,
        "words of every portrait, behind those of the person and of the request; LoRA tags count; not \
         used with a pack, which knows few words",
    ),
    key(
        "portrait_negative_prompt",
        Kind::Text,
        PORTRAIT_NEGATIVE,
        "what no portrait shall show",
    ),
    key(
        "allow_private_networks",
        Kind::Flag,
        "false",
        "fetch pictures from private networks too",
    ),
    key(
        "allowed_hosts",
        Kind::List,
        "",
        "hosts in private networks that pictures may be fetched from, as host or host:port",
    ),
    key(
        "store_mib",
        Kind::Whole(1, 1 << 40),
        "16384",
        "most payload MiB that the queues of one service keep",
    ),
    key(
        "disk_reserve_mib",
        Kind::Whole(0, 1 << 40),
        "64",
        "free MiB of disk kept for finishing running work; puts are refused below it",
    ),
    key(
        "result_days",
        Kind::Whole(0, 36_500),
        "7",
        "days that results nobody took are kept",
    ),
    key(
        "result_entries_max",
        Kind::Whole(1, 100_000_000),
        "100000",
        "most results kept in the sink of a service",
    ),
    key(
        "history_days",
        Kind::Whole(0, 36_500),
        "30",
        "days that ended jobs are listed",
    ),
    key(
        "history_entries_max",
        Kind::Whole(1, 100_000_000),
        "100000",
        "most ended jobs listed",
    ),
    key(
        "retry_mib",
        Kind::Whole(0, 1 << 40),
        "1024",
        "MiB of requests of failed jobs kept so that they can be tried again",
    ),
    key(
        "connections_max",
        Kind::Whole(1, 100_000),
        "1024",
        "connections at once; more are refused",
    ),
    key(
        "header_timeout_seconds",
        Kind::Whole(1, 86_400),
        "30",
        "longest time for a request head, and for an idle connection",
    ),
    key(
        "body_timeout_seconds",
        Kind::Whole(1, 86_400),
        "30",
        "longest silence inside a request body, and of a client that does not read its answer",
    ),
    key(
        "stop_seconds",
        Kind::Whole(0, 31_622_400),
        "0",
        "how long a stop waits for running work; 0 is the longest keepalive of the services",
    ),
];

/// The key of this name, or an error that names the nearest one.
pub(super) fn find(name: &str) -> Result<&'static str, ConfigError> {
    if let Some(key) = KEYS.iter().find(|key| key.name == name) {
        return Ok(key.name);
    }
    let nearest = KEYS.iter().min_by_key(|key| distance(key.name, name));
    let nearest = nearest.map_or("", |key| key.name);
    Err(ConfigError(format!(
        "there is no setting `{name}`; did you mean `{nearest}`? `photog config` lists all"
    )))
}

/// Edits that turn one name into the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}
