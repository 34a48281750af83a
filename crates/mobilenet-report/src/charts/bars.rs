//! Bars: side by side in groups, in pairs, and above and below one line.

use super::axes::{Frame, tick_label, ticks};
use super::svg::Svg;

const WIDTH: f64 = 900.0;

/// Who has a bar in each group.
pub struct Series {
    /// The class of its color
    pub class: String,
    /// Its name beside a bar
    pub short: String,
    /// Its name under the pointer
    pub name: String,
}

/// Bars in groups, each group to its own scale.
pub struct Groups<'a> {
    /// For screen readers
    pub title: &'a str,
    /// Who has the bars, from top to bottom
    pub series: Vec<Series>,
    /// The groups, from top to bottom
    pub groups: Vec<Group>,
}

/// A group: its name, and a value with its text for each series.
pub struct Group {
    /// Its name
    pub name: &'static str,
    /// Nothing where there is no value
    pub values: Vec<Option<(f64, String)>>,
}

/// Draws bars in groups, with value and name behind each.
pub fn groups(Groups { title, series, groups }: &Groups<'_>) -> Svg {
    let bar = 15.0;
    let row = bar * series.len() as f64 + 17.0;
    // Behind the longest bar there is room for a value and a name.
    let longest = series.iter().map(|series| series.short.chars().count()).max().unwrap_or(0);
    let left = 164.0;
    let full = (729.0 - 6.2 * (longest + 14) as f64).min(590.0);
    let mut svg = Svg::new(WIDTH, 20.0 + row * groups.len() as f64, title);
    for (i, group) in groups.iter().enumerate() {
        let top = 16.0 + row * i as f64;
        let values = group.values.iter().flatten().map(|(value, _)| *value);
        let most = values.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let middle = top + bar * group.values.len() as f64 / 2.0 + 4.0;
        svg.text("name", (left - 12.0, middle), "end", group.name);
        for (k, (series, value)) in series.iter().zip(&group.values).enumerate() {
            let y = top + bar * k as f64;
            let (length, label) = match value {
                Some((value, label)) => (full * value / most, label.as_str()),
                None => (0.0, "not measured"),
            };
            let hint = format!("{}: {label}", series.name);
            svg.rect(&format!("fill {}", series.class), (left, y), (length, bar - 3.0), 1.0, &hint);
            svg.text("small", (left + length + 7.0, y + 10.0), "start", &format!("{label}  {}", series.short));
        }
    }
    svg
}

/// Columns of two bars, in percent: the second is paler.
pub struct Pairs<'a> {
    /// For screen readers
    pub title: &'a str,
    /// Above the bars
    pub heading: &'a str,
    /// The class of their color
    pub class: &'a str,
    /// What the two bars of a column are
    pub kinds: [&'a str; 2],
    /// From left to right
    pub columns: Vec<Column>,
}

/// Two bars beside each other.
pub struct Column {
    /// Below them
    pub name: String,
    /// Neighbors of the same group stand under one heading
    pub group: Option<String>,
    /// Fractions
    pub shares: [f64; 2],
    /// Above the first bar
    pub mark: Option<String>,
    /// Shown under the pointer
    pub hint: String,
}

/// How opaque the bars of a pair are.
const OPACITIES: [f64; 2] = [1.0, 0.38];

/// Draws columns of two bars.
pub fn pairs(Pairs { title, heading, class, kinds, columns }: &Pairs<'_>) -> Svg {
    let most = columns.iter().map(|column| column.shares[0].max(column.shares[1])).fold(0.01, f64::max);
    let frame = Frame {
        left: 52.0,
        top: 56.0,
        width: WIDTH - 68.0,
        height: 190.0,
        x: vec![0.0, columns.len().max(1) as f64],
        // No share is above 100.
        y: ticks(0.0, (108.0 * most).min(100.0), 4),
    };
    let (right, bottom) = (frame.left + frame.width, frame.top + frame.height);
    let mut svg = Svg::new(WIDTH, bottom + 50.0, title);
    svg.text("title", (14.0, 24.0), "start", heading);
    let color = format!("fill {class}");
    for ((x, opacity), text) in [right - 262.0, right - 144.0].into_iter().zip(OPACITIES).zip(kinds) {
        svg.rect(&color, (x, 14.0), (11.0, 11.0), opacity, text);
        svg.text("name", (x + 17.0, 24.0), "start", text);
    }
    for &mark in &frame.y {
        let (_, y) = frame.place((0.0, mark));
        svg.line("grid", (frame.left, y), (right, y));
        svg.text("", (frame.left - 8.0, y + 4.0), "end", &tick_label(mark, frame.y[1] - frame.y[0]));
    }
    let step = frame.width / columns.len().max(1) as f64;
    let bar = (step - 9.0) / 2.0;
    let mut group = None;
    for (i, column) in columns.iter().enumerate() {
        let (x, _) = frame.place((i as f64, 0.0));
        if group != Some(&column.group) {
            group = Some(&column.group);
            if i > 0 {
                svg.line("grid", (x, frame.top), (x, bottom));
                svg.line("grid", (x, bottom + 24.0), (x, bottom + 40.0));
            }
            if let Some(group) = &column.group {
                svg.text("small", (x + 5.0, bottom + 36.0), "start", group);
            }
        }
        for (k, (share, opacity)) in column.shares.into_iter().zip(OPACITIES).enumerate() {
            let (_, top) = frame.place((0.0, 100.0 * share));
            let at = (x + 4.0 + (bar + 1.0) * k as f64, top);
            svg.rect(&color, at, (bar, bottom - top), opacity, &column.hint);
        }
        if let Some(mark) = &column.mark {
            let (_, top) = frame.place((0.0, 100.0 * column.shares[0]));
            svg.text("small name", (x + 4.0 + bar / 2.0, top - 5.0), "middle", mark);
        }
        // The last label is wider than its column and ends with it.
        let last = i + 1 == columns.len();
        let (at, anchor) = if last { (right, "end") } else { (x + step / 2.0, "middle") };
        svg.text("name small", (at, bottom + 16.0), anchor, &column.name);
    }
    svg.line("axis", (frame.left, bottom), (right, bottom));
    svg
}

