//! Changes the size of finished pictures: the tasks `extra-single-image` and `extra-batch-images` of
//! the WebUI, as far as they need no network.
//!
//! Sizes are those of the WebUI: a picture is enlarged by a factor, its sides are cut to multiples of
//! eight, and a picture for a given frame is cut at its centre.

use std::time::Instant;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Engine, JobInput,
    reply::{Failure, to_json},
    request::{self, invalid},
};
use crate::{
    domain::{MIB, Problem},
    fetch,
    imaging::{
        Kernel, Limits, RgbImage, decode,
        png_text::{TextItem, read_texts, write_png},
        resize,
    },
    job::JobContext,
};

const SINGLE: &str = "extra-single-image";
const BATCH: &str = "extra-batch-images";
/// Largest file of a picture, in bytes.
const FILE_BYTES_MAX: u64 = 64 * MIB;
/// Most pictures of one request.
const PICTURES_MAX: usize = 100;
/// Most pixels of a result.
const PIXELS_MAX: f64 = 64e6;
/// Most pixels along a side of a result.
const SIDE_MAX: f64 = 16_384.0;
/// The key of the text that says what was done.
const DONE_KEY: &str = "postprocessing";

/// Does the tasks of this module and leaves all others to another engine.
pub struct ExtrasEngine(Box<dyn Engine>);

impl ExtrasEngine {
    /// In front of the engine for all other tasks.
    pub fn before(others: Box<dyn Engine>) -> Self {
        Self(others)
    }
}

impl Engine for ExtrasEngine {
    fn run(&mut self, input: &JobInput, context: &JobContext) -> Answer {
        /// What of an entry says whose it is.
        #[derive(Deserialize)]
        struct Kind {
            task: String,
        }
        let started = Instant::now();
        let kind = serde_json::from_slice::<Kind>(&input.data);
        let work = match kind.as_ref().map(|kind| kind.task.as_str()) {
            Ok(SINGLE) => single,
            Ok(BATCH) => batch,
            _ => return self.0.run(input, context),
        };
        match entry(input).and_then(|request| work(&request, context)) {
            Ok(result) => Answer::ok(to_json(&result)),
            Err(failure) => {
                let (id, _) = request::open(input);
                failure.into_answer(&id, started)
            }
        }
    }
}

/// The WebUI's members with its defaults. What is not here has no effect.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Request {
    resize_mode: u8,
    upscaling_resize: f64,
    upscaling_resize_w: u32,
    upscaling_resize_h: u32,
    upscaling_crop: bool,
    upscaler_1: Option<String>,
    upscaler_2: Option<String>,
    extras_upscaler_2_visibility: f64,
    gfpgan_visibility: f64,
    codeformer_visibility: f64,
    image: String,
    #[serde(rename = "imageList")]
    image_list: Vec<Named>,
}

/// A picture of a list.
#[derive(Debug, Deserialize)]
struct Named {
    data: String,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            resize_mode: 0,
            upscaling_resize: 2.0,
            upscaling_resize_w: 512,
            upscaling_resize_h: 512,
            upscaling_crop: true,
            upscaler_1: None,
            upscaler_2: None,
            extras_upscaler_2_visibility: 0.0,
            gfpgan_visibility: 0.0,
            codeformer_visibility: 0.0,
            image: String::new(),
            image_list: Vec::new(),
        }
    }
}

/// A way to enlarge without a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upscaler {
    Lanczos,
    Nearest,
}

fn entry(input: &JobInput) -> Result<Request, Failure> {
    #[derive(Deserialize)]
    struct Entry {
        payload: Request,
    }
    let entry: Entry = serde_json::from_slice(&input.data).map_err(|error| {
        invalid(format!(
            "a member of the request is of a wrong type: {error}"
        ))
    })?;
    let request = entry.payload;
    if request.gfpgan_visibility > 0.0 || request.codeformer_visibility > 0.0 {
        return Err(invalid(
            "`gfpgan_visibility` and `codeformer_visibility` ask for a face restorer, and there is \
             none; set both to 0",
        ));
    }
    if request.resize_mode > 1 {
        return Err(invalid("`resize_mode` is 0 for a factor or 1 for a size"));
    }
    if request.upscaling_resize <= 0.0 {
        return Err(invalid("`upscaling_resize` has to be above 0"));
    }
    if !(0.0..=1.0).contains(&request.extras_upscaler_2_visibility) {
        return Err(invalid(
            "`extras_upscaler_2_visibility` is a number from 0 to 1",
        ));
    }
    Ok(request)
}

