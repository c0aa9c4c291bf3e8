//! Fetches against small servers on this machine; the guard lets only their own ports through.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

use super::*;
use crate::{
    domain::Mount,
    job::{CancelToken, FinishToken},
};

const MINUTE: Duration = Duration::from_secs(60);

fn context() -> JobContext {
    JobContext {
        cancel: CancelToken::default(),
        finish: FinishToken::default(),
        deadline: Instant::now() + MINUTE,
        progress: Arc::new(()),
        device: String::from("cpu"),
    }
}

fn limits() -> FetchLimits {
    FetchLimits {
        picture_bytes_max: 1000,
        total_bytes_max: 4000,
        time_max: MINUTE,
        parallel: 4,
    }
}

/// A server that gives each connection, with its request line and headers, to `answer`. Its thread
/// ends with the test process.
pub(super) fn serve(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            thread::spawn(move || {
                let mut head = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
                answer(&head, &mut stream);
            });
        }
    });
    port
}

/// A server that answers every request with the same bytes and closes.
fn serve_bytes(answer: impl Into<Vec<u8>>) -> u16 {
    let answer = answer.into();
    serve(move |_, stream| {
        let _ = stream.write_all(&answer);
    })
}

fn fetcher(ports: &[u16]) -> Fetcher {
    let policy = NetworkPolicy {
        allow_private_networks: false,
        allowed_hosts: ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect(),
    };
    Fetcher::new(Mounts::default(), policy)
}

fn fetch(fetcher: &Fetcher, address: &str, limits: &FetchLimits) -> Result<Bytes, FetchError> {
    let mut results = fetcher.fetch_all(&[address], limits, &context()).unwrap();
    assert_eq!(results.len(), 1);
    results.remove(0)
}

/// Fetches from a server that answers with these bytes.
fn fetch_answer(answer: impl Into<Vec<u8>>) -> Result<Bytes, FetchError> {
    let port = serve_bytes(answer);
    fetch(
        &fetcher(&[port]),
        &format!("http://127.0.0.1:{port}/a.jpg"),
        &limits(),
    )
}

#[test]
fn the_body_of_an_answer_is_fetched_in_every_framing() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npicture",
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Encoding: identity\r\n\r\npicture",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\npic\r\n4\r\nture\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npicture",
        "HTTP/1.0 200 OK\r\n\r\npicture",
    ] {
        assert_eq!(fetch_answer(answer).unwrap(), "picture", "{answer}");
    }
}

