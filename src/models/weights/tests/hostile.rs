//! Files that lie, are cut, or are something else.

use std::fs;

use safetensors::SafeTensors;

use super::super::header::{HEADER_BYTES_MAX, TENSORS_MAX};
use super::super::{Container, Files};
use super::{error, named, pack, raw};

/// The head of one tensor `a` of two floats, with `change` made to it.
fn head(from: &str, to: &str) -> String {
    let head = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    assert!(head.contains(from), "{from}");
    head.replace(from, to)
}

fn open(bytes: Vec<u8>) -> String {
    error(Container::from_bytes("the file", bytes))
}

#[test]
fn the_file_that_is_damaged_below_is_sound() {
    let file = Container::from_bytes("a", raw(&head("a", "a"), &[0; 8])).unwrap();
    assert_eq!(file.get("a").unwrap().to_f32().unwrap(), [0.0; 2]);
}

#[test]
fn each_damage_of_a_head_is_refused_with_its_reason() {
    let twice = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                    "a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let overlap = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                      "b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    let gap = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                  "b":{"dtype":"F16","shape":[1],"data_offsets":[6,8]}}"#;
    let cases = [
        (head("[2]", "[3]"), "is of the type F32 and the shape [3]"),
        (head("F32", "F16"), "is of the type F16 and the shape [2]"),
        (head("F32", "F4"), "the type `F4`, which is unknown"),
        (head("[2]", "[-2]"), "its head cannot be read"),
        (head("[2]", "[2.0]"), "its head cannot be read"),
        (head("[2]", "2"), "its head cannot be read"),
        (head("[2]", "[1,1,1,1,1,1,1,1,2]"), "has 9 sizes"),
        (head("[2]", "[4611686018427387905,4]"), "has bytes 0 to 8"),
        (
            head("[2]", "[18446744073709551616]"),
            "its head cannot be read",
        ),
        (head("[0,8]", "[8,0]"), "has bytes 8 to 0"),
        (head("[0,8]", "[0]"), "its head cannot be read"),
        (head("[0,8]", "[8,16]"), "ends at byte 16 of the data"),
        (
            head("[2],\"data_offsets\":[0,8]", "[1],\"data_offsets\":[0,4]"),
            "4 bytes after",
        ),
        (
            head("[2],\"data_offsets\":[0,8]", "[1],\"data_offsets\":[4,8]"),
            "a gap before",
        ),
        (head("}}", "}"), "its head cannot be read"),
        (head("{\"a\":{", "[[{"), "its head cannot be read"),
        (head("\"dtype\"", "\"type\""), "missing field `dtype`"),
        (
            head("{\"a\"", "{\"__metadata__\":{\"k\":1},\"a\""),
            "its head cannot be read",
        ),
        (
            head("{\"a\"", "{\"__metadata__\":{},\"__metadata__\":{},\"a\""),
            "is there twice",
        ),
        (twice.to_owned(), "the tensor `a` is there twice"),
        (overlap.to_owned(), "the tensor `b` overlaps"),
        (gap.to_owned(), "a gap before the tensor `b`"),
        ("{}".to_owned(), "8 bytes after the last tensor"),
        (String::new(), "its head cannot be read"),
        ("[".repeat(100_000), "its head cannot be read"),
        (
            head("\"a\"", &format!("\"{}\"", "a".repeat(513))),
            "has too long a name",
        ),
    ];
    for (head, reason) in cases {
        let text = open(raw(&head, &[0; 8]));
        assert!(text.contains(reason), "{head:.120}: {text}");
        assert!(text.len() < 600, "{text}");
    }
}

