//! The networks of the workspace's `models`: this version opens them, and they tell classes apart.

use std::path::Path;

use mobilenet_runtime::{Model, Session};

#[test]
fn every_ready_network_opens_and_answers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    // A package without the rest of the workspace has none.
    let Ok(entries) = std::fs::read_dir(&folder) else { return };
    let files = entries.map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "safetensors")).collect();
    assert!(!files.is_empty(), "{} has no network", folder.display());
    for file in files {
        let model = Model::open(&file).unwrap();
        let input = &model.description().input;
        let len = input.height * input.width * 3;
        let mut session = Session::new(&model, 1).unwrap();
        // A picture that is red on the left and blue on the right: nothing that an untrained network is sure of.
        let image: Vec<f32> =
            (0..len).map(|i| if (i % 3 == 0) == (i / 3 % input.width < 16) { 1.0 } else { -1.0 }).collect();
        let logits = session.run(&image).unwrap();
        assert_eq!(logits.len(), model.description().classes.len(), "{}", file.display());
        let (low, high) = logits.iter().fold((f32::MAX, f32::MIN), |(l, h), &x| (l.min(x), h.max(x)));
        assert!(low.is_finite() && high.is_finite() && high - low > 1.0, "{}: {logits:?}", file.display());
    }
}
