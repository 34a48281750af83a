//! A model of one's own: two blocks and a linear layer, trained with Candle's autograd and its AdamW.
//!
//! The task is to tell horizontal from vertical stripes. Run with `cargo run --release -p mobilenet-blocks --example
//! own_model`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_nn::{AdamW, Linear, Module, ModuleT, Optimizer, ParamsAdamW, VarBuilder, VarMap, linear, loss};
use mobilenet_blocks::v2::{InvertedResidual, InvertedResidualConfig};
use mobilenet_blocks::v3::{Bottleneck, BottleneckConfig};
use mobilenet_blocks::{Activation, BatchNormConfig, global_avg_pool};

struct StripeNet {
    first: InvertedResidual,
    second: Bottleneck,
    classifier: Linear,
}

impl StripeNet {
    fn new(vb: VarBuilder) -> Result<Self> {
        let norm = BatchNormConfig::default();
        let first = InvertedResidualConfig { c_in: 1, c_out: 8, stride: 2, expand_ratio: 8, norm };
        let second = BottleneckConfig {
            kernel: 5,
            c_in: 8,
            expanded: 24,
            c_out: 8,
            squeeze: Some(8),
            activation: Activation::HSwish,
            stride: 1,
            dilation: 1,
            norm,
        };
        Ok(Self {
            first: InvertedResidual::new(&first, vb.pp("first"))?,
            second: Bottleneck::new(&second, vb.pp("second"))?,
            classifier: linear(8, 2, vb.pp("classifier"))?,
        })
    }
}

impl ModuleT for StripeNet {
    /// `[n, 1, h, w] -> [n, 2]`
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        let xs = self.second.forward_t(&self.first.forward_t(xs, train)?, train)?;
        self.classifier.forward(&global_avg_pool(&xs)?)
    }
}

/// `n` images of 12×12 pixels, horizontal (class 0) and vertical (class 1) stripes of period 2 to 4 in turn, with
/// noise.
fn stripes(n: usize, step: usize) -> Result<(Tensor, Tensor)> {
    let pixel = |image: usize, y: usize, x: usize| {
        let along = [y, x][image % 2] + image / 2 + step;
        let stripe = (along % (2 + image % 3)) as f32;
        let noise = ((image * 7919 + y * 104_729 + x * 1_299_709 + step * 15_485_863) % 97) as f32 / 97.;
        stripe + 0.3 * noise
    };
    let values = (0..n).flat_map(|i| (0..144).map(move |p| pixel(i, p / 12, p % 12))).collect::<Vec<f32>>();
    let labels = (0..n as u32).map(|i| i % 2).collect::<Vec<_>>();
    Ok((Tensor::from_vec(values, (n, 1, 12, 12), &Device::Cpu)?, Tensor::from_vec(labels, n, &Device::Cpu)?))
}

fn main() -> Result<()> {
    let vars = VarMap::new();
    let model = StripeNet::new(VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu))?;
    let mut optimizer = AdamW::new(vars.all_vars(), ParamsAdamW { lr: 0.01, ..Default::default() })?;
    for step in 0..60 {
        let (images, labels) = stripes(32, step)?;
        let loss = loss::cross_entropy(&model.forward_t(&images, true)?, &labels)?;
        optimizer.backward_step(&loss)?;
        if step % 10 == 9 {
            println!("step {:2}: loss {:.3}", step + 1, loss.to_scalar::<f32>()?);
        }
    }
    let (images, labels) = stripes(200, 1_000)?;
    let predicted = model.forward_t(&images, false)?.argmax(1)?;
    let correct = predicted.eq(&labels)?.to_dtype(DType::F32)?.mean_all()?.to_scalar::<f32>()?;
    println!("{:.1} % of 200 unseen images are right", correct * 100.);
    if correct < 0.9 {
        bail!("expected the stripes to be learned")
    }
    Ok(())
}
