//! What a text names: URLs, numbers, names, identifiers and quoted words.

use rustc_hash::FxHashSet;

use crate::words::{is_common, is_letter, words};

/// Bytes of the longest term: what is longer will not be repeated word for word, and texts made of
/// one endless word would make comparing slow.
const LONGEST_TERM: usize = 200;

/// Characters of the longest quotation that is looked at, for the same reason.
const LONGEST_QUOTE: usize = 80;

/// Bytes of the longest sign that a path begins: `../`.
const LONGEST_LEAD: usize = 3;

/// Words that may stand in the middle of a name, in small letters.
const PARTICLES: [&str; 9] = ["&", "da", "de", "del", "la", "of", "the", "van", "von"];

/// What kind of thing a term names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Url,
    /// Two digits or more, dates and times included.
    Number,
    /// Words that begin with capitals.
    Name,
    /// Paths, variables, codes: what no language writes.
    Identifier,
    /// Words between quotation marks.
    Quoted,
}

/// Something a text names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    /// Where it stands, in bytes.
    pub(crate) start: usize,
}

/// What the text names, in order, without quotations. A capital is taken for a sentence's where the
/// same word is written small elsewhere in the text.
pub(crate) fn terms(text: &str) -> Vec<Term<'_>> {
    let small: FxHashSet<&str> = words(text)
        .map(|(_, word)| word)
        .filter(|word| word.starts_with(char::is_lowercase))
        .collect();
    let mut found = Vec::new();
    let mut name: Option<Term<'_>> = None;
    for token in tokens(text).filter(|token| token.text.len() <= LONGEST_TERM) {
        let kind = kind(token.text);
        if kind == Some(Kind::Name) {
            let longer = name.and_then(|name| joined(text, name, token));
            if longer.is_none() {
                found.extend(name.and_then(|name| trimmed(name, &small)));
            }
            name = longer.or(Some(token));
            continue;
        }
        if kind.is_none() && PARTICLES.contains(&token.text) {
            // It may be in the middle of a name; `joined` looks.
            continue;
        }
        found.extend(name.take().and_then(|name| trimmed(name, &small)));
        found.extend(kind.map(|kind| Term { kind, ..token }));
    }
    found.extend(name.and_then(|name| trimmed(name, &small)));
    found
}

/// The longer name that two make which nothing parts but spaces and particles.
fn joined<'a>(text: &'a str, name: Term<'a>, next: Term<'a>) -> Option<Term<'a>> {
    let end = name.start + name.text.len();
    let between = text.get(end..next.start)?;
    let one_space = between.starts_with(' ') && between.ends_with(' ');
    let joins = between == " "
        || (one_space && between.split(' ').filter(|it| !it.is_empty()).count() <= 2)
            && between.trim().split(' ').all(|it| PARTICLES.contains(&it));
    let longer = &text[name.start..next.start + next.text.len()];
    (joins && longer.len() <= LONGEST_TERM).then_some(Term {
        text: longer,
        ..name
    })
}

/// A name without the common words at its beginning; none when it is a common word.
fn trimmed<'a>(mut name: Term<'a>, small: &FxHashSet<&str>) -> Option<Term<'a>> {
    loop {
        let first = name.text.split(' ').next()?;
        let lower = first.to_lowercase();
        let rest = name.text[first.len()..].trim_start();
        let alone = rest.is_empty();
        let shouted = first.len() > 1 && first.chars().all(char::is_uppercase);
        let ordinary = !shouted && alone && small.contains(lower.as_str());
        if !is_common(&lower) && !ordinary && first.chars().count() > 1 {
            return Some(name);
        }
        if alone {
            return None;
        }
        name.start += name.text.len() - rest.len();
        name.text = rest;
    }
}

