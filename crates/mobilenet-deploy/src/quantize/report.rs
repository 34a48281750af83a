//! Where 8 bits lose the most.

use mobilenet_runtime::{Model, Network, Session};

use crate::Result;

/// What 8 bits change of an operation's result.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNoise {
    /// The operation.
    pub name: String,
    /// The mean square of the result over that of what it differs by, in decibels: 20 is a tenth, 40 a hundredth.
    pub signal_to_noise_db: f64,
}

/// Compares each operation's result in 8 bits with the float32 network's on `images`: all that was lost up to there.
///
/// # Errors
/// A network does not run, or the images are not of its size.
pub fn layer_noise(float: &Network, quantized: &Network, images: &[f32]) -> Result<Vec<LayerNoise>> {
    let mut sums = vec![(0f64, 0f64); float.operations.len()];
    let mut expected = vec![Vec::new(); float.operations.len()];
    let mut float_session = Session::new(&Model::observable(float)?, 0)?;
    let mut quantized_session = Session::new(&Model::observable(quantized)?, 0)?;
    let len = float.shapes()?[0].len();
    for image in images.chunks_exact(len) {
        float_session.observe(image, &mut |operation, values| expected[operation] = values.to_vec())?;
        quantized_session.observe(image, &mut |operation, values| {
            let (signal, noise) = &mut sums[operation];
            for (expected, found) in expected[operation].iter().zip(values) {
                *signal += f64::from(*expected).powi(2);
                *noise += f64::from(found - expected).powi(2);
            }
        })?;
    }
    let named = float.operations.iter().zip(sums).map(|(operation, (signal, noise))| LayerNoise {
        name: operation.name.clone(),
        signal_to_noise_db: 10. * (signal / noise.max(f64::MIN_POSITIVE)).log10(),
    });
    Ok(named.collect())
}
