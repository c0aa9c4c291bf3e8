//! The appliance inside this process: queues, services, slots, HTTP. `photog serve` runs it until it is
//! told to stop, and `photog demo` until it has seen enough.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    task::JoinHandle,
};

use crate::{
    config::Config,
    domain::ServiceSpec,
    http::{App, AppParts, HostedApps, ServeOptions, Server},
    models::{
        self,
        diffusion::{NetworkLoader, Networks, Setting},
        shelf::Shelf,
        supply::{self, Supply},
    },
    observe::{CommitMetrics, JobMetrics},
    pack::Pack,
    people::People,
    pipeline::lack_of,
    queue::{QueueError, Store, StoreOptions, SystemClock},
    scheduler::{Device, DeviceId},
    services::{self, Machine, Service},
    store::DataFolder,
    workers::{EngineSettings, Engines, Scheduler},
};

use super::{device, packs, signals::StopSignals};

/// Largest service JSON file that is read; the reader of service JSON has a smaller limit.
const SERVICE_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How long jobs that were told to stop at once may take to say so.
pub(super) const CUT_OFF_MAX: Duration = Duration::from_secs(2);

/// Everything that runs.
pub(super) struct Appliance {
    parts: Parts,
    address: SocketAddr,
    slots: JoinHandle<Result<(), QueueError>>,
    connections: JoinHandle<()>,
    /// Ends the connections.
    close: watch::Sender<bool>,
}

/// What it consists of, before anything of it moves.
struct Parts {
    store: Store,
    scheduler: Arc<Scheduler>,
    app: App,
    /// From where networks come.
    supply: Supply,
    /// How long a stop waits for running work.
    stop_limit: Duration,
    /// Keeps the data folder ours.
    _lock: std::fs::File,
}

impl Appliance {
    /// Opens the data folder, prepares the services and accepts connections. Must be called inside a
    /// tokio runtime.
    pub(super) async fn start(config: &Config) -> anyhow::Result<Self> {
        raise_file_limit();
        let listener = TcpListener::bind(config.listen).await.with_context(|| {
            format!(
                "{} cannot be listened on; is another program there? Choose one with --listen",
                config.listen
            )
        })?;
        let parts = Parts::open(config)?;
        let options = ServeOptions {
            connections_max: config.connections_max,
            header_timeout: config.header_timeout,
            stall_max: config.body_timeout,
        };
        let server = Server::new(listener, parts.app.clone(), options);
        let address = server.address()?;
        let (close, closed) = watch::channel(false);
        let scheduler = Arc::clone(&parts.scheduler);
        Ok(Self {
            parts,
            address,
            slots: tokio::spawn(async move { scheduler.run().await }),
            connections: tokio::spawn(server.run(closed)),
            close,
        })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The pack that its networks come from now.
    pub(super) fn pack(&self) -> Option<Pack> {
        self.parts.supply.pack()
    }

    /// Its queues.
    pub(super) fn store(&self) -> &Store {
        &self.parts.store
    }

    /// Its slots.
    pub(super) fn scheduler(&self) -> &Arc<Scheduler> {
        &self.parts.scheduler
    }

    /// Waits until it ends without having been told to, and says why.
    pub(super) async fn failure(&mut self) -> anyhow::Error {
        match (&mut self.slots).await {
            Ok(Ok(())) => anyhow!("the scheduler ended by itself; this is a bug"),
            Ok(Err(error)) => anyhow::Error::from(error).context("the scheduler failed"),
            Err(error) => anyhow::Error::from(error).context("the scheduler failed"),
        }
    }

    /// Takes nothing new, lets running work finish, and ends. True when all of it did; a signal stops
    /// at once.
    pub(super) async fn stop_in_good_order(
        mut self,
        stop: &mut StopSignals,
    ) -> anyhow::Result<bool> {
        let finished = self.finish_work(stop).await;
        self.end().await?;
        Ok(finished)
    }

    /// Ends without waiting for running work, which ends as `INTERRUPTED`.
    pub(super) async fn stop_at_once(mut self) -> anyhow::Result<()> {
        self.parts.app.stop();
        self.parts.scheduler.stop().await;
        self.cut_off().await;
        self.end().await
    }

    async fn finish_work(&mut self, stop: &mut StopSignals) -> bool {
        let Parts {
            app,
            scheduler,
            stop_limit,
            ..
        } = &self.parts;
        app.stop();
        scheduler.stop().await;
        let running = scheduler.pool().running();
        if running > 0 {
            tracing::info!(running, limit = ?stop_limit, "stopping when running work is done; a second signal stops at once");
        }
        tokio::select! {
            ended = &mut self.slots => {
                let failure = ended.map_err(anyhow::Error::from).and_then(|ended| Ok(ended?)).err();
                if let Some(failure) = &failure {
                    tracing::error!(%failure, "the scheduler failed while it was stopping");
                }
                return failure.is_none();
            }
            () = stop.next() => {}
            () = tokio::time::sleep(*stop_limit) => {}
        }
        self.cut_off().await == 0
    }

    /// Tells running jobs to stop and waits a moment for them. How many there were.
    async fn cut_off(&mut self) -> usize {
        let cut_off = self.parts.scheduler.pool().cut_off_all();
        tracing::warn!(
            cut_off,
            "stopping at once; what was cut off ends as INTERRUPTED"
        );
        // A job that does not listen is ended by the next start of the program.
        let _ = tokio::time::timeout(CUT_OFF_MAX, &mut self.slots).await;
        cut_off
    }

    async fn end(self) -> anyhow::Result<()> {
        self.close.send_replace(true);
        self.connections.await?;
        self.parts.store.close().await;
        Ok(())
    }
}

impl Parts {
    /// Opens the data folder and the store and prepares the services.
    fn open(config: &Config) -> anyhow::Result<Self> {
        let folder = DataFolder::open(&config.data_dir).with_context(|| {
            format!(
                "the data folder {} cannot be used",
                config.data_dir.display()
            )
        })?;
        let lock = folder
            .lock()
            .ok_or_else(|| QueueError::InUse(folder.root().to_owned()))?;
        let services = load_services(config, &folder)?;
        let people = People::new(folder.clone());
        if let Err(error) = people.settle() {
            tracing::warn!(%error, "a person whose publication or removal was cut off is left as it is until the next start");
        }
        let specs: Vec<ServiceSpec> = services
            .iter()
            .map(|service| service.spec.clone())
            .collect();
        let device = device::choose(config.device).map_err(anyhow::Error::msg)?;
        let supply = packs::of_server(config, folder.root());
        let shelf = Shelf::new(supply.clone(), device);
        let networks = networks(config, supply.clone(), device);
        let (changed, commits, jobs) = (
            Arc::new(Notify::new()),
            CommitMetrics::default(),
            JobMetrics::default(),
        );
        let store = Store::open(
            StoreOptions {
                retention: config.retention.clone(),
                disk_reserve_bytes: config.disk_reserve_bytes,
                metrics: commits.clone(),
                changed: Arc::clone(&changed),
                ..StoreOptions::below(folder.root())
            },
            &specs,
        )?;
        let settings = EngineSettings {
            shelf: shelf.clone(),
            networks: networks.clone(),
            data_root: folder.root().to_owned(),
            buckets: config.buckets.clone(),
            network: config.network.clone(),
            words: config.words.clone(),
        };
        let engines = Engines::new(&specs, &settings)?;
        let scheduler = Arc::new(Scheduler::new(
            store.clone(),
            engines,
            &specs,
            vec![scheduled(config, device)],
            Arc::new(SystemClock),
            jobs.clone(),
            Arc::clone(&changed),
        ));
        tell(&shelf, device, &specs);
        let longest = specs
            .iter()
            .map(|spec| spec.keepalive)
            .max()
            .unwrap_or_default();
        let app = App::new(AppParts {
            store: store.clone(),
            scheduler: Arc::clone(&scheduler),
            services,
            token: config.token.clone(),
            apps: HostedApps {
                tokens: config.apps.clone(),
                clock_difference_max: config.app_clock_difference_max,
            },
            people,
            changed,
            commits,
            jobs,
            body_idle: config.body_timeout,
            shelf,
            sd_models: Arc::new(networks),
            sd_options: folder.webui().join("options.json"),
        });
        let stop_limit = config.stop_limit.unwrap_or(longest);
        Ok(Self {
            store,
            scheduler,
            app,
            supply,
            stop_limit,
            _lock: lock,
        })
    }
}

/// The networks that make pictures, with a limit to what stays loaded.
fn networks(config: &Config, supply: Supply, device: models::backend::Device) -> Networks {
    let memory = rustix::system::sysinfo();
    let half = memory.totalram as u64 * u64::from(memory.mem_unit) / 2;
    let limit = config.models_memory_bytes.unwrap_or(match device {
        models::backend::Device::Cpu => half,
        // What does not fit is found when it is loaded, and then the unused make room.
        models::backend::Device::Cuda(_) => u64::MAX,
    });
    Networks::new(supply, NetworkLoader::new(Setting::new(device)), limit)
}

/// Every connection is a file; the usual limit is for programs that have few, and may be raised up
/// to a limit that the operator sets.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files could not be raised");
    }
}

