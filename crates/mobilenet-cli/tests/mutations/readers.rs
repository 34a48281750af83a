//! Every reader with its files.

use std::fs;
use std::path::Path;
use std::process::Command;

use image::ImageFormat;
use mobilenet_models::weights;
use mobilenet_schema::{
    Artefact, Bench, ComparisonPlan, DataInfo, EpochMetrics, Eval, Results, RooflineRecord, RunConfig, RunsResults,
    SetEval, ShippedBench, ShippedEval, Summary, TrainRecord,
};
use parquet::basic::Compression as Codec;

use super::{BOUND, Subject, inputs, read};

/// The most memory for a picture of a few hundred bytes: of the formats that can say much in few, a byte stands for up
/// to 65,536 pixels, which are kept as they are decoded and once more as RGB.
const PICTURE_BOUND: usize = 512 << 20;

/// Writes a file that others name.
fn beside(path: &Path, name: &str, bytes: impl Fn() -> Vec<u8>) {
    let path = path.with_file_name(name);
    if !path.exists() {
        fs::write(path, bytes()).unwrap();
    }
}

#[test]
fn pictures() {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
    let names = ["x.png", "x.jpg", "x.gif", "x.bmp", "x.tiff", "x.webp", "x.ppm"];
    let image = inputs::picture(6);
    let files = names.into_iter().zip([Png, Jpeg, Gif, Bmp, Tiff, WebP, Pnm].map(|f| inputs::encoded(&image, f)));
    let files = files.collect();
    Subject { name: "pictures", files, rounds: 1_500, bound: PICTURE_BOUND, read: &mut read::picture }.check();
}

#[test]
fn parquet() {
    let codecs = [Codec::UNCOMPRESSED, Codec::SNAPPY, Codec::GZIP(Default::default())];
    let names = ["plain.parquet", "snappy.parquet", "gzip.parquet"];
    let files = names.into_iter().zip(codecs.map(inputs::parquet)).collect();
    Subject { name: "parquet", files, rounds: 1_500, bound: PICTURE_BOUND, read: &mut read::set }.check();
}

#[test]
fn cifar() {
    let mut binary = |path: &Path| read::cifar(path, ["data_batch_1.bin", "test_batch.bin"]);
    let files = vec![("batch.bin", inputs::cifar_records(2))];
    Subject { name: "cifar-binary", files, rounds: 500, bound: BOUND, read: &mut binary }.check();

    let mut python = |path: &Path| read::cifar(path, ["data_batch_1", "test_batch"]);
    let files = vec![("batch", inputs::cifar_pickle())];
    Subject { name: "cifar-pickle", files, rounds: 3_000, bound: BOUND, read: &mut python }.check();

    let files = vec![("cifar.tar.gz", inputs::cifar_archive())];
    Subject { name: "cifar-archive", files, rounds: 1_000, bound: BOUND, read: &mut read::set }.check();
}

#[test]
fn lists_of_pictures() {
    let mut list = |path: &Path| {
        beside(path, "x.png", || inputs::encoded(&inputs::picture(5), ImageFormat::Png));
        read::set(path)
    };
    let csv = ["file_name,label\n", &"x.png,cat\nx.png,dog\nx.png,\"d,og\"\n".repeat(4)].concat().into_bytes();
    let json = "{\"file_name\": \"x.png\", \"label\": 1}\n{\"file_name\": \"x.png\", \"label\": 0}\n".repeat(5);
    let files = vec![("list.csv", csv), ("metadata.jsonl", json.into_bytes())];
    Subject { name: "lists", files, rounds: 800, bound: BOUND, read: &mut list }.check();
}

#[test]
fn files_of_weights() {
    let vars = read::variables();
    let mut any = |path: &Path| {
        beside(path, "part.safetensors", inputs::safetensors);
        read::weights_of(&vars, path)
    };
    let files = vec![
        ("x.safetensors", inputs::safetensors()),
        ("x.safetensors.index.json", inputs::index()),
        ("zip.pth", inputs::torch_zip()),
        ("legacy.pth", inputs::torch_legacy()),
    ];
    Subject { name: "weights", files, rounds: 400, bound: BOUND, read: &mut any }.check();

    // Weights that fit: numbers are read, too.
    let folder = tempfile::tempdir().unwrap();
    weights::save(&vars, folder.path().join("x")).unwrap();
    let files = vec![("fits.safetensors", fs::read(folder.path().join("x")).unwrap())];
    let mut fitting = |path: &Path| read::weights_of(&vars, path);
    Subject { name: "weights-that-fit", files, rounds: 150, bound: BOUND, read: &mut fitting }.check();
}

