//! The EAS queue protocol: input and sink queue of a service.

pub(super) mod answer;
mod attributes;

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequestParts as _, Path, Request, State, WebSocketUpgrade},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use prost::Message as _;
use uuid::Uuid;

use crate::{
    http::{
        body,
        error::Refusal,
        params::{Params, Start},
        state::{App, ServiceEntry, until},
        wire::protobuf::Attributes as AttributesProto,
    },
    queue::{Filter, Frame, Get, NewEntry, QueueKey, Side},
};

use answer::Form;
use attributes::attribute_texts;

use super::watch;

/// The client's user id.
pub(super) const USER_HEADER: &str = "x-eas-queueservice-redis-uid";
/// The client's group id.
pub(super) const GROUP_HEADER: &str = "x-eas-queueservice-redis-gid";
const PRIORITY_HEADER: &str = "x-eas-queueservice-redis-priority";
const REAR_HEADER: &str = "x-eas-queueservice-access-rear";
const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-eas-queueservice-request-id");
const PROTOBUF: &str = "application/vnd.google.protobuf";
/// Group of callers that name none.
const DEFAULT_GROUP: &str = "default_group";
/// Longest user or group id in bytes.
const ID_BYTES_MAX: usize = 256;
/// Longest wait of a get.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Largest form body of a negative commit.
const FORM_BYTES_MAX: usize = 16 * 1024;

/// `/api/predict/{service}`.
pub async fn source(
    State(app): State<App>,
    Path(service): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    serve(&app, &service, Side::Source, request).await
}

/// `/api/predict/{service}/sink`.
pub async fn sink(
    State(app): State<App>,
    Path(service): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    serve(&app, &service, Side::Sink, request).await
}

/// `/api/predict/{service}/{path}`: a put with a path for the model's own HTTP call. The engines
/// are built in and have no paths, so it is accepted and has no effect.
pub async fn source_with_path(
    State(app): State<App>,
    Path((service, _)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    if request.method() != Method::POST {
        let text = "below the input queue only POST is known; the output queue is at …/sink";
        return Err(Refusal::new(405, text));
    }
    serve(&app, &service, Side::Source, request).await
}

/// One request to a queue, decoded as far as all verbs share.
pub(super) struct Call<'a> {
    pub(super) app: &'a App,
    pub(super) entry: &'a ServiceEntry,
    pub(super) side: Side,
    pub(super) queue: QueueKey,
    pub(super) params: Params,
    pub(super) parts: Parts,
}

async fn serve(
    app: &App,
    service: &str,
    side: Side,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let entry = match app.service(service) {
        Ok(entry) => entry,
        Err(refusal) => {
            // Which names exist is told only to those who may call.
            app.authorize(&parts.headers)?;
            return Err(refusal);
        }
    };
    app.authorize_service(entry, &parts.headers, &parts.method, parts.uri.path())?;
    let params = Params::parse(parts.uri.query().unwrap_or_default())?;
    let rear = text_header(&parts.headers, REAR_HEADER)?.is_some_and(|value| value == "true");
    let queue = entry.queue(side, rear);
    let call = Call {
        app,
        entry,
        side,
        queue,
        params,
        parts,
    };
    if call.parts.method == Method::GET && call.is_watch()? {
        // A watch lasts for hours and has its own bounds.
        return call.watch().await;
    }
    let _place = entry.enter()?;
    match call.parts.method.clone() {
        Method::GET => call.look().await,
        Method::POST => call.put(body).await,
        Method::PUT => call.commit(body).await,
        Method::DELETE => call.delete().await,
        other => Err(Refusal::new(
            405,
            format!("{other} is not known; use GET, POST, PUT or DELETE"),
        )),
    }
}

