//! What is loaded, what is dropped, and what stays.

use super::*;

fn kept(home: &Home) -> Vec<String> {
    let loaded = home.library.loaded().into_iter();
    loaded.map(|it| it.listed.file_name).collect()
}

#[test]
fn a_model_is_loaded_once_and_shared() {
    let home = Home::new();
    let file = home.put_listed(Kind::Checkpoint, "a.safetensors", "abc");
    let one = home.library.painter(&file, None).unwrap();
    let two = home.library.clone().painter(&file, None).unwrap();
    assert!(Arc::ptr_eq(&one, &two));
    assert_eq!(one.0.text, "abc");
    assert_eq!(home.loader.count(), 1);
}

#[test]
fn each_kind_is_loaded_as_what_it_is() {
    let home = Home::new();
    let guide = home.put_listed(Kind::ControlNet, "g.safetensors", "guide");
    let small = home.put_listed(Kind::Taesd, "t.safetensors", "small");
    assert_eq!(home.library.guide(&guide).unwrap().text, "guide");
    assert_eq!(home.library.previewer(&small).unwrap().text, "small");
    let error = home.library.painter(&guide, None).unwrap_err();
    assert!(matches!(error, LoadError::Kind { .. }), "{error}");
    let checkpoint = home.put_listed(Kind::Checkpoint, "c.safetensors", "c");
    let error = home.library.painter(&checkpoint, Some(&guide)).unwrap_err();
    assert!(error.to_string().contains("VAE"), "{error}");
    assert_eq!(home.loader.count(), 2);
}

#[test]
fn a_checkpoint_with_another_vae_is_another_thing() {
    let home = Home::new();
    let checkpoint = home.put_listed(Kind::Checkpoint, "c.safetensors", "c");
    let vae = home.put_listed(Kind::Vae, "v.safetensors", "v");
    let own = home.library.painter(&checkpoint, None).unwrap();
    let other = home.library.painter(&checkpoint, Some(&vae)).unwrap();
    assert_eq!(own.1, None);
    assert_eq!(other.1.as_ref().unwrap().text, "v");
    let again = home.library.painter(&checkpoint, Some(&vae)).unwrap();
    assert!(Arc::ptr_eq(&other, &again));
    let vaes: Vec<_> = home.library.loaded().into_iter().map(|it| it.vae).collect();
    assert_eq!(vaes, [None, Some(vae.place)]);
}

#[test]
fn a_changed_file_is_loaded_anew_and_the_old_one_goes() {
    let home = Home::new();
    let file = home.put_listed(Kind::Checkpoint, "a.safetensors", "one");
    set_changed(path_of(&file), 1000);
    let one = home.library.painter(&file, None).unwrap();
    // Of the same size, and asked for by what was listed before.
    fs::write(path_of(&file), "two").unwrap();
    set_changed(path_of(&file), 1001);
    let two = home.library.painter(&file, None).unwrap();
    assert_eq!((&*one.0.text, &*two.0.text), ("one", "two"));
    assert_eq!(home.library.loaded().len(), 2, "the old one is in use");
    drop(one);
    let other = home.put_listed(Kind::ControlNet, "g.safetensors", "x");
    home.library.guide(&other).unwrap();
    assert_eq!(kept(&home), ["a.safetensors", "g.safetensors"]);
    // The same content put back is a third load: the second is not what the file is now.
    set_changed(path_of(&file), 1000);
    assert!(!Arc::ptr_eq(
        &two,
        &home.library.painter(&file, None).unwrap()
    ));
    fs::write(path_of(&file), "longer").unwrap();
    set_changed(path_of(&file), 1000);
    assert_eq!(home.library.painter(&file, None).unwrap().0.text, "longer");
}

