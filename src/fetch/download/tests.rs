//! Downloads from small servers on this machine.

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

    sha2::Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
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
    let mut heard = Vec::new();
    let fetched = download(
        &wanted,
        &NetworkPolicy::default(),
        &patience(1),
        &CancelToken::default(),
        &mut |done, total| heard.push((done, total)),
    );
    let fetched = fetched.unwrap();
    assert_eq!((fetched.size, fetched.resumed), (200_000, 0));
    assert_eq!(fetched.sha256, expected);
    assert_eq!(fs::read(&target).unwrap(), content(0));
    assert_eq!(names(&home), ["net.onnx"]);
    assert_eq!(heard.first(), Some(&(0, Some(200_000))));
    assert_eq!(heard.last(), Some(&(200_000, Some(200_000))));
    assert!(heard.is_sorted());
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
fn a_wrong_hash_is_refused_and_leaves_nothing() {
    let host = Host::new(|_, head, stream| send(stream, head, &content(0), "\"a\"", usize::MAX));
    let home = tempfile::tempdir().unwrap();
    let (url, target) = (host.url(), target(&home));
    let other = hash(b"other");
    let wanted = Download {
        sha256: Some(&other),
        ..wanted(&url, &target)
    };
    let text = get(&wanted, 5).unwrap_err().to_string();
    assert!(
        text.contains(&other) && text.contains(&hash(&content(0))),
        "{text}"
    );
    assert_eq!(
        host.requests().len(),
        1,
        "a whole file is not asked for again"
    );
    assert_eq!(names(&home), [""; 0]);
}

