//! `--model-file`: networks that were made ready to ship, run by mobilenet-runtime.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use mobilenet_bench::{Protocol, Timing, peak_rss_bytes, rss_bytes, time_steps};
use mobilenet_data::Split;
use mobilenet_models::Arch;
use mobilenet_runtime::{Description, Model, Session};
use mobilenet_schema::{Shipped, ShippedBench};

use crate::output::{print, print_json};

/// Images that are evaluated at once.
const BATCH: usize = 64;

/// Pixels `[n, h, w, 3]` of 0 to 255 as a network takes them.
pub fn normalized(pixels: &[u8], mean: [f32; 3], std: [f32; 3]) -> Vec<f32> {
    let value = |(i, &byte): (usize, &u8)| (f32::from(byte) / 255.0 - mean[i % 3]) / std[i % 3];
    pixels.iter().enumerate().map(value).collect()
}

/// What a file holds, in a few words.
pub fn shipped(file: &Path, model: &Model) -> Result<Shipped> {
    let bytes = file.metadata().with_context(|| format!("cannot read {}", file.display()))?.len();
    let origin = &model.description().origin;
    Ok(Shipped {
        file: file.to_owned(),
        bytes,
        model: origin.architecture.clone(),
        width_mult: origin.width,
        precision: model.precision().to_string(),
        changes: origin.changes.clone(),
    })
}

/// The network as people spell it; the file's name where it does not tell.
pub fn title(file: &Path, description: &Description) -> String {
    let origin = &description.origin;
    let arch = origin.architecture.parse::<Arch>();
    let name = arch.map_or(origin.architecture.clone(), |arch| arch.title().to_owned());
    let width = if origin.width == 1.0 { String::new() } else { format!(", width {}", origin.width) };
    if name.is_empty() { file.display().to_string() } else { name + &width }
}

/// What was changed since the training, in a few words.
pub fn changes(description: &Description) -> String {
    let changes = &description.origin.changes;
    if changes.is_empty() { "float32, folded".to_owned() } else { changes.join("; ") }
}

/// A session on as many threads as were asked for.
pub fn open(file: &Path) -> Result<Session> {
    let model = Model::open(file)?;
    Ok(Session::new(&model, candle_core::utils::get_num_threads())?)
}

/// What a network answers to labeled images.
pub struct Evaluated {
    pub predicted: Vec<usize>,
    /// The probability of each answer.
    pub confidence: Vec<f32>,
    pub top1: f64,
    /// Share of the images whose label is among the five largest logits.
    pub top5: f64,
    pub loss: f64,
    pub seconds: f64,
}

/// Runs all images, whose labels `output` makes outputs of; the loss is the mean cross-entropy.
pub fn evaluated(
    session: &mut Session,
    images: &Split,
    output: &dyn Fn(u32) -> usize,
    shown: &mut dyn FnMut(usize, usize),
) -> Result<Evaluated> {
    let begun = Instant::now();
    let input = session.model().description().input.clone();
    let classes = session.model().description().classes.len();
    let (mut predicted, mut confidence) = (Vec::new(), Vec::new());
    let (mut right, mut near, mut loss) = (0usize, 0usize, 0f64);
    for labels in images.labels().chunks(BATCH) {
        let first = predicted.len();
        let batch = (first..first + labels.len()).map(|i| images.picture(i)).collect::<Result<Vec<_>, _>>()?;
        let logits = session.run(&normalized(&batch.concat(), input.mean, input.std))?;
        for (logits, &label) in logits.chunks_exact(classes).zip(labels) {
            let label = output(label);
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let best = logits.iter().position(|logit| *logit == most).unwrap_or(0);
            let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
            let truth = logits.get(label).copied().unwrap_or(f32::NEG_INFINITY);
            loss += sum.ln() - f64::from(truth - most);
            right += usize::from(best == label);
            near += usize::from(logits.iter().filter(|logit| **logit > truth).count() < 5);
            predicted.push(best);
            confidence.push((1.0 / sum) as f32);
        }
        shown(predicted.len(), images.len());
    }
    let share = |n: usize| n as f64 / images.len().max(1) as f64;
    let (top1, top5, loss) = (share(right), share(near), loss / images.len().max(1) as f64);
    Ok(Evaluated { predicted, confidence, top1, top5, loss, seconds: begun.elapsed().as_secs_f64() })
}

/// Times passes of made-up images.
pub fn timed(session: &mut Session, batch: usize, protocol: Protocol) -> Result<Timing> {
    let input = &session.model().description().input;
    let len = input.height * input.width * 3;
    let images: Vec<f32> = (0..batch * len).map(|i| ((i * 7919) % 1000) as f32 / 250.0 - 2.0).collect();
    Ok(time_steps(protocol, batch, &mut || Ok(session.run(&images)?.first().copied().unwrap_or(0.0)))?)
}

/// Times a file's network on made-up images.
pub fn bench(file: &Path, batch: usize, protocol: Protocol, json: bool) -> Result<()> {
    let baseline_rss_bytes = rss_bytes();
    let mut session = open(file)?;
    let description = session.model().description().clone();
    let timing = timed(&mut session, batch, protocol)?;
    let environment = crate::environment::collect();
    let report = ShippedBench {
        shipped: shipped(file, session.model())?,
        image: [description.input.height, description.input.width],
        batch: batch as u64,
        threads: session.threads() as u64,
        instructions: session.model().level().to_string(),
        warmup: protocol.warmup as u64,
        iterations: protocol.iterations as u64,
        latency_ms: timing.latency_ms,
        images_per_second: timing.images_per_second,
        peak_rss_bytes: peak_rss_bytes(),
        baseline_rss_bytes,
        environment,
    };
    if json {
        return print_json(&report);
    }
    let ms = &report.latency_ms;
    let mut text = format!(
        "{}: {} in {}, {:.2} MB, {}x{}, by the runtime ({}), batch {batch}, {} thread{}\n\
         {} timed after {} untimed: p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms, {:.3} to {:.3} ms\n{:.1} images/s\n",
        file.display(),
        report.shipped.model,
        report.shipped.precision,
        report.shipped.bytes as f64 / 1e6,
        report.image[0],
        report.image[1],
        report.instructions,
        report.threads,
        if report.threads == 1 { "" } else { "s" },
        report.iterations,
        report.warmup,
        ms.p50,
        ms.p90,
        ms.p99,
        ms.min,
        ms.max,
        report.images_per_second
    );
    if let (Some(peak), Some(baseline)) = (report.peak_rss_bytes, report.baseline_rss_bytes) {
        text +=
            &format!("peak memory {:.1} MB ({:.1} MB before the network)\n", peak as f64 / 1e6, baseline as f64 / 1e6);
    }
    print(&text)
}
