//! The first convolution, in bytes.

use super::super::Crew;
use super::super::panels::Places;
use super::super::shards::Shards;
use super::super::stem::{ROWS_VALUES, StemShape, Unfolded};
use super::multiply::{Product, multiply};
use super::output::Output;
use super::panels::BytePanels;
use super::product::Scratch;

/// `[n, h, w, c_in] -> [n, h', w', c_out]`. `panels` holds the [`reordered`](StemShape::reordered) weight, `zero_point` is the
/// input's.
///
/// # Panics
/// A slice has another length.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
pub fn stem(
    crew: Crew,
    shape: StemShape,
    xs: &[u8],
    zero_point: u8,
    panels: &BytePanels,
    output: &Output,
    unfolded: &mut Unfolded<u8>,
    scratch: &mut Scratch,
    ys: &mut [u8],
) {
    let (window, c_out, pixels) = (panels.padded(), panels.columns(), shape.h_out() * shape.w_out());
    let image = shape.h * shape.w * shape.c_in;
    let n = ys.len() / (pixels * c_out);
    assert!(ys.len() == n * pixels * c_out && xs.len() == n * image, "images of {shape:?}");
    assert_eq!(window, shape.window().next_multiple_of(4), "a weight of {shape:?}");
    let rows = (ROWS_VALUES / (shape.w_out() * window)).clamp(1, shape.h_out());
    let strips = shape.h_out().div_ceil(rows);
    let len = rows * shape.w_out() * window;
    unfolded.fit(crew.threads(), len);
    scratch.fit(crew.threads(), Some(panels), len);

    let (unfolded, scratch) = (Shards::new(&mut unfolded.0), Shards::new(&mut scratch.0));
    let to = output.to(Shards::new(ys));
    crew.run(n * strips, &|worker, task| {
        let (i, strip) = (task / strips, task % strips);
        let (first, end) = (strip * rows, ((strip + 1) * rows).min(shape.h_out()));
        // SAFETY: a worker does one task at a time, and the scratches of its number are its alone.
        let (unfolded, scratch) = unsafe { (&mut unfolded.values(worker, 1)[0], &mut scratch.values(worker, 1)[0]) };
        let unfolded = &mut unfolded.values_mut()[..(end - first) * shape.w_out() * window];
        shape.unfold(&xs[i * image..(i + 1) * image], zero_point, first, end, window, unfolded);
        let words = scratch.of(panels, task, unfolded);
        for panel in (0..panels.len()).map(|i| panels.panel(i)) {
            let places = Places::plain((i * pixels + first * shape.w_out()) * c_out + panel.first, c_out);
            let (columns, epilogue) = (panel.columns, &output.epilogue);
            multiply(panels.level, words, Product { panel, columns, epilogue, shortcut: None, to, places });
        }
    });
}
