//! What a question describes instead of naming it.
//!
//! In `Who is the wife of the director of Glass Harbor?` the words `the director of Glass Harbor`
//! describe somebody by way of a name. Finding out who that is and putting the name in their place
//! leaves a question with one hop less. This file lists all phrases that may be such a description;
//! which of them it is, a language model can tell. A model that only chooses among phrases cannot
//! lose or invent a part of the question, as it does when it writes sub-questions of its own.
//!
//! Works for questions in English; of others no phrase is listed.

/// Longest description, in words.
const LONGEST: usize = 24;

/// Most phrases listed.
const MOST: usize = 60;

/// Words that a question begins with. Others are statements with a hole (`Ann Lee starred in which
/// film?`): what they say about the thing asked for is no part of its description.
const OPENERS: [&str; 25] = [
    "who", "who's", "whom", "whose", "what", "what's", "which", "when", "where", "why", "how",
    "in", "at", "of", "from", "to", "on", "for", "by", "with", "under", "during", "after",
    "before", "besides",
];

/// Words that say nothing about what is asked.
const EMPTY: [&str; 32] = [
    "who", "whom", "whose", "what", "which", "when", "where", "why", "how", "is", "are", "was",
    "were", "do", "does", "did", "the", "a", "an", "of", "in", "at", "on", "for", "to", "by",
    "from", "with", "name", "kind", "type", "term",
];

/// Words that a description does not end with.
const DANGLING: [&str; 12] = [
    "when", "where", "which", "who", "that", "the", "a", "an", "and", "or", "is", "was",
];

/// The phrases of `question` that may describe something by way of a name, each a part of it.
pub(crate) fn descriptions(question: &str) -> Vec<&str> {
    let text = question.trim().trim_end_matches(['?', '.', '!', ' ']);
    let words = words(text);
    let opens = words.first().is_some_and(|word| {
        let first = bare(word.text).to_lowercase();
        OPENERS.contains(&first.as_str())
    });
    if !opens {
        return Vec::new();
    }
    let mut found: Vec<&str> = Vec::new();
    for start in 0..words.len() {
        let Some(head) = head(&words, start) else {
            continue;
        };
        for end in ends(&words, start, &head) {
            let phrase = &text[words[start].at..words[end].end()];
            let phrase = phrase.trim_end_matches([',', ';', ':']);
            // The genitive stays behind: it becomes that of the name.
            let bare = ["'s", "’s"].iter().find_map(|end| phrase.strip_suffix(end));
            let phrase = bare.unwrap_or(phrase);
            let rest = [&text[..words[start].at], &text[words[end].end()..]];
            if !rest.iter().all(|rest| says_nothing(rest)) && !found.contains(&phrase) {
                found.push(phrase);
            }
        }
    }
    // The innermost are the shortest.
    found.sort_by_key(|phrase| phrase.len());
    found.truncate(MOST);
    found
}

/// The question with a name in place of one of its phrases.
pub(crate) fn put(question: &str, phrase: &str, name: &str) -> String {
    let whole = |at: &usize| {
        let after = question[at + phrase.len()..].chars().next();
        let before = question[..*at].chars().next_back();
        let mut beside = [before, after].into_iter().flatten();
        beside.all(|c| !c.is_alphanumeric())
    };
    let mut places = question.match_indices(phrase).map(|(at, _)| at);
    match places.find(whole) {
        Some(at) if !phrase.is_empty() => {
            let after = &question[at + phrase.len()..];
            format!("{}{name}{after}", &question[..at])
        }
        _ => question.to_owned(),
    }
}

/// A word and where it stands.
struct Word<'a> {
    at: usize,
    text: &'a str,
}

impl Word<'_> {
    fn end(&self) -> usize {
        self.at + self.text.len()
    }

    fn lower(&self) -> String {
        bare(self.text).to_lowercase()
    }

    /// Whether a name may have this word: it begins with a capital or a digit. `#1` stands for
    /// something not found yet.
    fn is_name(&self) -> bool {
        let first = self.text.trim_start_matches(|c: char| !c.is_alphanumeric());
        !self.text.starts_with('#')
            && first.starts_with(|c: char| c.is_uppercase() || c.is_numeric())
    }

    fn is_possessive(&self) -> bool {
        let word = self.text.trim_end_matches(',');
        ["'s", "’s", "s'", "s’"]
            .iter()
            .any(|end| word.ends_with(end))
    }
}

/// How a description begins.
struct Head {
    /// The first word after it.
    after: usize,
    /// Whether it has a name already.
    named: bool,
}

