//! Segments against what looking through all documents finds, and against damage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agentinfer_sam::segment::{FOLLOWERS, FREQUENT, LONGEST_MATCH, ORDERS};
use agentinfer_sam::{
    Builder, Document, Follower, Occurrence, Segment, SegmentError, Token, build, merge,
};
use proptest::prelude::*;

fn documents(texts: &[Vec<Token>]) -> Vec<Document<'_>> {
    let keyed = texts.iter().zip(100..);
    let documents = keyed.map(|(tokens, key)| Document {
        key,
        opening: tokens.len() / 2,
        tokens,
    });
    documents.collect()
}

fn image(texts: &[Vec<Token>]) -> Vec<u8> {
    build(&documents(texts)).expect("it can be built")
}

fn open(texts: &[Vec<Token>]) -> Segment<Vec<u8>> {
    Segment::open(image(texts)).expect("it opens")
}

/// Texts of few different tokens, repeated so that some contexts are frequent and some matches are
/// longer than what is compared; and short phrases repeated often, in which a token tells the one
/// before, so that contexts of any length occur equally often.
fn texts() -> impl Strategy<Value = Vec<Vec<Token>>> {
    let varied = (1..6u32, 0..90usize, 1..4usize);
    let phrases = (2..6u32, 1..9usize, 20..40usize);
    prop_oneof![varied, phrases].prop_flat_map(|(alphabet, length, times)| {
        let text = prop::collection::vec(0..alphabet, 0..=length);
        let repeated = text.prop_map(move |text| text.repeat(times));
        prop::collection::vec(repeated, 0..8)
    })
}

/// Tokens that a text up to `end` has in common with the context, backwards.
fn matched(text: &[Token], end: usize, context: &[Token]) -> usize {
    let pairs = text[..=end].iter().rev().zip(context.iter().rev());
    let same = pairs.take_while(|(one, other)| one == other);
    same.count().min(LONGEST_MATCH)
}

/// By position: how much matches there, and what follows.
fn look_through(texts: &[Vec<Token>], context: &[Token]) -> BTreeMap<u32, (usize, Option<Token>)> {
    let mut found = BTreeMap::new();
    let mut position = 1;
    for text in texts.iter().filter(|text| !text.is_empty()) {
        for end in 0..text.len() {
            let length = matched(text, end, context);
            found.insert(position, (length, text.get(end + 1).copied()));
            position += 1;
        }
        position += 1;
    }
    found
}

fn most_frequent(followers: impl Iterator<Item = Token>) -> [Follower; FOLLOWERS] {
    let mut counts: BTreeMap<Token, u32> = BTreeMap::new();
    followers.for_each(|token| *counts.entry(token).or_default() += 1);
    let mut counts: Vec<(Token, u32)> = counts.into_iter().collect();
    counts.sort_by_key(|(token, count)| (!count, *token));
    let mut best = [Follower::default(); FOLLOWERS];
    for (best, (token, count)) in best.iter_mut().zip(counts) {
        *best = Follower { token, count };
    }
    best
}

