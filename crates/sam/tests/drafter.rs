//! The drafter from outside, as the engine uses it.

use std::sync::Arc;

use agentinfer_sam::{
    AgentSam, Corpus, Document, DraftSource, Drafter, Guess, Origin, Paused, Segment, Token, build,
};

fn origin(session: u64) -> Origin {
    Origin {
        session: Some(session),
        ..Origin::default()
    }
}

fn proposed(drafter: &mut AgentSam, id: u64, limit: usize, least: f32) -> Vec<Guess> {
    let mut draft = Vec::new();
    drafter.propose(id, limit, least, &mut draft);
    draft
}

fn tokens(draft: &[Guess]) -> Vec<Token> {
    draft.iter().map(|guess| guess.token).collect()
}

/// Plays a model that says `said` after `prompt`, and returns its steps.
fn steps(
    drafter: &mut AgentSam,
    id: u64,
    origin: Origin,
    prompt: &[Token],
    said: &[Token],
) -> usize {
    drafter.begin(id, origin, prompt);
    let (mut at, mut steps) = (0, 0);
    while at < said.len() {
        let draft = tokens(&proposed(drafter, id, 8, 0.2));
        let right = draft.iter().zip(&said[at..]);
        let right = right.take_while(|(guess, token)| guess == token).count();
        let step = &said[at..said.len().min(at + right + 1)];
        drafter.extend(id, step);
        at += step.len();
        steps += 1;
    }
    drafter.finish(id);
    steps
}

#[test]
fn what_is_said_again_takes_few_steps() {
    let mut drafter = AgentSam::default();
    let text: Vec<Token> = (0..400).map(|index| 1000 + (index * index) % 997).collect();
    let first = steps(&mut drafter, 1, origin(1), &[1, 2], &text);
    let prompt = [&[1, 2], &text[..], &[3, 4, text[0], text[1]]].concat();
    let again = steps(&mut drafter, 2, origin(1), &prompt, &text[2..]);
    assert!(again * 5 < first, "{again} of {first} steps");
}

#[test]
fn only_its_own_session_drafts_a_sequence() {
    let mut drafter = AgentSam::default();
    let text: Vec<Token> = (100..200).collect();
    for (id, origin) in [
        (1, origin(1)),
        (
            2,
            Origin {
                tenant: 7,
                ..origin(1)
            },
        ),
        (3, Origin::default()),
    ] {
        drafter.begin(id, origin, &text);
        drafter.finish(id);
    }
    for (id, origin) in [
        (4, origin(2)),
        (
            5,
            Origin {
                tenant: 8,
                ..origin(1)
            },
        ),
        (6, Origin::default()),
    ] {
        drafter.begin(id, origin, &[100, 101, 102]);
        assert_eq!(proposed(&mut drafter, id, 4, 0.0), []);
    }
    drafter.begin(7, origin(1), &[5, 100, 101, 102]);
    assert_eq!(
        tokens(&proposed(&mut drafter, 7, 4, 0.0)),
        [103, 104, 105, 106]
    );
}

#[test]
fn limits_and_what_the_draft_holds_are_respected() {
    let mut drafter = AgentSam::new(vec![105]);
    let text: Vec<Token> = (100..110).collect();
    drafter.begin(1, origin(1), &[&text[..], &[100]].concat());
    assert_eq!(tokens(&proposed(&mut drafter, 1, 3, 0.0)), [101, 102, 103]);
    assert_eq!(
        tokens(&proposed(&mut drafter, 1, 64, 0.0)),
        [101, 102, 103, 104, 105]
    );
    assert_eq!(proposed(&mut drafter, 1, 0, 0.0), []);
    assert_eq!(proposed(&mut drafter, 1, 8, 1.0), []);
    let held = |probability| Guess {
        token: 103,
        probability,
        source: DraftSource::Forced,
    };
    let mut draft = vec![held(1.0)];
    drafter.propose(1, 1, 0.0, &mut draft);
    assert_eq!(tokens(&draft), [103, 104]);
    let mut draft = vec![held(0.1)];
    drafter.propose(1, 1, 0.1, &mut draft);
    assert_eq!(tokens(&draft), [103]);
    assert_eq!(proposed(&mut drafter, 99, 4, 0.0), []);
}

