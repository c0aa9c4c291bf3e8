//! The verdict on one photo after another.

use std::{
    fmt::Display,
    fs::File,
    io::{self, Read},
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    fetch::{FetchError, FetchLimits, Fetcher},
    imaging::{self, ImagingError, RgbImage},
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
/// Time after which a photo is given up whose file is there and whose pixels are not. A photo of 12
/// megapixels takes about a tenth of a second on two cores, the largest that is decoded ten times as
/// long, and a busy machine several times that.
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
pub(in crate::pipeline) struct Judged {
    pub(in crate::pipeline) report: PhotoReport,
    /// The face of a usable photo, where persons are compared.
    pub(in crate::pipeline) embedding: Option<Embedding>,
    /// What makes the photo recognisable, of those with a face.
    pub(in crate::pipeline) fingerprint: Option<Fingerprint>,
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

/// Judges photos one by one; the results stand in the order of the photos. Faces that will be
/// `compared` are described. What is usable is shown to `visit` as soon as it is judged: the place
/// in `photos`, the upright pixels, and what is known of them.
///
/// Photos are got and judged a few at a time, so that the files of a large request are never in
/// memory together, and of their pixels only one photo's: those that `visit` sees are gone when it
/// returns. `Err` when the job has to stop, or with what `visit` fails with.
pub(in crate::pipeline) fn judge_each<E: From<CancelReason>>(
    photos: &[PhotoSource<'_>],
    fetcher: &Fetcher,
    observer: &dyn Observer,
    compared: bool,
    context: &JobContext,
    mut visit: impl FnMut(usize, &RgbImage, &Judged) -> Result<(), E>,
) -> Result<Vec<Judged>, E> {
    let limits = FetchLimits::default();
    let mut judged = Vec::with_capacity(photos.len());
    let mut judge = |at: usize, bytes: &[u8]| {
        let (judged, usable) = judge(bytes, observer, compared, PHOTO_TIME_MAX, context)?;
        if let Some(photo) = usable {
            visit(at, &photo, &judged)?;
        }
        Ok::<_, E>(judged)
    };
    for batch in photos.chunks(limits.parallel) {
        let addresses: Vec<&str> = batch.iter().filter_map(address).collect();
        let mut files = fetcher.fetch_all(&addresses, &limits, context)?.into_iter();
        for photo in batch {
            context.checkpoint()?;
            let at = judged.len();
            judged.push(match photo {
                PhotoSource::Address(_) => {
                    match files.next().expect("there is one result for each address") {
                        Ok(bytes) => judge(at, &bytes)?,
                        Err(error) => not_fetched(&error).into(),
                    }
                }
                PhotoSource::Path(path) => match read_file(path, limits.picture_bytes_max) {
                    Ok(bytes) => judge(at, &bytes)?,
                    Err(error) => not_read(&error).into(),
                },
                PhotoSource::Bytes(bytes) => judge(at, bytes)?,
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

/// Judges one photo, and gives the upright pixels of a usable one. Decodes before looking at the
/// size, so that a damaged small file is called damaged; looks for faces only where the file is fit.
/// `Err` when the job has to stop.
///
/// The time is bounded: decoding by the limits on pixels, the networks by the sizes of their inputs,
/// and a photo whose pixels were not there after `time_max` is given up, so that the photos behind
/// it get their turn.
pub(super) fn judge(
    bytes: &[u8],
    observer: &dyn Observer,
    compared: bool,
    time_max: Duration,
    context: &JobContext,
) -> Result<(Judged, Option<RgbImage>), CancelReason> {
    let started = Instant::now();
    let photo = match imaging::decode(bytes, &imaging::Limits::default()) {
        Ok(photo) => photo,
        Err(error) => return Ok((undecoded(&error).into(), None)),
    };
    let size = photo.dimensions();
    let refused = |verdict, detail: &dyn Display| {
        let report = PhotoReport::refused(verdict, &detail);
        let report = PhotoReport {
            size: Some(size),
            ..report
        };
        (Judged::from(report), None)
    };
    let (width, height) = size;
    if width.min(height) <= SIDE_TOO_SMALL {
        let detail = format!(
            "{width} x {height} pixels; both sides need more than {SIDE_TOO_SMALL}, send a larger \
             photo"
        );
        return Ok(refused(Verdict::TooSmall, &detail));
    }
    context.checkpoint()?;
    if started.elapsed() > time_max {
        let detail = format!("decoding took longer than {time_max:?}; send a smaller photo");
        return Ok(refused(Verdict::InternalError, &detail));
    }
    let observation = match observer.observe(&photo) {
        Ok(observation) => observation,
        Err(error) => return Ok(refused(Verdict::InternalError, &error)),
    };
    context.checkpoint()?;
    let (verdict, detail) = face_verdict(size, &observation);
    let mut embedding = None;
    if let (true, Verdict::Success, [face]) = (compared, verdict, observation.faces()) {
        match observer.embed(&photo, face) {
            Ok(described) => embedding = Some(described),
            Err(error) => return Ok(refused(Verdict::InternalError, &error)),
        }
    }
    let mut judged = Judged::from(PhotoReport {
        verdict,
        frontal: false,
        detail,
        size: Some(size),
        faces: Some(observation.faces().to_vec()),
        pose: None,
    });
    if let Observation::Portrait(portrait) = observation {
        judged.report.frontal = portrait.pose.is_frontal();
        judged.report.pose = Some(portrait.pose);
        judged.fingerprint = Some(Fingerprint::of(&photo));
        judged.embedding = embedding;
    }
    let usable = judged.report.is_usable().then_some(photo);
    Ok((judged, usable))
}

/// The rules about the face of one photo of this width and height, and why.
pub(super) fn face_verdict(
    (width, height): (u32, u32),
    observation: &Observation,
) -> (Verdict, Option<String>) {
    let portrait = match observation {
        Observation::Portrait(portrait) => portrait,
        Observation::Faces(faces) if faces.is_empty() => {
            let text = "no face was found; send a photo in which the face is upright, large enough \
                        and not covered";
            return (Verdict::NoFace, Some(text.to_owned()));
        }
        Observation::Faces(faces) => {
            let count = faces.len();
            let text = format!("{count} faces were found; send a photo of one person alone");
            return (Verdict::SeveralFaces, Some(text));
        }
    };
    let bounds = portrait.face.bounds;
    let of_width = bounds.width() / width as f32;
    let of_height = bounds.height() / height as f32;
    let (share, of) = if of_width <= of_height {
        (of_width, "width")
    } else {
        (of_height, "height")
    };
    if share < FACE_SHARE_MIN {
        let text = format!(
            "the face has {:.1} % of the photo's {of}; it needs {:.1} %, crop the photo or come \
             closer",
            share * 100.0,
            FACE_SHARE_MIN * 100.0
        );
        return (Verdict::FaceTooSmall, Some(text));
    }
    let Some(defect) = portrait.flaw else {
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
