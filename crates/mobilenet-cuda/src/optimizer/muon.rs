//! Muon's directions: momentum, orthogonalized by Newton-Schulz iterations.

use std::collections::BTreeMap;

use super::{Row, Table, chunks, table};
use crate::backend::{Arg, Backend, Kind, Matrix, Product, View};
use crate::error::Result;
use crate::loss::plain;
use crate::program::Program;
use crate::variables::Variable;

/// Iterations, each a polynomial of a Gram matrix.
const ITERATIONS: usize = 5;

/// A matrix, its momentum, and the number of its learning rate.
#[derive(Debug)]
pub(super) struct Trained {
    pub variable: Variable,
    pub momentum: View,
    pub rate: usize,
}

/// The matrices, grouped by their smaller side: each group's Gram matrices are multiplied together, and so are matrices of
/// one shape.
#[derive(Debug)]
pub(super) struct Muon {
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
    /// How many matrices it has.
    count: usize,
    shapes: Vec<Shape>,
    tf32: bool,
    /// Of `[count, n, n]`: Gram matrices, a factor, and two to work with.
    gram: View,
    factor: View,
    work: [View; 2],
}

/// Matrices of one shape, one after the other.
#[derive(Debug)]
struct Shape {
    rows: usize,
    columns: usize,
    count: usize,
    /// Momentum, and what becomes of it.
    direction: View,
    result: View,
}

impl Muon {
    /// Of matrices, with so many learning rates.
    pub fn new<B: Backend>(backend: &mut B, variables: &[Trained], rates: usize) -> Result<Self> {
        let [mut momentum, mut scale, mut update] = [(); 3].map(|()| Vec::new());
        let mut scales = Vec::new();
        let mut alike: BTreeMap<(usize, usize), Vec<&Trained>> = BTreeMap::new();
        for trained in variables {
            if let Some(shape) = trained.variable.matrix {
                alike.entry(shape).or_default().push(trained);
            }
        }
        let tf32 = variables.iter().any(|trained| trained.variable.operand.kind == Kind::Bf16);
        let mut groups: BTreeMap<usize, Vec<Shape>> = BTreeMap::new();
        for ((rows, columns), alike) in alike {
            let (len, count) = (rows * columns, alike.len());
            let (direction, result) =
                (backend.values(Kind::F32, count * len)?, backend.values(Kind::F32, count * len)?);
            for (i, Trained { variable, momentum: m, rate }) in alike.into_iter().enumerate() {
                let (direction, result) = (direction.part(i * len, len), result.part(i * len, len));
                let first = momentum.len();
                let of = [Some(variable.values), Some(variable.gradients), Some(*m), Some(direction)];
                momentum.extend(chunks(backend, of, true, 0));
                let count = momentum.len() - first;
                for mut row in chunks(backend, [None, None, None, Some(direction)], false, 0) {
                    (row.places[1], row.decays) = (count as u64, first);
                    scale.push(row);
                    scales.push(0.2 * (rows.max(columns) as f32).sqrt());
                }
                update.extend(chunks(backend, [Some(variable.values), None, None, Some(result)], true, *rate));
            }
            groups.entry(rows.min(columns)).or_default().push(Shape { rows, columns, count, direction, result });
        }
        let (squares, of_scales) = (backend.values(Kind::F32, scales.len())?, backend.values(Kind::F32, scales.len())?);
        backend.write_f32(of_scales, &scales)?;
        let mut group = |(n, shapes): (usize, Vec<Shape>)| -> Result<Group> {
            let count = shapes.iter().map(|shape| shape.count).sum();
            let mut values = || backend.values(Kind::F32, count * n * n);
            let (gram, factor, work) = (values()?, values()?, [values()?, values()?]);
            Ok(Group { n, count, shapes, tf32, gram, factor, work })
        };
        let groups = groups.into_iter().map(&mut group).collect::<Result<Vec<_>>>()?;
        let mut made = |rows: &[Row], scalars| -> Result<Table> {
            let nothing = View { memory: 0, at: 0, len: 0, kind: Kind::F32 };
            Ok(table(backend, rows, scalars)?.unwrap_or(Table { rows: nothing, count: 0, scalars: nothing, moved: 0 }))
        };
        let (mut momentum, mut scale, mut update) = (made(&momentum, 2)?, made(&scale, 1)?, made(&update, 2 * rates)?);
        let len: usize = variables.iter().map(|trained| trained.variable.values.len).sum();
        for (table, times) in [(&mut momentum, 4), (&mut scale, 2), (&mut update, 3)] {
            table.moved = 4 * times * len;
        }
        Ok(Self { momentum, scale, update, squares, scales: of_scales, groups })
    }

    /// Writes a step's numbers, its learning rates among them.
    pub fn prepare<B: Backend>(
        &self,
        backend: &mut B,
        rates: &[f64],
        [momentum, decay]: [f64; 2],
        nesterov: bool,
    ) -> Result<()> {
        backend.write_f32(self.momentum.scalars, &[momentum as f32, if nesterov { 1. } else { 0. }])?;
        let scalars: Vec<f32> = rates.iter().flat_map(|lr| [(1. - lr * decay) as f32, *lr as f32]).collect();
        backend.write_f32(self.update.scalars, &scalars)
    }

    /// Updates the matrices.
    pub fn update<B: Backend>(&self, backend: &mut B) -> Result<()> {
        self.momentum.launch(backend, "muon_momentum", &[Arg::Out(self.squares)])?;
        let (program, args) = (Program::new("optimizer"), [Arg::In(self.scale.rows), Arg::In(self.squares)]);
        backend.moves(self.scale.moved);
        plain(backend, program, "muon_scale", self.scale.count, 256, &args)?;
        for group in &self.groups {
            group.orthogonalize(backend)?;
        }
        self.update.launch(backend, "muon_update", &[Arg::In(self.scales)])
    }
}

impl Group {
    /// The iterations on the Gram matrices, whose product is applied to each matrix once: as the CPU's.
    fn orthogonalize<B: Backend>(&self, backend: &mut B) -> Result<()> {
        let (n, count) = (self.n, self.count);
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
            tf32: self.tf32,
        };
        let mut first = 0;
        for &Shape { rows, columns, count, direction, .. } in &self.shapes {
            let x = Matrix::new(direction, columns);
            let (a, b) = if rows > columns { (x.t(), x) } else { (x, x.t()) };
            let gram = square(self.gram.part(first * n * n, count * n * n));
            backend.gemm(&of(a, b, gram, [n, n, rows.max(columns)], count))?;
            first += count;
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
        let mut first = 0;
        for &Shape { rows, columns, count, direction, result } in &self.shapes {
            let (x, total) = (Matrix::new(direction, columns), square(total.part(first * n * n, count * n * n)));
            let (a, b, inner) = if rows > columns { (x, total, columns) } else { (total, x, rows) };
            backend.gemm(&of(a, b, Matrix::new(result, columns), [rows, columns, inner], count))?;
            first += count;
        }
        Ok(())
    }
}
