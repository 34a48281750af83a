//! Checkpoints of a training that is resumed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mobilenet_fuzz::{read, with_file};

fuzz_target!(|bytes: &[u8]| {
    with_file("checkpoint.safetensors", bytes, |path| path.parent().is_some_and(|folder| read::training(folder, true)));
});
