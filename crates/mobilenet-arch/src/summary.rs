//! What a model consists of: every layer's output shape, parameters, multiply-adds and activation size.

mod table;

use serde::{Deserialize, Serialize};

use crate::graph::{Operation, OperationKind, elements, operations};
use crate::plan::{Part, Plan};
use crate::{Arch, Error, ModelConfig, Preset};

/// The bytes of a number: everything is counted as float32.
const FLOAT_BYTES: u64 = 4;

/// A model's layers and their totals, for one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The architecture.
    pub model: Arch,
    /// The preset.
    pub preset: Preset,
    /// Channels, height and width of the image.
    pub input: [usize; 3],
    /// The number of classes.
    pub num_classes: usize,
    /// The width multiplier.
    pub width_mult: f64,
    /// Trainable numbers: weights and biases. Running statistics are not counted.
    pub params: u64,
    /// Multiply-adds of the convolutions and linear layers, one multiplication with its addition counted once.
    pub macs: u64,
    /// The size of all layers' outputs together, as float32, in bytes.
    pub activation_bytes: u64,
    /// The layers in the order they run.
    pub layers: Vec<LayerSummary>,
}

/// One layer of a [`Summary`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSummary {
    /// The layer's path in the state dict where it has weights, else the path of the module that it ends.
    pub name: String,
    /// What it does.
    pub kind: LayerKind,
    /// How: the window, stride and dilation, the activation's name, the squeeze width; empty where there is nothing to
    /// say.
    pub detail: String,
    /// The `N` of `features.N`: 0 is the stem, 1 the first block. `None` after the features.
    pub block: Option<usize>,
    /// The shape of the output without the batch: `[c, h, w]`, or `[c]` after the mean over the pixels.
    pub output: Vec<usize>,
    /// Trainable numbers.
    pub params: u64,
    /// Multiply-adds.
    pub macs: u64,
    /// The output's size as float32, in bytes.
    pub activation_bytes: u64,
}

/// What runs as one: the stem, a block, the last convolution, or the mean over the pixels with the classifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockSummary {
    /// `stem`, `block 1`, …, `last conv`, `classifier`.
    pub name: String,
    /// The shape of the input without the batch.
    pub input: Vec<usize>,
    /// The shape of the output without the batch.
    pub output: Vec<usize>,
    /// Trainable numbers.
    pub params: u64,
    /// Multiply-adds for one image.
    pub macs: u64,
}

impl BlockSummary {
    /// What has to be moved at least for a batch of `n` images, in bytes of float32: each input and output once, and
    /// the parameters once.
    pub fn bytes(&self, n: usize) -> u64 {
        FLOAT_BYTES * (n as u64 * (elements(&self.input) + elements(&self.output)) + self.params)
    }
}

/// What a layer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerKind {
    /// A convolution over all channels.
    Conv,
    /// A convolution of each channel.
    Depthwise,
    /// Batch normalization.
    BatchNorm,
    /// An activation function.
    Activation,
    /// Squeeze-and-excite, whole.
    SqueezeExcite,
    /// The shortcut's addition.
    Add,
    /// The mean over the pixels.
    Pool,
    /// Dropout.
    Dropout,
    /// A linear layer.
    Linear,
}

impl LayerKind {
    /// The name used in the table and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conv => "conv",
            Self::Depthwise => "depthwise",
            Self::BatchNorm => "batch-norm",
            Self::Activation => "activation",
            Self::SqueezeExcite => "squeeze-excite",
            Self::Add => "add",
            Self::Pool => "pool",
            Self::Dropout => "dropout",
            Self::Linear => "linear",
        }
    }
}

/// Counts a model's layers for images of `(height, width)` pixels, without making the model.
///
/// # Errors
/// Those of [`ModelConfig::validate`], and a height or width that is 0 or above 16,384.
pub fn summary(config: &ModelConfig, image_size: (usize, usize)) -> Result<Summary, Error> {
    let plan = Plan::new(config)?;
    let (h, w) = image_size;
    let blocks = plan.blocks.len();
    let layers: Vec<_> = operations(&plan, image_size)?.iter().map(|op| LayerSummary::new(op, blocks)).collect();
    Ok(Summary {
        model: config.arch,
        preset: config.preset,
        input: [3, h, w],
        num_classes: config.num_classes,
        width_mult: config.width_mult,
        params: layers.iter().map(|layer| layer.params).sum(),
        macs: layers.iter().map(|layer| layer.macs).sum(),
        activation_bytes: layers.iter().map(|layer| layer.activation_bytes).sum(),
        layers,
    })
}

impl LayerSummary {
    /// Of an operation of a network with so many blocks.
    fn new(op: &Operation, blocks: usize) -> Self {
        let (kind, detail) = describe(op.kind);
        Self {
            name: op.name.clone(),
            kind,
            detail,
            block: match op.part {
                Part::Stem => Some(0),
                Part::Block(i) => Some(i),
                Part::Head => Some(blocks + 1),
                Part::Classifier => None,
            },
            output: op.output.clone(),
            params: op.params(),
            macs: op.macs(),
            activation_bytes: FLOAT_BYTES * elements(&op.output),
        }
    }
}

