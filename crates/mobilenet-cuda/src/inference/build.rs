//! The layers of a network, and their memory.

use mobilenet_arch::Activation;
use mobilenet_arch::plan::{BottleneckPlan, LayerPlan};

use super::{Block, Folded, Gates, Layer, Tensor};
use crate::backend::{Backend, Kind};
use crate::depthwise::Depthwise;
use crate::error::{Error, Result};
use crate::stages::{CONV_TAPS, squeeze_excite_weights};
use crate::variables::Variables;

/// Makes layers.
pub(super) struct Builder<'a, B> {
    pub backend: &'a mut B,
    pub variables: &'a Variables,
    pub kind: Kind,
}

impl<B: Backend> Builder<'_, B> {
    fn tensor(&mut self, [n, h, w, c]: [usize; 4], exact: bool) -> Result<Tensor> {
        let operand = self.backend.values(self.kind, n * h * w * c)?;
        let exact = match (self.kind, exact) {
            (Kind::F32, _) => Some(operand),
            (_, true) => Some(self.backend.values(Kind::F32, n * h * w * c)?),
            (_, false) => None,
        };
        Ok(Tensor { n, h, w, c, operand, exact })
    }

    /// A layer below `path`; `exact` if its output is added to a later one, `pooled` if its mean over the pixels is.
    pub fn layer(
        &mut self,
        (layer, path): (&LayerPlan, &str),
        x: Tensor,
        exact: bool,
        pooled: bool,
    ) -> Result<(Layer, Tensor)> {
        let plan = match layer {
            LayerPlan::Bottleneck(block) => return self.block(block, path, x, exact, pooled),
            LayerPlan::Conv(conv) => conv.clone().below(path),
        };
        let config = plan.config;
        let (h, w, c, act) = (x.h.div_ceil(config.stride), x.w.div_ceil(config.stride), plan.c_out, config.activation);
        let unsupported = |why| Err(Error::Unsupported { layer: plan.conv.clone(), why });
        if config.kernel == 1 && config.stride == 1 && !config.depthwise {
            let conv = Folded::new(self.backend, self.variables, &plan, Some(self.kind))?;
            let p = self.backend.values(Kind::F32, x.rows() * c)?;
            let y = match pooled {
                true => {
                    let mean = self.backend.values(Kind::F32, x.n * c)?;
                    Tensor { n: x.n, h: 1, w: 1, c, operand: mean, exact: Some(mean) }
                }
                false => self.tensor([x.n, h, w, c], exact)?,
            };
            return Ok((Layer::Pointwise { conv, act, x, y, p, pooled }, y));
        }
        if pooled {
            return unsupported("the mean over the pixels of what is not a 1×1 convolution's output");
        }
        let conv = Folded::new(self.backend, self.variables, &plan, None)?;
        let y = self.tensor([x.n, h, w, c], exact)?;
        if config.depthwise {
            let depthwise = Depthwise::new(&plan, (x.n, x.h, x.w), None, self.kind);
            return Ok((Layer::Depthwise { conv, depthwise, act, x, y }, y));
        }
        if plan.c_in * config.kernel * config.kernel > CONV_TAPS || x.exact.is_none() {
            return unsupported("a dense convolution of more than 75 taps, or after others in bf16");
        }
        Ok((Layer::Stem { conv, config: [config.kernel, config.stride], act, x, y }, y))
    }

    fn block(
        &mut self,
        plan: &BottleneckPlan,
        path: &str,
        x: Tensor,
        exact: bool,
        pooled: bool,
    ) -> Result<(Layer, Tensor)> {
        let (filter, project) = (plan.depthwise.clone().below(path), plan.project.clone().below(path));
        let act = filter.config.activation;
        if pooled || project.config.activation != Activation::Identity || plan.residual && x.exact.is_none() {
            let why = "a block with an activation at its end, or whose mean over the pixels is next";
            return Err(Error::Unsupported { layer: path.to_owned(), why });
        }
        let prologue = plan.expand.as_ref().map(|expand| expand.config.activation);
        let depthwise = Depthwise::new(&filter, (x.n, x.h, x.w), prologue, self.kind);
        let (c, rows) = (filter.c_out, depthwise.rows_out());
        let expand = match &plan.expand {
            Some(expand) => {
                let conv = Folded::new(self.backend, self.variables, &expand.clone().below(path), Some(self.kind))?;
                Some((conv, self.backend.values(self.kind, x.rows() * c)?))
            }
            None => None,
        };
        let squeeze_excite = match &plan.squeeze_excite {
            Some(se) => {
                let mut floats = |len: usize| self.backend.values(Kind::F32, len);
                let tensors = [floats(x.n * c)?, floats(x.n * se.squeeze)?, floats(x.n * c)?, floats(x.n * c)?];
                let unit = floats(4 * c)?;
                let weights = squeeze_excite_weights(self.variables, path, se)?;
                Some(Gates { weights, squeeze: se.squeeze, tensors, unit })
            }
            None => None,
        };
        let y = self.tensor([x.n, depthwise.h_out(), depthwise.w_out(), project.c_out], exact)?;
        let block = Block {
            act,
            expand,
            filter: Folded::new(self.backend, self.variables, &filter, None)?,
            a: self.backend.values(self.kind, rows * c)?,
            squeeze_excite,
            p: self.backend.values(Kind::F32, rows * project.c_out)?,
            project: Folded::new(self.backend, self.variables, &project, Some(self.kind))?,
            depthwise,
            residual: plan.residual,
            x,
            y,
        };
        Ok((Layer::Block(Box::new(block)), y))
    }
}
