//! Colours as lightness and two axes from green to red and from blue to yellow, in 8 bits.
//!
//! This is CIE L*a*b* of sRGB under D65 as OpenCV stores it (`portrait-pipeline` section 3.6): lightness
//! times 255 / 100, and both axes plus 128, each rounded to a level. The way there is OpenCV's fixed-point
//! arithmetic, so that statistics are its own; the way back is computed from the definition.

use std::sync::LazyLock;

/// Steps of linear light from black to white.
const LIGHT_STEPS: usize = 8 * 255;
/// Bits behind the point of a share of linear light.
const SHARE_BITS: u32 = 12;
/// Bits behind the point of a cube root.
const ROOT_BITS: u32 = 15;
/// Levels of lightness for a root of one, 116 * 255 / 100, rounded as OpenCV does.
const LIGHTNESS_SCALE: i32 = 296;
/// Levels that are taken off, 16 * 255 / 100, with the bits of a root.
const LIGHTNESS_SHIFT: i32 = (((16 * 255) << ROOT_BITS) + 50) / 100;
/// The level of both axes where there is no colour, with the bits of a root.
const NEUTRAL: i32 = 128 << ROOT_BITS;
/// Shares of red, green and blue in X, Y and Z, as parts of those of white: ITU-R BT.709 under D65. Each
/// row sums up to one.
const LIGHT_SHARES: [[u32; 3]; 3] = [[1777, 1541, 778], [871, 2929, 296], [73, 448, 3575]];
/// What X, Y and Z, as parts of those of white, give to red, green and blue.
const COLOR_SHARES: [[f32; 3]; 3] = [
    [3.079_933, -1.537_15, -0.542_782],
    [-0.921_235, 1.875_991, 0.045_244],
    [0.052_891, -0.204_043, 1.151_152],
];
/// Steps of linear light that become levels again.
const LEVEL_STEPS: usize = 4096;
/// Where the cube root is joined by its tangent.
const TANGENT_END: f64 = 216.0 / 24_389.0;
/// Slope of that tangent.
const TANGENT_SLOPE: f64 = 841.0 / 108.0;
/// Its height at zero.
const TANGENT_START: f64 = 16.0 / 116.0;

static TABLES: LazyLock<Tables> = LazyLock::new(Tables::new);

/// What depends on one number only.
struct Tables {
    /// Steps of linear light, by level of sRGB.
    light: [u32; 256],
    /// The root of each step of linear light.
    root: [i32; LIGHT_STEPS + 1],
    /// The root of Y, by level of lightness.
    root_of_lightness: [f32; 256],
    /// The level of sRGB of linear light.
    level: [u8; LEVEL_STEPS],
}

impl Tables {
    fn new() -> Self {
        let light = |level: f64| {
            if level <= 0.04045 {
                level / 12.92
            } else {
                ((level + 0.055) / 1.055).powf(2.4)
            }
        };
        let level = |light: f64| {
            if light <= 0.003_130_8 {
                light * 12.92
            } else {
                1.055 * light.powf(1.0 / 2.4) - 0.055
            }
        };
        let root = |light: f64| {
            if light <= TANGENT_END {
                light * TANGENT_SLOPE + TANGENT_START
            } else {
                light.cbrt()
            }
        };
        let light_steps = LIGHT_STEPS as f64;
        let one = f64::from(1 << ROOT_BITS);
        Self {
            light: std::array::from_fn(|at| {
                (light(at as f64 / 255.0) * light_steps).round() as u32
            }),
            root: std::array::from_fn(|at| (root(at as f64 / light_steps) * one).round() as i32),
            root_of_lightness: std::array::from_fn(|at| {
                ((at as f64 * 100.0 / 255.0 + 16.0) / 116.0) as f32
            }),
            level: std::array::from_fn(|at| {
                (level(at as f64 / LEVEL_STEPS as f64) * 255.0).round() as u8
            }),
        }
    }
}