/// `the` before a common noun, or a name in the genitive. Directly after `Who is` or `What was` a
/// description is what the question asks for, and no part of it.
fn head(words: &[Word<'_>], start: usize) -> Option<Head> {
    let asked = start == 2
        && ["who", "what", "which"].contains(&words[0].lower().as_str())
        && ["is", "was", "are", "were"].contains(&words[1].lower().as_str());
    if asked {
        return None;
    }
    let word = &words[start];
    let common = |word: &Word<'_>| {
        word.text
            .starts_with(|c: char| c.is_lowercase() || c.is_numeric())
    };
    if word.lower() == "the" {
        let after = start + 1;
        return words.get(after).filter(|next| common(next)).map(|_| Head {
            after,
            named: false,
        });
    }
    // The first word of a question has a capital whatever it is, so it begins no name.
    let continues =
        start > 1 && words[start - 1].is_name() && !words[start - 1].text.ends_with(',');
    if start == 0 || continues {
        return None;
    }
    let name = words[start..].iter().take_while(|word| word.is_name());
    let genitive = name.enumerate().find(|(_, word)| word.is_possessive());
    genitive.map(|(length, _)| Head {
        after: start + length + 1,
        named: true,
    })
}

/// Where a description that begins at `start` may end: after a name, but not within one.
fn ends(words: &[Word<'_>], start: usize, head: &Head) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut named = head.named;
    for end in head.after..words.len().min(start + LONGEST) {
        let word = &words[end];
        let lower = word.lower();
        if ["what", "whom", "how"].contains(&lower.as_str()) || word.text.starts_with('#') {
            break;
        }
        named |= word.is_name();
        // Short words with a full stop are abbreviations.
        let sentence_ends =
            word.text.ends_with(['.', '!', '?', ';', ':']) && lower.chars().count() > 3;
        let within = word.is_name()
            && !word.text.ends_with(',')
            && !sentence_ends
            && words.get(end + 1).is_some_and(Word::is_name);
        if named && !within && !DANGLING.contains(&lower.as_str()) {
            ends.push(end);
        }
        if sentence_ends {
            break;
        }
    }
    ends
}

fn says_nothing(text: &str) -> bool {
    words(text).iter().all(|word| {
        let lower = word.lower();
        lower.is_empty() || EMPTY.contains(&lower.as_str())
    })
}

fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut at = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        let trimmed = word.trim_end();
        if !trimmed.is_empty() {
            words.push(Word { at, text: trimmed });
        }
        at += word.len();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_lean_on_a_name() {
        for (question, has) in [
            (
                "What is the name of the bridge in the country where the Tolva River is found?",
                "the country where the Tolva River is found",
            ),
            (
                "Who is the wife of Glass Harbor's main director?",
                "Glass Harbor's main director",
            ),
            (
                "When was the firm that Ann Lee, his aunt, founded closed?",
                "the firm that Ann Lee, his aunt, founded",
            ),
            (
                "In what year did the group Norden Ferries is part of go bankrupt?",
                "the group Norden Ferries is part of",
            ),
            (
                "How old is the capital of the state where Bo lives?",
                "the state where Bo lives",
            ),
            (
                "Where was Glass Harbor's director's wife born?",
                "Glass Harbor's director",
            ),
            (
                "In 1999 the band left the port of Oslo. Who is its singer?",
                "the port of Oslo.",
            ),
        ] {
            let found = descriptions(question);
            assert!(found.contains(&has), "{question}: {found:?}");
        }
    }

    #[test]
    fn what_is_asked_for_is_no_description() {
        for question in [
            "Who is the wife of Kim Lund?",
            "What is the average rainfall in Oslo?",
            "What is the name of the bridge in Oslo?",
            "What is the population of the capital of #1?",
            "Who founded the Marlow Institute?",
            "How many people live in the town?",
            "Ann Lee's brother starred in which film?",
            "湖边的城市叫什么?",
            "the",
            "",
        ] {
            assert_eq!(descriptions(question), [""; 0], "{question}");
        }
    }

    #[test]
    fn a_name_takes_the_place_of_a_phrase() {
        let cities = "Is the city of Yorkshire the city of York?";
        for (question, phrase, name, expected) in [
            (
                cities,
                "the city of York",
                "it",
                "Is the city of Yorkshire it?",
            ),
            (
                "Who is Bo's aunt's dog?",
                "Bo's aunt",
                "Ida",
                "Who is Ida's dog?",
            ),
            ("Who?", "the", "x", "Who?"),
            ("Who?", "", "x", "Who?"),
            ("城市在哪里?", "城市", "x", "城市在哪里?"),
        ] {
            assert_eq!(put(question, phrase, name), expected, "{phrase}");
        }
    }

    #[test]
    fn phrases_end_at_the_end_of_a_name_and_are_parts_of_the_question() {
        let question = "Who wrote the song that Nora Hart sang?";
        let found = descriptions(question);
        assert_eq!(
            found,
            ["the song that Nora Hart", "the song that Nora Hart sang"]
        );
        let many = (0..80).map(|number| format!("the man from {number} and "));
        let long = format!("Who knew {}me?", many.collect::<String>());
        let found = descriptions(&long);
        assert_eq!(found.len(), MOST);
        assert!(found.iter().all(|phrase| long.contains(phrase)));
    }
}
