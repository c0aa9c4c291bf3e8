//! Redis streams over RESP2. A cycle is `XADD`, `XREADGROUP ... COUNT 1`, then `XACK` and `XDEL` in
//! one write.
//!
//! With `appendonly yes` and `appendfsync always` every change, delivery to a consumer included,
//! is in the append-only file and synced before its answer goes out.

use std::{io::Write, net::SocketAddr};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    peer::{Peer, Taken},
    wire::Wire,
};

/// A link that is one consumer of the group `g` of the stream `q`.
pub struct Client {
    wire: Wire,
    consumer: String,
}

impl Peer for Client {
    /// The entry's stream id, `<milliseconds>-<number>`.
    type Id = Vec<u8>;

    async fn prepare(address: SocketAddr) -> Result<()> {
        let mut client = Self::connect(address, 0).await?;
        for (setting, wanted) in [("appendonly", "yes"), ("appendfsync", "always")] {
            client.command(&[b"CONFIG", b"GET", setting.as_bytes()])?;
            client.wire.send().await?;
            client.array().await?;
            client.bulk().await?;
            let value = client.bulk().await?;
            ensure!(value == wanted.as_bytes(), "{setting} is not {wanted}");
        }
        client.command(&[b"XGROUP", b"CREATE", b"q", b"g", b"0", b"MKSTREAM"])?;
        client.wire.send().await?;
        client.simple("OK").await
    }

    async fn connect(address: SocketAddr, client: usize) -> Result<Self> {
        Ok(Self {
            wire: Wire::connect(address).await?,
            consumer: client.to_string(),
        })
    }

    async fn put(&mut self, payload: &[u8]) -> Result<()> {
        self.command(&[b"XADD", b"q", b"*", b"p", payload])?;
        self.wire.send().await?;
        self.bulk().await.map(drop)
    }

    async fn take(&mut self) -> Result<Option<Taken<Vec<u8>>>> {
        let consumer = self.consumer.clone();
        self.command(&[
            b"XREADGROUP",
            b"GROUP",
            b"g",
            consumer.as_bytes(),
            b"COUNT",
            b"1",
            b"STREAMS",
            b"q",
            b">",
        ])?;
        self.wire.send().await?;
        if self.array().await?.is_none() {
            return Ok(None);
        }
        // One stream: its name and its entries; one entry: its id and its fields; one field.
        self.array().await?;
        self.bulk().await?;
        self.array().await?;
        self.array().await?;
        let id = self.bulk().await?;
        self.array().await?;
        self.bulk().await?;
        let payload = self.bulk().await?;
        Ok(Some(Taken { id, payload }))
    }

    async fn done(&mut self, id: Vec<u8>) -> Result<()> {
        self.command(&[b"XACK", b"q", b"g", &id])?;
        self.command(&[b"XDEL", b"q", &id])?;
        self.wire.send().await?;
        for verb in ["XACK", "XDEL"] {
            let changed = self.typed(b':').await?;
            ensure!(changed == 1, "{verb} changed {changed} entries");
        }
        Ok(())
    }
}

impl Client {
    /// Adds a command to the request.
    fn command(&mut self, words: &[&[u8]]) -> Result<()> {
        let request = &mut self.wire.request;
        write!(request, "*{}\r\n", words.len())?;
        for word in words {
            write!(request, "${}\r\n", word.len())?;
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    /// Reads a line that must begin with the type's sign, and gives its number.
    async fn typed(&mut self, sign: u8) -> Result<i64> {
        let line = self.wire.line().await?;
        match line.as_bytes().split_first() {
            Some((first, _)) if *first == sign => Ok(line[1..].parse()?),
            _ => bail!("the server answered {line:?}"),
        }
    }

    /// Reads an array's head: its length, or `None` for the null array.
    async fn array(&mut self) -> Result<Option<i64>> {
        let length = self.typed(b'*').await?;
        Ok((length >= 0).then_some(length))
    }

    async fn bulk(&mut self) -> Result<Vec<u8>> {
        let length = self.typed(b'$').await?;
        let length = usize::try_from(length).context("null where a text was expected")?;
        self.wire.block_and_line_end(length).await
    }

    async fn simple(&mut self, wanted: &str) -> Result<()> {
        let line = self.wire.line().await?;
        ensure!(
            line.strip_prefix('+') == Some(wanted),
            "the server answered {line:?}"
        );
        Ok(())
    }
}
