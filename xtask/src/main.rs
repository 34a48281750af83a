//! Project tasks, started as `cargo xtask <command>`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program speaks through the terminal")]

mod compare;
mod files;
mod peers;
mod stop;

use std::process::ExitCode;

use clap::Parser;

/// Tasks of this workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
enum Cli {
    Compare(compare::Args),
    Peers(peers::Args),
}

fn main() -> ExitCode {
    stop::watch();
    let done = match Cli::parse() {
        Cli::Compare(args) => compare::run(&args),
        Cli::Peers(args) => peers::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<stop::Stopped>() {
            Some(stopped) => {
                eprintln!("{stopped}");
                ExitCode::from(stopped.exit_code())
            }
            None => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}
