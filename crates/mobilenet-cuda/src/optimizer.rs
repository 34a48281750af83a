//! Updates of all variables: AdamW, SGD, Muon (AdamW for what is no matrix) and the moving average. The rules are
//! `mobilenet-train`'s.

use std::collections::BTreeMap;

use crate::backend::{Arg, Backend, Kind, Matrix, Product, View};
use crate::error::Result;
use crate::loss::plain;
use crate::program::Program;
use crate::variables::{Variable, Variables};

/// Values of a chunk: a block's work.
const CHUNK: usize = 4096;
/// Muon's Newton-Schulz iterations.
const ITERATIONS: usize = 5;

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

/// An exponential moving average of all variables and running statistics.
#[derive(Debug)]
pub struct Average {
    table: Option<Table>,
    averages: BTreeMap<String, View>,
    decay: f64,
    updates: u64,
}

impl Average {
    /// An average that begins with the first update.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn new<B: Backend>(backend: &mut B, variables: &Variables, decay: f64) -> Result<Self> {
        let trained = variables.trained().map(|(name, variable)| (name, variable.values));
        let (mut rows, mut averages, mut len) = (Vec::new(), BTreeMap::new(), 0);
        for (name, view) in trained.chain(variables.running()) {
            let average = backend.zeros(view.len)?;
            rows.extend(chunks(backend, [Some(average), Some(view), None, None], false));
            averages.insert(name.to_owned(), average);
            len += view.len;
        }
        let mut table = table(backend, &rows, 1)?;
        if let Some(table) = &mut table {
            table.moved = 4 * 3 * len;
        }
        Ok(Self { table, averages, decay, updates: 0 })
    }

    /// Takes the present values into the average.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn update<B: Backend>(&mut self, backend: &mut B) -> Result<()> {
        let step = if self.updates == 0 { 1. } else { 1. - self.decay };
        self.updates += 1;
        backend.enter("moving average");
        let Some(table) = &self.table else { return Ok(()) };
        backend.write_f32(table.scalars, &[step as f32])?;
        table.launch(backend, "multi_average", &[])
    }

    /// The average of a variable or running statistic.
    pub fn get(&self, name: &str) -> Option<View> {
        self.averages.get(name).copied()
    }
}

/// The matrices, grouped by their smaller side: each group's Gram matrices are multiplied together.
#[derive(Debug)]
struct Muon {
    momentum: Table,
    scale: Table,
    update: Table,
    squares: View,
    scales: View,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    /// The smaller side.
    n: usize,
    /// Directions, rows and columns.
    matrices: Vec<(View, View, usize, usize)>,
    /// Of `[count, n, n]`: Gram matrices, a factor, and two to work with.
    gram: View,
    factor: View,
    work: [View; 2],
}

impl Muon {
    fn new<B: Backend>(backend: &mut B, variables: &[Variable]) -> Result<Self> {
        let [mut momentum, mut scale, mut update] = [(); 3].map(|()| Vec::new());
        let mut scales = Vec::new();
        let mut groups: BTreeMap<usize, Vec<(View, View, usize, usize)>> = BTreeMap::new();
        for variable in variables {
            let Some((rows, columns)) = variable.matrix else { continue };
            let len = rows * columns;
            let (m, direction, result) =
                (backend.zeros(len)?, backend.values(Kind::F32, len)?, backend.values(Kind::F32, len)?);
            let first = momentum.len();
            let of = [Some(variable.values), Some(variable.gradients), Some(m), Some(direction)];
            momentum.extend(chunks(backend, of, true));
            let count = momentum.len() - first;
            for mut row in chunks(backend, [None, None, None, Some(direction)], false) {
                (row.places[1], row.decays) = (count as u64, first);
                scale.push(row);
                scales.push(0.2 * (rows.max(columns) as f32).sqrt());
            }
            update.extend(chunks(backend, [Some(variable.values), None, None, Some(result)], true));
            groups.entry(rows.min(columns)).or_default().push((direction, result, rows, columns));
        }
        let (squares, of_scales) = (backend.values(Kind::F32, scales.len())?, backend.values(Kind::F32, scales.len())?);
        backend.write_f32(of_scales, &scales)?;
        let mut group = |(n, matrices): (usize, Vec<_>)| -> Result<Group> {
            let mut values = || backend.values(Kind::F32, matrices.len() * n * n);
            let (gram, factor, work) = (values()?, values()?, [values()?, values()?]);
            Ok(Group { n, matrices, gram, factor, work })
        };
        let groups = groups.into_iter().map(&mut group).collect::<Result<Vec<_>>>()?;
        let mut made = |rows: &[Row], scalars| -> Result<Table> {
            let nothing = View { memory: 0, at: 0, len: 0, kind: Kind::F32 };
            Ok(table(backend, rows, scalars)?.unwrap_or(Table { rows: nothing, count: 0, scalars: nothing, moved: 0 }))
        };
        let (mut momentum, mut scale, mut update) = (made(&momentum, 2)?, made(&scale, 1)?, made(&update, 2)?);
        let len: usize = variables.iter().map(|variable| variable.values.len).sum();
        for (table, times) in [(&mut momentum, 4), (&mut scale, 2), (&mut update, 3)] {
            table.moved = 4 * times * len;
        }
        Ok(Self { momentum, scale, update, squares, scales: of_scales, groups })
    }

