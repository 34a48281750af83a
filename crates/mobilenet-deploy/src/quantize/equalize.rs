//! Channels of neighboring operations brought to the same range.
//!
//! A value's channels share one scale in 8 bits: a channel whose greatest value is a tenth of the value's has a tenth of the
//! steps. Where an activation lets a factor through, `f(t · x) = t · f(x)`, the channel can be made `t` times as large by the
//! weights before it and `t` times as small by the weights after it, and the network stays what it is (Nagel et al. 2019,
//! "Data-Free Quantization Through Weight Equalization and Bias Correction", <https://arxiv.org/abs/1906.04721>). Weights have
//! a scale for each output channel here, so that the factor costs the weights before nothing, and a depthwise window after it
//! nothing either; a dense weight after it pays, and gets half of the factor.
//!
//! ReLU lets every factor through, ReLU6 one up to 6 divided by the greatest value that was seen of the channel, h-swish none.

use mobilenet_runtime::{Activation, Network, Operation, OperationKind, Tensor, Values};

use super::ranges::Ranges;

/// The greatest factor.
const MOST: f32 = 64.;

/// The equalized network, and how many channels are larger now; the same function on the images of `ranges`.
pub(super) fn equalized(network: &Network, ranges: &Ranges) -> (Network, usize) {
    let (mut made, mut count) = (network.clone(), 0);
    for (place, operation) in network.operations.iter().enumerate() {
        let Some(after) = sole_reader(network, place) else { continue };
        let peaks = ranges.peaks(place + 1);
        let limit = match operation.activation {
            Activation::Relu6 => 6.,
            Activation::Identity | Activation::Relu => peaks.iter().copied().fold(0., f32::max),
            _ => continue,
        };
        let [before, behind] = [operation, after].map(|operation| format!("{}.weight", operation.name));
        let columns = match after.kind {
            OperationKind::Conv { depthwise: true, .. } => None,
            _ => columns(&made, &behind, peaks.len()),
        };
        let largest = columns.iter().flatten().copied().fold(0., f32::max);
        let factor = |(channel, &peak): (usize, &f32)| {
            let most = if peak > 0. { (limit / peak).clamp(1., MOST) } else { 1. };
            match columns.as_ref().and_then(|columns| columns.get(channel)) {
                Some(column) => (most * column / largest.max(f32::MIN_POSITIVE)).sqrt().clamp(1., most),
                None => most,
            }
        };
        let factors: Vec<f32> = peaks.iter().enumerate().map(factor).collect();
        count += factors.iter().filter(|factor| **factor > 1.).count();
        for name in [before, format!("{}.bias", operation.name)] {
            scale(&mut made, &name, |row, _| factors[row]);
        }
        let is_dense = columns.is_some();
        scale(&mut made, &behind, |row, column| 1. / factors[if is_dense { column } else { row }]);
    }
    (made, count)
}

/// The convolution or linear layer that alone takes the value of the convolution in `place`.
fn sole_reader(network: &Network, place: usize) -> Option<&Operation> {
    let (operation, value) = (&network.operations[place], place + 1);
    let mut readers = network.operations.iter().filter(|other| other.input == value || other.add == Some(value));
    let reader = readers.next().filter(|reader| reader.add != Some(value))?;
    let is_product = matches!(reader.kind, OperationKind::Conv { .. } | OperationKind::Linear);
    let fits = matches!(operation.kind, OperationKind::Conv { .. }) && operation.add.is_none() && is_product;
    (fits && readers.next().is_none()).then_some(reader)
}

/// The greatest weight of each input channel, of a weight `[c_out, c_in, …]`.
fn columns(network: &Network, name: &str, channels: usize) -> Option<Vec<f32>> {
    let (Some(Tensor { shape, values: Values::F32(values) }), mut most) =
        (network.tensors.get(name), vec![0f32; channels])
    else {
        return None;
    };
    let taps: usize = shape.iter().skip(2).product();
    for row in values.chunks_exact(channels * taps) {
        for (most, window) in most.iter_mut().zip(row.chunks_exact(taps)) {
            *most = window.iter().fold(*most, |most, value| most.max(value.abs()));
        }
    }
    Some(most)
}

/// Multiplies a tensor's numbers by a factor of their row (output channel) and column (input channel).
fn scale(network: &mut Network, name: &str, factor: impl Fn(usize, usize) -> f32) {
    let Some(Tensor { shape, values: Values::F32(values) }) = network.tensors.get_mut(name) else { return };
    let (inner, taps) = (shape.get(1).copied().unwrap_or(1), shape.iter().skip(2).product::<usize>());
    for (i, value) in values.iter_mut().enumerate() {
        *value *= factor(i / (inner * taps).max(1), i / taps.max(1) % inner.max(1));
    }
}