/// What an operation does, and how.
fn describe(kind: OperationKind) -> (LayerKind, String) {
    match kind {
        OperationKind::Conv { kernel, stride, dilation, depthwise } => {
            let kind = if depthwise { LayerKind::Depthwise } else { LayerKind::Conv };
            let mut detail = format!("{kernel}x{kernel}");
            if stride != 1 {
                detail += &format!(" /{stride}");
            }
            if dilation != 1 {
                detail += &format!(" dilation {dilation}");
            }
            (kind, detail)
        }
        OperationKind::BatchNorm(_) => (LayerKind::BatchNorm, String::new()),
        OperationKind::Activation(activation) => (LayerKind::Activation, activation.name().into()),
        OperationKind::SqueezeExcite { squeeze } => (LayerKind::SqueezeExcite, format!("squeeze {squeeze}")),
        OperationKind::Add => (LayerKind::Add, String::new()),
        OperationKind::Pool => (LayerKind::Pool, "mean".into()),
        OperationKind::Dropout { p } => (LayerKind::Dropout, format!("p {p}")),
        OperationKind::Linear => (LayerKind::Linear, String::new()),
    }
}

impl Summary {
    /// The layers by what runs as one, in order: as many as the model has stages of features, and the classifier.
    pub fn blocks(&self) -> Vec<BlockSummary> {
        let last = self.layers.iter().filter_map(|layer| layer.block).max();
        let mut input = self.input.to_vec();
        self.layers
            .chunk_by(|a, b| a.block == b.block)
            .map(|layers| {
                let block = layers.first().and_then(|layer| layer.block);
                let name = match block {
                    None => "classifier".into(),
                    Some(0) => "stem".into(),
                    block if block == last && is_last_conv(layers) => "last conv".into(),
                    Some(i) => format!("block {i}"),
                };
                let output = layers.last().map_or_else(Vec::new, |layer| layer.output.clone());
                BlockSummary {
                    name,
                    input: std::mem::replace(&mut input, output.clone()),
                    output,
                    params: layers.iter().map(|layer| layer.params).sum(),
                    macs: layers.iter().map(|layer| layer.macs).sum(),
                }
            })
            .collect()
    }
}

/// Whether these layers are a convolution after the blocks, each of which has a depthwise one.
fn is_last_conv(layers: &[LayerSummary]) -> bool {
    layers.iter().all(|layer| layer.kind != LayerKind::Depthwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_has_the_documented_keys() {
        let config = ModelConfig::new(Arch::V2, 10, Preset::Cifar);
        let json = serde_json::to_value(summary(&config, (32, 32)).unwrap()).unwrap();
        assert_eq!(json["model"], "v2");
        assert_eq!(json["params"], 2_236_682);
        assert_eq!(json["layers"][3]["name"], "features.1.conv.0.0");
        assert_eq!(json["layers"][3]["kind"], LayerKind::Depthwise.name());
        assert_eq!(json["layers"][3]["block"], 1);
        assert_eq!(json["layers"][3]["output"], serde_json::json!([32, 32, 32]));
        assert_eq!(json["layers"][3]["activation_bytes"], 4 * 32 * 32 * 32);
    }

    #[test]
    fn blocks_hold_every_layer_and_hand_on_their_output() {
        for arch in Arch::all() {
            let config = ModelConfig::new(arch, 10, Preset::Cifar);
            let summary = summary(&config, (32, 32)).unwrap();
            let blocks = summary.blocks();
            let plan = Plan::new(&config).unwrap();
            let names: Vec<&str> = blocks.iter().map(|block| block.name.as_str()).collect();
            let numbered: Vec<String> = (1..=plan.blocks.len()).map(|i| format!("block {i}")).collect();
            let mut expected = vec!["stem"];
            expected.extend(numbered.iter().map(String::as_str));
            expected.extend(plan.head.map(|_| "last conv"));
            expected.push("classifier");
            assert_eq!(names, expected, "{arch}");
            assert_eq!(blocks.iter().map(|block| block.params).sum::<u64>(), summary.params);
            assert_eq!(blocks.iter().map(|block| block.macs).sum::<u64>(), summary.macs);
            assert_eq!((&blocks[0].input[..], &blocks[names.len() - 1].output[..]), (&[3, 32, 32][..], &[10][..]));
            assert!(blocks.windows(2).all(|pair| pair[0].output == pair[1].input), "{arch}");
        }
    }

    #[test]
    fn bytes_count_the_images_of_a_batch_and_the_parameters_once() {
        let (input, output) = (vec![3, 2, 2], vec![5]);
        let block = BlockSummary { name: "b".into(), input, output, params: 7, macs: 0 };
        assert_eq!((block.bytes(1), block.bytes(10)), (4 * (12 + 5 + 7), 4 * (10 * (12 + 5) + 7)));
    }
}
