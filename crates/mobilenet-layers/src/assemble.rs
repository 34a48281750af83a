//! Layers made from their plans: `mobilenet-arch` says which there are and where their variables are.

use candle_core::Result;
use candle_nn::VarBuilder;
use mobilenet_arch::plan::{BottleneckPlan, ConvPlan, LayerPlan};

use crate::{ConvBnAct, Layer, LinearBottleneck, SqueezeExcite};

impl ConvBnAct {
    /// The layer of a plan, its variables below `vb`.
    ///
    /// # Errors
    /// Those of [`ConvBnAct::new`].
    pub fn from_plan(plan: &ConvPlan, vb: &VarBuilder) -> Result<Self> {
        let ConvPlan { c_in, c_out, config, conv, norm } = plan;
        Self::new(*c_in, *c_out, *config, vb.pp(conv), vb.pp(norm))
    }
}

impl LinearBottleneck {
    /// The block of a plan, its variables below `vb`.
    ///
    /// # Errors
    /// Those of its layers: an even kernel, a stride or dilation of 0, or variables of another shape in `vb`.
    pub fn from_plan(plan: &BottleneckPlan, vb: &VarBuilder) -> Result<Self> {
        let conv = |plan: &ConvPlan| ConvBnAct::from_plan(plan, vb);
        let squeeze_excite = plan.squeeze_excite.as_ref();
        Self::new(
            plan.expand.as_ref().map(conv).transpose()?,
            conv(&plan.depthwise)?,
            squeeze_excite.map(|se| SqueezeExcite::new(se.channels, se.squeeze, vb.pp(&se.path))).transpose()?,
            conv(&plan.project)?,
            plan.residual,
        )
    }
}

impl Layer {
    /// The layer of a plan, its variables below `vb`.
    ///
    /// # Errors
    /// Those of [`ConvBnAct::from_plan`] and [`LinearBottleneck::from_plan`].
    pub fn from_plan(plan: &LayerPlan, vb: &VarBuilder) -> Result<Self> {
        match plan {
            LayerPlan::Conv(conv) => ConvBnAct::from_plan(conv, vb).map(Self::from),
            LayerPlan::Bottleneck(block) => LinearBottleneck::from_plan(block, vb).map(Self::from),
        }
    }
}
