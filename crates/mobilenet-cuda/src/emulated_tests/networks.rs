//! A training step of whole networks, and inference, emulated, against the CPU's kernels chained by hand.

use mobilenet_arch::plan::{ClassifierPlan, Plan};
use mobilenet_arch::{Arch, ModelConfig, Precision, Preset};

use super::chained::{CLASSES, Linear, SMOOTHING, Tensors, expected, labels, mask_values};
use super::compare::{root_mean_square, squares};
use super::reference::{self, names};
use super::values::{fill, reset_running, settle, uniform};
use super::{Subject, missing, subject};
use crate::backend::{Backend, Repeated};
use crate::loss::{Comparison, Loss};
use crate::{Inference, Network, Variables};

const PLAIN: Comparison = Comparison { label_smoothing: SMOOTHING, lambda: None, teacher: None };

/// The values of all variables and running statistics.
fn all_values(backend: &mut Subject, variables: &Variables) -> Tensors {
    let trained = variables.trained().map(|(name, variable)| (name.to_owned(), variable.values));
    let running = variables.running().map(|(name, view)| (name.to_owned(), view));
    let views: Vec<_> = trained.chain(running).collect();
    views.into_iter().map(|(name, view)| (name, backend.read_f32(view).unwrap())).collect()
}

/// Loss, logits, gradients and running statistics of an emulated step, and the values that it began with.
fn emulated(
    config: &ModelConfig,
    (n, size): (usize, usize),
    precision: Precision,
    seed: u32,
    given: Option<&Tensors>,
) -> (Tensors, Tensors) {
    let mut backend = subject(seed);
    let network = Network::new(&mut backend, config, (n, (size, size)), precision).unwrap();
    let images = network.images();
    backend.write_f32(images, &uniform(images.len, 1.5, 11)).unwrap();
    fill(&mut backend, network.variables(), 5);
    match given {
        Some(given) => {
            for (name, variable) in network.variables().trained() {
                backend.write_f32(variable.values, &given[name]).unwrap();
            }
        }
        None => {
            for stage in 0..network.depth() {
                for i in 0..2 {
                    let kinks = network.forward_stage(&mut backend, stage).unwrap();
                    kinks.get(i).iter().for_each(|kink| settle(&mut backend, kink));
                }
                network.forward_stage(&mut backend, stage).unwrap();
            }
        }
    }
    reset_running(&mut backend, network.variables());
    if let Some(mask) = network.mask() {
        backend.write_f32(mask, &mask_values(mask.len)).unwrap();
    }
    let values = all_values(&mut backend, network.variables());
    let loss = Loss::new(&mut backend, n, CLASSES).unwrap();
    loss.upload(&mut backend, &labels(n), None).unwrap();
    loss.configure(&mut backend, &PLAIN).unwrap();
    network.forward(&mut backend).unwrap();
    loss.run(&mut backend, network.logits(), &PLAIN).unwrap();
    network.backward(&mut backend, loss.glogits()).unwrap();

    let mut found = Tensors::new();
    let results = loss.take(&mut backend).unwrap();
    found.insert("loss".into(), results.iter().map(|result| result.loss).collect());
    found.insert("logits".into(), backend.read_f32(network.logits()).unwrap());
    for (name, variable) in network.variables().trained() {
        found.insert(format!("gradient of {name}"), backend.read_f32(variable.gradients).unwrap());
    }
    for (name, view) in network.variables().running() {
        found.insert(name.to_owned(), backend.read_f32(view).unwrap());
    }
    (found, values)
}

/// The published networks at both presets' strides, with the side of small images of which something is left at the end.
fn cases() -> impl Iterator<Item = (ModelConfig, usize)> {
    Arch::published().flat_map(|arch| {
        [(Preset::Cifar, 16), (Preset::Imagenet, 64)]
            .map(|(preset, size)| (ModelConfig::new(arch, CLASSES, preset), size))
    })
}

/// How far a tensor may be off, beside its share, as a share of the largest gradient: the gradient of a bias before a 1×1
/// and its batch norm is exactly zero, and what is found in its place is rounding.
fn floor(expected: &Tensors) -> f64 {
    let gradients = expected.iter().filter(|(name, _)| name.starts_with("gradient"));
    1e-6 * gradients.map(|(_, values)| squares(values)).fold(0., f64::max).sqrt()
}

