//! The loop around [`decide`]: takes snapshots, carries out what was decided, keeps the time.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    domain::ServiceSpec,
    observe::JobMetrics,
    queue::{Clock, Counts, QueueError, Store},
    scheduler::{
        Action, Decision, Device, DeviceId, History, MemoryNeed, ServiceReport, ServiceSnapshot,
        Slot, SlotState, Snapshot, decide,
    },
};

use super::{
    engines::Engines,
    pool::{Pool, PoolParts},
};

/// Longest time between two decisions.
const TICK: Duration = Duration::from_secs(1);
/// Shortest time between two decisions, so that thousands of puts per second do not become as
/// many decisions. Only changes that follow another within it wait; idle slots get entries from
/// the queue itself, without a decision.
const REST: Duration = Duration::from_millis(20);
/// Window of the put rate.
const RATE_WINDOW: usize = 60;

/// What the scheduler last said of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScalingReport {
    /// Most slots in effect.
    pub max: u32,
    /// Why `max` is below what was declared, or why there are more or fewer slots than wanted.
    pub reason: Option<String>,
}

/// Runs the services: scheduler, slots and the store's clock.
pub struct Scheduler {
    pool: Pool,
    store: Store,
    specs: Vec<ServiceSpec>,
    devices: Vec<Device>,
    changed: Arc<Notify>,
    stopping: watch::Sender<bool>,
    reports: Mutex<HashMap<String, ScalingReport>>,
}

/// What the loop remembers of a service between two decisions.
struct Memory {
    history: History,
    quiet_since: Option<Duration>,
    /// Total puts at each of the last seconds.
    puts: VecDeque<u64>,
    reason: Option<String>,
}

impl Scheduler {
    /// Prepares the services. `changed` is the signal that the store gives after each change.
    pub fn new(
        store: Store,
        engines: Engines,
        services: &[ServiceSpec],
        devices: Vec<(Device, String)>,
        clock: Arc<dyn Clock>,
        metrics: JobMetrics,
        changed: Arc<Notify>,
    ) -> Self {
        let names: BTreeMap<DeviceId, String> = devices
            .iter()
            .map(|(device, name)| (device.id, name.clone()))
            .collect();
        let pool = Pool::new(PoolParts {
            store: store.clone(),
            engines,
            services: services.to_vec(),
            devices: names,
            clock,
            metrics,
            changed: Arc::clone(&changed),
        });
        Self {
            pool,
            store,
            specs: services.to_vec(),
            devices: devices.into_iter().map(|(device, _)| device).collect(),
            changed,
            stopping: watch::Sender::new(false),
            reports: Mutex::default(),
        }
    }

    /// The slots.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What was last decided for a service.
    pub fn report(&self, service: &str) -> Option<ScalingReport> {
        self.reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(service)
            .cloned()
    }

    /// Ends what a crash cut off, then works until [`Self::stop`] was called and every slot has
    /// gone.
    pub async fn run(&self) -> Result<(), QueueError> {
        let mut stopping = self.stopping.subscribe();
        self.rescue(&mut stopping).await?;
        let start = self.pool.now();
        let mut memories: Vec<Memory> = self.specs.iter().map(|_| Memory::new(start)).collect();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut second = Instant::now();
        loop {
            let changed = self.changed.notified();
            if let Err(failure) = self.step(&mut memories, &mut second).await {
                tracing::warn!(%failure, "the scheduler waits for the store");
            }
            if *stopping.borrow() && self.pool.statuses().is_empty() {
                self.pool.join_all().await;
                return Ok(());
            }
            tokio::time::sleep(REST).await;
            tokio::select! {
                () = changed => {}
                _ = ticks.tick() => {}
                _ = stopping.changed() => {}
            }
        }
    }

