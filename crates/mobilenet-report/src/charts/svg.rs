//! A small SVG writer.

use std::fmt::Write as _;

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

    /// For a page that has the style.
    pub fn inline(&self) -> String {
        self.wrap("")
    }

    /// For a file of its own, which carries the style (CSS) inside.
    pub fn standalone(&self, style: &str) -> String {
        let background = format!(
            "<style>{style}</style><rect class=\"back\" width=\"{}\" height=\"{}\" rx=\"8\"/>",
            number(self.width),
            number(self.height)
        );
        self.wrap(&background)
    }

    fn wrap(&self, before: &str) -> String {
        let (w, h) = (number(self.width), number(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" \
             height=\"{h}\" role=\"img\" aria-label=\"{}\">{before}{}</svg>",
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

    /// Text turned about its start, in degrees, counter-clockwise if negative.
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
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"end\" transform=\"rotate(-40 {x} \
             {y})\">{}</text>",
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

/// About how wide a text is, in pixels, at the charts' size of type.
pub fn text_width(text: &str) -> f64 {
    6.7 * text.chars().count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out() {
        assert_eq!(escape("a<b>&\"'\u{1}"), "a&lt;b&gt;&amp;&quot;&#39;\u{fffd}");
        let mut svg = Svg::new(10.0, 10.0, "\"<x>");
        svg.text("name", (1.0, 2.0), "start", "</svg>");
        assert_eq!(svg.inline().matches("</svg>").count(), 1);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!((number(1.0), number(1.256), number(0.5)), ("1".into(), "1.26".into(), "0.5".into()));
    }
}
