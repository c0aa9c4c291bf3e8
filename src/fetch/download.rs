//! Fetches a large file to the disk, and goes on where an earlier try was cut off.
//!
//! Promises: the file appears under its name only when it is whole, has the size and hash that were
//! asked for, and is on the disk. What has come of it before that lies beside it, is taken up again
//! in this or a later call, and is mixed with no other file: it is asked for with `Range` and
//! `If-Range` (RFC 9110, sections 14.2 and 13.1.5), and the answer is held against what is known of
//! the first part. No more bytes are written than were allowed.

mod part;
#[cfg(test)]
mod tests;

use std::{
    io::{self, Read as _},
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use part::{Origin, Part};
use ureq::{
    Agent, Body,
    http::{
        HeaderMap, Response,
        header::{ACCEPT_ENCODING, CONTENT_RANGE, DATE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE},
    },
};
use url::Url;

use super::{
    NetworkPolicy, STOP_POLL,
    web::{self, Fault, host},
};
use crate::{job::CancelToken, store::StoreError};

/// Most redirects that are followed; code hosts send through two or three.
const REDIRECTS_MAX: usize = 5;
/// Bytes read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Longest pause before another try.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What to fetch, and what it has to be.
#[derive(Debug, Clone, Copy)]
pub struct Download<'a> {
    /// An `http` or `https` address.
    pub url: &'a str,
    /// The operator wrote the address, so its host may be in a private network. Hosts that it
    /// redirects to may not.
    pub trusted: bool,
    /// Where the file shall lie. The folder has to exist; a file that is there is replaced.
    pub target: &'a Path,
    /// Most bytes that are taken.
    pub bytes_max: u64,
    /// Size in bytes, where it is known.
    pub size: Option<u64>,
    /// Hash in small hexadecimal digits, where it is known.
    pub sha256: Option<&'a str>,
}

/// A file that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// Size in bytes.
    pub size: u64,
    /// Hash in small hexadecimal digits.
    pub sha256: String,
    /// How many bytes were there already from an earlier call.
    pub resumed: u64,
}

/// How much trouble a host may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Most tries of one call, at least 1; each goes on where the one before ended.
    pub tries: u32,
    /// Pause before the second try; it doubles from try to try, up to ten seconds.
    pub pause: Duration,
    /// Longest wait for more bytes.
    pub silence_max: Duration,
}

