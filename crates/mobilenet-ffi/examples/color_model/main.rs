//! Writes the files of small models that tell a picture's color, in float32 and in 8 bits, to try the interface with:
//! `cargo run -p mobilenet-ffi --example color_model -- color.safetensors color-int8.safetensors`.

mod network;

use mobilenet_runtime::Precision;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut names = std::env::args_os().skip(1);
    for precision in [Precision::Float32, Precision::Int8] {
        let name = names.next().ok_or("usage: color_model FLOAT32.safetensors INT8.safetensors")?;
        network::network(precision).save(name)?;
    }
    Ok(())
}
