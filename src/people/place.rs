//! Where the files of a person lie.

use std::path::{Path, PathBuf};

use crate::{domain::PersonId, store::DataFolder};

/// The three folders of a person, each below a folder of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The reference photo and those that were trained with.
    Images,
    /// The record, checkpoints, validation pictures, and the best of each.
    Weights,
    /// The LoRA where the WebUI looks for it, with its thumbnail.
    Lora,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Images, Self::Weights, Self::Lora];

    /// Its name in the folder of a training.
    pub(super) const fn staged_name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Weights => "weights",
            Self::Lora => "lora",
        }
    }

    /// The folder of its kind below the data folder, as records write it.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Images => "photog/user_images",
            Self::Weights => "photog/user_weights",
            Self::Lora => "webui/models/Lora",
        }
    }

    /// The folder of its kind, which has one folder for each person.
    pub(super) fn home(self, data: &DataFolder) -> PathBuf {
        match self {
            Self::Images => data.user_images(),
            Self::Weights => data.user_weights(),
            Self::Lora => data.models("Lora"),
        }
    }

    /// This folder of one person.
    pub(super) fn folder(self, data: &DataFolder, id: &PersonId) -> PathBuf {
        self.home(data).join(id.as_str())
    }

    /// The path of a file in this folder as records write it; `None` when it is no plain text.
    pub(super) fn recorded(self, id: &PersonId, below: &Path) -> Option<String> {
        let below: Option<Vec<&str>> = below.iter().map(std::ffi::OsStr::to_str).collect();
        let path = format!("{}/{id}/{}", self.prefix(), below?.join("/"));
        Self::locate(id, &path).is_some().then_some(path)
    }

    /// The folder that a recorded path lies in, and its path there. `None` when the path leads
    /// anywhere else, so that a record can name files of its own person only.
    pub(super) fn locate<'a>(id: &PersonId, path: &'a str) -> Option<(Self, &'a str)> {
        Self::ALL.into_iter().find_map(|part| {
            let below = path
                .strip_prefix(part.prefix())?
                .strip_prefix('/')?
                .strip_prefix(id.as_str())?
                .strip_prefix('/')?;
            let is_plain =
                |name: &str| !matches!(name, "" | "." | "..") && !name.contains(['\\', '\0']);
            below.split('/').all(is_plain).then_some((part, below))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_path_leads_to_files_of_its_own_person_only() {
        let id: PersonId = "anna".parse().unwrap();
        let path = "photog/user_weights/anna/validation/a 1.jpg";
        assert_eq!(
            Part::locate(&id, path),
            Some((Part::Weights, "validation/a 1.jpg"))
        );
        for wrong in [
            "",
            "/etc/passwd",
            "photog/user_weights/anna",
            "photog/user_weights/anna/",
            "photog/user_weights/anna2/a.jpg",
            "photog/user_weights/bruno/a.jpg",
            "photog/user_weights/anna/../bruno/a.jpg",
            "photog/user_weights/anna/./a.jpg",
            "photog/user_weights/anna//a.jpg",
            "photog/training/anna/a.jpg",
            "photog.db",
        ] {
            assert_eq!(Part::locate(&id, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_recorded_is_found_where_the_data_folder_has_it() {
        let data = DataFolder::at("/data");
        let id: PersonId = "anna".parse().unwrap();
        for part in Part::ALL {
            let path = part.recorded(&id, Path::new("a/b.jpg")).unwrap();
            let folder = part.folder(&data, &id);
            assert_eq!(data.root().join(&path), folder.join("a/b.jpg"));
            assert_eq!(Part::locate(&id, &path), Some((part, "a/b.jpg")));
            assert_eq!(part.recorded(&id, Path::new("../b.jpg")), None);
        }
    }
}
