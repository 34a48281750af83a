//! Large buffers that are used again.
//!
//! A training step needs the same buffers as the one before. Given back to the system, a buffer of some megabytes costs
//! a page fault for every 4 KiB when it is needed again: about as much as the arithmetic on it.

use std::ops::{Deref, DerefMut};

use crate::element::Element;

/// Where a buffer begins: at a cache line, so that no register is loaded from two of them.
const ALIGN: usize = 64;

/// A buffer that goes back to a common store when it is dropped. The store gives nothing back to the system: it grows
/// to what the program has needed of each size at one time.
#[derive(Debug, Default)]
pub struct Elements<E: Element> {
    values: Vec<E>,
    start: usize,
    len: usize,
}

/// A float32 buffer that goes back to a common store when it is dropped. The store gives nothing back to the system: it
/// grows to what the program has needed of each size at one time.
pub type Buffer = Elements<f32>;

impl<E: Element> Elements<E> {
    /// A buffer of `len` values, whatever they are.
    pub fn new(len: usize) -> Self {
        let align = ALIGN / size_of::<E>();
        let mut free = E::store().lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let room = len + align;
        let fitting = free.iter().enumerate().filter(|(_, v)| v.len() >= room && v.len() <= 2 * room);
        let values = match fitting.min_by_key(|(_, v)| v.len()).map(|(i, _)| i) {
            Some(i) => free.swap_remove(i),
            None => {
                drop(free);
                vec![E::default(); room]
            }
        };
        let start = values.as_ptr().align_offset(ALIGN).min(align);
        Self { values, start, len }
    }

    /// A buffer of the same values.
    pub fn copy_of(values: &[E]) -> Self {
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
        buffer.fill(E::default());
        buffer
    }
}

impl<E: Element> Drop for Elements<E> {
    fn drop(&mut self) {
        if !self.values.is_empty() {
            let mut free = E::store().lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            free.push(std::mem::take(&mut self.values));
        }
    }
}

impl<E: Element> AsRef<[E]> for Elements<E> {
    fn as_ref(&self) -> &[E] {
        self
    }
}

impl<E: Element> Deref for Elements<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        &self.values[self.start..self.start + self.len]
    }
}

impl<E: Element> DerefMut for Elements<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        &mut self.values[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again() {
        // A length of its own: other tests use the store at the same time.
        let len = if cfg!(miri) { 12_345 } else { 1_234_567 };
        let first = Buffer::new(len);
        let at = first.as_ptr();
        drop(first);
        let again = Buffer::zeroed(len - 3);
        assert_eq!((again.as_ptr(), again.len()), (at, len - 3));
        assert!(again.iter().all(|v| *v == 0.));
        assert_ne!(Buffer::new(len).as_ptr(), at, "in use");
    }
}
