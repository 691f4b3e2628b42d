//! What texts name, by a rule of its own: simpler than the one by which results are distilled, so
//! that it does not share its mistakes.

use std::collections::HashSet;

/// Things that texts name: single words with digits, capitals, or the marks of paths.
pub(super) type Named = HashSet<String>;

/// What the text names. A word in capitals that `small` has in small letters begins a sentence.
pub(super) fn named(text: &str, small: &HashSet<String>) -> Named {
    let parts = text.split(|c: char| c.is_whitespace() || is_mark(c));
    let parts = parts.map(|part| part.strip_suffix("'s").unwrap_or(part));
    let parts = parts.map(|part| part.trim_matches(['.', ':', '/', '-', '_', '#', '&', '\'']));
    let named = parts.filter(|part| {
        let digits = part.bytes().any(|b| b.is_ascii_digit());
        let joined = part.contains(['_', '/', '.']) && part.chars().count() > 3;
        let capital = part.starts_with(char::is_uppercase) && part.chars().count() > 2;
        (digits && part.len() > 1) || joined || (capital && !small.contains(&part.to_lowercase()))
    });
    named.map(str::to_owned).collect()
}

/// The words of the text that are written in small letters.
pub(super) fn small_words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric());
    let small = words.filter(|word| word.starts_with(char::is_lowercase));
    small.map(str::to_lowercase)
}

/// What parts words: all punctuation that does not join paths, and Chinese.
fn is_mark(c: char) -> bool {
    let joins = matches!(
        c,
        '.' | ':' | '/' | '-' | '_' | '#' | '&' | '\'' | '@' | '%' | '+'
    );
    !(joins || c.is_alphanumeric()) || ('\u{3000}'..='\u{ffff}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_names() {
        let small: HashSet<String> = small_words("he then Met her. THEN").collect();
        for (text, expected) in [
            (
                "Then (Stillmark's) met him in 1888, 3 times.",
                "1888 Stillmark",
            ),
            (
                "see ./a/views.py:12: my_date = a+b",
                "a/views.py:12 my_date",
            ),
            (
                "[Ricin](https://en.org/wiki/Ricin)",
                "Ricin https://en.org/wiki/Ricin",
            ),
            ("在1988年，Wigan与昂热", "1988 Wigan"),
            ("", ""),
        ] {
            let mut found: Vec<String> = named(text, &small).into_iter().collect();
            found.sort();
            assert_eq!(found.join(" "), expected, "{text}");
        }
    }
}
