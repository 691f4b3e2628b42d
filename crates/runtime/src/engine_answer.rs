//! What an engine of this process is asked, and its answers as they arrive.

use std::sync::Arc;

use agentinfer_engine::{Completion, Constraint, EngineError, Event, Finish, Request, Token};
use agentinfer_protocol::{Message, Role, Usage};

use crate::RuntimeError;
use crate::choice::Choice;
use crate::conversation::Conversation;
use crate::merge::{Merged, usage};
use crate::said::Said;
use crate::session::{Prompt, common_prefix};
use crate::source::News;
use crate::tier::ServedTier;
use crate::turn::rendered_turn;
use crate::validate::Settings;

/// The answers to one request. Dropping it cancels those that still run.
#[derive(Debug)]
pub(crate) struct EngineAnswer {
    pub(crate) tier: Arc<ServedTier>,
    pub(crate) prompt: Prompt,
    pub(crate) events: Merged,
    pub(crate) choices: Vec<Choice>,
}

impl EngineAnswer {
    /// What is new; none after the last.
    ///
    /// # Errors
    /// When the engine fails one of them.
    pub(crate) async fn next(&mut self) -> Option<Result<News, RuntimeError>> {
        let (index, event) = self.events.next().await?;
        let vocabulary = self.tier.handle.vocabulary().as_ref();
        let choice = &mut self.choices[index];
        Some(match event {
            Event::Started(_) => Ok(News::default()),
            Event::Token(token) => Ok(News {
                deltas: choice.token(token, vocabulary),
                ended: Vec::new(),
            }),
            Event::Finished(finish) => Ok(News {
                deltas: choice.finish(finish, vocabulary),
                ended: vec![index],
            }),
            Event::Failed(error) => Err(error.into()),
        })
    }

    pub(crate) fn said(&self) -> impl Iterator<Item = &Said> {
        self.choices.iter().map(Choice::said)
    }

    pub(crate) fn usage(&self) -> Usage {
        usage(&self.finishes())
    }

    /// How each finished answer was served.
    pub(crate) fn finishes(&self) -> Vec<&Finish> {
        self.choices.iter().filter_map(Choice::ended).collect()
    }

    /// Tokens of the prompt that its session has been through: up to the end of its last answer.
    pub(crate) fn known_tokens(&self, conversation: &Conversation) -> u32 {
        let Conversation {
            messages,
            tools,
            variables,
            ..
        } = conversation;
        let answer = |message: &Message| message.role == Role::Assistant;
        let Some(last) = messages.iter().rposition(answer) else {
            return 0;
        };
        let text = self
            .tier
            .render(&messages[..=last], tools, variables.as_ref(), false);
        let common = text.map_or(0, |text| {
            common_prefix(text.as_bytes(), self.prompt.text.as_bytes())
        });
        self.prompt.tokens_within(common) as u32
    }

    /// A finished answer's prompt, the text that the template will render for both once the
    /// conversation has gone on, and the answer's tokens; none where these do not stand for it.
    pub(crate) fn tokens(
        &self,
        index: usize,
        conversation: &Conversation,
    ) -> Option<(&Prompt, String, Vec<Token>)> {
        let Conversation {
            messages,
            tools,
            variables,
            ..
        } = conversation;
        let choice = &self.choices[index];
        let answer = choice.said().message();
        let render =
            |messages: &[Message]| self.tier.render(messages, tools, variables.as_ref(), false);
        let turn = rendered_turn(&render, messages, &answer, &self.prompt.text)?;
        let vocabulary = self.tier.handle.vocabulary().as_ref();
        let (generated, covered) = choice.tokens_in(&turn, vocabulary)?;
        let text = self.prompt.text.clone() + &turn[..covered];
        Some((&self.prompt, text, generated))
    }
}

/// Submits the choices of each prompt, one prompt after another: all of them or none.
pub(crate) fn submit(
    tier: &ServedTier,
    prompts: &[Vec<Token>],
    constraint: &Constraint,
    settings: &Settings,
    session: Option<u64>,
) -> Result<Vec<Completion>, EngineError> {
    let request = |prompt: &[Token], choice: u32| {
        let mut sampling = settings.sampling.clone();
        sampling.seed = sampling.seed.wrapping_add(u64::from(choice));
        Request {
            max_tokens: settings.max_tokens,
            sampling,
            constraint: constraint.clone(),
            stop: settings.stop.clone(),
            session,
            hints: settings.hints,
            ..Request::new(prompt.to_vec())
        }
    };
    let choices = |prompt| (0..settings.choices).map(move |choice| request(prompt, choice));
    let requests = prompts.iter().flat_map(|prompt| choices(prompt)).collect();
    tier.handle.submit_all(requests)
}

/// Gives the engine's refusals the names that the fields have in the API; `other` is what a
/// grammar or a prompt came from.
pub(crate) fn named(error: EngineError, other: &'static str) -> RuntimeError {
    let EngineError::InvalidRequest { field, message } = error else {
        return error.into();
    };
    let param = match field {
        "json_schema" => "response_format.json_schema.schema",
        "regex" => "guided_regex",
        "grammar" | "prompt" => other,
        field => field,
    };
    RuntimeError::invalid(param, "invalid_value", message)
}
