//! From and to the data sets of candle-datasets.

use candle_core::{DType, Device, Tensor};
use candle_datasets::vision;

use crate::sources::files;
use crate::{Dataset, Error, Split};

/// Takes images `[n, 3, h, w]`, gray ones `[n, 1, h, w]`, or square gray ones as rows, `[n, h · h]`, which is what
/// `candle_datasets::vision::mnist` and `fashion_mnist` give; `u8` or `f32` from 0 to 1, with labels `[n]` of whole
/// numbers. The three channels of a gray picture are the same. Classes are called `0`, `1` and so on, the set `candle`.
///
/// Pictures are taken as they are: the ones of `candle_datasets::vision::cifar::load` 0.11 have height and width
/// exchanged.
impl TryFrom<&vision::Dataset> for Dataset {
    type Error = Error;

    fn try_from(set: &vision::Dataset) -> Result<Self, Error> {
        let train = split(&set.train_images, &set.train_labels, set.labels)?;
        let test = split(&set.test_images, &set.test_labels, set.labels)?;
        if (train.height(), train.width()) != (test.height(), test.width()) {
            return Err(Error::Tensor {
                name: "test images",
                expected: format!("{}x{} pixels", train.height(), train.width()),
                found: format!("{}x{}", test.height(), test.width()),
            });
        }
        let copy = format!("tensors; {}", files::counts(train.len(), test.len()));
        let classes = (0..set.labels).map(|class| class.to_string()).collect();
        Self::new("candle".into(), copy, classes, train, test)
    }
}

/// Gives images `f32` `[n, 3, h, w]` from 0 to 1 and labels `u8` `[n]`, on the CPU, as candle-datasets does for CIFAR.
impl TryFrom<&Dataset> for vision::Dataset {
    type Error = Error;

    fn try_from(set: &Dataset) -> Result<Self, Error> {
        let (train_images, train_labels) = tensors(&set.train)?;
        let (test_images, test_labels) = tensors(&set.test)?;
        let labels = set.classes.len();
        Ok(Self { train_images, train_labels, test_images, test_labels, labels })
    }
}

fn split(images: &Tensor, labels: &Tensor, classes: usize) -> Result<Split, Error> {
    let wrong = |name, expected: &str, found: String| Error::Tensor { name, expected: expected.into(), found };
    let (n, channels, height, width) = match *images.dims() {
        [n, channels @ (1 | 3), height, width] => (n, channels, height, width),
        [n, pixels] if pixels > 0 && pixels.isqrt().pow(2) == pixels => (n, 1, pixels.isqrt(), pixels.isqrt()),
        ref dims => {
            let expected = "shape [n, 3, h, w], [n, 1, h, w], or [n, h * h] for square gray images";
            return Err(wrong("images", expected, format!("{dims:?}")));
        }
    };
    if labels.dims() != [n] {
        return Err(wrong("labels", &format!("shape [{n}]"), format!("{:?}", labels.dims())));
    }
    let flat = images.reshape((n, channels, height, width))?.permute((0, 2, 3, 1))?.flatten_all()?;
    let pixels = match flat.dtype() {
        DType::U8 => flat.to_vec1::<u8>()?,
        DType::F32 => {
            let values = flat.to_vec1::<f32>()?;
            if let Some(bad) = values.iter().find(|v| !(0.0..=1.0).contains(*v)) {
                return Err(wrong("images", "values from 0 to 1", bad.to_string()));
            }
            values.into_iter().map(|v| (v * 255.0).round() as u8).collect()
        }
        other => return Err(wrong("images", "u8 or f32", format!("{other:?}"))),
    };
    let pixels = if channels == 1 { pixels.into_iter().flat_map(|value| [value; 3]).collect() } else { pixels };
    let labels = match labels.dtype() {
        DType::U8 | DType::U32 => labels.to_dtype(DType::U32)?.to_vec1::<u32>()?,
        other => return Err(wrong("labels", "u8 or u32", format!("{other:?}"))),
    };
    if let Some(bad) = labels.iter().find(|&&label| label as usize >= classes) {
        return Err(wrong("labels", &format!("less than {classes}"), bad.to_string()));
    }
    Split::new(pixels, labels, height, width)
}

