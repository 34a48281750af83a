//! A network's operations as nodes.

use std::collections::BTreeMap;

use mobilenet_runtime::{Activation, Network, Operation, OperationKind, Precision, Quantization, Tensor, Values};

use super::graph::{Graph, Numbers, float, int, ints};
use super::quantized::{Bias, before, clips, integers, symmetric_scale, unsigned};
use super::{IMAGES, OnnxProfile};
use crate::{Error, Result};

/// A network that becomes a graph.
pub(super) struct Export<'a> {
    network: &'a Network,
    profile: OnnxProfile,
    graph: Graph,
    /// The network's values: the image, and what each operation gives.
    values: Vec<Value>,
    /// What was made of a value for those that take it.
    taken: BTreeMap<(usize, Form), String>,
}

/// A value of the network.
struct Value {
    /// The name of the float32 value in the graph.
    name: String,
    rank: Rank,
    quantization: Option<Quantization>,
}

/// The shape of a value in the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// `[n, c, h, w]`
    Image,
    /// `[n, c]`
    Vector,
}

/// How an operation takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Form {
    rank: Rank,
    /// After it was kept in 8 bits.
    quantized: bool,
}

impl<'a> Export<'a> {
    pub(super) fn new(network: &'a Network, profile: OnnxProfile) -> Self {
        let quantization = network.description.input.quantization;
        let image = Value { name: IMAGES.to_owned(), rank: Rank::Image, quantization };
        Self { network, profile, graph: Graph::default(), values: vec![image], taken: BTreeMap::new() }
    }

    /// Adds an operation.
    pub(super) fn operation(&mut self, operation: &Operation) -> Result<()> {
        let Operation { name, kind, input, add, activation, quantization } = operation;
        let input = *input;
        let (result, rank) = match kind {
            &OperationKind::Conv { kernel, stride, dilation, depthwise } => {
                let x = self.take(input, Rank::Image, true);
                let [weight, bias] = self.parameters(name, self.values[input].quantization)?;
                let group = if depthwise { tensor(self.network, &bias_of(name))?.values.len() } else { 1 };
                let attributes = vec![
                    ints("kernel_shape", &[kernel; 2]),
                    ints("strides", &[stride; 2]),
                    ints("pads", &[dilation * (kernel / 2); 4]),
                    ints("dilations", &[dilation; 2]),
                    int("group", group),
                ];
                (self.graph.node_with(name.clone(), "Conv", &[&x, &weight, &bias], attributes), Rank::Image)
            }
            OperationKind::Linear => {
                let x = self.take(input, Rank::Vector, true);
                let [weight, bias] = self.parameters(name, self.values[input].quantization)?;
                let attributes = vec![int("transB", 1)];
                (self.graph.node_with(name.clone(), "Gemm", &[&x, &weight, &bias], attributes), Rank::Vector)
            }
            OperationKind::SqueezeExcite => {
                let x = self.take(input, Rank::Image, false);
                (self.squeeze_excite(name, &x)?, Rank::Image)
            }
            OperationKind::Pool => {
                let x = self.take(input, Rank::Image, false);
                (self.graph.node(name.clone(), "GlobalAveragePool", &[&x]), Rank::Image)
            }
        };
        let mut result = result;
        let is_left_out = self.profile.is_cpu()
            && add.is_none()
            && quantization.is_some_and(|quantization| clips(quantization, activation));
        if !is_left_out {
            if let Some(own) = self.own_quantization(operation) {
                result = self.keep(&result, name, own);
            }
            result = self.activation(&format!("{name}.activation"), activation, result);
        }
        if let Some(add) = *add {
            let shortcut = self.take(add, rank, true);
            result = self.graph.node(format!("{name}.sum"), "Add", &[&result, &shortcut]);
        }
        self.values.push(Value { name: result, rank, quantization: *quantization });
        Ok(())
    }

    /// The graph, and the name of the last value.
    pub(super) fn finish(mut self) -> (Graph, String) {
        let result = self.take(self.values.len() - 1, Rank::Vector, false);
        (self.graph, result)
    }

