//! The program `mobilenet`: parses the command line, sets the number of threads, runs one command.

mod args;
mod bench;
mod block_times;
mod choose;
mod classifier;
mod cuda_bench;
mod cuda_plan;
mod data;
mod device;
mod environment;
mod eval;
mod export;
mod flags;
mod interrupt;
mod kernels;
mod model_file;
mod output;
mod predict;
mod progress;
mod recipe;
mod report;
mod request;
mod roofline;
mod run;
mod step_profile;
mod summary;
mod teacher;
mod threads;
mod train;
mod weights;

use std::process::ExitCode;

use clap::error::ErrorKind;

use args::{Cli, Command};
use mobilenet_kernels::Level;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) if error.kind() == ErrorKind::ValueValidation => {
            // The first line says it all; clap would add a paragraph about `--help`.
            let text = error.to_string();
            report(text.lines().next().unwrap_or("error: bad argument"));
            return ExitCode::from(2);
        }
        Err(error) => error.exit(),
    };
    // The kernels ignore a name that they cannot follow.
    if let Err(error) = Level::from_env() {
        report(&format!("error: {}: {error}", Level::VARIABLE));
        return ExitCode::from(2);
    }
    match threads::set(cli.threads) {
        Ok(None) => {}
        Ok(Some(status)) => return status,
        Err(error) => {
            report(&format!("error: {}", one_line(&error)));
            return ExitCode::from(2);
        }
    }
    interrupt::watch();
    let done = match cli.command {
        Command::Summary(args) => summary::run(&args),
        Command::Train(mut args) => args.source.fetch().and_then(|()| train::run(&args)),
        Command::Eval(mut args) => args.source.fetch().and_then(|()| eval::run(&args)),
        Command::Export(args) => export::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Weights(args) => weights::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Roofline(args) => roofline::run(&args),
        Command::Data(mut args) => args.source.fetch().and_then(|()| data::run(&args)),
        Command::Choose(args) => choose::run(&args),
        Command::Report(args) => report::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough (`| head`): not a failure.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<interrupt::Stopped>() {
            Some(stopped) => {
                report(&stopped.to_string());
                ExitCode::from(stopped.signal.exit_code())
            }
            None => {
                report(&format!("error: {}", one_line(&error)));
                ExitCode::FAILURE
            }
        },
    }
}

/// An error and its causes on one line.
fn one_line(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = flags::said(cause).lines().map(str::trim).collect::<Vec<_>>().join(" ");
        // Many errors already end with their cause.
        if !parts.last().is_some_and(|last| last.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

/// A line on stderr.
fn report(line: &str) {
    output::note(&output::short_numbers(line));
}
