//! One forward and backward pass over given weights and images, everything computed written to a file.
//!
//! ```text
//! forward_backward ARCH PRESET CLASSES WIDTH eval|train WEIGHTS INPUT OUTPUT
//! ```
//!
//! WEIGHTS is a `.safetensors` or `.pth` file; INPUT a `.safetensors` file with `images` `[n, 3, h, w]` (f32) and
//! `labels` `[n]` (u32). OUTPUT gets `logits` and `loss` and, in training, `grad.NAME` of every parameter and every
//! variable after the step under its own NAME. `scripts/parity.py` runs it beside torchvision. There is no dropout.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, safetensors};
use candle_nn::{ModuleT, VarBuilder, VarMap};
use mobilenet_models::{MobileNet, ModelConfig, weights};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [arch, preset, classes, width, mode, weights, input, output] = &args[..] else {
        bail!("expected ARCH PRESET CLASSES WIDTH eval|train WEIGHTS INPUT OUTPUT")
    };
    let train = match mode.as_str() {
        "train" => true,
        "eval" => false,
        other => bail!("expected eval or train, found {other}"),
    };
    let config = ModelConfig {
        dropout: 0.0,
        width_mult: width.parse().context("WIDTH")?,
        ..ModelConfig::new(arch.parse()?, classes.parse().context("CLASSES")?, preset.parse()?)
    };
    let device = Device::Cpu;
    let vars = VarMap::new();
    let model = MobileNet::new(&config, VarBuilder::from_varmap(&vars, DType::F32, &device))?;
    weights::load(&vars, weights)?;

    let input = safetensors::load(input, &device)?;
    let tensor = |name: &str| input.get(name).with_context(|| format!("the input has no tensor {name}"));
    let logits = model.forward_t(tensor("images")?, train)?;
    let loss = candle_nn::loss::cross_entropy(&logits, tensor("labels")?)?;

    let mut out = HashMap::from([("logits".to_string(), logits), ("loss".to_string(), loss.clone())]);
    if train {
        let gradients = loss.backward()?;
        for (name, var) in vars.data().lock().expect("no other thread holds the variables").iter() {
            if let Some(gradient) = gradients.get(var) {
                out.insert(format!("grad.{name}"), gradient.contiguous()?);
            }
            out.insert(name.clone(), var.as_tensor().clone());
        }
    }
    safetensors::save(&out, output)?;
    Ok(())
}
