//! Every row of every table: a stage, emulated, against the CPU's.

use mobilenet_arch::graph::{Operation, operations};
use mobilenet_arch::plan::{LayerPlan, Plan};
use mobilenet_arch::{Arch, ModelConfig, Precision, Preset};

use super::compare::{largest, root_mean_square};
use super::reference::{self, names, running};
use super::values::{fill, reset_running, settle, uniform};
use super::{Subject, missing, subject};
use crate::backend::{Backend, Kind, View};
use crate::network::kind_of;
use crate::norm::Gradient;
use crate::rows::{Rows, Wants};
use crate::run::{Needs, Run, Scratch};
use crate::stages::{Builder, Stage};
use crate::variables::Variables;

/// Of outputs, gradients and statistics: the largest difference, as a share of the tensor's largest value.
const TOLERANCE: f64 = 1e-4;
/// In bf16 the root mean square difference to float32, as a share of the root mean square: as the CPU's own test asks of
/// values that are kept away from kinks; where the CPU is further off on the same values, half as much again as it is.
const BF16_TOLERANCE: f64 = 0.15;

/// How a stage is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub n: usize,
    pub size: (usize, usize),
    pub precision: Precision,
    pub seed: u32,
    /// Input and output about an origin, where the layer allows for it.
    pub centered: bool,
}

/// Names and values of what a stage gives.
type Outcome = Vec<(String, Vec<f32>)>;

struct Bench<'a> {
    backend: Subject,
    variables: Variables,
    layer: &'a LayerPlan,
    path: &'a str,
    case: Case,
}

fn bf16(value: f32) -> [u8; 2] {
    let bits = value.to_bits();
    (((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16).to_le_bytes()
}

fn write_operand(backend: &mut Subject, to: View, values: &[f32]) {
    match to.kind {
        Kind::F32 => backend.write_f32(to, values).unwrap(),
        _ => backend.write(to, &values.iter().flat_map(|value| bf16(*value)).collect::<Vec<_>>()).unwrap(),
    }
}

fn read(backend: &mut Subject, from: View) -> Vec<f32> {
    if from.kind == Kind::F32 {
        return backend.read_f32(from).unwrap();
    }
    let mut bytes = vec![0; from.bytes()];
    backend.read(from, &mut bytes).unwrap();
    bytes.chunks_exact(2).map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16)).collect()
}

