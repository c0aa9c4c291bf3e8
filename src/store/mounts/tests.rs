use std::{fs, os::unix::fs::symlink};

use super::*;

const LIMIT: u64 = 1000;

fn mount(mount_path: &str, bucket: &str, prefix: &str, read_only: bool) -> Mount {
    Mount {
        mount_path: mount_path.to_owned(),
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        read_only,
    }
}

/// A data folder with `bucket/a/b.jpg` in the mount `/photog_oss`, and a secret outside of it.
fn example() -> (tempfile::TempDir, Mounts) {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let mounts = Mounts::new(&[mount("/photog_oss", "bucket", "", false)], &[], &data).unwrap();
    fs::create_dir(data.join("bucket/a")).unwrap();
    fs::write(data.join("bucket/a/b.jpg"), b"picture").unwrap();
    fs::write(data.join("secret"), b"secret").unwrap();
    (home, mounts)
}

#[test]
fn a_file_is_found_by_bucket_address_and_by_mount_path() {
    let (_home, mounts) = example();
    for address in [
        "oss://bucket/a/b.jpg",
        "/photog_oss/a/b.jpg",
        "/photog_oss//a/./b.jpg",
    ] {
        assert!(mounts.covers(address));
        assert_eq!(
            mounts.read(address, LIMIT).unwrap(),
            b"picture",
            "{address}"
        );
    }
}

#[test]
fn no_path_leads_out_of_the_mount() {
    let (_home, mounts) = example();
    for address in [
        "/photog_oss/../secret",
        "/photog_oss/a/../../secret",
        "/photog_oss/a/../a/b.jpg",
        "/photog_oss/..",
        "/photog_oss_other/a/b.jpg",
        "/photog_ossa/b.jpg",
        "/etc/passwd",
        "oss://bucket/../secret",
        "oss://bucket/a/../../secret",
        "oss://../secret",
        "oss://other/a/b.jpg",
        "oss://bucket",
        "/photog_oss/a/b.jpg\0",
        "/photog_oss/\0/../secret",
    ] {
        let read = mounts.read(address, LIMIT);
        assert!(
            matches!(read, Err(StoreError::PathRefused(_))),
            "{address:?}: {read:?}"
        );
        let written = mounts.write(address, b"x");
        assert!(
            matches!(written, Err(StoreError::PathRefused(_))),
            "{address:?}: {written:?}"
        );
    }
    // Escapes mean nothing in a path, and an absolute path inside a key stays below the mount.
    for address in [
        "/photog_oss/%2e%2e/secret",
        "/photog_oss//etc/passwd",
        "oss://bucket//etc/passwd",
        "/photog_oss/..%2fsecret",
        "/photog_oss/..\\secret",
    ] {
        let read = mounts.read(address, LIMIT);
        assert!(
            matches!(read, Err(StoreError::NotFound)),
            "{address:?}: {read:?}"
        );
    }
}

#[test]
fn links_are_refused_wherever_they_point() {
    let (home, mounts) = example();
    let root = home.path().join("data/bucket");
    symlink("../secret", root.join("file_out")).unwrap();
    symlink(home.path().join("data/secret"), root.join("file_absolute")).unwrap();
    symlink("a/b.jpg", root.join("file_inside")).unwrap();
    symlink("..", root.join("folder_out")).unwrap();
    symlink("a", root.join("folder_inside")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    for path in [
        "file_out",
        "file_absolute",
        "file_inside",
        "folder_out/secret",
        "folder_inside/b.jpg",
        "dangling",
        "loop",
        "loop/x",
    ] {
        let read = mounts.read(&format!("/photog_oss/{path}"), LIMIT);
        assert!(
            matches!(read, Err(StoreError::PathRefused(_))),
            "{path}: {read:?}"
        );
    }
    assert!(mounts.write("/photog_oss/file_out", b"x").is_err());
    assert!(mounts.write("/photog_oss/folder_out/new", b"x").is_err());
    assert_eq!(
        fs::read(home.path().join("data/secret")).unwrap(),
        b"secret"
    );
    assert!(!home.path().join("data/new").exists());
}

#[test]
fn the_root_of_a_mount_may_be_a_link() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("disk")).unwrap();
    fs::write(home.path().join("disk/a.jpg"), b"picture").unwrap();
    symlink("disk", home.path().join("bucket")).unwrap();
    let mounts = Mounts::new(&[mount("/m", "bucket", "", false)], &[], home.path()).unwrap();
    assert_eq!(mounts.read("/m/a.jpg", LIMIT).unwrap(), b"picture");
}

