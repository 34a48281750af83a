//! When a difference between two networks is more than noise.

use super::artefacts::Eval;

/// Two accuracies side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Accuracy of the second network minus that of the first
    pub difference: f64,
    /// Chance of a difference at least this large between equally good networks
    pub p_value: f64,
    /// How that was found
    pub test: Test,
}

/// A test of significance.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// On images that only one of the two names rightly: how many only the first, only the second. It knows nothing of
    /// the scatter between seeds.
    McNemar { only_first: u64, only_second: u64 },
    /// On the accuracies of several seeds
    Welch { seeds: (usize, usize) },
}

impl Difference {
    /// The usual 5 % mark.
    pub fn is_noise(&self) -> bool {
        self.p_value >= 0.05
    }
}

impl Test {
    /// The test in words.
    pub fn describe(&self, first: &str, second: &str) -> String {
        match self {
            Self::McNemar { only_first, only_second } => {
                format!("only {first} is right on {only_first} images, only {second} on {only_second}; McNemar's test")
            }
            Self::Welch { seeds } => format!("Welch's t-test over {} and {} seeds", seeds.0, seeds.1),
        }
    }
}

/// Compares the runs of two networks: over the seeds if there are several, else image by image. `None` if that cannot
/// be done because the two saw different images.
pub fn compare(first: &[&Eval], second: &[&Eval]) -> Option<Difference> {
    let accuracies = |evals: &[&Eval]| evals.iter().map(|e| e.test_top1).collect::<Vec<_>>();
    let (a, b) = (accuracies(first), accuracies(second));
    let (p_value, test) = if a.len() > 1 && b.len() > 1 {
        (welch(&a, &b), Test::Welch { seeds: (a.len(), b.len()) })
    } else {
        let (only_first, only_second) = discordant(first.first()?, second.first()?)?;
        (mcnemar(only_first, only_second), Test::McNemar { only_first, only_second })
    };
    Some(Difference { difference: mean(&b) - mean(&a), p_value, test })
}

/// Arithmetic mean; NaN if there is nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The middle value, or the mean of the two middle ones; nothing if there is none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n.is_multiple_of(2) => Some(mean(&sorted[middle - 1..=middle])),
        _ => Some(sorted[middle]),
    }
}

/// Sample standard deviation; 0 for fewer than two values.
pub fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let center = mean(values);
    let squares: f64 = values.iter().map(|v| (v - center).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// 95 % interval of an accuracy measured on `n` images (Wilson's).
pub fn wilson(accuracy: f64, n: u64) -> (f64, f64) {
    let (z, n) = (1.96_f64, n.max(1) as f64);
    let center = (accuracy + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (accuracy * (1.0 - accuracy) / n + z * z / (4.0 * n * n)).sqrt();
    (center - half, center + half)
}

/// Images named rightly by only the first and by only the second; `None` if they saw different images.
fn discordant(first: &Eval, second: &Eval) -> Option<(u64, u64)> {
    if first.labels != second.labels || first.labels.is_empty() {
        return None;
    }
    let mut only = (0, 0);
    let predictions = first.predicted.iter().zip(&second.predicted);
    for (label, (a, b)) in first.labels.iter().zip(predictions) {
        match (a == label, b == label) {
            (true, false) => only.0 += 1,
            (false, true) => only.1 += 1,
            _ => {}
        }
    }
    Some(only)
}

/// McNemar's test with continuity correction: chi-squared of one degree of freedom.
fn mcnemar(only_first: u64, only_second: u64) -> f64 {
    let n = only_first + only_second;
    let gap = only_first.abs_diff(only_second) as f64 - 1.0;
    if n == 0 || gap <= 0.0 {
        return 1.0;
    }
    erfc(gap / (2.0 * n as f64).sqrt())
}

/// Two-sided Welch's t-test.
fn welch(a: &[f64], b: &[f64]) -> f64 {
    let part = |v: &[f64]| deviation(v).powi(2) / v.len() as f64;
    let (va, vb) = (part(a), part(b));
    let error = (va + vb).sqrt();
    let gap = (mean(a) - mean(b)).abs();
    if error == 0.0 {
        return if gap == 0.0 { 1.0 } else { 0.0 };
    }
    let freedom = (va + vb).powi(2) / (va.powi(2) / (a.len() - 1) as f64 + vb.powi(2) / (b.len() - 1) as f64);
    student_tail(gap / error, freedom)
}

/// P(|T| > t) by Simpson's rule: with t = sqrt(freedom) tan(angle) the density is a power of the cosine, so that
/// no gamma function is needed.
fn student_tail(t: f64, freedom: f64) -> f64 {
    const STEPS: u32 = 400;
    let integral = |to: f64| {
        let h = to / f64::from(STEPS);
        let inner: f64 = (1..STEPS)
            .map(|i| {
                let weight = if i % 2 == 1 { 4.0 } else { 2.0 };
                weight * (f64::from(i) * h).cos().powf(freedom - 1.0)
            })
            .sum();
        (1.0 + inner + to.cos().max(0.0).powf(freedom - 1.0)) * h / 3.0
    };
    let inside = integral((t / freedom.sqrt()).atan());
    (1.0 - inside / integral(std::f64::consts::FRAC_PI_2)).clamp(0.0, 1.0)
}

/// Complementary error function for x >= 0, Abramowitz and Stegun 7.1.26 (absolute error below 2e-7).
fn erfc(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let series =
        t * (0.254_829_592 + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    series * (-x * x).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64, tolerance: f64) {
        assert!((got - want).abs() < tolerance, "{got} is not {want}");
    }

    #[test]
    fn against_published_values() {
        close(erfc(1.0), 0.157_299, 1e-6);
        // Chi-squared 3.84 is the 5 % mark of one degree of freedom.
        close(erfc((3.841_459_f64 / 2.0).sqrt()), 0.05, 1e-5);
        // Student's 5 % marks.
        for (freedom, mark) in [(2.0, 4.303), (4.0, 2.776), (10.0, 2.228)] {
            close(student_tail(mark, freedom), 0.05, 2e-4);
        }
        let (low, high) = wilson(0.5, 100);
        close(low, 0.4038, 1e-3);
        close(high, 0.5962, 1e-3);
    }

    #[test]
    fn medians() {
        for (values, want) in
            [(&[][..], None), (&[3.0], Some(3.0)), (&[9.0, 1.0], Some(5.0)), (&[9.0, 1.0, 2.0], Some(2.0))]
        {
            assert_eq!(median(values), want);
        }
    }

    #[test]
    fn few_discordant_images_are_noise_and_many_are_not() {
        assert_eq!(mcnemar(0, 0), 1.0);
        assert_eq!(mcnemar(7, 7), 1.0);
        assert!(mcnemar(5, 9) > 0.05);
        assert!(mcnemar(50, 90) < 0.01);
    }

    #[test]
    fn two_seeds_that_scatter_prove_nothing() {
        assert!(welch(&[0.40, 0.44], &[0.43, 0.47]) > 0.05);
        assert!(welch(&[0.40, 0.41, 0.40], &[0.47, 0.48, 0.47]) < 0.01);
    }
}
