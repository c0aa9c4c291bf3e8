//! The shared photos of real people as templates, seen by the real networks and painted by the demo pack's.

use std::{fs, path::Path, sync::Arc};

use serde_json::json;

use super::{
    super::{Portrait, Studio},
    fake::context,
    making::train,
};
use crate::{
    domain::{PersonId, Words},
    imaging::{
        Kernel, Limits, RgbImage, Similarity, Window, cut, decode, put, resize, samples, warp,
    },
    job::CancelToken,
    models::{
        backend::Device,
        catalog::Catalog,
        diffusion::{NetworkLoader, Networks, Setting},
        face::Face,
        shelf::Shelf,
        supply::{PackRule, Supply},
    },
    pack::Pack,
    people::People,
    pipeline::FaceSource,
    store::DataFolder,
};

/// The networks by their names, and where they lie in the shared data.
const NETWORKS: [(&str, &str); 2] = [
    ("yunet", "yunet_n/original/yunet_n_dynamic.onnx"),
    ("mobilefacenet", "mobilefacenet/mobilefacenet.onnx"),
];

/// A face with its surroundings, cut out of a photo.
struct Head(RgbImage);

impl Head {
    fn of(photo: &Path) -> Self {
        let photo = decode(&fs::read(photo).unwrap(), &Limits::default()).unwrap();
        let side = photo.width().min(photo.height());
        let square = cut(
            &photo,
            Window {
                left: 0,
                top: 0,
                width: side,
                height: side,
            },
        );
        Self(resize(&square, 600, 600, Kernel::Triangle))
    }

    /// The head in a larger picture: so wide, at this place, turned by so many degrees.
    fn put(&self, picture: &mut RgbImage, width: u32, (left, top): (i64, i64), degrees: f64) {
        let head = resize(&self.0, width, width, Kernel::Triangle);
        let middle = f64::from(width) / 2.0;
        let (sine, cosine) = degrees.to_radians().sin_cos();
        let place = Similarity {
            re: cosine,
            im: sine,
            x: middle - (cosine * middle - sine * middle),
            y: middle - (sine * middle + cosine * middle),
        };
        let turned = warp(&head, &place, width, width);
        put(picture, &turned, (left, top));
    }
}

fn ground(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        [(x / 8) as u8, (y / 8) as u8, 90 + ((x ^ y) % 16) as u8].into()
    })
}

/// How far from the middle of a face a place is, in widths of the face's box.
fn away(face: &Face, x: u32, y: u32) -> f32 {
    let bounds = face.bounds;
    let middle = [
        bounds.left.midpoint(bounds.right),
        bounds.top.midpoint(bounds.bottom),
    ];
    (x as f32 - middle[0]).hypot(y as f32 - middle[1]) / bounds.width().max(bounds.height() / 1.3)
}

#[test]
fn real_faces_are_filled_and_all_else_stays_to_the_last_bit() {
    let test = "real_faces_are_filled_and_all_else_stays_to_the_last_bit";
    let Some(photos) = samples::shared_photos(test) else {
        return;
    };
    let persons = photos.join("persons");
    let home = tempfile::tempdir().unwrap();
    let catalog = Catalog::built_in();
    for (name, file) in NETWORKS {
        let path = catalog.find(name).unwrap().path(home.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(photos.parent().unwrap().join("models").join(file), path).unwrap();
    }
    let names = ["p05", "p06", "p07"];
    for name in names {
        train(home.path(), name, "demo");
        let photo = persons.join(name).join("01.jpg");
        fs::copy(
            photo,
            home.path()
                .join(format!("photog/user_images/{name}/ref_image.jpg")),
        )
        .unwrap();
    }
    let supply = Supply::new(home.path(), PackRule::Always(Pack::Demo));
    let faces = Shelf::new(home.path(), Device::Cpu);
    let observer = faces.observer().unwrap();
    let loader = NetworkLoader::new(Setting::new(Device::Cpu));
    let studio = Studio {
        people: People::new(DataFolder::at(home.path())),
        extras: Arc::new(faces.clone()),
        faces: Arc::new(faces),
        painting: Arc::new(Networks::new(supply, loader, u64::MAX)),
        words: Words::default(),
    };
    let [one, two, three] =
        ["p02/01.jpg", "p02/05.jpg", "p03/01.jpg"].map(|photo| Head::of(&persons.join(photo)));
    let mut templates = Vec::new();
    let mut template = |width: u32, height: u32, heads: &[(&Head, u32, (i64, i64), f64)]| {
        let mut picture = ground(width, height);
        for (head, side, place, degrees) in heads {
            head.put(&mut picture, *side, *place, *degrees);
        }
        templates.push((picture, heads.len()));
    };
    // Usual, large, small, at the border, tilted; two, and three.
    template(900, 900, &[(&one, 600, (150, 150), 0.0)]);
    template(640, 640, &[(&two, 900, (-130, -60), 0.0)]);
    template(1400, 1000, &[(&one, 160, (900, 300), 0.0)]);
    template(1000, 800, &[(&three, 500, (-130, 100), 0.0)]);
    template(900, 900, &[(&three, 600, (150, 150), 25.0)]);
    template(
        1400,
        800,
        &[(&one, 500, (80, 100), 0.0), (&three, 600, (760, 150), 0.0)],
    );
    template(
        1800,
        800,
        &[
            (&two, 450, (40, 150), 0.0),
            (&three, 560, (560, 100), 0.0),
            (&one, 400, (1260, 250), 0.0),
        ],
    );
    for (number, (template, count)) in templates.iter().enumerate() {
        let seen = observer.observe(template).unwrap().faces().to_vec();
        assert_eq!(seen.len(), *count, "template {number}");
        let ids: Vec<PersonId> = names[..*count]
            .iter()
            .map(|name| name.parse().unwrap())
            .collect();
        let made = fill(&studio, template, &ids);
        assert_eq!(made.persons, ids, "template {number}");
        assert_eq!(made.picture.dimensions(), template.dimensions());
        let mut inside = vec![0_u32; *count];
        let mut changed = vec![0_u32; *count];
        for (x, y, pixel) in made.picture.enumerate_pixels() {
            let is_changed = pixel != template.get_pixel(x, y);
            let distances: Vec<f32> = seen.iter().map(|face| away(face, x, y)).collect();
            let nearest = distances.iter().copied().reduce(f32::min).unwrap();
            assert!(
                nearest < 1.3 || !is_changed,
                "template {number}: {x} {y} at {nearest}"
            );
            for (at, distance) in distances.into_iter().enumerate() {
                if distance < 0.4 {
                    inside[at] += 1;
                    changed[at] += u32::from(is_changed);
                }
            }
        }
        for (inside, changed) in inside.iter().zip(&changed) {
            assert!(
                changed * 10 > inside * 9,
                "template {number}: {changed} of {inside}"
            );
        }
    }
}

fn fill(studio: &Studio, template: &RgbImage, persons: &[PersonId]) -> Portrait {
    let options = json!({
        "seed": 3, "mask_ratio": 1.0, "first_diffusion_steps": 3, "first_denoising_strength": 0.4,
        "second_diffusion_steps": 3, "color_shift_middle": true, "color_shift_last": true,
    });
    let options = options.as_object().unwrap().clone();
    let sitting = studio.prepare(persons, &options).unwrap();
    let context = context(Arc::new(()), CancelToken::default());
    sitting.portrait(template, &context).unwrap()
}
