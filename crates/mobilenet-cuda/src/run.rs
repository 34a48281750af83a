//! What stages need to run: a back end, the kinds of their tensors, and memory that they share.

use crate::backend::{Arg, Backend, Kind, Launch, Matrix, Product, View};
use crate::error::Result;
use crate::grid::Grid;
use crate::program::Program;

/// What shared memory is for. Nothing in it outlives a stage's pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Parts' sums
    Part,
    /// Parts' sums of a weight's gradient
    PartWeight,
    /// The gradient of what a projection takes, and then of `bn(d)`
    Filtered,
    /// The gradient of `bn(e)`
    Expanded,
    /// The gradient of a product's output
    Product,
    Slopes,
    /// What batch norm's sums add to an expansion's gradients: see `finish.cu`.
    Left,
    Gram,
    SlopeMatrix,
    RightMatrix,
    GateGradients,
    GateInputs,
    GateHidden,
    GateMeans,
}

const ROLES: usize = Role::GateMeans as usize + 1;

/// How much of each kind of shared memory all stages need.
#[derive(Debug, Default)]
pub(crate) struct Needs([usize; ROLES]);

impl Needs {
    pub fn at_least(&mut self, role: Role, len: usize) {
        let most = &mut self.0[role as usize];
        *most = len.max(*most);
    }

    /// The parts of a pass over rows, with so many sums of each channel.
    pub fn parts(&mut self, grid: Grid, sums: usize, c: usize) {
        self.at_least(Role::Part, sums * grid.parts * c);
    }
}

/// The shared memory.
#[derive(Debug)]
pub(crate) struct Scratch([View; ROLES]);

impl Scratch {
    pub fn new<B: Backend>(backend: &mut B, needs: &Needs, kind: Kind) -> Result<Self> {
        let nothing = View { memory: 0, at: 0, len: 0, kind };
        let mut views = [nothing; ROLES];
        for (role, (view, len)) in views.iter_mut().zip(needs.0).enumerate() {
            let expanded = [Role::Filtered, Role::Expanded, Role::Product, Role::RightMatrix];
            let kind = if expanded.iter().any(|of| *of as usize == role) { kind } else { Kind::F32 };
            if len > 0 {
                *view = backend.values(kind, len)?;
            }
        }
        Ok(Self(views))
    }

    pub fn get(&self, role: Role, len: usize) -> View {
        self.0[role as usize].first(len)
    }
}

/// A pass of stages.
pub(crate) struct Run<'a, B> {
    pub backend: &'a mut B,
    pub scratch: &'a Scratch,
    /// Of expanded tensors and of products' operands.
    pub kind: Kind,
    /// Whether float32 operands may be rounded to TF32.
    pub tf32: bool,
}

impl<B: Backend> Run<'_, B> {
    /// Launches a pass over rows.
    pub fn rows(&mut self, program: Program, kernel: &'static str, grid: Grid, args: &[Arg]) -> Result<()> {
        let Grid { width, block, .. } = grid;
        self.backend.launch(&Launch { program, kernel, width, grid: grid.grid(), block, args })
    }

    /// Launches a kernel of one form.
    pub fn plain(
        &mut self,
        program: Program,
        kernel: &'static str,
        grid: [usize; 2],
        block: [usize; 2],
        args: &[Arg],
    ) -> Result<()> {
        self.backend.launch(&Launch { program, kernel, width: 0, grid, block, args })
    }

    /// `c = a · b`, of so many rows, columns and products a value; `c += a · b` with `accumulate`.
    pub fn product(&mut self, sizes: [usize; 3], a: Matrix, b: Matrix, c: View, accumulate: bool) -> Result<()> {
        let [rows, columns, inner] = sizes;
        let c = Matrix::new(c, columns);
        let tf32 = self.tf32;
        self.backend.gemm(&Product { rows, columns, inner, a, b, c, accumulate, count: 1, tf32 })
    }

    /// Adds up the parts of a weight's gradient, `[parts][taps][c]`, as PyTorch lays it out.
    pub fn sum_parts(&mut self, parts: usize, gweight: View, taps: usize, c: usize) -> Result<()> {
        let part = self.scratch.get(Role::PartWeight, parts * taps * c);
        let args = [Arg::In(part), Arg::Int(parts), Arg::Out(gweight), Arg::Int(taps), Arg::Int(c)];
        self.plain(Program::new("finish"), "sum_parts", [(taps * c).div_ceil(32), 1], [32, 8], &args)
    }
}
