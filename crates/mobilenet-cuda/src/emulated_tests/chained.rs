//! A training step of a whole network by the CPU's kernels, chained by hand.

use std::collections::BTreeMap;

use mobilenet_arch::plan::{ClassifierPlan, Plan};
use mobilenet_arch::{ModelConfig, Precision};

use super::reference::{self, names, running};
use super::values::uniform;

pub const CLASSES: usize = 10;
pub const SMOOTHING: f32 = 0.1;

/// Tensors by their names.
pub type Tensors = BTreeMap<String, Vec<f32>>;

pub fn labels(n: usize) -> Vec<u32> {
    (0..n).map(|i| (i * 7 % CLASSES) as u32).collect()
}

pub fn mask_values(len: usize) -> Vec<f32> {
    (0..len).map(|i| if i % 5 == 3 { 0. } else { 1.25 }).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// `x · weightᵀ + bias`, and the gradients of `x`, weight and bias.
pub struct Linear<'a> {
    pub weight: &'a [f32],
    pub bias: &'a [f32],
    pub c_in: usize,
}

impl Linear<'_> {
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        let of_row = |x: &[f32]| -> Vec<f32> {
            let rows = self.weight.chunks_exact(self.c_in).zip(self.bias);
            rows.map(|(w, b)| (dot(x, w) + f64::from(*b)) as f32).collect()
        };
        x.chunks_exact(self.c_in).flat_map(of_row).collect()
    }

    fn backward(&self, x: &[f32], gy: &[f32]) -> [Vec<f32>; 3] {
        let (c_in, c_out) = (self.c_in, self.bias.len());
        let (mut gx, mut gw, mut gb) = (vec![0.; x.len()], vec![0.; self.weight.len()], vec![0.; c_out]);
        for ((x, gy), gx) in x.chunks_exact(c_in).zip(gy.chunks_exact(c_out)).zip(gx.chunks_exact_mut(c_in)) {
            for (o, g) in gy.iter().enumerate() {
                gb[o] += g;
                for i in 0..c_in {
                    gx[i] += g * self.weight[o * c_in + i];
                    gw[o * c_in + i] += g * x[i];
                }
            }
        }
        [gx, gw, gb]
    }
}

/// The same by the CPU's kernels.
pub fn expected(config: &ModelConfig, (n, size): (usize, usize), precision: Precision, values: &Tensors) -> Tensors {
    let plan = Plan::new(config).unwrap();
    let mut out = Tensors::new();
    let mut x = uniform(n * size * size * 3, 1.5, 11);
    let (mut h, mut w) = (size, size);
    let mut ran = Vec::new();
    for placed in plan.layers() {
        let stage = reference::Stage::new(&placed.layer, (n, h, w), precision);
        let (convs, names) = names(&placed.layer, &placed.path);
        let theta: Vec<&[f32]> = names.iter().map(|name| &values[name][..]).collect();
        let (y, saved) = stage.forward(&x, &theta);
        (_, h, w, _) = stage.output();
        let counts = stage.counts(convs.len());
        for ((statistics, conv), count) in saved.statistics().into_iter().zip(&convs).zip(counts) {
            let [mean, var] = running(statistics, count, conv.config.norm.momentum);
            out.insert(format!("{}.running_mean", conv.norm), mean);
            out.insert(format!("{}.running_var", conv.norm), var);
        }
        ran.push((stage, names, std::mem::replace(&mut x, y), saved));
    }
    let ClassifierPlan { c_in, hidden, dropout, .. } = plan.classifier;
    let pixels = h * w;
    let mut pooled = vec![0.; n * c_in];
    for (i, value) in x.iter().enumerate() {
        pooled[i / (pixels * c_in) * c_in + i % c_in] += value / pixels as f32;
    }
    let linear = |path: &str, c_in: usize| Linear {
        weight: &values[&format!("{path}.weight")],
        bias: &values[&format!("{path}.bias")],
        c_in,
    };
    let (last_path, hidden_path) = (plan.classifier.last_path(), ClassifierPlan::HIDDEN_PATH);
    let mut input = pooled.clone();
    let mut hidden_pre = Vec::new();
    if hidden.is_some() {
        hidden_pre = linear(hidden_path, c_in).forward(&pooled);
        input = hidden_pre.iter().map(|x| x * ((x + 3.).clamp(0., 6.) / 6.)).collect();
    }
    let mask = if dropout > 0. { mask_values(input.len()) } else { vec![1.; input.len()] };
    input.iter_mut().zip(&mask).for_each(|(x, m)| *x *= m);
    let last = linear(last_path, hidden.unwrap_or(c_in));
    let logits = last.forward(&input);

    let (mut loss, mut glogits) = (0., Vec::new());
    for (row, label) in logits.chunks_exact(CLASSES).zip(labels(n)) {
        let sum: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
        for (k, x) in row.iter().enumerate() {
            let share = if k == label as usize { 1. - SMOOTHING } else { 0. } + SMOOTHING / CLASSES as f32;
            let log_p = f64::from(*x) - sum.ln();
            loss -= f64::from(share) * log_p / n as f64;
            glogits.push(((log_p.exp() - f64::from(share)) / n as f64) as f32);
        }
    }
    out.insert("loss".into(), vec![loss as f32]);
    out.insert("logits".into(), logits);
    let gradient = |name: &str| format!("gradient of {name}");
    let [mut gx, gw, gb] = last.backward(&input, &glogits);
    out.insert(gradient(&format!("{last_path}.weight")), gw);
    out.insert(gradient(&format!("{last_path}.bias")), gb);
    gx.iter_mut().zip(&mask).for_each(|(g, m)| *g *= m);
    if hidden.is_some() {
        for (g, x) in gx.iter_mut().zip(&hidden_pre) {
            *g *= if *x < -3. {
                0.
            } else if *x < 3. {
                x / 3. + 0.5
            } else {
                1.
            };
        }
        let [gpooled, gw, gb] = linear(hidden_path, c_in).backward(&pooled, &gx);
        out.insert(gradient(&format!("{hidden_path}.weight")), gw);
        out.insert(gradient(&format!("{hidden_path}.bias")), gb);
        gx = gpooled;
    }
    let mut gy: Vec<f32> = (0..x.len()).map(|i| gx[i / (pixels * c_in) * c_in + i % c_in] / pixels as f32).collect();
    for (stage, names, x, saved) in ran.iter().rev() {
        let theta: Vec<&[f32]> = names.iter().map(|name| &values[name][..]).collect();
        let (gx, gtheta) = stage.backward(x, &theta, saved, &gy);
        out.extend(names.iter().map(|name| gradient(name)).zip(gtheta));
        gy = gx;
    }
    out
}
