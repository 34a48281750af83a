//! The Rust side of `cargo xtask peers --part runtime`: networks of fresh weights as files, and this project's runtime and,
//! where it is built with the feature `tract`, tract, timed.
//!
//! ```text
//! peer files OUT v2-32 v3-large-224 …       writes OUT/v2-32.float32.onnx and so on: two precisions, two formats each
//! peer ours|tract FILE BATCH THREADS        one session on so many threads
//! peer ours|tract FILE BATCH sessions N     N sessions on a thread each
//! ```
//!
//! A timed program says in a line of JSON what it is and what it finds for the first image. Then, for each line with a number
//! on its input, it does so many passes, and answers with their milliseconds. With several sessions a pass is one of each,
//! at the same time, and all the passes of a line are timed as one.

#[path = "../../mobilenet-deploy/tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;
use std::sync::Barrier;
use std::time::Instant;

use mobilenet_arch::Arch;
use mobilenet_deploy::{OnnxProfile, QuantizeOptions, quantize, to_onnx};
use mobilenet_runtime::{Model, Session};
use support::{images, random_network};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A function that does one pass and returns the logits.
type Pass = Box<dyn FnMut() -> Result<Vec<f32>> + Send>;

/// Images that the ranges of 8 bits come from.
const CALIBRATION_IMAGES: usize = 8;

const USAGE: &str =
    "expected files OUT NETWORK…, or ours|tract FILE BATCH THREADS, or ours|tract FILE BATCH sessions N";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["files", out, ref networks @ ..] => networks.iter().try_for_each(|network| files(Path::new(out), network)),
        [program, file, batch, "sessions", sessions] => serve(program, file, batch.parse()?, 1, sessions.parse()?),
        [program, file, batch, threads] => serve(program, file, batch.parse()?, threads.parse()?, 1),
        _ => Err(USAGE.into()),
    }
}

/// Writes a network, `v2-32`, in all its forms.
fn files(out: &Path, name: &str) -> Result<()> {
    let (arch, size) = name.rsplit_once('-').ok_or(USAGE)?;
    let (arch, size): (Arch, usize) = (arch.parse()?, size.parse()?);
    let float = random_network(arch, size);
    let int8 = quantize(&float, &images(CALIBRATION_IMAGES, size), QuantizeOptions::default())?.network;
    for (precision, network) in [("float32", &float), ("int8", &int8)] {
        let file = |ending: &str| out.join(format!("{name}.{precision}.{ending}"));
        network.save(file("safetensors"))?;
        fs::write(file("onnx"), to_onnx(network, OnnxProfile::Cpu)?)?;
    }
    // For who finds other logits in 8 bits.
    fs::write(out.join(format!("{name}.int8-unsigned.onnx")), to_onnx(&int8, OnnxProfile::CpuUnsigned)?)?;
    Ok(())
}

/// A batch of made-up images `[n, size, size, 3]`; `worker.py` makes the same.
fn made_up(batch: usize, size: usize) -> Vec<f32> {
    (0..batch * size * size * 3).map(|i| ((i * 7919) % 1000) as f32 / 250. - 2.).collect()
}

/// This project's runtime.
fn ours(file: &str, batch: usize, threads: usize, sessions: usize) -> Result<(String, Vec<Pass>)> {
    let model = Model::open(file)?;
    let level = model.level().to_string();
    let images = made_up(batch, model.description().input.height);
    let pass = |_| -> Result<Pass> {
        let (mut session, images) = (Session::new(&model, threads)?, images.clone());
        Ok(Box::new(move || Ok(session.run(&images)?.to_vec())))
    };
    Ok((level, (0..sessions).map(pass).collect::<Result<_>>()?))
}

/// tract, which has one thread.
#[cfg(feature = "tract")]
fn tract(file: &str, batch: usize, threads: usize, sessions: usize) -> Result<(String, Vec<Pass>)> {
    use tract_onnx::prelude::*;

    if threads > 1 {
        return Err("tract runs on one thread".into());
    }
    let size = if file.contains("-224.") { 224 } else { 32 };
    let shape = [batch, 3, size, size];
    let images = Tensor::from_shape(&shape, &support::channels_first(&made_up(batch, size), size))?;
    let pass = |_| -> Result<Pass> {
        let model = tract_onnx::onnx()
            .model_for_path(file)?
            .with_input_fact(0, f32::fact(shape).into())?
            .into_optimized()?
            .into_runnable()?;
        let images = images.clone();
        Ok(Box::new(move || {
            let logits = model.run(tvec!(images.clone().into()))?;
            Ok(logits[0].view().as_slice::<f32>()?.to_vec())
        }))
    };
    Ok(("its own".to_owned(), (0..sessions).map(pass).collect::<Result<_>>()?))
}

#[cfg(not(feature = "tract"))]
fn tract(_: &str, _: usize, _: usize, _: usize) -> Result<(String, Vec<Pass>)> {
    Err("built without tract".into())
}

/// Says what is there, and does passes as it is told to.
fn serve(program: &str, file: &str, batch: usize, threads: usize, sessions: usize) -> Result<()> {
    let (level, mut passes) = match program {
        "ours" => ours(file, batch, threads, sessions)?,
        "tract" => tract(file, batch, threads, sessions)?,
        _ => return Err(USAGE.into()),
    };
    let first = passes.first_mut().ok_or(USAGE)?;
    let mut logits = first()?;
    logits.truncate(logits.len() / batch.max(1));
    let mut out = stdout().lock();
    writeln!(out, "{}", serde_json::json!({ "level": level, "logits": logits, "versions": {} }))?;
    out.flush()?;
    for line in stdin().lock().lines() {
        let count = line?.trim().parse()?;
        let milliseconds = match &mut passes[..] {
            [only] => (0..count).map(|_| timed(only)).collect::<Result<Vec<f64>>>()?,
            several => vec![together(several, count)?],
        };
        writeln!(out, "{}", serde_json::json!({ "milliseconds": milliseconds }))?;
        out.flush()?;
    }
    Ok(())
}

fn timed(pass: &mut Pass) -> Result<f64> {
    let begun = Instant::now();
    pass()?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// `count` passes of each, at the same time: milliseconds of a pass of all.
fn together(passes: &mut [Pass], count: usize) -> Result<f64> {
    let barrier = Barrier::new(passes.len() + 1);
    let (begun, failures) = std::thread::scope(|scope| {
        let threads: Vec<_> = passes
            .iter_mut()
            .map(|pass| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    (0..count).try_for_each(|_| pass().map(|_| ())).map_err(|error| error.to_string())
                })
            })
            .collect();
        barrier.wait();
        let begun = Instant::now();
        let found: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        (begun, found)
    });
    let elapsed = begun.elapsed().as_secs_f64();
    for found in failures {
        found.map_err(|_| "a thread panicked")??;
    }
    Ok(elapsed * 1e3 / count.max(1) as f64)
}
