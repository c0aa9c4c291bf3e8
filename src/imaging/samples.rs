//! Small pictures for tests, made on the spot.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

/// A picture whose four corners have four colours, so that every turn of it looks different.
pub(crate) fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        match (x * 2 < width, y * 2 < height) {
            (true, true) => Rgb([200, 40, 40]),
            (false, true) => Rgb([40, 200, 40]),
            (true, false) => Rgb([40, 40, 200]),
            (false, false) => Rgb([200, 200, 40]),
        }
    })
}

/// The file of a picture.
pub(crate) fn encode(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.into().write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// A JPEG of this size.
pub(crate) fn jpeg(width: u32, height: u32) -> Vec<u8> {
    encode(picture(width, height), ImageFormat::Jpeg)
}

/// A PNG of this size.
pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    encode(picture(width, height), ImageFormat::Png)
}

/// A TIFF block whose only tag is the orientation.
pub(crate) fn exif(orientation: u8) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    block.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    block
}

/// A JPEG with one more segment behind its first two bytes.
pub(crate) fn jpeg_with_segment(jpeg: &[u8], marker: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, marker], &length, body, &jpeg[2..]].concat()
}

/// Where the chunk that follows the header of a PNG begins.
const PNG_AFTER_HEADER: usize = 33;

/// A PNG with one more chunk behind its header.
pub(crate) fn png_with_chunk(png: &[u8], name: [u8; 4], body: &[u8]) -> Vec<u8> {
    let (header, rest) = png.split_at(PNG_AFTER_HEADER);
    [header, &png_chunk(name, body), rest].concat()
}

/// A PNG whose header claims another size.
pub(crate) fn png_claiming(png: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut header = png[16..29].to_vec();
    header[..4].copy_from_slice(&width.to_be_bytes());
    header[4..8].copy_from_slice(&height.to_be_bytes());
    let header = png_chunk(*b"IHDR", &header);
    [&png[..8], &header, &png[PNG_AFTER_HEADER..]].concat()
}

/// One chunk of a PNG with its check sum.
pub(crate) fn png_chunk(name: [u8; 4], body: &[u8]) -> Vec<u8> {
    let checked = [&name, body].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&length[..], &checked, &crc32(&checked).to_be_bytes()].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

/// The folder with shared test photos, or `None` with a printed line when it is not there.
pub(crate) fn shared_photos(test: &str) -> Option<std::path::PathBuf> {
    let data = std::env::var_os("PHOTOG_TEST_DATA").unwrap_or_else(|| "../shared/data".into());
    let photos = std::path::Path::new(&data).join("images");
    if photos.is_dir() {
        return Some(photos);
    }
    println!("skipped {test}: no folder {}", photos.display());
    None
}
