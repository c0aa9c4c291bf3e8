//! Where a person is trained.

use std::path::{Path, PathBuf};

use super::{
    PeopleError, Person,
    place::Part,
    staging::{STATE, Staging},
};
use crate::{
    domain::PersonId,
    store::{create_private, open_below},
};

/// The folder in which one person is trained; nobody else has it meanwhile.
///
/// What is written here stays until [`Workplace::publish`] or [`Workplace::discard`]: a workplace that
/// is dropped, or whose process dies, can be taken up again with what it holds.
#[derive(Debug)]
pub struct Workplace {
    id: PersonId,
    staging: Staging,
    is_resumed: bool,
    replaced: Option<Box<Person>>,
}

impl Workplace {
    pub(super) fn open(
        id: PersonId,
        staging: Staging,
        replaced: Option<Box<Person>>,
    ) -> Result<Self, PeopleError> {
        let workplace = Self {
            is_resumed: staging.has_files()?,
            id,
            staging,
            replaced,
        };
        workplace.make_folders()?;
        Ok(workplace)
    }

    /// Whose place it is.
    pub fn id(&self) -> &PersonId {
        &self.id
    }

    /// A training that ended too early has left files here.
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// The person whose place the new one takes.
    pub fn replaced(&self) -> Option<&Person> {
        self.replaced.as_deref()
    }

    /// Folder of the photos: `ref_image.jpg` and `train/`.
    pub fn images(&self) -> PathBuf {
        self.staging.part(Part::Images)
    }

    /// Folder of the photos that are trained with.
    pub fn training_photos(&self) -> PathBuf {
        self.images().join("train")
    }

    /// The reference photo.
    pub fn reference_photo(&self) -> PathBuf {
        self.images().join("ref_image.jpg")
    }

    /// Folder of the checkpoints, of `validation/` and `best_outputs/`.
    pub fn weights(&self) -> PathBuf {
        self.staging.part(Part::Weights)
    }

    /// The checkpoint of a step.
    pub fn checkpoint(&self, step: u32) -> PathBuf {
        self.weights()
            .join(format!("checkpoint-{step}.safetensors"))
    }

    /// Folder of the validation pictures.
    pub fn validation(&self) -> PathBuf {
        self.weights().join("validation")
    }

    /// Folder of the merged LoRA and the best pictures.
    pub fn best_outputs(&self) -> PathBuf {
        self.weights().join("best_outputs")
    }

    /// The LoRA among the best outputs.
    pub fn best_lora(&self) -> PathBuf {
        self.best_outputs().join(format!("{}.safetensors", self.id))
    }

    /// The LoRA where the WebUI is going to find it.
    pub fn lora(&self) -> PathBuf {
        self.staging
            .part(Part::Lora)
            .join(format!("{}.safetensors", self.id))
    }

    /// The picture that the WebUI shows for the LoRA.
    pub fn thumbnail(&self) -> PathBuf {
        self.staging
            .part(Part::Lora)
            .join(format!("{}.png", self.id))
    }

    /// Folder for what a training needs to go on, such as the state of its optimizer. It is not
    /// published.
    pub fn state(&self) -> PathBuf {
        self.staging.folder().join(STATE)
    }

    /// The path by which the record names a file of this place; `None` for one that is not going to
    /// be the person's.
    pub fn recorded(&self, path: &Path) -> Option<String> {
        Part::ALL.into_iter().find_map(|part| {
            let below = path.strip_prefix(self.staging.part(part)).ok()?;
            part.recorded(&self.id, below)
        })
    }

    /// Removes all that is here, to begin anew.
    pub fn restart(&mut self) -> Result<(), PeopleError> {
        self.staging.empty()?;
        self.is_resumed = false;
        self.make_folders()
    }

    /// Makes the person a trained one, in the place of an earlier one, and removes this place.
    ///
    /// The record comes back as it was written. After a failure the place is still there; and once
    /// everything has reached the disk, whoever takes the place up next finishes the publication, be it
    /// the next [`super::People::begin`] or the next start of the server.
    pub fn publish(self, person: Person) -> Result<Person, PeopleError> {
        let person = person.bounded();
        self.check(&person)?;
        let mut unhindered = || Ok(());
        self.staging.decide_to_publish(&person, &mut unhindered)?;
        self.staging.publish(&mut unhindered)?;
        if let Err(error) = self.staging.leave(&mut unhindered) {
            // The person is there. What is left goes with the next training or start.
            tracing::warn!(%error, "the folder of a training could not be removed");
        }
        Ok(person)
    }

    /// Removes the place with all that is here.
    pub fn discard(self) -> Result<(), PeopleError> {
        self.staging.leave(&mut || Ok(()))
    }

    /// Whether the record fits to what is here.
    pub(super) fn check(&self, person: &Person) -> Result<(), PeopleError> {
        person.check(&self.id).map_err(PeopleError::Incomplete)?;
        for file in person.files() {
            let place = Part::locate(&self.id, file);
            let found = place
                .is_some_and(|(part, below)| open_below(&self.staging.part(part), below).is_ok());
            if !found {
                return Err(PeopleError::Incomplete(
                    "a file that its record names is not there",
                ));
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn staging(&self) -> &Staging {
        &self.staging
    }

    fn make_folders(&self) -> Result<(), PeopleError> {
        self.staging.make_folders()?;
        for folder in [
            self.training_photos(),
            self.validation(),
            self.best_outputs(),
        ] {
            create_private(&folder)?;
        }
        Ok(())
    }
}
