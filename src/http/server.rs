//! Connections: accepted up to a limit, bounded in time, and ended in good order.
//!
//! Connections above the limit are not left waiting: they get `/healthz` or a refusal, so that a
//! crowd does not make the program look dead.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::http::Request;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::net::sockopt;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tower::ServiceExt as _;

use super::{
    patience::{Flushes, PatientStream},
    routes,
    state::{App, until},
    unread::Observed,
};

/// Largest request head in bytes: the query string's limit and room for headers.
const HEAD_BYTES_MAX: usize = super::params::QUERY_BYTES_MAX + 32 * 1024;
/// How long open requests may go on once everything else has ended.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// Pause after the system refused a connection, usually for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections above the limit that are answered at once; more are closed.
const REFUSED_AT_ONCE: usize = 64;
/// Longest time for the head of a request that is refused anyway.
const REFUSED_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A client whose machine has vanished is looked for after this silence.
const VANISHED_AFTER: Duration = Duration::from_secs(30);
/// Time between two of these probes, and how many may stay unanswered.
const PROBES: (Duration, u32) = (Duration::from_secs(10), 3);

/// Limits of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServeOptions {
    /// Connections at once.
    pub connections_max: usize,
    /// Longest time for a request head to arrive, and for a kept connection to be idle.
    pub header_timeout: Duration,
    /// Longest time in which a client takes nothing of its answer.
    pub stall_max: Duration,
}

/// A listening server.
pub struct Server {
    listener: TcpListener,
    app: App,
    options: ServeOptions,
}

impl Server {
    /// Serves this state on a bound listener.
    pub fn new(listener: TcpListener, app: App, options: ServeOptions) -> Self {
        Self {
            listener,
            app,
            options,
        }
    }

    /// The address that it listens on.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `close` becomes true; then open requests get a few seconds to end.
    pub async fn run(self, mut close: watch::Receiver<bool>) {
        let all = Kind::all(self.app, self.options);
        let refusing = Kind::refusing(self.options);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = until(&mut close) => break,
            };
            while connections.try_join_next().is_some() {}
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let place = |kind: &Kind| {
                let place = Arc::clone(&kind.places).try_acquire_owned().ok()?;
                Some((place, kind.clone()))
            };
            if let Some((place, kind)) = place(&all).or_else(|| place(&refusing)) {
                let close = close.clone();
                connections.spawn(async move {
                    kind.serve(stream, close).await;
                    drop(place);
                });
            }
        }
        let all_closed = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(CLOSE_MAX, all_closed).await.is_err() {
            tracing::info!("ending connections that did not close");
        }
    }
}

/// What a connection is served with.
#[derive(Clone)]
struct Kind {
    places: Arc<Semaphore>,
    router: axum::Router,
    header_timeout: Duration,
    stall_max: Duration,
    keep_alive: bool,
}

impl Kind {
    fn all(app: App, options: ServeOptions) -> Self {
        Self {
            places: Arc::new(Semaphore::new(options.connections_max)),
            router: routes::router(app),
            header_timeout: options.header_timeout,
            stall_max: options.stall_max,
            keep_alive: true,
        }
    }

    fn refusing(options: ServeOptions) -> Self {
        Self {
            places: Arc::new(Semaphore::new(REFUSED_AT_ONCE)),
            router: routes::refusing_router(),
            header_timeout: options.header_timeout.min(REFUSED_HEADER_TIMEOUT),
            stall_max: options.stall_max,
            keep_alive: false,
        }
    }

    async fn serve(self, stream: TcpStream, mut close: watch::Receiver<bool>) {
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%error, "a connection broke before its first request");
            return;
        }
        let flushes = Flushes::default();
        let stream = PatientStream::new(stream, self.stall_max, flushes.clone());
        let router = self.router;
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let (mut request, ending) = Observed::of(request);
            request.extensions_mut().insert(flushes.clone());
            let answering = router.clone().oneshot(request);
            async move {
                let mut answer = answering.await?;
                ending.announce(&mut answer);
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .keep_alive(self.keep_alive)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = until(&mut close) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
    }
}

fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    // Answers are small and whole, so waiting to fill packets only costs time.
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, VANISHED_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, PROBES.0)?;
    sockopt::set_tcp_keepcnt(stream, PROBES.1)?;
    Ok(())
}
