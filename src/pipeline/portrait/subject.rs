//! Who a face of the template becomes: a trained person, or a LoRA that somebody brought.

use crate::{
    domain::{MIB, PersonId},
    imaging::{self, RgbImage},
    models::face::{Embedding, Face},
    people::{People, PeopleError, Picture},
    pipeline::Observer,
    store::{StoreError, read_bounded},
};

use super::{error::PortraitError, painting::Painting};

/// Largest reference photo that is read: it was written by a training.
const REFERENCE_BYTES_MAX: u64 = 64 * MIB;
/// The words that a LoRA of the open-source sibling was trained with (`portrait-pipeline` section 5),
/// for one that comes without a record.
const CAPTION_OF_OTHERS: &str = "easyphoto_face, easyphoto, 1person";

/// Who a face becomes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Subject {
    /// The person's id, which is also the name of the LoRA.
    pub(super) id: PersonId,
    /// The words that the person is called by.
    pub(super) caption: String,
    /// The checkpoint that was trained on, where that is known.
    pub(super) base: Option<String>,
    /// What the person looks like, where there is a photo with a face.
    pub(super) reference: Option<Reference>,
}

/// A photo of a person.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reference {
    /// Its pixels.
    pub(super) photo: RgbImage,
    /// The face in it.
    pub(super) face: Face,
    /// The face as numbers, where persons are told apart.
    pub(super) embedding: Option<Embedding>,
}

impl Subject {
    /// Looks the person up. Warnings say what is missing.
    pub(super) fn find(
        id: &PersonId,
        people: &People,
        observer: &dyn Observer,
        painting: &dyn Painting,
        warnings: &mut Vec<String>,
    ) -> Result<Self, PortraitError> {
        let person = match people.get(id) {
            Ok(person) => person,
            Err(PeopleError::NotFound) if painting.has_lora(id.as_str()) => {
                warnings.push(format!(
                    "the LoRA of `{id}` has no record of a training, so there is no reference photo \
                     to begin with or to compare with"
                ));
                return Ok(Self {
                    id: id.clone(),
                    caption: String::from(CAPTION_OF_OTHERS),
                    base: None,
                    reference: None,
                });
            }
            Err(PeopleError::NotFound) => return Err(PortraitError::NotTrained(id.clone())),
            Err(source) => {
                let id = id.clone();
                return Err(PortraitError::Person { id, source });
            }
        };
        let photo = photo(people, id);
        let reference = photo.and_then(|photo| Reference::of(photo, observer));
        let reference = reference
            .inspect_err(|reason| {
                warnings.push(format!(
                    "the reference photo of `{id}` was not used: {reason}"
                ));
            })
            .ok();
        Ok(Self {
            id: id.clone(),
            caption: person.caption,
            base: Some(person.base.name),
            reference,
        })
    }
}

fn photo(people: &People, id: &PersonId) -> Result<RgbImage, String> {
    let file = people.open_picture(id, Picture::Reference);
    let file = file.map_err(|error| error.to_string())?;
    let bytes = read_bounded(file, REFERENCE_BYTES_MAX);
    let bytes = bytes.map_err(|error: StoreError| error.to_string())?;
    let decoded = imaging::decode(&bytes, &imaging::Limits::default());
    decoded.map_err(|error| error.to_string())
}

impl Reference {
    fn of(photo: RgbImage, observer: &dyn Observer) -> Result<Self, String> {
        let observation = observer.observe(&photo);
        let observation = observation.map_err(|error| error.to_string())?;
        let Some(face) = observation.faces().first().copied() else {
            return Err(String::from("no face was found in it"));
        };
        Ok(Self {
            embedding: observer.embed(&photo, &face).ok(),
            photo,
            face,
        })
    }
}
