//! How tests hold a layer's kernels to its composition: outputs and every gradient.

use candle_core::{Device, Result, Tensor, Var};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// An NCHW-contiguous tensor of values in `[-limit, limit)`, a function of `seed`.
pub(crate) fn image(shape: (usize, usize, usize, usize), limit: f32, seed: u64) -> Result<Tensor> {
    let mut rng = StdRng::seed_from_u64(seed);
    let n = shape.0 * shape.1 * shape.2 * shape.3;
    let values: Vec<f32> = (0..n).map(|_| (rng.random::<f32>() * 2. - 1.) * limit).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// The largest difference of two functions' values and gradients, each relative to the largest value of its tensor.
pub(crate) struct Compared(Vec<f32>);

impl Compared {
    /// Evaluates both at `args`, with a loss that weighs every output differently.
    pub(crate) fn new(
        args: &[&Tensor],
        f: impl Fn(&[Tensor]) -> Result<Tensor>,
        g: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) -> Result<Self> {
        let (f, g) = (evaluate(args, f)?, evaluate(args, g)?);
        let differences = f.iter().zip(&g).map(|(f, g)| {
            assert_eq!(f.shape(), g.shape());
            let largest = |t: &Tensor| t.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
            Ok(largest(&(f - g)?)? / largest(g)?.max(1e-3))
        });
        Ok(Self(differences.collect::<Result<_>>()?))
    }

    pub(crate) fn assert_close(&self, tolerance: f32, what: impl std::fmt::Debug) {
        let ok = self.0.iter().all(|d| *d <= tolerance);
        assert!(ok, "{what:?}: relative differences of the output and of each gradient {:?}", self.0);
    }
}

/// The output and the gradient of each argument.
fn evaluate(args: &[&Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<Vec<Tensor>> {
    let vars: Vec<Var> = args.iter().map(|a| Var::from_tensor(a)).collect::<Result<_>>()?;
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let ys = f(&tensors)?;
    let count = ys.elem_count();
    let weights: Vec<f32> = (0..count).map(|i| ((i * 37 + 11) % 101) as f32 / 50. - 1.).collect();
    let weights = Tensor::from_vec(weights, ys.shape(), ys.device())?;
    let gradients = (&ys * weights)?.sum_all()?.backward()?;
    let mut results = vec![ys];
    for var in &vars {
        results.push(gradients.get(var).cloned().map_or_else(|| var.zeros_like(), Ok)?);
    }
    Ok(results)
}
