//! A slice that several tasks write to, each its own values.

use std::marker::PhantomData;

/// A mutable slice, to be divided among tasks.
#[derive(Clone, Copy)]
pub(super) struct Shards<'a, T> {
    first: *mut T,
    len: usize,
    lends: PhantomData<&'a mut [T]>,
}

// SAFETY: it lends values of `T`, which may be sent, and each of them to one task at a time, as `values` demands.
unsafe impl<T: Send> Send for Shards<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shards<'_, T> {}

impl<'a, T> Shards<'a, T> {
    pub(super) fn new(values: &'a mut [T]) -> Self {
        Self { first: values.as_mut_ptr(), len: values.len(), lends: PhantomData }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values from `start` on, `len` of them.
    ///
    /// # Safety
    /// While the result is used, nobody else uses any of these values.
    ///
    /// # Panics
    /// They are not all within the slice.
    #[allow(clippy::mut_from_ref, reason = "that no two overlap is the caller's promise")]
    #[inline(always)]
    pub(super) unsafe fn values(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start.checked_add(len).is_some_and(|end| end <= self.len), "{start} + {len} of {}", self.len);
        // SAFETY: within the slice, which is borrowed for as long as `self` is; that nobody else has them is the caller's
        // promise.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(start), len) }
    }
}
