//! Batches: the same bits whatever else, and nothing is left running.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use mobilenet_data::{
    Augment, Batch, BatchConfig, Drawn, Error, LoadOptions, Mix, Normalization, Padding, Source, Split, batches, load,
};

/// `n` pictures of 4 x 5 whose first byte is their number.
fn numbered(n: usize) -> Arc<Split> {
    let image = |i: usize| (0..60).map(move |at| if at == 0 { i as u8 } else { at as u8 * 4 });
    Arc::new(Split::new((0..n).flat_map(image).collect(), (0..n as u32).collect(), 4, 5).unwrap())
}

const PLAIN: Normalization = Normalization { mean: [0.0; 3], std: [1.0; 3] };

fn all(split: &Arc<Split>, norm: Normalization, cfg: &BatchConfig) -> Vec<Batch> {
    batches(Arc::clone(split), norm, cfg, &Device::Cpu).map(Result::unwrap).collect()
}

fn labels(batches: &[Batch]) -> Vec<u32> {
    batches.iter().flat_map(|batch| batch.labels.to_vec1::<u32>().unwrap()).collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn evaluation_batches_are_the_pictures() {
    let split = numbered(10);
    let norm = Normalization { mean: [0.5, 0.25, 0.125], std: [0.5, 0.25, 2.0] };
    let batches = all(&split, norm, &BatchConfig::eval(4));
    assert_eq!(labels(&batches), (0..10).collect::<Vec<_>>());
    let dims: Vec<_> = batches.iter().map(|b| b.images.dims4().unwrap()).collect();
    assert_eq!(dims, [(4, 3, 4, 5), (4, 3, 4, 5), (2, 3, 4, 5)]);
    let images = &batches[1].images;
    assert_eq!((images.dtype(), images.stride()), (DType::F32, &[60, 1, 15, 3][..]));
    let (y, x) = (3, 2);
    let pixel = images.get(2).unwrap().narrow(1, y, 1).unwrap().narrow(2, x, 1).unwrap();
    let expected: Vec<f32> = (0..3)
        .map(|c| (f32::from(split.image(6).unwrap()[(y * 5 + x) * 3 + c]) / 255.0 - norm.mean[c]) / norm.std[c])
        .collect();
    assert_eq!(values(&pixel), expected);
}

#[test]
fn shuffling_is_a_new_seeded_permutation_each_epoch() {
    let split = numbered(50);
    let order = |seed, epoch| labels(&all(&split, PLAIN, &BatchConfig::train(8, seed, epoch)));
    let first = order(1, 0);
    assert_eq!(first.len(), 48, "a short last batch is left out");
    let mut sorted = first.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), 48, "a picture came twice");
    assert_eq!(order(1, 0), first);
    assert!(order(1, 1) != first && order(2, 0) != first && order(0, 1) != first);
}

#[test]
fn a_picture_depends_on_seed_epoch_and_index_alone() {
    let split = numbered(40);
    let cfg = BatchConfig::train(8, 3, 2);
    let pictures = |cfg: &BatchConfig| {
        let mut found = vec![Vec::new(); 40];
        for batch in all(&split, PLAIN, cfg) {
            for (i, label) in batch.labels.to_vec1::<u32>().unwrap().into_iter().enumerate() {
                found[label as usize] = values(&batch.images.get(i).unwrap());
            }
        }
        found
    };
    let expected = pictures(&cfg);
    for batch_size in [1, 5, 40] {
        for shuffle in [true, false] {
            assert_eq!(pictures(&BatchConfig { batch_size, shuffle, ..cfg.clone() }), expected);
        }
    }
    for other in [BatchConfig { seed: 4, ..cfg.clone() }, BatchConfig { epoch: 3, ..cfg.clone() }] {
        assert_ne!(pictures(&other), expected);
    }
    // A slow consumer and several at once get the same.
    let slow = batches(Arc::clone(&split), PLAIN, &cfg, &Device::Cpu);
    let fast = all(&split, PLAIN, &cfg);
    for (slow, fast) in slow.zip(&fast) {
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert_eq!(values(&slow.unwrap().images), values(&fast.images));
    }
}

#[test]
fn a_crop_moves_the_picture_and_pads_with_black() {
    let white = Arc::new(Split::new(vec![255; 32 * 32 * 3], vec![0], 32, 32).unwrap());
    let norm = Normalization { mean: [0.5; 3], std: [0.25; 3] };
    let mut edges = std::collections::HashSet::new();
    for epoch in 0..200 {
        let augment = Augment { flip: false, ..Augment::default() };
        let cfg = BatchConfig { augment, epoch, ..BatchConfig::train(1, 0, 0) };
        let image = values(&all(&white, norm, &cfg)[0].images);
        // Black is -2 and white 2 after normalization; nothing else occurs.
        assert!(image.iter().all(|&v| v == -2.0 || v == 2.0));
        let rows = image[..32 * 32].chunks(32).filter(|row| row.contains(&2.0)).count();
        let columns = (0..32usize).filter(|&x| image[x..32 * 32].iter().step_by(32).any(|&v| v == 2.0)).count();
        assert!((28..=32).contains(&rows) && (28..=32).contains(&columns), "{rows} x {columns}");
        edges.insert((rows, columns));
    }
    assert_eq!(edges.len(), 25, "every amount of padding occurs");
}

