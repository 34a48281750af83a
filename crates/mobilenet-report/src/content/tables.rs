//! The article's tables with our figures beside its own.

use crate::document::{Block, Cell, Section, Table};
use crate::gather::{Gathered, Model, Run};
use crate::names::Arch;
use crate::text::{duration, megabytes, millions, percent, significant, thousands};

/// What the article says about one network, in the units of the table.
struct Article {
    arch: Arch,
    params: &'static str,
    macs_at_32: &'static str,
    macs_at_224: &'static str,
    train: &'static str,
    test: &'static str,
    epoch: &'static str,
    latency: &'static str,
    memory: &'static str,
}

#[rustfmt::skip]
const ARTICLE: [Article; 2] = [
    Article { arch: Arch::V2,      params: "2.23", macs_at_32: "91.4",  macs_at_224: "300", train: "96.2%", test: "90.1%", epoch: "45", latency: "12.4", memory: "125" },
    Article { arch: Arch::V3Large, params: "3.87", macs_at_32: "123.6", macs_at_224: "219", train: "97.5%", test: "92.3%", epoch: "52", latency: "15.2", memory: "158" },
];

/// Mean, and spread where there are several seeds.
pub fn over_seeds(model: &Model, figure: impl Fn(&Run) -> f64 + Copy) -> String {
    let mean = percent(model.mean(figure));
    if model.runs.len() < 2 {
        return mean;
    }
    format!("{mean} ± {:.1}", 100.0 * model.deviation(figure))
}

/// The article's own table, and everything measured in detail under it.
pub fn section(gathered: &Gathered) -> Section {
    let images = thousands(gathered.sizes().train);
    let imagenet_macs = |m: &Model| {
        let counts = gathered.counts(m.network)?;
        Some(millions(counts.imagenet.as_ref()?.macs))
    };
    let mut head = vec![String::new()];
    let mut rows: Vec<Vec<Cell>> = [
        "Parameters (M)",
        "Multiply-adds at 32×32 (M)",
        "Multiply-adds at 224×224 (M)",
        "Training accuracy",
        "Test accuracy",
        &format!("Seconds per epoch of {images} images"),
        "Seconds per 50,000 images",
        "Latency, batch 1 (ms)",
        "Memory, inference (MB)",
        "Memory, training (MB)",
    ]
    .iter()
    .map(|name| vec![(*name).into()])
    .collect();
    let mut column = |title: String, cells: [String; 10]| {
        head.push(title);
        for (row, cell) in rows.iter_mut().zip(cells) {
            row.push(cell.into());
        }
    };
    let none = || "–".to_owned();
    for model in gathered.few() {
        if let Some(article) = ARTICLE.iter().find(|a| model.network == a.arch.into()) {
            let says = [article.params, article.macs_at_32, article.macs_at_224, article.train, article.test];
            let [params, at_32, at_224, train, test] = says.map(str::to_owned);
            column(
                format!("{}, article", model.network.short()),
                [
                    params,
                    at_32,
                    at_224,
                    train,
                    test,
                    none(),
                    article.epoch.into(),
                    article.latency.into(),
                    article.memory.into(),
                    none(),
                ],
            );
        }
        let memory = model.bench.as_ref().and_then(|b| b.peak_rss_bytes);
        column(
            format!("**{}, here**", model.network.short()),
            [
                millions(model.params),
                millions(model.macs),
                imagenet_macs(model).unwrap_or_else(none),
                over_seeds(model, |run| run.eval.train_top1),
                over_seeds(model, |run| run.eval.test_top1),
                significant(model.mean(Run::seconds_per_epoch)),
                significant(50_000.0 / model.training_speed()),
                model.latency().map_or_else(none, significant),
                memory.map_or_else(none, megabytes),
                model.training_memory().map_or_else(none, megabytes),
            ],
        );
    }
    let latency = match gathered.models.iter().map(|model| model.rounds.len()).max() {
        Some(rounds @ 2..) => format!("a median, the middle one of {rounds} rounds in which the networks took turns"),
        _ => "the median".to_owned(),
    };
    let alike = gathered.models.iter().flat_map(|model| &model.runs).all(Run::has_equal_epochs);
    let epoch = if alike { "the median epoch's" } else { "means, of epochs with images of several sizes" };
    let remark = format!(
        "The article timed training on a machine it does not name, and latency and memory on a Jetson Nano: these columns compare only in their ratio. \
        Training accuracy here is that of the finished network on plain training images, at most 10,000. Seconds per epoch are {epoch}, without evaluation. Latency is {latency}; memory the peak of the whole process."
    );
    let spread = if gathered.models.iter().any(|model| model.runs.len() > 1) {
        " ± is one standard deviation over the seeds."
    } else {
        ""
    };
    let mut detail = vec![runs_table(gathered)];
    detail.extend(bench_tables(gathered));
    Section {
        title: "The article's tables, filled".to_owned(),
        blocks: vec![
            Block::Table(Table { head, numeric: true, rows }),
            Block::Text(format!("{remark}{spread}")),
            Block::Details("Each run, latency in detail, throughput by batch size".to_owned(), detail),
        ],
    }
}

