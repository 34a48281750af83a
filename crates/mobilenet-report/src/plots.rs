//! The report's plots.

mod curves;
mod labels;
mod legend;
mod roofline;
mod scatter;
mod shares;
mod widths;

pub use curves::{Training, curves};
pub use roofline::roofline;
pub use scatter::trade_offs;
pub use shares::{MARKED, is_marked, shares};
pub use widths::widths;

use super::document::inline::Inline;
use super::gather::{Gathered, Model, Run, quiet};
use super::structure::{self, Pair};
use super::svg::{Svg, tick_label, ticks};
use super::text::{megabytes, millions, percent, significant};
use mobilenet_arch::Network;

/// A picture with its file name (without ending) and what it shows.
pub struct Plot {
    pub name: String,
    pub caption: Inline,
    pub svg: Svg,
}

fn plot(name: &str, caption: impl Into<Inline>, svg: Svg) -> Plot {
    Plot { name: name.to_owned(), caption: caption.into(), svg }
}

/// The part of a picture in which data is drawn.
struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Frame {
    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let along = |v: f64, marks: &[f64]| (v - marks[0]) / (marks[marks.len() - 1] - marks[0]);
        (self.left + self.width * along(x, &self.x), self.top + self.height * (1.0 - along(y, &self.y)))
    }

    /// Grid lines, ticks and titles; the vertical axis's title stands above it, where it can be read.
    fn draw(&self, svg: &mut Svg, x_title: &str, y_title: &str) {
        let step = |marks: &[f64]| marks[1] - marks[0];
        let (right, bottom) = (self.left + self.width, self.top + self.height);
        for &mark in &self.y {
            let (_, y) = self.place((self.x[0], mark));
            svg.line("grid", (self.left, y), (right, y));
            svg.text("", (self.left - 8.0, y + 4.0), "end", &tick_label(mark, step(&self.y)));
        }
        for &mark in &self.x {
            let (x, _) = self.place((mark, self.y[0]));
            svg.line("axis", (x, bottom), (x, bottom + 4.0));
            svg.text("", (x, bottom + 18.0), "middle", &tick_label(mark, step(&self.x)));
        }
        svg.line("axis", (self.left, bottom), (right, bottom));
        svg.text("", (self.left + self.width / 2.0, bottom + 38.0), "middle", x_title);
        svg.text("title", (14.0, 24.0), "start", y_title);
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| c.to_lowercase().chain(chars).collect())
}

