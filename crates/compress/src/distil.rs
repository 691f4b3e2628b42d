//! Distilling with a small model: what it is asked, and whether what it writes will do.

use agentinfer_protocol::Message;

use crate::block::{Block, Original, result};
use crate::conversation::{caller, said, task};
use crate::extract::append_names;
use crate::pins::Pins;
use crate::recall::recall;
use crate::terms::{Kind, terms};
use crate::words::Index;
use crate::{Options, Reject};

/// Bytes of a result that the model reads at most, the passages that matter most: about 6,000
/// tokens, which fit into every model's window and take a small one seconds, not minutes.
const MOST_RESULT_BYTES: usize = 24_000;
/// Bytes of the task, and of the call with its reasons.
const MOST_CONTEXT_BYTES: usize = 2_000;
/// Pins that are listed; what the model leaves out is added to its text.
const MOST_LISTED_PINS: usize = 40;
/// English words that a token is, about.
const WORDS_PER_TOKEN: f64 = 0.7;

/// What a small model is asked so that it distils the result at `index`: a system and a user
/// message; nothing when there is no result. `count` counts tokens.
pub fn prompt(
    messages: &[Message],
    index: usize,
    count: &dyn Fn(&str) -> u32,
    options: &Options,
) -> Vec<Message> {
    let Some(text) = result(messages, index) else {
        return Vec::new();
    };
    let task = task(messages, index).map(said).unwrap_or_default();
    let task = recall(&task, None, MOST_CONTEXT_BYTES);
    let call = caller(messages, index).map(said).unwrap_or_default();
    let call = recall(&call, None, MOST_CONTEXT_BYTES);
    let shown = recall(&text, Some(&format!("{task}\n{call}")), MOST_RESULT_BYTES);
    let pins = Pins::found(messages, &Index::of(&shown));
    let pins: Vec<&str> = pins.iter().take(MOST_LISTED_PINS).collect();
    let words = (f64::from(options.target(count(&text))) * WORDS_PER_TOKEN) as u32;
    let system = format!(
        "An agent has called a tool, and goes on with your text in the place of what the tool \
         returned. Keep word for word each fact, number, name, URL, path and error in it that the \
         task needs or may need; leave out the rest. Add nothing, explain nothing, and do not \
         answer the task. Write at most {words} words, in the language of the result."
    );
    let mut asked = format!("The task:\n{task}\n\nWhat the agent said when it called:\n{call}\n\n");
    if !pins.is_empty() {
        asked.push_str(&format!("To be kept: {}\n\n", pins.join("; ")));
    }
    asked.push_str(&format!("What the tool returned:\n{shown}"));
    vec![Message::system(system), Message::user(asked)]
}

/// Takes what a model has written for the result at `index`, if it is short enough, names nothing
/// that is neither in the result nor in the conversation, and lacks no pin. Missing pins are added
/// at its end where they fit. `count` counts tokens.
///
/// # Errors
/// Why it is refused.
pub fn accept(
    messages: &[Message],
    index: usize,
    written: &str,
    count: &dyn Fn(&str) -> u32,
    options: &Options,
) -> Result<Block, Reject> {
    let original = Original::of(messages, index, count)?;
    let most = options.most(original.tokens);
    let written = written.trim();
    if written.is_empty() {
        return Err(Reject::Empty);
    }
    let words = Index::of(&original.text);
    let invented = invented(messages, index, &words, written);
    if !invented.is_empty() {
        return Err(Reject::Invented(invented));
    }
    let bare = Block::sealed(&original, written, count).within(most)?;
    let missing = Pins::found(messages, &words).to_add(written);
    if missing.is_empty() {
        return Ok(bare);
    }
    let mut kept = written.to_owned();
    append_names(&mut kept, &missing);
    let block = Block::sealed(&original, &kept, count).within(most);
    block.map_err(|_| Reject::PinsLost(missing))
}

/// Numbers and URLs of a text that neither the result nor the task nor the call has.
fn invented(messages: &[Message], index: usize, words: &Index<'_>, text: &str) -> Vec<String> {
    let known = [task(messages, index), caller(messages, index)];
    let known: Vec<String> = known.into_iter().flatten().map(said).collect();
    let known: Vec<Index<'_>> = known.iter().map(|text| Index::of(text)).collect();
    let checked = |kind| matches!(kind, Kind::Number | Kind::Url);
    let named = terms(text).into_iter().filter(|term| checked(term.kind));
    let new = named.filter(|term| {
        let said = known.iter().any(|known| known.has(term.text));
        !said && !words.has(term.text)
    });
    new.map(|term| term.text.to_owned()).collect()
}
