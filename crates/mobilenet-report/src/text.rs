//! Numbers as people read them.

use std::time::{SystemTime, UNIX_EPOCH};

pub use mobilenet_common::numbers::thousands;

/// `87_980_000` -> `87.98`.
pub fn millions(n: u64) -> String {
    format!("{:.2}", n as f64 / 1e6)
}

/// A fraction as a percentage with one digit: `0.4312` -> `43.1%`.
pub fn percent(fraction: f64) -> String {
    format!("{:.1}%", fraction * 100.0)
}

/// A fraction as a whole percentage: `0.4312` -> `43%`.
pub fn whole_percent(fraction: f64) -> String {
    format!("{:.0}%", fraction * 100.0)
}

/// The difference of two fractions in percentage points: `+2.4 points`.
pub fn points(difference: f64) -> String {
    format!("{:+.1} points", difference * 100.0).replace('-', "−")
}

/// An interval of such a difference: `+0.3 to +4.5 points`.
pub fn points_interval((low, high): (f64, f64)) -> String {
    format!("{:+.1} to {}", low * 100.0, points(high)).replace('-', "−")
}

/// A share that may be tiny: `0.00123` -> `0.12%`.
pub fn share(fraction: f64) -> String {
    let percent = fraction * 100.0;
    match percent {
        p if p >= 10.0 => format!("{p:.0}%"),
        p if p >= 1.0 => format!("{p:.1}%"),
        p if p >= 0.1 => format!("{p:.2}%"),
        p => format!("{p:.3}%"),
    }
}

/// Three significant digits or so, without exponent.
pub fn significant(value: f64) -> String {
    match value.abs() {
        v if v >= 1e3 && value > 0.0 => thousands(v.round() as u64),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 || v == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Bytes as megabytes (2^20), the unit of the article's memory column.
pub fn megabytes(bytes: u64) -> String {
    thousands((bytes as f64 / f64::from(1 << 20)).round() as u64)
}

/// Seconds as `45 s`, `7 min 30 s`, `2 h 05 min`, `3 days 4 h`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3_600 if s.is_multiple_of(60) => format!("{} min", s / 60),
        60..3_600 => format!("{} min {:02} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {:02} min", s / 3_600, s % 3_600 / 60),
        _ => {
            let days = s / 86_400;
            let plural = if days == 1 { "" } else { "s" };
            format!("{days} day{plural} {} h", s % 86_400 / 3_600)
        }
    }
}

/// An estimate: no more digits than it deserves.
pub fn about(seconds: f64) -> String {
    let rounded = match seconds {
        s if s < 90.0 => (s / 10.0).ceil().max(1.0) * 10.0,
        s if s < 600.0 => (s / 30.0).round() * 30.0,
        s if s < 7_200.0 => (s / 60.0).round() * 60.0,
        s => (s / 600.0).round() * 600.0,
    };
    format!("about {}", duration(rounded))
}

/// Counts with the right noun: `1 epoch`, `3 epochs`.
pub fn count(n: u64, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(n))
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Now, in UTC: `2026-06-05 20:18 UTC`.
pub fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    timestamp(seconds)
}

/// Seconds since 1970 as a date and time, after Howard Hinnant's `civil_from_days`.
fn timestamp(seconds: u64) -> String {
    let z = seconds / 86_400 + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let cases = [
            (thousands(0), "0"),
            (thousands(999), "999"),
            (thousands(2_236_682), "2,236,682"),
            (millions(87_977_984), "87.98"),
            (percent(0.4312), "43.1%"),
            (points(-0.024), "−2.4 points"),
            (points_interval((-0.004, 0.0123)), "−0.4 to +1.2 points"),
            (share(0.00123), "0.12%"),
            (share(0.5), "50%"),
            (significant(1.234), "1.23"),
            (significant(123.4), "123"),
            (significant(1220.7), "1,221"),
            (megabytes(125 << 20), "125"),
            (count(1, "epoch"), "1 epoch"),
            (count(5_000, "epoch"), "5,000 epochs"),
            (list(&["a".into(), "b".into(), "c".into()]), "a, b and c"),
        ];
        for (got, want) in cases {
            assert_eq!(got, want);
        }
    }

    #[test]
    fn durations_and_estimates() {
        for (seconds, want) in
            [(0.4, "0 s"), (59.6, "1 min"), (450.0, "7 min 30 s"), (7_500.0, "2 h 05 min"), (273_600.0, "3 days 4 h")]
        {
            assert_eq!(duration(seconds), want);
        }
        for (seconds, want) in [
            (3.0, "about 10 s"),
            (71.0, "about 1 min 20 s"),
            (316.0, "about 5 min 30 s"),
            (1_775.0, "about 30 min"),
            (8_000.0, "about 2 h 10 min"),
        ] {
            assert_eq!(about(seconds), want);
        }
    }

    #[test]
    fn dates() {
        assert_eq!(timestamp(0), "1970-01-01 00:00 UTC");
        assert_eq!(timestamp(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(timestamp(1_780_690_736), "2026-06-05 20:18 UTC");
    }
}
