//! What survives a crash, a torn log, a damaged page, a full disk and a failing sync.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod queue_support;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use photog::{
    domain::{ServiceKind, ServiceSpec, Tags},
    queue::{BLOB_THRESHOLD_BYTES, NewEntry, Payload, QueueError, QueueKey, Store, StoreOptions},
};
use queue_support::*;

/// Where the child process of the sync test keeps its store; set for that process only.
const CHILD_FOLDER: &str = "PHOTOG_SYNC_CHILD_FOLDER";

fn queue() -> QueueKey {
    QueueKey::source(SERVICE)
}

fn options(folder: &Path) -> StoreOptions {
    let mut options = StoreOptions::below(folder);
    options.disk_reserve_bytes = 0;
    options
}

fn open(folder: &Path, spec: &ServiceSpec) -> Store {
    Store::open(options(folder), std::slice::from_ref(spec)).unwrap()
}

async fn requests(store: &Store) -> Vec<String> {
    let get = photog::queue::Get {
        filter: photog::queue::Filter {
            from: Some(0),
            tags: Tags::default(),
        },
        length: 10_000,
        auto_delete: false,
        wait: false,
    };
    let frames = store.get(&queue(), get, Duration::ZERO).await.unwrap();
    let request = |frame: &photog::queue::Frame| frame.tags.get("requestId").unwrap().to_owned();
    frames.iter().map(request).collect()
}

fn is_whole(folder: &Path) {
    let connection = rusqlite::Connection::open(folder.join("photog.db")).unwrap();
    let check: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    let broken: i64 = connection
        .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(broken, 0);
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_log_leaves_a_prefix_of_what_was_acknowledged() {
    let mut seed = 20_260_101;
    println!("seed {seed}");
    let spec = spec(ServiceKind::Queue);
    let bench = Bench::new(spec.clone());
    let store = bench.store.clone();
    let (acknowledged, progress) = tokio::sync::watch::channel(0_u64);
    let writer = tokio::spawn(async move {
        for number in 1.. {
            let put = store.put(&queue(), entry(&number.to_string())).await;
            if put.is_err() || acknowledged.send(number).is_err() {
                return;
            }
        }
    });
    let mut copies = Vec::new();
    for round in 1..=8 {
        progress
            .clone()
            .wait_for(|number| *number >= round * 25)
            .await
            .unwrap();
        let copy = tempfile::tempdir().unwrap();
        let before = *progress.borrow();
        // The log only grows here, so a copy of it ends at some moment of its writing.
        copy_files(bench.folder.path(), copy.path());
        copies.push((copy, before));
    }
    drop(progress);
    writer.await.unwrap();
    bench.store.close().await;

    for (copy, before) in copies {
        let log = std::fs::read(copy.path().join("photog.db-wal")).unwrap();
        for cut in [log.len() as u64, random(&mut seed) % log.len() as u64] {
            let torn = tempfile::tempdir().unwrap();
            copy_files(copy.path(), torn.path());
            let file = std::fs::OpenOptions::new()
                .write(true)
                .open(torn.path().join("photog.db-wal"))
                .unwrap();
            file.set_len(cut).unwrap();
            drop(file);
            let store = open(torn.path(), &spec);
            let found = requests(&store).await;
            let prefix: Vec<String> = (1..=found.len()).map(|n| n.to_string()).collect();
            assert_eq!(found, prefix, "log cut at {cut} of {}", log.len());
            if cut == log.len() as u64 {
                assert!(
                    found.len() as u64 >= before,
                    "{before} had been acknowledged"
                );
            }
            let next = store.put(&queue(), entry("next")).await.unwrap();
            assert_eq!(next.index, found.len() as u64 + 1);
            store.close().await;
            is_whole(torn.path());
        }
    }
}

#[tokio::test]
async fn indexes_rise_across_restarts_even_when_the_queue_was_emptied() {
    let mut bench = Bench::new(spec(ServiceKind::Queue));
    for request in ["a", "b"] {
        bench.put(&queue(), request).await;
    }
    bench.store.truncate(&queue(), 99).await.unwrap();
    bench.crash().await;
    assert_eq!(bench.put(&queue(), "c").await, 3);
}

#[tokio::test]
async fn payload_files_that_no_entry_names_are_swept_at_the_start() {
    let mut bench = Bench::new(spec(ServiceKind::Queue));
    let blob = |bytes: &[u8]| {
        let mut blob = bench.store.blobs().create().unwrap();
        blob.write(bytes).unwrap();
        blob.finish().unwrap()
    };
    let large = vec![1; BLOB_THRESHOLD_BYTES as usize + 1];
    let new = NewEntry {
        payload: Payload::Blob(blob(&large)),
        ..entry("kept")
    };
    let unnamed = blob(&large);
    bench.store.put(&queue(), new).await.unwrap();
    assert_eq!(bench.blob_files(), 2);
    std::mem::forget(unnamed);
    bench.crash().await;
    assert_eq!(bench.blob_files(), 1);
    let mut frames = bench.get(&queue()).await;
    assert_eq!(frames[0].take_data().into_bytes().unwrap(), large);
}

#[tokio::test]
async fn closing_folds_the_log_into_the_file() {
    let bench = Bench::new(spec(ServiceKind::Queue));
    bench.put(&queue(), "r").await;
    bench.store.close().await;
    let log = bench.folder.path().join("photog.db-wal");
    assert_eq!(std::fs::metadata(log).map_or(0, |log| log.len()), 0);
    let refused = bench.store.put(&queue(), entry("late")).await;
    assert!(matches!(refused, Err(QueueError::Closed)));
}

#[tokio::test]
async fn a_damaged_file_is_reported_and_not_changed() {
    let bench = Bench::new(spec(ServiceKind::Queue));
    for number in 0..200 {
        bench.put(&queue(), &"x".repeat(500 + number)).await;
    }
    bench.store.close().await;
    let path = bench.options.database.clone();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xa5);
    std::fs::write(&path, &bytes).unwrap();
    let error = Store::open(bench.options.clone(), std::slice::from_ref(&bench.spec))
        .err()
        .expect("the damage is found");
    assert!(matches!(error, QueueError::Damaged { .. }), "{error}");
    assert!(matches!(
        Store::check_file(&path),
        Err(QueueError::Damaged { .. })
    ));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn below_the_reserve_puts_are_refused_and_running_work_is_finished() {
    let mut bench = Bench::new(spec(ServiceKind::ScalableJob));
    let mut slot = bench.attach(&queue(), SERVICE, "slot-1", 1).await;
    bench.put(&queue(), "r").await;
    bench.pushed(&mut slot).await;
    bench.options.disk_reserve_bytes = u64::MAX;
    bench.crash().await;
    let refused = bench.store.put(&queue(), entry("more")).await.unwrap_err();
    assert!(matches!(refused, QueueError::DiskFull { .. }), "{refused}");
    let mut slot = bench.attach(&queue(), SERVICE, "slot-1", 1).await;
    let push = bench.pushed(&mut slot).await.remove(0);
    bench.finish(&push, "done").await.unwrap();
    assert_eq!(bench.get(&QueueKey::sink(SERVICE)).await.len(), 1);
}

/// A small file system in memory; none when this user may not mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|out| out.status.success())
            .then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_work_goes_on_when_there_is_space_again() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: this user may not mount a file system");
        return;
    };
    let folder = disk.0.path();
    let ballast = folder.join("ballast");
    std::fs::write(&ballast, vec![0; 700 * 1024]).unwrap();
    let mut spec = spec(ServiceKind::ScalableJob);
    spec.queue.max_delivery = 1;
    let store = open(folder, &spec);
    let mut slot = store
        .attach(&queue(), attach(SERVICE, "slot-1", 1))
        .await
        .unwrap();
    let mut acknowledged = Vec::new();
    let refusal = loop {
        let request = format!("{}-{}", acknowledged.len(), "x".repeat(8000));
        match store.put(&queue(), entry(&request)).await {
            Ok(_) => acknowledged.push(request),
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, QueueError::Storage(_)), "{refusal}");
    assert!(acknowledged.len() > 10);
    let push = slot.pushes.try_recv().unwrap();
    std::fs::remove_file(&ballast).unwrap();

    let patience = Instant::now() + Duration::from_secs(60);
    while let Err(error) = store.finish(SERVICE, done(&push, "done")).await {
        assert!(matches!(error, QueueError::Storage(_)), "{error}");
        assert!(Instant::now() < patience, "{error}");
        std::thread::yield_now();
    }
    acknowledged.remove(0);
    store.put(&queue(), entry("after")).await.unwrap();
    acknowledged.push("after".into());
    assert_eq!(requests(&store).await, acknowledged);
    store.close().await;
    is_whole(folder);
    let store = open(folder, &spec);
    assert_eq!(requests(&store).await, acknowledged);
    store.close().await;
}