#[test]
fn the_length_is_known() {
    for (images, size, drop_last, expected) in
        [(10, 4, false, 3), (10, 4, true, 2), (3, 4, true, 0), (3, 4, false, 1), (0, 4, false, 0)]
    {
        let cfg = BatchConfig { drop_last, ..BatchConfig::eval(size) };
        let mut batches = batches(numbered(images), PLAIN, &cfg, &Device::Cpu);
        for left in (0..expected).rev() {
            assert!(batches.next().unwrap().is_ok());
            assert_eq!(batches.len(), left);
        }
        assert!(batches.next().is_none());
    }
}

#[test]
fn senseless_settings_are_the_first_item() {
    let eval = BatchConfig::eval(4);
    let augment = |augment| BatchConfig { augment, ..eval.clone() };
    let resize = |h, w| BatchConfig { resize: Some((h, w)), ..eval.clone() };
    for (cfg, expected) in [
        (BatchConfig::eval(0), "batch size"),
        (augment(Augment { crop_padding: usize::MAX, ..Augment::NONE }), "crop padding"),
        (augment(Augment { crop_padding: 4, padding: Padding::Reflect, ..Augment::NONE }), "crop padding"),
        (augment(Augment { random_erasing: -0.1, ..Augment::NONE }), "random erasing"),
        (augment(Augment { mix: Mix::CutMix { alpha: 0.0 }, ..Augment::NONE }), "cutmix alpha"),
        (resize(0, 4), "resize"),
        (resize(4, usize::MAX), "resize"),
    ] {
        let mut batches = batches(numbered(10), PLAIN, &cfg, &Device::Cpu);
        assert_eq!(batches.len(), 1);
        assert!(matches!(batches.next(), Some(Err(Error::Config { name, .. })) if name == expected), "{expected}");
        assert!(batches.next().is_none());
    }
}

#[test]
fn dropping_the_iterator_ends_its_thread() {
    let split = numbered(200);
    for taken in [0, 1, 5] {
        let mut batches = batches(Arc::clone(&split), PLAIN, &BatchConfig::eval(1), &Device::Cpu);
        for _ in 0..taken {
            batches.next().unwrap().unwrap();
        }
        drop(batches);
        // The thread held the only other reference.
        assert_eq!(Arc::strong_count(&split), 1, "after {taken} batches");
    }
}

#[test]
fn shapes10_is_not_told_by_color_or_place() {
    // The nearest mean picture of a class, which is all that a look at single pixels can tell.
    let drawn = Some(Drawn { train: 2000, test: 500, seed: 0 });
    let options = LoadOptions { source: Source::Shapes10, drawn, ..LoadOptions::default() };
    let set = load(&options, &mut |_| {}).unwrap();
    let mut means = vec![vec![0f32; 32 * 32 * 3]; 10];
    for (image, &label) in set.train.pixels().unwrap().chunks(32 * 32 * 3).zip(set.train.labels()) {
        for (sum, &value) in means[label as usize].iter_mut().zip(image) {
            *sum += f32::from(value) / 200.0;
        }
    }
    let right = (0..set.test.len()).filter(|&i| {
        let image = set.test.image(i).unwrap();
        let distance =
            |mean: &Vec<f32>| -> f32 { mean.iter().zip(image).map(|(m, &v)| (m - f32::from(v)).powi(2)).sum() };
        let distances: Vec<f32> = means.iter().map(distance).collect();
        let best = (0..10).min_by(|&a, &b| distances[a].total_cmp(&distances[b]));
        best == Some(set.test.labels()[i] as usize)
    });
    let accuracy = right.count() as f32 / set.test.len() as f32;
    assert!(accuracy < 0.25, "{accuracy}");
}

/// Ten different pictures, twice: with `augment` and its mix, and the same without the mix.
fn mixed_and_plain(mix: Mix) -> Vec<(Batch, Batch)> {
    let pixels = (0..10 * 8 * 6 * 3).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let split = Arc::new(Split::new(pixels, (0..10).collect(), 8, 6).unwrap());
    let augment = Augment { crop_padding: 2, random_erasing: 0.5, ..Augment::default() };
    let cfg = BatchConfig { augment, ..BatchConfig::train(5, 3, 1) };
    let with_mix = BatchConfig { augment: Augment { mix, ..augment }, ..cfg.clone() };
    all(&split, PLAIN, &with_mix).into_iter().zip(all(&split, PLAIN, &cfg)).collect()
}

