//! Loss, optimizers, the moving average and the augmentation, against their definitions.

use mobilenet_arch::graph::operations;
use mobilenet_arch::plan::Plan;
use mobilenet_arch::{Arch, ModelConfig, Preset};

use super::compare::largest;
use super::values::uniform;
use super::{Subject, missing, subject};
use crate::Variables;
use crate::augment::{Augment, Change, Mixing};
use crate::backend::{Backend, Kind};
use crate::loss::{Comparison, Loss, StepResult};
use crate::optimizer::{AdamW, Average, Optimizer, Rule};

/// The loss of each image in float64, by its definition; `weights` are what classes count.
fn loss_of(
    logits: &[f64],
    weights: &[f32],
    (labels, partners): (&[u32], &[u32]),
    teacher: &[f64],
    comparison: &Comparison,
) -> f64 {
    let classes = weights.len();
    let (temperature, weight) = comparison.teacher.unwrap_or((1., 0.));
    let (temperature, weight) = (f64::from(temperature), f64::from(weight));
    let (smoothing, lambda) = (f64::from(comparison.label_smoothing), f64::from(comparison.lambda.unwrap_or(1.)));
    let log_softmax = |row: &[f64], temperature: f64| -> Vec<f64> {
        let sum = row.iter().map(|x| (x / temperature).exp()).sum::<f64>().ln();
        row.iter().map(|x| x / temperature - sum).collect()
    };
    let weighs = |label: u32| f64::from(weights[label as usize]);
    let of_labels = labels.iter().zip(partners).map(|(a, b)| lambda * weighs(*a) + (1. - lambda) * weighs(*b));
    let mean = of_labels.sum::<f64>() / labels.len() as f64;
    let mut total = 0.;
    for (i, row) in logits.chunks_exact(classes).enumerate() {
        let (log_p, log_s) = (log_softmax(row, 1.), log_softmax(row, temperature));
        let log_t = log_softmax(&teacher[i * classes..(i + 1) * classes], temperature);
        for k in 0..classes {
            let is = |label: u32| if k == label as usize { 1. } else { 0. };
            let mixed = lambda * is(labels[i]) + (1. - lambda) * is(partners[i]);
            let q = (1. - smoothing) * mixed + smoothing / classes as f64;
            total -= (1. - weight) * q * weighs(k as u32) / mean * log_p[k];
            total += weight * temperature.powi(2) * log_t[k].exp() * (log_t[k] - log_s[k]);
        }
    }
    total / (logits.len() / classes) as f64
}

#[test]
fn the_loss_and_its_gradient() {
    if missing() {
        return;
    }
    for (n, classes) in [(1, 2), (9, 10), (5, 100)] {
        let (logits, teacher) = (uniform(n * classes, 4., 1), uniform(n * classes, 4., 2));
        let labels: Vec<u32> = (0..n).map(|i| (i * 3 % classes) as u32).collect();
        let partners: Vec<u32> = (0..n).map(|i| (i * 5 % classes) as u32).collect();
        for (label_smoothing, lambda, of_teacher, is_weighted) in [
            (0., None, None, false),
            (0.1, None, None, false),
            (0.1, Some(0.7), None, false),
            (0., None, Some((3., 0.6)), false),
            (0.2, Some(0.3), Some((2., 0.25)), false),
            (0., None, None, true),
            (0.2, Some(0.3), Some((2., 0.25)), true),
        ] {
            let comparison = Comparison { label_smoothing, lambda, teacher: of_teacher };
            let mut backend = subject(3);
            let view = backend.values(Kind::F32, n * classes).unwrap();
            backend.write_f32(view, &logits).unwrap();
            let mut weights = vec![1.; classes];
            let mut loss = Loss::new(&mut backend, n, classes).unwrap();
            if is_weighted {
                weights = uniform(classes, 1., 8).into_iter().map(|weight| 1.5 + weight).collect();
                loss = loss.with_class_weights(&mut backend, &weights).unwrap();
            }
            backend.write_f32(loss.teacher(), &teacher).unwrap();
            loss.upload(&mut backend, &labels, lambda.map(|lambda| (&partners[..], lambda))).unwrap();
            loss.configure(&mut backend, &comparison).unwrap();
            loss.run(&mut backend, view, &comparison).unwrap();
            loss.run(&mut backend, view, &comparison).unwrap();
            let found = backend.read_f32(loss.glogits()).unwrap();
            let results = loss.take(&mut backend).unwrap();
            assert!(results.len() == 2 && results[0] == results[1], "{results:?}");
            assert_eq!(loss.take(&mut backend).unwrap(), []);

            let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
            let teacher = wide(&teacher);
            let of = |logits: &[f64]| loss_of(logits, &weights, (&labels, &partners), &teacher, &comparison);
            let mut at = wide(&logits);
            let StepResult { loss: mean, top1, top5 } = results[0];
            assert!((f64::from(mean) - of(&at)).abs() < 1e-5 * f64::from(mean.abs()), "{mean}: {comparison:?}");
            let slope = |i: usize| {
                let (value, h) = (at[i], 1e-5);
                at[i] = value + h;
                let above = of(&at);
                at[i] = value - h;
                let below = of(&at);
                at[i] = value;
                ((above - below) / (2. * h)) as f32
            };
            let expected: Vec<f32> = (0..n * classes).map(slope).collect();
            assert!(largest(&found, &expected) < 1e-4, "{comparison:?}");
            let right = |most: usize| {
                let rows = logits.chunks_exact(classes).zip(&labels);
                let before = |row: &[f32], label: u32| row.iter().filter(|x| **x > row[label as usize]).count();
                rows.filter(|(row, label)| before(row, **label) < most).count() as f32
            };
            assert_eq!((top1, top5), (right(1), right(5)));
        }
    }
}

