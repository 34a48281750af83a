//! What runs kernels: a device, its emulation, or a plan that only counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Result;
use crate::program::Program;

/// What a place in memory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// float32.
    F32,
    /// bf16.
    Bf16,
    /// Bytes.
    U8,
    /// 32-bit numbers.
    U32,
}

impl Kind {
    /// Bytes of a value.
    pub fn size(self) -> usize {
        match self {
            Self::F32 | Self::U32 => 4,
            Self::Bf16 => 2,
            Self::U8 => 1,
        }
    }
}

/// Values in a back end's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The number of the allocation.
    pub memory: usize,
    /// Bytes from its beginning.
    pub at: usize,
    /// How many values.
    pub len: usize,
    /// What they are.
    pub kind: Kind,
}

impl View {
    /// Bytes of all values.
    pub fn bytes(&self) -> usize {
        self.len * self.kind.size()
    }

    /// `len` of its values from `from` on; fewer where there are fewer.
    #[must_use]
    pub fn part(&self, from: usize, len: usize) -> Self {
        let from = from.min(self.len);
        Self { at: self.at + from * self.kind.size(), len: len.min(self.len - from), ..*self }
    }

    /// The first `len` values.
    #[must_use]
    pub fn first(&self, len: usize) -> Self {
        self.part(0, len)
    }
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// A tensor that is read.
    In(View),
    /// One that is written.
    Out(View),
    /// One that is read and written.
    InOut(View),
    /// No tensor.
    Null,
    /// A number, below 2^31.
    Int(usize),
    /// A 64-bit number.
    Long(usize),
    /// A float.
    Float(f32),
}

impl Arg {
    /// A tensor that is read, if there is one.
    pub fn maybe_in(view: Option<View>) -> Self {
        view.map_or(Self::Null, Self::In)
    }

    /// A tensor that is written, if there is one.
    pub fn maybe_out(view: Option<View>) -> Self {
        view.map_or(Self::Null, Self::Out)
    }

    /// Bytes that move: of each tensor, once each way.
    pub fn bytes(&self) -> usize {
        match self {
            Self::In(view) | Self::Out(view) => view.bytes(),
            Self::InOut(view) => 2 * view.bytes(),
            _ => 0,
        }
    }
}

/// One launch of a kernel.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// The program that the kernel is in.
    pub program: Program,
    /// Its name.
    pub kernel: &'static str,
    /// Channels of a thread, which end its name; 0 where there is only one form.
    pub width: usize,
    /// Blocks.
    pub grid: [usize; 2],
    /// Threads of a block.
    pub block: [usize; 2],
    /// Its arguments, in order.
    pub args: &'a [Arg],
}

impl Launch<'_> {
    /// The name with its width: `normalize4`.
    pub fn name(&self) -> String {
        match self.width {
            0 => self.kernel.to_owned(),
            width => format!("{}{width}", self.kernel),
        }
    }

    /// Bytes that its tensors have, each counted once each way: what is read again comes from a cache.
    pub fn bytes(&self) -> usize {
        self.args.iter().map(Arg::bytes).sum()
    }
}

/// A matrix in memory, its rows `stride` values apart.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// Its values.
    pub view: View,
    /// From one row to the next.
    pub stride: usize,
    /// Whether its transpose is meant.
    pub transposed: bool,
}

impl Matrix {
    /// Rows of `columns` values, one after the other.
    pub fn new(view: View, columns: usize) -> Self {
        Self { view, stride: columns, transposed: false }
    }

    /// Its transpose.
    #[must_use]
    pub fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }
}

/// `c = a · b`, or `c += a · b`: of `rows × inner` and `inner × columns` values, summed in float32.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Rows of `c`.
    pub rows: usize,
    /// Columns of `c`.
    pub columns: usize,
    /// How many products a value is the sum of.
    pub inner: usize,
    /// The left side; of the kind of the right one.
    pub a: Matrix,
    /// The right side.
    pub b: Matrix,
    /// The product, not transposed.
    pub c: Matrix,
    /// Whether it is added to what is there.
    pub accumulate: bool,
    /// So many products of matrices that lie one after the other.
    pub count: usize,
    /// Whether float32 operands may be rounded to TF32: where others of the same network are bf16.
    pub tf32: bool,
}

