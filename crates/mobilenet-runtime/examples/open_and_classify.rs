//! The five likeliest classes of a picture, a binary PPM without comments:
//! `cargo run --release -p mobilenet-runtime --example open_and_classify -- MODEL.safetensors PICTURE.ppm`.

use std::error::Error;
use std::io::Write;

use mobilenet_runtime::{Model, Session};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [model, picture] = &arguments[..] else {
        return Err("usage: classify MODEL.safetensors PICTURE.ppm".into());
    };
    let file = std::fs::read(picture)?;
    let (height, width, rgb) = ppm(&file).ok_or("not a binary PPM of 8 bits")?;

    let model = Model::open(model)?;
    let mut session = Session::new(&model, 0)?; // as many threads as the machine has
    let mut out = std::io::stdout().lock();
    for class in session.classify(rgb, height, width)?.iter().take(5) {
        writeln!(out, "{:>5.1} %  {}", 100. * class.probability, model.description().classes[class.index])?;
    }
    Ok(())
}

/// Height, width and pixels. The file begins with `P6`, width, height and 255, each followed by a blank.
fn ppm(file: &[u8]) -> Option<(usize, usize, &[u8])> {
    let mut parts = file.splitn(5, u8::is_ascii_whitespace);
    let mut text = || std::str::from_utf8(parts.next()?).ok();
    let (kind, width, height, most) = (text()?, text()?.parse().ok()?, text()?.parse().ok()?, text()?);
    (kind == "P6" && most == "255").then_some(())?;
    Some((height, width, parts.next()?))
}
