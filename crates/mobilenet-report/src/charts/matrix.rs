//! A square of counts, each row in shares of its sum.

use super::svg::Svg;

/// Of more classes than these, neither names nor numbers are written.
const MOST_LABELED: usize = 20;

/// What is drawn.
pub struct Matrix<'a> {
    /// For screen readers
    pub title: &'a str,
    /// Above the square
    pub heading: &'a str,
    /// The class of its color
    pub class: &'a str,
    /// Names of rows and columns
    pub names: &'a [String],
    /// Counts, row by row
    pub counts: &'a [Vec<u64>],
}

/// Draws it.
pub fn matrix(&Matrix { title, heading, class, names, counts }: &Matrix<'_>) -> Svg {
    let n = counts.len().max(1);
    let labeled = n <= MOST_LABELED;
    let (left, top) = if labeled { (92.0, 40.0) } else { (24.0, 40.0) };
    let cell = (448.0 / n as f64).min(44.0);
    let side = cell * n as f64;
    let below = if labeled { 74.0 } else { 16.0 };
    let mut svg = Svg::new(left + side + 16.0, top + side + below, title);
    svg.text("title", (14.0, 24.0), "start", heading);
    let name = |i: usize| names.get(i).map_or("?", String::as_str);
    for (i, row) in counts.iter().enumerate() {
        let total = row.iter().sum::<u64>().max(1);
        let y = top + cell * i as f64;
        if labeled {
            svg.text("name", (left - 8.0, y + cell / 2.0 + 4.0), "end", &shorten(name(i)));
            svg.slanted("name", (left + cell * (i as f64 + 0.6), top + side + 14.0), &shorten(name(i)));
        }
        for (j, &count) in row.iter().enumerate() {
            let x = left + cell * j as f64;
            let part = count as f64 / total as f64;
            let gap = if labeled { 2.0 } else { 0.3 };
            let size = (cell - gap, cell - gap);
            let hint = format!("{} taken for {}: {count} of {total}", name(i), name(j));
            svg.rect("empty", (x, y), size, 0.45, &hint);
            if count > 0 {
                svg.rect(&format!("fill {class}"), (x, y), size, 0.08 + 0.92 * part.sqrt(), &hint);
            }
            if labeled && part >= 0.005 {
                let style = if part.sqrt() > 0.75 { format!("on small {class}") } else { "name small".to_owned() };
                let at = (x + (cell - gap) / 2.0, y + cell / 2.0 + 3.0);
                svg.text(&style, at, "middle", &format!("{:.0}", 100.0 * part));
            }
        }
    }
    svg
}

fn shorten(name: &str) -> String {
    if name.chars().count() <= 12 {
        return name.to_owned();
    }
    name.chars().take(11).chain(['…']).collect()
}
