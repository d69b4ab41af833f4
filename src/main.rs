//! The program: arguments in, exit code out.

use clap::Parser;
use jiesu::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jiesu: {error:#}");
            ExitCode::FAILURE
        }
    }
}
