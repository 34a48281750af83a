#![doc = include_str!("../README.md")]

mod guard;
mod handle;
mod memory;

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::path::PathBuf;
use std::ptr;

use guard::guard;
use handle::text;
use mobilenet_runtime::Model;

pub use handle::Mobilenet;
pub use memory::{mobilenet_allocate, mobilenet_free};

/// What [`mobilenet_classify`] gives for an error.
const FAILED: isize = -1;

thread_local! {
    /// Why this thread's last opening failed.
    static OPENING: RefCell<CString> = RefCell::default();
}

/// Opens a model's file, `path` being a text that ends with a zero. `threads` run it, the calling one among them; 0
/// stands for as many as the machine has.
///
/// Returns null for an error, and puts its text into `*error`, where `error` is not null. The text belongs to the
/// library and is there until the same thread opens again.
///
/// # Safety
/// `path` is null or such a text; `error` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mobilenet_open(
    path: *const c_char,
    threads: usize,
    error: *mut *const c_char,
) -> *mut Mobilenet {
    let opened = guard(|| {
        if path.is_null() {
            return Err("the path is null".to_owned());
        }
        // SAFETY: it is not null, so that it is a text that ends with a zero, says the caller.
        let path = path_of(unsafe { CStr::from_ptr(path) })?;
        Mobilenet::new(Model::open(path), threads)
    });
    // SAFETY: what is said of `error` is the same.
    unsafe { give(opened, error) }
}

/// [`mobilenet_open`] for the `len` bytes of a model's file, which are not needed afterwards.
///
/// # Safety
/// `bytes` is null or `len` bytes can be read there; `error` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mobilenet_open_bytes(
    bytes: *const u8,
    len: usize,
    threads: usize,
    error: *mut *const c_char,
) -> *mut Mobilenet {
    let opened = guard(|| {
        if bytes.is_null() {
            return Err("the bytes are null".to_owned());
        }
        if isize::try_from(len).is_err() {
            return Err(format!("{len} bytes are more than there can be"));
        }
        // SAFETY: it is not null, so that `len` bytes can be read there, says the caller; no more than a slice may have.
        let bytes = unsafe { std::slice::from_raw_parts(bytes, len) };
        Mobilenet::new(Model::from_bytes(bytes), threads)
    });
    // SAFETY: what is said of `error` is the same.
    unsafe { give(opened, error) }
}

/// How many classes the model tells apart; 0 where `handle` is null.
///
/// # Safety
/// `handle` is null or from [`mobilenet_open`], not closed, and not in use by another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mobilenet_classes(handle: *const Mobilenet) -> usize {
    // SAFETY: it is null or a handle that nobody changes, says the caller.
    unsafe { handle.as_ref() }.map_or(0, |handle| handle.names().len())
}

/// The name of a class, a text in UTF-8 that is there until the model is closed; null where there is no such class.
///
/// # Safety
/// As [`mobilenet_classes`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mobilenet_class_name(handle: *const Mobilenet, index: usize) -> *const c_char {
    // SAFETY: it is null or a handle that nobody changes, says the caller.
    let name = unsafe { handle.as_ref() }.and_then(|handle| handle.names().get(index));
    name.map_or(ptr::null(), |name| name.as_ptr())
}

/// Classifies a picture of `height` × `width` pixels of any size: red, green, blue from 0 to 255, pixel by pixel, row by
/// row. Writes the places of the likeliest classes to `indices` and how likely they are, from 0 to 1, to `probabilities`,
/// the likeliest first, `capacity` of each or as many as there are classes.
///
/// Returns how many were written, or -1 for an error, which [`mobilenet_error`] tells.
///
/// # Safety
/// `handle` is as for [`mobilenet_classes`]. Each other pointer is null or leads to as much memory as is said above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mobilenet_classify(
    handle: *mut Mobilenet,
    rgb: *const u8,
    height: usize,
    width: usize,
    indices: *mut usize,
    probabilities: *mut f32,
    capacity: usize,
) -> isize {
    // SAFETY: it is null or a handle that nobody else uses, says the caller.
    let Some(handle) = (unsafe { handle.as_mut() }) else { return FAILED };
    let classified = guard(|| {
        let len = height.checked_mul(width).and_then(|pixels| pixels.checked_mul(3));
        let len = len.filter(|len| isize::try_from(*len).is_ok());
        let len = len.ok_or_else(|| format!("{height} × {width} pixels are more than there can be"))?;
        if rgb.is_null() {
            return Err("the picture is null".to_owned());
        }
        if capacity > 0 && (indices.is_null() || probabilities.is_null()) {
            return Err("there is nowhere to write to: indices or probabilities are null".to_owned());
        }
        if !indices.is_aligned() || !probabilities.is_aligned() {
            return Err("indices or probabilities are not aligned".to_owned());
        }
        // SAFETY: it is not null, so that a picture can be read there, says the caller; no more than a slice may have.
        let picture = unsafe { std::slice::from_raw_parts(rgb, len) };
        let classes = handle.classify(picture, height, width)?;
        let count = capacity.min(classes.len());
        for (i, class) in classes[..count].iter().enumerate() {
            // SAFETY: both are aligned and, since `capacity` is above `i`, not null: so many can be written there, says
            // the caller.
            unsafe {
                indices.add(i).write(class.index);
                probabilities.add(i).write(class.probability);
            }
        }
        Ok(count)
    });
    match classified {
        Ok(count) => {
            handle.set_error("");
            count.cast_signed()
        }
        Err(error) => {
            handle.set_error(&error);
            FAILED
        }
    }
}

/// Why the last [`mobilenet_classify`] with this handle failed; empty where it did not. A text in UTF-8 that belongs to
/// the handle and is there until it is used to classify again, or closed. Of a handle that is null, it says that.
///
/// # Safety
/// As [`mobilenet_classes`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mobilenet_error(handle: *const Mobilenet) -> *const c_char {
    // SAFETY: it is null or a handle that nobody changes, says the caller.
    unsafe { handle.as_ref() }.map_or(c"the handle is null", Mobilenet::error).as_ptr()
}

/// Closes a model and ends its threads. Nothing is done where `handle` is null.
///
/// # Safety
/// `handle` is null or from [`mobilenet_open`], and is not used by another thread, nor afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mobilenet_close(handle: *mut Mobilenet) {
    let closed = guard(|| {
        if !handle.is_null() {
            // SAFETY: `give` made it of a box, and it is not used again, says the caller.
            drop(unsafe { Box::from_raw(handle) });
        }
        Ok(())
    });
    drop(closed); // what a thread panicked with when it ended can be told to no one
}

fn path_of(path: &CStr) -> Result<PathBuf, String> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Ok(std::ffi::OsStr::from_bytes(path.to_bytes()).into())
    }
    #[cfg(not(unix))]
    {
        path.to_str().map(PathBuf::from).map_err(|_| "the path is not UTF-8".to_owned())
    }
}

/// A handle for whoever opened, or null and why.
///
/// # Safety
/// `error` is null or can be written.
unsafe fn give(opened: Result<Mobilenet, String>, error: *mut *const c_char) -> *mut Mobilenet {
    let (handle, why) = match opened {
        Ok(handle) => (Box::into_raw(Box::new(handle)), ptr::null()),
        Err(why) => (
            ptr::null_mut(),
            OPENING.with_borrow_mut(|kept| {
                *kept = text(&why);
                kept.as_ptr()
            }),
        ),
    };
    if !error.is_null() && error.is_aligned() {
        // SAFETY: it is not null, so that it can be written, says the caller.
        unsafe { error.write(why) };
    }
    handle
}
