//! Token ids against transformers, and against the shared data where they lie.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};

use super::*;

/// Ids of prompts by transformers; see `tests/reference/clip_tokens.py`.
fn fixture() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/reference/fixtures/clip_tokens.json"
    );
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Where the test data lie, if they do.
fn data(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("PHOTOG_TEST_DATA")
        .map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    if folder.join("golden/clip_tokens.json").is_file() {
        return Some(folder);
    }
    println!(
        "{test} is skipped: there are no test data in {}",
        folder.display()
    );
    None
}

fn shared_tokenizer(data: &std::path::Path) -> Tokenizer {
    let folder = data.join("models/clip/sd15_tokenizer");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let config = read("tokenizer_config.json");
    Tokenizer::from_files(&read("vocab.json"), &read("merges.txt"), Some(&config)).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().unwrap().iter();
    ids.map(|id| id.as_u64().unwrap() as u32).collect()
}

fn small_files() -> (Value, String, Value) {
    let small = &fixture()["small"];
    let merges = small["merges"].as_str().unwrap().to_owned();
    (small["vocab"].clone(), merges, small["config"].clone())
}

fn open(vocab: &Value, merges: &str, config: Option<&Value>) -> Result<Tokenizer, TokenizerError> {
    let config = config.map(Value::to_string);
    Tokenizer::from_files(
        vocab.to_string().as_bytes(),
        merges.as_bytes(),
        config.as_deref().map(str::as_bytes),
    )
}

#[test]
fn prompts_have_the_ids_of_the_reference() {
    let tokenizer = Tokenizer::standard();
    let cases = fixture()["standard"].as_array().unwrap().clone();
    assert!(cases.len() > 250);
    for case in cases {
        let text = case[0].as_str().unwrap();
        assert_eq!(tokenizer.encode(text), ids(&case[1]), "{text:?}");
    }
}

#[test]
fn the_standard_vocabulary_knows_its_special_tokens() {
    let tokenizer = Tokenizer::standard();
    assert_eq!((tokenizer.begin(), tokenizer.end()), (49406, 49407));
    assert_eq!((tokenizer.pad(), tokenizer.comma()), (49407, Some(267)));
    assert_eq!(tokenizer.vocabulary_size(), 49408);
}

#[test]
fn a_vocabulary_from_files_has_the_ids_of_the_reference() {
    let (vocab, merges, config) = small_files();
    let tokenizer = open(&vocab, &merges, Some(&config)).unwrap();
    let small = &fixture()["small"];
    for case in small["prompts"].as_array().unwrap() {
        let text = case[0].as_str().unwrap();
        assert_eq!(tokenizer.encode(text), ids(&case[1]), "{text:?}");
    }
    let id = |name: &str| vocab[name].as_u64().unwrap() as u32;
    assert_eq!(u64::from(tokenizer.pad()), small["pad"].as_u64().unwrap());
    assert_eq!(tokenizer.begin(), id("<|startoftext|>"));
    assert_eq!(tokenizer.end(), id("<|endoftext|>"));
    assert_eq!(tokenizer.comma(), Some(id(",</w>")));
    assert_eq!(
        tokenizer.vocabulary_size(),
        vocab.as_object().unwrap().len()
    );
}

#[test]
fn without_a_configuration_the_end_token_pads_and_stands_for_unknown_bytes() {
    let (vocab, merges, _) = small_files();
    let tokenizer = open(&vocab, &merges, None).unwrap();
    assert_eq!(tokenizer.pad(), tokenizer.end());
    assert_eq!(tokenizer.encode("z"), [tokenizer.end()]);
}

