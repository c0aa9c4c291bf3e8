//! What is painted, where, and what stays.

use std::sync::Arc;

use super::{
    super::{
        error::PortraitError,
        painting::Guide,
        part::Part,
        run::{Means, Portrait, portrait},
        settings::{Pass, Settings},
        subject::{Reference, Subject},
    },
    fake::{Bag, Brush, Eyes, Told, context, face, id, pattern},
};
use crate::{
    domain::Words,
    imaging::RgbImage,
    job::{CancelReason, CancelToken},
    models::face::{Embedding, Face},
    pipeline::generate::GenerateError,
};

pub fn subject(name: &str, reference: Option<Reference>) -> Subject {
    Subject {
        id: id(name),
        caption: format!("photo of {name}"),
        base: None,
        reference,
    }
}

/// Somebody whose face has this direction as its numbers.
pub fn known(name: &str, direction: [f32; 2]) -> Subject {
    let reference = Reference {
        photo: RgbImage::from_pixel(400, 400, [90, 60, 50].into()),
        face: face([200.0, 200.0], 120.0, 0.0),
        embedding: Some(Embedding::new(direction.to_vec()).unwrap()),
    };
    subject(name, Some(reference))
}

pub fn settings() -> Settings {
    Settings {
        seed: 7,
        ..Settings::of(None)
    }
}

pub fn made_with(
    template: &RgbImage,
    faces: &[Face],
    subjects: &[Subject],
    settings: &Settings,
    brush: &Brush,
) -> Result<Portrait, PortraitError> {
    let all = (brush, &Bag::default());
    made_by(template, faces, subjects, settings, all)
}

pub fn made_by(
    template: &RgbImage,
    faces: &[Face],
    subjects: &[Subject],
    settings: &Settings,
    (brush, extras): (&Brush, &Bag),
) -> Result<Portrait, PortraitError> {
    let mut eyes = Eyes::default().with(template.dimensions(), faces);
    for face in faces {
        let part = Part::around(face, 3.0, template.dimensions(), settings.side);
        eyes = eyes.with(part.size, &[part.seen(face)]);
    }
    let words = Words::default();
    let means = Means {
        observer: &eyes,
        extras,
        painting: brush,
        words: &words,
        checkpoint: "alpha",
        settings,
    };
    let context = context(Arc::new(()), CancelToken::default());
    portrait(template, subjects, &means, &context)
}

/// How far from the middle of a face a place is, in widths of the face's box.
fn away(face: &Face, x: u32, y: u32) -> f32 {
    let bounds = face.bounds;
    let middle = [
        bounds.left.midpoint(bounds.right),
        bounds.top.midpoint(bounds.bottom),
    ];
    (x as f32 - middle[0]).hypot(y as f32 - middle[1]) / bounds.width()
}

#[test]
fn only_what_is_around_the_faces_changes_and_the_rest_stays_to_the_last_bit() {
    let templates = [
        // One face, a large one, one at the border, a tilted one, a small one.
        ((800, 700), vec![face([400.0, 350.0], 150.0, 0.0)]),
        ((640, 640), vec![face([320.0, 320.0], 400.0, 0.0)]),
        ((900, 700), vec![face([30.0, 60.0], 160.0, 0.0)]),
        ((800, 800), vec![face([420.0, 400.0], 180.0, 35.0)]),
        ((1400, 1000), vec![face([900.0, 300.0], 40.0, -10.0)]),
        // Two, and three of which two are near.
        (
            (1200, 700),
            vec![
                face([300.0, 300.0], 150.0, 0.0),
                face([850.0, 350.0], 180.0, 0.0),
            ],
        ),
        (
            (1300, 800),
            vec![
                face([250.0, 300.0], 120.0, 0.0),
                face([600.0, 350.0], 150.0, 5.0),
                face([770.0, 360.0], 140.0, -5.0),
            ],
        ),
    ];
    for ((width, height), faces) in templates {
        let template = pattern(width, height);
        let subjects: Vec<Subject> = (0..faces.len())
            .map(|at| subject(&format!("p{at}"), None))
            .collect();
        let brush = Brush::default();
        let made = made_with(&template, &faces, &subjects, &settings(), &brush).unwrap();
        assert_eq!(made.picture.dimensions(), (width, height));
        let mut changed = 0;
        for (x, y, pixel) in made.picture.enumerate_pixels() {
            let nearest = faces
                .iter()
                .map(|face| away(face, x, y))
                .reduce(f32::min)
                .unwrap();
            if nearest > 1.3 {
                assert_eq!(
                    pixel,
                    template.get_pixel(x, y),
                    "{x} {y} of {width} x {height}"
                );
            }
            changed += u32::from(nearest < 0.3 && pixel != template.get_pixel(x, y));
        }
        assert!(changed > 0);
    }
}

