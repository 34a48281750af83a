//! Shearing, moving and turning without interpolation, as PIL does it: black is what comes from outside, and places are
//! reckoned in 16 bits behind the point.

/// Where the pixel at `(x, y)` comes from: `(a x + b y + c, d x + e y + f)`.
type Matrix = [f64; 6];

/// The picture `[height, width, 3]` through a matrix.
fn transform(pixels: &mut [u8], (height, width): (usize, usize), [a, b, c, d, e, f]: Matrix) {
    let fixed = |x: f64| (x * 65_536.0 + 0.5).floor() as i64;
    let original = pixels.to_vec();
    let (mut row_x, mut row_y) = (fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5));
    let [a, b, d, e] = [a, b, d, e].map(fixed);
    for row in pixels.chunks_exact_mut(width * 3).take(height) {
        let (mut x, mut y) = (row_x, row_y);
        for pixel in row.chunks_exact_mut(3) {
            let from = usize::try_from(x >> 16).ok().zip(usize::try_from(y >> 16).ok());
            match from.filter(|&(x, y)| x < width && y < height) {
                Some((x, y)) => pixel.copy_from_slice(&original[(y * width + x) * 3..][..3]),
                None => pixel.fill(0),
            }
            x += a;
            y += d;
        }
        row_x += b;
        row_y += e;
    }
}

/// Moves each row right by `x` and each column down by `y` times its distance from the corner.
pub(crate) fn shear(pixels: &mut [u8], size: (usize, usize), (x, y): (f64, f64)) {
    // By way of degrees, as torchvision has it: the bits are those of that way.
    let tangent = |share: f64| share.atan().to_degrees().to_radians().tan();
    transform(pixels, size, [1.0, tangent(x), 0.0, tangent(y), 1.0, 0.0]);
}

/// Moves right and down.
pub(crate) fn translate(pixels: &mut [u8], size: (usize, usize), (right, down): (i64, i64)) {
    transform(pixels, size, [1.0, 0.0, -(right as f64), 0.0, 1.0, -(down as f64)]);
}

/// Turns about the middle, against the clock.
pub(crate) fn rotate(pixels: &mut [u8], (height, width): (usize, usize), degrees: f64) {
    let angle = -degrees.rem_euclid(360.0).to_radians();
    let rounded = |x: f64| (x * 1e15).round() / 1e15;
    let (cos, sin) = (rounded(angle.cos()), rounded(angle.sin()));
    let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
    let matrix = [cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y];
    transform(pixels, (height, width), matrix);
}
