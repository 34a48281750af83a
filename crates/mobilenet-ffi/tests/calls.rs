//! The functions as C calls them: what they give, and what they say to pointers and sizes that fit nothing.

#[path = "../examples/color_model/network.rs"]
mod network;

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use mobilenet_ffi::{
    Mobilenet, mobilenet_class_name, mobilenet_classes, mobilenet_classify, mobilenet_close, mobilenet_error,
    mobilenet_open, mobilenet_open_bytes,
};
use mobilenet_runtime::Precision;

/// A model from bytes, closed at the end.
struct Opened(*mut Mobilenet);

impl Opened {
    fn new() -> Self {
        Self::of(Precision::Float32)
    }

    fn of(precision: Precision) -> Self {
        let bytes = network::network(precision).to_bytes().unwrap();
        Self(from_bytes(bytes.as_ptr(), bytes.len(), 2).unwrap())
    }

    /// The classes that are found, or the error.
    fn classify(&self, rgb: &[u8], height: usize, width: usize, capacity: usize) -> Result<Vec<(usize, f32)>, String> {
        let (mut indices, mut probabilities) = (vec![99; capacity], vec![-1.; capacity]);
        let (rgb, to) = (rgb.as_ptr(), (indices.as_mut_ptr(), probabilities.as_mut_ptr()));
        // SAFETY: the handle is open; the vectors have room for `capacity`, and no test says more pixels than it has.
        let count = unsafe { mobilenet_classify(self.0, rgb, height, width, to.0, to.1, capacity) };
        match usize::try_from(count) {
            Ok(count) => Ok(indices.into_iter().zip(probabilities).take(count).collect()),
            Err(_) => Err(self.error()),
        }
    }

    fn error(&self) -> String {
        // SAFETY: the handle is open.
        string(unsafe { mobilenet_error(self.0) }).unwrap()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: it is open, and not used again.
        unsafe { mobilenet_close(self.0) };
    }
}

fn string(text: *const c_char) -> Option<String> {
    // SAFETY: the library gave it: null, or a text.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned())
}

/// Either a handle or an error.
fn opened(handle: *mut Mobilenet, error: *const c_char) -> Result<*mut Mobilenet, String> {
    assert_eq!(handle.is_null(), !error.is_null());
    string(error).map_or(Ok(handle), Err)
}

fn from_file(path: &CStr, threads: usize) -> Result<*mut Mobilenet, String> {
    let mut error = ptr::null();
    // SAFETY: the path is a text, `error` a place.
    opened(unsafe { mobilenet_open(path.as_ptr(), threads, &raw mut error) }, error)
}

fn from_bytes(bytes: *const u8, len: usize, threads: usize) -> Result<*mut Mobilenet, String> {
    let mut error = ptr::null();
    // SAFETY: the bytes are null or so many, or the length is refused; `error` is a place.
    opened(unsafe { mobilenet_open_bytes(bytes, len, threads, &raw mut error) }, error)
}

#[test]
fn the_likeliest_classes_come_first() {
    let model = Opened::new();
    // SAFETY: the handle is open.
    let (count, name) = unsafe { (mobilenet_classes(model.0), |i| string(mobilenet_class_name(model.0, i))) };
    assert_eq!(count, 6);
    assert_eq!((name(0).as_deref(), name(5).as_deref(), name(6)), (Some("red"), Some("gray"), None));
    for model in [&model, &Opened::of(Precision::Bf16), &Opened::of(Precision::Int8)] {
        for (pixel, expected) in [([255, 0, 0], 0), ([0, 255, 0], 1), ([0, 0, 255], 2), ([255; 3], 3), ([0; 3], 4)] {
            let found = model.classify(&pixel.repeat(40 * 50), 40, 50, 5).unwrap();
            assert_eq!((found.len(), found[0].0), (5, expected), "{found:?}");
            assert!(found.is_sorted_by(|a, b| a.1 >= b.1) && found[0].1 > 0.9, "{found:?}");
        }
    }
    let all = model.classify(&[0; 3], 1, 1, 100).unwrap();
    assert!(all.len() == 6 && (all.iter().map(|class| class.1).sum::<f32>() - 1.).abs() < 1e-5, "{all:?}");
    assert_eq!(model.classify(&[0; 3], 1, 1, 0), Ok(vec![]));
}

