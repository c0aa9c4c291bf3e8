//! A consumer group: who waits for entries, who has which in hand, and who gets the next one.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use tokio::sync::mpsc;

use crate::{domain::Tags, queue::command::Push};

use super::{Millis, entry::Place};

/// Consumers that left are shown in the attributes for a while; this many at most.
const DEPARTED_MAX: usize = 64;
/// Entries on their way to one auto-committing consumer at a time: bounds what is buffered for it.
const AUTO_COMMIT_IN_FLIGHT_MAX: usize = 64;
/// Holder of entries whose slot died with no delivery left; they wait for their `INTERRUPTED` result.
pub(super) const LOST: &str = "(lost)";
/// Holder of entries that waited and are being cancelled.
pub(super) const CANCELLED: &str = "(cancelled)";

/// How a consumer wants to be served.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerSettings {
    /// Most entries in hand; for an engine's slot, the one it works on included.
    pub(crate) window: u32,
    /// Smallest index it wants.
    pub(crate) start: u64,
    /// Tags that an entry must have.
    pub(crate) tags: Tags,
    /// Entries are committed as soon as they were sent, and the window is ignored.
    pub(crate) auto_commit: bool,
    /// Where its entries go.
    pub(crate) pushes: mpsc::UnboundedSender<Push>,
}

/// One consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) settings: ConsumerSettings,
    /// Entries that were pushed and not committed.
    pub(crate) pending: BTreeSet<u64>,
    /// Engine slots only: entries promised to this slot that it has not begun.
    pub(crate) line: BTreeSet<Place>,
    /// Takes nothing new: a draining slot, or a client that said `Shutdown`.
    pub(crate) closed: bool,
    /// Number of the last choice that fell on it, for taking turns.
    pub(crate) chosen: u64,
    /// When it was served or committed last.
    pub(crate) active: Millis,
    /// Distinguishes this link from a later one of the same user.
    pub(crate) link: u64,
}

impl Consumer {
    fn held(&self) -> usize {
        self.pending.len() + self.line.len()
    }

    fn has_room(&self, engine: Option<EngineOrder>) -> bool {
        let limit = match engine {
            Some(EngineOrder::IdleFirst) => 1,
            _ if self.settings.auto_commit => AUTO_COMMIT_IN_FLIGHT_MAX,
            _ => self.settings.window as usize,
        };
        !self.closed && self.held() < limit
    }
}

/// Where a chosen entry goes.
#[derive(Debug)]
pub(crate) enum Choice {
    /// To a consumer that begins it now.
    Deliver(u64, Arc<str>),
    /// To the line of a slot that is at work: it is not handed out before the slot begins it.
    Promise,
}

/// A consumer as the attributes show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerState {
    /// Group id.
    pub group: Arc<str>,
    /// User id.
    pub user: Arc<str>,
    /// Smallest index it wants.
    pub start: u64,
    /// Entries in hand.
    pub pending: usize,
    /// `Running`, `Leaving`, `Exit` or `Complete`.
    pub status: &'static str,
    /// Milliseconds since it was served or committed last.
    pub idle_ms: i64,
    /// Window as asked for; 0 with auto-commit.
    pub window: u32,
    /// Free part of the window.
    pub slots: u32,
    /// Entries are committed as soon as they were sent.
    pub auto_commit: bool,
    /// Tags that an entry must have.
    pub tags: Tags,
}

#[derive(Debug)]
struct Departed {
    state: ConsumerState,
    left: Millis,
}

/// An entry in somebody's hand.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) holder: Arc<str>,
    /// How often the entry had been handed out then; tells this delivery from earlier ones.
    pub(crate) attempt: u32,
    pub(crate) since: Millis,
}