#[test]
fn only_plain_files_are_read() {
    let (home, mounts) = example();
    let pipe = home.path().join("data/bucket/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
    let socket = home.path().join("data/bucket/socket");
    let _listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    for path in ["a", "a/", "pipe", "socket", ""] {
        let read = mounts.read(&format!("/photog_oss/{path}"), LIMIT);
        assert!(
            matches!(read, Err(StoreError::NotAFile)),
            "{path}: {read:?}"
        );
    }
    let devices = Mounts::new(
        &[mount("/dev", "devices", "", true)],
        &[BucketFolder {
            bucket: "devices".into(),
            prefix: String::new(),
            folder: "/dev".into(),
        }],
        home.path(),
    )
    .unwrap();
    let read = devices.read("/dev/zero", LIMIT);
    assert!(matches!(read, Err(StoreError::NotAFile)), "{read:?}");
}

#[test]
fn a_missing_file_is_not_found() {
    let (_home, mounts) = example();
    for path in ["c.jpg", "no/such/folder", "a/b.jpg/c"] {
        let read = mounts.read(&format!("/photog_oss/{path}"), LIMIT);
        assert!(
            matches!(read, Err(StoreError::NotFound)),
            "{path}: {read:?}"
        );
    }
    let long = format!("/photog_oss/{}", "x".repeat(300));
    assert!(matches!(
        mounts.read(&long, LIMIT),
        Err(StoreError::PathRefused(_))
    ));
    let longer = format!("/photog_oss/{}", "x/".repeat(3000));
    assert!(matches!(
        mounts.read(&longer, LIMIT),
        Err(StoreError::PathRefused(_))
    ));
}

#[test]
fn a_file_at_the_limit_is_read_and_one_above_is_refused() {
    let (_home, mounts) = example();
    assert_eq!(mounts.read("/photog_oss/a/b.jpg", 7).unwrap().len(), 7);
    let read = mounts.read("/photog_oss/a/b.jpg", 6);
    assert!(matches!(read, Err(StoreError::TooLarge { limit: 6 })));
}

#[test]
fn writing_makes_folders_and_replaces_whole_files() {
    let (home, mounts) = example();
    mounts.write("/photog_oss/x/y/new.jpg", b"one").unwrap();
    mounts.write("oss://bucket/x/y/new.jpg", b"two").unwrap();
    assert_eq!(
        mounts.read("/photog_oss/x/y/new.jpg", LIMIT).unwrap(),
        b"two"
    );
    let folder = home.path().join("data/bucket/x/y");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
    assert!(matches!(
        mounts.write("/photog_oss/a", b"x"),
        Err(StoreError::NotAFile)
    ));
}

#[test]
fn a_read_only_mount_is_read_and_never_written() {
    let home = tempfile::tempdir().unwrap();
    let mounts = Mounts::new(&[mount("/m", "bucket", "", true)], &[], home.path()).unwrap();
    fs::write(home.path().join("bucket/a.jpg"), b"picture").unwrap();
    assert_eq!(mounts.read("/m/a.jpg", LIMIT).unwrap(), b"picture");
    assert!(matches!(
        mounts.write("/m/b.jpg", b"x"),
        Err(StoreError::ReadOnly)
    ));
    assert!(!home.path().join("bucket/b.jpg").exists());
}

#[test]
fn the_longest_prefix_decides_the_folder() {
    let home = tempfile::tempdir().unwrap();
    let line = |prefix: &str, folder: &str| BucketFolder {
        bucket: "bucket".into(),
        prefix: prefix.into(),
        folder: home.path().join(folder),
    };
    let table = [line("", "whole"), line("a", "part")];
    let mounts = Mounts::new(
        &[
            mount("/one", "bucket", "a/b", false),
            mount("/one/two", "bucket", "ab", false),
            mount("/three", "free", "p", false),
        ],
        &table,
        &home.path().join("data"),
    )
    .unwrap();
    let folders: Vec<_> = mounts.folders().collect();
    assert_eq!(
        folders,
        [
            ("/one", home.path().join("part/b").as_path()),
            ("/one/two", home.path().join("whole/ab").as_path()),
            ("/three", home.path().join("data/free/p").as_path()),
        ]
    );
    fs::write(home.path().join("whole/ab/x"), b"ab").unwrap();
    assert_eq!(mounts.read("/one/two/x", LIMIT).unwrap(), b"ab");
    assert_eq!(mounts.read("oss://bucket/ab/x", LIMIT).unwrap(), b"ab");
    assert!(matches!(
        mounts.read("oss://bucket/abc/x", LIMIT),
        Err(StoreError::PathRefused(_))
    ));
}

#[test]
fn a_mount_whose_bucket_or_prefix_is_no_plain_name_is_refused() {
    let home = tempfile::tempdir().unwrap();
    for (bucket, prefix) in [
        ("..", ""),
        ("", ""),
        ("a/b", ""),
        ("b", "../x"),
        ("b", "a//c"),
    ] {
        let made = Mounts::new(&[mount("/m", bucket, prefix, false)], &[], home.path());
        assert!(
            matches!(made, Err(StoreError::InvalidMount { .. })),
            "{bucket} {prefix}"
        );
    }
}
