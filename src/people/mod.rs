//! Trained persons on disk: their photos, weights and LoRAs, the records of how they were trained,
//! and the places where they are trained.
//!
//! Promises: a person is trained if and only if the record is there, and then all files that it names
//! are the record's own; one at a time trains or removes a person, be it in this process or in
//! another; what a crash cut off is finished by whoever comes next; after a removal no file of the
//! person is left. How a person is trained is not known here.
//!
//! The folders of a person are those of [`crate::store::DataFolder`]; `staging` tells of the fourth,
//! in which a training works.

mod error;
mod place;
mod record;
mod staging;
mod tree;
mod workplace;

use std::fs::File;

pub use error::PeopleError;
pub use record::{Base, Checkpoint, Loss, Person, Score};
pub use workplace::Workplace;

use crate::{
    domain::PersonId,
    store::{DataFolder, StoreError, open_below, read_bounded},
};

use place::Part;
use staging::Staging;

/// Everybody in a data folder.
#[derive(Debug, Clone)]
pub struct People(DataFolder);

/// What a list says of a trained person.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The person's id.
    pub model_id: PersonId,
    /// When the training was done, as RFC 3339 text.
    pub created: String,
    /// How long the training took.
    pub seconds: f64,
    /// The checkpoint that was trained on.
    pub base: Base,
    /// The pack that networks were taken from.
    pub pack: Option<String>,
    /// The LoRA, relative to the data folder.
    pub lora: String,
    /// The reference photo, relative to the data folder.
    pub ref_image: String,
    /// The picture beside the LoRA, relative to the data folder.
    pub thumbnail: Option<String>,
    /// The words that the person is called by.
    pub caption: String,
    /// Steps that were done.
    pub train_steps: u32,
    /// Photos that were trained with.
    pub used_images: u32,
    /// The best score of all validation pictures.
    pub best_score: Option<f32>,
}

/// A record that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Whose it is.
    pub model_id: PersonId,
    /// What is wrong with it.
    pub reason: String,
}

/// Everybody who is trained.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed {
    /// Those with a good record, the newest first.
    pub people: Vec<Summary>,
    /// Those with a record that cannot be used.
    pub damaged: Vec<Damage>,
}

/// A training that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Whose it is.
    pub model_id: PersonId,
    /// Somebody works on it now. Otherwise it ended too early, and goes on where it was with the next
    /// training of that id.
    pub in_training: bool,
}

/// Which picture of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picture<'a> {
    /// The reference photo.
    Reference,
    /// The picture beside the LoRA.
    Thumbnail,
    /// A validation picture, by the name of its file.
    Validation(&'a str),
}

impl People {
    /// Everybody in this data folder, which need not exist.
    pub fn new(data: DataFolder) -> Self {
        Self(data)
    }

    /// The root of the data folder.
    pub fn folder(&self) -> &std::path::Path {
        self.0.root()
    }

    /// Everybody who is trained. A record that cannot be used is listed as such and hides nobody.
    pub fn list(&self) -> Result<Listed, PeopleError> {
        let mut people = Vec::new();
        let mut damaged = Vec::new();
        for name in staging::names_in(&self.0.user_weights())? {
            let Ok(id) = name.parse::<PersonId>() else {
                continue;
            };
            match self.get(&id) {
                Ok(person) => people.push((person.created_time(), Summary::from(person))),
                Err(PeopleError::NotFound) => {}
                Err(PeopleError::Damaged(reason)) => damaged.push(Damage {
                    model_id: id,
                    reason,
                }),
                Err(other) => damaged.push(Damage {
                    model_id: id,
                    reason: other.to_string(),
                }),
            }
        }
        // They come in the order of their ids, and the sort keeps that among equals.
        people.sort_by_key(|(created, _)| std::cmp::Reverse(*created));
        Ok(Listed {
            people: people.into_iter().map(|(_, summary)| summary).collect(),
            damaged,
        })
    }

    /// The record of a trained person.
    pub fn get(&self, id: &PersonId) -> Result<Person, PeopleError> {
        let path = format!("{id}/{}", record::FILE_NAME);
        let read = open_below(&self.0.user_weights(), &path)
            .and_then(|file| read_bounded(file, record::BYTES_MAX));
        let bytes = read.map_err(|error| match error {
            StoreError::NotFound => PeopleError::NotFound,
            StoreError::TooLarge { limit } => {
                PeopleError::Damaged(format!("its file has more than {limit} bytes"))
            }
            StoreError::NotAFile | StoreError::PathRefused(_) => {
                PeopleError::Damaged(String::from("it is no plain file in a folder"))
            }
            other => other.into(),
        })?;
        Person::read(&bytes, id).map_err(PeopleError::Damaged)
    }

