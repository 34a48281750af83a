//! The leaves of a JSON value, by which settings are listed and compared.

use serde_json::Value;

/// Adds the leaves of a JSON value to `fields`, each with its dotted name and its value in words.
pub fn flatten(prefix: &str, value: &Value, fields: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, inner, fields);
            }
        }
        Value::Null => fields.push((prefix.to_owned(), "none".to_owned())),
        Value::String(text) => fields.push((prefix.to_owned(), text.clone())),
        other => fields.push((prefix.to_owned(), other.to_string())),
    }
}
