//! The article's tables with our figures beside its own.

use mobilenet_arch::Arch;
use mobilenet_schema::Bench;

use crate::document::{Block, Cell, Column, Inline, Section, Table, rich};
use crate::gather::{Gathered, Model, Run};
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

const ARTICLE: [Article; 2] = [
    Article {
        arch: Arch::V2,
        params: "2.23",
        macs_at_32: "91.4",
        macs_at_224: "300",
        train: "96.2%",
        test: "90.1%",
        epoch: "45",
        latency: "12.4",
        memory: "125",
    },
    Article {
        arch: Arch::V3Large,
        params: "3.87",
        macs_at_32: "123.6",
        macs_at_224: "219",
        train: "97.5%",
        test: "92.3%",
        epoch: "52",
        latency: "15.2",
        memory: "158",
    },
];

/// Mean, and spread where there are several seeds.
pub fn over_seeds(model: &Model, figure: impl Fn(&Run) -> f64 + Copy) -> String {
    let mean = percent(model.mean(figure));
    if model.runs.len() < 2 {
        return mean;
    }
    format!("{mean} ± {:.1}", 100.0 * model.deviation(figure))
}

/// A figure of the article's table: what it is called, what the article says and what was found here.
struct Metric {
    label: fn(&Gathered) -> String,
    article: fn(&Article) -> Option<&'static str>,
    value: fn(&Gathered, &Model) -> Option<String>,
}

const METRICS: [Metric; 10] = [
    Metric {
        label: |_| "Parameters (M)".to_owned(),
        article: |article| Some(article.params),
        value: |_, model| Some(millions(model.params)),
    },
    Metric {
        label: |_| "Multiply-adds at 32×32 (M)".to_owned(),
        article: |article| Some(article.macs_at_32),
        value: |_, model| Some(millions(model.macs)),
    },
    Metric {
        label: |_| "Multiply-adds at 224×224 (M)".to_owned(),
        article: |article| Some(article.macs_at_224),
        value: |gathered, model| Some(millions(gathered.counts(model.network())?.imagenet.as_ref()?.macs)),
    },
    Metric {
        label: |_| "Training accuracy".to_owned(),
        article: |article| Some(article.train),
        value: |_, model| Some(over_seeds(model, |run| run.eval.train_top1)),
    },
    Metric {
        label: |_| "Test accuracy".to_owned(),
        article: |article| Some(article.test),
        value: |_, model| Some(over_seeds(model, |run| run.eval.test_top1)),
    },
    Metric {
        label: |gathered| format!("Seconds per epoch of {} images", thousands(gathered.sizes().train)),
        article: |_| None,
        value: |_, model| Some(significant(model.mean(Run::seconds_per_epoch))),
    },
    Metric {
        label: |_| "Seconds per 50,000 images".to_owned(),
        article: |article| Some(article.epoch),
        value: |_, model| Some(significant(50_000.0 / model.training_speed())),
    },
    Metric {
        label: |_| "Latency, batch 1 (ms)".to_owned(),
        article: |article| Some(article.latency),
        value: |_, model| model.latency().map(significant),
    },
    Metric {
        label: |_| "Memory, inference (MB)".to_owned(),
        article: |article| Some(article.memory),
        value: |_, model| model.bench.as_ref()?.peak_rss_bytes.map(megabytes),
    },
    Metric {
        label: |_| "Memory, training (MB)".to_owned(),
        article: |_| None,
        value: |_, model| model.training_memory().map(megabytes),
    },
];

