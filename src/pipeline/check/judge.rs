//! The verdict on one photo after another.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    fetch::{FetchError, FetchLimits, Fetcher},
    imaging::{self, ImagingError},
    job::{CancelReason, JobContext},
    models::face::{Embedding, Fingerprint, Flaw},
};

use super::{
    observe::{Defect, Observation, Observer},
    verdict::{PhotoReport, Verdict},
};

/// A side has to have more pixels than this (`portrait-api` section 1).
const SIDE_TOO_SMALL: u32 = 512;
/// A face has to have this share of the photo's width and of its height (`portrait-api` section
/// 3.3): what is smaller falls out when training photos are prepared.
const FACE_SHARE_MIN: f32 = 1.0 / 8.0;
/// Longest time that is spent on one photo once its file is there. A photo of 12 megapixels takes
/// about a tenth of a second on two cores, and the largest that is decoded ten times as long.
const PHOTO_TIME_MAX: Duration = Duration::from_secs(20);

/// Where a photo comes from.
#[derive(Debug, Clone, Copy)]
pub enum PhotoSource<'a> {
    /// An address of a request; it is not trusted.
    Address(&'a str),
    /// A local file that the operator named; it is read wherever it lies.
    Path(&'a Path),
    /// The bytes of the file.
    Bytes(&'a [u8]),
}

/// A photo with what later rules about all photos need.
pub(super) struct Judged {
    pub(super) report: PhotoReport,
    /// The face of a usable photo, where there is a network for it.
    pub(super) embedding: Option<Embedding>,
    /// What makes the photo recognisable, of those with a face.
    pub(super) fingerprint: Option<Fingerprint>,
}

impl From<PhotoReport> for Judged {
    fn from(report: PhotoReport) -> Self {
        Self {
            report,
            embedding: None,
            fingerprint: None,
        }
    }
}

/// Judges photos one by one; the results stand in the order of the photos.
///
/// Photos are got and judged a few at a time, so that the files of a large request are never in
/// memory together, and of their pixels only one photo's. `Err` when the job has to stop.
pub(super) fn judge_each(
    photos: &[PhotoSource<'_>],
    fetcher: &Fetcher,
    observer: &dyn Observer,
    context: &JobContext,
) -> Result<Vec<Judged>, CancelReason> {
    let limits = FetchLimits::default();
    let judge = |bytes: &[u8]| judge(bytes, observer, context);
    let mut judged = Vec::with_capacity(photos.len());
    for batch in photos.chunks(limits.parallel) {
        let addresses: Vec<&str> = batch.iter().filter_map(address).collect();
        let mut files = fetcher.fetch_all(&addresses, &limits, context)?.into_iter();
        for photo in batch {
            context.checkpoint()?;
            judged.push(match photo {
                PhotoSource::Address(_) => {
                    match files.next().expect("there is one result for each address") {
                        Ok(bytes) => judge(&bytes)?,
                        Err(error) => not_fetched(&error).into(),
                    }
                }
                PhotoSource::Path(path) => match read_file(path, limits.picture_bytes_max) {
                    Ok(bytes) => judge(&bytes)?,
                    Err(error) => not_read(&error).into(),
                },
                PhotoSource::Bytes(bytes) => judge(bytes)?,
            });
            let fraction = judged.len() as f64 / photos.len() as f64;
            let note = format!("photo {} of {}", judged.len(), photos.len());
            context.progress.report(fraction, &note);
        }
    }
    Ok(judged)
}

fn address<'a>(photo: &PhotoSource<'a>) -> Option<&'a str> {
    match photo {
        PhotoSource::Address(address) => Some(address),
        _ => None,
    }
}

/// Judges one photo. Decodes before looking at the size, so that a damaged small file is called
/// damaged; looks for faces only where the file is fit.
///
/// The time is bounded: the pixels by the decoder's limits, the networks by the fixed sizes of
/// their inputs, and both together by [`PHOTO_TIME_MAX`], which is looked at between the steps.
fn judge(
    bytes: &[u8],
    observer: &dyn Observer,
    context: &JobContext,
) -> Result<Judged, CancelReason> {
    let started = Instant::now();
    let photo = match imaging::decode(bytes, &imaging::Limits::default()) {
        Ok(photo) => photo,
        Err(error) => return Ok(undecoded(&error).into()),
    };
    let size = photo.dimensions();
    let (width, height) = size;
    if width.min(height) <= SIDE_TOO_SMALL {
        let detail = format!(
            "{width} x {height} pixels; both sides need more than {SIDE_TOO_SMALL}, send a larger \
             photo"
        );
        let refused = PhotoReport::refused(Verdict::TooSmall, &detail);
        return Ok(PhotoReport {
            size: Some(size),
            ..refused
        }
        .into());
    }
    context.checkpoint()?;
    let refused = |text: &dyn ToString| {
        let refused = PhotoReport::refused(Verdict::InternalError, &text.to_string());
        PhotoReport {
            size: Some(size),
            ..refused
        }
    };
    if started.elapsed() > PHOTO_TIME_MAX {
        let text = format!("decoding took longer than {PHOTO_TIME_MAX:?}; send a smaller photo");
        return Ok(refused(&text).into());
    }
    let observation = match observer.observe(&photo) {
        Ok(observation) => observation,
        Err(error) => return Ok(refused(&error).into()),
    };
    context.checkpoint()?;
    let (verdict, detail) = face_verdict(size, &observation);
    let portrait = observation.portrait;
    let fingerprint = portrait.is_some() && started.elapsed() <= PHOTO_TIME_MAX;
    Ok(Judged {
        fingerprint: fingerprint.then(|| Fingerprint::of(&photo)),
        report: PhotoReport {
            verdict,
            frontal: portrait.as_ref().is_some_and(|face| face.pose.is_frontal()),
            detail,
            size: Some(size),
            faces: Some(observation.count),
            pose: portrait.as_ref().map(|face| face.pose),
        },
        embedding: portrait
            .and_then(|face| face.embedding)
            .filter(|_| verdict == Verdict::Success),
    })
}

/// The rules about the face of one photo of this width and height, and why.
pub(super) fn face_verdict(
    (width, height): (u32, u32),
    observation: &Observation,
) -> (Verdict, Option<String>) {
    let Some(face) = &observation.portrait else {
        return match observation.count {
            0 => {
                let text = "no face was found; send a photo in which the face is upright, large \
                            enough and not covered";
                (Verdict::NoFace, Some(text.to_owned()))
            }
            count => {
                let text = format!("{count} faces were found; send a photo of one person alone");
                (Verdict::SeveralFaces, Some(text))
            }
        };
    };
    let (share, of) = [
        (face.bounds.width() / width as f32, "width"),
        (face.bounds.height() / height as f32, "height"),
    ]
    .into_iter()
    .fold((f32::INFINITY, ""), |least, next| if next.0 < least.0 { next } else { least });
    if share < FACE_SHARE_MIN {
        let text = format!(
            "the face has {:.0} % of the photo's {of}; it needs {:.1} %, crop the photo or come closer",
            share * 100.0,
            FACE_SHARE_MIN * 100.0
        );
        return (Verdict::FaceTooSmall, Some(text));
    }
    let Some(defect) = face.flaw else {
        return (Verdict::Success, None);
    };
    let text = match defect {
        Defect::Measured(Flaw::Small) => "the face has too few pixels; send a larger photo".into(),
        Defect::Measured(Flaw::Dark) => "the face is too dark; send a photo with more light".into(),
        Defect::Measured(Flaw::Burnt) => {
            "the face is burnt out; send a photo with less or softer light".into()
        }
        Defect::Measured(Flaw::Blurred) => {
            "the face is blurred, or was enlarged; send a sharp photo".into()
        }
        Defect::Rated(rating, least) => format!(
            "the face is rated {rating:.2} where {least:.2} is needed: it may be covered, turned \
             away, blurred or badly lit; send a clear photo of the face"
        ),
    };
    (Verdict::PoorQuality, Some(text))
}

fn undecoded(error: &ImagingError) -> PhotoReport {
    PhotoReport::refused(Verdict::DecodeFailed, error)
}

fn not_fetched(error: &FetchError) -> PhotoReport {
    let verdict = match error {
        FetchError::NoWorker => Verdict::InternalError,
        _ => Verdict::DownloadFailed,
    };
    PhotoReport::refused(verdict, error)
}

fn not_read(error: &io::Error) -> PhotoReport {
    PhotoReport::refused(
        Verdict::DownloadFailed,
        &format!("the file could not be read: {error}; check the path and its permissions"),
    )
}

fn read_file(path: &Path, limit: u64) -> io::Result<Bytes> {
    // Asked before opening, because opening a pipe waits for its other end.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes.into())
}
