//! Numbers in the steps of 8 bits, under autograd.
//!
//! ```text
//! values    steps(x) = clamp(round(x / scale + zero point), 0, 255) - zero point
//! weights   steps(w) = round(w / scale), scale = max |w| / 127 for each output channel
//! ```
//!
//! Steps are whole numbers, so that their products' sums are exact in float32 (below 2²⁴) as they are in the integers: what is
//! trained then rounds as the runtime does, where sums of scaled numbers would now and then round to the neighboring step, and
//! a step in an early layer is many in the last one.
//!
//! Halves are rounded to even. The gradient, of `scale · steps`, passes through the rounding as if it were not there, and
//! where a value is cut off at an end of its range it is 0: `torch.fake_quantize_per_tensor_affine`'s straight-through gradient (Bengio et al. 2013,
//! <https://arxiv.org/abs/1308.3432>; Jacob et al. 2018, <https://arxiv.org/abs/1712.05877>). A weight is never cut off; its
//! scale is taken for a constant.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor, bail};
use mobilenet_deploy::quantize_weight;
use mobilenet_runtime::Quantization;
use rayon::prelude::*;

/// Numbers of a task.
const PART: usize = 1 << 16;

/// Adding it and taking it away again rounds a float32 number below 2²² to the nearest whole one, halves to even, in two
/// operations that every instruction set has side by side.
const ROUND: f32 = 12_582_912.;

/// How values are kept: [`Quantization`], ready to be applied to many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) scale: f32,
    inverse: f32,
    pub(crate) zero_point: f32,
}

impl From<Quantization> for Kept {
    fn from(Quantization { scale, zero_point }: Quantization) -> Self {
        Self { scale, inverse: 1. / scale, zero_point: f32::from(zero_point) }
    }
}

impl Kept {
    /// The nearest byte, in steps from the one that stands for 0. A number that is none stays none.
    #[inline(always)]
    pub(crate) fn steps(&self, x: f32) -> f32 {
        (x * self.inverse + self.zero_point).clamp(0., 255.) + ROUND - ROUND - self.zero_point
    }

    /// Scale and bias of a sum, so that they give bytes.
    pub(crate) fn scale_and_bias(&self, scale: f32, bias: f32) -> (f32, f32) {
        (scale * self.inverse, bias * self.inverse + self.zero_point)
    }

    /// The bytes, not rounded, of what a clamp keeps values between.
    pub(crate) fn limits(&self, [low, high]: [f32; 2]) -> [f32; 2] {
        [low, high].map(|limit| (limit * self.inverse + self.zero_point).clamp(0., 255.))
    }

    /// [`steps`](Self::steps) of what scale and bias have given, between [`limits`](Self::limits).
    #[inline(always)]
    pub(crate) fn steps_between(&self, byte: f32, [low, high]: [f32; 2]) -> f32 {
        let above = if byte < low { low } else { byte };
        let byte = if above > high { high } else { above };
        byte + ROUND - ROUND - self.zero_point
    }

    /// What a gradient of steps is for the value `x`.
    #[inline(always)]
    pub(crate) fn gradient(&self, x: f32, of_steps: f32) -> f32 {
        if self.holds(x) { of_steps * self.inverse } else { 0. }
    }

    /// Whether the nearest byte is one: nothing is cut off.
    #[inline(always)]
    fn holds(&self, x: f32) -> bool {
        let byte = x * self.inverse + self.zero_point + ROUND - ROUND;
        (0. ..=255.).contains(&byte)
    }
}

/// The elements of a contiguous float32 tensor on the CPU, as an operation's forward receives it.
pub(crate) fn as_slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("expected a contiguous tensor, found {layout:?}"),
    }
}

/// Calls `f` with the elements of tensors on the CPU, as an operation's backward needs them.
pub(crate) fn with_slices<const N: usize, R>(ts: [&Tensor; N], f: impl FnOnce([&[f32]; N]) -> R) -> Result<R> {
    let ts: Vec<Tensor> = ts.iter().map(|t| t.contiguous()).collect::<Result<_>>()?;
    let guards: Vec<_> = ts.iter().map(|t| t.storage_and_layout()).collect();
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        *slice = match &**storage {
            Storage::Cpu(cpu) => as_slice(cpu, layout)?,
            _ => bail!("expected a tensor on the CPU"),
        };
    }
    Ok(f(slices))
}

/// The steps of values; any shape.
pub(crate) fn values(xs: &Tensor, kept: Kept) -> Result<Tensor> {
    xs.contiguous()?.apply_op1(Values(kept))
}

/// A weight in steps, and what a step of each output channel stands for.
pub(crate) struct Steps {
    /// `[c_out, …]`
    pub(crate) weight: Tensor,
    /// The scales.
    pub(crate) scales: Vec<f32>,
    /// The sums of each output channel's steps.
    pub(crate) sums: Vec<i32>,
}

impl Steps {
    /// Of a weight `[c_out, …]`.
    pub(crate) fn new(weight: &Tensor) -> Result<Self> {
        let (weight, channels) = (weight.contiguous()?, weight.dim(0)?);
        let (bytes, scales) = with_slices([&weight], |[weight]| quantize_weight(weight, channels))?;
        let rows = bytes.chunks((bytes.len() / channels.max(1)).max(1));
        let sums = rows.map(|row| row.iter().map(|byte| i32::from(*byte)).sum()).collect();
        let weight = weight.apply_op1(Weight { bytes, scales: scales.clone() })?;
        Ok(Self { weight, scales, sums })
    }

