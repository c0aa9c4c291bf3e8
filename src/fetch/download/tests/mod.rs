//! Downloads from small servers on this machine.

mod trouble;

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use tempfile::TempDir;

use super::*;
use crate::{fetch::tests::serve, job::CancelReason};

/// A file of more than one chunk, in which every place is different.
fn content(seed: u8) -> Vec<u8> {
    (0..200_000_u32)
        .map(|at| (at / 251) as u8 ^ (at % 251) as u8 ^ seed)
        .collect()
}

fn hash(bytes: &[u8]) -> String {
    use sha2::Digest as _;

    part::hexadecimal(&sha2::Sha256::digest(bytes))
}

/// A host with one file, and what it was asked.
struct Host {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Host {
    /// Every request, numbered from 0, is given to `answer` with its head in small letters.
    fn new(answer: impl Fn(usize, &str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&asked);
        let port = serve(move |head, stream| {
            let head = head.to_ascii_lowercase();
            let number = {
                let mut asked = kept.lock().unwrap();
                asked.push(head.clone());
                asked.len() - 1
            };
            answer(number, &head, stream);
        });
        Self { port, asked }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/net.onnx", self.port)
    }

    fn requests(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// The first byte that a request asks for.
fn start(head: &str) -> Option<usize> {
    let range = head.split("range: bytes=").nth(1)?;
    range.split('-').next()?.parse().ok()
}

/// Sends a file as a good host does, but at most `most` bytes of it, and closes.
fn send(stream: &mut TcpStream, head: &str, bytes: &[u8], etag: &str, most: usize) {
    let known = head.contains(&format!("if-range: {}\r\n", etag.to_ascii_lowercase()));
    let total = bytes.len();
    let (line, body) = match start(head) {
        Some(start) if start < total && (known || !head.contains("if-range")) => (
            format!(
                "206 Partial Content\r\nContent-Range: bytes {start}-{}/{total}",
                total - 1
            ),
            &bytes[start..],
        ),
        _ => (String::from("200 OK"), bytes),
    };
    let head = format!(
        "HTTP/1.1 {line}\r\nETag: {etag}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&body[..body.len().min(most)]);
}

fn target(home: &TempDir) -> PathBuf {
    home.path().join("net.onnx")
}

fn wanted<'a>(url: &'a str, target: &'a Path) -> Download<'a> {
    Download {
        url,
        trusted: true,
        target,
        bytes_max: 1 << 20,
        size: None,
        sha256: None,
    }
}

/// Patience for tests: the pauses cost time and prove nothing.
fn patience(tries: u32) -> Patience {
    Patience {
        tries,
        pause: Duration::ZERO,
        silence_max: Duration::from_secs(60),
    }
}

fn get(wanted: &Download<'_>, tries: u32) -> Result<Downloaded, DownloadError> {
    download(
        wanted,
        &NetworkPolicy::default(),
        &patience(tries),
        &CancelToken::default(),
        &mut |_, _| {},
    )
}

/// The names in a folder.
fn names(home: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(home.path()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_whole_file_comes_with_its_hash_and_progress() {
    let host = Host::new(|_, head, stream| send(stream, head, &content(0), "\"a\"", usize::MAX));
    let home = tempfile::tempdir().unwrap();
    let (url, target) = (host.url(), target(&home));
    let expected = hash(&content(0));
    let wanted = Download {
        size: Some(200_000),
        sha256: Some(&expected),
        ..wanted(&url, &target)
    };
    let mut steps = Vec::new();
    let fetched = download(
        &wanted,
        &NetworkPolicy::default(),
        &patience(1),
        &CancelToken::default(),
        &mut |done, total| steps.push((done, total)),
    );
    let fetched = fetched.unwrap();
    assert_eq!((fetched.size, fetched.resumed), (200_000, 0));
    assert_eq!(fetched.sha256, expected);
    assert_eq!(fs::read(&target).unwrap(), content(0));
    assert_eq!(names(&home), ["net.onnx"]);
    assert_eq!(steps.first(), Some(&(0, Some(200_000))));
    assert_eq!(steps.last(), Some(&(200_000, Some(200_000))));
    assert!(steps.is_sorted());
    let head = &host.requests()[0];
    assert!(
        head.contains("accept-encoding: identity\r\n") && !head.contains("range"),
        "{head}"
    );
}

#[test]
fn a_file_of_unknown_length_is_taken_in_every_framing() {
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnet\r\n4\r\nwork\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nnetwork",
    ] {
        let host = Host::new(|_, _, stream| {
            let _ = stream.write_all(answer.as_bytes());
        });
        let home = tempfile::tempdir().unwrap();
        let (url, target) = (host.url(), target(&home));
        assert_eq!(get(&wanted(&url, &target), 1).unwrap().size, 7);
        assert_eq!(fs::read(&target).unwrap(), b"network");
    }
}

#[test]
fn a_broken_transfer_goes_on_where_it_broke_off_within_one_call() {
    let host = Host::new(|_, head, stream| send(stream, head, &content(0), "\"a\"", 90_000));
    let home = tempfile::tempdir().unwrap();
    let (url, target) = (host.url(), target(&home));
    let fetched = get(&wanted(&url, &target), 3).unwrap();
    assert_eq!((fetched.size, fetched.resumed), (200_000, 0));
    assert_eq!(fs::read(&target).unwrap(), content(0));
    let starts: Vec<_> = host.requests().iter().map(|head| start(head)).collect();
    assert_eq!(starts, [None, Some(90_000), Some(180_000)]);
    assert!(host.requests()[2].contains("if-range: \"a\"\r\n"));
    assert_eq!(names(&home), ["net.onnx"]);
}

#[test]
fn a_broken_transfer_goes_on_in_a_later_call() {
    let host = Host::new(|number, head, stream| {
        let most = if number == 0 { 70_000 } else { usize::MAX };
        send(stream, head, &content(0), "\"a\"", most);
    });
    let home = tempfile::tempdir().unwrap();
    let (url, target) = (host.url(), target(&home));
    let first = get(&wanted(&url, &target), 1);
    assert!(
        matches!(first, Err(DownloadError::Unreachable { .. })),
        "{first:?}"
    );
    assert_eq!(names(&home), ["net.onnx.part", "net.onnx.part.from"]);
    let second = get(&wanted(&url, &target), 1).unwrap();
    assert_eq!((second.size, second.resumed), (200_000, 70_000));
    assert_eq!(fs::read(&target).unwrap(), content(0));
    assert_eq!(names(&home), ["net.onnx"]);
}

#[test]
fn tries_are_counted_and_bounded() {
    let host = Host::new(|_, head, stream| send(stream, head, &content(0), "\"a\"", 10));
    let home = tempfile::tempdir().unwrap();
    let (url, target) = (host.url(), target(&home));
    let ended = get(&wanted(&url, &target), 4);
    assert!(
        matches!(ended, Err(DownloadError::Unreachable { .. })),
        "{ended:?}"
    );
    assert_eq!(host.requests().len(), 4);
    assert!(!target.exists());
}

#[test]
fn a_file_that_changed_between_is_fetched_anew() {
    // Three hosts: one knows `If-Range`; one ignores it and names its file; one names nothing,
    // where only the hash tells.
    type Answer = fn(usize, &str, &mut TcpStream);
    fn good(number: usize, head: &str, stream: &mut TcpStream) {
        match number {
            0 => send(stream, head, &content(0), "\"a\"", 70_000),
            _ => send(stream, head, &content(1), "\"b\"", usize::MAX),
        }
    }
    fn careless(number: usize, head: &str, stream: &mut TcpStream) {
        good(number, &head.replace("if-range", "x-ignored"), stream);
    }
    fn silent(number: usize, head: &str, stream: &mut TcpStream) {
        match number {
            0 => send(stream, head, &content(0), "W/\"a\"", 70_000),
            _ => send(stream, head, &content(1), "W/\"a\"", usize::MAX),
        }
    }
    let expected = hash(&content(1));
    for (answer, sha256, requests) in [
        (good as Answer, None, 2),
        (careless, None, 3),
        (silent, None, 2),
        (silent, Some(&*expected), 3),
    ] {
        let host = Host::new(answer);
        let home = tempfile::tempdir().unwrap();
        let (url, target) = (host.url(), target(&home));
        let wanted = Download {
            sha256,
            ..wanted(&url, &target)
        };
        assert_eq!(get(&wanted, 3).unwrap().sha256, expected);
        assert_eq!(fs::read(&target).unwrap(), content(1));
        assert_eq!(host.requests().len(), requests, "{:?}", host.requests());
    }
}

#[test]
fn a_part_without_a_name_of_its_state_is_resumed_only_for_a_known_hash() {
    let expected = hash(&content(0));
    for (sha256, start_of_second) in [(None, None), (Some(&*expected), Some(70_000))] {
        let host = Host::new(|number, head, stream| {
            let most = if number == 0 { 70_000 } else { usize::MAX };
            send(stream, head, &content(0), "W/\"weak\"", most);
        });
        let home = tempfile::tempdir().unwrap();
        let (url, target) = (host.url(), target(&home));
        let wanted = Download {
            sha256,
            ..wanted(&url, &target)
        };
        assert_eq!(get(&wanted, 2).unwrap().size, 200_000);
        let second = &host.requests()[1];
        assert_eq!(start(second), start_of_second);
        assert!(!second.contains("if-range"), "{second}");
    }
}

#[test]
fn a_host_without_ranges_sends_it_all_again() {
    let host = Host::new(|number, _, stream| {
        let most = if number == 0 { 70_000 } else { usize::MAX };
        send(stream, "", &content(0), "\"a\"", most);
    });
    let home = tempfile::tempdir().unwrap();
    let (url, target) = (host.url(), target(&home));
    let fetched = get(&wanted(&url, &target), 2).unwrap();
    assert_eq!(fetched.sha256, hash(&content(0)));
    assert_eq!(start(&host.requests()[1]), Some(70_000));
}

#[test]
fn a_range_that_cannot_be_had_or_begins_elsewhere_starts_the_file_anew() {
    for answer in [
        "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */10\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/200000\r\nContent-Length: 10\r\n\r\n0123456789",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 70000-70009/70010\r\nContent-Length: 10\r\n\r\n0123456789",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: lines 1-2/3\r\nContent-Length: 10\r\n\r\n0123456789",
        "HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\n\r\n0123456789",
    ] {
        let host = Host::new(move |number, head, stream| match number {
            0 => send(stream, head, &content(0), "\"a\"", 70_000),
            1 => {
                let _ = stream.write_all(answer.as_bytes());
            }
            _ => send(stream, head, &content(0), "\"a\"", usize::MAX),
        });
        let home = tempfile::tempdir().unwrap();
        let (url, target) = (host.url(), target(&home));
        let fetched = get(&wanted(&url, &target), 3).unwrap();
        assert_eq!(fetched.sha256, hash(&content(0)), "{answer}");
        assert_eq!(start(&host.requests()[2]), None, "{answer}");
    }
}

#[test]
fn a_part_that_is_whole_already_costs_no_request() {
    let host = Host::new(|_, _, _| {});
    let home = tempfile::tempdir().unwrap();
    let (url, target) = (host.url(), target(&home));
    let expected = hash(&content(0));
    let mut part = Part::open(&wanted(&url, &target)).unwrap();
    let origin = Origin {
        url: url.clone(),
        validator: None,
        total: Some(200_000),
    };
    part.begin(origin).unwrap();
    part.append(&content(0)).unwrap();
    drop(part);
    let wanted = Download {
        sha256: Some(&expected),
        ..wanted(&url, &target)
    };
    assert_eq!(get(&wanted, 1).unwrap().resumed, 200_000);
    assert_eq!(host.requests().len(), 0);
}

#[test]
fn a_part_of_another_address_or_without_its_note_is_not_taken_up() {
    let host = Host::new(|_, head, stream| send(stream, head, &content(0), "\"a\"", usize::MAX));
    let origin =
        |url: &str| format!("{{\"url\": \"{url}\", \"validator\": null, \"total\": null}}");
    for note in [
        origin("http://elsewhere/"),
        String::from("{"),
        String::new(),
    ] {
        let home = tempfile::tempdir().unwrap();
        let (url, target) = (host.url(), target(&home));
        fs::write(home.path().join("net.onnx.part"), "foreign bytes").unwrap();
        fs::write(home.path().join("net.onnx.part.from"), note).unwrap();
        let fetched = get(&wanted(&url, &target), 1).unwrap();
        assert_eq!((fetched.size, fetched.resumed), (200_000, 0));
        assert_eq!(names(&home), ["net.onnx"]);
    }
}

#[test]
fn the_time_of_the_last_change_names_a_state_only_when_it_is_past() {
    const EARLY: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
    const LATE: &str = "Mon, 01 Jan 2024 00:00:01 GMT";
    type Fields = &'static [(&'static str, &'static str)];
    let headers = |pairs: Fields| -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    };
    let cases: [(Fields, Option<&str>); 6] = [
        (
            &[("etag", "\"a\""), ("last-modified", EARLY)],
            Some("\"a\""),
        ),
        (&[("etag", "W/\"a\"")], None),
        (
            &[
                ("etag", "W/\"a\""),
                ("last-modified", EARLY),
                ("date", LATE),
            ],
            Some(EARLY),
        ),
        (&[("last-modified", EARLY), ("date", EARLY)], None),
        (&[("last-modified", EARLY)], None),
        (&[], None),
    ];
    for (pairs, expected) in cases {
        assert_eq!(validator(&headers(pairs)).as_deref(), expected, "{pairs:?}");
    }
}
