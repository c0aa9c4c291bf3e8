//! Request bodies: bounded in size, in memory and in time.

use std::time::{Duration, Instant};

use axum::{body::Body, http::HeaderMap};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use crate::queue::{BLOB_THRESHOLD_BYTES, BlobFolder, BlobWriter, Payload};

use super::{error::Refusal, patience::Patience};

/// A refused body is read and thrown away up to this multiple of the limit, because a client that
/// is still sending does not see an answer before it is done.
const DISCARD_FACTOR: u64 = 2;

/// Reads the payload of a new entry. What is above the threshold goes to a file while it arrives,
/// so a large body never lies in memory as a whole.
pub async fn payload(
    headers: &HeaderMap,
    body: Body,
    limit: u64,
    idle: Duration,
    blobs: &BlobFolder,
) -> Result<Payload, Refusal> {
    let mut chunks = Chunks::new(body, idle);
    let read = read(&mut chunks, content_length(headers), limit, blobs).await;
    if read.is_err() {
        chunks.discard(headers, limit).await;
    }
    read
}

/// Refuses a put without looking at its body, in a way that its client sees.
pub async fn refuse<R>(
    headers: &HeaderMap,
    body: Body,
    limit: u64,
    idle: Duration,
    refusal: R,
) -> R {
    Chunks::new(body, idle).discard(headers, limit).await;
    refusal
}

async fn read(
    chunks: &mut Chunks,
    declared: Option<u64>,
    limit: u64,
    blobs: &BlobFolder,
) -> Result<Payload, Refusal> {
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let mut start = BytesMut::new();
    let mut file: Option<BlobWriter> = None;
    let mut size = 0;
    while let Some(chunk) = chunks.next().await? {
        size += chunk.len() as u64;
        if size > limit {
            return Err(too_large(limit));
        }
        if let Some(writer) = file.take() {
            file = Some(append(writer, chunk).await?);
        } else if size > BLOB_THRESHOLD_BYTES {
            let blobs = blobs.clone();
            let writer = blocking(move || blobs.create()).await?;
            let writer = append(writer, std::mem::take(&mut start).freeze()).await?;
            file = Some(append(writer, chunk).await?);
        } else if start.is_empty() && declared == Some(size) {
            // Nearly every body arrives in one piece; it needs no copy.
            return Ok(Payload::Inline(chunk));
        } else {
            start.extend_from_slice(&chunk);
        }
    }
    match file {
        None => Ok(Payload::Inline(start.freeze())),
        Some(writer) => Ok(Payload::Blob(blocking(|| writer.finish()).await?)),
    }
}

/// Reads a small body, such as a form.
pub async fn small(body: Body, limit: usize, idle: Duration) -> Result<Bytes, Refusal> {
    let mut chunks = Chunks::new(body, idle);
    let mut bytes = BytesMut::new();
    while let Some(chunk) = chunks.next().await? {
        if bytes.len() + chunk.len() > limit {
            return Err(Refusal::new(
                413,
                format!("the body is larger than {limit} bytes"),
            ));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// Reads a body as a whole. Callers bound how many of these there are at once.
pub async fn whole(
    headers: &HeaderMap,
    body: Body,
    limit: u64,
    idle: Duration,
) -> Result<Bytes, Refusal> {
    let mut chunks = Chunks::new(body, idle);
    let read = read_whole(&mut chunks, content_length(headers), limit).await;
    if read.is_err() {
        chunks.discard(headers, limit).await;
    }
    read
}

async fn read_whole(
    chunks: &mut Chunks,
    declared: Option<u64>,
    limit: u64,
) -> Result<Bytes, Refusal> {
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let mut bytes = BytesMut::with_capacity(declared.unwrap_or_default() as usize);
    while let Some(chunk) = chunks.next().await? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

struct Chunks {
    body: Body,
    patience: Patience,
}

impl Chunks {
    fn new(body: Body, idle: Duration) -> Self {
        Self {
            body,
            patience: Patience::new(idle),
        }
    }

    /// The next piece of the body. A client that sends nothing, or next to nothing, for too long is
    /// refused.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let since = Instant::now();
            let frame = tokio::time::timeout(self.patience.left(), self.body.frame()).await;
            match frame {
                Err(_) => return Err(Refusal::new(408, "the body did not arrive in time")),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => {
                    return Err(Refusal::bad_request(
                        "the body ended before it was complete",
                    ));
                }
                Ok(Some(Ok(frame))) => {
                    // Trailers are no part of the payload.
                    let data = frame.into_data().unwrap_or_default();
                    self.patience.count(since.elapsed(), data.len());
                    if !data.is_empty() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Throws away what still arrives, within bounds, so that a refusal can be seen.
    async fn discard(&mut self, headers: &HeaderMap, limit: u64) {
        let bound = limit.saturating_mul(DISCARD_FACTOR);
        // A client that waits for `100 Continue` has not sent anything and need not.
        let waits = headers.contains_key("expect");
        let hopeless = content_length(headers).is_some_and(|length| length > bound);
        let mut discarded = 0;
        while !waits && !hopeless && discarded <= bound {
            match self.next().await {
                Ok(Some(chunk)) => discarded += chunk.len() as u64,
                Ok(None) | Err(_) => break,
            }
        }
    }
}

fn too_large(limit: u64) -> Refusal {
    let text = format!(
        "the body has more than {limit} bytes, the limit of this queue; send less, or raise \
         max_payload_size_kb of the service"
    );
    Refusal::new(413, text)
}

async fn append(mut writer: BlobWriter, chunk: Bytes) -> Result<BlobWriter, Refusal> {
    blocking(move || {
        writer.write(&chunk)?;
        Ok(writer)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, crate::queue::QueueError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Refusal::new(500, "writing the payload failed; try again")),
    }
}

/// Length of a body as its head states it.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get("content-length")?.to_str().ok()?.parse().ok()
}
