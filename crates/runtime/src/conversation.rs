//! What a request continues: a conversation as its model is given it, in tokens.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use agentinfer_protocol::{ChatCompletionRequest, Message, Tool};
use serde_json::{Map, Value};

use crate::RuntimeError;
use crate::answers::{self, Place};
use crate::runtime::Runtime;
use crate::served::Served;
use crate::session::{self, Caller, Prompt};
use crate::tier::ServedTier;
use crate::view::ServedView;

/// How often a conversation is shortened that is too long: blocks may come out longer than it was
/// reckoned with, and then give way to lines that only name what they stand for.
const MAX_FITS: usize = 2;

/// Where a conversation stands.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// The places after its messages.
    pub(crate) places: Arc<[Place]>,
    /// The place after its last message.
    pub(crate) place: Place,
    /// The session that its last known answer was given to.
    pub(crate) answered: Option<u64>,
}

impl History {
    pub(crate) fn new(tenant: u64, places: Vec<Place>, answered: Option<u64>) -> Self {
        Self {
            place: places.last().copied().unwrap_or(Place::start(tenant)),
            places: places.into(),
            answered,
        }
    }
}

/// The conversation that is answered, as its model is given it; kept to recognise its continuation.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) messages: Vec<Message>,
    /// The places after them, as the client sent them.
    pub(crate) places: Arc<[Place]>,
    /// The place after the last of them.
    pub(crate) place: Place,
    pub(crate) tools: Vec<Tool>,
    /// The client's variables for the template.
    pub(crate) variables: Option<Map<String, Value>>,
    /// The session that it belongs to, and that session's tenant.
    pub(crate) session: u64,
    pub(crate) tenant: u64,
    /// Whether the client said that the session ends with it.
    pub(crate) is_last: bool,
    /// The client's name for the session.
    pub(crate) key: Option<String>,
    /// The conversation as the client sent it, where it may be served in another form.
    pub(crate) view: Option<Arc<ServedView>>,
}

impl Runtime {
    /// Puts the answers in a conversation back as they were given.
    pub(crate) fn restore(&self, messages: &mut [Message]) -> History {
        let places = answers::places(self.tenant, messages);
        let answered = self.sessions.lock().answers.restore(messages, &places);
        History::new(self.tenant, places, answered)
    }

    /// What a request continues: the view of its history as the template writes it, in tokens:
    /// those known from its session, and the tail's.
    pub(crate) fn conversation(
        &self,
        tier: &ServedTier,
        mut request: ChatCompletionRequest,
        history: History,
    ) -> Result<(Conversation, Prompt), RuntimeError> {
        let mut view = self.serve_view(tier.tier, &mut request, &history);
        let mut prompt = self.prompt(tier, &request, &history)?;
        let answer = request.max_completion_tokens.or(request.max_tokens);
        for _ in 0..MAX_FITS {
            let (tokens, most) = (prompt.tokens.len(), tier.room(answer));
            let Some(view) = view.as_mut().filter(|_| tokens > most) else {
                break;
            };
            let elsewhere = self.is_auto(&request.model) && self.has_room(tier, tokens, answer);
            if elsewhere || !self.fit(tier, view, prompt.session, tokens, most) {
                break;
            }
            request.messages = self.viewed(view);
            let history = History {
                answered: Some(prompt.session),
                ..history.clone()
            };
            prompt = self.prompt(tier, &request, &history)?;
        }
        self.returned(prompt.session, &request.messages);
        let tokenized = prompt.tokens.len() - prompt.reused;
        tier.reused_tokens.fetch_add(prompt.reused as u64, Relaxed);
        tier.tokenized_tokens.fetch_add(tokenized as u64, Relaxed);
        let conversation = Conversation {
            places: history.places,
            place: history.place,
            messages: request.messages,
            tools: request.tools.unwrap_or_default(),
            variables: request.chat_template_kwargs,
            session: prompt.session,
            tenant: prompt.tenant,
            is_last: request.end_session == Some(true),
            key: request.prompt_cache_key,
            view: view.map(Arc::new),
        };
        Ok((conversation, prompt))
    }

    /// Whether another tier than this has room for so long a prompt: where the tier was left open,
    /// that one answers it whole.
    fn has_room(&self, tier: &ServedTier, tokens: usize, answer: Option<u32>) -> bool {
        let local = self.tiers.iter().filter_map(Served::local);
        let mut others = local.filter(|other| other.tier != tier.tier);
        others.any(|other| other.room(answer) >= tokens)
    }

    fn prompt(
        &self,
        tier: &ServedTier,
        request: &ChatCompletionRequest,
        history: &History,
    ) -> Result<Prompt, RuntimeError> {
        let tools = request.tools.as_deref().unwrap_or_default();
        let variables = request.chat_template_kwargs.as_ref();
        let text = tier
            .render(&request.messages, tools, variables, true)
            .map_err(RuntimeError::Conversation)?;
        let caller = Caller {
            tenant: self.tenant,
            key: request.prompt_cache_key.as_deref(),
            answered: history.answered,
        };
        Ok(self.tokenize_as(tier, &caller, text))
    }

    /// Tokens of a text of a session, as far as they are known from it.
    pub(crate) fn tokenize_for(&self, tier: &ServedTier, session: u64, text: String) -> Prompt {
        let caller = Caller {
            tenant: self.tenant,
            key: None,
            answered: Some(session),
        };
        self.tokenize_as(tier, &caller, text)
    }

    fn tokenize_as(&self, tier: &ServedTier, caller: &Caller<'_>, text: String) -> Prompt {
        let known = self.sessions.lock().lookup(tier.tier, caller, &text);
        let vocabulary = tier.handle.vocabulary().as_ref();
        session::tokenize(vocabulary, text, &tier.begin_text, known)
    }
}
