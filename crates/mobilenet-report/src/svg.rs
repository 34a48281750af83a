//! A small SVG writer. Colors are CSS variables, so that one picture serves light and dark.

use std::fmt::Write as _;

use mobilenet_arch::{Arch, Hue};

/// Type, lines and grounds; before the hues.
const STYLE: &str = "\
.plot{font:12px system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif}
.plot text{fill:var(--muted)}
.plot .strong{fill:var(--fg);font-weight:600}
.plot .name{fill:var(--fg)}
.plot .title{fill:var(--fg);font-size:13.5px;font-weight:600}
.plot .small{font-size:10.5px}
.plot .grid{stroke:var(--grid);stroke-width:1}
.plot .axis{stroke:var(--axis);stroke-width:1}
.plot .back{fill:var(--card)}
.plot .empty{fill:var(--grid)}
.plot .roof{fill:none;stroke:var(--fg);stroke-width:1.75;stroke-linejoin:round}
.plot .clear{fill-opacity:.6}
.plot .line{fill:none;stroke-width:2.25;stroke-linejoin:round;stroke-linecap:round}
.plot .faint{stroke-dasharray:5 4;stroke-width:1.75}
.plot .on{fill:var(--card);font-weight:600;stroke:var(--c);stroke-width:2px;paint-order:stroke}
";

/// The tones of the widths, and what is drawn in a network's color; after the architectures' hues.
const TONES: &str = "\
@supports (color:color-mix(in srgb,red,blue)){
.w1{--c:color-mix(in srgb,var(--b) 48%,var(--card))}.w2{--c:color-mix(in srgb,var(--b) 64%,var(--card))}
.w3{--c:color-mix(in srgb,var(--b) 82%,var(--card))}.w5{--c:color-mix(in srgb,var(--b) 62%,var(--fg))}}
.plot .stroke{stroke:var(--c)}
.plot .fill{fill:var(--c)}
.plot text.fill{fill:var(--b);font-weight:600}
.plot .dim{opacity:.4}
.plot .front{stroke:var(--fg);stroke-width:1.25;stroke-opacity:.55;stroke-dasharray:2 4}
";

/// The variables but for the hues, light and dark.
const LIGHT: &str = "--bg:#f6f7f9;--card:#ffffff;--fg:#1b2330;--muted:#5b6675;--grid:#e4e8ee;--axis:#aeb7c4;--line:#dfe4ea;\
--good:#147a4b;--bad:#b3352c;--open:#6a7280;--warn:#8a5a00;--warn-bg:#fff4d6";
const DARK: &str = "--bg:#0f141b;--card:#171e28;--fg:#e7ebf1;--muted:#a0abba;--grid:#2a3442;--axis:#566274;--line:#2b3543;\
--good:#56c98d;--bad:#f18379;--open:#9aa5b4;--warn:#f2c866;--warn-bg:#33290f";

/// Colors and type of everything that is drawn: a hue for each architecture (`--b`), and a tone of it for each width (`--c`),
/// lighter for narrower, darker for wider networks. In the HTML report it stands once in the page; a picture of its own
/// (next to the Markdown report) carries it inside, with a background, so that it can be read on any page.
pub fn style() -> String {
    let mut style = STYLE.to_owned();
    for name in Arch::all().map(Arch::name) {
        let _ = writeln!(style, ".{name}{{--b:var(--{name});--c:var(--b)}}");
    }
    style + TONES
}

/// The variables of [`style`], light then dark.
pub fn colors() -> String {
    let hues = |of: fn(Hue) -> &'static str| -> String {
        Arch::all().map(|arch| format!("--{}:{};", arch.name(), of(arch.description().hue))).collect()
    };
    format!(
        ":root{{{}{LIGHT}}}\n@media (prefers-color-scheme:dark){{:root{{{}{DARK}}}}}\n",
        hues(|hue| hue.light),
        hues(|hue| hue.dark)
    )
}

/// A picture in the making; lengths in pixels.
pub struct Svg {
    width: f64,
    height: f64,
    title: String,
    body: String,
}

impl Svg {
    /// An empty picture; the title is for screen readers.
    pub fn new(width: f64, height: f64, title: &str) -> Self {
        Self { width, height, title: title.to_owned(), body: String::new() }
    }

    /// For a page that has [`style`] and [`colors`].
    pub fn inline(&self) -> String {
        self.wrap("")
    }

    /// For a file of its own.
    pub fn standalone(&self) -> String {
        let background = format!(
            "<style>{}{}</style><rect class=\"back\" width=\"{}\" height=\"{}\" rx=\"8\"/>",
            colors(),
            style(),
            number(self.width),
            number(self.height)
        );
        self.wrap(&background)
    }

