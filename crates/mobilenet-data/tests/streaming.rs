//! Pictures that are decoded when they are needed: the same batches as from memory, in bounded memory.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use common::{Table, encoded, picture, write};
use image::{ImageFormat, Rgb, RgbImage};
use mobilenet_data::{
    Augment, BatchConfig, ColorJitter, Dataset, Error, LoadOptions, Mix, Normalization, Policy, ReadOptions,
    ResizedCrop, Split, batches, decode_image, load, load_image_cropped,
};
use tempfile::tempdir;

const SIZE: usize = 16;

/// 14 pictures of two classes to train on, 6 to test with, of many sizes and two formats.
fn folder(dir: &Path) {
    for (part, n) in [("train", 7), ("test", 3)] {
        for (class, offset) in [("cat", 0), ("dog", 50)] {
            for i in 0..n {
                let image = picture(i + offset, 20 + 7 * i as u32, 45 - 3 * i as u32);
                let (format, ending) = if i % 2 == 0 { (ImageFormat::Png, "png") } else { (ImageFormat::Jpeg, "jpg") };
                write(&dir.join(format!("{part}/{class}/{i}.{ending}")), encoded(&image, format));
            }
        }
    }
}

fn read(dir: &Path, picture_cache: u64) -> Dataset {
    read_as(dir, picture_cache, ReadOptions::default()).unwrap()
}

/// Temporary files may be in the folder `cache` beside the data.
fn read_as(dir: &Path, picture_cache: u64, read: ReadOptions) -> Result<Dataset, Error> {
    let cache_dir = Some(dir.with_file_name("cache"));
    let data_dir = Some(dir.into());
    let options = LoadOptions { data_dir, cache_dir, image_size: SIZE, picture_cache, read, ..Default::default() };
    load(&options, &mut |_| {})
}

/// Pixels and labels of every batch.
fn contents(split: &Arc<Split>, norm: Normalization, cfg: &BatchConfig) -> Vec<(Vec<f32>, Vec<u32>)> {
    let batch = |batch: Result<mobilenet_data::Batch, Error>| {
        let batch = batch.unwrap();
        (batch.images.flatten_all().unwrap().to_vec1().unwrap(), batch.labels.to_vec1().unwrap())
    };
    batches(Arc::clone(split), norm, cfg, &Device::Cpu).map(batch).collect()
}

/// Every kind of way from a picture to a batch.
fn ways() -> Vec<BatchConfig> {
    let train = BatchConfig { drop_last: false, ..BatchConfig::train(4, 3, 2) };
    let parts = Augment {
        resized_crop: Some(ResizedCrop { scale: (0.1, 0.6), ..ResizedCrop::default() }),
        policy: Policy::TrivialAugmentWide,
        color_jitter: Some(ColorJitter { hue: 0.1, ..ColorJitter::default() }),
        random_erasing: 0.5,
        mix: Mix::CutMix { alpha: 1.0 },
        ..Augment::default()
    };
    vec![
        BatchConfig::eval(5),
        train.clone(),
        BatchConfig { augment: parts, ..train.clone() },
        BatchConfig { augment: parts, resize: Some((10, 12)), ..train.clone() },
        BatchConfig { resize: Some((10, 10)), batch_size: 3, ..train.clone() },
        BatchConfig { balanced: true, batch_size: 14, ..train },
    ]
}

/// The set in memory and the one that is not are the same in all that can be seen of them.
fn assert_same(kept: Dataset, streamed: Dataset) {
    assert!(kept.train.pixels().is_some() && kept.test.pixels().is_some(), "{:?}", kept.notes);
    assert!(streamed.train.pixels().is_none() && streamed.test.pixels().is_none());
    assert_eq!(
        (&kept.copy, &kept.classes, kept.mean, kept.std),
        (&streamed.copy, &streamed.classes, streamed.mean, streamed.std)
    );
    let normalization = kept.normalization();
    assert_eq!(Normalization::of(&streamed.train).unwrap(), normalization);
    for (kept, streamed) in [(kept.train, streamed.train), (kept.test, streamed.test)] {
        assert_eq!((&kept, kept.fingerprint()), (&streamed, streamed.fingerprint()));
        for i in 0..kept.len() {
            assert_eq!(kept.image(i).unwrap(), &*streamed.picture(i).unwrap(), "{i}");
            assert_eq!(streamed.image(i), None);
        }
        assert!(streamed.picture(kept.len()).is_err() && kept.picture(kept.len()).is_err());
        assert_eq!(streamed.clone().into_memory().unwrap().pixels(), kept.pixels());
        assert_eq!(streamed.clone().take(3).into_memory().unwrap().pixels(), kept.clone().take(3).pixels());
        let (rest, held_out) = streamed.clone().split_off_validation(1, 9).unwrap();
        assert_eq!((rest, held_out), kept.clone().split_off_validation(1, 9).unwrap());
        let (kept, streamed) = (Arc::new(kept), Arc::new(streamed));
        for cfg in ways() {
            let expected = contents(&kept, normalization, &cfg);
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let found = pool.install(|| contents(&streamed, normalization, &cfg));
                assert!(found == expected, "{threads} threads, {cfg:?}");
            }
            let skip = 1.min(expected.len());
            let rest = contents(&streamed, normalization, &BatchConfig { skip, ..cfg.clone() });
            assert!(rest == expected[skip..], "without the first, {cfg:?}");
        }
    }
}

