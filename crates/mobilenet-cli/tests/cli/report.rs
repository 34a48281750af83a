//! A report of one run, before and after its evaluation, and of several.

use std::fs;

use crate::common::{Place, assert_fails};

#[test]
fn one_run_or_several_make_a_page() {
    let place = Place::new();
    place.run(&place.train("first"));
    let said = place.run("report first");
    assert_eq!(said.lines().collect::<Vec<_>>(), ["first/report.html", "first/report.md", "first/results.json"]);
    let page = || fs::read_to_string(place.path("first/report.html")).unwrap();
    assert!(page().contains("first has not been evaluated (no eval.json)"), "{}", page());
    assert!(page().contains("<svg") && page().contains("not evaluated"), "no curves");

    place.run("eval --run first");
    place.run("report first");
    assert!(!page().contains("has not been evaluated") && page().contains("Confusion matrix"), "{}", page());

    place.run(&format!("{} --seed 2", place.train("second")));
    place.run("eval --run second");
    place.run("report first second --out both");
    let results: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path("both/results.json")).unwrap()).unwrap();
    assert_eq!(results["models"][0]["seeds"], serde_json::json!([1, 2]));
    assert_eq!(results["models"][0]["figures"]["test_top1"]["n"], 2);
}

#[test]
fn what_is_no_run_is_refused() {
    let place = Place::new();
    for (line, expected) in [
        ("report nowhere", "nowhere is not a folder"),
        ("report data", "data: expected a folder that mobilenet train wrote (no config.json)"),
        ("report a b", "a report of several runs needs --out DIR"),
    ] {
        assert_fails(&place.command(line).output().unwrap(), line, 1, expected);
    }
    assert!(!place.path("data/report.html").exists());
}
