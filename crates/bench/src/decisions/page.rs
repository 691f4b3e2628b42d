//! The page: a template, and a trace's timeline as JSON in it.

use std::path::Path;

use super::timeline::Timeline;
use crate::BenchError;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A trace as an HTML page that needs nothing from outside itself. It is of bounded size: of long
/// traces it draws the outstanding points.
///
/// # Errors
/// [`BenchError::Read`] and [`BenchError::Trace`] of the file.
pub fn page(path: &Path) -> Result<String, BenchError> {
    let timeline = Timeline::read(path)?;
    let data = serde_json::to_string(&timeline).expect("numbers and texts are JSON");
    let mut page = String::new();
    let mut rest = TEMPLATE;
    // In the order of the template, so that nothing in the data is taken for a place.
    for (place, text) in [
        ("{{style}}", STYLE),
        ("{{data}}", &embedded(&data)),
        ("{{script}}", SCRIPT),
    ] {
        let (before, after) = rest.split_once(place).expect("the template has each place");
        page += before;
        page += text;
        rest = after;
    }
    Ok(page + rest)
}

/// JSON that stays JSON and cannot end the element that it stands in.
fn embedded(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}
