//! Originals, in parts if they are long.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::units::{Unit, units};
use crate::words::{Index, content_words};

/// What stands where something was left out.
const GAP: &str = "\n…\n";
/// Worth of a unit that has the query word for word, in words of the query.
const VERBATIM: f64 = 20.0;
/// How far from a passage its surroundings reach, in units.
const FARTHEST: usize = 50;
/// Around how many passages there are surroundings: with more they would be snippets.
const MOST_CENTRES: usize = 8;

/// The part of an original that answers a query, verbatim and of at most `most_bytes` bytes: all of
/// it if that fits; else the passages with the query's words, each with what is around it, and `…`
/// between them; else, without a query or where none of its words occurs, the beginning and the
/// end.
///
/// ```
/// use agentinfer_compress::recall;
///
/// let original = "first line\n".repeat(50) + "the answer is 42\n" + &"last line\n".repeat(50);
/// let found = recall(&original, Some("what is the answer?"), 100);
/// assert!(found.contains("the answer is 42") && found.len() <= 100);
/// ```
pub fn recall(original: &str, query: Option<&str>, most_bytes: usize) -> String {
    if original.len() <= most_bytes {
        return original.to_owned();
    }
    let units = units(original);
    let worth = query.map(|query| worth(original, &units, query));
    match worth.filter(|worth| worth.iter().any(|it| *it > 0.0)) {
        Some(worth) => joined(
            original,
            &units,
            &chosen(&units, &worth, most_bytes),
            most_bytes,
        ),
        None => ends(original, most_bytes),
    }
}

/// What each unit is worth to the query: its words that the unit has, by rarity.
fn worth(original: &str, units: &[Unit], query: &str) -> Vec<f64> {
    let mut asked = FxHashSet::default();
    content_words(query, |word| {
        asked.insert(word);
    });
    let mut spread: FxHashMap<u64, f64> = FxHashMap::default();
    let mut found: Vec<FxHashSet<u64>> = Vec::new();
    for unit in units {
        let mut words = FxHashSet::default();
        content_words(&original[unit.range.clone()], |word| {
            if asked.contains(&word) {
                words.insert(word);
            }
        });
        for word in &words {
            *spread.entry(*word).or_default() += 1.0;
        }
        found.push(words);
    }
    let rarity = |word: &u64| {
        let spread = spread.get(word).copied().unwrap_or(1.0);
        (1.0 + units.len() as f64 / spread).ln()
    };
    let worth = found.iter().map(|words| words.iter().map(rarity).sum());
    let mut worth: Vec<f64> = worth.collect();
    for place in Index::of(original).places(query.trim()) {
        let after = units.partition_point(|unit| unit.range.start <= place);
        if let Some(worth) = after.checked_sub(1).and_then(|at| worth.get_mut(at)) {
            *worth += VERBATIM;
        }
    }
    worth
}

/// The units that are worth most, and then those around them, as many as fit; in order.
fn chosen(units: &[Unit], worth: &[f64], most_bytes: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..units.len()).filter(|at| worth[*at] > 0.0).collect();
    order.sort_by(|one, other| worth[*other].total_cmp(&worth[*one]).then(one.cmp(other)));
    let mut taken = vec![false; units.len()];
    let mut room = most_bytes;
    let mut take = |at: usize, room: &mut usize| {
        let cost = units[at].range.len() + GAP.len();
        if !taken[at] && cost <= *room {
            taken[at] = true;
            *room -= cost;
        }
    };
    for &at in order.iter().take(1) {
        take(at, &mut room);
    }
    // Half of the room is for what is around the best, without which they say little.
    let mut for_best = room / 2;
    let spare = room - for_best;
    for &at in &order {
        take(at, &mut for_best);
    }
    room = spare + for_best;
    for distance in 1..units.len() {
        let shortest = GAP.len() + 1;
        if room < shortest || distance > FARTHEST {
            break;
        }
        for &at in order.iter().take(MOST_CENTRES) {
            let around = [at.checked_sub(distance), Some(at + distance)];
            for near in around.into_iter().flatten().filter(|it| *it < units.len()) {
                take(near, &mut room);
            }
        }
    }
    (0..units.len()).filter(|at| taken[*at]).collect()
}

/// The chosen units; the beginning of the original where none fits.
fn joined(original: &str, units: &[Unit], chosen: &[usize], most_bytes: usize) -> String {
    let mut text = String::new();
    let mut before: Option<usize> = None;
    for &at in chosen {
        let same_line = before.is_some_and(|one| units[one].line == units[at].line);
        match before {
            None => {}
            Some(one) if one + 1 == at && same_line => text.push(' '),
            Some(one) if one + 1 == at => text.push('\n'),
            Some(_) => text.push_str(GAP),
        }
        text.push_str(&original[units[at].range.clone()]);
        before = Some(at);
    }
    match text.is_empty() {
        true => ends(original, most_bytes),
        false => text,
    }
}

/// The beginning and the end of a text that is longer than that.
fn ends(text: &str, most_bytes: usize) -> String {
    let Some(room) = most_bytes.checked_sub(GAP.len()) else {
        return text[..boundary(text, most_bytes)].to_owned();
    };
    let first = boundary(text, room - room / 2);
    let last = text.len() - room / 2;
    let whole = (last..=text.len()).find(|at| text.is_char_boundary(*at));
    [&text[..first], GAP, &text[whole.unwrap_or(text.len())..]].concat()
}

/// The last place up to `most` where a character ends.
fn boundary(text: &str, most: usize) -> usize {
    let mut ends = (0..=most.min(text.len())).rev();
    ends.find(|at| text.is_char_boundary(*at))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_whole_and_what_does_not_keeps_its_ends() {
        for (most, query, expected) in [
            (20, None, "abcdefghijklmnop"),
            (16, Some("zzz"), "abcdefghijklmnop"),
            (11, None, "abc\n…\nnop"),
            (4, None, "abcd"),
            (0, None, ""),
        ] {
            assert_eq!(recall("abcdefghijklmnop", query, most), expected, "{most}");
        }
        assert_eq!(recall("ééé", None, 3), "é");
    }

    #[test]
    fn passages_come_with_their_surroundings() {
        let line = |at: usize| match at {
            70 => "def repro_view(request):\n".to_owned(),
            _ => format!("line {at} of the file\n"),
        };
        let original: String = (0..100).map(line).collect();
        let found = recall(&original, Some("where is repro_view?"), 200);
        assert!(
            found.contains("line 69 of the file\ndef repro_view(request):\nline 71"),
            "{found}"
        );
        assert!(found.len() <= 200 && !found.contains("line 5 "), "{found}");
    }

    #[test]
    fn what_stands_there_word_for_word_goes_first() {
        let original = "the old house\n".repeat(30) + "the house is old\n";
        let found = recall(&original, Some("house is old"), 40);
        assert!(found.contains("the house is old"), "{found}");
    }
}
