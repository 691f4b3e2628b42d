//! Words, of languages with and without spaces, and where a text has which.

use std::hash::{BuildHasher, Hasher};

use rustc_hash::{FxBuildHasher, FxHashMap};

/// Whether a character is of a script that writes words without spaces between them.
pub(crate) fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

/// Whether a character is part of a word of a script with spaces.
pub(crate) fn is_letter(c: char) -> bool {
    c.is_alphanumeric() && !is_ideograph(c)
}

/// The words of a text with their places in bytes: runs of letters and digits, and ideographs one
/// by one.
pub(crate) fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let skipped = rest.find(|c: char| is_letter(c) || is_ideograph(c))?;
        let start = at + skipped;
        let rest = &text[start..];
        let first = rest.chars().next()?;
        let length = match is_ideograph(first) {
            true => first.len_utf8(),
            false => rest.find(|c: char| !is_letter(c)).unwrap_or(rest.len()),
        };
        at = start + length;
        Some((start, &rest[..length]))
    })
}

/// Calls `found` with a number for each word that tells what a text is about: in small letters,
/// without the plural's s; pairs of neighbours where words are ideographs.
pub(crate) fn content_words(text: &str, mut found: impl FnMut(u64)) {
    let mut before: Option<(usize, &str)> = None;
    for (start, word) in words(text) {
        if word.chars().next().is_some_and(is_ideograph) {
            if let Some((at, other)) = before
                && at + other.len() == start
            {
                found(hash(&text[at..start + word.len()]));
            }
            before = Some((start, word));
            continue;
        }
        before = None;
        let small = word.to_lowercase();
        if small.chars().count() < 2 || is_common(&small) {
            continue;
        }
        let stem = small.strip_suffix('s').filter(|stem| stem.len() > 2);
        found(hash(stem.unwrap_or(&small)));
    }
}

/// A number for a text; the same in every run.
pub(crate) fn hash(text: &str) -> u64 {
    let mut hasher = FxBuildHasher.build_hasher();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// Whether a word in small letters tells nothing of what a text is about.
pub(crate) fn is_common(word: &str) -> bool {
    COMMON.binary_search(&word).is_ok()
}

/// English function words, and those with which agents fill their thoughts; in order.
const COMMON: &[&str] = &[
    "about",
    "after",
    "again",
    "all",
    "also",
    "although",
    "always",
    "am",
    "an",
    "and",
    "another",
    "any",
    "are",
    "as",
    "at",
    "be",
    "because",
    "been",
    "before",
    "being",
    "between",
    "both",
    "but",
    "by",
    "can",
    "could",
    "did",
    "do",
    "does",
    "each",
    "either",
    "even",
    "every",
    "first",
    "for",
    "from",
    "given",
    "had",
    "has",
    "have",
    "he",
    "hence",
    "her",
    "here",
    "his",
    "how",
    "however",
    "if",
    "in",
    "instead",
    "into",
    "is",
    "it",
    "its",
    "just",
    "last",
    "let",
    "like",
    "made",
    "many",
    "may",
    "maybe",
    "might",
    "more",
    "most",
    "much",
    "must",
    "my",
    "need",
    "next",
    "no",
    "nor",
    "not",
    "now",
    "of",
    "off",
    "okay",
    "on",
    "once",
    "one",
    "only",
    "or",
    "other",
    "our",
    "out",
    "over",
    "perhaps",
    "please",
    "same",
    "second",
    "see",
    "she",
    "should",
    "since",
    "so",
    "some",
    "still",
    "such",
    "than",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "therefore",
    "these",
    "they",
    "this",
    "those",
    "though",
    "through",
    "thus",
    "to",
    "too",
    "two",
    "under",
    "until",
    "up",
    "upon",
    "us",
    "use",
    "using",
    "very",
    "was",
    "we",
    "well",
    "were",
    "what",
    "when",
    "where",
    "whether",
    "which",
    "while",
    "who",
    "whose",
    "why",
    "will",
    "with",
    "would",
    "yes",
    "yet",
    "you",
    "your",
];

/// Where a text has which words.
pub(crate) struct Index<'a> {
    text: &'a str,
    places: FxHashMap<&'a str, Vec<usize>>,
}

impl<'a> Index<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let mut places: FxHashMap<&str, Vec<usize>> = FxHashMap::default();
        for (start, word) in words(text) {
            places.entry(word).or_default().push(start);
        }
        Self { text, places }
    }

    /// Where `term` stands as a whole: not in the middle of a longer word, number or identifier.
    pub(crate) fn places(&self, term: &str) -> impl Iterator<Item = usize> {
        let first = words(term).next();
        let (before, key) = first.unwrap_or((0, ""));
        let places = self.places.get(key).map_or(&[][..], Vec::as_slice);
        let starts = places.iter().filter_map(move |at| at.checked_sub(before));
        starts.filter(move |start| {
            let here = self.text.get(*start..);
            here.is_some_and(|here| here.starts_with(term))
                && stands_alone(self.text, *start, start + term.len())
        })
    }

    pub(crate) fn has(&self, term: &str) -> bool {
        self.places(term).next().is_some()
    }
}

/// Whether what is between `start` and `end` is no part of a longer word, number or identifier.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let joins = |inner: Option<char>, outer: Option<char>, next: Option<char>| {
        let (Some(inner), Some(outer)) = (inner, outer) else {
            return false;
        };
        let in_word = is_letter(inner) || inner == '_';
        let digits = inner.is_ascii_digit() && next.is_some_and(|c| c.is_ascii_digit());
        in_word && (is_letter(outer) || outer == '_' || (digits && matches!(outer, '.' | ',')))
    };
    let (inside, mut before) = (&text[start..end], text[..start].chars().rev());
    let mut after = text[end..].chars();
    let joined_before = joins(inside.chars().next(), before.next(), before.next());
    let joined_after = joins(inside.chars().next_back(), after.next(), after.next());
    !joined_before && !joined_after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_words_are_in_order() {
        assert!(COMMON.is_sorted());
    }

    #[test]
    fn words_of_both_kinds() {
        let found: Vec<&str> = words("A-Z, my_date 西湖3km。")
            .map(|(_, word)| word)
            .collect();
        assert_eq!(found, ["A", "Z", "my", "date", "西", "湖", "3km"]);
        let contents = |text| {
            let mut found = Vec::new();
            content_words(text, |word| found.push(word));
            found
        };
        assert_eq!(contents("The Cities of Ants"), contents("cities, ant"));
        assert_eq!(contents("西湖边"), [hash("西湖"), hash("湖边")]);
        assert!(contents("西 湖").is_empty());
    }

    #[test]
    fn a_term_stands_alone() {
        let text = "In 1988, my_date was 3.14; see ./a/views.py:12 (Stillmark's) 在杭州市。";
        let index = Index::of(text);
        for (term, there) in [
            ("1988", true),
            ("198", false),
            ("my_date", true),
            ("date", false),
            ("3.14", true),
            ("14", false),
            ("3", false),
            ("./a/views.py", true),
            ("a/views.py", true),
            ("views.py:12", true),
            ("Stillmark", true),
            ("Still", false),
            ("mark", false),
            ("杭州", true),
            ("", false),
            (";", false),
        ] {
            assert_eq!(index.has(term), there, "{term}");
        }
    }
}
