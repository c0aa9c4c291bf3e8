//! photog's queue over HTTP/1.1 with one kept connection. A cycle is `POST` (put) and a `GET` with
//! `_auto_delete_=true`, which takes and removes in one.
//!
//! Both answers come after the commit is on disk. Taking and removing in one means that an entry is
//! lost when its taker dies; `photog_watch` measures the other way.

use std::{io::Write, net::SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use prost::Message;

use crate::{
    peer::{Peer, Taken},
    wire::Wire,
};

/// The input queue of the service that the runner configures.
pub const QUEUE: &str = "/api/predict/bench";
const TAKE: &str = "?_index_=0&_length_=1&_timeout_=0&_raw_=false&_auto_delete_=true";

/// `DataFrameProto`, without the fields that are not looked at.
#[derive(Message)]
pub struct Frame {
    /// Index of the entry.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Its bytes.
    #[prost(bytes = "vec", tag = "3")]
    pub data: Vec<u8>,
}

/// `DataFrameListProto`.
#[derive(Message)]
struct FrameList {
    #[prost(message, repeated, tag = "1")]
    frames: Vec<Frame>,
}

/// A kept HTTP connection.
pub struct Client {
    wire: Wire,
}

impl Peer for Client {
    /// The entry is gone once it is taken.
    type Id = ();

    async fn prepare(address: SocketAddr) -> Result<()> {
        let mut client = Self::connect(address, 0).await?;
        let (status, _) = client.ask("GET", "?_attrs_=true", b"").await?;
        ensure!(status == 200, "the queue's attributes: status {status}");
        Ok(())
    }

    async fn connect(address: SocketAddr, _client: usize) -> Result<Self> {
        let wire = Wire::connect(address).await?;
        Ok(Self { wire })
    }

    async fn put(&mut self, payload: &[u8]) -> Result<()> {
        match self.ask("POST", "", payload).await? {
            (200, _) => Ok(()),
            (status, body) => bail!("put: status {status}, {}", String::from_utf8_lossy(&body)),
        }
    }

    async fn take(&mut self) -> Result<Option<Taken<()>>> {
        match self.ask("GET", TAKE, b"").await? {
            (200, body) => {
                let frame = FrameList::decode(&body[..])?.frames.pop();
                let payload = frame.context("an empty list with status 200")?.data;
                Ok(Some(Taken { id: (), payload }))
            }
            (204, _) => Ok(None),
            (status, body) => bail!("take: status {status}, {}", String::from_utf8_lossy(&body)),
        }
    }

    async fn done(&mut self, (): ()) -> Result<()> {
        Ok(())
    }
}

impl Client {
    /// Confirms the entry with this index for the default group of the SDKs.
    pub async fn commit(&mut self, index: u64) -> Result<()> {
        match self.ask("PUT", &format!("?_indexes_={index}"), b"").await? {
            (200, _) => Ok(()),
            (status, body) => bail!(
                "commit: status {status}, {}",
                String::from_utf8_lossy(&body)
            ),
        }
    }

    /// Sends a request and reads the answer: status and body.
    async fn ask(&mut self, verb: &str, query: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        write!(
            self.wire.request,
            "{verb} {QUEUE}{query} HTTP/1.1\r\nHost: localhost\r\n\
             X-EAS-QueueService-Redis-Gid: eas\r\n\
             Accept: application/vnd.google.protobuf\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        self.wire.request.extend_from_slice(body);
        self.wire.send().await?;
        let (status, length) = read_head(&mut self.wire).await?;
        Ok((status, self.wire.block(length).await?))
    }
}

/// Reads an answer's status line and headers: status and length of the body.
pub async fn read_head(wire: &mut Wire) -> Result<(u16, usize)> {
    let line = wire.line().await?;
    let status = line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .with_context(|| format!("{line:?} is not a status line"))?
        .parse()?;
    let mut length = 0;
    loop {
        let line = wire.line().await?;
        let Some((name, value)) = line.split_once(':') else {
            ensure!(line.is_empty(), "{line:?} is not a header");
            return Ok((status, length));
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        }
        ensure!(
            !name.eq_ignore_ascii_case("transfer-encoding"),
            "an answer without a length"
        );
    }
}