fn single(request: &Request, _context: &JobContext) -> Result<Value, Failure> {
    let image = treated(request, &request.image)?;
    Ok(json!({"html_info": "", "image": image}))
}

fn batch(request: &Request, context: &JobContext) -> Result<Value, Failure> {
    let all = &request.image_list;
    if all.len() > PICTURES_MAX {
        return Err(invalid(format!(
            "`imageList` has {} pictures; send at most {PICTURES_MAX}",
            all.len()
        )));
    }
    let mut images = Vec::new();
    for (done, named) in all.iter().enumerate() {
        context.checkpoint()?;
        images.push(treated(request, &named.data)?);
        let fraction = (done + 1) as f64 / all.len() as f64;
        let note = format!("picture {} of {}", done + 1, all.len());
        context.progress.report(fraction, &note);
    }
    Ok(json!({"html_info": "", "images": images}))
}

/// One picture, as a PNG in base64. Its texts stay, and one says what was done.
fn treated(request: &Request, picture: &str) -> Result<String, Failure> {
    let unreadable =
        |text: String| Failure::new(Problem::ImageDecodeFailed, format!("a picture: {text}"));
    let file = fetch::inline_picture(picture.trim(), FILE_BYTES_MAX)
        .map_err(|error| unreadable(error.to_string()))?;
    let picture =
        decode(&file, &Limits::default()).map_err(|error| unreadable(error.to_string()))?;
    let mut texts = read_texts(&file);
    texts.retain(|item| item.key != DONE_KEY);
    let mut done = Vec::new();
    let picture = enlarged(request, picture, &mut done)?;
    if !done.is_empty() {
        texts.push(TextItem {
            key: DONE_KEY.to_owned(),
            text: done.join(", "),
        });
    }
    let file = write_png(&picture, &texts)
        // A text that cannot be written back is not worth the picture.
        .or_else(|_| write_png(&picture, &[]))
        .map_err(|error| Failure::new(Problem::InternalError, error.to_string()))?;
    Ok(BASE64_STANDARD.encode(file))
}

fn enlarged(
    request: &Request,
    picture: RgbImage,
    done: &mut Vec<String>,
) -> Result<RgbImage, Failure> {
    let Some(first) = upscaler("upscaler_1", request.upscaler_1.as_deref())? else {
        return Ok(picture);
    };
    let second = upscaler("upscaler_2", request.upscaler_2.as_deref())?;
    let mut result = framed(request, &picture, first)?;
    match request.resize_mode {
        1 => done.push(format!(
            "Postprocess upscale to: {}x{}",
            request.upscaling_resize_w, request.upscaling_resize_h
        )),
        _ => done.push(format!(
            "Postprocess upscale by: {}",
            request.upscaling_resize
        )),
    }
    done.push(format!("Postprocess upscaler: {first:?}"));
    let share = request.extras_upscaler_2_visibility;
    if let Some(second) = second.filter(|_| share > 0.0) {
        let other = framed(request, &picture, second)?;
        for (ours, theirs) in result.iter_mut().zip(other.iter()) {
            let mixed = f64::from(*ours) + share * (f64::from(*theirs) - f64::from(*ours));
            *ours = mixed as u8;
        }
        done.push(format!("Postprocess upscaler 2: {second:?}"));
    }
    Ok(result)
}

fn upscaler(member: &str, name: Option<&str>) -> Result<Option<Upscaler>, Failure> {
    match name {
        None | Some("" | "None") => Ok(None),
        Some("Lanczos") => Ok(Some(Upscaler::Lanczos)),
        Some("Nearest") => Ok(Some(Upscaler::Nearest)),
        Some(_) => Err(invalid(format!(
            "`{member}` names no upscaler that is here; write `None`, `Lanczos` or `Nearest`"
        ))),
    }
}