#[test]
fn a_folder_gives_the_same_batches_from_memory_and_from_its_files() {
    let dir = tempdir().unwrap();
    let set = dir.path().join("set");
    folder(&set);
    // 20 pictures of 768 bytes.
    let (kept, streamed) = (read(&set, 20 * 768), read(&set, 20 * 768 - 1));
    assert_eq!(kept.notes, Vec::<String>::new());
    assert_eq!(
        streamed.notes,
        ["pictures are decoded as they are needed: 20 of 16x16 would take 15.4 kB, the picture cache has 15.4 kB"]
    );
    assert_same(kept, streamed);
    assert!(!dir.path().join("cache").exists());

    // As Resize and CenterCrop, and from a list.
    let options = ReadOptions { crop_share: Some(0.8), ..ReadOptions::default() };
    let streamed = read_as(&set, 0, options.clone()).unwrap();
    let first = load_image_cropped(set.join("test/cat/0.png"), 20, SIZE).unwrap();
    assert!((0..6).any(|i| *streamed.test.picture(i).unwrap() == first));
    assert_same(read_as(&set, u64::MAX, options).unwrap(), streamed);
    let rows = (0..7).map(|i| format!("train/cat/{i}.{},{}\n", if i % 2 == 0 { "png" } else { "jpg" }, i % 2));
    write(&dir.path().join("list.csv"), "file,label\n".to_owned() + &rows.collect::<String>());
    fs::rename(&set, dir.path().join("moved")).unwrap();
    fs::rename(dir.path().join("list.csv"), dir.path().join("moved/list.csv")).unwrap();
    let list = dir.path().join("moved/list.csv");
    assert_same(read(&list, u64::MAX), read(&list, 0));
}

#[test]
fn parquet_gives_the_same_batches_from_memory_and_from_a_temporary_file() {
    let png = |i: usize| encoded(&picture(i, 20 + 3 * i as u32, 40), ImageFormat::Png);
    let rows = (0..20).map(|i| (Some(png(i)), (i % 3) as i64)).collect();
    let table = Table { rows, image: "image", ..Table::cifar10(Vec::new()) };
    for parts in [&["train", "test"][..], &["train"]] {
        let dir = tempdir().unwrap();
        let set = dir.path().join("set");
        for part in parts {
            fs::create_dir_all(&set).unwrap();
            table.write(&set.join(format!("{part}.parquet")));
        }
        let kept = read(&set, u64::MAX);
        assert!(!dir.path().join("cache").exists(), "a temporary file although all fits");
        let streamed = read(&set, 1000);
        let note = streamed.notes.last().unwrap();
        assert!(note.contains("the picture cache has 1.0 kB, from a temporary file of "), "{note}");
        assert_same(kept, streamed);
        assert_eq!(fs::read_dir(dir.path().join("cache")).unwrap().count(), 0, "something is left");
    }
}

#[test]
fn a_part_is_drawn_from_the_picture_at_its_full_size() {
    let dir = tempdir().unwrap();
    // Stripes that are gray once the whole is scaled, but not a sixteenth of it.
    let stripes = RgbImage::from_fn(128, 128, |x, _| Rgb([if x / 4 % 2 == 0 { 0 } else { 255 }; 3]));
    for name in ["train/a/0.png", "train/b/0.png", "test/a/0.png"] {
        write(&dir.path().join(name), encoded(&stripes, ImageFormat::Png));
    }
    let range = |values: &[f32]| values.iter().fold((1.0f32, 0.0f32), |(low, high), &x| (low.min(x), high.max(x)));
    for cache in [u64::MAX, 0] {
        let train = Arc::new(read(dir.path(), cache).train);
        let norm = Normalization { mean: [0.0; 3], std: [1.0; 3] };
        let whole = contents(&train, norm, &BatchConfig::eval(2));
        let (low, high) = range(&whole[0].0);
        assert!(low > 0.3 && high < 0.7, "{low} {high}");
        let crop = ResizedCrop { scale: (0.0625, 0.0625), ..ResizedCrop::default() };
        let augment = Augment { resized_crop: Some(crop), ..Augment::default() };
        let parts = contents(&train, norm, &BatchConfig { augment, ..BatchConfig::train(2, 1, 1) });
        let (low, high) = range(&parts[0].0);
        assert!(low < 0.1 && high > 0.9, "{low} {high}");
    }
}