    fn step<B: Backend>(&self, backend: &mut B, [lr, momentum, decay]: [f64; 3], nesterov: bool) -> Result<()> {
        backend.write_f32(self.momentum.scalars, &[momentum as f32, if nesterov { 1. } else { 0. }])?;
        self.momentum.launch(backend, "muon_momentum", &[Arg::Out(self.squares)])?;
        let (program, args) = (Program::new("optimizer"), [Arg::In(self.scale.rows), Arg::In(self.squares)]);
        backend.moves(self.scale.moved);
        plain(backend, program, "muon_scale", self.scale.count, 256, &args)?;
        for group in &self.groups {
            group.orthogonalize(backend)?;
        }
        backend.write_f32(self.update.scalars, &[(1. - lr * decay) as f32, lr as f32])?;
        self.update.launch(backend, "muon_update", &[Arg::In(self.scales)])
    }
}

impl Group {
    /// The iterations on the Gram matrices, whose product is applied to each matrix once: as the CPU's.
    fn orthogonalize<B: Backend>(&self, backend: &mut B) -> Result<()> {
        let (n, count) = (self.n, self.matrices.len());
        let square = |view: View| Matrix::new(view, n);
        let of = |a: Matrix, b: Matrix, c: Matrix, [rows, columns, inner]: [usize; 3], count| Product {
            rows,
            columns,
            inner,
            a,
            b,
            c,
            accumulate: false,
            count,
        };
        for (i, (direction, _, rows, columns)) in self.matrices.iter().enumerate() {
            let x = Matrix::new(*direction, *columns);
            let (a, b) = if rows > columns { (x.t(), x) } else { (x, x.t()) };
            let gram = square(self.gram.part(i * n * n, n * n));
            backend.gemm(&of(a, b, gram, [n, n, *rows.max(columns)], 1))?;
        }
        let [mut total, mut work] = self.work;
        let gram = self.gram;
        let mut factor = self.factor;
        for iteration in 1..=ITERATIONS {
            // The square goes where the next factor is not: `work` is free here.
            backend.gemm(&of(square(gram), square(gram), square(work), [n, n, n], count))?;
            let args = [Arg::In(work), Arg::In(gram), Arg::Out(factor), Arg::Int(count), Arg::Int(n)];
            plain(backend, Program::new("optimizer"), "muon_poly", (count * n * n).div_ceil(256), 256, &args)?;
            if iteration < ITERATIONS {
                backend.gemm(&of(square(factor), square(gram), square(work), [n, n, n], count))?;
                backend.gemm(&of(square(work), square(factor), square(gram), [n, n, n], count))?;
            }
            if iteration == 1 {
                std::mem::swap(&mut total, &mut factor);
            } else {
                backend.gemm(&of(square(factor), square(total), square(work), [n, n, n], count))?;
                std::mem::swap(&mut total, &mut work);
            }
        }
        for (i, (direction, result, rows, columns)) in self.matrices.iter().enumerate() {
            let (x, total) = (Matrix::new(*direction, *columns), square(total.part(i * n * n, n * n)));
            let (a, b, inner) = if rows > columns { (x, total, *columns) } else { (total, x, *rows) };
            backend.gemm(&of(a, b, Matrix::new(*result, *columns), [*rows, *columns, inner], 1))?;
        }
        Ok(())
    }
}
