//! Who waited for whom, from when calls began and ended.

/// A call as it was recorded. Times are seconds on any clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    /// Who made it.
    pub(super) actor: usize,
    /// When it was made.
    pub(super) begin: f64,
    /// When its last token came.
    pub(super) end: f64,
}

/// The agent that begins a session; the others are its sub-agents.
pub(super) const LEAD: usize = 0;

/// A call may begin so many seconds before the one it waited for is recorded as over.
pub(super) const RECORDING: f64 = 1e-3;

/// For each call the calls, by index, that it waited for. `spans` are in order of `begin`.
///
/// A call waits for its agent's call that ended last before it began; an agent's first call for
/// the lead's; and a call of the lead for the sub-agents that came to their end since its call
/// before. What overlaps does not wait for each other.
pub(super) fn dependencies(spans: &[Span]) -> Vec<Vec<usize>> {
    let begins = |index: usize| spans[index].begin + RECORDING;
    let last_of = |actor: usize, index: usize| {
        let ended = (0..index)
            .filter(|&other| spans[other].actor == actor && spans[other].end <= begins(index));
        ended.max_by(|&a, &b| spans[a].end.total_cmp(&spans[b].end))
    };
    let actors = spans.iter().map(|span| span.actor + 1).max().unwrap_or(0);
    let over = |actor: usize| {
        let ends = spans.iter().filter(|span| span.actor == actor);
        ends.map(|span| span.end).fold(f64::NEG_INFINITY, f64::max)
    };
    let ends: Vec<f64> = (0..actors).map(over).collect();
    let waits = |index: usize| {
        let span = &spans[index];
        let own = last_of(span.actor, index);
        if span.actor != LEAD {
            return own.or_else(|| last_of(LEAD, index)).into_iter().collect();
        }
        let since = own.map_or(f64::NEG_INFINITY, |own| spans[own].end);
        let returned = (LEAD + 1..actors)
            .filter(|&actor| since < ends[actor] && ends[actor] <= begins(index))
            .filter_map(|actor| last_of(actor, index));
        own.into_iter().chain(returned).collect()
    };
    (0..spans.len()).map(waits).collect()
}

/// The seconds between the end of what a call waited for, or the session's `start`, and itself.
pub(super) fn gap(spans: &[Span], index: usize, after: &[usize], start: f64) -> f64 {
    let ends = after.iter().map(|&before| spans[before].end);
    let ready = ends.fold(start, f64::max);
    (spans[index].begin - ready).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_wait_for_what_was_over_when_they_began() {
        let spans = [
            (0, 0.0, 7.0),
            (0, 0.2, 9.0),
            (0, 9.0, 12.0),
            // A sub-agent of two calls, and one that the lead never waits for.
            (1, 12.5, 20.0),
            (2, 13.0, 90.0),
            (1, 21.0, 30.0),
            (0, 30.5, 40.0),
            (0, 41.0, 50.0),
        ]
        .map(|(actor, begin, end)| Span { actor, begin, end });
        let after = dependencies(&spans);
        let expected: [&[usize]; 8] = [&[], &[], &[1], &[2], &[2], &[3], &[2, 5], &[6]];
        assert_eq!(after, expected);
        let gaps: Vec<f64> = (0..spans.len())
            .map(|index| gap(&spans, index, &after[index], 0.0))
            .collect();
        assert_eq!(gaps, [0.0, 0.2, 0.0, 0.5, 1.0, 1.0, 0.5, 1.0]);
    }
}