fn runs_table(gathered: &Gathered) -> Block {
    let head = [
        "Run",
        "Epochs",
        "Test top-1",
        "Test top-5",
        "Test loss",
        "Train top-1",
        "Time",
        "Images/s",
        "Memory (MB)",
        "Weights",
    ];
    let rows = gathered
        .models
        .iter()
        .flat_map(|model| &model.runs)
        .map(|run| {
            let (eval, record) = (&run.eval, &run.record);
            [
                run.name.clone(),
                record.epochs.to_string(),
                percent(eval.test_top1),
                percent(eval.test_top5),
                format!("{:.3}", eval.test_loss),
                format!("{} of {}", percent(eval.train_top1), thousands(eval.train_images)),
                duration(record.seconds),
                significant(run.images_per_second()),
                record.peak_rss_bytes.map_or("–".to_owned(), megabytes),
                record.weights.clone(),
            ]
            .map(Cell::from)
            .into()
        })
        .collect();
    Block::Table(Table { head: head.map(str::to_owned).into(), numeric: true, rows })
}

fn bench_tables(gathered: &Gathered) -> Vec<Block> {
    let benches = || gathered.models.iter().filter_map(|m| Some((m, m.bench.as_ref()?)));
    let head = [
        "Latency (ms)",
        "Batch",
        "p50",
        "p90",
        "p99",
        "Mean",
        "Std. dev.",
        "Timed after warm-up",
        "p50 of each round",
        "Threads",
    ];
    let rows: Vec<Vec<Cell>> = benches()
        .map(|(model, bench)| {
            let ms = &bench.latency_ms;
            let mut row: Vec<Cell> = vec![model.network.label().into(), bench.batch.to_string().into()];
            row.extend([ms.p50, ms.p90, ms.p99, ms.mean, ms.std].map(|v| significant(v).into()));
            row.push(format!("{} after {}", bench.iterations, bench.warmup).into());
            row.push(model.rounds.iter().map(|&ms| significant(ms)).collect::<Vec<_>>().join(", ").into());
            row.push(bench.threads.map_or("–".to_owned(), |n| n.to_string()).into());
            row
        })
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let mut blocks = vec![Block::Table(Table { head: head.map(str::to_owned).into(), numeric: true, rows })];
    let mut batches: Vec<usize> = benches().flat_map(|(_, b)| b.throughput.iter().map(|t| t.batch)).collect();
    batches.sort_unstable();
    batches.dedup();
    if batches.is_empty() {
        return blocks;
    }
    let mut head = vec!["Images per second".to_owned()];
    head.extend(batches.iter().map(|batch| format!("batch {batch}")));
    head.push("training steps".to_owned());
    let rows = gathered
        .models
        .iter()
        .map(|model| {
            let mut row: Vec<Cell> = vec![model.network.label().into()];
            for batch in &batches {
                let found = model.bench.iter().flat_map(|b| &b.throughput).find(|t| t.batch == *batch);
                row.push(found.map_or("–".to_owned(), |t| significant(t.images_per_second)).into());
            }
            let training = model.training_bench.as_ref();
            row.push(
                training
                    .map_or("–".to_owned(), |b| format!("{} (batch {})", significant(b.images_per_second), b.batch))
                    .into(),
            );
            row
        })
        .collect();
    blocks.push(Block::Table(Table { head, numeric: true, rows }));
    blocks
}
