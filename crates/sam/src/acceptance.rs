//! Where drafted tokens come from, and what becomes of them.

use crate::Guess;

/// Positions in a draft that are counted: eight apart, and all later ones, which few drafts reach,
/// as one.
const PLACES: usize = 9;

/// Where a drafted token comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DraftSource {
    /// What was said before in the same session, its prompts included.
    #[default]
    Session,
    /// What past sessions said.
    Corpus,
    /// Contexts with gaps, which recognise templates.
    Sparse,
    /// A grammar that leaves no choice.
    Forced,
}

impl DraftSource {
    /// All of them. First those that [`AgentSam`](crate::AgentSam) mixes.
    pub const ALL: [Self; 4] = [Self::Session, Self::Corpus, Self::Sparse, Self::Forced];

    /// Its name in metrics and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Corpus => "corpus",
            Self::Sparse => "sparse",
            Self::Forced => "forced",
        }
    }

    /// The source of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }
}

/// What became of one drafted token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Where it came from.
    pub source: DraftSource,
    /// Its position in its draft, from 1; [`Acceptance::LAST`] stands for all later ones, too.
    pub position: usize,
    /// Whether it was put to the test: all before it were accepted, and the model went on.
    pub tested: bool,
    /// Whether it was accepted.
    pub accepted: bool,
}

/// What became of each token of a verified draft: the first `accepted` ones were accepted, and the
/// next one, if it was `refused`, put to the test in vain.
pub fn fates(draft: &[Guess], accepted: usize, refused: bool) -> impl Iterator<Item = Fate> {
    let tested = accepted + usize::from(refused);
    draft.iter().enumerate().map(move |(index, guess)| Fate {
        source: guess.source,
        position: (index + 1).min(PLACES),
        tested: index < tested,
        accepted: index < accepted,
    })
}

/// Counts of drafted tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Drafted and verified.
    pub drafted: u64,
    /// Of these, put to the test.
    pub tested: u64,
    /// Of these, accepted.
    pub accepted: u64,
}

/// Counts of drafted tokens by where they came from and by their position in their draft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acceptance([[Tally; PLACES]; DraftSource::ALL.len()]);

impl Acceptance {
    /// The last position: it stands for all later ones, too.
    pub const LAST: usize = PLACES;

    /// Counts the tokens of a verified draft, as [`fates`] has them.
    pub fn note(&mut self, draft: &[Guess], accepted: usize, refused: bool) {
        for fate in fates(draft, accepted, refused) {
            let tally = self.tally_mut(fate.source, fate.position);
            tally.drafted += 1;
            tally.tested += u64::from(fate.tested);
            tally.accepted += u64::from(fate.accepted);
        }
    }

    /// The counts of a source at a position from 1 on.
    pub fn tally_mut(&mut self, source: DraftSource, position: usize) -> &mut Tally {
        &mut self.0[source as usize][position.clamp(1, PLACES) - 1]
    }

    /// Source, position and counts, where anything was drafted, by source and then by position.
    pub fn tallies(&self) -> impl Iterator<Item = (DraftSource, usize, Tally)> {
        let sources = DraftSource::ALL.into_iter().zip(self.0);
        let all = sources.flat_map(|(source, tallies)| {
            (1..=PLACES)
                .zip(tallies)
                .map(move |(position, tally)| (source, position, tally))
        });
        all.filter(|(_, _, tally)| tally.drafted > 0)
    }

    /// Whether nothing was drafted.
    pub fn is_empty(&self) -> bool {
        self.tallies().next().is_none()
    }

    /// All tokens, wherever they came from.
    pub fn total(&self) -> Tally {
        let none = Tally::default();
        self.tallies().fold(none, |sum, (_, _, tally)| Tally {
            drafted: sum.drafted + tally.drafted,
            tested: sum.tested + tally.tested,
            accepted: sum.accepted + tally.accepted,
        })
    }

    /// These counts and `others` together.
    #[must_use]
    pub fn plus(&self, others: &Self) -> Self {
        self.with(others, |a, b| a + b)
    }

    /// What has been counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        self.with(before, u64::saturating_sub)
    }

    fn with(&self, others: &Self, join: fn(u64, u64) -> u64) -> Self {
        let mut joined = *self;
        let pairs = joined.0.as_flattened_mut().iter_mut();
        for (own, other) in pairs.zip(others.0.as_flattened()) {
            *own = Tally {
                drafted: join(own.drafted, other.drafted),
                tested: join(own.tested, other.tested),
                accepted: join(own.accepted, other.accepted),
            };
        }
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DraftSource::{Corpus, Forced, Session};

    fn draft(sources: &[DraftSource]) -> Vec<Guess> {
        let guess = |source: &DraftSource| Guess {
            token: 0,
            probability: 0.5,
            source: *source,
        };
        sources.iter().map(guess).collect()
    }

    fn tally(drafted: u64, tested: u64, accepted: u64) -> Tally {
        Tally {
            drafted,
            tested,
            accepted,
        }
    }

    #[test]
    fn tokens_are_counted_by_source_and_position() {
        let mut acceptance = Acceptance::default();
        assert!(acceptance.is_empty());
        acceptance.note(&draft(&[Forced, Session, Session]), 1, true);
        acceptance.note(&draft(&[Session, Session, Corpus]), 2, false);
        acceptance.note(&draft(&[Session]), 0, true);
        let expected = [
            (Session, 1, tally(2, 2, 1)),
            (Session, 2, tally(2, 2, 1)),
            // One came after a refused token; behind the other's draft the model stopped.
            (Session, 3, tally(1, 0, 0)),
            (Corpus, 3, tally(1, 0, 0)),
            (Forced, 1, tally(1, 1, 1)),
        ];
        assert_eq!(acceptance.tallies().collect::<Vec<_>>(), expected);
        assert_eq!(acceptance.total(), tally(7, 5, 3));
    }

    #[test]
    fn later_positions_are_one() {
        let mut acceptance = Acceptance::default();
        acceptance.note(&draft(&[Session; 12]), 10, true);
        let counted: Vec<_> = acceptance
            .tallies()
            .map(|(_, at, tally)| (at, tally))
            .collect();
        assert_eq!(counted.len(), PLACES);
        assert_eq!(counted[7], (8, tally(1, 1, 1)));
        assert_eq!(counted[8], (9, tally(4, 3, 2)));
    }

    #[test]
    fn counts_are_added_and_subtracted() {
        let mut one = Acceptance::default();
        one.note(&draft(&[Session, Forced]), 1, true);
        let mut both = one;
        both.note(&draft(&[Corpus; 3]), 3, false);
        let other = both.since(&one);
        assert_eq!(other.total(), tally(3, 3, 3));
        assert_eq!(one.plus(&other), both);
        assert!(one.since(&both).is_empty());
    }

    #[test]
    fn sources_are_known_by_their_names() {
        for source in DraftSource::ALL {
            assert_eq!(DraftSource::named(source.as_str()), Some(source));
            assert_eq!(DraftSource::ALL[source as usize], source);
        }
        assert_eq!(DraftSource::named("moon"), None);
    }
}
