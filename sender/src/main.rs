//! The program `waxseal`; everything is in the library's `cli` module.

use std::process::ExitCode;

use clap::Parser;
use waxseal_sender::cli::Cli;

/// Each delivery makes and drops a few hundred short-lived allocations on several threads; the system's allocator took
/// a seventh of the program's CPU time for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("waxseal: {error}");
            ExitCode::from(error.status())
        }
    }
}
