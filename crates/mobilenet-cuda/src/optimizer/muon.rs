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

/// The matrices, grouped by their smaller side: each group's Gram matrices are multiplied together.
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
    /// Directions, rows and columns.
    matrices: Vec<(View, View, usize, usize)>,
    /// Of `[count, n, n]`: Gram matrices, a factor, and two to work with.
    gram: View,
    factor: View,
    work: [View; 2],
}

impl Muon {
    /// Of matrices and their momentum.
    pub fn new<B: Backend>(backend: &mut B, variables: &[(Variable, View)]) -> Result<Self> {
        let [mut momentum, mut scale, mut update] = [(); 3].map(|()| Vec::new());
        let mut scales = Vec::new();
        let mut groups: BTreeMap<usize, Vec<(View, View, usize, usize)>> = BTreeMap::new();
        for (variable, m) in variables {
            let Some((rows, columns)) = variable.matrix else { continue };
            let len = rows * columns;
            let (direction, result) = (backend.values(Kind::F32, len)?, backend.values(Kind::F32, len)?);
            let first = momentum.len();
            let of = [Some(variable.values), Some(variable.gradients), Some(*m), Some(direction)];
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
        let len: usize = variables.iter().map(|(variable, _)| variable.values.len).sum();
        for (table, times) in [(&mut momentum, 4), (&mut scale, 2), (&mut update, 3)] {
            table.moved = 4 * times * len;
        }
        Ok(Self { momentum, scale, update, squares, scales: of_scales, groups })
    }

    /// Writes a step's numbers.
    pub fn prepare<B: Backend>(&self, backend: &mut B, [lr, momentum, decay]: [f64; 3], nesterov: bool) -> Result<()> {
        backend.write_f32(self.momentum.scalars, &[momentum as f32, if nesterov { 1. } else { 0. }])?;
        backend.write_f32(self.update.scalars, &[(1. - lr * decay) as f32, lr as f32])
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