#[test]
fn a_changed_vae_makes_its_checkpoint_load_anew() {
    let home = Home::new();
    let checkpoint = home.put_listed(Kind::Checkpoint, "c.safetensors", "c");
    let vae = home.put_listed(Kind::Vae, "v.safetensors", "v");
    home.library.painter(&checkpoint, Some(&vae)).unwrap();
    fs::write(path_of(&vae), "new").unwrap();
    let painter = home.library.painter(&checkpoint, Some(&vae)).unwrap();
    assert_eq!(painter.1.as_ref().unwrap().text, "new");
    assert_eq!(home.library.loaded().len(), 1);
}

#[test]
fn a_folder_in_which_a_file_changed_is_loaded_anew() {
    let home = Home::new();
    let config = home.put(Kind::Checkpoint, "m/model_index.json", "{}");
    home.put(Kind::Checkpoint, "m/unet/u.safetensors", "x");
    let model = home.listed(Kind::Checkpoint, "m");
    let one = home.library.painter(&model, None).unwrap();
    assert!(Arc::ptr_eq(
        &one,
        &home.library.painter(&model, None).unwrap()
    ));
    fs::write(&config, "{ }").unwrap();
    assert!(!Arc::ptr_eq(
        &one,
        &home.library.painter(&model, None).unwrap()
    ));
}

#[test]
fn a_failed_load_is_not_kept() {
    let home = Home::new();
    let file = home.put_listed(Kind::Checkpoint, "a.safetensors", "abc");
    home.loader
        .set_before(|_| Err(FakeError(String::from("broken"))));
    let error = home.library.painter(&file, None).unwrap_err();
    assert_eq!(error.to_string(), "broken");
    assert!(home.library.loaded().is_empty());
    home.loader.set_before(|_| Ok(()));
    home.library.painter(&file, None).unwrap();
    assert_eq!(home.loader.count(), 2, "other errors are not tried again");
    fs::remove_file(path_of(&file)).unwrap();
    let error = home.library.painter(&file, None).unwrap_err();
    assert!(matches!(error, LoadError::Gone { .. }), "{error}");
}

#[test]
fn the_least_recently_used_go_before_a_new_one_is_loaded() {
    let home = Home::with_limit(10);
    let files = ["1", "2", "3", "4"]
        .map(|name| home.put_listed(Kind::Checkpoint, &format!("{name}.safetensors"), "abcd"));
    home.library.painter(&files[0], None).unwrap();
    home.library.painter(&files[1], None).unwrap();
    home.library.painter(&files[0], None).unwrap();
    // Seen by the loader: there is room already.
    let library = home.library.clone();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&seen);
    home.loader.set_before(move |_| {
        let names = library.loaded().into_iter().map(|it| it.listed.name);
        list.lock().unwrap().extend(names);
        Ok(())
    });
    home.library.painter(&files[2], None).unwrap();
    assert_eq!(*seen.lock().unwrap(), ["1"]);
    assert_eq!(kept(&home), ["1.safetensors", "3.safetensors"]);
    assert!(home.loader.notices().is_empty());
    // The hook holds a library that holds the hook.
    *home.loader.before.lock().unwrap() = None;
    *home.loader.factor.lock().unwrap() = Some(2.5);
    home.library.painter(&files[3], None).unwrap();
    assert_eq!(kept(&home), ["4.safetensors"]);
}

#[test]
fn what_is_in_use_stays_and_a_load_runs_all_the_same() {
    let home = Home::with_limit(10);
    let files = ["1", "2", "3"]
        .map(|name| home.put_listed(Kind::Checkpoint, &format!("{name}.safetensors"), "abcdef"));
    let one = home.library.painter(&files[0], None).unwrap();
    let two = home.library.painter(&files[1], None).unwrap();
    let notices = home.loader.notices();
    let expected = Notice::OverLimit {
        file_name: String::from("2.safetensors"),
        expected: 6,
        held: 6,
        limit: 10,
    };
    assert_eq!(notices, [expected]);
    assert!(notices[0].to_string().contains("2.safetensors"));
    assert_eq!(kept(&home), ["1.safetensors", "2.safetensors"]);
    drop(one);
    home.library.painter(&files[2], None).unwrap();
    assert_eq!(kept(&home), ["2.safetensors", "3.safetensors"]);
    assert_eq!(home.loader.notices().len(), 1);
    drop(two);
    home.library.painter(&files[0], None).unwrap();
    assert_eq!(kept(&home), ["1.safetensors"]);
    assert!(home.loader.notices().is_empty());
}

