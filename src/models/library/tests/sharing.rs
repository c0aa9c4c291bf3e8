//! Several threads that load.

use std::{
    sync::{Barrier, mpsc},
    thread,
};

use super::*;

/// Lets the first load begin and then wait: gives when it began, and what lets it go on.
fn hold_loads(home: &Home) -> (mpsc::Receiver<PathBuf>, mpsc::Sender<bool>) {
    let (began, begins) = mpsc::channel();
    let (go, goes) = mpsc::channel();
    let goes = Mutex::new(goes);
    home.loader.set_before(move |path| {
        began.send(path.to_path_buf()).unwrap();
        if goes.lock().unwrap().recv().unwrap() {
            Ok(())
        } else {
            Err(FakeError(String::from("broken")))
        }
    });
    (begins, go)
}

/// Gives the processor away until somebody waits for a load.
fn until_waited(loads: &Loads, count: usize) {
    while loads.waited() < count {
        thread::yield_now();
    }
}

#[test]
fn who_asks_for_the_same_thing_waits_and_shares_it() {
    let home = Home::new();
    let file = home.put_listed(Kind::Checkpoint, "a.safetensors", "abc");
    let (begins, go) = hold_loads(&home);
    thread::scope(|scope| {
        let ask = || home.library.painter(&file, None).unwrap();
        let first = scope.spawn(ask);
        begins.recv().unwrap();
        let others = [scope.spawn(ask), scope.spawn(ask)];
        until_waited(&home.library.0.heavy, 2);
        go.send(true).unwrap();
        let first = first.join().unwrap();
        for other in others {
            assert!(Arc::ptr_eq(&first, &other.join().unwrap()));
        }
    });
    assert_eq!(home.loader.count(), 1);
}

#[test]
fn who_waited_for_a_load_that_failed_tries_by_himself() {
    let home = Home::new();
    let file = home.put_listed(Kind::Checkpoint, "a.safetensors", "abc");
    let (begins, go) = hold_loads(&home);
    thread::scope(|scope| {
        let ask = || home.library.painter(&file, None).is_ok();
        let first = scope.spawn(ask);
        begins.recv().unwrap();
        let second = scope.spawn(ask);
        until_waited(&home.library.0.heavy, 1);
        go.send(false).unwrap();
        begins.recv().unwrap();
        go.send(true).unwrap();
        assert!(!first.join().unwrap());
        assert!(second.join().unwrap());
    });
    assert_eq!(home.loader.count(), 2);
}

#[test]
fn different_things_are_loaded_one_after_the_other() {
    let home = Home::new();
    let one = home.put_listed(Kind::Checkpoint, "1.safetensors", "abc");
    let two = home.put_listed(Kind::ControlNet, "2.safetensors", "abc");
    let (begins, go) = hold_loads(&home);
    thread::scope(|scope| {
        scope.spawn(|| home.library.painter(&one, None).unwrap());
        assert_eq!(begins.recv().unwrap(), path_of(&one));
        scope.spawn(|| home.library.guide(&two).unwrap());
        until_waited(&home.library.0.heavy, 1);
        assert!(begins.try_recv().is_err(), "the second has begun");
        go.send(true).unwrap();
        assert_eq!(begins.recv().unwrap(), path_of(&two));
        go.send(true).unwrap();
    });
}

#[test]
fn what_is_loaded_is_given_out_during_another_load() {
    let home = Home::new();
    let one = home.put_listed(Kind::Checkpoint, "1.safetensors", "abc");
    let two = home.put_listed(Kind::Checkpoint, "2.safetensors", "abc");
    home.library.painter(&one, None).unwrap();
    let (begins, go) = hold_loads(&home);
    thread::scope(|scope| {
        scope.spawn(|| home.library.painter(&two, None).unwrap());
        begins.recv().unwrap();
        home.library.painter(&one, None).unwrap();
        assert_eq!(home.library.loaded().len(), 1);
        assert_eq!(home.library.unload(None).dropped, 1);
        go.send(true).unwrap();
    });
    assert_eq!(home.loader.count(), 2);
}

#[test]
fn a_load_that_panics_gives_the_turn_back() {
    let home = Home::new();
    let file = home.put_listed(Kind::Checkpoint, "a.safetensors", "abc");
    home.loader.set_before(|_| panic!("on purpose"));
    thread::scope(|scope| {
        let load = scope.spawn(|| home.library.painter(&file, None));
        assert!(load.join().is_err());
    });
    home.library.painter(&file, None).unwrap();
}

#[test]
fn many_threads_with_little_memory_all_get_their_models() {
    let home = Home::with_limit(10);
    let files: Vec<Listed> = (0..4)
        .map(|number| {
            let name = format!("{number}.safetensors");
            home.put_listed(Kind::Checkpoint, &name, &number.to_string().repeat(4))
        })
        .collect();
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for first in 0..4 {
            let (home, files, start) = (&home, &files, &start);
            scope.spawn(move || {
                start.wait();
                for step in 0..50 {
                    let number = (first + step) % files.len();
                    let painter = home.library.painter(&files[number], None).unwrap();
                    assert_eq!(painter.0.text, number.to_string().repeat(4));
                }
            });
        }
    });
    let loaded = home.library.loaded();
    assert!(loaded.iter().all(|it| !it.is_in_use));
    home.library.painter(&files[0], None).unwrap();
    let bytes: u64 = home.library.loaded().iter().map(|it| it.bytes).sum();
    assert!(bytes <= 16, "{bytes}");
}
