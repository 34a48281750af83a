//! Layers that run one after the other.

use candle_core::{Result, Tensor};
use candle_nn::ModuleT;

use crate::channels_last::{has_kernels, to_nchw, to_nhwc};
use crate::fused::{self, Dims, Fusable, Stage};
use crate::parameters::Parameters;
use crate::{ConvBnAct, LinearBottleneck};

/// A layer of a [`Stack`].
#[derive(Clone, Debug)]
pub enum Layer {
    /// Convolution, batch norm, activation.
    ConvBnAct(ConvBnAct),
    /// The block of both networks.
    LinearBottleneck(Box<LinearBottleneck>),
}

impl From<ConvBnAct> for Layer {
    fn from(layer: ConvBnAct) -> Self {
        Self::ConvBnAct(layer)
    }
}

impl From<LinearBottleneck> for Layer {
    fn from(layer: LinearBottleneck) -> Self {
        Self::LinearBottleneck(layer.into())
    }
}

impl Fusable for Layer {
    fn tensors(&self) -> Vec<Tensor> {
        match self {
            Self::ConvBnAct(layer) => layer.tensors(),
            Self::LinearBottleneck(layer) => layer.tensors(),
        }
    }

    fn stage(&self, dims: Dims) -> Result<Option<Stage>> {
        match self {
            Self::ConvBnAct(layer) => layer.stage(dims),
            Self::LinearBottleneck(layer) => layer.stage(dims),
        }
    }

    fn chained(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        match self {
            Self::ConvBnAct(layer) => layer.chained(xs, train),
            Self::LinearBottleneck(layer) => layer.chained(xs, train),
        }
    }
}

/// Layers, each applied to what the one before gives. On the CPU the whole stack is one operation under autograd, which
/// spares Candle's backward several passes over every tensor between two layers.
#[derive(Clone, Debug)]
pub struct Stack {
    layers: Vec<Layer>,
    /// Of all layers, for the fused operation; `None` where there are no kernels.
    parameters: Option<Parameters>,
}

impl Stack {
    /// The stack of `layers`, of which there must be at least one.
    pub fn new(layers: Vec<Layer>) -> Result<Self> {
        let tensors: Vec<Tensor> = layers.iter().flat_map(Fusable::tensors).collect();
        let parameters = tensors.iter().all(has_kernels).then(|| Parameters::new(tensors)).transpose()?;
        Ok(Self { layers, parameters })
    }

    /// The layers, in order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// `[n, h, w, c_in] -> [n, h', w', c_out]`: [`ModuleT::forward_t`] on channels-last tensors.
    pub fn forward_channels_last(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        if let Some(parameters) = &self.parameters
            && let Some(ys) = fused::run(&self.layers, parameters, xs, train)?
        {
            return Ok(ys);
        }
        let mut ys = xs.clone();
        for layer in &self.layers {
            ys = match layer {
                Layer::ConvBnAct(layer) => layer.forward_channels_last(&ys, train)?,
                Layer::LinearBottleneck(layer) => layer.forward_channels_last(&ys, train)?,
            };
        }
        Ok(ys)
    }
}

impl ModuleT for Stack {
    /// `[n, c_in, h, w] -> [n, c_out, h', w']`
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        to_nchw(&self.forward_channels_last(&to_nhwc(xs)?, train)?)
    }
}
