//! What the tests of the queue share: a service, a clock that stands still, a store in a folder.
#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]
#![allow(dead_code, reason = "every test file uses another part of it")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use photog::{
    domain::{
        DeadMessagePolicy, QueueSettings, Role, ScalingPolicy, ServiceKind, ServiceSpec,
        SideSettings, Tags,
    },
    queue::{
        Attach, Attached, Clock, Filter, Finish, Frame, Get, NewEntry, Payload, Push, QueueError,
        QueueKey, Store, StoreOptions,
    },
};

/// Name of the service under test; also the group of its engine.
pub const SERVICE: &str = "service";

/// A clock that the test turns.
#[derive(Debug, Default)]
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        1_700_000_000_000 + self.0.load(Ordering::SeqCst)
    }
}

pub fn side() -> SideSettings {
    SideSettings {
        max_payload_bytes: 1 << 20,
        max_entries: None,
        max_bytes: 1 << 30,
        auto_evict: false,
    }
}

pub fn spec(kind: ServiceKind) -> ServiceSpec {
    ServiceSpec {
        name: SERVICE.into(),
        kind,
        role: (kind != ServiceKind::Queue).then_some(Role::Echo),
        token: None,
        keepalive: Duration::from_secs(60),
        worker_threads: 1,
        rate_limit: 0,
        concurrency_limit: 0,
        instances: 1,
        queue: QueueSettings {
            max_delivery: 5,
            dead_message_policy: DeadMessagePolicy::Rear,
            group_grace: Duration::from_secs(10),
            source: side(),
            sink: side(),
        },
        scaling: ScalingPolicy::fixed(1),
        mounts: Vec::new(),
        echo: Duration::ZERO,
        webui_data_dir: None,
        scratch_bytes: None,
        slot_memory_bytes: 0,
    }
}

/// A store in a folder of its own.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub clock: Arc<TestClock>,
    pub options: StoreOptions,
    pub spec: ServiceSpec,
    pub store: Store,
}

impl Bench {
    pub fn new(spec: ServiceSpec) -> Self {
        Self::with(spec, |_| {})
    }

    /// A store whose files lie in memory where the system has such a folder: syncing is free.
    pub fn in_memory(spec: ServiceSpec) -> Self {
        Self::below(memory_folder(), spec, |_| {})
    }

    pub fn with(spec: ServiceSpec, change: impl FnOnce(&mut StoreOptions)) -> Self {
        Self::below(tempfile::tempdir().unwrap(), spec, change)
    }

    fn below(
        folder: tempfile::TempDir,
        spec: ServiceSpec,
        change: impl FnOnce(&mut StoreOptions),
    ) -> Self {
        let clock = Arc::new(TestClock::default());
        let mut options = StoreOptions::below(folder.path());
        options.clock = clock.clone();
        options.disk_reserve_bytes = 0;
        change(&mut options);
        let store = Store::open(options.clone(), std::slice::from_ref(&spec)).unwrap();
        Self {
            folder,
            clock,
            options,
            spec,
            store,
        }
    }

    /// Ends the program without a warning and starts it again: the files as they are now.
    pub async fn crash(&mut self) {
        let copy = tempfile::tempdir_in(self.folder.path().parent().unwrap()).unwrap();
        self.store.counts().await.unwrap();
        copy_files(self.folder.path(), copy.path());
        self.options.database = copy.path().join("photog.db");
        self.options.blobs = copy.path().join("blobs");
        self.store = Store::open(self.options.clone(), std::slice::from_ref(&self.spec)).unwrap();
        self.folder = copy;
    }

    /// Runs SQL on the database beside the store.
    pub fn sql(&self, text: &str) {
        let connection = rusqlite::Connection::open(&self.options.database).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        connection.execute_batch(text).unwrap();
    }

