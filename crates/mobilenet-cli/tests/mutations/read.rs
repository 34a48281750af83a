//! Reading a file of each kind: true if it is read, false if it is refused. `fuzz/` has the same.

use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Result as CandleResult, Tensor};
use candle_nn::{Linear, ModuleT, VarMap, linear};
use mobilenet_data::{LoadOptions, Normalization, Source, Split, decode_image, load};
use mobilenet_layers::{DropoutRng, seeded_var_builder};
use mobilenet_models::{Arch, MobileNet, ModelConfig, Preset, weights};
use mobilenet_runtime::{Model, Network};
use mobilenet_schema::Artefact;
use mobilenet_train::{EvalSplit, FitData, Observer, RunOptions, TrainConfig, Trainer};

/// A picture.
pub fn picture(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| decode_image(&bytes, 4).is_ok())
}

/// A set in a file of its own: parquet, an archive, a list of pictures; or in a folder.
pub fn set(path: &Path) -> bool {
    let data_dir = Some(path.to_path_buf());
    let options = LoadOptions { source: Source::Auto, data_dir, image_size: 4, ..LoadOptions::default() };
    load(&options, &mut |_| {}).is_ok()
}

/// A batch of CIFAR-10, as training and as test images, under these names.
pub fn cifar(path: &Path, names: [&str; 2]) -> bool {
    let folder = path.with_file_name("set");
    let copy = |name| {
        let _ = fs::remove_file(folder.join(name));
        fs::copy(path, folder.join(name)).is_ok()
    };
    fs::create_dir_all(&folder).is_ok() && names.into_iter().all(copy) && set(&folder)
}

/// A network that is quickly made.
pub fn variables() -> VarMap {
    let vars = VarMap::new();
    let vb = seeded_var_builder(&vars, 1, DType::F32, &Device::Cpu);
    let config = ModelConfig { width_mult: 0.1, ..ModelConfig::new(Arch::V3Small, 10, Preset::Cifar) };
    MobileNet::new(&config, vb).expect("a network that there is");
    vars
}

/// A file of weights: what it holds, and whether it fits.
pub fn weights_of(vars: &VarMap, path: &Path) -> bool {
    let (fits, holds) = (weights::load(vars, path).is_ok(), weights::inspect(path).is_ok());
    fits || holds
}

/// A model file, at once and part by part.
pub fn model_file(path: &Path) -> bool {
    let (model, network) = (Model::open(path).is_ok(), Network::open(path).is_ok());
    assert_eq!(model, network, "read at once and part by part");
    model
}

/// A file of JSON, alone or line by line.
pub fn artefact<T: Artefact>(path: &Path) -> bool {
    let (lines, whole) = (mobilenet_schema::read_lines::<T>(path), mobilenet_schema::read::<T>(path));
    lines.is_ok_and(|lines| !lines.is_empty()) || whole.is_ok()
}

/// A training of one epoch into a folder; with `resume` it begins with the checkpoint that is there.
pub fn training(folder: &Path, resume: bool) -> bool {
    let pixels = (0..=255).cycle().take(8 * 12).collect();
    let split = Split::new(pixels, vec![0, 1, 2, 0, 1, 2, 0, 1], 2, 2).expect("eight pictures");
    let normalization = Normalization::of(&split).expect("pictures in memory");
    let (train, eval) = (split.clone().into(), split.into());
    let data = FitData { train, eval, eval_split: EvalSplit::Test, normalization };
    let vars = VarMap::new();
    let vb = seeded_var_builder(&vars, 1, DType::F32, &Device::Cpu);
    let model = One(linear(12, 3, vb).expect("a layer"));
    let config = TrainConfig { epochs: 1, batch_size: 4, ..TrainConfig::default() };
    let trainer = Trainer::new(&model, &vars, DropoutRng::new(), config, &Device::Cpu);
    let options = RunOptions { resume, ..RunOptions::default() };
    trainer.is_ok_and(|trainer| trainer.fit(&data, folder, &options, &mut Quiet).is_ok())
}

/// A network of one layer.
struct One(Linear);

impl ModuleT for One {
    fn forward_t(&self, xs: &Tensor, _: bool) -> CandleResult<Tensor> {
        self.0.forward_t(&xs.contiguous()?.flatten_from(1)?, false)
    }
}

struct Quiet;

impl Observer for Quiet {}
