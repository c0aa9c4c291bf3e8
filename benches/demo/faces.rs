//! Where faces are and whose they are: average precision, error of the points, and how often two
//! pictures are rightly said to be of one person or of two.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use photog::{
    imaging::{self, Limits, RgbImage},
    models::{
        backend::Device,
        face::{Bounds, Embedding, Face, FaceDetector, FaceEmbedder, Points},
    },
};
use serde::Deserialize;

use crate::{network, say};

/// Overlap from which a found face is a true one.
const RIGHT: f32 = 0.5;
/// Faces of less certainty are not counted even for the average precision.
const LEAST: f32 = 0.02;

/// What is true of the pictures of a folder.
#[derive(Deserialize)]
pub struct Truth {
    /// Its pictures.
    pub pictures: Vec<Picture>,
    /// Numbers of two pictures of one face each, and 1 if they are of one person.
    pairs: Vec<(usize, usize, u8)>,
}

/// A picture and who is in it.
#[derive(Deserialize)]
pub struct Picture {
    /// Path in the folder.
    pub file: String,
    /// What it is for.
    pub set: String,
    faces: Vec<TrueFace>,
}

#[derive(Deserialize)]
struct TrueFace {
    #[serde(rename = "box")]
    bounds: [f32; 4],
    points: Points,
}

impl TrueFace {
    fn bounds(&self) -> Bounds {
        let [left, top, right, bottom] = self.bounds;
        Bounds {
            left,
            top,
            right,
            bottom,
        }
    }
}

impl Truth {
    /// Of this folder.
    pub fn of(folder: &Path) -> Result<Self> {
        let file = folder.join("truth.json");
        let text = fs::read_to_string(&file).with_context(|| {
            format!(
                "{} is missing; draw the pictures with `python -m forge.measure.faces render --out DIR`",
                file.display()
            )
        })?;
        Ok(serde_json::from_str(&text)?)
    }
}

/// Pixels of a picture.
pub fn open(folder: &Path, picture: &Picture) -> Result<RgbImage> {
    let bytes = fs::read(folder.join(&picture.file))?;
    Ok(imaging::decode(&bytes, &Limits::default())?)
}

/// Prints all figures of a folder.
pub fn measure(folder: &Path) -> Result<()> {
    let truth = Truth::of(folder)?;
    let (mut entry, place) = network("demo-detector")?;
    let detector = FaceDetector::open(&place, &entry, Device::Cpu)?;
    let shown_from = entry.thresholds.score.unwrap_or(0.0);
    entry.thresholds.score = Some(LEAST);
    let eager = FaceDetector::open(&place, &entry, Device::Cpu)?;
    for set in ["photos-640", "photos-256"] {
        let mut found = Vec::new();
        let pictures: Vec<&Picture> = truth.pictures.iter().filter(|p| p.set == set).collect();
        for picture in &pictures {
            found.push(eager.detect(&open(folder, picture)?)?);
        }
        let figures = Figures::of(&pictures, &found, shown_from);
        say(&format!("{set}: {figures}"))?;
    }
    let (entry, place) = network("demo-embedding")?;
    let embedder = FaceEmbedder::open(&place, &entry, Device::Cpu)?;
    let mut embeddings = Vec::new();
    for picture in &truth.pictures {
        embeddings.push(match picture.set.as_str() {
            "people" => embedding(&detector, &embedder, &open(folder, picture)?)?,
            _ => None,
        });
    }
    verify(&truth, &embeddings, embedder.same_person())
}

/// Of the largest face, if there is one.
fn embedding(
    detector: &FaceDetector,
    embedder: &FaceEmbedder,
    picture: &RgbImage,
) -> Result<Option<Embedding>> {
    let found = detector.detect(picture)?;
    let largest = found.iter().max_by(|one, other| {
        let areas = (one.bounds.area(), other.bounds.area());
        areas.0.total_cmp(&areas.1)
    });
    Ok(match largest {
        Some(face) => Some(embedder.embed(picture, face)?),
        None => None,
    })
}

