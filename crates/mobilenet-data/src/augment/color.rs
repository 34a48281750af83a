//! Changes of colors, to the last bit as PIL makes them (`ImageEnhance`, `ImageOps`), which is what torchvision's
//! transforms of PIL's pictures are.

/// Gray of a pixel: ITU-R 601-2 luma in 16 bits.
fn gray(pixel: &[u8]) -> u8 {
    let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
}

/// `from + factor * (to - from)`, cut off to a whole number; a factor beyond 1 leads beyond `to`.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    let (from, to) = (f32::from(from), f32::from(to));
    // `as` keeps to the range.
    (from + factor * (to - from)) as u8
}

/// From black (0) over the picture (1) to something brighter.
pub(crate) fn brightness(pixels: &mut [u8], factor: f32) {
    pixels.iter_mut().for_each(|value| *value = blend(0, *value, factor));
}

/// From the mean gray (0) over the picture (1) to more contrast.
pub(crate) fn contrast(pixels: &mut [u8], factor: f32) {
    let sum: u64 = pixels.chunks_exact(3).map(|pixel| u64::from(gray(pixel))).sum();
    let mean = (sum as f64 / (pixels.len() / 3).max(1) as f64 + 0.5) as u8;
    pixels.iter_mut().for_each(|value| *value = blend(mean, *value, factor));
}

/// From gray (0) over the picture (1) to stronger colors.
pub(crate) fn saturation(pixels: &mut [u8], factor: f32) {
    for pixel in pixels.chunks_exact_mut(3) {
        let gray = gray(pixel);
        pixel.iter_mut().for_each(|value| *value = blend(gray, *value, factor));
    }
}

/// From smoothed (0) over the picture (1) to sharper. The outermost pixels stay.
pub(crate) fn sharpness(pixels: &mut [u8], (height, width): (usize, usize), factor: f32) {
    const SIDE: f32 = 1.0 / 13.0;
    const MIDDLE: f32 = 5.0 / 13.0;
    let original = pixels.to_vec();
    let at = |y: usize, x: usize, c: usize| f32::from(original[(y * width + x) * 3 + c]);
    for y in 1..height.saturating_sub(1) {
        for x in 1..width.saturating_sub(1) {
            for c in 0..3 {
                let row =
                    |y: usize, middle: f32| at(y, x - 1, c) * SIDE + at(y, x, c) * middle + at(y, x + 1, c) * SIDE;
                let smooth = 0.5 + row(y + 1, SIDE) + row(y, MIDDLE) + row(y - 1, SIDE);
                let value = &mut pixels[(y * width + x) * 3 + c];
                *value = blend(smooth as u8, *value, factor);
            }
        }
    }
}

/// Turns the hue by a share of the circle, -0.5 to 0.5, in 8 bits of hue, saturation and value.
pub(crate) fn hue(pixels: &mut [u8], share: f64) {
    let turn = (share * 255.0) as i32 as u8;
    for pixel in pixels.chunks_exact_mut(3) {
        let (hue, saturation, value) = to_hsv([pixel[0], pixel[1], pixel[2]]);
        pixel.copy_from_slice(&to_rgb(hue.wrapping_add(turn), saturation, value));
    }
}

fn to_hsv([r, g, b]: [u8; 3]) -> (u8, u8, u8) {
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    if max == min {
        return (0, 0, max);
    }
    let range = f32::from(max - min);
    let saturation = range / f32::from(max);
    let [rc, gc, bc] = [r, g, b].map(|value| f32::from(max - value) / range);
    // The last two in double precision, as in C.
    let hue = if r == max {
        bc - gc
    } else if g == max {
        (2.0 + f64::from(rc) - f64::from(bc)) as f32
    } else {
        (4.0 + f64::from(gc) - f64::from(rc)) as f32
    };
    let hue = ((f64::from(hue) / 6.0 + 1.0) % 1.0) as f32;
    ((f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, max)
}

fn to_rgb(hue: u8, saturation: u8, value: u8) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let hue = (f64::from(f32::from(hue)) * 6.0 / 255.0) as f32;
    let saturation = (f64::from(f32::from(saturation)) / 255.0) as f32;
    let sector = hue.floor();
    let rest = hue - sector;
    let round = |x: f64| x.round() as u8;
    let v = f64::from(value);
    let p = round(v * (1.0 - f64::from(saturation)));
    let q = round(v * (1.0 - f64::from(saturation * rest)));
    let t = round(v * (1.0 - f64::from(saturation) * (1.0 - f64::from(rest))));
    match sector as u8 % 6 {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}

/// Keeps the highest bits of each value, at least one.
pub(crate) fn posterize(pixels: &mut [u8], bits: u32) {
    let mask = !(0xff_u16 >> bits) as u8;
    pixels.iter_mut().for_each(|value| *value &= mask);
}

/// Inverts what is not below the threshold.
pub(crate) fn solarize(pixels: &mut [u8], threshold: f64) {
    pixels.iter_mut().filter(|value| f64::from(**value) >= threshold).for_each(|value| *value = 255 - *value);
}

/// Stretches each channel from 0 to 255.
pub(crate) fn autocontrast(pixels: &mut [u8]) {
    each_channel(pixels, |counts| {
        let low = counts.iter().position(|&count| count > 0)?;
        let high = counts.iter().rposition(|&count| count > 0)?;
        if high <= low {
            return None;
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        Some(std::array::from_fn(|value| (value as f64 * scale + offset) as u8))
    });
}

/// Makes each value of a channel as frequent as any other, as far as that goes.
pub(crate) fn equalize(pixels: &mut [u8]) {
    each_channel(pixels, |counts| {
        let mut present = counts.iter().filter(|count| **count > 0);
        let last = *present.next_back()?;
        present.next()?;
        let step = (counts.iter().sum::<usize>() - last) / 255;
        if step == 0 {
            return None;
        }
        let mut sum = step / 2;
        Some(std::array::from_fn(|value| {
            let to = sum / step;
            sum += counts[value];
            to.min(255) as u8
        }))
    });
}

/// Maps the values of each channel by a table, if one is made of how often each value is there.
fn each_channel(pixels: &mut [u8], table: impl Fn(&[usize; 256]) -> Option<[u8; 256]>) {
    for channel in 0..3 {
        let mut counts = [0; 256];
        pixels.iter().skip(channel).step_by(3).for_each(|&value| counts[usize::from(value)] += 1);
        if let Some(table) = table(&counts) {
            pixels.iter_mut().skip(channel).step_by(3).for_each(|value| *value = table[usize::from(*value)]);
        }
    }
}
