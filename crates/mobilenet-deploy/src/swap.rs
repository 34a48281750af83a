//! Other activations in the place of a network's own.

use mobilenet_runtime::{Activation, Network};

use crate::{Error, Result};

/// The most straight pieces between -3 and 3.
pub const MAX_PIECES: usize = 7;

/// What takes the place of which activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// ReLU6 for h-swish.
    HSwishToRelu6,
    /// So many straight pieces between -3 and 3 for h-swish, which is 0 before and `x` after.
    HSwishToPieces(usize),
    /// ReLU for ReLU6.
    Relu6ToRelu,
}

/// Swaps activations; returns how many. The weights stay: a network that is to keep its accuracy is trained a little more.
///
/// # Errors
/// No piece or more than [`MAX_PIECES`]; the network is in 8 bits, with ranges that are its activations'.
pub fn swap(network: &mut Network, swap: Swap) -> Result<usize> {
    if network.description.input.quantization.is_some() {
        return Err(Error::Quantize("activations are swapped before, expected a float32 network".to_owned()));
    }
    let (from, to) = match swap {
        Swap::HSwishToRelu6 => (Activation::HSwish, Activation::Relu6),
        Swap::HSwishToPieces(count) => (Activation::HSwish, h_swish_in_pieces(count)?),
        Swap::Relu6ToRelu => (Activation::Relu6, Activation::Relu),
    };
    let found = network.operations.iter_mut().filter(|operation| operation.activation == from);
    let count = found.map(|operation| operation.activation = to.clone()).count();
    network.description.origin.changes.push(match swap {
        Swap::HSwishToRelu6 => format!("ReLU6 for {count} h-swish"),
        Swap::HSwishToPieces(pieces) => format!("{pieces} straight pieces for {count} h-swish"),
        Swap::Relu6ToRelu => format!("ReLU for {count} ReLU6"),
    });
    Ok(count)
}

/// h-swish by `count` straight pieces of equal width between -3 and 3. The parabola there bends away from a chord by `w²/24` at
/// most; the inner kinks lie half of that below it, so that the error is on both sides and half as large.
fn h_swish_in_pieces(count: usize) -> Result<Activation> {
    if !(1..=MAX_PIECES).contains(&count) {
        return Err(Error::Pieces { expected: MAX_PIECES, found: count });
    }
    let width = 6. / count as f64;
    let kink = |i: usize| -3. + i as f64 * width;
    let value = |i: usize| match i {
        0 => 0.,
        i if i == count => 3.,
        i => kink(i) * (kink(i) + 3.) / 6. - width * width / 48.,
    };
    let slope = |i: usize| match i {
        0 => 0.,
        i if i > count => 1.,
        i => (value(i) - value(i - 1)) / width,
    };
    let kinks = (0..=count).map(|i| kink(i) as f32).collect();
    let slopes = (0..=count).map(|i| (slope(i + 1) - slope(i)) as f32).collect();
    Ok(Activation::Pieces { kinks, slopes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(activation: &Activation, x: f32) -> f32 {
        match activation {
            Activation::Pieces { kinks, slopes } => {
                kinks.iter().zip(slopes).map(|(kink, slope)| slope * (x - kink).max(0.)).sum()
            }
            _ => x * (x + 3.).clamp(0., 6.) / 6.,
        }
    }

    #[test]
    fn more_pieces_are_nearer_to_h_swish() {
        let error = |count: usize| {
            let pieces = h_swish_in_pieces(count).unwrap();
            let difference = |i: i32| {
                let x = i as f32 / 100.;
                (value(&pieces, x) - value(&Activation::HSwish, x)).abs()
            };
            (-600..=600).map(difference).fold(0f32, f32::max)
        };
        for count in 3..=MAX_PIECES {
            // At the ends, where the kinks lie on the curve, the piece between them bends more.
            let width = 6. / count as f32;
            assert!(error(count) < 0.8 * width * width / 24., "{count}: {}", error(count));
        }
        assert!((error(1) - 1.5).abs() < 0.8, "{}", error(1));
    }

    #[test]
    fn too_many_pieces_are_refused() {
        for count in [0, 8] {
            let error = h_swish_in_pieces(count).unwrap_err().to_string();
            assert_eq!(error, format!("pieces: expected 1 to 7, found {count}"));
        }
    }
}
