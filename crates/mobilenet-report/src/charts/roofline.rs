//! Rates over intensities, both logarithmic, under a roof: after Williams, Waterman and Patterson, "Roofline", 2009.

use super::axes::Frame;
use super::legend::Entry;
use super::svg::{Svg, text_width};

/// What is drawn.
pub struct Roofline<'a> {
    /// For screen readers
    pub title: &'a str,
    /// Titles of the horizontal and of the vertical axis
    pub axes: (&'a str, &'a str),
    /// The highest rate
    pub peak: f64,
    /// What is written at it
    pub peak_label: &'a str,
    /// Rates per intensity below the peak, the lowest first, with their labels
    pub slopes: Vec<(f64, String)>,
    /// The intensity from which on the peak can be reached; nothing if that is not known
    pub ridge: Option<f64>,
    /// Intensities that the picture must hold besides those of the discs
    pub intensities: Vec<f64>,
    /// What is under the roof
    pub discs: Vec<Disc>,
    /// Whose the discs are
    pub series: Vec<Entry>,
}

/// A disc under the roof.
pub struct Disc {
    /// The class of its color
    pub class: String,
    /// Beside it, where there is room
    pub name: String,
    /// Its place
    pub intensity: f64,
    /// Its height
    pub rate: f64,
    /// Its area, as a share of the whole of its series
    pub share: f64,
    /// Shown under the pointer
    pub hint: String,
}

/// Draws it.
pub fn roofline(roof: &Roofline<'_>) -> Svg {
    let discs = || roof.discs.iter();
    let (x_low, x_high) = span(discs().map(|disc| disc.intensity).chain(roof.intensities.iter().copied()));
    let (y_low, y_high) = span(discs().map(|disc| disc.rate).chain([roof.peak]));
    let frame = Frame {
        left: 58.0,
        top: 46.0,
        width: 822.0,
        height: 340.0,
        x: vec![(x_low * 0.4).log10(), (x_high * 1.5).log10()],
        y: vec![(y_low * 0.6).log10(), (y_high * 1.5).log10()],
    };
    let mut svg = Svg::new(900.0, frame.top + frame.height + 50.0, roof.title);
    axes(&mut svg, &frame, roof.axes);
    draw_roof(&mut svg, &frame, roof);
    draw_discs(&mut svg, &frame, roof);
    let mut x = frame.left + frame.width;
    for Entry { class, name } in roof.series.iter().rev() {
        svg.text(&format!("fill {class}"), (x, 24.0), "end", name);
        x -= text_width(name) + 22.0;
    }
    svg
}

/// A line for each slope up to the peak, and the peak.
fn draw_roof(svg: &mut Svg, frame: &Frame, roof: &Roofline<'_>) {
    let place = |x: f64, y: f64| frame.place((x.log10(), y.log10()));
    let peak = roof.peak;
    let (x_low, x_high) = (10_f64.powf(frame.x[0]), 10_f64.powf(frame.x[1]));
    let y_low = 10_f64.powf(frame.y[0]);
    for (i, &(rate, ref label)) in roof.slopes.iter().enumerate() {
        // Where the line enters the picture: from the left or from below.
        let from = if x_low * rate > y_low { (x_low, x_low * rate) } else { (y_low / rate, y_low) };
        let (start, end) = (place(from.0, from.1), place(peak / rate, peak));
        svg.polyline(if i == 0 { "roof" } else { "roof faint" }, &[start, end]);
        // Along the line, above it.
        let (dx, dy) = (end.0 - start.0, end.1 - start.1);
        let length = dx.hypot(dy).max(1.0);
        let at = (start.0 + (14.0 * dx + 5.0 * dy) / length, start.1 + (14.0 * dy - 5.0 * dx) / length);
        svg.turned("name small", at, dy.atan2(dx).to_degrees(), label);
    }
    let ridge = roof.ridge.unwrap_or(x_low);
    let end = place(x_high, peak);
    svg.polyline("roof", &[place(ridge, peak), end]);
    svg.text("name", (end.0, end.1 - 8.0), "end", roof.peak_label);
}