fn tensors(split: &Split) -> Result<(Tensor, Tensor), Error> {
    let shape = (split.len(), split.height(), split.width(), 3);
    let images = Tensor::from_slice(split.clone().into_memory()?.pixels().unwrap_or_default(), shape, &Device::Cpu)?;
    let images = images.permute((0, 3, 1, 2))?.contiguous()?.to_dtype(DType::F32)?;
    let labels: Result<Vec<u8>, _> = split.labels().iter().map(|&l| u8::try_from(l)).collect();
    let labels = labels.map_err(|_| Error::Tensor {
        name: "labels",
        expected: "at most 256 classes".into(),
        found: "a label above 255".into(),
    })?;
    Ok(((images / 255.0)?, Tensor::from_vec(labels, split.len(), &Device::Cpu)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Drawn, LoadOptions, Source, load};

    fn shapes() -> Dataset {
        let drawn = Some(Drawn { train: 20, test: 10, seed: 1 });
        let options = LoadOptions { source: Source::Shapes10, drawn, ..Default::default() };
        load(&options, &mut |_| {}).unwrap()
    }

    #[test]
    fn there_and_back_is_the_same() {
        let set = shapes();
        let candle = vision::Dataset::try_from(&set).unwrap();
        assert_eq!(candle.train_images.dims(), [20, 3, 32, 32]);
        let row: Vec<f32> = candle.test_images.get(4).unwrap().get(2).unwrap().get(7).unwrap().to_vec1().unwrap();
        for (x, value) in row.iter().enumerate() {
            let expected = set.test.image(4).unwrap()[(7 * 32 + x) * 3 + 2];
            assert_eq!((value * 255.0).round() as u8, expected);
        }
        let back = Dataset::try_from(&candle).unwrap();
        assert_eq!((&back.train, &back.test), (&set.train, &set.test));
        let bytes = vision::Dataset {
            train_images: (candle.train_images * 255.0).unwrap().round().unwrap().to_dtype(DType::U8).unwrap(),
            train_labels: candle.train_labels.to_dtype(DType::U32).unwrap(),
            ..candle
        };
        assert_eq!(Dataset::try_from(&bytes).unwrap().train, set.train);
    }

    /// As [`vision::mnist`] gives them, rows of pixels, and with their height and width.
    #[test]
    fn gray_images_get_three_channels() {
        let gray = |n: usize| -> Vec<u8> { (0..n * 4).map(|i| (i * 7 % 256) as u8).collect() };
        let images = |n: usize, shape: &[usize]| {
            let images = Tensor::from_vec(gray(n), shape, &Device::Cpu).unwrap();
            (images.to_dtype(DType::F32).unwrap() / 255.).unwrap()
        };
        let labels = |n: usize| Tensor::from_vec(vec![1u8; n], n, &Device::Cpu).unwrap();
        let set = vision::Dataset {
            train_images: images(20, &[20, 4]),
            train_labels: labels(20),
            test_images: images(3, &[3, 1, 2, 2]),
            test_labels: labels(3),
            labels: 2,
        };
        let set = Dataset::try_from(&set).unwrap();
        for (split, n) in [(&set.train, 20), (&set.test, 3)] {
            assert_eq!((split.len(), split.height(), split.width()), (n, 2, 2));
            let expected: Vec<u8> = gray(n).into_iter().flat_map(|value| [value; 3]).collect();
            assert_eq!(split.pixels().unwrap(), expected);
        }
    }

    #[test]
    fn other_tensors_are_errors() {
        let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
        let good = || vision::Dataset::try_from(&shapes()).unwrap();
        let cases = [
            vision::Dataset { train_images: zeros(&[20, 783], DType::F32), ..good() },
            vision::Dataset { train_images: zeros(&[20, 0], DType::F32), ..good() },
            vision::Dataset { train_images: zeros(&[20, 28, 28], DType::F32), ..good() },
            vision::Dataset { train_images: zeros(&[20, 2, 32, 32], DType::F32), ..good() },
            vision::Dataset { train_images: zeros(&[20, 3, 32, 32], DType::F64), ..good() },
            vision::Dataset { train_images: zeros(&[20, 3, 8, 8], DType::F32), ..good() },
            vision::Dataset { test_labels: zeros(&[9], DType::U8), ..good() },
            vision::Dataset { labels: 9, ..good() },
            vision::Dataset { test_images: (good().test_images * -1.0).unwrap(), ..good() },
        ];
        for (i, set) in cases.iter().enumerate() {
            assert!(matches!(Dataset::try_from(set), Err(Error::Tensor { .. })), "case {i}");
        }
    }
}