    /// The weight that the steps stand for.
    pub(crate) fn scaled(&self) -> Result<Tensor> {
        let mut shape = vec![1; self.weight.rank()];
        shape[0] = self.scales.len();
        self.weight.broadcast_mul(&Tensor::from_slice(&self.scales, shape, self.weight.device())?)
    }
}

struct Values(Kept);

impl CustomOp1 for Values {
    fn name(&self) -> &'static str {
        "steps-of-values"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let xs = as_slice(xs, layout)?;
        let mut ys = vec![0.; xs.len()];
        ys.par_chunks_mut(PART).zip(xs.par_chunks(PART)).for_each(|(ys, xs)| {
            ys.iter_mut().zip(xs).for_each(|(y, x)| *y = self.0.steps(*x));
        });
        Ok((CpuStorage::F32(ys), layout.shape().clone()))
    }

    fn bwd(&self, xs: &Tensor, _: &Tensor, gys: &Tensor) -> Result<Option<Tensor>> {
        let gxs = with_slices([xs, gys], |[xs, gys]| {
            let mut gxs = vec![0.; xs.len()];
            gxs.par_chunks_mut(PART).zip(xs.par_chunks(PART)).zip(gys.par_chunks(PART)).for_each(|((gxs, xs), gys)| {
                for ((gx, x), gy) in gxs.iter_mut().zip(xs).zip(gys) {
                    *gx = self.0.gradient(*x, *gy);
                }
            });
            gxs
        })?;
        Tensor::from_vec(gxs, xs.shape(), xs.device()).map(Some)
    }
}

struct Weight {
    bytes: Vec<i8>,
    scales: Vec<f32>,
}

impl CustomOp1 for Weight {
    fn name(&self) -> &'static str {
        "steps-of-weight"
    }

    fn cpu_fwd(&self, _: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let steps = self.bytes.iter().map(|byte| f32::from(*byte)).collect();
        Ok((CpuStorage::F32(steps), layout.shape().clone()))
    }

    fn bwd(&self, weight: &Tensor, _: &Tensor, of_steps: &Tensor) -> Result<Option<Tensor>> {
        let gradient = with_slices([of_steps], |[of_steps]| {
            let rows = of_steps.chunks((of_steps.len() / self.scales.len().max(1)).max(1)).zip(&self.scales);
            rows.flat_map(|(row, scale)| row.iter().map(move |gradient| gradient / scale)).collect::<Vec<f32>>()
        })?;
        Tensor::from_vec(gradient, weight.shape(), weight.device()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use mobilenet_kernels::folded::int8::Affine;

    use super::*;

    /// Values around every byte and beyond both ends, halves included.
    fn grid(scale: f32) -> Vec<f32> {
        (-1200..1200).map(|i| i as f32 * 0.25 * scale).chain([1e30, -1e30, f32::INFINITY, f32::NEG_INFINITY]).collect()
    }

    #[test]
    fn values_are_what_the_runtime_s_bytes_stand_for() {
        for (scale, zero_point) in [(0.1, 0), (0.5, 17), (0.037, 128), (1e-4, 255)] {
            let (kept, affine) = (Kept::from(Quantization { scale, zero_point }), Affine { scale, zero_point });
            for x in grid(scale) {
                assert_eq!(scale * kept.steps(x), affine.value(affine.byte(x)), "{x} at {affine:?}");
            }
            assert!(kept.steps(f32::NAN).is_nan());
        }
    }

    /// `fixtures/torch.json`, made by `fixtures/make_torch_json.py`.
    #[test]
    fn values_weights_and_gradients_are_torchs() -> Result<()> {
        let fixture: serde_json::Value = serde_json::from_str(include_str!("../fixtures/torch.json")).unwrap();
        let numbers = |value: &serde_json::Value| -> Vec<f32> { serde_json::from_value(value.clone()).unwrap() };
        let assert_close = |found: &Tensor, expected: &serde_json::Value| -> Result<()> {
            for (found, expected) in found.flatten_all()?.to_vec1::<f32>()?.iter().zip(numbers(expected)) {
                assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{found} {expected}");
            }
            Ok(())
        };
        let device = Device::Cpu;
        for case in fixture["values"].as_array().unwrap() {
            let (scale, zero_point) =
                (case["scale"].as_f64().unwrap() as f32, case["zero_point"].as_u64().unwrap() as u8);
            let xs = Var::from_vec(numbers(&case["x"]), numbers(&case["x"]).len(), &device)?;
            let gys = Tensor::new(numbers(&case["gy"]), &device)?;
            let ys = (values(&xs, Quantization { scale, zero_point }.into())? * f64::from(scale))?;
            assert_close(&ys, &case["y"])?;
            assert_close((ys * gys)?.sum_all()?.backward()?.get(&xs).unwrap(), &case["gx"])?;
        }
        let (case, shape) = (&fixture["weight"], (3, 5));
        let w = Var::from_vec(numbers(&case["w"]), shape, &device)?;
        let steps = Steps::new(&w)?;
        assert_close(&steps.scaled()?, &case["y"])?;
        assert_eq!(
            steps.sums,
            steps.weight.sum(1)?.to_vec1::<f32>()?.iter().map(|sum| *sum as i32).collect::<Vec<_>>()
        );
        let gradient = Tensor::from_vec(numbers(&case["gy"]), shape, &device)?;
        assert_close((steps.scaled()? * &gradient)?.sum_all()?.backward()?.get(&w).unwrap(), &case["gw"])
    }
}
