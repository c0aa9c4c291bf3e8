use std::{fs, path::Path};

use image::{GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgba, RgbaImage};
use proptest::{prelude::*, test_runner::RngSeed};

use super::{samples::*, *};

/// Seed of the random damage, so that every run damages the same places.
const SEED: u64 = 20_261_122;

fn read(bytes: &[u8]) -> Result<RgbImage, ImagingError> {
    decode(bytes, &Limits::default())
}

/// Mean difference of the values of two pictures.
fn mean_difference(one: &RgbImage, other: &RgbImage) -> f64 {
    assert_eq!(one.dimensions(), other.dimensions());
    let sum: u64 = one
        .iter()
        .zip(other.iter())
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    sum as f64 / one.len() as f64
}

#[test]
fn a_png_decodes_to_its_exact_pixels() {
    assert_eq!(read(&png(31, 17)).unwrap(), picture(31, 17));
}

#[test]
fn a_jpeg_decodes_to_nearly_its_pixels() {
    let decoded = read(&jpeg(64, 32)).unwrap();
    assert!(mean_difference(&decoded, &picture(64, 32)) < 4.0);
}

#[test]
fn every_colour_type_becomes_rgb() {
    let grey = |value: u8| {
        read(&encode(
            GrayImage::from_pixel(2, 2, Luma([value])),
            ImageFormat::Png,
        ))
    };
    assert_eq!(
        grey(7).unwrap(),
        RgbImage::from_pixel(2, 2, image::Rgb([7; 3]))
    );

    let deep: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_pixel(2, 2, Luma([200 * 257]));
    let deep = read(&encode(deep, ImageFormat::Png)).unwrap();
    assert_eq!(deep, RgbImage::from_pixel(2, 2, image::Rgb([200; 3])));

    let grey_jpeg = encode(GrayImage::from_pixel(16, 16, Luma([90])), ImageFormat::Jpeg);
    assert_eq!(
        read(&grey_jpeg).unwrap(),
        RgbImage::from_pixel(16, 16, image::Rgb([90; 3]))
    );
}

#[test]
fn transparency_is_put_on_white() {
    let cases = [
        (Rgba([10, 20, 30, 255]), [10, 20, 30]),
        (Rgba([10, 20, 30, 0]), [255, 255, 255]),
        (Rgba([0, 100, 255, 51]), [204, 224, 255]),
    ];
    for (stored, expected) in cases {
        let file = encode(RgbaImage::from_pixel(3, 3, stored), ImageFormat::Png);
        assert_eq!(
            read(&file).unwrap(),
            RgbImage::from_pixel(3, 3, image::Rgb(expected))
        );
    }
    let grey = GrayAlphaImage::from_pixel(3, 3, LumaA([0, 51]));
    let file = encode(grey, ImageFormat::Png);
    assert_eq!(
        read(&file).unwrap(),
        RgbImage::from_pixel(3, 3, image::Rgb([204; 3]))
    );
}

#[test]
fn all_eight_orientations_are_applied_in_both_formats() {
    // Where the stored corners (first row, then last row) belong in the upright picture, by the
    // table of the EXIF standard: colours of the upright corners, left to right, top to bottom.
    let [red, green, blue, yellow] = [[200, 40, 40], [40, 200, 40], [40, 40, 200], [200, 200, 40]];
    let cases = [
        (1, (32, 16), [red, green, blue, yellow]),
        (2, (32, 16), [green, red, yellow, blue]),
        (3, (32, 16), [yellow, blue, green, red]),
        (4, (32, 16), [blue, yellow, red, green]),
        (5, (16, 32), [red, blue, green, yellow]),
        (6, (16, 32), [blue, red, yellow, green]),
        (7, (16, 32), [yellow, green, blue, red]),
        (8, (16, 32), [green, yellow, red, blue]),
        (0, (32, 16), [red, green, blue, yellow]),
        (9, (32, 16), [red, green, blue, yellow]),
    ];
    for (orientation, size, corners) in cases {
        let block = exif(orientation);
        let segment = [b"Exif\0\0", &block[..]].concat();
        for file in [
            jpeg_with_segment(&jpeg(32, 16), 0xe1, &segment),
            png_with_chunk(&png(32, 16), *b"eXIf", &block),
        ] {
            let upright = read(&file).unwrap();
            assert_eq!(upright.dimensions(), size, "orientation {orientation}");
            let (right, bottom) = (size.0 - 1, size.1 - 1);
            let seen = [(0, 0), (right, 0), (0, bottom), (right, bottom)];
            for ((x, y), expected) in seen.into_iter().zip(corners) {
                let found = upright.get_pixel(x, y).0;
                let close = found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) < 24);
                assert!(close, "orientation {orientation} at {x}, {y}: {found:?}");
            }
        }
    }
}

