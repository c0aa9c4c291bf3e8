//! What the program has promised and what it has delivered, as its callers saw it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use photog::http::wire::protobuf::DataFrame;

use crate::{
    client::{Answer, Client},
    rng::Rng,
};

/// A tag with letters that an address has to escape.
const TAG: (&str, &str, &str) = ("who", "%C3%A4+%26", "\u{e4} &");
/// The tag by which even a put without an answer is known again.
const NUMBER_TAG: &str = "put";

/// What is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// So many bytes that depend on the number of the put.
    Bytes(usize),
    /// Makes the engine answer with status 503.
    Fail,
}

impl Content {
    fn bytes(self, number: usize) -> Vec<u8> {
        match self {
            Self::Bytes(size) => {
                let mut rng = Rng::new(number as u64);
                let words = (0..size.div_ceil(8)).flat_map(|_| rng.next().to_le_bytes());
                words.take(size).collect()
            }
            Self::Fail => b"FAIL 503".to_vec(),
        }
    }
}

/// What the caller of a put knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// No answer, or one that says that the outcome is unknown.
    Nothing,
    /// Nothing was stored.
    Refused,
    /// It was accepted.
    Accepted { index: u64, request_id: String },
}

/// One put.
#[derive(Debug, Clone)]
pub struct Put {
    pub service: &'static str,
    pub content: Content,
    /// The caller's own request id.
    pub own_id: Option<String>,
    pub known: Known,
    /// Its entries in the sink by index, and how each ended.
    pub results: BTreeMap<u64, Ending>,
    /// Commits of a consumer: sent, and acknowledged.
    pub committed: Option<Acknowledged>,
}

/// How a result says that its job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The request's own bytes.
    Success,
    /// The failure that the request asked for.
    Failure,
    /// The work was cut off.
    Interrupted,
}

/// Whether the answer to a commit was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledged {
    Yes,
    Unknown,
}

impl Put {
    /// An engine that says nothing leaves nothing in the sink.
    pub fn is_silent(&self) -> bool {
        self.content == Content::Bytes(0)
    }

    fn is_open(&self) -> bool {
        let accepted = matches!(self.known, Known::Accepted { .. });
        let ended = !self.results.is_empty() || self.committed.is_some() || self.is_silent();
        accepted && !ended
    }
}

