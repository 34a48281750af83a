//! A small model with every kind of state that a checkpoint must carry, and small data.

use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{
    BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Linear, ModuleT, VarMap, batch_norm, conv2d_no_bias, linear,
};
use mobilenet_data::{Augment, Normalization, Split};
use mobilenet_layers::{Dropout, DropoutRng, seeded_var_builder};
use mobilenet_train::{EvalSplit, FitData, Observer, StepReport, TrainConfig, Trainer};

pub const CLASSES: usize = 3;
pub const SIZE: usize = 8;

/// 1×1 convolution of all pixels as channels, batch norm, ReLU, dropout, linear.
pub struct Mlp {
    pub vars: VarMap,
    pub dropout: DropoutRng,
    hidden: Conv2d,
    norm: BatchNorm,
    drop: Dropout,
    out: Linear,
}

impl Mlp {
    pub fn new(width: usize, seed: u64) -> Self {
        Self::over(VarMap::new(), width, seed, BatchNormConfig::default())
    }

    /// The same variables, with the last batch's statistics as the running ones.
    pub fn of_last_batch(&self, width: usize) -> Self {
        Self::over(self.vars.clone(), width, 0, BatchNormConfig { momentum: 1.0, ..BatchNormConfig::default() })
    }

    fn over(vars: VarMap, width: usize, seed: u64, norm: BatchNormConfig) -> Self {
        let vb = seeded_var_builder(&vars, seed, DType::F32, &Device::Cpu);
        let dropout = DropoutRng::new();
        Self {
            hidden: conv2d_no_bias(3 * SIZE * SIZE, width, 1, Conv2dConfig::default(), vb.pp("hidden")).unwrap(),
            norm: batch_norm(width, norm, vb.pp("norm")).unwrap(),
            drop: Dropout::new(0.2, dropout.clone()).unwrap(),
            out: linear(width, CLASSES, vb.pp("out")).unwrap(),
            dropout,
            vars,
        }
    }

    /// Every variable's bits, by name.
    pub fn bits(&self) -> Vec<(String, Vec<u32>)> {
        let vars = self.vars.data().lock().unwrap();
        let bits =
            |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect();
        let mut all: Vec<_> = vars.iter().map(|(name, var)| (name.clone(), bits(var))).collect();
        all.sort();
        all
    }

    pub fn trainer(&self, config: TrainConfig) -> Trainer<'_, Self> {
        Trainer::new(self, &self.vars, self.dropout.clone(), config, &Device::Cpu).unwrap()
    }
}

impl ModuleT for Mlp {
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        let xs = xs.contiguous()?.flatten_from(1)?.unsqueeze(2)?.unsqueeze(3)?.apply(&self.hidden)?.flatten_from(1)?;
        let xs = self.norm.forward_t(&xs, train)?.relu()?;
        self.drop.forward_t(&xs, train)?.apply(&self.out)
    }
}

/// Pictures whose brightest channel is their class, with noise.
pub fn split(n: usize, seed: u32) -> Arc<Split> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    let mut state = seed;
    for i in 0..n {
        let label = i % CLASSES;
        for byte in 0..SIZE * SIZE * 3 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (state >> 24) as u8 / 2;
            pixels.push(if byte % 3 == label { noise + 50 } else { noise });
        }
        labels.push(label as u32);
    }
    Arc::new(Split::new(pixels, labels, SIZE, SIZE).unwrap())
}

pub fn data(train: usize, eval: usize, eval_split: EvalSplit) -> FitData {
    let train = split(train, 1);
    let normalization = Normalization::of(&train).unwrap();
    FitData { train, eval: split(eval, 2), eval_split, normalization }
}

pub fn config() -> TrainConfig {
    TrainConfig {
        epochs: 3,
        batch_size: 16,
        label_smoothing: 0.1,
        warmup_epochs: 0.5,
        augment: Augment { crop_padding: 2, ..Augment::default() },
        ..TrainConfig::default()
    }
}

/// Stops after so many steps.
pub struct StopAfter(pub usize);

impl Observer for StopAfter {
    fn on_step(&mut self, _: &StepReport) -> ControlFlow<()> {
        self.0 -= 1;
        if self.0 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
