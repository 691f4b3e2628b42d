//! The text forms in which model families write tool calls.

/// How a model family writes tool calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ToolStyle {
    /// Hermes and Qwen: `<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>`, repeated for
    /// several calls.
    Hermes,
    /// Llama 3: the whole answer is `{"name": "f", "parameters": {}}`, perhaps after
    /// `<|python_tag|>`; several calls are separated by `;`.
    Llama3,
    /// Mistral: `[TOOL_CALLS] [{"name": "f", "arguments": {}}]`, one list for all calls.
    Mistral,
    /// Newer Mistral: `[TOOL_CALLS]f[ARGS]{}`, repeated for several calls.
    MistralArgs,
    /// For models trained on no particular form: the whole answer is
    /// `{"tool_calls": [{"name": "f", "arguments": {}}]}`.
    Json,
}

/// A text that announces tool calls, and the one that ends them where there is one.
#[derive(Debug)]
pub(crate) struct Tag {
    pub(crate) open: &'static str,
    pub(crate) close: Option<&'static str>,
}

const HERMES_TAGS: &[Tag] = &[
    Tag {
        open: "<tool_call>",
        close: Some("</tool_call>"),
    },
    // Qwen2.5-Coder often writes its calls into the tag that its prompt lists the tools in.
    Tag {
        open: "<tools>",
        close: Some("</tools>"),
    },
];
const LLAMA3_TAGS: &[Tag] = &[Tag {
    open: "<|python_tag|>",
    close: None,
}];
const MISTRAL_TAGS: &[Tag] = &[Tag {
    open: "[TOOL_CALLS]",
    close: None,
}];

impl ToolStyle {
    /// The style that a chat template teaches its model; [`Json`](Self::Json) when it shows none.
    pub fn detect(template: &str) -> Self {
        let has = |text: &str| template.contains(text);
        if has("[TOOL_CALLS]") {
            if has("[ARGS]") {
                Self::MistralArgs
            } else {
                Self::Mistral
            }
        } else if has("<tool_call>") {
            Self::Hermes
        } else if has("<|python_tag|>") || (has("<|start_header_id|>") && has("\"parameters\"")) {
            Self::Llama3
        } else {
            Self::Json
        }
    }

    /// The texts that [`OutputParser`](crate::OutputParser) must see although the vocabulary may
    /// hold them as control tokens, which detokenize to nothing elsewhere.
    pub fn markup(self) -> &'static [&'static str] {
        match self {
            Self::Hermes | Self::Json => &["<tool_call>", "</tool_call>", "<think>", "</think>"],
            Self::Llama3 => &["<|python_tag|>", "<think>", "</think>"],
            Self::Mistral | Self::MistralArgs => {
                &["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<think>", "</think>"]
            }
        }
    }

    pub(crate) fn tags(self) -> &'static [Tag] {
        match self {
            Self::Hermes | Self::Json => HERMES_TAGS,
            Self::Llama3 => LLAMA3_TAGS,
            Self::Mistral | Self::MistralArgs => MISTRAL_TAGS,
        }
    }

    /// Whether calls may be written as a name followed by its arguments.
    pub(crate) fn names_before_arguments(self) -> bool {
        matches!(self, Self::Mistral | Self::MistralArgs)
    }

    /// The key under which a call's arguments are written.
    pub(crate) fn arguments_key(self) -> &'static str {
        if self == Self::Llama3 {
            "parameters"
        } else {
            "arguments"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detects_the_families() {
        for (template, style) in [
            (
                include_str!("../tests/fixtures/templates/qwen2.5.jinja"),
                ToolStyle::Hermes,
            ),
            (
                include_str!("../tests/fixtures/templates/qwen3.jinja"),
                ToolStyle::Hermes,
            ),
            (
                include_str!("../tests/fixtures/templates/llama3.1.jinja"),
                ToolStyle::Llama3,
            ),
            (
                include_str!("../tests/fixtures/templates/mistral.jinja"),
                ToolStyle::Mistral,
            ),
            (
                include_str!("../tests/fixtures/templates/mistral-args.jinja"),
                ToolStyle::MistralArgs,
            ),
            (
                include_str!("../tests/fixtures/templates/smollm2.jinja"),
                ToolStyle::Json,
            ),
            (
                include_str!("../tests/fixtures/templates/gemma2.jinja"),
                ToolStyle::Json,
            ),
        ] {
            assert_eq!(ToolStyle::detect(template), style, "{template}");
        }
    }
}
