//! `mobilenet weights`

use std::path::Path;

use anyhow::{Result, ensure};
use mobilenet_common::numbers::thousands;
use mobilenet_models::weights::{Conversion, Inspection, Naming, StoredTensor, convert, inspect};
use mobilenet_models::{ModelConfig, TensorProblem};
use serde::Serialize;

use crate::args::WeightsArgs;
use crate::output::{check_writable, print, print_json};

/// Problems that are listed in text; all of them are in the JSON.
const LISTED: usize = 12;

#[derive(Serialize)]
struct Report<'a> {
    file: &'a Path,
    format: &'static str,
    /// What the network's names begin with in the file.
    prefix: String,
    /// `torchvision` or `timm`.
    names: String,
    network: Option<Network>,
    /// What is missing, unexpected or of another shape.
    problems: Vec<String>,
    tensors: Vec<Tensor>,
    converted: Option<Converted<'a>>,
}

/// The network that the tensors come closest to.
#[derive(Serialize)]
struct Network {
    model: String,
    title: String,
    width: f64,
    /// Nothing where the file has no last layer.
    num_classes: Option<usize>,
    reduced_tail: bool,
    /// Whether they are just its tensors.
    fits: bool,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    dtype: String,
    /// Its name in torchvision.
    torchvision: Option<String>,
}

#[derive(Serialize)]
struct Converted<'a> {
    file: &'a Path,
    names: String,
    tensors: usize,
}

pub fn run(args: &WeightsArgs) -> Result<()> {
    let found = inspect(&args.file)?;
    let converted = match &args.convert {
        None => None,
        Some(out) => {
            let named = out.extension().is_some_and(|extension| extension == "safetensors");
            ensure!(named, "--convert {}: expected a name that ends in .safetensors", out.display());
            check_writable(out)?;
            let names = args.names.map_or(Naming::Torchvision, Naming::from);
            let Conversion { tensors, .. } = convert(&args.file, out, names)?;
            Some(Converted { file: out, names: names.to_string(), tensors })
        }
    };
    let report = Report::new(&args.file, found, converted);
    if args.json { print_json(&report) } else { print(&said(&report)) }
}

impl<'a> Report<'a> {
    fn new(file: &'a Path, found: Inspection, converted: Option<Converted<'a>>) -> Self {
        let Inspection { format, tensors, prefix, naming, network, has_classifier, problems } = found;
        let fits = problems.is_empty();
        let network = network.map(|config| {
            let title = config.title();
            let ModelConfig { arch, width_mult: width, num_classes, reduced_tail, .. } = config;
            let num_classes = has_classifier.then_some(num_classes);
            Network { model: arch.to_string(), title, width, num_classes, reduced_tail, fits }
        });
        let tensor = |StoredTensor { name, shape, dtype, torchvision }| Tensor { name, shape, dtype, torchvision };
        Self {
            file,
            format,
            prefix,
            names: naming.to_string(),
            network,
            problems: problems.iter().map(TensorProblem::to_string).collect(),
            tensors: tensors.into_iter().map(tensor).collect(),
            converted,
        }
    }
}

fn said(report: &Report) -> String {
    let mut text = String::new();
    if let Some(Converted { file, names, tensors }) = &report.converted {
        return format!("{}: {tensors} tensors of {} under {names}'s names\n", file.display(), title(report));
    }
    let width = report.tensors.iter().map(|tensor| tensor.name.chars().count()).max().unwrap_or(0);
    for Tensor { name, shape, dtype, .. } in &report.tensors {
        text += &format!("{name:<width$}  {dtype:<9} {shape:?}\n");
    }
    let numbers: usize = report.tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
    text += &format!(
        "\n{}: {}, {} tensors, {} numbers\n",
        report.file.display(),
        report.format,
        report.tensors.len(),
        thousands(numbers as u64)
    );
    if !report.prefix.is_empty() {
        text += &format!("prefix: {}\n", report.prefix);
    }
    match &report.network {
        None => text + "network: none of those that this program knows\n",
        Some(network) if network.fits => text + &format!("network: {}, {}'s names\n", title(report), report.names),
        Some(_) => {
            text += &format!("closest network: {}, {}'s names; ", title(report), report.names);
            text += &format!("{} tensors do not fit:\n", report.problems.len());
            for problem in report.problems.iter().take(LISTED) {
                text += &format!("  {problem}\n");
            }
            match report.problems.len().saturating_sub(LISTED) {
                0 => text,
                more => text + &format!("  and {more} more\n"),
            }
        }
    }
}

/// The network as one would ask for it.
fn title(report: &Report) -> String {
    let Some(Network { model, title, width, num_classes, reduced_tail, .. }) = &report.network else {
        return "no network".into();
    };
    let width = if *width == 1.0 { String::new() } else { format!(" --width {width}") };
    let tail = if *reduced_tail { " --reduced-tail" } else { "" };
    let classes = num_classes.map_or_else(|| "no classifier".to_owned(), |classes| format!("{classes} classes"));
    format!("{title}, {classes} (--model {model}{width}{tail})")
}
