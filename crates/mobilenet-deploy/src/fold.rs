//! Batch norm folded into the convolution before it.

use std::collections::BTreeMap;

use mobilenet_arch::ModelConfig;
use mobilenet_arch::graph::{Operation as Planned, OperationKind as Kind, Source, operations};
use mobilenet_arch::plan::Plan;
use mobilenet_runtime::{Activation, Description, Network, Operation, OperationKind, Tensor};

use crate::{Error, Result, Weights};

/// The network of `config` with `weights`, ready to run: each batch norm is folded into the convolution before it, exactly but
/// for rounding, and activations and sums belong to what comes before them. The size of its images is the description's.
///
/// # Errors
/// A parameter is missing or has another shape, the configuration or the image's size is no network's, or the classes are not
/// as many.
pub fn fold(config: &ModelConfig, weights: &Weights, description: Description) -> Result<Network> {
    let plan = Plan::new(config)?;
    let planned = operations(&plan, (description.input.height, description.input.width))?;
    let mut folding = Folding { weights, operations: Vec::new(), tensors: BTreeMap::new(), values: Vec::new() };
    for (place, operation) in planned.iter().enumerate() {
        let value = folding.take(&planned, place, operation)?;
        folding.values.push(value);
    }
    let network = Network { operations: folding.operations, tensors: folding.tensors, description };
    network.shapes()?;
    Ok(network)
}

/// What was folded so far.
struct Folding<'a> {
    weights: &'a Weights,
    operations: Vec<Operation>,
    tensors: BTreeMap<String, Tensor>,
    /// For each planned operation the value that holds its result.
    values: Vec<usize>,
}

impl Folding<'_> {
    /// The value that holds what `operation` gives, after it was taken over.
    fn take(&mut self, planned: &[Planned], place: usize, operation: &Planned) -> Result<usize> {
        let value = |source: &Source| match source {
            Source::Image => 0,
            Source::Operation(i) => self.values[*i],
        };
        let inputs: Vec<usize> = operation.inputs.iter().map(value).collect();
        let input = inputs.first().copied().unwrap_or(0);
        match &operation.kind {
            &Kind::Conv { kernel, stride, dilation, depthwise } => {
                // Its weight waits for the batch norm, which comes next.
                let kind = OperationKind::Conv { kernel, stride, dilation, depthwise };
                self.push(&operation.name, kind, input);
            }
            Kind::BatchNorm(config) => {
                let conv = planned.get(place.wrapping_sub(1)).filter(|conv| matches!(conv.kind, Kind::Conv { .. }));
                let Some(conv) = conv else {
                    return Err(Error::Tensor {
                        name: operation.name.clone(),
                        expected: Vec::new(),
                        found: "a batch norm without a convolution".into(),
                    });
                };
                self.batch_norm(conv, operation, config.eps)?;
            }
            Kind::Activation(activation) => {
                if let Some(last) = self.operations.last_mut() {
                    last.activation = named(*activation);
                }
            }
            Kind::Add => {
                if let Some(last) = self.operations.last_mut() {
                    last.add = Some(input);
                }
            }
            Kind::SqueezeExcite { .. } => {
                self.push(&operation.name, OperationKind::SqueezeExcite, input);
                self.copy(operation)?;
            }
            Kind::Pool => self.push(&operation.name, OperationKind::Pool, input),
            Kind::Dropout { .. } => {}
            Kind::Linear => {
                self.push(&operation.name, OperationKind::Linear, input);
                self.copy(operation)?;
            }
        }
        Ok(self.operations.len())
    }

    fn push(&mut self, name: &str, kind: OperationKind, input: usize) {
        let (name, activation) = (name.to_owned(), Activation::Identity);
        self.operations.push(Operation { name, kind, input, add: None, activation, quantization: None });
    }

    /// Takes parameters over as they are.
    fn copy(&mut self, operation: &Planned) -> Result<()> {
        for parameter in &operation.parameters {
            let values = self.weights.get(&parameter.name, &parameter.shape)?;
            self.tensors.insert(parameter.name.clone(), Tensor::f32(parameter.shape.clone(), values.to_vec()));
        }
        Ok(())
    }

    /// `bn(w · x) = (w · γ/√(σ² + ε)) · x + β - μ · γ/√(σ² + ε)`, in float64.
    fn batch_norm(&mut self, conv: &Planned, norm: &Planned, eps: f64) -> Result<()> {
        let mut parts = Vec::with_capacity(4);
        for parameter in &norm.parameters {
            parts.push(self.weights.get(&parameter.name, &parameter.shape)?);
        }
        let (&[gamma, beta, mean, var], [weight]) = (&parts[..], &conv.parameters[..]) else {
            let found = format!("{} and {} parameters", parts.len(), conv.parameters.len());
            return Err(Error::Tensor { name: norm.name.clone(), expected: Vec::new(), found });
        };
        let values = self.weights.get(&weight.name, &weight.shape)?;
        let channels = gamma.len();
        let scale: Vec<f64> = (0..channels).map(|c| f64::from(gamma[c]) / (f64::from(var[c]) + eps).sqrt()).collect();
        let windows = values.chunks_exact((values.len() / channels.max(1)).max(1));
        let folded =
            windows.zip(&scale).flat_map(|(window, scale)| window.iter().map(move |w| (f64::from(*w) * scale) as f32));
        let bias = (0..channels).map(|c| (f64::from(beta[c]) - f64::from(mean[c]) * scale[c]) as f32);
        self.tensors.insert(format!("{}.weight", conv.name), Tensor::f32(weight.shape.clone(), folded.collect()));
        self.tensors.insert(format!("{}.bias", conv.name), Tensor::f32([channels], bias.collect()));
        Ok(())
    }
}

fn named(activation: mobilenet_arch::Activation) -> Activation {
    match activation {
        mobilenet_arch::Activation::Identity => Activation::Identity,
        mobilenet_arch::Activation::Relu => Activation::Relu,
        mobilenet_arch::Activation::Relu6 => Activation::Relu6,
        mobilenet_arch::Activation::HSwish => Activation::HSwish,
        mobilenet_arch::Activation::HSigmoid => Activation::HSigmoid,
    }
}
