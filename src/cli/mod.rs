//! The command line: `serve`, `check`, `diff`, `reload`, `agent`, `verify`, `explain`, `simulate`.
//!
//! Owns arguments, what is printed and exit codes. Errors go to standard error with their cure.

mod agent;
mod control;
mod explain;
mod reload;
mod seat;
mod serve;
mod simulate;
mod verify;

use crate::config::{Config, ConfigErrors};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Jiesu 接诉: the telephony and CTI engine of a 12345 citizen hotline.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration; `sip-profiles/` and `ivr-flows/` stand beside it.
    #[arg(long, default_value = "jiesu.toml", global = true)]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hotline until SIGTERM or SIGINT; a second signal ends running calls. SIGHUP reads the files again.
    Serve {
        #[command(flatten)]
        file: ConfigFile,
        /// Simulated citizens and agents call and answer over loopback.
        #[arg(long)]
        demo: bool,
    },
    /// Read the whole configuration and tell every mistake with file, line and cure.
    Check {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Check, and tell what a reload would change in the running node: which queues, trunks, numbers … and which of their
    /// keys. Changes nothing; code 1 when a reload would be refused.
    Diff {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Let the running node take the files as they are now, wholly or not at all; tells what changed. Code 1: nothing did.
    Reload {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Agents and their phones; a running engine takes changes within a second.
    Agent {
        #[command(flatten)]
        file: ConfigFile,
        #[command(subcommand)]
        action: agent::Action,
    },
    /// Seats: phones that belong to a desk, for agents who log in to them; a running engine takes changes within a second.
    Seat {
        #[command(flatten)]
        file: ConfigFile,
        #[command(subcommand)]
        action: seat::Action,
    },
    /// Tell where calls, orders, recordings, files, manifest and journal do not agree; code 1 if anywhere.
    Verify {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        arguments: verify::Arguments,
    },
    /// Tell how one call found its agent: for each decision who was eligible, who was not and why, and which rule chose.
    /// Reads the files and the database; no engine need run.
    Explain {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        arguments: explain::Arguments,
    },
    /// Run a day of generated calls through the site's queues: what would happen, how many agents would be needed.
    Simulate {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        arguments: simulate::Arguments,
    },
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// What to print before ending with code 1.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve { file, demo } => serve::run(file.config.clone(), load(&file)?, demo),
            Command::Check { file } => {
                let config = load(&file)?;
                if !config.unusable.is_empty() {
                    return Err(ConfigErrors(config.unusable).into());
                }
                let (sites, listeners, trunks) = (config.sites.len(), config.listeners.len(), config.trunks.len());
                println!("{}: good ({sites} sites, {listeners} listeners, {trunks} trunks)", file.config.display());
                Ok(())
            }
            Command::Diff { file } => reload::run(&file.config, control::Wanted::Diff),
            Command::Reload { file } => reload::run(&file.config, control::Wanted::Reload),
            Command::Agent { file, action } => agent::run(&load(&file)?, action),
            Command::Seat { file, action } => seat::run(&load(&file)?, action),
            Command::Verify { file, arguments } => verify::run(&load(&file)?, &arguments),
            Command::Explain { file, arguments } => explain::run(&load(&file)?, &arguments),
            Command::Simulate { file, arguments } => simulate::run(&load(&file)?, &arguments),
        }
    }
}

fn load(file: &ConfigFile) -> Result<Config, ConfigErrors> {
    Config::load(&file.config)
}