/// Lightness and both axes of a colour of sRGB.
pub(super) fn from_rgb(color: [u8; 3]) -> [u8; 3] {
    let tables = &*TABLES;
    let light = color.map(|level| tables.light[usize::from(level)]);
    let [x, y, z] = LIGHT_SHARES.map(|shares| {
        let sum: u32 = light.iter().zip(shares).map(|(a, b)| a * b).sum();
        // Shares are one in all, so no mean is above white.
        tables.root[rounded(sum as i32, SHARE_BITS) as usize]
    });
    [
        LIGHTNESS_SCALE * y - LIGHTNESS_SHIFT,
        500 * (x - y) + NEUTRAL,
        200 * (y - z) + NEUTRAL,
    ]
    .map(|level| rounded(level, ROOT_BITS).clamp(0, 255) as u8)
}

/// The number without its lowest bits, halves upwards.
fn rounded(number: i32, bits: u32) -> i32 {
    (number + (1 << (bits - 1))) >> bits
}

/// The colour of sRGB with this lightness and these axes, or the end of the range where there is none.
pub(super) fn to_rgb([lightness, green_red, blue_yellow]: [u8; 3]) -> [u8; 3] {
    let tables = &*TABLES;
    let y = tables.root_of_lightness[usize::from(lightness)];
    let x = y + (f32::from(green_red) - 128.0) / 500.0;
    let z = y - (f32::from(blue_yellow) - 128.0) / 200.0;
    let light = [x, y, z].map(light_of_root);
    COLOR_SHARES.map(|shares| {
        let sum: f32 = light.iter().zip(shares).map(|(a, b)| a * b).sum();
        // A cast of a number below zero ends at zero.
        let step = (sum * LEVEL_STEPS as f32 + 0.5) as usize;
        tables.level[step.min(LEVEL_STEPS - 1)]
    })
}

fn light_of_root(root: f32) -> f32 {
    const END: f32 = 6.0 / 29.0;
    if root <= END {
        (root - TANGENT_START as f32) / TANGENT_SLOPE as f32
    } else {
        root * root * root
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::reference;

    /// How many samples are how far from those of the picture of this name.
    fn apart(made: impl Iterator<Item = [u8; 3]>, expected: &str) -> Vec<usize> {
        let expected = reference::picture(expected);
        let mut counts = vec![0; 256];
        for (made, expected) in made.zip(expected.pixels()) {
            for (a, b) in made.into_iter().zip(expected.0) {
                counts[usize::from(a.abs_diff(b))] += 1;
            }
        }
        assert_eq!(counts.iter().sum::<usize>(), 3 * COLORS.pow(3));
        counts
    }

    /// Levels of each channel in the picture of all colours.
    const COLORS: usize = 16;

    fn colors() -> impl Iterator<Item = [u8; 3]> {
        let level = |at: usize| (at % COLORS * 17) as u8;
        (0..COLORS.pow(3))
            .map(move |at| [level(at / COLORS / COLORS), level(at / COLORS), level(at)])
    }

    // Of all 16.8 million colours, one sample in 30,000 is a level off and none is more.
    #[test]
    fn colors_have_the_lightness_and_axes_that_opencv_gives_them() {
        let apart = apart(colors().map(from_rgb), "colors/lab");
        assert!(apart[0] >= 12_286, "{:?}", &apart[..4]);
        assert_eq!(apart[2..].iter().sum::<usize>(), 0);
    }

    // OpenCV goes back in fixed point. Of all 16.8 million combinations one sample in 43 is a level off, one
    // in 70,000 two, and four samples are three. Of those that colours of sRGB have, it is one in 18, one in
    // 10,000, and none.
    #[test]
    fn lightness_and_axes_have_the_colors_that_opencv_gives_them() {
        let apart = apart(colors().map(to_rgb), "colors/rgb");
        assert!(apart[0] > 11_900, "{:?}", &apart[..4]);
        assert_eq!(apart[3..].iter().sum::<usize>(), 0);
    }
}