#[test]
fn a_broken_exif_block_leaves_the_picture_as_stored() {
    for block in [
        &b""[..],
        b"II*\0",
        b"MM\0*\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
    ] {
        let segment = [b"Exif\0\0", block].concat();
        let file = jpeg_with_segment(&jpeg(32, 16), 0xe1, &segment);
        assert_eq!(read(&file).unwrap().dimensions(), (32, 16));
        let file = png_with_chunk(&png(32, 16), *b"eXIf", block);
        // The PNG decoder itself refuses an empty block, which is not allowed.
        assert!(block.is_empty() || read(&file).is_ok());
    }
}

#[test]
fn other_formats_and_other_files_are_told_apart() {
    assert_eq!(read(b""), Err(ImagingError::Empty));
    assert_eq!(read(b"a text"), Err(ImagingError::NotAPicture));
    let cases = [
        (&b"GIF89a\x01\0\x01\0"[..], Format::Gif),
        (b"RIFF\x10\0\0\0WEBPVP8 ", Format::Webp),
        (b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0", Format::Bmp),
        (b"\0\0\0\x18ftypheic", Format::Heif),
    ];
    for (bytes, format) in cases {
        assert_eq!(read(bytes), Err(ImagingError::UnsupportedFormat(format)));
    }
}

#[test]
fn a_header_beyond_the_limits_is_refused_before_any_pixel_is_read() {
    let small = png(8, 8);
    for (width, height) in [
        (u32::MAX, u32::MAX),
        (40_000, 10),
        (10, 40_000),
        (12_000, 12_000),
    ] {
        let refused = read(&png_claiming(&small, width, height));
        assert_eq!(refused, Err(ImagingError::TooLarge { width, height }));
    }
    for (width, height) in [(0, 8), (8, 0)] {
        assert!(matches!(
            read(&png_claiming(&small, width, height)),
            Err(ImagingError::Damaged(_))
        ));
    }
    let mut jpeg = jpeg(16, 16);
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    let (width, height) = (65_535, 65_535);
    assert_eq!(read(&jpeg), Err(ImagingError::TooLarge { width, height }));
}

#[test]
fn each_limit_holds_by_itself() {
    let file = png(20, 10);
    let limits = Limits {
        pixels_max: 200,
        side_max: 20,
        decoder_bytes_max: 200 * 7,
    };
    assert!(decode(&file, &limits).is_ok());
    for tighter in [
        Limits {
            pixels_max: 199,
            ..limits
        },
        Limits {
            side_max: 19,
            ..limits
        },
        Limits {
            decoder_bytes_max: 200 * 7 - 1,
            ..limits
        },
    ] {
        let refused = Err(ImagingError::TooLarge {
            width: 20,
            height: 10,
        });
        assert_eq!(decode(&file, &tighter), refused);
        assert!(inspect(&file, &tighter).is_err());
    }
}

#[test]
fn a_jpeg_of_scans_that_add_up_is_counted_with_its_coefficients() {
    let file = jpeg(16, 16);
    let limits = Limits {
        decoder_bytes_max: 16 * 16 * 6,
        ..Limits::default()
    };
    assert!(inspect(&file, &limits).is_ok());
    let place = |marker: [u8; 2]| file.windows(2).position(|pair| pair == marker).unwrap();
    let mut progressive = file.clone();
    progressive[place([0xff, 0xc0]) + 1] = 0xc2;
    // The scan holds one component of three; others would follow.
    let mut split = file.clone();
    split[place([0xff, 0xda]) + 4] = 1;
    let (width, height) = (16, 16);
    for file in [progressive, split] {
        assert_eq!(
            inspect(&file, &limits),
            Err(ImagingError::TooLarge { width, height })
        );
    }
}

#[test]
fn pixel_data_beyond_the_header_is_not_unpacked() {
    let large = encode(GrayImage::new(8000, 8000), ImageFormat::Png);
    assert!(large.len() < 1_000_000);
    let read = read(&png_claiming(&large, 600, 600)).unwrap();
    assert_eq!(read.dimensions(), (600, 600));
}

#[test]
fn a_profile_that_unpacks_to_very_much_is_passed_over() {
    // The pixel data of a large black picture is a valid zlib stream of 400 MB.
    let large = encode(GrayImage::new(20_000, 20_000), ImageFormat::Png);
    let start = large.windows(4).position(|name| name == b"IDAT").unwrap();
    let length = u32::from_be_bytes(large[start - 4..start].try_into().unwrap()) as usize;
    let stream = &large[start + 4..start + 4 + length];
    let body = [b"profile\0\0", stream].concat();
    let read = read(&png_with_chunk(&png(8, 8), *b"iCCP", &body)).unwrap();
    assert_eq!(read, picture(8, 8));
}

#[test]
fn a_jpeg_of_a_hundred_megapixels_is_decoded() {
    let file = encode(GrayImage::new(11_648, 8_736), ImageFormat::Jpeg);
    assert_eq!(read(&file).unwrap().dimensions(), (11_648, 8_736));
}

#[test]
fn a_file_cut_at_any_place_is_an_error() {
    for file in [
        jpeg(40, 24),
        png(40, 24),
        png_with_chunk(&png(8, 8), *b"eXIf", &exif(6)),
    ] {
        for length in 0..file.len() {
            assert!(read(&file[..length]).is_err(), "{length} of {}", file.len());
        }
    }
}

#[test]
fn bytes_behind_the_end_of_a_picture_do_not_matter() {
    for file in [jpeg(16, 16), png(16, 16)] {
        let longer = [&file[..], b"trailer \xff\xd8\xff\xd9"].concat();
        assert_eq!(read(&longer), read(&file));
    }
}

#[test]
fn a_jpeg_with_very_many_scans_or_two_frames_is_refused() {
    let file = jpeg(16, 16);
    let end = file.len() - 2;
    let scan = [0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0];
    let many = [&file[..end], &scan.repeat(200), &file[end..]].concat();
    assert_eq!(
        read(&many),
        Err(ImagingError::Damaged("it has too many scans"))
    );
    let frame = [8, 0, 16, 0, 16, 1, 1, 0x11, 0];
    let two = jpeg_with_segment(&file, 0xc0, &frame);
    assert_eq!(
        read(&two),
        Err(ImagingError::Damaged("it has two frame headers"))
    );
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_damage_makes_the_decoders_panic(
        is_jpeg in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut file = if is_jpeg { jpeg(48, 40) } else { png(48, 40) };
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
        }
        let limits = Limits { pixels_max: 1 << 20, ..Limits::default() };
        if let Ok(read) = decode(&file, &limits) {
            prop_assert!(read.width() > 0);
        }
    }

    #[test]
    fn no_bytes_behind_a_signature_make_the_decoders_panic(
        is_jpeg in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let signature: &[u8] = if is_jpeg { b"\xff\xd8\xff" } else { b"\x89PNG\r\n\x1a\n" };
        prop_assert!(read(&[signature, &bytes].concat()).is_err());
    }
}