#[test]
fn a_file_of_another_size_is_refused_before_it_is_written() {
    let host = Host::new(|_, head, stream| send(stream, head, &content(0), "\"a\"", usize::MAX));
    let home = tempfile::tempdir().unwrap();
    let (url, target) = (host.url(), target(&home));
    let small = Download {
        bytes_max: 199_999,
        ..wanted(&url, &target)
    };
    let refused = get(&small, 5);
    assert!(
        matches!(refused, Err(DownloadError::TooLarge { limit: 199_999 })),
        "{refused:?}"
    );
    let sized = Download {
        size: Some(100),
        ..wanted(&url, &target)
    };
    let refused = get(&sized, 5);
    assert!(
        matches!(
            refused,
            Err(DownloadError::SizeDiffers {
                expected: 100,
                found: 200_000,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!((host.requests().len(), names(&home)), (2, vec![]));
}

#[test]
fn a_file_that_does_not_say_its_size_is_cut_off_at_the_limit() {
    let host = Host::new(|_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while stream.write_all(&[0; 65536]).is_ok() {}
    });
    let home = tempfile::tempdir().unwrap();
    let (url, target) = (host.url(), target(&home));
    let refused = get(&wanted(&url, &target), 5);
    assert!(
        matches!(refused, Err(DownloadError::TooLarge { .. })),
        "{refused:?}"
    );
    assert_eq!(names(&home), [""; 0]);
}

#[test]
fn failures_that_pass_are_tried_again_and_others_are_not() {
    let answer = |status: u16| format!("HTTP/1.1 {status} Status\r\nContent-Length: 0\r\n\r\n");
    for status in [400, 401, 403, 404, 410, 204, 206, 304] {
        let host = Host::new(move |_, _, stream| {
            let _ = stream.write_all(answer(status).as_bytes());
        });
        let home = tempfile::tempdir().unwrap();
        let (url, target) = (host.url(), target(&home));
        let refused = get(&wanted(&url, &target), 5);
        assert!(
            matches!(refused, Err(DownloadError::Status { status: seen, .. }) if seen == status),
            "{refused:?}"
        );
        assert_eq!(
            (host.requests().len(), names(&home)),
            (1, vec![]),
            "{status}"
        );
    }
    for status in [408, 429, 500, 503] {
        let host = Host::new(move |number, head, stream| match number {
            0 => {
                let _ = stream.write_all(answer(status).as_bytes());
            }
            _ => send(stream, head, &content(0), "\"a\"", usize::MAX),
        });
        let home = tempfile::tempdir().unwrap();
        let (url, target) = (host.url(), target(&home));
        assert!(get(&wanted(&url, &target), 2).is_ok(), "{status}");
    }
}

#[test]
fn redirects_are_followed_to_allowed_hosts_only() {
    let last = Host::new(|_, head, stream| send(stream, head, &content(0), "\"a\"", usize::MAX));
    let there = last.url();
    let first = Host::new(move |_, _, stream| {
        let answer =
            format!("HTTP/1.1 302 Found\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes());
    });
    let home = tempfile::tempdir().unwrap();
    let (url, target) = (first.url(), target(&home));
    let refused = get(&wanted(&url, &target), 5);
    assert!(
        matches!(refused, Err(DownloadError::PrivateNetwork { .. })),
        "{refused:?}"
    );
    let policy = NetworkPolicy {
        allow_private_networks: false,
        allowed_hosts: vec![format!("127.0.0.1:{}", last.port)],
    };
    let followed = download(
        &wanted(&url, &target),
        &policy,
        &patience(1),
        &CancelToken::default(),
        &mut |_, _| {},
    );
    assert_eq!(followed.unwrap().sha256, hash(&content(0)));

    let around = Host::new(|_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n");
    });
    let url = around.url();
    let refused = get(&wanted(&url, &target), 5);
    assert!(
        matches!(refused, Err(DownloadError::TooManyRedirects)),
        "{refused:?}"
    );
    assert_eq!(around.requests().len(), REDIRECTS_MAX + 1);
}

#[test]
fn an_address_that_nobody_vouches_for_is_guarded() {
    let host = Host::new(|_, head, stream| send(stream, head, &content(0), "\"a\"", usize::MAX));
    let home = tempfile::tempdir().unwrap();
    let (url, target) = (host.url(), target(&home));
    let untrusted = Download {
        trusted: false,
        ..wanted(&url, &target)
    };
    let refused = get(&untrusted, 5);
    assert!(
        matches!(refused, Err(DownloadError::PrivateNetwork { .. })),
        "{refused:?}"
    );
    for url in [
        "",
        "ftp://127.0.0.1/a",
        "http://user@127.0.0.1/a",
        "net.onnx",
    ] {
        let refused = get(&wanted(url, &target), 5);
        assert!(
            matches!(refused, Err(DownloadError::InvalidAddress(_))),
            "{url}: {refused:?}"
        );
    }
    assert_eq!((host.requests().len(), names(&home)), (0, vec![]));
}

#[test]
fn a_host_that_falls_silent_is_left_and_asked_again() {
    let host = Host::new(|number, head, stream| {
        if number == 0 {
            send(stream, head, &content(0), "\"a\"", 70_000);
            // Until the other side gives up.
            let _ = stream.peek(&mut [0]);
        } else {
            send(stream, head, &content(0), "\"a\"", usize::MAX);
        }
    });
    let home = tempfile::tempdir().unwrap();
    let (url, target) = (host.url(), target(&home));
    let impatient = Patience {
        silence_max: Duration::from_millis(200),
        ..patience(2)
    };
    let fetched = download(
        &wanted(&url, &target),
        &NetworkPolicy::default(),
        &impatient,
        &CancelToken::default(),
        &mut |_, _| {},
    );
    assert_eq!(fetched.unwrap().sha256, hash(&content(0)));
    assert_eq!(start(&host.requests()[1]), Some(70_000));
}

#[test]
fn a_slow_host_is_waited_for() {
    let host = Host::new(|_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n");
        for _ in 0..20 {
            CancelToken::default().wait(Duration::from_millis(10));
            let _ = stream.write_all(b"x");
        }
    });
    let home = tempfile::tempdir().unwrap();
    let (url, target) = (host.url(), target(&home));
    assert_eq!(get(&wanted(&url, &target), 1).unwrap().size, 20);
}

#[test]
fn a_stop_cuts_the_connection_and_keeps_the_part() {
    let cancel = CancelToken::default();
    let stop = cancel.clone();
    let host = Host::new(move |_, head, stream| {
        send(stream, head, &content(0), "\"a\"", 70_000);
        let _ = stream.peek(&mut [0]);
    });
    let home = tempfile::tempdir().unwrap();
    let (url, target) = (host.url(), target(&home));
    let stopped = download(
        &wanted(&url, &target),
        &NetworkPolicy::default(),
        &patience(5),
        &cancel,
        // Stopped once all that will come is there.
        &mut |done, _| {
            if done == 70_000 {
                stop.cancel(CancelReason::User);
            }
        },
    );
    assert!(
        matches!(stopped, Err(DownloadError::Cancelled)),
        "{stopped:?}"
    );
    let part = Part::open(&wanted(&url, &target)).unwrap();
    assert_eq!((part.length(), part.validator()), (70_000, Some("\"a\"")));
    assert_eq!(host.requests().len(), 1);
}

#[test]
fn a_second_fetch_to_the_same_place_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let target = target(&home);
    let wanted = wanted("http://127.0.0.1:1/", &target);
    let part = Part::open(&wanted).unwrap();
    assert!(matches!(get(&wanted, 1), Err(DownloadError::Busy)));
    drop(part);
    assert!(matches!(
        get(&wanted, 1),
        Err(DownloadError::Unreachable { .. })
    ));
}

#[test]
fn the_time_of_the_last_change_names_a_state_only_when_it_is_past() {
    let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    };
    let (early, late) = (
        "Mon, 01 Jan 2024 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:01 GMT",
    );
    let cases: [(&[(&'static str, &'static str)], Option<&str>); 6] = [
        (
            &[("etag", "\"a\""), ("last-modified", early)],
            Some("\"a\""),
        ),
        (&[("etag", "W/\"a\"")], None),
        (
            &[
                ("etag", "W/\"a\""),
                ("last-modified", early),
                ("date", late),
            ],
            Some(early),
        ),
        (&[("last-modified", early), ("date", early)], None),
        (&[("last-modified", early)], None),
        (&[], None),
    ];
    for (pairs, expected) in cases {
        assert_eq!(validator(&headers(pairs)).as_deref(), expected, "{pairs:?}");
    }
}