#[test]
fn a_training_step_in_float32() {
    if missing() {
        return;
    }
    for (i, (config, size)) in cases().enumerate() {
        let n = 4;
        let (found, values) = emulated(&config, (n, size), Precision::F32, i as u32, None);
        let expected = expected(&config, (n, size), Precision::F32, &values);
        assert!(found.keys().eq(expected.keys()), "{config:?}");
        let floor = floor(&expected);
        for (name, expected) in &expected {
            let off = root_mean_square(&found[name], expected);
            let difference = off * squares(expected).sqrt();
            assert!(off < 1e-4 || difference < floor, "{name} is {off} off: {config:?}");
        }
    }
}

/// The order of threads and of blocks changes no bit.
#[test]
fn threads_change_no_bit() {
    if missing() {
        return;
    }
    for arch in [Arch::V2, Arch::V3Small] {
        let config = ModelConfig { width_mult: 0.5, ..ModelConfig::new(arch, CLASSES, Preset::Cifar) };
        for precision in [Precision::F32, Precision::Bf16] {
            let run = |seed, given| emulated(&config, (3, 16), precision, seed, given);
            let (first, values) = run(0, None);
            for seed in [1, 2, 3] {
                assert!(run(seed, Some(&values)).0 == first, "seed {seed}, {precision} {arch}");
            }
        }
    }
}

/// A step that a back end repeats, perhaps as one launch, has the bits of one that it is told launch by launch; and so has
/// one over another network's memory.
#[test]
fn a_repeated_step_has_the_same_bits() {
    if missing() {
        return;
    }
    let config = ModelConfig { width_mult: 0.5, ..ModelConfig::new(Arch::V3Small, CLASSES, Preset::Cifar) };
    for precision in [Precision::F32, Precision::Bf16] {
        let mut backend = subject(0);
        let large = Network::new(&mut backend, &config, (4, (16, 16)), precision).unwrap();
        let reshaped = large.reshaped(&mut backend, &config, (3, (16, 12)), precision).unwrap();
        let apart = Network::new(&mut backend, &config, (3, (16, 12)), precision).unwrap();
        let mut found = Vec::new();
        for network in [&apart, &reshaped] {
            fill(&mut backend, network.variables(), 5);
            let loss = Loss::new(&mut backend, 3, CLASSES).unwrap();
            loss.upload(&mut backend, &labels(3), None).unwrap();
            loss.configure(&mut backend, &PLAIN).unwrap();
            let name = Repeated::new();
            for _ in 0..4 {
                // What the other shape leaves in the memory they share is not read.
                large.forward(&mut backend).unwrap();
                backend.write_f32(network.images(), &uniform(network.images().len, 1.5, 11)).unwrap();
                if let Some(mask) = network.mask() {
                    backend.write_f32(mask, &mask_values(mask.len)).unwrap();
                }
                reset_running(&mut backend, network.variables());
                let mut step = |backend: &mut Subject| {
                    network.forward(backend)?;
                    loss.run(backend, network.logits(), &PLAIN)?;
                    network.backward(backend, loss.glogits())
                };
                backend.repeat(&name, &mut step).unwrap();
                let mut values = all_values(&mut backend, network.variables());
                for (name, variable) in network.variables().trained() {
                    values.insert(name.to_owned(), backend.read_f32(variable.gradients).unwrap());
                }
                values.insert("loss".into(), vec![loss.take(&mut backend).unwrap()[0].loss]);
                found.push(values);
            }
        }
        assert!(found[0]["loss"][0].is_finite());
        assert!(found.iter().all(|values| *values == found[0]), "{precision}");
    }
}

/// TF32 keeps ten bits of a product's operands; the emulation, which has none, all of them.
#[test]
fn a_training_step_in_tf32() {
    if missing() {
        return;
    }
    for arch in [Arch::V2, Arch::V3Large] {
        let (config, n, size) = (ModelConfig::new(arch, CLASSES, Preset::Cifar), 4, 16);
        let (exact, values) = emulated(&config, (n, size), Precision::F32, 1, None);
        let (found, _) = emulated(&config, (n, size), Precision::Tf32, 2, Some(&values));
        let floor = 1e3 * floor(&exact);
        for (name, exact) in &exact {
            let off = root_mean_square(&found[name], exact);
            assert!(off < 0.05 || off * squares(exact).sqrt() < floor, "{name}: {off}: {arch}");
        }
    }
}