#[test]
fn a_file_opens_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("color.safetensors");
    network::network(Precision::Float32).save(&path).unwrap();
    let path = CString::new(path.to_str().unwrap()).unwrap();
    for threads in [0, 1, 3] {
        let model = Opened(from_file(&path, threads).unwrap());
        assert_eq!(model.classify(&[255, 0, 0], 1, 1, 1).unwrap()[0].0, 0);
    }
    // SAFETY: the path is a text, and no error is asked for.
    drop(Opened(unsafe { mobilenet_open(path.as_ptr(), 1, ptr::null_mut()) }));
    let error = from_file(&path, usize::MAX).unwrap_err();
    assert_eq!(error, format!("{} threads were asked for, at most 1024 can be had", usize::MAX));
}

#[test]
fn what_cannot_be_opened_says_why() {
    let error = from_file(c"/nowhere/model.safetensors", 1).unwrap_err();
    assert!(error.starts_with("cannot read /nowhere/model.safetensors: "), "{error}");
    assert!(from_bytes(b"{}".as_ptr(), 2, 1).unwrap_err().starts_with("not a safetensors file: "));
    assert_eq!(from_bytes(ptr::null(), 2, 1).unwrap_err(), "the bytes are null");
    let error = from_bytes(b"{}".as_ptr(), usize::MAX, 1).unwrap_err();
    assert_eq!(error, format!("{} bytes are more than there can be", usize::MAX));
    let mut error = ptr::null();
    // SAFETY: null is allowed.
    let handle = unsafe { mobilenet_open(ptr::null(), 1, &raw mut error) };
    assert_eq!(opened(handle, error).unwrap_err(), "the path is null");
    // SAFETY: null is allowed.
    assert!(unsafe { mobilenet_open(ptr::null(), 1, ptr::null_mut()) }.is_null());
}

#[test]
fn pictures_that_are_none_are_refused_until_one_is() {
    let model = Opened::new();
    assert_eq!(model.error(), "");
    let error = model.classify(&[], 0, 7, 5).unwrap_err();
    assert!(error.starts_with("picture: expected 0 × 7 pixels of 3 values, at least one pixel"), "{error}");
    for (height, width) in [(usize::MAX, 2), (usize::MAX / 3, 1), (1 << 40, 1 << 40)] {
        let error = model.classify(&[0; 3], height, width, 5).unwrap_err();
        assert_eq!(error, format!("{height} × {width} pixels are more than there can be"));
    }
    assert!(model.classify(&[0; 3], 1, 1, 5).is_ok());
    assert_eq!(model.error(), "");
}

#[test]
fn null_is_an_error_everywhere() {
    let model = Opened::new();
    let (rgb, mut indices, mut probabilities) = ([0; 3], [0; 5], [0.; 5]);
    let (rgb, indices, probabilities) = (rgb.as_ptr(), indices.as_mut_ptr(), probabilities.as_mut_ptr());
    let (no_indices, no_probabilities) = (ptr::null_mut(), ptr::null_mut());
    let calls = [
        (ptr::null(), indices, probabilities, "the picture is null"),
        (rgb, no_indices, probabilities, "there is nowhere to write to: indices or probabilities are null"),
        (rgb, indices, no_probabilities, "there is nowhere to write to: indices or probabilities are null"),
        (rgb, indices.wrapping_byte_add(1), probabilities, "indices or probabilities are not aligned"),
    ];
    for (rgb, indices, probabilities, expected) in calls {
        // SAFETY: each pointer is null, or there is as much as is said, or it is refused and nothing is written there.
        let count = unsafe { mobilenet_classify(model.0, rgb, 1, 1, indices, probabilities, 5) };
        assert_eq!((count, model.error().as_str()), (-1, expected));
    }
    // SAFETY: null is allowed, and without capacity nothing is written.
    unsafe {
        assert_eq!(mobilenet_classify(model.0, rgb, 1, 1, no_indices, no_probabilities, 0), 0);
        assert_eq!(mobilenet_classify(ptr::null_mut(), rgb, 1, 1, indices, probabilities, 5), -1);
        assert_eq!(string(mobilenet_error(ptr::null())).as_deref(), Some("the handle is null"));
        assert_eq!(mobilenet_classes(ptr::null()), 0);
        assert!(mobilenet_class_name(ptr::null(), 0).is_null());
        mobilenet_close(ptr::null_mut());
    }
}
