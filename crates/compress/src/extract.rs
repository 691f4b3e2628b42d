//! Distilling without a model: what to keep, verbatim.

use agentinfer_protocol::Message;

use crate::block::{Block, Original, result};
use crate::options::FIRST_LINE_TOKENS;
use crate::pins::Pins;
use crate::record::{SHORT_RECORD_TOKENS, flat};
use crate::score::Scored;
use crate::words::Index;
use crate::{Options, Reject};

/// Share of a block's tokens for names beyond the kept sentences.
const NAMED_SHARE: f64 = 0.5;
/// How much longer than meant a block may be without another try: lengths of parts are estimates.
const TOLERANCE: f64 = 1.1;

/// Distils a result without a model: keeps the lines and sentences that are worth most per token,
/// in order and verbatim, and names further things that the result has. What they are worth tells
/// the conversation: words of the task, of the call, and of what was said since; pins; errors,
/// signatures, headings; rare words. All pins are kept. JSON is written without its punctuation
/// first, and a short record is kept as far as a block may go. `count` counts tokens.
///
/// # Errors
/// [`Reject::NoResult`] when there is no result at `index`, and [`Reject::NotShorter`] when no
/// block with all pins is short enough.
pub fn extract(
    messages: &[Message],
    index: usize,
    count: &dyn Fn(&str) -> u32,
    options: &Options,
) -> Result<Block, Reject> {
    let original = Original::of(messages, index, count)?;
    let most = options.most(original.tokens);
    if !options.summary {
        return Block::stub(&original, count).within(most);
    }
    let words = Index::of(&original.text);
    let pins = Pins::found(messages, &words);
    if is_repeated(&original) {
        let mut kept = "[a later call returned exactly the same]".to_owned();
        append_names(&mut kept, &pins.to_add(""));
        return Block::sealed(&original, &kept, count).within(most);
    }
    let flat = flat(&original.text).map(|text| Original {
        tokens: count(&text),
        text,
        ..original
    });
    let shown = flat.as_ref().unwrap_or(&original);
    let is_record = flat.is_some() && original.tokens <= SHORT_RECORD_TOKENS;
    if is_record {
        let mut kept = shown.text.clone();
        append_names(&mut kept, &pins.to_add(&shown.text));
        if let Ok(block) = Block::sealed(&original, &kept, count).within(most) {
            return Ok(block);
        }
    }
    let scored = Scored::of(shown, &Index::of(&shown.text), &pins);
    let target = match is_record {
        true => f64::from(most),
        false => f64::from(options.target(original.tokens)),
    };
    let attempt = |tokens: f64| {
        let kept = kept(&scored, &pins, tokens);
        Block::sealed(&original, &kept, count)
    };
    let meant = target - f64::from(FIRST_LINE_TOKENS);
    let mut block = attempt(meant);
    // Pins may make it longer than meant; then sentences give way, but only to half.
    if f64::from(block.tokens) > target * TOLERANCE {
        let less = target / f64::from(block.tokens);
        block = attempt(meant * less.max(0.5));
    }
    for share in [0.25, 0.0] {
        if block.tokens > most {
            block = attempt(meant * share);
        }
    }
    block.within(most)
}

/// Whether a later result has the same text, which will be distilled in its turn. An earlier one
/// does not count, or each could say that the other has it.
fn is_repeated(original: &Original<'_>) -> bool {
    let mut later = original.index + 1..original.messages.len();
    later.any(|index| result(original.messages, index).is_some_and(|text| text == original.text))
}

/// What is kept of a result in about so many tokens, pins beyond that included.
fn kept(scored: &Scored<'_>, pins: &Pins, tokens: f64) -> String {
    let picked = scored.pick(tokens * (1.0 - NAMED_SHARE));
    let mut kept = scored.text(&picked);
    let mut names = pins.to_add(&kept);
    let added: f64 = names.iter().map(|name| scored.cost(name)).sum();
    let also = scored.also(&picked, tokens - scored.tokens(&picked) - added);
    let also = also
        .into_iter()
        .filter(|name| !names.iter().any(|it| it == name));
    let also: Vec<String> = also.map(str::to_owned).collect();
    names.extend(also);
    append_names(&mut kept, &names);
    kept
}

/// Adds a line of names, if there are any.
pub(crate) fn append_names(text: &mut String, names: &[String]) {
    if names.is_empty() {
        return;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str("[also named: ");
    text.push_str(&names.join("; "));
    text.push(']');
}
