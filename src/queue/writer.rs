//! The writer thread: gathers commands, lets the model carry them out, commits, then answers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::domain::ServiceSpec;

use super::{
    BlobFolder, PutDone, QueueError, QueueKey, StoreOptions,
    command::{Command, Payload},
    disk::DiskSpace,
    maintenance,
    model::{Model, Outbox, Retire, Unheard},
    persist, schema, tickets,
};

/// Most commands that share one commit. At 64 clients a batch is rarely above 64, so this only
/// bounds the memory and the wait of a flood.
const BATCH_COMMANDS_MAX: usize = 512;
/// Most payload bytes that share one commit.
const BATCH_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How often ended jobs are looked at for retention.
const PRUNE_EVERY_MS: i64 = 60_000;
/// Pause between two tries to open the database again after a failure.
const REOPEN_EVERY: Duration = Duration::from_millis(200);

/// Sends one reply: success, or the failure of the whole batch.
type Answer = Box<dyn FnOnce(Option<&QueueError>) + Send>;

/// State of the writer thread.
pub(super) struct Writer {
    options: StoreOptions,
    blobs: BlobFolder,
    services: Vec<ServiceSpec>,
    /// `None` after a failure, until the file could be opened again.
    connection: Option<Connection>,
    model: Model,
    /// Number of the last link of a consumer.
    links: u64,
    /// What nobody heard of the batch that failed, until the file was read again.
    unheard: Option<Unheard>,
    /// Payload files of failed commits: the file tells which of them are in use.
    unsure_files: Vec<String>,
    pruned_ms: i64,
    prune_due: bool,
    disk: DiskSpace,
    reopen_at: Instant,
    /// What the last failure said.
    failure: QueueError,
    closed: Vec<oneshot::Sender<Result<(), QueueError>>>,
}

impl Writer {
    /// Opens the file, reads everything and settles what a dead process had in hand.
    pub(super) fn open(
        options: StoreOptions,
        blobs: BlobFolder,
        services: &[ServiceSpec],
    ) -> Result<Self, QueueError> {
        let connection = schema::open_writer(&options.database)?;
        let swept = blobs.sweep(&persist::files_in_use(&connection)?)?;
        if swept > 0 {
            tracing::info!(swept, "removed payload files that a crash had left behind");
        }
        let disk = DiskSpace::new(options.database.clone(), options.disk_reserve_bytes);
        let mut writer = Self {
            options,
            disk,
            blobs,
            services: services.to_vec(),
            connection: None,
            model: Model::default(),
            links: 0,
            unheard: None,
            unsure_files: Vec::new(),
            pruned_ms: 0,
            prune_due: false,
            reopen_at: Instant::now(),
            failure: QueueError::Closed,
            closed: Vec::new(),
        };
        writer.adopt(connection)?;
        Ok(writer)
    }