#[test]
fn lengths_that_lie_are_refused_before_memory_is_asked_for() {
    let good = raw(&head("a", "a"), &[0; 8]);
    for (length, reason) in [
        (u64::MAX, "its head would take 18446744073709551615 bytes"),
        (
            HEADER_BYTES_MAX + 1,
            "it is damaged or not a safetensors file",
        ),
        (HEADER_BYTES_MAX, "its download was cut off"),
        (good.len() as u64 - 7, "its download was cut off"),
        (1, "its head cannot be read"),
    ] {
        let mut bytes = good.clone();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        let text = open(bytes);
        assert!(text.contains(reason), "{length}: {text}");
    }
    for cut in 0..good.len() {
        let text = open(good[..cut].to_vec());
        assert!(text.contains("cut off"), "{cut}: {text}");
    }
}

#[test]
fn more_tensors_than_any_model_has_are_refused() {
    let entries: Vec<String> = (0..=TENSORS_MAX)
        .map(|at| format!(r#""{at}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    let text = open(raw(&format!("{{{}}}", entries.join(",")), &[]));
    assert!(text.contains("more than 50000 tensors"), "{text}");
}

#[test]
fn tensors_of_no_numbers_and_of_one_are_read() {
    let head = r#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"__metadata__":null,
        "none":{"dtype":"F32","shape":[0,9],"data_offsets":[4,4]}}"#;
    let file = Container::from_bytes("a", raw(head, &1.5_f32.to_le_bytes())).unwrap();
    assert_eq!(file.get("a").unwrap().to_f32().unwrap(), [1.5]);
    assert_eq!(file.get("none").unwrap().to_f32().unwrap(), [0.0; 0]);
    assert_eq!(file.names().collect::<Vec<_>>(), ["a", "none"]);
}

/// What is taken has to be what another reader of the format sees, and nothing may panic.
#[test]
fn files_with_random_damage_are_refused_or_read_as_others_read_them() {
    let good = pack(
        &named(&[("a.weight", &[2, 3]), ("a.bias", &[2]), ("b", &[1, 1, 2])]),
        &[("format", "pt")],
    );
    let mut random = Random(88_172_645_463_325_252);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(5) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = b"0123456789,[]{}\":FIB"[random.below(20)],
                2 => bytes.truncate(at.max(1)),
                3 => bytes.insert(at, b"0123456789,[]{}\":FIB"[random.below(20)]),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                break;
            }
        }
        let Ok(file) = Container::from_bytes("fuzz", bytes.clone()) else {
            refused += 1;
            continue;
        };
        taken += 1;
        let other = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(other.len(), file.names().count());
        for (name, theirs) in other.iter() {
            let ours = file.get(name).unwrap();
            assert_eq!((ours.shape, ours.bytes), (theirs.shape(), theirs.data()));
            drop(ours.to_f32());
        }
    }
    assert!(
        taken > 500 && refused > 500,
        "{taken} taken, {refused} refused"
    );
}

/// Marsaglia's xorshift of 64 bits.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

#[test]
fn what_is_something_else_is_told_by_name() {
    let cases: [(&[u8], &str); 5] = [
        (b"PK\x03\x04\x00\x00\x08\x08\x00\x00", "PyTorch pickle"),
        (
            b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
            "PyTorch pickle",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "git lfs pull",
        ),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"GGUF\x03\x00\x00\x00\x10\x00\x00\x00", "GGUF"),
    ];
    for (bytes, reason) in cases {
        let text = open(bytes.to_vec());
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn pickles_are_refused_with_the_way_to_convert_them() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.ckpt", "a.PT", "a.pth", "a.bin"] {
        let path = folder.path().join(name);
        fs::write(&path, raw("{}", &[])).unwrap();
        for text in [error(Files::open(&path)), error(Container::open(&path))] {
            assert!(text.contains("safetensors.torch.save_file"), "{text}");
        }
    }
}

#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing.safetensors");
    assert!(error(Files::open(&path)).contains("cannot be read"));
    assert!(error(Files::open(folder.path())).contains("no folder of a diffusers model"));
    assert!(error(Container::open(folder.path())).contains("no .safetensors file"));
    #[cfg(unix)]
    assert!(error(Files::open("/dev/null".as_ref())).contains("no plain file"));
}
