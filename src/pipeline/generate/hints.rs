//! The pictures that guiding networks look at.
//!
//! A unit's module makes such a picture of an ordinary one, and it is then brought to the size of what is
//! painted. Modules that need a network of their own are not built: their pictures have to be sent ready,
//! with the module `none`.

use crate::imaging::{Kernel, RgbImage, canny, fit, resize};

/// Shorter side at which modules look at a picture, in pixels, where a unit does not say.
const RESOLUTION: u32 = 512;
/// What that side may be.
const RESOLUTIONS: std::ops::RangeInclusive<i64> = 64..=2048;
/// Bounds of slopes for edges, where a unit does not say.
const CANNY_THRESHOLDS: [f64; 2] = [100.0, 200.0];
/// What they may be.
const CANNY_RANGE: std::ops::RangeInclusive<f64> = 1.0..=255.0;
/// By how much the module for tiles may shrink a picture.
const TILE_RANGE: std::ops::RangeInclusive<f64> = 1.0..=8.0;
/// Pixels of a square of one colour.
const COLOUR_SQUARE: u32 = 64;

/// What makes a picture for a guiding network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// Nothing: the picture is sent as it is to be looked at.
    None,
    /// Its edges, white on black.
    Canny,
    /// The picture, coarser if that is asked for.
    Tile,
    /// The same; the correction of colours that goes with it is not built.
    TileColourFix,
    /// Squares of one colour.
    Colour,
    /// White for black.
    Invert,
}

impl Module {
    /// By the name that the web UI's extension has for it; why not otherwise.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let name = name.trim().to_ascii_lowercase();
        Ok(match name.as_str() {
            "" | "none" => Self::None,
            "canny" => Self::Canny,
            "tile" | "tile_resample" => Self::Tile,
            "tile_colorfix" | "tile_colorfix+sharp" => Self::TileColourFix,
            "color" | "t2ia_color_grid" => Self::Colour,
            "invert" | "invert (from white bg & black line)" => Self::Invert,
            _ => {
                let short: String = name.chars().take(60).collect();
                return Err(format!(
                    "asks for \"{short}\", which is not built; send its picture ready with the module \
                     \"none\", or use canny, tile_resample, color or invert"
                ));
            }
        })
    }
}

/// How a guiding picture is brought to the size of what is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResizeMode {
    /// It is stretched.
    Just,
    /// It covers everything, and what stands over is cut off.
    Crop,
    /// All of it is inside, on the colour of its border.
    Fill,
}

impl ResizeMode {
    /// By the names that the web UI's extension has had for it.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.trim() {
            "Just Resize" => Some(Self::Just),
            "Crop and Resize" | "Scale to Fit (Inner Fit)" | "Inner Fit (Scale to Fit)" => {
                Some(Self::Crop)
            }
            "Resize and Fill" | "Envelope (Outer Fit)" | "Outer Fit (Shrink to Fit)" => {
                Some(Self::Fill)
            }
            _ => None,
        }
    }
}

/// What is done to a unit's picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preparation {
    /// The module.
    pub module: Module,
    /// The shorter side at which it looks at the picture; what is out of range means the default.
    pub resolution: i64,
    /// Its two numbers; what is out of range means the default.
    pub thresholds: [f64; 2],
    /// How the result is brought to size.
    pub resize: ResizeMode,
    /// Whether the module looks at the picture in the size that it ends with.
    pub is_pixel_perfect: bool,
}

/// The picture that a network looks at, of this size.
pub fn hint(picture: &RgbImage, preparation: &Preparation, width: u32, height: u32) -> RgbImage {
    let at = resolution(picture, preparation, width, height);
    let bounded = |number: usize, range: std::ops::RangeInclusive<f64>, default: f64| {
        let given = preparation.thresholds[number];
        if range.contains(&given) {
            given
        } else {
            default
        }
    };
    let made = match preparation.module {
        Module::None | Module::TileColourFix => None,
        Module::Invert => Some(inverted(picture)),
        Module::Canny => {
            let [low, high] =
                [0, 1].map(|number| bounded(number, CANNY_RANGE, CANNY_THRESHOLDS[number]));
            let edges = canny::canny(&short_side(picture, at), low, high);
            Some(RgbImage::from_fn(edges.width(), edges.height(), |x, y| {
                [edges.get_pixel(x, y).0[0]; 3].into()
            }))
        }
        Module::Tile => {
            let rate = bounded(0, TILE_RANGE, 1.0);
            let side = |side: u32| (f64::from(side) / rate) as u32;
            let (width, height) = (side(picture.width()), side(picture.height()));
            (rate > 1.0).then(|| resize(picture, width, height, Kernel::Box))
        }
        Module::Colour => Some(squares(&short_side(picture, at), COLOUR_SQUARE)),
    };
    bring(
        made.as_ref().unwrap_or(picture),
        preparation.resize,
        width,
        height,
    )
}