impl Product {
    /// Bytes that its matrices have, each counted once each way.
    pub fn bytes(&self) -> usize {
        let of = |values: usize, matrix: &Matrix| values * matrix.view.kind.size();
        let each = of(self.rows * self.inner, &self.a)
            + of(self.inner * self.columns, &self.b)
            + of(self.rows * self.columns, &self.c) * if self.accumulate { 2 } else { 1 };
        self.count * each
    }
}

/// The name of work that is done again and again; see [`Backend::repeat`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Repeated(u64);

impl Repeated {
    /// A name that nothing else has.
    #[expect(clippy::new_without_default, reason = "every one is another")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Its number.
    #[cfg(feature = "cuda")]
    pub(crate) fn number(&self) -> u64 {
        self.0
    }
}

/// What runs kernels, in the order of the calls.
pub trait Backend {
    /// Memory for so many bytes, as long as the back end lives; its number. What it holds is undefined.
    ///
    /// # Errors
    /// There is not so much memory.
    fn alloc(&mut self, bytes: usize) -> Result<usize>;

    /// Copies bytes of the host's into a view of as many.
    ///
    /// # Errors
    /// What the device says.
    fn write(&mut self, to: View, bytes: &[u8]) -> Result<()>;

    /// Copies a view's bytes to the host, after all that was launched.
    ///
    /// # Errors
    /// What the device says.
    fn read(&mut self, from: View, bytes: &mut [u8]) -> Result<()>;

    /// Where the view is, for tables of pointers.
    fn address(&self, of: View) -> u64;

    /// Launches a kernel.
    ///
    /// # Errors
    /// What the compiler or the device says, and arguments that do not fit.
    fn launch(&mut self, launch: &Launch) -> Result<()>;

    /// Multiplies matrices.
    ///
    /// # Errors
    /// What the device says.
    fn gemm(&mut self, product: &Product) -> Result<()>;

    /// Says what the following launches belong to.
    fn enter(&mut self, stage: &str);

    /// Does `work`, which launches the same each time that it is done under the same name and neither writes nor reads: a back
    /// end may remember the launches and repeat them as one.
    ///
    /// # Errors
    /// Those of the work.
    fn repeat(&mut self, name: &Repeated, work: &mut dyn FnMut(&mut Self) -> Result<()>) -> Result<()>
    where
        Self: Sized,
    {
        let _ = name;
        work(self)
    }

    /// Says how many bytes the next launch moves beside those of its arguments: through a table of pointers.
    fn moves(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// Copies float32 values into a view of as many.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    fn write_f32(&mut self, to: View, values: &[f32]) -> Result<()> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.write(to, &bytes)
    }

    /// The float32 values of a view.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    fn read_f32(&mut self, from: View) -> Result<Vec<f32>> {
        let mut bytes = vec![0; from.bytes()];
        self.read(from, &mut bytes)?;
        let words = bytes.chunks_exact(4);
        Ok(words.map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect())
    }

    /// Memory for `len` values.
    ///
    /// # Errors
    /// Those of [`alloc`](Self::alloc).
    fn values(&mut self, kind: Kind, len: usize) -> Result<View> {
        Ok(View { memory: self.alloc(len * kind.size())?, at: 0, len, kind })
    }

    /// Memory for `len` float32 values, all 0.
    ///
    /// # Errors
    /// Those of [`alloc`](Self::alloc) and [`write`](Self::write).
    fn zeros(&mut self, len: usize) -> Result<View> {
        let view = self.values(Kind::F32, len)?;
        self.write(view, &vec![0; view.bytes()])?;
        Ok(view)
    }
}
