//! The numbers of `tests/fixtures/torchvision_parity.py`: every value a function of its tensor's name and its index.

use mobilenet_common::random::{SplitMix64, fnv1a};

/// `n` numbers in `[-1, 1)`: FNV-1a of the name, then SplitMix64 of that plus the index; the upper 24 bits.
pub fn hashed(name: &str, n: usize) -> impl Iterator<Item = f64> + use<> {
    let mut numbers = SplitMix64::new(fnv1a(name.as_bytes()));
    (0..n).map(move |_| (numbers.next_u64() >> 40) as f64 / 2f64.powi(23) - 1.0)
}

/// The values of a weight; the Python tells why those for training are others.
pub fn weight(name: &str, shape: &[usize], train: bool) -> Vec<f32> {
    let u = hashed(name, shape.iter().product()).enumerate();
    let value: Box<dyn Fn(usize, f64) -> f64> = if shape.len() > 1 {
        let bound = (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
        Box::new(move |_, u| u * bound)
    } else if name.ends_with(".running_var") {
        Box::new(|_, u| 1.0 + 0.2 * u)
    } else if name.ends_with(".weight") {
        Box::new(move |_, u| if train { 0.45 + 0.045 * u } else { 1.0 + 0.2 * u })
    } else if train && name.ends_with(".bias") && !name.contains(".fc") && !name.contains("classifier") {
        Box::new(|i, u| if i % 2 == 0 { 1.5 } else { 4.5 } + 0.1 * u)
    } else {
        Box::new(|_, u| 0.1 * u)
    };
    u.map(|(i, u)| value(i, u) as f32).collect()
}
