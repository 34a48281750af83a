//! Memory for callers that have no allocator of their own: a page that runs this library as WebAssembly.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr;

/// Where what is allocated may begin: enough for any number.
const ALIGNMENT: usize = 16;

/// `len` bytes, for [`mobilenet_free`]; null where there is not so much memory.
#[unsafe(no_mangle)]
pub extern "C" fn mobilenet_allocate(len: usize) -> *mut u8 {
    match layout(len) {
        // SAFETY: the layout has at least one byte.
        Some(layout) => unsafe { alloc(layout) },
        None => ptr::null_mut(),
    }
}

/// Frees what [`mobilenet_allocate`] gave for the same `len`. Nothing is done where it is null.
///
/// # Safety
/// `bytes` is null or from `mobilenet_allocate(len)`, and is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mobilenet_free(bytes: *mut u8, len: usize) {
    if let (false, Some(layout)) = (bytes.is_null(), layout(len)) {
        // SAFETY: it was allocated with the same layout, says the caller.
        unsafe { dealloc(bytes, layout) };
    }
}

fn layout(len: usize) -> Option<Layout> {
    Layout::from_size_align(len.max(1), ALIGNMENT).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_can_be_written_and_freed() {
        for len in [0, 1, 100, 100_000] {
            let bytes = mobilenet_allocate(len);
            assert!(!bytes.is_null() && bytes.addr().is_multiple_of(ALIGNMENT));
            // SAFETY: so many bytes were allocated there, and are freed once.
            unsafe {
                bytes.write_bytes(7, len);
                mobilenet_free(bytes, len);
            }
        }
        assert!(mobilenet_allocate(usize::MAX).is_null());
        // SAFETY: null is allowed.
        unsafe { mobilenet_free(ptr::null_mut(), 7) };
    }
}
