//! The Jinja environment that Hugging Face chat templates are written for.

use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, syntax::SyntaxConfig};
use minijinja_contrib::pycompat;
use serde_json::Value as Json;

use crate::Date;

/// Work that one rendering may do, in minijinja's fuel (about one per instruction and one per
/// 64 bytes). A conversation of a thousand messages takes about 100,000; a template from a file
/// of unknown origin that loops is stopped within a second.
const FUEL: u64 = 10_000_000;

/// The environment of `transformers.utils.chat_template_utils`, less the clock.
pub(crate) fn environment() -> Result<Environment<'static>, Error> {
    let mut env = Environment::new();
    env.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_unknown_method_callback(pycompat::unknown_method_callback);
    env.set_fuel(Some(FUEL));
    env.add_filter("tojson", tojson);
    env.add_function("raise_exception", raise_exception);
    Ok(env)
}

/// Replaces the `generation` blocks of templates made for training by blocks without meaning:
/// they only mark which text the assistant wrote.
pub(crate) fn without_generation_blocks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else {
            break;
        };
        let tag = &rest[start + 2..start + length];
        let name = tag
            .trim_start_matches(['-', '+'])
            .trim_end_matches(['-', '+'])
            .trim();
        out.push_str(&rest[..start + 2]);
        match name {
            "generation" => out.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => out.push_str(&tag.replace("endgeneration", "endif")),
            _ => out.push_str(tag),
        }
        rest = &rest[start + length..];
    }
    out.push_str(rest);
    out
}

fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// `strftime_now` for templates, with the date fixed by the caller.
pub(crate) fn strftime_now(date: Date) -> Value {
    Value::from_function(move |format: String| {
        date.format(&format)
            .map_err(|reason| Error::new(ErrorKind::InvalidOperation, reason))
    })
}

/// `tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`, which is
/// Python's `json.dumps`: unlike Jinja's own filter it does not escape for HTML.
fn tojson(value: &Value, ensure_ascii: Option<Value>, kwargs: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    let sort_keys: Option<bool> = kwargs.get("sort_keys")?;
    let ensure_ascii = match ensure_ascii {
        Some(value) => value.is_true(),
        None => kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
    };
    kwargs.assert_all_used()?;
    let (item, key) = match separators.as_deref() {
        None if indent.is_some() => (",", ": "),
        None => (", ", ": "),
        Some([item, key]) => (item.as_str(), key.as_str()),
        Some(_) => {
            let reason = "tojson: `separators` must be a pair of strings";
            return Err(Error::new(ErrorKind::InvalidOperation, reason));
        }
    };
    let style = Dumps {
        indent,
        item,
        key,
        ensure_ascii,
        sort_keys: sort_keys.unwrap_or_default(),
    };
    let value = serde_json::to_value(value).map_err(|error| {
        Error::new(ErrorKind::BadSerialization, "tojson: not representable").with_source(error)
    })?;
    let mut out = String::new();
    style.write(&mut out, &value, 0);
    Ok(out)
}

/// JSON as Python's `json.dumps` writes it, in the default style.
pub(crate) fn dumps(value: &Json) -> String {
    let mut out = String::new();
    Dumps {
        indent: None,
        item: ", ",
        key: ": ",
        ensure_ascii: false,
        sort_keys: false,
    }
    .write(&mut out, value, 0);
    out
}

/// The parameters of Python's `json.dumps`.
struct Dumps<'a> {
    indent: Option<usize>,
    item: &'a str,
    key: &'a str,
    ensure_ascii: bool,
    sort_keys: bool,
}

