//! An allocator that keeps large blocks for the next time.
//!
//! Training allocates the same large tensors in every step. The system takes a freed block of megabytes back at once, and
//! hands it out again page by page, each page with a fault and zeros: a third of a step's time. This allocator leaves
//! small blocks to the system and keeps the large ones it is given back in lists by size. A program installs it with
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: mobilenet_kernels::KeepLarge = mobilenet_kernels::KeepLarge;
//! # let block = vec![1u8; 3 << 20];
//! # assert_eq!(block[1 << 20], 1);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What counts as large, in bytes.
const LARGE: usize = 1 << 20;
/// Sizes are rounded up to eighths of a power of two, from 2^20 to 2^47: at most an eighth is lost.
const CLASSES: usize = 8 * 28;
/// Large blocks begin at a multiple of this; a request for more goes to the system.
const ALIGN: usize = 4096;

/// A global allocator that never returns a block of a mebibyte or more to the system. For each
/// size class it keeps as much as was in use at one time.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepLarge;

/// The first block of each class's list; a free block's first word points to the next.
struct Lists([*mut u8; CLASSES]);

// SAFETY: the pointers are to blocks that nobody but the lists refers to; any thread may hand them on.
unsafe impl Send for Lists {}

static FREE: Mutex<Lists> = Mutex::new(Lists([null_mut(); CLASSES]));

fn free_lists() -> MutexGuard<'static, Lists> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The list for blocks of `layout`'s size and how large they are; `None` if the system serves it.
fn class(layout: Layout) -> Option<(usize, Layout)> {
    let size = layout.size();
    if size < LARGE || layout.align() > ALIGN {
        return None;
    }
    let octave = (size.ilog2() - LARGE.ilog2()) as usize;
    let eighth = (LARGE / 8) << octave;
    let eighths = size.div_ceil(eighth); // 8 to 16
    let index = octave * 8 + eighths - 8;
    let rounded = Layout::from_size_align(eighth * eighths, ALIGN).ok()?;
    (index < CLASSES).then_some((index, rounded))
}

/// Takes a kept block.
fn take(index: usize) -> *mut u8 {
    let mut lists = free_lists();
    let block = lists.0[index];
    if !block.is_null() {
        // SAFETY: a listed block is free, at least a mebibyte long and aligned to 4096, and its first word was written
        // when it was listed.
        lists.0[index] = unsafe { block.cast::<*mut u8>().read() };
    }
    block
}