impl Bench<'_> {
    /// Runs the stage and the CPU's, and compares all that both give. Returns how far the output is off.
    fn compare(&mut self) -> f64 {
        let Case { n, size: (h, w), precision, .. } = self.case;
        let kind = kind_of(precision);
        let (layer, c_in) = (self.layer, self.layer.c_in());
        let shape = reference::Stage::new(layer, (n, h, w), Precision::F32);
        let (_, h_out, w_out, c_out) = shape.output();
        let pointwise = matches!(layer, LayerPlan::Conv(conv) if conv.config.kernel == 1);
        let centers = match layer {
            LayerPlan::Bottleneck(block) => block.expand.is_some(),
            LayerPlan::Conv(_) => pointwise,
        };
        let centered_in = self.case.centered && centers;
        let centered_out = self.case.centered && matches!(layer, LayerPlan::Bottleneck(_));
        let x: Vec<f32> = uniform(n * h * w * c_in, 1., 77).into_iter().map(|x| x + 0.3).collect();
        let origin = vec![0.25; c_in];

        let backend = &mut self.backend;
        let operand = backend.values(kind, x.len()).unwrap();
        let shifted: Vec<f32> = x.iter().map(|x| if centered_in { x - 0.25 } else { *x }).collect();
        write_operand(backend, operand, &shifted);
        let exact = if kind == Kind::F32 { operand } else { backend.values(Kind::F32, x.len()).unwrap() };
        backend.write_f32(exact, &shifted).unwrap();
        let of_input = centered_in.then(|| backend.values(Kind::F32, c_in).unwrap());
        of_input.iter().for_each(|view| backend.write_f32(*view, &origin).unwrap());
        let input = Rows { n, h, w, c: c_in, operand, exact: Some(exact), origin: of_input, sums: None };

        let mut needs = Needs::default();
        let mut build = Builder { backend: &mut *backend, variables: &self.variables, needs: &mut needs, kind };
        let wants = Wants { exact: true, centered: centered_out, sums: self.case.centered, pooled: false };
        // Where the input has an origin and is added, the output has one too.
        let stage = Stage::new(&mut build, (layer, self.path), &input, wants).unwrap();
        let scratch = Scratch::new(backend, &needs, kind).unwrap();
        let (values, operands) = self.variables.all();
        let mut run = Run { backend, scratch: &scratch, kind, tf32: false };
        for kink in stage.kinks() {
            refresh(run.backend, values, operands);
            stage.forward(&mut run, &input).unwrap();
            settle(run.backend, &kink);
        }
        reset_running(run.backend, &self.variables);
        refresh(run.backend, values, operands);
        stage.forward(&mut run, &input).unwrap();
        let output = stage.output.clone();
        let exact = output.exact.filter(|_| !matches!(layer, LayerPlan::Conv(c) if c.config.depthwise));
        let mut y = read(run.backend, exact.unwrap_or(output.operand));
        if let Some(origin) = output.origin {
            let origin = run.backend.read_f32(origin).unwrap();
            y.iter_mut().enumerate().for_each(|(i, y)| *y += origin[i % c_out]);
        }
        if let Some((part, _)) = output.sums.filter(|_| centered_out || pointwise) {
            self.check_sums(&output, part);
        }
        let gy = uniform(n * h_out * w_out * c_out, 1., 99);
        let backend = &mut self.backend;
        let view = backend.values(Kind::F32, gy.len()).unwrap();
        backend.write_f32(view, &gy).unwrap();
        let wants_gx = !matches!(layer, LayerPlan::Conv(conv) if conv.config.kernel > 1 && !conv.config.depthwise);
        let gx = backend.values(Kind::F32, x.len()).unwrap();
        let mut run = Run { backend, scratch: &scratch, kind, tf32: false };
        stage.backward(&mut run, &input, Gradient { view, pixels: 0 }, wants_gx.then_some(gx)).unwrap();

        let (convs, names) = names(layer, self.path);
        let mut found: Outcome = vec![("y".into(), y)];
        if wants_gx {
            found.push(("gx".into(), self.backend.read_f32(gx).unwrap()));
        }
        let (mut theta, mut gtheta) = (Vec::new(), Vec::new());
        for name in &names {
            let variable = self.variables.get(name).unwrap();
            theta.push(self.backend.read_f32(variable.values).unwrap());
            gtheta.push((format!("gradient of {name}"), self.backend.read_f32(variable.gradients).unwrap()));
        }
        found.extend(gtheta);
        for conv in &convs {
            for name in ["running_mean", "running_var"] {
                let name = format!("{}.{name}", conv.norm);
                let view = self.variables.statistic(&name).unwrap();
                found.push((name, self.backend.read_f32(view).unwrap()));
            }
        }

        let theta: Vec<&[f32]> = theta.iter().map(Vec::as_slice).collect();
        let of_cpu = |precision: Precision| {
            let shape = reference::Stage::new(layer, (n, h, w), precision);
            let (y, saved) = shape.forward(&x, &theta);
            let (gx, gtheta) = shape.backward(&x, &theta, &saved, &gy);
            let mut all = vec![y];
            all.extend(wants_gx.then_some(gx));
            all.extend(gtheta);
            let counts = shape.counts(convs.len());
            for ((statistics, conv), count) in saved.statistics().into_iter().zip(&convs).zip(counts) {
                all.extend(running(statistics, count, conv.config.norm.momentum));
            }
            all
        };
        let (expected, theirs) = (of_cpu(Precision::F32), of_cpu(precision));
        assert_eq!(found.len(), expected.len());
        for (i, ((what, found), expected)) in found.iter().zip(&expected).enumerate() {
            match precision {
                Precision::F32 | Precision::Tf32 => {
                    let off = largest(found, expected);
                    assert!(off < TOLERANCE, "{what} is {off} off: {:?} of {layer:?}", self.case);
                }
                Precision::Bf16 => {
                    let off = root_mean_square(found, expected);
                    let allowed = BF16_TOLERANCE.max(1.5 * root_mean_square(&theirs[i], expected));
                    assert!(off < allowed, "{what} is {off} off, allowed {allowed}: {:?} of {layer:?}", self.case);
                }
            }
        }
        root_mean_square(&found[0].1, &expected[0])
    }

    /// The parts' sums that an expansion takes over.
    fn check_sums(&mut self, output: &Rows, part: View) {
        let parts = self.backend.read_f32(part).unwrap();
        let rows = read(&mut self.backend, output.operand);
        for ch in 0..output.c {
            let of = |values: &[f32]| values.iter().skip(ch).step_by(output.c).map(|v| f64::from(*v)).sum::<f64>();
            let (found, expected) = (of(&parts), of(&rows));
            let most = rows.iter().skip(ch).step_by(output.c).map(|v| f64::from(v.abs())).sum::<f64>();
            assert!((found - expected).abs() <= 1e-5 * most, "sum of channel {ch}: {found}, expected {expected}");
        }
    }
}