    /// Takes nothing new; slots go as they finish. [`Self::run`] returns when all are gone.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        self.pool.close_all().await;
    }

    /// Ends what a crash cut off. A store that fails is asked again until it works or the program
    /// stops: a full disk must not keep the program from running.
    async fn rescue(&self, stopping: &mut watch::Receiver<bool>) -> Result<(), QueueError> {
        while let Err(failure) = self.pool.rescue().await {
            if !matches!(failure, QueueError::Storage(_)) {
                return Err(failure);
            }
            tracing::warn!(%failure, "work waits until what a crash cut off can be ended");
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                // The sender lives as long as this loop.
                _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
            }
        }
        Ok(())
    }

    async fn step(&self, memories: &mut [Memory], second: &mut Instant) -> Result<(), QueueError> {
        if *self.stopping.borrow() {
            // A slot may have been starting when the stop was asked for.
            self.pool.close_all().await;
        }
        let counts: HashMap<Arc<str>, Counts> = self.store.counts().await?.into_iter().collect();
        let now = self.pool.now();
        let new_second = second.elapsed() >= TICK;
        if new_second {
            *second = Instant::now();
            self.store.tick().await?;
        }
        let snapshot = self.snapshot(&counts, memories, now, new_second);
        let Decision { actions, services } = decide(&snapshot, now);
        for ((spec, memory), report) in self.specs.iter().zip(memories).zip(services) {
            self.keep(spec, memory, report);
        }
        for action in actions {
            self.carry_out(action).await;
        }
        Ok(())
    }

    fn snapshot(
        &self,
        counts: &HashMap<Arc<str>, Counts>,
        memories: &mut [Memory],
        now: Duration,
        new_second: bool,
    ) -> Snapshot {
        let slots = self.pool.statuses();
        let stopping = *self.stopping.borrow();
        let service = |(spec, memory): (&ServiceSpec, &mut Memory)| {
            let counts = counts.get(spec.name.as_str()).cloned().unwrap_or_default();
            memory.note(&counts, now, new_second);
            ServiceSnapshot {
                name: spec.name.clone(),
                kind: spec.kind,
                policy: spec.scaling.clone(),
                instances: spec.instances,
                waiting: counts.waiting,
                in_hand: counts.in_hand,
                puts_per_second: memory.puts_per_second(),
                quiet_since: memory.quiet_since,
                slots: slots
                    .iter()
                    .filter(|slot| *slot.service == *spec.name)
                    .map(|s| Slot {
                        id: s.id,
                        state: s.state,
                        since: s.since,
                        device: s.device,
                    })
                    .collect(),
                need: MemoryNeed {
                    slot_bytes: spec.slot_memory_bytes,
                    shared_bytes: 0,
                },
                history: memory.history.clone(),
                starts_held_until: self.pool.held_until(&spec.name),
                stopping,
            }
        };
        Snapshot {
            services: self.specs.iter().zip(memories).map(service).collect(),
            devices: self.devices.clone(),
        }
    }

    fn keep(&self, spec: &ServiceSpec, memory: &mut Memory, report: ServiceReport) {
        memory.history = report.history;
        let reason = report
            .max_reason
            .map(|reason| reason.to_string())
            .or_else(|| report.mismatch.map(|mismatch| mismatch.to_string()));
        if reason != memory.reason {
            if let Some(reason) = &reason {
                tracing::info!(service = spec.name, max = report.max, reason, "slots");
            }
            memory.reason.clone_from(&reason);
        }
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.insert(
            spec.name.clone(),
            ScalingReport {
                max: report.max,
                reason,
            },
        );
    }

    async fn carry_out(&self, action: Action) {
        match action {
            Action::Start { service, device } => {
                if let Some(spec) = self.specs.get(service) {
                    tracing::debug!(service = spec.name, device = device.0, "a slot starts");
                    self.pool.start(&spec.name, device).await;
                }
            }
            Action::Stop { slot } => {
                tracing::debug!(slot = slot.0, "an idle slot goes");
                self.pool.stop(slot).await;
            }
            Action::Drain { slot } => {
                tracing::debug!(slot = slot.0, "a busy slot goes when it has finished");
                self.pool.set_draining(slot, true).await;
            }
            Action::Undrain { slot } => {
                tracing::debug!(slot = slot.0, "a slot stays");
                self.pool.set_draining(slot, false).await;
            }
        }
    }

    /// Slots of a service in one state, for the metrics.
    pub fn count_slots(&self, service: &str, state: SlotState) -> usize {
        let slots = self.pool.statuses();
        slots
            .iter()
            .filter(|slot| &*slot.service == service && slot.state == state)
            .count()
    }
}

impl Memory {
    fn new(start: Duration) -> Self {
        Self {
            history: History::starting_at(start),
            quiet_since: Some(start),
            puts: VecDeque::new(),
            reason: None,
        }
    }

    fn note(&mut self, counts: &Counts, now: Duration, new_second: bool) {
        if counts.waiting + counts.in_hand > 0 {
            self.quiet_since = None;
        } else {
            self.quiet_since.get_or_insert(now);
        }
        if new_second || self.puts.is_empty() {
            self.puts.push_back(counts.puts);
            if self.puts.len() > RATE_WINDOW + 1 {
                self.puts.pop_front();
            }
        }
    }

    fn puts_per_second(&self) -> f64 {
        match (self.puts.front(), self.puts.back()) {
            (Some(first), Some(last)) => (last - first) as f64 / RATE_WINDOW as f64,
            _ => 0.0,
        }
    }
}
