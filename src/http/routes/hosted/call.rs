//! From an HTTP request to what is asked of which service.

use axum::extract::Request;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::{
    domain::{Problem, Role, Tags},
    http::{
        body,
        routes::{awaited, blocking, read_whole},
        state::{App, ServiceEntry},
    },
    queue::Payload,
};

use super::{apps::unsigned, envelope::Refused, signature};

/// Largest body of a question about a job.
pub(super) const QUESTION_BYTES_MAX: u64 = 64 * 1024;

/// The id of a new call.
pub(super) fn new_id() -> String {
    Uuid::new_v4().as_hyphenated().to_string()
}

/// A request that an app has signed.
pub(super) struct Call {
    pub(super) app_id: String,
    body: Bytes,
    /// Room in memory for the body.
    room: Option<OwnedSemaphorePermit>,
}

/// Reads a request and checks its signature. Its body is read only when its head names an app.
pub(super) async fn receive(app: &App, request: Request, limit: u64) -> Result<Call, Refused> {
    let (parts, body) = request.into_parts();
    let claim = match app.0.apps.claim(&parts.headers, app.0.store.now_ms()) {
        Ok(claim) => claim,
        Err(refused) => {
            let idle = app.0.body_idle;
            return Err(body::refuse(&parts.headers, body, limit, idle, refused).await);
        }
    };
    let (body, room) = read_whole(app, &parts.headers, body, limit).await?;
    let (method, uri) = (parts.method, parts.uri);
    let signed = body.clone();
    let text = blocking(move || signature::text(&method, &uri, &signed)).await?;
    if !signature::is_of(&claim.signature, &text, claim.token) {
        return Err(unsigned(
            "the signature is wrong; sign method, MD5 of the body and path with the token of the app",
        ));
    }
    Ok(Call {
        app_id: claim.app_id.to_owned(),
        body,
        room,
    })
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Check,
    Train,
    Create,
}

impl Task {
    /// The only value of `action` that fits.
    const fn action(self) -> &'static str {
        match self {
            Self::Check => "AIGCImageCheck",
            Self::Train => "AIGCImageTrain",
            Self::Create => "AIGCImageCreate",
        }
    }

    const fn role(self) -> Role {
        match self {
            Self::Check => Role::Check,
            Self::Train => Role::Train,
            Self::Create => Role::Predict,
        }
    }

    /// The service that is meant when none is named.
    const fn default_service(self) -> &'static str {
        match self {
            Self::Check => "photog_check",
            Self::Train => "photog_train_pmml",
            Self::Create => "photog_pre_pmml",
        }
    }

    /// Members that are passed on to the service.
    const fn members(self) -> &'static [&'static str] {
        match self {
            Self::Check | Self::Train => &["images", "configure"],
            Self::Create => &["model_id", "model_ids", "template_image", "configure"],
        }
    }

    /// Largest body: what the queue of one of its services takes.
    pub(super) fn body_limit(self, app: &App) -> u64 {
        let limits = services(app, self).map(|entry| entry.spec().queue.source.max_payload_bytes);
        limits.max().unwrap_or(QUESTION_BYTES_MAX)
    }
}

fn services(app: &App, task: Task) -> impl Iterator<Item = &ServiceEntry> {
    let all = app.0.order.iter();
    all.filter_map(|name| app.0.services.get(name))
        .filter(move |entry| entry.spec().role == Some(task.role()))
}

/// The service that `model_name` means.
pub(super) fn service<'a>(
    app: &'a App,
    task: Task,
    model_name: &str,
) -> Result<&'a ServiceEntry, Refused> {
    let wanted = if model_name.is_empty() {
        task.default_service()
    } else {
        model_name
    };
    let mut able = services(app, task);
    let found = able.find(|entry| entry.spec().name == wanted);
    let first = || services(app, task).next().filter(|_| model_name.is_empty());
    found.or_else(first).ok_or_else(|| {
        let names: Vec<&str> = services(app, task)
            .map(|entry| entry.spec().name.as_str())
            .collect();
        let text = if names.is_empty() {
            format!("no service does {} here; add its JSON with --service", task.action())
        } else {
            let names = names.join(", ");
            format!("`model_name` names no service for this call; leave it empty, or name one of: {names}")
        };
        Refused::problem(Problem::ServiceNotFound, text)
    })
}

/// A request that has been understood.
pub(super) struct Asked {
    pub(super) app_id: String,
    /// The service by name; empty for the usual one.
    pub(super) model_name: String,
    /// What the service gets.
    entry: Map<String, Value>,
    /// Room in memory for it.
    room: Option<OwnedSemaphorePermit>,
}

impl Asked {
    /// Reads what is asked for in a request that its app has signed.
    pub(super) async fn receive(
        app: &App,
        request: Request,
        task: Task,
        id: &str,
    ) -> Result<Self, Refused> {
        let call = receive(app, request, task.body_limit(app)).await?;
        let (body, id) = (call.body, id.to_owned());
        let (model_name, entry) = blocking(move || read(task, &id, &body)).await??;
        Ok(Self {
            app_id: call.app_id,
            model_name,
            entry,
            room: call.room,
        })
    }

