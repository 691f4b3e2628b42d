//! The answers of a text completion, as chunks or whole.

use std::sync::Arc;

use agentinfer_engine::{
    Event, Finish, FinishReason as EngineReason, Token, TokenEvent, Vocabulary,
};
use agentinfer_protocol::{Completion, CompletionChoice, CompletionLogprobs, FinishReason, Usage};

use crate::RuntimeError;
use crate::chat_stream::Head;
use crate::choice::{token_text, visible_tokens};
use crate::merge::{Merged, usage};
use crate::tier::ServedTier;

/// One growing answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextChoice {
    /// The prompt, until it is handed out, if the client wants it back.
    echo: String,
    generated: Vec<Token>,
    /// Bytes of text handed out.
    shown: usize,
    /// Log-probabilities not sent yet: their tokens' text is still held back.
    logprobs: Option<CompletionLogprobs>,
    /// How many were sent.
    reported: usize,
    /// Characters of the tokens so far, which is where the next one starts.
    characters: usize,
    finish: Option<Finish>,
}

impl TextChoice {
    pub(crate) fn new(echo: String) -> Self {
        Self {
            echo,
            ..Self::default()
        }
    }

    fn token(&mut self, event: &TokenEvent, vocabulary: &dyn Vocabulary) {
        self.generated.push(event.token);
        let Some(logprob) = &event.logprob else {
            return;
        };
        if vocabulary.is_end_of_generation(event.token) {
            return;
        }
        let text = token_text(vocabulary, event.token);
        let columns = self.logprobs.get_or_insert_default();
        let top = logprob
            .top
            .iter()
            .map(|&(token, value)| (token_text(vocabulary, token), value));
        columns.text_offset.push(self.characters as u32);
        columns.token_logprobs.push(logprob.logprob);
        columns.top_logprobs.push(top.collect());
        self.characters += text.chars().count();
        columns.tokens.push(text);
    }

    /// The part of the answer that adds `text`. At a stop text, what lies in it is not reported.
    fn part(
        &mut self,
        index: usize,
        text: String,
        stopped: Option<&dyn Vocabulary>,
    ) -> CompletionChoice {
        self.shown += text.len();
        let mut logprobs = self.logprobs.take();
        if let (Some(columns), Some(vocabulary)) = (&mut logprobs, stopped) {
            let visible = visible_tokens(vocabulary, &self.generated, self.shown);
            let left = visible.saturating_sub(self.reported);
            columns.tokens.truncate(left);
            columns.token_logprobs.truncate(left);
            columns.top_logprobs.truncate(left);
            columns.text_offset.truncate(left);
        }
        self.reported += logprobs.as_ref().map_or(0, |columns| columns.tokens.len());
        CompletionChoice {
            index: index as u32,
            text: std::mem::take(&mut self.echo) + &text,
            logprobs,
            finish_reason: None,
        }
    }
}

/// The answers of a text completion, one or several for each of one or several prompts. Dropping
/// it cancels those that still run.
#[derive(Debug)]
pub struct CompletionStream {
    pub(crate) tier: Arc<ServedTier>,
    pub(crate) head: Head,
    pub(crate) events: Merged,
    /// The choices of the first prompt, then those of the second, and so on.
    pub(crate) choices: Vec<TextChoice>,
    pub(crate) choices_per_prompt: usize,
    /// Whether a usage chunk is still to come.
    pub(crate) usage_due: bool,
}

impl CompletionStream {
    /// The next chunk; `None` after the last. After an error nothing follows.
    pub async fn next(&mut self) -> Option<Result<Completion, RuntimeError>> {
        loop {
            let Some((index, event)) = self.events.next().await else {
                let due = std::mem::take(&mut self.usage_due);
                return due.then(|| Ok(self.answer(Vec::new(), Some(self.usage()))));
            };
            let choice = &mut self.choices[index];
            let vocabulary = self.tier.handle.vocabulary().as_ref();
            let part = match event {
                Event::Started(_) => continue,
                Event::Token(token) => {
                    choice.token(&token, vocabulary);
                    if token.text.is_empty() {
                        continue;
                    }
                    choice.part(index, token.text, None)
                }
                Event::Finished(mut finish) => {
                    let text = std::mem::take(&mut finish.text);
                    let stopped = matches!(finish.reason, EngineReason::StopText(_));
                    let mut part = choice.part(index, text, stopped.then_some(vocabulary));
                    part.finish_reason = Some(match finish.reason {
                        EngineReason::Length => FinishReason::Length,
                        _ => FinishReason::Stop,
                    });
                    choice.finish = Some(finish);
                    part
                }
                Event::Failed(error) => {
                    self.events.cancel();
                    self.usage_due = false;
                    return Some(Err(error.into()));
                }
            };
            return Some(Ok(self.answer(vec![part], None)));
        }
    }

    /// Waits for the whole answer.
    ///
    /// # Errors
    /// When the engine fails before the end.
    pub async fn collect(mut self) -> Result<Completion, RuntimeError> {
        let empty = |index| CompletionChoice {
            index,
            text: String::new(),
            logprobs: None,
            finish_reason: None,
        };
        let mut choices: Vec<_> = (0..self.choices.len() as u32).map(empty).collect();
        while let Some(chunk) = self.next().await {
            for part in chunk?.choices {
                let whole = &mut choices[part.index as usize];
                whole.text += &part.text;
                whole.finish_reason = part.finish_reason.or(whole.finish_reason);
                if let Some(new) = part.logprobs {
                    append(whole.logprobs.get_or_insert_default(), new);
                }
            }
        }
        Ok(self.answer(choices, Some(self.usage())))
    }

    fn usage(&self) -> Usage {
        let mut sum = Usage::default();
        for choices in self.choices.chunks(self.choices_per_prompt) {
            let finishes: Vec<&Finish> = choices
                .iter()
                .filter_map(|choice| choice.finish.as_ref())
                .collect();
            let one = usage(&finishes);
            sum.prompt_tokens += one.prompt_tokens;
            sum.completion_tokens += one.completion_tokens;
            sum.total_tokens += one.total_tokens;
            if let Some(details) = one.prompt_tokens_details {
                let cached = &mut sum
                    .prompt_tokens_details
                    .get_or_insert_default()
                    .cached_tokens;
                *cached += details.cached_tokens;
            }
        }
        sum
    }

    fn answer(&self, choices: Vec<CompletionChoice>, usage: Option<Usage>) -> Completion {
        Completion {
            id: self.head.id.clone(),
            object: "text_completion".to_owned(),
            created: self.head.created,
            model: self.tier.name.clone(),
            choices,
            usage,
        }
    }
}

fn append(columns: &mut CompletionLogprobs, new: CompletionLogprobs) {
    columns.tokens.extend(new.tokens);
    columns.token_logprobs.extend(new.token_logprobs);
    columns.top_logprobs.extend(new.top_logprobs);
    columns.text_offset.extend(new.text_offset);
}
