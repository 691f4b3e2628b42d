//! The progress check: a block that the model that has just thought writes about its own step.

use crate::Verdict;

/// What the model is asked, as one more turn after its step (arXiv 2512.18337).
pub const CHECK_INSTRUCTION: &str = "\
Before going on, judge your last step. Did it bring the task forward: does it hold new and useful \
information, or a sound next action? Write only this block, the reason in 10 to 20 words:
===PROGRESS===
<reason> ... </reason> <value> TRUE|FALSE </value>
===END_PROGRESS===";

/// The block as a grammar in llguidance's Lark syntax. The reason is bounded, so that a check's
/// cost is.
// tidy: allow line-length because a rule of the grammar cannot be broken where it should be
pub const CHECK_GRAMMAR: &str = r#"start: "===PROGRESS===\n<reason> " REASON " </reason> <value> " VALUE " </value>\n===END_PROGRESS==="
REASON: /[^<>\n]{1,160}/
VALUE: "TRUE" | "FALSE"
"#;

const BEGIN: &str = "===PROGRESS===";
const END: &str = "===END_PROGRESS===";

/// Reads the block. Strictly: anything but one whole block, with nothing around it but white
/// space, and a value that is exactly `TRUE` or `FALSE`, is a [`Verdict::Missing`].
pub fn read_verdict(text: &str) -> Verdict {
    let between = |text: &str, begin: &str, end: &str| -> Option<(String, String)> {
        let rest = text.trim_start().strip_prefix(begin)?;
        let (inner, rest) = rest.split_once(end)?;
        Some((inner.trim().to_owned(), rest.to_owned()))
    };
    let value = between(text, BEGIN, END).and_then(|(block, after)| {
        let (reason, rest) = between(&block, "<reason>", "</reason>")?;
        let (value, rest) = between(&rest, "<value>", "</value>")?;
        let whole = after.trim().is_empty() && rest.trim().is_empty() && !reason.is_empty();
        whole.then_some(value)
    });
    match value.as_deref() {
        Some("TRUE") => Verdict::Progress,
        Some("FALSE") => Verdict::Stall,
        _ => Verdict::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_block_is_a_verdict() {
        let block = |value: &str| {
            format!(
                "===PROGRESS===\n<reason> The year was found. </reason> <value> {value} </value>\n\
                 ===END_PROGRESS==="
            )
        };
        for (text, verdict) in [
            (block("TRUE"), Verdict::Progress),
            (block("FALSE"), Verdict::Stall),
            (format!("\n {} \n", block("TRUE")), Verdict::Progress),
            (block("true"), Verdict::Missing),
            (block("TRUE FALSE"), Verdict::Missing),
            (block(""), Verdict::Missing),
            (format!("Well: {}", block("TRUE")), Verdict::Missing),
            (format!("{} So I go on.", block("TRUE")), Verdict::Missing),
            (
                block("TRUE").replace("===END_PROGRESS===", ""),
                Verdict::Missing,
            ),
            (
                block("TRUE").replace("The year was found.", ""),
                Verdict::Missing,
            ),
            (block("TRUE").replace("</value>", ""), Verdict::Missing),
            (String::new(), Verdict::Missing),
        ] {
            assert_eq!(read_verdict(&text), verdict, "{text}");
        }
    }
}
