//! Building the `mobilenet` binary, once, and finding it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::stop;

/// Builds the binary in release mode and returns its path; cargo's progress goes to the terminal.
pub fn mobilenet(features: &[&str]) -> Result<PathBuf> {
    let features = features.join(",");
    let more: &[&str] = if features.is_empty() { &[] } else { &["--features", &features] };
    built("mobilenet", &[&["--package", "mobilenet-cli"], more].concat())
}

/// Builds the Rust side of the runtime's measurements, with tract if that is to be measured.
pub fn peer(with_tract: bool) -> Result<PathBuf> {
    let more: &[&str] = if with_tract { &["--features", "tract"] } else { &[] };
    built("mobilenet-peer", &[&["--package", "mobilenet-peer"], more].concat())
}

fn built(name: &str, what: &[&str]) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--release", "--message-format=json-render-diagnostics"])
        .args(what)
        .arg("--manifest-path")
        .arg(workspace_root().join("Cargo.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let output = stop::output(&mut command).context("cannot start cargo")?;
    stop::check()?;
    if !output.status.success() {
        bail!("{name} does not build; cargo's messages are above");
    }
    executable(name, &String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("cargo has built {name} but does not say where it is"))
}

/// The root of this workspace.
pub fn workspace_root() -> PathBuf {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or(manifest.clone(), PathBuf::from)
}

/// The executable of a target, named in cargo's messages, one JSON object a line.
fn executable(name: &str, messages: &str) -> Option<PathBuf> {
    messages.lines().rev().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        (message.pointer("/target/name")? == name).then_some(())?;
        message["executable"].as_str().map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_executable_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"mobilenet_data"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"mobilenet"},"executable":"/t/release/mobilenet"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable("mobilenet", messages), Some(PathBuf::from("/t/release/mobilenet")));
        assert_eq!(executable("mobilenet", "not json\n{}"), None);
    }
}