/// A consumer group of one queue.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: Arc<str>,
    /// The service's own workers. Always known; an entry goes to a slot's line while it works.
    pub(crate) engine: Option<EngineOrder>,
    /// Entries that nobody of the group has in hand and that it is not done with.
    pub(crate) waiting: BTreeSet<Place>,
    /// Entries in hand.
    pub(crate) pending: BTreeMap<u64, Pending>,
    pub(crate) consumers: BTreeMap<Arc<str>, Consumer>,
    /// When the last consumer left.
    pub(crate) empty_since: Option<Millis>,
    /// Entries handed out so far.
    pub(crate) delivered: u64,
    departed: VecDeque<Departed>,
    choices: u64,
}

/// Which slot of an engine gets the next entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineOrder {
    /// `Async`: a slot's window is filled before the next slot is used.
    FillFirst,
    /// `ScalableJob`: the slot that is idle, the longest idle first.
    IdleFirst,
}

impl Group {
    pub(crate) fn new(name: Arc<str>, engine: Option<EngineOrder>) -> Self {
        Self {
            name,
            engine,
            waiting: BTreeSet::new(),
            pending: BTreeMap::new(),
            consumers: BTreeMap::new(),
            empty_since: None,
            delivered: 0,
            departed: VecDeque::new(),
            choices: 0,
        }
    }

    /// Adds a consumer with empty hands; its user id must be new.
    pub(crate) fn add(
        &mut self,
        user: Arc<str>,
        settings: ConsumerSettings,
        link: u64,
        closed: bool,
        now: Millis,
    ) {
        self.empty_since = None;
        self.forget_departed(&user);
        let consumer = Consumer {
            settings,
            pending: BTreeSet::new(),
            line: BTreeSet::new(),
            closed,
            chosen: 0,
            active: now,
            link,
        };
        self.consumers.insert(user, consumer);
    }

    /// Takes the next entry to hand out from those that wait or are promised, and says who gets
    /// it. `candidate` finds the first waiting entry at or after an index with these tags.
    pub(crate) fn choose(
        &mut self,
        candidate: impl Fn(&BTreeSet<Place>, u64, &Tags) -> Option<Place>,
    ) -> Option<Choice> {
        if let Some(choice) = self.begin_line() {
            return Some(choice);
        }
        let (_, place, user) = self
            .consumers
            .iter()
            .filter(|(_, consumer)| consumer.has_room(self.engine))
            .filter_map(|(user, consumer)| {
                let settings = &consumer.settings;
                candidate(&self.waiting, settings.start, &settings.tags)
                    .map(|place| (self.rank(consumer), place, Arc::clone(user)))
            })
            .min_by_key(|(rank, ..)| *rank)?;
        self.waiting.remove(&place);
        self.choices += 1;
        let consumer = self.consumers.get_mut(&user)?;
        consumer.chosen = self.choices;
        if self.engine.is_none() || consumer.pending.is_empty() {
            return Some(Choice::Deliver(place.index, user));
        }
        consumer.line.insert(place);
        Some(Choice::Promise)
    }

    /// A slot that has nothing in hand begins what it was promised, unless something of higher
    /// priority has come since.
    fn begin_line(&mut self) -> Option<Choice> {
        self.engine?;
        let (user, consumer) = self
            .consumers
            .iter_mut()
            .find(|(_, consumer)| consumer.pending.is_empty() && !consumer.line.is_empty())?;
        let promised = *consumer.line.first()?;
        let place = match self.waiting.first() {
            Some(urgent) if *urgent < promised && !consumer.closed => *urgent,
            _ => promised,
        };
        consumer.line.remove(&place);
        self.waiting.remove(&place);
        Some(Choice::Deliver(place.index, Arc::clone(user)))
    }

    /// Among consumers that can take an entry the one with the smallest rank gets it.
    fn rank(&self, consumer: &Consumer) -> (Reverse<usize>, usize, Millis, u64) {
        let (held, chosen) = (consumer.held(), consumer.chosen);
        match self.engine {
            // The fullest slot first, so that windows fill up one after another.
            Some(EngineOrder::FillFirst) => (Reverse(held), 0, 0, chosen),
            Some(EngineOrder::IdleFirst) => (Reverse(0), held, consumer.active, chosen),
            None => (Reverse(0), held, 0, chosen),
        }
    }

