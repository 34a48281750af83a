//! Products of images' pixels with packed weights.

use super::multiply::multiply;
use super::panels::{Left, Places};
use super::shards::Shards;
use super::{Crew, Epilogue, Panels};

/// Rows of a task, at least.
const LEAST_ROWS: usize = 8;

/// Tasks for each thread, where there is work for so many: threads are not equally fast.
const TASKS_PER_THREAD: usize = 4;

/// `ys[row, column] = epilogue(Σ_k xs[row, k] · weight[column, k] + bias[column]) + shortcut[row, column]`
///
/// # Panics
/// A slice has another length.
pub fn product(crew: Crew, xs: &[f32], panels: &Panels, epilogue: &Epilogue, shortcut: Option<&[f32]>, ys: &mut [f32]) {
    let (inner, columns) = (panels.inner(), panels.columns());
    let rows = ys.len() / columns;
    assert!(xs.len() == rows * inner && ys.len() == rows * columns, "a product of {rows} × {inner} by {columns}");
    assert!(shortcut.is_none_or(|shortcut| shortcut.len() == ys.len()), "a shortcut of another size");
    if rows == 0 {
        return;
    }
    let wanted = match crew.threads() {
        1 => 1,
        threads => threads * TASKS_PER_THREAD,
    };
    // Each task takes whole panels, so that a weight is read by few threads, and not all rows only where panels are few.
    let row_blocks = wanted.div_ceil(panels.len()).min(rows.div_ceil(LEAST_ROWS)).max(1);
    let panel_blocks = wanted.div_ceil(row_blocks).min(panels.len());
    let to = Shards::new(ys);
    crew.run(row_blocks * panel_blocks, &|_, task| {
        let (row_block, panel_block) = (task / panel_blocks, task % panel_blocks);
        let first = row_block * rows / row_blocks;
        let end = (row_block + 1) * rows / row_blocks;
        let xs = &xs[first * inner..end * inner];
        let shortcut = shortcut.map(|shortcut| (&shortcut[first * columns..end * columns], columns));
        for i in panel_block * panels.len() / panel_blocks..(panel_block + 1) * panels.len() / panel_blocks {
            let panel = panels.panel(i);
            let places = Places::plain(first * columns + panel.first, columns);
            multiply(panels.level, Left::plain(xs, inner), panel, panel.columns, epilogue, shortcut, to, places);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::{Pieces, Team};
    use super::*;
    use crate::activation::Activation;
    use crate::parallel::tests::values;
    use crate::simd::Level;

    fn epilogues() -> Vec<Epilogue> {
        let pieces = Pieces::new(&[-3., -1., 1.5], &[-0.1, 0.6, 0.5]).unwrap();
        let mut all: Vec<Epilogue> =
            [Activation::Identity, Activation::Relu, Activation::Relu6, Activation::HSwish, Activation::HSigmoid]
                .map(Epilogue::from)
                .into();
        all.push(Epilogue::Pieces(pieces));
        all
    }

    #[test]
    fn agrees_with_the_definition_at_every_level_and_thread_count() {
        let team = Team::new(3).unwrap();
        let mut sizes = vec![(64, 24, 16), (130, 17, 100), (2, 40, 1), (0, 3, 4), (13, 95, 9), (1, 1000, 33)];
        sizes.extend((1..=27).map(|rows| (rows, 40, 3)));
        sizes.extend((1..=67).map(|columns| (13, columns, 5)));
        for (i, (rows, columns, inner)) in sizes.into_iter().enumerate() {
            let (xs, weight) = (values(rows * inner, 1), values(columns * inner, 2));
            let (bias, shortcut) = (values(columns, 3), values(rows * columns, 4));
            let epilogues = epilogues();
            let epilogue = &epilogues[i % epilogues.len()];
            let shortcut = (i % 2 == 1).then_some(&shortcut[..]);
            for level in Level::available() {
                let panels = Panels::new(level, &weight, inner, &bias);
                let mut found = vec![f32::NAN; rows * columns];
                product(Crew::Solo, &xs, &panels, epilogue, shortcut, &mut found);
                let mut shared = vec![f32::NAN; rows * columns];
                product(Crew::Team(&team), &xs, &panels, epilogue, shortcut, &mut shared);
                assert!(found.iter().map(|v| v.to_bits()).eq(shared.iter().map(|v| v.to_bits())));
                for row in 0..rows {
                    for column in 0..columns {
                        let term = |k| f64::from(xs[row * inner + k]) * f64::from(weight[column * inner + k]);
                        let sum = (0..inner).map(term).sum::<f64>() + f64::from(bias[column]);
                        let added = shortcut.map_or(0., |s| s[row * columns + column]);
                        let expected = epilogue.value(sum as f32) + added;
                        let found = found[row * columns + column];
                        assert!(
                            (found - expected).abs() < 1e-5,
                            "{rows}×{inner}×{columns} {level}: {found} {expected}"
                        );
                    }
                }
            }
        }
    }
}
