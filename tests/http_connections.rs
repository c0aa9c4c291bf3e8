//! Promises about connections: none is held for ever, and a crowd does not silence the server.

mod http;

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use http::{LIMIT, Photog, QUEUE, read_head, until};

const ONE_CONNECTION: (&str, &str) = ("PHOTOG_CONNECTIONS_MAX", "1");
const IMPATIENT: (&str, &str) = ("PHOTOG_BODY_TIMEOUT_SECONDS", "1");
/// More than the buffers of both ends of a connection on this machine hold.
const LARGE: usize = 20 << 20;

#[test]
fn a_client_that_does_not_read_its_answer_is_let_go() {
    let photog = Photog::start(QUEUE, &[ONE_CONNECTION, IMPATIENT]);
    let put = || photog.ask("POST", "/api/predict/queue_try", &[], &vec![7; LARGE]);
    assert_eq!(put().0, 200);
    let read_nothing = || {
        let path = "/api/predict/queue_try?_auto_delete_=false";
        let mut stream = photog.send("GET", path, &[], b"");
        let head = read_head(&mut stream);
        (stream, head)
    };
    let mut stalled = read_nothing();
    // The connection of the put may still have had the only place.
    until("the large answer begins", || {
        if !stalled.1.starts_with("HTTP/1.1 200") {
            stalled = read_nothing();
        }
        stalled.1.starts_with("HTTP/1.1 200")
    });
    assert_eq!(
        photog.status("GET", "/api/services", &[]),
        503,
        "the place is taken"
    );
    until("the place of the client that does not read is free", || {
        photog.status("GET", "/api/services", &[]) == 200
    });
    drop(stalled);
}

#[test]
fn a_client_that_reads_slowly_gets_all_of_its_answer() {
    let photog = Photog::start(QUEUE, &[IMPATIENT]);
    let (status, _) = photog.ask("POST", "/api/predict/queue_try", &[], &vec![7; LARGE]);
    assert_eq!(status, 200);
    let mut stream = photog.send("GET", "/api/predict/queue_try", &["Connection: close"], b"");
    read_head(&mut stream);
    let mut piece = vec![0; 1 << 20];
    let mut received = 0;
    let pause = photog.connect();
    pause
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    loop {
        match stream.read(&mut piece).unwrap() {
            0 => break,
            bytes => received += bytes,
        }
        // Nothing comes on this connection: reading it takes its time limit.
        let _ = (&pause).read(&mut [0]);
    }
    assert_eq!(received, LARGE);
}

#[test]
fn an_answer_before_the_end_of_the_body_says_that_the_connection_ends() {
    let photog = Photog::start(QUEUE, &[]);
    let closes = |path: &str, body: &[u8], sent: &[u8]| {
        let mut stream = photog.connect();
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), sent].concat()).unwrap();
        let head = read_head(&mut stream).to_lowercase();
        (
            head[9..12].to_owned(),
            head.contains("\r\nconnection: close\r\n"),
        )
    };
    // Refused before the body is read, so that nothing can follow on this connection.
    assert_eq!(
        closes("/api/predict/none", b"hello", b""),
        ("404".into(), true)
    );
    // Read to its end, or without a body: the next request may follow.
    let put = "/api/predict/queue_try";
    assert_eq!(closes(put, b"hello", b"hello"), ("200".into(), false));
    assert_eq!(closes("/api/predict/none", b"", b""), ("404".into(), false));
}

#[test]
fn probes_are_answered_above_the_limit_of_connections_and_others_refused() {
    let photog = Photog::start(QUEUE, &[ONE_CONNECTION]);
    let holder = photog.send("GET", "/api/events", &[], b"");
    until("the only place is taken", || {
        photog.status("GET", "/api/services", &[]) == 503
    });
    assert_eq!(
        photog.ask("GET", "/healthz", &[], b""),
        (200, String::from("ok"))
    );
    let (status, text) = photog.ask("POST", "/api/predict/queue_try", &[], b"x");
    assert_eq!(status, 503);
    assert!(text.contains("connections_max"), "{text}");
    drop(holder);
    until("the place is free again", || {
        photog.status("GET", "/api/services", &[]) == 200
    });
}

#[test]
fn a_body_that_trickles_is_refused_however_often_a_byte_comes() {
    let photog = Photog::start(QUEUE, &[IMPATIENT]);
    let mut stream = photog.connect();
    let head =
        "POST /api/predict/queue_try HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut answer = [0; 12];
    let mut sent = 0;
    while stream.read_exact(&mut answer).is_err() {
        sent += 1;
        assert!(sent < 100, "it takes a byte every 200 ms for ever");
        // The server may have closed already; then the answer is there.
        let _ = stream.write_all(b"x");
    }
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[test]
fn idle_connections_are_closed() {
    let photog = Photog::start(QUEUE, &[("PHOTOG_HEADER_TIMEOUT_SECONDS", "1")]);
    let mut silent = photog.connect();
    let mut kept = photog.send("GET", "/healthz", &[], b"");
    for stream in [&mut silent, &mut kept] {
        let mut rest = Vec::new();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
            .read_to_end(&mut rest)
            .expect("closed before the time is up");
    }
}

#[test]
fn a_stop_is_not_held_up_by_a_full_house() {
    let mut photog = Photog::start(QUEUE, &[ONE_CONNECTION]);
    let mut half = photog.connect();
    half.write_all(
        b"POST /api/predict/queue_try HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
    )
    .unwrap();
    until("the only place is taken", || {
        photog.status("GET", "/api/services", &[]) == 503
    });
    photog.terminate();
    let mut ended = None;
    until("the program ends", || {
        ended = photog.child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(0));
}
