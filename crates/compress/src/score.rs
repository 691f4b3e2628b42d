//! What the pieces of a result are worth.
//!
//! A result is a set of units, and a unit a set of *items*: words that the conversation is about,
//! and things it names. An item has a weight, and counts in full only once: what has been kept need
//! not be kept again. So choosing units is maximizing a submodular sum under a budget, and taking
//! what adds most per token, again and again, is nearly the best (Lin and Bilmes 2010).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::block::{Original, result};
use crate::class::Class;
use crate::interest::Interest;
use crate::pins::Pins;
use crate::terms::{Kind, Term, terms};
use crate::units::{Unit, units};
use crate::words::{Index, content_words, hash};

// These weights were chosen on recorded sessions (`agentinfer bench compress`). Words of interest
// weigh about 1 to 10 together in a unit.

/// Weight of a pin.
const PIN: f64 = 3.0;
/// Weight of a named thing before what it is and where it stands are looked at.
const NAMED: f64 = 3.0;
/// Weight of a word that nobody spoke of, before its rarity.
const OTHER_WORD: f64 = 0.05;
/// What an item adds that a kept unit has already, as a share of its weight.
const AGAIN: f64 = 0.1;
/// What a line adds, as a share, that stands further up too, or in a later result, which is
/// distilled in its turn.
const SEEN: f64 = 0.3;
/// Tokens that a unit costs beside its text.
const UNIT_TOKENS: f64 = 1.0;

/// A unit and what it is worth.
struct Piece {
    unit: Unit,
    tokens: f64,
    items: Vec<usize>,
    class: Class,
    /// What of its worth counts: less where the same is said elsewhere.
    share: f64,
}

/// Something that the result names.
struct Named<'a> {
    text: &'a str,
    item: usize,
    tokens: f64,
}

/// A result, weighed.
pub(crate) struct Scored<'a> {
    text: &'a str,
    /// Tokens of a byte.
    per_byte: f64,
    pieces: Vec<Piece>,
    /// By item.
    weights: Vec<f64>,
    /// In the order of the text, each once.
    named: Vec<Named<'a>>,
}

/// Items by what they are.
#[derive(Default)]
struct Items {
    numbers: FxHashMap<u64, usize>,
    weights: Vec<f64>,
}

impl Items {
    /// The item's number; its weight becomes `weight` if that is more.
    fn weigh(&mut self, key: u64, weight: f64) -> usize {
        let next = self.weights.len();
        let item = *self.numbers.entry(key).or_insert(next);
        if item == next {
            self.weights.push(weight);
        } else if let Some(known) = self.weights.get_mut(item) {
            *known = known.max(weight);
        }
        item
    }
}

impl<'a> Scored<'a> {
    /// Weighs a result; `index` is of its text.
    pub(crate) fn of(original: &'a Original<'_>, index: &Index<'_>, pins: &Pins) -> Self {
        let text = original.text.as_str();
        let per_byte = f64::from(original.tokens) / text.len().max(1) as f64;
        let units = units(text);
        let words = Words::of(text, &units, original);
        let later = later_lines(original);
        let edges = words.edges();
        let mut items = Items::default();
        let mut lines = FxHashSet::default();
        let pieces = units.into_iter().enumerate().map(|(number, unit)| {
            let line = &text[unit.range.clone()];
            let seen = later.contains(line.trim()) || !lines.insert(line.trim());
            Piece {
                tokens: UNIT_TOKENS + line.len() as f64 * per_byte,
                items: words.items(number, &mut items),
                class: Class::of(line, edges.contains(&Some(number))),
                share: if seen { SEEN } else { 1.0 },
                unit,
            }
        });
        let mut scored = Self {
            text,
            per_byte,
            pieces: pieces.collect(),
            weights: Vec::new(),
            named: Vec::new(),
        };
        scored.add_names(&mut items, &words);
        for pin in pins.iter() {
            let item = items.weigh(!hash(pin), PIN);
            index.places(pin).for_each(|at| scored.give(at, item));
        }
        for piece in &mut scored.pieces {
            piece.items.sort_unstable();
            piece.items.dedup();
        }
        scored.weights = items.weights;
        scored
    }

