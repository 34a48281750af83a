//! What only training settles.

use super::super::gather::{Gathered, Model};
use super::super::names::{Arch, RecipeName};
use super::super::stats::Comparison;
use super::super::text::{list, percent, points, share, thousands};
use super::{Claim, Verdict, claim};

/// How far this comparison's accuracies can be held against the article's.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Footing {
    /// The article's data and training
    Same,
    /// Other pictures, or a part of them: how
    OtherPictures(String),
    /// Its pictures, all of them, and another training: which. What such a training reaches, the network can reach; what it
    /// does not reach, the article's may.
    OtherTraining(String),
}

fn footing(gathered: &Gathered) -> Footing {
    let sizes = gathered.sizes();
    if gathered.data.name != "cifar10" {
        Footing::OtherPictures(format!("trained on {}, not CIFAR-10", gathered.data.label()))
    } else if sizes.test < 10_000 {
        Footing::OtherPictures(format!("of {} test images, not 10,000", thousands(sizes.test)))
    } else {
        training(gathered.settings.recipe.name, gathered.share_of_article())
    }
}

/// The footing of a training with all of the article's images, `done` of its length.
fn training(recipe: RecipeName, done: f64) -> Footing {
    let after = format!("after {} of the article's training", share(done));
    match recipe {
        RecipeName::Article if done >= 0.95 => Footing::Same,
        RecipeName::Article => Footing::OtherTraining(after),
        other => Footing::OtherTraining(format!("{after}, by recipe {}", other.key())),
    }
}

/// A claimed accuracy: under the article's protocol within one point counts as reproduced; after another training, what
/// reaches it.
fn accuracy_claim(text: &str, claimed: f64, found: Option<f64>, footing: &Footing, remark: &str) -> Claim {
    let Some(found) = found else {
        return claim(text, Verdict::NotMeasurable, "This network was not part of the comparison.");
    };
    let here = percent(found);
    let (verdict, reason) = match footing {
        Footing::Same if (found - claimed).abs() <= 0.01 => {
            (Verdict::Reproduced, format!("Here {here}, {} from the article's figure", points(found - claimed)))
        }
        Footing::Same => {
            (Verdict::NotReproduced, format!("Here {here}, {} from the article's figure", points(found - claimed)))
        }
        Footing::OtherTraining(how) if found >= claimed => (Verdict::Reproduced, format!("Here {here} already {how}")),
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
    let test = |model: Option<&Model>| model.map(Model::test_top1);
    let train = |model: Option<&Model>| model.map(Model::train_top1);
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
            "The article compares the two whole networks only; to tell the parts' shares apart, they would have to be added one by one: `cargo xtask compare --models ladder` does.",
        );
    }
    let names = ["h-swish", "squeeze-and-excite", "5×5 windows", "V3's layer settings"];
    let steps: Vec<_> = rungs.windows(2).map(|pair| pair[1].test_top1() - pair[0].test_top1()).collect();
    let said: Vec<_> = names.iter().zip(&steps).map(|(name, step)| format!("{name} {}", points(*step))).collect();
    let said = format!("Added one after the other: {}", list(&said));
    match footing {
        Footing::OtherPictures(how) | Footing::OtherTraining(how) => {
            claim(text, Verdict::NotMeasurable, format!("{said}; but {how}."))
        }
        Footing::Same if steps.iter().all(|step| *step > 0.0) => claim(text, Verdict::Reproduced, format!("{said}.")),
        Footing::Same => claim(text, Verdict::NotReproduced, format!("{said}: not every part brings something.")),
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
    fn accuracies_are_judged_by_what_they_rest_on() {
        let judge = |found, footing: &Footing| accuracy_claim("", 0.901, found, footing, "").verdict;
        assert_eq!(judge(Some(0.905), &Footing::Same), Verdict::Reproduced);
        assert_eq!(judge(Some(0.94), &Footing::Same), Verdict::NotReproduced);
        assert_eq!(judge(None, &Footing::Same), Verdict::NotMeasurable);
        let shorter = Footing::OtherTraining("after a third of the training".to_owned());
        assert_eq!(judge(Some(0.94), &shorter), Verdict::Reproduced);
        assert_eq!(judge(Some(0.9), &shorter), Verdict::NotMeasurable);
        let drawn = Footing::OtherPictures("trained on shapes".to_owned());
        assert_eq!(judge(Some(0.99), &drawn), Verdict::NotMeasurable);
    }
}
