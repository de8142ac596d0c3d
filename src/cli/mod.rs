//! The command line: one file per command. Only this folder speaks to the terminal.
//!
//! Exit codes: 0 all well, 1 something was found wrong, 2 the command was used wrongly.

/// What all commands print by, instead of the standard library's macro of this name: what customers call themselves must not
/// command an operator's terminal, and no command can forget it. See `output::print`.
macro_rules! println {
    () => { $crate::cli::output::print(std::io::stdout(), format_args!("\n")) };
    ($($what:tt)*) => { $crate::cli::output::print(std::io::stdout(), format_args!("{}\n", format_args!($($what)*))) };
}

/// The same without the end of the line.
macro_rules! print {
    ($($what:tt)*) => { $crate::cli::output::print(std::io::stdout(), format_args!($($what)*)) };
}

/// The same for standard error.
macro_rules! eprintln {
    ($($what:tt)*) => { $crate::cli::output::print(std::io::stderr(), format_args!("{}\n", format_args!($($what)*))) };
}

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::Config;
use crate::domain::clock::Timestamp;
use crate::domain::diagnostic::Diagnostic;
use crate::stores::sqlite::{Access, SqliteFiles};

mod backup;
mod beside;
mod check;
mod config;
mod connectors;
mod customers;
mod deliveries;
mod demo;
mod doctor;
mod events;
mod import;
mod joined;
mod merges;
mod models;
mod output;
mod page;
mod past;
mod plugins;
mod quarantine;
mod rebuild;
mod reference;
mod replay;
mod restore;
mod rules;
mod run;
mod segments;
mod summary;
mod tasks;
mod test;
mod why;
mod why_not;

/// rekindle keeps a company's customers: events in, one profile each, models and rules decide, every message once.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Demo(demo::Demo),
    Import(import::Import),
    Plugins(plugins::Plugins),
    Check(check::Check),
    Config(config::ConfigCommand),
    Test(test::Test),
    Customers(customers::Customers),
    Events(events::Events),
    Segments(segments::Segments),
    Rules(rules::Rules),
    Deliveries(deliveries::Deliveries),
    Models(models::Models),
    Why(why::Why),
    WhyNot(why_not::WhyNot),
    Connectors(connectors::Connectors),
    Doctor(doctor::Doctor),
    Backup(backup::Backup),
    Rebuild(rebuild::Rebuild),
    Merges(merges::Merges),
    Tasks(tasks::Tasks),
    Quarantine(quarantine::Quarantine),
    Reference(reference::Reference),
}

/// What every command takes.
#[derive(Debug, Args)]
struct Common {
    /// The configuration file.
    #[arg(long, default_value = "config.toml", value_name = "FILE", global = true)]
    config: PathBuf,
}

/// What a command that lists takes.
#[derive(Debug, Args)]
struct Listing {
    #[command(flatten)]
    common: Common,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// How a command ended, when it did not fail.
enum Ended {
    Well,
    /// It did what it was asked to and found something wrong.
    FoundWrong,
}

/// Something wrong with a file that a person wrote: shown as it is, without "error:" around it.
#[derive(Debug)]
struct Wrong(Vec<Diagnostic>);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Wrong {}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime could not be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        match cli.command {
            Command::Run(command) => command.run().await,
            Command::Demo(command) => command.run().await,
            Command::Import(command) => command.run().await,
            Command::Plugins(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Config(command) => command.run(),
            Command::Test(command) => command.run(),
            Command::Customers(command) => command.run().await,
            Command::Events(command) => command.run().await,
            Command::Segments(command) => command.run().await,
            Command::Rules(command) => command.run().await,
            Command::Deliveries(command) => command.run().await,
            Command::Models(command) => command.run().await,
            Command::Why(command) => command.run().await,
            Command::WhyNot(command) => command.run().await,
            Command::Connectors(command) => command.run().await,
            Command::Doctor(command) => command.run().await,
            Command::Backup(command) => command.run().await,
            Command::Rebuild(command) => command.run().await,
            Command::Merges(command) => command.run().await,
            Command::Tasks(command) => command.run().await,
            Command::Quarantine(command) => command.run().await,
            Command::Reference(command) => command.run(),
        }
    });
    match ended {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::FoundWrong) => ExitCode::from(1),
        Err(error) => {
            match error.downcast_ref::<Wrong>() {
                Some(wrong) => eprintln!("{wrong}"),
                None => eprintln!("error: {error:#}"),
            }
            ExitCode::from(1)
        }
    }
}

/// Every command with its arguments, as the reference page shows them.
fn command_tree() -> clap::Command {
    let mut tree = Cli::command();
    tree.build();
    tree
}

/// The environment, read once.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

fn load_config(path: &Path) -> anyhow::Result<Config> {
    Config::load(path, &environment()).map_err(|problems| Wrong(problems).into())
}

/// The configuration and its data, to look at.
async fn look(common: &Common) -> anyhow::Result<(Config, SqliteFiles)> {
    let config = load_config(&common.config)?;
    let files = SqliteFiles::open(&config.store.path, Access::Look).await?;
    Ok((config, files))
}

/// The same for a listing.
async fn look_with(listing: &Listing) -> anyhow::Result<(Config, SqliteFiles)> {
    look(&listing.common).await
}

/// An instant as the business reads its clocks.
fn local(at: Timestamp, config: &Config) -> String {
    let zone = config.business.business().map_or(jiff::tz::TimeZone::UTC, |b| b.zone);
    at.in_zone(&zone).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Logs to standard error: text for people, or JSON lines for programs.
fn start_logging(json: bool, default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("REKINDLE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    if json {
        builder.json().init();
    } else {
        builder.init();
    }
    std::panic::set_hook(Box::new(|panic| {
        // A message that was put together may hold what a customer typed; one that stands in the code cannot.
        let words =
            panic.payload().downcast_ref::<&str>().copied().unwrap_or("its message may hold data and is not shown");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a bug: {words}; please report it");
    }));
}
