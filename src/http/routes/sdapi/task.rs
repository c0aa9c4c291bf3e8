//! From a request to its entry in the queue.

use std::time::Duration;

use axum::{body::Body, http::HeaderMap};
use bytes::Bytes;
use serde::Deserialize;
use uuid::Uuid;

use super::{blocking, error::SdRefusal, not_an_object, read_whole, wait::Unattended};
use crate::{
    domain::Tags,
    http::{
        sd_options::Options,
        state::{App, ServiceEntry},
    },
    queue::{
        BLOB_THRESHOLD_BYTES, BlobFolder, Filter, Frame, Get, JobKey, NewEntry, Payload,
        QueueError, QueueKey,
    },
};

/// The tag that says which route an entry came from.
pub(super) const TASK_TAG: &str = "task";
/// Longest id that a client may give a task, in bytes.
const ID_BYTES_MAX: usize = 256;

/// A task in the queue.
pub(super) struct Task {
    /// Its id: that of the client, or a new one.
    pub(super) id: String,
    /// Its job; `None` when the answer is there already.
    pub(super) job: Option<JobKey>,
    /// Ends it when its client goes away; `None` when that gave the id, and so can ask again.
    pub(super) unattended: Option<Unattended>,
}

/// What of a request matters here.
#[derive(Deserialize)]
struct Head {
    force_task_id: Option<String>,
}

/// Stores a request, or finds the task that has its id already.
pub(super) async fn put(
    app: &App,
    entry: &ServiceEntry,
    name: &'static str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Task, SdRefusal> {
    let limit = entry.spec().queue.source.max_payload_bytes;
    let (body, room) = read_whole(app, headers, body, limit).await?;
    let inner = app.clone();
    let prepared = blocking(move || {
        let id = task_id(&body)?;
        let options = inner.0.sd.options.of_task(&*inner.0.sd.models);
        let payload = payload(name, &options, &body, inner.0.store.blobs())?;
        Ok::<_, SdRefusal>((id, payload))
    });
    let (named, payload) = prepared.await??;
    drop(room);
    let Some(id) = named else {
        let id = Uuid::now_v7().as_hyphenated().to_string();
        let unattended = Some(Unattended::new(app, &id));
        let job = Some(put_new(app, entry, name, &id, payload).await?);
        return Ok(Task {
            id,
            job,
            unattended,
        });
    };
    let _alone = app.0.sd.putting.lock().await;
    let job = match find(app, entry, &id).await? {
        Some(known) => known,
        None => Some(put_new(app, entry, name, &id, payload).await?),
    };
    Ok(Task {
        id,
        job,
        unattended: None,
    })
}

async fn put_new(
    app: &App,
    entry: &ServiceEntry,
    name: &str,
    id: &str,
    payload: Payload,
) -> Result<JobKey, QueueError> {
    let new = NewEntry {
        request_id: id.to_owned(),
        tags: [(TASK_TAG, name)].into_iter().collect::<Tags>(),
        priority: 0,
        payload,
    };
    let done = app.0.store.put(&entry.source, new).await?;
    Ok(key(entry, done.index))
}

/// The task of an id: its job, or `None` inside when its answer waits to be taken.
async fn find(
    app: &App,
    entry: &ServiceEntry,
    id: &str,
) -> Result<Option<Option<JobKey>>, SdRefusal> {
    if let Some(job) = find_job(app, entry, id).await? {
        return Ok(Some(Some(job)));
    }
    let result = look(app, &entry.sink, id).await?;
    Ok(result.map(|_| None))
}

/// The job of a task that waits or runs.
pub(super) async fn find_job(
    app: &App,
    entry: &ServiceEntry,
    id: &str,
) -> Result<Option<JobKey>, SdRefusal> {
    let Some(frame) = look(app, &entry.source, id).await? else {
        return Ok(None);
    };
    let job = key(entry, frame.index);
    // An entry that is done stays for as long as another group watches.
    let known = app.0.store.job(job.clone()).await?;
    Ok(known
        .is_some_and(|known| known.finished_ms.is_none())
        .then_some(job))
}

