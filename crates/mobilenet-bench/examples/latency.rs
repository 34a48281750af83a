//! Latency of a small convolutional network of one's own:
//! `cargo run --release -p mobilenet-bench --example latency`.
#![expect(clippy::print_stdout, reason = "an example shows its figures")]

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Linear, Module, ModuleT, VarBuilder, VarMap};
use mobilenet_bench::{Protocol, inference, input, peak_rss_bytes, rss_bytes, throughput};

/// Convolution, ReLU, global mean, classifier.
struct SmallNet {
    conv: Conv2d,
    classifier: Linear,
}

impl SmallNet {
    fn new(vb: VarBuilder) -> Result<Self> {
        let stride_2 = Conv2dConfig { padding: 1, stride: 2, ..Default::default() };
        let conv = candle_nn::conv2d(3, 32, 3, stride_2, vb.pp("conv"))?;
        let classifier = candle_nn::linear(32, 10, vb.pp("classifier"))?;
        Ok(Self { conv, classifier })
    }
}

impl ModuleT for SmallNet {
    /// `[n, 3, h, w] -> [n, 10]`
    fn forward_t(&self, xs: &Tensor, _train: bool) -> Result<Tensor> {
        self.classifier.forward(&self.conv.forward(xs)?.relu()?.mean((2, 3))?)
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let device = Device::Cpu;
    let baseline = rss_bytes();
    let model = SmallNet::new(VarBuilder::from_varmap(&VarMap::new(), DType::F32, &device))?;

    let xs = input(1, (3, 32, 32), &device)?;
    let timing = inference(&model, &xs, Protocol::default())?;
    let ms = timing.latency_ms;
    println!("batch 1: p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms", ms.p50, ms.p90, ms.p99);
    if let (Some(peak), Some(baseline)) = (peak_rss_bytes(), baseline) {
        println!("peak memory {:.1} MB, of which {:.1} MB before the model", mb(peak), mb(baseline));
    }

    let few = Protocol { warmup: 1, iterations: 5 };
    for found in throughput(&model, (3, 32, 32), &[8, 32, 128], few, &device)? {
        println!("batch {}: {:.0} images/s", found.batch, found.images_per_second);
    }
    Ok(())
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
