//! A batch of no images has no logits in evaluation, and is an error in training.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{ModuleT, VarBuilder, VarMap};
use mobilenet_models::{Arch, MobileNet, ModelConfig, Preset};

#[test]
fn no_images_give_no_logits() -> Result<()> {
    for arch in Arch::all() {
        for dtype in [DType::F32, DType::F64] {
            let vb = VarBuilder::from_varmap(&VarMap::new(), dtype, &Device::Cpu);
            let model = MobileNet::new(&ModelConfig::new(arch, 7, Preset::Cifar), vb).unwrap();
            let xs = Tensor::zeros((0, 3, 32, 32), dtype, &Device::Cpu)?;
            let logits = model.forward_t(&xs, false)?;
            assert_eq!((logits.dims(), logits.dtype()), (&[0, 7][..], dtype), "{arch}");
            let error = model.forward_t(&xs, true).unwrap_err().to_string();
            assert!(error.contains("expected at least one image"), "{arch}: {error}");
        }
    }
    Ok(())
}
