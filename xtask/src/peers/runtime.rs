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
pub use self::render::{render, verdicts};
use super::environment::Environment;
use super::level;

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

    /// The part of the document that it makes.
    pub fn part(&self) -> String {
        self.level.as_ref().map_or_else(|| "runtime".to_owned(), |level| format!("runtime at {level}"))
    }

    /// What holds the others to the instruction set.
    pub fn environment(&self) -> Vec<(&'static str, &'static str)> {
        self.level.as_deref().map_or_else(Vec::new, level::of_others)
    }
}

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
