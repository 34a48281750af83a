//! What only training settles. An accuracy is judged by its 95 % interval: over seeds where several scatter, else over
//! images.

use mobilenet_arch::Arch;
use mobilenet_schema::RecipeName;
use mobilenet_schema::{Comparison, DataInfo, Estimate, Verdict};

use super::super::gather::{Gathered, Model, Run};
use super::super::stats;
use super::super::text::{list, percent, points, share, thousands};
use super::claim::{Claim, claim};

/// How far this comparison's accuracies compare with the article's.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Footing {
    /// The article's data and training
    Same,
    /// Other pictures, or a part of them: how
    OtherPictures(String),
    /// Its pictures, all of them, and another training: which. What such a training reaches, the network can reach;
    /// what it does not reach, the article's may.
    OtherTraining(String),
}

fn footing(gathered: &Gathered) -> Footing {
    let sizes = gathered.sizes();
    if gathered.data.name != "cifar10" {
        Footing::OtherPictures(format!("trained on {}, not CIFAR-10", gathered.data.label()))
    } else if is_lossy(&gathered.data) {
        Footing::OtherPictures("measured on a copy of CIFAR-10 that is compressed as JPEG, at a loss".to_owned())
    } else if sizes.test < 10_000 {
        Footing::OtherPictures(format!("of {} test images, not 10,000", thousands(sizes.test)))
    } else {
        training(gathered.settings.recipe.name, gathered.share_of_article())
    }
}

/// Whether a copy of the data is not the original bit by bit.
pub fn is_lossy(data: &DataInfo) -> bool {
    data.copy.contains("lossy")
}

/// The footing of a training with all of the article's images, `done` of its length.
fn training(recipe: RecipeName, done: f64) -> Footing {
    let after = format!("after {} of the article's training", share(done));
    match recipe {
        RecipeName::Article if done >= 0.95 => Footing::Same,
        RecipeName::Article => Footing::OtherTraining(after),
        other => Footing::OtherTraining(format!("{after}, by recipe {}", other.name())),
    }
}

/// How far from the article's figure an accuracy under its protocol may lie.
const TOLERANCE: f64 = 0.01;

/// A claimed accuracy. Under the article's protocol it is reproduced if the whole interval lies within one point of it,
/// and is not if the whole interval lies outside; after another training it is reproduced if the whole interval lies at
/// or above it.
fn accuracy_claim(
    text: &'static str,
    claimed: f64,
    found: Option<Estimate>,
    footing: &Footing,
    remark: &'static str,
) -> Claim {
    let Some(found) = found else {
        return claim(text, Verdict::NotMeasurable, "This network was not part of the comparison.");
    };
    let (low, high) = found.interval.unwrap_or((found.mean, found.mean));
    let here = format!("{} (95% interval {} to {})", percent(found.mean), percent(low), percent(high));
    let from = format!("Here {here}, {} from the article's figure", points(found.mean - claimed));
    let (nearest, farthest) = (claimed - TOLERANCE, claimed + TOLERANCE);
    let (verdict, reason) = match footing {
        Footing::Same if low >= nearest && high <= farthest => (Verdict::Reproduced, from),
        Footing::Same if high < nearest || low > farthest => (Verdict::NotReproduced, from),
        Footing::Same => (Verdict::NotMeasurable, format!("{from}: the interval leaves open whether within one point")),
        Footing::OtherTraining(how) if low >= claimed => (Verdict::Reproduced, format!("Here {here} already {how}")),
        Footing::OtherTraining(how) | Footing::OtherPictures(how) => {
            (Verdict::NotMeasurable, format!("Here {here}, but {how}"))
        }
    };
    claim(text, verdict, format!("{reason}.{remark}"))
}

/// The claims about accuracy.
pub fn claims(gathered: &Gathered) -> Vec<Claim> {
    let footing = footing(gathered);
    let (v2, v3) = (gathered.model(Arch::V2), gathered.model(Arch::V3Large));
    let share = |model: &Model, figure: fn(&Run) -> f64, images: fn(&Run) -> u64| {
        let shares: Vec<_> = model.runs.iter().map(figure).collect();
        stats::estimate_share(&shares, model.runs.iter().map(images).min().unwrap_or(0))
    };
    let test = |model: Option<&Model>| model.map(|m| share(m, |run| run.eval.test_top1, |run| run.eval.test_images));
    let train = |model: Option<&Model>| model.map(|m| share(m, |run| run.eval.train_top1, |run| run.eval.train_images));
    let marks = " Published marks for V2 on CIFAR-10 lie at 93.8–94.4%, after 300 epochs and more.";
    let mut claims = vec![
        accuracy_claim("MobileNetV2 reaches 96.2% on the training images.", 0.962, train(v2), &footing, ""),
        accuracy_claim("MobileNetV3 reaches 97.5% on the training images.", 0.975, train(v3), &footing, ""),
        accuracy_claim("MobileNetV2 reaches 90.1% on the test images.", 0.901, test(v2), &footing, marks),
        accuracy_claim(
            "MobileNetV3 reaches 92.3% on the test images.",
            0.923,
            test(v3),
            &footing,
            " For V3-Large no authoritative figure is known.",
        ),
    ];
    let text = "V3 is about 2 points more accurate than V2.";
    claims.push(match (v2, v3) {
        (Some(v2), Some(v3)) => {
            let gap = v3.test_top1() - v2.test_top1();
            let noise = gathered.difference().is_none_or(Comparison::is_noise);
            let weight = if noise { "within noise" } else { "more than chance explains" };
            match &footing {
                Footing::OtherPictures(how) | Footing::OtherTraining(how) => {
                    claim(text, Verdict::NotMeasurable, format!("Here {}, {weight}, but {how}.", points(gap)))
                }
                Footing::Same => {
                    let verdict = if (0.01..=0.03).contains(&gap) && !noise {
                        Verdict::Reproduced
                    } else {
                        Verdict::NotReproduced
                    };
                    claim(text, verdict, format!("Here {}, {weight}.", points(gap)))
                }
            }
        }
        _ => claim(text, Verdict::NotMeasurable, "Only one of the two was part of the comparison."),
    });
    claims.push(parts(gathered, &footing));
    claims
}