/// bf16 is as far from float32 as the CPU's own bf16 is: in both, rounding puts a value in a hundred on the other side of a
/// kink, and that adds up from layer to layer.
#[test]
fn a_training_step_in_bf16() {
    if missing() {
        return;
    }
    for arch in Arch::published() {
        let (config, n, size) = (ModelConfig::new(arch, CLASSES, Preset::Cifar), 4, 32);
        let (_, values) = emulated(&config, (n, size), Precision::F32, 1, None);
        let (found, _) = emulated(&config, (n, size), Precision::Bf16, 2, Some(&values));
        let exact = expected(&config, (n, size), Precision::F32, &values);
        let rounded = expected(&config, (n, size), Precision::Bf16, &values);
        let floor = 1e3 * floor(&exact);
        let (mut ours, mut theirs, mut count) = (0., 0., 0.);
        for (name, exact) in &exact {
            let off = root_mean_square(&found[name], exact);
            let allowed = root_mean_square(&rounded[name], exact);
            let difference = off * squares(exact).sqrt();
            assert!(off < 0.05 + 3. * allowed || difference < floor, "{name}: {off}, the CPU's {allowed}: {arch}");
            if squares(exact).sqrt() > floor {
                (ours, theirs, count) = (ours + off, theirs + allowed, count + 1.);
            }
        }
        assert!(ours / count > 1e-3, "nothing was rounded: {arch}");
        assert!(
            ours < 0.01 * count + 1.25 * theirs,
            "{} on average, the CPU's {}: {arch}",
            ours / count,
            theirs / count
        );
    }
}

/// Inference with folded batch norms, against the CPU's with running statistics.
#[test]
fn inference_in_float32_and_bf16() {
    if missing() {
        return;
    }
    for (i, (config, size)) in cases().enumerate() {
        let n = 1 + i % 3;
        for (precision, tolerance) in [(Precision::F32, 1e-4), (Precision::Bf16, 0.1)] {
            let mut backend = subject(i as u32);
            let network = Inference::new(&mut backend, &config, (n, (size, size)), precision).unwrap();
            fill(&mut backend, network.variables(), 5);
            for (j, (name, view)) in network.variables().running().enumerate() {
                let values = uniform(view.len, 0.3, 1000 + j as u64);
                let values: Vec<f32> =
                    values.iter().map(|value| value + if name.ends_with("var") { 1.2 } else { 0. }).collect();
                backend.write_f32(view, &values).unwrap();
            }
            let values = all_values(&mut backend, network.variables());
            let mut x = uniform(n * size * size * 3, 1.5, 11);
            backend.write_f32(network.images(), &x).unwrap();
            network.prepare(&mut backend).unwrap();
            network.run(&mut backend).unwrap();
            let found = backend.read_f32(network.logits()).unwrap();

            let plan = Plan::new(&config).unwrap();
            let (mut h, mut w) = (size, size);
            for placed in plan.layers() {
                let stage = reference::Stage::new(&placed.layer, (n, h, w), Precision::F32);
                let (convs, names) = names(&placed.layer, &placed.path);
                let theta: Vec<&[f32]> = names.iter().map(|name| &values[name][..]).collect();
                let of = |conv: &mobilenet_arch::plan::ConvPlan| {
                    let statistic = |name: &str| &values[&format!("{}.{name}", conv.norm)][..];
                    (statistic("running_mean"), statistic("running_var"))
                };
                x = stage.infer(&x, &theta, &convs.iter().map(of).collect::<Vec<_>>());
                (_, h, w, _) = stage.output();
            }
            let ClassifierPlan { c_in, hidden, .. } = plan.classifier;
            let mut features = vec![0.; n * c_in];
            for (i, value) in x.iter().enumerate() {
                features[i / (h * w * c_in) * c_in + i % c_in] += value / (h * w) as f32;
            }
            let linear = |path: &str, c_in: usize| Linear {
                weight: &values[&format!("{path}.weight")],
                bias: &values[&format!("{path}.bias")],
                c_in,
            };
            if hidden.is_some() {
                features = linear(ClassifierPlan::HIDDEN_PATH, c_in).forward(&features);
                features.iter_mut().for_each(|x| *x *= (*x + 3.).clamp(0., 6.) / 6.);
            }
            let logits = linear(plan.classifier.last_path(), hidden.unwrap_or(c_in)).forward(&features);
            let off = root_mean_square(&found, &logits);
            assert!(off < tolerance, "{off} off, {precision}: {config:?}");
        }
    }
}
