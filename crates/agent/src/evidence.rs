//! Checking what the model says against what it read.

use std::collections::HashSet;

use crate::event::Quote;
use crate::tools::Document;

/// The sentence of the documents that holds the answer, word by word; the one that shares most
/// words with `statement` where several do. None when no document has the answer: then the model
/// made it up, or put it in words of its own.
pub(crate) fn quote(answer: &str, statement: &str, documents: &[Document]) -> Option<Quote> {
    let wanted = words(answer);
    if wanted.is_empty() {
        return None;
    }
    best_sentence(statement, documents, |sentence| contains(sentence, &wanted))
}

/// The sentence that supports a statement best, for answers such as `no` that no document holds.
/// At least half of its words must be the statement's, or the other way round.
pub(crate) fn support(statement: &str, documents: &[Document]) -> Option<Quote> {
    let stated = words(statement);
    let stated = set(&stated);
    best_sentence(statement, documents, |sentence| {
        let sentence = set(sentence);
        let shared = sentence.intersection(&stated).count();
        shared > 0 && 2 * shared >= sentence.len().min(stated.len())
    })
}

/// The sentence that supports each sentence of a text, where one does.
pub(crate) fn supports(text: &str, documents: &[Document]) -> Vec<Quote> {
    let sentences = sentences(text);
    sentences
        .filter_map(|sentence| support(sentence, documents))
        .collect()
}

fn best_sentence(
    statement: &str,
    documents: &[Document],
    fits: impl Fn(&[String]) -> bool,
) -> Option<Quote> {
    let stated = words(statement);
    let stated = set(&stated);
    let mut best: Option<(usize, Quote)> = None;
    for document in documents {
        for sentence in sentences(&document.text) {
            let found = words(sentence);
            if !fits(&found) {
                continue;
            }
            // The title says what a sentence's `he` and `it` are, so it counts as part of it.
            let mut context = set(&found);
            let title = words(&document.title);
            context.extend(title.iter().map(String::as_str));
            let shared = context.intersection(&stated).count();
            if best.as_ref().is_none_or(|(most, _)| shared > *most) {
                let quote = Quote {
                    text: sentence.to_owned(),
                    title: document.title.clone(),
                    url: document.url.clone(),
                };
                best = Some((shared, quote));
            }
        }
    }
    best.map(|(_, quote)| quote)
}

/// Whether `wanted` occurs in the sentence, in order and without gaps.
fn contains(sentence: &[String], wanted: &[String]) -> bool {
    sentence
        .windows(wanted.len())
        .any(|window| window == wanted)
}

/// Sentences, cut after `.`, `!`, `?` before a space, after their Chinese forms, and at line ends.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        if rest.is_empty() {
            return None;
        }
        let mut chars = rest.char_indices().peekable();
        let mut end = rest.len();
        while let Some((at, c)) = chars.next() {
            let next = chars.peek().map(|&(_, next)| next);
            let western =
                matches!(c, '.' | '!' | '?') && next == Some(' ') && !initial(&rest[..at]);
            if western || matches!(c, '。' | '!' | '?' | '\n') {
                end = at + c.len_utf8();
                break;
            }
        }
        let (sentence, after) = rest.split_at(end);
        rest = after;
        Some(sentence.trim_end())
    })
}

/// Whether a text ends in an initial or short abbreviation, whose full stop ends no sentence.
fn initial(text: &str) -> bool {
    let word = text.rsplit([' ', '.']).next().unwrap_or_default();
    word.chars().count() <= 2 && word.starts_with(char::is_uppercase)
}

/// Words in lower case; every Chinese character is one, so that containment works there too.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in text.chars() {
        let wide = c > '\u{2e80}';
        if (wide || !c.is_alphanumeric()) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            let word = words.last_mut().expect("there is always one");
            word.extend(c.to_lowercase());
            if wide {
                words.push(String::new());
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn set(words: &[String]) -> HashSet<&str> {
    words.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents() -> Vec<Document> {
        let document = |title: &str, text: &str| Document {
            url: title.to_lowercase(),
            title: title.to_owned(),
            text: text.to_owned(),
        };
        vec![
            document(
                "Bergh",
                "J. R. Bergh (1801-69) was born in Kalmar. He died in Oslo!",
            ),
            document(
                "Kalmar",
                "Kalmar is a town.\nBergh lived in Kalmar. 卡尔马在瑞典。它很小。",
            ),
        ]
    }

    #[test]
    fn finds_the_sentence_with_the_answer() {
        for (answer, statement, expected) in [
            (
                "kalmar",
                "Bergh was born in Kalmar",
                Some("J. R. Bergh (1801-69) was born in Kalmar."),
            ),
            ("Kalmar", "Kalmar is a town", Some("Kalmar is a town.")),
            ("Oslo", "", Some("He died in Oslo!")),
            ("瑞典", "", Some("卡尔马在瑞典。")),
            ("Malmö", "Bergh was born in Malmö", None),
            ("born Kalmar", "", None),
            ("", "Bergh", None),
        ] {
            let found = quote(answer, statement, &documents());
            assert_eq!(
                found.as_ref().map(|quote| quote.text.as_str()),
                expected,
                "{answer}"
            );
        }
    }

    #[test]
    fn finds_support_for_a_statement() {
        let found = support("Bergh died in Oslo.", &documents()).expect("there is some");
        assert_eq!((&*found.text, &*found.url), ("He died in Oslo!", "bergh"));
        assert_eq!(support("Nobody knows", &documents()), None);
    }
}