// SAFETY: every block comes from `System` with at least the size and alignment asked for (`class` only rounds up), is handed
// to one caller at a time (it leaves its list under the lock), and goes back either to the list of its class or to `System`
// with the layout it was taken with: `class` is a function of the layout, which the caller repeats.
unsafe impl GlobalAlloc for KeepLarge {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class(layout) {
            Some((index, rounded)) => {
                let kept = take(index);
                // SAFETY: `rounded` has a size above 0.
                if kept.is_null() { unsafe { System.alloc(rounded) } } else { kept }
            }
            // SAFETY: the caller's own promise.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match class(layout) {
            Some((index, rounded)) => {
                let kept = take(index);
                if kept.is_null() {
                    // SAFETY: `rounded` has a size above 0.
                    return unsafe { System.alloc_zeroed(rounded) };
                }
                // SAFETY: a kept block of this class is at least `layout.size()` long.
                unsafe { kept.write_bytes(0, layout.size()) };
                kept
            }
            // SAFETY: the caller's own promise.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class(layout) {
            Some((index, _)) => {
                let mut lists = free_lists();
                // SAFETY: the caller gives the block up; it is at least a mebibyte long and aligned to 4096.
                unsafe { block.cast::<*mut u8>().write(lists.0[index]) };
                lists.0[index] = block;
            }
            // SAFETY: such a block came from the system with this layout.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `new_size` is above 0 and does not overflow when rounded up to the alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (class(layout), class(new_layout)) {
            // SAFETY: the system's block stays the system's.
            (None, None) => unsafe { System.realloc(block, layout, new_size) },
            (Some((old, _)), Some((new, _))) if old == new => block,
            _ => {
                // SAFETY: `new_layout` has a size above 0.
                let moved = unsafe { self.alloc(new_layout) };
                if !moved.is_null() {
                    // SAFETY: both blocks are at least that long, and distinct: `block` is still in use.
                    unsafe { moved.copy_from_nonoverlapping(block, layout.size().min(new_size)) };
                    // SAFETY: the caller's own promise about `block` and `layout`.
                    unsafe { self.dealloc(block, layout) };
                }
                moved
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_round_up_by_an_eighth_at_most() {
        for size in (LARGE..40 * LARGE).step_by(12_345).chain([LARGE, 2 * LARGE - 1, 2 * LARGE, (1 << 40) + 1]) {
            let (index, rounded) = class(Layout::from_size_align(size, 4).unwrap()).unwrap();
            assert!(rounded.size() >= size && rounded.size() <= size + size / 8 + 8, "{size}: {rounded:?}");
            let (same, again) = class(rounded).unwrap();
            assert_eq!(again.size(), rounded.size(), "{size}");
            assert!(same == index || rounded.size().is_power_of_two(), "{size}: {index} {same}");
        }
        assert!(class(Layout::from_size_align(LARGE - 1, 4).unwrap()).is_none());
        assert!(class(Layout::from_size_align(LARGE, 2 * ALIGN).unwrap()).is_none());
    }

    #[test]
    fn blocks_are_aligned_apart_zeroed_and_used_again() {
        // A size of its own: the lists are common to all tests.
        let layout = Layout::from_size_align(77 * LARGE + 4, 64).unwrap();
        // SAFETY: blocks are used within their layouts and given back once.
        unsafe {
            let (a, b) = (KeepLarge.alloc(layout), KeepLarge.alloc(layout));
            assert!(a.addr().is_multiple_of(64) && a.addr().abs_diff(b.addr()) >= layout.size());
            a.write_bytes(7, layout.size());
            KeepLarge.dealloc(a, layout);
            let again = KeepLarge.alloc_zeroed(layout);
            assert_eq!(again, a);
            assert!(std::slice::from_raw_parts(again, layout.size()).iter().all(|v| *v == 0));
            KeepLarge.dealloc(again, layout);
            KeepLarge.dealloc(b, layout);
        }
    }

    #[test]
    fn growing_and_shrinking_keep_the_content() {
        let mut layout = Layout::from_size_align(1000, 8).unwrap();
        // SAFETY: the block is used within its layout, which follows its size.
        unsafe {
            let mut block = KeepLarge.alloc(layout);
            (0..1000).for_each(|i| block.add(i).write(i as u8));
            for size in [2000, 3 * LARGE, 3 * LARGE + 5, 9 * LARGE, LARGE, 1000] {
                block = KeepLarge.realloc(block, layout, size);
                layout = Layout::from_size_align(size, 8).unwrap();
                assert!((0..1000).all(|i| block.add(i).read() == i as u8), "{size}");
            }
            KeepLarge.dealloc(block, layout);
        }
    }

    #[test]
    fn threads_do_not_share_blocks() {
        std::thread::scope(|scope| {
            for id in 0..4u8 {
                scope.spawn(move || {
                    let layout = Layout::from_size_align(2 * LARGE, 8).unwrap();
                    for _ in 0..200 {
                        // SAFETY: the block is used within its layout and given back once.
                        unsafe {
                            let block = KeepLarge.alloc(layout);
                            block.write_bytes(id, 4096);
                            std::thread::yield_now();
                            assert!(std::slice::from_raw_parts(block, 4096).iter().all(|v| *v == id));
                            KeepLarge.dealloc(block, layout);
                        }
                    }
                });
            }
        });
    }
}
