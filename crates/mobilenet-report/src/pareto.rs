//! Which networks no other beats in cost and accuracy at once.

/// For each (cost, accuracy) whether it is on the Pareto front: no other costs no more and is no less accurate, one of
/// the two truly better. Equal ones stand or fall together.
pub fn front(points: &[(f64, f64)]) -> Vec<bool> {
    let beats = |a: &(f64, f64), b: &(f64, f64)| a.0 <= b.0 && a.1 >= b.1 && a != b;
    points.iter().map(|point| !points.iter().any(|other| beats(other, point))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_stays_unless_another_is_as_good_in_both_and_better_in_one() {
        let check = |points: &[(f64, f64)], want: &[bool]| assert_eq!(front(points), want, "{points:?}");
        check(&[], &[]);
        check(&[(1.0, 0.5)], &[true]);
        check(&[(1.0, 0.5), (2.0, 0.6), (3.0, 0.55)], &[true, true, false]);
        check(&[(1.0, 0.5), (1.0, 0.6)], &[false, true]);
        check(&[(1.0, 0.5), (2.0, 0.5)], &[true, false]);
        check(&[(1.0, 0.5), (1.0, 0.5)], &[true, true]);
        // A figure that is none is neither beaten nor does it beat.
        check(&[(1.0, 0.5), (f64::NAN, 0.4)], &[true, true]);
    }
}
