//! Titles as keys, and which of them a text mentions.

use tantivy::tokenizer::{AsciiFoldingFilter, RawTokenizer, TextAnalyzer, TokenStream as _};

use super::tokenizer::is_chinese;

/// Longest title that is recognised in running text, in words (Chinese: characters).
const LONGEST_NAME: usize = 10;

/// Shortest title of one word that counts as a mention, in characters: `Up` and `It` are titles,
/// but hardly ever meant.
const SHORTEST_WORD: usize = 3;

/// Words that begin sentences and are titles too.
const COMMON: [&str; 24] = [
    "the", "and", "but", "for", "his", "her", "its", "she", "was", "are", "this", "that", "they",
    "who", "what", "when", "where", "which", "why", "how", "after", "before", "one", "not",
];

/// A title as a key: its words in lower case without what is in parentheses at the end, so that
/// `Nora Hart (singer)` and `Nora Hart` meet.
pub(super) fn title_key(title: &str) -> String {
    let title = title.trim();
    let bare = match title.strip_suffix(')').and_then(|rest| rest.rfind('(')) {
        Some(open) if open > 0 => &title[..open],
        _ => title,
    };
    let words: Vec<_> = words(bare).map(|(_, word)| word).collect();
    words.join(" ")
}

/// The keys of titles mentioned in `text`, in order and without repeats. The longest title wins
/// where several begin at the same word; `known` says whether a key is a title.
pub(super) fn mentions(text: &str, known: impl Fn(&str) -> bool) -> Vec<String> {
    let words: Vec<_> = words(text).collect();
    let mut found: Vec<String> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        at += match longest(&words[at..], &known) {
            Some((key, length)) => {
                if !found.contains(&key) {
                    found.push(key);
                }
                length
            }
            None => 1,
        };
    }
    found
}

/// The longest title that begins at the first of the words, and its length in words.
fn longest(words: &[(bool, String)], known: impl Fn(&str) -> bool) -> Option<(String, usize)> {
    let (is_name, first) = words.first()?;
    if !is_name {
        return None;
    }
    (1..=LONGEST_NAME.min(words.len()))
        .rev()
        .find_map(|length| {
            let short = first.chars().count() < SHORTEST_WORD || COMMON.contains(&first.as_str());
            if length == 1 && short {
                return None;
            }
            let key: Vec<_> = words[..length].iter().map(|(_, word)| &**word).collect();
            let key = key.join(" ");
            known(&key).then_some((key, length))
        })
}

/// The words of a text in lower case, each with whether a name may begin with it: it begins with
/// a capital, a digit, or is Chinese. Every Chinese character is a word.
fn words(text: &str) -> impl Iterator<Item = (bool, String)> {
    // Titles in some data sets carry this one HTML entity.
    let text = folded(&text.replace("&quot;", " "));
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.chars().chain([' ']) {
        let chinese = is_chinese(c);
        if (chinese || !c.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if chinese {
            words.push(c.to_string());
        } else if c.is_alphanumeric() {
            word.push(c);
        }
    }
    words.into_iter().map(|word| {
        let name = |c: char| c.is_uppercase() || c.is_numeric() || is_chinese(c);
        (word.starts_with(name), word.to_lowercase())
    })
}

/// The text without accents: many are left out where a name is only mentioned.
fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let analyzer = TextAnalyzer::builder(RawTokenizer::default()).filter(AsciiFoldingFilter);
    let mut analyzer = analyzer.build();
    let mut stream = analyzer.token_stream(text);
    match stream.next() {
        Some(token) => token.text.clone(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for (title, key) in [
            ("Nora Hart (singer)", "nora hart"),
            ("  O'Neill & Sons, Ltd. ", "o neill sons ltd"),
            ("(Untitled)", "untitled"),
            ("Aschenbrödel", "aschenbrodel"),
            (
                "Eddie &quot;The Eagle&quot; Edwards",
                "eddie the eagle edwards",
            ),
            ("北京 (城市)", "北 京"),
            ("", ""),
        ] {
            assert_eq!(title_key(title), key, "{title}");
        }
    }

    #[test]
    fn the_longest_title_wins_and_small_words_do_not_count() {
        let titles = ["new york", "new york city", "the", "it", "york", "1998"];
        let found = mentions(
            "It is The New York City of York in 1998, new york.",
            |key| titles.contains(&key),
        );
        assert_eq!(found, ["new york city", "york", "1998"]);
    }
}
