//! Summaries that were committed with comparisons are still what comes out, byte for byte.

use std::fs;
use std::path::Path;

use mobilenet_arch::{Arch, ModelConfig, Network, Preset, Summary, summary};

#[test]
fn summaries_are_those_of_committed_runs() {
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runs");
    let mut compared = Vec::new();
    for run in fs::read_dir(runs).unwrap() {
        for file in fs::read_dir(run.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let Some(key) = name.strip_prefix("summary-").and_then(|name| name.strip_suffix(".json")) else { continue };
            let (key, preset) = match key.strip_suffix("-imagenet") {
                Some(key) => (key, Preset::Imagenet),
                None => (key, Preset::Cifar),
            };
            let network: Network = key.parse().unwrap();
            let committed = fs::read_to_string(&path).unwrap();
            let read: Summary = serde_json::from_str(&committed).unwrap();
            let config = ModelConfig {
                width_mult: network.width.factor(),
                ..ModelConfig::new(network.arch, read.num_classes, preset)
            };
            let made = summary(&config, (read.input[1], read.input[2])).unwrap();
            assert_eq!(serde_json::to_string(&made).unwrap(), committed.trim_end(), "{}", path.display());
            assert_eq!(read, made, "{}", path.display());
            compared.push(network.arch);
        }
    }
    let missing: Vec<Arch> =
        Arch::LADDER.into_iter().chain([Arch::V3Small]).filter(|arch| !compared.contains(arch)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
