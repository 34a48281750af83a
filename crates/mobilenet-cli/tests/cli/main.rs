//! The program from outside: what it prints, writes and returns.

mod bad_input;
mod commands;
mod common;
#[cfg(unix)]
mod interrupted;
mod techniques;