/// Everything so far.
#[derive(Debug, Default)]
pub struct Book {
    pub puts: Vec<Put>,
    /// Which put a sink's index belongs to.
    sinks: BTreeMap<(&'static str, u64), usize>,
    /// Sink entries whose removal was acknowledged.
    removed: BTreeSet<(&'static str, u64)>,
    /// Accepted puts of each service of which nothing has come out yet.
    open: BTreeMap<&'static str, usize>,
    /// Puts, removals and commits that were acknowledged.
    acknowledgements: u64,
    /// Broken promises.
    pub faults: Vec<String>,
}

/// The book, shared by all callers.
#[derive(Debug, Default)]
pub struct Ledger {
    book: Mutex<Book>,
    changed: Condvar,
}

impl Ledger {
    pub fn book(&self) -> MutexGuard<'_, Book> {
        // A caller that fails leaves whole records behind.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an entry and notes what the answer says. An error when there was none.
    pub fn put(
        &self,
        client: &mut Client,
        service: &'static str,
        content: Content,
        own_id: bool,
    ) -> io::Result<Answer> {
        let (number, own_id) = self.begin_put(service, content, own_id);
        let id = own_id.map_or(String::new(), |id| format!("&requestId={id}"));
        let target = format!(
            "/api/predict/{service}?{NUMBER_TAG}={number}&{}={}{id}",
            TAG.0, TAG.1
        );
        let answer = client.send("POST", &target, "", &content.bytes(number))?;
        let known = match answer.status {
            200 => Known::Accepted {
                index: answer.text().parse().unwrap_or(0),
                request_id: answer.request_id.clone().unwrap_or_default(),
            },
            500 => Known::Nothing,
            _ => Known::Refused,
        };
        self.note(|book| {
            book.acknowledgements += u64::from(answer.status == 200);
            book.change(number, |put| put.known = known);
        });
        Ok(answer)
    }

    fn begin_put(
        &self,
        service: &'static str,
        content: Content,
        own_id: bool,
    ) -> (usize, Option<String>) {
        let mut book = self.book();
        let number = book.puts.len();
        let own_id = own_id.then(|| format!("own-{number}"));
        book.puts.push(Put {
            service,
            content,
            own_id: own_id.clone(),
            known: Known::Nothing,
            results: BTreeMap::new(),
            committed: None,
        });
        (number, own_id)
    }

    /// Takes results out of a sink: notes them first, removes them then.
    pub fn take_results(&self, client: &mut Client, service: &'static str) -> io::Result<usize> {
        let sink = format!("{service}/sink");
        let frames = client.look(&sink, 20, "")?;
        if frames.is_empty() {
            return Ok(0);
        }
        self.note(|book| frames.iter().for_each(|frame| book.result(service, frame)));
        let indexes: Vec<u64> = frames.iter().map(|frame| frame.index).collect();
        client.delete(&sink, &indexes)?;
        self.note(|book| {
            book.acknowledgements += 1;
            book.removed
                .extend(indexes.iter().map(|index| (service, *index)));
        });
        Ok(frames.len())
    }

    /// Commits an entry that a consumer was given, after a look at it.
    pub fn take_pushed(
        &self,
        client: &mut Client,
        service: &'static str,
        frame: &DataFrame,
    ) -> io::Result<()> {
        let number = {
            let mut book = self.book();
            let number = book.kept(service, frame);
            let Some(number) = number else { return Ok(()) };
            if book.puts[number].committed == Some(Acknowledged::Yes) {
                book.fault(format!("put {number} was pushed after its commit"));
            }
            book.change(number, |put| {
                put.committed.get_or_insert(Acknowledged::Unknown);
            });
            number
        };
        client.commit(service, &[frame.index])?;
        self.note(|book| {
            book.acknowledgements += 1;
            book.puts[number].committed = Some(Acknowledged::Yes);
        });
        Ok(())
    }

    /// A caller has deleted everything that was accepted so far.
    pub fn forget_accepted(&self) {
        self.note(|book| {
            for number in 0..book.puts.len() {
                book.change(number, |put| put.committed = Some(Acknowledged::Yes));
            }
        });
    }

    /// Waits until so many operations were acknowledged in all. False when `limit` passed before.
    pub fn wait_for(&self, acknowledgements: u64, limit: Duration) -> bool {
        let waiting = |book: &mut Book| book.acknowledgements < acknowledgements;
        let waited = self
            .changed
            .wait_timeout_while(self.book(), limit, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        !waited.1.timed_out()
    }

    /// Waits for the next change, or until the time is up.
    pub fn wait_for_change(&self, limit: Duration) {
        drop(self.changed.wait_timeout(self.book(), limit));
    }

    /// Lets a time pass, whatever happens meanwhile.
    pub fn let_pass(&self, time: Duration) {
        let end = Instant::now() + time;
        let waiting = |_: &mut Book| Instant::now() < end;
        drop(self.changed.wait_timeout_while(self.book(), time, waiting));
    }

    fn note(&self, write: impl FnOnce(&mut Book)) {
        write(&mut self.book());
        self.changed.notify_all();
    }
}

impl Book {
    pub fn acknowledgements(&self) -> u64 {
        self.acknowledgements
    }

    /// Accepted puts of a service of which nothing has come out yet.
    pub fn open(&self, service: &str) -> usize {
        self.open.get(service).copied().unwrap_or(0)
    }

    fn change(&mut self, number: usize, change: impl FnOnce(&mut Put)) {
        let put = &mut self.puts[number];
        let was_open = put.is_open();
        change(put);
        let open = self.open.entry(put.service).or_default();
        match (was_open, put.is_open()) {
            (false, true) => *open += 1,
            (true, false) => *open -= 1,
            _ => {}
        }
    }

    pub fn fault(&mut self, text: String) {
        self.faults.push(text);
    }

    /// How often each put is among these entries.
    pub fn count_kept(&mut self, service: &str, frames: &[DataFrame]) -> BTreeMap<usize, u32> {
        let mut counts = BTreeMap::new();
        for frame in frames {
            if let Some(number) = self.kept(service, frame) {
                *counts.entry(number).or_default() += 1;
            }
        }
        counts
    }

    /// The put whose entry this is; a fault when content or tags are not those of the request.
    fn kept(&mut self, service: &str, frame: &DataFrame) -> Option<usize> {
        let number = self.known_put(service, frame)?;
        if *frame.data != *self.puts[number].content.bytes(number) {
            self.fault(format!("{service}: put {number} has other bytes now"));
        }
        Some(number)
    }

    fn result(&mut self, service: &'static str, frame: &DataFrame) {
        let Some(number) = self.known_put(service, frame) else {
            return;
        };
        let entry = (service, frame.index);
        if *self.sinks.entry(entry).or_insert(number) != number {
            self.fault(format!("{service}: sink index {} came twice", frame.index));
        }
        if self.removed.contains(&entry) {
            self.fault(format!(
                "{service}: result {} is back after its removal",
                frame.index
            ));
        }
        match ending(&self.puts[number], number, frame) {
            Ok(ending) => self.change(number, |put| {
                put.results.insert(frame.index, ending);
            }),
            Err(what) => self.fault(format!("{service}: the result of put {number} {what}")),
        }
    }

    /// The put that a frame's tags name; a fault when there is none or the tags have changed.
    fn known_put(&mut self, service: &str, frame: &DataFrame) -> Option<usize> {
        let number = frame
            .tags
            .get(NUMBER_TAG)
            .and_then(|text| text.parse().ok());
        let found = number.filter(|number: &usize| {
            let put = self.puts.get(*number);
            put.is_some_and(|put| put.service == service && has_its_tags(put, frame))
        });
        if found.is_none() {
            let tags = &frame.tags;
            self.fault(format!("{service}: an entry that nobody put: {tags:?}"));
        }
        found
    }
}

fn has_its_tags(put: &Put, frame: &DataFrame) -> bool {
    let id = frame.tags.get("requestId");
    let id_is_kept = match (&put.known, &put.own_id) {
        (Known::Accepted { request_id, .. }, _) => id == Some(request_id),
        (_, Some(own)) => id == Some(own),
        _ => id.is_some(),
    };
    id_is_kept && frame.tags.get(TAG.0).is_some_and(|value| value == TAG.2)
}

fn ending(put: &Put, number: usize, frame: &DataFrame) -> Result<Ending, String> {
    let status = frame.tags.get("lastCode").map(String::as_str);
    match (status, put.content) {
        (None, Content::Bytes(_)) if *frame.data == *put.content.bytes(number) => {
            return Ok(Ending::Success);
        }
        (Some("503"), Content::Fail) if &*frame.data == b"failed" => return Ok(Ending::Failure),
        _ => {}
    }
    let body: serde_json::Value = serde_json::from_slice(&frame.data).unwrap_or_default();
    match (status, body["code"].as_str()) {
        (Some("500"), Some("INTERRUPTED")) => Ok(Ending::Interrupted),
        other => Err(format!("is {other:?} with {} bytes", frame.data.len())),
    }
}