    /// Adds what the text names to the units that name it.
    fn add_names(&mut self, items: &mut Items, words: &Words) {
        let found = terms(self.text);
        let mut counts: FxHashMap<&str, (usize, f64)> = FxHashMap::default();
        for term in &found {
            let near = self.piece_at(term.start);
            let near = near.and_then(|piece| words.relevance.get(piece));
            let (count, relevance) = counts.entry(term.text).or_default();
            *count += 1;
            *relevance = near.map_or(*relevance, |near| relevance.max(*near));
        }
        let mut series: FxHashMap<String, f64> = FxHashMap::default();
        for name in counts.keys() {
            *series.entry(without_digits(name)).or_default() += 1.0;
        }
        for term in found {
            // The complement keeps them apart from words.
            let key = !hash(term.text);
            let new = !items.numbers.contains_key(&key);
            let (count, relevance) = counts.get(term.text).copied().unwrap_or_default();
            let often = 1.0 + 0.5 * (count.max(1) as f64).ln();
            let alike = series.get(&without_digits(term.text)).copied();
            let alike = 1.0 + alike.unwrap_or(1.0).ln();
            let weight = NAMED * telling(self.text, term) * often / alike;
            let item = items.weigh(key, weight * (0.4 + 0.6 * relevance));
            self.give(term.start, item);
            if new {
                self.named.push(Named {
                    text: term.text,
                    item,
                    tokens: self.cost(term.text),
                });
            }
        }
    }

    /// Tokens of a name in a list, about.
    pub(crate) fn cost(&self, name: &str) -> f64 {
        UNIT_TOKENS + name.len() as f64 * self.per_byte
    }

    /// The unit that has what stands at `at`, in bytes.
    fn piece_at(&self, at: usize) -> Option<usize> {
        let after = self
            .pieces
            .partition_point(|piece| piece.unit.range.start <= at);
        after.checked_sub(1)
    }

    fn give(&mut self, at: usize, item: usize) {
        let piece = self.piece_at(at);
        if let Some(piece) = piece.and_then(|piece| self.pieces.get_mut(piece)) {
            piece.items.push(item);
        }
    }

    /// The units to keep within so many tokens, in order, and which items they have.
    pub(crate) fn pick(&self, mut tokens: f64) -> Picked {
        let mut picked = Picked {
            units: Vec::new(),
            covered: vec![false; self.weights.len()],
        };
        let mut classes = [0_u32; Class::ALL];
        let worth = |piece: &Piece, picked: &Picked, classes: &[u32; Class::ALL]| {
            let items = piece.items.iter().map(|item| {
                let again = picked.covered.get(*item) == Some(&true);
                let weight = self.weights.get(*item).copied().unwrap_or_default();
                weight * if again { AGAIN } else { 1.0 }
            });
            // A hundred errors are not a hundred times as telling as one.
            let alike = f64::from(1 + classes[piece.class as usize]);
            let worth = items.sum::<f64>() + piece.class.weight() / alike;
            Worth::new(piece.share * worth / piece.tokens)
        };
        let pieces = self.pieces.iter().enumerate();
        let pieces = pieces.map(|(at, piece)| (worth(piece, &picked, &classes), Reverse(at)));
        let mut queue: BinaryHeap<(Worth, Reverse<usize>)> = pieces.collect();
        while let Some((known, Reverse(at))) = queue.pop() {
            let piece = &self.pieces[at];
            if known == Worth(0) {
                break;
            }
            if piece.tokens > tokens {
                continue;
            }
            // Worth only declines, so what is still the best is the best of all.
            let now = worth(piece, &picked, &classes);
            if queue.peek().is_some_and(|(next, _)| *next > now) {
                queue.push((now, Reverse(at)));
                continue;
            }
            tokens -= piece.tokens;
            classes[piece.class as usize] += 1;
            picked.units.push(at);
            for item in &piece.items {
                picked.covered[*item] = true;
            }
        }
        picked.units.sort_unstable();
        picked
    }

    /// Tokens of what was picked, about.
    pub(crate) fn tokens(&self, picked: &Picked) -> f64 {
        let pieces = picked.units.iter().filter_map(|at| self.pieces.get(*at));
        pieces.map(|piece| piece.tokens).sum()
    }

    /// Which things to name besides what was picked, the best for so many tokens, in order.
    pub(crate) fn also(&self, picked: &Picked, mut tokens: f64) -> Vec<&'a str> {
        let missing = self.named.iter().enumerate();
        let missing = missing.filter(|(_, named)| !picked.covered[named.item]);
        let mut best: Vec<(Worth, usize)> = missing
            .map(|(at, named)| (Worth::new(self.weights[named.item] / named.tokens), at))
            .collect();
        best.sort_unstable_by_key(|(worth, at)| (Reverse(*worth), *at));
        let mut chosen = Vec::new();
        for (_, at) in best {
            if self.named[at].tokens <= tokens {
                tokens -= self.named[at].tokens;
                chosen.push(at);
            }
        }
        chosen.sort_unstable();
        chosen.into_iter().map(|at| self.named[at].text).collect()
    }

    /// What was picked as text, in which `…` stands where something is left out of a line, and
    /// before a line of a listing that did not follow the one before.
    pub(crate) fn text(&self, picked: &Picked) -> String {
        let listing = is_listing(self.text);
        let mut text = String::new();
        let mut before: Option<(usize, usize)> = None;
        for &at in &picked.units {
            let Unit { range, line } = &self.pieces[at].unit;
            match before {
                None => {}
                Some((one, same)) if same == *line && one + 1 == at => text.push(' '),
                Some((_, same)) if same == *line => text.push_str(" … "),
                Some((one, _)) if listing && one + 1 != at => text.push_str("\n…"),
                Some(_) => text.push('\n'),
            }
            text.push_str(&self.text[range.clone()]);
            before = Some((at, *line));
        }
        text
    }
}

