//! Labels beside points, where they hide neither each other nor the points.

use super::svg::{Svg, text_width};

/// Height of a line of text.
const LINE: f64 = 13.0;

/// A box: left, top, right, bottom.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Area(pub f64, pub f64, pub f64, pub f64);

impl Area {
    /// Square pixels that two boxes share.
    fn shared(self, other: Self) -> f64 {
        let width = self.2.min(other.2) - self.0.max(other.0);
        let height = self.3.min(other.3) - self.1.max(other.1);
        width.max(0.0) * height.max(0.0)
    }

    fn size(self) -> f64 {
        (self.2 - self.0) * (self.3 - self.1)
    }
}

/// Where labels may go and what they must not hide.
pub struct Labels {
    frame: Area,
    taken: Vec<Area>,
}

/// A place beside a point: how far from it, and which end of the text is there.
#[rustfmt::skip]
const PLACES: [(f64, f64, &str); 16] = [
    ( 12.0,   0.0, "start"), (-12.0,   0.0, "end"), (  0.0, -18.0, "middle"), (  0.0,  18.0, "middle"),
    ( 10.0, -14.0, "start"), (-10.0, -14.0, "end"), ( 10.0,  14.0, "start"),  (-10.0,  14.0, "end"),
    ( 16.0, -30.0, "start"), (-16.0, -30.0, "end"), ( 16.0,  30.0, "start"),  (-16.0,  30.0, "end"),
    ( 28.0, -48.0, "start"), (-28.0, -48.0, "end"), ( 28.0,  48.0, "start"),  (-28.0,  48.0, "end"),
];
/// Beyond this distance a thin line leads from label to point.
const NEAR: f64 = 20.0;

impl Labels {
    /// No labels yet; `taken` is what they must not hide.
    pub fn new(frame: Area, taken: Vec<Area>) -> Self {
        Self { frame, taken }
    }

    /// Writes one or two lines, (class, text) each, beside a point: in the first place where nothing is in the way, or
    /// the one with the least.
    pub fn write(&mut self, svg: &mut Svg, (x, y): (f64, f64), lines: &[(&str, &str)]) {
        let width = lines.iter().map(|(_, text)| text_width(text)).fold(0.0, f64::max);
        let height = LINE * lines.len() as f64;
        let area = |&(dx, dy, anchor): &(f64, f64, &str)| {
            let left = match anchor {
                "start" => x + dx,
                "end" => x + dx - width,
                _ => x + dx - width / 2.0,
            };
            Area(left, y + dy - height / 2.0, left + width, y + dy + height / 2.0)
        };
        let hidden = |place: &(f64, f64, &str)| {
            let area = area(place);
            let outside = area.size() - area.shared(self.frame);
            self.taken.iter().map(|other| area.shared(*other)).sum::<f64>() + 2.0 * outside
        };
        let mut best = (PLACES[0], f64::INFINITY);
        for place in PLACES {
            let hidden = hidden(&place);
            if hidden < best.1 - 0.5 {
                best = (place, hidden);
            }
        }
        let (dx, dy, anchor) = best.0;
        let place = area(&best.0);
        if dx.hypot(dy) > NEAR {
            svg.line("axis", (x + 0.3 * dx, y + 0.3 * dy), (x + 0.9 * dx, y + 0.8 * dy));
        }
        for (i, (class, text)) in lines.iter().enumerate() {
            svg.text(class, (x + dx, place.1 + LINE * (i as f64 + 1.0) - 3.0), anchor, text);
        }
        self.taken.push(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_close_points_do_not_overlap() {
        let points: Vec<(f64, f64)> =
            (0..6).map(|i| (200.0 + 9.0 * f64::from(i), 150.0 - 7.0 * f64::from(i))).collect();
        let discs = points.iter().map(|(x, y)| Area(x - 6.0, y - 6.0, x + 6.0, y + 6.0)).collect();
        let mut labels = Labels::new(Area(50.0, 40.0, 530.0, 290.0), discs);
        let mut svg = Svg::new(560.0, 340.0, "");
        for &point in &points {
            labels.write(&mut svg, point, &[("", "V2 ×0.75")]);
        }
        let placed = &labels.taken[points.len()..];
        assert_eq!(placed.len(), points.len());
        for (i, a) in placed.iter().enumerate() {
            assert!(a.0 >= 50.0 && a.2 <= 530.0 && a.1 >= 40.0 && a.3 <= 290.0, "{a:?} leaves the frame");
            assert!(placed[i + 1..].iter().all(|b| a.shared(*b) < 1.0), "{a:?} is hidden");
        }
    }

    #[test]
    fn a_lone_label_stands_to_the_right_unless_the_frame_ends_there() {
        let place = |x| {
            let mut labels = Labels::new(Area(0.0, 0.0, 300.0, 300.0), Vec::new());
            labels.write(&mut Svg::new(300.0, 300.0, ""), (x, 150.0), &[("", "MobileNet")]);
            labels.taken[0]
        };
        assert!(place(100.0).0 > 100.0);
        assert!(place(290.0).2 < 290.0);
    }
}
