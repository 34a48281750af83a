//! How far what was trained here compares with what the article trained.

use mobilenet_schema::{DataInfo, RecipeName};

use super::super::document::inline::{Inline, rich};
use super::super::gather::Gathered;
use super::super::text::{list, percent, share, thousands, whole_percent};

/// The least accuracy at which a difference between networks, or between forms of one, is judged: ten points below the
/// article's figure for V2. A network that is wrong on most images has little to lose or to gain.
pub const TRAINED: f64 = 0.8;

/// What an accuracy rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footing {
    pub pictures: Pictures,
    /// A training that is not the article's, to its end: which. What such a training reaches, the network can reach;
    /// what it does not reach, the article's may.
    pub training: Option<String>,
}

/// The pictures of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pictures {
    /// The article's, all of them
    Same,
    /// A copy of them that is compressed at a loss: harder than they are, never easier
    Compressed,
    /// Other pictures, or a part of them: how
    Others(String),
}

impl Footing {
    /// That of a comparison.
    pub fn of(gathered: &Gathered) -> Self {
        let sizes = gathered.sizes();
        let pictures = if gathered.data.name != "cifar10" {
            Pictures::Others(format!("trained on {}, not CIFAR-10", gathered.data.label()))
        } else if sizes.test < 10_000 {
            Pictures::Others(format!("of {} test images, not 10,000", thousands(sizes.test)))
        } else if is_lossy(&gathered.data) {
            Pictures::Compressed
        } else {
            Pictures::Same
        };
        Self { pictures, training: training(gathered.settings.recipe.name, gathered.share_of_article()) }
    }

    /// What makes an accuracy harder to reach here than it was for the article; nothing if all is the article's.
    pub fn handicap(&self) -> Option<String> {
        let copy = (self.pictures == Pictures::Compressed).then(|| COMPRESSED.to_owned());
        let parts: Vec<_> = self.training.iter().cloned().chain(copy).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// Said of [`Pictures::Compressed`].
pub const COMPRESSED: &str = "on a copy of CIFAR-10 that is compressed as JPEG";

/// Whether a copy of the data is not the original bit by bit.
pub fn is_lossy(data: &DataInfo) -> bool {
    data.copy.contains("lossy")
}

/// A training with the article's images, `done` of its length; nothing if it is the article's.
fn training(recipe: RecipeName, done: f64) -> Option<String> {
    let after = format!("after {} of the article's training", share(done));
    match recipe {
        RecipeName::Article if done >= 0.95 => None,
        RecipeName::Article => Some(after),
        other => Some(format!("{after}, by recipe {}", other.name())),
    }
}

/// The command that measures what other pictures cannot settle.
pub fn on_cifar(how: &str) -> Inline {
    rich!("but {}: `cargo xtask compare --profile article --data cifar10` measures it", how)
}

/// What keeps `judged` from being judged, if it is that some networks, by their names and accuracies, are right on too
/// few images.
pub fn poorly_trained(networks: impl IntoIterator<Item = (String, f64)>, judged: &str) -> Option<String> {
    let poor = networks.into_iter().filter(|(_, top1)| *top1 < TRAINED);
    let poor: Vec<_> = poor.map(|(name, top1)| format!("{name} {}", percent(top1))).collect();
    (!poor.is_empty()).then(|| {
        format!(
            "too few of the test images are classified correctly ({}): {judged} is judged from {} on, ten points below \
             the article's figure for V2",
            list(&poor),
            whole_percent(TRAINED)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gather::fixture::fixture;

    #[test]
    fn only_the_articles_recipe_to_its_end_is_its_training() {
        assert_eq!(training(RecipeName::Article, 1.0), None);
        for (recipe, done, want) in [
            (RecipeName::Article, 0.3, "after 30% of the article's training"),
            (RecipeName::Fast, 1.0, "after 100% of the article's training, by recipe fast"),
        ] {
            assert_eq!(training(recipe, done).as_deref(), Some(want));
        }
    }

    #[test]
    fn a_compressed_copy_is_a_handicap_and_other_pictures_are_none() {
        let of = |name: &str, test_images, copy: &str| {
            let mut gathered = fixture();
            (gathered.data.name, gathered.data.copy) = (name.to_owned(), copy.to_owned());
            (gathered.data.train_images, gathered.data.test_images) = (50_000, test_images);
            gathered.settings.recipe.limit_test = None;
            Footing::of(&gathered)
        };
        let lossy = "parquet of JPEG (lossy): train.parquet";
        assert_eq!(of("cifar10", 10_000, "binary version").pictures, Pictures::Same);
        assert_eq!(of("cifar10", 10_000, lossy).pictures, Pictures::Compressed);
        let others = |how: &str| Pictures::Others(how.to_owned());
        assert_eq!(of("cifar10", 12, lossy).pictures, others("of 12 test images, not 10,000"));
        assert_eq!(of("x", 10_000, "").pictures, others("trained on x, not CIFAR-10"));
        let footing = |training: Option<&str>, pictures| {
            Footing { pictures, training: training.map(str::to_owned) }.handicap().unwrap_or_default()
        };
        assert_eq!(footing(None, Pictures::Same), "");
        assert_eq!(footing(None, Pictures::Compressed), COMPRESSED);
        assert_eq!(footing(Some("after a third"), Pictures::Compressed), format!("after a third, {COMPRESSED}"));
    }

    #[test]
    fn networks_that_are_wrong_on_many_images_are_named() {
        let of = |top1| poorly_trained([("V2".to_owned(), 0.9), ("V3-Large".to_owned(), top1)], "a part");
        assert_eq!(of(0.8), None);
        let expected = "too few of the test images are classified correctly (V3-Large 79.0%): a part is judged from \
                        80% on, ten points below the article's figure for V2";
        assert_eq!(of(0.79).as_deref(), Some(expected));
    }
}