    /// Opens a picture of a trained person. Only files that the record names are opened.
    pub fn open_picture(&self, id: &PersonId, picture: Picture<'_>) -> Result<File, PeopleError> {
        let person = self.get(id)?;
        let path = match picture {
            Picture::Reference => Some(&person.ref_image),
            Picture::Thumbnail => person.thumbnail.as_ref(),
            Picture::Validation(name) => {
                let pictures = person.scores.iter().map(|score| &score.picture);
                let is_it = |path: &&String| {
                    path.rsplit_once('/')
                        .is_some_and(|(_, file_name)| file_name == name)
                };
                pictures.into_iter().find(is_it)
            }
        };
        let place = path.and_then(|path| Part::locate(id, path));
        let (part, below) = place.ok_or(PeopleError::NoPicture)?;
        match open_below(&part.home(&self.0), &format!("{id}/{below}")) {
            Ok(file) => Ok(file),
            Err(StoreError::Io(error)) => Err(error.into()),
            Err(_) => Err(PeopleError::NoPicture),
        }
    }

    /// Everybody whose training is not done, sorted by id.
    pub fn unfinished(&self) -> Result<Vec<Unfinished>, PeopleError> {
        let mut unfinished = Vec::new();
        for id in staging::ids(&self.0)? {
            let in_training = staging::is_locked(&self.0, &id)?;
            if in_training || staging::is_begun(&self.0, &id)? {
                unfinished.push(Unfinished {
                    model_id: id,
                    in_training,
                });
            }
        }
        Ok(unfinished)
    }

    /// A place to train a person in.
    ///
    /// [`PeopleError::AlreadyExists`] when there is one of that id, unless it may be overwritten;
    /// [`PeopleError::InTraining`] when somebody works on that id. What a crash cut off of an earlier
    /// publication or removal is finished first.
    pub fn begin(&self, id: &PersonId, overwrite: bool) -> Result<Workplace, PeopleError> {
        staging::sweep(&self.0)?;
        let mut staging = Staging::lock(&self.0, id)?;
        if staging.settle(&mut || Ok(()))? {
            // Its folder went with what was decided.
            staging = Staging::lock(&self.0, id)?;
        }
        if !overwrite && self.is_taken(id)? {
            // What an earlier training left here can still be gone on with.
            if !staging.has_files()? {
                staging.leave(&mut || Ok(()))?;
            }
            return Err(PeopleError::AlreadyExists);
        }
        let replaced = self.get(id).ok().map(Box::new);
        Workplace::open(id.clone(), staging, replaced)
    }

    /// Removes a person for good: record, photos, weights, LoRA, and what an unfinished training has
    /// left. False when there was nothing of that id.
    ///
    /// [`PeopleError::InTraining`] while somebody works on that id.
    pub fn remove(&self, id: &PersonId) -> Result<bool, PeopleError> {
        self.remove_with(id, &mut || Ok(()))
    }

    /// Finishes the publications and removals that a crash cut off, except where somebody is at it.
    /// For the start of a program; the first error comes back when the rest is done.
    pub fn settle(&self) -> Result<(), PeopleError> {
        let mut outcome = staging::sweep(&self.0);
        for id in staging::ids(&self.0)? {
            outcome = outcome.and(match self.settle_one(&id) {
                Err(PeopleError::InTraining) => Ok(()),
                settled => settled,
            });
        }
        outcome
    }

    fn settle_one(&self, id: &PersonId) -> Result<(), PeopleError> {
        let staging = Staging::lock(&self.0, id)?;
        if !staging.settle(&mut || Ok(()))? && !staging.has_files()? {
            staging.leave(&mut || Ok(()))?;
        }
        Ok(())
    }

    fn remove_with(
        &self,
        id: &PersonId,
        before_step: staging::BeforeStep<'_>,
    ) -> Result<bool, PeopleError> {
        staging::sweep(&self.0)?;
        let own = [Part::Images, Part::Weights].map(|part| part.folder(&self.0, id));
        let training = self.0.training().join(id.as_str());
        let mut there = false;
        for folder in own.iter().chain([&training]) {
            there |= tree::is_there(folder)?;
        }
        if !there {
            return Ok(false);
        }
        let staging = Staging::lock(&self.0, id)?;
        if staging.is_owner()? {
            staging.decide_to_remove(before_step)?;
            staging.settle(before_step)?;
        } else {
            staging.leave(before_step)?;
        }
        Ok(true)
    }

    /// Whether any folder of this id is there.
    fn is_taken(&self, id: &PersonId) -> Result<bool, PeopleError> {
        for part in Part::ALL {
            if tree::is_there(&part.folder(&self.0, id))? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl From<Person> for Summary {
    fn from(person: Person) -> Self {
        Self {
            best_score: person.best_score(),
            model_id: person.model_id,
            created: person.created,
            seconds: person.seconds,
            base: person.base,
            pack: person.pack,
            lora: person.lora,
            ref_image: person.ref_image,
            thumbnail: person.thumbnail,
            caption: person.caption,
            train_steps: person.train_steps,
            used_images: person.used_images,
        }
    }
}

#[cfg(test)]
mod tests;
