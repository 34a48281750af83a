//! What a model consists of: every layer's output shape, parameters, multiply-adds and activation size.

use std::fmt;

use mobilenet_blocks::v2::InvertedResidualConfig;
use mobilenet_blocks::v3::BottleneckConfig;
use mobilenet_layers::{Activation, ConvBnActConfig};
use serde::Serialize;

use crate::config::check;
use crate::plan::{BlockConfig, ClassifierPlan, Plan};
use crate::{Arch, Error, ModelConfig, Preset};

/// The largest height or width a summary is made for, in pixels.
const MAX_IMAGE_SIZE: usize = 16_384;
/// The bytes of a number: everything is counted as float32.
const FLOAT_BYTES: u64 = 4;

/// A model's layers and their totals, for one image.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerSummary {
    /// The layer's path in the state dict where it has weights, else the path of the module that it ends.
    pub name: String,
    /// What it does.
    pub kind: LayerKind,
    /// How: the window, stride and dilation, the activation's name, the squeeze width; empty where there is nothing to say.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    /// What has to be moved at least for a batch of `n` images, in bytes of float32: each input and output once, and the
    /// parameters once.
    pub fn bytes(&self, n: usize) -> u64 {
        FLOAT_BYTES * (n as u64 * (elements(&self.input) + elements(&self.output)) + self.params)
    }
}

/// What a layer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
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
    let allowed = 1..=MAX_IMAGE_SIZE;
    let found = format!("{h}x{w}");
    check("image_size", allowed.contains(&h) && allowed.contains(&w), format!("1 to {MAX_IMAGE_SIZE}"), found)?;

    let mut rows = Rows { layers: Vec::new(), block: Some(0), shape: vec![3, h, w] };
    let conv_names = |i: usize| (format!("features.{i}.0"), format!("features.{i}.1"));
    rows.conv_bn_act(conv_names(0), plan.stem.c_out, &plan.stem.config);
    for (i, block) in plan.blocks.iter().enumerate() {
        rows.block = Some(i + 1);
        match &block.config {
            BlockConfig::V2(config) => rows.v2(i + 1, config),
            BlockConfig::V3(config) => rows.v3(i + 1, config),
        }
        if block.residual {
            rows.push(format!("features.{}", i + 1), LayerKind::Add, "", 0, 0);
        }
    }
    let head = plan.blocks.len() + 1;
    rows.block = Some(head);
    rows.conv_bn_act(conv_names(head), plan.head.c_out, &plan.head.config);
    rows.block = None;
    rows.classifier(&plan.classifier);

    let layers = rows.layers;
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
                    block if block == last => "last conv".into(),
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

/// The layers so far, and the shape of the last one's output.
struct Rows {
    layers: Vec<LayerSummary>,
    block: Option<usize>,
    shape: Vec<usize>,
}

impl Rows {
    fn push(&mut self, name: impl Into<String>, kind: LayerKind, detail: impl Into<String>, params: u64, macs: u64) {
        self.layers.push(LayerSummary {
            name: name.into(),
            kind,
            detail: detail.into(),
            block: self.block,
            output: self.shape.clone(),
            params,
            macs,
            activation_bytes: FLOAT_BYTES * elements(&self.shape),
        });
    }

    fn conv_bn_act(&mut self, (conv, bn): (String, String), c_out: usize, config: &ConvBnActConfig) {
        let &ConvBnActConfig { kernel, stride, dilation, depthwise, activation, .. } = config;
        let c_in = if depthwise { 1 } else { self.shape[0] };
        let size = |length: usize| (length - 1) / stride + 1;
        self.shape = vec![c_out, size(self.shape[1]), size(self.shape[2])];
        let per_output = (c_in * kernel * kernel) as u64;
        let mut detail = format!("{kernel}x{kernel}");
        if stride != 1 {
            detail += &format!(" /{stride}");
        }
        if dilation != 1 {
            detail += &format!(" dilation {dilation}");
        }
        let kind = if depthwise { LayerKind::Depthwise } else { LayerKind::Conv };
        self.push(conv, kind, detail, per_output * c_out as u64, per_output * elements(&self.shape));
        self.push(bn.clone(), LayerKind::BatchNorm, "", 2 * c_out as u64, 0);
        if activation != Activation::Identity {
            self.activation(bn, activation);
        }
    }

