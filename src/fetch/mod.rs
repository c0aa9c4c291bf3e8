//! Gets the bytes of a picture from the address that a request gives, and large files to the disk.
//!
//! The address of a picture is `http(s)://…`, `oss://bucket/key`, a path below a mount, a
//! `data:image/…;base64,…` URL or a picture in bare base64. Every fetch has a limit in bytes and in
//! time, and so have all fetches of one call together; private networks are out of reach unless the
//! configuration says otherwise. Error texts name hosts at most: never a path, a query or data.
//!
//! [`download`] is for files that the operator asks for: whole or absent, and resumed where an
//! earlier try was cut off.
//!
//! What the bytes are is not judged here.

mod download;
mod guard;
mod inline;
#[cfg(test)]
mod tests;
mod web;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
pub use download::{Download, DownloadError, Downloaded, Patience, download};
pub use guard::NetworkPolicy;
pub use inline::inline_picture;
use ureq::Agent;
use web::{Allowance, Budget};

use crate::{
    domain::MIB,
    job::{CancelReason, JobContext},
    store::{Mounts, StoreError},
};

/// How long a stop may go unnoticed while fetches run.
const STOP_POLL: Duration = Duration::from_millis(20);
/// The types that are asked for where a picture is expected.
const PICTURES: &str = "image/jpeg, image/png, */*;q=0.1";

/// What fetching may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Most bytes of one picture.
    pub picture_bytes_max: u64,
    /// Most bytes of all pictures of one call.
    pub total_bytes_max: u64,
    /// Longest time for one picture, from the first look-up to the last byte.
    pub time_max: Duration,
    /// How many pictures are fetched at once, at least 1.
    pub parallel: usize,
}

impl Default for FetchLimits {
    /// 64 MiB a picture, which holds a JPEG of 100 megapixels; four at once; half a minute each.
    fn default() -> Self {
        Self {
            picture_bytes_max: 64 * MIB,
            total_bytes_max: 256 * MIB,
            time_max: Duration::from_secs(30),
            parallel: 4,
        }
    }
}

/// Why a picture could not be got.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is of no usable form.
    #[error(
        "the address cannot be used, {0}; give an http, https or oss address, a path below a \
         mount or a `data:` URL"
    )]
    InvalidAddress(&'static str),
    /// The host is in a private network, and the configuration does not allow that.
    #[error(
        "`{host}` is not on the public internet and is not fetched from; use a public address, or \
         let the operator allow this host"
    )]
    PrivateNetwork {
        /// The host in the address.
        host: String,
    },
    /// The host does not answer as it should.
    #[error("`{host}` did not send the picture, {why}; check the address and try again")]
    Unreachable {
        /// The host in the address.
        host: String,
        /// What happened.
        why: &'static str,
    },
    /// The host answered with another status than 200.
    #[error("`{host}` answered with status {status} instead of the picture; check the address")]
    Status {
        /// The host in the address.
        host: String,
        /// HTTP status.
        status: u16,
    },
    /// One redirect more than is followed.
    #[error("the address redirects too often; give the address that it ends at")]
    TooManyRedirects,
    /// The picture did not arrive in time.
    #[error("`{host}` did not send the picture in time; try again or use another host")]
    Timeout {
        /// The host in the address.
        host: String,
    },
    /// The picture is larger than the limit for one.
    #[error("the picture is larger than {limit} bytes; send a smaller file")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The pictures of this call are together larger than the limit.
    #[error("the pictures of this request are too large together; send fewer or smaller ones")]
    TotalTooLarge,
    /// A file of the mounts could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gave no thread to fetch with.
    #[error("the machine is short of resources and nothing was fetched; try again later")]
    NoWorker,
}

/// Gets pictures from addresses. Clones share their settings.
#[derive(Debug, Clone)]
pub struct Fetcher {
    mounts: Arc<Mounts>,
    policy: Arc<NetworkPolicy>,
}