/// The article's own table, and everything measured in detail under it.
pub fn section(gathered: &Gathered) -> Section {
    let none = || "–".to_owned();
    let columns: Vec<(&Model, Option<&Article>)> = gathered
        .few()
        .into_iter()
        .map(|model| (model, ARTICLE.iter().find(|article| model.network() == article.arch.into())))
        .collect();
    let mut head = vec![Inline::default()];
    for (model, article) in &columns {
        head.extend(article.map(|_| format!("{}, article", model.network().short()).into()));
        head.push(rich!("**{}, here**", model.network().short()));
    }
    let rows = METRICS
        .iter()
        .map(|metric| {
            let mut row: Vec<Cell> = vec![(metric.label)(gathered).into()];
            for (model, article) in &columns {
                row.extend(article.map(|article| (metric.article)(article).unwrap_or("–").into()));
                row.push((metric.value)(gathered, model).unwrap_or_else(none).into());
            }
            row
        })
        .collect();
    let latency = match gathered.models.iter().map(|model| model.rounds.len()).max() {
        Some(rounds @ 2..) => format!("a median, the middle one of {rounds} rounds in which the networks took turns"),
        _ => "the median".to_owned(),
    };
    let alike = gathered.models.iter().flat_map(|model| &model.runs).all(Run::has_equal_epochs);
    let epoch = if alike { "the median epoch's" } else { "means, of epochs with images of several sizes" };
    let remark = format!(
        "The article timed training on a machine it does not name, and latency and memory on a Jetson Nano: these \
         columns compare only in their ratio. \
        Training accuracy here is that of the finished network on plain training images, at most 10,000. Seconds per \
        epoch are {epoch}, without evaluation. Latency is {latency}; memory the peak of the whole process."
    );
    let spread = if gathered.models.iter().any(|model| model.runs.len() > 1) {
        " ± is one standard deviation over the seeds."
    } else {
        ""
    };
    let mut detail = vec![runs_table(&gathered.models)];
    detail.extend(bench_tables(gathered));
    Section {
        title: "The article's tables, filled".into(),
        blocks: vec![
            Block::Table(Table { head, numeric: true, rows }),
            Block::Text(format!("{remark}{spread}").into()),
            Block::Details("Each run, latency in detail, throughput by batch size".into(), detail),
        ],
    }
}

/// A row for each run.
pub fn runs_table(models: &[Model]) -> Block {
    let columns: [Column<'_, &Run>; 10] = [
        ("Run", &|run| run.name.clone()),
        ("Epochs", &|run| run.record.epochs.to_string()),
        ("Test top-1", &|run| percent(run.eval.test_top1)),
        ("Test top-5", &|run| percent(run.eval.test_top5)),
        ("Test loss", &|run| format!("{:.3}", run.eval.test_loss)),
        ("Train top-1", &|run| format!("{} of {}", percent(run.eval.train_top1), thousands(run.eval.train_images))),
        ("Time", &|run| duration(run.record.seconds)),
        ("Images/s", &|run| significant(run.images_per_second())),
        ("Memory (MB)", &|run| run.record.peak_rss_bytes.map_or("–".to_owned(), megabytes)),
        ("Weights", &|run| run.record.weights.clone()),
    ];
    Block::Table(Table::of(models.iter().flat_map(|model| &model.runs), &columns))
}

fn bench_tables(gathered: &Gathered) -> Vec<Block> {
    let benches = || gathered.models.iter().filter_map(|m| Some((m, m.bench.as_ref()?)));
    if benches().next().is_none() {
        return Vec::new();
    }
    let columns: [Column<'_, (&Model, &Bench)>; 10] = [
        ("Latency (ms)", &|(model, _)| model.network().label()),
        ("Batch", &|(_, bench)| bench.batch.to_string()),
        ("p50", &|(_, bench)| significant(bench.latency_ms.p50)),
        ("p90", &|(_, bench)| significant(bench.latency_ms.p90)),
        ("p99", &|(_, bench)| significant(bench.latency_ms.p99)),
        ("Mean", &|(_, bench)| significant(bench.latency_ms.mean)),
        ("Std. dev.", &|(_, bench)| significant(bench.latency_ms.std)),
        ("Timed after warm-up", &|(_, bench)| format!("{} after {}", bench.iterations, bench.warmup)),
        ("p50 of each round", &|(model, _)| {
            model.rounds.iter().map(|&ms| significant(ms)).collect::<Vec<_>>().join(", ")
        }),
        ("Threads", &|(_, bench)| bench.threads.map_or("–".to_owned(), |n| n.to_string())),
    ];
    let mut blocks = vec![Block::Table(Table::of(benches(), &columns))];
    let mut batches: Vec<usize> = benches().flat_map(|(_, b)| b.throughput.iter().map(|t| t.batch)).collect();
    batches.sort_unstable();
    batches.dedup();
    if batches.is_empty() {
        return blocks;
    }
    let mut head = vec![Inline::from("Images per second")];
    head.extend(batches.iter().map(|batch| Inline::from(format!("batch {batch}"))));
    head.push("training steps".into());
    let rows = gathered
        .models
        .iter()
        .map(|model| {
            let mut row: Vec<Cell> = vec![model.network().label().into()];
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
