//! JSON as text that can be kept line by line.

use std::fmt::Write;

use serde_json::Value;

/// Tokens up to which a record is one thing, all of it facts that any later step may need; longer
/// ones are mostly lists, of which a few entries matter.
pub(crate) const SHORT_RECORD_TOKENS: u32 = 600;

/// Bytes of a line that holds several values: longer ones could only be kept or dropped together.
const LONG_LINE: usize = 160;

/// A JSON object or array written without its punctuation: keys and values as they are, a line for
/// each, and one for each list of plain values or record of them. Text in it gets its own lines
/// back. Nothing if the text is something else.
pub(crate) fn flat(text: &str) -> Option<String> {
    let text = text.trim();
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let mut lines = String::new();
    write(&mut lines, 0, "", &value);
    lines.truncate(lines.trim_end().len());
    Some(lines)
}

/// Appends a value as lines. It cannot nest deeper than serde_json reads it.
fn write(lines: &mut String, depth: usize, key: &str, value: &Value) {
    let colon = if key.is_empty() { "" } else { ": " };
    // Writing to a String cannot fail.
    let _ = write!(lines, "{:depth$}{key}", "");
    if let Some(line) = inline(value) {
        let _ = writeln!(lines, "{colon}{line}");
        return;
    }
    // A key has a line of its own, and what it holds stands below.
    if !key.is_empty() {
        lines.push_str(":\n");
    }
    let below = depth + usize::from(!key.is_empty());
    match value {
        Value::Array(values) => values
            .iter()
            .for_each(|value| write(lines, below, "-", value)),
        Value::Object(fields) => {
            for (key, value) in fields {
                write(lines, below, key, value);
            }
        }
        _ => {}
    }
}

/// A value in one line, if it holds no more than plain values, and few of them.
fn inline(value: &Value) -> Option<String> {
    let parts: Option<Vec<String>> = match value {
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| Some(format!("{key} {}", plain(value)?)))
            .collect(),
        _ => return plain(value),
    };
    let line = parts.map(|parts| parts.join(", "));
    line.filter(|line| line.len() <= LONG_LINE && !line.contains('\n'))
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
        _ => Some(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_without_its_punctuation() {
        for (json, expected) in [
            ("not json", None),
            ("{\"a\": 1", None),
            ("\"text\"", None),
            ("[]", Some("")),
            (" [1, \"b\", null]\n", Some("1, b, null")),
            (
                "{\"out\": \"one\\ntwo\", \"code\": 0}",
                Some("out: one\ntwo\ncode: 0"),
            ),
            (
                "{\"name\": {\"first\": \"Raj\", \"last\": \"Lee\"}, \"paid\": [{\"id\": \"c_1\", \
                 \"by\": {\"x\": []}}, {\"id\": \"c_2\"}], \"age\": 3}",
                Some(
                    "name: first Raj, last Lee\npaid:\n -:\n  id: c_1\n  by:\n   x: \n -: id c_2\n\
                     age: 3",
                ),
            ),
        ] {
            assert_eq!(flat(json).as_deref(), expected, "{json}");
        }
    }
}
