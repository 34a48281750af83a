//! A network in 8 bits, from a float32 one and some images.

mod ranges;
mod report;
mod weights;

use mobilenet_runtime::{Model, Network, OperationKind, Quantization, Session, Tensor, Values};

pub use ranges::Calibration;
use ranges::Ranges;
pub use report::{LayerNoise, layer_noise};
use weights::quantized;

use crate::{Error, Result};

/// Images that are run at once.
const BATCH: usize = 8;

/// How a network is made one in 8 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantizeOptions {
    /// Where a value's range ends; `None` tries all and keeps what a part of the images, held out, tells to be best.
    pub calibration: Option<Calibration>,
    /// Whether a bias makes up for what rounding its weights changes on average.
    pub bias_correction: bool,
}

impl Default for QuantizeOptions {
    fn default() -> Self {
        Self { calibration: None, bias_correction: true }
    }
}

/// A network in 8 bits, and how it came about.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// The network.
    pub network: Network,
    /// Where ranges end.
    pub calibration: Calibration,
    /// For each way that was tried the root mean square of what the logits differ by on the images that were held out, in
    /// shares of the logits' own: less is better.
    pub tried: Vec<(Calibration, f64)>,
}

/// Quantizes `network`: weights to 8 bits with a sign and a scale for each output channel, values to 8 bits with a scale and a
/// zero point each. The ranges of values are those of `images`, `[n, h, w, 3]`, normalized: some hundred training images. A
/// quarter of them is held out where ways to end a range are compared.
///
/// # Errors
/// There are fewer than four images, the network is in 8 bits already, or its last operation is no linear layer.
pub fn quantize(network: &Network, images: &[f32], options: QuantizeOptions) -> Result<Quantized> {
    if network.description.input.quantization.is_some() {
        return Err(Error::Quantize("expected a float32 network, found one in 8 bits".to_owned()));
    }
    if !matches!(network.operations.last(), Some(last) if last.kind == OperationKind::Linear && last.add.is_none()) {
        return Err(Error::Quantize("expected a network that ends in a linear layer".to_owned()));
    }
    let input = &network.description.input;
    let len = input.height * input.width * 3;
    let count = images.len() / len.max(1);
    if count < 4 || !images.len().is_multiple_of(len) {
        return Err(Error::Quantize(format!("expected at least 4 calibration images, found {count}")));
    }
    let held_out = if options.calibration.is_some() { 0 } else { (count / 4).max(1) };
    let (seen, held_out) = images.split_at((count - held_out) * len);
    let ranges = Ranges::observe(network, seen, BATCH)?;
    let made = |calibration| make(network, &ranges, calibration, options.bias_correction);
    if let Some(calibration) = options.calibration {
        return Ok(Quantized { network: made(calibration)?, calibration, tried: Vec::new() });
    }
    let expected = logits(network, held_out)?;
    let size = root_mean_square(expected.iter().map(|logit| f64::from(*logit)));
    let mut best: Option<(f64, Calibration, Network)> = None;
    let mut tried = Vec::new();
    for calibration in Calibration::ALL {
        let network = made(calibration)?;
        let found = logits(&network, held_out)?;
        let differences = expected.iter().zip(&found).map(|(expected, found)| f64::from(found - expected));
        let error = root_mean_square(differences) / size.max(f64::MIN_POSITIVE);
        tried.push((calibration, error));
        if best.as_ref().is_none_or(|(least, ..)| error < *least) {
            best = Some((error, calibration, network));
        }
    }
    match best {
        Some((_, calibration, network)) => Ok(Quantized { network, calibration, tried }),
        None => Err(Error::Quantize("no way to end a range was tried".to_owned())),
    }
}

fn logits(network: &Network, images: &[f32]) -> Result<Vec<f32>> {
    let mut session = Session::new(&Model::new(network)?, 0)?;
    Ok(session.run(images)?.to_vec())
}

fn root_mean_square(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    (values.map(|value| value * value).sum::<f64>() / count).sqrt()
}

/// The network with these ranges.
fn make(network: &Network, ranges: &Ranges, calibration: Calibration, corrects: bool) -> Result<Network> {
    let mut made = network.clone();
    let kept: Vec<Quantization> =
        (0..=network.operations.len()).map(|value| ranges.quantization(value, calibration)).collect();
    made.description.input.quantization = Some(kept[0]);
    let last = network.operations.len().saturating_sub(1);
    for (i, operation) in made.operations.iter_mut().enumerate() {
        operation.quantization = (i != last).then_some(kept[i + 1]);
        let name = &operation.name;
        match operation.kind {
            OperationKind::Pool => {}
            OperationKind::SqueezeExcite => {
                for part in ["fc1", "fc2"] {
                    let weight = format!("{name}.{part}.weight");
                    let (values, scales) = quantized(network, &weight)?;
                    put(&mut made.tensors, &weight, values, scales);
                }
            }
            OperationKind::Conv { .. } | OperationKind::Linear => {
                let weight = format!("{name}.weight");
                let (values, scales) = quantized(network, &weight)?;
                if corrects {
                    let changes = weights::changes(network, &weight, &values, &scales, &ranges.means(operation.input))?;
                    if let Some(Tensor { values: Values::F32(bias), .. }) =
                        made.tensors.get_mut(&format!("{name}.bias"))
                    {
                        bias.iter_mut().zip(changes).for_each(|(bias, change)| *bias -= change);
                    }
                }
                put(&mut made.tensors, &weight, values, scales);
            }
        }
    }
    made.description.origin.changes.push(format!("8 bits, ranges by {calibration}"));
    made.shapes()?;
    Ok(made)
}

/// Puts a weight in 8 bits in the place of the float32 one.
fn put(tensors: &mut std::collections::BTreeMap<String, Tensor>, name: &str, values: Vec<i8>, scales: Vec<f32>) {
    if let Some(tensor) = tensors.get_mut(name) {
        tensor.values = Values::I8(values);
    }
    tensors.insert(format!("{name}_scale"), Tensor::f32([scales.len()], scales));
}