/// What each part of V3 brings, step by step, where the networks between V2 and V3-Large were compared.
fn parts(gathered: &Gathered, footing: &Footing) -> Claim {
    let text = "The gain comes from squeeze-and-excite, h-swish and the searched structure.";
    let rungs: Vec<_> = Arch::LADDER.into_iter().filter_map(|arch| gathered.model(arch)).collect();
    if rungs.len() < Arch::LADDER.len() {
        return claim(
            text,
            Verdict::NotMeasurable,
            "The article compares the two whole networks only; to tell the parts' shares apart, they would have to be \
             added one by one: `cargo xtask compare --models ladder` does.",
        );
    }
    let names = ["h-swish", "squeeze-and-excite", "5×5 windows", "V3's layer settings"];
    let step = |pair: &[&Model]| {
        let noise = stats::compare(&pair[0].answers(), &pair[1].answers()).is_none_or(|found| found.is_noise());
        (pair[1].test_top1() - pair[0].test_top1(), noise)
    };
    let steps: Vec<(f64, bool)> = rungs.windows(2).map(step).collect();
    let said: Vec<_> = names.iter().zip(&steps).map(|(name, (step, _))| format!("{name} {}", points(*step))).collect();
    let said = format!("Added one after the other: {}", list(&said));
    match footing {
        Footing::OtherPictures(how) | Footing::OtherTraining(how) => {
            claim(text, Verdict::NotMeasurable, format!("{said}; but {how}."))
        }
        Footing::Same if steps.iter().all(|&(step, noise)| step > 0.0 && !noise) => {
            claim(text, Verdict::Reproduced, format!("{said}."))
        }
        Footing::Same if steps.iter().any(|&(step, noise)| step < 0.0 && !noise) => {
            claim(text, Verdict::NotReproduced, format!("{said}: not every part brings something."))
        }
        Footing::Same => claim(text, Verdict::NotMeasurable, format!("{said}: not every step is more than noise.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gather::fixture::fixture;

    #[test]
    fn only_the_articles_recipe_to_its_end_is_its_protocol() {
        assert_eq!(training(RecipeName::Article, 1.0), Footing::Same);
        assert_eq!(
            training(RecipeName::Article, 0.3),
            Footing::OtherTraining("after 30% of the article's training".to_owned())
        );
        assert_eq!(
            training(RecipeName::Fast, 1.0),
            Footing::OtherTraining("after 100% of the article's training, by recipe fast".to_owned())
        );
        assert!(matches!(footing(&fixture()), Footing::OtherPictures(_)), "twelve test images");
    }

    #[test]
    fn a_lossy_copy_is_not_the_articles_data() {
        let mut gathered = fixture();
        let of =
            |gathered: &Gathered| if let Footing::OtherPictures(how) = footing(gathered) { how } else { String::new() };
        gathered.data.name = "cifar10".to_owned();
        gathered.data.copy = "parquet of JPEG (lossy): train.parquet".to_owned();
        assert!(of(&gathered).contains("compressed as JPEG"), "{}", of(&gathered));
        gathered.data.copy = "binary version".to_owned();
        assert!(!of(&gathered).contains("JPEG"));
    }

    #[test]
    fn accuracies_are_judged_by_what_they_rest_on() {
        let judge = |found: Option<f64>, footing: &Footing| {
            let found = found.map(|share| stats::estimate_share(&[share], 10_000));
            accuracy_claim("", 0.901, found, footing, "").verdict
        };
        assert_eq!(judge(Some(0.903), &Footing::Same), Verdict::Reproduced);
        assert_eq!(judge(Some(0.91), &Footing::Same), Verdict::NotMeasurable, "within one point, its interval not");
        assert_eq!(judge(Some(0.94), &Footing::Same), Verdict::NotReproduced);
        assert_eq!(judge(None, &Footing::Same), Verdict::NotMeasurable);
        let shorter = Footing::OtherTraining("after a third of the training".to_owned());
        assert_eq!(judge(Some(0.94), &shorter), Verdict::Reproduced);
        assert_eq!(judge(Some(0.902), &shorter), Verdict::NotMeasurable, "above it by less than the images explain");
        assert_eq!(judge(Some(0.9), &shorter), Verdict::NotMeasurable);
        let drawn = Footing::OtherPictures("trained on shapes".to_owned());
        assert_eq!(judge(Some(0.99), &drawn), Verdict::NotMeasurable);
    }
}