#[test]
fn a_model_that_takes_more_than_was_expected_makes_room_afterwards() {
    let home = Home::with_limit(10);
    let one = home.put_listed(Kind::Checkpoint, "1.safetensors", "abc");
    let two = home.put_listed(Kind::Checkpoint, "2.safetensors", "abc");
    let sizes = BTreeMap::from([(String::from("2.safetensors"), 9)]);
    *home.loader.sizes.lock().unwrap() = sizes;
    home.library.painter(&one, None).unwrap();
    home.library.painter(&two, None).unwrap();
    assert_eq!(kept(&home), ["2.safetensors"]);
    assert_eq!(home.library.loaded()[0].bytes, 9);
}

#[test]
fn a_load_that_runs_out_of_memory_is_tried_once_more_with_all_others_dropped() {
    let home = Home::new();
    let small = home.put_listed(Kind::ControlNet, "g.safetensors", "x");
    let large = home.put_listed(Kind::Checkpoint, "c.safetensors", "x");
    home.library.guide(&small).unwrap();
    let library = home.library.clone();
    home.loader.set_before(move |_| {
        if library.loaded().is_empty() {
            return Ok(());
        }
        Err(FakeError(String::from("no memory")))
    });
    home.library.painter(&large, None).unwrap();
    assert_eq!(home.loader.count(), 3);
    assert_eq!(kept(&home), ["c.safetensors"]);
    let notices = home.loader.notices();
    assert!(matches!(&notices[..], [Notice::TriedAgain { .. }]));
    // With nothing to drop there is nothing to try.
    let _held = home.library.painter(&large, None).unwrap();
    assert!(home.library.guide(&small).is_err());
    assert_eq!(home.loader.count(), 4);
    *home.loader.before.lock().unwrap() = None;
}

#[test]
fn unloading_drops_what_nobody_uses() {
    let home = Home::new();
    let names = ["1.safetensors", "2.safetensors"];
    let files = names.map(|name| home.put_listed(Kind::Checkpoint, name, "abcd"));
    let guide = home.put_listed(Kind::ControlNet, "g.safetensors", "xyz");
    let held = home.library.painter(&files[0], None).unwrap();
    home.library.painter(&files[1], None).unwrap();
    home.library.guide(&guide).unwrap();
    let use_of: Vec<_> = home
        .library
        .loaded()
        .iter()
        .map(|it| it.is_in_use)
        .collect();
    assert_eq!(use_of, [true, false, false]);
    let done = home.library.unload(Some(Kind::Checkpoint));
    let expected = Unloaded {
        dropped: 1,
        bytes: 4,
        in_use: 1,
    };
    assert_eq!(done, expected);
    assert_eq!(kept(&home), ["1.safetensors", "g.safetensors"]);
    drop(held);
    let done = home.library.unload(None);
    assert_eq!((done.dropped, done.bytes, done.in_use), (2, 7, 0));
    assert!(home.library.loaded().is_empty());
}

#[test]
fn the_last_use_is_told() {
    let home = Home::new();
    let names = ["1.safetensors", "2.safetensors"];
    let files = names.map(|name| home.put_listed(Kind::Checkpoint, name, "abcd"));
    for file in [&files[0], &files[1], &files[0]] {
        home.library.painter(file, None).unwrap();
    }
    let loaded = home.library.loaded();
    assert_eq!(loaded[0].listed, files[1]);
    assert_eq!(loaded[1].listed, files[0]);
    assert!(loaded[0].last_used <= loaded[1].last_used);
}
