//! Places by cost and accuracy, with the Pareto front.

use super::plot::{Plot, lower_first, plot};
use crate::charts::{self, Point, Scatter, ticks};
use crate::pareto;
use crate::text::significant;

/// Of more places only those on the front are named in the picture; the others by a hint under the pointer.
const MOST_NAMED: usize = 6;

/// What is drawn.
pub struct Subject<'a> {
    /// The picture's file name
    pub name: &'a str,
    /// The cost, with its unit
    pub cost: &'a str,
    /// What the places are: `networks`
    pub what: &'a str,
    /// What the bars are
    pub bars: &'a str,
}

/// A place, its accuracies in percent.
pub struct Place {
    /// The class of its color
    pub class: String,
    /// Its name in the picture
    pub short: String,
    /// Its whole name
    pub label: String,
    /// What it costs
    pub cost: f64,
    /// Its accuracy
    pub accuracy: f64,
    /// The ends of its bar
    pub bar: (f64, f64),
}

/// Accuracy against cost, with 95 % intervals.
pub fn pareto(subject: &Subject<'_>, mut places: Vec<Place>) -> Plot {
    let Subject { name, cost: title, what, bars } = *subject;
    places.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    let on_front = pareto::front(&places.iter().map(|p| (p.cost, p.accuracy)).collect::<Vec<_>>());
    // Two places need no front: one sees at once which is where.
    let front = places.len() > 2;
    let many = places.len() > MOST_NAMED;
    let most = places.iter().map(|p| p.cost).fold(0.0, f64::max) * 1.2;
    let low = places.iter().map(|p| p.bar.0).fold(f64::INFINITY, f64::min);
    let high = places.iter().map(|p| p.bar.1).fold(f64::NEG_INFINITY, f64::max);
    let point = |(place, on_front): (&Place, &bool)| {
        let figures = format!("{:.1}% at {}", place.accuracy, significant(place.cost));
        let label = match (many, on_front) {
            (false, _) => vec![place.short.clone(), figures.clone()],
            (true, true) => vec![place.short.clone()],
            (true, false) => Vec::new(),
        };
        Point {
            class: place.class.clone(),
            x: place.cost,
            y: place.accuracy,
            bar: place.bar,
            faint: front && !on_front,
            hint: format!("{}: {figures}", place.label),
            label,
        }
    };
    let svg = charts::scatter(Scatter {
        title: &format!("Test accuracy against {title}"),
        x_title: title,
        y_title: "Test accuracy (%)",
        x: ticks(0.0, most, 6),
        y: ticks(low, high, 5),
        points: places.iter().zip(&on_front).map(point).collect(),
        front,
    });
    let front = if front {
        format!(
            " Dotted: the Pareto front, the best accuracy at each cost; {what} that another beats in both are faint."
        )
    } else {
        String::new()
    };
    let caption =
        format!("Test accuracy against {}; up and to the left is better. Bars: {bars}.{front}", lower_first(title));
    plot(name, caption, svg)
}
