//! Settings: default < file < environment < flag, resolved into one checked struct.
//!
//! [`KEYS`] is the one table of all settings; the file, the environment, `photog config` and the
//! help are made from it. A file is TOML with these names at its top level, `services`,
//! `buckets` and `apps` as lists. An unknown name is an error that says which name is nearest.

mod apps;
mod keys;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

pub use keys::{KEYS, Key};
use keys::{Kind, find};

use crate::{
    domain::{MIB, Secret, Words},
    fetch::NetworkPolicy,
    pack::Pack,
    queue::Retention,
    store::BucketFolder,
};

/// Prefix of environment variables.
const ENV_PREFIX: &str = "PHOTOG_";
/// Settings whose values are shown to nobody.
const SECRETS: [&str; 2] = ["token", "apps"];
/// Largest configuration file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A command line flag.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// A setting that cannot be used. The text names it, its source and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// Values as given, with their sources.
#[derive(Clone)]
pub struct Settings {
    values: BTreeMap<&'static str, (Vec<String>, Source)>,
}

/// As in [`Settings::listing`], without secrets.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = self.listing().map(|(key, value, _)| (key.name, value));
        f.debug_map().entries(listed).finish()
    }
}

/// Settings checked and in units of the program.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder in which everything lives.
    pub data_dir: PathBuf,
    /// Where the server listens.
    pub listen: SocketAddr,
    /// Token that opens everything.
    pub token: Option<Secret>,
    /// Apps that may call the hosted API, with their tokens.
    pub apps: BTreeMap<String, Secret>,
    /// How far the time that an app states may be off.
    pub app_clock_difference_max: Option<Duration>,
    /// Service JSON files.
    pub services: Vec<PathBuf>,
    /// Local folders of buckets.
    pub buckets: Vec<BucketFolder>,
    /// Device to work on.
    pub device: DeviceChoice,
    /// Whether networks come from a pack.
    pub pack: PackChoice,
    /// Most slots on the device.
    pub device_slots: Option<u32>,
    /// Memory of the device that slots may reserve together, in bytes.
    pub device_memory_bytes: Option<u64>,
    /// Memory that models may hold, in bytes.
    pub models_memory_bytes: Option<u64>,
    /// Which hosts pictures are fetched from.
    pub network: NetworkPolicy,
    /// The fixed words of portraits.
    pub words: Words,
    /// Most payload bytes of one service's queues.
    pub store_bytes: u64,
    /// Free bytes kept back.
    pub disk_reserve_bytes: u64,
    /// What leaves by itself.
    pub retention: Retention,
    /// Connections at once.
    pub connections_max: usize,
    /// Longest time for a request head.
    pub header_timeout: Duration,
    /// Longest silence inside a body.
    pub body_timeout: Duration,
    /// How long a stop waits; `None` is the longest keepalive.
    pub stop_limit: Option<Duration>,
}

/// Which device was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best there is.
    Auto,
    /// The processor.
    Cpu,
    /// A GPU by number.
    Cuda(u32),
}

/// Which pack was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackChoice {
    /// One where there is nothing else.
    Auto,
    /// None.
    None,
    /// This one and nothing else.
    Named(Pack),
}

