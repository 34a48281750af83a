//! Classifies a picture with a new model and with the same weights loaded from a file: the answers agree.
//!
//! ```text
//! cargo run -p mobilenet-models --example classify
//! ```
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::{ModuleT, VarMap, ops::softmax_last_dim};
use mobilenet_layers::seeded_var_builder;
use mobilenet_models::{Arch, MobileNet, ModelConfig, Preset, weights};

fn main() -> Result<()> {
    let config = ModelConfig::new(Arch::V3Small, 10, Preset::Cifar);
    let device = Device::Cpu;
    let new_model = |seed: u64| -> Result<(MobileNet, VarMap)> {
        let vars = VarMap::new();
        let model = MobileNet::new(&config, seeded_var_builder(&vars, seed, DType::F32, &device))?;
        Ok((model, vars))
    };
    // A horizontal gradient in place of a photograph: [1, 3, 32, 32], channels normalized to about [-1, 1].
    let row = Tensor::arange(0f32, 32., &device)?.affine(2. / 31., -1.)?;
    let image = row.broadcast_as((1, 3, 32, 32))?.contiguous()?;

    let (model, vars) = new_model(1)?;
    let before: Vec<f32> = softmax_last_dim(&model.forward_t(&image, false)?)?.squeeze(0)?.to_vec1()?;
    let file = std::env::temp_dir().join(format!("mobilenet-classify-{}.safetensors", std::process::id()));
    weights::save(&vars, &file)?;

    let (other, other_vars) = new_model(2)?;
    let report = weights::load(&other_vars, &file)?;
    std::fs::remove_file(&file)?;
    let after: Vec<f32> = softmax_last_dim(&other.forward_t(&image, false)?)?.squeeze(0)?.to_vec1()?;
    anyhow::ensure!(before == after, "the same weights must give the same answer");

    println!("{report}");
    for (class, probability) in after.iter().enumerate() {
        println!("class {class}: {:5.1} %", 100. * probability);
    }
    Ok(())
}