#[test]
fn each_face_gets_its_person_from_left_to_right_and_its_two_passes() {
    let template = pattern(1200, 700);
    // The observer names the largest first.
    let faces = [
        face([850.0, 350.0], 180.0, 0.0),
        face([300.0, 300.0], 150.0, 0.0),
    ];
    let subjects = [subject("anna", None), subject("ben", None)];
    let brush = Brush::default();
    let settings = Settings {
        additional_prompt: String::from("red hat"),
        additional_neg_prompt: String::from("snow"),
        ..settings()
    };
    let made = made_with(&template, &faces, &subjects, &settings, &brush).unwrap();
    assert_eq!(made.persons, [id("anna"), id("ben")]);
    assert_eq!((made.seed, &*made.checkpoint), (7, "alpha"));
    assert_eq!(made.warnings, ["painted by a brush"]);
    let seen = brush.seen.lock().unwrap();
    let passes: Vec<_> = seen
        .iter()
        .map(|seen| {
            let who =
                ["anna", "ben"].map(|name| seen.prompt.contains(&format!("<lora:{name}:0.9>")));
            (who, seen.steps, seen.strength, seen.guides.clone())
        })
        .collect();
    let first = vec![(Guide::Canny, 0.5), (Guide::Color, 0.85)];
    let second = vec![(Guide::Canny, 1.0), (Guide::Tile, 1.0)];
    let joins = vec![(Guide::Canny, 1.0), (Guide::Color, 1.0)];
    assert_eq!(
        passes,
        [
            ([true, false], 50, 0.45, first.clone()),
            ([true, false], 20, 0.35, second.clone()),
            ([false, true], 50, 0.45, first),
            ([false, true], 20, 0.35, second),
            ([false, false], 30, 0.3, joins),
        ]
    );
    assert!(
        seen[0]
            .prompt
            .starts_with("photo of anna, <lora:anna:0.9>, red hat, portrait photo")
    );
    assert!(seen[0].negative.starts_with("snow, blurry"));
    assert!(seen[4].prompt.starts_with("red hat, portrait photo"));
    for pass in seen.iter() {
        assert_eq!((pass.count, pass.seed, &*pass.checkpoint), (1, 7, "alpha"));
        assert!(
            pass.pictures
                .iter()
                .all(|picture| picture.dimensions() == pass.mask.dimensions())
        );
    }
    // The second pass goes on with what the first has made.
    assert_eq!(seen[0].mask.dimensions(), (512, 512));
    let middle = seen[1].pictures[0].get_pixel(256, 256);
    assert_ne!(middle, seen[0].pictures[0].get_pixel(256, 256));
}

#[test]
fn passes_are_left_out_and_added_as_asked() {
    let template = pattern(800, 700);
    let faces = [face([400.0, 350.0], 150.0, 0.0)];
    let kinds = |settings: &Settings| -> Vec<(usize, f64)> {
        let brush = Brush::default();
        made_with(
            &template,
            &faces,
            &[subject("anna", None)],
            settings,
            &brush,
        )
        .unwrap();
        let seen = brush.seen.into_inner().unwrap();
        seen.iter()
            .map(|seen| (seen.steps, seen.strength))
            .collect()
    };
    let without = Settings {
        second: None,
        ..settings()
    };
    assert_eq!(kinds(&without), [(50, 0.45)]);
    let with = Settings {
        second: Some(Pass {
            steps: 30,
            strength: 0.2,
        }),
        background_restore: Some(0.4),
        ..settings()
    };
    assert_eq!(kinds(&with), [(50, 0.45), (30, 0.2), (30, 0.4)]);
}