pub(super) fn key(entry: &ServiceEntry, index: u64) -> JobKey {
    JobKey {
        service: entry.spec().name.as_str().into(),
        index,
    }
}

async fn look(app: &App, queue: &QueueKey, id: &str) -> Result<Option<Frame>, QueueError> {
    let get = Get {
        filter: Filter::from(id),
        length: 1,
        auto_delete: false,
        wait: false,
    };
    Ok(app.0.store.get(queue, get, Duration::ZERO).await?.pop())
}

/// The id that the client gives the task. Refuses what is no JSON object.
fn task_id(body: &[u8]) -> Result<Option<String>, SdRefusal> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        let text = "the body is no JSON object; send one, which may be empty: {}";
        return Err(SdRefusal::new(422, text));
    }
    let head: Head = serde_json::from_slice(body).map_err(|error| not_an_object(&error))?;
    let Some(id) = head.force_task_id.filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    if id.len() > ID_BYTES_MAX || id.contains(char::is_control) {
        let text = format!("force_task_id has to be a text of at most {ID_BYTES_MAX} bytes");
        return Err(SdRefusal::new(422, text));
    }
    Ok(Some(id))
}

/// The entry: what is to be done, the options at this moment, and the request as it came.
fn payload(
    name: &str,
    options: &Options,
    body: &Bytes,
    blobs: &BlobFolder,
) -> Result<Payload, QueueError> {
    let options = serde_json::to_string(options)
        .expect("options have string keys only, so they always serialize");
    let start = format!("{{\"task\":\"{name}\",\"options\":{options},\"payload\":");
    let parts = [start.as_bytes(), body, b"}"];
    let size: usize = parts.iter().map(|part| part.len()).sum();
    if size as u64 <= BLOB_THRESHOLD_BYTES {
        return Ok(Payload::Inline(parts.concat().into()));
    }
    let mut blob = blobs.create()?;
    for part in parts {
        blob.write(part)?;
    }
    Ok(Payload::Blob(blob.finish()?))
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_objects_are_taken_and_their_id_is_read() {
        for (body, id) in [
            ("{}", None),
            (" {\"force_task_id\": null, \"steps\": 3}", None),
            ("{\"force_task_id\": \"\"}", None),
            ("{\"a\": [{}], \"force_task_id\": \"mine\"}", Some("mine")),
        ] {
            assert_eq!(task_id(body.as_bytes()).unwrap().as_deref(), id, "{body}");
        }
        let long = json!({"force_task_id": "x".repeat(ID_BYTES_MAX + 1)}).to_string();
        for body in [
            "",
            "[]",
            "[\"mine\"]",
            "null",
            "{",
            "{} {}",
            "{\"force_task_id\": 3}",
            "{\"force_task_id\": \"a\\nb\"}",
            &long,
        ] {
            let refusal = task_id(body.as_bytes()).unwrap_err();
            assert_eq!(refusal.into_response().status(), 422, "{body}");
        }
    }

    #[test]
    fn an_entry_holds_the_request_as_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = BlobFolder::open(folder.path()).unwrap();
        let options = Options::from_iter([(String::from("a"), json!(1))]);
        let body = Bytes::from_static(b" {\"prompt\": \"\\u00e4\", \"steps\": 20} ");
        let Ok(Payload::Inline(entry)) = payload("txt2img", &options, &body, &blobs) else {
            panic!("a small entry lies in the database");
        };
        let entry: Value = serde_json::from_slice(&entry).unwrap();
        let expected = json!({
            "task": "txt2img", "options": {"a": 1}, "payload": {"prompt": "ä", "steps": 20}
        });
        assert_eq!(entry, expected);
        let long = Bytes::from(vec![b' '; BLOB_THRESHOLD_BYTES as usize]);
        let entry = payload("txt2img", &options, &long, &blobs).unwrap();
        assert!(matches!(entry, Payload::Blob(_)));
    }
}
