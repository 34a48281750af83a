//! Writes the files of small models that tell a picture's color, in float32 and in 8 bits, to try the interface with:
//! `cargo run -p mobilenet-ffi --example color_model -- color.safetensors color-int8.safetensors`.

mod network;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut names = std::env::args_os().skip(1);
    for in_bytes in [false, true] {
        let name = names.next().ok_or("usage: color_model FLOAT32.safetensors INT8.safetensors")?;
        network::network(in_bytes).save(name)?;
    }
    Ok(())
}
