//! The verdict on one photo, and on many.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use bytes::Bytes;

use crate::{
    fetch::{FetchError, FetchLimits, Fetcher},
    imaging::{self, ImagingError},
    job::{CancelReason, JobContext},
};

/// A side has to have more pixels than this (`portrait-api` section 1).
const SIDE_TOO_SMALL: u32 = 512;

/// What is said of a photo (`portrait-api` section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Usable as far as the applied rules tell.
    Success,
    /// The address is not reachable, not allowed or over the size limit.
    DownloadFailed,
    /// Not a readable jpg, jpeg or png.
    DecodeFailed,
    /// Width or height not above 512 pixels.
    TooSmall,
    /// Anything else.
    InternalError,
}

impl Verdict {
    /// The number that travels in results.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 1,
            Self::DownloadFailed => 2,
            Self::DecodeFailed => 3,
            Self::TooSmall => 4,
            Self::InternalError => 99,
        }
    }

    /// The verdict in words.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::DownloadFailed => "image download failed",
            Self::DecodeFailed => "image decode failed",
            Self::TooSmall => "image too small",
            Self::InternalError => "internal error",
        }
    }
}

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

/// What is known about a photo after judging it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhotoReport {
    /// The verdict.
    pub verdict: Verdict,
    /// The face looks to the camera; false as long as no face is looked for.
    pub frontal: bool,
    /// Why it is not a success, with what to do; no address and no path stands in it.
    pub detail: Option<String>,
    /// Upright width and height in pixels, when the photo could be decoded.
    pub size: Option<(u32, u32)>,
}

impl PhotoReport {
    fn refused(verdict: Verdict, detail: &impl ToString) -> Self {
        Self {
            verdict,
            frontal: false,
            detail: Some(detail.to_string()),
            size: None,
        }
    }
}

/// Judges photos; the reports stand in the order of the photos.
///
/// Photos are got and judged a few at a time, so that the files of a large request are never in
/// memory together. `Err` when the job has to stop.
pub fn judge_photos(
    photos: &[PhotoSource<'_>],
    fetcher: &Fetcher,
    context: &JobContext,
) -> Result<Vec<PhotoReport>, CancelReason> {
    let limits = FetchLimits::default();
    let mut reports = Vec::with_capacity(photos.len());
    for batch in photos.chunks(limits.parallel) {
        let addresses: Vec<&str> = batch.iter().filter_map(address).collect();
        let mut files = fetcher.fetch_all(&addresses, &limits, context)?.into_iter();
        for photo in batch {
            context.checkpoint()?;
            reports.push(match photo {
                PhotoSource::Address(_) => files
                    .next()
                    .expect("there is one result for each address")
                    .map_or_else(|error| not_fetched(&error), |bytes| judge(&bytes)),
                PhotoSource::Path(path) => read_file(path, limits.picture_bytes_max)
                    .map_or_else(|error| not_read(&error), |bytes| judge(&bytes)),
                PhotoSource::Bytes(bytes) => judge(bytes),
            });
            let fraction = reports.len() as f64 / photos.len() as f64;
            let note = format!("photo {} of {}", reports.len(), photos.len());
            context.progress.report(fraction, &note);
        }
    }
    Ok(reports)
}

fn address<'a>(photo: &PhotoSource<'a>) -> Option<&'a str> {
    match photo {
        PhotoSource::Address(address) => Some(address),
        _ => None,
    }
}

/// Decodes before looking at the size, so that a damaged small file is called damaged.
fn judge(bytes: &[u8]) -> PhotoReport {
    let picture = match imaging::decode(bytes, &imaging::Limits::default()) {
        Ok(picture) => picture,
        Err(error) => return undecoded(&error),
    };
    let (width, height) = picture.dimensions();
    let too_small = width.min(height) <= SIDE_TOO_SMALL;
    PhotoReport {
        verdict: if too_small {
            Verdict::TooSmall
        } else {
            Verdict::Success
        },
        frontal: false,
        detail: too_small.then(|| {
            format!(
                "{width} x {height} pixels; both sides need more than {SIDE_TOO_SMALL}, send a \
                 larger photo"
            )
        }),
        size: Some((width, height)),
    }
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
