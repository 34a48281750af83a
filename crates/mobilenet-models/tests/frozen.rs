//! A network whose features are frozen trains its classifier and nothing else.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{ModuleT, VarMap};
use mobilenet_layers::seeded_var_builder;
use mobilenet_models::{Arch, MobileNet, ModelConfig, Preset};

#[test]
fn only_the_classifier_has_gradients_and_statistics_stay() -> Result<()> {
    for arch in Arch::all() {
        let vars = VarMap::new();
        let config = ModelConfig { width_mult: 0.35, dropout: 0.0, ..ModelConfig::new(arch, 10, Preset::Cifar) };
        let model = MobileNet::new(&config, seeded_var_builder(&vars, 1, DType::F32, &Device::Cpu)).unwrap();
        let model = model.with_frozen_features();
        let xs = Tensor::randn(0f32, 1.0, (4, 3, 32, 32), &Device::Cpu)?;
        let values = || -> Result<Vec<(String, Vec<f32>)>> {
            let vars = vars.data().lock().unwrap();
            vars.iter().map(|(name, var)| Ok((name.clone(), var.flatten_all()?.to_vec1()?))).collect()
        };

        let before = values()?;
        let logits = model.forward_t(&xs, true)?;
        let grads = logits.sqr()?.sum_all()?.backward()?;
        assert_eq!(values()?, before, "{arch}");
        for (name, var) in vars.data().lock().unwrap().iter() {
            assert_eq!(grads.get(var).is_some(), name.starts_with("classifier."), "{arch} {name}");
        }
        // Without dropout, training and evaluation are then the same function.
        assert_eq!(logits.to_vec2::<f32>()?, model.forward_t(&xs, false)?.to_vec2::<f32>()?, "{arch}");
    }
    Ok(())
}
