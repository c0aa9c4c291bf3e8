//! `storage`: folders that requests may name files in.

use std::collections::HashSet;

use super::{
    error::{ServiceError, shortened},
    fields::MOUNT,
    notes::Notes,
    paths,
    reader::{Given, Section},
};
use crate::domain::Mount;

const MOST_BUCKET_CHARACTERS: usize = 63;

/// Reads `storage`. Mounts of other kinds than `oss` are reported, and refused when there is no
/// other.
pub(super) fn read(root: &mut Section, notes: &mut Notes) -> Result<Vec<Mount>, ServiceError> {
    let Some(storage) = root.take("storage") else {
        return Ok(Vec::new());
    };
    let items = storage.items()?;
    let mut mounts = Vec::new();
    let mut known = HashSet::new();
    for item in &items {
        let Some(mount) = read_mount(item, notes)? else {
            continue;
        };
        if !known.insert(mount.mount_path.clone()) {
            let path = shortened(&mount.mount_path);
            return Err(item.refuse(format!(
                "`{path}` is mounted already; give each mount its own `mount_path`"
            )));
        }
        mounts.push(mount);
    }
    if mounts.is_empty() && !items.is_empty() {
        let reason = "no mount of the kind `oss`; add one, it becomes a local folder";
        return Err(storage.refuse(reason));
    }
    Ok(mounts)
}

fn read_mount(item: &Given, notes: &mut Notes) -> Result<Option<Mount>, ServiceError> {
    let mut section = Section::new(&MOUNT, &item.field, item.value, notes)?;
    if !section.has_below("oss") {
        let reason = "only `oss` mounts are turned into folders";
        notes.report(&item.field, item.value, reason);
        return Ok(None);
    }
    let mount_path = mount_path(&item.field, &mut section, notes)?;
    let (bucket, prefix) = bucket_path(&item.field, &mut section, notes)?;
    let read_only = read_only(&item.field, &mut section, notes)?;
    section.finish(notes);
    Ok(Some(Mount {
        mount_path,
        bucket,
        prefix,
        read_only,
    }))
}

fn mount_path(
    base: &str,
    section: &mut Section,
    notes: &mut Notes,
) -> Result<String, ServiceError> {
    let Some(given) = section.take("mount_path") else {
        let reason = "it is missing; write where requests see the folder, such as `/photog_oss`";
        return Err(ServiceError::field(&format!("{base}.mount_path"), reason));
    };
    let text = given.text()?;
    let Some(path) = text.strip_prefix('/') else {
        let text = shortened(text);
        return Err(given.refuse(format!("`{text}` does not start with a slash; add one")));
    };
    let path = paths::plain(path)
        .map_err(|problem| given.refuse(format!("{problem}; write a path like `/photog_oss`")))?;
    if path.is_empty() {
        return Err(given.refuse("a folder cannot be mounted at `/`; write `/photog_oss`"));
    }
    let path = format!("/{path}");
    let reason = "a name that requests use for the folder";
    notes.map(&given.field, Some(given.value), path.as_str(), reason);
    Ok(path)
}

/// Bucket and prefix of `oss://bucket/prefix/`, also with an endpoint behind the bucket
/// (`oss://bucket.oss.example.com/`), which has no effect.
fn bucket_path(
    base: &str,
    section: &mut Section,
    notes: &mut Notes,
) -> Result<(String, String), ServiceError> {
    const FORM: &str = "write `oss://bucket/folder/`";
    let Some(given) = section.take("oss.path") else {
        let reason = format!("it is missing; {FORM}");
        return Err(ServiceError::field(&format!("{base}.oss.path"), reason));
    };
    let Some(address) = given.text()?.strip_prefix("oss://") else {
        return Err(given.refuse(format!("it does not start with `oss://`; {FORM}")));
    };
    let (host, prefix) = address.split_once('/').unwrap_or((address, ""));
    let (bucket, endpoint) = host.split_once('.').unwrap_or((host, ""));
    if !is_bucket(bucket) || !endpoint.bytes().all(|b| is_host_byte(b) || b == b'.') {
        let host = shortened(host);
        return Err(given.refuse(format!("`{host}` is no bucket (a-z, 0-9 and -); {FORM}")));
    }
    let prefix =
        paths::plain(prefix).map_err(|problem| given.refuse(format!("{problem}; {FORM}")))?;
    let reason = if endpoint.is_empty() {
        "a local folder stands for the bucket"
    } else {
        "a local folder stands for the bucket; the endpoint in the address is not used"
    };
    let effective = format!("{bucket}/{prefix}");
    notes.map(&given.field, Some(given.value), effective, reason);
    Ok((bucket.to_owned(), prefix.to_owned()))
}

fn read_only(base: &str, section: &mut Section, notes: &mut Notes) -> Result<bool, ServiceError> {
    const MEANING: &str = "whether writing is refused";
    let Some(given) = section.take("oss.readOnly") else {
        let field = format!("{base}.oss.readOnly");
        notes.honour(&field, None, false, format!("default; {MEANING}"));
        return Ok(false);
    };
    let read_only = given.flag()?;
    notes.honour(&given.field, Some(given.value), read_only, MEANING);
    Ok(read_only)
}

fn is_bucket(name: &str) -> bool {
    (1..=MOST_BUCKET_CHARACTERS).contains(&name.len())
        && name.bytes().all(is_host_byte)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn is_host_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')
}