/// The picture in the size that is asked for.
fn framed(request: &Request, picture: &RgbImage, way: Upscaler) -> Result<RgbImage, Failure> {
    let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
    let frame = (request.upscaling_resize_w, request.upscaling_resize_h);
    let factor = match request.resize_mode {
        1 => (f64::from(frame.0) / width).max(f64::from(frame.1) / height),
        _ => request.upscaling_resize,
    };
    let (wide, high) = (width * factor, height * factor);
    let too_large = |wide: f64, high: f64| wide.max(high) > SIDE_MAX || wide * high > PIXELS_MAX;
    if too_large(wide, high) || too_large(f64::from(frame.0), f64::from(frame.1)) {
        return Err(invalid(format!(
            "the result would have {wide:.0} x {high:.0} pixels; ask for at most {PIXELS_MAX:.0}, \
             and {SIDE_MAX:.0} along a side"
        )));
    }
    if wide.min(high) < 8.0 {
        return Err(invalid(
            "the result would have fewer than 8 pixels along a side; ask for more",
        ));
    }
    let scaled = match way {
        Upscaler::Lanczos => resize(picture, wide as u32, high as u32, Kernel::Lanczos),
        Upscaler::Nearest => nearest(picture, wide as u32, high as u32),
    };
    let (wide, high) = (wide as u32 / 8 * 8, high as u32 / 8 * 8);
    let scaled = if scaled.dimensions() == (wide, high) {
        scaled
    } else {
        resize(&scaled, wide, high, Kernel::Lanczos)
    };
    Ok(if request.resize_mode == 1 && request.upscaling_crop {
        cut(&scaled, frame)
    } else {
        scaled
    })
}

/// Each pixel is that of the source at its centre.
fn nearest(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    let place = |at: u32, of: u32, from: u32| {
        let centre = (f64::from(at) + 0.5) * f64::from(from) / f64::from(of);
        (centre as u32).min(from - 1)
    };
    RgbImage::from_fn(width, height, |x, y| {
        let column = place(x, width, picture.width());
        *picture.get_pixel(column, place(y, height, picture.height()))
    })
}

