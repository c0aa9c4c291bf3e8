//! Pictures behind `http` and `https` addresses.

use std::{
    io::Read,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use ureq::{
    Agent,
    http::{
        HeaderMap,
        header::{ACCEPT_ENCODING, CONTENT_ENCODING, LOCATION},
    },
    unversioned::transport::DefaultConnector,
};
use url::Url;

use super::{
    FetchError,
    guard::{GuardedResolver, NetworkPolicy, NotPublic},
};

/// Most redirects that are followed.
const REDIRECTS_MAX: usize = 3;
/// Longest address in bytes; signed bucket addresses have about one thousand.
const ADDRESS_BYTES_MAX: usize = 8192;
/// Longest header of an answer in bytes.
const HEADER_BYTES_MAX: usize = 32 << 10;
/// Longest wait for a name, and again for a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Why an answer in another encoding than the plain bytes is not taken.
pub(super) const PACKED: &str = "it sends a packed answer although asked not to";
/// Bytes read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// What is left for all fetches of one call together.
#[derive(Debug)]
pub(super) struct Budget(AtomicU64);

impl Budget {
    pub(super) fn new(bytes: u64) -> Self {
        Self(AtomicU64::new(bytes))
    }

    /// Takes bytes out, or nothing if so many are not left.
    pub(super) fn take(&self, bytes: u64) -> Result<(), FetchError> {
        // A counter alone orders no other memory.
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .map(|_| ())
            .map_err(|_| FetchError::TotalTooLarge)
    }
}

/// What one fetch may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance<'a> {
    pub(super) bytes_max: u64,
    pub(super) deadline: Instant,
    pub(super) budget: &'a Budget,
}

/// An HTTP client behind the guard that asks for these types. It follows no redirect by itself,
/// keeps no connection, uses no proxy of the environment and unpacks nothing. `silence_max` is the
/// longest wait for more bytes.
pub(super) fn agent(
    policy: &NetworkPolicy,
    accept: &'static str,
    silence_max: Option<Duration>,
) -> Agent {
    let config = Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .max_idle_connections(0)
        .max_response_header_size(HEADER_BYTES_MAX)
        .timeout_resolve(Some(CONNECT_TIME_MAX))
        .timeout_connect(Some(CONNECT_TIME_MAX))
        .user_agent(concat!("photog/", env!("CARGO_PKG_VERSION")))
        .timeout_per_read(silence_max)
        .accept(accept)
        .build();
    let resolver = GuardedResolver {
        policy: policy.clone(),
    };
    Agent::with_parts(config, DefaultConnector::default(), resolver)
}

/// Fetches one picture, over redirects if need be.
pub(super) fn get(
    agent: &Agent,
    address: &str,
    allowance: Allowance<'_>,
) -> Result<Vec<u8>, FetchError> {
    let url = Url::parse(address)
        .map_err(|_| FetchError::InvalidAddress("it is no well-formed http address"))?;
    let mut url = checked(url).map_err(FetchError::InvalidAddress)?;
    for _ in 0..=REDIRECTS_MAX {
        match request(agent, &url, allowance)? {
            Reply::Picture(bytes) => return Ok(bytes),
            Reply::Redirect(next) => url = checked(next).map_err(FetchError::InvalidAddress)?,
        }
    }
    Err(FetchError::TooManyRedirects)
}

/// Refuses addresses that are no plain `http` or `https` ones. Every hop comes through here.
pub(super) fn checked(url: Url) -> Result<Url, &'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it leads to something else than http or https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a user name or a password");
    }
    if url.as_str().len() > ADDRESS_BYTES_MAX {
        return Err("it is too long");
    }
    Ok(url)
}

enum Reply {
    Picture(Vec<u8>),
    Redirect(Url),
}

