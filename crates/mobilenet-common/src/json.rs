//! In which fields two JSON values differ: settings of a run that is resumed, and those it was started with.

use serde_json::Value;

/// A leaf that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The leaf's path, its parts joined by dots: `train.optimizer.lr`.
    pub field: String,
    /// What it was; null where it was missing.
    pub before: Value,
    /// What it is now; null where it is missing.
    pub now: Value,
}

/// The leaves in which `now` differs from `before`, in the order of their paths. Arrays are compared whole.
///
/// ```
/// use mobilenet_common::json::differences;
/// use serde_json::json;
///
/// let (before, now) = (json!({"seed": 1, "optimizer": {"lr": 0.1}}), json!({"seed": 1, "optimizer": {"lr": 0.2}}));
/// let found = differences(&before, &now);
/// assert_eq!((found.len(), found[0].field.as_str()), (1, "optimizer.lr"));
/// assert_eq!((&found[0].before, &found[0].now), (&json!(0.1), &json!(0.2)));
/// ```
#[must_use]
pub fn differences(before: &Value, now: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    collect("", before, now, &mut found);
    found
}

fn collect(field: &str, before: &Value, now: &Value, found: &mut Vec<Difference>) {
    if let (Value::Object(first), Value::Object(second)) = (before, now) {
        let mut keys: Vec<_> = first.keys().chain(second.keys().filter(|key| !first.contains_key(*key))).collect();
        keys.sort();
        for key in keys {
            let path = if field.is_empty() { key.clone() } else { format!("{field}.{key}") };
            let null = &Value::Null;
            collect(&path, first.get(key).unwrap_or(null), second.get(key).unwrap_or(null), found);
        }
    } else if before != now {
        found.push(Difference { field: field.to_owned(), before: before.clone(), now: now.clone() });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn leaves_are_listed_with_their_paths() {
        let before = json!({"b": {"x": 1, "y": [1, 2]}, "same": true, "gone": "g", "was_null": null});
        let now = json!({"b": {"x": 2, "y": [1, 3]}, "same": true, "a": {"new": 1}});
        let lines: Vec<String> =
            differences(&before, &now).iter().map(|d| format!("{}: {} -> {}", d.field, d.before, d.now)).collect();
        let expected = ["a: null -> {\"new\":1}", "b.x: 1 -> 2", "b.y: [1,2] -> [1,3]", "gone: \"g\" -> null"];
        assert_eq!(lines, expected);
        assert!(differences(&before, &before).is_empty());
    }
}