/// What was chosen to stay.
pub(crate) struct Picked {
    units: Vec<usize>,
    covered: Vec<bool>,
}

/// Worth per token in millionths, so that it has an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Worth(u64);

impl Worth {
    fn new(worth: f64) -> Self {
        Self((worth * 1e6) as u64)
    }
}

/// A name with its numbers left out: what a series of names has in common. Of a number that may be
/// a year, nothing is left out.
fn without_digits(name: &str) -> String {
    let is_year = name.len() == 4 && name.bytes().all(|b| b.is_ascii_digit());
    let kept = name.chars().filter(|c| is_year || !c.is_ascii_digit());
    kept.collect()
}

/// How much a thing tells that is named once, as a share: a day of a month less than a year, a word
/// that begins a sentence less than one that has a capital inside of it.
fn telling(text: &str, term: Term<'_>) -> f64 {
    match term.kind {
        Kind::Url => 0.5,
        Kind::Number if term.text.len() < 3 => 0.2,
        Kind::Number => 0.8,
        Kind::Name if !term.text.contains(' ') && begins(text, term.start) => 0.4,
        _ => 1.0,
    }
}

/// Whether a sentence or a line begins at `at`.
fn begins(text: &str, at: usize) -> bool {
    let before = text[..at].trim_end_matches([' ', '"', '(', '[', '-', '*']);
    before.is_empty() || before.ends_with(['.', '!', '?', '\n', ':', '·'])
}

/// Whether most lines are short, so that it matters which ones follow each other.
fn is_listing(text: &str) -> bool {
    const LONG_LINE: usize = 60;
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    text.len() < lines * LONG_LINE
}

/// Lines of later results, without white space around them.
fn later_lines(original: &Original<'_>) -> FxHashSet<String> {
    let later = original.index + 1..original.messages.len();
    let texts = later.filter_map(|index| result(original.messages, index));
    let lines = texts.flat_map(|text| {
        let lines = text.lines().map(|line| line.trim().to_owned());
        lines.collect::<Vec<_>>()
    });
    lines.filter(|line| !line.is_empty()).collect()
}

/// The words of each unit.
struct Words {
    by_unit: Vec<Vec<u64>>,
    /// In how many units a word is.
    spread: FxHashMap<u64, u32>,
    interest: Interest,
    /// How much a unit is about what the conversation is about: 0 to 1.
    relevance: Vec<f64>,
}

impl Words {
    fn of(text: &str, units: &[Unit], original: &Original<'_>) -> Self {
        let mut words = Self {
            by_unit: Vec::new(),
            spread: FxHashMap::default(),
            interest: Interest::of(original.messages, original.index),
            relevance: Vec::new(),
        };
        for unit in units {
            let mut found = Vec::new();
            content_words(&text[unit.range.clone()], |word| found.push(word));
            found.sort_unstable();
            found.dedup();
            for word in &found {
                *words.spread.entry(*word).or_default() += 1;
            }
            words.by_unit.push(found);
        }
        let relevance = words.by_unit.iter().map(|found| {
            let sum: f64 = found.iter().map(|word| words.spoken(*word)).sum();
            sum / (found.len().max(4) as f64).sqrt()
        });
        let relevance: Vec<f64> = relevance.collect();
        let most = relevance.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        words.relevance = relevance.into_iter().map(|it| it / most).collect();
        words
    }

    /// The first and the last unit that say something: tags and brackets around them do not.
    fn edges(&self) -> [Option<usize>; 2] {
        let says = |found: &Vec<u64>| found.len() > 1;
        [
            self.by_unit.iter().position(says),
            self.by_unit.iter().rposition(says),
        ]
    }

    /// How rare a word is among the units: at least ln 2.
    fn rarity(&self, word: u64) -> f64 {
        let spread = self.spread.get(&word).copied().unwrap_or(1);
        (1.0 + self.by_unit.len() as f64 / f64::from(spread)).ln()
    }

    /// Weight of a word for being spoken of.
    fn spoken(&self, word: u64) -> f64 {
        self.interest.weight(word) * self.rarity(word)
    }

    /// The words of a unit as items.
    fn items(&self, unit: usize, items: &mut Items) -> Vec<usize> {
        let found = self.by_unit.get(unit).map_or(&[][..], Vec::as_slice);
        let weighed = found.iter().map(|word| {
            let weight = self.spoken(*word).max(OTHER_WORD * self.rarity(*word));
            items.weigh(*word, weight)
        });
        weighed.collect()
    }
}
