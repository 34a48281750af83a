//! The finished runs in a folder. Of a run's files only the small ones are read: weights and checkpoints may be gone.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Run;
use crate::compare::artefacts::{self, Eval};
use crate::compare::command::config_mismatch;
use crate::compare::names::Arch;
use crate::compare::origins::Origin;
use crate::compare::plan::{Settings, run_name};
use crate::compare::text::list;

/// Reads one run. One that was trained with other settings than the comparison's is an error.
pub fn read_run(out: &Path, settings: &Settings, arch: Arch, seed: u64) -> Result<(Run, Origin)> {
    let name = run_name(arch, seed);
    let folder = out.join(&name);
    let record = artefacts::read(&folder.join("train.json"))?;
    let mut eval: Eval = artefacts::read(&folder.join("eval.json"))?;
    // Folders name classes like `traffic_light`; people do not.
    eval.classes.iter_mut().for_each(|class| *class = class.replace('_', " "));
    let epochs = artefacts::read_epochs(&folder.join("metrics.jsonl"))?;
    let config: Value = artefacts::read(&folder.join("config.json"))?;
    if let Some((name, found, wanted)) = config_mismatch(&config, settings, seed) {
        bail!("it was trained with {name} = {found}, not {wanted}");
    }
    let copy = config.pointer("/data/copy").and_then(Value::as_str).map(str::to_owned);
    let origin = Origin { what: name.clone(), environment: config["environment"].clone(), copy };
    Ok((Run { seed, name, epochs, record, eval }, origin))
}

/// Adds the networks and seeds of finished runs that the last plan does not name: they were made by an earlier call, or
/// were copied into the folder. Says which.
pub fn extend(settings: &mut Settings, out: &Path) -> Result<Option<String>> {
    let mut seeds = Vec::new();
    let entries = std::fs::read_dir(out).with_context(|| format!("cannot read {}", out.display()))?;
    for entry in entries {
        let name = entry.with_context(|| format!("cannot read {}", out.display()))?.file_name();
        if let Some(seed) = name.to_str().and_then(|name| name.rsplit_once("-s")?.1.parse().ok()) {
            seeds.push(seed);
        }
    }
    seeds.sort_unstable();
    seeds.dedup();
    let mut more = Vec::new();
    for arch in Arch::ALL {
        for &seed in &seeds {
            let planned = settings.models.contains(&arch) && settings.seeds.contains(&seed);
            let folder = out.join(run_name(arch, seed));
            if !planned && folder.join("train.json").exists() && folder.join("eval.json").exists() {
                more.push((arch, seed));
            }
        }
    }
    for &(arch, seed) in &more {
        if !settings.models.contains(&arch) {
            settings.models.push(arch);
        }
        if !settings.seeds.contains(&seed) {
            settings.seeds.push(seed);
        }
    }
    if !more.is_empty() {
        settings.seeds.sort_unstable();
    }
    let names: Vec<_> = more.iter().map(|&(arch, seed)| run_name(arch, seed)).collect();
    Ok((!names.is_empty()).then(|| format!("Beside the runs of the last call this report takes in {}.", list(&names))))
}