fn request(agent: &Agent, url: &Url, allowance: Allowance<'_>) -> Result<Reply, FetchError> {
    let failed = |error| failure(error, url);
    let time_left = allowance.deadline.saturating_duration_since(Instant::now());
    let mut response = agent
        .get(url.as_str())
        .header(ACCEPT_ENCODING, "identity")
        .config()
        .timeout_global(Some(time_left))
        .build()
        .call()
        .map_err(failed)?;
    let status = response.status().as_u16();
    if is_redirect(status) {
        let next = redirect(url, response.headers());
        return next
            .map(Reply::Redirect)
            .map_err(|why| unreachable(url, why));
    }
    if status != 200 {
        return Err(FetchError::Status {
            host: host(url),
            status,
        });
    }
    if is_packed(response.headers()) {
        return Err(unreachable(url, PACKED));
    }
    let limit = allowance.bytes_max;
    let body = response.body_mut();
    if body.content_length().is_some_and(|length| length > limit) {
        return Err(FetchError::TooLarge { limit });
    }
    // The limit is counted in `read_bounded`, where going over it has its own error.
    let reader = body.with_config().limit(u64::MAX).reader();
    read_bounded(reader, allowance, failed).map(Reply::Picture)
}

/// Whether an answer with this status sends elsewhere.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Where an answer sends to; the error says why that cannot be followed.
pub(super) fn redirect(from: &Url, headers: &HeaderMap) -> Result<Url, &'static str> {
    headers
        .get(LOCATION)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| from.join(location).ok())
        .ok_or("it redirects to no readable address")
}

/// Whether the body of an answer is not the plain bytes.
pub(super) fn is_packed(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn read_bounded(
    mut reader: impl Read,
    allowance: Allowance<'_>,
    failed: impl Fn(ureq::Error) -> FetchError,
) -> Result<Vec<u8>, FetchError> {
    let limit = allowance.bytes_max;
    let mut bytes = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = reader
            .read(&mut chunk)
            .map_err(|error| failed(ureq::Error::from(error)))?;
        if count == 0 {
            return Ok(bytes);
        }
        if (bytes.len() + count) as u64 > limit {
            return Err(FetchError::TooLarge { limit });
        }
        allowance.budget.take(count as u64)?;
        bytes.extend_from_slice(&chunk[..count]);
    }
}

fn failure(error: ureq::Error, url: &Url) -> FetchError {
    match fault(error) {
        Fault::Timeout => FetchError::Timeout { host: host(url) },
        Fault::NotPublic => FetchError::PrivateNetwork { host: host(url) },
        Fault::Address => FetchError::InvalidAddress("it is no well-formed http address"),
        Fault::Lost(why) | Fault::Broken(why) => unreachable(url, why),
    }
}

/// What can go wrong with a request, by what may be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing came in time.
    Timeout,
    /// The guard refused the host.
    NotPublic,
    /// The address is of no usable form.
    Address,
    /// The connection did not come about or broke off; another try may do better.
    Lost(&'static str),
    /// The host does not answer as it should, and would not do so another time.
    Broken(&'static str),
}

pub(super) fn fault(error: ureq::Error) -> Fault {
    match error {
        ureq::Error::Timeout(_) => Fault::Timeout,
        ureq::Error::Other(source) if source.is::<NotPublic>() => Fault::NotPublic,
        // A machine whose network is gone for a moment hears the same of every name.
        ureq::Error::HostNotFound => Fault::Lost("no address was found for its name"),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => Fault::Address,
        ureq::Error::Io(_) | ureq::Error::ConnectionFailed => {
            Fault::Lost("the connection failed or broke off")
        }
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => {
            Fault::Broken("no trusted encrypted connection came about")
        }
        _ => Fault::Broken("its answer breaks the rules of HTTP"),
    }
}

fn unreachable(url: &Url, why: &'static str) -> FetchError {
    FetchError::Unreachable {
        host: host(url),
        why,
    }
}

/// The host alone: path and query of an address may hold names and signatures.
pub(super) fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}
