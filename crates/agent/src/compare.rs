//! Comparing what a question names. The model reads a value of each thing; numbers and years are
//! compared here, because models of one or two billion parameters read them right and then take
//! 1961 for earlier than 1958 about every other time.

use crate::evidence::words;
use crate::question::AnswerKind;

/// Words that ask for the thing with the lower value.
const LOWER: [&str; 19] = [
    "older", "oldest", "elder", "eldest", "first", "earlier", "earliest", "before", "fewer",
    "fewest", "less", "least", "smaller", "smallest", "shorter", "shortest", "lower", "lowest",
    "nearer",
];

/// Words that ask for the thing with the higher value.
const HIGHER: [&str; 22] = [
    "younger", "youngest", "later", "latest", "last", "newer", "newest", "recently", "more",
    "most", "larger", "largest", "bigger", "biggest", "greater", "greatest", "higher", "highest",
    "taller", "tallest", "longer", "longest",
];

/// A thing and what the documents say about it.
pub(crate) type Value = (String, String);

/// The answer that the values alone decide; none where they are not numbers, or where the
/// question asks for something else than which is more or whether they are the same.
pub(crate) fn decide(question: &str, kind: &AnswerKind, values: &[Value]) -> Option<String> {
    let [(one, first), (two, second)] = values else {
        return None;
    };
    let asked = words(question);
    let asks = |list: &[&str]| asked.iter().any(|word| list.contains(&word.as_str()));
    let numbers = number(first).zip(number(second));
    match kind {
        AnswerKind::Choice(_) => {
            let (first, second) = numbers.filter(|(first, second)| first != second)?;
            let lower = match (asks(&LOWER), asks(&HIGHER)) {
                (true, false) => true,
                (false, true) => false,
                _ => return None,
            };
            let answer = if (first < second) == lower { one } else { two };
            Some(answer.clone())
        }
        AnswerKind::YesNo if asks(&["same"]) => {
            let same = match numbers {
                Some((first, second)) => first == second,
                None if words(first) == words(second) => true,
                None if alike(first, second) => return None,
                None => false,
            };
            Some(if same { "yes" } else { "no" }.to_owned())
        }
        _ => None,
    }
}

/// The year in a text, else its first number.
fn number(text: &str) -> Option<f64> {
    let digits = |c: char| c.is_ascii_digit() || c == ',' || c == '.';
    let mut numbers = text.split(|c| !digits(c)).filter_map(|part| {
        let bare = part.trim_matches(|c: char| !c.is_ascii_digit());
        let value: f64 = bare.replace(',', "").parse().ok()?;
        Some((bare.len() == 4, value))
    });
    let first = numbers.next()?;
    let year = std::iter::once(first)
        .chain(numbers)
        .find(|&(four_digits, value)| four_digits && (1000.0..2100.0).contains(&value));
    Some(year.unwrap_or(first).1)
}

/// Whether two values may mean the same in other words: `Norway` and `Norwegian`, `film and stage
/// director` and `director`. Then it takes a reader to tell.
fn alike(first: &str, second: &str) -> bool {
    const STEM: usize = 3;
    let stem = |word: &String| word.chars().take(STEM).collect::<String>();
    let stems: Vec<_> = words(first).iter().map(stem).collect();
    words(second).iter().any(|word| stems.contains(&stem(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(question: &str, first: &str, second: &str) -> Option<String> {
        let values = [("A", first), ("B", second)];
        let values = values.map(|(thing, value)| (thing.to_owned(), value.to_owned()));
        decide(question, &AnswerKind::of(question), &values)
    }

    #[test]
    fn numbers_decide_a_choice() {
        for (question, first, second, expected) in [
            ("Who is older, A or B?", "1961", "3 March 1958", Some("B")),
            ("Who is younger, A or B?", "1961", "1958", Some("A")),
            (
                "Which ran first, A or B?",
                "1911 to 1920",
                "1936",
                Some("A"),
            ),
            (
                "Which town has more people, A or B?",
                "9,750",
                "12,400",
                Some("B"),
            ),
            ("Which is taller, A or B?", "7.5 m", "about 12 m", Some("B")),
            ("Who is older, A or B?", "1958", "1958", None),
            ("Who is older, A or B?", "1958", "unknown", None),
            ("Which is from Norway, A or B?", "1958", "1961", None),
            ("Which had more in its first year, A or B?", "1", "2", None),
        ] {
            assert_eq!(
                decided(question, first, second).as_deref(),
                expected,
                "{question}"
            );
        }
    }

    #[test]
    fn values_decide_whether_things_are_the_same() {
        const SAME: &str = "Are A and B in the same country?";
        for (first, second, expected) in [
            ("Iowa", "Kansas", Some("no")),
            ("the USA", "The USA", Some("yes")),
            ("1987", "in 1987", Some("yes")),
            ("1987", "1992", Some("no")),
            ("Norway", "Norwegian", None),
            ("Bergen, Norway", "Oslo, Norway", None),
        ] {
            assert_eq!(decided(SAME, first, second).as_deref(), expected, "{first}");
        }
        assert_eq!(decided("Are A and B both in Iowa?", "Iowa", "Kansas"), None);
    }
}
