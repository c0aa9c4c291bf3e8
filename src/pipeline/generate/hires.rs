//! The fix for high resolutions: a small picture is made, enlarged, and made once more from there.

use super::{
    artist::{Latents, Painter},
    error::GenerateError,
    hints::nearest,
    latents::{Interpolation, crop, resample},
    progress::Steps,
    request::{Common, Fields, PIXELS, SIDES, STEPS_MAX, prompt},
};
use crate::{
    imaging::{Kernel, RgbImage, resize},
    models::sampling::{Method, Spacing},
};

/// Longest side of the enlarged picture, in pixels.
const SIDE_MAX: u32 = 4096;
/// What stands in requests for "as in the first pass".
const SAME: [&str; 4] = [
    "use same sampler",
    "use same scheduler",
    "use same checkpoint",
    "none",
];

/// How a picture is enlarged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upscaler {
    /// As latent picture.
    Latent(Interpolation),
    /// As picture, with the Lanczos kernel.
    Lanczos,
    /// As picture, without mixing colours.
    Nearest,
}

/// The names of the web UI for [`Upscaler`].
pub const UPSCALERS: [(&str, Upscaler); 9] = [
    ("Latent", Upscaler::Latent(Interpolation::Linear)),
    (
        "Latent (antialiased)",
        Upscaler::Latent(Interpolation::LinearSmooth),
    ),
    ("Latent (bicubic)", Upscaler::Latent(Interpolation::Cubic)),
    (
        "Latent (bicubic antialiased)",
        Upscaler::Latent(Interpolation::CubicSmooth),
    ),
    ("Latent (nearest)", Upscaler::Latent(Interpolation::Nearest)),
    (
        "Latent (nearest-exact)",
        Upscaler::Latent(Interpolation::NearestExact),
    ),
    ("None", Upscaler::Lanczos),
    ("Lanczos", Upscaler::Lanczos),
    ("Nearest", Upscaler::Nearest),
];

/// The second pass, as a request asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct HiresRequest {
    /// How the picture is enlarged.
    pub upscaler: Upscaler,
    /// The name that the request has for that.
    pub upscaler_name: String,
    /// By how much, where no size is given.
    pub scale: f64,
    /// Width and height that are asked for; 0 is none.
    pub resize: [u32; 2],
    /// Steps of the second pass.
    pub steps: usize,
    /// Whether the request says how many.
    pub has_own_steps: bool,
    /// Another sampler.
    pub method: Method,
    /// Other levels of noise.
    pub spacing: Spacing,
    /// Another prompt.
    pub prompt: Option<String>,
    /// Another negative prompt.
    pub negative_prompt: Option<String>,
    /// The enlarged picture.
    pub target: Target,
}

/// Sizes of the enlarged picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Latent columns and rows to which it is enlarged.
    pub enlarged: [usize; 2],
    /// Latent columns and rows that are cut off again, half of them at each end.
    pub cut: [usize; 2],
}

impl Target {
    /// Width and height in pixels of what comes out.
    pub fn pixels(self) -> (u32, u32) {
        let side = |axis: usize| (self.enlarged[axis] - self.cut[axis]) as u32 * PIXELS;
        (side(0), side(1))
    }
}

impl HiresRequest {
    /// Reads the members of a request. A size of the first pass takes the place of the request's.
    pub(super) fn read(fields: Fields<'_>, common: &mut Common) -> Result<Self, GenerateError> {
        let other = |name: &str| {
            let text = fields.text(name)?.trim();
            let is_same = text.is_empty() || SAME.contains(&text.to_ascii_lowercase().as_str());
            Ok::<_, GenerateError>(Some(text).filter(|_| !is_same))
        };
        if other("hr_checkpoint_name")?.is_some() {
            let reason = "asks for a second model, which is not built; leave it out";
            return Err(fields.refuse("hr_checkpoint_name", reason));
        }
        let (upscaler, upscaler_name) = upscaler(fields)?;
        let (method, spacing) = match (other("hr_sampler_name")?, other("hr_scheduler")?) {
            (None, None) => (common.method, common.spacing),
            (None, Some(spacing)) => (common.method, Spacing::parse(spacing)?),
            (Some(method), None) => {
                let (method, spacing) = Method::parse(method, "")?;
                let is_same = spacing == Spacing::Automatic;
                (method, if is_same { common.spacing } else { spacing })
            }
            (Some(method), Some(spacing)) => Method::parse(method, spacing)?,
        };
        let steps = fields.count("hr_second_pass_steps", 0..=STEPS_MAX)?;
        let mut resize = [
            fields.count("hr_resize_x", 0..=SIDE_MAX)? as u32,
            fields.count("hr_resize_y", 0..=SIDE_MAX)? as u32,
        ];
        let first = [
            fields.count("firstphase_width", 0..=*SIDES.end())? as u32,
            fields.count("firstphase_height", 0..=*SIDES.end())? as u32,
        ];
        if first.iter().all(|side| *side >= *SIDES.start()) {
            if resize == [0; 2] {
                resize = [common.width, common.height];
            }
            [common.width, common.height] = first.map(|side| side / PIXELS * PIXELS);
        }
        let scale = fields.number("hr_scale", 1.0..=8.0)?;
        let own = |name: &'static str| {
            prompt(fields, name).map(|text| Some(text).filter(|text| !text.is_empty()))
        };
        Ok(Self {
            upscaler,
            upscaler_name,
            scale,
            resize,
            steps: if steps == 0 { common.steps } else { steps },
            has_own_steps: steps != 0,
            method,
            spacing,
            prompt: own("hr_prompt")?,
            negative_prompt: own("hr_negative_prompt")?,
            target: target([common.width, common.height], scale, resize)?,
        })
    }
}

