//! A folded network as a module of Candle.

use std::collections::BTreeMap;

use candle_core::{Device, Result as CandleResult, Tensor, Var, bail};
use candle_nn::{ModuleT, VarMap};
use mobilenet_layers::{Conv2d, DepthwiseConv2d, SqueezeExcite, Window};
use mobilenet_runtime::{Activation, Network, OperationKind, Values};

use crate::fake::{self, Kept, Steps};
use crate::finish::{Finish, Sums};
use crate::function::Function;
use crate::{Error, Result};

/// A folded network that can be trained: its weights and biases are variables, its batch norms stay folded. In float32 it is
/// what mobilenet-runtime runs; with the ranges of a network in 8 bits it is what that runs in integers: values and weights
/// are steps, their sums exact. Squeeze-and-excite's gates are float32 in both, and may differ in their last bit.
pub struct Tuned {
    network: Network,
    vars: VarMap,
    parameters: BTreeMap<String, Tensor>,
    /// How the image and each operation's result are kept, and whether weights are.
    kept: Option<Vec<Option<Kept>>>,
    /// The operation after which a value is not needed.
    last_use: Vec<usize>,
}

impl Tuned {
    /// A network in float32.
    ///
    /// # Errors
    /// It is not in float32, or its parts do not fit each other.
    pub fn new(network: &Network) -> Result<Self> {
        network.shapes()?;
        let (vars, mut parameters) = (VarMap::new(), BTreeMap::new());
        for (name, tensor) in &network.tensors {
            let Values::F32(values) = &tensor.values else {
                return Err(Error::Network(format!("expected float32, found {name:?} in {}", network.precision())));
            };
            let var = Var::from_slice(values, &tensor.shape[..], &Device::Cpu)?;
            parameters.insert(name.clone(), var.as_tensor().clone());
            let mut all = vars.data().lock().map_err(|_| Error::Network("its variables are locked".to_owned()))?;
            all.insert(name.clone(), var);
        }
        for operation in &network.operations {
            Function::new(&operation.activation)?;
            if let OperationKind::Conv { kernel: 2.., dilation: 2.., depthwise: false, .. } = operation.kind {
                return Err(Error::Network(format!("{:?} is a dense convolution with dilation", operation.name)));
            }
        }
        let mut last_use: Vec<usize> = (0..=network.operations.len()).collect();
        for (place, operation) in network.operations.iter().enumerate() {
            for value in [Some(operation.input), operation.add].into_iter().flatten() {
                last_use[value] = last_use[value].max(place);
            }
        }
        Ok(Self { network: network.clone(), vars, parameters, kept: None, last_use })
    }

    /// The same network with 8 bits in all places where `quantized` has them, which was made of it: the same ranges, and the
    /// same biases to begin with.
    ///
    /// # Errors
    /// `quantized` is no such network.
    pub fn with_ranges_of(self, quantized: &Network) -> Result<Self> {
        let mut bare = quantized.operations.clone();
        bare.iter_mut().for_each(|operation| operation.quantization = None);
        if quantized.description.input.quantization.is_none() || bare != self.network.operations {
            return Err(Error::Network("expected the ranges of the same operations".to_owned()));
        }
        for (name, parameter) in &self.parameters {
            let tensor = quantized.tensors.get(name);
            if let Some(Values::F32(values)) = tensor.map(|tensor| &tensor.values)
                && let Some(var) = self.vars.data().lock().ok().and_then(|vars| vars.get(name).cloned())
            {
                var.set(&Tensor::from_slice(values, parameter.shape(), &Device::Cpu)?)?;
            }
        }
        let image = quantized.description.input.quantization;
        let results = quantized.operations.iter().map(|operation| operation.quantization);
        if results.clone().rev().skip(1).any(|kept| kept.is_none()) {
            return Err(Error::Network("expected ranges of all results but the last".to_owned()));
        }
        let kept = std::iter::once(image).chain(results).map(|kept| kept.map(Kept::from)).collect();
        Ok(Self { kept: Some(kept), ..self })
    }

    /// The variables, under the names of the network's tensors.
    #[must_use]
    pub fn vars(&self) -> &VarMap {
        &self.vars
    }

    /// The network with the variables' present values, in float32.
    ///
    /// # Errors
    /// Candle cannot give a value.
    pub fn network(&self) -> Result<Network> {
        let mut network = self.network.clone();
        for (name, parameter) in &self.parameters {
            if let Some(tensor) = network.tensors.get_mut(name) {
                tensor.values = Values::F32(parameter.flatten_all()?.to_vec1()?);
            }
        }
        Ok(network)
    }

    fn kept(&self, value: usize) -> Option<Kept> {
        self.kept.as_ref().and_then(|kept| kept.get(value).copied().flatten())
    }

    /// A parameter; out of training without its history, so that nothing is kept for a backward pass.
    fn parameter(&self, name: &str, train: bool) -> CandleResult<Tensor> {
        match self.parameters.get(name) {
            Some(parameter) if train => Ok(parameter.clone()),
            Some(parameter) => Ok(parameter.detach()),
            None => bail!("expected a tensor named {name:?}"),
        }
    }

