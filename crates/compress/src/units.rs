//! The pieces that a text is kept or dropped by.

use std::ops::Range;

use crate::words::is_ideograph;

/// Bytes from which a line is broken into sentences, and sentences into parts: what is longer is
/// seldom wanted as a whole.
const LONG_UNIT: usize = 240;
/// Bytes from which a sentence is broken into parts where whole sentences are wanted.
const LONG_SENTENCE: usize = 800;
/// Bytes below which a full stop does not end a unit: it may be an abbreviation's.
const SHORT_SENTENCE: usize = 40;

/// A line, or a sentence of a long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Where it stands, in bytes, without white space after it (of a line's later parts: around).
    pub(crate) range: Range<usize>,
    /// Which line it is of, from 0.
    pub(crate) line: usize,
}

/// The units of a text in order: all of it that is not white space.
pub(crate) fn units(text: &str) -> Vec<Unit> {
    parts(text, LONG_UNIT, LONG_UNIT)
}

/// The sentences of a text in order, and what stands on lines of its own; only very long sentences
/// are in parts.
pub(crate) fn sentences(text: &str) -> Vec<Unit> {
    parts(text, 0, LONG_SENTENCE)
}

/// Lines of at most `short` bytes, and the sentences of longer ones, in parts of at most about
/// `longest` bytes.
fn parts(text: &str, short: usize, longest: usize) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut start = 0;
    for (line, content) in text.split('\n').enumerate() {
        let pieces = match content.len() <= short {
            true => std::iter::once(0..content.len()).collect(),
            false => pieces(content, longest),
        };
        for (number, piece) in pieces.into_iter().enumerate() {
            let whole = &content[piece.clone()];
            let indented = match number {
                0 => whole.trim_end(),
                _ => whole.trim(),
            };
            if !indented.trim().is_empty() {
                // Of a line's first piece only the end was trimmed.
                let skipped = match number {
                    0 => 0,
                    _ => whole.len() - whole.trim_start().len(),
                };
                let from = start + piece.start + skipped;
                let range = from..from + indented.len();
                units.push(Unit { range, line });
            }
        }
        start += content.len() + 1;
    }
    units
}

/// Sentences of a line, and parts of those that are too long.
fn pieces(line: &str, longest: usize) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    // Where the current piece may be broken if it gets too long.
    let mut breakable = None;
    for (at, c) in line.char_indices() {
        let end = at + c.len_utf8();
        let length = end - start;
        if length >= SHORT_SENTENCE && ends_sentence(c, line[end..].chars().next()) {
            pieces.push(start..end);
            start = end;
            breakable = None;
            continue;
        }
        if c.is_whitespace() || matches!(c, ',' | ';' | '}' | ']' | '，' | '、') {
            breakable = Some(end);
        }
        if length >= longest {
            let cut = breakable.unwrap_or(end);
            pieces.push(start..cut);
            start = cut;
            breakable = None;
        }
    }
    pieces.push(start..line.len());
    pieces
}

fn ends_sentence(c: char, next: Option<char>) -> bool {
    match c {
        '。' | '！' | '？' | '；' => true,
        '.' | '!' | '?' => next.is_none_or(|next| next.is_whitespace() || is_ideograph(next)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_units_and_keep_their_indents() {
        let text = "def f():\n    return 1  \n\n\t\nend";
        let found = units(text);
        let shown = found.iter().map(|it| (&text[it.range.clone()], it.line));
        let shown: Vec<_> = shown.collect();
        assert_eq!(shown, [("def f():", 0), ("    return 1", 1), ("end", 4)]);
    }

    #[test]
    fn long_lines_are_broken_after_sentences() {
        let english = "He met Mr. Park of Preston, who made films of clay by himself. ".repeat(5);
        let chinese =
            "他在杭州见到了朋友，两人在湖边走了很久，谈起了许多往事和旧日的同学。".repeat(5);
        for text in [english, chinese] {
            let found = units(&text);
            assert_eq!(found.len(), 5, "{text}");
            let last = text[found[4].range.clone()].chars().next_back();
            assert!(matches!(last, Some('.' | '。')), "{last:?}");
        }
    }

    #[test]
    fn nothing_is_lost_and_no_unit_is_long() {
        let json = "{\"key\":\"value\",\"more\":[1,2,3]},".repeat(40);
        for text in [json, "x".repeat(1000), "é".repeat(500), " a".repeat(300)] {
            let found = units(&text);
            let kept: String = found.iter().map(|it| &text[it.range.clone()]).collect();
            let squeezed = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(squeezed(&kept), squeezed(&text));
            assert!(found.iter().all(|it| it.range.len() <= LONG_UNIT + 4));
        }
    }
}
