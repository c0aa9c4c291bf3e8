//! What the measurement needs of a queue, whatever its protocol.

use std::{future::Future, net::SocketAddr};

use anyhow::Result;

/// One client's link to a queue server. Each call waits for the server's answer before it returns.
pub trait Peer: Sized + Send + 'static {
    /// What names a taken entry until it is done.
    type Id: Send;

    /// Makes the empty queue, and checks what can be checked of the server's durability settings.
    /// Is called again while the server starts, so it may find its own work half done.
    fn prepare(address: SocketAddr) -> impl Future<Output = Result<()>> + Send;

    /// Opens the link of client number `client`.
    fn connect(address: SocketAddr, client: usize) -> impl Future<Output = Result<Self>> + Send;

    /// Adds an entry and waits for the acknowledgement.
    fn put(&mut self, payload: &[u8]) -> impl Future<Output = Result<()>> + Send;

    /// Takes one entry; `None` when the server saw none.
    fn take(&mut self) -> impl Future<Output = Result<Option<Taken<Self::Id>>>> + Send;

    /// Tells the server that the entry is done, so that it never comes again.
    fn done(&mut self, id: Self::Id) -> impl Future<Output = Result<()>> + Send;
}

/// A taken entry.
pub struct Taken<Id> {
    /// Its name for [`Peer::done`].
    pub id: Id,
    /// Its bytes.
    pub payload: Vec<u8>,
}
