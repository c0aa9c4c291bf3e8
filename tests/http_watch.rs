//! Promises of watching without an upgrade, where nothing comes in from the client.

mod http;

use std::{io::Read as _, net::TcpStream};

use http::{Photog, QUEUE, read_head, until};

const WATCH: &str = "/api/predict/queue_try?_watch_=true&_index_=0&_window_=5";
const USER: &str = "X-EAS-QueueService-Redis-Uid: u";
const LARGE: usize = 20 << 20;

fn watch(photog: &Photog, query: &str) -> (TcpStream, String) {
    let mut stream = photog.send("GET", &format!("{WATCH}{query}"), &[USER], b"");
    let head = read_head(&mut stream);
    (stream, head)
}

fn put(photog: &Photog, body: &[u8]) {
    assert_eq!(
        photog.ask("POST", "/api/predict/queue_try", &[], body).0,
        200
    );
}

fn consumer(photog: &Photog) -> String {
    photog.attribute("consumers.list.[0]")
}

#[test]
fn a_watcher_that_leaves_is_noticed_while_the_queue_is_silent() {
    let photog = Photog::start(QUEUE, &[]);
    let (stream, head) = watch(&photog, "");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(
        consumer(&photog).contains("Status: Running"),
        "{}",
        consumer(&photog)
    );
    drop(stream);
    until("the consumer has left", || {
        !consumer(&photog).contains("Status: Running")
    });
}

#[test]
fn a_client_that_leaves_during_the_handshake_leaves_no_consumer_behind() {
    let photog = Photog::start(QUEUE, &[]);
    for _ in 0..50 {
        drop(photog.send("GET", WATCH, &[USER], b""));
    }
    until("nobody watches", || {
        !consumer(&photog).contains("Status: Running")
    });
    let (_stream, head) = watch(&photog, "");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[test]
fn a_live_watcher_keeps_its_user_id() {
    let photog = Photog::start(QUEUE, &[]);
    let (mut first, _) = watch(&photog, "");
    let (_second, head) = watch(&photog, "");
    assert!(head.starts_with("HTTP/1.1 409"), "{head}");
    put(&photog, b"for the first");
    let mut length = [0; 4];
    first
        .read_exact(&mut length)
        .expect("the first still watches");
}

#[test]
fn auto_commit_confirms_what_has_left_and_nothing_before() {
    let photog = Photog::start(QUEUE, &[]);
    put(&photog, &vec![7; LARGE]);
    put(&photog, b"small");
    let (mut stream, _) = watch(&photog, "&_auto_commit_=true");
    until("the entries are in the watcher's hand", || {
        consumer(&photog).contains("Pending: 2")
    });
    // The connection is full with the first entry and is asked for no second.
    for _ in 0..20 {
        assert_eq!(photog.attribute("stream.length"), "2");
    }
    let reader = std::thread::spawn(move || {
        let mut bytes = vec![0; LARGE];
        stream.read_exact(&mut bytes).unwrap();
        stream
    });
    until("both are confirmed", || {
        photog.attribute("stream.length") == "0"
    });
    drop(reader.join().unwrap());
}
