//! `photog serve`: the appliance.

mod manager;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, builder::TypedValueParser as _};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{Notify, watch},
};

use crate::{
    config::{Config, Settings},
    domain::{Secret, ServiceSpec},
    http::{App, AppParts, HostedApps, ServeOptions, Server},
    models::{
        self,
        diffusion::{NetworkLoader, Networks, Setting},
        shelf::Shelf,
        supply::{self, Supply},
    },
    observe::{CommitMetrics, JobMetrics, notify_manager},
    pack::Pack,
    people::People,
    pipeline::lack_of,
    queue::{QueueError, Store, StoreOptions, SystemClock},
    scheduler::{Device, DeviceId},
    services::{self, Machine, Service},
    store::DataFolder,
    workers::{EngineSettings, Engines, Scheduler},
};

use super::{device, out, packs};

/// Largest service JSON file that is read; the reader of service JSON has a smaller limit.
const SERVICE_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How long jobs that were told to stop at once may take to say so.
const CUT_OFF_MAX: Duration = Duration::from_secs(2);

/// Flags of `photog serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address and port to listen on [default: 127.0.0.1:7860]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// EAS service JSON; may be repeated [default: the four built-in services]
    #[arg(long = "service", value_name = "FILE.json")]
    services: Vec<PathBuf>,
    /// Token that opens every address; better given as PHOTOG_TOKEN or in a file
    #[arg(long, value_name = "TOKEN", value_parser = clap::builder::StringValueParser::new().map(Secret::new))]
    token: Option<Secret>,
}

impl ServeArgs {
    pub(super) fn flags(&self) -> Vec<(&'static str, Vec<String>)> {
        let mut flags = Vec::new();
        if let Some(listen) = &self.listen {
            flags.push(("listen", vec![listen.clone()]));
        }
        if let Some(token) = &self.token {
            flags.push(("token", vec![token.expose().to_owned()]));
        }
        if !self.services.is_empty() {
            let paths = self
                .services
                .iter()
                .map(|path| path.to_string_lossy().into_owned());
            flags.push(("services", paths.collect()));
        }
        flags
    }
}

/// Runs until it is told to stop.
pub fn run(args: &ServeArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    if args.token.is_some() {
        tracing::warn!("a token on the command line can be seen by every user of this machine");
    }
    let config = settings.check()?;
    if !config.listen.ip().is_loopback() && config.token.is_none() {
        bail!(
            "{} can be reached from other machines, and there is no token; give one with \
             PHOTOG_TOKEN or `token_file`, or listen on 127.0.0.1",
            config.listen
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("photog-io")
        .build()
        .context("the runtime could not be started")?;
    let ended = runtime.block_on(serve(config));
    // Reading a file for a client that has gone is nothing to wait for.
    runtime.shutdown_timeout(CUT_OFF_MAX);
    ended
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

/// Everything that runs in `photog serve`.
struct Appliance {
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

async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    raise_file_limit();
    let listener = TcpListener::bind(config.listen).await.with_context(|| {
        format!(
            "{} cannot be listened on; is another program there? Choose one with --listen",
            config.listen
        )
    })?;
    let appliance = Appliance::start(&config)?;
    let options = ServeOptions {
        connections_max: config.connections_max,
        header_timeout: config.header_timeout,
        stall_max: config.body_timeout,
    };
    let server = Server::new(listener, appliance.app.clone(), options);
    let address = server.address()?;
    let (close, closed) = watch::channel(false);
    let scheduler = Arc::clone(&appliance.scheduler);
    let mut slots = tokio::spawn(async move { scheduler.run().await });
    let connections = tokio::spawn(server.run(closed));
    announce(address, appliance.supply.pack())?;
    let (stopping, is_stopping) = watch::channel(false);
    tokio::spawn(manager::keep_informed(
        appliance.store.clone(),
        Arc::clone(&appliance.scheduler),
        is_stopping,
    ));

    tokio::select! {
        () = stop.next() => {}
        ended = &mut slots => {
            ended?.context("the scheduler failed")?;
            bail!("the scheduler ended by itself; this is a bug");
        }
    }
    manager::tell_stopping();
    stopping.send_replace(true);
    let finished = appliance.stop_in_good_order(&mut stop, &mut slots).await;
    close.send_replace(true);
    connections.await?;
    appliance.store.close().await;
    Ok(if finished {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Appliance {
    /// Opens the data folder and the store and prepares the services.
    fn start(config: &Config) -> anyhow::Result<Self> {
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

    /// Takes nothing new and lets running work finish. True when all of it did.
    async fn stop_in_good_order(
        &self,
        stop: &mut StopSignals,
        slots: &mut tokio::task::JoinHandle<Result<(), QueueError>>,
    ) -> bool {
        self.app.stop();
        self.scheduler.stop().await;
        let running = self.scheduler.pool().running();
        if running > 0 {
            tracing::info!(running, limit = ?self.stop_limit, "stopping when running work is done; a second signal stops at once");
        }
        tokio::select! {
            ended = &mut *slots => {
                let failure = ended.map_err(anyhow::Error::from).and_then(|ended| Ok(ended?)).err();
                if let Some(failure) = &failure {
                    tracing::error!(%failure, "the scheduler failed while it was stopping");
                }
                return failure.is_none();
            }
            () = stop.next() => {}
            () = tokio::time::sleep(self.stop_limit) => {}
        }
        let cut_off = self.scheduler.pool().cut_off_all();
        tracing::warn!(
            cut_off,
            "stopping at once; what was cut off ends as INTERRUPTED"
        );
        // A job that does not listen is ended by the next start of the program.
        let _ = tokio::time::timeout(CUT_OFF_MAX, slots).await;
        cut_off == 0
    }
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

/// SIGTERM and SIGINT.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened to");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
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

/// Says on standard output, to people and to programs that wait for it, where the server is, and if
/// its networks are those of a pack. All at once: who has read the first line may close the pipe.
fn announce(address: SocketAddr, pack: Option<Pack>) -> anyhow::Result<()> {
    let mut said = format!("photog listening on http://{address}");
    if let Some(pack) = pack {
        said = format!("{said}\nResults are {}", supply::notice(pack));
    }
    out::line(&said)?;
    notify_manager("READY=1\nSTATUS=serving");
    Ok(())
}
