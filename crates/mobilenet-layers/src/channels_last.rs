//! Channels-last tensors under Candle's contiguous custom ops.
//!
//! A layer's public tensors are logically `[n, c, h, w]`. On the CPU their storage is `[n, h, w, c]`: the channels of a
//! pixel lie side by side, which turns 1×1 convolutions into one matrix product and lets every other kernel vectorize
//! over channels. A custom op's result is always contiguous, so the ops work on `[n, h, w, c]` shapes and the layers
//! permute at their edges: views, no copies.

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, bail};

/// Whether the kernels can take `xs`: float32 on the CPU. Everything else goes through compositions of Candle's ops.
pub(crate) fn has_kernels(xs: &Tensor) -> bool {
    xs.device().is_cpu() && xs.dtype() == DType::F32
}

/// `[n, c, h, w] -> [n, h, w, c]`, contiguous; no copy if `xs` came from one of our ops.
pub(crate) fn to_nhwc(xs: &Tensor) -> Result<Tensor> {
    xs.permute((0, 2, 3, 1))?.contiguous()
}

/// `[n, h, w, c] -> [n, c, h, w]`, a view.
pub(crate) fn to_nchw(xs: &Tensor) -> Result<Tensor> {
    xs.permute((0, 3, 1, 2))
}

/// Applies an element-wise op to the storage as it lies: channels-last if `xs` is an image.
pub(crate) fn map_nhwc(xs: &Tensor, op: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    if xs.rank() == 4 { to_nchw(&op(&to_nhwc(xs)?)?) } else { op(&xs.contiguous()?) }
}

/// The float32 elements of a contiguous CPU storage, as a custom op's forward receives it.
pub(crate) fn as_slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let all = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&all[start..end]),
        None => bail!("expected a contiguous tensor, found {layout:?}"),
    }
}

/// Calls `f` with the elements of `ts`, as a custom op's backward needs them. Copies what is not contiguous.
pub(crate) fn with_slices<const N: usize, R>(ts: [&Tensor; N], f: impl FnOnce([&[f32]; N]) -> Result<R>) -> Result<R> {
    let ts: Vec<Tensor> = ts.iter().map(|t| t.contiguous()).collect::<Result<_>>()?;
    let guards: Vec<_> = ts.iter().map(|t| t.storage_and_layout()).collect();
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        *slice = match &**storage {
            Storage::Cpu(cpu) => as_slice(cpu, layout)?,
            _ => bail!("expected a tensor on the CPU"),
        };
    }
    f(slices)
}

/// The gradient of `arg`, written by `f` from the elements of `ts`; `None` where nothing upstream asks for it.
pub(crate) fn gradient<const N: usize>(
    arg: &Tensor,
    ts: [&Tensor; N],
    f: impl FnOnce([&[f32]; N], &mut [f32]),
) -> Result<Option<Tensor>> {
    if !arg.track_op() {
        return Ok(None);
    }
    let values = with_slices(ts, |slices| {
        let mut values = vec![0.; arg.elem_count()];
        f(slices, &mut values);
        Ok(values)
    })?;
    Tensor::from_vec(values, arg.shape(), arg.device()).map(Some)
}