/// The networks side by side, one row of bars per figure.
pub fn glance(gathered: &Gathered) -> Plot {
    type Figure = (&'static str, fn(&Model) -> Option<f64>, fn(f64) -> String);
    let figures: [Figure; 7] = [
        ("Test accuracy", |m| Some(m.test_top1()), percent),
        ("Parameters", |m| Some(m.params as f64), |v| format!("{} M", millions(v as u64))),
        ("Multiply-adds", |m| Some(m.macs as f64), |v| format!("{} M", millions(v as u64))),
        ("Latency", Model::latency, |v| format!("{} ms", significant(v))),
        ("Throughput, inference", best_throughput, |v| format!("{} img/s", significant(v))),
        ("Throughput, training", quiet::training_speed, |v| format!("{} img/s", significant(v))),
        ("Memory, training", |m| m.training_memory().map(|b| b as f64), |v| format!("{} MB", megabytes(v as u64))),
    ];
    let models = gathered.few();
    let bar = 15.0;
    let row = bar * models.len() as f64 + 17.0;
    // Behind the longest bar there is room for a value and a name.
    let longest = models.iter().map(|model| model.network.short().chars().count()).max().unwrap_or(0);
    let left = 164.0;
    let full = (729.0 - 6.2 * (longest + 14) as f64).min(590.0);
    let height = 20.0 + row * figures.len() as f64;
    let mut svg = Svg::new(900.0, height, "The networks side by side");
    for (i, (name, value, say)) in figures.iter().enumerate() {
        let top = 16.0 + row * i as f64;
        let values: Vec<_> = models.iter().map(|model| value(model)).collect();
        let most = values.iter().flatten().copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let middle = top + bar * values.len() as f64 / 2.0 + 4.0;
        svg.text("name", (left - 12.0, middle), "end", name);
        for (k, (model, value)) in models.iter().zip(&values).enumerate() {
            let y = top + bar * k as f64;
            let length = value.map_or(0.0, |v| full * v / most);
            let label = value.map_or("not measured".to_owned(), say);
            let hint = format!("{}: {label}", model.network.label());
            svg.rect(&format!("fill {}", model.network.class()), (left, y), (length, bar - 3.0), 1.0, &hint);
            let label = format!("{label}  {}", model.network.short());
            svg.text("small", (left + length + 7.0, y + 10.0), "start", &label);
        }
    }
    let rest = match gathered.models.len() - models.len() {
        0 => String::new(),
        n => format!(" The other {n} networks are in the tables below."),
    };
    plot("at-a-glance", format!("Each row is drawn to its own scale.{rest}"), svg)
}

/// Highest images per second of inference over all batch sizes.
pub fn best_throughput(model: &Model) -> Option<f64> {
    let bench = model.bench.as_ref()?;
    let batches = bench.throughput.iter().map(|t| t.images_per_second);
    Some(batches.fold(bench.images_per_second, f64::max))
}

/// The confusion matrix of a run; without labels where there are too many classes.
pub fn confusion(network: Network, run: &Run) -> Plot {
    let caption = format!(
        "{}, seed {}: rows are the truth, columns the answer, in percent of the row.",
        network.label(),
        run.seed
    );
    plot(&format!("confusion-{network}"), caption, matrix(network, run))
}

fn matrix(network: Network, run: &Run) -> Svg {
    let eval = &run.eval;
    let n = eval.confusion.len().max(1);
    let labeled = n <= 20;
    let (left, top) = if labeled { (92.0, 40.0) } else { (24.0, 40.0) };
    let cell = (448.0 / n as f64).min(44.0);
    let side = cell * n as f64;
    let below = if labeled { 74.0 } else { 16.0 };
    let mut svg = Svg::new(left + side + 16.0, top + side + below, &format!("Confusion matrix of {}", network.label()));
    svg.text("title", (14.0, 24.0), "start", &format!("{}, {} right", network.label(), percent(eval.test_top1)));
    let class = |i: usize| eval.classes.get(i).map_or("?", String::as_str);
    for (i, row) in eval.confusion.iter().enumerate() {
        let total = row.iter().sum::<u64>().max(1);
        let y = top + cell * i as f64;
        if labeled {
            svg.text("name", (left - 8.0, y + cell / 2.0 + 4.0), "end", &shorten(class(i)));
            svg.slanted("name", (left + cell * (i as f64 + 0.6), top + side + 14.0), &shorten(class(i)));
        }
        for (j, &images) in row.iter().enumerate() {
            let x = left + cell * j as f64;
            let part = images as f64 / total as f64;
            let gap = if labeled { 2.0 } else { 0.3 };
            let size = (cell - gap, cell - gap);
            let hint = format!("{} taken for {}: {images} of {total}", class(i), class(j));
            svg.rect("empty", (x, y), size, 0.45, &hint);
            if images > 0 {
                svg.rect(&format!("fill {}", network.class()), (x, y), size, 0.08 + 0.92 * part.sqrt(), &hint);
            }
            if labeled && part >= 0.005 {
                let style =
                    if part.sqrt() > 0.75 { format!("on small {}", network.class()) } else { "name small".to_owned() };
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

/// Multiply-adds of each block, the two networks above and below one line.
pub fn block_costs(pairs: &[Pair], (a, b): (Network, Network)) -> Plot {
    let cost = |block: &Option<structure::Block>| block.as_ref().map_or(0.0, |b| b.macs as f64 / 1e6);
    let most = pairs.iter().map(|p| cost(&p.first).max(cost(&p.second))).fold(1.0, f64::max);
    let (left, half, middle) = (52.0, 120.0, 176.0);
    let step = 820.0 / pairs.len().max(1) as f64;
    let mut svg = Svg::new(900.0, 350.0, "Multiply-adds of each block");
    svg.text("title", (14.0, 24.0), "start", "Multiply-adds per block (millions)");
    let marks = ticks(0.0, most, 3);
    let top = marks[marks.len() - 1];
    for &mark in &marks {
        for sign in [-1.0, 1.0] {
            let y = middle + sign * half * mark / top;
            svg.line("grid", (left, y), (884.0, y));
            svg.text("", (left - 8.0, y + 4.0), "end", &tick_label(mark, marks[1]));
        }
    }
    let mut resolution = 0;
    for (i, pair) in pairs.iter().enumerate() {
        let x = left + 8.0 + step * i as f64;
        if pair.resolution != resolution {
            resolution = pair.resolution;
            svg.line("axis", (x - 4.0, middle - half), (x - 4.0, middle + half + 12.0));
            svg.text("", (x, middle + half + 24.0), "start", &format!("{resolution}×{resolution}"));
        }
        for (block, network, sign) in [(&pair.first, a, -1.0), (&pair.second, b, 1.0)] {
            let Some(block) = block else { continue };
            let length = half * cost(&Some(block.clone())) / top;
            let y = if sign < 0.0 { middle - length } else { middle };
            let hint = format!("{} block {}: {} M, {}", network.label(), block.index, block.cost(), block.describe());
            svg.rect(&format!("fill {}", network.class()), (x, y), (step - 8.0, length), 1.0, &hint);
            if block.squeeze.is_some() {
                let at = (x + (step - 8.0) / 2.0, middle + sign * (length + 10.0) + 4.0);
                svg.text("small", at, "middle", "SE");
            }
        }
    }
    svg.line("axis", (left, middle), (884.0, middle));
    svg.text(&format!("fill {}", a.class()), (884.0, 24.0), "end", &format!("{} above", a.short()));
    svg.text(&format!("fill {}", b.class()), (884.0, 338.0), "end", &format!("{} below", b.short()));
    plot(
        "block-costs",
        "Blocks in the order they run, by the size of their output; SE: with squeeze-and-excite. Stem, head and classifier are not drawn.",
        svg,
    )
}
