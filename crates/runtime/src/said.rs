//! What one answer has said so far, as its client sees it.

use agentinfer_protocol::{Content, FinishReason, Message, Role, ToolCall};

/// One growing answer, whoever gives it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) content: String,
    pub(crate) reasoning: String,
    pub(crate) calls: Vec<ToolCall>,
    /// Why it ended, once it has.
    pub(crate) ended: Option<FinishReason>,
}

impl Said {
    /// The message so far.
    pub(crate) fn message(&self) -> Message {
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        let content = if self.calls.is_empty() {
            Some(self.content.clone())
        } else {
            text(&self.content)
        };
        Message {
            role: Role::Assistant,
            content: content.map(Content::Text),
            name: None,
            tool_calls: (!self.calls.is_empty()).then(|| self.calls.clone()),
            tool_call_id: None,
            reasoning_content: text(&self.reasoning),
        }
    }

    /// The tools that it calls.
    pub(crate) fn called(&self) -> impl Iterator<Item = &str> {
        self.calls.iter().map(|call| call.function.name.as_str())
    }

    /// Whether it was ended by a bound on its length.
    pub(crate) fn was_cut_off(&self) -> bool {
        self.ended == Some(FinishReason::Length)
    }
}
