//! The kernels on the CPU: see `emulation/emulator.h`. For tests, and slow.

use std::ffi::{CString, c_char, c_int, c_longlong, c_uint, c_void};

use crate::backend::{Arg, Backend, Kind, Launch, Matrix, Product, View};
use crate::error::{Error, Result};

unsafe extern "C" {
    fn emulator_launch(
        program: *const c_char,
        name: *const c_char,
        letters: *const c_char,
        grid: *const c_uint,
        block: *const c_uint,
        arguments: *mut *mut c_void,
        seed: c_uint,
        error: *mut c_char,
        size: usize,
    ) -> c_int;

    fn emulator_gemm(
        m: c_int,
        n: c_int,
        k: c_int,
        a: *const c_void,
        a_kind: c_int,
        lda: c_longlong,
        at: c_int,
        b: *const c_void,
        b_kind: c_int,
        ldb: c_longlong,
        bt: c_int,
        c: *mut c_void,
        c_kind: c_int,
        ldc: c_longlong,
        accumulate: c_int,
    );
}

/// Runs every kernel at once, on the thread that calls.
pub struct Emulated {
    /// In words of 16 bytes, so that every kind of value is aligned.
    memories: Vec<Vec<u128>>,
    seed: u32,
    launches: u32,
}

impl Emulated {
    /// The order in which a block's threads run between barriers follows from the seed; 0 is that of their numbers.
    pub fn new(seed: u32) -> Self {
        Self { memories: Vec::new(), seed, launches: 0 }
    }

    /// Where a view begins, after a check that the memory has all of it.
    fn pointer(&self, view: View) -> Result<*mut c_void> {
        let words = self.memories.get(view.memory).ok_or_else(|| outside(view))?;
        if view.at + view.bytes() > words.len() * 16 || !view.at.is_multiple_of(view.kind.size()) {
            return Err(outside(view));
        }
        // SAFETY: the offset was checked to be inside the allocation.
        Ok(unsafe { words.as_ptr().cast::<u8>().add(view.at) }.cast_mut().cast())
    }
}

fn outside(view: View) -> Error {
    Error::Device(format!("no such memory: {view:?}"))
}

/// A matrix as the C function takes it.
struct Side {
    pointer: *mut c_void,
    kind: c_int,
    stride: c_longlong,
    transposed: c_int,
}

impl Emulated {
    fn side(&self, matrix: &Matrix, rows: usize, columns: usize, number: usize) -> Result<Side> {
        let (rows, columns) = if matrix.transposed { (columns, rows) } else { (rows, columns) };
        let each = if rows == 0 { 0 } else { (rows - 1) * matrix.stride + columns };
        let view = matrix.view.part(number * rows * columns, each);
        if view.len != each {
            return Err(outside(matrix.view));
        }
        Ok(Side {
            pointer: self.pointer(view)?,
            kind: c_int::from(view.kind == Kind::Bf16),
            stride: matrix.stride as c_longlong,
            transposed: c_int::from(matrix.transposed),
        })
    }
}

impl Backend for Emulated {
    fn alloc(&mut self, bytes: usize) -> Result<usize> {
        // NaN in every kind: what reads before it is written shows.
        self.memories.push(vec![u128::MAX; bytes.div_ceil(16)]);
        Ok(self.memories.len() - 1)
    }

    fn write(&mut self, to: View, bytes: &[u8]) -> Result<()> {
        if bytes.len() != to.bytes() {
            return Err(Error::Length {
                what: "a copy to the device".into(),
                expected: to.bytes(),
                found: bytes.len(),
            });
        }
        let pointer = self.pointer(to)?;
        // SAFETY: `pointer` checked that the memory has as many bytes, and `&mut self` that nothing else has them.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), pointer.cast(), bytes.len()) };
        Ok(())
    }

    fn read(&mut self, from: View, bytes: &mut [u8]) -> Result<()> {
        if bytes.len() != from.bytes() {
            return Err(Error::Length {
                what: "a copy to the host".into(),
                expected: from.bytes(),
                found: bytes.len(),
            });
        }
        let pointer = self.pointer(from)?;
        // SAFETY: as in `write`.
        unsafe { std::ptr::copy_nonoverlapping(pointer.cast(), bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn address(&self, of: View) -> u64 {
        self.pointer(of).map_or(0, |pointer| pointer as u64)
    }

    fn launch(&mut self, launch: &Launch) -> Result<()> {
        self.launches += 1;
        let mut letters = String::new();
        let mut values = Vec::with_capacity(launch.args.len());
        for arg in launch.args {
            let (letter, value) = match *arg {
                Arg::In(view) | Arg::Out(view) | Arg::InOut(view) => ('p', self.pointer(view)? as u64),
                Arg::Null => ('p', 0),
                Arg::Long(value) => ('l', value as u64),
                Arg::Int(value) => match i32::try_from(value) {
                    Ok(value) => ('i', value as u64),
                    Err(_) => return Err(Error::Size { kernel: launch.name(), found: value }),
                },
                Arg::Float(value) => ('f', u64::from(value.to_bits())),
            };
            letters.push(letter);
            values.push(value);
        }
        let mut arguments: Vec<*mut c_void> = values.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        let text = |text: String| CString::new(text).map_err(|error| Error::Device(error.to_string()));
        let (program, name, letters) = (text(launch.program.key())?, text(launch.name())?, text(letters)?);
        let grid = [launch.grid[0] as c_uint, launch.grid[1] as c_uint, 1];
        let block = [launch.block[0] as c_uint, launch.block[1] as c_uint, 1];
        let seed = if self.seed == 0 { 0 } else { self.seed.wrapping_mul(0x9e37).wrapping_add(self.launches) | 1 };
        let mut error = [0u8; 256];
        // SAFETY: the function compares the number and the kinds of the arguments with the kernel's, each pointer has an
        // 8-byte value behind it, and every view was checked to be inside its memory. What a kernel reads and writes beyond
        // its views is what the sanitizers look for.
        let failed = unsafe {
            emulator_launch(
                program.as_ptr(),
                name.as_ptr(),
                letters.as_ptr(),
                grid.as_ptr(),
                block.as_ptr(),
                arguments.as_mut_ptr(),
                seed,
                error.as_mut_ptr().cast(),
                error.len(),
            )
        };
        if failed == 0 {
            return Ok(());
        }
        let end = error.iter().position(|byte| *byte == 0).unwrap_or(error.len());
        Err(Error::Device(String::from_utf8_lossy(&error[..end]).into_owned()))
    }

    fn gemm(&mut self, product: &Product) -> Result<()> {
        let Product { rows, columns, inner, a, b, c, accumulate, count, .. } = *product;
        for number in 0..count {
            let a = self.side(&a, rows, inner, number)?;
            let b = self.side(&b, inner, columns, number)?;
            let c = self.side(&c, rows, columns, number)?;
            // SAFETY: `side` checked that each matrix is inside its memory.
            unsafe {
                emulator_gemm(
                    rows as c_int,
                    columns as c_int,
                    inner as c_int,
                    a.pointer,
                    a.kind,
                    a.stride,
                    a.transposed,
                    b.pointer,
                    b.kind,
                    b.stride,
                    b.transposed,
                    c.pointer,
                    c.kind,
                    c.stride,
                    c_int::from(accumulate),
                );
            }
        }
        Ok(())
    }

    fn enter(&mut self, _: &str) {}
}
