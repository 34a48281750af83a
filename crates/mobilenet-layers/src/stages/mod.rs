//! The layers as parts of a fused operation: which of them have a stage, one file for each kind.

mod conv_norm;
mod depthwise_norm;
mod inverted_residual;
mod pool;

use candle_core::{Module, Result, Tensor, bail};
use mobilenet_kernels::Precision;

use crate::channels_last::{to_nchw, to_nhwc};
use crate::conv_bn_act::Conv;
use crate::fused::{self, Dims, Fusable, Own, Part, Unfused};
use crate::{ConvBnAct, LinearBottleneck, SqueezeExcite};
use conv_norm::ConvNorm;
use depthwise_norm::DepthwiseNorm;
use inverted_residual::InvertedResidual;
pub(crate) use pool::GlobalAvgPool;

impl Fusable for ConvBnAct {
    fn parameters(&self) -> Vec<Tensor> {
        self.parameters()
    }

    fn output(&self, (n, h, w, c): Dims) -> Result<Dims> {
        let window = self.window();
        let (h_out, w_out) = (window.output_len(h), window.output_len(w));
        if c != self.c_in() || h * w == 0 || h_out * w_out == 0 {
            bail!("convolution: expected images of {} channels, found {:?}", self.c_in(), [n, c, h, w])
        }
        Ok((n, h_out, w_out, self.c_out()))
    }

    fn parts(&self, dims: Dims, precision: Precision) -> Result<Vec<Part>> {
        self.output(dims)?;
        Ok(vec![match &self.conv {
            Conv::Dense(conv) => Part::stage(ConvNorm::new(self, conv, dims, precision)),
            Conv::Depthwise(conv) => Part::stage(DepthwiseNorm::new(self, conv, dims, precision)),
        }])
    }

    fn by_operations(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        self.by_operations(xs, train)
    }
}

impl Fusable for LinearBottleneck {
    fn parameters(&self) -> Vec<Tensor> {
        self.parameters()
    }

    fn output(&self, dims: Dims) -> Result<Dims> {
        self.chain().into_iter().try_fold(dims, |dims, layer| layer.output(dims))
    }

    /// One stage; or those of the layers it is a chain of, so that what has no kernel as a whole is not unfused
    /// altogether.
    fn parts(&self, dims: Dims, precision: Precision) -> Result<Vec<Part>> {
        self.output(dims)?;
        let why = match InvertedResidual::new(self, dims, precision) {
            Ok(stage) => return Ok(vec![Part::stage(stage)]),
            Err(why) => why,
        };
        if self.residual {
            let operation = Box::new(Shortcut(self.clone()));
            return Ok(vec![Part::Own(Own { name: self.name.clone(), why, operation })]);
        }
        let mut parts = fused::parts(&self.chain(), dims, precision)?;
        for part in &mut parts {
            if let Part::Own(own) = part {
                (own.name, own.why) = (self.name.clone(), why);
            }
        }
        Ok(parts)
    }

    fn by_operations(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        self.by_operations(xs, train)
    }
}

impl LinearBottleneck {
    /// The layers, first to last.
    fn chain(&self) -> Vec<&dyn Fusable> {
        let mut chain: Vec<&dyn Fusable> = Vec::with_capacity(4);
        chain.extend(self.expand.iter().map(|layer| layer as &dyn Fusable));
        chain.push(&self.depthwise);
        chain.extend(self.squeeze_excite.iter().map(|layer| layer as &dyn Fusable));
        chain.push(&self.project);
        chain
    }
}

/// A block with a shortcut that has no kernel as a whole: the layers it is a chain of, and a sum.
struct Shortcut(LinearBottleneck);

impl Unfused for Shortcut {
    fn run(&self, xs: &Tensor, train: bool, precision: Precision) -> Result<Tensor> {
        xs + fused::forward(&self.0.chain(), xs, train, precision)?
    }
}

impl Fusable for SqueezeExcite {
    fn parameters(&self) -> Vec<Tensor> {
        self.parameters()
    }

    fn output(&self, (n, h, w, c): Dims) -> Result<Dims> {
        if c != self.channels() || h * w == 0 {
            bail!("squeeze-and-excite: expected images of {} channels, found {:?}", self.channels(), [n, c, h, w])
        }
        Ok((n, h, w, c))
    }

    fn parts(&self, dims: Dims, _: Precision) -> Result<Vec<Part>> {
        self.output(dims)?;
        let (name, why) = (String::from("squeeze-and-excite"), "squeeze-and-excite outside a block");
        Ok(vec![Part::Own(Own { name, why, operation: Box::new(self.clone()) })])
    }

    fn by_operations(&self, xs: &Tensor, _: bool) -> Result<Tensor> {
        self.forward(xs)
    }
}

impl Unfused for SqueezeExcite {
    fn run(&self, xs: &Tensor, _: bool, _: Precision) -> Result<Tensor> {
        to_nhwc(&self.forward(&to_nchw(xs)?)?)
    }
}
