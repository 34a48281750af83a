//! What the benches share: made-up tensors and the check before the timing.

use std::time::Duration;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use criterion::Criterion;
use mobilenet_layers::seeded_var_builder;

/// A seeded builder of fresh variables.
pub fn builder() -> VarBuilder<'static> {
    seeded_var_builder(&VarMap::new(), 1, DType::F32, &Device::Cpu)
}

/// A made-up trainable input `[n, c, h, w]`, channels-last.
pub fn variable(n: usize, [c, h, w]: [usize; 3]) -> Tensor {
    let values: Vec<f32> = (0..n * h * w * c).map(|i| (i as f32 * 0.61).sin() * 1.5).collect();
    let var = Tensor::from_vec(values, (n, h, w, c), &Device::Cpu).and_then(|t| Var::from_tensor(&t));
    let permuted = var.and_then(|var| var.as_tensor().permute((0, 3, 1, 2)));
    permuted.expect("the shape is valid")
}

/// The values of `[n, c, h, w]` in this order.
pub fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.contiguous().and_then(|t| t.flatten_all()?.to_vec1()).expect("a tensor on the CPU")
}

/// Panics where `found` and `expected` are further apart than 1e-4 of the largest expected value.
pub fn confirm(name: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{name}: number of values");
    let largest = expected.iter().fold(0f32, |max, v| max.max(v.abs()));
    assert!(largest > 0.0 && largest.is_finite(), "{name}: nothing to compare with");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 1e-4 * largest, "{name}, value {i}: found {a}, expected {b}");
    }
}

/// One forward and backward pass; the gradients are made and dropped.
pub fn backward(ys: &Tensor) -> Result<f32> {
    let loss = ys.mean_all()?;
    loss.backward()?;
    loss.to_scalar()
}

/// Short enough to run over every shape of the tables.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
}