#[test]
fn what_changes_after_it_was_read_is_an_error_that_names_it() {
    let dir = tempdir().unwrap();
    folder(dir.path());
    let set = read(dir.path(), 0);
    let (norm, test) = (set.normalization(), Arc::new(set.test));
    fs::remove_file(dir.path().join("test/dog/1.jpg")).unwrap();
    let mut found = batches(Arc::clone(&test), norm, &BatchConfig::eval(1), &Device::Cpu);
    let error = found.find_map(Result::err).unwrap().to_string();
    assert!(error.contains("test/dog/1.jpg: ") && !error.contains('\n'), "{error}");
    assert!(found.next().is_none());
    drop(found);
    fs::write(dir.path().join("test/dog/1.jpg"), "no picture").unwrap();
    let error = batches(Arc::clone(&test), norm, &BatchConfig::eval(6), &Device::Cpu).next().unwrap().unwrap_err();
    assert!(matches!(&error, Error::NotAPicture { .. }), "{error}");
    assert!(error.to_string().contains("test/dog/1.jpg: not a picture"), "{error}");
    assert!(Split::clone(&test).into_memory().is_err());
}

#[test]
fn broken_pictures_are_found_by_the_first_reading() {
    let dir = tempdir().unwrap();
    folder(dir.path());
    let jpeg = encoded(&picture(0, 64, 64), ImageFormat::Jpeg);
    for (name, bytes) in [("train/cat/cut.jpg", &jpeg[..jpeg.len() / 2]), ("test/dog/text.png", b"no picture")] {
        write(&dir.path().join(name), bytes);
    }
    let listed = |cache| match read_as(dir.path(), cache, ReadOptions::default()).unwrap_err() {
        Error::BrokenPictures { broken, total } => (broken.iter().map(ToString::to_string).collect::<Vec<_>>(), total),
        error => panic!("{error}"),
    };
    assert_eq!(listed(0), listed(u64::MAX));
    assert_eq!((listed(0).0.len(), listed(0).1), (2, 22));
    let skipping = || ReadOptions { skip_broken: true, ..ReadOptions::default() };
    let (kept, streamed) =
        (read_as(dir.path(), u64::MAX, skipping()).unwrap(), read_as(dir.path(), 0, skipping()).unwrap());
    assert_eq!((streamed.left_out, streamed.train.len(), streamed.test.len()), (2, 14, 6));
    assert_same(kept, streamed);
}

#[test]
fn dropping_the_iterator_ends_its_threads() {
    let dir = tempdir().unwrap();
    folder(dir.path());
    let set = read(dir.path(), 0);
    let (norm, train) = (set.normalization(), Arc::new(set.train));
    for taken in [0, 1, 3] {
        let mut batches = batches(Arc::clone(&train), norm, &BatchConfig::train(2, 1, 1), &Device::Cpu);
        for _ in 0..taken {
            batches.next().unwrap().unwrap();
        }
        drop(batches);
        assert_eq!(Arc::strong_count(&train), 1, "after {taken} batches");
    }
}

#[test]
fn what_is_drawn_or_cifar_is_kept_whatever_the_bound() {
    let dir = tempdir().unwrap();
    let pictures: Vec<Vec<u8>> = (0..3).map(|i| encoded(&picture(i, 32, 32), ImageFormat::Png)).collect();
    for part in ["train", "test"] {
        Table::cifar10(pictures.clone()).write(&dir.path().join(format!("{part}.parquet")));
    }
    let options = LoadOptions {
        source: mobilenet_data::Source::Cifar10,
        data_dir: Some(dir.path().into()),
        picture_cache: 0,
        ..LoadOptions::default()
    };
    let set = load(&options, &mut |_| {}).unwrap();
    assert_eq!(set.train.image(2).unwrap(), decode_image(&pictures[2], 32).unwrap());
}
