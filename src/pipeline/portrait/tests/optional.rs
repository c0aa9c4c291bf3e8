//! Portraits with the optional networks.

use super::{
    super::{part::Part, settings::Settings, subject::Subject},
    fake::{Bag, Brush, face, pattern},
    work::{known, made_by, made_with, settings, subject},
};
use crate::{imaging::RgbImage, models::face::FacePart};

#[test]
fn a_network_that_sees_the_parts_of_a_face_says_what_is_painted() {
    let template = pattern(800, 700);
    let faces = [face([400.0, 350.0], 150.0, 0.0)];
    let brush = Brush::default();
    // Skin in the upper half of what it is shown, an eye in one corner, lips at the lower end of the skin.
    let bag = Bag {
        parts: Some(|x, y| match (x, y) {
            (0.2..0.3, 0.2..0.3) => FacePart::LeftEye,
            (_, 0.45..0.5) => FacePart::UpperLip,
            (_, 0.1..0.5) => FacePart::Skin,
            _ => FacePart::Hair,
        }),
        ..Bag::default()
    };
    let subjects = [subject("anna", None)];
    made_by(&template, &faces, &subjects, &settings(), (&brush, &bag)).unwrap();
    let seen = brush.seen.lock().unwrap();
    let (first, second) = (&seen[0].mask, &seen[1].mask);
    // The part is three times as large as the box and what is parsed one and a half times, so that it is
    // seen from 128 to 384.
    for (mask, place, level) in [
        (first, (256, 200), 255),
        (first, (150, 200), 255),
        (first, (256, 300), 0),
        (first, (100, 200), 0),
        (second, (256, 200), 0),
        (second, (192, 190), 255),
        (second, (256, 250), 255),
        (second, (256, 310), 0),
    ] {
        assert_eq!(mask.get_pixel(place.0, place.1).0[0], level, "{place:?}");
    }
    // One that sees next to nothing is not believed.
    let blind = Bag {
        parts: Some(|_, _| FacePart::Background),
        ..Bag::default()
    };
    let (with, without) = (Brush::default(), Brush::default());
    made_by(&template, &faces, &subjects, &settings(), (&with, &blind)).unwrap();
    made_with(&template, &faces, &subjects, &settings(), &without).unwrap();
    let mask = |brush: &Brush| brush.seen.lock().unwrap()[0].mask.clone();
    assert_eq!(mask(&with), mask(&without));
}

#[test]
fn a_network_for_face_fusion_works_before_and_after_the_first_pass() {
    let template = pattern(800, 700);
    let faces = [face([400.0, 350.0], 150.0, 0.0)];
    let bag = Bag {
        features: Some([10, 220, 30]),
        ..Bag::default()
    };
    let settings = Settings {
        color_shift_middle: false,
        before_face_fusion_ratio: 1.0,
        after_face_fusion_ratio: 0.5,
        ..settings()
    };
    let begun = |settings: &Settings, subject: Subject| {
        let brush = Brush::default();
        made_by(&template, &faces, &[subject], settings, (&brush, &bag)).unwrap();
        let seen = brush.seen.into_inner().unwrap();
        [0, 1].map(|pass| seen[pass].pictures[0].get_pixel(256, 300).0)
    };
    let [first, second] = begun(&settings, known("anna", [1.0, 0.0]));
    assert_eq!(first, [10, 220, 30]);
    // Half of what the brush has painted, and half of the network's.
    for (found, wanted) in second.into_iter().zip([105, 113, 35]) {
        assert!(u8::abs_diff(found, wanted) <= 2, "{second:?}");
    }
    let off = Settings {
        apply_face_fusion_before: false,
        apply_face_fusion_after: false,
        ..settings.clone()
    };
    let [first, second] = begun(&off, known("anna", [1.0, 0.0]));
    let part = Part::around(&faces[0], 3.0, (800, 700), 512);
    assert_eq!(first, part.cut(&template).get_pixel(256, 300).0);
    assert_eq!(second, [200, 7, 40]);
    // Of somebody without a photo there are no features.
    let [first, _] = begun(&settings, subject("anna", None));
    assert_eq!(first, part.cut(&template).get_pixel(256, 300).0);
}

#[test]
fn a_portrait_is_enlarged_where_that_is_asked_for_and_can_be() {
    let template = RgbImage::from_pixel(800, 700, [60, 60, 60].into());
    let faces = [face([400.0, 350.0], 150.0, 0.0)];
    let subjects = [subject("anna", None)];
    let wanted = Settings {
        super_resolution: true,
        super_resolution_ratio: 0.25,
        ..settings()
    };
    let made_with = |settings: &Settings, bag: &Bag| {
        let brush = Brush::default();
        made_by(&template, &faces, &subjects, settings, (&brush, bag)).unwrap()
    };
    let made = |settings: &Settings, enlarged| {
        let bag = Bag {
            enlarged,
            ..Bag::default()
        };
        made_with(settings, &bag)
    };
    let larger = made(&wanted, Some((4, [160, 100, 60])));
    assert_eq!(larger.picture.dimensions(), (1600, 1400));
    // A quarter of the network's, the rest interpolated.
    assert_eq!(larger.picture.get_pixel(30, 30).0, [85, 70, 60]);
    let missing = made(&wanted, None);
    assert_eq!(missing.picture.dimensions(), (800, 700));
    let said = missing.warnings.iter();
    assert!(said.clone().any(|text| text.contains("super_resolution")));
    let broken = Bag {
        is_broken: true,
        ..Bag::default()
    };
    let broken = made_with(&wanted, &broken);
    assert_eq!(broken.picture, missing.picture);
    assert!(broken.warnings.iter().any(|text| text.contains("broken")));
    let unasked = made(&settings(), Some((4, [160, 100, 60])));
    assert_eq!(unasked.picture.dimensions(), (800, 700));
    assert_eq!(unasked.warnings, ["painted by a brush"]);
}
