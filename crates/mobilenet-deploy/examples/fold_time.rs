//! scratch: time a folded net
use mobilenet_arch::{Arch, ModelConfig, Preset};
use mobilenet_deploy::*;
use mobilenet_runtime::*;
use std::time::Instant;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (arch, size, threads, batch): (Arch, usize, usize, usize) =
        (a[1].parse().unwrap(), a[2].parse().unwrap(), a[3].parse().unwrap(), a[4].parse().unwrap());
    let preset = if size == 32 { Preset::Cifar } else { Preset::Imagenet };
    let classes = if size == 32 { 10 } else { 1000 };
    let config = ModelConfig::new(arch, classes, preset);
    let plan = mobilenet_arch::plan::Plan::new(&config).unwrap();
    let mut seed = 1u64;
    let mut tensors = vec![];
    for op in mobilenet_arch::graph::operations(&plan, (size, size)).unwrap() {
        for p in op.parameters {
            let n: usize = p.shape.iter().product();
            let fan: usize = p.shape.iter().skip(1).product();
            let v = (0..n)
                .map(|_| {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let u = (seed >> 40) as f32 / (1u64 << 24) as f32;
                    if p.shape.len() > 1 {
                        (u - 0.5) * (12. * 2. / fan as f32).sqrt()
                    } else if p.name.ends_with("weight") || p.name.ends_with("var") {
                        1.
                    } else {
                        (u - 0.5) * 0.1
                    }
                })
                .collect();
            tensors.push((p.name, Tensor::f32(p.shape, v)));
        }
    }
    let weights = Weights::new(tensors);
    let input = Input { height: size, width: size, crop: 1., mean: [0.5; 3], std: [0.25; 3], quantization: None };
    let description =
        Description { input, classes: (0..classes).map(|i| i.to_string()).collect(), origin: Origin::default() };
    let network = fold(&config, &weights, description).unwrap();
    let images: Vec<f32> = (0..16 * size * size * 3).map(|i| ((i * 7919) % 1000) as f32 / 500. - 1.).collect();
    let network = if a.len() > 6 && a[6] == "int8" {
        let q = quantize(&network, &images, QuantizeOptions::default()).unwrap();
        println!("{:?}", q.tried);
        q.network
    } else {
        network
    };
    let model = Model::new(&network).unwrap();
    let mut session = Session::new(&model, threads).unwrap();
    let images: Vec<f32> = (0..batch * size * size * 3).map(|i| ((i * 7919) % 1000) as f32 / 500. - 1.).collect();
    let iters: usize = a[5].parse().unwrap();
    for _ in 0..iters / 5 + 1 {
        session.run(&images).unwrap();
    }
    let mut t: Vec<f64> = (0..iters)
        .map(|_| {
            let s = Instant::now();
            session.run(&images).unwrap();
            s.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    t.sort_by(f64::total_cmp);
    println!(
        "{arch} {size} threads {threads} batch {batch} {}: median {:.3} ms min {:.3} ({:.0} images/s), logit {:?}, arena {} KB",
        model.level(),
        t[t.len() / 2],
        t[0],
        batch as f64 * 1e3 / t[t.len() / 2],
        &session.run(&images).unwrap()[..3],
        model.arena_bytes() / 1024
    );
    if std::env::var_os("STEPS").is_some() {
        let shapes = network.shapes().unwrap();
        let n = network.operations.len();
        let mut best = vec![f64::INFINITY; n];
        for _ in 0..iters {
            let mut last = Instant::now();
            session
                .observe(&images, &mut |op, _| {
                    let e = last.elapsed().as_secs_f64() * 1e6;
                    best[op] = best[op].min(e);
                    last = Instant::now();
                })
                .unwrap();
        }
        let mut total = 0.;
        for (i, b) in best.iter().enumerate().filter(|(_, b)| b.is_finite()) {
            let op = &network.operations[i];
            let macs = |j: usize| {
                let o = &network.operations[j];
                let w: usize = network
                    .tensors
                    .iter()
                    .filter(|(k, _)| k.starts_with(&format!("{}.", o.name)) && k.ends_with("weight"))
                    .map(|(_, t)| t.values.len())
                    .sum();
                let px = match o.kind {
                    OperationKind::Conv { .. } => shapes[j + 1].pixels(),
                    _ => 1,
                };
                w * px
            };
            let fused = i > 0 && !best[i - 1].is_finite();
            let m = macs(i) + if fused { macs(i - 1) } else { 0 };
            println!(
                "{:28} {:?} {:?} {b:8.1} us {:7.1} GFLOP/s",
                op.name,
                shapes[op.input],
                shapes[i + 1].c,
                2. * m as f64 / b / 1e3
            );
            total += b;
        }
        println!("total {total:.0} us");
    }
    if a.len() > 7 {
        network.save(&a[7]).unwrap();
    }
}
