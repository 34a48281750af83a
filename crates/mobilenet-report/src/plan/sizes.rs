//! How many images an epoch and an evaluation have.

use mobilenet_schema::{ComparisonPlan, DataInfo};

/// Epochs of the article's training.
const ARTICLE_EPOCHS: u64 = 100;

/// Images of one epoch and of one evaluation.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Training images per epoch
    pub train: u64,
    /// Test images
    pub test: u64,
    /// Test images of what is shipped: all of the set
    pub shipped: u64,
}

impl Sizes {
    /// What the settings leave of the data set; of CIFAR's 50,000 and 10,000 as long as the set is not known.
    pub fn new(settings: &ComparisonPlan, data: Option<&DataInfo>) -> Self {
        let (train, test) = data.map_or((50_000, 10_000), |d| (d.train_images, d.test_images));
        let cut = |all: u64, limit: Option<u64>| limit.map_or(all, |limit| limit.min(all));
        Self {
            train: cut(train, settings.recipe.limit_train),
            test: cut(test, settings.recipe.limit_test),
            shipped: test,
        }
    }

    /// Share of the article's training (100 epochs of 50,000 images) that is run, at most 1.
    pub(crate) fn share_of_article(self, epochs: u64) -> f64 {
        ((epochs * self.train) as f64 / (ARTICLE_EPOCHS * 50_000) as f64).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::settings;

    #[test]
    fn sizes_never_exceed_the_set() {
        let data = DataInfo { train_images: 500, test_images: 2_000, ..DataInfo::default() };
        let settings = settings();
        let sizes = Sizes::new(&settings, Some(&data));
        assert_eq!((sizes.train, Some(sizes.test), sizes.shipped), (500, settings.recipe.limit_test, 2_000));
        assert_eq!(sizes.share_of_article(10_000), 1.0);
    }
}