#[test]
fn the_request_asks_for_nothing_packed_and_sends_no_more_than_needed() {
    let seen = Arc::new(Mutex::new(String::new()));
    let kept = seen.clone();
    let port = serve(move |head, stream| {
        *kept.lock().unwrap() = head.to_ascii_lowercase();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let address = format!("HTTP://127.0.0.1:{port}/a.jpg?sign=x#part");
    fetch(&fetcher(&[port]), &address, &limits()).unwrap();
    let head = seen.lock().unwrap().clone();
    assert!(head.starts_with("get /a.jpg?sign=x http/1.1\r\n"), "{head}");
    assert!(head.contains("accept-encoding: identity\r\n"), "{head}");
    assert!(
        !head.contains("cookie") && !head.contains("authorization"),
        "{head}"
    );
}

#[test]
fn private_addresses_are_refused_however_they_are_spelled() {
    // Port 1 of this machine: were the guard to let one through, the error would be another one.
    let guarded = fetcher(&[]);
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.1",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:0:0:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "0.0.0.0",
        "0",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "[fe80::1]",
        "[fd00::1]",
        "[ff02::1]",
        "224.0.0.1",
        "255.255.255.255",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "%31%32%37.0.0.1",
    ] {
        let fetched = fetch(&guarded, &format!("http://{host}:1/a.jpg"), &limits());
        assert!(
            matches!(fetched, Err(FetchError::PrivateNetwork { .. })),
            "{host}: {fetched:?}"
        );
    }
}

#[test]
fn the_guard_is_off_only_by_configuration() {
    let port = serve_bytes("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
    let address = format!("http://127.0.0.1:{port}/");
    let open = NetworkPolicy {
        allow_private_networks: true,
        allowed_hosts: Vec::new(),
    };
    assert!(fetch(&Fetcher::new(Mounts::default(), open), &address, &limits()).is_ok());
    assert!(fetch(&fetcher(&[port]), &address, &limits()).is_ok());
    let refused = fetch(&fetcher(&[port.wrapping_add(1)]), &address, &limits());
    assert!(matches!(refused, Err(FetchError::PrivateNetwork { .. })));
}

#[test]
fn a_redirect_is_followed_and_its_target_is_guarded() {
    let target = serve_bytes("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npicture");
    for status in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:{target}/b\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let first = serve_bytes(answer);
        let address = format!("http://127.0.0.1:{first}/a");
        let followed = fetch(&fetcher(&[first, target]), &address, &limits());
        assert_eq!(followed.unwrap(), "picture", "{status}");
        let refused = fetch(&fetcher(&[first]), &address, &limits());
        assert!(
            matches!(refused, Err(FetchError::PrivateNetwork { .. })),
            "{status}"
        );
    }
}

#[test]
fn redirects_to_other_schemes_or_with_credentials_are_refused() {
    for target in [
        "file:///etc/passwd",
        "ftp://example.com/a.jpg",
        "data:image/png;base64,AAAA",
        "oss://bucket/a.jpg",
        "http://user:password@example.com/a.jpg",
        "http://",
    ] {
        let answer =
            format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n");
        let fetched = fetch_answer(answer).unwrap_err();
        assert!(
            matches!(
                fetched,
                FetchError::InvalidAddress(_) | FetchError::Unreachable { .. }
            ),
            "{target}: {fetched:?}"
        );
        assert!(!fetched.to_string().contains("password@"));
    }
    let nowhere = fetch_answer("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n");
    assert!(
        matches!(nowhere, Err(FetchError::Unreachable { .. })),
        "{nowhere:?}"
    );
}

#[test]
fn three_redirects_are_followed_and_a_fourth_is_not() {
    let port = serve(|head, stream| {
        let left: u32 = head[5..6].parse().unwrap();
        let answer = match left {
            0 => String::from("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
            _ => format!(
                "HTTP/1.1 302 Found\r\nLocation: /{}\r\nContent-Length: 0\r\n\r\n",
                left - 1
            ),
        };
        let _ = stream.write_all(answer.as_bytes());
    });
    let get = |hops| {
        fetch(
            &fetcher(&[port]),
            &format!("http://127.0.0.1:{port}/{hops}"),
            &limits(),
        )
    };
    assert_eq!(get(3).unwrap(), "x");
    assert!(matches!(get(4), Err(FetchError::TooManyRedirects)));
}

#[test]
fn a_body_without_end_stops_at_the_limit() {
    for head in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let port = serve(move |_, stream| {
            let _ = stream.write_all(head.as_bytes());
            while stream.write_all(b"8\r\nxxxxxxxx\r\n").is_ok() {}
        });
        let address = format!("http://127.0.0.1:{port}/");
        let fetched = fetch(&fetcher(&[port]), &address, &limits());
        assert!(
            matches!(fetched, Err(FetchError::TooLarge { limit: 1000 })),
            "{fetched:?}"
        );
    }
}

#[test]
fn a_header_without_end_is_refused() {
    let port = serve(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream
            .write_all(b"X-Filler: xxxxxxxxxxxxxxxxxxxxxxxx\r\n")
            .is_ok()
        {}
    });
    let fetched = fetch(
        &fetcher(&[port]),
        &format!("http://127.0.0.1:{port}/"),
        &limits(),
    );
    assert!(
        matches!(fetched, Err(FetchError::Unreachable { .. })),
        "{fetched:?}"
    );
}

#[test]
fn a_content_length_above_the_limit_is_refused_unread() {
    let fetched = fetch_answer("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n");
    assert!(
        matches!(fetched, Err(FetchError::TooLarge { limit: 1000 })),
        "{fetched:?}"
    );
}

#[test]
fn a_content_length_that_lies_yields_no_more_than_it_says() {
    let short = fetch_answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npicture");
    assert!(
        matches!(short, Err(FetchError::Unreachable { .. })),
        "{short:?}"
    );
    let long = fetch_answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\npicture");
    assert_eq!(long.unwrap(), "pic");
}

