//! Trains a small convolutional network on `shapes10` for two epochs:
//!
//! ```text
//! cargo run --release -p mobilenet-train --example train_shapes -- [FOLDER]
//! ```
//!
//! Interrupt it and start it again with the same folder: it goes on where it was.

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Linear, ModuleT, VarBuilder, VarMap};
use mobilenet_data::{Drawn, LoadOptions, Source};
use mobilenet_layers::{
    Activation, BatchNormConfig, ConvBnAct, ConvBnActConfig, Dropout, DropoutRng, global_avg_pool, seeded_var_builder,
};
use mobilenet_train::{
    AdamWConfig, EpochMetrics, EvalSplit, FitData, Observer, OptimizerConfig, RunOptions, StepReport, TrainConfig,
    Trainer,
};

/// Four 3 x 3 convolutions, a mean over the picture, dropout, a linear classifier.
struct Net {
    convolutions: Vec<ConvBnAct>,
    dropout: Dropout,
    classifier: Linear,
}

impl Net {
    fn new(vb: VarBuilder<'_>, rng: DropoutRng) -> Result<Self> {
        let mut convolutions = Vec::new();
        for (i, (c_in, c_out, stride)) in [(3, 16, 2), (16, 32, 1), (32, 64, 2), (64, 96, 2)].into_iter().enumerate() {
            let config = ConvBnActConfig::dense(3, stride, BatchNormConfig::default(), Activation::Relu);
            let vb = vb.pp(format!("convolutions.{i}"));
            convolutions.push(ConvBnAct::new(c_in, c_out, config, vb.pp("conv"), vb.pp("norm"))?);
        }
        Ok(Self {
            convolutions,
            dropout: Dropout::new(0.1, rng)?,
            classifier: candle_nn::linear(96, 10, vb.pp("classifier"))?,
        })
    }
}

impl ModuleT for Net {
    /// `[n, 3, 32, 32] -> [n, 10]`
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        let mut xs = xs.clone();
        for convolution in &self.convolutions {
            xs = convolution.forward_t(&xs, train)?;
        }
        let xs = global_avg_pool(&xs)?;
        self.dropout.forward_t(&xs, train)?.apply(&self.classifier)
    }
}

struct Print;

impl Observer for Print {
    fn on_step(&mut self, r: &StepReport) -> ControlFlow<()> {
        if r.step.is_multiple_of(10) {
            let StepReport { epoch, epochs, step, steps, mean_loss, lr, images_per_second, .. } = r;
            println!(
                "epoch {epoch}/{epochs} step {step}/{steps}: loss {mean_loss:.3}, lr {lr:.1e}, {images_per_second:.0} img/s"
            );
        }
        ControlFlow::Continue(())
    }

    fn on_epoch(&mut self, m: &EpochMetrics) -> ControlFlow<()> {
        println!(
            "epoch {}: train top-1 {:.3}, test top-1 {:.3}, {:.1} s",
            m.epoch,
            m.train_top1,
            m.eval.top1(),
            m.seconds
        );
        ControlFlow::Continue(())
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(|| std::env::temp_dir().join("train-shapes"), PathBuf::from);
    let drawn = Some(Drawn { train: 4000, test: 1000, seed: 1 });
    let options = LoadOptions { source: Source::Shapes10, drawn, ..LoadOptions::default() };
    let dataset = mobilenet_data::load(&options, &mut |_| {})?;
    let data = FitData {
        normalization: dataset.normalization(),
        train: Arc::new(dataset.train),
        eval: Arc::new(dataset.test),
        eval_split: EvalSplit::Test,
    };

    let optimizer = OptimizerConfig::AdamW(AdamWConfig { lr: 5e-3, ..AdamWConfig::default() });
    let config = TrainConfig { epochs: 2, batch_size: 32, warmup_epochs: 0.2, optimizer, ..TrainConfig::default() };
    let (vars, rng) = (VarMap::new(), DropoutRng::new());
    let net = Net::new(seeded_var_builder(&vars, config.seed, DType::F32, &Device::Cpu), rng.clone())?;
    let trainer = Trainer::new(&net, &vars, rng, config, &Device::Cpu)?;
    let run = RunOptions { resume: true, checkpoint_interval: Duration::from_secs(5), ..RunOptions::default() };
    println!("run folder: {}", folder.display());
    let outcome = trainer.fit(&data, &folder, &run, &mut Print)?;
    println!("done in {:.1} s", outcome.elapsed_seconds);
    Ok(())
}