impl Default for Patience {
    /// Eight tries with about half a minute of pauses between them, and half a minute of silence.
    fn default() -> Self {
        Self {
            tries: 8,
            pause: Duration::from_millis(500),
            silence_max: Duration::from_secs(30),
        }
    }
}

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The address is of no usable form.
    #[error("the address cannot be used, {0}; give a plain http or https address")]
    InvalidAddress(&'static str),
    /// The host is in a private network, and the operator did not allow that.
    #[error(
        "`{host}` is not on the public internet and is not fetched from; allow it with the setting \
         `allowed_hosts`, or get the file another way"
    )]
    PrivateNetwork {
        /// The host that was asked or redirected to.
        host: String,
    },
    /// The host did not send all of the file.
    #[error(
        "`{host}` did not send the whole file, {why}; what has come is kept, so that another try \
         goes on from there"
    )]
    Unreachable {
        /// The host that was asked.
        host: String,
        /// What happened.
        why: &'static str,
    },
    /// The host fell silent.
    #[error(
        "`{host}` sent nothing for too long; what has come is kept, so that another try goes on \
         from there"
    )]
    Timeout {
        /// The host that was asked.
        host: String,
    },
    /// The host answered with something else than the file.
    #[error(
        "`{host}` answered with status {status} instead of the file; check the address, or get the \
         file another way"
    )]
    Status {
        /// The host that was asked.
        host: String,
        /// HTTP status.
        status: u16,
    },
    /// One redirect more than is followed.
    #[error("the address redirects too often; give the address that it ends at")]
    TooManyRedirects,
    /// The file is larger than the limit.
    #[error("the file is larger than {limit} bytes and was not taken; check the address")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The size is not the one that was asked for.
    #[error(
        "`{host}` has a file of {found} bytes instead of {expected}, which is another one; check \
         the address, or get the file another way"
    )]
    SizeDiffers {
        /// The host that was asked.
        host: String,
        /// The size that was asked for.
        expected: u64,
        /// The size that the host names.
        found: u64,
    },
    /// The hash is not the one that was asked for.
    #[error(
        "the file from `{host}` was thrown away: its sha256 is {found} instead of {expected}, so it \
         is damaged or another one; check the address, or get the file another way"
    )]
    HashDiffers {
        /// The host of the address.
        host: String,
        /// The hash that was asked for.
        expected: String,
        /// The hash of what came.
        found: String,
    },
    /// The file at the host is no longer the one of which a part has come.
    #[error("the file at `{host}` has changed while it was fetched; try again")]
    Changed {
        /// The host that was asked.
        host: String,
    },
    /// Another process fetches to the same place.
    #[error("another photog is fetching this file; wait until it has ended")]
    Busy,
    /// Somebody asked to stop.
    #[error("the fetch was stopped; what has come is kept, so that another try goes on from there")]
    Cancelled,
    /// The disk or the file system failed.
    #[error("the file could not be written: {0}; check free space and permissions")]
    Io(#[from] io::Error),
    /// As above.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Fetches a file. `progress` hears how many bytes are there and, where it is known, of how many.
///
/// Blocks the calling thread. A stop by `cancel` cuts the connection; at most a name look-up or a
/// connection attempt of some seconds is still waited for.
pub fn download(
    wanted: &Download<'_>,
    policy: &NetworkPolicy,
    patience: &Patience,
    cancel: &CancelToken,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<Downloaded, DownloadError> {
    let url = Url::parse(wanted.url)
        .map_err(|_| "it is not well-formed")
        .and_then(web::checked)
        .map_err(DownloadError::InvalidAddress)?;
    let mut policy = policy.clone();
    if let (true, Some(port)) = (wanted.trusted, url.port_or_known_default()) {
        policy.allowed_hosts.push(format!("{}:{port}", host(&url)));
    }
    let part = Part::open(wanted)?;
    let resumed = part.length();
    let agent = web::agent(&policy, "*/*", Some(patience.silence_max));
    let mut transfer = Transfer {
        wanted,
        url,
        agent: &agent,
        part,
        has_resumed: false,
        cancel,
        progress,
    };
    let ended = thread::scope(|scope| {
        let (running, ended) = mpsc::channel::<()>();
        let agent = &agent;
        let cut_off = move || {
            while ended.recv_timeout(STOP_POLL) == Err(RecvTimeoutError::Timeout) {
                if cancel.reason().is_some() {
                    return agent.clone().shutdown();
                }
            }
        };
        // Without this thread a stop is noticed with the next bytes.
        let _ = thread::Builder::new()
            .name(String::from("fetch"))
            .spawn_scoped(scope, cut_off);
        let ended = transfer.run(patience);
        drop(running);
        ended
    });
    match ended {
        Ok(sha256) => {
            let size = transfer.part.length();
            transfer.part.keep_as(wanted.target)?;
            Ok(Downloaded {
                size,
                sha256,
                resumed,
            })
        }
        Err(error) => {
            transfer.part.leave();
            Err(error)
        }
    }
}

/// One call of [`download`].
struct Transfer<'a> {
    wanted: &'a Download<'a>,
    url: Url,
    agent: &'a Agent,
    part: Part,
    /// Some of the bytes came in an earlier answer.
    has_resumed: bool,
    cancel: &'a CancelToken,
    progress: &'a mut dyn FnMut(u64, Option<u64>),
}

/// Why a try ended without the file.
enum Halt {
    /// Another try may do better.
    Again(DownloadError),
    /// Another try would end the same way.
    Stop(DownloadError),
}

impl<E: Into<DownloadError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Stop(error.into())
    }
}