    /// Works until every handle is gone or somebody closes the store.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(first) = commands.blocking_recv() {
            self.batch(first, &mut commands);
            if !self.closed.is_empty() {
                break;
            }
        }
        commands.close();
        if let Some(connection) = self.connection.take() {
            // Folds the log into the file; whatever prevents that, the next start does it.
            let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        }
        for reply in self.closed {
            let _ = reply.send(Ok(()));
        }
    }

    fn batch(&mut self, first: Command, commands: &mut mpsc::Receiver<Command>) {
        let now = self.options.clock.now_ms();
        let mut out = Outbox::default();
        let mut answers: Vec<Answer> = Vec::new();
        let (mut count, mut bytes) = (0, 0);
        let mut next = Some(first);
        self.disk.forget();
        self.reopen_if_needed();
        let links = self.links;
        while let Some(command) = next.take() {
            bytes += command.payload_bytes();
            count += 1;
            self.apply(command, now, &mut out, &mut answers);
            if count < BATCH_COMMANDS_MAX && bytes < BATCH_BYTES_MAX && self.closed.is_empty() {
                next = commands.try_recv().ok();
            }
        }
        if self.connection.is_some() {
            self.model.go_on(now, &mut out);
        }
        let failure = self.commit(&mut out, count).err();
        for answer in answers {
            answer(failure.as_ref());
        }
        if let Some(failure) = failure {
            self.fall_back(failure, links, out);
            return;
        }
        for reply in out.frames {
            let _ = reply.reply.send(Ok(reply.frames));
        }
        for pushed in out.pushes {
            // A consumer that is gone detaches itself; its entries go back then.
            let _ = pushed.to.send(pushed.push);
        }
        if std::mem::take(&mut self.prune_due) {
            self.prune(now);
        }
    }

    /// Writes what has changed; returns after it has reached the disk.
    fn commit(&mut self, out: &mut Outbox, commands: usize) -> Result<(), QueueError> {
        if out.changes.is_empty() && out.frames.is_empty() && out.dropped_payloads.is_empty() {
            return Ok(());
        }
        let connection = self
            .connection
            .as_mut()
            .ok_or_else(|| self.failure.clone())?;
        let began = Instant::now();
        let files = persist::write(connection, out, &self.blobs)?;
        self.options.metrics.record(began.elapsed(), commands);
        self.options.changed.notify_waiters();
        for file in files {
            self.blobs.remove(&file);
        }
        Ok(())
    }

    /// A commit failed: what is on disk is unknown, so memory is given up and the file is read
    /// again before anything more is accepted. `links` is the last link from before the batch.
    fn fall_back(&mut self, failure: QueueError, links: u64, out: Outbox) {
        tracing::error!(%failure, "a commit failed; reading the database again");
        for reply in out.frames {
            // The caller may have gone.
            let _ = reply.reply.send(Err(failure.clone()));
        }
        for change in &out.changes {
            if let Some(stored) = change.stored()
                && let Payload::Blob(blob) = &stored.payload
            {
                self.unsure_files.push(blob.name().to_owned());
            }
        }
        self.connection = None;
        self.failure = failure;
        self.model.undo(links, out.orphans);
        self.unheard
            .get_or_insert_with(|| Unheard::new(links, out.pushes));
        self.reopen_at = Instant::now();
        self.reopen_if_needed();
    }

    fn reopen_if_needed(&mut self) {
        if self.connection.is_some() || Instant::now() < self.reopen_at {
            return;
        }
        self.reopen_at = Instant::now() + REOPEN_EVERY;
        if let Err(failure) = self.reopen() {
            self.failure = failure;
        }
    }

    fn reopen(&mut self) -> Result<(), QueueError> {
        let connection = schema::open_writer(&self.options.database)?;
        // After a failed sync the kernel may hold pages that never reached the disk but count as
        // clean. Folding the log into the file writes them anew, so what is read now is durable.
        let busy: i64 =
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy != 0 {
            return Err(QueueError::Storage(String::from("the log is in use")));
        }
        self.adopt(connection)?;
        self.remove_unused_files()?;
        tracing::info!("the database was read again; the store goes on");
        Ok(())
    }

    fn adopt(&mut self, mut connection: Connection) -> Result<(), QueueError> {
        let now = self.options.clock.now_ms();
        let (mut model, deliveries) = persist::load(&connection, &self.services)?;
        let before = self
            .unheard
            .as_ref()
            .map(|unheard| (std::mem::take(&mut self.model), unheard));
        let mut out = Outbox::default();
        model.settle(deliveries, before, now, &mut out);
        self.model = model;
        for file in persist::write(&mut connection, &mut out, &self.blobs)? {
            self.blobs.remove(&file);
        }
        self.connection = Some(connection);
        self.unheard = None;
        Ok(())
    }

    /// Payload files of a failed commit that no row names would take up space until the next start.
    fn remove_unused_files(&mut self) -> Result<(), QueueError> {
        if self.unsure_files.is_empty() {
            return Ok(());
        }
        let Some(connection) = &self.connection else {
            return Ok(());
        };
        let used = persist::files_in_use(connection)?;
        for file in self.unsure_files.drain(..) {
            if !used.contains(&file) {
                self.blobs.remove(&file);
            }
        }
        Ok(())
    }

    /// Keeps the history within its bounds, in a transaction of its own.
    fn prune(&mut self, now: i64) {
        let retention = &self.options.retention;
        let Some(connection) = self.connection.as_mut() else {
            return;
        };
        match maintenance::history::prune(connection, &mut self.model, retention, now) {
            Ok(files) => files.iter().for_each(|file| self.blobs.remove(file)),
            Err(failure) => self.fall_back(failure, self.links, Outbox::default()),
        }
    }

    fn apply(&mut self, command: Command, now: i64, out: &mut Outbox, answers: &mut Vec<Answer>) {
        let command = if self.connection.is_some() {
            command
        } else if let Some(command) = refuse(command, &self.failure) {
            command
        } else {
            return;
        };
        let model = &mut self.model;
        match command {
            Command::Put {
                queue,
                entry,
                reply,
            } => {
                let done = self
                    .disk
                    .check(self.connection.as_ref())
                    .and_then(|()| model.put(&queue, entry, now, out));
                later(answers, reply, done.map(|index| PutDone { index }));
            }
            Command::Get {
                queue,
                get,
                waiter,
                reply,
            } => {
                model.get(&queue, get, waiter, reply, now, out);
            }
            Command::Search {
                queue,
                index,
                group,
                user,
                reply,
            } => {
                let known = model
                    .queue(&queue)
                    .and_then(|q| q.search(index, &group, &user));
                later(answers, reply, known.ok_or(QueueError::NotFound));
            }
            Command::Count {
                queue,
                tags,
                priority,
                reply,
            } => {
                let queue = model.queue(&queue).ok_or(QueueError::NotFound);
                later(
                    answers,
                    reply,
                    queue.map(|queue| queue.entries.count(&tags, priority)),
                );
            }
            Command::Attributes { queue, reply } => {
                let grace = model.grace(&queue);
                let queue = model.queue(&queue).ok_or(QueueError::NotFound);
                later(
                    answers,
                    reply,
                    queue.map(|queue| queue.attributes(now, grace)),
                );
            }
            Command::Truncate {
                queue,
                below,
                reply,
            } => {
                model.truncate(&queue, below, now, out);
                later(answers, reply, Ok(()));
            }
            Command::Delete {
                queue,
                indexes,
                reply,
            } => {
                model.delete(&queue, &indexes, now, out);
                later(answers, reply, Ok(()));
            }
            Command::Commit {
                queue,
                group,
                indexes,
                reply,
            } => {
                model.commit(&queue, &group, &indexes, now, out);
                later(answers, reply, Ok(()));
            }
            Command::HandBack {
                queue,
                group,
                user,
                indexes,
                leaving,
                reply,
            } => {
                model.hand_back(&queue, &group, &user, &indexes, leaving, now, out);
                later(answers, reply, Ok(()));
            }
            command => self.apply_to_jobs(command, now, out, answers),
        }
    }

    /// Commands about entries that engines work on.
    fn apply_to_jobs(
        &mut self,
        command: Command,
        now: i64,
        out: &mut Outbox,
        answers: &mut Vec<Answer>,
    ) {
        let model = &mut self.model;
        match command {
            Command::PutWithTicket {
                service,
                entry,
                ticket,
                reply,
            } => {
                let done = self
                    .disk
                    .check(self.connection.as_ref())
                    .and_then(|()| model.put_with_ticket(&service, entry, ticket, now, out));
                later(answers, reply, done);
            }
            Command::Finish {
                service,
                finish,
                reply,
            } => {
                let done = model.finish(&service, finish, now, out);
                later(answers, reply, done);
            }
            Command::Release {
                service,
                push,
                reply,
            } => {
                let done = model.release(&service, &push, now, out);
                later(answers, reply, done);
            }
            Command::Abandon {
                service,
                push,
                reply,
            } => {
                let done = model.abandon(&service, &push, now, out);
                later(answers, reply, done);
            }
            Command::Check { reply } => later(answers, reply, Ok(())),
            Command::Lost { service, reply } => later(answers, reply, Ok(model.lost(&service))),
            Command::Jobs { page, reply } => later(answers, reply, Ok(model.jobs(&page))),
            Command::Cancel { job, reply } => later(answers, reply, model.cancel(&job)),
            Command::Retry { job, reply } => {
                let done = self.retry(&job, now, out);
                later(answers, reply, done);
            }
            command => self.apply_always(command, now, out, answers),
        }
    }

    /// Commands that are carried out even while the file cannot be written.
    fn apply_always(
        &mut self,
        command: Command,
        now: i64,
        out: &mut Outbox,
        answers: &mut Vec<Answer>,
    ) {
        let model = &mut self.model;
        match command {
            Command::EndWait { queue, waiter } => model.end_wait(&queue, waiter, now, out),
            Command::Attach {
                queue,
                group,
                user,
                newest_only,
                settings,
                reply,
            } => {
                self.links += 1;
                let link = self.links;
                let done = model.attach(&queue, &group, &user, newest_only, settings, link, now);
                later(answers, reply, done.map(|()| link));
            }
            Command::Detach {
                queue,
                group,
                user,
                link,
                reply,
            } => {
                model.detach(&queue, &group, &user, link, now, out);
                if let Some(reply) = reply {
                    later(answers, reply, Ok(()));
                }
            }
            Command::DetachIdle {
                service,
                user,
                reply,
            } => {
                let done = model.detach_idle(&service, &user, now, out);
                later(answers, reply, Ok(done));
            }
            Command::SetClosed {
                service,
                user,
                closing,
                reply,
            } => {
                let queue = QueueKey::source(Arc::clone(&service));
                let done = model.set_closed(&queue, &service, &user, closing);
                later(answers, reply, done);
            }
            Command::Counts { reply } => later(answers, reply, Ok(model.counts())),
            Command::Tick => self.tick(now, out),
            Command::Close { reply } => self.closed.push(reply),
            // `apply` and `apply_to_jobs` handle all others.
            _ => {}
        }
    }

    fn retry(
        &mut self,
        job: &super::JobKey,
        now: i64,
        out: &mut Outbox,
    ) -> Result<PutDone, QueueError> {
        let connection = self
            .connection
            .as_ref()
            .ok_or_else(|| self.failure.clone())?;
        let row = persist::history_row(connection, &mut self.model, job)?;
        let row = row.ok_or(QueueError::NotFound)?;
        // A second retry in the same batch would take the same row again.
        let taken = out.changes.iter().any(|change| {
            matches!(change, super::model::Change::ForgetHistory { service, index }
                if *service == job.service && *index == job.index)
        });
        if !row.keeps_payload || taken {
            return Err(QueueError::Conflict(format!(
                "job {}-{} ended with {}; its request is not kept, so it cannot be tried again: put it anew",
                job.service, job.index, row.code
            )));
        }
        let ticket = tickets::of_job(connection, job)?;
        let index = self.model.retry(&row, now, out)?;
        if let Some(ticket) = ticket {
            self.model
                .reopen_ticket(&job.service, (job.index, index), ticket.result, out);
        }
        Ok(PutDone { index })
    }

    fn tick(&mut self, now: i64, out: &mut Outbox) {
        let retention = &self.options.retention;
        let retire = Retire {
            results_older_than: retention.result_age.as_millis() as i64,
            results_per_service_max: retention.result_entries_max,
        };
        self.model.tick(retire, now, out);
        if now - self.pruned_ms < PRUNE_EVERY_MS {
            return;
        }
        self.pruned_ms = now;
        self.prune_due = true;
    }
}

