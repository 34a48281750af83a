//! Values of options: what is taken, and what is said of others.

use std::fmt::Display;
use std::str::FromStr;

use mobilenet_common::numbers::thousands;
use mobilenet_data::{ColorJitter, Policy, ResizedCrop};

pub fn parse<T: FromStr<Err: Display>>(s: &str) -> Result<T, String> {
    s.parse().map_err(|e: T::Err| e.to_string())
}

pub fn at_least_1(s: &str) -> Result<usize, String> {
    s.parse().ok().filter(|&n| n >= 1).ok_or_else(|| "expected a whole number, at least 1".into())
}

/// A whole number from 1 to `MAX`, beyond which no machine has enough memory or time.
pub fn up_to<const MAX: usize>(s: &str) -> Result<usize, String> {
    let expected = || format!("expected a whole number, at least 1 and at most {}", thousands(MAX as u64));
    s.parse().ok().filter(|n| (1..=MAX).contains(n)).ok_or_else(expected)
}

/// A whole number from 0 to `MAX`.
pub fn zero_up_to<const MAX: usize>(s: &str) -> Result<usize, String> {
    let expected = || format!("expected a whole number, at least 0 and at most {}", thousands(MAX as u64));
    s.parse().ok().filter(|n| (0..=MAX).contains(n)).ok_or_else(expected)
}

/// A whole number, perhaps in thousands (`500k`), millions (`2.5M`) or billions (`1G`).
pub fn amount(s: &str) -> Result<u64, String> {
    let (digits, factor) = match s.chars().last() {
        Some('k' | 'K') => (&s[..s.len() - 1], 1e3),
        Some('m' | 'M') => (&s[..s.len() - 1], 1e6),
        Some('g' | 'G') => (&s[..s.len() - 1], 1e9),
        _ => (s, 1.0),
    };
    let amount = digits.parse::<f64>().map_or(f64::NAN, |x| (x * factor).round());
    let known = digits.starts_with(|c: char| c.is_ascii_digit()) && (1.0..=1e15).contains(&amount);
    known.then_some(amount as u64).ok_or_else(|| "expected a number such as 3M, 2.5M, 500k or 120000".into())
}

/// A number of bytes, perhaps in thousands, millions or billions; 0 is one, too.
pub fn bytes(s: &str) -> Result<u64, String> {
    if s == "0" { Ok(0) } else { amount(s).map_err(|_| "expected a number of bytes such as 500M, 4G or 0".into()) }
}

/// `--mean-std`: what images are normalized by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MeanStd {
    /// What the training images have.
    Data,
    /// Mean and standard deviation of red, green and blue, in units of 0 to 1.
    Fixed { mean: [f32; 3], std: [f32; 3] },
}

impl MeanStd {
    /// ImageNet's, as torchvision's and timm's weights expect them.
    pub const IMAGENET: Self = Self::Fixed { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
    /// CIFAR-10's, as most published trainings have them.
    pub const CIFAR10: Self = Self::Fixed { mean: [0.4914, 0.4822, 0.4465], std: [0.2023, 0.1994, 0.2010] };
}

impl FromStr for MeanStd {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "data" => return Ok(Self::Data),
            "imagenet" => return Ok(Self::IMAGENET),
            "cifar10" => return Ok(Self::CIFAR10),
            _ => {}
        }
        let numbers: Option<Vec<f32>> = s.split(',').map(|part| part.trim().parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[a, b, c, d, e, f])
                if [a, b, c].iter().all(|x| x.is_finite()) && [d, e, f].iter().all(|x| *x > 0.0 && x.is_finite()) =>
            {
                Ok(Self::Fixed { mean: [a, b, c], std: [d, e, f] })
            }
            _ => Err(
                "expected data, imagenet, cifar10, or six numbers: mean of red, green and blue, then their standard deviation, above 0",
            ),
        }
    }
}

fn number(s: &str, ok: fn(f64) -> bool, expected: &str) -> Result<f64, String> {
    s.parse().ok().filter(|&x: &f64| x.is_finite() && ok(x)).ok_or_else(|| format!("expected {expected}"))
}

pub fn above_0(s: &str) -> Result<f64, String> {
    number(s, |x| x > 0.0, "a number above 0")
}

pub fn at_least_0(s: &str) -> Result<f64, String> {
    number(s, |x| x >= 0.0, "a number, at least 0")
}

pub fn fraction(s: &str) -> Result<f64, String> {
    number(s, |x| (0.0..1.0).contains(&x), "a number from 0 to below 1")
}