    pub fn number(&self, query: &str) -> i64 {
        let connection = rusqlite::Connection::open(&self.options.database).unwrap();
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// From now on writing to a table fails.
    pub fn break_table(&self, table: &str) {
        self.sql(&format!(
            "CREATE TRIGGER broken BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'injected'); END"
        ));
    }

    pub fn mend_table(&self) {
        self.sql("DROP TRIGGER broken");
    }

    pub fn blob_files(&self) -> usize {
        std::fs::read_dir(&self.options.blobs).unwrap().count()
    }

    pub async fn put(&self, queue: &QueueKey, request: &str) -> u64 {
        self.store.put(queue, entry(request)).await.unwrap().index
    }

    pub async fn attach(&self, queue: &QueueKey, group: &str, user: &str, window: u32) -> Attached {
        let attached = self.store.attach(queue, attach(group, user, window)).await;
        attached.unwrap()
    }

    pub async fn detach(&self, queue: &QueueKey, group: &str, user: &str, link: u64) {
        let (group, user) = (group.into(), user.into());
        self.store.detach(queue, &group, &user, link).await.unwrap();
    }

    /// Everything that was pushed to a consumer so far.
    pub async fn pushed(&self, attached: &mut Attached) -> Vec<Push> {
        // Pushes leave after the answers of their batch, and before those of the next.
        self.store.counts().await.unwrap();
        self.store.counts().await.unwrap();
        std::iter::from_fn(|| attached.pushes.try_recv().ok()).collect()
    }

    pub async fn pushed_indexes(&self, attached: &mut Attached) -> Vec<u64> {
        let pushes = self.pushed(attached).await;
        pushes.iter().map(|push| push.index).collect()
    }

    pub async fn tick(&self) {
        self.store.tick().await.unwrap();
        self.store.counts().await.unwrap();
        self.store.counts().await.unwrap();
    }

    pub async fn get(&self, queue: &QueueKey) -> Vec<Frame> {
        self.take(
            queue,
            Filter {
                from: Some(0),
                tags: Tags::default(),
            },
            false,
        )
        .await
    }

    pub async fn take(&self, queue: &QueueKey, filter: Filter, auto_delete: bool) -> Vec<Frame> {
        let get = Get {
            filter,
            length: 1000,
            auto_delete,
            wait: false,
        };
        self.store.get(queue, get, Duration::ZERO).await.unwrap()
    }

    pub async fn indexes(&self, queue: &QueueKey) -> Vec<u64> {
        self.get(queue)
            .await
            .iter()
            .map(|frame| frame.index)
            .collect()
    }

    /// Puts until a store that fell back to its file takes it.
    pub async fn put_at_last(&self, queue: &QueueKey, request: &str) {
        while let Err(error) = self.store.put(queue, entry(request)).await {
            assert!(matches!(error, QueueError::Storage(_)), "{error}");
        }
    }

    /// Offers a result until a store that fell back to its file takes it.
    pub async fn finish_at_last(&self, push: &Push, text: &'static str) {
        while let Err(error) = self.finish(push, text).await {
            assert!(matches!(error, QueueError::Storage(_)), "{error}");
        }
    }

    pub async fn finish(&self, push: &Push, text: &'static str) -> Result<(), QueueError> {
        self.store.finish(SERVICE, done(push, text)).await
    }
}

fn memory_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub fn done(push: &Push, text: &'static str) -> Finish {
    Finish {
        push: push.clone(),
        code: None,
        message: String::new(),
        cancelled: false,
        result: Some(Payload::Inline(Bytes::from_static(text.as_bytes()))),
        status: 200,
    }
}

pub fn failed(push: &Push) -> Finish {
    Finish {
        code: Some("INTERRUPTED".into()),
        status: 500,
        ..done(push, "failed")
    }
}

pub fn attach(group: &str, user: &str, window: u32) -> Attach {
    Attach {
        group: group.into(),
        user: user.into(),
        start: Some(0),
        tags: Tags::default(),
        window,
        auto_commit: false,
    }
}

pub fn entry(request: &str) -> NewEntry {
    NewEntry {
        request_id: request.into(),
        tags: Tags::default(),
        priority: 0,
        payload: Payload::Inline(Bytes::copy_from_slice(request.as_bytes())),
    }
}

pub fn urgent(request: &str) -> NewEntry {
    NewEntry {
        priority: 1,
        ..entry(request)
    }
}

pub fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().copied().collect()
}

pub fn rear(queue: &QueueKey) -> QueueKey {
    QueueKey {
        rear: true,
        ..queue.clone()
    }
}

pub fn text(frame: &mut Frame) -> String {
    String::from_utf8(frame.take_data().into_bytes().unwrap().to_vec()).unwrap()
}

/// Copies database, log and payload files as a crash would leave them.
pub fn copy_files(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let name = file.file_name();
        if file.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(to.join(&name)).unwrap();
            copy_files(&file.path(), &to.join(&name));
        } else if !name.to_string_lossy().ends_with("-shm") {
            std::fs::copy(file.path(), to.join(&name)).unwrap();
        }
    }
}