    /// How the result of a layer with weights is kept before its activation and sum, so that the layer runs as
    /// integers.
    fn own_quantization(&self, operation: &Operation) -> Option<Quantization> {
        let Operation { name, kind, input, add, activation, quantization } = operation;
        let is_layer = matches!(kind, OperationKind::Conv { .. } | OperationKind::Linear);
        let is_in_8_bits = |tensor: &Tensor| matches!(tensor.values, Values::I8(_));
        let runs_as_integers = is_layer
            && self.profile.is_cpu()
            && self.values[*input].quantization.is_some()
            && self.network.tensors.get(&weight_of(name)).is_some_and(is_in_8_bits);
        if !runs_as_integers {
            return None;
        }
        match (add, activation) {
            // In trained networks the sum's range holds the result too: a sum has more spread than its parts.
            (Some(_), Activation::Identity) => *quantization,
            (Some(_), _) => None,
            (None, activation) => before((*quantization)?, activation),
        }
    }

    /// The name of a value as an operation takes it. In the profile of CPUs all operations take what was kept in 8
    /// bits, in TensorRT's those that can make use of it.
    fn take(&mut self, value: usize, rank: Rank, quantized: bool) -> String {
        let is_cpu = self.profile.is_cpu();
        let Value { name, rank: own, quantization } = &self.values[value];
        let (own, name) = (*own, name.clone());
        let quantization = quantization.filter(|_| quantized || is_cpu);
        let form = Form { rank, quantized: quantization.is_some() };
        if let Some(taken) = self.taken.get(&(value, form)) {
            return taken.clone();
        }
        let mut taken = name.clone();
        if own != rank {
            // ONNX Runtime keeps a value in 8 bits through a change of shape only if it is so before and after.
            if is_cpu && quantization.is_some() {
                taken = self.take(value, own, quantized);
            }
            taken = match rank {
                Rank::Vector => {
                    self.graph.node_with(format!("{name}.flat"), "Flatten", &[&taken], vec![int("axis", 1)])
                }
                Rank::Image => {
                    let axes = self.graph.constant(format!("{name}.axes"), &[2], Numbers::I64(&[2, 3]));
                    self.graph.node(format!("{name}.image"), "Unsqueeze", &[&taken, &axes])
                }
            };
        }
        if let Some(quantization) = quantization {
            taken = self.keep(&taken.clone(), &taken, quantization);
        }
        self.taken.insert((value, form), taken.clone());
        taken
    }

    /// Keeps a value in 8 bits: the name of the float32 value that comes of it.
    fn keep(&mut self, value: &str, name: &str, quantization: Quantization) -> String {
        let (scale, zero_point) = (format!("{name}.scale"), format!("{name}.zero_point"));
        let (scale, zero_point) = match self.profile {
            OnnxProfile::Cpu | OnnxProfile::CpuUnsigned => (
                self.graph.constant(scale, &[], Numbers::F32(&[quantization.scale])),
                self.graph.constant(zero_point, &[], Numbers::U8(&[quantization.zero_point])),
            ),
            OnnxProfile::Trt => (
                self.graph.constant(scale, &[], Numbers::F32(&[symmetric_scale(quantization)])),
                self.graph.constant(zero_point, &[], Numbers::I8(&[0])),
            ),
        };
        let kept = self.graph.node(format!("{name}.quantized"), "QuantizeLinear", &[value, &scale, &zero_point]);
        self.graph.node(format!("{name}.dequantized"), "DequantizeLinear", &[&kept, &scale, &zero_point])
    }

    fn squeeze_excite(&mut self, name: &str, x: &str) -> Result<String> {
        let mut gate = self.graph.node(format!("{name}.avgpool"), "GlobalAveragePool", &[x]);
        for (layer, activation) in [("fc1", Activation::Relu), ("fc2", Activation::HSigmoid)] {
            let layer = format!("{name}.{layer}");
            let [weight, bias] = self.parameters(&layer, None)?;
            gate = self.graph.node(layer.clone(), "Conv", &[&gate, &weight, &bias]);
            gate = self.activation(&format!("{layer}.activation"), &activation, gate);
        }
        Ok(self.graph.node(name.to_owned(), "Mul", &[x, &gate]))
    }

