//! What decides the figures.

use mobilenet_arch::Arch;

/// What decides the figures.
#[derive(Clone, Debug)]
pub struct PeersPlan {
    pub models: Vec<Arch>,
    pub batch: u64,
    pub threads: u64,
    pub rounds: u64,
    pub iterations: u64,
}

impl PeersPlan {
    /// The call that repeats the measurement, defaults written out; where Python is and where the result goes to
    /// does not matter for it.
    pub fn command(&self) -> String {
        let models: Vec<_> = self.models.iter().map(|arch| arch.name()).collect();
        format!(
            "cargo xtask peers --part training --models {} --batch {} --threads {} --rounds {} --iterations {}",
            models.join(","),
            self.batch,
            self.threads,
            self.rounds,
            self.iterations
        )
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn settings() -> PeersPlan {
        PeersPlan { models: vec![Arch::V2, Arch::V3Large], batch: 100, threads: 2, rounds: 3, iterations: 5 }
    }
}
