//! Of several documents that are read together, the sentences that answer a question.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::units::{self, Unit};
use crate::words::content_words;

/// What stands between sentences that are not neighbours.
const GAP: &str = "\n";
/// Worth of a sentence that names another of the documents, in words of the question: it tells
/// how the one leads to the other.
const LINK: f64 = 2.0;

/// A document: its title and its text.
type Document<'a> = (&'a str, &'a str);

/// What is kept of each document (its title and its text), at most `most_bytes` bytes in all,
/// verbatim and in order: everything if that fits; else each document's first sentence, which says
/// what it is about, and then the sentences, of whichever document, that have most of the query's
/// words and name other documents. A word of a document's title says nothing about its sentences; a
/// rare word says more than a common one. Documents for which nothing is left are empty.
///
/// ```
/// use agentinfer_compress::passages;
///
/// let fortress = "Vaxholm is a fortress. It has thick walls and a moat that is always full. \
///     It was rebuilt by Axel Bergh, whose plans are kept in the museum of the town. \
///     In summer there are boats to it, and in winter one may walk over the ice to it.";
/// let bergh = "Axel Bergh was an engineer.";
/// let documents = [("Vaxholm", fortress), ("Axel Bergh", bergh)];
/// let kept = passages(&documents, "Who rebuilt Vaxholm?", 190);
/// let rebuilt = "It was rebuilt by Axel Bergh, whose plans are kept in the museum of the town.";
/// assert!(kept[0].ends_with(rebuilt));
/// assert_eq!(kept[1], bergh);
/// ```
pub fn passages(documents: &[Document<'_>], query: &str, most_bytes: usize) -> Vec<String> {
    let whole: usize = documents.iter().map(|(_, text)| text.len()).sum();
    if whole <= most_bytes {
        return documents
            .iter()
            .map(|(_, text)| (*text).to_owned())
            .collect();
    }
    let mut sentences = Sentence::of_all(documents, query);
    sentences.sort_by(|one, other| {
        let leads = other.leads.cmp(&one.leads);
        leads.then(other.worth.total_cmp(&one.worth))
    });
    let mut room = most_bytes;
    let mut kept: Vec<Vec<Unit>> = vec![Vec::new(); documents.len()];
    for sentence in sentences {
        let cost = sentence.unit.range.len() + GAP.len();
        if cost <= room {
            room -= cost;
            kept[sentence.document].push(sentence.unit);
        }
    }
    let texts = documents.iter().zip(kept);
    texts.map(|((_, text), kept)| joined(text, kept)).collect()
}

/// A sentence of one of the documents.
struct Sentence {
    /// Which document, from 0.
    document: usize,
    /// Where it stands there.
    unit: Unit,
    /// Whether it is the document's first.
    leads: bool,
    /// How much it has to do with the question.
    worth: f64,
}

impl Sentence {
    /// All sentences of all documents, in order.
    fn of_all(documents: &[Document<'_>], query: &str) -> Vec<Self> {
        let mut sentences = Vec::new();
        let mut words = Vec::new();
        for (document, (_, text)) in documents.iter().enumerate() {
            for (number, unit) in units::sentences(text).into_iter().enumerate() {
                words.push(content(&text[unit.range.clone()]));
                sentences.push(Self {
                    document,
                    unit,
                    leads: number == 0,
                    worth: 0.0,
                });
            }
        }
        let titles = documents.iter().map(|(title, _)| content(bare(title)));
        let titles: Vec<FxHashSet<u64>> = titles.collect();
        let rarity = rarity(&words, &content(query));
        for (sentence, words) in sentences.iter_mut().zip(&words) {
            let said = |word: &&u64| !titles[sentence.document].contains(word);
            let asked = words
                .iter()
                .filter(said)
                .filter_map(|word| rarity.get(word));
            let others = titles.iter().enumerate().filter(|(number, title)| {
                *number != sentence.document && !title.is_empty() && title.is_subset(words)
            });
            sentence.worth = asked.sum::<f64>() + LINK * others.count() as f64;
        }
        sentences
    }
}

/// How rare each of the asked words is among the sentences that have it.
fn rarity(sentences: &[FxHashSet<u64>], asked: &FxHashSet<u64>) -> FxHashMap<u64, f64> {
    let mut spread: FxHashMap<u64, f64> = FxHashMap::default();
    for word in sentences
        .iter()
        .flatten()
        .filter(|word| asked.contains(word))
    {
        *spread.entry(*word).or_default() += 1.0;
    }
    for spread in spread.values_mut() {
        *spread = (1.0 + sentences.len() as f64 / *spread).ln();
    }
    spread
}

/// The words that tell what a text is about.
fn content(text: &str) -> FxHashSet<u64> {
    let mut words = FxHashSet::default();
    content_words(text, |word| {
        words.insert(word);
    });
    words
}

/// A title without what tells it from others of its name: `Winter Song (band)`.
fn bare(title: &str) -> &str {
    let end = title.find(" (").filter(|_| title.ends_with(')'));
    &title[..end.unwrap_or(title.len())]
}

/// Some of a text's sentences, in order; those that are neighbours as they stand.
fn joined(text: &str, mut kept: Vec<Unit>) -> String {
    kept.sort_by_key(|unit| unit.range.start);
    let mut shortened = String::new();
    let mut end = 0;
    for unit in kept {
        let between = &text[end..unit.range.start];
        match between.trim().is_empty() {
            true if shortened.is_empty() => {}
            true => shortened.push_str(between),
            false if shortened.is_empty() => {}
            false => shortened.push_str(GAP),
        }
        end = unit.range.end;
        shortened.push_str(&text[unit.range]);
    }
    shortened
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text of one line with a sentence for each part.
    fn line(parts: &[&str]) -> String {
        parts.join(" ")
    }

    fn novel() -> String {
        line(&[
            "Cold Shore is a novel of three hundred pages that was printed in Leeds.",
            "It begins on an island where nobody has lived for more than forty years.",
            "It was written by Ann Hill while she taught at a school in the north.",
            "A film of it was shown at the Kiruna Festival and never seen again anywhere.",
        ])
    }

    #[test]
    fn what_fits_is_left_alone() {
        let novel = novel();
        let documents = [("Cold Shore", &*novel), ("Leeds", "Leeds is a city.")];
        let whole = passages(&documents, "Who?", novel.len() + 16);
        assert_eq!(whole, [&*novel, "Leeds is a city."]);
    }

    #[test]
    fn the_beginnings_stay_and_then_what_was_asked() {
        let novel = novel();
        let documents = [("Cold Shore", &*novel), ("Leeds", "Leeds is a city.")];
        let kept = passages(&documents, "At which festival was the film shown?", 180);
        let expected = "Cold Shore is a novel of three hundred pages that was printed in Leeds.\n\
             A film of it was shown at the Kiruna Festival and never seen again anywhere.";
        assert_eq!(kept, [expected, "Leeds is a city."]);
    }

    #[test]
    fn a_sentence_that_leads_to_another_document_counts() {
        let novel = novel();
        let hill = "Ann Hill is a writer.";
        let documents = [("Cold Shore", &*novel), ("Ann Hill (writer)", hill)];
        let kept = passages(&documents, "Who is the mother of Cold Shore's maker?", 190);
        assert!(kept[0].ends_with("a school in the north."), "{kept:?}");
    }

    #[test]
    fn words_of_the_title_say_nothing_of_a_sentence() {
        let text = line(&[
            "Tern Lake lies in Holm County and is known for its birds and its reeds.",
            "Tern Lake is called Tern Lake because of the terns that come to Tern Lake.",
            "Its owner is the county, which bought all of it from a family of fishers.",
        ]);
        let kept = passages(
            &[("Tern Lake", &text)],
            "Who is the owner of Tern Lake?",
            160,
        );
        assert!(
            kept[0].contains("Its owner") && !kept[0].contains("because"),
            "{kept:?}"
        );
    }

    #[test]
    fn no_more_bytes_than_there_is_room_for() {
        let novel = novel();
        let documents = [
            ("Cold Shore", &*novel),
            ("谷", "谷中有一座小城。城里有一条河。"),
        ];
        for most in 0..novel.len() + 60 {
            let kept = passages(&documents, "谁写了 Cold Shore?", most);
            assert!(
                kept.iter().map(String::len).sum::<usize>() <= most,
                "{most}"
            );
        }
        assert_eq!(passages(&documents, "?", 3), ["", ""]);
        assert!(passages(&[], "?", 3).is_empty());
    }
}
