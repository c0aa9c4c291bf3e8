//! The handle by which everybody else uses the queues.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    domain::{MIB, ServiceSpec, Tags},
    observe::CommitMetrics,
};

use super::{
    Attach, Attached, Attributes, BlobFolder, CancelledJob, Closing, Counts, Detached, Finish,
    Frame, Get, Job, JobKey, JobsPage, NewEntry, NewTicket, PayloadData, Push, PutDone, QueueError,
    QueueKey, Search, Ticket, command::Command, model::ConsumerSettings, reader::ReadPool, schema,
    writer::Writer,
};

/// Commands that may wait for the writer; more callers than this wait for a place.
const COMMANDS_MAX: usize = 4096;

/// Tells the time of day; injected so that tests can turn it.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |passed| passed.as_millis() as i64)
    }
}

/// How long results and history are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Results in a sink that nobody took.
    pub result_age: Duration,
    /// Most results in the sink of one service.
    pub result_entries_max: usize,
    /// Ended jobs in the job list.
    pub history_age: Duration,
    /// Most ended jobs in the job list.
    pub history_entries_max: usize,
    /// Most bytes of requests that are kept so that failed jobs can be tried again.
    pub retry_bytes_max: u64,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            result_age: 7 * DAY,
            result_entries_max: 100_000,
            history_age: 30 * DAY,
            history_entries_max: 100_000,
            retry_bytes_max: 1024 * MIB,
        }
    }
}

/// Where the store lies and by which rules it keeps house.
#[derive(Clone)]
pub struct StoreOptions {
    /// The SQLite file.
    pub database: PathBuf,
    /// The folder of payload files.
    pub blobs: PathBuf,
    /// What leaves by itself.
    pub retention: Retention,
    /// Free bytes of disk that are kept for finishing running work: below it puts are refused.
    pub disk_reserve_bytes: u64,
    /// Time of day.
    pub clock: Arc<dyn Clock>,
    /// Where commits are counted.
    pub metrics: CommitMetrics,
    /// Told after each commit, so that the scheduler can decide anew.
    pub changed: Arc<Notify>,
}

impl StoreOptions {
    /// `photog.db` and `blobs/` below a data folder, with the usual rules.
    pub fn below(folder: &Path) -> Self {
        Self {
            database: folder.join("photog.db"),
            blobs: folder.join("blobs"),
            retention: Retention::default(),
            disk_reserve_bytes: 64 * MIB,
            clock: Arc::new(SystemClock),
            metrics: CommitMetrics::default(),
            changed: Arc::new(Notify::new()),
        }
    }
}

