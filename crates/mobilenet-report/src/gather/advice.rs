//! The trainings with and without the article's advice.

use std::path::Path;

use mobilenet_arch::Network;
use mobilenet_schema::{Comparison, ComparisonPlan, Eval, Origin, PlannedAdvice, RunConfig};

use super::found::config_mismatch;
use crate::document::{Inline, rich};
use crate::plan::{Advice, advice_settings, run_name};
use crate::runs::{Training, read_training};
use crate::stats::{self, Answers};
use crate::text::list;

/// A network with and without advice.
#[derive(Debug)]
pub struct Tried {
    /// What taught the one that was distilled
    pub teacher: Option<Inline>,
    /// The one without advice
    pub plain: Twin,
    /// Those with a piece of advice each, in the article's order
    pub advised: Vec<Twin>,
}

/// One of the trainings.
#[derive(Debug)]
pub struct Twin {
    /// What was advised
    pub advice: Advice,
    /// Its run
    pub training: Training,
    /// The run's evaluation
    pub eval: Eval,
    /// How its accuracy compares with that of the one without advice, which is subtracted; nothing for that one itself
    pub beside_plain: Option<Comparison>,
}

impl Tried {
    /// The one without advice, then the others.
    pub fn twins(&self) -> impl Iterator<Item = &Twin> {
        std::iter::once(&self.plain).chain(&self.advised)
    }

    /// One of them.
    pub fn twin(&self, advice: Advice) -> Option<&Twin> {
        self.twins().find(|twin| twin.advice == advice)
    }

    /// What was advised, as people say it: `distillation from V2`.
    pub fn label(&self, advice: Advice) -> Inline {
        match (&self.teacher, advice) {
            (Some(teacher), Advice::Distillation) => rich!("{} from {}", advice.label(), *teacher),
            _ => advice.label().into(),
        }
    }
}

impl Twin {
    fn answers(&self) -> Answers<'_> {
        let Eval { test_top1, labels, predicted, .. } = &self.eval;
        Answers { seed: self.training.seed, top1: *test_top1, labels, predicted }
    }
}

/// Reads what is there of the trainings with and without advice; nothing without the one that has none. What is planned
/// and missing, and what is no twin of that one, is named in the notes.
pub fn read(out: &Path, settings: &ComparisonPlan, notes: &mut Vec<String>) -> Option<Tried> {
    let mut found = |advice: Advice| {
        if settings.advice.is_none() && !advice.run(out).exists() {
            return None;
        }
        let twin = read_twin(out, advice);
        twin.inspect_err(|why| notes.push(format!("{} is left out: {why}.", name(advice)))).ok()
    };
    let plain = found(Advice::Plain)?;
    let others: Vec<Twin> = Advice::ALL[1..].iter().filter_map(|&advice| found(advice)).collect();
    let mut advised = Vec::new();
    for mut twin in others {
        match unlike(&plain.training, &twin) {
            Some(why) => notes.push(format!("{} is left out: {why}.", name(twin.advice))),
            None => {
                twin.beside_plain = stats::compare(&[plain.answers()], &[twin.answers()]);
                advised.push(twin);
            }
        }
    }
    let distilled = advised.iter().find(|twin| twin.advice == Advice::Distillation);
    let teacher = distilled.and_then(|twin| teacher(&twin.training.config, settings));
    Some(Tried { teacher, plain, advised })
}

/// Where the runs come from.
pub fn origins(tried: &Tried) -> impl Iterator<Item = Origin> {
    tried.twins().map(|twin| Origin { what: name(twin.advice), ..twin.training.origin.clone() })
}

/// That a report has these runs although the last command did not ask for them.
pub fn unplanned(tried: &Tried) -> String {
    let names: Vec<_> = tried.twins().map(|twin| name(twin.advice)).collect();
    format!("In addition to the runs of the last command, this report includes {}.", list(&names))
}

/// `advice/plain`
fn name(advice: Advice) -> String {
    advice.run(Path::new("")).display().to_string()
}

/// Reads one training, or says why it is left out.
fn read_twin(out: &Path, advice: Advice) -> Result<Twin, String> {
    let folder = advice.run(out);
    for (file, missing) in [("train.json", "its training has not ended"), ("eval.json", "it has not been evaluated")] {
        if !folder.join(file).exists() {
            return Err(format!("{missing} (no {file})"));
        }
    }
    let mut training = read_training(&folder).map_err(|error| error.to_string())?;
    let eval = training.eval.take().ok_or("it has not been evaluated (no eval.json)")?;
    let train = &training.config.train.config;
    if advice == Advice::Plain && (train.label_smoothing > 0.0 || training.config.teacher.is_some()) {
        return Err("it smooths labels or has a teacher".to_owned());
    }
    Ok(Twin { advice, training, eval, beside_plain: None })
}