/// Equal logits count in the order of their classes, and a NaN never; results beyond the room are an error.
#[test]
fn right_answers_are_counted_as_on_the_host() {
    if missing() {
        return;
    }
    let mut backend = subject(1);
    let view = backend.values(Kind::F32, 4 * 7).unwrap();
    let logits = [[1.; 7], [1.; 7], [f32::NAN, 0., 0., 0., 0., 0., 0.], [9., 8., 7., 6., 5., 4., 3.]].concat();
    backend.write_f32(view, &logits).unwrap();
    let loss = Loss::new(&mut backend, 4, 7).unwrap();
    loss.upload(&mut backend, &[0, 4, 0, 5], None).unwrap();
    let comparison = Comparison { label_smoothing: 0., lambda: None, teacher: None };
    loss.configure(&mut backend, &comparison).unwrap();
    loss.run(&mut backend, view, &comparison).unwrap();
    let results = loss.take(&mut backend).unwrap();
    assert_eq!((results[0].top1, results[0].top5), (1., 2.));
    for _ in 0..=Loss::ROOM {
        loss.run(&mut backend, view, &comparison).unwrap();
    }
    let error = loss.take(&mut backend).unwrap_err().to_string();
    assert_eq!(error, "results of steps that were not taken: expected 64 values, found 65");
}

#[test]
fn labels_that_are_no_class_are_refused() {
    if missing() {
        return;
    }
    let mut backend = subject(0);
    let loss = Loss::new(&mut backend, 2, 10).unwrap();
    let error = loss.upload(&mut backend, &[3, 10], None).unwrap_err().to_string();
    assert_eq!(error, "a label's class, counted from 1: expected 10 values, found 11");
    assert!(loss.upload(&mut backend, &[3], None).unwrap_err().to_string().contains("labels: expected 2"));
    let error = loss.with_class_weights(&mut backend, &[1.; 9]).unwrap_err().to_string();
    assert_eq!(error, "weights of classes: expected 10 values, found 9");
}

/// A network's variables with values and gradients.
fn variables(backend: &mut Subject) -> Variables {
    let config = ModelConfig { width_mult: 0.35, ..ModelConfig::new(Arch::V2, 10, Preset::Cifar) };
    let list = operations(&Plan::new(&config).unwrap(), (32, 32)).unwrap();
    let variables = Variables::new(backend, &list, Kind::F32, true).unwrap();
    for (i, (_, variable)) in variables.trained().enumerate() {
        backend.write_f32(variable.values, &uniform(variable.values.len, 1., i as u64)).unwrap();
    }
    variables
}

/// Values of a matrix that takes long in float64.
const LARGE: usize = 3000;

/// Newton-Schulz on the matrix itself, in float64.
fn orthogonalized(direction: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let product = |a: &[f64], b: &[f64], inner: usize, columns: usize| -> Vec<f64> {
        let rows = a.len() / inner;
        let at = |i: usize| (0..inner).map(|k| a[i / columns * inner + k] * b[k * columns + i % columns]).sum();
        (0..rows * columns).map(at).collect()
    };
    let norm = direction.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-7);
    let mut x: Vec<f64> = direction.iter().map(|x| x / norm).collect();
    for _ in 0..5 {
        let transposed: Vec<f64> = (0..x.len()).map(|i| x[i % rows * columns + i / rows]).collect();
        let gram = product(&x, &transposed, columns, rows);
        let (once, twice) =
            (product(&gram, &x, rows, columns), product(&product(&gram, &gram, rows, rows), &x, rows, columns));
        x = (0..x.len()).map(|i| 3.4445 * x[i] - 4.775 * once[i] + 2.0315 * twice[i]).collect();
    }
    x
}