/// The operands of products, as a network's forward makes them.
fn refresh(backend: &mut Subject, values: View, operands: View) {
    if values != operands {
        let values = backend.read_f32(values).unwrap();
        write_operand(backend, operands, &values);
    }
}

/// A layer, whose variables are among those of the operations. Returns how far the output is off.
pub(super) fn check_layer(list: &[Operation], (layer, path): (&LayerPlan, &str), case: Case) -> f64 {
    let mut backend = subject(case.seed);
    let variables = Variables::new(&mut backend, list, kind_of(case.precision), true).unwrap();
    fill(&mut backend, &variables, 5);
    Bench { backend, variables, layer, path, case }.compare()
}

/// Each distinct layer of a network, at the sizes that it has there.
fn check(config: &ModelConfig, case: Case) -> usize {
    let plan = Plan::new(config).unwrap();
    let (mut size, mut seen, mut rounded) = (case.size, Vec::new(), 0);
    for placed in plan.layers() {
        let row = (placed.layer.clone(), size);
        let of = size;
        size = (size.0.div_ceil(placed.layer.stride()), size.1.div_ceil(placed.layer.stride()));
        if seen.contains(&row) {
            continue;
        }
        seen.push(row);
        let case = Case { size: of, ..case };
        let list = operations(&plan, (32, 32)).unwrap();
        let off = check_layer(&list, (&placed.layer, &placed.path), case);
        rounded += usize::from(off > 1e-4);
    }
    assert!(
        case.precision == Precision::F32 && rounded == 0 || rounded + 1 >= seen.len(),
        "{rounded} of {}",
        seen.len()
    );
    seen.len()
}

const BASE: Case = Case { n: 2, size: (16, 16), precision: Precision::F32, seed: 1, centered: true };

#[test]
fn every_row_of_every_table() {
    if missing() {
        return;
    }
    for arch in Arch::all() {
        assert!(check(&ModelConfig::new(arch, 10, Preset::Cifar), BASE) > 8);
    }
}

#[test]
fn rows_with_the_strides_of_large_images_and_odd_sides() {
    if missing() {
        return;
    }
    for arch in Arch::published() {
        let config = ModelConfig { width_mult: 0.5, ..ModelConfig::new(arch, 10, Preset::Imagenet) };
        check(&config, Case { n: 3, size: (37, 29), seed: 2, centered: false, ..BASE });
    }
}

#[test]
fn a_batch_of_one_and_dilated_windows() {
    if missing() {
        return;
    }
    for arch in Arch::published() {
        let v3 = arch.is_v3();
        let narrow = ModelConfig { width_mult: 0.35, ..ModelConfig::new(arch, 10, Preset::Cifar) };
        let config = ModelConfig { reduced_tail: v3, dilated: v3, ..narrow };
        check(&config, Case { n: 1, size: (13, 18), seed: 3, ..BASE });
    }
}

#[test]
fn every_row_in_bf16() {
    if missing() {
        return;
    }
    for arch in Arch::published().chain([Arch::V2HSwishSe5x5]) {
        check(
            &ModelConfig::new(arch, 10, Preset::Cifar),
            Case { n: 3, size: (32, 32), precision: Precision::Bf16, seed: 4, ..BASE },
        );
    }
}
