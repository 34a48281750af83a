//! What a model gives, on any number of threads, images, and at every instruction set.

#[allow(dead_code, reason = "each test uses a part of it")]
mod common;

use common::{expected, network, values};
use mobilenet_runtime::{Level, Model, Session};

#[test]
fn agrees_with_the_definition_at_every_level() {
    for (h, w) in [(16, 16), (9, 13), (1, 1)] {
        let network = network(h, w);
        let image = values(h * w * 3, 7);
        let expected = expected(&network, &image);
        let size = expected.iter().fold(0f64, |size, value| size.max(value.abs()));
        for level in Level::available() {
            let mut session = Session::new(&Model::at(&network, level).unwrap(), 2).unwrap();
            let found = session.run(&image).unwrap();
            for (found, expected) in found.iter().zip(&expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-5 * size, "{h}×{w}, {level}: {found} {expected}");
            }
        }
    }
}

#[test]
fn neither_threads_nor_neighbors_change_a_bit() {
    let network = network(12, 10);
    let model = Model::new(&network).unwrap();
    let images = values(23 * 12 * 10 * 3, 5);
    let mut one = Session::new(&model, 1).unwrap();
    let each: Vec<f32> = images.chunks(360).flat_map(|image| one.run(image).unwrap().to_vec()).collect();
    for threads in [1, 2, 5] {
        let mut session = Session::new(&model, threads).unwrap();
        for n in [1, 2, 3, 9, 23, 4] {
            assert_eq!(session.run(&images[..n * 360]).unwrap(), &each[..n * 7], "{threads} threads, {n} images");
        }
        assert_eq!(session.run(&[]).unwrap(), [0f32; 0]);
    }
}

#[test]
fn a_model_is_shared_by_sessions_at_the_same_time() {
    let model = Model::new(&network(16, 16)).unwrap();
    let image = values(16 * 16 * 3, 3);
    let expected = Session::new(&model, 1).unwrap().run(&image).unwrap().to_vec();
    std::thread::scope(|scope| {
        for threads in [1, 2, 1, 3] {
            let (model, image, expected) = (&model, &image, &expected);
            scope.spawn(move || {
                let mut session = Session::new(model, threads).unwrap();
                (0..20).for_each(|_| assert_eq!(session.run(image).unwrap(), &expected[..]));
            });
        }
    });
}

#[test]
fn observed_results_are_those_of_the_run() {
    let network = network(16, 12);
    let image = values(16 * 12 * 3, 9);
    let expected = Session::new(&Model::new(&network).unwrap(), 1).unwrap().run(&image).unwrap().to_vec();
    let mut session = Session::new(&Model::observable(&network).unwrap(), 1).unwrap();
    let mut seen = Vec::new();
    let logits = session.observe(&image, &mut |operation, values| seen.push((operation, values.len()))).unwrap();
    for (found, expected) in logits.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    }
    let lengths: Vec<_> =
        network.shapes().unwrap()[1..].iter().enumerate().map(|(i, shape)| (i, shape.len())).collect();
    assert_eq!(seen, lengths);
}

#[test]
fn images_of_another_size_are_refused() {
    let mut session = Session::new(&Model::new(&network(16, 16)).unwrap(), 1).unwrap();
    let error = session.run(&[0.; 767]).unwrap_err().to_string();
    assert_eq!(error, "images: expected a multiple of 768 values, found 767");
    let error = session.classify(&[0; 11], 2, 2).unwrap_err().to_string();
    assert_eq!(error, "picture: expected 2 × 2 pixels of 3 values, at least one pixel, found 11 values");
    assert!(session.classify(&[], 0, 5).is_err() && session.classify(&[], usize::MAX, 2).is_err());
}

#[test]
fn pictures_of_any_size_are_classified() {
    let mut session = Session::new(&Model::new(&network(16, 16)).unwrap(), 1).unwrap();
    for (h, w) in [(16, 16), (1, 1), (100, 3), (40, 64)] {
        let picture: Vec<u8> = (0..h * w * 3).map(|i| (i * 37 % 256) as u8).collect();
        let classes = session.classify(&picture, h, w).unwrap();
        assert_eq!(classes.len(), 7);
        assert!(classes.is_sorted_by(|a, b| a.probability >= b.probability));
        assert!((classes.iter().map(|class| class.probability).sum::<f32>() - 1.).abs() < 1e-5);
    }
    // At its own size a picture is only normalized.
    let picture: Vec<u8> = (0..768).map(|i| (i % 251) as u8).collect();
    let best = session.classify(&picture, 16, 16).unwrap()[0].index;
    let (mean, std) = ([0.5, 0.4, 0.3], [0.2, 0.25, 0.3]);
    let image: Vec<f32> =
        picture.iter().enumerate().map(|(i, byte)| (f32::from(*byte) / 255. - mean[i % 3]) / std[i % 3]).collect();
    let logits = session.run(&image).unwrap();
    assert!(logits.iter().all(|logit| *logit <= logits[best]));
}
