//! Hashes: computed once, kept, and never for a list.

use std::{sync::Barrier, thread};

use super::*;

/// SHA-256 of `abc`: the first test vector of FIPS 180-2.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn must_not_read() -> bool {
    panic!("a file was read")
}

#[test]
fn a_hash_is_computed_once_and_outlives_a_restart() {
    let home = Home::new();
    let file = home.put_listed(Kind::Checkpoint, "sub/a.safetensors", "abc");
    assert_eq!(home.library.known_sha256(&file), None);
    let hash = home.library.sha256(&file, &mut never).unwrap();
    assert_eq!(hash.to_string(), ABC);
    assert_eq!(hash.short(), "ba7816bf8f");
    assert_eq!(
        home.library.sha256(&file, &mut must_not_read).unwrap(),
        hash
    );
    assert_eq!(home.restarted().known_sha256(&file), Some(hash));
    let text = fs::read_to_string(home.folder.path().join("webui").join(HASHES_FILE)).unwrap();
    assert!(
        text.contains("\"models/Stable-diffusion/sub/a.safetensors\""),
        "{text}"
    );
}

#[test]
fn a_file_that_changed_has_another_hash() {
    let home = Home::new();
    let file = home.put_listed(Kind::Checkpoint, "a.safetensors", "abc");
    set_changed(path_of(&file), 1000);
    let file = home.listed(Kind::Checkpoint, "a.safetensors");
    let first = home.library.sha256(&file, &mut never).unwrap();
    fs::write(path_of(&file), "abd").unwrap();
    set_changed(path_of(&file), 1001);
    // By what was listed before, the file is what it was; by itself it is not.
    let later = home.listed(Kind::Checkpoint, "a.safetensors");
    assert_eq!(home.library.known_sha256(&later), None);
    let second = home.library.sha256(&file, &mut never).unwrap();
    assert_ne!(first, second);
    assert_eq!(home.library.known_sha256(&later), Some(second));
}

#[test]
fn listing_reads_no_model() {
    let home = Home::new();
    let file = home.put_listed(Kind::Checkpoint, "a.safetensors", "abc");
    assert_eq!(home.library.title(&file), "a.safetensors");
    home.library.find_checkpoint(Some("a")).unwrap();
    assert_eq!(home.library.0.hashes.computed(), 0);
    assert!(!home.folder.path().join("webui").join(HASHES_FILE).exists());
}

#[test]
fn a_damaged_file_of_hashes_is_ignored_and_written_anew() {
    let home = Home::new();
    let file = home.put_listed(Kind::Checkpoint, "a.safetensors", "abc");
    let kept = home.folder.path().join("webui").join(HASHES_FILE);
    let hash = home.library.sha256(&file, &mut never).unwrap();
    let whole = fs::read_to_string(&kept).unwrap();
    let cases = [
        String::new(),
        whole[..whole.len() - 3].to_owned(),
        whole.replace(ABC, "abc"),
        whole.replace(ABC, &"é".repeat(32)),
        whole.replace("\"version\":1", "\"version\":2"),
        String::from("[]"),
        "[".repeat(100_000),
        " ".repeat(9 << 20),
    ];
    for text in cases {
        fs::write(&kept, &text).unwrap();
        let library = home.restarted();
        assert_eq!(library.known_sha256(&file), None, "{text:.80}");
        assert_eq!(library.sha256(&file, &mut never).unwrap(), hash);
        assert_eq!(fs::read_to_string(&kept).unwrap(), whole);
    }
    fs::remove_file(&kept).unwrap();
    fs::create_dir(&kept).unwrap();
    let library = home.restarted();
    assert_eq!(library.sha256(&file, &mut never).unwrap(), hash);
    assert_eq!(
        library.known_sha256(&file),
        Some(hash),
        "it is kept in memory"
    );
}

#[test]
fn hashes_of_another_process_are_kept() {
    let home = Home::new();
    let one = home.put_listed(Kind::Checkpoint, "1.safetensors", "abc");
    let two = home.put_listed(Kind::Checkpoint, "2.safetensors", "x");
    let other = home.restarted();
    assert_eq!(other.known_sha256(&one), None, "it has read the file now");
    home.library.sha256(&one, &mut never).unwrap();
    other.sha256(&two, &mut never).unwrap();
    let third = home.restarted();
    assert!(third.known_sha256(&one).is_some() && third.known_sha256(&two).is_some());
}

#[test]
fn a_hash_can_be_stopped_and_begun_again() {
    let home = Home::new();
    let file = home.put_listed(Kind::Checkpoint, "a.safetensors", &"x".repeat(3 << 20));
    let mut asked = 0;
    let mut stop = || {
        asked += 1;
        asked == 3
    };
    let stopped = home.library.sha256(&file, &mut stop);
    assert!(matches!(stopped, Err(HashError::Stopped)), "{stopped:?}");
    assert_eq!(asked, 3);
    assert_eq!(home.library.known_sha256(&file), None);
    home.library.sha256(&file, &mut never).unwrap();
}

