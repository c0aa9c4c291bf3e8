//! What every handler may use.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, Method};
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use crate::{
    domain::{Role, Secret, ServiceSpec, SideSettings},
    models::shelf::Shelf,
    observe::{CommitMetrics, JobMetrics},
    people::People,
    queue::{QueueKey, Side, Store},
    services::Service,
    workers::Scheduler,
};

use super::{
    auth::{self, Signed},
    error::Refusal,
    routes::{hosted::HostedApps, watch::Links},
    sd_models::SdModels,
    sd_options::OptionStore,
};

/// Waits until a signal is given, or its giver is gone.
pub(super) async fn until(signal: &mut watch::Receiver<bool>) {
    // A giver that is gone gives the signal by that.
    let _ = signal.wait_for(|given| *given).await;
}

/// Payload bytes that answers hold in memory at once, in MiB; more answers wait their turn.
const ANSWER_MIB_MAX: u32 = 512;

/// Bytes of request bodies that lie in memory as a whole at once, in MiB; more wait their turn.
const UPLOAD_MIB_MAX: u32 = 512;

/// How many ids of ended tasks are remembered.
const ENDED_TASKS_MAX: usize = 64;

/// Answers up to this size wait for nobody.
const SMALL_ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What the HTTP side is made of.
pub struct AppParts {
    /// The queues.
    pub store: Store,
    /// Slots and what was decided for them.
    pub scheduler: Arc<Scheduler>,
    /// The services with their views.
    pub services: Vec<Service>,
    /// Token that opens everything.
    pub token: Option<Secret>,
    /// Apps that may call the hosted form.
    pub apps: HostedApps,
    /// Everybody who is trained.
    pub people: People,
    /// Signal given after each change of the store.
    pub changed: Arc<Notify>,
    /// Metrics of the store.
    pub commits: CommitMetrics,
    /// Metrics of the slots.
    pub jobs: JobMetrics,
    /// Longest silence inside a request body.
    pub body_idle: Duration,
    /// Which networks are there.
    pub shelf: Shelf,
    /// Files of the networks that make pictures.
    pub sd_models: Arc<dyn SdModels>,
    /// File of the WebUI's options.
    pub sd_options: PathBuf,
}

/// Shared state of all handlers.
#[derive(Clone)]
pub struct App(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) scheduler: Arc<Scheduler>,
    pub(super) services: HashMap<String, ServiceEntry>,
    /// Names in the order in which they were configured.
    pub(super) order: Vec<String>,
    pub(super) apps: HostedApps,
    pub(super) people: People,
    pub(super) changed: Arc<Notify>,
    pub(super) registry: Registry,
    pub(super) body_idle: Duration,
    pub(super) links: Links,
    pub(super) shelf: Shelf,
    pub(super) sd: SdState,
    token: Option<Secret>,
    answers: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

/// What the WebUI's routes share.
pub(super) struct SdState {
    pub(super) models: Arc<dyn SdModels>,
    pub(super) options: OptionStore,
    /// Held while a task with an id of its caller's is looked for and put, so that it is put once.
    pub(super) putting: tokio::sync::Mutex<()>,
    /// Ids of tasks that ended lately.
    ended: Mutex<VecDeque<String>>,
}

impl SdState {
    /// A task has been answered.
    pub(super) fn note_end(&self, id: &str) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() == ENDED_TASKS_MAX {
            ended.pop_front();
        }
        ended.push_back(id.to_owned());
    }

    /// Whether a task was answered lately.
    pub(super) fn has_ended(&self, id: &str) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.iter().any(|known| known == id)
    }
}

/// A service with what HTTP keeps of it.
pub(super) struct ServiceEntry {
    pub(super) service: Service,
    pub(super) source: QueueKey,
    pub(super) sink: QueueKey,
    rate: Mutex<Rate>,
    concurrent: Option<Arc<Semaphore>>,
    rate_warned: AtomicBool,
}

/// Puts of the present second.
struct Rate {
    second: Instant,
    puts: u32,
}

impl App {
    /// Makes the state.
    pub fn new(parts: AppParts) -> Self {
        let mut registry = Registry::default();
        parts.commits.register(&mut registry);
        parts.jobs.register(&mut registry);
        let order = parts
            .services
            .iter()
            .map(|service| service.spec.name.clone())
            .collect();
        let entry = |service: Service| (service.spec.name.clone(), ServiceEntry::new(service));
        Self(Arc::new(Inner {
            store: parts.store,
            scheduler: parts.scheduler,
            services: parts.services.into_iter().map(entry).collect(),
            order,
            apps: parts.apps,
            people: parts.people,
            changed: parts.changed,
            registry,
            body_idle: parts.body_idle,
            links: Links::default(),
            shelf: parts.shelf,
            sd: SdState {
                models: parts.sd_models,
                options: OptionStore::open(parts.sd_options),
                putting: tokio::sync::Mutex::default(),
                ended: Mutex::default(),
            },
            token: parts.token,
            answers: Arc::new(Semaphore::new(ANSWER_MIB_MAX as usize)),
            uploads: Arc::new(Semaphore::new(UPLOAD_MIB_MAX as usize)),
            stopping: watch::Sender::new(false),
        }))
    }