#[test]
fn a_long_prompt_is_served_without_drafts_until_it_is_indexed() {
    let mut drafter = AgentSam::default();
    let mut prompt: Vec<Token> = (0..20_000).map(|index| index % 5000).collect();
    prompt.extend([7, 8, 9]);
    drafter.begin(1, origin(1), &prompt);
    let mut without = 0;
    while proposed(&mut drafter, 1, 1, 0.0).is_empty() {
        without += 1;
        assert!(without < 10);
    }
    assert!(without > 0);
    assert_eq!(tokens(&proposed(&mut drafter, 1, 2, 0.0)), [10, 11]);
}

#[test]
fn sessions_do_not_grow_without_bound() {
    let mut drafter = AgentSam::default();
    for session in 0..60 {
        let prompt: Vec<Token> = (0..100_000).map(|index| index * 7 + session).collect();
        drafter.begin(1, origin(u64::from(session)), &prompt);
        while proposed(&mut drafter, 1, 1, 0.0).is_empty() && session == 0 {
            drafter.extend(1, &[prompt[0]]);
        }
        for _ in 0..20 {
            proposed(&mut drafter, 1, 1, 0.0);
        }
        drafter.finish(1);
    }
    assert!(drafter.bytes() <= 256 << 20);
}

/// The corpus of what sessions have said.
fn corpus(paused: &[Paused]) -> Arc<Corpus> {
    let documents = paused.iter().map(|it| Document {
        key: it.session,
        opening: it.opening,
        tokens: &it.tokens,
    });
    let documents: Vec<Document<'_>> = documents.collect();
    let image = build(&documents).expect("documents");
    let segment = Segment::open(image.into()).expect("a segment");
    Arc::new(Corpus::new(vec![Arc::new(segment)]))
}

#[test]
fn what_past_sessions_said_drafts_the_next_one() {
    let mut drafter = AgentSam::default();
    let said: Vec<Token> = (0..300).map(|index| 1000 + (index * index) % 997).collect();
    let first = steps(&mut drafter, 1, origin(1), &[1, 2, 3], &said);
    assert_eq!(drafter.take_paused(), []);
    drafter.pause(drafter.begun());
    let paused = drafter.take_paused();
    assert_eq!(paused.len(), 1);
    assert_eq!((paused[0].session, paused[0].opening), (1, 3));
    assert_eq!(paused[0].tokens, [&[1, 2, 3], &said[..]].concat());
    drafter.pause(drafter.begun());
    assert_eq!(drafter.take_paused(), [], "nothing new");

    drafter.set_corpus(0, corpus(&paused));
    let again = steps(&mut drafter, 2, origin(2), &[7, 8, 3], &said);
    assert!(again * 5 < first, "{again} of {first} steps");
    let other = Origin {
        tenant: 9,
        ..origin(2)
    };
    let elsewhere = steps(&mut drafter, 3, other, &[7, 8, 3], &said);
    assert!(
        elsewhere > again * 4,
        "another tenant's sessions are its own"
    );
}

#[test]
fn a_session_that_comes_back_is_handed_over_whole() {
    let mut drafter = AgentSam::default();
    steps(&mut drafter, 1, origin(1), &[1, 2], &[5, 6]);
    drafter.pause(drafter.begun());
    assert_eq!(drafter.take_paused().len(), 1);
    steps(&mut drafter, 2, origin(1), &[1, 2, 5, 6, 3, 4], &[7, 8]);
    let ephemeral = Origin {
        ephemeral: true,
        ..origin(2)
    };
    steps(&mut drafter, 3, ephemeral, &[1, 2], &[5, 6]);
    drafter.pause(drafter.begun());
    let paused = drafter.take_paused();
    let tokens: Vec<&[Token]> = paused.iter().map(|it| &it.tokens[..]).collect();
    assert_eq!(tokens, [[1, 2, 5, 6, 5, 6, 3, 4, 7, 8]]);
}

#[test]
fn in_session_mode_nothing_outlives_its_session() {
    let mut drafter = AgentSam::default().session_only();
    let said: Vec<Token> = (0..300).map(|index| 1000 + (index * index) % 997).collect();
    let first = steps(&mut drafter, 1, origin(1), &[1, 2, 3], &said);
    drafter.pause(drafter.begun());
    assert_eq!(drafter.take_paused(), []);
    let second = steps(&mut drafter, 2, origin(2), &[1, 2, 3], &said);
    assert_eq!(first, second);
}
