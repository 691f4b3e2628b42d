//! Calls with their whole text and one time each.

use std::collections::BTreeMap;

use super::super::workload::{Call, Prefix, Session};
use crate::BenchError;
use crate::recorded::{Line, TextCall};

/// Characters of a token: about what English and code have.
const TOKEN_CHARACTERS: f64 = 4.0;

/// What the recorded server is thought to have taken for a call: such traces come from hosted
/// models, whose usual speed this is. Tokens a second.
const SERVED_PREFILL: f64 = 10_000.0;
const SERVED_DECODE: f64 = 100.0;

/// The sessions of a file. Words are pieces of the real text, four characters each at scale 1 and
/// more at a smaller scale, so prompts share what they really share. The time between two calls is
/// the first one's service, which is estimated, and the tool's.
pub(super) fn read(lines: &[Line<'_>], scale: f64) -> Result<Vec<Session>, BenchError> {
    let mut sessions: BTreeMap<String, Vec<TextCall>> = BTreeMap::new();
    for line in lines {
        let row = TextCall::read(line)?;
        sessions
            .entry(row.session_id.clone())
            .or_default()
            .push(row);
    }
    let mut sessions: Vec<Vec<TextCall>> = sessions.into_values().collect();
    for rows in &mut sessions {
        rows.sort_by_key(|row| row.timestamp);
    }
    sessions.sort_by_key(|rows| rows[0].timestamp);
    let characters = TOKEN_CHARACTERS / scale;
    Ok(sessions
        .iter()
        .map(|rows| session(rows, characters))
        .collect())
}

fn session(rows: &[TextCall], characters: f64) -> Session {
    let mut calls: Vec<Call> = Vec::with_capacity(rows.len());
    let mut before: Vec<u32> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let prompt = pieces(&row.input, characters);
        let shared = prompt
            .iter()
            .zip(&before)
            .take_while(|(a, b)| a == b)
            .count();
        // At least one token is new.
        let kept = shared.min(prompt.len() - 1);
        let mut call = Call {
            actor: Some(0),
            new: prompt[kept..].to_vec(),
            output_tokens: count(&row.output, characters).max(1),
            ..Call::default()
        };
        if let Some(last) = index.checked_sub(1) {
            let passed = (row.timestamp - rows[last].timestamp) as f64 / 1e6;
            let tokens = |words: usize| words as f64 * characters / TOKEN_CHARACTERS;
            let served = tokens(calls[last].new.len()) / SERVED_PREFILL
                + tokens(calls[last].output_tokens) / SERVED_DECODE;
            call.after = vec![last];
            call.gap_seconds = (passed - served).max(0.0);
            call.continues = (kept > 0).then_some(Prefix {
                call: last,
                tokens: kept,
            });
        }
        calls.push(call);
        before = prompt;
    }
    Session {
        arrives: 0.0,
        calls,
    }
}

/// How many tokens a text is thought to have.
fn count(text: &str, characters: f64) -> usize {
    (text.chars().count() as f64 / characters).ceil() as usize
}

/// A text as words of so many characters each.
fn pieces(text: &str, characters: f64) -> Vec<u32> {
    let mut pieces = Vec::with_capacity(count(text, characters));
    let mut hash = EMPTY;
    let mut taken = 0.0;
    let mut end = characters;
    let mut open = false;
    for character in text.chars() {
        // FNV-1a, 32 bits, over characters.
        hash = (hash ^ character as u32).wrapping_mul(0x0100_0193);
        taken += 1.0;
        open = taken < end;
        if !open {
            pieces.push(hash);
            hash = EMPTY;
            end += characters;
        }
    }
    if open {
        pieces.push(hash);
    }
    pieces
}

/// The hash of no character.
const EMPTY: u32 = 0x811C_9DC5;
