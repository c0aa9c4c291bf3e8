//! Child processes: the real program, or this one.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Bench, fixture::QUEUE_SERVICE};

/// Longest wait for a child to say that it is there, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);
const ANNOUNCEMENT: &str = "photog listening on http://";

/// A child process that has said on standard output that it is ready. Killed when dropped.
pub struct Program {
    child: Child,
    /// What followed the announcement on its line.
    announced: String,
    /// From the start of the process to the announcement.
    pub took: Duration,
}

impl Program {
    /// Starts `photog serve` with the queue `bench` on a data folder.
    pub fn serve(bench: &Bench, folder: &Path) -> Result<Self> {
        let service = folder.join("bench.json");
        fs::write(&service, QUEUE_SERVICE)?;
        let mut command = Command::new(&bench.photog);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(folder).arg("--service").arg(service);
        command.current_dir(folder);
        for (name, _) in std::env::vars_os() {
            // The settings of whoever runs the bench are not those of the program under test.
            if name.to_string_lossy().starts_with("PHOTOG_") {
                command.env_remove(name);
            }
        }
        let log = folder.join("stderr.log");
        command.stderr(File::create(&log)?);
        Self::start(command, ANNOUNCEMENT).with_context(|| {
            let log = fs::read_to_string(log).unwrap_or_default();
            let tail = log.lines().last().unwrap_or("it said nothing").to_owned();
            format!("{} did not start; {tail}", bench.photog.display())
        })
    }

    /// Starts a child and waits for a line that begins with `announcement`.
    pub fn start(mut command: Command, announcement: &'static str) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let begun = Instant::now();
        let mut child = command.spawn().context("it could not be executed")?;
        let output = child.stdout.take().context("it has no standard output")?;
        let mut program = Self {
            child,
            announced: String::new(),
            took: Duration::ZERO,
        };
        let (rest, took) = wait_for_line(output, announcement, begun)?;
        program.announced = rest;
        program.took = took;
        Ok(program)
    }

    /// Where the program listens.
    pub fn address(&self) -> Result<SocketAddr> {
        let text = &self.announced;
        text.parse()
            .with_context(|| format!("{text:?} is not an address"))
    }

    /// Process id, as `/proc` names it.
    pub fn process(&self) -> String {
        self.child.id().to_string()
    }

    /// Asks the program to end in good order.
    pub fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.wait()?;
        ensure!(status.success(), "it ended with {status} after SIGTERM");
        Ok(())
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
        bail!("it did not end within {} s", PATIENCE.as_secs())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The rest of the first line that begins so, and the time from `begun` until then. What the child
/// says later is read and dropped, so that it never waits for a reader.
fn wait_for_line(
    output: ChildStdout,
    announcement: &'static str,
    begun: Instant,
) -> Result<(String, Duration)> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(rest) = line.strip_prefix(announcement) {
                // Nobody listens once the wait was given up.
                let _ = sender.send((rest.trim().to_owned(), begun.elapsed()));
            }
        }
    });
    receiver
        .recv_timeout(PATIENCE)
        .with_context(|| format!("no line `{announcement}...` on its standard output"))
}