    fn wrap(&self, before: &str) -> String {
        let (w, h) = (number(self.width), number(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" role=\"img\" aria-label=\"{}\">{before}{}</svg>",
            escape(&self.title),
            self.body
        )
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = write!(
            self.body,
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
            number(x1),
            number(y1),
            number(x2),
            number(y2)
        );
    }

    /// A line through points.
    pub fn polyline(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<_> = points.iter().map(|&(x, y)| format!("{},{}", number(x), number(y))).collect();
        let _ = write!(self.body, "<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "));
    }

    /// A disc; `hint` is shown under the pointer.
    pub fn disc(&mut self, class: &str, (x, y): (f64, f64), radius: f64, hint: &str) {
        let _ = write!(
            self.body,
            "<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"{}\"><title>{}</title></circle>",
            number(x),
            number(y),
            number(radius),
            escape(hint)
        );
    }

    /// A box of some opacity; `hint` is shown under the pointer.
    pub fn rect(&mut self, class: &str, (x, y): (f64, f64), (w, h): (f64, f64), opacity: f64, hint: &str) {
        let _ = write!(
            self.body,
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"2\"",
            number(x),
            number(y),
            number(w.max(0.0)),
            number(h.max(0.0))
        );
        if opacity < 1.0 {
            let _ = write!(self.body, " fill-opacity=\"{}\"", number(opacity));
        }
        let _ = write!(self.body, "><title>{}</title></rect>", escape(hint));
    }

    /// Text; `anchor` is `start`, `middle` or `end`.
    pub fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: &str, text: &str) {
        let _ = write!(
            self.body,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            number(x),
            number(y),
            escape(text)
        );
    }

    /// Text turned about its start by so many degrees, counter-clockwise if negative.
    pub fn turned(&mut self, class: &str, (x, y): (f64, f64), degrees: f64, text: &str) {
        let (x, y, degrees) = (number(x), number(y), number(degrees));
        let _ = write!(
            self.body,
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" transform=\"rotate({degrees} {x} {y})\">{}</text>",
            escape(text)
        );
    }

    /// Text turned counter-clockwise about its end, for labels under a column.
    pub fn slanted(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        let (x, y) = (number(x), number(y));
        let _ = write!(
            self.body,
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"end\" transform=\"rotate(-40 {x} {y})\">{}</text>",
            escape(text)
        );
    }
}

/// Text for XML and HTML, in elements and attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not allowed in XML at all.
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// At most two digits after the point, none if there need be none.
fn number(x: f64) -> String {
    let text = format!("{x:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Marks from at or below `low` to at or above `high`, about `wanted` of them, at 1, 2 or 5 times a power of ten.
pub fn ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    if !(low.is_finite() && high.is_finite()) || high <= low {
        return vec![low, low + 1.0];
    }
    let rough = (high - low) / wanted.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power);
    let first = (low / step + 1e-9).floor() as i64;
    let last = (high / step - 1e-9).ceil() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// A tick's label with just the digits that its distance to the next needs.
pub fn tick_label(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}").replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_has_its_colors() {
        let (style, colors) = (style(), colors());
        for arch in Arch::all() {
            assert!(style.contains(&format!("\n.{arch}{{--b:var(--{arch});--c:var(--b)}}\n")), "{arch}");
            assert_eq!(colors.matches(&format!("--{arch}:#")).count(), 2, "{arch}");
        }
    }

    #[test]
    fn text_cannot_break_out() {
        assert_eq!(escape("a<b>&\"'\u{1}"), "a&lt;b&gt;&amp;&quot;&#39;\u{fffd}");
        let mut svg = Svg::new(10.0, 10.0, "\"<x>");
        svg.text("name", (1.0, 2.0), "start", "</svg>");
        assert_eq!(svg.inline().matches("</svg>").count(), 1);
    }

    #[test]
    fn ticks_are_round_and_span_the_data() {
        for (low, high, wanted, want) in [
            (0.0, 1.0, 5, vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
            (12.0, 38.0, 4, vec![10.0, 20.0, 30.0, 40.0]),
            (0.9, 2.31, 4, vec![0.5, 1.0, 1.5, 2.0, 2.5]),
        ] {
            let got = ticks(low, high, wanted);
            assert_eq!(got.len(), want.len(), "{got:?}");
            assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-9), "{got:?}");
        }
        assert_eq!(ticks(3.0, 3.0, 4).len(), 2);
        assert_eq!(ticks(f64::NAN, 1.0, 4).len(), 2);
    }

    #[test]
    fn labels_have_the_digits_they_need() {
        for (value, step, want) in [(0.2, 0.2, "0.2"), (40.0, 10.0, "40"), (-0.05, 0.05, "−0.05")] {
            assert_eq!(tick_label(value, step), want);
        }
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!((number(1.0), number(1.256), number(0.5)), ("1".into(), "1.26".into(), "0.5".into()));
    }
}
