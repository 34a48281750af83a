//! Batches of CIFAR-10: the binary version or, after a first byte that is odd, the Python version's pickles.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mobilenet_fuzz::{read, with_file};

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let python = kind % 2 == 1;
    let (file, names) = match python {
        false => ("batch.bin", ["data_batch_1.bin", "test_batch.bin"]),
        true => ("batch", ["data_batch_1", "test_batch"]),
    };
    with_file(file, bytes, |path| {
        // One version would hide the other.
        for name in ["data_batch_1.bin", "test_batch.bin", "data_batch_1", "test_batch"] {
            let _ = std::fs::remove_file(path.with_file_name("set").join(name));
        }
        read::cifar(path, names)
    });
});
