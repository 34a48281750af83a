//! Which classes a network takes for which.

use super::plot::{Plot, plot};
use crate::charts::{Matrix, matrix};
use crate::gather::Run;
use crate::subject::Subject;
use crate::text::percent;

/// The confusion matrix of a run; without labels where there are too many classes.
pub fn confusion(subject: &Subject, run: &Run) -> Plot {
    let label = subject.label();
    let svg = matrix(&Matrix {
        title: &format!("Confusion matrix of {label}"),
        heading: &format!("{label}, {} right", percent(run.eval.test_top1)),
        class: &subject.class(),
        names: &run.eval.classes,
        counts: &run.eval.confusion,
    });
    let caption = format!("{label}, seed {}: rows are the truth, columns the answer, in percent of the row.", run.seed);
    plot(&format!("confusion-{}", subject.key()), caption, svg)
}
