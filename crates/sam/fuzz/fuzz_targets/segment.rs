//! Whatever the bytes of a segment are, reading it never panics, and what is verified is right.

#![no_main]

use agentinfer_sam::{Segment, Token, merge};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(segment) = Segment::open(bytes) else {
        return;
    };
    // Contexts that occur match longest.
    let text: Vec<Token> = (0..300).filter_map(|at| segment.token(at)).collect();
    let mut found = Vec::new();
    for context in [&text[..], &text[..text.len() / 2], &[1, 2, 3], &[]] {
        segment.search(context, 24, &mut found);
        for occurrence in &found {
            segment.document(occurrence.position);
            segment.token(occurrence.position + 1);
        }
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
});
