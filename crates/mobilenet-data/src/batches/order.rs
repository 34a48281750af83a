//! Which picture comes when.

use std::ops::Range;

use super::config::BatchConfig;
use mobilenet_common::random::SplitMix64;

/// First word of the key of the order's random stream, and of the one that chooses pictures of a class.
const ORDER: u64 = u64::from_le_bytes(*b"order...");
const BALANCE: u64 = u64::from_le_bytes(*b"balance.");

/// A picture's place in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub picture: usize,
    /// What its augmentation is drawn for: the picture, or a number beyond all of them where it comes again.
    pub draw: usize,
}

/// An epoch's pictures, batch by batch.
pub(super) struct Plan {
    order: Vec<Place>,
    batch_size: usize,
    steps: Range<usize>,
}

impl Plan {
    /// For pictures with these labels.
    pub fn new(cfg: &BatchConfig, labels: &[u32]) -> Self {
        let mut order: Vec<Place> = match cfg.balanced {
            true => balanced(cfg, labels),
            false => (0..labels.len()).map(|picture| Place { picture, draw: picture }).collect(),
        };
        if cfg.shuffle {
            SplitMix64::keyed(&[ORDER, cfg.seed, cfg.epoch]).shuffle(&mut order);
        }
        let steps = cfg.count(labels.len());
        Self { order, batch_size: cfg.batch_size, steps: cfg.skip.min(steps)..steps }
    }

    /// The batches to make.
    pub fn steps(&self) -> Range<usize> {
        self.steps.clone()
    }

    /// The pictures of one of them.
    pub fn batch(&self, step: usize) -> &[Place] {
        let start = (step * self.batch_size).min(self.order.len());
        &self.order[start..(start + self.batch_size).min(self.order.len())]
    }

    /// Their labels, of those of all pictures.
    pub fn labels(&self, step: usize, labels: &[u32]) -> Vec<u32> {
        self.batch(step).iter().map(|place| labels[place.picture]).collect()
    }
}

/// As many pictures as there are, of each class that has any the same number but for one more of some: all of its pictures
/// as often as fit, and for the rest a draw of them.
fn balanced(cfg: &BatchConfig, labels: &[u32]) -> Vec<Place> {
    let n = labels.len();
    let mut classes: Vec<Vec<usize>> = Vec::new();
    for (picture, &label) in labels.iter().enumerate() {
        let label = label as usize;
        if classes.len() <= label {
            classes.resize(label + 1, Vec::new());
        }
        classes[label].push(picture);
    }
    classes.retain(|pictures| !pictures.is_empty());
    let mut rng = SplitMix64::keyed(&[BALANCE, cfg.seed, cfg.epoch]);
    // Which classes have one more changes from epoch to epoch.
    rng.shuffle(&mut classes);
    let count = classes.len().max(1);
    let mut order = Vec::with_capacity(n);
    for (at, pictures) in classes.iter_mut().enumerate() {
        rng.shuffle(pictures);
        let share = n / count + usize::from(at < n % count);
        let places = (0..share).map(|i| {
            let (round, picture) = (i / pictures.len(), pictures[i % pictures.len()]);
            Place { picture, draw: round * n + picture }
        });
        order.extend(places);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures(cfg: &BatchConfig, labels: &[u32]) -> Vec<Place> {
        let plan = Plan::new(cfg, labels);
        plan.steps().flat_map(|step| plan.batch(step).to_vec()).collect()
    }

    #[test]
    fn classes_come_equally_often_and_repeats_are_drawn_anew() {
        // 60, 30, 9 and 1 of a class, one class without any.
        let labels = [vec![0; 60], vec![1; 30], vec![3; 9], vec![4; 1]].concat();
        let cfg = BatchConfig { balanced: true, ..BatchConfig::train(10, 5, 2) };
        let found = pictures(&cfg, &labels);
        let of = |class| found.iter().filter(|place| labels[place.picture] == class).count();
        assert_eq!([0, 1, 2, 3, 4].map(of), [25, 25, 0, 25, 25]);
        let mut draws: Vec<usize> = found.iter().map(|place| place.draw).collect();
        draws.sort_unstable();
        draws.dedup();
        assert_eq!(draws.len(), 100, "two draws are the same");
        // A picture of a large class comes once at most; those of a small one as evenly as can be.
        for (i, &label) in labels.iter().enumerate() {
            let times = found.iter().filter(|place| place.picture == i).count();
            let expected = [0..=1, 0..=1, 0..=0, 2..=3, 25..=25][label as usize].clone();
            assert!(expected.contains(&times), "{i}: {times}");
            let first = found.iter().any(|place| place.picture == i && place.draw == i);
            assert_eq!(first, times > 0);
        }
        assert_eq!(pictures(&cfg, &labels), found);
        assert_ne!(pictures(&BatchConfig { epoch: 3, ..cfg.clone() }, &labels), found);
        assert_eq!(pictures(&cfg, &[]), []);
        // 100 places for three classes: 34, 33 and 33.
        let uneven = [vec![0; 98], vec![1; 1], vec![2; 1]].concat();
        let mut counts = [0; 3];
        pictures(&cfg, &uneven).iter().for_each(|place| counts[uneven[place.picture] as usize] += 1);
        counts.sort_unstable();
        assert_eq!(counts, [33, 33, 34]);
    }

    #[test]
    fn skipped_batches_are_those_at_the_beginning() {
        let labels = [0; 23];
        for drop_last in [true, false] {
            let cfg = BatchConfig { drop_last, ..BatchConfig::train(5, 1, 1) };
            let all = pictures(&cfg, &labels);
            for skip in [0, 2, 4, 5, 9] {
                let rest = pictures(&BatchConfig { skip, ..cfg.clone() }, &labels);
                assert_eq!(rest, all[(skip * 5).min(all.len())..]);
            }
        }
    }
}
