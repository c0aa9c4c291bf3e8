//! The appliance as its clients see it: entries are put, and results awaited in the sink, over HTTP.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use ureq::{Agent, http::Response};

use super::{
    DemoError,
    answers::{Job, Jobs, document},
};
use crate::{domain::MIB, job::CancelToken};

/// How long one look into a sink waits for its result. Between two of them others are told how far it
/// is, and a stop is noticed.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time of one request. The appliance is in this process, so only a bug lets it pass.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(120);
/// Largest answer: a sink takes results of up to 20 MiB.
const ANSWER_BYTES_MAX: u64 = 64 * MIB;

/// A client of one appliance.
pub(super) struct Client {
    agent: Agent,
    base: String,
    cancel: CancelToken,
}

/// An entry that was put.
pub(super) struct Entry {
    service: &'static str,
    request_id: String,
    /// What it asks for, for people.
    pub(super) what: String,
}

impl Client {
    /// A client of the appliance at this address.
    pub(super) fn new(address: SocketAddr, cancel: CancelToken) -> Self {
        let config = Agent::config_builder()
            // One of the environment may not lead back to this machine.
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST_TIME_MAX))
            .build();
        Self {
            agent: config.into(),
            base: format!("http://{address}"),
            cancel,
        }
    }

    /// [`DemoError::Stopped`] once somebody asked to stop.
    pub(super) fn checkpoint(&self) -> Result<(), DemoError> {
        match self.cancel.reason() {
            None => Ok(()),
            Some(_) => Err(DemoError::Stopped),
        }
    }

    /// Puts a request into the input queue of a service. `request_id` is its own in that queue.
    pub(super) fn put(
        &self,
        service: &'static str,
        request_id: &str,
        what: &str,
        request: &Value,
    ) -> Result<Entry, DemoError> {
        self.checkpoint()?;
        let address = format!("{}/api/predict/{service}?requestId={request_id}", self.base);
        let sent = self.agent.post(address).send(request.to_string());
        let (status, body) = self.answer(what, sent)?;
        match status {
            200 => Ok(Entry {
                service,
                request_id: request_id.to_owned(),
                what: what.to_owned(),
            }),
            _ => Err(refused(what, status, &body)),
        }
    }

    /// Waits in the sink for the results of entries of one service, in their order. `told` hears about
    /// the jobs of the service while they are worked on.
    pub(super) fn results(
        &self,
        entries: &[Entry],
        mut told: impl FnMut(&[Job]),
    ) -> Result<Vec<Vec<u8>>, DemoError> {
        let mut results = Vec::with_capacity(entries.len());
        for entry in entries {
            let result = loop {
                self.checkpoint()?;
                if let Some(result) = self.look(entry)? {
                    break result;
                }
                told(&self.jobs(entry)?);
            };
            results.push(result);
        }
        Ok(results)
    }

    /// A file or document of the API.
    pub(super) fn get(&self, what: &str, path: &str) -> Result<Vec<u8>, DemoError> {
        self.checkpoint()?;
        let sent = self.agent.get(format!("{}{path}", self.base)).call();
        match self.answer(what, sent)? {
            (200, body) => Ok(body),
            (status, body) => Err(refused(what, status, &body)),
        }
    }

    /// The result of an entry, if it comes soon.
    fn look(&self, entry: &Entry) -> Result<Option<Vec<u8>>, DemoError> {
        let Entry {
            service,
            request_id,
            what,
        } = entry;
        let address = format!(
            "{}/api/predict/{service}/sink?requestId={request_id}&_timeout_={}s",
            self.base,
            LOOK.as_secs()
        );
        let sent = self.agent.get(address).call();
        match self.answer(what, sent)? {
            (200, body) => Ok(Some(body)),
            (204, _) => Ok(None),
            (status, body) => Err(refused(what, status, &body)),
        }
    }

    fn jobs(&self, entry: &Entry) -> Result<Vec<Job>, DemoError> {
        let body = self.get(&entry.what, &format!("/api/jobs?service={}", entry.service))?;
        Ok(document::<Jobs>(&entry.what, &body)?.jobs)
    }

    /// Status and body of an answer. An appliance that stops ends its connections, and then the stop is
    /// the reason and not the connection.
    fn answer(
        &self,
        what: &str,
        sent: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<(u16, Vec<u8>), DemoError> {
        let read = sent.and_then(|mut response| {
            let body = response.body_mut().with_config();
            let body = body.limit(ANSWER_BYTES_MAX).read_to_vec()?;
            Ok((response.status().as_u16(), body))
        });
        read.map_err(|error| match self.checkpoint() {
            Err(stopped) => stopped,
            Ok(()) => DemoError::Server {
                what: what.to_owned(),
                reason: format!("the appliance did not answer: {error}"),
            },
        })
    }
}

fn refused(what: &str, status: u16, body: &[u8]) -> DemoError {
    let text = String::from_utf8_lossy(body);
    DemoError::Server {
        what: what.to_owned(),
        reason: format!(
            "the appliance refused it with status {status}: {}",
            text.trim()
        ),
    }
}
