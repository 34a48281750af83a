//! Weights in 8 bits, a scale for each output channel.

use mobilenet_runtime::{Network, Tensor, Values};

use crate::{Error, Result};

/// The greatest of a weight's 8 bits. -128 is left out, so that the range is the same on both sides of 0.
const MOST: f32 = 127.;

fn weight<'a>(network: &'a Network, name: &str) -> Result<(&'a [usize], &'a [f32])> {
    match network.tensors.get(name) {
        Some(Tensor { shape, values: Values::F32(values) }) => Ok((shape, values)),
        _ => Err(Error::Quantize(format!("expected a float32 tensor {name:?}"))),
    }
}

/// A weight in 8 bits and the scale of each of its `channels` output channels: the channel's greatest value is 127 steps.
#[must_use]
pub fn quantize_weight(values: &[f32], channels: usize) -> (Vec<i8>, Vec<f32>) {
    let channels = channels.max(1);
    let (mut bytes, mut scales) = (Vec::with_capacity(values.len()), Vec::with_capacity(channels));
    for channel in values.chunks_exact((values.len() / channels).max(1)) {
        let most = channel.iter().fold(0f32, |most, value| most.max(value.abs()));
        // A channel of zeros has any scale.
        let scale = if most > 0. { most / MOST } else { 1. };
        scales.push(scale);
        bytes.extend(channel.iter().map(|value| (value / scale).round_ties_even().clamp(-MOST, MOST) as i8));
    }
    (bytes, scales)
}

/// A network's weight in 8 bits.
pub(super) fn quantized(network: &Network, name: &str) -> Result<(Vec<i8>, Vec<f32>)> {
    let (shape, values) = weight(network, name)?;
    Ok(quantize_weight(values, shape.first().copied().unwrap_or(1)))
}

/// By how much rounding the weight changes each output channel on average, for inputs of these means by channel. What the
/// border of zeros takes part in is left out of account.
pub(super) fn changes(network: &Network, name: &str, bytes: &[i8], scales: &[f32], means: &[f32]) -> Result<Vec<f32>> {
    let (shape, values) = weight(network, name)?;
    let (inner, taps) = match *shape {
        [_, c_in, kh, kw] => (c_in, kh * kw),
        [_, c_in] => (c_in, 1),
        _ => return Err(Error::Quantize(format!("expected a weight {name:?} of 2 or 4 dimensions, found {shape:?}"))),
    };
    let len = (inner * taps).max(1);
    let of_channel = |(channel, (values, bytes)): (usize, (&[f32], &[i8]))| {
        let terms = values.iter().zip(bytes).enumerate().map(|(i, (value, byte))| {
            // A depthwise window sees its own channel alone.
            let from = if inner == 1 && means.len() > 1 { channel } else { i / taps };
            f64::from(f32::from(*byte) * scales[channel] - value) * f64::from(means.get(from).copied().unwrap_or(0.))
        });
        terms.sum::<f64>() as f32
    };
    Ok(values.chunks_exact(len).zip(bytes.chunks_exact(len)).enumerate().map(of_channel).collect())
}