#[test]
fn painting_begins_with_the_face_of_the_reference_photo_unless_it_may_not() {
    let template = pattern(800, 700);
    let faces = [face([400.0, 350.0], 150.0, 0.0)];
    let begun = |settings: &Settings| {
        let brush = Brush::default();
        made_with(
            &template,
            &faces,
            &[known("anna", [1.0, 0.0])],
            settings,
            &brush,
        )
        .unwrap();
        brush.seen.into_inner().unwrap()[0].pictures[0].clone()
    };
    let all = Settings {
        before_face_fusion_ratio: 1.0,
        color_shift_middle: false,
        ..settings()
    };
    let part = Part::around(&faces[0], 3.0, (800, 700), 512);
    let cut = part.cut(&template);
    let fused = begun(&all);
    assert_eq!(fused.get_pixel(256, 256).0, [90, 60, 50]);
    assert_eq!(fused.get_pixel(20, 20), cut.get_pixel(20, 20));
    let half = Settings {
        before_face_fusion_ratio: 0.5,
        ..all.clone()
    };
    let (mixed, own) = (begun(&half), cut.get_pixel(256, 300).0);
    for (channel, reference) in [90, 60, 50].into_iter().enumerate() {
        let mean = f64::midpoint(reference.into(), own[channel].into());
        let found = f64::from(mixed.get_pixel(256, 300).0[channel]);
        assert!((found - mean).abs() <= 1.5, "{found} {mean}");
    }
    let off = Settings {
        apply_face_fusion_before: false,
        ..all
    };
    assert_eq!(begun(&off), cut);
}

#[test]
fn of_several_candidates_the_one_most_like_the_person_is_taken() {
    let template = pattern(800, 700);
    let faces = [face([400.0, 350.0], 150.0, 0.0)];
    let settings = Settings {
        candidates: 4,
        color_shift_middle: false,
        color_shift_last: false,
        second: None,
        ..settings()
    };
    // The third seed paints in the person's direction.
    let brush = Brush {
        color: |seed| {
            if seed == 9 {
                [40, 200, 0]
            } else {
                [200, 40, 0]
            }
        },
        ..Brush::default()
    };
    let subjects = [known("anna", [0.2, 1.0])];
    let made = made_with(&template, &faces, &subjects, &settings, &brush).unwrap();
    assert_eq!(brush.seen.lock().unwrap()[0].count, 4);
    assert_eq!(made.picture.get_pixel(400, 350).0, [40, 200, 0]);
    let score = made.scores[0].unwrap();
    assert!(score > 0.99, "{score}");
}

#[test]
fn numbers_of_faces_and_persons_have_to_fit_or_be_allowed_not_to() {
    let template = pattern(1200, 700);
    let two = [
        face([300.0, 300.0], 150.0, 0.0),
        face([850.0, 350.0], 180.0, 0.0),
    ];
    let brush = Brush::default();
    let one = [subject("anna", None)];
    let refused = made_with(&template, &two, &one, &settings(), &brush).unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("shows 2 faces and the request names 1 person"),
        "{text}"
    );
    let none = made_with(&template, &[], &one, &settings(), &brush);
    assert!(matches!(none, Err(PortraitError::NoFace)));
    assert!(brush.seen.lock().unwrap().is_empty());
    let allowed = Settings {
        allow_face_count_mismatch: true,
        ..settings()
    };
    let made = made_with(&template, &two, &one, &allowed, &brush).unwrap();
    assert!(
        made.warnings[0].contains("from the 2. on stay"),
        "{:?}",
        made.warnings
    );
    for (x, y, pixel) in made.picture.enumerate_pixels() {
        if away(&two[1], x, y) < 0.9 {
            assert_eq!(pixel, template.get_pixel(x, y));
        }
    }
    let three = ["anna", "ben", "carla"].map(|name| subject(name, None));
    let made = made_with(&template, &two, &three, &allowed, &brush).unwrap();
    assert_eq!(made.persons, [id("anna"), id("ben")]);
    assert!(
        made.warnings[0].contains("no face for `carla`"),
        "{:?}",
        made.warnings
    );
}