impl Call<'_> {
    /// Attributes, search and count come before watch when several are asked for.
    fn is_watch(&self) -> Result<bool, Refusal> {
        let asked = |name| self.params.flag(name, false);
        Ok(asked("_watch_")? && !asked("_attrs_")? && !asked("_search_")? && !asked("_count_")?)
    }

    async fn look(&self) -> Result<Response, Refusal> {
        if self.params.flag("_attrs_", false)? {
            return self.attributes().await;
        }
        if self.params.flag("_search_", false)? {
            return self.search().await;
        }
        if self.params.flag("_count_", false)? {
            let priority = self.params.priority(None)?;
            let tags = self.params.tags.clone();
            let count = self.app.0.store.count(&self.queue, tags, priority).await?;
            return Ok(count.to_string().into_response());
        }
        self.get().await
    }

    async fn attributes(&self) -> Result<Response, Refusal> {
        let attributes = self.app.0.store.attributes(&self.queue).await?;
        let attributes = attribute_texts(&attributes);
        if self.accepts(PROTOBUF) {
            let bytes = AttributesProto { attributes }.encode_to_vec();
            return Ok(([(header::CONTENT_TYPE, PROTOBUF)], bytes).into_response());
        }
        Ok(axum::Json(attributes).into_response())
    }

    async fn search(&self) -> Result<Response, Refusal> {
        let (group, user) = self.identity()?;
        let index = self.params.index()?;
        let found = self
            .app
            .0
            .store
            .search(&self.queue, index, &group, &user)
            .await?;
        let answer = serde_json::json!({
            "IsPending": found.is_pending,
            "WaitCount": found.wait_count,
            "ConsumerId": found.consumer,
        });
        Ok(axum::Json(answer).into_response())
    }

    async fn get(&self) -> Result<Response, Refusal> {
        let from = match self.params.start()? {
            Start::At(index) => Some(index),
            Start::Newest => None,
        };
        let length = self.params.number("_length_", 1)?;
        if length == 0 {
            return Err(Refusal::bad_request("_length_ is 0; it must be at least 1"));
        }
        let wait = answer_early(self.params.timeout()?.min(WAIT_MAX));
        let get = Get {
            filter: Filter {
                from,
                tags: self.params.tags.clone(),
            },
            length: usize::try_from(length).unwrap_or(usize::MAX),
            auto_delete: self.params.flag("_auto_delete_", true)?,
            wait: !wait.is_zero(),
        };
        // Plain requests for one entry get the bare data; clients that want the wrapped form say
        // `_raw_=false`.
        let raw = self.params.flag("_raw_", true)? && length == 1;
        let form = match self.accepts(PROTOBUF) {
            true => Form::Protobuf,
            false if raw => Form::Bare,
            false => Form::Json,
        };
        let mut stopping = self.app.stopping();
        let end = async {
            // A stopping program lets nobody wait; the caller asks again when it is back.
            let _ = tokio::time::timeout(wait, until(&mut stopping)).await;
        };
        let frames = self.app.0.store.get_until(&self.queue, get, end).await?;
        if frames.is_empty() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        let room = self
            .app
            .reserve_answer(frames.iter().map(Frame::size).sum())
            .await;
        answer::entries(frames, form, room).await
    }

    /// What can be said of a put without its body; the priority if nothing is against it.
    fn check_put(&self) -> Result<u8, Refusal> {
        self.app.check_running()?;
        if self.params.has("_eos_") {
            let text = "queues of this server are not ended by clients; stop the service instead";
            return Err(Refusal::new(405, text));
        }
        self.entry.count_put()?;
        let header = text_header(&self.parts.headers, PRIORITY_HEADER)?;
        Ok(self.params.priority(header)?.unwrap_or(0))
    }

    async fn put(self, body: Body) -> Result<Response, Refusal> {
        let limit = self.entry.side(self.side).max_payload_bytes;
        let (app, headers) = (self.app, &self.parts.headers);
        let idle = app.0.body_idle;
        let priority = match self.check_put() {
            Ok(priority) => priority,
            Err(refusal) => return Err(body::refuse(headers, body, limit, idle, refusal).await),
        };
        // Ids of this kind rise with time, which keeps equal times together in memory and on disk.
        let request_id = self.params.request_id().map_or_else(
            || Uuid::now_v7().as_hyphenated().to_string(),
            ToOwned::to_owned,
        );
        let blobs = app.0.store.blobs();
        let payload = body::payload(headers, body, limit, idle, blobs).await?;
        let entry = NewEntry {
            request_id: request_id.clone(),
            tags: self.params.tags,
            priority,
            payload,
        };
        let done = app.0.store.put(&self.queue, entry).await?;
        let mut response = done.index.to_string().into_response();
        // An id that cannot stand in a header is still in the entry's tags.
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID_HEADER, value);
        }
        Ok(response)
    }

    async fn commit(self, body: Body) -> Result<Response, Refusal> {
        let indexes = self.params.indexes()?;
        let (group, user) = self.identity()?;
        let store = &self.app.0.store;
        if self.params.flag("_negative_", false)? {
            let form = body::small(body, FORM_BYTES_MAX, self.app.0.body_idle).await?;
            let leaving = is_shutdown(&form)?;
            store
                .hand_back(&self.queue, &group, &user, indexes, leaving)
                .await?;
        } else {
            store.commit(&self.queue, &group, indexes).await?;
        }
        Ok("OK".into_response())
    }

    async fn delete(self) -> Result<Response, Refusal> {
        let store = &self.app.0.store;
        if self.params.flag("_trunc_", false)? {
            store.truncate(&self.queue, self.params.index()?).await?;
        } else {
            store.delete(&self.queue, self.params.indexes()?).await?;
        }
        Ok("OK".into_response())
    }

    async fn watch(mut self) -> Result<Response, Refusal> {
        self.app.check_running()?;
        let wants = watch::Wants::read(&self)?;
        self.check_group(wants.group())?;
        let websocket = self.parts.headers.contains_key(header::SEC_WEBSOCKET_KEY);
        if !websocket {
            return watch::chunked(&self, wants).await;
        }
        let upgrade = WebSocketUpgrade::from_request_parts(&mut self.parts, self.app)
            .await
            .map_err(|error| Refusal::bad_request(error.to_string()))?;
        watch::websocket(&self, wants, upgrade).await
    }

    /// The group of a service's own workers is not open to watchers: they would take entries that
    /// the engine owes a result.
    fn check_group(&self, group: &str) -> Result<(), Refusal> {
        let spec = self.entry.spec();
        if self.queue == self.entry.source && spec.role.is_some() && group == spec.name {
            let text = format!(
                "group {group} on this queue is the service's own workers; watch under another \
                 group, or watch the sink"
            );
            return Err(Refusal::new(409, text));
        }
        Ok(())
    }

    /// Group and user of the caller; a caller that names no user is a new one.
    pub(super) fn identity(&self) -> Result<(String, String), Refusal> {
        let id = |name| {
            let text = text_header(&self.parts.headers, name)?.filter(|text| !text.is_empty());
            if text.is_some_and(|text| text.len() > ID_BYTES_MAX) {
                return Err(Refusal::bad_request(format!(
                    "{name} is longer than {ID_BYTES_MAX} bytes"
                )));
            }
            Ok(text.map(ToOwned::to_owned))
        };
        let group = id(GROUP_HEADER)?.unwrap_or_else(|| DEFAULT_GROUP.to_owned());
        let user = id(USER_HEADER)?.unwrap_or_else(|| Uuid::new_v4().to_string());
        Ok((group, user))
    }

    pub(super) fn accepts(&self, media_type: &str) -> bool {
        let accept = self.parts.headers.get_all(header::ACCEPT);
        accept
            .iter()
            .any(|value| value.to_str().is_ok_and(|text| text.contains(media_type)))
    }
}

/// Clients often wait on their socket exactly as long as they ask the server to wait, so the
/// server answers a little earlier.
fn answer_early(timeout: Duration) -> Duration {
    timeout.saturating_sub((timeout / 10).min(Duration::from_millis(250)))
}

/// Whether the form of a negative commit says that the consumer is about to leave.
fn is_shutdown(form: &[u8]) -> Result<bool, Refusal> {
    let code = url::form_urlencoded::parse(form)
        .find(|(name, _)| name == "_code_")
        .map(|(_, value)| value.into_owned());
    let Some(code) = code else { return Ok(false) };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-. ".contains(c);
    if code.len() > 20 || !code.chars().all(allowed) {
        let text = "_code_ must be a word or number of at most 20 characters";
        return Err(Refusal::bad_request(text));
    }
    tracing::debug!(code, "a consumer hands entries back");
    Ok(code == "Shutdown")
}

pub(super) fn text_header<'a>(
    headers: &'a HeaderMap,
    name: &str,
) -> Result<Option<&'a str>, Refusal> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = value.to_str().ok();
    text.map(Some)
        .ok_or_else(|| Refusal::bad_request(format!("the header {name} is not plain text")))
}
