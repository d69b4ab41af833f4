//! The program: arguments in, exit code out.

use clap::Parser;
use jiesu::cli::Cli;
use std::process::ExitCode;

/// Messages, facts and batches are born on one thread and dropped on another: what glibc's arenas are slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jiesu: {error:#}");
            ExitCode::FAILURE
        }
    }
}
