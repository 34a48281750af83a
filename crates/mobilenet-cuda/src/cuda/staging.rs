//! Copies to the device from page-locked memory, for which the host does not wait.

use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream, CudaViewMut, DriverError, PinnedHostSlice};

/// How often the host may be ahead of the device's copies to one place.
const TURNS: usize = 3;

/// Bytes from which on a copy from memory that is not page-locked may wait for the device.
const LARGE: usize = 16 << 10;

/// Page-locked memory for what is copied to one place again and again: the copy waits for no one, and the host only for the
/// copy that used the same memory some turns ago.
#[derive(Default)]
pub struct Staging {
    copies: usize,
    buffers: Vec<Buffer>,
}

/// Page-locked memory, and what says that the last copy from there is done. The memory has an event of its own, but cudarc
/// records that only where a context has several streams.
struct Buffer {
    memory: PinnedHostSlice<u8>,
    copied: CudaEvent,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // A device that fails copies nothing any more.
        let _ = self.copied.synchronize();
    }
}

impl Buffer {
    fn new(stream: &CudaStream, bytes: usize) -> Result<Self, DriverError> {
        // SAFETY: bytes of any value are valid, and all of them are written before they are read.
        let memory = unsafe { stream.context().alloc_pinned::<u8>(bytes) }?;
        Ok(Self { memory, copied: stream.context().new_event(None)? })
    }

    fn copy(&mut self, stream: &Arc<CudaStream>, bytes: &[u8], to: &mut CudaViewMut<u8>) -> Result<(), DriverError> {
        self.copied.synchronize()?;
        self.memory.as_mut_slice()?.copy_from_slice(bytes);
        stream.memcpy_htod(&self.memory, to)?;
        self.copied.record(stream)
    }
}

impl Staging {
    /// Copies as many bytes as there were the first time.
    pub fn copy(
        &mut self,
        stream: &Arc<CudaStream>,
        bytes: &[u8],
        to: &mut CudaViewMut<u8>,
    ) -> Result<(), DriverError> {
        self.copies += 1;
        // What is written once is not worth the pages.
        if bytes.len() < LARGE || self.copies == 1 {
            return stream.memcpy_htod(bytes, to);
        }
        while self.buffers.len() < TURNS {
            self.buffers.push(Buffer::new(stream, bytes.len())?);
        }
        self.buffers[self.copies % TURNS].copy(stream, bytes, to)
    }
}

#[cfg(all(test, not(feature = "emulate")))]
mod tests {
    use crate::backend::{Arg, Backend, Kind, Launch, Matrix, Product};
    use crate::emulated_tests::{missing, subject};
    use crate::program::Program;

    /// The host is ahead of the device: what it writes next must not reach a copy that was asked for before.
    #[test]
    fn a_copy_is_of_what_was_there_when_it_was_asked_for() {
        if missing() {
            return;
        }
        let (mut gpu, side, len) = (subject(0), 4096, 1 << 18);
        let [a, b, c] = [(); 3].map(|()| gpu.zeros(side * side).unwrap());
        let [a, b, c] = [a, b, c].map(|view| Matrix::new(view, side));
        let busy =
            Product { rows: side, columns: side, inner: side, a, b, c, accumulate: false, count: 1, tf32: false };
        let place = gpu.values(Kind::F32, len).unwrap();
        let found: Vec<_> = (0..12)
            .map(|i| {
                let copy = gpu.values(Kind::F32, len).unwrap();
                gpu.gemm(&busy).unwrap();
                gpu.write_f32(place, &vec![i as f32; len]).unwrap();
                let args = [Arg::In(place), Arg::Out(copy), Arg::Long(len)];
                let (program, grid, block) = (Program::new("finish"), [1024, 1], [256, 1]);
                gpu.launch(&Launch { program, kernel: "to_operand", width: 0, grid, block, args: &args }).unwrap();
                copy
            })
            .collect();
        for (i, copy) in found.into_iter().enumerate() {
            let values = gpu.read_f32(copy).unwrap();
            assert!(values.iter().all(|value| *value == i as f32), "copy {i} has {}", values[len - 1]);
        }
    }
}