/// Why a training is no twin of the one without advice: it differs in more than what is advised, or not in that.
fn unlike(plain: &Training, twin: &Twin) -> Option<String> {
    let (config, before) = (&twin.training.config.train.config, &plain.config.train.config);
    let is_advised = match twin.advice {
        Advice::Plain => true,
        Advice::LabelSmoothing => config.label_smoothing > before.label_smoothing,
        Advice::Distillation => twin.training.config.teacher.is_some(),
        Advice::HigherRate => config.optimizer.lr() > before.optimizer.lr(),
    };
    if !is_advised {
        return Some(format!("it was trained without {}", twin.advice.label()));
    }
    let advised = |name: &str| match twin.advice {
        Advice::Plain => false,
        Advice::LabelSmoothing => name == "train.label_smoothing",
        Advice::Distillation => name == "teacher" || name.starts_with("train.distillation"),
        Advice::HigherRate => name == "train.optimizer.lr",
    };
    let with_seed = |training: &Training| {
        let mut settings = training.settings();
        settings.push(("train.seed".to_owned(), training.seed.to_string()));
        settings
    };
    let (before, now) = (with_seed(plain), with_seed(&twin.training));
    let is_same = |field: &(String, String)| before.contains(field) && now.contains(field);
    let (name, _) = now.iter().chain(&before).find(|field| !advised(&field.0) && !is_same(field))?;
    let of = |fields: &[(String, String)]| {
        fields.iter().find(|(known, _)| known == name).map_or("none".to_owned(), |(_, value)| value.clone())
    };
    Some(format!("it was trained with {name} = {}, its twin without advice with {}", of(&now), of(&before)))
}

/// What taught: a network of the comparison, or a run or a file by its path.
fn teacher(config: &RunConfig, settings: &ComparisonPlan) -> Option<Inline> {
    let path = config.teacher.as_ref()?;
    let is_run_of = |network, seed| path.file_name().is_some_and(|name| *name == *run_name(network, seed));
    let own = settings.models.iter().find(|&&network| settings.seeds.iter().any(|&seed| is_run_of(network, seed)));
    Some(own.map_or_else(|| rich!("`{}`", path.display()), |network| network.short().into()))
}

/// The first setting of a twin's `config.json` that contradicts the plan, as (name, found, wanted).
pub fn advice_mismatch(
    config: &RunConfig,
    settings: &ComparisonPlan,
    (advice, twin): (&PlannedAdvice, Advice),
) -> Option<(&'static str, String, String)> {
    let settings = advice_settings(settings, advice);
    let train = &config.train.config;
    let network = format!("{}@{}", config.model.arch, config.model.width_mult);
    let teacher = |taught: bool| if taught { "one" } else { "none" }.to_owned();
    let lr = twin.lr(&settings.recipe).unwrap_or_else(|| settings.recipe.peak_lr());
    let own = [
        ("network", network.parse().map_or(network, Network::key), advice.network.key()),
        ("label-smoothing", train.label_smoothing.to_string(), twin.label_smoothing().to_string()),
        ("lr", train.optimizer.lr().to_string(), lr.to_string()),
        ("teacher", teacher(config.teacher.is_some()), teacher(twin == Advice::Distillation)),
    ];
    config_mismatch(config, &settings, advice.seed)
        .or_else(|| own.into_iter().find(|(_, found, wanted)| found != wanted))
}

#[cfg(test)]
mod tests {
    use mobilenet_arch::Arch;
    use mobilenet_schema::PlannedTeacher;
    use serde_json::{Value, json};

    use super::*;
    use crate::gather::fixture::{advise, copy_of_fixture};
    use crate::gather::{Gathered, Scope, gather};

    fn gathered(out: &Path, every_run: bool) -> Gathered {
        gather(out, Scope { every_run, ..Scope::default() }).unwrap()
    }