impl Fetcher {
    /// A fetcher that sees these mounts and obeys this policy.
    pub fn new(mounts: Mounts, policy: NetworkPolicy) -> Self {
        Self {
            mounts: Arc::new(mounts),
            policy: Arc::new(policy),
        }
    }

    /// Gets several pictures, a few at once. The results stand in the order of the addresses.
    ///
    /// Blocks the calling thread. `Err` when the job has to stop: connections are then cut, and at
    /// most a name look-up or a connection attempt of some seconds is still waited for.
    pub fn fetch_all<A: AsRef<str> + Sync>(
        &self,
        addresses: &[A],
        limits: &FetchLimits,
        context: &JobContext,
    ) -> Result<Vec<Result<Bytes, FetchError>>, CancelReason> {
        context.checkpoint()?;
        let agent = web::agent(&self.policy, PICTURES, None);
        let budget = Budget::new(limits.total_bytes_max);
        let next = AtomicUsize::new(0);
        let (sender, receiver) = mpsc::channel();
        let work = |sender: mpsc::Sender<(usize, Result<Bytes, FetchError>)>| {
            // The counter alone hands out work; results travel through the channel.
            while let Some((at, address)) = nth(addresses, next.fetch_add(1, Ordering::Relaxed)) {
                let time = limits.time_max.min(context.remaining());
                let allowance = Allowance {
                    bytes_max: limits.picture_bytes_max,
                    deadline: Instant::now() + time,
                    budget: &budget,
                };
                let fetched = self.fetch_one(&agent, address.as_ref(), allowance);
                if context.cancel.reason().is_some() || sender.send((at, fetched)).is_err() {
                    return;
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..limits.parallel.clamp(1, addresses.len().max(1)) {
                let sender = sender.clone();
                let work = &work;
                // Without a single thread the results say so; with some, the others do the work.
                let _ = thread::Builder::new()
                    .name(String::from("fetch"))
                    .spawn_scoped(scope, move || work(sender));
            }
            drop(sender);
            collect(&receiver, addresses.len(), context).inspect_err(|_| agent.clone().shutdown())
        })
    }

    fn fetch_one(
        &self,
        agent: &Agent,
        address: &str,
        allowance: Allowance<'_>,
    ) -> Result<Bytes, FetchError> {
        let limit = allowance.bytes_max;
        if is_web(address) {
            return web::get(agent, address, allowance).map(Bytes::from);
        }
        let bytes = if starts_with_ignoring_case(address, "data:") {
            inline::from_data_url(address, limit)?
        } else if self.mounts.covers(address) {
            self.mounts.read(address, limit)?
        } else if address.contains("://") {
            return Err(FetchError::InvalidAddress("its scheme is not known"));
        } else {
            // A JPEG in base64 begins with `/9j/`, so this comes after the mounts.
            inline::from_bare_base64(address, limit)?
        };
        allowance.budget.take(bytes.len() as u64)?;
        Ok(Bytes::from(bytes))
    }
}

/// Takes in results until all workers are done or the job has to stop.
fn collect(
    receiver: &Receiver<(usize, Result<Bytes, FetchError>)>,
    count: usize,
    context: &JobContext,
) -> Result<Vec<Result<Bytes, FetchError>>, CancelReason> {
    let mut results: Vec<_> = (0..count).map(|_| Err(FetchError::NoWorker)).collect();
    loop {
        match receiver.recv_timeout(STOP_POLL) {
            Ok((at, fetched)) => results[at] = fetched,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        context.checkpoint()?;
    }
    context.checkpoint()?;
    Ok(results)
}

fn nth<A>(items: &[A], at: usize) -> Option<(usize, &A)> {
    items.get(at).map(|item| (at, item))
}

fn is_web(address: &str) -> bool {
    starts_with_ignoring_case(address, "http://") || starts_with_ignoring_case(address, "https://")
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.as_bytes()
        .get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}
