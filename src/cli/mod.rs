//! The command line: one file per command. A command returns its exit code or one error, which
//! `main` prints as one line.

mod appliance;
mod check;
mod config;
mod demo;
mod device;
mod doctor;
mod generate;
mod models;
mod options;
mod out;
mod packs;
mod people;
mod portrait;
mod progress;
mod serve;
mod signals;
mod train;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::Settings;

/// A self-hosted AI-portrait studio: checks photos, trains a LoRA of a person, makes portraits.
///
/// Settings come from defaults, then a file, then environment variables PHOTOG_*, then flags;
/// `photog config` lists them all with their sources.
#[derive(Debug, Parser)]
#[command(name = "photog", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
struct Common {
    /// Folder of database, models, people and portraits [default: ./photog-data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Configuration file (TOML) [environment: PHOTOG_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Device to work on [default: auto]
    #[arg(long, global = true, value_name = "auto|cpu|cuda|cuda:N")]
    device: Option<String>,
    /// Networks that are built into photog, instead of those of the data folder [default: auto]
    #[arg(long, global = true, value_name = "auto|none|demo")]
    pack: Option<String>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Say more in the log; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try everything on drawn people: check, train, portraits, and a report of it all
    Demo(demo::DemoArgs),
    /// Run the appliance: queues, services, HTTP
    Serve(serve::ServeArgs),
    /// Judge photos by the rules for training pictures
    Check(check::CheckArgs),
    /// Train a person: photos to a LoRA
    Train(Box<train::TrainArgs>),
    /// Make a portrait: trained persons in the place of the faces of a picture
    Portrait(Box<portrait::PortraitArgs>),
    /// Make pictures from words, or from a picture and words
    Generate(Box<generate::GenerateArgs>),
    /// List, fetch, import and verify the networks that photog works with
    Models(models::ModelsArgs),
    /// List, show and remove trained persons
    People(people::PeopleArgs),
    /// Check folders, database, port, clock, disk and device
    Doctor,
    /// List the effective settings and where each came from
    Config,
    /// Print the completion script of a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Runs the command.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { common, command } = cli;
    // What the demo's appliance has to say is for operators, and would stand between the bars.
    let quiet = matches!(command, Command::Demo(_));
    crate::observe::start_log(common.verbose, quiet);
    match command {
        Command::Demo(args) => demo::run(&args, &common),
        Command::Serve(args) => serve::run(&args, &common.settings(args.flags())?),
        Command::Check(args) => check::run(&args, &common.settings(vec![])?, common.json),
        Command::Train(args) => train::run(&args, &common.settings(vec![])?, common.json),
        Command::Portrait(args) => portrait::run(&args, &common.settings(vec![])?, common.json),
        Command::Generate(args) => generate::run(&args, &common.settings(vec![])?, common.json),
        Command::Models(args) => models::run(&args, &common.settings(vec![])?, common.json),
        Command::People(args) => people::run(&args, &common.settings(vec![])?, common.json),
        Command::Doctor => doctor::run(&common.settings(vec![])?, common.json),
        Command::Config => config::run(&common.settings(vec![])?, common.json),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "photog", &mut script);
            out::bytes(&script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl Common {
    /// All settings, with these flags of the command.
    fn settings(&self, mut flags: Vec<(&'static str, Vec<String>)>) -> anyhow::Result<Settings> {
        if let Some(folder) = &self.data_dir {
            flags.push(("data_dir", vec![folder.to_string_lossy().into_owned()]));
        }
        if let Some(device) = &self.device {
            flags.push(("device", vec![device.clone()]));
        }
        if let Some(pack) = &self.pack {
            flags.push(("pack", vec![pack.clone()]));
        }
        let file = self
            .config
            .clone()
            .or_else(|| std::env::var_os("PHOTOG_CONFIG").map(PathBuf::from));
        // Variables that are not valid Unicode are none of ours.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Ok(Settings::collect(file.as_deref(), environment, flags)?)
    }
}