    fn activation(&mut self, after: impl Into<String>, activation: Activation) {
        let detail = match activation {
            Activation::Identity => "identity",
            Activation::Relu => "relu",
            Activation::Relu6 => "relu6",
            Activation::HSwish => "h-swish",
            Activation::HSigmoid => "h-sigmoid",
        };
        self.push(after, LayerKind::Activation, detail, 0, 0);
    }

    fn v2(&mut self, i: usize, config: &InvertedResidualConfig) {
        let &InvertedResidualConfig { c_out, stride, norm, .. } = config;
        let expanded = config.expanded();
        let path = format!("features.{i}.conv");
        let unit = |j: usize| (format!("{path}.{j}.0"), format!("{path}.{j}.1"));
        let mut next = 0;
        if config.expand_ratio != 1 {
            self.conv_bn_act(unit(0), expanded, &ConvBnActConfig::pointwise(norm, Activation::Relu6));
            next = 1;
        }
        let depthwise = ConvBnActConfig::depthwise(3, stride, 1, norm, Activation::Relu6);
        self.conv_bn_act(unit(next), expanded, &depthwise);
        let project = (format!("{path}.{}", next + 1), format!("{path}.{}", next + 2));
        self.conv_bn_act(project, c_out, &ConvBnActConfig::pointwise(norm, Activation::Identity));
    }

    fn v3(&mut self, i: usize, config: &BottleneckConfig) {
        let &BottleneckConfig { kernel, c_in, expanded, c_out, activation, stride, dilation, norm, .. } = config;
        let path = format!("features.{i}.block");
        let unit = |j: usize| (format!("{path}.{j}.0"), format!("{path}.{j}.1"));
        let mut next = 0;
        if expanded != c_in {
            self.conv_bn_act(unit(next), expanded, &ConvBnActConfig::pointwise(norm, activation));
            next += 1;
        }
        let depthwise = ConvBnActConfig::depthwise(kernel, stride, dilation, norm, activation);
        self.conv_bn_act(unit(next), expanded, &depthwise);
        next += 1;
        if let Some(squeeze) = config.squeeze {
            let (c, s) = (expanded as u64, squeeze as u64);
            let detail = format!("squeeze {squeeze}");
            self.push(format!("{path}.{next}"), LayerKind::SqueezeExcite, detail, 2 * c * s + c + s, 2 * c * s);
            next += 1;
        }
        self.conv_bn_act(unit(next), c_out, &ConvBnActConfig::pointwise(norm, Activation::Identity));
    }

    fn classifier(&mut self, plan: &ClassifierPlan) {
        self.shape.truncate(1);
        self.push("avgpool", LayerKind::Pool, "mean", 0, 0);
        if let Some(units) = plan.hidden {
            self.linear(ClassifierPlan::HIDDEN_PATH, units);
            self.activation(ClassifierPlan::HIDDEN_PATH, Activation::HSwish);
        }
        self.push("classifier", LayerKind::Dropout, format!("p {}", plan.dropout), 0, 0);
        self.linear(plan.last_path(), plan.num_classes);
    }

    fn linear(&mut self, name: &str, c_out: usize) {
        let macs = (self.shape[0] * c_out) as u64;
        self.shape = vec![c_out];
        self.push(name, LayerKind::Linear, "", macs + c_out as u64, macs);
    }
}

