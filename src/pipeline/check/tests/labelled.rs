//! The verdicts on the shared photos with the real networks, held against the labels that people
//! gave these photos.

use std::{collections::BTreeMap, path::PathBuf, sync::OnceLock};

use super::{super::people::of_the_person, *};
use crate::{
    imaging::{Limits, decode},
    models::{backend::Device, catalog::Catalog, face::FaceModels, shelf::Shelf},
};

/// The networks by their names, and where they lie in the shared data.
const NETWORKS: [(&str, &str); 3] = [
    ("yunet", "yunet_n/original/yunet_n_dynamic.onnx"),
    ("mobilefacenet", "mobilefacenet/mobilefacenet.onnx"),
    ("lightqnet", "lightqnet_050/lightqnet_050.onnx"),
];
/// Photos with a good face that is below an eighth of the photo.
const FROM_AFAR: [&str; 4] = [
    "hard/profile_bw.png",
    "persons/p01/01.jpg",
    "persons/p01/03.jpg",
    "persons/p08/02.jpg",
];
/// A face below a helmet, behind dark glasses, in the shadow.
const COVERED: &str = "hard/helmet_glasses_dark.jpg";

/// A photo with its label and what was found.
struct Labelled {
    /// Its path in the folder of photos.
    file: String,
    /// Who it shows, if it is one of the known persons.
    identity: Option<String>,
    /// Least and most faces.
    faces: [u64; 2],
    /// Whether it can be read: `ok`, `error` or `either`.
    decode: String,
    /// `good`, `bad`, or `any` where both are right.
    quality: Option<String>,
    report: PhotoReport,
    /// The rules about faces alone, as if the photo were large enough.
    face: Option<Verdict>,
    /// The largest face, of known persons only.
    embedding: Option<Embedding>,
}

/// All shared photos, looked at once; `None` with a printed line when they are not there.
fn labelled(test: &str) -> Option<&'static [Labelled]> {
    static ALL: OnceLock<Vec<Labelled>> = OnceLock::new();
    let photos = samples::shared_photos(test)?;
    Some(ALL.get_or_init(|| look_at_all(&photos)))
}

