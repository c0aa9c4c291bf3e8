//! The pictures and masks that `tests/reference/imaging_masks.py` made with OpenCV and Pillow.

use std::{collections::BTreeSet, sync::LazyLock};

use image::{GrayImage, ImageBuffer, Pixel, RgbImage};
use safetensors::SafeTensors;

static FILE: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/reference/fixtures/imaging_masks.safetensors"
));
static TENSORS: LazyLock<SafeTensors<'static>> =
    LazyLock::new(|| SafeTensors::deserialize(FILE).unwrap());

/// The picture of this name.
pub(crate) fn picture(name: &str) -> RgbImage {
    let tensor = TENSORS.tensor(name).unwrap();
    let &[height, width, 3] = tensor.shape() else {
        panic!("{name} is no picture");
    };
    RgbImage::from_raw(width as u32, height as u32, tensor.data().to_vec()).unwrap()
}

/// The mask of this name.
pub(crate) fn mask(name: &str) -> GrayImage {
    let tensor = TENSORS.tensor(name).unwrap();
    let &[height, width] = tensor.shape() else {
        panic!("{name} is no mask");
    };
    GrayImage::from_raw(width as u32, height as u32, tensor.data().to_vec()).unwrap()
}

/// The bytes of the file of this name.
pub(crate) fn file(name: &str) -> &'static [u8] {
    TENSORS.tensor(name).unwrap().data()
}

/// The texts that were written into the files.
pub(crate) fn texts() -> Vec<(String, String)> {
    let (_, metadata) = SafeTensors::read_metadata(FILE).unwrap();
    let texts = &metadata.metadata().as_ref().unwrap()["texts"];
    let texts: serde_json::Map<_, _> = serde_json::from_str(texts).unwrap();
    let text = |value: serde_json::Value| value.as_str().unwrap().to_owned();
    texts
        .into_iter()
        .map(|(key, value)| (key, text(value)))
        .collect()
}

/// What was done and with which numbers: the two parts behind the name of a folder of cases.
pub(crate) fn cases(folder: &str) -> BTreeSet<[String; 2]> {
    TENSORS
        .names()
        .into_iter()
        .filter_map(|name| {
            name.strip_prefix(folder)?
                .strip_prefix('/')?
                .split_once('/')
        })
        .map(|(name, numbers)| [name.to_owned(), numbers.to_owned()])
        .collect()
}

/// The numbers of a case.
pub(crate) fn numbers(text: &str) -> Vec<f64> {
    text.split(['_', 'x'])
        .map(|number| number.parse().unwrap())
        .collect()
}

/// The width and height that end the numbers of a case.
pub(crate) fn size(text: &str) -> (u32, u32) {
    let [.., width, height] = numbers(text)[..] else {
        panic!("{text} has no size");
    };
    (width as u32, height as u32)
}

/// Fails if two pictures differ, with how much they do instead of all their samples.
pub(crate) fn assert_equal<P: Pixel<Subpixel = u8>>(
    made: &ImageBuffer<P, Vec<u8>>,
    expected: &ImageBuffer<P, Vec<u8>>,
    case: &str,
) {
    assert_eq!(made.dimensions(), expected.dimensions(), "{case}");
    let pairs = made.as_raw().iter().zip(expected.as_raw());
    let wrong: Vec<u8> = pairs
        .map(|(a, b)| a.abs_diff(*b))
        .filter(|difference| *difference > 0)
        .collect();
    let largest = wrong.iter().max();
    assert!(
        wrong.is_empty(),
        "{case}: {} samples differ, by up to {largest:?}",
        wrong.len()
    );
}
