//! A network in 8 bits, from a float32 one and some images.

mod equalize;
mod ranges;
mod report;
mod weights;

use mobilenet_runtime::{Model, Network, OperationKind, Precision, Quantization, Session, Tensor, Values};

use equalize::equalized;
pub use ranges::Calibration;
use ranges::Ranges;
pub use report::{LayerNoise, layer_noise};
pub use weights::quantize_weight;
use weights::quantized;

use crate::{Error, Result};

/// Images that are run at once.
const BATCH: usize = 8;

/// How a network is made one in 8 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantizeOptions {
    /// Where a value's range ends; `None` tries all and keeps what a part of the images, held out, tells to be best.
    pub calibration: Option<Calibration>,
    /// Whether channels of neighboring operations are brought to the same range where an activation lets that through (ReLU,
    /// ReLU6 and none, not h-swish); `None` tries both.
    pub equalization: Option<bool>,
    /// Whether a bias makes up for what rounding its weights changes on average.
    pub bias_correction: bool,
}

impl Default for QuantizeOptions {
    fn default() -> Self {
        Self { calibration: None, equalization: None, bias_correction: true }
    }
}

/// A network in 8 bits, and how it came about.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// The network.
    pub network: Network,
    /// The float32 network that it was made from: the given one, or the same function with equalized channels.
    pub float: Network,
    /// Where ranges end.
    pub calibration: Calibration,
    /// How many channels were equalized, 0 if none.
    pub equalized: usize,
    /// What was tried.
    pub tried: Vec<Tried>,
}

/// A way to make a network one in 8 bits, tried on images that were held out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tried {
    /// Where ranges ended.
    pub calibration: Calibration,
    /// How many channels were equalized.
    pub equalized: usize,
    /// The root mean square of what the logits differ by, in shares of the float32 network's own: less is better.
    pub error: f64,
}

/// Quantizes `network`: weights to 8 bits with a sign and a scale for each output channel, values to 8 bits with a scale and a
/// zero point each. The ranges of values are those of `images`, `[n, h, w, 3]`, normalized: some hundred training images. A
/// quarter of them is held out where ways are compared.
///
/// # Errors
/// There are fewer than four images, the network is not in float32, or its last operation is no linear layer.
pub fn quantize(network: &Network, images: &[f32], options: QuantizeOptions) -> Result<Quantized> {
    check(network)?;
    let input = &network.description.input;
    let len = input.height * input.width * 3;
    let count = images.len() / len.max(1);
    if count < 4 || !images.len().is_multiple_of(len) {
        return Err(Error::Quantize(format!("expected at least 4 calibration images, found {count}")));
    }
    let calibrations = options.calibration.map_or(Calibration::ALL.to_vec(), |calibration| vec![calibration]);
    let is_choice = calibrations.len() > 1 || options.equalization.is_none();
    let (seen, held_out) = images.split_at((count - if is_choice { (count / 4).max(1) } else { 0 }) * len);
    let ranges = Ranges::observe(network, seen, BATCH)?;
    let mut candidates = Vec::new();
    if options.equalization != Some(false) {
        let (float, channels) = equalized(network, &ranges);
        if channels > 0 {
            let ranges = Ranges::observe(&float, seen, BATCH)?;
            candidates.push((float, channels, ranges));
        }
    }
    // The plain one first: it stays where the other is no better.
    if options.equalization != Some(true) || candidates.is_empty() {
        candidates.insert(0, (network.clone(), 0, ranges));
    }
    let expected = logits(network, held_out)?;
    let size = root_mean_square(expected.iter().map(|logit| f64::from(*logit)));
    let mut best: Option<(f64, Quantized)> = None;
    let mut tried = Vec::new();
    for (float, channels, ranges) in candidates {
        for &calibration in &calibrations {
            let network = make(&float, &ranges, (calibration, channels), options.bias_correction)?;
            let found = logits(&network, held_out)?;
            let differences = expected.iter().zip(&found).map(|(expected, found)| f64::from(found - expected));
            let error = root_mean_square(differences) / size.max(f64::MIN_POSITIVE);
            if is_choice {
                tried.push(Tried { calibration, equalized: channels, error });
            }
            if best.as_ref().is_none_or(|(least, _)| error < *least) {
                let float = float.clone();
                best = Some((error, Quantized { network, float, calibration, equalized: channels, tried: Vec::new() }));
            }
        }
    }
    match best {
        Some((_, quantized)) => Ok(Quantized { tried, ..quantized }),
        None => Err(Error::Quantize("no way to end a range was tried".to_owned())),
    }
}

/// The weights and biases of `network`, in 8 bits, with the ranges of `like`, which was made of a network with the same
/// operations: what a training in 8 bits ends with. Nothing else is changed, no bias corrected.
///
/// # Errors
/// The network is not in float32, `like` is not in 8 bits, or their operations differ.
pub fn requantize(network: &Network, like: &Network) -> Result<Network> {
    check(network)?;
    let mut bare = like.operations.clone();
    bare.iter_mut().for_each(|operation| operation.quantization = None);
    if like.description.input.quantization.is_none() || bare != network.operations {
        return Err(Error::Quantize("expected the same operations with ranges".to_owned()));
    }
    let kept = |value: usize| match value {
        0 => like.description.input.quantization,
        value => like.operations[value - 1].quantization,
    };
    let mut made = in_bytes(network, kept, None)?;
    made.description.origin.changes.clone_from(&like.description.origin.changes);
    Ok(made)
}

/// Whether a network can be made one in 8 bits.
fn check(network: &Network) -> Result<()> {
    let precision = network.precision();
    if precision != Precision::Float32 {
        return Err(Error::Quantize(format!("expected a float32 network, found one in {precision}")));
    }
    if !matches!(network.operations.last(), Some(last) if last.kind == OperationKind::Linear && last.add.is_none()) {
        return Err(Error::Quantize("expected a network that ends in a linear layer".to_owned()));
    }
    Ok(())
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
fn make(
    network: &Network,
    ranges: &Ranges,
    (calibration, equalized): (Calibration, usize),
    corrects: bool,
) -> Result<Network> {
    let last = network.operations.len();
    let kept = |value| (value != last).then(|| ranges.quantization(value, calibration));
    let mut made = in_bytes(network, kept, corrects.then_some(ranges))?;
    let equalized = if equalized > 0 { format!(", {equalized} channels equalized") } else { String::new() };
    made.description.origin.changes.push(format!("8 bits, ranges by {calibration}{equalized}"));
    Ok(made)
}

/// The network with its weights in 8 bits and its values as `kept` says; with `means`, biases make up for the rounding.
fn in_bytes(
    network: &Network,
    kept: impl Fn(usize) -> Option<Quantization>,
    means: Option<&Ranges>,
) -> Result<Network> {
    let mut made = network.clone();
    made.description.input.quantization = kept(0);
    for (i, operation) in made.operations.iter_mut().enumerate() {
        operation.quantization = kept(i + 1);
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
                if let Some(ranges) = means {
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
