//! A plan as a list of operations on one image: what each does, what it takes and gives, and its parameters.
//!
//! The summary is counted from it, and whatever exports or transforms a network starts from it.
//!
//! ```
//! use mobilenet_arch::graph::{OperationKind, Source, operations};
//! use mobilenet_arch::{Arch, ModelConfig, Preset, plan::Plan};
//!
//! let plan = Plan::new(&ModelConfig::new(Arch::V2, 10, Preset::Cifar))?;
//! let operations = operations(&plan, (32, 32))?;
//! let add = operations.iter().find(|op| op.kind == OperationKind::Add).unwrap();
//! assert_eq!((add.name.as_str(), &add.output[..]), ("features.3", &[24, 32, 32][..]));
//! // The projection before it, and what the block began with.
//! let names = add.inputs.iter().map(|input| match input {
//!     Source::Operation(i) => operations[*i].name.as_str(),
//!     Source::Image => "image",
//! });
//! assert_eq!(names.collect::<Vec<_>>(), ["features.2.conv.3", "features.3.conv.3"]);
//! # Ok::<(), mobilenet_arch::Error>(())
//! ```

use crate::error::check;
use crate::plan::{ClassifierPlan, Part, Plan};
use crate::units::{BottleneckPlan, ConvPlan, LayerPlan, SqueezeExcitePlan, join};
use crate::{Activation, BatchNormConfig, Error};

/// The largest height or width of an image, in pixels.
const MAX_IMAGE_SIZE: usize = 16_384;

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// torchvision's path: of the layer in the state dict where it has parameters, else of the module that the
    /// operation ends.
    pub name: String,
    /// What it does.
    pub kind: OperationKind,
    /// What it takes: one tensor, or two that are added, the shortcut's first.
    pub inputs: Vec<Source>,
    /// The shape of each input without the batch: `[c, h, w]`, or `[c]` after the mean over the pixels.
    pub input: Vec<usize>,
    /// The shape of the output.
    pub output: Vec<usize>,
    /// The part of the network that it belongs to.
    pub part: Part,
    /// Its parameters and running statistics.
    pub parameters: Vec<Parameter>,
}

/// Where a tensor comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The network's input.
    Image,
    /// The output of the operation in this place of the list.
    Operation(usize),
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OperationKind {
    /// A convolution without bias, padded by `dilation * (kernel - 1) / 2` on each side.
    Conv {
        /// Height and width of the window.
        kernel: usize,
        /// Step of the window.
        stride: usize,
        /// Distance of the window's taps.
        dilation: usize,
        /// A window for each channel instead of one over all of them.
        depthwise: bool,
    },
    /// Batch normalization.
    BatchNorm(BatchNormConfig),
    /// An activation, element by element.
    Activation(Activation),
    /// Squeeze-and-excite, whole: mean over the pixels, 1×1 convolution, ReLU, 1×1 convolution, h-sigmoid, product.
    SqueezeExcite {
        /// Hidden width.
        squeeze: usize,
    },
    /// The sum of both inputs.
    Add,
    /// The mean over the pixels.
    Pool,
    /// Dropout, which does nothing in evaluation.
    Dropout {
        /// The probability of a zero.
        p: f64,
    },
    /// A linear layer with bias.
    Linear,
}

/// A tensor of the state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in torchvision's state dict.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Whether it is trained; running statistics are not.
    pub trainable: bool,
}

impl Operation {
    /// Trainable numbers.
    pub fn params(&self) -> u64 {
        self.parameters.iter().filter(|parameter| parameter.trainable).map(|parameter| elements(&parameter.shape)).sum()
    }

    /// Multiply-adds of convolutions and linear layers for one image, a multiplication with its addition counted once.
    pub fn macs(&self) -> u64 {
        let weights = self.parameters.iter().filter(|parameter| parameter.shape.len() > 1);
        let weights: u64 = weights.map(|parameter| elements(&parameter.shape)).sum();
        match self.kind {
            OperationKind::Conv { .. } => weights * elements(self.output.get(1..).unwrap_or_default()),
            // On one pixel.
            OperationKind::SqueezeExcite { .. } | OperationKind::Linear => weights,
            _ => 0,
        }
    }
}