#[test]
fn a_neighbour_who_stays_keeps_every_pixel_of_the_face() {
    let template = pattern(900, 700);
    let near = [
        face([350.0, 350.0], 150.0, 0.0),
        face([490.0, 350.0], 150.0, 0.0),
    ];
    let settings = Settings {
        allow_face_count_mismatch: true,
        ..settings()
    };
    let brush = Brush::default();
    let made = made_with(
        &template,
        &near,
        &[subject("anna", None)],
        &settings,
        &brush,
    )
    .unwrap();
    for (x, y, pixel) in made.picture.enumerate_pixels() {
        // The inner of the neighbour's ellipse.
        if away(&near[1], x, y) < 0.4 {
            assert_eq!(pixel, template.get_pixel(x, y), "{x} {y}");
        }
    }
    assert_ne!(
        made.picture.get_pixel(330, 350),
        template.get_pixel(330, 350)
    );
}

#[test]
fn a_face_that_stays_is_not_touched_by_the_pass_over_the_joins_of_others() {
    let template = pattern(1200, 700);
    let faces = [
        face([250.0, 350.0], 150.0, 0.0),
        face([450.0, 350.0], 150.0, 0.0),
        face([620.0, 350.0], 140.0, 0.0),
    ];
    let settings = Settings {
        allow_face_count_mismatch: true,
        ..settings()
    };
    let brush = Brush::default();
    let subjects = [subject("anna", None), subject("ben", None)];
    let made = made_with(&template, &faces, &subjects, &settings, &brush).unwrap();
    for (x, y, pixel) in made.picture.enumerate_pixels() {
        // The inner of the face that stays.
        if away(&faces[2], x, y) < 0.4 {
            assert_eq!(pixel, template.get_pixel(x, y), "{x} {y}");
        }
    }
}

#[test]
fn progress_is_told_over_all_passes_and_a_stop_is_heard_between() {
    let template = pattern(800, 700);
    let faces = [face([400.0, 350.0], 150.0, 0.0)];
    let eyes = Eyes::default().with((800, 700), &faces);
    let run = |stop_at: Option<usize>| {
        let cancel = CancelToken::default();
        let told = Arc::new(Told {
            stop_at: stop_at.map(|at| (at, cancel.clone())),
            ..Told::default()
        });
        let brush = Brush::default();
        let words = Words::default();
        let means = Means {
            observer: &eyes,
            extras: &Bag::default(),
            painting: &brush,
            words: &words,
            checkpoint: "alpha",
            settings: &settings(),
        };
        let made = portrait(
            &template,
            &[subject("anna", None)],
            &means,
            &context(told.clone(), cancel),
        );
        let notes = told.notes.lock().unwrap().clone();
        (made, notes)
    };
    let (made, notes) = run(None);
    assert!(made.is_ok());
    assert_eq!(
        notes,
        [
            (0.25, "face 1 of 1, first pass, step 1 of 2".to_owned()),
            (0.5, "face 1 of 1, first pass, done".to_owned()),
            (0.75, "face 1 of 1, second pass, step 1 of 2".to_owned()),
            (1.0, "face 1 of 1, second pass, done".to_owned()),
        ]
    );
    let (stopped, notes) = run(Some(1));
    assert_eq!(notes.len(), 1);
    assert!(matches!(
        stopped,
        Err(PortraitError::Painting(GenerateError::Stopped(
            CancelReason::User
        )))
    ));
}
