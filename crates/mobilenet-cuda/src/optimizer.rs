//! Updates of all variables: AdamW, SGD, Muon (AdamW for what is no matrix) and the moving average. The rules are
//! `mobilenet-train`'s.

mod average;
mod muon;

use std::collections::BTreeMap;

pub use average::Average;

use crate::backend::{Arg, Backend, Kind, View};
use crate::error::Result;
use crate::loss::plain;
use crate::program::Program;
use crate::variables::{Named, Variables};
use muon::{Muon, Trained};

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
    /// What the learning rate is multiplied by, each of which some variables have.
    factors: Vec<f64>,
    elementwise: Option<Table>,
    muon: Option<Muon>,
    variables: Variables,
    /// The rule's buffers, each laid out as the variables' values are.
    state: Vec<View>,
    /// The names of the buffers that a variable has.
    buffers: BTreeMap<String, &'static [&'static str]>,
}

/// A variable's chunks are rows of these: where weights, gradients and both buffers are, how many, whether they decay, and
/// which of the learning rates they have.
struct Row {
    places: [u64; 4],
    len: usize,
    decays: usize,
    rate: usize,
}

fn table<B: Backend>(backend: &mut B, rows: &[Row], scalars: usize) -> Result<Option<Table>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(rows.len() * 48);
    for row in rows {
        row.places.iter().for_each(|place| bytes.extend(place.to_le_bytes()));
        [row.len, row.decays, row.rate, 0].iter().for_each(|number| bytes.extend((*number as u32).to_le_bytes()));
    }
    let view = backend.values(Kind::U8, bytes.len())?;
    backend.write(view, &bytes)?;
    let scalars = backend.values(Kind::F32, scalars)?;
    Ok(Some(Table { rows: view, count: rows.len(), scalars, moved: 0 }))
}