    /// A weight as it takes part in products with a value, and what their sums stand for.
    fn weight(&self, name: &str, input: usize, train: bool) -> CandleResult<(Tensor, Option<Sums>)> {
        let weight = self.parameter(&format!("{name}.weight"), train)?;
        let Some(input) = self.kept(input) else { return Ok((weight, None)) };
        let steps = Steps::new(&weight)?;
        let sums = Sums::new(input, &steps);
        Ok((steps.weight, Some(sums)))
    }

    /// A 1×1 convolution of a gate, in float32 of a weight that may be kept in 8 bits.
    fn gate(&self, name: &str, train: bool) -> CandleResult<Conv2d> {
        let weight = self.parameter(&format!("{name}.weight"), train)?;
        let weight = if self.kept.is_some() { Steps::new(&weight)?.scaled()? } else { weight };
        Conv2d::from_tensors(weight, Some(self.bias(name, train)?), 1)
    }

    /// What the steps of a value stand for; the value itself where it has none.
    fn real(&self, xs: &Tensor, value: usize) -> CandleResult<Tensor> {
        self.kept(value).map_or(Ok(xs.clone()), |kept| xs * f64::from(kept.scale))
    }

    fn bias(&self, name: &str, train: bool) -> CandleResult<Tensor> {
        self.parameter(&format!("{name}.bias"), train)
    }

    /// What the operation in `place` gives for `xs`, `[n, h, w, c]`.
    fn operation(&self, place: usize, xs: &Tensor, shortcut: Option<&Tensor>, train: bool) -> CandleResult<Tensor> {
        let operation = &self.network.operations[place];
        let (name, kept) = (&operation.name, self.kept(place + 1));
        let (results, sums) = match operation.kind {
            OperationKind::Conv { kernel, stride, dilation, depthwise: true } => {
                let (weight, sums) = self.weight(name, operation.input, train)?;
                let layer = DepthwiseConv2d::from_tensor(weight, Window::same(kernel, stride, dilation))?;
                (layer.forward_channels_last(xs)?, sums)
            }
            OperationKind::Conv { stride, .. } => {
                let (weight, sums) = self.weight(name, operation.input, train)?;
                (Conv2d::from_tensors(weight, None, stride)?.forward_channels_last(xs)?, sums)
            }
            OperationKind::Linear => {
                let (weight, sums) = self.weight(name, operation.input, train)?;
                let (c_out, c_in) = weight.dims2()?;
                let weight = weight.reshape((c_out, c_in, 1, 1))?;
                (Conv2d::from_tensors(weight, None, 1)?.forward_channels_last(xs)?, sums)
            }
            OperationKind::SqueezeExcite => {
                let gate = |part: &str| self.gate(&format!("{name}.{part}"), train);
                let layer = SqueezeExcite::from_layers(gate("fc1")?, gate("fc2")?)?;
                (layer.forward_channels_last(&self.real(xs, operation.input)?)?, None)
            }
            OperationKind::Pool => {
                let (n, _, _, c) = xs.dims4()?;
                let means = xs.mean((1, 2))?.reshape((n, 1, 1, c))?;
                (self.real(&means, operation.input)?, None)
            }
        };
        let has_bias = !matches!(operation.kind, OperationKind::SqueezeExcite | OperationKind::Pool);
        if !has_bias && operation.add.is_none() && operation.activation == Activation::Identity {
            return kept.map_or(Ok(results.clone()), |kept| fake::values(&results, kept));
        }
        let bias = match has_bias {
            true => self.bias(name, train)?,
            false => Tensor::zeros(results.dim(3)?, results.dtype(), results.device())?,
        };
        let step = operation.add.and_then(|add| self.kept(add)).map(|kept| kept.scale);
        let finish = Finish { function: Function::new(&operation.activation)?, sums, shortcut: step, kept };
        finish.apply(&results, &bias, shortcut)
    }
}

impl ModuleT for Tuned {
    /// `[n, 3, h, w] -> [n, classes]`
    fn forward_t(&self, xs: &Tensor, train: bool) -> CandleResult<Tensor> {
        let input = &self.network.description.input;
        let (n, c, h, w) = xs.dims4()?;
        if (c, h, w) != (3, input.height, input.width) {
            bail!("expected images of 3 × {} × {}, found {:?}", input.height, input.width, xs.shape())
        }
        if n == 0 {
            return Tensor::zeros((0, self.network.description.classes.len()), xs.dtype(), xs.device());
        }
        let image = xs.permute((0, 2, 3, 1))?.contiguous()?;
        let image = self.kept(0).map_or(Ok(image.clone()), |kept| fake::values(&image, kept))?;
        let mut values: Vec<Option<Tensor>> = vec![Some(image)];
        let missing = |value: usize| candle_core::Error::Msg(format!("value {value} is not there yet"));
        for (place, operation) in self.network.operations.iter().enumerate() {
            let value = |value: usize| values.get(value).cloned().flatten().ok_or_else(|| missing(value));
            let (input, shortcut) = (value(operation.input)?, operation.add.map(value).transpose()?);
            let result = self.operation(place, &input, shortcut.as_ref(), train)?;
            for used in [Some(operation.input), operation.add].into_iter().flatten() {
                if self.last_use[used] <= place {
                    values[used] = None;
                }
            }
            values.push(Some(result));
        }
        match values.pop().flatten() {
            Some(logits) => logits.flatten_from(1),
            None => bail!("a network without operations"),
        }
    }
}