    /// From now on nothing new is taken, and links that only wait are ended.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.0.stopping.subscribe()
    }

    pub(super) fn check_running(&self) -> Result<(), Refusal> {
        if *self.0.stopping.borrow() {
            return Err(crate::queue::QueueError::Closed.into());
        }
        Ok(())
    }

    /// The service of an address. The older form `<group>.<service>` names the same service.
    pub(super) fn service(&self, name: &str) -> Result<&ServiceEntry, Refusal> {
        let services = &self.0.services;
        let plain = || {
            name.rsplit_once('.')
                .and_then(|(_, service)| services.get(service))
        };
        services.get(name).or_else(plain).ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            Refusal::new(
                404,
                format!("there is no service {shown:?}; GET /api/services lists them"),
            )
        })
    }

    /// The service that makes pictures: the first with the engine for that.
    pub(super) fn sd_service(&self) -> Option<&ServiceEntry> {
        let services = self.0.order.iter();
        services
            .filter_map(|name| self.0.services.get(name))
            .find(|entry| entry.spec().role == Some(Role::Sd))
    }

    /// Checks the token for one service's queues.
    pub(super) fn authorize_service(
        &self,
        entry: &ServiceEntry,
        headers: &HeaderMap,
        method: &Method,
        path: &str,
    ) -> Result<(), Refusal> {
        auth::check_site(headers)?;
        let own = entry.spec().token.as_ref();
        let tokens: Vec<&Secret> = own.into_iter().chain(self.0.token.as_ref()).collect();
        auth::check(headers, &tokens, Some(Signed { method, path }))
    }

    /// Checks the program's token.
    pub(super) fn authorize(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        auth::check_site(headers)?;
        let tokens: Vec<&Secret> = self.0.token.iter().collect();
        auth::check(headers, &tokens, None)
    }

    /// Waits until this many payload bytes may be held in memory. Keep the permit for as long as
    /// they are. Small answers are bounded by the number of connections and need none.
    pub(super) async fn reserve_answer(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        reserve(&self.0.answers, bytes, ANSWER_MIB_MAX).await
    }

    /// The same for the bytes of a request, which are held until it is stored. Nobody waits for an
    /// answer's room while holding this.
    pub(super) async fn reserve_upload(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        reserve(&self.0.uploads, bytes, UPLOAD_MIB_MAX).await
    }
}

async fn reserve(room: &Arc<Semaphore>, bytes: u64, mib_max: u32) -> Option<OwnedSemaphorePermit> {
    if bytes <= SMALL_ANSWER_BYTES_MAX {
        return None;
    }
    let mib = (bytes / crate::domain::MIB + 1).min(u64::from(mib_max));
    // The semaphores are never closed.
    Arc::clone(room).acquire_many_owned(mib as u32).await.ok()
}

impl ServiceEntry {
    fn new(service: Service) -> Self {
        let spec = &service.spec;
        let concurrent = match spec.concurrency_limit {
            0 => None,
            limit => Some(Arc::new(Semaphore::new(limit as usize))),
        };
        Self {
            source: QueueKey::source(spec.name.as_str()),
            sink: QueueKey::sink(spec.name.as_str()),
            rate: Mutex::new(Rate {
                second: Instant::now(),
                puts: 0,
            }),
            concurrent,
            rate_warned: AtomicBool::new(false),
            service,
        }
    }

    pub(super) fn spec(&self) -> &ServiceSpec {
        &self.service.spec
    }

    pub(super) fn side(&self, side: Side) -> &SideSettings {
        match side {
            Side::Source => &self.spec().queue.source,
            Side::Sink => &self.spec().queue.sink,
        }
    }

    pub(super) fn queue(&self, side: Side, rear: bool) -> QueueKey {
        let key = match side {
            Side::Source => &self.source,
            Side::Sink => &self.sink,
        };
        QueueKey {
            rear,
            ..key.clone()
        }
    }

    /// Counts a put against `rate_limit`.
    pub(super) fn count_put(&self) -> Result<(), Refusal> {
        let limit = self.spec().rate_limit;
        if limit == 0 {
            return Ok(());
        }
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        if rate.second.elapsed() >= Duration::from_secs(1) {
            *rate = Rate {
                second: Instant::now(),
                puts: 0,
            };
        }
        if rate.puts < limit {
            rate.puts += 1;
            return Ok(());
        }
        if !self.rate_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                service = self.spec().name,
                limit,
                "callers reach the rate limit"
            );
        }
        Err(Refusal::new(
            429,
            format!(
                "service {} takes at most {limit} requests per second; slow down",
                self.spec().name
            ),
        ))
    }

    /// A place among the requests that the service allows at once.
    pub(super) fn enter(&self) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        let Some(semaphore) = &self.concurrent else {
            return Ok(None);
        };
        Arc::clone(semaphore)
            .try_acquire_owned()
            .map(Some)
            .map_err(|_| {
                let limit = self.spec().concurrency_limit;
                Refusal::new(
                    429,
                    format!(
                        "service {} serves {limit} requests at once; try again",
                        self.spec().name
                    ),
                )
            })
    }
}