#[test]
fn damaged_files_are_refused_with_a_reason() {
    let (vocab, merges, config) = small_files();
    let with = |name: &str, id: Value| {
        let mut vocab = vocab.clone();
        vocab[name] = id;
        vocab
    };
    let mut without_end = vocab.clone();
    without_end.as_object_mut().unwrap().remove("<|endoftext|>");
    let size = vocab.as_object().unwrap().len();
    let cases = [
        (json!([1, 2]), merges.clone(), config.clone(), "no table"),
        (
            with("q", json!(-1)),
            merges.clone(),
            config.clone(),
            "no table",
        ),
        (
            with("q", json!(1 << 18)),
            merges.clone(),
            config.clone(),
            "not below",
        ),
        (
            with("q", json!(size - 1)),
            merges.clone(),
            config.clone(),
            "two tokens have the id",
        ),
        (
            without_end,
            merges.clone(),
            config.clone(),
            "<|endoftext|> is missing",
        ),
        (
            vocab.clone(),
            format!("{merges}a b\n"),
            config.clone(),
            "line 9 repeats",
        ),
        (
            vocab.clone(),
            format!("{merges}a e\n"),
            config.clone(),
            "line 9 makes a token",
        ),
        (
            vocab.clone(),
            format!("{merges}a\n"),
            config.clone(),
            "line 9 is not a pair",
        ),
        (
            vocab.clone(),
            format!("{merges}a b c\n"),
            config.clone(),
            "line 9 is not a pair",
        ),
        (
            vocab.clone(),
            format!("{merges}\u{e9}\n"),
            config.clone(),
            "line 9 is not a pair",
        ),
        (
            with("zy", json!(100)),
            "z y".into(),
            config.clone(),
            "line 1 names a token",
        ),
        (
            vocab.clone(),
            merges.clone(),
            json!({"pad_token": "none"}),
            "names a token",
        ),
        (
            vocab.clone(),
            merges.clone(),
            json!({"unk_token": 7}),
            "has no name",
        ),
    ];
    for (vocab, merges, config, reason) in cases {
        let refusal = open(&vocab, &merges, Some(&config)).unwrap_err();
        assert!(matches!(refusal, TokenizerError::Refused { .. }));
        assert!(
            refusal.to_string().contains(reason),
            "{refusal}, not {reason}"
        );
    }
    let vocab = vocab.to_string();
    let not_text = Tokenizer::from_files(vocab.as_bytes(), b"\xff", None);
    assert!(not_text.unwrap_err().to_string().contains("not text"));
    let not_json = Tokenizer::from_files(vocab.as_bytes(), b"", Some(b"{"));
    assert!(not_json.unwrap_err().to_string().contains("not JSON"));
}

#[test]
fn files_that_are_too_large_are_not_read() {
    let large = vec![b' '; (16 << 20) + 1];
    let (vocab, ..) = small_files();
    let vocab = vocab.to_string();
    for refusal in [
        Tokenizer::from_files(&large, b"", None),
        Tokenizer::from_files(vocab.as_bytes(), &large, None),
        Tokenizer::from_files(vocab.as_bytes(), b"", Some(&large)),
    ] {
        assert!(matches!(refusal, Err(TokenizerError::TooLarge { .. })));
    }
}

#[test]
fn a_long_word_takes_no_quadratic_time() {
    let tokenizer = Tokenizer::standard();
    let word = "x".repeat(1 << 20);
    let started = Instant::now();
    assert!(tokenizer.encode(&word).len() > 1000);
    // Looking at all pairs again after each merge would take hours.
    assert!(started.elapsed().as_secs() < 60);
}

#[test]
fn the_shared_golden_ids_come_out_of_both_vocabularies() {
    let Some(data) = data("the_shared_golden_ids_come_out_of_both_vocabularies") else {
        return;
    };
    let golden = std::fs::read(data.join("golden/clip_tokens.json")).unwrap();
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    for tokenizer in [&*Tokenizer::standard(), &shared_tokenizer(&data)] {
        for case in golden["prompts"].as_array().unwrap() {
            let cleaned = &case["ids_without_ftfy"];
            let expected = if cleaned.is_null() {
                &case["ids"]
            } else {
                cleaned
            };
            let text = case["text"].as_str().unwrap();
            assert_eq!(tokenizer.encode(text), ids(expected), "{text:?}");
        }
    }
}

#[test]
fn the_recovered_vocabulary_is_the_shared_one() {
    let Some(data) = data("the_recovered_vocabulary_is_the_shared_one") else {
        return;
    };
    let [one, other] = [&*Tokenizer::standard(), &shared_tokenizer(&data)];
    assert_eq!(one.merges, other.merges);
    assert_eq!(one.symbols.inner, other.symbols.inner);
    assert_eq!(one.symbols.last, other.symbols.last);
    assert_eq!((one.size, one.pad()), (other.size, other.pad()));
}
