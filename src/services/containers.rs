//! `containers`: which engines are meant and which of their options have an effect.
//!
//! No image is pulled and no start line is run.

use serde_json::{Value, json};
use url::{Host, Url};

use super::{
    engine::{self, ImageRole},
    error::ServiceError,
    fields::CONTAINER,
    notes::Notes,
    paths,
    reader::{Given, Section},
    start_line::{self, StartOption},
};
use crate::domain::{Mount, Role};

/// What the containers say.
#[derive(Default)]
pub(super) struct Containers {
    /// Engines that the images stand for, in the order of the containers.
    pub images: Vec<ImageRole>,
    /// Root of the WebUI's folders, below one of the mounts.
    pub webui_data_dir: Option<String>,
}

const BUILT_IN: &str = "engine is built in";

/// Reads `containers`.
pub(super) fn read(
    root: &mut Section,
    notes: &mut Notes,
    mounts: &[Mount],
) -> Result<Containers, ServiceError> {
    let mut containers = Containers::default();
    let Some(given) = root.take("containers") else {
        return Ok(containers);
    };
    let items = given.items()?;
    for (index, item) in items.iter().enumerate() {
        let mut section = Section::new(&CONTAINER, &item.field, item.value, notes)?;
        let role = image(&mut section, &mut containers, notes)?;
        let is_webui = role == Some(Role::Sd);
        for path in ["script", "command"] {
            let Some(line) = section.take(path) else {
                continue;
            };
            let data_dir = read_start_line(&line, is_webui, mounts, notes)?;
            if let Some(data_dir) = data_dir {
                containers.webui_data_dir.get_or_insert(data_dir);
            }
        }
        environment(&mut section, &sibling_ports(&items, index), notes)?;
        port(&mut section, notes);
        section.finish(notes);
    }
    Ok(containers)
}

fn image(
    section: &mut Section,
    containers: &mut Containers,
    notes: &mut Notes,
) -> Result<Option<Role>, ServiceError> {
    let Some(given) = section.take("image") else {
        return Ok(None);
    };
    let Some(role) = engine::of_image(given.text()?) else {
        let reason = "no built-in engine is known by this image";
        notes.report(&given.field, given.value, reason);
        return Ok(None);
    };
    let reason = "stands for a built-in engine; nothing is pulled";
    notes.map(&given.field, Some(given.value), role.as_str(), reason);
    containers.images.push(ImageRole {
        field: given.field,
        role,
    });
    Ok(Some(role))
}

/// Reads a start line for its options; the result is the WebUI's data folder, if it names one.
fn read_start_line(
    line: &Given,
    is_webui: bool,
    mounts: &[Mount],
    notes: &mut Notes,
) -> Result<Option<String>, ServiceError> {
    let Ok(words) = start_line::words(line.text()?) else {
        let reason = "a quote is not closed, so its options cannot be read; it is never run";
        notes.warn(format!("`{}`: {reason}", line.field));
        notes.report(&line.field, line.value, reason);
        return Ok(None);
    };
    let reason = "read for known options, never run";
    notes.map(&line.field, Some(line.value), Value::Null, reason);
    let mut data_dir = None;
    for option in start_line::options(&words) {
        let field = format!("{} {}", line.field, option.name);
        if is_webui && option.name == "--data-dir" {
            // As for the WebUI itself, the last one counts.
            data_dir = read_data_dir(&field, &option, mounts, notes);
        } else {
            read_option(&field, &option, is_webui, notes);
        }
    }
    Ok(data_dir)
}

