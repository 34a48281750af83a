//! Files of the runtime, read at once and part by part.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mobilenet_fuzz::{read, with_file};

fuzz_target!(|bytes: &[u8]| {
    with_file("model.safetensors", bytes, read::model_file);
});
