//! Parquet files, archives and lists of pictures: a set in a file, by its content.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mobilenet_fuzz::{read, with_file};

fuzz_target!(|bytes: &[u8]| {
    with_file("set.parquet", bytes, read::set);
});
