//! What a question asks for, read off its words.

/// The form that an answer must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AnswerKind {
    /// Yes or no.
    YesNo,
    /// One of the things that the question names.
    Choice(Vec<String>),
    /// A number or a date: there must be a digit or a numeral in it.
    Quantity,
    /// Anything else.
    Open,
}

/// Words that begin a question for yes or no.
const AUXILIARIES: [&str; 20] = [
    "is", "are", "was", "were", "am", "do", "does", "did", "has", "have", "had", "can", "could",
    "will", "would", "should", "may", "might", "must", "shall",
];

/// Numerals that small numbers are written with.
const NUMERALS: [&str; 25] = [
    "once", "twice", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight",
    "nine", "ten", "eleven", "twelve", "dozen", "twenty", "thirty", "hundred", "thousand",
    "million", "billion", "century", "first", "second",
];

impl AnswerKind {
    /// Reads the form off the question's last sentence.
    pub(crate) fn of(question: &str) -> Self {
        let last = last_sentence(question);
        let lower = last.to_lowercase();
        let first = lower.split_whitespace().next().unwrap_or_default();
        let alternatives = lower.contains(" or ") && !lower.contains("both ");
        let chinese = lower.contains("是否") || lower.trim_end_matches('?').ends_with('吗');
        // A title may begin like such a question; then the question word comes later.
        let asked = ["what ", "which year", "how many", "in which"];
        let open = asked.iter().any(|words| lower.contains(words));
        if (AUXILIARIES.contains(&first) && !alternatives && !open) || chinese {
            return Self::YesNo;
        }
        if let Some(choices) = choices(last) {
            return Self::Choice(choices);
        }
        let asks = |words: &str| lower.starts_with(words) || lower.contains(&format!(" {words}"));
        let quantity = ["how many", "how much", "what year", "which year"];
        let when = first == "when" || lower.trim_end_matches(['?', ' ']).ends_with(" when");
        if quantity.iter().any(|words| asks(words)) || when {
            return Self::Quantity;
        }
        Self::Open
    }

    /// Whether the question is about things that it names, and only asks how they compare.
    pub(crate) fn compares(&self) -> bool {
        matches!(self, Self::YesNo | Self::Choice(_))
    }

    /// Whether an answer has this form.
    pub(crate) fn fits(&self, answer: &str) -> bool {
        let lower = answer.to_lowercase();
        match self {
            Self::YesNo => lower == "yes" || lower == "no",
            Self::Choice(choices) => choices.iter().any(|choice| choice == answer),
            Self::Quantity => {
                let mut words = lower.split(|c: char| !c.is_alphanumeric());
                lower.contains(|c: char| c.is_numeric())
                    || words.any(|word| NUMERALS.contains(&word))
            }
            Self::Open => !lower.trim().is_empty(),
        }
    }
}

/// The question proper, where sentences lead up to it. A full stop after a short word or a
/// capital is an abbreviation's, unless a question for yes or no begins behind it.
fn last_sentence(question: &str) -> &str {
    let question = question.trim();
    let inner = question.trim_end_matches(['?', '.', '!', ' ']);
    let mut ends = inner.match_indices(['.', '?', '!']).filter(|&(at, mark)| {
        let word = inner[..at].rsplit(' ').next().unwrap_or_default();
        let next = inner[at + 1..]
            .split_whitespace()
            .next()
            .unwrap_or_default();
        let asks = next.starts_with(char::is_uppercase)
            && AUXILIARIES.contains(&next.to_lowercase().as_str());
        let word_ends = word.len() > 3 && !word.starts_with(char::is_uppercase);
        (mark != "." || word_ends || asks) && inner[at + 1..].starts_with(' ')
    });
    match ends.next_back() {
        Some((end, _)) => question[end + 1..].trim_start(),
        None => question,
    }
}

/// `Which plant is larger, the Pterocarya or the Cotula?`: the two names around the last `or`.
fn choices(question: &str) -> Option<Vec<String>> {
    let (before, after) = question.rsplit_once(" or ")?;
    let left: Vec<_> = before.split_whitespace().collect();
    let from = left.iter().rposition(|word| !is_name(word));
    let start = from.map_or(0, |last| last + 1);
    // A comma ends the phrase before the name, whatever is written with a capital there.
    let comma = left.iter().rposition(|word| word.ends_with(','));
    let left = left[start.max(comma.map_or(0, |last| last + 1))..].join(" ");
    let right = after.split_whitespace();
    let right = right.skip_while(|word| word.eq_ignore_ascii_case("the"));
    let right: Vec<_> = right.take_while(|word| is_name(word)).collect();
    let right = right.join(" ");
    let clean = |name: &str| {
        let name = name.trim_matches(|c: char| c.is_whitespace() || "?,;:\"".contains(c));
        name.to_owned()
    };
    let (left, right) = (clean(&left), clean(&right));
    (!left.is_empty() && !right.is_empty() && left != right).then(|| vec![left, right])
}

/// Whether a word is part of a name: it has a capital or a digit, or joins such words.
fn is_name(word: &str) -> bool {
    let inner = word.trim_matches(|c: char| !c.is_alphanumeric());
    inner.starts_with(|c: char| c.is_uppercase() || c.is_numeric())
        || ["of", "de", "von", "van", "&", "al"].contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        use AnswerKind::{Open, Quantity, YesNo};
        let choice = |a: &str, b: &str| AnswerKind::Choice(vec![a.to_owned(), b.to_owned()]);
        for (question, kind) in [
            ("Are Ann and Ben both doctors?", YesNo),
            ("Ann has a medal. Does Ben have one?", YesNo),
            ("Ann Lee has an OBE. Does Ben Lee have one?", YesNo),
            ("Are Oslo and Bergen in the same country?", YesNo),
            ("北京是否在中国?", YesNo),
            (
                "Do Lunes is a remake of Home, released in which year?",
                Quantity,
            ),
            (
                "Which plant is larger, the Ash or the Oak?",
                choice("Ash", "Oak"),
            ),
            (
                "Which band formed first The Reds or Blue Moon ?",
                choice("The Reds", "Blue Moon"),
            ),
            (
                "Who is older, Ann Lee or J. de Boer?",
                choice("Ann Lee", "J. de Boer"),
            ),
            ("When did it open?", Quantity),
            ("How many records or more did she sell?", Quantity),
            ("The band formed in what year?", Quantity),
            ("It sank on a ship that was built when?", Quantity),
            ("Who directed the film shot in or around Oslo?", Open),
            ("Are Dr. May and St. James the same person?", YesNo),
            ("", Open),
        ] {
            assert_eq!(AnswerKind::of(question), kind, "{question}");
        }
    }

    #[test]
    fn fitting_answers() {
        for (question, answer, fits) in [
            ("When did it open?", "in May 1998", true),
            ("When did it open?", "Oslo", false),
            ("How many times?", "twice", true),
            ("Is it?", "perhaps", false),
            ("Who is it?", "Ann", true),
            ("Who is it?", " ", false),
        ] {
            assert_eq!(
                AnswerKind::of(question).fits(answer),
                fits,
                "{question} {answer}"
            );
        }
    }
}