/// The chunks of tensors that lie alike.
fn chunks<B: Backend>(backend: &B, views: [Option<View>; 4], decays: bool, rate: usize) -> Vec<Row> {
    let len = views.iter().flatten().map(|view| view.len).next().unwrap_or(0);
    let starts = (0..len).step_by(CHUNK);
    let row = |start: usize| Row {
        places: views.map(|view| view.map_or(0, |view| backend.address(view.part(start, CHUNK)))),
        len: CHUNK.min(len - start),
        decays: usize::from(decays),
        rate,
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
        Self::with_lr_factors(backend, variables, rule, decay_norm_and_bias, |_| 1.)
    }

    /// [`new`](Self::new) with a learning rate for each variable: a step's, times what `factor` says of its name.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn with_lr_factors<B: Backend>(
        backend: &mut B,
        variables: &Variables,
        rule: Rule,
        decay_norm_and_bias: bool,
        factor: impl Fn(&str) -> f64,
    ) -> Result<Self> {
        let is_muon = matches!(rule, Rule::Muon { .. });
        let names: &[&str] = match rule {
            Rule::Sgd { momentum, .. } if momentum > 0. => &["momentum"],
            Rule::Sgd { .. } => &[],
            Rule::AdamW(_) | Rule::Muon { .. } => &["exp_avg", "exp_avg_sq"],
        };
        let [values, _] = variables.lengths();
        let state = names.iter().map(|_| backend.zeros(values)).collect::<Result<Vec<_>>>()?;
        let (mut rows, mut matrices) = (Vec::new(), Vec::new());
        let (mut len, mut buffers, mut factors) = (0, BTreeMap::new(), Vec::new());
        for (name, variable) in variables.trained() {
            let factor = factor(name);
            let rate = factors.iter().position(|known| *known == factor).unwrap_or(factors.len());
            if rate == factors.len() {
                factors.push(factor);
            }
            let [first, second] = [0, 1].map(|i| Some(variables.in_values(variable, *state.get(i)?)));
            if let Some(momentum) = first.filter(|_| is_muon && variable.matrix.is_some()) {
                buffers.insert(name.to_owned(), &["momentum"][..]);
                matrices.push(Trained { variable: *variable, momentum, rate });
                continue;
            }
            buffers.insert(name.to_owned(), names);
            len += variable.values.len;
            let views = [Some(variable.values), Some(variable.gradients), first, second];
            rows.extend(chunks(backend, views, variable.is_weight || decay_norm_and_bias, rate));
        }
        let mut elementwise = table(backend, &rows, 7 * factors.len())?;
        if let Some(table) = &mut elementwise {
            // Weights and buffers both ways, gradients once.
            table.moved = 4 * len * (1 + 2 * (1 + names.len()));
        }
        let muon = if matrices.is_empty() { None } else { Some(Muon::new(backend, &matrices, factors.len())?) };
        Ok(Self { rule, steps: 0, factors, elementwise, muon, variables: variables.clone(), state, buffers })
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Copies the state to the host: `BUFFER.VARIABLE`, the names of `mobilenet-train`'s checkpoints. Before the first step
    /// there is none.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn state<B: Backend>(&self, backend: &mut B) -> Result<Named> {
        let mut named = Named::new();
        if self.steps == 0 {
            return Ok(named);
        }
        for (i, &buffer) in self.state.iter().enumerate() {
            let of_buffer = self.variables.named(backend.read_f32(buffer)?, Vec::new());
            for (variable, values) in of_buffer {
                if let Some(name) = self.buffers.get(&variable).and_then(|names| names.get(i)) {
                    named.insert(format!("{name}.{variable}"), values);
                }
            }
        }
        Ok(named)
    }

    /// Takes over a state after so many steps; a buffer that is not in it becomes 0.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length), and those of the back end.
    pub fn restore<B: Backend>(&mut self, backend: &mut B, steps: u64, state: &Named) -> Result<()> {
        for (i, &buffer) in self.state.iter().enumerate() {
            let of = |variable: &str| {
                let name = self.buffers.get(variable)?.get(i)?;
                state.get(&format!("{name}.{variable}")).map(Vec::as_slice)
            };
            let [values, _] = self.variables.laid_out(of)?;
            backend.write_f32(buffer, &values)?;
        }
        self.steps = steps;
        Ok(())
    }

    /// Updates all variables by their gradients, at this learning rate.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn step<B: Backend>(&mut self, backend: &mut B, lr: f64) -> Result<()> {
        self.prepare(backend, lr)?;
        self.update(backend)
    }

    /// Writes the numbers of the next step, at this learning rate.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn prepare<B: Backend>(&mut self, backend: &mut B, lr: f64) -> Result<()> {
        self.steps += 1;
        let t = self.steps as f64;
        let adamw = |AdamW { betas: (beta1, beta2), eps, weight_decay }: AdamW, lr: f64| {
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
            let scalars = |lr: f64| match self.rule {
                Rule::AdamW(rule) | Rule::Muon { adamw: rule, .. } => adamw(rule, lr),
                Rule::Sgd { momentum, nesterov, weight_decay } => {
                    let nesterov = if nesterov { 1. } else { 0. };
                    [weight_decay as f32, momentum as f32, lr as f32, nesterov, 0., 0., 0.]
                }
            };
            let scalars: Vec<f32> = self.factors.iter().flat_map(|factor| scalars(lr * factor)).collect();
            backend.write_f32(table.scalars, &scalars)?;
        }
        let (Some(muon), Rule::Muon { momentum, nesterov, adamw }) = (&self.muon, self.rule) else { return Ok(()) };
        let rates: Vec<f64> = self.factors.iter().map(|factor| lr * factor).collect();
        muon.prepare(backend, &rates, [momentum, adamw.weight_decay], nesterov)
    }

    /// Updates all variables by their gradients, with the numbers that were written last.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn update<B: Backend>(&self, backend: &mut B) -> Result<()> {
        backend.enter("optimizer");
        if let Some(table) = &self.elementwise {
            let kernel = match self.rule {
                Rule::AdamW(_) | Rule::Muon { .. } => "multi_adamw",
                Rule::Sgd { .. } => "multi_sgd",
            };
            table.launch(backend, kernel, &[])?;
        }
        self.muon.as_ref().map_or(Ok(()), |muon| muon.update(backend))
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