/// The queues of all services. Clones share one writer thread.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    commands: mpsc::Sender<Command>,
    reader: ReadPool,
    blobs: BlobFolder,
    waiters: AtomicU64,
    clock: Arc<dyn Clock>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens or makes the store and starts its writer thread. Entries that were in a dead process's
    /// hand wait again, or are [lost](Self::lost) when they have no delivery left. Blocks.
    pub fn open(options: StoreOptions, services: &[ServiceSpec]) -> Result<Self, QueueError> {
        let blobs = BlobFolder::open(&options.blobs)?;
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let reader = ReadPool::new(options.database.clone(), blobs.clone());
        let clock = Arc::clone(&options.clock);
        let writer = Writer::open(options, blobs.clone(), services)?;
        let thread = std::thread::Builder::new()
            .name(String::from("queue-writer"))
            .spawn(move || writer.run(receiver))?;
        let writer = Mutex::new(Some(thread));
        Ok(Self(Arc::new(Inner {
            commands,
            reader,
            blobs,
            waiters: AtomicU64::new(0),
            clock,
            writer,
        })))
    }

    /// Checks a database that no program has open; for `doctor`. Blocks.
    pub fn check_file(database: &Path) -> Result<(), QueueError> {
        schema::check_file(database)
    }

    /// Where payload files are written before their entry is put.
    pub fn blobs(&self) -> &BlobFolder {
        &self.0.blobs
    }

    /// Stores an entry. It is on disk when this returns.
    pub async fn put(&self, queue: &QueueKey, entry: NewEntry) -> Result<PutDone, QueueError> {
        self.ask(|reply| Command::Put {
            queue: queue.clone(),
            entry,
            reply,
        })
        .await
    }

    /// Stores an entry of a service's input queue together with a ticket, and says its number. Both are
    /// on disk when this returns. The result of the job goes to the ticket and to no sink.
    pub async fn put_with_ticket(
        &self,
        service: &str,
        entry: NewEntry,
        ticket: NewTicket,
    ) -> Result<i32, QueueError> {
        self.ask(|reply| Command::PutWithTicket {
            service: service.into(),
            entry,
            ticket,
            reply,
        })
        .await
    }

    /// A ticket with its result; `None` also when it belongs to somebody else. Ended tickets leave
    /// with the history.
    pub async fn ticket(&self, id: i32, owner: &str) -> Result<Option<Ticket>, QueueError> {
        let owner = owner.to_owned();
        self.read(move |reader| reader.ticket(id, &owner)).await
    }

    /// Looks for entries, waiting up to `timeout` until there are as many as asked for. A caller
    /// that gives up before takes nothing with it.
    pub async fn get(
        &self,
        queue: &QueueKey,
        mut get: Get,
        timeout: Duration,
    ) -> Result<Vec<Frame>, QueueError> {
        get.wait = !timeout.is_zero();
        self.get_until(queue, get, tokio::time::sleep(timeout))
            .await
    }

    /// The same, waiting until `end` if it is to wait. Dropping the future instead of ending it may
    /// lose entries that were taken out at that moment.
    pub async fn get_until(
        &self,
        queue: &QueueKey,
        get: Get,
        end: impl Future<Output = ()>,
    ) -> Result<Vec<Frame>, QueueError> {
        let waiter = self.0.waiters.fetch_add(1, Ordering::Relaxed);
        let (reply, mut answer) = oneshot::channel();
        let waits = get.wait;
        self.send(Command::Get {
            queue: queue.clone(),
            get,
            waiter,
            reply,
        })
        .await?;
        if !waits {
            return answer.await.map_err(|_| QueueError::Closed)?;
        }
        tokio::select! {
            answer = &mut answer => return answer.map_err(|_| QueueError::Closed)?,
            () = end => {}
        }
        self.send(Command::EndWait {
            queue: queue.clone(),
            waiter,
        })
        .await?;
        answer.await.map_err(|_| QueueError::Closed)?
    }

    /// Where an entry stands for a consumer group.
    pub async fn search(
        &self,
        queue: &QueueKey,
        index: u64,
        group: &str,
        user: &str,
    ) -> Result<Search, QueueError> {
        let (queue, group, user) = (queue.clone(), group.into(), user.into());
        self.ask(|reply| Command::Search {
            queue,
            index,
            group,
            user,
            reply,
        })
        .await
    }

    /// Number of entries with these tags and, if given, this priority.
    pub async fn count(
        &self,
        queue: &QueueKey,
        tags: Tags,
        priority: Option<u8>,
    ) -> Result<u64, QueueError> {
        self.ask(|reply| Command::Count {
            queue: queue.clone(),
            tags,
            priority,
            reply,
        })
        .await
    }

    /// The state of a queue with its consumers and groups.
    pub async fn attributes(&self, queue: &QueueKey) -> Result<Attributes, QueueError> {
        self.ask(|reply| Command::Attributes {
            queue: queue.clone(),
            reply,
        })
        .await
    }

    /// Deletes every entry with an index below `below`.
    pub async fn truncate(&self, queue: &QueueKey, below: u64) -> Result<(), QueueError> {
        self.ask(|reply| Command::Truncate {
            queue: queue.clone(),
            below,
            reply,
        })
        .await
    }

    /// Deletes entries for all groups. Those that are gone already are no error.
    pub async fn delete(&self, queue: &QueueKey, indexes: Vec<u64>) -> Result<(), QueueError> {
        self.ask(|reply| Command::Delete {
            queue: queue.clone(),
            indexes,
            reply,
        })
        .await
    }

    /// Marks entries done for a group. Those that are gone already are no error.
    pub async fn commit(
        &self,
        queue: &QueueKey,
        group: &str,
        indexes: Vec<u64>,
    ) -> Result<(), QueueError> {
        let (queue, group) = (queue.clone(), group.into());
        self.ask(|reply| Command::Commit {
            queue,
            group,
            indexes,
            reply,
        })
        .await
    }

    /// Gives entries back; a user that is `leaving` gets no more.
    pub async fn hand_back(
        &self,
        queue: &QueueKey,
        group: &str,
        user: &str,
        indexes: Vec<u64>,
        leaving: bool,
    ) -> Result<(), QueueError> {
        let (queue, group, user) = (queue.clone(), group.into(), user.into());
        self.ask(|reply| Command::HandBack {
            queue,
            group,
            user,
            indexes,
            leaving,
            reply,
        })
        .await
    }

    /// Adds a consumer.
    pub async fn attach(&self, queue: &QueueKey, attach: Attach) -> Result<Attached, QueueError> {
        let (sender, pushes) = mpsc::unbounded_channel();
        let settings = ConsumerSettings {
            window: attach.window,
            start: attach.start.unwrap_or(0),
            tags: attach.tags,
            auto_commit: attach.auto_commit,
            pushes: sender,
        };
        let (queue, group, user) = (queue.clone(), attach.group, attach.user);
        let newest_only = attach.start.is_none();
        let link = self
            .ask(|reply| Command::Attach {
                queue,
                group,
                user,
                newest_only,
                settings,
                reply,
            })
            .await?;
        Ok(Attached { link, pushes })
    }

    /// A consumer's link ended: what it had in hand goes back.
    pub async fn detach(
        &self,
        queue: &QueueKey,
        group: &Arc<str>,
        user: &Arc<str>,
        link: u64,
    ) -> Result<(), QueueError> {
        let (queue, group, user) = (queue.clone(), Arc::clone(group), Arc::clone(user));
        self.ask(|reply| Command::Detach {
            queue,
            group,
            user,
            link,
            reply: Some(reply),
        })
        .await
    }

    /// Lets a slot go if it has nothing in hand. Deciding and claiming happen on one thread, so a
    /// slot that may go can never have claimed one more entry.
    pub async fn detach_idle(&self, service: &str, slot: &str) -> Result<Detached, QueueError> {
        let (service, user) = (service.into(), slot.into());
        self.ask(|reply| Command::DetachIdle {
            service,
            user,
            reply,
        })
        .await
    }

    /// Says whether a slot takes new entries.
    pub async fn set_closed(
        &self,
        service: &str,
        slot: &str,
        closing: Closing,
    ) -> Result<(), QueueError> {
        let (service, user) = (service.into(), slot.into());
        self.ask(|reply| Command::SetClosed {
            service,
            user,
            closing,
            reply,
        })
        .await
    }

    /// Ends a job: its result enters the sink, or its ticket, and its request leaves the input queue,
    /// together.
    pub async fn finish(&self, service: &str, finish: Finish) -> Result<(), QueueError> {
        self.ask(|reply| Command::Finish {
            service: service.into(),
            finish,
            reply,
        })
        .await
    }

    /// Gives an entry back without counting its delivery.
    pub async fn release(&self, service: &str, push: Push) -> Result<(), QueueError> {
        self.ask(|reply| Command::Release {
            service: service.into(),
            push,
            reply,
        })
        .await
    }

    /// The slot that had this entry died. True when the entry waits again; false when it has no
    /// delivery left, and the caller has to finish it as interrupted.
    pub async fn abandon(&self, service: &str, push: Push) -> Result<bool, QueueError> {
        self.ask(|reply| Command::Abandon {
            service: service.into(),
            push,
            reply,
        })
        .await
    }

    /// Entries whose process or slot died with no delivery left; they have to be finished as
    /// interrupted.
    pub async fn lost(&self, service: &str) -> Result<Vec<Push>, QueueError> {
        self.ask(|reply| Command::Lost {
            service: service.into(),
            reply,
        })
        .await
    }

    /// A page of jobs, newest first: those that wait or run, and those that ended.
    pub async fn jobs(&self, page: JobsPage) -> Result<Vec<Job>, QueueError> {
        let asked = page.clone();
        let mut jobs = self
            .ask(|reply| Command::Jobs { page: asked, reply })
            .await?;
        let ended = page.clone();
        let ended = self.read(move |reader| reader.history(&ended)).await?;
        // A job may have ended between the two readings; the history is the later one.
        jobs.retain(|job| ended.iter().all(|other| other.key != job.key));
        jobs.extend(ended);
        jobs.sort_by(|a, b| (b.created_ms, &b.key).cmp(&(a.created_ms, &a.key)));
        jobs.truncate(page.limit);
        Ok(jobs)
    }

    /// One job, wherever it stands.
    pub async fn job(&self, key: JobKey) -> Result<Option<Job>, QueueError> {
        let page = JobsPage {
            service: Some(Arc::clone(&key.service)),
            index: Some(key.index),
            limit: 1,
            ..JobsPage::default()
        };
        Ok(self.jobs(page).await?.into_iter().next())
    }

    /// Whether the database can be used now.
    pub async fn check(&self) -> Result<(), QueueError> {
        self.ask(|reply| Command::Check { reply }).await
    }

    /// The store's time of day in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.0.clock.now_ms()
    }

    /// Cancels a job that waits; says when it runs instead.
    pub async fn cancel(&self, job: JobKey) -> Result<CancelledJob, QueueError> {
        self.ask(|reply| Command::Cancel { job, reply }).await
    }

    /// Puts the request of an ended job into the line again.
    pub async fn retry(&self, job: JobKey) -> Result<PutDone, QueueError> {
        self.ask(|reply| Command::Retry { job, reply }).await
    }

    /// Numbers of every service.
    pub async fn counts(&self) -> Result<Vec<(Arc<str>, Counts)>, QueueError> {
        self.ask(|reply| Command::Counts { reply }).await
    }

    /// Lets time pass: call it about once a second.
    pub async fn tick(&self) -> Result<(), QueueError> {
        self.send(Command::Tick).await
    }

    /// The payload of a pushed entry; `NotFound` when it was deleted meanwhile.
    pub async fn load(&self, push: &Push) -> Result<PayloadData, QueueError> {
        let payload = push.payload;
        self.read(move |reader| reader.payload(payload)).await
    }

    /// The payload of a pushed entry, for callers that may block.
    pub fn load_blocking(&self, push: &Push) -> Result<PayloadData, QueueError> {
        self.0.reader.payload(push.payload)
    }

    /// Ends the writer thread after everything that was sent before. Later calls are refused.
    pub async fn close(&self) {
        // Readers keep the log from being folded into the file.
        self.0.reader.close();
        // A store that is closed already stays so.
        let _ = self.ask(|reply| Command::Close { reply }).await;
        let thread = self
            .0
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // The writer has answered and only its connection remains to be closed.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ReadPool) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let store = self.clone();
        let task = tokio::task::spawn_blocking(move || read(&store.0.reader));
        task.await.map_err(|_| QueueError::Closed)?
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, QueueError>>) -> Command,
    ) -> Result<T, QueueError> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await?;
        answer.await.map_err(|_| QueueError::Closed)?
    }

    async fn send(&self, command: Command) -> Result<(), QueueError> {
        self.0
            .commands
            .send(command)
            .await
            .map_err(|_| QueueError::Closed)
    }
}
