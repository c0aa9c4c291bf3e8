//! What is said of a photo.

use crate::models::face::{Face, Pose};

/// The verdict on a photo (`portrait-api` section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Usable.
    Success,
    /// The address is not reachable, not allowed or over the size limit.
    DownloadFailed,
    /// Not a readable jpg, jpeg or png.
    DecodeFailed,
    /// Width or height not above 512 pixels.
    TooSmall,
    /// No face above the detector's threshold.
    NoFace,
    /// More than one face above the threshold.
    SeveralFaces,
    /// The face is below an eighth of the photo's width or height.
    FaceTooSmall,
    /// Blurred, too dark, too bright, covered.
    PoorQuality,
    /// Another person than the one of most photos.
    AnotherPerson,
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
            Self::NoFace => 5,
            Self::SeveralFaces => 6,
            Self::FaceTooSmall => 7,
            Self::PoorQuality => 8,
            Self::AnotherPerson => 9,
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
            Self::NoFace => "no face detected",
            Self::SeveralFaces => "multiple faces detected",
            Self::FaceTooSmall => "face too small",
            Self::PoorQuality => "face quality too low",
            Self::AnotherPerson => "not the same person",
            Self::InternalError => "internal error",
        }
    }
}

/// What is known about a photo after judging it.
#[derive(Debug, Clone, PartialEq)]
pub struct PhotoReport {
    /// The verdict.
    pub verdict: Verdict,
    /// There is one face, and it looks to the camera.
    pub frontal: bool,
    /// Why it is not a success, with what to do; no address and no path stands in it.
    pub detail: Option<String>,
    /// Upright width and height in pixels, when the photo could be decoded.
    pub size: Option<(u32, u32)>,
    /// The faces, the largest first, when they were looked for.
    pub faces: Option<Vec<Face>>,
    /// Where the face looks, when there is one.
    pub pose: Option<Pose>,
}

impl PhotoReport {
    /// A verdict on a photo that was not looked at.
    pub(super) fn refused(verdict: Verdict, detail: &impl ToString) -> Self {
        Self {
            verdict,
            frontal: false,
            detail: Some(detail.to_string()),
            size: None,
            faces: None,
            pose: None,
        }
    }

    /// Whether it is good for training as far as the applied rules tell.
    pub fn is_usable(&self) -> bool {
        self.verdict == Verdict::Success
    }
}
