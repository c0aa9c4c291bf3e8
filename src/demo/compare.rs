//! How like each of the sample people the faces of portraits are.

use super::{DemoError, PortraitMade, thumbnail::decode};
use crate::{
    models::face::{Embedding, Face},
    pack::Person,
    pipeline::Observer,
};

/// The mean face of each person's photos.
pub(super) struct Likeness(Vec<(String, Embedding)>);

impl Likeness {
    /// Looks at all photos. One that shows nobody is passed over.
    pub(super) fn of(people: &[Person], faces: &dyn Observer) -> Result<Self, DemoError> {
        let mut means = Vec::with_capacity(people.len());
        for person in people {
            let mut found = Vec::with_capacity(person.photos.len());
            for photo in &person.photos {
                let picture = decode(&photo.name, photo.bytes)?;
                if let Some(face) = faces.observe(&picture)?.faces().first() {
                    found.push(faces.embed(&picture, face)?);
                }
            }
            let mean = Embedding::mean(found.iter());
            let mean = mean.ok_or(DemoError::Pack("no photo of a sample person shows a face"))?;
            means.push((person.name.clone(), mean));
        }
        Ok(Self(means))
    }

    /// Scores the faces of a portrait, the leftmost for the first of its people. People beyond the faces
    /// that are found have no scores.
    pub(super) fn compare(
        &self,
        portrait: &mut PortraitMade,
        faces: &dyn Observer,
    ) -> Result<(), DemoError> {
        let picture = decode(&portrait.file, &portrait.jpeg)?;
        let observation = faces.observe(&picture)?;
        let found = from_left_to_right(observation.faces(), portrait.faces.len());
        for (of, face) in portrait.faces.iter_mut().zip(&found) {
            let seen = faces.embed(&picture, face)?;
            let score = |(name, mean): &(String, Embedding)| (name.clone(), seen.cosine(mean));
            of.scores = self.0.iter().map(score).collect();
        }
        Ok(())
    }
}

/// The largest faces, so many of them, by their left sides. They come with the largest first.
fn from_left_to_right(faces: &[Face], count: usize) -> Vec<Face> {
    let mut largest: Vec<Face> = faces.iter().take(count).copied().collect();
    largest.sort_by(|one, other| one.bounds.left.total_cmp(&other.bounds.left));
    largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::face::Bounds;

    #[test]
    fn bystanders_do_not_count_and_the_leftmost_is_first() {
        let face = |left: f32| Face {
            bounds: Bounds {
                left,
                ..Bounds::default()
            },
            ..Face::default()
        };
        let found = from_left_to_right(&[face(500.0), face(20.0), face(7.0)], 2);
        let lefts: Vec<f32> = found.iter().map(|face| face.bounds.left).collect();
        assert_eq!(lefts, [20.0, 500.0]);
    }
}
