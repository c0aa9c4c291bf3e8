//! Folder paths from a service JSON. They become parts of paths on this machine's disk, so
//! everything that could lead out of a folder, or that another layer could read in another way,
//! is refused.

/// Longest part of a path in bytes, the limit of common file systems.
const MOST_PART_BYTES: usize = 255;
/// Longest path in bytes; leaves room for the data folder in front and file names behind.
const MOST_PATH_BYTES: usize = 1024;

/// A path from which the caller took the slash in front: the same without a slash at its end, if
/// every part of it is a plain name. May be empty.
pub(super) fn plain(path: &str) -> Result<&str, &'static str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.len() > MOST_PATH_BYTES {
        return Err("it is longer than 1024 bytes");
    }
    if !path.is_empty() {
        path.split('/').try_for_each(check_part)?;
    }
    Ok(path)
}

fn check_part(part: &str) -> Result<(), &'static str> {
    // `%`, `\`, `:`, `?` and `#` mean something else in addresses or on other systems.
    let is_odd = |c: char| c.is_control() || matches!(c, '\\' | '%' | ':' | '?' | '#');
    if part.is_empty() {
        return Err("it has an empty part (`//`)");
    }
    if part == "." || part == ".." {
        return Err("it has a part `.` or `..`");
    }
    if part.len() > MOST_PART_BYTES {
        return Err("one part is longer than 255 bytes");
    }
    if part.trim() != part {
        return Err("one part begins or ends with a space");
    }
    if part.contains(is_odd) {
        return Err("it has a control character or one of \\ % : ? #");
    }
    Ok(())
}
