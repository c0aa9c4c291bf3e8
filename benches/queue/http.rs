//! Durable puts over HTTP/1.1 into the real program: kept connections, one request at a time each.

use std::{io::Write as _, net::SocketAddr};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::{
    Bench,
    fixture::{self, ENTRY_BYTES, SERVICE},
    load::{Client, drive},
    program::Program,
    report::{Goal, Report},
};

/// Longest head or body of an answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Asks `http`.
pub async fn ask(bench: &Bench, report: &mut Report) -> Result<()> {
    for &count in bench.clients {
        let mut outcomes = Vec::new();
        for _ in 0..bench.runs {
            let folder = bench.folder()?;
            let program = Program::serve(bench, folder.path())?;
            let mut producers = Vec::with_capacity(count);
            for _ in 0..count {
                producers.push(Producer::connect(program.address()?).await?);
            }
            outcomes.push(drive(bench.load, producers).await?);
            program.stop()?;
        }
        let goal = (count == 64).then_some(Goal::AtLeast(5_000.0));
        report.record_load(&format!("{count} producers"), &outcomes, goal);
    }
    Ok(())
}

/// Puts over a connection of its own.
struct Producer {
    connection: Connection,
    address: String,
    payload: Bytes,
}

impl Producer {
    async fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self {
            connection: Connection::open(address).await?,
            address: format!("/api/predict/{SERVICE}"),
            payload: fixture::payload(ENTRY_BYTES),
        })
    }
}

impl Client for Producer {
    async fn operate(&mut self) -> Result<()> {
        let answer = self.connection.ask("POST", &self.address, &self.payload);
        let status = answer.await?;
        ensure!(status == 200, "a put was answered with status {status}");
        Ok(())
    }
}

/// A kept connection.
pub struct Connection {
    stream: BufReader<TcpStream>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    /// Connects, without Nagle's delay.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            request: Vec::new(),
            answer: Vec::new(),
        })
    }

    /// Sends a request and reads the whole answer; gives its status.
    pub async fn ask(&mut self, verb: &str, path: &str, body: &[u8]) -> Result<u16> {
        self.request.clear();
        let length = body.len();
        write!(
            self.request,
            "{verb} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        )?;
        self.request.extend_from_slice(body);
        self.stream.get_mut().write_all(&self.request).await?;

        let status = self.line().await?;
        let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code = code.with_context(|| format!("{status:?} is no status line"))?;
        let length = self.body_length().await?;
        self.answer.resize(length, 0);
        self.stream.read_exact(&mut self.answer).await?;
        Ok(code)
    }

    /// Reads the headers of an answer.
    async fn body_length(&mut self) -> Result<usize> {
        let mut length = None;
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                let length = length.context("an answer without a Content-Length")?;
                ensure!(
                    length as u64 <= ANSWER_BYTES_MAX,
                    "{length} bytes of answer"
                );
                return Ok(length);
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse()?);
            }
        }
    }

    async fn line(&mut self) -> Result<&str> {
        self.answer.clear();
        let mut bounded = (&mut self.stream).take(ANSWER_BYTES_MAX);
        bounded.read_until(b'\n', &mut self.answer).await?;
        let line = self.answer.strip_suffix(b"\r\n");
        Ok(str::from_utf8(line.context("the answer ends early")?)?)
    }
}
