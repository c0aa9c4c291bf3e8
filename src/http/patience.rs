//! How long a client may keep this side waiting, and when bytes have left.
//!
//! A slow client is served; one that stands still or trickles is not. [`Patience`] is a leaky
//! bucket of time: waiting empties it, bytes that move fill it again. It bounds request bodies and,
//! through [`PatientStream`], everything that is written to a connection. What a client does
//! between requests is bounded by the server's head timeout instead.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::{Sleep, sleep},
};

/// Slowest rate that is served however long it takes. A telephone modem is faster.
const BYTES_PER_SECOND_MIN: f64 = 4096.0;

/// Time that one client may still keep this side waiting.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    left: Duration,
    most: Duration,
}

impl Patience {
    /// Full patience. `most` is also the longest silence.
    pub fn new(most: Duration) -> Self {
        Self { left: most, most }
    }

    /// What is left of it.
    pub fn left(&self) -> Duration {
        self.left
    }

    /// Counts that so many bytes moved after a wait.
    pub fn count(&mut self, waited: Duration, bytes: usize) {
        let earned = Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND_MIN);
        self.left = (self.left.saturating_sub(waited) + earned).min(self.most);
    }
}

/// Tells a handler when everything that it gave to its connection was handed to the system.
#[derive(Debug, Clone)]
pub struct Flushes(Arc<watch::Sender<u64>>);

impl Default for Flushes {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Flushes {
    /// A receiver that changes at the next flush. Taken before bytes are given to the connection, it
    /// tells when they have left: a connection flushes only what it has written completely.
    pub fn next(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// A connection that fails once its client takes too long to read.
#[derive(Debug)]
pub struct PatientStream {
    stream: TcpStream,
    patience: Patience,
    /// Since when a write waits for the client, and the end of the patience.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    flushes: Flushes,
}

impl PatientStream {
    /// Wraps a connection; `most` is the longest time in which the client takes nothing.
    pub fn new(stream: TcpStream, most: Duration, flushes: Flushes) -> Self {
        Self {
            stream,
            patience: Patience::new(most),
            waiting: None,
            flushes,
        }
    }

    fn judge(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Poll::Ready(written) = written else {
            let left = self.patience.left();
            let start = || (Instant::now(), Box::pin(sleep(left)));
            let (_, end) = self.waiting.get_or_insert_with(start);
            ready!(end.as_mut().poll(context));
            let text = "the client does not read what it asked for";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
        };
        let waited = self.waiting.take().map(|(since, _)| since.elapsed());
        if let Ok(bytes) = written {
            self.patience.count(waited.unwrap_or_default(), bytes);
        }
        Poll::Ready(written)
    }
}

impl AsyncRead for PatientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for PatientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.flushes.0.send_modify(|count| *count += 1);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waiting_uses_patience_up_and_bytes_give_it_back() {
        let mut patience = Patience::new(30 * SECOND);
        patience.count(20 * SECOND, 1);
        assert!(patience.left() < 11 * SECOND);
        patience.count(SECOND, 5 * 4096);
        assert!(patience.left() > 14 * SECOND);
        patience.count(Duration::ZERO, 1 << 30);
        assert_eq!(patience.left(), 30 * SECOND);
        patience.count(31 * SECOND, 0);
        assert_eq!(patience.left(), Duration::ZERO);
    }

    #[test]
    fn a_client_that_trickles_is_not_served_for_ever() {
        let mut patience = Patience::new(30 * SECOND);
        let mut bytes = 0;
        while patience.left() >= 20 * SECOND && bytes < 1000 {
            patience.count(20 * SECOND, 1);
            bytes += 1;
        }
        assert_eq!(bytes, 1, "the second wait of 20 s is cut off");
    }
}