#[test]
fn a_file_that_changes_meanwhile_gets_no_hash() {
    let home = Home::new();
    let file = home.put_listed(Kind::Checkpoint, "a.safetensors", "abc");
    let mut change = || {
        fs::write(path_of(&file), "abcd").unwrap();
        false
    };
    let result = home.library.sha256(&file, &mut change);
    assert!(
        matches!(result, Err(HashError::Changed { .. })),
        "{result:?}"
    );
    fs::remove_file(path_of(&file)).unwrap();
    let result = home.library.sha256(&file, &mut never);
    assert!(matches!(result, Err(HashError::Read { .. })), "{result:?}");
}

#[test]
fn two_who_ask_at_once_compute_it_once() {
    let home = Home::new();
    let file = home.put_listed(Kind::Checkpoint, "a.safetensors", "abc");
    let (started, other_waits) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            let mut is_first = true;
            home.library.sha256(&file, &mut || {
                if std::mem::take(&mut is_first) {
                    started.wait();
                    other_waits.wait();
                }
                false
            })
        });
        started.wait();
        let mut is_first = true;
        // It is asked while it waits for the first.
        let second = home.library.sha256(&file, &mut || {
            if std::mem::take(&mut is_first) {
                other_waits.wait();
            }
            false
        });
        assert_eq!(second.unwrap(), first.join().unwrap().unwrap());
    });
    assert_eq!(home.library.0.hashes.computed(), 1);
}

#[test]
fn one_who_waits_can_be_stopped() {
    let home = Home::new();
    let file = home.put_listed(Kind::Checkpoint, "a.safetensors", "abc");
    let (started, end) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut is_first = true;
            home.library.sha256(&file, &mut || {
                if std::mem::take(&mut is_first) {
                    started.wait();
                    end.wait();
                }
                false
            })
        });
        started.wait();
        let second = home.library.sha256(&file, &mut || true);
        assert!(matches!(second, Err(HashError::Stopped)), "{second:?}");
        end.wait();
    });
}

#[test]
fn the_hash_of_a_lora_is_that_of_its_tensors() {
    let home = Home::new();
    let mut text = String::from("\u{2}\0\0\0\0\0\0\0{}abc");
    let lora = home.put_listed(Kind::Lora, "a.safetensors", &text);
    let hash = home.library.sha256(&lora, &mut never).unwrap();
    assert_eq!(hash.to_string(), ABC);
    // A head that claims more than there is: the whole file counts.
    text.replace_range(0..1, "\u{7f}");
    for text in [&*text, "abc"] {
        let odd = home.put_listed(Kind::Lora, "b.safetensors", text);
        let checkpoint = home.put_listed(Kind::Checkpoint, "b.safetensors", text);
        let hashes = [odd, checkpoint].map(|it| home.library.sha256(&it, &mut never).unwrap());
        assert_eq!(hashes[0], hashes[1]);
        home.library
            .0
            .hashes
            .known(&home.listed(Kind::Lora, "b.safetensors"));
        fs::remove_file(home.path(Kind::Lora, "b.safetensors")).unwrap();
        fs::remove_file(home.path(Kind::Checkpoint, "b.safetensors")).unwrap();
    }
}

#[test]
fn the_hash_of_a_folder_is_that_of_its_weights_by_their_paths() {
    let home = Home::new();
    let put = |name: &str, text: &str| home.put(Kind::Checkpoint, name, text);
    put("m/model_index.json", "{}");
    put("m/vae/v.safetensors", "abc");
    put("m/unet/u.safetensors", "abc");
    let model = home.listed(Kind::Checkpoint, "m");
    let hash = home.library.sha256(&model, &mut never).unwrap();
    // printf '%s  unet/u.safetensors\n%s  vae/v.safetensors\n' $ABC $ABC | sha256sum
    assert_eq!(hash.to_string(), FOLDER);
    put("m/model_index.json", "{ }");
    let model = home.listed(Kind::Checkpoint, "m");
    assert_eq!(home.library.known_sha256(&model), None);
    assert_eq!(home.library.sha256(&model, &mut never).unwrap(), hash);
}

const FOLDER: &str = "191de84962a21e40a635b08a50f66d1b9dabff1059e8040b485a8b11bfd62b94";

#[test]
fn hashes_are_written_and_read_as_digits() {
    let hash: FileHash = ABC.parse().unwrap();
    assert_eq!(ABC.to_uppercase().parse(), Ok(hash));
    assert_eq!(format!("{hash:?}"), ABC);
    for text in [
        "",
        "abc",
        &"g".repeat(64),
        &"+1".repeat(32),
        &"é".repeat(32),
    ] {
        assert_eq!(text.parse::<FileHash>(), Err(()), "{text}");
    }
}
