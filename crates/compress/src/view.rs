//! What the model is given.

use agentinfer_protocol::{Content, Message, Role};

use crate::{Block, Options};

/// The served view: `messages` with these blocks in the place of their results. As many messages,
/// with the same roles, names, calls and identifiers; only contents of tool messages differ. In the
/// ablation without reasoning ([`Options::reasoning`]) answers whose calls' results all have blocks
/// lose what they say beside their calls.
pub fn view<'a>(
    messages: &[Message],
    blocks: &dyn Fn(usize) -> Option<&'a Block>,
    options: &Options,
) -> Vec<Message> {
    let mut view = messages.to_vec();
    for (at, message) in view.iter_mut().enumerate() {
        let block = blocks(at).filter(|_| message.role == Role::Tool);
        if let Some(block) = block {
            message.content = Some(Content::Text(block.text.clone()));
        } else if !options.reasoning && is_done(messages, at, blocks) {
            message.content = None;
            message.reasoning_content = None;
        }
    }
    view
}

/// Whether the message at `at` is an answer with calls, and all of their results have blocks.
fn is_done<'a>(
    messages: &[Message],
    at: usize,
    blocks: &dyn Fn(usize) -> Option<&'a Block>,
) -> bool {
    let calls = messages[at].tool_calls.as_ref();
    if messages[at].role != Role::Assistant || calls.is_none_or(Vec::is_empty) {
        return false;
    }
    let after = messages.iter().enumerate().skip(at + 1);
    let mut results = after.take_while(|(_, it)| it.role == Role::Tool).peekable();
    results.peek().is_some() && results.all(|(at, _)| blocks(at).is_some())
}
