//! Problem codes: the words by which results and refusals say what went wrong.

use std::{fmt, str::FromStr};

/// What went wrong with a request, as a word that programs can compare with.
///
/// The words travel in the member `code` of a result. Each has one HTTP status, used where a
/// result is answered over HTTP and as the tag `lastCode` of a failed queue entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Problem {
    /// The body is not a JSON object.
    InvalidJson,
    /// A member is missing, of a wrong type or out of its limits.
    InvalidParameter,
    /// The tag `taskType` names a kind of task that this service does not do.
    UnsupportedTaskType,
    /// No running service of that name and role.
    ServiceNotFound,
    /// A needed picture could not be fetched.
    ImageDownloadFailed,
    /// A needed picture is not a readable jpg, jpeg or png.
    ImageDecodeFailed,
    /// A needed picture is not above 512 x 512 pixels.
    ImageTooSmall,
    /// No photo survived preprocessing.
    NoUsableImage,
    /// There is a trained person of that id.
    ModelAlreadyExists,
    /// Training ended without a usable LoRA.
    TrainingFailed,
    /// There is no trained person of that id.
    ModelNotFound,
    /// The template shows no face.
    NoFaceInTemplate,
    /// The template shows another number of faces than ids were given.
    FaceCountMismatch,
    /// A weight file is missing from the data folder.
    BaseModelMissing,
    /// The device has not enough memory for the request.
    OutOfMemory,
    /// The disk has no room for the files of the work.
    DiskFull,
    /// The work took longer than `metadata.rpc.keepalive`.
    Timeout,
    /// The worker or the process ended with the entry in hand and no delivery is left.
    Interrupted,
    /// The user asked for the work to stop.
    Cancelled,
    /// The result is larger than the sink accepts.
    ResultTooLarge,
    /// The queue is full.
    QueueFull,
    /// More requests per second than the service allows.
    RateLimited,
    /// A fault of this program.
    InternalError,
}

impl Problem {
    /// Every code, for tests and documentation.
    pub const ALL: [Self; 23] = [
        Self::InvalidJson,
        Self::InvalidParameter,
        Self::UnsupportedTaskType,
        Self::ServiceNotFound,
        Self::ImageDownloadFailed,
        Self::ImageDecodeFailed,
        Self::ImageTooSmall,
        Self::NoUsableImage,
        Self::ModelAlreadyExists,
        Self::TrainingFailed,
        Self::ModelNotFound,
        Self::NoFaceInTemplate,
        Self::FaceCountMismatch,
        Self::BaseModelMissing,
        Self::OutOfMemory,
        Self::DiskFull,
        Self::Timeout,
        Self::Interrupted,
        Self::Cancelled,
        Self::ResultTooLarge,
        Self::QueueFull,
        Self::RateLimited,
        Self::InternalError,
    ];

    /// The word that travels in results.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "INVALID_JSON",
            Self::InvalidParameter => "INVALID_PARAMETER",
            Self::UnsupportedTaskType => "UNSUPPORTED_TASK_TYPE",
            Self::ServiceNotFound => "SERVICE_NOT_FOUND",
            Self::ImageDownloadFailed => "IMAGE_DOWNLOAD_FAILED",
            Self::ImageDecodeFailed => "IMAGE_DECODE_FAILED",
            Self::ImageTooSmall => "IMAGE_TOO_SMALL",
            Self::NoUsableImage => "NO_USABLE_IMAGE",
            Self::ModelAlreadyExists => "MODEL_ALREADY_EXISTS",
            Self::TrainingFailed => "TRAINING_FAILED",
            Self::ModelNotFound => "MODEL_NOT_FOUND",
            Self::NoFaceInTemplate => "NO_FACE_IN_TEMPLATE",
            Self::FaceCountMismatch => "FACE_COUNT_MISMATCH",
            Self::BaseModelMissing => "BASE_MODEL_MISSING",
            Self::OutOfMemory => "OUT_OF_MEMORY",
            Self::DiskFull => "DISK_FULL",
            Self::Timeout => "TIMEOUT",
            Self::Interrupted => "INTERRUPTED",
            Self::Cancelled => "CANCELLED",
            Self::ResultTooLarge => "RESULT_TOO_LARGE",
            Self::QueueFull => "QUEUE_FULL",
            Self::RateLimited => "RATE_LIMITED",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }

    /// The HTTP status that goes with the code (`portrait-api` section 6).
    pub const fn http_status(self) -> u16 {
        match self {
            Self::InvalidJson
            | Self::InvalidParameter
            | Self::UnsupportedTaskType
            | Self::ImageDownloadFailed
            | Self::ImageDecodeFailed
            | Self::ImageTooSmall => 400,
            Self::ServiceNotFound | Self::ModelNotFound => 404,
            Self::Timeout => 408,
            Self::ModelAlreadyExists => 409,
            Self::ResultTooLarge => 413,
            Self::NoUsableImage | Self::NoFaceInTemplate | Self::FaceCountMismatch => 422,
            Self::RateLimited => 429,
            Self::QueueFull => 450,
            // The number that web servers log for a request given up by its caller.
            Self::Cancelled => 499,
            Self::TrainingFailed | Self::Interrupted | Self::InternalError => 500,
            Self::BaseModelMissing | Self::OutOfMemory => 503,
            Self::DiskFull => 507,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is none of the known codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a known problem code")]
pub struct ParseProblemError(String);

impl FromStr for Problem {
    type Err = ParseProblemError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| ParseProblemError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_from_its_word() {
        for code in Problem::ALL {
            assert_eq!(code.as_str().parse(), Ok(code));
        }
        assert!("NO_SUCH_CODE".parse::<Problem>().is_err());
    }
}
