//! `photog serve`: the appliance, until it is told to stop.

mod manager;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context as _, bail};
use clap::{Args, builder::TypedValueParser as _};
use tokio::sync::watch;

use crate::{
    config::{Config, Settings},
    domain::Secret,
    models::supply,
    observe::notify_manager,
    pack::Pack,
};

use super::{
    appliance::{Appliance, CUT_OFF_MAX},
    out,
    signals::StopSignals,
};

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

async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    let mut appliance = Appliance::start(&config).await?;
    announce(appliance.address(), appliance.pack())?;
    let (stopping, is_stopping) = watch::channel(false);
    tokio::spawn(manager::keep_informed(
        appliance.store().clone(),
        Arc::clone(appliance.scheduler()),
        is_stopping,
    ));
    tokio::select! {
        () = stop.next() => {}
        failure = appliance.failure() => return Err(failure),
    }
    manager::tell_stopping();
    stopping.send_replace(true);
    let finished = appliance.stop_in_good_order(&mut stop).await?;
    Ok(if finished {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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