    /// The same with one more member.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.entry.insert(name.to_owned(), value.into());
        self
    }

    /// The bytes of the entry, which go to a file when they are many.
    pub(super) async fn payload(self, app: &App) -> Result<Payload, Refused> {
        let blobs = app.0.store.blobs().clone();
        let stored = blocking(move || {
            let _room = self.room;
            let text = Value::Object(self.entry).to_string();
            awaited::payload(&[text.as_bytes()], &blobs)
        });
        Ok(stored.await??)
    }
}

/// Tags of every entry that is put here.
pub(super) fn tags() -> Tags {
    [("taskType", "query")].into_iter().collect()
}

/// The service's name and its entry. Members that are not known are left out.
fn read(task: Task, id: &str, body: &[u8]) -> Result<(String, Map<String, Value>), Refused> {
    let mut given: Map<String, Value> = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let text = format!("the body is no JSON object (line {line}, column {column}); send one");
        Refused::problem(Problem::InvalidJson, text)
    })?;
    match given.get("action") {
        None | Some(Value::Null) => {}
        Some(action) if *action == task.action() => {}
        Some(_) => {
            let text = format!("`action` has to be {:?} at this address", task.action());
            return Err(Refused::parameter(text));
        }
    }
    let model_name = match given.remove("model_name") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(name)) => name,
        Some(_) => {
            let text = "`model_name` has to be the name of a service, as a text";
            return Err(Refused::parameter(text));
        }
    };
    let mut entry = Map::new();
    entry.insert(String::from("request_id"), json!(id));
    for name in task.members() {
        if let Some(value) = given.remove(*name).filter(|value| is_given(name, value)) {
            entry.insert((*name).to_owned(), value);
        }
    }
    if task == Task::Train {
        check_images(entry.get("images"))?;
    }
    Ok((model_name, entry))
}

/// Null is absent. The Go client sends `model_id` and `model_ids`, one of them empty.
fn is_given(name: &str, value: &Value) -> bool {
    let is_empty = match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    let is_absent = value.is_null() || (is_empty && name.starts_with("model_id"));
    !is_absent
}

/// A training is answered before it begins, so what can be told by then is.
fn check_images(images: Option<&Value>) -> Result<(), Refused> {
    let good = images
        .and_then(Value::as_array)
        .is_some_and(|images| !images.is_empty() && images.iter().all(Value::is_string));
    if good {
        return Ok(());
    }
    let text = "`images` has to be an array of texts, the addresses of one person's photos";
    Err(Refused::parameter(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(task: Task, body: &Value) -> (String, Value) {
        let (name, entry) = read(task, "call", body.to_string().as_bytes()).unwrap();
        (name, Value::Object(entry))
    }

    fn refusal(task: Task, body: &str) -> String {
        read(task, "call", body.as_bytes()).unwrap_err().code
    }

    #[test]
    fn a_service_gets_what_it_knows_and_nothing_else() {
        let body = json!({
            "action": "AIGCImageCheck", "images": ["a"], "model_name": "photog_check",
            "configure": {"face_reconize": true}, "request_id": 7, "more": 1
        });
        let expected = json!({
            "request_id": "call", "images": ["a"], "configure": {"face_reconize": true}
        });
        let found = entry(Task::Check, &body);
        assert_eq!(found, (String::from("photog_check"), expected));
    }

    #[test]
    fn what_is_null_or_an_empty_id_is_absent() {
        let body = json!({
            "action": "AIGCImageCreate", "model_id": "", "model_ids": ["a", "b"],
            "template_image": "t", "model_name": null, "configure": null
        });
        let expected =
            json!({"request_id": "call", "model_ids": ["a", "b"], "template_image": "t"});
        assert_eq!(entry(Task::Create, &body), (String::new(), expected));
        let body = json!({"model_id": "a", "model_ids": null, "template_image": "t"});
        let expected = json!({"request_id": "call", "model_id": "a", "template_image": "t"});
        assert_eq!(entry(Task::Create, &body).1, expected);
        let body = json!({"model_id": "a", "model_ids": []});
        let expected = json!({"request_id": "call", "model_id": "a"});
        assert_eq!(entry(Task::Create, &body).1, expected);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for body in ["", "[]", "null", "{", "{} {}", "{\"images\": [}"] {
            assert_eq!(refusal(Task::Check, body), "INVALID_JSON", "{body}");
        }
        for (task, body) in [
            (
                Task::Check,
                r#"{"action": "AIGCImageTrain", "images": ["a"]}"#,
            ),
            (Task::Check, r#"{"action": 3, "images": ["a"]}"#),
            (Task::Check, r#"{"model_name": 3, "images": ["a"]}"#),
            (Task::Train, "{}"),
            (Task::Train, r#"{"images": []}"#),
            (Task::Train, r#"{"images": "a"}"#),
            (Task::Train, r#"{"images": ["a", 3]}"#),
        ] {
            assert_eq!(refusal(task, body), "INVALID_PARAMETER", "{body}");
        }
    }
}
