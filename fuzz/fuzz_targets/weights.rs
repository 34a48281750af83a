//! Files of weights: safetensors, indices, and what torch.save writes.

#![no_main]

use candle_nn::VarMap;
use libfuzzer_sys::fuzz_target;
use mobilenet_fuzz::{read, with_file};

thread_local! {
    static VARIABLES: VarMap = read::variables();
}

fuzz_target!(|bytes: &[u8]| {
    with_file("weights", bytes, |path| VARIABLES.with(|vars| read::weights_of(vars, path)));
});
