//! Figures that several plots draw.

use crate::gather::{Gathered, Model};
use crate::stats::wilson;

/// A network's accuracy in percent with its bar: one standard deviation over the seeds, or the 95 % interval of a
/// single one.
pub fn accuracy_with_bar(model: &Model) -> (f64, f64, f64) {
    let accuracy = model.test_top1();
    let (low, high) = if model.runs.len() > 1 {
        let spread = model.deviation(|run| run.eval.test_top1);
        (accuracy - spread, accuracy + spread)
    } else {
        wilson(accuracy, model.runs[0].eval.test_images)
    };
    (100.0 * accuracy, 100.0 * low, 100.0 * high)
}

/// What the bars are, for a caption.
pub fn bars(gathered: &Gathered) -> &'static str {
    let several = |model: &Model| model.runs.len() > 1;
    if gathered.models.iter().all(several) {
        "one standard deviation over the seeds"
    } else if gathered.models.iter().any(several) {
        "one standard deviation over the seeds; of networks with one seed, the 95% interval from the number of test \
         images"
    } else {
        "95% intervals from the number of test images"
    }
}

/// Highest images per second of inference over all batch sizes.
pub fn best_throughput(model: &Model) -> Option<f64> {
    let bench = model.bench.as_ref()?;
    let batches = bench.throughput.iter().map(|t| t.images_per_second);
    Some(batches.fold(bench.images_per_second, f64::max))
}
