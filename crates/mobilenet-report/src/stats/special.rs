//! Tails of the distributions that the tests need.

use libm::{erfc, lgamma};

/// P(X > x) of chi-squared with one degree of freedom.
pub fn chi_squared_tail(x: f64) -> f64 {
    erfc((x.max(0.0) / 2.0).sqrt())
}

/// P(|T| > t) of Student's distribution.
pub fn student_tail(t: f64, freedom: f64) -> f64 {
    let square = t * t;
    if square.is_infinite() {
        return 0.0;
    }
    incomplete_beta((freedom / (freedom + square), square / (freedom + square)), freedom / 2.0, 0.5)
}

/// The t that Student's |T| exceeds with probability `p`, by bisection: the tail falls steadily.
pub fn student_quantile(p: f64, freedom: f64) -> f64 {
    let mut high = 1.0;
    while student_tail(high, freedom) > p && high < 1e12 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..200 {
        let middle = low + (high - low) / 2.0;
        if student_tail(middle, freedom) > p {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Regularized incomplete beta function I_x(a, b). `(x, y)` with y = 1 − x: whoever knows both precisely passes both.
fn incomplete_beta((x, y): (f64, f64), a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if y <= 0.0 {
        return 1.0;
    }
    // The fraction converges fast only on this side; the other follows by symmetry.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta((y, x), b, a);
    }
    let front = lgamma(a + b) - lgamma(a) - lgamma(b) + a * x.ln() + b * y.ln();
    front.exp() * beta_fraction(x, a, b) / a
}

/// Continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method.
fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TERMS: u32 = 500;
    let away = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for m in (1..TERMS).map(f64::from) {
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = value;
        for term in [even, odd] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            value *= c * d;
        }
        if (value - before).abs() <= f64::EPSILON * value.abs() {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{close, fixture};
    use super::*;

    #[test]
    fn tails_are_scipys() {
        let fixture = fixture();
        for case in &fixture.student {
            close(student_tail(case.t, case.freedom), case.tail, 1e-10);
            close(student_quantile(case.tail, case.freedom), case.t, 1e-8);
        }
        for case in &fixture.chi_squared {
            close(chi_squared_tail(case.x), case.tail, 1e-10);
        }
    }

    #[test]
    fn ends_of_the_distributions() {
        assert_eq!((student_tail(0.0, 3.0), student_tail(f64::INFINITY, 3.0)), (1.0, 0.0));
        assert_eq!((chi_squared_tail(0.0), chi_squared_tail(f64::INFINITY)), (1.0, 0.0));
    }
}