proptest! {
    #[test]
    fn a_search_finds_what_looking_through_finds(
        texts in texts(),
        context in prop::collection::vec(0..6u32, 0..80),
        own in any::<prop::sample::Index>(),
        most in 8..40usize,
    ) {
        let segment = open(&texts);
        // A made-up context, and one that occurs.
        let mut contexts = vec![context];
        if let Some(text) = texts.get(own.index(texts.len().max(1))) {
            contexts.push(text[..own.index(text.len() + 1)].to_vec());
        }
        for context in &contexts {
            let expected = look_through(&texts, context);
            let mut found = vec![Occurrence::default(); 3];
            for most in [most, 10_000] {
                let told = segment.search(context, most, &mut found);
                let mut lengths: Vec<usize> = expected
                    .values()
                    .filter(|(length, next)| *length > 0 && next.is_some())
                    .map(|(length, _)| *length)
                    .collect();
                lengths.sort_by_key(|length| !length);
                lengths.truncate(most);
                let listed: Vec<usize> =
                    found.iter().map(|it| usize::from(it.matched)).collect();
                prop_assert_eq!(listed, lengths);
                let mut positions: Vec<u32> = found.iter().map(|it| it.position).collect();
                positions.sort_unstable();
                positions.dedup();
                prop_assert_eq!(positions.len(), found.len());
                for it in &found {
                    let (length, next) = expected[&it.position];
                    prop_assert_eq!(length, usize::from(it.matched));
                    prop_assert_eq!(Some(it.next), next);
                    prop_assert_eq!(segment.token(it.position + 1), next);
                }
                for (tokens, order) in (1..=ORDERS).zip(&told.orders) {
                    let all = expected.values().filter(|(length, _)| *length >= tokens);
                    prop_assert_eq!(order.occurrences as usize, all.clone().count());
                    let best = most_frequent(all.filter_map(|(_, next)| *next));
                    let tabled = order.occurrences >= FREQUENT;
                    prop_assert_eq!(order.followers, tabled.then_some(best));
                }
            }
        }
    }

    #[test]
    fn a_segment_holds_its_documents(texts in texts()) {
        let segment = open(&texts);
        let held: Vec<&Vec<Token>> = texts.iter().filter(|text| !text.is_empty()).collect();
        prop_assert_eq!(segment.documents(), held.len());
        prop_assert_eq!(segment.tokens(), held.iter().map(|text| text.len()).sum::<usize>());
        let mut position = 0;
        for (index, text) in held.iter().enumerate() {
            prop_assert_eq!((segment.token(position), segment.document(position)), (None, None));
            let span = segment.span(index).expect("a span");
            prop_assert_eq!(span.start, position + 1);
            let tokens: Vec<Token> = span.clone().filter_map(|at| segment.token(at)).collect();
            prop_assert_eq!(&tokens, *text);
            prop_assert!(span.clone().all(|at| segment.document(at) == Some(index)));
            position = span.end;
        }
        prop_assert_eq!((segment.token(position), segment.document(position)), (None, None));
        prop_assert_eq!(segment.token(position + 1), None);
        prop_assert_eq!(segment.verify(), Ok(()));
    }

    #[test]
    fn merging_is_building_of_all(texts in texts(), cut in any::<prop::sample::Index>()) {
        let all = documents(&texts);
        let (old, new) = all.split_at(cut.index(all.len() + 1));
        let [old, new] = [old, new].map(|part| build(part).expect("it can be built"));
        let [old, new] = [&old, &new].map(|image| Segment::open(image).expect("it opens"));
        let merged = merge(&[&old, &new], |_| true, usize::MAX);
        prop_assert_eq!(merged.as_ref(), Ok(&image(&texts)));
        let some = merge(&[&old, &new], |key| key % 2 == 0, usize::MAX);
        let even: Vec<Document> = all.iter().filter(|it| it.key % 2 == 0).copied().collect();
        prop_assert_eq!(some, build(&even));
        let most = texts.iter().map(Vec::len).sum::<usize>() / 2;
        let newest = Segment::open(merge(&[&old, &new], |_| true, most).expect("it can be built"));
        let newest = newest.expect("it opens");
        let (mut expected, mut left, mut full) = (Vec::new(), most, false);
        for document in all.iter().rev().filter(|it| (1..=most).contains(&it.tokens.len())) {
            full |= document.tokens.len() > left;
            if !full {
                left -= document.tokens.len();
                expected.insert(0, document.key);
            }
        }
        let kept: Vec<u64> = (0..newest.documents()).filter_map(|it| newest.key(it)).collect();
        prop_assert_eq!(kept, expected);
    }

    #[test]
    fn damage_never_panics(
        texts in texts(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in prop::option::of(any::<prop::sample::Index>()),
        after_header in any::<bool>(),
        context in prop::collection::vec(0..6u32, 0..80),
    ) {
        let mut bytes = image(&texts);
        // Most damage to the header is refused at once.
        let from = if after_header { 64.min(bytes.len() - 1) } else { 0 };
        for (at, value) in damage {
            let at = from + at.index(bytes.len() - from);
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_all(&bytes, &context);
    }

    #[test]
    fn anything_may_be_opened(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        counts in prop::array::uniform6(0..4u32),
        context in prop::collection::vec(0..6u32, 0..80),
    ) {
        read_all(&bytes, &context);
        // A header that fits, before whatever there is.
        let words = |text: u32, ranks: u32, [documents, signatures, one, two, three, _]: [u32; 6]| {
            let contexts = one + two + three;
            let blocks = ranks.div_ceil(64);
            let fences = blocks.div_ceil(64);
            let words = ranks + 10 * contexts + 3 * blocks + 5 * documents;
            4 * (words + signatures) + 3 * (text + ranks + 4 * blocks + 4 * fences)
        };
        let [documents, signatures, one, two, three, more] = counts;
        let text = documents + 1 + 20 * more;
        let length = 64 + words(text, 20 * more, counts) + 20 * more;
        let mut image = b"AISAMSEG".to_vec();
        for word in [1, text, length, 0, 0, 0, documents, signatures, one, two, three, 0, 0, 0] {
            image.extend(word.to_le_bytes());
        }
        image.extend(bytes.iter().chain(&[0]).cycle().take(length as usize - 64));
        let error = Segment::open(&image).err();
        prop_assert!(matches!(error, None | Some(SegmentError::Inconsistent("documents"))));
        read_all(&image, &context);
    }
}

/// Does everything that can be done with bytes.
fn read_all(bytes: &[u8], context: &[Token]) {
    let Ok(segment) = Segment::open(bytes) else {
        return;
    };
    let mut found = Vec::new();
    segment.search(context, 20, &mut found);
    for position in found
        .iter()
        .map(|it| it.position + 1)
        .chain([0, 1, u32::MAX])
    {
        segment.token(position);
        segment.document(position);
    }
    for document in 0..=segment.documents() {
        segment.key(document);
        segment.span(document);
        segment.signature(document).for_each(drop);
    }
    if segment.verify().is_ok() {
        let again = merge(&[&segment], |_| true, usize::MAX);
        assert_eq!(again.as_deref(), Ok(bytes));
    }
}

#[test]
fn a_later_document_replaces_an_earlier_one_of_its_key() {
    let document = |key, tokens| Document {
        key,
        opening: 1,
        tokens,
    };
    let (begun, other, ended) = ([1, 2], [7, 8], [1, 2, 3]);
    let all = [
        document(1, &begun[..]),
        document(2, &other),
        document(1, &ended),
    ];
    assert_eq!(build(&all), build(&all[1..]));
}

#[test]
fn what_cannot_be_stored_is_refused_and_the_rest_kept() {
    let mut builder = Builder::default();
    for token in [0xFF_FFFF, Token::MAX] {
        let refused = builder.push(Document {
            key: 1,
            opening: 0,
            tokens: &[1, token, 2],
        });
        assert_eq!(refused, Err(SegmentError::Token(token)));
    }
    let kept = Document {
        key: 1,
        opening: 0,
        tokens: &[1, 2],
    };
    builder.push(kept).expect("it is stored");
    assert_eq!(builder.tokens(), 2);
    assert_eq!(Ok(builder.finish(9)), build(&[kept]));
}

#[test]
fn a_context_ends_at_what_no_document_contains() {
    let segment = open(&[vec![1, 2, 3]]);
    let mut found = Vec::new();
    segment.search(&[1, Token::MAX, 2], 8, &mut found);
    let expected = Occurrence {
        position: 2,
        next: 3,
        matched: 1,
    };
    assert_eq!(found, [expected]);
    segment.search(&[1, Token::MAX], 8, &mut found);
    assert_eq!(found, []);
}

#[test]
fn what_is_wrong_with_a_file_is_told() {
    let good = image(&[vec![1, 2, 3, 4], vec![5, 6]]);
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let length = good.len() as u64;
    for (bytes, error) in [
        (Vec::new(), SegmentError::NotASegment),
        (with(0, b'B'), SegmentError::NotASegment),
        (with(8, 2), SegmentError::Version { found: 2 }),
        (
            good[..good.len() - 1].to_vec(),
            SegmentError::Length {
                expected: length,
                found: length - 1,
            },
        ),
        (
            good[..20].to_vec(),
            SegmentError::Length {
                expected: 64,
                found: 20,
            },
        ),
        (with(12, 7), SegmentError::Inconsistent("sizes")),
        (with(60, 1), SegmentError::Inconsistent("sizes")),
    ] {
        assert_eq!(Segment::open(&bytes).map(|_| ()), Err(error), "{error}");
    }
    for (at, byte) in good.iter().enumerate().skip(32) {
        let damaged = with(at, byte ^ 1);
        if let Ok(segment) = Segment::open(&damaged) {
            assert_eq!(segment.verify(), Err(SegmentError::Checksum), "byte {at}");
        }
    }
    let error = SegmentError::Version { found: 2 };
    assert!(error.to_string().contains("up to 1"), "{error}");
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/segment-v1.bin")
}

/// A shared beginning, words of their own, and a refrain that makes some contexts frequent.
fn fixture_texts() -> Vec<Vec<Token>> {
    let session = |own: u32| {
        let shared = (0..12).map(|index| 1000 + index % 5);
        let words = (0..20).map(move |index| 10 * own + (index * index + own) % 7);
        let refrain = [500, 501, 502, 503].into_iter().cycle().take(26);
        shared.chain(words).chain(refrain).collect()
    };
    (1..7).map(session).collect()
}

#[test]
#[ignore = "writes the fixture; to be run once per format version"]
fn write_the_fixture() {
    std::fs::write(fixture(), image(&fixture_texts())).expect("written");
}

#[test]
fn the_first_format_is_read() {
    let bytes = std::fs::read(fixture()).expect("the fixture");
    let segment = Segment::open(&bytes).expect("it opens");
    assert_eq!(segment.verify(), Ok(()));
    assert_eq!((segment.documents(), segment.tokens()), (6, 348));
    assert_eq!((segment.key(0), segment.key(5)), (Some(100), Some(105)));
    assert_eq!(segment.span(1), Some(60..118));
    let texts = fixture_texts();
    let mut found = Vec::new();
    let context = &texts[2][..30];
    let told = segment.search(context, 8, &mut found);
    assert_eq!(usize::from(found[0].matched), context.len());
    assert_eq!(segment.document(found[0].position), Some(2));
    assert_eq!(found[0].next, texts[2][30]);
    assert_eq!(told.orders[0].followers, None);
    let told = segment.search(&[1, 501, 502], 8, &mut found);
    let follower = Follower {
        token: 503,
        count: 36,
    };
    assert_eq!(told.orders[1].occurrences, 36);
    assert_eq!(told.orders[1].followers.map(|it| it[0]), Some(follower));
    assert_eq!((told.orders[2].occurrences, found.len()), (0, 8));
    let signed: Vec<usize> = (0..6).map(|it| segment.signature(it).count()).collect();
    assert!(signed.iter().all(|words| *words > 0), "{signed:?}");
    assert_eq!(image(&texts), bytes, "the format has changed");
}
