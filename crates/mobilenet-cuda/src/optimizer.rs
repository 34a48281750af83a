//! Updates of all variables: AdamW, SGD, Muon (AdamW for what is no matrix) and the moving average. The rules are
//! `mobilenet-train`'s.

mod average;
mod muon;

pub use average::Average;

use crate::backend::{Arg, Backend, Kind, View};
use crate::error::Result;
use crate::loss::plain;
use crate::program::Program;
use crate::variables::Variables;
use muon::Muon;

/// Values of a chunk: a block's work.
const CHUNK: usize = 4096;

/// A rule and its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Decoupled weight decay.
    AdamW(AdamW),
    /// Momentum or none, Nesterov's or not.
    Sgd {
        /// Of the past direction in the next one.
        momentum: f64,
        /// Whether the direction looks ahead.
        nesterov: bool,
        /// Added to the gradient, times the weight.
        weight_decay: f64,
    },
    /// Orthogonalized momentum for matrices, AdamW for all else.
    Muon {
        /// Of the past momentum in the next one.
        momentum: f64,
        /// Whether the direction looks ahead.
        nesterov: bool,
        /// For what is no matrix; its decay is both's.
        adamw: AdamW,
    },
}

/// AdamW's numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Of the past moments in the next ones.
    pub betas: (f64, f64),
    /// Added to the root.
    pub eps: f64,
    /// How much of a weight a step of learning rate 1 takes.
    pub weight_decay: f64,
}

/// Chunks on the device, of one rule.
#[derive(Clone, Copy, Debug)]
struct Table {
    rows: View,
    count: usize,
    scalars: View,
    /// Bytes that an update moves, of which the arguments know nothing.
    moved: usize,
}

/// An optimizer of a network's variables.
#[derive(Debug)]
pub struct Optimizer {
    rule: Rule,
    steps: u64,
    elementwise: Option<Table>,
    muon: Option<Muon>,
}

/// A variable's chunks are rows of these: where weights, gradients and both buffers are, how many, whether they decay.
struct Row {
    places: [u64; 4],
    len: usize,
    decays: usize,
}

fn table<B: Backend>(backend: &mut B, rows: &[Row], scalars: usize) -> Result<Option<Table>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(rows.len() * 40);
    for row in rows {
        row.places.iter().for_each(|place| bytes.extend(place.to_le_bytes()));
        bytes.extend((row.len as u32).to_le_bytes());
        bytes.extend((row.decays as u32).to_le_bytes());
    }
    let view = backend.values(Kind::U8, bytes.len())?;
    backend.write(view, &bytes)?;
    let scalars = backend.values(Kind::F32, scalars)?;
    Ok(Some(Table { rows: view, count: rows.len(), scalars, moved: 0 }))
}

/// The chunks of tensors that lie alike.
fn chunks<B: Backend>(backend: &B, views: [Option<View>; 4], decays: bool) -> Vec<Row> {
    let len = views.iter().flatten().map(|view| view.len).next().unwrap_or(0);
    let starts = (0..len).step_by(CHUNK);
    let row = |start: usize| Row {
        places: views.map(|view| view.map_or(0, |view| backend.address(view.part(start, CHUNK)))),
        len: CHUNK.min(len - start),
        decays: usize::from(decays),
    };
    starts.map(row).collect()
}

impl Optimizer {
    /// An optimizer of all trained variables. Weights decay; `decay_norm_and_bias` makes all else decay too.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn new<B: Backend>(
        backend: &mut B,
        variables: &Variables,
        rule: Rule,
        decay_norm_and_bias: bool,
    ) -> Result<Self> {
        let is_muon = matches!(rule, Rule::Muon { .. });
        let buffers = match rule {
            Rule::Sgd { momentum, .. } => usize::from(momentum > 0.),
            Rule::AdamW(_) | Rule::Muon { .. } => 2,
        };
        let (mut rows, mut matrices) = (Vec::new(), Vec::new());
        let mut len = 0;
        for (_, variable) in variables.trained() {
            if is_muon && variable.matrix.is_some() {
                matrices.push(*variable);
                continue;
            }
            let mut state = [None; 2];
            for buffer in &mut state[..buffers] {
                *buffer = Some(backend.zeros(variable.values.len)?);
            }
            len += variable.values.len;
            let views = [Some(variable.values), Some(variable.gradients), state[0], state[1]];
            rows.extend(chunks(backend, views, variable.is_weight || decay_norm_and_bias));
        }
        let mut elementwise = table(backend, &rows, 7)?;
        if let Some(table) = &mut elementwise {
            // Weights and buffers both ways, gradients once.
            table.moved = 4 * len * (1 + 2 * (1 + buffers));
        }
        let muon = if matrices.is_empty() { None } else { Some(Muon::new(backend, &matrices)?) };
        Ok(Self { rule, steps: 0, elementwise, muon })
    }

    /// Updates all variables by their gradients, at this learning rate.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn step<B: Backend>(&mut self, backend: &mut B, lr: f64) -> Result<()> {
        self.steps += 1;
        backend.enter("optimizer");
        let t = self.steps as f64;
        let adamw = |AdamW { betas: (beta1, beta2), eps, weight_decay }: AdamW| {
            let all = [
                1. - beta1,
                beta2,
                1. - beta2,
                1. - lr * weight_decay,
                lr / (1. - beta1.powf(t)),
                1. / (1. - beta2.powf(t)).sqrt(),
                eps,
            ];
            all.map(|scalar| scalar as f32)
        };
        if let Some(table) = &self.elementwise {
            let (kernel, scalars) = match self.rule {
                Rule::AdamW(rule) | Rule::Muon { adamw: rule, .. } => ("multi_adamw", adamw(rule)),
                Rule::Sgd { momentum, nesterov, weight_decay } => {
                    let nesterov = if nesterov { 1. } else { 0. };
                    let scalars = [weight_decay as f32, momentum as f32, lr as f32, nesterov, 0., 0., 0.];
                    ("multi_sgd", scalars)
                }
            };
            backend.write_f32(table.scalars, &scalars)?;
            table.launch(backend, kernel, &[])?;
        }
        let (Some(muon), Rule::Muon { momentum, nesterov, adamw }) = (&self.muon, self.rule) else { return Ok(()) };
        muon.step(backend, [lr, momentum, adamw.weight_decay], nesterov)
    }
}

impl Table {
    fn launch<B: Backend>(&self, backend: &mut B, kernel: &'static str, more: &[Arg]) -> Result<()> {
        let mut args = vec![Arg::In(self.rows), Arg::In(self.scalars)];
        args.extend(more);
        backend.moves(self.moved);
        plain(backend, Program::new("optimizer"), kernel, self.count, 256, &args)
    }
}