    #[test]
    fn twins_are_held_against_the_one_without_advice() {
        let out = copy_of_fixture("advice");
        for (advice, right) in [(Advice::Plain, 6), (Advice::LabelSmoothing, 9), (Advice::Distillation, 12)] {
            advise(&out, advice, (12, right), &|_| ());
        }
        // Nobody asked for them: the report of all runs alone has them, and says so.
        assert!(gathered(&out, false).tried.is_none());
        let gathered = gathered(&out, true);
        let tried = gathered.tried.as_ref().unwrap();
        let differences: Vec<_> =
            tried.advised.iter().map(|twin| twin.beside_plain.as_ref().map(|found| found.difference)).collect();
        assert_eq!(differences, [Some(0.25), Some(0.5)]);
        assert_eq!(tried.teacher.as_ref().map(Inline::plain).as_deref(), Some("V3-Large"));
        assert!(gathered.tries(Advice::Plain) && !gathered.tries(Advice::HigherRate));
        let [note] = &gathered.notes[..] else { panic!("{:?}", gathered.notes) };
        assert!(note.ends_with("includes advice/plain, advice/label-smoothing and advice/distillation."), "{note}");
        assert!(gathered.origins.iter().any(|origin| origin.what == "advice/distillation"));
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn what_differs_in_more_than_the_advice_is_no_twin() {
        let out = copy_of_fixture("advice-unlike");
        advise(&out, Advice::Plain, (12, 6), &|_| ());
        advise(&out, Advice::LabelSmoothing, (12, 9), &|config| config["train"]["epochs"] = 9.into());
        advise(&out, Advice::Distillation, (12, 9), &|config| config["teacher"] = "models/v2.safetensors".into());
        advise(&out, Advice::HigherRate, (12, 9), &|config| config["train"]["optimizer"]["lr"] = 1e-9.into());
        let gathered = gathered(&out, true);
        let tried = gathered.tried.as_ref().unwrap();
        assert_eq!(tried.advised.iter().map(|twin| twin.advice).collect::<Vec<_>>(), [Advice::Distillation]);
        assert_eq!(tried.teacher.as_ref().map(Inline::source).as_deref(), Some("`models/v2.safetensors`"));
        let says = |words: &str| assert!(gathered.notes.iter().any(|note| note == words), "{:?}", gathered.notes);
        says(
            "advice/label-smoothing is left out: it was trained with train.epochs = 9, its twin without advice with 3.",
        );
        says("advice/higher-rate is left out: it was trained without twice the learning rate.");
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn what_was_planned_and_is_not_there_is_named() {
        let out = copy_of_fixture("advice-planned");
        let mut plan: Value = mobilenet_schema::read(&out.join("plan.json")).unwrap();
        plan["advice"] = json!({"network": "v2", "seed": 1, "epochs": 3, "teacher": {"network": "v3-large"}});
        std::fs::write(out.join("plan.json"), plan.to_string()).unwrap();
        assert_eq!(
            gathered(&out, false).notes,
            ["advice/plain is left out: its training has not ended (no train.json)."]
        );
        advise(&out, Advice::Plain, (12, 6), &|config| config["train"]["label_smoothing"] = 0.1.into());
        assert_eq!(gathered(&out, false).notes, ["advice/plain is left out: it smooths labels or has a teacher."]);
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn a_run_that_contradicts_the_plan_is_noticed() {
        let out = copy_of_fixture("advice-mismatch");
        let settings: ComparisonPlan = mobilenet_schema::read(&out.join("plan.json")).unwrap();
        let teacher = PlannedTeacher::Network(Arch::V3Large.into());
        let advice = PlannedAdvice { network: Arch::V2.into(), seed: 1, epochs: 3, teacher };
        let mismatch = |twin: Advice, change: &dyn Fn(&mut Value)| {
            advise(&out, twin, (12, 6), change);
            let config: RunConfig = mobilenet_schema::read(&twin.run(&out).join("config.json")).unwrap();
            let found = advice_mismatch(&config, &settings, (&advice, twin));
            found.map(|(name, found, wanted)| format!("{name}: {found}, {wanted}"))
        };
        for twin in Advice::ALL {
            assert_eq!(mismatch(twin, &|_| ()), None, "{twin:?}");
        }
        let found = mismatch(Advice::Plain, &|config| config["train"]["label_smoothing"] = 0.1.into());
        assert_eq!(found.as_deref(), Some("label-smoothing: 0.1, 0"));
        let found = mismatch(Advice::HigherRate, &|config| config["train"]["optimizer"]["lr"] = 1e-3.into());
        assert_eq!(found.as_deref(), Some("lr: 0.001, 0.004"));
        let found = mismatch(Advice::Distillation, &|config| config["teacher"] = Value::Null);
        assert_eq!(found.as_deref(), Some("teacher: none, one"));
        let found = mismatch(Advice::Plain, &|config| config["train"]["seed"] = 2.into());
        assert_eq!(found.as_deref(), Some("seed: 2, 1"));
        std::fs::remove_dir_all(&out).unwrap();
    }
}
