//! A TCP link for protocols made of text lines and counted blocks: one write per request, buffered
//! reads. All raw clients share it, so that none pays more on the client side than another.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// The NATS greeting is the longest line that any of the servers sends.
const LINE_BYTES_MAX: u64 = 64 * 1024;
const BLOCK_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A link and the request that is being put together for it.
pub struct Wire {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
    /// The request; [`Wire::send`] writes it in one piece and empties it.
    pub request: Vec<u8>,
}

impl Wire {
    /// Connects, without Nagle's delay.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("no connection to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::with_capacity(32 * 1024, stream),
            line: Vec::new(),
            request: Vec::new(),
        })
    }

    /// Sends the request.
    pub async fn send(&mut self) -> Result<()> {
        self.stream.get_mut().write_all(&self.request).await?;
        self.request.clear();
        Ok(())
    }

    /// Reads a line and gives it without its line end.
    pub async fn line(&mut self) -> Result<&str> {
        self.line.clear();
        (&mut self.stream)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut self.line)
            .await?;
        ensure!(
            self.line.pop() == Some(b'\n'),
            "the server closed the link or sent a line that never ends"
        );
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Ok(str::from_utf8(&self.line)?)
    }

    /// Reads exactly `length` bytes.
    pub async fn block(&mut self, length: usize) -> Result<Vec<u8>> {
        ensure!(
            length <= BLOCK_BYTES_MAX,
            "the server announced {length} bytes"
        );
        let mut block = vec![0; length];
        self.stream.read_exact(&mut block).await?;
        Ok(block)
    }

    /// Reads `length` bytes and the line end behind them.
    pub async fn block_and_line_end(&mut self, length: usize) -> Result<Vec<u8>> {
        let block = self.block(length).await?;
        let rest = self.line().await?;
        ensure!(rest.is_empty(), "{rest:?} where a block should end");
        Ok(block)
    }
}
