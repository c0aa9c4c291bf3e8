//! beanstalkd's text protocol. A cycle is `put`, `reserve`, `delete`.
//!
//! With `-b DIR -f 0` the server writes `put` and `delete` to its log and calls `fsync` before it
//! answers. A reservation lives in memory only: it ends with the link.

use std::{io::Write, net::SocketAddr};

use anyhow::{Context, Result, bail};

use crate::{
    peer::{Peer, Taken},
    wire::Wire,
};

/// A link that uses and watches the tube `default`.
pub struct Client(Wire);

impl Peer for Client {
    type Id = u64;

    async fn prepare(address: SocketAddr) -> Result<()> {
        Wire::connect(address).await.map(drop)
    }

    async fn connect(address: SocketAddr, _client: usize) -> Result<Self> {
        Wire::connect(address).await.map(Self)
    }

    async fn put(&mut self, payload: &[u8]) -> Result<()> {
        // Priority 0, no delay, 120 seconds to run.
        write!(self.0.request, "put 0 0 120 {}\r\n", payload.len())?;
        self.0.request.extend_from_slice(payload);
        self.0.request.extend_from_slice(b"\r\n");
        self.0.send().await?;
        match self.0.line().await? {
            answer if answer.starts_with("INSERTED ") => Ok(()),
            answer => bail!("put was answered with {answer:?}"),
        }
    }

    async fn take(&mut self) -> Result<Option<Taken<u64>>> {
        self.0.request.extend_from_slice(b"reserve\r\n");
        self.0.send().await?;
        let answer = self.0.line().await?;
        let (id, length) = answer
            .strip_prefix("RESERVED ")
            .and_then(|rest| rest.split_once(' '))
            .with_context(|| format!("reserve was answered with {answer:?}"))?;
        let (id, length) = (id.parse()?, length.parse()?);
        let payload = self.0.block_and_line_end(length).await?;
        Ok(Some(Taken { id, payload }))
    }

    async fn done(&mut self, id: u64) -> Result<()> {
        write!(self.0.request, "delete {id}\r\n")?;
        self.0.send().await?;
        match self.0.line().await? {
            "DELETED" => Ok(()),
            answer => bail!("delete was answered with {answer:?}"),
        }
    }
}
