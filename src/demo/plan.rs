//! What is put into which queue: which photos are checked, who is trained, and which portraits are made.

use std::borrow::Cow;

use super::{DemoError, spoil, thumbnail::decode};
use crate::{
    imaging::{RgbImage, write_jpeg},
    pack::{Pack, Person, Picture},
    pipeline::{Observer, Verdict},
};

/// Name of the set of spoilt photos.
const SPOILT: &str = "spoilt";
/// Quality of its files: high, so that only what is meant to be is bad.
const QUALITY: u8 = 95;

/// Everything that is done.
pub(super) struct Plan {
    /// The sample people; all but the last are trained.
    pub(super) people: Vec<Person>,
    /// What is checked.
    pub(super) sets: Vec<PhotoSet>,
    /// What is made of those who are trained.
    pub(super) portraits: Vec<Order>,
}

/// Photos of one request.
pub(super) struct PhotoSet {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) photos: Vec<Photo>,
}

/// A photo and what has to be said of it.
pub(super) struct Photo {
    pub(super) name: String,
    /// What was done to it.
    pub(super) about: Option<&'static str>,
    pub(super) file: Cow<'static, [u8]>,
    pub(super) expected: Verdict,
}

/// A portrait that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    /// Name of the portrait's file.
    pub(super) file: String,
    pub(super) template: Picture,
    /// Whose faces, from left to right.
    pub(super) people: Vec<String>,
}

impl Plan {
    /// The plan for the people and templates of a pack. `faces` counts the faces of the templates.
    pub(super) fn of(pack: Pack, faces: &dyn Observer) -> Result<Self, DemoError> {
        let people = pack.people();
        let mut templates = Vec::new();
        for template in pack.templates() {
            let picture = decode("a template of the pack", template.bytes)?;
            let count = faces.observe(&picture)?.faces().len();
            templates.push((template, count));
        }
        let [person, friend, ..] = &people[..] else {
            return Err(DemoError::Pack("the pack has fewer than two sample people"));
        };
        let stranger = &people[people.len() - 1];
        let empty = templates.iter().find(|(_, count)| *count == 0);
        let (empty, _) =
            empty.ok_or(DemoError::Pack("no template of the pack is without a face"))?;
        let mut sets: Vec<PhotoSet> = people.iter().map(good).collect();
        sets.push(spoilt(person, friend, stranger, empty)?);
        let trained: Vec<&str> = trained(&people).iter().map(|one| &*one.name).collect();
        let portraits = orders(&trained, &templates);
        if portraits.is_empty() {
            return Err(DemoError::Pack("no template of the pack shows a face"));
        }
        Ok(Self {
            people,
            sets,
            portraits,
        })
    }

    /// Those who are trained.
    pub(super) fn trained(&self) -> &[Person] {
        trained(&self.people)
    }
}

fn trained(people: &[Person]) -> &[Person] {
    people.split_last().map_or(&[], |(_, others)| others)
}

/// All photos of a sample person.
fn good(person: &Person) -> PhotoSet {
    let photo = |picture: &Picture| Photo {
        name: picture.name.clone(),
        about: None,
        file: Cow::Borrowed(picture.bytes),
        expected: Verdict::Success,
    };
    PhotoSet {
        name: person.name.clone(),
        about: format!("the photos of {}", person.name),
        photos: person.photos.iter().map(photo).collect(),
    }
}

/// Two good photos of a person, and one for each thing that can be wrong with a photo.
fn spoilt(
    person: &Person,
    friend: &Person,
    stranger: &Person,
    empty: &Picture,
) -> Result<PhotoSet, DemoError> {
    let [first, second, ..] = &person.photos[..] else {
        return Err(DemoError::Pack("a sample person has fewer than two photos"));
    };
    let (Some(friend), Some(other)) = (friend.photos.first(), stranger.photos.first()) else {
        return Err(DemoError::Pack("a sample person has no photos"));
    };
    let open = |picture: &Picture| decode("a photo of the pack", picture.bytes);
    let (good, smaller) = (open(first)?, open(second)?);
    let (with, scene) = (open(friend)?, open(empty)?);
    let drawn = |name: &str, about, picture: &RgbImage, expected| {
        let file = write_jpeg(picture, QUALITY).map_err(DemoError::picture(name))?;
        Ok::<_, DemoError>(Photo {
            name: name.to_owned(),
            about: Some(about),
            file: Cow::Owned(file),
            expected,
        })
    };
    let plain = |name: &str, about, file, expected| Photo {
        name: name.to_owned(),
        about,
        file,
        expected,
    };
    let photos = vec![
        plain(
            "good-1.jpg",
            None,
            Cow::Borrowed(first.bytes),
            Verdict::Success,
        ),
        plain(
            "good-2.jpg",
            None,
            Cow::Borrowed(second.bytes),
            Verdict::Success,
        ),
        plain(
            "stranger.jpg",
            Some("a photo of somebody else"),
            Cow::Borrowed(other.bytes),
            Verdict::AnotherPerson,
        ),
        plain(
            "nobody.jpg",
            Some("a place without people"),
            Cow::Borrowed(empty.bytes),
            Verdict::NoFace,
        ),
        drawn(
            "together.jpg",
            "a friend in the picture",
            &spoil::together(&good, &with),
            Verdict::SeveralFaces,
        )?,
        drawn(
            "far.jpg",
            "taken from afar",
            &spoil::far(&good, &scene),
            Verdict::FaceTooSmall,
        )?,
        drawn(
            "small.jpg",
            "a small copy",
            &spoil::small(&good),
            Verdict::TooSmall,
        )?,
        drawn(
            "blurred.jpg",
            "out of focus",
            &spoil::blurred(&smaller),
            Verdict::PoorQuality,
        )?,
        drawn(
            "dark.jpg",
            "a tenth of the light",
            &spoil::dark(&good),
            Verdict::PoorQuality,
        )?,
        plain(
            "cut.jpg",
            Some("half of a file"),
            Cow::Owned(spoil::cut(first.bytes)),
            Verdict::DecodeFailed,
        ),
    ];
    Ok(PhotoSet {
        name: SPOILT.to_owned(),
        about: format!(
            "two good photos of {}, and {} that training would suffer from",
            person.name,
            photos.len() - 2
        ),
        photos,
    })
}

