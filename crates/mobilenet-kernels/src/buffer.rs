//! Large buffers that are used again.
//!
//! A training step needs the same buffers as the one before. Given back to the system, a buffer of some megabytes costs a
//! page fault for every 4 KiB when it is needed again: about as much as the arithmetic on it.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

static FREE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Where a buffer begins: at a cache line, so that no register is loaded from two of them.
const ALIGN: usize = 64 / size_of::<f32>();

/// A float32 buffer that goes back to a common store when it is dropped. The store gives nothing back to the system: it
/// grows to what the program has needed of each size at one time.
#[derive(Debug, Default)]
pub struct Buffer {
    values: Vec<f32>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// A buffer of `len` values, whatever they are.
    pub fn new(len: usize) -> Self {
        let mut free = FREE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let room = len + ALIGN;
        let fitting = free.iter().enumerate().filter(|(_, v)| v.len() >= room && v.len() <= 2 * room);
        let values = match fitting.min_by_key(|(_, v)| v.len()).map(|(i, _)| i) {
            Some(i) => free.swap_remove(i),
            None => {
                drop(free);
                vec![0.; room]
            }
        };
        let start = values.as_ptr().align_offset(ALIGN * size_of::<f32>()).min(ALIGN);
        Self { values, start, len }
    }

    /// A buffer of the same values.
    pub fn copy_of(values: &[f32]) -> Self {
        let mut buffer = Self::new(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// Makes it `len` values long, whatever they are.
    pub fn resize(&mut self, len: usize) {
        if self.len != len {
            *self = Self::new(len);
        }
    }

    /// A buffer of `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        let mut buffer = Self::new(len);
        buffer.fill(0.);
        buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.values.is_empty() {
            let mut free = FREE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            free.push(std::mem::take(&mut self.values));
        }
    }
}

impl AsRef<[f32]> for Buffer {
    fn as_ref(&self) -> &[f32] {
        self
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.start..self.start + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again() {
        // A length of its own: other tests use the store at the same time.
        let len = 1_234_567;
        let first = Buffer::new(len);
        let at = first.as_ptr();
        drop(first);
        let again = Buffer::zeroed(len - 3);
        assert_eq!((again.as_ptr(), again.len()), (at, len - 3));
        assert!(again.iter().all(|v| *v == 0.));
        assert_ne!(Buffer::new(len).as_ptr(), at, "in use");
    }
}