impl Transfer<'_> {
    /// Tries until the file is whole. Its hash comes back.
    fn run(&mut self, patience: &Patience) -> Result<String, DownloadError> {
        let mut pause = patience.pause;
        let mut tries = 1;
        loop {
            let halt = match self.attempt() {
                Ok(sha256) => return Ok(sha256),
                Err(halt) => halt,
            };
            // A stop cuts the connection, which looks like a fault of the host.
            if self.cancel.reason().is_some() {
                return Err(DownloadError::Cancelled);
            }
            match halt {
                Halt::Again(error) if tries < patience.tries => {
                    tracing::debug!(%error, tries, "trying again");
                }
                Halt::Again(error) | Halt::Stop(error) => return Err(error),
            }
            if self.cancel.wait(pause).is_some() {
                return Err(DownloadError::Cancelled);
            }
            tries += 1;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn attempt(&mut self) -> Result<String, Halt> {
        if self.part.length() > 0 {
            self.has_resumed = true;
            if self.wanted.size.or(self.part.total()) == Some(self.part.length()) {
                return self.judge();
            }
            // Without a hash at the end, only the host can tell that it is still the same file.
            if self.wanted.sha256.is_none() && self.part.validator().is_none() {
                self.part.clear()?;
            }
        }
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.request(&url)?;
            if !web::is_redirect(response.status().as_u16()) {
                return self.answer(&url, response);
            }
            let next =
                web::redirect(&url, response.headers()).map_err(|why| unreachable(&url, why))?;
            let next = web::checked(next).map_err(DownloadError::InvalidAddress)?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(unreachable(&url, "it redirects to an unencrypted address").into());
            }
            url = next;
        }
        Err(DownloadError::TooManyRedirects.into())
    }

    fn request(&self, url: &Url) -> Result<Response<Body>, Halt> {
        let mut request = self
            .agent
            .get(url.as_str())
            .header(ACCEPT_ENCODING, "identity");
        if self.part.length() > 0 {
            request = request.header(RANGE, format!("bytes={}-", self.part.length()));
            if let Some(validator) = self.part.validator() {
                request = request.header(IF_RANGE, validator);
            }
        }
        request.call().map_err(|error| failure(error, url))
    }

    /// Takes an answer that is no redirect.
    fn answer(&mut self, url: &Url, response: Response<Body>) -> Result<String, Halt> {
        let status = response.status().as_u16();
        let headers = response.headers();
        let is_resumed = self.part.length() > 0;
        match status {
            200 | 206 if web::is_packed(headers) => {
                return Err(unreachable(url, web::PACKED).into());
            }
            200 => {
                let total = response.body().content_length();
                self.check_size(url, total)?;
                self.has_resumed = false;
                self.part.begin(Origin {
                    url: self.wanted.url.to_owned(),
                    validator: validator(headers),
                    total,
                })?;
            }
            206 if is_resumed => {
                let range = content_range(headers);
                self.check_size(url, range.and_then(|range| range.total))?;
                if !self.continues(range, headers) {
                    return self.start_anew(url);
                }
            }
            416 if is_resumed => {
                let total = content_range(headers).and_then(|range| range.total);
                // All of it was there already; only a hash can tell that it still is the same.
                if total == Some(self.part.length()) && self.wanted.sha256.is_some() {
                    return self.judge();
                }
                return self.start_anew(url);
            }
            _ => {
                let error = DownloadError::Status {
                    host: host(url),
                    status,
                };
                return Err(match status {
                    408 | 429 | 500..=599 => Halt::Again(error),
                    _ => Halt::Stop(error),
                });
            }
        }
        self.receive(url, response)
    }

    /// Whether a partial answer begins where the part ends, in the same file.
    fn continues(&self, range: Option<ContentRange>, headers: &HeaderMap) -> bool {
        let Some(range) = range else {
            return false;
        };
        let is_same = |ours: Option<u64>, theirs: Option<u64>| match (ours, theirs) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        // A host that does not know `If-Range` still names its file.
        let names = match self.part.validator() {
            Some(etag) if etag.starts_with('"') => (Some(etag), text(headers, ETAG.as_str())),
            Some(date) => (Some(date), text(headers, LAST_MODIFIED.as_str())),
            None => (None, None),
        };
        range.start == Some(self.part.length())
            && is_same(self.part.total(), range.total)
            && names.1.is_none_or(|theirs| names.0 == Some(theirs))
    }

    /// Gives up what has come, because it is not of the file that the host has now.
    fn start_anew(&mut self, url: &Url) -> Result<String, Halt> {
        self.part.clear()?;
        Err(Halt::Again(DownloadError::Changed { host: host(url) }))
    }

    /// Refuses a file whose size does not fit before any of it is taken.
    fn check_size(&self, url: &Url, total: Option<u64>) -> Result<(), DownloadError> {
        match (self.wanted.size, total) {
            (Some(expected), Some(found)) if expected != found => Err(DownloadError::SizeDiffers {
                host: host(url),
                expected,
                found,
            }),
            (_, Some(total)) if total > self.wanted.bytes_max => Err(self.too_large()),
            _ => Ok(()),
        }
    }

    fn too_large(&self) -> DownloadError {
        DownloadError::TooLarge {
            limit: self.limit(),
        }
    }

    fn limit(&self) -> u64 {
        let size = self.wanted.size.unwrap_or(u64::MAX);
        self.wanted.bytes_max.min(size)
    }

    fn receive(&mut self, url: &Url, mut response: Response<Body>) -> Result<String, Halt> {
        let total = self.wanted.size.or(self.part.total());
        // The limit is counted here, where going over it has its own error.
        let mut reader = response.body_mut().with_config().limit(u64::MAX).reader();
        let mut chunk = vec![0; CHUNK_BYTES];
        (self.progress)(self.part.length(), total);
        loop {
            if self.cancel.reason().is_some() {
                return Err(DownloadError::Cancelled.into());
            }
            let count = reader
                .read(&mut chunk)
                .map_err(|error| failure(ureq::Error::from(error), url))?;
            if count == 0 {
                break;
            }
            if self.part.length() + count as u64 > self.limit() {
                self.part.clear()?;
                return Err(self.too_large().into());
            }
            self.part.append(&chunk[..count])?;
            (self.progress)(self.part.length(), total);
        }
        if total.is_some_and(|total| self.part.length() < total) {
            return Err(Halt::Again(unreachable(url, "it ended too early")));
        }
        self.judge()
    }

    /// Holds the whole file against its hash, which comes back.
    fn judge(&mut self) -> Result<String, Halt> {
        let found = self.part.sha256();
        match self.wanted.sha256 {
            Some(expected) if expected != found => {
                self.part.clear()?;
                let error = DownloadError::HashDiffers {
                    host: host(&self.url),
                    expected: expected.to_owned(),
                    found,
                };
                // The first bytes may be of another file than the last.
                Err(if self.has_resumed {
                    Halt::Again(error)
                } else {
                    Halt::Stop(error)
                })
            }
            _ => Ok(found),
        }
    }
}