pub fn part(s: &str) -> Result<f64, String> {
    number(s, |x| x > 0.0 && x < 1.0, "a number above 0 and below 1")
}

/// So many numbers with commas between them.
fn numbers<const N: usize>(s: &str) -> Option<[f64; N]> {
    let numbers: Option<Vec<f64>> = s.split(',').map(|part| part.trim().parse().ok()).collect();
    numbers?.try_into().ok()
}

pub fn resized_crop(s: &str) -> Result<ResizedCrop, String> {
    let shares = numbers(s).filter(|[low, high]| *low > 0.0 && low <= high && *high <= 1.0);
    let [low, high] = shares.ok_or("expected two shares above 0, at most 1, the smaller first, such as 0.08,1")?;
    Ok(ResizedCrop { scale: (low, high), ..ResizedCrop::default() })
}

pub fn color_jitter(s: &str) -> Result<ColorJitter, String> {
    let strengths = numbers(s).filter(|all: &[f64; 4]| all.iter().all(|x| *x >= 0.0 && x.is_finite()) && all[3] <= 0.5);
    let [brightness, contrast, saturation, hue] =
        strengths.ok_or("expected four numbers from 0 on, the last at most 0.5, such as 0.4,0.4,0.4,0.1")?;
    Ok(ColorJitter { brightness, contrast, saturation, hue })
}

pub fn policy(s: &str) -> Result<Policy, String> {
    let wrong =
        || "expected trivial-augment-wide, rand-augment or rand-augment:N,M, N from 1 to 100, M to 30".to_owned();
    match s.split_once(':') {
        None if s == "trivial-augment-wide" => Ok(Policy::TrivialAugmentWide),
        None if s == "rand-augment" => Ok(Policy::RandAugment { ops: 2, magnitude: 9 }),
        Some(("rand-augment", numbers)) => {
            let (ops, magnitude) = numbers.split_once(',').ok_or_else(wrong)?;
            let whole = |s: &str, range: std::ops::RangeInclusive<usize>| s.parse().ok().filter(|n| range.contains(n));
            let (ops, magnitude) = whole(ops, 1..=100).zip(whole(magnitude, 0..=30)).ok_or_else(wrong)?;
            Ok(Policy::RandAugment { ops, magnitude })
        }
        _ => Err(wrong()),
    }
}

pub fn share(s: &str) -> Result<f64, String> {
    number(s, |x| (0.0..=1.0).contains(&x), "a number from 0 to 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn augmentations() {
        assert_eq!(resized_crop("0.3, 1").unwrap().scale, (0.3, 1.0));
        assert_eq!(color_jitter("0.4,0.3,0.2,0.1").unwrap().hue, 0.1);
        assert_eq!(policy("rand-augment:3,12"), Ok(Policy::RandAugment { ops: 3, magnitude: 12 }));
        for bad in ["", "1", "0,1", "0.5,0.2", "0.1,1.5", "nan,1", "0.1,0.2,0.3", "0,0,0,0.6", "-1,0,0,0", "inf,0,0,0"]
        {
            assert!(resized_crop(bad).is_err() && color_jitter(bad).is_err(), "{bad}");
        }
        for bad in ["", "rand", "rand-augment:", "rand-augment:0,9", "rand-augment:2,31", "trivial-augment-wide:1,1"] {
            assert!(policy(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn means_and_deviations() {
        assert_eq!("data".parse(), Ok(MeanStd::Data));
        let MeanStd::Fixed { mean, std } = "imagenet".parse().unwrap() else { panic!("numbers") };
        assert_eq!((mean[0], std[2]), (0.485, 0.225));
        let six = MeanStd::Fixed { mean: [0.1, 0.2, -0.3], std: [1.0, 2.0, 3.0] };
        assert_eq!("0.1,0.2, -0.3,1,2,3".parse(), Ok(six));
        for bad in
            ["", "ImageNet", "1,2,3", "0,0,0,1,1,0", "0,0,0,1,1,-1", "0,0,nan,1,1,1", "0,0,0,1,1,inf", "1,2,3,4,5,6,7"]
        {
            assert!(bad.parse::<MeanStd>().is_err(), "{bad}");
        }
    }

    #[test]
    fn amounts() {
        for (text, want) in
            [("3M", 3_000_000), ("2.5m", 2_500_000), ("500k", 500_000), ("120000", 120_000), ("1G", 1_000_000_000)]
        {
            assert_eq!(amount(text), Ok(want), "{text}");
        }
        for bad in ["", "k", "nan", "infM", "1e30", "0.1", "1 M", "1Mk", "µ"] {
            assert!(amount(bad).is_err(), "{bad}");
        }
    }
}