impl Settings {
    /// Collects values from a file, the environment and the command line.
    pub fn collect(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (&'static str, Vec<String>)>,
    ) -> Result<Self, ConfigError> {
        let default = |key: &Key| {
            let values = if key.default.is_empty() {
                vec![]
            } else {
                vec![key.default.to_owned()]
            };
            (key.name, (values, Source::Default))
        };
        let mut settings = Self {
            values: KEYS.iter().map(default).collect(),
        };
        if let Some(path) = file {
            settings.read_file(path)?;
        }
        for (name, value) in environment {
            settings.read_variable(&name, &value)?;
        }
        for (name, values) in flags {
            settings.set(name, values, Source::Flag)?;
        }
        Ok(settings)
    }

    /// Names, values and sources for `photog config`; secrets are masked.
    pub fn listing(&self) -> impl Iterator<Item = (&'static Key, String, &Source)> {
        KEYS.iter().map(|key| {
            let (values, source) = &self.values[key.name];
            let secret = SECRETS.contains(&key.name) && !values.is_empty();
            let shown = if secret {
                String::from("***")
            } else {
                values.join(",")
            };
            (key, shown, source)
        })
    }

    /// Checks everything.
    pub fn check(&self) -> Result<Config, ConfigError> {
        let mib = |name| Ok::<_, ConfigError>(self.whole(name)?.saturating_mul(MIB));
        let seconds = |name| Ok::<_, ConfigError>(Duration::from_secs(self.whole(name)?));
        let days = |name| Ok::<_, ConfigError>(Duration::from_secs(self.whole(name)? * 86_400));
        Ok(Config {
            data_dir: self.text("data_dir").into(),
            listen: self.parsed("listen", "an address and port such as 127.0.0.1:7860")?,
            token: self.token()?,
            apps: apps::read(self.list("apps"), self.text("apps_file"))?,
            app_clock_difference_max: Some(seconds("app_clock_seconds")?)
                .filter(|most| !most.is_zero()),
            services: self.list("services").iter().map(PathBuf::from).collect(),
            buckets: self
                .list("buckets")
                .iter()
                .map(|text| Self::bucket(text))
                .collect::<Result<_, _>>()?,
            device: self.device()?,
            pack: self.pack()?,
            device_memory_bytes: Some(mib("device_memory_mib")?).filter(|bytes| *bytes > 0),
            models_memory_bytes: Some(mib("models_memory_mib")?).filter(|bytes| *bytes > 0),
            device_slots: Some(self.whole("device_slots")? as u32).filter(|slots| *slots > 0),
            network: NetworkPolicy {
                allow_private_networks: self.text("allow_private_networks") == "true",
                allowed_hosts: self
                    .list("allowed_hosts")
                    .iter()
                    .map(|host| host.to_lowercase())
                    .collect(),
            },
            words: Words {
                prompt: self.text("portrait_prompt").to_owned(),
                negative: self.text("portrait_negative_prompt").to_owned(),
            },
            store_bytes: mib("store_mib")?,
            disk_reserve_bytes: mib("disk_reserve_mib")?,
            retention: Retention {
                result_age: days("result_days")?,
                result_entries_max: self.whole("result_entries_max")? as usize,
                history_age: days("history_days")?,
                history_entries_max: self.whole("history_entries_max")? as usize,
                retry_bytes_max: mib("retry_mib")?,
            },
            connections_max: self.whole("connections_max")? as usize,
            header_timeout: seconds("header_timeout_seconds")?,
            body_timeout: seconds("body_timeout_seconds")?,
            stop_limit: Some(seconds("stop_seconds")?).filter(|limit| !limit.is_zero()),
        })
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let cannot = |why: &dyn fmt::Display| {
            ConfigError(format!(
                "the configuration file {} cannot be used: {why}",
                path.display()
            ))
        };
        let size = std::fs::metadata(path)
            .map_err(|error| cannot(&error))?
            .len();
        if size > FILE_BYTES_MAX {
            return Err(cannot(&format!("it is larger than {FILE_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| cannot(&error))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            // The error's own text shows the line, which may hold the token.
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.unwrap_or_default().matches('\n').count() + 1;
            cannot(&format!("line {line}: {}", error.message()))
        })?;
        for (name, value) in table {
            let values = match value {
                toml::Value::Array(items) => items.iter().map(plain).collect(),
                other => plain(&other).map(|text| vec![text]),
            };
            let values = values.ok_or_else(|| {
                cannot(&format!(
                    "`{name}` must be a text, number, true or false, or a list of texts"
                ))
            })?;
            let known = find(&name).map_err(|error| cannot(&error))?;
            self.set(known, values, Source::File(path.to_owned()))?;
        }
        Ok(())
    }

    fn read_variable(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let Some(ours) = name.strip_prefix(ENV_PREFIX) else {
            return Ok(());
        };
        let lower = ours.to_lowercase();
        // These share the prefix with settings and are none: the file's name, and what tests and
        // benches read.
        if ["config", "bin"].contains(&lower.as_str()) || lower.starts_with("test_") {
            return Ok(());
        }
        let known = find(&lower)
            .map_err(|error| ConfigError(format!("the environment variable {name}: {error}")))?;
        let is_list = KEYS
            .iter()
            .any(|key| key.name == known && key.kind == Kind::List);
        let values = if is_list {
            value
                .split(',')
                .filter(|part| !part.is_empty())
                .map(ToOwned::to_owned)
                .collect()
        } else if value.is_empty() {
            vec![]
        } else {
            vec![value.to_owned()]
        };
        self.set(known, values, Source::Environment(name.to_owned()))
    }

    fn set(
        &mut self,
        name: &'static str,
        values: Vec<String>,
        source: Source,
    ) -> Result<(), ConfigError> {
        for key in KEYS.iter().filter(|key| key.name == name) {
            let wanted = match key.kind {
                Kind::Text if values.len() > 1 => Some(String::from("one value")),
                Kind::Flag if !matches!(&values[..], [one] if one == "true" || one == "false") => {
                    Some(String::from("true or false"))
                }
                Kind::Whole(least, most) => {
                    let number = values.first().and_then(|text| text.parse::<u64>().ok());
                    let good =
                        values.len() == 1 && number.is_some_and(|n| (least..=most).contains(&n));
                    (!good).then(|| format!("a whole number from {least} to {most}"))
                }
                _ => None,
            };
            if let Some(wanted) = wanted {
                return Err(ConfigError(format!(
                    "`{name}` from {source} must be {wanted}"
                )));
            }
        }
        self.values.insert(name, (values, source));
        Ok(())
    }

    fn list(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], |(values, _)| values)
    }

    fn text(&self, name: &str) -> &str {
        self.list(name).first().map_or("", String::as_str)
    }

    fn whole(&self, name: &str) -> Result<u64, ConfigError> {
        self.parsed(name, "a whole number")
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str, wanted: &str) -> Result<T, ConfigError> {
        self.text(name)
            .parse()
            .map_err(|_| self.refuse(name, wanted))
    }

    fn refuse(&self, name: &str, wanted: &str) -> ConfigError {
        let source = self
            .values
            .get(name)
            .map_or(&Source::Default, |(_, source)| source);
        ConfigError(format!(
            "`{name}` from {source} is `{}`; it must be {wanted}",
            self.text(name)
        ))
    }

    fn token(&self) -> Result<Option<Secret>, ConfigError> {
        let (text, file) = (self.text("token"), self.text("token_file"));
        if !text.is_empty() || file.is_empty() {
            return Ok(Some(text).filter(|text| !text.is_empty()).map(Secret::new));
        }
        let read = std::fs::read_to_string(file).map_err(|error| {
            ConfigError(format!("the token file {file} cannot be read: {error}"))
        })?;
        warn_if_open(Path::new(file));
        match read.trim() {
            "" => Err(ConfigError(format!("the token file {file} is empty"))),
            token => Ok(Some(Secret::new(token))),
        }
    }

    fn device(&self) -> Result<DeviceChoice, ConfigError> {
        let wrong = || self.refuse("device", "auto, cpu, cuda or cuda:N");
        match self.text("device") {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            other => {
                let number = other
                    .strip_prefix("cuda:")
                    .and_then(|number| number.parse().ok());
                number.map(DeviceChoice::Cuda).ok_or_else(wrong)
            }
        }
    }

    fn pack(&self) -> Result<PackChoice, ConfigError> {
        match self.text("pack") {
            "auto" => Ok(PackChoice::Auto),
            "none" => Ok(PackChoice::None),
            name => {
                let names = Pack::ALL.map(Pack::as_str).join(", ");
                let wanted = format!("auto, none, or the name of a pack: {names}");
                let named = Pack::named(name).map(PackChoice::Named);
                named.ok_or_else(|| self.refuse("pack", &wanted))
            }
        }
    }

    fn bucket(text: &str) -> Result<BucketFolder, ConfigError> {
        let wrong = || {
            ConfigError(format!(
                "`buckets` has `{text}`; each must be oss://bucket/prefix=FOLDER"
            ))
        };
        let (address, folder) = text.split_once('=').ok_or_else(wrong)?;
        let key = address.strip_prefix("oss://").ok_or_else(wrong)?;
        let (bucket, prefix) = key.split_once('/').unwrap_or((key, ""));
        if bucket.is_empty() || folder.is_empty() {
            return Err(wrong());
        }
        Ok(BucketFolder {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            folder: folder.into(),
        })
    }
}

/// Tells the operator when every user of the machine can read a secret.
fn warn_if_open(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;

    const READ_BY_OTHERS: u32 = 0o004;
    let mode = std::fs::metadata(file).map_or(0, |data| data.permissions().mode());
    if mode & READ_BY_OTHERS != 0 {
        tracing::warn!(file = %file.display(), "every user of this machine can read the token file; chmod 600 it");
    }
}

fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}
