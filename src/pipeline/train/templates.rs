//! The templates that checkpoints are judged by: those that the operator has put into a folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::imaging::{self, RgbImage};

/// The folder of templates below the data folder.
const FOLDER: &str = "photog/templates";
/// Largest file of a template.
const BYTES_MAX: u64 = 32 << 20;
/// Most files that are looked at.
const FILES_MAX: usize = 16;
/// The templates, in the order of their names. A file that is no picture is passed over: it costs a
/// training one picture to be judged by.
pub fn templates(data_folder: &Path) -> Vec<RgbImage> {
    let decode = |bytes: &[u8]| imaging::decode(bytes, &imaging::Limits::default()).ok();
    files(&data_folder.join(FOLDER))
        .into_iter()
        .filter_map(|path| decode(&fs::read(path).ok()?))
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let is_fit = |path: &PathBuf| {
        let about = path.metadata();
        about.is_ok_and(|about| about.is_file() && about.len() <= BYTES_MAX)
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(is_fit)
        .collect();
    files.sort();
    files.truncate(FILES_MAX);
    files
}