#[test]
fn optimizers_follow_their_rules() {
    if missing() {
        return;
    }
    let adamw = AdamW { betas: (0.9, 0.99), eps: 1e-8, weight_decay: 0.1 };
    for rule in [
        Rule::AdamW(adamw),
        Rule::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.01 },
        Rule::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.01 },
        Rule::Sgd { momentum: 0., nesterov: false, weight_decay: 0.01 },
        Rule::Muon { momentum: 0.95, nesterov: true, adamw },
    ] {
        let (mut backend, lr) = (subject(7), 0.05);
        let variables = variables(&mut backend);
        let factor = |name: &str| if name.contains("features.1") { 0.3 } else { 1. };
        let mut optimizer = Optimizer::with_lr_factors(&mut backend, &variables, rule, false, factor).unwrap();
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
        let mut state = Vec::new();
        for (_, variable) in variables.trained() {
            let w = wide(backend.read_f32(variable.values).unwrap());
            state.push((vec![0.; w.len()], vec![0.; w.len()], w));
        }
        for t in 1..=2 {
            for (i, ((name, variable), (m, v, w))) in variables.trained().zip(&mut state).enumerate() {
                let lr = lr * factor(name);
                let g = uniform(variable.values.len, 1., 100 * t + i as u64);
                backend.write_f32(variable.gradients, &g).unwrap();
                let g = wide(g);
                let decays = if variable.is_weight { 1. } else { 0. };
                match (rule, variable.matrix) {
                    (Rule::Muon { .. }, Some(_)) if w.len() > LARGE => {}
                    (Rule::Muon { momentum, adamw, .. }, Some((rows, columns))) => {
                        let mut direction = Vec::new();
                        for (m, g) in m.iter_mut().zip(&g) {
                            *m = momentum * *m + (1. - momentum) * g;
                            direction.push(momentum * *m + (1. - momentum) * g);
                        }
                        let scale = lr * 0.2 * (rows.max(columns) as f64).sqrt();
                        for (w, d) in w.iter_mut().zip(orthogonalized(&direction, rows, columns)) {
                            *w = (1. - lr * adamw.weight_decay) * *w - scale * d;
                        }
                    }
                    (Rule::AdamW(rule) | Rule::Muon { adamw: rule, .. }, _) => {
                        let (beta1, beta2) = rule.betas;
                        for (((w, g), m), v) in w.iter_mut().zip(&g).zip(m).zip(v) {
                            *m = beta1 * *m + (1. - beta1) * g;
                            *v = beta2 * *v + (1. - beta2) * g * g;
                            let (m, v) = (*m / (1. - beta1.powi(t as i32)), *v / (1. - beta2.powi(t as i32)));
                            *w = *w * (1. - lr * rule.weight_decay * decays) - lr * m / (v.sqrt() + rule.eps);
                        }
                    }
                    (Rule::Sgd { momentum, nesterov, weight_decay }, _) => {
                        for ((w, g), m) in w.iter_mut().zip(&g).zip(m) {
                            let g = g + weight_decay * decays * *w;
                            *m = momentum * *m + g;
                            *w -= lr * if nesterov { g + momentum * *m } else { *m };
                        }
                    }
                }
            }
            optimizer.step(&mut backend, lr).unwrap();
        }
        for ((name, variable), (_, _, expected)) in variables.trained().zip(&state) {
            let found = backend.read_f32(variable.values).unwrap();
            let expected: Vec<f32> = expected.iter().map(|w| *w as f32).collect();
            if matches!(rule, Rule::Muon { .. }) && variable.matrix.is_some() && expected.len() > LARGE {
                continue;
            }
            // Muon's Gram matrices square what is small.
            let tolerance = if variable.matrix.is_some() && matches!(rule, Rule::Muon { .. }) { 2e-3 } else { 1e-5 };
            let off = largest(&found, &expected);
            assert!(off < tolerance, "{name} is {off} off: {rule:?}");
        }
    }
}

