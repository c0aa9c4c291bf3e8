//! Making pictures from words and pictures, as the web UI does it.
//!
//! ```text
//!   GenerateTask --> request --> Session: model, settings, listeners
//!                                   |
//!                prompts, hints --> text_to_image | image_to_image --> batch: pass after pass
//!                                                                         |
//!                        answer <-- record: texts of the pictures <-------+
//! ```
//!
//! The rules are those of AUTOMATIC1111's web UI 1.10, so that its clients get what they know. The networks
//! are behind [`artist`]; nothing here knows a tensor, a queue or a connection. What a client sends and
//! nothing here understands is refused by name, or named in the member `comments` of `info`.

mod answer;
pub mod artist;
mod batch;
mod engine;
mod error;
mod hints;
mod hires;
mod image_to_image;
pub mod infotext;
mod inpaint;
mod latents;
mod networks;
mod options;
mod pictures;
pub(in crate::pipeline) mod progress;
mod prompts;
mod record;
mod request;
mod session;
#[cfg(test)]
mod tests;
mod text_to_image;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use batch::Painted;
pub use engine::{GenerateEngine, Keep};
pub use error::GenerateError;
pub use hints::{Module, Preparation, ResizeMode, hint, mosaic};
pub use hires::{HiresRequest, Target, UPSCALERS, Upscaler};
pub use latents::Interpolation;
pub use options::Options;
pub use progress::{Audience, Progress, Wish};
pub use request::{Common, Content, Given, ImageToImage, Passes, SIDES, TextToImage, Unit};

use artist::Artist;
use batch::Seeds;
use image_to_image::{batch_size, image_to_image};
use record::Record;
use session::Session;
use text_to_image::text_to_image;

use crate::imaging::RgbImage;

/// What is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Pictures from words.
    Txt2img,
    /// Pictures from pictures.
    Img2img,
}

/// A request for pictures as it travels through a queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerateTask {
    /// What is to be made.
    pub task: Task,
    /// The request, in the web UI's form.
    pub payload: Map<String, Value>,
    /// The web UI's settings at the time of the request; those that are missing have their defaults.
    #[serde(default)]
    pub options: Map<String, Value>,
}

/// Pictures and what is said of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The pictures, each with what it was made of.
    pub pictures: Vec<Painted>,
    /// The request with all defaults.
    pub parameters: Map<String, Value>,
    /// How the pictures were made.
    pub info: Value,
    /// Whether the answer has the pictures.
    pub sends_pictures: bool,
    /// Whether the pictures are to be kept on the server.
    pub saves_pictures: bool,
}

/// A request that was read.
enum Request {
    Text(Box<TextToImage>),
    Image(Box<ImageToImage>),
}

impl Request {
    fn read(task: &GenerateTask) -> Result<Self, GenerateError> {
        Ok(match task.task {
            Task::Txt2img => Self::Text(Box::new(TextToImage::read(&task.payload)?)),
            Task::Img2img => Self::Image(Box::new(ImageToImage::read(&task.payload)?)),
        })
    }

    fn common(&self) -> &Common {
        match self {
            Self::Text(request) => &request.common,
            Self::Image(request) => &request.common,
        }
    }

    fn batch_size(&self) -> Result<usize, GenerateError> {
        match self {
            Self::Text(request) => Ok(request.common.batch_size),
            Self::Image(request) => batch_size(request),
        }
    }
}

impl GenerateTask {
    /// Whether the request can be understood, without any work on it.
    pub fn check(&self) -> Result<(), GenerateError> {
        let request = Request::read(self)?;
        request.batch_size()?;
        Options::read(&self.options, &request.common().overrides)?;
        Ok(())
    }
}

/// What was made of pictures that are in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Repainted {
    /// The pictures.
    pub pictures: Vec<RgbImage>,
    /// What was not heard, and what is to be known of the networks.
    pub warnings: Vec<String>,
}

/// Makes pictures of pictures, for callers that have no request in the web UI's form.
pub fn repaint<A: Artist>(
    request: &ImageToImage,
    options: Options,
    artist: &A,
    audience: &mut dyn Audience,
) -> Result<Repainted, GenerateError> {
    let common = &request.common;
    let seeds = Seeds::of(common, &options, batch_size(request)? * common.batches);
    let mut session = Session::open(artist, options, common, audience)?;
    let painted = image_to_image(&mut session, request, &seeds);
    let painted = painted.map_err(|error| session.reason_of(error))?;
    Ok(Repainted {
        pictures: painted.into_iter().map(|(picture, _)| picture).collect(),
        warnings: session.notes.warnings,
    })
}

/// Makes the pictures of a request.
pub fn generate<A: Artist>(
    task: &GenerateTask,
    artist: &A,
    audience: &mut dyn Audience,
) -> Result<Generated, GenerateError> {
    let request = Request::read(task)?;
    let common = request.common();
    let options = Options::read(&task.options, &common.overrides)?;
    let count = request.batch_size()? * common.batches;
    let seeds = Seeds::of(common, &options, count);
    let mut session = Session::open(artist, options, common, audience)?;
    let painted = match &request {
        Request::Text(request) => text_to_image(&mut session, request, &seeds),
        Request::Image(request) => image_to_image(&mut session, request, &seeds),
    };
    let painted = painted.map_err(|error| session.reason_of(error))?;
    let (strength, parameters) = match &request {
        Request::Text(request) => (
            request.hires.as_ref().map(|_| request.strength),
            TextToImage::echo(&task.payload),
        ),
        Request::Image(request) => (
            Some(request.strength),
            ImageToImage::echo(&task.payload, request.repeats_pictures),
        ),
    };
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let timestamp: String = now.chars().filter(char::is_ascii_digit).collect();
    let info = Record::new(common, &seeds).info(&session, strength, &painted, &timestamp);
    Ok(Generated {
        pictures: painted,
        parameters,
        info,
        sends_pictures: common.sends_pictures,
        saves_pictures: common.saves_pictures,
    })
}
