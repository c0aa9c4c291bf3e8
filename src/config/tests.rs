//! Where settings come from, and which are refused.

use super::*;

fn collect(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Settings, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photog.toml");
    std::fs::write(&path, file).unwrap();
    Settings::collect(
        Some(&path),
        environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        flags
            .iter()
            .map(|(name, value)| (*name, vec![(*value).to_owned()])),
    )
}

#[test]
fn a_flag_beats_the_environment_and_that_the_file_and_that_the_default() {
    let file = "result_days = 1\nhistory_days = 2\nretry_mib = 3";
    let environment = [
        ("PHOTOG_HISTORY_DAYS", "4"),
        ("PHOTOG_RETRY_MIB", "5"),
        ("HOME", "/x"),
    ];
    let settings = collect(file, &environment, &[("retry_mib", "6")]).unwrap();
    let config = settings.check().unwrap();
    assert_eq!(config.retention.result_age, Duration::from_secs(86_400));
    assert_eq!(
        config.retention.history_age,
        Duration::from_secs(4 * 86_400)
    );
    assert_eq!(config.retention.retry_bytes_max, 6 * MIB);
    let sources: BTreeMap<_, _> = settings
        .listing()
        .map(|(key, _, source)| (key.name, source.clone()))
        .collect();
    assert_eq!(sources["listen"], Source::Default);
    assert!(matches!(sources["result_days"], Source::File(_)));
    assert_eq!(
        sources["history_days"],
        Source::Environment("PHOTOG_HISTORY_DAYS".to_owned())
    );
    assert_eq!(sources["retry_mib"], Source::Flag);
}

#[test]
fn an_unknown_name_is_an_error_that_names_the_nearest() {
    let error = collect("lissten = \"x\"", &[], &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("`listen`"), "{error}");
    let error = collect("", &[("PHOTOG_RESULT_DAY", "1")], &[])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("PHOTOG_RESULT_DAY") && error.contains("`result_days`"),
        "{error}"
    );
}

#[test]
fn wrong_values_are_refused_with_their_name() {
    for (file, name) in [
        ("result_days = -1", "result_days"),
        ("connections_max = 0", "connections_max"),
        ("allow_private_networks = \"yes\"", "allow_private_networks"),
        ("listen = [\"a\", \"b\"]", "listen"),
        ("services = [[1]]", "services"),
        ("x", "photog.toml"),
    ] {
        let error = collect(file, &[], &[]).unwrap_err().to_string();
        assert!(error.contains(name), "{file}: {error}");
    }
    for (name, value) in [
        ("listen", "here"),
        ("device", "gpu"),
        ("buckets", "bucket"),
        ("device", "cuda:x"),
        ("pack", "Demo"),
        ("pack", ""),
    ] {
        let settings = collect("", &[], &[(name, value)]).unwrap();
        let error = settings.check().unwrap_err().to_string();
        assert!(error.contains(name), "{name}: {error}");
    }
}

#[test]
fn a_pack_is_named_and_an_unknown_one_refused_with_all_names() {
    let pack = |value: &str| collect("", &[], &[("pack", value)]).unwrap().check();
    let chosen = |value: &str| pack(value).unwrap().pack;
    assert_eq!(
        collect("", &[], &[]).unwrap().check().unwrap().pack,
        PackChoice::Auto
    );
    assert_eq!(chosen("auto"), PackChoice::Auto);
    assert_eq!(chosen("none"), PackChoice::None);
    for known in Pack::ALL {
        assert_eq!(chosen(known.as_str()), PackChoice::Named(known));
        let error = pack("dmeo").unwrap_err().to_string();
        assert!(
            error.contains("dmeo") && error.contains(known.as_str()),
            "{error}"
        );
    }
}

#[test]
fn the_token_is_never_shown() {
    let settings = collect("", &[("PHOTOG_TOKEN", "sesame")], &[]).unwrap();
    assert!(
        settings
            .listing()
            .all(|(_, shown, _)| !shown.contains("sesame"))
    );
    assert!(!format!("{settings:?}").contains("sesame"));
    let config = settings.check().unwrap();
    assert!(!format!("{config:?}").contains("sesame"));
    let broken = collect("listen = \"x\"\ntoken = \"sesame", &[], &[]).unwrap_err();
    assert!(!broken.to_string().contains("sesame"), "{broken}");
    assert!(broken.to_string().contains("line 2"), "{broken}");
    assert_eq!(config.token.unwrap().expose(), "sesame");
}

#[test]
fn buckets_are_read_with_and_without_a_prefix() {
    let settings = collect(
        "buckets = [\"oss://b/p/q/=/data\", \"oss://c=rel\"]",
        &[],
        &[],
    )
    .unwrap();
    let buckets = settings.check().unwrap().buckets;
    assert_eq!(
        buckets[0],
        BucketFolder {
            bucket: "b".into(),
            prefix: "p/q".into(),
            folder: "/data".into()
        }
    );
    assert_eq!(
        buckets[1],
        BucketFolder {
            bucket: "c".into(),
            prefix: String::new(),
            folder: "rel".into()
        }
    );
}

#[test]
fn apps_come_from_list_variable_or_file_and_are_shown_to_nobody() {
    let pairs = |settings: Settings| -> Vec<(String, String)> {
        let shown = format!("{settings:?}");
        let config = settings.check().unwrap();
        assert!(!format!("{shown} {config:?}").contains("secret"), "{shown}");
        let apps = config.apps.into_iter();
        apps.map(|(id, token)| (id, token.expose().to_owned()))
            .collect()
    };
    let pair = |id: &str, token: &str| (id.to_owned(), token.to_owned());
    let demo = [pair("demo", "secret:1"), pair("other", "secret2")];
    let listed = collect("apps = [\"other:secret2\", \"demo:secret:1\"]", &[], &[]);
    assert_eq!(pairs(listed.unwrap()), demo);
    let variable = ("PHOTOG_APPS", "demo:secret:1,other:secret2");
    assert_eq!(pairs(collect("", &[variable], &[]).unwrap()), demo);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("apps");
    std::fs::write(&file, "# ours\n\ndemo:secret:1\n other:secret2 \n").unwrap();
    let named = ("PHOTOG_APPS_FILE", file.to_str().unwrap());
    assert_eq!(pairs(collect("", &[named], &[]).unwrap()), demo);
    let variable = ("PHOTOG_APPS", "one:secret3");
    let both = collect("", &[named, variable], &[]).unwrap();
    assert_eq!(pairs(both), [pair("one", "secret3")]);
    assert!(pairs(collect("", &[], &[]).unwrap()).is_empty());
    std::fs::write(&file, "# none\n").unwrap();
    let empty = collect("", &[named], &[]).unwrap().check().unwrap_err();
    assert!(empty.to_string().contains("one a line"), "{empty}");
}

#[test]
fn what_is_no_app_is_refused_without_its_token() {
    for given in [
        "secret",
        ":secret",
        "demo:",
        "de mo:secret",
        "dem\u{f6}:secret",
    ] {
        let variable = ("PHOTOG_APPS", format!("good:secret,{given}"));
        let settings = collect("", &[(variable.0, &variable.1)], &[]).unwrap();
        let error = settings.check().unwrap_err().to_string();
        assert!(
            error.contains("app 2") && !error.contains("secret"),
            "{error}"
        );
    }
    let twice = collect("", &[("PHOTOG_APPS", "a:secret,a:secret")], &[]).unwrap();
    let error = twice.check().unwrap_err().to_string();
    assert!(
        error.contains("`a` twice") && !error.contains("secret"),
        "{error}"
    );
}
