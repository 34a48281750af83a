//! A network as it is shipped: exported in several forms, each evaluated and timed by the runtime.

use std::path::Path;

use mobilenet_arch::Network;
use mobilenet_schema::{Comparison, Form, ShippedBench, ShippedEval};

use super::artefacts::{middle, optional};
use crate::plan::{BENCH_ROUNDS, Stage};
use crate::stats::{self, Answers};

/// A network in one form.
#[derive(Debug)]
pub struct ShippedForm {
    /// The form
    pub form: Form,
    /// Its accuracy
    pub eval: ShippedEval,
    /// Of the rounds in which it was timed, the one with the middle latency
    pub bench: Option<ShippedBench>,
    /// The median latency of every round in milliseconds, in the order of time
    pub rounds: Vec<f64>,
    /// How its accuracy compares with that of the same network in float32, which is subtracted; nothing for float32
    /// itself
    pub beside_float32: Option<Comparison>,
}

impl ShippedForm {
    /// Median latency of the middle round, in milliseconds.
    pub fn latency(&self) -> Option<f64> {
        self.bench.as_ref().map(|bench| bench.latency_ms.p50)
    }

    /// For the tests of significance.
    fn answers(&self, seed: u64) -> Answers<'_> {
        let ShippedEval { test_top1, labels, predicted, .. } = &self.eval;
        Answers { seed, top1: *test_top1, labels, predicted }
    }
}

/// The forms of a network that were evaluated, float32 first. `seed` is that of its training.
pub fn read(out: &Path, network: Network, seed: u64, notes: &mut Vec<String>) -> Vec<ShippedForm> {
    let mut found: Vec<ShippedForm> = Form::ALL
        .iter()
        .filter_map(|&form| {
            let eval = optional::<ShippedEval>(&Stage::ShippedEval(network, form), out, notes)?;
            let stage = |round| Stage::ShippedBench { network, form, round };
            let rounds = (1..=BENCH_ROUNDS).filter_map(|round| optional::<ShippedBench>(&stage(round), out, notes));
            let (bench, rounds) = middle(rounds.collect(), |bench| bench.latency_ms.p50);
            Some(ShippedForm { form, eval, bench, rounds, beside_float32: None })
        })
        .collect();
    if let Some((float32, others)) = found.split_first_mut().filter(|(first, _)| first.form == Form::Float32) {
        for other in others {
            other.beside_float32 = stats::compare(&[float32.answers(seed)], &[other.answers(seed)]);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{copy_of_fixture, ship};
    use super::super::{Scope, gather};
    use super::*;

    #[test]
    fn forms_are_held_against_float32_and_timed_by_the_middle_round() {
        let out = copy_of_fixture("shipped");
        // Twelve images; of the first network's forms, float32 is right on nine of them and int8 on eight.
        ship(&out, "v2", Form::Float32, 9, &[1.0, 3.0, 2.0]);
        ship(&out, "v2", Form::Int8, 8, &[0.5]);
        ship(&out, "v3-large", Form::Int8, 12, &[]);
        let gathered = gather(&out, Scope::default()).unwrap();
        let [restless] = &gathered.notes[..] else { panic!("{:?}", gathered.notes) };
        assert!(
            restless.contains("MobileNetV2 was timed as shipped differ by up to 3.0 times (float32)"),
            "{restless}"
        );
        let [v2, v3] = &gathered.models[..] else { panic!("two networks") };
        let [float32, int8] = &v2.shipped[..] else { panic!("{:?}", v2.shipped) };
        assert_eq!((float32.latency(), float32.rounds.as_slice()), (Some(2.0), &[1.0, 3.0, 2.0][..]));
        assert!(float32.beside_float32.is_none());
        let found = int8.beside_float32.as_ref().unwrap();
        assert!((found.difference + 1.0 / 12.0).abs() < 1e-12, "{found:?}");
        assert_eq!((found.mcnemar[0].only_first, found.mcnemar[0].only_second), (1, 0));
        // Without float32 there is nothing to hold it against, and without a timing no latency.
        let [alone] = &v3.shipped[..] else { panic!("{:?}", v3.shipped) };
        assert!(alone.beside_float32.is_none() && alone.latency().is_none());
        assert!(gathered.ships(v3.network(), Form::Int8) && !gathered.ships(v3.network(), Form::Float32));
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn what_is_damaged_is_left_out_and_named() {
        let out = copy_of_fixture("shipped-damaged");
        ship(&out, "v2", Form::Float32, 9, &[1.0, -2.0]);
        ship(&out, "v2", Form::Int8, 8, &[0.5]);
        std::fs::write(out.join("shipped/v2-int8-eval.json"), "{}").unwrap();
        let gathered = gather(&out, Scope::default()).unwrap();
        let [bench, eval] = &gathered.notes[..] else { panic!("{:?}", gathered.notes) };
        assert!(bench.starts_with("shipped/v2-float32-bench-2.json is left out: "), "{bench}");
        assert!(eval.starts_with("shipped/v2-int8-eval.json is left out: "), "{eval}");
        assert_eq!(gathered.models[0].shipped.len(), 1);
        std::fs::remove_dir_all(&out).unwrap();
    }
}
