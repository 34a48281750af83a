//! This project's runtime and its peers: latency and throughput of networks that are ready to ship.

mod cell;
mod machine;
mod measure;
mod racer;
mod render;

use anyhow::Result;
use mobilenet_arch::Arch;

use self::cell::RuntimeMeasured;
pub use self::cell::RuntimeProgram;
pub use self::render::{parts_of, render, splice, verdicts};
use super::environment::Environment;

/// Heights and widths of the images.
pub const SIZES: [u64; 2] = [32, 224];

/// What decides the figures of the runtime and its peers.
#[derive(Clone, Debug)]
pub struct RuntimePlan {
    pub models: Vec<Arch>,
    /// The most threads: latency is measured on one and on so many, throughput on so many.
    pub threads: u64,
    /// Images of a batch at 32×32; a quarter of them at 224×224.
    pub batch: u64,
    pub rounds: u64,
    pub programs: Vec<RuntimeProgram>,
    /// The instruction set that all are held to who can be; the best that there is if none is named.
    pub level: Option<String>,
}

impl RuntimePlan {
    /// The call that repeats the measurement.
    pub fn command(&self) -> String {
        let models: Vec<_> = self.models.iter().map(|arch| arch.name()).collect();
        let level = self.level.as_ref().map_or_else(String::new, |level| format!(" --level {level}"));
        let programs = match RuntimeProgram::ALL.iter().all(|program| self.programs.contains(program)) {
            true => String::new(),
            false => format!(" --programs {}", self.programs.iter().map(|p| p.key()).collect::<Vec<_>>().join(",")),
        };
        format!(
            "cargo xtask peers --part runtime --models {} --batch {} --threads {} --rounds {}{programs}{level}",
            models.join(","),
            self.batch,
            self.threads,
            self.rounds,
        )
    }

    /// Environment variables that hold programs to the instruction set, and what they are for. ONNX Runtime has none.
    pub fn environment(&self) -> Vec<(&'static str, &'static str)> {
        let Some(level) = self.level.as_deref() else { return Vec::new() };
        let (one_dnn, torch) = match level {
            "avx2" => ("AVX2", "avx2"),
            "avxvnni" => ("AVX2_VNNI", "avx2"),
            "avx512" => ("AVX512_CORE", "avx512"),
            "avx512vnni" => ("AVX512_CORE_VNNI", "avx512"),
            _ => ("AVX512_CORE_BF16", "avx512"),
        };
        vec![("ONEDNN_MAX_CPU_ISA", one_dnn), ("ATEN_CPU_CAPABILITY", torch)]
    }
}

/// Levels that `--level` takes: the runtime's own names.
pub const LEVELS: [&str; 5] = ["avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16"];

/// Builds the Rust side, writes the networks, and measures.
pub fn run(plan: &RuntimePlan, environment: &Environment) -> Result<RuntimeMeasured> {
    eprintln!("building mobilenet-peer (release) …");
    let peer = crate::compare::build::peer(plan.programs.contains(&RuntimeProgram::Tract))?;
    measure::measure(plan, &peer, environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_holds_the_others_to_it() {
        let plan = |level: Option<&str>| RuntimePlan {
            models: vec![Arch::V2],
            threads: 2,
            batch: 128,
            rounds: 3,
            programs: RuntimeProgram::ALL.to_vec(),
            level: level.map(str::to_owned),
        };
        assert!(plan(None).environment().is_empty());
        let avx2 = plan(Some("avx2"));
        assert_eq!(avx2.environment(), [("ONEDNN_MAX_CPU_ISA", "AVX2"), ("ATEN_CPU_CAPABILITY", "avx2")]);
        assert_eq!(
            avx2.command(),
            "cargo xtask peers --part runtime --models v2 --batch 128 --threads 2 --rounds 3 --level avx2"
        );
        let few = RuntimePlan { programs: vec![RuntimeProgram::Ours, RuntimeProgram::OpenVino], ..plan(None) };
        assert!(few.command().ends_with("--rounds 3 --programs ours,openvino"), "{}", few.command());
    }
}