/// The picture as squares of one colour: scaled to this shorter side, shrunk by the factor, grown again
/// without mixing, and brought back to its size.
pub fn mosaic(picture: &RgbImage, shorter_side: u32, factor: u32) -> RgbImage {
    let coarse = squares(&short_side(picture, shorter_side), factor);
    resize(&coarse, picture.width(), picture.height(), Kernel::Cubic)
}

/// Squares of about this many pixels a side, each with its mean colour.
fn squares(picture: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = picture.dimensions();
    let side = side.max(1);
    let few = resize(picture, width / side, height / side, Kernel::Cubic);
    nearest(&few, width, height)
}

/// The picture in another size, each pixel the one whose place it takes.
pub(super) fn nearest(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    let place = |at: u32, of: u32, from: u32| {
        (u64::from(at) * u64::from(from) / u64::from(of.max(1))).min(u64::from(from - 1)) as u32
    };
    if picture.is_empty() {
        return RgbImage::new(width, height);
    }
    RgbImage::from_fn(width, height, |x, y| {
        let x = place(x, width, picture.width());
        *picture.get_pixel(x, place(y, height, picture.height()))
    })
}

/// The shorter side at which a module looks at a picture.
fn resolution(picture: &RgbImage, preparation: &Preparation, width: u32, height: u32) -> u32 {
    if preparation.is_pixel_perfect && !picture.is_empty() {
        let scale = |to: u32, from: u32| f64::from(to) / f64::from(from);
        let (x, y) = (
            scale(width, picture.width()),
            scale(height, picture.height()),
        );
        let scale = match preparation.resize {
            ResizeMode::Fill => x.min(y),
            ResizeMode::Just | ResizeMode::Crop => x.max(y),
        };
        let shorter = f64::from(picture.width().min(picture.height()));
        return (scale * shorter).round().clamp(1.0, 4096.0) as u32;
    }
    if RESOLUTIONS.contains(&preparation.resolution) {
        preparation.resolution as u32
    } else {
        RESOLUTION
    }
}

/// The picture with this shorter side. The longer one is bounded, whatever the shape.
fn short_side(picture: &RgbImage, side: u32) -> RgbImage {
    const LONGER_MAX: f64 = 16_384.0;
    let shorter = f64::from(picture.width().min(picture.height()).max(1));
    let scale = f64::from(side) / shorter;
    let scaled = |side: u32| (f64::from(side) * scale).round().clamp(1.0, LONGER_MAX) as u32;
    let kernel = if scale > 1.0 {
        Kernel::Cubic
    } else {
        Kernel::Box
    };
    resize(
        picture,
        scaled(picture.width()),
        scaled(picture.height()),
        kernel,
    )
}

fn inverted(picture: &RgbImage) -> RgbImage {
    let mut inverted = picture.clone();
    inverted.iter_mut().for_each(|value| *value = 255 - *value);
    inverted
}

fn bring(picture: &RgbImage, mode: ResizeMode, width: u32, height: u32) -> RgbImage {
    if picture.dimensions() == (width, height) || picture.is_empty() {
        return fit::fit(picture, width, height, fit::Fit::Stretch);
    }
    match mode {
        ResizeMode::Just => fit::fit(picture, width, height, fit::Fit::Stretch),
        ResizeMode::Crop => fit::fit(picture, width, height, fit::Fit::Cut),
        ResizeMode::Fill => on_border_colour(picture, width, height),
    }
}

/// The whole picture inside of a frame that has the median colour of its border.
fn on_border_colour(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    let scale = |to: u32, from: u32| f64::from(to) / f64::from(from);
    let scale = scale(width, picture.width()).min(scale(height, picture.height()));
    let side = |side: u32, most: u32| ((f64::from(side) * scale).round() as u32).clamp(1, most);
    let (inner_width, inner_height) =
        (side(picture.width(), width), side(picture.height(), height));
    let inner = resize(picture, inner_width, inner_height, Kernel::Lanczos);
    let colour = border_colour(picture);
    let (left, top) = ((width - inner_width) / 2, (height - inner_height) / 2);
    RgbImage::from_fn(width, height, |x, y| {
        let place = (x.checked_sub(left), y.checked_sub(top));
        match place {
            (Some(x), Some(y)) if x < inner_width && y < inner_height => *inner.get_pixel(x, y),
            _ => colour.into(),
        }
    })
}

