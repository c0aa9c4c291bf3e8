//! The real program as a child process on a folder of its own.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Longest start and longest stop; both take far less.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of the program's log a failure shows.
const LOG_TAIL_BYTES: usize = 6_000;

/// How the program is started: services, data folder, environment.
pub struct Setup {
    /// Folder of the service files and the log.
    folder: tempfile::TempDir,
    data: PathBuf,
    services: Vec<PathBuf>,
    environment: Vec<(String, String)>,
}

impl Setup {
    pub fn new(services: &[Value]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        let files = services.iter().map(|service| {
            let name = service["metadata"]["name"].as_str().expect("a name");
            let path = folder.path().join(format!("{name}.json"));
            fs::write(&path, service.to_string()).expect("a service file can be written");
            path
        });
        Self {
            services: files.collect(),
            data,
            folder,
            environment: Vec::new(),
        }
    }

    /// Sets an environment variable of the program.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Puts the data folder elsewhere.
    pub fn with_data(mut self, data: PathBuf) -> Self {
        self.data = data;
        self
    }

    /// A folder that lives as long as the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Starts the program and waits until it accepts connections.
    pub fn start(&self) -> Photog {
        let started = self.try_start();
        started.unwrap_or_else(|code| panic!("photog ended with {code:?}:\n{}", self.log_tail()))
    }

    /// Starts the program; its exit code when it does not come up.
    pub fn try_start(&self) -> Result<Photog, Option<i32>> {
        let mut program = self.launch();
        match program.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                let address = line.strip_prefix("photog listening on http://");
                program.address = address.and_then(|address| address.parse().ok());
                assert!(program.address.is_some(), "no address in {line:?}");
                Ok(program)
            }
            Err(RecvTimeoutError::Disconnected) => Err(program.wait().code()),
            Err(RecvTimeoutError::Timeout) => panic!("photog hangs:\n{}", self.log_tail()),
        }
    }

    /// Starts the program and does not wait for it.
    pub fn launch(&self) -> Photog {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("a log file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_photog"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(&self.data).current_dir(self.folder.path());
        for service in &self.services {
            command.arg("--service").arg(service);
        }
        command
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(log).spawn().expect("photog can be started");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Photog {
            child,
            lines,
            address: None,
        }
    }

    /// The end of what the program wrote to standard error.
    pub fn log_tail(&self) -> String {
        let log = fs::read(self.folder.path().join("log")).unwrap_or_default();
        let from = log.len().saturating_sub(LOG_TAIL_BYTES);
        String::from_utf8_lossy(&log[from..]).into_owned()
    }
}

/// A running program; killed when it is dropped.
pub struct Photog {
    child: Child,
    /// Standard output; ends with the program.
    lines: Receiver<String>,
    address: Option<SocketAddr>,
}

impl Photog {
    pub fn address(&self) -> SocketAddr {
        self.address.expect("the program was started to the end")
    }

    /// Ends the program as a crash would.
    pub fn kill(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        self.child.wait().expect("a child can be waited for");
    }

    /// Asks the program to end in good order.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the program still runs");
    }

    /// Waits for the end of a program that was asked to end.
    pub fn wait(&mut self) -> ExitStatus {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("photog does not stop"),
            }
        }
        self.child.wait().expect("a child can be waited for")
    }
}

impl Drop for Photog {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A service whose engine gives its input back after some milliseconds.
pub fn echo(name: &str, kind: &str, slots: u32, max_delivery: u32, milliseconds: u32) -> Value {
    json!({
        "metadata": {
            "name": name,
            "type": kind,
            "instance": slots,
            "rpc": {"keepalive": 60_000, "worker_threads": if max_delivery > 1 { 3 } else { 1 }},
            "photog_role": "echo",
            "photog_echo_ms": milliseconds,
        },
        "queue": {"max_delivery": max_delivery},
    })
}

/// Two queues without a worker.
pub fn plain(name: &str, max_delivery: u32) -> Value {
    json!({
        "metadata": {"name": name, "type": "Queue", "instance": 1},
        "queue": {"max_delivery": max_delivery},
    })
}