/// Each person in each template with one face, and all of them in each that has as many.
fn orders(people: &[&str], templates: &[(Picture, usize)]) -> Vec<Order> {
    let mut orders = Vec::new();
    let mut order = |template: &Picture, people: Vec<&str>| {
        let stem = template.name.split('.').next().unwrap_or_default();
        orders.push(Order {
            file: format!("{}-{stem}.jpg", people.join("-")),
            template: template.clone(),
            people: people.into_iter().map(str::to_owned).collect(),
        });
    };
    for person in people {
        for (template, _) in templates.iter().filter(|(_, count)| *count == 1) {
            order(template, vec![person]);
        }
    }
    let together = templates
        .iter()
        .filter(|(_, count)| *count > 1 && *count == people.len());
    for (template, _) in together {
        // Not in their own order, so that it is seen that the order of the request counts.
        order(template, people.iter().rev().copied().collect());
    }
    orders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fetch::{Fetcher, NetworkPolicy},
        job::{CancelToken, FinishToken, JobContext},
        models::{
            backend::Device,
            shelf::Shelf,
            supply::{PackRule, Supply},
        },
        pipeline::{FaceSource as _, PhotoSource, judge_photos},
        store::Mounts,
    };
    use std::{
        sync::Arc,
        time::{Duration, Instant},
    };

    fn faces() -> Arc<dyn Observer> {
        let home = tempfile::tempdir().unwrap();
        let supply = Supply::new(home.path(), PackRule::Always(Pack::Demo));
        Shelf::new(supply, Device::Cpu).observer().unwrap()
    }

    #[test]
    fn all_but_one_are_trained_and_put_into_every_template_that_fits() {
        let plan = Plan::of(Pack::Demo, &*faces()).unwrap();
        let trained: Vec<&str> = plan.trained().iter().map(|one| &*one.name).collect();
        assert_eq!(trained, ["alma", "bruno"]);
        let orders: Vec<(&str, Vec<&str>)> = plan
            .portraits
            .iter()
            .map(|order| (&*order.file, order.people.iter().map(|id| &**id).collect()))
            .collect();
        let expected = [
            ("alma-one.jpg", vec!["alma"]),
            ("alma-turned.jpg", vec!["alma"]),
            ("bruno-one.jpg", vec!["bruno"]),
            ("bruno-turned.jpg", vec!["bruno"]),
            ("bruno-alma-two.jpg", vec!["bruno", "alma"]),
        ];
        assert_eq!(orders, expected);
    }

    #[test]
    fn every_photo_gets_the_verdict_that_it_was_made_for() {
        let faces = faces();
        let plan = Plan::of(Pack::Demo, &*faces).unwrap();
        let context = JobContext {
            cancel: CancelToken::default(),
            finish: FinishToken::default(),
            deadline: Instant::now() + Duration::from_secs(600),
            progress: Arc::new(()),
            device: String::from("cpu"),
        };
        let fetcher = Fetcher::new(Mounts::default(), NetworkPolicy::default());
        for set in &plan.sets {
            let photos: Vec<_> = set
                .photos
                .iter()
                .map(|photo| PhotoSource::Bytes(&photo.file))
                .collect();
            let judged = judge_photos(&photos, true, &fetcher, &*faces, &context).unwrap();
            let said: Vec<_> = judged.reports.iter().map(|report| report.verdict).collect();
            let expected: Vec<_> = set.photos.iter().map(|photo| photo.expected).collect();
            assert_eq!(said, expected, "{}", set.name);
        }
    }
}