/// What stands between quotation marks, in order, but for plain words: these are quoted for
/// emphasis, and as keys of JSON.
pub(crate) fn quotations(text: &str) -> Vec<Term<'_>> {
    const MARKS: [(char, char); 6] = [
        ('"', '"'),
        ('`', '`'),
        ('“', '”'),
        ('「', '」'),
        ('《', '》'),
        ('『', '』'),
    ];
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(offset) = text[at..].find(|c: char| MARKS.iter().any(|(open, _)| *open == c)) {
        let open = text[at + offset..].chars().next().unwrap_or_default();
        let start = at + offset + open.len_utf8();
        let close = MARKS.iter().find(|(it, _)| *it == open);
        let close = close.map_or(open, |(_, close)| *close);
        let near = text[start..].char_indices().take(LONGEST_QUOTE);
        let mut near = near.take_while(|(_, c)| *c != '\n');
        at = start;
        if let Some((length, _)) = near.find(|(_, c)| *c == close) {
            let inside = &text[start..start + length];
            if inside.trim() == inside && !inside.is_empty() && !is_plain_word(inside) {
                found.push(Term {
                    kind: Kind::Quoted,
                    text: inside,
                    start,
                });
            }
            at = start + length + close.len_utf8();
        }
    }
    found
}

fn is_plain_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase())
}

/// What a token is, if it names something.
fn kind(token: &str) -> Option<Kind> {
    if is_url(token) {
        return Some(Kind::Url);
    }
    let digits = token.chars().filter(char::is_ascii_digit).count();
    let letters = token.chars().filter(|c| c.is_alphabetic()).count();
    if letters == 0 {
        return (digits > 1).then_some(Kind::Number);
    }
    let parts = |mark: char| token.split(mark).filter(|part| part.len() > 1).count();
    let mut pairs = token.chars().zip(token.chars().skip(1));
    let inner_capital = pairs.any(|(one, next)| one.is_lowercase() && next.is_uppercase());
    let technical = digits > 0
        || inner_capital
        || token.contains(['_', '/', '\\', '@'])
        || token.contains("::")
        || (token.contains('.') && parts('.') > 1);
    if technical && token.len() > 2 {
        return Some(Kind::Identifier);
    }
    token.starts_with(char::is_uppercase).then_some(Kind::Name)
}

fn is_url(text: &str) -> bool {
    let text = text.as_bytes();
    text.starts_with(b"http://") || text.starts_with(b"https://") || text.starts_with(b"www.")
}

/// Chunks of a text that may name something: words with what joins them to paths and numbers. All
/// are of kind [`Kind::Name`] until they are looked at.
fn tokens(text: &str) -> impl Iterator<Item = Term<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = text.get(at..)?;
            let first = rest.chars().next()?;
            let length = if is_url(rest) {
                url_length(rest)
            } else if is_part(first) || leads(text, at) {
                token_length(rest)
            } else {
                // Of marks only this one is part of names.
                usize::from(first == '&')
            };
            let start = at;
            at += length.max(first.len_utf8());
            if length > 0 {
                return Some(Term {
                    kind: Kind::Name,
                    text: &text[start..start + length],
                    start,
                });
            }
        }
    })
}

fn is_part(c: char) -> bool {
    is_letter(c) || c == '_'
}

/// Whether a path begins at `at`: with a slash, a dot or a tilde, and not inside a word.
fn leads(text: &str, at: usize) -> bool {
    let rest = &text[at..];
    let marks = rest.bytes().take_while(|b| matches!(b, b'.' | b'~' | b'/'));
    let marks = marks.take(LONGEST_LEAD + 1).count();
    let inside = text[..at].chars().next_back();
    marks <= LONGEST_LEAD
        && rest[..marks].ends_with('/')
        && rest[marks..].starts_with(is_part)
        && !inside.is_some_and(|c| is_part(c) || matches!(c, '/' | '.' | ')' | ']' | '<'))
}