/// How many pairs are told rightly by the threshold of the list.
fn verify(truth: &Truth, embeddings: &[Option<Embedding>], threshold: f32) -> Result<()> {
    let mut right = [0_usize; 2];
    let mut count = [0_usize; 2];
    for &(one, other, same) in &truth.pairs {
        let same = usize::from(same == 1);
        // A face that is not found is like nobody.
        let cosine = match (&embeddings[one], &embeddings[other]) {
            (Some(one), Some(other)) => one.cosine(other),
            _ => -1.0,
        };
        count[same] += 1;
        right[same] += usize::from((cosine >= threshold) == (same == 1));
    }
    let all = count[0] + count[1];
    let share = |right: usize, count: usize| right as f64 / count.max(1) as f64;
    say(&format!(
        "people: {all} pairs, threshold {threshold}: accuracy {:.4}, of one person {:.4}, of two {:.4}",
        share(right[0] + right[1], all),
        share(right[1], count[1]),
        share(right[0], count[0]),
    ))
}

/// How well a detector does on some pictures.
struct Figures {
    pictures: usize,
    faces: usize,
    average_precision: f64,
    /// Mean distance of points by the square root of the box's area.
    point_error: f64,
    /// Faces that are found and shown.
    shown: usize,
    /// Boxes that are shown and are no face, or another box of a face.
    wrong: usize,
}

impl Figures {
    fn of(pictures: &[&Picture], found: &[Vec<Face>], shown_from: f32) -> Self {
        let mut figures = Self {
            pictures: pictures.len(),
            faces: 0,
            average_precision: 0.0,
            point_error: 0.0,
            shown: 0,
            wrong: 0,
        };
        let mut ranked = Vec::new();
        let mut error = 0.0;
        for (picture, found) in pictures.iter().zip(found) {
            figures.faces += picture.faces.len();
            let mut taken = vec![false; picture.faces.len()];
            let mut found: Vec<&Face> = found.iter().collect();
            found.sort_by(|one, other| other.score.total_cmp(&one.score));
            for face in found {
                let best = nearest(picture, &taken, &face.bounds);
                ranked.push((face.score, best.is_some()));
                let shown = face.score >= shown_from;
                if let Some(number) = best {
                    taken[number] = true;
                    if shown {
                        figures.shown += 1;
                        error += point_error(&picture.faces[number], &face.points);
                    }
                } else if shown {
                    figures.wrong += 1;
                }
            }
        }
        figures.point_error = error / figures.shown.max(1) as f64;
        figures.average_precision = average_precision(ranked, figures.faces);
        figures
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} pictures, {} faces: average precision {:.4}, error of points {:.2} %, found {}, wrong {}",
            self.pictures,
            self.faces,
            self.average_precision,
            self.point_error * 100.0,
            self.shown,
            self.wrong
        )
    }
}

/// The true face that a box fits best, of those that have none yet.
fn nearest(picture: &Picture, taken: &[bool], bounds: &Bounds) -> Option<usize> {
    let free = picture.faces.iter().enumerate();
    let free = free.filter(|(number, _)| !taken[*number]);
    let overlaps = free.map(|(number, face)| (number, face.bounds().iou(bounds)));
    let best = overlaps.max_by(|one, other| one.1.total_cmp(&other.1));
    best.filter(|(_, overlap)| *overlap >= RIGHT)
        .map(|(number, _)| number)
}

fn point_error(face: &TrueFace, points: &Points) -> f64 {
    let pairs = face.points.iter().zip(points);
    let away = pairs.map(|(one, other)| (one[0] - other[0]).hypot(one[1] - other[1]));
    f64::from(away.sum::<f32>() / 5.0 / face.bounds().area().sqrt())
}

/// Area below the curve of precision over recall, where a precision is the best of its recall or more.
fn average_precision(mut ranked: Vec<(f32, bool)>, faces: usize) -> f64 {
    ranked.sort_by(|one, other| other.0.total_cmp(&one.0));
    let mut right = 0_usize;
    let mut precisions = Vec::new();
    for (count, (_, is_right)) in ranked.iter().enumerate() {
        if *is_right {
            right += 1;
            precisions.push(right as f64 / (count + 1) as f64);
        }
    }
    let mut best = 0.0_f64;
    let mut sum = 0.0;
    for precision in precisions.iter().rev() {
        best = best.max(*precision);
        sum += best;
    }
    sum / faces.max(1) as f64
}