impl fmt::Display for Summary {
    /// The layers as an aligned table, then the totals.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let header = ["Layer", "Kind", "Output", "Params", "MACs", "Bytes"].map(String::from);
        let rows: Vec<[String; 6]> = self.layers.iter().map(cells).collect();
        let mut widths = [0; 6];
        for row in std::iter::once(&header).chain(&rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.len().max(*width);
            }
        }
        let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1));
        let [c, h, w] = self.input;
        let title = self.model.title();
        writeln!(f, "{title}, width {}, {} classes, input {c}x{h}x{w}", self.width_mult, self.num_classes)?;
        writeln!(f, "{rule}")?;
        write_row(f, &header, &widths)?;
        writeln!(f, "{rule}")?;
        for row in &rows {
            write_row(f, row, &widths)?;
        }
        writeln!(f, "{rule}")?;
        let input_bytes = FLOAT_BYTES * elements(&self.input);
        let param_bytes = FLOAT_BYTES * self.params;
        let total_bytes = input_bytes + self.activation_bytes + param_bytes;
        writeln!(f, "Total params            {} ({})", grouped(self.params), millions(self.params))?;
        writeln!(f, "Total MACs              {} ({})", grouped(self.macs), millions(self.macs))?;
        writeln!(f, "Input size              {}", megabytes(input_bytes))?;
        writeln!(f, "Activations, all layers {}", megabytes(self.activation_bytes))?;
        writeln!(f, "Params size             {}", megabytes(param_bytes))?;
        write!(f, "Estimated total size    {} (one image, float32)", megabytes(total_bytes))
    }
}

fn cells(layer: &LayerSummary) -> [String; 6] {
    let count = |n: u64| if n == 0 { "-".to_string() } else { grouped(n) };
    [
        layer.name.clone(),
        format!("{} {}", layer.kind.name(), layer.detail).trim_end().to_string(),
        layer.output.iter().map(usize::to_string).collect::<Vec<_>>().join("x"),
        count(layer.params),
        count(layer.macs),
        count(layer.activation_bytes),
    ]
}

/// Names to the left, numbers to the right.
fn write_row(f: &mut fmt::Formatter, cells: &[String; 6], widths: &[usize; 6]) -> fmt::Result {
    let ([name, kind, output, params, macs, bytes], w) = (cells, widths);
    writeln!(
        f,
        "{name:<w0$}  {kind:<w1$}  {output:>w2$}  {params:>w3$}  {macs:>w4$}  {bytes:>w5$}",
        w0 = w[0],
        w1 = w[1],
        w2 = w[2],
        w3 = w[3],
        w4 = w[4],
        w5 = w[5],
    )
}

/// `1234567` as `1,234,567`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn millions(n: u64) -> String {
    format!("{:.2} M", n as f64 / 1e6)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

fn elements(shape: &[usize]) -> u64 {
    shape.iter().map(|&length| length as u64).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(n), text);
        }
    }

    #[test]
    fn the_table_is_aligned_and_ends_in_the_totals() {
        let config = ModelConfig::new(Arch::V3Small, 10, Preset::Cifar);
        let summary = summary(&config, (32, 32)).unwrap();
        let text = summary.to_string();
        let rows: Vec<&str> = text.lines().skip(2).take_while(|line| !line.starts_with("Total")).collect();
        assert_eq!(rows.len(), summary.layers.len() + 3, "header and two rules");
        assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
        assert!(text.contains("Total params            1,528,106 (1.53 M)"), "{text}");
        assert!(text.contains("Total MACs              17,507,328 (17.51 M)"), "{text}");
    }

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
        for arch in Arch::ALL {
            let config = ModelConfig::new(arch, 10, Preset::Cifar);
            let summary = summary(&config, (32, 32)).unwrap();
            let blocks = summary.blocks();
            assert_eq!(blocks.len(), Plan::new(&config).unwrap().blocks.len() + 3, "{arch}");
            let names: Vec<&str> = blocks.iter().map(|block| block.name.as_str()).collect();
            assert_eq!((names[0], names[1]), ("stem", "block 1"));
            assert_eq!(names[names.len() - 2..], ["last conv", "classifier"]);
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

    #[test]
    fn refuses_images_without_pixels() {
        let config = ModelConfig::new(Arch::V2, 10, Preset::Cifar);
        for size in [(0, 32), (32, 0), (32, usize::MAX)] {
            let error = summary(&config, size).unwrap_err().to_string();
            assert!(error.starts_with("image_size: expected 1 to 16384, found "), "{error}");
        }
    }
}