    /// What is promised to a slot and not begun waits for others again.
    pub(crate) fn give_line_back(&mut self, user: &str) {
        if let Some(consumer) = self.consumers.get_mut(user) {
            self.waiting.append(&mut consumer.line);
        }
    }

    /// Takes an entry out of its holder's hand. `None` when nobody had it.
    pub(crate) fn take_back(&mut self, index: u64, now: Millis) -> Option<Pending> {
        let pending = self.pending.remove(&index)?;
        if let Some(consumer) = self.consumers.get_mut(&pending.holder) {
            consumer.pending.remove(&index);
            consumer.active = now;
        }
        Some(pending)
    }

    /// The entry is not needed any more: its holder gets room. A slot that works on it goes on.
    pub(crate) fn let_go(&mut self, index: u64, now: Millis) {
        let lost = |pending: &Pending| &*pending.holder == LOST;
        if self.engine.is_none() || self.pending.get(&index).is_some_and(lost) {
            self.take_back(index, now);
        }
    }

    /// Nobody is to begin this entry any more: it neither waits nor is it promised to a slot.
    pub(crate) fn withdraw(&mut self, place: Place) {
        self.waiting.remove(&place);
        if self.engine.is_some() {
            for consumer in self.consumers.values_mut() {
                consumer.line.remove(&place);
            }
        }
    }

    /// How many entries are handed out before the one at this place.
    pub(crate) fn before(&self, place: Place) -> usize {
        let promised = |consumer: &Consumer| consumer.line.range(..place).count();
        self.waiting.range(..place).count() + self.consumers.values().map(promised).sum::<usize>()
    }

    /// Entries promised to slots that have not begun them.
    pub(crate) fn in_line(&self) -> usize {
        self.consumers
            .values()
            .map(|consumer| consumer.line.len())
            .sum()
    }

    /// Remembers a consumer that left, for the attributes.
    pub(crate) fn remember(&mut self, user: &Arc<str>, consumer: &Consumer, now: Millis) {
        let mut state = self.describe(user, consumer, now);
        let unfinished = !self.waiting.is_empty() || !consumer.pending.is_empty();
        state.status = if unfinished { "Exit" } else { "Complete" };
        self.departed
            .retain(|departed| departed.state.user != *user);
        self.departed.push_back(Departed { state, left: now });
        if self.departed.len() > DEPARTED_MAX {
            self.departed.pop_front();
        }
    }

    /// A consumer that came back is no departed one.
    fn forget_departed(&mut self, user: &str) {
        self.departed
            .retain(|departed| &*departed.state.user != user);
    }

    /// All consumers for the attributes; those that left less than `grace` ago are `Leaving`.
    pub(crate) fn describe_all(&self, now: Millis, grace: Millis) -> Vec<ConsumerState> {
        let here = self
            .consumers
            .iter()
            .map(|(user, consumer)| self.describe(user, consumer, now));
        let left = self.departed.iter().map(|departed| {
            let mut state = departed.state.clone();
            state.idle_ms = now - departed.left;
            if state.idle_ms < grace {
                state.status = "Leaving";
            }
            state
        });
        here.chain(left).collect()
    }

    fn describe(&self, user: &Arc<str>, consumer: &Consumer, now: Millis) -> ConsumerState {
        let settings = &consumer.settings;
        let window = if settings.auto_commit {
            0
        } else {
            settings.window
        };
        ConsumerState {
            group: Arc::clone(&self.name),
            user: Arc::clone(user),
            start: settings.start,
            pending: consumer.held(),
            status: "Running",
            idle_ms: now - consumer.active,
            window,
            slots: window.saturating_sub(consumer.held() as u32),
            auto_commit: settings.auto_commit,
            tags: settings.tags.clone(),
        }
    }
}