impl Dumps<'_> {
    fn write(&self, out: &mut String, value: &Json, depth: usize) {
        match value {
            Json::Null | Json::Bool(_) => out.push_str(&value.to_string()),
            Json::Number(number) => out.push_str(&python_number(number)),
            Json::String(text) => self.write_string(out, text),
            Json::Array(items) => {
                self.write_items(out, ['[', ']'], depth, items, |out, item| {
                    self.write(out, item, depth + 1);
                });
            }
            Json::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                if self.sort_keys {
                    entries.sort_by_key(|(key, _)| *key);
                }
                self.write_items(out, ['{', '}'], depth, &entries, |out, (key, value)| {
                    self.write_string(out, key);
                    out.push_str(self.key);
                    self.write(out, value, depth + 1);
                });
            }
        }
    }

    fn write_items<T>(
        &self,
        out: &mut String,
        [open, close]: [char; 2],
        depth: usize,
        items: &[T],
        write: impl Fn(&mut String, &T),
    ) {
        out.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(self.item);
            }
            self.new_line(out, depth + 1);
            write(out, item);
        }
        if !items.is_empty() {
            self.new_line(out, depth);
        }
        out.push(close);
    }

    fn new_line(&self, out: &mut String, depth: usize) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn write_string(&self, out: &mut String, text: &str) {
        let quoted = Json::from(text).to_string();
        if !self.ensure_ascii || quoted.is_ascii() {
            out.push_str(&quoted);
            return;
        }
        for c in quoted.chars() {
            if c.is_ascii() {
                out.push(c);
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
}

/// A number as Python prints it: `1e+16` and `1e-05` where Rust prints `1e16` and `1e-5`.
fn python_number(number: &serde_json::Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    let scientific = format!("{float:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        _ if float.fract() == 0.0 => format!("{float:.1}"),
        _ => float.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(expression: &str) -> String {
        let env = environment().expect("the environment is valid");
        let context = minijinja::context! {
            text => "<a href='x'>Tom & Jerry</a> \"é\" \u{1}\t\u{1F600}",
            data => serde_json::from_str::<Value>(
                r#"{"b": [1, 2.0, 1e16, 1e-5, 1.5e300, 0.0001, -3], "a": {"x": null, "y": []}}"#,
            ).expect("valid JSON"),
        };
        match env.render_str(&format!("{{{{ {expression} }}}}"), context) {
            Ok(text) => text,
            Err(error) => format!("error: {error}"),
        }
    }

    /// Each expected text is what Python's `json.dumps` answers.
    #[test]
    fn tojson_is_json_dumps() {
        for (expression, expected) in [
            (
                "text | tojson",
                "\"<a href='x'>Tom & Jerry</a> \\\"é\\\" \\u0001\\t\u{1F600}\"",
            ),
            (
                "text | tojson(ensure_ascii=true)",
                "\"<a href='x'>Tom & Jerry</a> \\\"\\u00e9\\\" \\u0001\\t\\ud83d\\ude00\"",
            ),
            (
                "data | tojson",
                r#"{"b": [1, 2.0, 1e+16, 1e-05, 1.5e+300, 0.0001, -3], "a": {"x": null, "y": []}}"#,
            ),
            (
                "data.a | tojson(separators=(',', ':'), sort_keys=true)",
                r#"{"x":null,"y":[]}"#,
            ),
            (
                "data.a | tojson(indent=2)",
                "{\n  \"x\": null,\n  \"y\": []\n}",
            ),
            (
                "{'b': 1, 'a': 2} | tojson(sort_keys=true)",
                r#"{"a": 2, "b": 1}"#,
            ),
        ] {
            assert_eq!(eval(expression), expected, "{expression}");
        }
        assert!(eval("data | tojson(colour=1)").starts_with("error: "));
        assert!(eval("data | tojson(separators=[','])").contains("pair of strings"));
    }

    #[test]
    fn runaway_templates_are_stopped() {
        let env = environment().expect("the environment is valid");
        let loops = "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}\
                     {% endfor %}";
        let error = env.render_str(loops, ()).expect_err("far too long");
        assert_eq!(error.kind(), ErrorKind::OutOfFuel);
    }

    #[test]
    fn generation_blocks_have_no_meaning() {
        let source = "a{%- generation -%} b {%- endgeneration %}c{{ '{% x' }}";
        assert_eq!(
            without_generation_blocks(source),
            "a{%- if true -%} b {%- endif %}c{{ '{% x' }}"
        );
    }
}
