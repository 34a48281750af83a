//! How far tensors are apart.

/// The largest difference, as a share of the largest expected value.
pub fn largest(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let most = expected.iter().fold(0f32, |most, e| most.max(e.abs()));
    let difference = found.iter().zip(expected).map(|(f, e)| {
        let difference = (f - e).abs();
        if difference.is_nan() { f32::INFINITY } else { difference }
    });
    let difference = difference.fold(0f32, f32::max);
    if difference == 0. { 0. } else { f64::from(difference) / f64::from(most) }
}

/// The root mean square of the differences, as a share of that of the expected values.
pub fn root_mean_square(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(f, e)| f64::from(f - e).powi(2)).sum::<f64>();
    let differences = if differences.is_nan() { f64::INFINITY } else { differences };
    if differences == 0. { 0. } else { (differences / squares(expected)).sqrt() }
}

pub fn squares(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum()
}
