//! The real program as a child process in a folder of its own.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A program that takes longer has hung.
const TIME_MAX: Duration = Duration::from_secs(60);

/// A folder to work in, which goes with the test.
pub struct Home(TempDir);

/// What a run of the program left.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and says where it lies.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Where the data folder is by default.
    pub fn data(&self) -> PathBuf {
        self.path("photog-data")
    }

    pub fn database(&self) -> PathBuf {
        self.data().join("photog.db")
    }

    pub fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, &[])
    }

    /// Runs the program to its end, with these variables and no others that it knows.
    pub fn run_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Run {
        let child = self
            .command(args)
            .envs(variables.iter().copied())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || sender.send(child.wait_with_output()));
        let Ok(output) = ended.recv_timeout(TIME_MAX) else {
            kill_process(pid, Signal::KILL).unwrap();
            panic!("photog {args:?} did not end");
        };
        let output = output.unwrap();
        Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Starts `photog serve` on a free port and waits until it accepts connections.
    pub fn serve(&self, args: &[&str]) -> Server {
        let given = [&["serve", "--listen", "127.0.0.1:0"], args].concat();
        Server::start(self.command(&given))
    }

    /// The program in this folder, ready to be started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_photog"));
        command
            .args(args)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("PHOTOG_") || name == "RUST_LOG" {
                command.env_remove(&*name);
            }
        }
        command
    }
}

impl Run {
    /// The one JSON document on standard output.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The one line in which a command says why it failed.
    pub fn failure(&self) -> &str {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.stdout, "", "results of a failed run: {self:?}");
        let lines: Vec<&str> = self
            .stderr
            .lines()
            // The rest are log lines, JSON objects when nobody looks at a terminal.
            .filter(|line| !line.starts_with('{'))
            .collect();
        let [line] = lines[..] else {
            panic!("{} lines instead of one: {self:?}", lines.len());
        };
        line.strip_prefix("photog: ").unwrap()
    }
}

/// A running `photog serve`; it is killed when the test forgets it.
pub struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// Where it says that it listens, such as `127.0.0.1:40000`.
    pub address: String,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("photog listening on http://");
        let address = address.expect("the first line says where").to_owned();
        Self {
            child,
            stdout,
            address,
        }
    }

    /// Asks it to end in good order; what else it wrote to standard output comes back.
    pub fn stop(mut self) -> (ExitStatus, String) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already needs nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes the log of a closed database into its file, which then holds everything.
pub fn fold(database: &Path) {
    let connection = rusqlite::Connection::open(database).unwrap();
    connection
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    drop(connection);
    assert!(!database.with_extension("db-wal").exists());
}
