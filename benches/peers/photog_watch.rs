//! photog's queue as its own workers and the SDKs use it: the entry arrives by a WebSocket watch
//! with a window of one and is committed afterwards, so it comes again when its taker dies. Puts
//! and commits go over a second, kept HTTP connection.

use std::{io::Write, net::SocketAddr};

use anyhow::{Result, bail, ensure};
use prost::Message;

use crate::{
    peer::{Peer, Taken},
    photog::{self, Frame, QUEUE, read_head},
    wire::Wire,
};

const BINARY: u8 = 0x82;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A consumer of the group `eas`.
pub struct Client {
    http: photog::Client,
    watch: Wire,
}

impl Peer for Client {
    /// The entry's index.
    type Id = u64;

    async fn prepare(address: SocketAddr) -> Result<()> {
        photog::Client::prepare(address).await
    }

    async fn connect(address: SocketAddr, client: usize) -> Result<Self> {
        let mut watch = Wire::connect(address).await?;
        write!(
            watch.request,
            "GET {QUEUE}?_watch_=true&_index_=0&_window_=1&_index_only_=false\
             &_auto_commit_=false HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: cGhvdG9nIHBlZXJzIG5vdw==\r\n\
             X-EAS-QueueService-Redis-Gid: eas\r\nX-EAS-QueueService-Redis-Uid: {client}\r\n\
             Accept: application/vnd.google.protobuf\r\n\r\n"
        )?;
        watch.send().await?;
        let (status, _) = read_head(&mut watch).await?;
        ensure!(status == 101, "watch: status {status}");
        let http = photog::Client::connect(address, client).await?;
        Ok(Self { http, watch })
    }

    async fn put(&mut self, payload: &[u8]) -> Result<()> {
        self.http.put(payload).await
    }

    async fn take(&mut self) -> Result<Option<Taken<u64>>> {
        loop {
            let (kind, content) = self.frame().await?;
            match kind {
                BINARY => {
                    let frame = Frame::decode(&content[..])?;
                    return Ok(Some(Taken {
                        id: frame.index,
                        payload: frame.data,
                    }));
                }
                PING => self.pong(&content).await?,
                PONG => {}
                other => bail!("a WebSocket frame that begins with {other:#04x}"),
            }
        }
    }

    async fn done(&mut self, id: u64) -> Result<()> {
        self.http.commit(id).await
    }
}

impl Client {
    /// Reads one WebSocket frame: first byte and content. Servers neither mask nor, here, fragment.
    async fn frame(&mut self) -> Result<(u8, Vec<u8>)> {
        let head = self.watch.block(2).await?;
        let length = match head[1] {
            126 => big_endian(&self.watch.block(2).await?),
            127 => big_endian(&self.watch.block(8).await?),
            short => usize::from(short),
        };
        Ok((head[0], self.watch.block(length).await?))
    }

    /// Answers a ping. A client must mask; a mask of zeros leaves the content as it is.
    async fn pong(&mut self, content: &[u8]) -> Result<()> {
        let length = u8::try_from(content.len())?;
        ensure!(length < 126, "a ping of {length} bytes");
        let head = [PONG, 0x80 | length, 0, 0, 0, 0];
        self.watch.request.extend_from_slice(&head);
        self.watch.request.extend_from_slice(content);
        self.watch.send().await
    }
}

fn big_endian(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |value, byte| (value << 8) | usize::from(*byte))
}
