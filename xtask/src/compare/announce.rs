//! What the terminal says before any work begins.

use std::path::Path;

use mobilenet_report::text::{self, count, list, thousands};
use mobilenet_report::{Advice, Sizes, Stage, forms, title};
use mobilenet_schema::{ComparisonPlan, DataInfo, Form, PlannedAdvice, PlannedTeacher};

use super::estimate::Estimator;

/// Says what will be done and how long it should take. Of the `all` stages `open` are still to be run.
pub fn plan(
    settings: &ComparisonPlan,
    out: &Path,
    (all, open): (usize, &[&Stage]),
    estimator: &Estimator,
    data: Option<&DataInfo>,
) {
    let recipe = &settings.recipe;
    let sizes = Sizes::new(settings, data);
    let seeds: Vec<_> = settings.seeds.iter().map(u64::to_string).collect();
    println!("Comparing {}, profile {}", title(&settings.models), settings.profile.name());
    println!(
        "  training    {} of {} images, batch {}, {}, {}; {} {}",
        count(recipe.epochs, "epoch"),
        thousands(sizes.train),
        recipe.batch_size,
        recipe.describe(),
        settings.precision.label(),
        if seeds.len() == 1 { "seed" } else { "seeds" },
        list(&seeds),
    );
    println!("  evaluation  on {} test images; latency, throughput and memory of each network", thousands(sizes.test));
    println!("  as shipped  {}", list(&shipped(settings)));
    if let Some(advice) = &settings.advice {
        println!("  advice      {}", tried(advice));
    }
    println!("  results     {}", out.display());
    let done = match all - open.len() {
        0 => String::new(),
        n => format!(", {n} done before"),
    };
    let basis = if estimator.is_measured(&settings.models) {
        "by the speed measured before"
    } else {
        "a guess, corrected once the speed is measured"
    };
    let seconds = open.iter().map(|stage| estimator.seconds(stage, settings, sizes)).sum();
    println!("  time        {} after the build ({basis}); {}{done}", text::about(seconds), count(all as u64, "stage"));
    println!("It can be stopped at any time; the same command resumes where it stopped.");
}

/// The forms in which the networks are exported and measured.
fn shipped(settings: &ComparisonPlan) -> Vec<String> {
    let all: Vec<Form> = settings.models.iter().flat_map(|&network| forms(network, settings.profile)).collect();
    Form::ALL.iter().filter(|form| all.contains(form)).map(|form| form.label().to_owned()).collect()
}

/// What is tried of the article's advice.
fn tried(advice: &PlannedAdvice) -> String {
    let teacher = match &advice.teacher {
        PlannedTeacher::Network(network) => network.to_string(),
        PlannedTeacher::Path(path) => path.display().to_string(),
    };
    let twins = Advice::ALL.map(|twin| match twin {
        Advice::Distillation => format!("{} from {teacher}", twin.label()),
        _ => twin.label().to_owned(),
    });
    format!("{}, {} each: {}", advice.network, count(advice.epochs, "epoch"), list(&twins))
}