/// Each picture of a batch with its partner: the one before it, the first one with the last.
fn partners<T: Clone>(items: &[T]) -> impl Iterator<Item = (T, T)> {
    (0..items.len()).map(|i| (items[i].clone(), items[(i + items.len() - 1) % items.len()].clone()))
}

fn pictures(batch: &Batch) -> Vec<Vec<f32>> {
    (0..batch.labels.dim(0).unwrap()).map(|i| values(&batch.images.get(i).unwrap())).collect()
}

#[test]
fn a_mixed_batch_is_the_plain_one_and_its_partners() {
    let mut lambdas = Vec::new();
    for (batch, plain) in mixed_and_plain(Mix::MixUp { alpha: 1.0 }) {
        assert!(plain.mixed.is_none());
        let mixed = batch.mixed.as_ref().unwrap();
        let labels = |tensor: &Tensor| tensor.to_vec1::<u32>().unwrap();
        assert_eq!(labels(&batch.labels), labels(&plain.labels), "a mix moved the order");
        let expected: Vec<u32> = partners(&labels(&plain.labels)).map(|(_, partner)| partner).collect();
        assert_eq!(labels(&mixed.labels), expected);
        let lambda = mixed.lambda as f32;
        for (found, (own, partner)) in pictures(&batch).iter().zip(partners(&pictures(&plain))) {
            for ((x, a), b) in found.iter().zip(own).zip(partner) {
                assert!((x - (lambda * a + (1.0 - lambda) * b)).abs() < 1e-6);
            }
        }
        lambdas.push(mixed.lambda);
    }
    assert!(lambdas[0] != lambdas[1], "each step has its own lambda");
}

#[test]
fn a_cut_batch_has_lambda_of_its_own_pixels() {
    for (batch, plain) in mixed_and_plain(Mix::CutMix { alpha: 1.0 }) {
        let lambda = batch.mixed.as_ref().unwrap().lambda;
        let own = pictures(&plain);
        let different = partners(&own).any(|(a, b)| a != b);
        assert!(different && lambda > 0.0 && lambda <= 1.0, "{lambda}");
        // The same box in all: a value is the partner's where it is in any picture.
        let found = pictures(&batch);
        let pasted: Vec<bool> = (0..48).map(|at| (0..5).any(|i| found[i][at] != own[i][at])).collect();
        let share = pasted.iter().filter(|&&p| p).count() as f64 / 48.0;
        assert!((share - (1.0 - lambda)).abs() < 1e-9, "{share}, expected {}", 1.0 - lambda);
        for (found, (own, partner)) in found.iter().zip(partners(&own)) {
            for (at, x) in found.iter().enumerate() {
                assert_eq!(*x, if pasted[at % 48] { partner[at] } else { own[at] });
            }
        }
    }
}

#[test]
fn an_erased_area_is_the_mean_color() {
    let white = Arc::new(Split::new(vec![255; 400 * 32 * 32 * 3], vec![0; 400], 32, 32).unwrap());
    let norm = Normalization { mean: [0.5; 3], std: [0.25; 3] };
    let augment = Augment { random_erasing: 0.5, ..Augment::NONE };
    let cfg = BatchConfig { augment, ..BatchConfig::train(400, 0, 0) };
    let mut shares = Vec::new();
    for image in pictures(&all(&white, norm, &cfg)[0]) {
        assert!(image.iter().all(|&v| v == 0.0 || v == 2.0));
        shares.push(image.iter().filter(|&&v| v == 0.0).count() as f64 / image.len() as f64);
    }
    let erased: Vec<_> = shares.into_iter().filter(|&share| share > 0.0).collect();
    // Standard deviations 10 and 0.006.
    assert!((150..250).contains(&erased.len()), "{}", erased.len());
    let mean = erased.iter().sum::<f64>() / erased.len() as f64;
    assert!((mean - 0.174).abs() < 0.03, "{mean}");
}

#[test]
fn resized_batches_are_smaller_pictures_of_the_same() {
    let split = numbered(12);
    let cfg = BatchConfig { resize: Some((2, 3)), ..BatchConfig::train(4, 1, 1) };
    let (small, large) = (all(&split, PLAIN, &cfg), all(&split, PLAIN, &BatchConfig { resize: None, ..cfg.clone() }));
    for (small, large) in small.iter().zip(&large) {
        assert_eq!((small.images.dims(), small.images.stride()), (&[4, 3, 2, 3][..], &[18, 1, 9, 3][..]));
        assert_eq!(small.labels.to_vec1::<u32>().unwrap(), large.labels.to_vec1::<u32>().unwrap());
        let mean = |batch: &Batch| batch.images.mean_all().unwrap().to_scalar::<f32>().unwrap();
        assert!((mean(small) - mean(large)).abs() < 0.05, "{} {}", mean(small), mean(large));
    }
    // To their own size: the same bits.
    let own = BatchConfig { resize: Some((4, 5)), ..cfg };
    for (own, large) in all(&split, PLAIN, &own).iter().zip(&large) {
        assert_eq!(values(&own.images), values(&large.images));
    }
}