/// Bytes of the URL at the beginning of `text`.
fn url_length(text: &str) -> usize {
    let mut open = 0;
    let mut end = text.len();
    for (at, c) in text.char_indices() {
        match c {
            '(' => open += 1,
            ')' if open > 0 => open -= 1,
            ')' | ']' | '}' | '>' | '<' | '"' | '\'' | '`' | '|' | '\\' => end = at,
            _ if c.is_whitespace() || !c.is_ascii() => end = at,
            _ => continue,
        }
        if end == at {
            break;
        }
    }
    text[..end]
        .trim_end_matches(['.', ',', ';', ':', '!', '?'])
        .len()
}

/// Bytes of the word, path or number at the beginning of `text`.
fn token_length(text: &str) -> usize {
    let mut chars = text.char_indices().peekable();
    // What leads a path.
    while chars.next_if(|(_, c)| !is_part(*c)).is_some() {}
    let mut end = 0;
    let mut last = ' ';
    for (at, c) in chars {
        let rest = &text[at + c.len_utf8()..];
        let next = rest.chars().next();
        let joined = match c {
            _ if is_part(c) => true,
            '.' | '/' | '-' | '@' | '\\' => next.is_some_and(is_part),
            ',' => last.is_ascii_digit() && next.is_some_and(|c| c.is_ascii_digit()),
            ':' if rest.starts_with(':') => rest[1..].starts_with(is_part),
            ':' => last == ':' || next.is_some_and(|c| c.is_ascii_digit()),
            '%' => last.is_ascii_digit(),
            _ => false,
        };
        if !joined {
            break;
        }
        end = at + c.len_utf8();
        last = c;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> String {
        let terms = terms(text).into_iter().map(|term| {
            assert_eq!(&text[term.start..term.start + term.text.len()], term.text);
            let kind = match term.kind {
                Kind::Url => 'u',
                Kind::Number => '#',
                Kind::Name => 'n',
                Kind::Identifier => 'i',
                Kind::Quoted => 'q',
            };
            format!("{kind}:{}", term.text)
        });
        terms.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_texts_name() {
        for (text, expected) in [
            (
                "The Derby was won by Santa Claus in 1964. However, it rained.",
                "n:Derby n:Santa Claus #:1964",
            ),
            (
                "At the University of Dorpat, Peter Hermann Stillmark met Ludwig van Beethoven",
                "n:University of Dorpat n:Peter Hermann Stillmark n:Ludwig van Beethoven",
            ),
            ("Running is fun; running far", ""),
            ("Nothing here, 7 times", "n:Nothing"),
            (
                "[Santa (horse)](https://en.wikipedia.org/wiki/Santa_Claus_(horse)), 15-8",
                "n:Santa u:https://en.wikipedia.org/wiki/Santa_Claus_(horse) #:15-8",
            ),
            (
                "see https://a.org/b. Then www.c.de/x?y=1, ok",
                "u:https://a.org/b u:www.c.de/x?y=1",
            ),
            (
                "./tests/forms_tests/views.py:12: def repro_view(request):",
                "i:./tests/forms_tests/views.py:12 i:repro_view",
            ),
            (
                "os.path.join and std::fs::read, ReproForm, HAT136; 2024-05-15T15:00:00",
                "i:os.path.join i:std::fs::read i:ReproForm i:HAT136 i:2024-05-15T15:00:00",
            ),
            ("$1,234.50 or 12% at 10:30, 3.", "#:1,234.50 #:12% #:10:30"),
            ("NASA and A", "n:NASA"),
            ("在1988年，Wigan与昂热结为友好城市。", "#:1988 n:Wigan"),
            ("a</b> x/ ~/home/me ../up", "i:~/home/me i:../up"),
            ("", ""),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn what_texts_quote() {
        let text = "He \"only\" said \"a day out\" and `x = 1`, 《西游记》; \"\" \"unended";
        let quoted: Vec<&str> = quotations(text).iter().map(|term| term.text).collect();
        assert_eq!(quoted, ["a day out", "x = 1", "西游记"]);
    }
}
