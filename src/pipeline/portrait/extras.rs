//! Networks that portraits are better with, and can be made without: each is used where its file is there.

use crate::{
    imaging::{GrayImage, RgbImage},
    models::{
        ModelError,
        face::{Classes, Embedding, Face},
        shelf::Shelf,
    },
};

/// The optional networks. Each gives nothing where there is no file for it, and an error where there is one
/// that cannot be used: somebody put it there.
pub trait Extras: Send + Sync {
    /// Which part of a face each pixel shows, of a face with half of its width and height around it.
    fn parse(&self, face: &RgbImage) -> Result<Option<Classes>, ModelError>;

    /// The picture with a person's features on one of its faces, and where they are seen.
    fn fuse(
        &self,
        picture: &RgbImage,
        face: &Face,
        person: &Embedding,
    ) -> Result<Option<(RgbImage, GrayImage)>, ModelError>;

    /// The picture two to four times as wide and high. `keep_going` is asked now and then, and
    /// [`ModelError::Stopped`] follows when it says no.
    fn enlarge(
        &self,
        picture: &RgbImage,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Result<Option<RgbImage>, ModelError>;
}

/// A network, if its file is there.
fn there<T>(found: Result<T, ModelError>) -> Result<Option<T>, ModelError> {
    match found {
        Ok(network) => Ok(Some(network)),
        Err(ModelError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Extras for Shelf {
    fn parse(&self, face: &RgbImage) -> Result<Option<Classes>, ModelError> {
        let network = there(self.parser())?;
        network.map(|network| network.parse(face)).transpose()
    }

    fn fuse(
        &self,
        picture: &RgbImage,
        face: &Face,
        person: &Embedding,
    ) -> Result<Option<(RgbImage, GrayImage)>, ModelError> {
        let network = there(self.fusion())?;
        network
            .map(|network| network.fuse(picture, face, person))
            .transpose()
    }

    fn enlarge(
        &self,
        picture: &RgbImage,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Result<Option<RgbImage>, ModelError> {
        let network = there(self.enlarger())?;
        network
            .map(|network| network.enlarge(picture, keep_going))
            .transpose()
    }
}