/// The operations of a plan in the order they run, for images of `(height, width)` pixels.
///
/// # Errors
/// A height or width that is 0 or above 16,384.
pub fn operations(plan: &Plan, image_size: (usize, usize)) -> Result<Vec<Operation>, Error> {
    let (h, w) = image_size;
    let allowed = 1..=MAX_IMAGE_SIZE;
    let found = format!("{h}x{w}");
    check("image_size", allowed.contains(&h) && allowed.contains(&w), format!("1 to {MAX_IMAGE_SIZE}"), found)?;
    let mut list = List { operations: Vec::new(), part: Part::Stem, shape: vec![3, h, w] };
    for placed in plan.layers() {
        list.part = placed.part;
        match placed.layer {
            LayerPlan::Conv(conv) => list.conv(conv.below(&placed.path)),
            LayerPlan::Bottleneck(block) => list.bottleneck(*block, &placed.path),
        }
    }
    list.part = Part::Classifier;
    list.classifier(&plan.classifier);
    Ok(list.operations)
}

/// The operations so far, the part that they belong to, and the shape of the last one's output.
struct List {
    operations: Vec<Operation>,
    part: Part,
    shape: Vec<usize>,
}

impl List {
    /// Where the last output comes from.
    fn last(&self) -> Source {
        self.operations.len().checked_sub(1).map_or(Source::Image, Source::Operation)
    }

    fn push(&mut self, name: String, kind: OperationKind, output: Vec<usize>, parameters: Vec<Parameter>) {
        let inputs = vec![self.last()];
        let input = std::mem::replace(&mut self.shape, output.clone());
        self.operations.push(Operation { name, kind, inputs, input, output, part: self.part, parameters });
    }

    fn conv(&mut self, conv: ConvPlan) {
        let ConvPlan { c_in, c_out, config, conv, norm } = conv;
        let (kernel, stride, depthwise) = (config.kernel, config.stride, config.depthwise);
        let size = |length: usize| (length - 1) / stride + 1;
        let output = vec![c_out, size(self.shape[1]), size(self.shape[2])];
        let kind = OperationKind::Conv { kernel, stride, dilation: config.dilation, depthwise };
        let weight = vec![c_out, if depthwise { 1 } else { c_in }, kernel, kernel];
        self.push(conv.clone(), kind, output.clone(), vec![trained(&conv, "weight", weight)]);
        let parameters = vec![
            trained(&norm, "weight", vec![c_out]),
            trained(&norm, "bias", vec![c_out]),
            statistic(&norm, "running_mean", c_out),
            statistic(&norm, "running_var", c_out),
        ];
        self.push(norm.clone(), OperationKind::BatchNorm(config.norm), output, parameters);
        if config.activation != Activation::Identity {
            self.activation(norm, config.activation);
        }
    }

    fn activation(&mut self, after: String, activation: Activation) {
        self.push(after, OperationKind::Activation(activation), self.shape.clone(), Vec::new());
    }

    fn bottleneck(&mut self, block: BottleneckPlan, path: &str) {
        let BottleneckPlan { expand, depthwise, squeeze_excite, project, residual } = block;
        let shortcut = self.last();
        for conv in expand.into_iter().chain([depthwise]) {
            self.conv(conv.below(path));
        }
        if let Some(SqueezeExcitePlan { channels, squeeze, path: relative }) = squeeze_excite {
            let name = join(path, &relative);
            let (fc1, fc2) = (join(&name, "fc1"), join(&name, "fc2"));
            let parameters = vec![
                trained(&fc1, "weight", vec![squeeze, channels, 1, 1]),
                trained(&fc1, "bias", vec![squeeze]),
                trained(&fc2, "weight", vec![channels, squeeze, 1, 1]),
                trained(&fc2, "bias", vec![channels]),
            ];
            self.push(name, OperationKind::SqueezeExcite { squeeze }, self.shape.clone(), parameters);
        }
        self.conv(project.below(path));
        if residual {
            let inputs = vec![shortcut, self.last()];
            self.push(path.to_string(), OperationKind::Add, self.shape.clone(), Vec::new());
            if let Some(add) = self.operations.last_mut() {
                add.inputs = inputs;
            }
        }
    }