/// Bars of one series above a line and of another below it.
pub struct Mirrored<'a> {
    /// For screen readers
    pub title: &'a str,
    /// Above the bars
    pub heading: &'a str,
    /// Class and name of the series above and of that below
    pub series: [(String, String); 2],
    /// From left to right: a group, and the bars above and below
    pub columns: Vec<(String, [Option<Bar>; 2])>,
}

/// One bar.
pub struct Bar {
    /// Its length, in the unit of the axis
    pub value: f64,
    /// At its end
    pub mark: Option<&'static str>,
    /// Shown under the pointer
    pub hint: String,
}

/// Draws bars above and below one line.
pub fn mirrored(Mirrored { title, heading, series, columns }: &Mirrored<'_>) -> Svg {
    let values = columns.iter().flat_map(|(_, bars)| bars.iter().flatten()).map(|bar| bar.value);
    let most = values.fold(1.0, f64::max);
    let (left, right, half, middle) = (52.0, WIDTH - 16.0, 120.0, 176.0);
    let step = 820.0 / columns.len().max(1) as f64;
    let mut svg = Svg::new(WIDTH, 350.0, title);
    svg.text("title", (14.0, 24.0), "start", heading);
    let marks = ticks(0.0, most, 3);
    let top = marks[marks.len() - 1];
    for &mark in &marks {
        for sign in [-1.0, 1.0] {
            let y = middle + sign * half * mark / top;
            svg.line("grid", (left, y), (right, y));
            svg.text("", (left - 8.0, y + 4.0), "end", &tick_label(mark, marks[1]));
        }
    }
    let mut last = None;
    for (i, (group, bars)) in columns.iter().enumerate() {
        let x = left + 8.0 + step * i as f64;
        if last != Some(group) {
            last = Some(group);
            svg.line("axis", (x - 4.0, middle - half), (x - 4.0, middle + half + 12.0));
            svg.text("", (x, middle + half + 24.0), "start", group);
        }
        for ((bar, (class, _)), sign) in bars.iter().zip(series).zip([-1.0, 1.0]) {
            let Some(bar) = bar else { continue };
            let length = half * bar.value / top;
            let y = if sign < 0.0 { middle - length } else { middle };
            svg.rect(&format!("fill {class}"), (x, y), (step - 8.0, length), 1.0, &bar.hint);
            if let Some(mark) = bar.mark {
                let at = (x + (step - 8.0) / 2.0, middle + sign * (length + 10.0) + 4.0);
                svg.text("small", at, "middle", mark);
            }
        }
    }
    svg.line("axis", (left, middle), (right, middle));
    let [(class_above, above), (class_below, below)] = series;
    svg.text(&format!("fill {class_above}"), (right, 24.0), "end", above);
    svg.text(&format!("fill {class_below}"), (right, 338.0), "end", below);
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_of_pairs_ends_at_a_hundred_percent() {
        for (most, scale) in [(1.0, ["0", "50", "100"]), (0.93, ["0", "50", "100"]), (0.18, ["0", "10", "20"])] {
            let column =
                || Column { name: "a".into(), group: None, shares: [most, most / 2.0], mark: None, hint: "b".into() };
            let kinds = ["c", "d"];
            let svg = pairs(&Pairs { title: "t", heading: "h", class: "v2", kinds, columns: vec![column(), column()] });
            let text = svg.inline();
            for mark in scale {
                assert!(text.contains(&format!(">{mark}</text>")), "{mark}: {text}");
            }
            assert!(!text.contains(">150</text>"), "{text}");
        }
    }
}
