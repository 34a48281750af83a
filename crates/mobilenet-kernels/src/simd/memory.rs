//! Blocks of neighboring values: read, written, asked for in time, and written past the caches.

/// `L` values from `at` on.
#[inline(always)]
pub(crate) fn load<T: Copy + Default, const L: usize>(values: &[T], at: usize) -> [T; L] {
    let mut block = [T::default(); L];
    block.copy_from_slice(&values[at..at + L]);
    block
}

/// [`load`] without asking whether the values are there.
///
/// # Safety
/// `at + L` is at most the number of `values`.
#[inline(always)]
pub(crate) unsafe fn load_unchecked<T: Copy + Default, const L: usize>(values: &[T], at: usize) -> [T; L] {
    debug_assert!(at + L <= values.len(), "{at} + {L} of {}", values.len());
    let mut block = [T::default(); L];
    // SAFETY: the caller's promise.
    block.copy_from_slice(unsafe { values.get_unchecked(at..at + L) });
    block
}

/// Writes `block` from `at` on.
#[inline(always)]
pub(crate) fn store<T: Copy, const L: usize>(values: &mut [T], at: usize, block: [T; L]) {
    values[at..at + L].copy_from_slice(&block);
}

/// Asks for the cache line of `values[at]`, which may lie outside: what follows in memory is as often needed next.
#[inline(always)]
pub(crate) fn prefetch<T>(values: &[T], at: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of any address is allowed; it reads nothing and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().wrapping_add(at).cast()) }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (values, at);
}

/// Values that are only written, with [`Isa::stream`](super::Isa::stream): not even the thread that streamed them may
/// read them before a fence. There is no way to read from it, and none to have one but within [`streamed`].
pub struct Streamed<'a, T>(&'a mut [T]);

/// Lends `values` to `write`, to be written past the caches: for what is not needed again soon. When it returns (or
/// panics), the values are visible to this thread and others.
#[inline]
pub(crate) fn streamed<T, R>(values: &mut [T], write: impl FnOnce(Streamed<T>) -> R) -> R {
    let _fence = Fence;
    write(Streamed(values))
}

/// When dropped, makes streamed values visible.
struct Fence;

impl Drop for Fence {
    #[inline]
    fn drop(&mut self) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: every x86-64 processor has this instruction.
        unsafe {
            std::arch::x86_64::_mm_sfence();
        }
    }
}

impl<T> Streamed<'_, T> {
    /// The `L` values from `at` on, if they are a whole line of the cache: what an instruction may write past it.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn line<const L: usize>(&mut self, at: usize) -> Option<&mut [T; L]> {
        const LINE_BYTES: usize = 64;
        let values: &mut [T; L] = self.0[at..].first_chunk_mut()?;
        let is_line = size_of::<[T; L]>() == LINE_BYTES && values.as_ptr().addr().is_multiple_of(LINE_BYTES);
        is_line.then_some(values)
    }
}

/// Writes `block` from `at` on, through the caches.
#[inline(always)]
pub(super) fn store_streamed<T: Copy, const L: usize>(to: &mut Streamed<T>, at: usize, block: [T; L]) {
    store(to.0, at, block);
}

#[cfg(test)]
#[cfg(feature = "training")]
mod tests {
    use super::*;
    use crate::buffer::Buffer;
    use crate::simd::{Isa, Level, for_each_level};

    #[test]
    fn blocks_are_where_they_were_stored() {
        let mut values = [0u16; 11];
        store(&mut values, 3, [1, 2, 3, 4]);
        prefetch(&values, 40);
        assert_eq!(values, [0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0]);
        assert_eq!(load::<_, 4>(&values, 5), [3, 4, 0, 0]);
        // SAFETY: 3 + 8 is 11.
        assert_eq!(unsafe { load_unchecked::<_, 8>(&values, 3) }, [1, 2, 3, 4, 0, 0, 0, 0]);
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn a_block_beyond_the_end_is_refused() {
        store(&mut [0; 10], 7, [1; 4]);
    }

    for_each_level! {
        fn stream_all(values: &mut [f32]) = stream_all_body[LANES]
    }

    #[inline(always)]
    fn stream_all_body<I: Isa, const L: usize>(isa: I, values: &mut [f32]) {
        streamed(values, |mut values| {
            for at in (0..100).step_by(L) {
                isa.stream(&mut values, at, std::array::from_fn::<f32, L, _>(|l| (at + l) as f32));
            }
        });
    }

    /// Whether whole lines or, in a buffer that begins elsewhere, parts of two.
    #[test]
    fn streamed_values_are_there_afterwards() {
        for level in Level::available() {
            for first in [0, 1, 16] {
                let mut values = Buffer::zeroed(first + 112);
                stream_all(level, &mut values[first..]);
                let streamed = &values[first..first + 100];
                assert!(streamed.iter().enumerate().all(|(i, v)| *v == i as f32), "{level}, {first}: {streamed:?}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn streaming_beyond_the_end_is_refused() {
        stream_all(Level::best(), &mut [0.; 90]);
    }
}
