//! NATS JetStream over the NATS text protocol. A cycle is a publish that waits for the stream's
//! acknowledgement, a pull of one message by a durable consumer, and `+ACK` with an inbox (double
//! acknowledgement), which removes the message from the work-queue stream.
//!
//! The stream is stored in files, but a server without the option `sync_interval: always` (all
//! before 2.10) acknowledges once the message is handed to the operating system and syncs every two
//! minutes: such an answer does not promise to survive a power loss.

use std::{io::Write, net::SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use uuid::Uuid;

use crate::{
    peer::{Peer, Taken},
    wire::Wire,
};

const STREAM: &str = r#"{"name":"Q","subjects":["q"],"storage":"file","retention":"workqueue","num_replicas":1,"discard":"new"}"#;
const CONSUMER: &str = r#"{"stream_name":"Q","config":{"durable_name":"C","ack_policy":"explicit","deliver_policy":"all","max_ack_pending":10000}}"#;
/// One message; the wait (in nanoseconds) is longer than any case lasts between two messages.
const PULL: &str = r#"{"batch":1,"expires":30000000000}"#;

/// A link with one inbox, which is enough for one request at a time.
pub struct Client {
    wire: Wire,
    inbox: String,
}

/// A message that arrived in the inbox.
struct Message {
    /// Where an answer to it goes.
    reply: Option<String>,
    /// The status line of its headers, when it has headers.
    status: Option<String>,
    body: Vec<u8>,
}

impl Peer for Client {
    /// The subject that takes the acknowledgement.
    type Id = String;

    async fn prepare(address: SocketAddr) -> Result<()> {
        let mut client = Self::connect(address, 0).await?;
        for (subject, body) in [
            ("$JS.API.STREAM.CREATE.Q", STREAM),
            ("$JS.API.CONSUMER.DURABLE.CREATE.Q.C", CONSUMER),
        ] {
            let answer = client.ask(subject, body.as_bytes()).await?;
            if let Some(status) = answer.status {
                bail!("{subject} was answered with {status:?}");
            }
            let answer: serde_json::Value = serde_json::from_slice(&answer.body)?;
            ensure!(answer.get("error").is_none(), "{subject}: {answer}");
        }
        Ok(())
    }

    async fn connect(address: SocketAddr, _client: usize) -> Result<Self> {
        let mut wire = Wire::connect(address).await?;
        let greeting = wire.line().await?;
        ensure!(greeting.starts_with("INFO "), "greeted with {greeting:?}");
        let inbox = format!("_INBOX.{}", Uuid::new_v4().simple());
        write!(
            wire.request,
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\
             \"no_responders\":true}}\r\nSUB {inbox} 1\r\n"
        )?;
        wire.send().await?;
        Ok(Self { wire, inbox })
    }

    async fn put(&mut self, payload: &[u8]) -> Result<()> {
        let answer = self.ask("q", payload).await?;
        ensure!(
            answer.status.is_none() && answer.body.starts_with(br#"{"stream":"#),
            "publish was answered with {:?} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        Ok(())
    }

    async fn take(&mut self) -> Result<Option<Taken<String>>> {
        let message = self
            .ask("$JS.API.CONSUMER.MSG.NEXT.Q.C", PULL.as_bytes())
            .await?;
        if let Some(status) = message.status {
            ensure!(
                status.starts_with("NATS/1.0 408"),
                "pull was answered with {status:?}"
            );
            return Ok(None);
        }
        let id = message.reply.context("a message that cannot be answered")?;
        Ok(Some(Taken {
            id,
            payload: message.body,
        }))
    }

    async fn done(&mut self, id: String) -> Result<()> {
        let answer = self.ask(&id, b"+ACK").await?;
        if let Some(status) = answer.status {
            bail!("an acknowledgement was answered with {status:?}");
        }
        Ok(())
    }
}

impl Client {
    /// Publishes with the inbox as the place to answer, and waits for the answer.
    async fn ask(&mut self, subject: &str, body: &[u8]) -> Result<Message> {
        let request = &mut self.wire.request;
        write!(request, "PUB {subject} {} {}\r\n", self.inbox, body.len())?;
        request.extend_from_slice(body);
        request.extend_from_slice(b"\r\n");
        self.wire.send().await?;
        self.message().await
    }

    async fn message(&mut self) -> Result<Message> {
        loop {
            let line = self.wire.line().await?;
            if line == "PING" {
                self.wire.request.extend_from_slice(b"PONG\r\n");
                self.wire.send().await?;
                continue;
            }
            if line == "PONG" || line == "+OK" || line.starts_with("INFO ") {
                continue;
            }
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let (reply, headers, total) = match words[..] {
                ["MSG", _, _, total] => (None, 0, total.parse()?),
                ["MSG", _, _, reply, total] => (Some(reply.to_owned()), 0, total.parse()?),
                ["HMSG", _, _, headers, total] => (None, headers.parse()?, total.parse()?),
                ["HMSG", _, _, reply, headers, total] => {
                    (Some(reply.to_owned()), headers.parse()?, total.parse()?)
                }
                _ => bail!("the server said {line:?}"),
            };
            let mut block = self.wire.block_and_line_end(total).await?;
            ensure!(headers <= total, "headers longer than their message");
            let body = block.split_off(headers);
            let status = String::from_utf8_lossy(&block)
                .lines()
                .next()
                .map(str::to_owned);
            return Ok(Message {
                reply,
                status,
                body,
            });
        }
    }
}