/// What a partial answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ContentRange {
    /// Its first byte; `None` when it holds nothing.
    start: Option<u64>,
    /// Size of the whole file, where the host names it.
    total: Option<u64>,
}

/// Reads `bytes 5-9/10`, `bytes 5-9/*` and `bytes */10` (RFC 9110, section 14.4).
fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let value = text(headers, CONTENT_RANGE.as_str())?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let start = match range.trim() {
        "*" => None,
        range => Some(range.split_once('-')?.0.trim().parse().ok()?),
    };
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    Some(ContentRange { start, total })
}

/// What names exactly this state of the file: a strong entity tag, or else the time of its last
/// change where that is at least a second past (RFC 9110, section 8.8.2.2: both are in whole
/// seconds, so a different time is an earlier one).
fn validator(headers: &HeaderMap) -> Option<String> {
    let etag = text(headers, ETAG.as_str()).filter(|etag| etag.starts_with('"'));
    let changed = || {
        let date = text(headers, DATE.as_str())?;
        text(headers, LAST_MODIFIED.as_str()).filter(|changed| *changed != date)
    };
    etag.or_else(changed).map(ToOwned::to_owned)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn failure(error: ureq::Error, url: &Url) -> Halt {
    let host = || host(url);
    match web::fault(error) {
        Fault::Timeout => Halt::Again(DownloadError::Timeout { host: host() }),
        Fault::Lost(why) => Halt::Again(unreachable(url, why)),
        Fault::Broken(why) => Halt::Stop(unreachable(url, why)),
        Fault::NotPublic => Halt::Stop(DownloadError::PrivateNetwork { host: host() }),
        Fault::Address => Halt::Stop(DownloadError::InvalidAddress("it is not well-formed")),
    }
}

fn unreachable(url: &Url, why: &'static str) -> DownloadError {
    DownloadError::Unreachable {
        host: host(url),
        why,
    }
}