#[test]
fn checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    assert!(read::training(folder.path(), false));
    let files = vec![("checkpoint.safetensors", fs::read(folder.path().join("checkpoint.safetensors")).unwrap())];
    let mut resumed = |path: &Path| path.parent().is_some_and(|folder| read::training(folder, true));
    Subject { name: "checkpoint", files, rounds: 600, bound: BOUND, read: &mut resumed }.check();
}

#[test]
fn what_a_run_leaves() {
    let place = tempfile::tempdir().unwrap();
    let run = |line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mobilenet"));
        command.args(line.split(' ')).current_dir(place.path()).env("XDG_CACHE_HOME", place.path());
        let output = command.env("HF_HUB_OFFLINE", "1").output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    fs::create_dir(place.path().join("data")).unwrap();
    for name in ["data_batch_1.bin", "test_batch.bin"] {
        fs::write(place.path().join("data").join(name), inputs::cifar_records(10)).unwrap();
    }
    run("train --model v3-small --width 0.1 --data-dir data --epochs 1 --batch-size 5 --out run");
    run("eval --run run");
    run("report run");
    run("export --run run --out run.safetensors");
    run("export --run run --out bf16.safetensors --bf16");
    let of = |name: &str| fs::read(place.path().join("run").join(name)).unwrap();

    let models = [("model.safetensors", "run.safetensors"), ("model-bf16.safetensors", "bf16.safetensors")];
    let files = models.map(|(name, file)| (name, fs::read(place.path().join(file)).unwrap())).into();
    Subject { name: "model-file", files, rounds: 300, bound: BOUND, read: &mut read::model_file }.check();

    fn artefact<T: Artefact>(name: &'static str, bytes: Vec<u8>) {
        let files = vec![(name, bytes)];
        Subject { name: "artefacts", files, rounds: 600, bound: BOUND, read: &mut read::artefact::<T> }.check();
    }
    artefact::<RunConfig>("config.json", of("config.json"));
    artefact::<EpochMetrics>("metrics.jsonl", of("metrics.jsonl").repeat(3));
    artefact::<TrainRecord>("train.json", of("train.json"));
    artefact::<Eval>("eval.json", of("eval.json"));
    artefact::<RunsResults>("runs-results.json", of("results.json"));
    artefact::<DataInfo>("data.json", run("data --data-dir data --images 0 --json"));
    artefact::<SetEval>("set.json", run("eval --run run --data-dir data --limit-test 5 --json"));
    artefact::<Summary>("summary.json", run("summary --model v3-small --json"));
    artefact::<Bench>(
        "bench.json",
        run("bench --model v3-small --width 0.1 --warmup 1 --iterations 2 --batch 2 --json"),
    );
    artefact::<RooflineRecord>("roofline.json", roofline());
    artefact::<ShippedEval>("shipped-eval.json", run("eval --model-file run.safetensors --data-dir data --json"));
    let bench = run("bench --model-file run.safetensors --warmup 1 --iterations 2 --json");
    artefact::<ShippedBench>("shipped-bench.json", bench);
    let committed = |name: &str| {
        let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runs/2026-11-25-amd-epyc-zen4-ladder");
        fs::read(runs.join(name)).unwrap()
    };
    artefact::<ComparisonPlan>("plan.json", committed("plan.json"));
    artefact::<Results>("results.json", committed("results.json"));
}

/// A measured roofline takes seconds: one made up.
fn roofline() -> Vec<u8> {
    br#"{"threads": 2, "instruction_set": "avx2", "peak_gflop_per_second": 100.0,
        "bandwidths": [{"level": "memory", "buffer_bytes": 1000, "gb_per_second": 10.0}]}"#
        .to_vec()
}
