//! What the service manager is told (`sd_notify(3)`).

mod http;

use std::os::unix::net::UnixDatagram;

use http::{LIMIT, Photog};

const SLOW_ECHO: &str = r#"{"metadata":{"name":"queue_try","type":"Async","instance":1,
    "photog_role":"echo","photog_echo_ms":2000}}"#;

/// Messages until one has all of these lines.
fn wait_for(socket: &UnixDatagram, lines: &[&str]) {
    let mut message = [0; 4096];
    loop {
        let size = socket
            .recv(&mut message)
            .expect("a message that has all lines");
        let text = std::str::from_utf8(&message[..size]).expect("states are text");
        let told: Vec<&str> = text.lines().collect();
        if lines
            .iter()
            .all(|line| told.iter().any(|told| told.starts_with(line)))
        {
            return;
        }
    }
}

#[test]
fn the_manager_learns_of_the_start_the_work_and_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let environment = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "200000"),
    ];
    let mut photog = Photog::start(SLOW_ECHO, &environment);
    wait_for(&socket, &["READY=1"]);
    wait_for(&socket, &["WATCHDOG=1", "STATUS=0 running, 0 waiting"]);
    for _ in 0..2 {
        assert_eq!(
            photog.ask("POST", "/api/predict/queue_try", &[], b"x").0,
            200
        );
    }
    wait_for(&socket, &["WATCHDOG=1", "STATUS=1 running"]);
    photog.terminate();
    wait_for(&socket, &["STOPPING=1", "EXTEND_TIMEOUT_USEC="]);
    wait_for(&socket, &["WATCHDOG=1", "EXTEND_TIMEOUT_USEC="]);
    assert_eq!(photog.child.wait().unwrap().code(), Some(0));
}
