//! Hosts that refuse, fall silent, send elsewhere or send something else.

use super::*;

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
        while stream.write_all(&[0; 1000]).is_ok() {}
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