fn load_services(config: &Config, folder: &DataFolder) -> anyhow::Result<Vec<Service>> {
    let machine = Machine {
        store_bytes: config.store_bytes,
        free_disk_bytes: folder.free_bytes().unwrap_or(u64::MAX),
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
        device_slots: config.device_slots,
    };
    let mut loaded = Vec::new();
    if config.services.is_empty() {
        for text in services::built_in() {
            loaded.push(services::load(text, &machine)?);
        }
    }
    for path in &config.services {
        let name = || format!("the service file {}", path.display());
        let size = std::fs::metadata(path).with_context(name)?.len();
        if size > SERVICE_FILE_BYTES_MAX {
            bail!(
                "{} has {size} bytes, more than a service JSON can have",
                name()
            );
        }
        let text = std::fs::read_to_string(path).with_context(name)?;
        loaded.push(services::load(&text, &machine).with_context(name)?);
    }
    services::check_set(&loaded)?;
    Ok(loaded)
}

fn scheduled(config: &Config, device: models::backend::Device) -> (Device, String) {
    let scheduled = Device {
        id: DeviceId(0),
        slots_max: config.device_slots,
        memory_bytes: config.device_memory_bytes,
        memory_free_bytes: None,
    };
    (scheduled, device.to_string())
}

/// Tells the operator what runs and what is missing.
fn tell(shelf: &Shelf, device: models::backend::Device, specs: &[ServiceSpec]) {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), data = %shelf.folder().display(), %device, "photog starts");
    if let Some(pack) = shelf.supply().pack() {
        tracing::warn!(%pack, "results are {}", supply::notice(pack));
    }
    for spec in specs {
        let role = spec.role.map_or("none", crate::domain::Role::as_str);
        tracing::info!(
            service = spec.name,
            kind = spec.kind.as_str(),
            role,
            "service"
        );
        if let Some(lack) = spec.role.and_then(|role| lack_of(role, shelf)) {
            tracing::warn!(service = spec.name, "{}", lack.text);
        }
    }
}
