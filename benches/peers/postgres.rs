//! PostgreSQL as a queue: one table, `FOR UPDATE SKIP LOCKED`, each statement its own transaction.
//! A cycle is an `INSERT` and a `DELETE ... RETURNING` that takes and removes in one.
//!
//! With `fsync=on` and `synchronous_commit=on` (checked here) both answers come after the log is on
//! disk. Taking and removing in one means that an entry is lost when its taker dies.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use tokio_postgres::{Config, NoTls, Statement};

use crate::peer::{Peer, Taken};

const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS queue (id bigserial PRIMARY KEY, payload bytea NOT NULL)";
const PUT: &str = "INSERT INTO queue (payload) VALUES ($1)";
const TAKE: &str = "DELETE FROM queue WHERE id = (SELECT id FROM queue ORDER BY id \
                    FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING payload";

/// A session with its two statements prepared.
pub struct Client {
    session: tokio_postgres::Client,
    put: Statement,
    take: Statement,
}

impl Peer for Client {
    /// The entry is gone once it is taken.
    type Id = ();

    async fn prepare(address: SocketAddr) -> Result<()> {
        let session = open(address).await?;
        for setting in ["fsync", "synchronous_commit"] {
            let row = session.query_one(&format!("SHOW {setting}"), &[]).await?;
            let value: &str = row.try_get(0)?;
            ensure!(value == "on", "{setting} is {value}");
        }
        session.batch_execute(TABLE).await?;
        Ok(())
    }

    async fn connect(address: SocketAddr, _client: usize) -> Result<Self> {
        let session = open(address).await?;
        Ok(Self {
            put: session.prepare(PUT).await?,
            take: session.prepare(TAKE).await?,
            session,
        })
    }

    async fn put(&mut self, payload: &[u8]) -> Result<()> {
        let rows = self.session.execute(&self.put, &[&payload]).await?;
        ensure!(rows == 1, "an insert stored {rows} rows");
        Ok(())
    }

    /// `None` is common with many clients: a row that another client has locked is skipped, and one
    /// stored after the statement began is not seen.
    async fn take(&mut self) -> Result<Option<Taken<()>>> {
        let Some(row) = self.session.query_opt(&self.take, &[]).await? else {
            return Ok(None);
        };
        let payload = row.try_get(0)?;
        Ok(Some(Taken { id: (), payload }))
    }

    async fn done(&mut self, (): ()) -> Result<()> {
        Ok(())
    }
}

/// Opens a session; a task of its own moves its bytes until the session is dropped.
async fn open(address: SocketAddr) -> Result<tokio_postgres::Client> {
    let (session, link) = Config::new()
        .host(address.ip().to_string())
        .port(address.port())
        .user("postgres")
        .dbname("postgres")
        .connect(NoTls)
        .await?;
    tokio::spawn(link);
    Ok(session)
}
