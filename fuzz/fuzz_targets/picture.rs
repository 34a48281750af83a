//! Pictures of any format.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mobilenet_data::decode_image;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode_image(bytes, 4);
});
