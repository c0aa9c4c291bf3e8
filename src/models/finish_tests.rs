//! The networks that portraits are finished with, from the picture to the picture, against onnxruntime,
//! OpenCV and Pillow (`tests/reference/portrait_networks.py`); and files that are none.

use std::{fs, sync::Arc, time::SystemTime};

use safetensors::SafeTensors;

use super::ModelError;
use super::backend::Device;
use super::catalog::{Catalog, Entry, Preprocess, Role};
use super::check_network;
use super::enlarge::Enlarger;
use super::face::{Bounds, Classes, Embedding, Face, FaceFusion, FaceParser, FacePart, Points};
use super::onnx::{HostTensor, OnnxModel};
use super::place::Place;
use super::shelf::Shelf;
use super::supply::{PackRule, Supply};
use crate::imaging::blend::blend;
use crate::imaging::samples::shared_photos;
use crate::imaging::{GrayImage, Limits, RgbImage, decode};
use crate::pack::Pack;

static FILE: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/reference/fixtures/portrait_networks.safetensors"
));

fn tensor(name: &str) -> (Vec<usize>, Vec<u8>) {
    let file = SafeTensors::deserialize(FILE).unwrap();
    let view = file.tensor(name).unwrap();
    (view.shape().to_vec(), view.data().to_vec())
}

fn model(name: &str) -> Vec<u8> {
    tensor(&format!("{name}/model")).1
}

fn picture(name: &str) -> RgbImage {
    let (shape, data) = tensor(name);
    RgbImage::from_raw(shape[1] as u32, shape[0] as u32, data).unwrap()
}

fn mask(name: &str) -> GrayImage {
    let (shape, data) = tensor(name);
    GrayImage::from_raw(shape[1] as u32, shape[0] as u32, data).unwrap()
}