    fn activation(&mut self, name: &str, activation: &Activation, x: String) -> String {
        let (graph, name) = (&mut self.graph, name.to_owned());
        match activation {
            Activation::Identity => x,
            Activation::Relu => graph.node(name, "Relu", &[&x]),
            Activation::Relu6 => {
                let limits = [graph.scalar("relu6.min".to_owned(), 0.), graph.scalar("relu6.max".to_owned(), 6.)];
                graph.node(name, "Clip", &[&x, &limits[0], &limits[1]])
            }
            Activation::HSwish => graph.node(name, "HardSwish", &[&x]),
            Activation::HSigmoid => {
                graph.node_with(name, "HardSigmoid", &[&x], vec![float("alpha", 1. / 6.), float("beta", 0.5)])
            }
            Activation::Pieces { kinks, slopes } => {
                let mut sum: Option<String> = None;
                for (i, (&kink, &slope)) in kinks.iter().zip(slopes).enumerate() {
                    let kink = graph.scalar(format!("{name}.{i}.kink"), kink);
                    let slope = graph.scalar(format!("{name}.{i}.slope"), slope);
                    let moved = graph.node(format!("{name}.{i}.sub"), "Sub", &[&x, &kink]);
                    let cut = graph.node(format!("{name}.{i}.relu"), "Relu", &[&moved]);
                    let piece = graph.node(format!("{name}.{i}.mul"), "Mul", &[&cut, &slope]);
                    sum = Some(match sum {
                        Some(sum) => graph.node(format!("{name}.{i}.add"), "Add", &[&sum, &piece]),
                        None => piece,
                    });
                }
                sum.unwrap_or(x)
            }
        }
    }

    /// The names of a layer's weight and bias. `input` is how the layer's input is kept, if it is to run as integers.
    fn parameters(&mut self, name: &str, input: Option<Quantization>) -> Result<[String; 2]> {
        let network = self.network;
        let Tensor { shape, values } = tensor(network, &weight_of(name))?;
        let biases = floats(network, &bias_of(name))?;
        let (channels, graph) = ([biases.len()], &mut self.graph);
        let weights = match values {
            Values::F32(weights) => {
                let weight = graph.constant(weight_of(name), shape, Numbers::F32(weights));
                return Ok([weight, graph.constant(bias_of(name), &channels, Numbers::F32(biases))]);
            }
            Values::I8(weights) => weights,
            Values::Bf16(_) => return Err(Error::OnnxPrecision { found: Precision::Bf16 }),
        };
        let scales = floats(network, &format!("{name}.weight_scale"))?;
        // Biases are as they are where there is no input in 8 bits, and in TensorRT's profile.
        let input = input.filter(|_| self.profile.is_cpu());
        let integers = integers(weights, scales, biases, input.map(|input| input.scale));
        let scale = graph.constant(format!("{name}.weight_scale"), &channels, Numbers::F32(&integers.scales));
        let mut numbers = |name: String, shape: &[usize], values: &[i8]| match self.profile {
            OnnxProfile::CpuUnsigned => graph.constant(name, shape, Numbers::U8(&unsigned(values))),
            _ => graph.constant(name, shape, Numbers::I8(values)),
        };
        let weight = numbers(weight_of(name), shape, &integers.weights);
        let zeros = numbers(format!("{name}.weight_zero_point"), &channels, &vec![0; biases.len()]);
        let weight = dequantize(graph, weight_of(name), &[&weight, &scale, &zeros]);
        let bias = match integers.bias {
            None => graph.constant(bias_of(name), &channels, Numbers::F32(biases)),
            Some(Bias { steps, scales }) => {
                let bias = graph.constant(bias_of(name), &channels, Numbers::I32(&steps));
                let scale = graph.constant(format!("{name}.bias_scale"), &channels, Numbers::F32(&scales));
                dequantize(graph, bias_of(name), &[&bias, &scale])
            }
        };
        Ok([weight, bias])
    }
}

/// The float32 value of integers that have a scale for each output channel.
fn dequantize(graph: &mut Graph, name: String, inputs: &[&str]) -> String {
    graph.node_with(format!("{name}.dequantized"), "DequantizeLinear", inputs, vec![int("axis", 0)])
}

/// The name of a layer's weight.
fn weight_of(layer: &str) -> String {
    format!("{layer}.weight")
}

/// The name of a layer's bias.
fn bias_of(layer: &str) -> String {
    format!("{layer}.bias")
}

fn tensor<'a>(network: &'a Network, name: &str) -> Result<&'a Tensor> {
    network.tensors.get(name).ok_or_else(|| wrong(name, "none"))
}

/// The numbers of a float32 tensor.
fn floats<'a>(network: &'a Network, name: &str) -> Result<&'a [f32]> {
    match &tensor(network, name)?.values {
        Values::F32(values) => Ok(values),
        Values::Bf16(_) => Err(wrong(name, "bf16")),
        Values::I8(_) => Err(wrong(name, "8 bits")),
    }
}

fn wrong(name: &str, found: &str) -> Error {
    Error::Tensor { name: name.to_owned(), expected: Vec::new(), found: found.to_owned() }
}