#[test]
fn the_size_limit_is_exact() {
    for (size, fits) in [(1000, true), (1001, false)] {
        let body = "x".repeat(size);
        let fetched = fetch_answer(format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}"
        ));
        assert_eq!(fetched.is_ok(), fits, "{size}");
    }
}

#[test]
fn a_slow_drip_ends_with_the_time_limit() {
    let port = serve(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n");
        // Each byte comes well within any single wait; only the whole time can end this.
        while stream.write_all(b"x").is_ok() {
            CancelToken::default().wait(Duration::from_millis(10));
        }
    });
    let quick = FetchLimits {
        time_max: Duration::from_millis(200),
        ..limits()
    };
    let fetched = fetch(
        &fetcher(&[port]),
        &format!("http://127.0.0.1:{port}/"),
        &quick,
    );
    assert!(
        matches!(fetched, Err(FetchError::Timeout { .. })),
        "{fetched:?}"
    );
}

#[test]
fn a_host_without_encryption_is_not_reached_over_https() {
    let port = serve_bytes("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
    let address = format!("https://127.0.0.1:{port}/");
    let fetched = fetch(&fetcher(&[port]), &address, &limits());
    assert!(
        matches!(fetched, Err(FetchError::Unreachable { .. })),
        "{fetched:?}"
    );
}

#[test]
fn packed_answers_and_failures_are_refused() {
    let packed = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx";
    assert!(matches!(
        fetch_answer(packed),
        Err(FetchError::Unreachable { .. })
    ));
    for status in [204, 206, 300, 304, 403, 404, 500] {
        let answer = format!("HTTP/1.1 {status} Status\r\nContent-Length: 0\r\n\r\n");
        let fetched = fetch_answer(answer);
        assert!(
            matches!(fetched, Err(FetchError::Status { status: seen, .. }) if seen == status),
            "{status}: {fetched:?}"
        );
    }
    for nonsense in ["", "hello\r\n\r\n", "HTTP/1.1 two hundred\r\n\r\n"] {
        let fetched = fetch_answer(nonsense);
        assert!(
            matches!(fetched, Err(FetchError::Unreachable { .. })),
            "{nonsense}: {fetched:?}"
        );
    }
}

#[test]
fn addresses_of_no_usable_form_are_refused() {
    let guarded = fetcher(&[]);
    let long = format!("http://example.com/{}", "x".repeat(9000));
    for address in [
        "",
        " ",
        "a.jpg",
        "/etc/passwd",
        "../a.jpg",
        "file:///etc/passwd",
        "ftp://example.com/a",
        "gopher://127.0.0.1/",
        "http:",
        "http://",
        "https://",
        "http://[::1",
        "http:///a.jpg\0",
        "http://a b/",
        "http://user@example.com/",
        "http://user:secret@example.com/",
        "http://:secret@example.com/",
        "http://example.com:99999/",
        "javascript:alert(1)",
        "data:text/plain;base64,aGk=",
        &long,
    ] {
        let fetched = fetch(&guarded, address, &limits());
        assert!(
            matches!(
                fetched,
                Err(FetchError::InvalidAddress(_) | FetchError::Unreachable { .. })
            ),
            "{address:?}: {fetched:?}"
        );
        assert!(!fetched.unwrap_err().to_string().contains("secret"));
    }
}

#[test]
fn errors_repeat_neither_path_nor_query_nor_data() {
    let port = serve_bytes("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    for address in [
        format!("http://127.0.0.1:{port}/anna/photo.jpg?Signature=hidden"),
        String::from("http://127.0.0.1:1/anna/photo.jpg?Signature=hidden"),
        String::from("data:image/png;base64,anna*hidden"),
        String::from("oss://bucket/anna/hidden.jpg"),
        String::from("annahidden"),
    ] {
        let text = fetch(&fetcher(&[port]), &address, &limits())
            .unwrap_err()
            .to_string();
        assert!(!text.contains("anna") && !text.contains("hidden"), "{text}");
    }
}

#[test]
fn results_stand_in_the_order_of_the_addresses() {
    let port = serve(|head, stream| {
        let path = head.split(' ').nth(1).unwrap();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
            path.len()
        );
        let _ = stream.write_all(answer.as_bytes());
    });
    let addresses: Vec<_> = (0..30)
        .map(|at| format!("http://127.0.0.1:{port}/{at}"))
        .collect();
    let fetched = fetcher(&[port])
        .fetch_all(&addresses, &limits(), &context())
        .unwrap();
    for (at, result) in fetched.into_iter().enumerate() {
        assert_eq!(result.unwrap(), format!("/{at}"));
    }
    let none: [&str; 0] = [];
    assert!(
        fetcher(&[])
            .fetch_all(&none, &limits(), &context())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn all_pictures_together_stay_within_the_total() {
    let body = "x".repeat(900);
    let port = serve_bytes(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{body}"
    ));
    let addresses = vec![format!("http://127.0.0.1:{port}/"); 8];
    let one_by_one = FetchLimits {
        parallel: 1,
        ..limits()
    };
    let fetched = fetcher(&[port])
        .fetch_all(&addresses, &one_by_one, &context())
        .unwrap();
    let sizes: Vec<_> = fetched
        .iter()
        .map(|result| result.as_ref().map_or(0, Bytes::len))
        .collect();
    assert_eq!(sizes[..4], [900; 4]);
    assert!(sizes.iter().sum::<usize>() <= 4000);
    assert!(matches!(fetched[4], Err(FetchError::TotalTooLarge)));
}

#[test]
fn a_cancelled_job_cuts_its_connections() {
    let context = context();
    let cancel = context.cancel.clone();
    // The server answers nothing; it cancels the job once the request is there.
    let port = serve(move |_, stream| {
        cancel.cancel(CancelReason::User);
        let _ = stream.peek(&mut [0]);
    });
    let addresses = vec![format!("http://127.0.0.1:{port}/"); 3];
    let hour = FetchLimits {
        time_max: 60 * MINUTE,
        ..limits()
    };
    let long = JobContext {
        deadline: Instant::now() + 60 * MINUTE,
        ..context
    };
    let fetched = fetcher(&[port]).fetch_all(&addresses, &hour, &long);
    assert_eq!(fetched.unwrap_err(), CancelReason::User);
}

#[test]
fn a_job_past_its_deadline_fetches_nothing() {
    let late = JobContext {
        deadline: Instant::now(),
        ..context()
    };
    let fetched = fetcher(&[]).fetch_all(&["http://127.0.0.1:1/"], &limits(), &late);
    assert_eq!(fetched.unwrap_err(), CancelReason::Deadline);
}

#[test]
fn mounts_and_inline_pictures_are_read_and_count_for_the_total() {
    let home = tempfile::tempdir().unwrap();
    let mount = Mount {
        mount_path: String::from("/photog_oss"),
        bucket: String::from("bucket"),
        prefix: String::new(),
        read_only: true,
    };
    let mounts = Mounts::new(&[mount], &[], home.path()).unwrap();
    std::fs::write(home.path().join("bucket/a.jpg"), "x".repeat(900)).unwrap();
    let fetcher = Fetcher::new(mounts, NetworkPolicy::default());
    let sizes: Vec<_> = [
        "/photog_oss/a.jpg",
        "oss://bucket/a.jpg",
        "R0lGODlh",
        "data:image/gif;base64,R0lGODlh",
    ]
    .map(|address| {
        fetch(&fetcher, address, &limits())
            .map(|bytes| bytes.len())
            .ok()
    })
    .into();
    assert_eq!(sizes, [Some(900), Some(900), Some(6), Some(6)]);
    let outside = fetch(&fetcher, "/photog_oss/../a.jpg", &limits());
    assert!(matches!(
        outside,
        Err(FetchError::Store(StoreError::PathRefused(_)))
    ));
    let one_by_one = FetchLimits {
        parallel: 1,
        total_bytes_max: 1000,
        ..limits()
    };
    let both = fetcher
        .fetch_all(
            &["oss://bucket/a.jpg", "oss://bucket/a.jpg"],
            &one_by_one,
            &context(),
        )
        .unwrap();
    assert!(both[0].is_ok() && matches!(both[1], Err(FetchError::TotalTooLarge)));
}