fn numbers(name: &str) -> Vec<f32> {
    let (_, data) = tensor(name);
    let numbers = data.as_chunks::<4>().0.iter();
    numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The largest difference and the mean one.
fn apart(one: &[u8], other: &[u8]) -> (u8, f64) {
    assert_eq!(one.len(), other.len());
    let apart = one.iter().zip(other).map(|(a, b)| a.abs_diff(*b));
    let sum: f64 = apart.clone().map(f64::from).sum();
    (apart.max().unwrap_or(0), sum / one.len() as f64)
}

fn entry(name: &str) -> Entry {
    Catalog::built_in().find(name).unwrap().clone()
}

/// The entry of super-resolution for pictures of this size.
fn enlarging(size: Option<[u32; 2]>) -> Entry {
    let mut entry = entry("real-esrgan-x4plus");
    let preprocess = entry.preprocess.take().unwrap();
    entry.preprocess = Some(Preprocess { size, ..preprocess });
    entry
}

/// Opens bytes as a file.
fn open<T>(
    bytes: &[u8],
    entry: &Entry,
    open: impl FnOnce(&Place, &Entry, Device) -> Result<T, ModelError>,
) -> Result<T, ModelError> {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(&entry.file);
    fs::write(&path, bytes).unwrap();
    open(&path.into(), entry, Device::Cpu)
}

fn parser() -> FaceParser {
    open(
        &model("parsing"),
        &entry("bisenet-resnet18"),
        FaceParser::open,
    )
    .unwrap()
}

fn fusion(bytes: &[u8]) -> FaceFusion {
    open(bytes, &entry("inswapper-128"), FaceFusion::open).unwrap()
}

/// An enlarger of any size or of one.
fn enlarger(name: &str, size: Option<[u32; 2]>) -> Enlarger {
    open(&model(name), &enlarging(size), Enlarger::open).unwrap()
}

fn face(points: Points) -> Face {
    Face {
        bounds: Bounds::default(),
        score: 1.0,
        points,
    }
}

fn swapped_face() -> Face {
    let points = numbers("inswapper/points");
    let mut places = points.as_chunks::<2>().0.iter();
    face(std::array::from_fn(|_| *places.next().unwrap()))
}

/// Every part, by its number.
const PARTS: [FacePart; FacePart::COUNT] = [
    FacePart::Background,
    FacePart::Skin,
    FacePart::LeftBrow,
    FacePart::RightBrow,
    FacePart::LeftEye,
    FacePart::RightEye,
    FacePart::Glasses,
    FacePart::LeftEar,
    FacePart::RightEar,
    FacePart::Earring,
    FacePart::Nose,
    FacePart::Mouth,
    FacePart::UpperLip,
    FacePart::LowerLip,
    FacePart::Neck,
    FacePart::Necklace,
    FacePart::Cloth,
    FacePart::Hair,
    FacePart::Hat,
];

#[test]
fn parts_are_those_that_onnxruntime_finds_most_likely() {
    let classes = parser().parse(&picture("parsing/picture")).unwrap();
    assert_eq!((classes.width, classes.height), (512, 512));
    let (_, expected) = tensor("parsing/classes");
    let every_fourth = classes.class.chunks_exact(512).step_by(4);
    let found: Vec<u8> = every_fourth
        .flat_map(|row| row.iter().step_by(4).copied())
        .collect();
    let other = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
    // Where two classes are as likely, the last bit decides.
    assert!(
        other * 1000 < expected.len(),
        "{other} of {}",
        expected.len()
    );
    let (_, wanted) = tensor("parsing/wanted");
    let parts: Vec<FacePart> = wanted.iter().map(|at| PARTS[usize::from(*at)]).collect();
    let (_, mean) = apart(&classes.mask(&parts, 150, 110), &mask("parsing/mask"));
    assert!(mean < 0.1, "{mean}");
}

#[test]
fn a_mask_grows_as_opencv_interpolates() {
    let (shape, class) = tensor("parsing/small");
    let classes = Classes {
        width: shape[1] as u32,
        height: shape[0] as u32,
        class,
    };
    let parts = [FacePart::Skin, FacePart::Nose, FacePart::UpperLip];
    let (most, _) = apart(&classes.mask(&parts, 61, 50), &mask("parsing/large_mask"));
    assert!(most <= 1, "{most}");
}

#[test]
fn a_small_picture_is_enlarged_in_one_tile() {
    let enlarger = enlarger("rrdb", None);
    assert_eq!(enlarger.scale(), 4);
    let enlarged = enlarger.enlarge(&picture("rrdb/picture"), &mut || true);
    let (most, _) = apart(&enlarged.unwrap(), &picture("rrdb/enlarged"));
    assert!(most <= 1, "{most}");
}

#[test]
fn a_published_network_enlarges_as_it_does_elsewhere() {
    let Some(photos) = shared_photos("a_published_network_enlarges_as_it_does_elsewhere") else {
        return;
    };
    let data = photos.parent().unwrap();
    let place = data.join("models/srvgg_animevideov3/srvgg_animevideov3_x4.onnx");
    let entry = entry("srvgg-animevideov3");
    let enlarger = Enlarger::open(&place.into(), &entry, Device::Cpu).unwrap();
    let golden = |name: &str| {
        let bytes = fs::read(data.join("golden/sr").join(name)).unwrap();
        decode(&bytes, &Limits::default()).unwrap()
    };
    let enlarged = enlarger.enlarge(&golden("face_in_96.png"), &mut || true);
    let (most, _) = apart(&enlarged.unwrap(), &golden("face_out_384.png"));
    assert!(most <= 1, "{most}");
}

#[test]
fn tiles_of_a_fixed_size_give_what_the_whole_picture_gives() {
    let enlarger = enlarger("tiles", Some([64, 64]));
    assert_eq!(enlarger.scale(), 2);
    let mut tiles = 0;
    let mut count = || {
        tiles += 1;
        true
    };
    let enlarged = enlarger.enlarge(&picture("tiles/picture"), &mut count);
    let (most, _) = apart(&enlarged.unwrap(), &picture("tiles/enlarged"));
    assert!(most <= 1, "{most}");
    assert_eq!(tiles, 3 * 2);
}

#[test]
fn tiles_of_a_network_of_any_size_give_what_the_whole_picture_gives() {
    let [width, height] = [300, 64];
    let picture = crate::imaging::samples::picture(width, height);
    let enlarged = enlarger("whole", None).enlarge(&picture, &mut || true);
    let planes = (0..3).flat_map(|channel| {
        let samples = picture.pixels().map(move |pixel| pixel.0[channel]);
        samples.map(|sample| f32::from(sample) / 255.0)
    });
    let whole = OnnxModel::load(&model("whole"), "whole", Device::Cpu).unwrap();
    let input = HostTensor {
        shape: vec![1, 3, height as usize, width as usize],
        data: planes.collect(),
    };
    let outputs = whole.run(vec![input]).unwrap();
    let pixels = outputs[0].data.len() / 3;
    let expected: Vec<u8> = (0..pixels)
        .flat_map(|at| [at, at + pixels, at + 2 * pixels])
        .map(|at| (outputs[0].data[at] * 255.0).round().clamp(0.0, 255.0) as u8)
        .collect();
    let (most, _) = apart(&enlarged.unwrap(), &expected);
    assert!(most <= 1, "{most}");
}

#[test]
fn enlarging_stops_between_tiles_and_takes_pictures_of_every_size() {
    let enlarger = enlarger("tiles", Some([64, 64]));
    let mut tiles = 0;
    let mut once = || {
        tiles += 1;
        tiles < 2
    };
    let stopped = enlarger.enlarge(&RgbImage::new(200, 10), &mut once);
    assert!(matches!(stopped, Err(ModelError::Stopped { .. })));
    assert_eq!(tiles, 2);
    for (width, height) in [(0, 0), (0, 9), (1, 1), (64, 65), (3, 150)] {
        let enlarged = enlarger.enlarge(&RgbImage::new(width, height), &mut || true);
        assert_eq!(enlarged.unwrap().dimensions(), (2 * width, 2 * height));
    }
}

/// The matrix of the script as the last weights of a file: more of the message that is the network, which
/// readers of the format put together with what came before.
fn with_matrix(mut file: Vec<u8>) -> Vec<u8> {
    let part = |field: u8, bytes: &[u8]| {
        let mut part = vec![(field << 3) | 2];
        let mut left = bytes.len();
        while left > 127 {
            part.push((left & 127) as u8 | 128);
            left >>= 7;
        }
        part.push(left as u8);
        part.extend(bytes);
        part
    };
    let number = |row: u32, column: u32| {
        ((7 * row + 13 * column + row * column) % 31) as f32 / 64.0 - 15.0 / 64.0
    };
    let numbers = (0..512).flat_map(|row| (0..512).map(move |column| number(row, column)));
    let raw: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
    // Two sizes of 512, 32-bit floats, a name, and the numbers.
    let mut tensor = vec![8, 128, 4, 8, 128, 4, 16, 1];
    tensor.extend(part(8, b"matrix"));
    tensor.extend(part(9, &raw));
    file.extend(part(7, &part(5, &tensor)));
    file
}

#[test]
fn a_face_takes_over_a_person_as_with_insightface() {
    let seen = picture("inswapper/picture");
    let person = Embedding::new(numbers("inswapper/person")).unwrap();
    let plain = model("inswapper");
    for (name, file) in [("mapped", with_matrix(plain.clone())), ("plain", plain)] {
        let (new, soft) = fusion(&file).fuse(&seen, &swapped_face(), &person).unwrap();
        let (most, mean) = apart(&soft, &mask("inswapper/mask"));
        assert!(most <= 8 && mean < 0.2, "{name}: mask {most} {mean}");
        let expected = picture(&format!("inswapper/{name}"));
        let (changed, _) = apart(&seen, &expected);
        assert!(changed > 50, "the network does something");
        let (most, mean) = apart(&blend(&seen, &new, &soft), &expected);
        assert!(most <= 4 && mean < 0.3, "{name}: {most} {mean}");
    }
    let other = apart(&picture("inswapper/mapped"), &picture("inswapper/plain"));
    assert!(other.0 > 10, "the matrix does something");
}

#[test]
fn a_face_without_a_place_changes_nothing() {
    let fusion = fusion(&model("inswapper"));
    let seen = picture("inswapper/picture");
    let person = Embedding::new(numbers("inswapper/person")).unwrap();
    let mut far = swapped_face();
    far.points.iter_mut().for_each(|point| point[0] += 5000.0);
    for face in [face([[7.0; 2]; 5]), face([[f32::NAN; 2]; 5]), far] {
        let (new, soft) = fusion.fuse(&seen, &face, &person).unwrap();
        assert!(new == seen && soft.iter().all(|level| *level == 0));
    }
}

#[test]
fn a_person_of_another_embedding_is_refused_with_what_to_do() {
    let person = Embedding::new(vec![1.0; 128]).unwrap();
    let fused =
        fusion(&model("inswapper")).fuse(&picture("inswapper/picture"), &swapped_face(), &person);
    let text = fused.unwrap_err().to_string();
    for word in ["512", "128", "arcface-w600k-r50", "photog models import"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn files_of_another_form_are_refused_when_they_are_opened() {
    let mut small = entry("bisenet-resnet18");
    small.preprocess.as_mut().unwrap().size = Some([256, 256]);
    let mut huge = small.clone();
    huge.preprocess.as_mut().unwrap().size = Some([4096, 4096]);
    let mut fusion_of_256 = entry("inswapper-128");
    fusion_of_256.preprocess.as_mut().unwrap().size = Some([256, 256]);
    let cases = [
        ("parsing", small, "256x256"),
        ("whole", huge, "1024"),
        ("rrdb", entry("bisenet-resnet18"), "19 scores"),
        ("inswapper", entry("bisenet-resnet18"), "2 inputs"),
        ("parsing", enlarging(Some([512, 512])), "3 outputs"),
        ("whole", enlarging(Some([32, 32])), "sides from 64"),
        ("whole", enlarging(Some([64, 2048])), "sides from 64"),
        ("tiles", enlarging(Some([128, 128])), "128x128"),
        ("inswapper", enlarging(None), "2 inputs"),
        ("rrdb", entry("inswapper-128"), "1 inputs"),
        ("inswapper", fusion_of_256, "256x256"),
    ];
    for (name, entry, word) in cases {
        let checked = open(&model(name), &entry, |place, entry, _| {
            check_network(entry, place)
        });
        let error = checked.unwrap_err();
        assert!(matches!(error, ModelError::Refused { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(word) && text.contains(&entry.file), "{text}");
    }
    let no_network = open(b"none", &enlarging(None), Enlarger::open);
    assert!(matches!(no_network, Err(ModelError::Refused { .. })));
    let other_role = open(&model("rrdb"), &entry("inswapper-128"), Enlarger::open);
    assert!(
        other_role
            .err()
            .unwrap()
            .to_string()
            .contains("face-fusion")
    );
    for (name, scale) in [("whole", 2), ("triple", 3)] {
        assert_eq!(enlarger(name, None).scale(), scale);
    }
    // A network that gives no picture at all, and none of its size in its file.
    let file = fs::read(super::reference::folder().join("../onnx_networks.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let detector = file.tensor("taesd_decoder@4x4/model").unwrap();
    let refused = open(detector.data(), &enlarging(None), Enlarger::open).err();
    assert!(refused.unwrap().to_string().contains("three channels"));
}

#[test]
fn a_shelf_has_each_once_and_looks_again_when_a_file_changes() {
    let home = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(home.path(), Device::Cpu);
    let lacks = |found: Result<(), ModelError>, role: Role| {
        let text = found.unwrap_err().to_string();
        let import = text.contains("photog models import");
        assert!(import && text.contains(role.as_str()), "{text}");
    };
    lacks(shelf.parser().map(drop), Role::FaceParsing);
    lacks(shelf.fusion().map(drop), Role::FaceFusion);
    lacks(shelf.enlarger().map(drop), Role::SuperResolution);
    let put = |name: &str, bytes: &[u8]| {
        let path = entry(name).path(home.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    };
    put("bisenet-resnet18", &model("parsing"));
    put("inswapper-128", &model("inswapper"));
    let path = put("real-esrgan-x4plus", &model("rrdb"));
    assert!(Arc::ptr_eq(
        &shelf.parser().unwrap(),
        &shelf.parser().unwrap()
    ));
    assert!(Arc::ptr_eq(
        &shelf.fusion().unwrap(),
        &shelf.fusion().unwrap()
    ));
    let first = shelf.enlarger().unwrap();
    assert!(Arc::ptr_eq(&first, &shelf.enlarger().unwrap()));
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert!(!Arc::ptr_eq(&first, &shelf.enlarger().unwrap()));
    fs::write(&path, b"damaged").unwrap();
    let damaged = shelf.enlarger().err().unwrap();
    assert!(matches!(damaged, ModelError::Refused { .. }), "{damaged}");
    fs::remove_file(&path).unwrap();
    lacks(shelf.enlarger().map(drop), Role::SuperResolution);
    // A pack has none, and its pictures are none for these.
    let supply = Supply::new(home.path(), PackRule::Always(Pack::Demo));
    let of_pack = Shelf::new(supply, Device::Cpu);
    lacks(of_pack.parser().map(drop), Role::FaceParsing);
}
