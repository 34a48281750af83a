//! What each part of V3 brings, step by step.

use mobilenet_arch::Arch;
use mobilenet_schema::Verdict;

use super::super::document::inline::{Inline, rich};
use super::super::gather::{Gathered, Model};
use super::super::stats;
use super::super::text::{list, points, thousands};
use super::claim::{Claim, claim};
use super::footing::{Footing, Pictures, on_cifar, poorly_trained};

const TEXT: &str = "The gain comes from squeeze-and-excite, h-swish and the searched structure.";

/// What is added from each network between V2 and V3-Large to the next.
const ADDED: [&str; 4] = ["h-swish", "squeeze-and-excite", "5×5 windows", "V3's layer settings"];

/// The article's training images.
const IMAGES: u64 = 50_000;

/// Judged where the networks between V2 and V3-Large were compared, after any training of all images that was long
/// enough: that a part brings something does not say how much.
pub fn parts(gathered: &Gathered, footing: &Footing) -> Claim {
    let rungs: Vec<_> = Arch::LADDER.into_iter().filter_map(|arch| gathered.model(arch)).collect();
    if rungs.len() < Arch::LADDER.len() {
        return claim(
            TEXT,
            Verdict::NotCompared,
            "The article compares the two whole networks only; to tell the parts' shares apart, they would have to be \
             added one by one: `cargo xtask compare --models ladder` does.",
        );
    }
    let step = |pair: &[&Model]| {
        let noise = stats::compare(&pair[0].answers(), &pair[1].answers()).is_none_or(|found| found.is_noise());
        Step { gain: pair[1].test_top1() - pair[0].test_top1(), noise }
    };
    let steps: Vec<Step> = rungs.windows(2).map(step).collect();
    let networks = rungs.iter().map(|model| (model.network().short(), model.test_top1()));
    judge(&steps, footing, gathered.sizes().train, poorly_trained(networks, "what a part brings"))
}

/// From one network to the next.
struct Step {
    gain: f64,
    /// Whether chance may explain it
    noise: bool,
}

fn judge(steps: &[Step], footing: &Footing, train_images: u64, poor: Option<String>) -> Claim {
    let said: Vec<_> = ADDED.iter().zip(steps).map(|(name, step)| format!("{name} {}", points(step.gain))).collect();
    let how = footing.handicap().map(|how| format!(" ({how})")).unwrap_or_default();
    let said = format!("Added one after the other{how}: {}", list(&said));
    let (verdict, why): (Verdict, Inline) = if let Pictures::Others(how) = &footing.pictures {
        (Verdict::NotCompared, rich!("; {}", on_cifar(how)))
    } else if train_images < IMAGES {
        (Verdict::Undecided, format!("; but of {} training images, not 50,000", thousands(train_images)).into())
    } else if let Some(poor) = poor {
        (Verdict::Undecided, format!("; but {poor}").into())
    } else if steps.iter().any(|step| step.gain < 0.0 && !step.noise) {
        (Verdict::NotReproduced, ": not every part brings something".into())
    } else if steps.iter().all(|step| step.gain > 0.0 && !step.noise) {
        (Verdict::Reproduced, ", each more than chance explains".into())
    } else {
        (Verdict::Undecided, ": not every step is more than noise".into())
    };
    claim(TEXT, verdict, rich!("{}{}.", said, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gather::fixture::fixture_of;

    #[test]
    fn parts_are_judged_by_their_steps_after_any_training_that_was_long_enough() {
        let step = |gain, noise| Step { gain, noise };
        let gains = || vec![step(0.01, false), step(0.02, false), step(0.005, false), step(0.01, false)];
        let with = |last| gains().into_iter().take(3).chain([last]).collect::<Vec<_>>();
        let compressed =
            Footing { pictures: Pictures::Compressed, training: Some("after a third of the training".to_owned()) };
        let shapes = Footing { pictures: Pictures::Others("trained on shapes".to_owned()), training: None };
        let poor = || Some("too few of the test images (V2 62.0%)".to_owned());
        for (steps, footing, images, poor, want, says) in [
            (gains(), &compressed, 50_000, None, Verdict::Reproduced, "settings +1.0 points, each more than chance"),
            (with(step(-0.01, false)), &compressed, 50_000, None, Verdict::NotReproduced, "not every part brings"),
            (with(step(-0.01, true)), &compressed, 50_000, None, Verdict::Undecided, "more than noise"),
            (with(step(0.01, true)), &compressed, 50_000, None, Verdict::Undecided, "more than noise"),
            (gains(), &compressed, 50_000, poor(), Verdict::Undecided, "; but too few of the test images (V2 62.0%)."),
            (gains(), &compressed, 8_000, None, Verdict::Undecided, "but of 8,000 training images, not 50,000."),
            (gains(), &shapes, 50_000, None, Verdict::NotCompared, "; but trained on shapes: `cargo xtask"),
        ] {
            let found = judge(&steps, footing, images, poor);
            let reason = found.reason.source();
            assert_eq!(found.verdict, want, "{reason}");
            assert!(reason.contains(says), "{reason}");
        }
        let said = judge(&gains(), &compressed, 50_000, None).reason.source();
        assert!(said.starts_with("Added one after the other (after a third of the training, on a copy of"), "{said}");
    }

    #[test]
    fn networks_of_the_ladder_that_are_missing_are_asked_for() {
        let of = |models| {
            let gathered = fixture_of(models);
            parts(&gathered, &Footing::of(&gathered)).reason.source()
        };
        assert!(of("v2,v2-hs-se,v3-large").ends_with("`cargo xtask compare --models ladder` does."));
        assert!(of("ladder").starts_with("Added one after the other"));
    }
}
