//! The names of flags in errors: what a library calls a field is, on the command line, a flag.

use std::error::Error;

use mobilenet_models::Error as ModelError;

/// Fields whose flags are called otherwise, and the flags.
const FLAGS: [(&str, &str); 14] = [
    ("width_mult", "--width"),
    ("low_resolution.share", "--low-resolution-share"),
    ("low_resolution.size", "--low-resolution"),
    ("resize", "--low-resolution"),
    ("distillation.temperature", "--temperature"),
    ("distillation.weight", "--teacher-weight"),
    ("optimizer.lr", "--lr"),
    ("optimizer.weight_decay", "--weight-decay"),
    ("lr_factors", "--bias-lr or --body-lr"),
    ("alternate flip", "--alternate-flip"),
    ("random erasing", "--random-erasing"),
    ("mixup alpha", "--mixup"),
    ("cutmix alpha", "--cutmix"),
    ("batch size", "--batch-size"),
];

/// Fields that have their flags' names.
const SAME: [&str; 16] = [
    "num_classes",
    "dropout",
    "bn_momentum",
    "reduced_tail",
    "dilated",
    "strides",
    "image_size",
    "epochs",
    "batch_size",
    "label_smoothing",
    "warmup_epochs",
    "final_lr",
    "ema",
    "precise_bn",
    "accumulate",
    "early_stop",
];

/// The flag of a field, if it has one.
fn flag(field: &str) -> Option<String> {
    let known = FLAGS.iter().find(|(known, _)| *known == field).map(|(_, flag)| (*flag).to_owned());
    known.or_else(|| SAME.contains(&field).then(|| format!("--{}", field.replace('_', "-"))))
}

/// What an error says, with the flag in place of a field's name.
pub fn said(error: &(dyn Error + 'static)) -> String {
    let with = |field: &str, expected: &str, found: &str| {
        flag(field).map(|flag| format!("{flag}: expected {expected}, found {found}"))
    };
    let of_model = |error: &mobilenet_arch::Error| match error {
        mobilenet_arch::Error::InvalidConfig { field, expected, found } => with(field, expected, found),
        _ => None,
    };
    let of_data = |error: &mobilenet_data::Error| match error {
        mobilenet_data::Error::Config { name, expected, found } => with(name, expected, found),
        _ => None,
    };
    let flagged = if let Some(error) = error.downcast_ref::<mobilenet_arch::Error>() {
        of_model(error)
    } else if let Some(ModelError::Config(error)) = error.downcast_ref::<ModelError>() {
        of_model(error)
    } else if let Some(problem) = error.downcast_ref::<mobilenet_schema::Problem>() {
        with(&problem.field, &problem.expected, &problem.found)
    } else if let Some(error) = error.downcast_ref::<mobilenet_train::Error>() {
        match error {
            mobilenet_train::Error::Config { field, found, expected } => with(field, expected, found),
            mobilenet_train::Error::Data(error) => of_data(error),
            _ => None,
        }
    } else if let Some(error) = error.downcast_ref::<mobilenet_data::Error>() {
        of_data(error)
    } else {
        None
    };
    flagged.unwrap_or_else(|| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn every_flag_that_is_named_exists() {
        let command = Cli::command();
        let exists = |flag: &str| {
            command
                .get_subcommands()
                .flat_map(|command| command.get_arguments())
                .any(|arg| arg.get_long() == Some(flag))
        };
        for field in FLAGS.iter().map(|(field, _)| *field).chain(SAME) {
            for flag in flag(field).unwrap().split(" or ") {
                assert!(exists(flag.strip_prefix("--").unwrap()), "{flag}");
            }
        }
    }

    #[test]
    fn fields_become_flags() {
        let config = mobilenet_models::ModelConfig {
            width_mult: 99.0,
            ..mobilenet_models::ModelConfig::new(mobilenet_models::Arch::V2, 10, mobilenet_models::Preset::Cifar)
        };
        let error = config.validate().unwrap_err();
        assert_eq!(said(&error), "--width: expected a number above 0, at most 8, found 99");
        let train = mobilenet_train::TrainConfig { epochs: 2, warmup_epochs: 3.0, ..Default::default() };
        let error = train.validate().unwrap_err();
        assert!(said(&error).starts_with("--warmup-epochs: expected at least 0 and at most the number of epochs"));
        let other = std::io::Error::other("as it is");
        assert_eq!(said(&other), "as it is");
    }
}
