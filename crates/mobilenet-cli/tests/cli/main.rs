//! The program from outside: what it prints, writes and returns.

mod bad_input;
mod choose;
mod commands;
mod common;
mod export;
mod fine_tuning;
#[cfg(unix)]
mod interrupted;
mod judge;
mod pictures;
mod report;
mod techniques;
mod weights;