fn border_colour(picture: &RgbImage) -> [u8; 3] {
    let (width, height) = picture.dimensions();
    let rows = (0..width).flat_map(|x| [(x, 0), (x, height - 1)]);
    let columns = (0..height).flat_map(|y| [(0, y), (width - 1, y)]);
    let border: Vec<[u8; 3]> = rows
        .chain(columns)
        .map(|(x, y)| picture.get_pixel(x, y).0)
        .collect();
    std::array::from_fn(|channel| {
        let mut values: Vec<u8> = border.iter().map(|colour| colour[channel]).collect();
        let middle = values.len() / 2;
        *values.select_nth_unstable(middle).1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(module: Module) -> Preparation {
        Preparation {
            module,
            resolution: -1,
            thresholds: [-1.0; 2],
            resize: ResizeMode::Crop,
            is_pixel_perfect: false,
        }
    }

    /// White to the left and black to the right.
    fn halves(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, _| {
            [if x < width / 2 { 255 } else { 0 }; 3].into()
        })
    }

    #[test]
    fn every_hint_has_the_size_that_was_asked_for() {
        for module in [
            "none",
            "canny",
            "tile_resample",
            "tile_colorfix",
            "color",
            "invert",
        ] {
            for resize in [ResizeMode::Just, ResizeMode::Crop, ResizeMode::Fill] {
                for is_pixel_perfect in [false, true] {
                    let preparation = Preparation {
                        resize,
                        is_pixel_perfect,
                        ..plain(Module::parse(module).unwrap())
                    };
                    let made = hint(&halves(90, 40), &preparation, 64, 128);
                    assert_eq!(made.dimensions(), (64, 128), "{module}");
                }
            }
        }
    }

    #[test]
    fn edges_are_found_where_they_are() {
        let preparation = Preparation {
            is_pixel_perfect: true,
            ..plain(Module::Canny)
        };
        let made = hint(&halves(128, 128), &preparation, 128, 128);
        let whites: Vec<u32> = (0..128)
            .filter(|x| made.get_pixel(*x, 64).0[0] == 255)
            .collect();
        assert_eq!(whites.len(), 1);
        assert!((63..=64).contains(&whites[0]));
    }

    #[test]
    fn numbers_out_of_range_mean_the_default() {
        // By 64 a tile of this size would be one colour.
        let coarse = Preparation {
            thresholds: [64.0, 64.0],
            ..plain(Module::Tile)
        };
        assert_eq!(hint(&halves(64, 64), &coarse, 64, 64), halves(64, 64));
        let coarse = Preparation {
            thresholds: [8.0, 64.0],
            ..plain(Module::Tile)
        };
        assert_ne!(hint(&halves(64, 64), &coarse, 64, 64), halves(64, 64));
    }

    #[test]
    fn a_picture_is_put_on_the_colour_of_its_border() {
        let mut picture = RgbImage::from_pixel(20, 20, [10, 20, 30].into());
        picture.put_pixel(10, 10, [255; 3].into());
        let preparation = Preparation {
            resize: ResizeMode::Fill,
            ..plain(Module::None)
        };
        let made = hint(&picture, &preparation, 60, 20);
        assert_eq!(made.get_pixel(0, 0).0, [10, 20, 30]);
        assert_eq!(made.get_pixel(59, 19).0, [10, 20, 30]);
        let whites = made
            .enumerate_pixels()
            .filter(|(_, _, pixel)| pixel.0 == [255; 3]);
        assert_eq!(
            whites.map(|(x, y, _)| (x, y)).collect::<Vec<_>>(),
            [(30, 10)]
        );
    }

    #[test]
    fn a_mosaic_has_few_colours_and_the_pictures_size() {
        let picture = RgbImage::from_fn(96, 48, |x, y| [x as u8 * 2, y as u8 * 4, 7].into());
        let made = squares(&picture, 24);
        let colours: std::collections::HashSet<_> = made.pixels().map(|pixel| pixel.0).collect();
        assert_eq!(colours.len(), 8);
        assert_eq!(mosaic(&picture, 1024, 24).dimensions(), (96, 48));
    }

    #[test]
    fn what_needs_a_network_is_refused_by_name() {
        let refused = Module::parse("openpose_full").unwrap_err();
        assert!(refused.contains("openpose_full") && refused.contains("none"));
    }
}
