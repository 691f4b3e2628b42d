//! What a segment of ten million tokens costs: building, opening, searching.
//!
//! The text is made up in the manner of agents' sessions: all begin alike, words are distributed
//! as by Zipf's law, and half of what is said was said before. Every search is for a place of the
//! text itself, chosen at random, so that little of what it touches is in the caches.

use std::hint::black_box;

use agentinfer_sam::{Document, Segment, Token, build};
use criterion::Criterion;

const TOKENS: usize = 10_000_000;
const DOCUMENT: usize = 6_000;
const SHARED: usize = 1_500;
const VOCABULARY: f64 = 150_000.0;
const CONTEXT: usize = 100;

fn word(random: &mut fastrand::Rng) -> Token {
    VOCABULARY.powf(random.f64()) as Token
}

fn sessions(tokens: usize, random: &mut fastrand::Rng) -> Vec<Vec<Token>> {
    let shared: Vec<Token> = (0..SHARED).map(|_| word(random)).collect();
    let mut sessions: Vec<Vec<Token>> = Vec::new();
    for index in 0..tokens / DOCUMENT {
        let mut session = shared.clone();
        while session.len() < DOCUMENT {
            let length = random.usize(4..200);
            if index > 0 && random.bool() {
                let old = &sessions[random.usize(..index)];
                let from = random.usize(..old.len() - length);
                session.extend(&old[from..from + length]);
            } else {
                session.extend((0..length).map(|_| word(random)));
            }
        }
        session.truncate(DOCUMENT);
        sessions.push(session);
    }
    sessions
}

fn documents(sessions: &[Vec<Token>]) -> Vec<Document<'_>> {
    let keyed = sessions.iter().zip(0..);
    let documents = keyed.map(|(tokens, key)| Document {
        key,
        opening: SHARED + 100,
        tokens,
    });
    documents.collect()
}

fn bench(criterion: &mut Criterion) {
    let mut random = fastrand::Rng::with_seed(1);
    let all = sessions(TOKENS, &mut random);
    let young = &all[..256 * 1024 / DOCUMENT];
    criterion.bench_function("build_256k", |bencher| {
        bencher.iter(|| build(&documents(young)).expect("it can be built"));
    });
    let image = build(&documents(&all)).expect("it can be built");
    let segment = Segment::open(&image).expect("it is whole");
    let bytes = image.len() as f64 / segment.tokens() as f64;
    eprintln!("{} tokens, {bytes:.2} bytes per token", segment.tokens());
    criterion.bench_function("open_10m", |bencher| {
        bencher.iter(|| Segment::open(black_box(&image)).map(|segment| segment.tokens()));
    });
    // One after the other in memory: a context has just been written in practice.
    let contexts: Vec<[Token; CONTEXT]> = (0..1 << 16)
        .map(|_| {
            let session = &all[random.usize(..all.len())];
            let from = random.usize(..session.len() - CONTEXT);
            std::array::from_fn(|index| session[from + index])
        })
        .collect();
    for most in [16, 32] {
        criterion.bench_function(&format!("search_10m_most_{most}"), |bencher| {
            let mut found = Vec::with_capacity(most);
            let mut contexts = contexts.iter().cycle();
            bencher.iter(|| {
                let context = contexts.next().map_or(&[][..], |context| &context[..]);
                segment.search(black_box(context), most, &mut found)
            });
        });
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}
