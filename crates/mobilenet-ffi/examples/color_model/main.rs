//! Writes the file of a small model that tells the color of a picture, to try the interface with:
//! `cargo run -p mobilenet-ffi --example color_model -- color.safetensors`.

mod network;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("expected the name of the file to write")?;
    network::network().save(path)?;
    Ok(())
}
