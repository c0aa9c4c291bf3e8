//! Good photos made bad, each in a way of its own, as photos of real people are.

use crate::imaging::{Kernel, RgbImage, resize};

use super::canvas::paste;

/// Side that is too small for training, where more than 512 pixels are needed.
const SMALL_SIDE: u32 = 400;
/// Times by which a photo shrinks and grows again to be blurred. It takes more to hide a face from the
/// detector, and less does not count as blurred, in a photo whose face is 230 pixels high.
const BLUR: u32 = 9;
/// Share of the light that is left in the dark.
const LIGHT: f32 = 0.1;
/// Times by which somebody far away is smaller.
const DISTANCE: u32 = 6;

/// With too few pixels.
pub(super) fn small(photo: &RgbImage) -> RgbImage {
    resize(photo, SMALL_SIDE, SMALL_SIDE, Kernel::Triangle)
}

/// Out of focus.
pub(super) fn blurred(photo: &RgbImage) -> RgbImage {
    let (width, height) = photo.dimensions();
    let few = resize(
        photo,
        (width / BLUR).max(1),
        (height / BLUR).max(1),
        Kernel::Triangle,
    );
    resize(&few, width, height, Kernel::Cubic)
}

/// With hardly any light.
pub(super) fn dark(photo: &RgbImage) -> RgbImage {
    let mut dark = photo.clone();
    for sample in dark.iter_mut() {
        *sample = (f32::from(*sample) * LIGHT).round() as u8;
    }
    dark
}

/// With somebody else beside.
pub(super) fn together(one: &RgbImage, other: &RgbImage) -> RgbImage {
    let height = one.height().min(other.height());
    let mut both = RgbImage::new(one.width() + other.width(), height);
    paste(&mut both, one, (0, 0));
    paste(&mut both, other, (one.width(), 0));
    both
}

/// Seen from afar, in a scene.
pub(super) fn far(photo: &RgbImage, scene: &RgbImage) -> RgbImage {
    let (width, height) = (
        (photo.width() / DISTANCE).max(1),
        (photo.height() / DISTANCE).max(1),
    );
    let mut whole = scene.clone();
    let small = resize(photo, width, height, Kernel::Triangle);
    let left = whole.width().saturating_sub(width) / 2;
    let top = whole.height().saturating_sub(height) / 2;
    paste(&mut whole, &small, (left, top));
    whole
}

/// A file that ends before its picture does.
pub(super) fn cut(file: &[u8]) -> Vec<u8> {
    file[..file.len() / 2].to_vec()
}
