//! Definitions in float64, which tests compare kernels with.

use crate::depthwise::DepthwiseShape;

/// float32 values as float64.
pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

/// The length of the difference, in lengths of `expected`.
pub(crate) fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = found.iter().zip(expected).map(|(f, e)| (f64::from(*f) - e).powi(2)).sum::<f64>();
    (square / expected.iter().map(|e| e.powi(2)).sum::<f64>()).sqrt()
}

/// `a · b`, of `m × k` and `k × n` values.
pub(crate) fn product(a: &[f64], b: &[f64], [m, k, n]: [usize; 3]) -> Vec<f64> {
    let mut out = vec![0.; m * n];
    for (row, out) in out.chunks_exact_mut(n).enumerate() {
        for (a, b) in a[row * k..(row + 1) * k].iter().zip(b.chunks_exact(n)) {
            out.iter_mut().zip(b).for_each(|(out, b)| *out += a * b);
        }
    }
    out
}

/// The transpose of a matrix of so many rows.
pub(crate) fn transposed(matrix: &[f64], rows: usize) -> Vec<f64> {
    let columns = matrix.len() / rows;
    (0..matrix.len()).map(|i| matrix[i % rows * columns + i / rows]).collect()
}

/// Mean and `1 / sqrt(var + eps)` of a channel.
fn moments(xs: &[f64], ch: usize, c: usize, eps: f64) -> (f64, f64) {
    let column = || xs.iter().skip(ch).step_by(c);
    let rows = (xs.len() / c) as f64;
    let mean = column().sum::<f64>() / rows;
    let var = column().map(|x| (x - mean).powi(2)).sum::<f64>() / rows;
    (mean, 1. / (var + eps).sqrt())
}

/// Batch norm with the batch's statistics.
pub(crate) fn normalized(xs: &[f64], gamma: &[f64], beta: &[f64], eps: f64) -> Vec<f64> {
    let c = gamma.len();
    let moments: Vec<_> = (0..c).map(|ch| moments(xs, ch, c, eps)).collect();
    let value = |(i, x): (usize, &f64)| {
        let (ch, (mean, inverse_std)) = (i % c, moments[i % c]);
        (x - mean) * inverse_std * gamma[ch] + beta[ch]
    };
    xs.iter().enumerate().map(value).collect()
}

/// The gradient of its input.
pub(crate) fn norm_backward(xs: &[f64], gys: &[f64], gamma: &[f64], eps: f64) -> Vec<f64> {
    let c = gamma.len();
    let rows = (xs.len() / c) as f64;
    let mut gxs = vec![0.; xs.len()];
    for (ch, gamma) in gamma.iter().enumerate() {
        let (mean, inverse_std) = moments(xs, ch, c, eps);
        let column = || (ch..xs.len()).step_by(c);
        let sum = column().map(|i| gys[i]).sum::<f64>() / rows;
        let dot = column().map(|i| gys[i] * (xs[i] - mean) * inverse_std).sum::<f64>() / rows;
        for i in column() {
            gxs[i] = gamma * inverse_std * (gys[i] - sum - (xs[i] - mean) * inverse_std * dot);
        }
    }
    gxs
}

/// Calls `f(input, output, channel, tap)` for every product of a depthwise convolution of `n` images: where its pixel
/// and its sum stand, and whose weight it has.
pub(crate) fn for_each_tap(n: usize, shape: &DepthwiseShape, mut f: impl FnMut(usize, usize, usize, usize)) {
    let &DepthwiseShape { h, w, c, kernel, stride, dilation, padding } = shape;
    let (h_out, w_out) = (shape.h_out(), shape.w_out());
    let source = |o: usize, k: usize, len: usize| {
        (o * stride + k * dilation).checked_sub(padding).filter(|position| *position < len)
    };
    for (i, oy, ox) in (0..n * h_out * w_out).map(|i| (i / w_out / h_out, i / w_out % h_out, i % w_out)) {
        for tap in 0..kernel * kernel {
            let (Some(y), Some(x)) = (source(oy, tap / kernel, h), source(ox, tap % kernel, w)) else { continue };
            let (from, to) = (((i * h + y) * w + x) * c, ((i * h_out + oy) * w_out + ox) * c);
            (0..c).for_each(|channel| f(from + channel, to + channel, channel, tap));
        }
    }
}

/// A depthwise convolution of `n` images, of which `weight` is `[c, 1, k, k]`.
pub(crate) fn filtered(n: usize, shape: &DepthwiseShape, xs: &[f64], weight: &[f64]) -> Vec<f64> {
    let mut ys = vec![0.; n * shape.image_out()];
    let taps = shape.kernel * shape.kernel;
    for_each_tap(n, shape, |from, to, channel, tap| ys[to] += xs[from] * weight[channel * taps + tap]);
    ys
}

/// The gradient of its input.
pub(crate) fn unfiltered(n: usize, shape: &DepthwiseShape, gys: &[f64], weight: &[f64]) -> Vec<f64> {
    let mut gxs = vec![0.; n * shape.image_in()];
    let taps = shape.kernel * shape.kernel;
    for_each_tap(n, shape, |from, to, channel, tap| gxs[from] += gys[to] * weight[channel * taps + tap]);
    gxs
}

/// The gradient of its weight.
pub(crate) fn windows_gradient(n: usize, shape: &DepthwiseShape, xs: &[f64], gys: &[f64]) -> Vec<f64> {
    let taps = shape.kernel * shape.kernel;
    let mut gweight = vec![0.; shape.c * taps];
    for_each_tap(n, shape, |from, to, channel, tap| gweight[channel * taps + tap] += gys[to] * xs[from]);
    gweight
}