/// Discs with their names beside them, where there is room for that.
fn draw_discs(svg: &mut Svg, frame: &Frame, roof: &Roofline<'_>) {
    let place = |disc: &Disc| frame.place((disc.intensity.log10(), disc.rate.log10()));
    let radius = |disc: &Disc| (30.0 * disc.share.sqrt()).max(2.5);
    let mut placed: Vec<_> = roof.discs.iter().map(|disc| (disc, place(disc), radius(disc))).collect();
    // The small ones last, on top.
    placed.sort_by(|(_, _, a), (_, _, b)| b.total_cmp(a));
    for &(disc, at, radius) in &placed {
        svg.disc(&format!("fill clear {}", disc.class), at, radius, &disc.hint);
    }
    // Left, top, right, bottom; a disc's square overstates it.
    let square =
        |(x, y): (f64, f64), radius: f64| [x - 0.8 * radius, y - 0.8 * radius, x + 0.8 * radius, y + 0.8 * radius];
    let mut taken: Vec<[f64; 4]> = placed.iter().map(|&(_, at, radius)| square(at, radius)).collect();
    let (right, (_, peak)) = (frame.left + frame.width, frame.place((0.0, roof.peak.log10())));
    taken.push([frame.left, peak - 2.0, right, peak + 2.0]);
    for &(disc, (x, y), radius) in &placed {
        let name = disc.name.as_str();
        let (width, gap) = (0.9 * text_width(name), radius + 3.0);
        let places = [
            (x + gap, y + 4.0, "start", x + gap),
            (x - gap, y + 4.0, "end", x - gap - width),
            (x, y + gap + 8.0, "middle", x - width / 2.0),
            (x, y - gap, "middle", x - width / 2.0),
        ];
        let free = |left: f64, bottom: f64| {
            let area = [left, bottom - 9.0, left + width, bottom + 1.0];
            taken.iter().all(|t| area[2] < t[0] || t[2] < area[0] || area[3] < t[1] || t[3] < area[1]).then_some(area)
        };
        let found = places.into_iter().find_map(|place| Some((place, free(place.3, place.1)?)));
        if let Some(((x, y, anchor, _), area)) = found {
            svg.text(&format!("fill small {}", disc.class), (x, y), anchor, name);
            taken.push(area);
        }
    }
}

/// The least and the largest of values above 0.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let fold = |(low, high): (f64, f64), v: f64| (low.min(v), high.max(v));
    let (low, high) = values.filter(|v| v.is_finite() && *v > 0.0).fold((f64::INFINITY, 0.0), fold);
    if high > 0.0 { (low, high) } else { (1.0, 10.0) }
}

/// Grid lines at 1, 2 and 5 times the powers of ten.
fn axes(svg: &mut Svg, frame: &Frame, (x_title, y_title): (&str, &str)) {
    let (right, bottom) = (frame.left + frame.width, frame.top + frame.height);
    for mark in marks(frame.y[0], frame.y[1]) {
        let (_, y) = frame.place((frame.x[0], mark.log10()));
        svg.line("grid", (frame.left, y), (right, y));
        svg.text("", (frame.left - 8.0, y + 4.0), "end", &mark.to_string());
    }
    for mark in marks(frame.x[0], frame.x[1]) {
        let (x, _) = frame.place((mark.log10(), frame.y[0]));
        svg.line("axis", (x, bottom), (x, bottom + 4.0));
        svg.text("", (x, bottom + 18.0), "middle", &mark.to_string());
    }
    svg.line("axis", (frame.left, bottom), (right, bottom));
    svg.text("", (frame.left + frame.width / 2.0, bottom + 38.0), "middle", x_title);
    svg.text("title", (14.0, 24.0), "start", y_title);
}

/// 1, 2 and 5 times powers of ten between two logarithms.
fn marks(low: f64, high: f64) -> Vec<f64> {
    let powers = low.floor() as i32..=high.floor() as i32;
    // Divided, where the power is negative: 5 / 100 is the number that is written 0.05, 5 · 0.01 may not be.
    let mark = |power: i32, factor: f64| match power {
        0.. => factor * 10_f64.powi(power),
        _ => factor / 10_f64.powi(-power),
    };
    powers
        .flat_map(|power| [1.0, 2.0, 5.0].map(|factor| mark(power, factor)))
        .filter(|mark| (low..=high).contains(&mark.log10()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_within() {
        let text =
            |low: f64, high: f64| marks(low.log10(), high.log10()).iter().map(f64::to_string).collect::<Vec<_>>();
        assert_eq!(text(0.04, 3.0), ["0.05", "0.1", "0.2", "0.5", "1", "2"]);
        assert_eq!(text(90.0, 600.0), ["100", "200", "500"]);
    }
}
