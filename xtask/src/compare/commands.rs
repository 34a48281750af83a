//! The commands behind a comparison, as one would type them.

use std::path::Path;

use mobilenet_report::{Gathered, Stage};
use mobilenet_schema::{ComparisonPlan, PlannedTeacher};

use super::arguments::arguments;
use super::profile;
use super::stages::stages;
use super::words::{Args, machine, source};

/// The commands of a comparison that lies in `out`: the one that makes all of it, then what it runs.
pub fn all(gathered: &Gathered, out: &Path) -> Vec<String> {
    let settings = &gathered.settings;
    let pictures = !gathered.pictures.is_empty();
    let indices: Vec<_> = gathered.pictures.iter().map(|picture| picture.index).collect();
    let made_in = settings.out.as_deref().unwrap_or(out);
    let mut commands = vec![whole(settings, made_in, pictures)];
    // What was not shipped was not exported either.
    let was_run = |stage: &&Stage| match stage {
        Stage::Inspect(_) => gathered.inspects(),
        Stage::Advice(twin) | Stage::AdviceEval(twin) => gathered.tries(*twin),
        _ => stage.shipped().is_none_or(|(network, form)| gathered.ships(network, form)),
    };
    commands.extend(stages(settings, pictures).iter().filter(was_run).map(|stage| {
        let mut args = arguments(stage, settings, made_in, Some(&gathered.data), &indices);
        args.retain(|arg| arg != "--resume");
        display(&args)
    }));
    commands
}

/// The command that makes the whole comparison in `out`.
fn whole(settings: &ComparisonPlan, out: &Path, pictures: bool) -> String {
    let usual = profile::recipe(settings.profile);
    let recipe = &settings.recipe;
    let mut args = Args::default();
    args.option("--profile", settings.profile.name());
    args.option("--models", settings.models.iter().map(|network| network.key()).collect::<Vec<_>>().join(","));
    args.option("--seeds", settings.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(","));
    args.changed("--recipe", (recipe.name != usual.name).then(|| recipe.name.name()));
    // Given even where it is the profile's: that number may change from version to version.
    args.option("--epochs", recipe.epochs);
    source(&mut args, settings, None);
    machine(&mut args, settings);
    args.option("--precision", settings.precision.name());
    if let Some(advice) = &settings.advice {
        args.word("--advice").option("--advice-epochs", advice.epochs);
        if let PlannedTeacher::Path(path) = &advice.teacher {
            args.option("--advice-teacher", path.display());
        }
    }
    args.option("--out", out.display());
    if !pictures {
        args.word("--no-samples");
    }
    line("cargo xtask compare", &args.into_words())
}

/// A command of `mobilenet` as one would type it.
pub fn display(args: &[String]) -> String {
    line("mobilenet", args)
}

fn line(program: &str, args: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+@".contains(c);
    let mut line = program.to_owned();
    for arg in args {
        line.push(' ');
        if !arg.is_empty() && arg.chars().all(plain) {
            line.push_str(arg);
        } else {
            line.push_str(&format!("'{}'", arg.replace('\'', r"'\''")));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use mobilenet_report::{Scope, gather};
    use mobilenet_schema::RecipeName;

    use super::*;
    use crate::compare::profile::tests::{comparison, settings, with_advice};

    #[test]
    fn the_commands_of_a_comparison_name_its_networks() {
        let gathered = gather(&comparison(), Scope { pictures: true, ..Scope::default() }).unwrap();
        let commands = all(&gathered, Path::new("out"));
        assert!(commands[0].starts_with("cargo xtask compare "), "{commands:?}");
        assert!(commands.iter().any(|command| command.contains("train --model v3-large")), "{commands:?}");
        assert!(!commands.iter().any(|command| command.contains(" export ")), "nothing was: {commands:?}");
    }

    #[test]
    fn the_whole_comparison_is_one_command() {
        let mut settings = settings();
        let line = |settings: &ComparisonPlan| whole(settings, Path::new("runs/x"), false);
        assert_eq!(
            line(&settings),
            "cargo xtask compare --profile smoke --models v2,v3-large --seeds 1 --epochs 3 --data auto --precision \
             f32 --out runs/x --no-samples"
        );
        settings.recipe.name = RecipeName::Fast;
        settings.seeds = vec![1, 2];
        settings.data_dir = Some("data".into());
        settings.threads = Some(1);
        let found = line(&settings);
        for part in ["--seeds 1,2 ", "--recipe fast ", "--data auto --data-dir data ", "--threads 1 "] {
            assert!(found.contains(part), "{found}");
        }
    }

    #[test]
    fn advice_is_a_part_of_the_command() {
        let mut settings = with_advice();
        let line = |settings: &ComparisonPlan| whole(settings, Path::new("runs/x"), true);
        assert!(line(&settings).ends_with(" --precision f32 --advice --advice-epochs 2 --out runs/x"));
        settings.advice.as_mut().unwrap().teacher = PlannedTeacher::Path("models/v2.safetensors".into());
        assert!(line(&settings).contains(" --advice-epochs 2 --advice-teacher models/v2.safetensors --out "));
    }

    #[test]
    fn words_with_blanks_are_quoted() {
        assert_eq!(display(&["a b", "it's", ""].map(str::to_owned)), r"mobilenet 'a b' 'it'\''s' ''");
    }
}
