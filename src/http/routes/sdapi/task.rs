//! From a request to its entry in the queue.

use axum::{body::Body, http::HeaderMap};
use bytes::Bytes;
use serde::Deserialize;
use uuid::Uuid;

use super::{error::SdRefusal, not_an_object};
use crate::{
    http::{
        routes::{
            awaited::{self, Unattended},
            blocking, read_whole,
        },
        sd_options::Options,
        state::{App, ServiceEntry},
    },
    queue::{BlobFolder, JobKey, Payload, QueueError},
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
        let unattended = Some(Unattended::new(app, entry, &id));
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
    let tags = [(TASK_TAG, name)].into_iter().collect();
    awaited::put(app, entry, id, tags, payload).await
}

/// The task of an id: its job, or `None` inside when its answer waits to be taken.
async fn find(
    app: &App,
    entry: &ServiceEntry,
    id: &str,
) -> Result<Option<Option<JobKey>>, SdRefusal> {
    if let Some(job) = awaited::find_job(app, entry, id).await? {
        return Ok(Some(Some(job)));
    }
    let result = awaited::look(app, &entry.sink, id).await?;
    Ok(result.map(|_| None))
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
    awaited::payload(&[start.as_bytes(), body, b"}"], blobs)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::queue::BLOB_THRESHOLD_BYTES;

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
