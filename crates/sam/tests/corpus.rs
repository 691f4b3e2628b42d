//! The corpus: what is found in several segments together, which sessions are alike, and what is
//! merged when.

use std::collections::BTreeMap;
use std::sync::Arc;

use agentinfer_sam::{
    Corpus, Document, Evidence, MOST_SEGMENTS, Merge, Segment, Similar, Token, build, plan,
};
use bytes::Bytes;
use proptest::prelude::*;

fn segment(texts: &[Vec<Token>], opening: usize) -> Arc<Segment<Bytes>> {
    let keyed = texts.iter().zip(0..);
    let documents = keyed.map(|(tokens, key)| Document {
        key,
        opening,
        tokens,
    });
    let image = build(&documents.collect::<Vec<_>>()).expect("it can be built");
    Arc::new(Segment::open(Bytes::from(image)).expect("it opens"))
}

fn texts() -> impl Strategy<Value = Vec<Vec<Token>>> {
    prop::collection::vec(prop::collection::vec(0..4u32, 1..120), 0..5)
}

proptest! {
    #[test]
    fn several_segments_tell_what_one_of_all_tells(
        parts in prop::collection::vec(texts(), 0..4),
        context in prop::collection::vec(0..4u32, 1..20),
    ) {
        let whole: Vec<Vec<Token>> = parts.iter().flatten().cloned().collect();
        let whole = segment(&whole, 0);
        let corpus = Corpus::new(parts.iter().map(|texts| segment(texts, 0)).collect());
        prop_assert_eq!(corpus.tokens(), whole.tokens());
        let (mut evidence, mut found) = (Evidence::default(), Vec::new());
        for most in [24, 10_000] {
            corpus.search(&context, &Similar::default(), most, &mut evidence);
            let told = whole.search(&context, most, &mut found);
            let lengths: Vec<u8> = evidence.matches.iter().map(|it| it.matched).collect();
            prop_assert_eq!(lengths, found.iter().map(|it| it.matched).collect::<Vec<_>>());
            prop_assert!(evidence.matches.iter().all(|it| it.weight == 1.0));
            for (sum, order) in evidence.orders.iter().zip(told.orders) {
                prop_assert_eq!(sum.occurrences, order.occurrences);
                prop_assert!(sum.tabled <= sum.occurrences);
                // With four different tokens, all followers are tabled.
                let counted = sum.followers.iter().map(|it| it.count).sum::<u32>();
                prop_assert!(counted <= sum.tabled && sum.tabled <= counted + 20);
                prop_assert!(sum.followers.is_sorted_by_key(|it| !it.count));
            }
        }
        // Everything was listed last.
        let follow = |next: Token, counts: &mut BTreeMap<Token, u32>| {
            *counts.entry(next).or_default() += 1;
        };
        let (mut ours, mut theirs) = (BTreeMap::new(), BTreeMap::new());
        for it in &evidence.matches {
            prop_assert_eq!(corpus.token(it.segment, it.position + 1), Some(it.next));
            follow(it.next, &mut ours);
        }
        found.iter().for_each(|it| follow(it.next, &mut theirs));
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn a_planned_corpus_stays_small_and_is_seldom_rewritten(
        sessions in prop::collection::vec(1..40_000usize, 300..600),
        most in prop_oneof![Just(usize::MAX), 100_000..4_000_000usize],
    ) {
        let (mut sizes, mut written) = (Vec::new(), 0);
        for new in &sessions {
            let before: usize = sizes.iter().sum::<usize>() + new;
            let Merge { segments, most: bound } = plan(&sizes, *new, most);
            let merged = sizes.drain(..segments).sum::<usize>() + new;
            sizes.insert(0, merged.min(bound));
            written += sizes[0];
            let after: usize = sizes.iter().sum();
            prop_assert!(sizes.len() <= MOST_SEGMENTS && after <= most);
            prop_assert!(after == before || (before > most && after >= most - most / 8 - 1));
        }
        // Once per session a young segment of a quarter of a million, and all of it now and then.
        let all: usize = sessions.iter().sum();
        let whole = all.min(most);
        let rewritten = all / (whole / 8).min(2 << 20) + 2;
        let young = sessions.len() * (256 << 10);
        prop_assert!(written <= young + all / (256 << 10) * (2 << 20) + rewritten * whole);
    }
}

#[test]
fn what_is_planned() {
    const K: usize = 1 << 10;
    const ANY: usize = usize::MAX;
    for (sizes, new, most, segments, bound) in [
        (&[][..], 5, ANY, 0, ANY),
        (&[100 * K], 5, ANY, 1, ANY),
        // It has outgrown the young tier, and then is left alone.
        (&[250 * K], 10 * K, ANY, 1, ANY),
        (&[260 * K], 10 * K, ANY, 0, ANY),
        (&[10 * K, 260 * K], 10 * K, ANY, 1, ANY),
        (&[250 * K, 260 * K], 10 * K, ANY, 2, ANY),
        (&[250 * K, 1900 * K, 9000 * K], 10 * K, ANY, 3, ANY),
        (&[3000 * K], 2500 * K, ANY, 1, ANY),
        (&[10 * K, 260 * K], 10 * K, 160 * K, 2, 140 * K),
    ] {
        let expected = Merge {
            segments,
            most: bound,
        };
        assert_eq!(plan(sizes, new, most), expected, "{sizes:?} + {new}");
    }
}

/// Sessions that begin with the same 200 tokens and go on with a question of 30 words, of which the
/// first `topical` belong to the topic.
fn session(topic: u32, own: u32, topical: u32) -> Vec<Token> {
    let shared = 0..200;
    let words = (0..30).map(move |index| match index {
        _ if index < topical => 1000 + 100 * topic + index,
        _ => 100_000 + 100 * own + index,
    });
    shared.chain(words).chain([7, 7, 7]).collect()
}

#[test]
fn sessions_that_share_rare_tokens_are_found() {
    const OPENING: usize = 230;
    let sessions: Vec<Vec<Token>> = (0..90).map(|it| session(it % 30, it, 15)).collect();
    let corpus = Corpus::new(vec![
        segment(&sessions[..10], OPENING),
        segment(&sessions[10..], OPENING),
    ]);
    for topic in 0..30 {
        let request = &session(topic, 1000, 15)[..OPENING];
        let similar = corpus.similar(request).documents;
        let mut found: Vec<u32> = similar
            .iter()
            .take(3)
            .map(|it| {
                if it.segment == 0 {
                    it.document
                } else {
                    it.document + 10
                }
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, [topic, topic + 30, topic + 60]);
        for it in &similar[..3] {
            assert!(it.weight > 1.5 && it.weight <= 4.0, "{it:?}");
        }
        for it in &similar[3..] {
            assert!((1.0..1.2).contains(&it.weight), "{it:?}");
        }
    }
    // What all of them share makes nobody similar.
    assert_eq!(corpus.similar(&sessions[0][..200]), Similar::default());
}

#[test]
fn similar_sessions_come_first_among_equals() {
    let texts: Vec<Vec<Token>> = (0..20)
        .map(|it| {
            let mut text = session(it, it, 15);
            text.extend([500, 501, 502, 600 + it]);
            text
        })
        .collect();
    let corpus = Corpus::new(vec![segment(&texts, 230)]);
    let similar = corpus.similar(&session(4, 1000, 15)[..230]);
    let mut evidence = Evidence::default();
    corpus.search(&[9, 500, 501, 502], &similar, 20, &mut evidence);
    assert_eq!(evidence.matches.len(), 20);
    let first = evidence.matches[0];
    assert_eq!(first.next, 604);
    assert!(first.weight > 1.5 && evidence.matches[19].weight == 1.0);
}