#[test]
fn the_average_approaches_the_weights() {
    if missing() {
        return;
    }
    let mut backend = subject(5);
    let variables = variables(&mut backend);
    let mut average = Average::new(&mut backend, &variables, 0.75).unwrap();
    let (name, variable) = variables.trained().next().unwrap();
    let first = backend.read_f32(variable.values).unwrap();
    average.step(&mut backend).unwrap();
    assert_eq!(average.read(&mut backend).unwrap()[name], first);
    let second = uniform(first.len(), 1., 9);
    backend.write_f32(variable.values, &second).unwrap();
    average.step(&mut backend).unwrap();
    let expected: Vec<f32> = first.iter().zip(&second).map(|(a, b)| 0.75 * a + 0.25 * b).collect();
    assert!(largest(&average.read(&mut backend).unwrap()[name], &expected) < 1e-6);
    let (name, running) = variables.running().next().unwrap();
    assert_eq!(average.read(&mut backend).unwrap()[name].len(), running.len);

    // The second update's decay is 2 / 11 at most.
    let mut average = Average::new(&mut backend, &variables, 0.75).unwrap().with_warm_up();
    let (name, variable) = variables.trained().next().unwrap();
    average.step(&mut backend).unwrap();
    backend.write_f32(variable.values, &first).unwrap();
    average.step(&mut backend).unwrap();
    let expected: Vec<f32> = second.iter().zip(&first).map(|(a, b)| (2. * a + 9. * b) / 11.).collect();
    assert!(largest(&average.read(&mut backend).unwrap()[name], &expected) < 1e-6);
}

/// A pixel that a change makes, by the rule in words: shifted, mirrored, reflected or black, looked up; erased is 0.
fn pixel(picture: &[u8], (h, w): (i32, i32), change: &Change, levels: &[[f32; 256]; 3], [y, x, c]: [i32; 3]) -> f32 {
    let [top, left, height, width] = change.erase;
    if (top..top + height).contains(&y) && (left..left + width).contains(&x) {
        return 0.;
    }
    let place = |at: i32, size: i32| match at {
        at if (0..size).contains(&at) => Some(at),
        at if change.reflect => Some(if at < 0 { -at } else { 2 * (size - 1) - at }),
        _ => None,
    };
    let at = place(y + change.shift.0, h).zip(place(x + change.shift.1, w));
    let value = at.map_or(0, |(y, x)| {
        let x = if change.mirror { w - 1 - x } else { x };
        picture[((y * w + x) * 3 + c) as usize]
    });
    levels[c as usize][usize::from(value)]
}

#[test]
fn pictures_change_as_drawn() {
    if missing() {
        return;
    }
    let (n, h, w) = (5, 6, 7);
    let pictures: Vec<u8> = (0..n * h * w * 3).map(|i| (i * 37 % 251) as u8).collect();
    let levels = [0.5f32, 1., 2.].map(|scale| std::array::from_fn(|value| scale * value as f32 - 100.));
    let change = |shift, mirror, reflect, erase| Change { shift, mirror, reflect, erase };
    let changes = [
        change((0, 0), false, false, [0; 4]),
        change((2, -3), true, false, [1, 2, 3, 2]),
        change((-2, 3), false, true, [0; 4]),
        change((1, 1), true, true, [0, 0, 6, 1]),
        change((-9, 0), false, false, [0; 4]),
    ];
    for mixing in [None, Some(Mixing::Blend(0.75, 0.25)), Some(Mixing::Paste([1, 2, 3, 4]))] {
        let mut backend = subject(2);
        let images = backend.values(Kind::F32, n * h * w * 3).unwrap();
        let augment = Augment::new(&mut backend, n, (h, w), &levels).unwrap();
        augment.run(&mut backend, &pictures, &changes, mixing, images).unwrap();
        let found = backend.read_f32(images).unwrap();
        for (at, found) in found.into_iter().enumerate() {
            let (c, x, y, i) = (at % 3, at / 3 % w, at / 3 / w % h, at / 3 / w / h);
            let of = |i: usize| {
                let picture = &pictures[i * h * w * 3..(i + 1) * h * w * 3];
                pixel(picture, (h as i32, w as i32), &changes[i], &levels, [y, x, c].map(|v| v as i32))
            };
            let (own, before) = (of(i), of((i + n - 1) % n));
            let expected = match mixing {
                None => own,
                Some(Mixing::Blend(share, rest)) => share * own + rest * before,
                Some(Mixing::Paste([top, left, height, width])) => {
                    let inside = (top..top + height).contains(&y) && (left..left + width).contains(&x);
                    if inside { before } else { own }
                }
            };
            assert!((found - expected).abs() < 1e-4, "{mixing:?}, picture {i}, {y} {x} {c}: {found} {expected}");
        }
    }
}