    fn classifier(&mut self, plan: &ClassifierPlan) {
        self.push("avgpool".into(), OperationKind::Pool, vec![plan.c_in], Vec::new());
        if let Some(units) = plan.hidden {
            self.linear(ClassifierPlan::HIDDEN_PATH, units);
            self.activation(ClassifierPlan::HIDDEN_PATH.into(), Activation::HSwish);
        }
        let dropout = OperationKind::Dropout { p: plan.dropout };
        self.push("classifier".into(), dropout, self.shape.clone(), Vec::new());
        self.linear(plan.last_path(), plan.num_classes);
    }

    fn linear(&mut self, name: &str, c_out: usize) {
        let parameters = vec![trained(name, "weight", vec![c_out, self.shape[0]]), trained(name, "bias", vec![c_out])];
        self.push(name.into(), OperationKind::Linear, vec![c_out], parameters);
    }
}

fn trained(layer: &str, name: &str, shape: Vec<usize>) -> Parameter {
    Parameter { name: join(layer, name), shape, trainable: true }
}

fn statistic(layer: &str, name: &str, channels: usize) -> Parameter {
    Parameter { name: join(layer, name), shape: vec![channels], trainable: false }
}

/// The numbers in a tensor of this shape.
pub(crate) fn elements(shape: &[usize]) -> u64 {
    shape.iter().map(|&length| length as u64).product()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Arch, ModelConfig, Preset};

    #[test]
    fn every_operation_takes_what_one_before_it_gives() {
        for arch in Arch::all() {
            for preset in Preset::ALL {
                let plan = Plan::new(&ModelConfig::new(arch, 10, preset)).unwrap();
                let list = operations(&plan, (preset.image_size(), preset.image_size())).unwrap();
                for (i, op) in list.iter().enumerate() {
                    let expected = if op.kind == OperationKind::Add { 2 } else { 1 };
                    assert_eq!(op.inputs.len(), expected, "{arch} {}", op.name);
                    for input in &op.inputs {
                        match *input {
                            Source::Image => {
                                assert_eq!((i, &op.input[..]), (0, &[3, preset.image_size(), preset.image_size()][..]))
                            }
                            Source::Operation(j) => assert!(j < i && list[j].output == op.input, "{arch} {}", op.name),
                        }
                    }
                }
                assert_eq!(
                    list.iter().filter(|op| op.inputs.len() == 2).count(),
                    plan.blocks.iter().filter(|b| b.residual).count()
                );
                assert_eq!(list.last().unwrap().output, [10], "{arch}");
            }
        }
    }

    #[test]
    fn no_two_parameters_share_a_name() {
        for arch in Arch::all() {
            let plan = Plan::new(&ModelConfig::new(arch, 10, Preset::Cifar)).unwrap();
            let list = operations(&plan, (32, 32)).unwrap();
            let names: Vec<&str> = list.iter().flat_map(|op| &op.parameters).map(|p| p.name.as_str()).collect();
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{arch}");
        }
    }

    #[test]
    fn images_without_pixels_are_refused() {
        let plan = Plan::new(&ModelConfig::new(Arch::V2, 10, Preset::Cifar)).unwrap();
        for size in [(0, 32), (32, 0), (32, usize::MAX)] {
            let error = operations(&plan, size).unwrap_err().to_string();
            assert!(error.starts_with("image_size: expected 1 to 16384, found "), "{error}");
        }
    }
}