/// Refuses a command that needs the file; gives back those that do not.
fn refuse(command: Command, failure: &QueueError) -> Option<Command> {
    fn no<T>(
        reply: oneshot::Sender<Result<T, QueueError>>,
        failure: &QueueError,
    ) -> Option<Command> {
        // The caller may be gone.
        let _ = reply.send(Err(failure.clone()));
        None
    }
    match command {
        Command::Put { reply, .. } | Command::Retry { reply, .. } => no(reply, failure),
        Command::PutWithTicket { reply, .. } => no(reply, failure),
        Command::Get { reply, .. } => no(reply, failure),
        Command::Search { reply, .. } => no(reply, failure),
        Command::Count { reply, .. } => no(reply, failure),
        Command::Attributes { reply, .. } => no(reply, failure),
        Command::Truncate { reply, .. }
        | Command::Delete { reply, .. }
        | Command::Commit { reply, .. }
        | Command::HandBack { reply, .. }
        | Command::Check { reply }
        | Command::Finish { reply, .. }
        | Command::Release { reply, .. } => no(reply, failure),
        Command::Abandon { reply, .. } => no(reply, failure),
        Command::Lost { reply, .. } => no(reply, failure),
        Command::Jobs { reply, .. } => no(reply, failure),
        Command::Cancel { reply, .. } => no(reply, failure),
        command => Some(command),
    }
}

/// Keeps a reply until the commit.
fn later<T: Send + 'static>(
    answers: &mut Vec<Answer>,
    reply: oneshot::Sender<Result<T, QueueError>>,
    result: Result<T, QueueError>,
) {
    answers.push(Box::new(move |failure| {
        let result = failure.map_or(result, |failure| Err(failure.clone()));
        // The caller may have gone; what was done stays done.
        let _ = reply.send(result);
    }));
}
