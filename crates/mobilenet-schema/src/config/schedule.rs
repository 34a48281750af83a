//! Learning-rate schedules: pure functions of the step, so that resuming needs no state.

use std::f64::consts::PI;

use mobilenet_common::names::UnknownName;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantArray, VariantNames};

/// How the learning rate changes over a run, always per step.
///
/// ```
/// use mobilenet_schema::Schedule;
///
/// // A warm-up of 4 steps, then half a cosine over the remaining 96.
/// let factor = |step| Schedule::Cosine.factor(step, 100, 4);
/// assert_eq!(factor(0), 0.2);
/// assert_eq!(factor(4), 1.0);
/// assert!((factor(52) - 0.5).abs() < 1e-12);
/// ```
#[derive(
    Copy, Clone, Eq, PartialEq, Hash, Debug, Serialize, Deserialize, Display, EnumString, VariantArray, VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
pub enum Schedule {
    /// The same rate throughout.
    Constant,
    /// Half a cosine from the full rate to 0: PyTorch's `CosineAnnealingLR(T_max = steps, eta_min = 0)`.
    Cosine,
    /// Up by a cosine to the full rate over the first 30 % of the steps, then down by a cosine: PyTorch's `OneCycleLR`
    /// with its defaults (`pct_start` 0.3, `div_factor` 25, `final_div_factor` 1e4), without cycling the momentum.
    OneCycle,
    /// Straight up from a fifth to the full rate over the first fifth of the steps, then straight down to 0.
    Triangular,
}

impl Schedule {
    /// Every schedule.
    pub const ALL: &[Self] = <Self as VariantArray>::VARIANTS;

    /// What the base learning rate is multiplied with at `step` (from 0) of `total` steps.
    ///
    /// The first `warmup` steps rise linearly, `(step + 1) / (warmup + 1)`; the schedule has the remaining steps.
    #[must_use]
    pub fn factor(self, step: usize, total: usize, warmup: usize) -> f64 {
        if step < warmup {
            return (step + 1) as f64 / (warmup + 1) as f64;
        }
        let (step, total) = ((step - warmup) as f64, total.saturating_sub(warmup) as f64);
        match self {
            Schedule::Constant => 1.0,
            Schedule::Cosine => anneal(1.0, 0.0, step, total),
            Schedule::OneCycle => one_cycle(step, total),
            Schedule::Triangular => triangular(step, total),
        }
    }
}

fn one_cycle(step: f64, total: f64) -> f64 {
    const START: f64 = 1.0 / 25.0;
    const END: f64 = START / 1e4;
    let peak = (0.3 * total - 1.0).max(0.0);
    if step < peak { anneal(START, 1.0, step, peak) } else { anneal(1.0, END, step - peak, total - 1.0 - peak) }
}

fn triangular(step: f64, total: f64) -> f64 {
    const START: f64 = 0.2;
    let peak = 0.2 * total;
    if step < peak {
        START + (1.0 - START) * step / peak
    } else {
        ((total - step) / (total - peak).max(1.0)).clamp(0.0, 1.0)
    }
}

/// Half a cosine from `from` at step 0 to `to` at step `length`.
fn anneal(from: f64, to: f64, step: f64, length: f64) -> f64 {
    let done = if length > 0.0 { (step / length).clamp(0.0, 1.0) } else { 0.0 };
    to + (from - to) * 0.5 * (1.0 + (PI * done).cos())
}

fn unknown(found: &str) -> UnknownName {
    UnknownName::new("schedule", found, <Schedule as VariantNames>::VARIANTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_between_0_and_1_at_every_length() {
        for &schedule in Schedule::ALL {
            for total in 0..40 {
                for (warmup, step) in (0..=total).flat_map(|w| (0..=total).map(move |s| (w, s))) {
                    let factor = schedule.factor(step, total, warmup);
                    assert!((0.0..=1.0).contains(&factor), "{schedule} {step} {total} {warmup}: {factor}");
                }
            }
        }
    }

    #[test]
    fn warm_up_rises_evenly_to_the_full_rate() {
        let factors: Vec<_> = (0..6).map(|step| Schedule::Constant.factor(step, 6, 4)).collect();
        assert_eq!(factors, [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]);
    }

    #[test]
    fn a_triangle_peaks_at_a_fifth_of_the_way() {
        let at = |step| Schedule::Triangular.factor(step, 100, 0);
        for (step, expected) in [(0, 0.2), (10, 0.6), (20, 1.0), (60, 0.5), (100, 0.0)] {
            assert!((at(step) - expected).abs() < 1e-12, "{step}: {}", at(step));
        }
    }

    #[test]
    fn names_round_trip() {
        for &schedule in Schedule::ALL {
            assert_eq!(schedule.to_string().parse::<Schedule>().unwrap(), schedule);
            assert_eq!(serde_json::to_string(&schedule).unwrap(), format!("\"{schedule}\""));
        }
        let error = "linear".parse::<Schedule>().unwrap_err().to_string();
        assert_eq!(error, "unknown schedule \"linear\", expected constant, cosine, one-cycle or triangular");
    }
}