/// Compiles the library that makes syncs fail; none without a C compiler.
fn fault_library(folder: &Path) -> Option<PathBuf> {
    let library = folder.join("fsync_fault.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/fsync_fault.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .args([source, "-ldl"])
        .output();
    compiled
        .is_ok_and(|out| out.status.success())
        .then_some(library)
}

#[test]
fn a_failing_sync_is_never_acknowledged_and_the_store_goes_on_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = fault_library(folder.path()) else {
        println!("skipped: no C compiler");
        return;
    };
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child_under_failing_syncs",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("LD_PRELOAD", library)
        .env("FSYNC_FAULT_FILE", folder.path().join("broken"))
        .env(CHILD_FOLDER, folder.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && output.contains("the child has seen the fault"),
        "{output}{}",
        String::from_utf8_lossy(&child.stderr)
    );
}

/// The other half of the test above; does nothing unless that one starts it.
#[tokio::test]
async fn child_under_failing_syncs() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER).map(PathBuf::from) else {
        return;
    };
    let control = folder.join("broken");
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    let spec = spec(ServiceKind::Queue);
    let store = open(&data, &spec);
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        for number in 0..20 {
            let request = format!("good-{round}-{number}");
            store.put(&queue(), entry(&request)).await.unwrap();
            acknowledged.push(request);
        }
        std::fs::write(&control, "").unwrap();
        for number in 0..5 {
            let refused = store
                .put(&queue(), entry(&format!("bad-{round}-{number}")))
                .await;
            assert!(
                matches!(refused, Err(QueueError::Storage(_))),
                "{refused:?}"
            );
        }
        std::fs::remove_file(&control).unwrap();
        let patience = Instant::now() + Duration::from_secs(60);
        while let Err(error) = store.put(&queue(), entry("probe")).await {
            assert!(Instant::now() < patience, "{error}");
            std::thread::yield_now();
        }
    }
    store.put(&queue(), entry("last")).await.unwrap();
    acknowledged.push("last".into());
    let copy = folder.join("copy");
    std::fs::create_dir(&copy).unwrap();
    copy_files(&data, &copy);
    let reopened = open(&copy, &spec);
    // A refused put may have survived, which is why its error says that this is unknown.
    let mut found = requests(&reopened).await;
    found.retain(|request| request != "probe" && !request.starts_with("bad"));
    assert_eq!(found, acknowledged);
    reopened.close().await;
    is_whole(&copy);
    println!("the child has seen the fault");
}
