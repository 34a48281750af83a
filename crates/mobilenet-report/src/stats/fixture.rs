//! `fixtures/statistics.json`: what SciPy and statsmodels find, made by `scripts/statistics.py`.

use serde::Deserialize;

#[derive(Deserialize)]
pub struct Fixture {
    pub student: Vec<Student>,
    pub chi_squared: Vec<ChiSquared>,
    pub t_interval: Vec<TInterval>,
    pub wilson: Vec<Wilson>,
    pub welch: Vec<Welch>,
    pub mcnemar: Vec<McNemar>,
    pub bootstrap: Vec<Bootstrap>,
}

#[derive(Deserialize)]
pub struct Student {
    pub t: f64,
    pub freedom: f64,
    pub tail: f64,
}

#[derive(Deserialize)]
pub struct ChiSquared {
    pub x: f64,
    pub tail: f64,
}

#[derive(Deserialize)]
pub struct TInterval {
    pub values: Vec<f64>,
    pub mean: f64,
    pub deviation: f64,
    pub interval: (f64, f64),
}

#[derive(Deserialize)]
pub struct Wilson {
    pub right: u64,
    pub images: u64,
    pub interval: (f64, f64),
}

#[derive(Deserialize)]
pub struct Welch {
    pub first: Vec<f64>,
    pub second: Vec<f64>,
    pub p_value: f64,
    pub interval: (f64, f64),
}

#[derive(Deserialize)]
pub struct McNemar {
    pub only_first: u64,
    pub only_second: u64,
    pub exact: bool,
    pub p_value: f64,
}

/// Runs as strings of 1 (right) and 0 (wrong), an image each.
#[derive(Deserialize)]
pub struct Bootstrap {
    pub first: Vec<String>,
    pub second: Vec<String>,
    pub images: (f64, f64),
    pub images_and_seeds: Option<(f64, f64)>,
}

pub fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../../fixtures/statistics.json")).unwrap()
}

/// Within a relative tolerance, or an absolute one below 1e-3 of it.
pub fn close(got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance * want.abs().max(1e-3), "{got} is not {want}");
}

/// Both ends within an absolute tolerance.
pub fn close_pair(got: (f64, f64), want: (f64, f64), tolerance: f64) {
    assert!((got.0 - want.0).abs() <= tolerance && (got.1 - want.1).abs() <= tolerance, "{got:?} is not {want:?}");
}
