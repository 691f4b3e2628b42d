//! Sorting all positions of a text by what ends at them, read backwards.
//!
//! By prefix doubling (Manber and Myers 1990), touching only groups that are still undecided
//! (Larsson and Sadakane 2007): positions that are sorted by their last `h` tokens are sorted by
//! their last `2h` by ordering each group of equals by the rank of the position `h` before. The cap
//! bounds it: six rounds, whatever the text repeats.

use std::ops::Range;

use super::LONGEST_MATCH;
use super::layout::{SEPARATOR, sort_key};
use crate::Token;

/// Positions of a text that begins with a separator, sorted; equals by falling position. The
/// separators' own positions come first.
///
/// Memory: 24 bytes per position at most, the result's 4 included.
pub(super) fn prefix_array(text: &[Token]) -> Vec<u32> {
    let mut sorting = Sorting {
        text,
        sorted: (0..text.len() as u32).collect(),
        rank: vec![0; text.len()],
        begins: vec![false; text.len()],
        // All positions at once.
        undecided: vec![(0, text.len() as u32)],
    };
    sorting.refine(1, |text, _, position| sort_key(text[position]));
    let mut decided_by = 1;
    while decided_by < LONGEST_MATCH && !sorting.undecided.is_empty() {
        let step = decided_by;
        decided_by *= 2;
        sorting.refine(decided_by, |_, rank, position| rank[position - step]);
    }
    sorting.sorted
}

/// How many tokens positions have in common with those of the rank before, backwards.
pub(super) fn common_lengths(text: &[Token], sorted: &[u32]) -> Vec<u8> {
    let mut lengths = vec![0; sorted.len()];
    for (length, pair) in lengths.iter_mut().skip(1).zip(sorted.windows(2)) {
        let [before, here] = [pair[0], pair[1]].map(|position| &text[..=position as usize]);
        let pairs = before.iter().rev().zip(here.iter().rev());
        let same = pairs.take_while(|(one, other)| one == other && **one != SEPARATOR);
        *length = same.take(LONGEST_MATCH).count() as u8;
    }
    lengths
}

struct Sorting<'a> {
    text: &'a [Token],
    sorted: Vec<u32>,
    /// By position: the rank of the first of its group.
    rank: Vec<u32>,
    /// By rank: whether a group begins there that was found in the current round.
    begins: Vec<bool>,
    /// First rank and length of the groups that further tokens may divide.
    undecided: Vec<(u32, u32)>,
}

impl Sorting<'_> {
    /// Divides the undecided groups by `key`, after which positions are sorted by their last
    /// `decided_by` tokens.
    fn refine(&mut self, decided_by: usize, key: impl Fn(&[Token], &[u32], usize) -> u32) {
        let mut keyed: Vec<u64> = Vec::new();
        for group in self.undecided.iter().map(|group| ranks(*group)) {
            let members = &mut self.sorted[group.clone()];
            keyed.clear();
            keyed.extend(members.iter().map(|position| {
                let key = key(self.text, &self.rank, *position as usize);
                u64::from(key) << 32 | u64::from(!*position)
            }));
            keyed.sort_unstable();
            let mut previous = None;
            for ((member, begins), keyed) in
                members.iter_mut().zip(&mut self.begins[group]).zip(&keyed)
            {
                *member = !(*keyed as u32);
                *begins = previous != Some(keyed >> 32);
                previous = Some(keyed >> 32);
            }
        }
        // Only now, so that every group was divided by the ranks of the round before.
        self.rank_again(decided_by);
    }

    fn rank_again(&mut self, decided_by: usize) {
        let mut undecided = Vec::new();
        for group in std::mem::take(&mut self.undecided) {
            let mut rest = ranks(group);
            while !rest.is_empty() {
                let first = rest.start;
                let more = self.begins[first + 1..rest.end].iter();
                let length = 1 + more.take_while(|begins| !**begins).count();
                for position in &self.sorted[first..first + length] {
                    self.rank[*position as usize] = first as u32;
                }
                if length > 1 && !self.is_whole(self.sorted[first], decided_by) {
                    undecided.push((first as u32, length as u32));
                }
                rest.start = first + length;
            }
        }
        self.undecided = undecided;
    }

    /// Whether the last `length` tokens up to `position` reach the document's start.
    fn is_whole(&self, position: u32, length: usize) -> bool {
        let end = position as usize + 1;
        let from = end.saturating_sub(length);
        self.text[from..end].contains(&SEPARATOR)
    }
}

fn ranks((first, length): (u32, u32)) -> Range<usize> {
    first as usize..first as usize + length as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What ends at a position, backwards, as it is compared.
    fn backwards(text: &[Token], position: u32) -> Vec<Token> {
        let tokens = text[..=position as usize].iter().rev();
        let own = tokens.take_while(|token| **token != SEPARATOR);
        own.take(LONGEST_MATCH).copied().collect()
    }

    fn text() -> impl Strategy<Value = Vec<Token>> {
        let token = prop_oneof![30 => 0..3u32, 1 => Just(SEPARATOR)];
        let some = prop::collection::vec(token, 0..300);
        // Repeated, it has matches longer than the cap.
        (some, 1..4usize).prop_map(|(some, times)| {
            let mut text = vec![SEPARATOR];
            text.extend(some.repeat(times));
            text
        })
    }

    proptest! {
        #[test]
        fn positions_are_in_order(text in text()) {
            let mut expected: Vec<u32> = (0..text.len() as u32).collect();
            expected.sort_by_key(|at| (backwards(&text, *at), !*at));
            let sorted = prefix_array(&text);
            prop_assert_eq!(&sorted, &expected);
            let lengths = common_lengths(&text, &sorted);
            for (pair, length) in sorted.windows(2).zip(&lengths[1..]) {
                let [one, other] = [pair[0], pair[1]].map(|at| backwards(&text, at));
                let same = one.iter().zip(&other).take_while(|(one, other)| one == other);
                prop_assert_eq!(same.count(), usize::from(*length));
            }
        }
    }
}
