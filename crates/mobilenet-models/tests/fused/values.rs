//! Parameters that keep every value of a network away from its activations' kinks.

use std::collections::HashMap;

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::{ModuleT, VarBuilder, VarMap};
use mobilenet_layers::{
    Activate, Activation, Conv2d, Conv2dConfig, ConvBnAct, ConvBnActConfig, Layer, global_avg_pool,
};
use mobilenet_models::plan::{BottleneckPlan, ConvPlan, LayerPlan};

use crate::hashed::weight;

/// How far values stay from a kink; rounding moves them by some 1e-6.
const MARGIN: f64 = 5e-5;

/// The parameters and running statistics by name: float64 tensors of float32 values.
pub struct Values(pub HashMap<String, Tensor>);

impl Values {
    /// Those of `layers`, below `0`, `1` and so on. Running statistics that training will move are small: what is kept
    /// of them weighs as much as what is added, with the tables' momentum.
    pub fn new(layers: &[LayerPlan], train: bool) -> Result<Self> {
        let vars = VarMap::new();
        let vb = VarBuilder::from_varmap(&vars, DType::F64, &Device::Cpu);
        layers.iter().enumerate().try_for_each(|(i, layer)| Layer::from_plan(layer, &vb.pp(i)).map(drop))?;
        let vars = vars.data().lock().unwrap();
        let values = vars.iter().map(|(name, var)| {
            let factor = if train && name.contains("running_") { 0.01 } else { 1. };
            let values = weight(name, var.dims(), false).into_iter().map(|v| f64::from(v * factor)).collect::<Vec<_>>();
            Ok((name.clone(), Tensor::from_vec(values, var.dims(), &Device::Cpu)?))
        });
        values.collect::<Result<_>>().map(Self)
    }

    /// A builder of layers that do not change these values.
    fn builder(&self, path: &str) -> VarBuilder<'static> {
        VarBuilder::from_tensors(self.0.clone(), DType::F64, &Device::Cpu).pp(path)
    }

    /// Moves the biases of the layer below `path` so that nothing it computes of `xs` is close to a kink; returns its
    /// output.
    pub fn settle(&mut self, path: &str, layer: &LayerPlan, xs: &Tensor, train: bool) -> Result<Tensor> {
        match layer {
            LayerPlan::Conv(plan) => self.settle_conv(path, plan, xs, train)?,
            LayerPlan::Bottleneck(plan) => self.settle_block(path, plan, xs, train)?,
        }
        match Layer::from_plan(layer, &self.builder(path))? {
            Layer::ConvBnAct(layer) => layer.forward_t(xs, train),
            Layer::LinearBottleneck(block) => block.forward_t(xs, train),
        }
    }

    fn settle_block(&mut self, path: &str, plan: &BottleneckPlan, xs: &Tensor, train: bool) -> Result<()> {
        let mut xs = xs.clone();
        for conv in plan.expand.iter().chain([&plan.depthwise]) {
            self.settle_conv(path, conv, &xs, train)?;
            xs = ConvBnAct::from_plan(conv, &self.builder(path))?.forward_t(&xs, train)?;
        }
        if let Some(se) = &plan.squeeze_excite {
            let path = format!("{path}.{}", se.path);
            let mut xs = global_avg_pool(&xs)?.reshape(((), se.channels, 1, 1))?;
            for (fc, c_in, c_out, activation) in [
                ("fc1", se.channels, se.squeeze, Activation::Relu),
                ("fc2", se.squeeze, se.channels, Activation::HSigmoid),
            ] {
                let config = Conv2dConfig { bias: true, ..Conv2dConfig::POINTWISE };
                let forward =
                    |values: &Self| Conv2d::new(c_in, c_out, config, values.builder(&path).pp(fc))?.forward(&xs);
                let pre = forward(self)?;
                self.move_bias(&format!("{path}.{fc}.bias"), activation, &pre)?;
                xs = Activate(activation).forward(&forward(self)?)?;
            }
        }
        Ok(())
    }

    fn settle_conv(&mut self, path: &str, plan: &ConvPlan, xs: &Tensor, train: bool) -> Result<()> {
        let linear = ConvBnActConfig { activation: Activation::Identity, ..plan.config };
        let linear = ConvPlan { config: linear, ..plan.clone() };
        let pre = ConvBnAct::from_plan(&linear, &self.builder(path))?.forward_t(xs, train)?;
        self.move_bias(&format!("{path}.{}.bias", plan.norm), plan.config.activation, &pre)
    }

    /// `pre` is what comes before an activation. Of its channels each gets a kink, one after the other, into the middle
    /// of its values, and all away from any one of them.
    fn move_bias(&mut self, name: &str, activation: Activation, pre: &Tensor) -> Result<()> {
        let kinks: &[f64] = match activation {
            Activation::Identity => return Ok(()),
            Activation::Relu => &[0.],
            Activation::Relu6 => &[0., 6.],
            Activation::HSwish | Activation::HSigmoid => &[-3., 3.],
        };
        let mut biases: Vec<f64> = self.0[name].to_vec1()?;
        let channels: Vec<Vec<f64>> = pre.transpose(0, 1)?.flatten_from(1)?.to_vec2()?;
        for (c, (bias, mut values)) in biases.iter_mut().zip(channels).enumerate() {
            values.iter_mut().for_each(|v| *v -= *bias);
            values.sort_unstable_by(f64::total_cmp);
            let distance_to = |kink: f64, bias: f64| {
                let above = values.partition_point(|v| v + bias < kink);
                let neighbors = &values[above.saturating_sub(1)..(above + 1).min(values.len())];
                neighbors.iter().map(|v| (v + bias - kink).abs()).fold(f64::INFINITY, f64::min)
            };
            let distance = |bias: f64| kinks.iter().map(|kink| distance_to(*kink, bias)).fold(f64::INFINITY, f64::min);
            // A channel of a single value gets it above the kink or below, channel by channel.
            let (kink, side) = (kinks[c % kinks.len()], [2e-3, -2e-3][c / kinks.len() % 2]);
            let middle = kink - values[values.len() / 2];
            let candidates = (-100..=101).map(|i| f64::from((middle + f64::from(i) * side) as f32));
            *bias = candidates.max_by(|a, b| distance(*a).total_cmp(&distance(*b))).unwrap_or_default();
            assert!(distance(*bias) > MARGIN, "{name}: {:e} from a kink", distance(*bias));
        }
        self.0.insert(name.to_string(), Tensor::new(biases, &Device::Cpu)?);
        Ok(())
    }
}
