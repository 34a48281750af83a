//! The layers as stages of a training step, one file for each kind, as in `mobilenet-layers`; `mobilenet-kernels` has the
//! CPU's under the same names.

mod conv_norm;
mod depthwise_norm;
mod inverted_residual;

use mobilenet_arch::plan::LayerPlan;

use crate::backend::{Backend, View};
use crate::error::Result;
use crate::norm::Gradient;
use crate::rows::{Rows, Wants};
use crate::run::{Needs, Run};
use crate::variables::Variables;
pub(crate) use conv_norm::CONV_TAPS;
use conv_norm::ConvNorm;
use depthwise_norm::DepthwiseNorm;
use inverted_residual::InvertedResidual;
pub(crate) use inverted_residual::squeeze_excite_weights;

/// A layer as a step of forward and backward.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub name: String,
    kind: Kind,
    pub output: Rows,
}

#[derive(Clone, Debug)]
enum Kind {
    ConvNorm(ConvNorm),
    DepthwiseNorm(DepthwiseNorm),
    InvertedResidual(Box<InvertedResidual>),
}

/// What stages are made with.
pub(crate) struct Builder<'a, B> {
    pub backend: &'a mut B,
    pub variables: &'a Variables,
    pub needs: &'a mut Needs,
    /// Of expanded tensors and of products' operands.
    pub kind: crate::backend::Kind,
}

impl<B: Backend> Builder<'_, B> {
    pub fn expanded(&mut self, len: usize) -> Result<View> {
        self.backend.values(self.kind, len)
    }

    pub fn floats(&mut self, len: usize) -> Result<View> {
        self.backend.values(crate::backend::Kind::F32, len)
    }

    /// The operand of `len` values and, in bf16 where that is wanted, the same as float32.
    pub fn operand_and_exact(&mut self, len: usize, wants_exact: bool) -> Result<(View, Option<View>)> {
        let operand = self.expanded(len)?;
        if self.kind == crate::backend::Kind::F32 {
            return Ok((operand, Some(operand)));
        }
        Ok((operand, wants_exact.then(|| self.floats(len)).transpose()?))
    }
}

impl Stage {
    /// The stage of a layer whose paths are below `path`.
    pub fn new<B: Backend>(
        build: &mut Builder<B>,
        (layer, path): (&LayerPlan, &str),
        input: &Rows,
        wants: Wants,
    ) -> Result<Self> {
        let (name, kind, output) = match layer {
            LayerPlan::Conv(conv) if conv.config.depthwise => {
                let conv = conv.clone().below(path);
                let (stage, output) = DepthwiseNorm::new(build, &conv, input)?;
                (conv.conv, Kind::DepthwiseNorm(stage), output)
            }
            LayerPlan::Conv(conv) => {
                let conv = conv.clone().below(path);
                let (stage, output) = ConvNorm::new(build, &conv, input, wants)?;
                (conv.conv, Kind::ConvNorm(stage), output)
            }
            LayerPlan::Bottleneck(block) => {
                let (stage, output) = InvertedResidual::new(build, block, path, input, wants)?;
                (path.to_owned(), Kind::InvertedResidual(Box::new(stage)), output)
            }
        };
        Ok(Self { name, kind, output })
    }

    /// Computes the output with the batch's statistics, and moves the running ones.
    pub fn forward<B: Backend>(&self, run: &mut Run<B>, input: &Rows) -> Result<()> {
        run.backend.enter(&format!("{} forward", self.name));
        match &self.kind {
            Kind::ConvNorm(stage) => stage.forward(run, input, &self.output),
            Kind::DepthwiseNorm(stage) => stage.forward(run, input, &self.output),
            Kind::InvertedResidual(stage) => stage.forward(run, input, &self.output),
        }
    }

    /// The gradients of the parameters, and that of the input if it is asked for.
    pub fn backward<B: Backend>(&self, run: &mut Run<B>, input: &Rows, gy: Gradient, gx: Option<View>) -> Result<()> {
        run.backend.enter(&format!("{} backward", self.name));
        match &self.kind {
            Kind::ConvNorm(stage) => stage.backward(run, input, gy, gx),
            Kind::DepthwiseNorm(stage) => stage.backward(run, input, gy, gx),
            Kind::InvertedResidual(stage) => stage.backward(run, input, gy, gx),
        }
    }

    /// Where the statistics of the batch norms before activations are, and their activations: for tests that look for
    /// values near a kink.
    #[cfg(all(test, any(feature = "emulate", feature = "cuda")))]
    pub fn kinks(&self) -> Vec<Kink> {
        match &self.kind {
            Kind::ConvNorm(stage) => stage.kinks(),
            Kind::DepthwiseNorm(stage) => stage.kinks(),
            Kind::InvertedResidual(stage) => stage.kinks(),
        }
    }
}

/// A batch norm before an activation: what it normalizes, how, and its bias.
#[cfg(all(test, any(feature = "emulate", feature = "cuda")))]
#[derive(Clone, Debug)]
pub(crate) struct Kink {
    /// `[rows, c]`
    pub pre: View,
    /// `[4, c]`: mean, scale, bias, …
    pub affine: View,
    /// `[c]`, the variable
    pub bias: View,
    /// What follows.
    pub act: mobilenet_arch::Activation,
}
