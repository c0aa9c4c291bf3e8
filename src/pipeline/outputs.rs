//! The folder in which finished pictures are kept.

use std::{fs, path::PathBuf};

use crate::store::{StoreError, write_atomic};

/// The folder of finished pictures, which is made when the first is kept.
#[derive(Debug, Clone)]
pub struct Outputs(PathBuf);

impl Outputs {
    /// Name of the folder in the data folder.
    pub const NAME: &str = "outputs";

    /// The folder at this place.
    pub fn at(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Keeps a file by the time and the seed of its picture. Gives its path relative to the data folder, or
    /// says why it was not kept.
    pub fn keep(&self, seed: i64, ending: &str, file: &[u8]) -> Result<String, String> {
        let name = format!("{}-{seed}.{ending}", uuid::Uuid::now_v7());
        fs::create_dir_all(&self.0)
            .map_err(StoreError::from)
            .and_then(|()| write_atomic(&self.0.join(&name), file))
            .map_err(|error| format!("a picture was not kept on the server: {error}"))?;
        Ok(format!("{}/{name}", Self::NAME))
    }
}