fn upscaler(fields: Fields<'_>) -> Result<(Upscaler, String), GenerateError> {
    let name = match fields.text("hr_upscaler")?.trim() {
        "" => "Latent",
        name => name,
    };
    let mut known = UPSCALERS.into_iter();
    let found = known.find(|(known, _)| known.eq_ignore_ascii_case(name));
    let (name, upscaler) = found.ok_or_else(|| {
        let names = UPSCALERS.map(|(name, _)| name).join(", ");
        let reason = format!("names an upscaler that is not there; there are {names}");
        fields.refuse("hr_upscaler", reason)
    })?;
    Ok((upscaler, name.to_owned()))
}

/// The sizes of the web UI: the shape stays, and what stands over the asked size is cut off.
fn target(from: [u32; 2], scale: f64, resize: [u32; 2]) -> Result<Target, GenerateError> {
    let [width, height] = from.map(u64::from);
    let scaled = |side: u32| (f64::from(side) * scale) as u64;
    let tall = |x: u64| [x, x * height / width];
    let wide = |y: u64| [y * width / height, y];
    let asked = resize.map(u64::from);
    let enlarged = match asked {
        [0, 0] => from.map(scaled),
        [x, 0] => tall(x),
        [0, y] => wide(y),
        [x, y] if width * y < height * x => tall(x),
        [_, y] => wide(y),
    };
    let pixels = u64::from(PIXELS);
    let is_cut = !asked.contains(&0);
    let over = |axis: usize| (enlarged[axis].saturating_sub(asked[axis]) / pixels) as usize;
    let cut = [0, 1].map(|axis| if is_cut { over(axis) } else { 0 });
    let target = Target {
        enlarged: enlarged.map(|side| (side / pixels) as usize),
        cut,
    };
    let is_usable = |axis: usize| {
        let left = (target.enlarged[axis] - cut[axis]) as u64 * pixels;
        left >= u64::from(*SIDES.start()) && enlarged[axis] <= u64::from(SIDE_MAX)
    };
    if !is_usable(0) || !is_usable(1) {
        let [x, y] = enlarged;
        let reason = format!(
            "or the size of the second pass leads to a picture of {x} x {y} pixels, of which {} are \
             cut off; sides have to be from {} to {SIDE_MAX}",
            cut.map(|cut| (cut as u64 * pixels).to_string()).join(" x "),
            SIDES.start()
        );
        return Err(GenerateError::field("hr_scale", reason));
    }
    Ok(target)
}

/// The latent pictures that the second pass starts from.
pub(super) fn enlarge<P: Painter>(
    painter: &P,
    small: &Latents,
    request: &HiresRequest,
    steps: &mut Steps<'_>,
) -> Result<Latents, GenerateError> {
    let [columns, rows] = request.target.enlarged;
    let enlarged = match request.upscaler {
        Upscaler::Latent(how) => resample(small, rows, columns, how),
        Upscaler::Lanczos | Upscaler::Nearest => {
            let (width, height) = (columns as u32 * PIXELS, rows as u32 * PIXELS);
            let pictures = painter.decode(small, steps)?;
            let larger: Vec<RgbImage> = pictures
                .iter()
                .map(|picture| match request.upscaler {
                    Upscaler::Nearest => nearest(picture, width, height),
                    _ => resize(picture, width, height, Kernel::Lanczos),
                })
                .collect();
            painter.encode(&larger, None, steps)?
        }
    };
    let ends = |cut: usize| [cut / 2, cut.div_ceil(2)];
    let [columns, rows] = request.target.cut.map(ends);
    Ok(crop(&enlarged, rows, columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_web_ui() {
        let cases = [
            ([512, 512], 2.0, [0, 0], [128, 128], [0, 0]),
            ([512, 768], 1.5, [0, 0], [96, 144], [0, 0]),
            ([520, 512], 1.3, [0, 0], [84, 83], [0, 0]),
            ([512, 768], 2.0, [1024, 0], [128, 192], [0, 0]),
            ([512, 768], 2.0, [0, 1024], [85, 128], [0, 0]),
            ([512, 512], 2.0, [1024, 768], [128, 128], [0, 32]),
            ([512, 512], 2.0, [768, 1024], [128, 128], [32, 0]),
        ];
        for (from, scale, asked, enlarged, cut) in cases {
            assert_eq!(
                target(from, scale, asked).unwrap(),
                Target { enlarged, cut }
            );
        }
        let pixels = target([512, 512], 2.0, [1024, 768]).unwrap().pixels();
        assert_eq!(pixels, (1024, 768));
        assert!(target([2048, 2048], 4.0, [0, 0]).is_err());
        assert!(target([512, 2048], 2.0, [4096, 0]).is_err());
        // What is left after the cut counts too.
        assert!(target([512, 512], 2.0, [8, 1024]).is_err());
    }
}