fn networks(data: &std::path::Path) -> Arc<FaceModels> {
    let home = tempfile::tempdir().unwrap();
    let catalog = Catalog::built_in();
    for (name, file) in NETWORKS {
        let path = catalog.find(name).unwrap().path(home.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(data.join("models").join(file), path).unwrap();
    }
    Shelf::new(home.path(), Device::Cpu).faces().unwrap()
}

fn look_at_all(photos: &std::path::Path) -> Vec<Labelled> {
    let data = photos.parent().unwrap();
    let networks = networks(data);
    let manifest = fs::read(data.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let look = |label: &Value| {
        let file: PathBuf = data.join(label["file"].as_str().unwrap());
        let sources = [PhotoSource::Path(&file)];
        let judged = judge_photos(&sources, false, &fetcher(), &*networks, &context());
        let report = judged.unwrap().reports.remove(0);
        let file = file.strip_prefix(photos).unwrap().to_str().unwrap();
        let photo = decode(&fs::read(photos.join(file)).unwrap(), &Limits::default()).ok();
        let seen = photo.as_ref().map(|photo| networks.observe(photo).unwrap());
        let is_person = file.starts_with("persons/");
        let embedding = photo.as_ref().zip(seen.as_ref()).filter(|_| is_person);
        let embedding = embedding.map(|(photo, seen)| {
            let embedder = networks.embedder().unwrap();
            embedder.embed(photo, &seen.faces()[0]).unwrap()
        });
        Labelled {
            file: file.to_owned(),
            identity: text(&label["identity"]),
            faces: [0, 1].map(|at| label["faces"][at].as_u64().unwrap()),
            decode: text(&label["decode"]).unwrap_or_else(|| "ok".to_owned()),
            quality: text(&label["quality"]),
            report,
            face: photo
                .zip(seen)
                .map(|(photo, seen)| judge::face_verdict(photo.dimensions(), &seen).0),
            embedding,
        }
    };
    let labels = manifest["images"].as_array().unwrap();
    labels.iter().map(look).collect()
}

/// Which verdicts the label of a photo allows.
fn allowed(photo: &Labelled) -> Vec<Verdict> {
    let name = photo.file.as_str();
    // The service takes jpg, jpeg and png only.
    let is_other = [".webp", ".bmp"].iter().any(|end| name.ends_with(end));
    if photo.decode == "error" || is_other {
        return vec![Verdict::DecodeFailed];
    }
    if photo.decode == "either" && photo.report.size.is_none() {
        return vec![Verdict::DecodeFailed];
    }
    if photo
        .report
        .size
        .is_some_and(|(width, height)| width.min(height) <= 512)
    {
        return vec![Verdict::TooSmall];
    }
    of_faces(photo)
}

/// Which verdicts the number of faces and the quality allow.
fn of_faces(photo: &Labelled) -> Vec<Verdict> {
    let name = photo.file.as_str();
    let [least, most] = photo.faces;
    let mut allowed = Vec::new();
    if least == 0 {
        allowed.push(Verdict::NoFace);
    }
    if most > 1 {
        allowed.push(Verdict::SeveralFaces);
    }
    if least <= 1 && most >= 1 {
        let is_bad = photo.quality.as_deref() == Some("bad");
        let is_good = matches!(photo.quality.as_deref(), None | Some("good"));
        if FROM_AFAR.contains(&name) {
            allowed.push(Verdict::FaceTooSmall);
        } else if name == COVERED {
            allowed.push(Verdict::PoorQuality);
        } else if !is_bad {
            allowed.push(Verdict::Success);
        }
        // Where none is asked for, faces of the persons are good; things that may pass for a face
        // and those of any quality may get either verdict.
        if !is_good || least == 0 {
            allowed.extend([Verdict::PoorQuality, Verdict::FaceTooSmall]);
        }
    }
    allowed
}

#[test]
fn every_labelled_photo_gets_its_verdict() {
    let Some(photos) = labelled("every_labelled_photo_gets_its_verdict") else {
        return;
    };
    let mut wrong = Vec::new();
    let mut counts = BTreeMap::new();
    for photo in photos {
        let verdict = photo.report.verdict;
        *counts.entry(verdict.code()).or_insert(0) += 1;
        if !allowed(photo).contains(&verdict) {
            wrong.push(format!(
                "{}: {verdict:?}, {:?}",
                photo.file, photo.report.detail
            ));
        }
    }
    println!("{} photos by verdict: {counts:?}", photos.len());
    assert!(photos.len() > 100);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn photos_that_are_too_small_are_judged_right_too_if_one_looks() {
    let test = "photos_that_are_too_small_are_judged_right_too_if_one_looks";
    let Some(photos) = labelled(test) else {
        return;
    };
    let mut wrong = Vec::new();
    let mut count = 0;
    for photo in photos {
        let Some(verdict) = &photo.face else {
            continue;
        };
        if photo.report.verdict != Verdict::TooSmall {
            continue;
        }
        count += 1;
        if !of_faces(photo).contains(verdict) {
            wrong.push(format!("{}: {verdict:?}", photo.file));
        }
    }
    println!("{count} photos that are too small");
    assert!(count > 50);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The faces of each known person.
fn persons(photos: &[Labelled]) -> BTreeMap<&str, Vec<(&str, &Embedding)>> {
    let mut persons: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for photo in photos {
        if let (Some(person), Some(face)) = (&photo.identity, &photo.embedding) {
            persons
                .entry(person)
                .or_default()
                .push((photo.file.as_str(), face));
        }
    }
    persons
}

#[test]
fn pairs_of_faces_are_told_apart_at_the_threshold_of_the_list() {
    let Some(photos) = labelled("pairs_of_faces_are_told_apart_at_the_threshold_of_the_list")
    else {
        return;
    };
    let faces: Vec<_> = persons(photos)
        .into_iter()
        .flat_map(|(person, faces)| faces.into_iter().map(move |(_, face)| (person, face)))
        .collect();
    let (mut same, mut different) = (Vec::new(), Vec::new());
    for (at, (person, face)) in faces.iter().enumerate() {
        for (other, other_face) in &faces[..at] {
            let list = if person == other {
                &mut same
            } else {
                &mut different
            };
            list.push(face.cosine(other_face));
        }
    }
    let errors = |threshold: f32| {
        let rejects = same.iter().filter(|cosine| **cosine < threshold).count();
        let accepts = different
            .iter()
            .filter(|cosine| **cosine >= threshold)
            .count();
        (rejects, accepts)
    };
    println!(
        "{} pairs of one person, {} of two",
        same.len(),
        different.len()
    );
    for threshold in [0.25, 0.30, 0.35, 0.40, 0.45] {
        let (rejects, accepts) = errors(threshold);
        println!("{threshold:.2}: {rejects} false rejects, {accepts} false accepts");
    }
    let threshold = Catalog::built_in()
        .find("mobilefacenet")
        .unwrap()
        .thresholds
        .same_person;
    let (rejects, accepts) = errors(threshold.unwrap());
    assert!(same.len() > 200 && different.len() > 2000);
    assert!(
        rejects <= 3 && accepts <= 2,
        "{rejects} rejects, {accepts} accepts"
    );
}

#[test]
fn somebody_else_among_the_photos_of_a_person_is_found() {
    let Some(photos) = labelled("somebody_else_among_the_photos_of_a_person_is_found") else {
        return;
    };
    let threshold = Catalog::built_in()
        .find("mobilefacenet")
        .unwrap()
        .thresholds
        .same_person;
    let threshold = threshold.unwrap();
    let persons = persons(photos);
    let (mut groups, mut wrong) = (0, Vec::new());
    for (person, own) in &persons {
        let faces: Vec<&Embedding> = own.iter().map(|(_, face)| *face).collect();
        let alone = of_the_person(&faces, threshold);
        assert!(alone.iter().all(|same| *same), "{person}: {alone:?}");
        if faces.len() < 2 {
            continue;
        }
        for (other, others) in persons.iter().filter(|(other, _)| *other != person) {
            for (file, stranger) in others {
                let mut mixed = faces.clone();
                mixed.insert(1, stranger);
                let mut same = of_the_person(&mixed, threshold);
                let found = !same.remove(1);
                groups += 1;
                if !found || !same.iter().all(|same| *same) {
                    wrong.push(format!("{person} with {file} of {other}"));
                }
            }
        }
    }
    println!(
        "{} of {groups} groups with a stranger are judged wrong: {wrong:?}",
        wrong.len()
    );
    assert!(groups > 500);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
