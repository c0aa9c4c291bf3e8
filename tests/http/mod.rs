//! The real program as a child process, and plain HTTP over a socket to talk to it.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A service of two queues without a worker.
pub const QUEUE: &str = r#"{"metadata":{"name":"queue_try","type":"Queue","instance":1}}"#;
/// Far longer than anything here takes, even on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A running program with a data folder of its own.
pub struct Photog {
    pub child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Photog {
    /// Starts the program with one service and these environment variables.
    pub fn start(service: &str, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("service.json");
        std::fs::write(&file, service).expect("a service file");
        let ours = |name: &str| name.starts_with("PHOTOG_") || name == "NOTIFY_SOCKET";
        let mut command = Command::new(env!("CARGO_BIN_EXE_photog"));
        for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
            command.env_remove(name);
        }
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--service"])
            .arg(&file)
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("its output is piped"));
        output.read_line(&mut line).expect("a line");
        let port = line
            .trim()
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok());
        let port = port.expect("the announcement ends with the port");
        Self {
            child,
            port,
            _folder: folder,
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
        stream
    }

    /// Sends a request on a connection of its own and leaves the answer to be read.
    pub fn send(&self, method: &str, path: &str, fields: &[&str], body: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nContent-Length: {}\r\n",
            body.len()
        );
        if !fields.iter().any(|field| field.starts_with("Host:")) {
            head += "Host: 127.0.0.1\r\n";
        }
        for field in fields {
            head += field;
            head += "\r\n";
        }
        stream
            .write_all((head + "\r\n").as_bytes())
            .expect("a head is taken");
        // A server that refuses may close before it has read everything.
        let _ = stream.write_all(body);
        stream
    }

    /// Status and body of an answer.
    pub fn ask(&self, method: &str, path: &str, fields: &[&str], body: &[u8]) -> (u16, String) {
        let fields = [fields, &["Connection: close"]].concat();
        let mut answer = Vec::new();
        // A reset after the answer is as good as an end.
        let _ = self
            .send(method, path, &fields, body)
            .read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.get(9..12).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status.unwrap_or(0), body.to_owned())
    }

    pub fn status(&self, method: &str, path: &str, fields: &[&str]) -> u16 {
        self.ask(method, path, fields, b"").0
    }

    /// One attribute of the input queue.
    pub fn attribute(&self, name: &str) -> String {
        let (_, body) = self.ask("GET", "/api/predict/queue_try?_attrs_=true", &[], b"");
        let attributes: serde_json::Value =
            serde_json::from_str(&body).expect("attributes as JSON");
        attributes[name].as_str().unwrap_or_default().to_owned()
    }

    /// Asks the program to stop.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    }
}

impl Drop for Photog {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The head of an answer.
pub fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("a head") == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("a head in ASCII")
}

/// Asks again and again until the answer is yes.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "not seen: {what}");
        std::thread::yield_now();
    }
}
