//! What decides the figures.

use mobilenet_arch::{Arch, Preset};

use super::level;

/// What decides the figures.
#[derive(Clone, Debug)]
pub struct PeersPlan {
    pub models: Vec<Arch>,
    /// Of which the images' height and width follow.
    pub preset: Preset,
    pub batch: u64,
    pub threads: u64,
    pub rounds: u64,
    pub iterations: u64,
    /// The instruction set that all are held to who can be; the best that there is if none is named.
    pub level: Option<String>,
}

impl PeersPlan {
    /// The call that repeats the measurement, defaults written out; where Python is and where the result goes to
    /// does not matter for it.
    pub fn command(&self) -> String {
        let models: Vec<_> = self.models.iter().map(|arch| arch.name()).collect();
        format!(
            "cargo xtask peers --part training --models {} --preset {} --batch {} --threads {} --rounds {} --iterations \
             {}{}",
            models.join(","),
            self.preset,
            // As it was given: of larger images a quarter is taken.
            if self.preset == Preset::Imagenet { 4 * self.batch } else { self.batch },
            self.threads,
            self.rounds,
            self.iterations,
            self.level.as_ref().map_or_else(String::new, |level| format!(" --level {level}"))
        )
    }

    /// The part of the document that it makes; `None` for what the document begins with.
    pub fn part(&self) -> Option<String> {
        let size = (self.preset != Preset::Cifar).then(|| self.preset.to_string());
        let at: Vec<_> = size.into_iter().chain(self.level.clone()).collect();
        (!at.is_empty()).then(|| format!("training at {}", at.join(", ")))
    }

    /// Environment variables that hold programs to the instruction set, ours first.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let Some(level) = &self.level else { return Vec::new() };
        let others = level::of_others(level).into_iter().map(|(name, value)| (name, value.to_owned()));
        [(level::OURS, level.clone())].into_iter().chain(others).collect()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn settings() -> PeersPlan {
        PeersPlan {
            models: vec![Arch::V2, Arch::V3Large],
            preset: Preset::Cifar,
            batch: 100,
            threads: 2,
            rounds: 3,
            iterations: 5,
            level: None,
        }
    }

    #[test]
    fn what_is_not_the_usual_has_a_part_of_its_own() {
        assert_eq!(settings().part(), None);
        assert!(settings().environment().is_empty());
        let large = PeersPlan { preset: Preset::Imagenet, level: Some("avx2".into()), ..settings() };
        assert_eq!(large.part().as_deref(), Some("training at imagenet, avx2"));
        assert!(
            large.command().contains("--preset imagenet --batch 400 ") && large.command().ends_with(" --level avx2")
        );
        assert!(large.environment().contains(&("ATEN_CPU_CAPABILITY", "avx2".into())));
        assert_eq!(large.environment()[0], ("MOBILENET_SIMD", "avx2".into()));
    }
}
