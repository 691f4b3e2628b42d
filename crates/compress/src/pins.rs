//! What must not be lost of a result.

use agentinfer_protocol::{Message, Role};
use rustc_hash::FxHashSet;

use crate::block::result;
use crate::conversation::said;
use crate::terms::{Kind, Term, quotations, terms};
use crate::words::{Index, is_common, words};

/// Pins of a result at most. An agent that reads what it has written has used every word of it; to
/// keep them all would be to keep the result.
const MOST_PINS: usize = 64;

/// What must not be lost of a result: the numbers, names, URLs, identifiers and quoted words in it
/// that the user or the model has used too; if these are more than 64, those of the user first,
/// then of the model, each time the latest.
///
/// What the model has said stays in the conversation, verbatim; what it said them of is in the
/// result only. Of Chinese, names are found where they are quoted, in 《》, or written in Latin
/// letters: where others begin and end takes a dictionary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// Longest first, so that one added often adds others that it contains.
    pinned: Vec<String>,
}

impl Pins {
    /// The pins of the result at `index`; none when there is no result.
    pub fn of(messages: &[Message], index: usize) -> Self {
        result(messages, index).map_or_else(Self::default, |text| {
            Self::found(messages, &Index::of(&text))
        })
    }

    /// The pins of a result of which `index` is the index.
    pub(crate) fn found(messages: &[Message], index: &Index<'_>) -> Self {
        let mut known: FxHashSet<String> = FxHashSet::default();
        let mut pinned: Vec<String> = Vec::new();
        let by = |role: Role| messages.iter().rev().filter(move |it| it.role == role);
        for message in by(Role::User).chain(by(Role::Assistant)) {
            let text = said(message);
            let named = terms(&text).into_iter().chain(quotations(&text));
            for name in named.flat_map(|term| used(term, index)) {
                if pinned.len() < MOST_PINS && known.insert(name.to_owned()) {
                    pinned.push(name.to_owned());
                }
            }
            if pinned.len() == MOST_PINS {
                break;
            }
        }
        pinned.sort_by(|one, other| other.len().cmp(&one.len()).then(one.cmp(other)));
        Self { pinned }
    }

    /// Those that do not stand in `text` as a whole.
    pub fn missing(&self, text: &str) -> Vec<String> {
        let index = Index::of(text);
        let missing = self.pinned.iter().filter(|pin| !index.has(pin));
        missing.cloned().collect()
    }

    /// The pins, longest first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.pinned.iter().map(String::as_str)
    }

    /// Those that must be added to `text` so that none is missing, longest first; none that another
    /// contains.
    pub(crate) fn to_add(&self, text: &str) -> Vec<String> {
        let mut added: Vec<String> = Vec::new();
        for pin in self.missing(text) {
            let inside = |longer: &String| longer.contains(&pin) && Index::of(longer).has(&pin);
            if !added.iter().any(inside) {
                added.push(pin);
            }
        }
        added
    }
}

/// What of a term the result has: all, or of a name the words that it has.
fn used<'a>(term: Term<'a>, index: &Index<'_>) -> Vec<&'a str> {
    if index.has(term.text) {
        return vec![term.text];
    }
    match term.kind {
        Kind::Name => parts(term.text, index).collect(),
        _ => Vec::new(),
    }
}

/// The words of a name that the result has, though not the name as a whole.
fn parts<'a>(name: &'a str, index: &Index<'_>) -> impl Iterator<Item = &'a str> {
    let parts = words(name).map(|(_, word)| word);
    parts.filter(|word| {
        let named = word.starts_with(char::is_uppercase) && word.chars().count() > 2;
        named && !is_common(&word.to_lowercase()) && index.has(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(task: &str, thought: &str, result: &str) -> String {
        let messages = [
            Message::user(task),
            Message::assistant(thought),
            Message::new(Role::Tool, result),
        ];
        let pins = Pins::of(&messages, 2);
        assert_eq!(Pins::of(&messages, 1), Pins::default());
        pins.iter().collect::<Vec<_>>().join("|")
    }

    #[test]
    fn what_was_used_and_is_in_the_result_is_pinned() {
        for (task, thought, result, pinned) in [
            (
                "Who found ricin in 1888?",
                "I think of Hermann Stillmark, at Dorpat.",
                "In 1888 Peter Stillmark, of Dorpat (Tartu), 1889",
                "Stillmark|Dorpat|1888",
            ),
            (
                "Fix views.py",
                "I open ./a/views.py",
                "./a/views.py: 3",
                "./a/views.py|views.py",
            ),
            (
                "《西游记》的作者是谁",
                "",
                "《西游记》的作者是吴承恩",
                "西游记",
            ),
            ("", "The Derby", "the derby", ""),
        ] {
            assert_eq!(pins(task, thought, result), pinned, "{result}");
        }
    }

    #[test]
    fn a_longer_pin_adds_those_that_it_contains() {
        let pinned = ["Peter Stillmark", "Stillmark", "1888"].map(str::to_owned);
        let pins = Pins {
            pinned: pinned.to_vec(),
        };
        assert_eq!(pins.missing("in 1888"), ["Peter Stillmark", "Stillmark"]);
        assert_eq!(pins.to_add("in 1888"), ["Peter Stillmark"]);
        assert_eq!(pins.to_add("of Peter Stillmark's 1888"), [""; 0]);
    }
}