#[test]
fn the_shared_photos_decode_as_their_list_says() {
    let Some(photos) = shared_photos("the_shared_photos_decode_as_their_list_says") else {
        return;
    };
    let read_file = |name: &str| read(&fs::read(photos.join("derived").join(name)).unwrap());
    let upright = read_file("upright.jpg").unwrap();
    for name in [2, 3, 5, 6, 8].map(|value| format!("exif_{value}.jpg")) {
        let turned = read_file(&name).unwrap();
        assert!(mean_difference(&turned, &upright) < 4.0, "{name}");
    }
    let grey = read_file("grey.jpg").unwrap();
    assert!(mean_difference(&grey, &read_file("grey16.png").unwrap()) < 2.0);
    for (name, limit) in [
        ("cmyk.jpg", 6.0),
        ("progressive.jpg", 4.0),
        ("palette.png", 12.0),
    ] {
        let difference = mean_difference(&read_file(name).unwrap(), &upright);
        assert!(difference < limit, "{name} differs by {difference}");
    }
    let corner = read_file("rgba.png").unwrap().get_pixel(0, 0).0;
    assert_eq!(corner, [255; 3], "transparent corners are white");
}

#[test]
fn no_cut_of_a_real_photo_panics() {
    let Some(photos) = shared_photos("no_cut_of_a_real_photo_panics") else {
        return;
    };
    for name in [
        "progressive.jpg",
        "cmyk.jpg",
        "exif_6.jpg",
        "palette.png",
        "grey16.png",
    ] {
        let file = fs::read(photos.join("derived").join(Path::new(name))).unwrap();
        for length in (0..file.len()).step_by(file.len() / 40 + 1) {
            assert!(read(&file[..length]).is_err(), "{name} cut to {length}");
            // With its end mark put back, the decoder itself meets the missing data.
            let _ = read(&[&file[..length], b"\xff\xd9"].concat());
        }
    }
}