/// The middle of a picture in a frame; where it is smaller, the frame is black.
fn cut(picture: &RgbImage, (width, height): (u32, u32)) -> RgbImage {
    let shift = |frame: u32, side: u32| i64::from(frame / 2) - i64::from(side / 2);
    let left = shift(width, picture.width());
    let top = shift(height, picture.height());
    let mut framed = RgbImage::new(width, height);
    for (x, y, pixel) in framed.enumerate_pixels_mut() {
        let (column, row) = (i64::from(x) - left, i64::from(y) - top);
        let inside = (0..i64::from(picture.width())).contains(&column)
            && (0..i64::from(picture.height())).contains(&row);
        if inside {
            *pixel = *picture.get_pixel(column as u32, row as u32);
        }
    }
    framed
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        domain::Tags,
        job::{CancelToken, FinishToken},
        pipeline::EchoEngine,
    };

    /// Black on the left, white on the right.
    fn halves(width: u32, height: u32) -> String {
        let picture = RgbImage::from_fn(width, height, |x, _| {
            [if x < width / 2 { 0 } else { 255 }; 3].into()
        });
        let text = TextItem {
            key: String::from("parameters"),
            text: String::from("a cat"),
        };
        BASE64_STANDARD.encode(write_png(&picture, &[text]).unwrap())
    }

    fn run(task: &str, payload: &Value) -> (Answer, Value) {
        let data = json!({"task": task, "options": {}, "payload": payload}).to_string();
        let input = JobInput {
            data: data.into(),
            tags: Tags::default(),
        };
        let context = JobContext {
            cancel: CancelToken::default(),
            finish: FinishToken::default(),
            deadline: Instant::now() + Duration::from_secs(60),
            progress: Arc::new(()),
            device: String::from("cpu"),
        };
        let others = Box::new(EchoEngine::new(Duration::ZERO));
        let answer = ExtrasEngine::before(others).run(&input, &context);
        let body = serde_json::from_slice(&answer.body).unwrap();
        (answer, body)
    }

    fn picture(value: &Value) -> (RgbImage, Vec<TextItem>) {
        let file = BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap();
        (
            decode(&file, &Limits::default()).unwrap(),
            read_texts(&file),
        )
    }

    #[test]
    fn a_factor_gives_sides_of_multiples_of_eight_and_keeps_the_texts() {
        for upscaler in ["Lanczos", "Nearest"] {
            let payload = json!({"image": halves(20, 10), "upscaler_1": upscaler});
            let (answer, body) = run(SINGLE, &payload);
            assert_eq!(answer.status, 200, "{body}");
            let (result, texts) = picture(&body["image"]);
            assert_eq!(result.dimensions(), (40, 16));
            assert_eq!(result.get_pixel(0, 0).0, [0; 3]);
            assert_eq!(result.get_pixel(39, 15).0, [255; 3]);
            assert_eq!((&*texts[0].key, &*texts[0].text), ("parameters", "a cat"));
            assert!(texts[1].text.ends_with(upscaler), "{texts:?}");
        }
    }

    #[test]
    fn a_frame_is_filled_and_what_is_beyond_is_cut_at_both_sides() {
        let payload = json!({
            "image": format!("data:image/png;base64,{}", halves(32, 16)), "upscaler_1": "Nearest",
            "resize_mode": 1, "upscaling_resize_w": 32, "upscaling_resize_h": 32
        });
        let (_, body) = run(SINGLE, &payload);
        let (result, _) = picture(&body["image"]);
        assert_eq!(result.dimensions(), (32, 32));
        for (x, sample) in [(0, 0), (15, 0), (16, 255), (31, 255)] {
            assert_eq!(result.get_pixel(x, 5).0, [sample; 3], "{x}");
        }
    }

    #[test]
    fn without_an_upscaler_pictures_stay_as_they_are() {
        let list = [20, 24].map(|side| json!({"data": halves(side, side), "name": "x"}));
        let (_, body) = run(BATCH, &json!({"imageList": list, "upscaler_1": "None"}));
        let sizes: Vec<_> = body["images"]
            .as_array()
            .unwrap()
            .iter()
            .map(picture)
            .collect();
        assert_eq!(sizes[0].0.dimensions(), (20, 20));
        assert_eq!(sizes[1].0.dimensions(), (24, 24));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_its_name() {
        let image = halves(16, 16);
        for (payload, problem) in [
            (
                json!({"image": image, "upscaler_1": "R-ESRGAN 4x+"}),
                "INVALID_PARAMETER",
            ),
            (
                json!({"image": image, "gfpgan_visibility": 0.5}),
                "INVALID_PARAMETER",
            ),
            (
                json!({"image": image, "resize_mode": 2}),
                "INVALID_PARAMETER",
            ),
            (
                json!({"image": image, "upscaling_resize": "x"}),
                "INVALID_PARAMETER",
            ),
            (
                json!({"image": image, "upscaler_1": "Lanczos", "upscaling_resize": 1e9}),
                "INVALID_PARAMETER",
            ),
            (
                json!({"image": image, "upscaler_1": "Lanczos", "upscaling_resize": 0.01}),
                "INVALID_PARAMETER",
            ),
            (
                json!({"image": "http://127.0.0.1/a.png"}),
                "IMAGE_DECODE_FAILED",
            ),
            (json!({}), "IMAGE_DECODE_FAILED"),
        ] {
            let (answer, body) = run(SINGLE, &payload);
            assert_eq!(body["code"], problem, "{body}");
            assert_eq!(answer.status, 400);
        }
    }

    #[test]
    fn other_tasks_are_left_to_the_other_engine() {
        let (answer, body) = run("txt2img", &json!({}));
        assert_eq!((answer.status, &body["task"]), (200, &json!("txt2img")));
    }
}