fn read_option(field: &str, option: &StartOption, is_webui: bool, notes: &mut Notes) {
    let given = option.value.as_deref().map_or(json!(true), Value::from);
    let offline = "the program never downloads or installs by itself";
    match option.name.as_str() {
        "--no-download-sd-model" | "--skip-install" | "--skip-version-check" if is_webui => {
            notes.honour(field, Some(&given), true, offline);
        }
        "--no-hashing" if is_webui => {
            let reason = "no hash is computed over checkpoints at the start";
            notes.honour(field, Some(&given), true, reason);
        }
        "--port" | "--listen" | "--api" if is_webui => {
            let reason = "the program's own address serves this API";
            notes.report(field, &given, reason);
        }
        "--sd-dynamic-cache" | "--filebrowser" if is_webui => {
            let reason = "an addition of the vendor's build of the WebUI";
            notes.report(field, &given, reason);
        }
        _ => {
            let reason = "the built-in engine has no such option";
            notes.report(field, &given, reason);
        }
    }
}

fn read_data_dir(
    field: &str,
    option: &StartOption,
    mounts: &[Mount],
    notes: &mut Notes,
) -> Option<String> {
    let given = json!(option.value);
    let Some(path) = option
        .value
        .as_deref()
        .and_then(|dir| absolute(dir, mounts))
    else {
        let reason = "not a plain path below one of the mounts; the usual model folders are used";
        notes.warn(format!("`{field}`: {reason}"));
        notes.report(field, &given, reason);
        return None;
    };
    notes.honour(
        field,
        Some(&given),
        path.as_str(),
        "root of the model folders",
    );
    Some(path)
}

/// The path without a slash at its end, if it is plain and at or below a mount.
fn absolute(path: &str, mounts: &[Mount]) -> Option<String> {
    // What a shell would replace or expand names no folder here.
    if path.contains(['$', '`', '*', '~']) {
        return None;
    }
    let path = format!("/{}", paths::plain(path.strip_prefix('/')?).ok()?);
    let is_mounted = mounts.iter().any(|mount| {
        path.strip_prefix(&mount.mount_path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    is_mounted.then_some(path)
}

fn port(section: &mut Section, notes: &mut Notes) {
    let Some(given) = section.take("port") else {
        return;
    };
    // EAS itself listens on these two.
    if let Ok(number @ (8080 | 9090)) = given.whole() {
        notes.warn(format!(
            "`{}` is {number}, which EAS keeps for itself; the service would not start there",
            given.field
        ));
    }
    notes.report(&given.field, given.value, BUILT_IN);
}

/// Ports of all containers but the one at `index`.
fn sibling_ports(items: &[Given], index: usize) -> Vec<u16> {
    items
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != index)
        .filter_map(|(_, item)| {
            let field = String::new();
            let value = item.value.get("port")?;
            Given { field, value }.whole().ok()?.try_into().ok()
        })
        .collect()
}

fn environment(
    section: &mut Section,
    sibling_ports: &[u16],
    notes: &mut Notes,
) -> Result<(), ServiceError> {
    let Some(variables) = section.take("env") else {
        return Ok(());
    };
    for variable in variables.items()? {
        let Some(name) = variable.value.get("name").and_then(Value::as_str) else {
            let reason = "write an object with the members `name` and `value`";
            return Err(variable.refuse(reason));
        };
        let value = variable.value.get("value").and_then(Value::as_str);
        let reason = match name {
            "URL" if value.is_some_and(|url| is_sibling(url, sibling_ports)) => {
                "the two engines speak to each other inside the process"
            }
            "URL" => {
                let reason = "a WebUI at another address is not used";
                notes.warn(format!("`{}`: {reason}", variable.field));
                reason
            }
            "AUTHORIZATION" => "the built-in diffusion engine needs no authorization",
            _ => "the engine is built in and reads no environment of a container",
        };
        notes.report(&variable.field, variable.value, reason);
    }
    Ok(())
}

/// Whether an address is that of another container of the same service.
fn is_sibling(address: &str, sibling_ports: &[u16]) -> bool {
    let Ok(url) = Url::parse(address) else {
        return false;
    };
    let is_loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    is_loopback
        && url
            .port_or_known_default()
            .is_some_and(|port| sibling_ports.contains(&port))
}
