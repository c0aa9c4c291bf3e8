//! Tickets: which jobs have one, and when it ends.

use std::{collections::HashSet, sync::Arc};

use crate::queue::{
    NewTicket, QueueError, TicketState,
    command::{Finish, NewEntry},
};

use super::{Change, Millis, Model, Outbox, QueueKey, Stored};

/// The tag by which an entry tells the number of its ticket.
const TICKET_TAG: &str = "job_id";

/// Jobs that have a ticket and have not ended.
#[derive(Default)]
pub(super) struct Tickets {
    open: HashSet<(Arc<str>, u64)>,
    /// The last number given out.
    last: i32,
}

/// One change of the table `ticket`.
pub(crate) enum TicketChange {
    /// An entry came in with a ticket.
    Open {
        id: i32,
        service: Arc<str>,
        index: u64,
        ticket: NewTicket,
        request_id: String,
        now: Millis,
    },
    /// Its job has ended.
    End {
        service: Arc<str>,
        index: u64,
        state: TicketState,
        message: String,
        result: Option<Stored>,
        now: Millis,
    },
    /// Its job is tried again under another index.
    Move {
        service: Arc<str>,
        from: u64,
        to: u64,
    },
}

impl Model {
    /// The last number given out, as the file has it.
    pub(crate) fn restore_last_ticket(&mut self, last: i32) {
        self.tickets.last = last;
    }

    /// A job with an open ticket, as the file has it.
    pub(crate) fn restore_ticket(&mut self, service: Arc<str>, index: u64) {
        self.tickets.open.insert((service, index));
    }

    /// Stores a new entry of an input queue with a ticket, and says its number.
    pub(crate) fn put_with_ticket(
        &mut self,
        service: &Arc<str>,
        mut entry: NewEntry,
        ticket: NewTicket,
        now: Millis,
        out: &mut Outbox,
    ) -> Result<i32, QueueError> {
        let queue = QueueKey::source(Arc::clone(service));
        let id = self.tickets.last.checked_add(1).ok_or_else(|| {
            let detail = String::from("every number of a ticket was given out");
            QueueError::Full {
                queue: queue.to_string(),
                detail,
            }
        })?;
        entry.tags = entry.tags.with(TICKET_TAG, &id.to_string());
        let request_id = entry.request_id.clone();
        let index = self.put(&queue, entry, now, out)?;
        self.tickets.last = id;
        self.tickets.open.insert((Arc::clone(service), index));
        out.changes.push(Change::Ticket(TicketChange::Open {
            id,
            service: Arc::clone(service),
            index,
            ticket,
            request_id,
            now,
        }));
        Ok(id)
    }

    /// Whether a job has a ticket that has not ended.
    pub(super) fn has_ticket(&self, service: &Arc<str>, index: u64) -> bool {
        self.tickets.open.contains(&(Arc::clone(service), index))
    }

    /// The result of a job goes to its ticket.
    pub(super) fn end_ticket(
        &mut self,
        service: &Arc<str>,
        finish: &mut Finish,
        now: Millis,
        out: &mut Outbox,
    ) {
        let result = finish.result.take().map(|payload| {
            self.next_payload += 1;
            Stored {
                id: self.next_payload,
                payload,
            }
        });
        let (state, word) = match &finish.code {
            None => (TicketState::Done, "success"),
            Some(code) => (TicketState::Failed, code.as_str()),
        };
        let message = match finish.message.as_str() {
            "" => word,
            said => said,
        };
        self.write_end(
            service,
            finish.push.index,
            state,
            message.to_owned(),
            result,
            now,
            out,
        );
    }

    /// A ticket whose entry has gone while nobody works on it will never hear of an end.
    pub(super) fn end_ticket_without_entry(
        &mut self,
        service: &Arc<str>,
        index: u64,
        now: Millis,
        out: &mut Outbox,
    ) {
        if !self.has_ticket(service, index) {
            return;
        }
        // A service that is not configured now keeps its entries in the file.
        let Some(queue) = self.queues.get(&QueueKey::source(Arc::clone(service))) else {
            return;
        };
        let group = queue.groups.get(service);
        let in_hand = group.is_some_and(|group| group.pending.contains_key(&index));
        if in_hand || queue.entries.get(index).is_some() {
            return;
        }
        let message = String::from("the job was deleted before it was done; send it again");
        self.write_end(service, index, TicketState::Failed, message, None, now, out);
    }

    /// The same for all tickets, when the file was read: the program may have died between the
    /// deletion of an entry and the end of the work on it.
    pub(super) fn end_tickets_without_entry(&mut self, now: Millis, out: &mut Outbox) {
        let open: Vec<_> = self.tickets.open.iter().cloned().collect();
        for (service, index) in open {
            self.end_ticket_without_entry(&service, index, now, out);
        }
    }

    /// A job with a ticket is tried again under another index; its old result is dropped.
    pub(crate) fn reopen_ticket(
        &mut self,
        service: &Arc<str>,
        (from, to): (u64, u64),
        old_result: Option<i64>,
        out: &mut Outbox,
    ) {
        self.tickets.open.insert((Arc::clone(service), to));
        let service = Arc::clone(service);
        out.changes
            .push(Change::Ticket(TicketChange::Move { service, from, to }));
        if let Some(payload) = old_result {
            self.drop_payload(payload, out);
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "they are the members of one change"
    )]
    fn write_end(
        &mut self,
        service: &Arc<str>,
        index: u64,
        state: TicketState,
        message: String,
        result: Option<Stored>,
        now: Millis,
        out: &mut Outbox,
    ) {
        self.tickets.open.remove(&(Arc::clone(service), index));
        out.changes.push(Change::Ticket(TicketChange::End {
            service: Arc::clone(service),
            index,
            state,
            message,
            result,
            now,
        }));
    }
}
