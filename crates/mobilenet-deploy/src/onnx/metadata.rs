//! What a file says of its network beside the graph.

use mobilenet_runtime::{Description, Input, Origin};
use serde_json::json;

use super::proto::StringStringEntryProto;

/// Pairs of names and texts; lists are JSON. What is not known is left out.
pub(super) fn properties(description: &Description) -> Vec<StringStringEntryProto> {
    let Description { input, classes, origin } = description;
    let Input { height, width, crop, mean, std, quantization: _ } = input;
    let Origin { architecture, width: width_mult, program, data, command, changes, test_top1 } = origin;
    let changes = if changes.is_empty() { String::new() } else { json!(changes).to_string() };
    let width_mult = if *width_mult > 0. { width_mult.to_string() } else { String::new() };
    let pairs = [
        ("classes", json!(classes).to_string()),
        // The shortest decimals that stand for these float32, as JSON has them.
        ("mean", format!("{mean:?}")),
        ("std", format!("{std:?}")),
        ("input_size", format!("[{height}, {width}]")),
        ("crop", crop.to_string()),
        ("architecture", architecture.clone()),
        ("width", width_mult),
        ("program", program.clone()),
        ("data", data.clone()),
        ("command", command.clone()),
        ("changes", changes),
        ("test_top1", test_top1.map_or_else(String::new, |share| share.to_string())),
    ];
    pairs
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| StringStringEntryProto { key: key.to_owned(), value })
        .collect()
}
