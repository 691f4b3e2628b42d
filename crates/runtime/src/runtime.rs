//! The runtime: one engine per tier, and the sessions that they serve.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use agentinfer_chat::{OutputParser, ParserOptions, ToolMode, opens_reasoning};
use agentinfer_engine::{
    Completion as Running, Constraint, Device, EngineError, Request, StatsSnapshot, Token,
    Vocabulary,
};
use agentinfer_memory::{Segments, Stats as CorpusStats};
use agentinfer_protocol::{
    ChatCompletionRequest, CompletionRequest, DetokenizeRequest, DetokenizeResponse, ModelCard,
    Prompt, Role, TokenizeRequest, TokenizeResponse,
};

use crate::answers::{self, Place};
use crate::auto::kept::Competences;
use crate::auto::{AUTO, Collab};
use crate::chat_stream::{ChatStream, Conversation, Head};
use crate::choice::Choice;
use crate::merge::Merged;
use crate::session::{self, Caller, SessionCounts, Sessions};
use crate::text_stream::{CompletionStream, TextChoice};
use crate::tier::{ServedTier, unix_seconds};
use crate::validate::{self, Settings, ToolUse};
use crate::{CorpusOptions, Drafts, RuntimeError, RuntimeOptions, Tier, TierOptions, random};

/// The served models and their sessions. Cheap to clone; the engines stop when the last clone and
/// the last stream are dropped.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// In order of tier, the smallest first; at least one.
    pub(crate) tiers: Arc<[Arc<ServedTier>]>,
    pub(crate) sessions: Sessions,
    pub(crate) tenant: u64,
    /// What past sessions said, if it is kept.
    pub(crate) segments: Option<Arc<Segments>>,
    /// How requests are divided between two tiers.
    pub(crate) collab: Arc<Collab>,
}

/// Where a conversation stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct History {
    /// The place after its last message.
    pub(crate) place: Place,
    /// The session that its last known answer was given to.
    pub(crate) answered: Option<u64>,
}

/// What one tier has done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TierStats {
    /// The tier.
    pub tier: Tier,
    /// The served model's name.
    pub model: String,
    /// Counters of its engine.
    pub engine: StatsSnapshot,
    /// Sessions remembered, over all tiers.
    pub sessions: usize,
    /// Conversations remembered for this tier.
    pub conversations: SessionCounts,
    /// Prompt tokens of chats that were known from a session and not tokenized again.
    pub reused_prompt_tokens: u64,
    /// Prompt tokens of chats that were tokenized.
    pub tokenized_prompt_tokens: u64,
}

impl Runtime {
    /// Loads the models and starts an engine for each. Blocks until all are ready.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] for contradictory options, [`RuntimeError::Load`] and
    /// [`RuntimeError::Template`] for unusable files.
    pub fn start(options: RuntimeOptions) -> Result<Self, RuntimeError> {
        let RuntimeOptions {
            mut tiers,
            max_sessions,
            corpus,
            collab,
        } = options;
        check_tiers(&mut tiers, corpus.is_some())?;
        let competences = match &collab.file {
            Some(file) => Competences::read(file)?,
            None => Competences::default(),
        };
        let open = |corpus: CorpusOptions| Segments::open(&corpus.folder, corpus.bytes);
        let segments = corpus.map(open).transpose()?.map(Arc::new);
        let device = Device::default();
        let start = |tier| ServedTier::start(tier, segments.as_ref(), &device).map(Arc::new);
        let tiers = tiers.into_iter().map(start).collect::<Result<_, _>>()?;
        let sessions = Sessions::new(max_sessions);
        sessions.lock().competences = competences;
        Ok(Self {
            tiers,
            sessions,
            tenant: 0,
            segments,
            collab: Arc::new(Collab::new(collab)),
        })
    }

    /// The same runtime on behalf of a tenant: its sessions, their names and what is learned about
    /// its tools are its own, and schedulers may share capacity between tenants. Without this
    /// the tenant is 0.
    #[must_use]
    pub fn for_tenant(&self, tenant: u64) -> Self {
        Self {
            tenant,
            ..self.clone()
        }
    }

    /// The served models; with two of them also [`AUTO`], which chooses between them.
    pub fn models(&self) -> Vec<ModelCard> {
        let served = self.tiers.iter().map(|tier| tier.card());
        served.chain(self.auto_card()).collect()
    }

    /// Answers a conversation.
    ///
    /// Validates, renders and tokenizes on the calling thread (tens of milliseconds for a long new
    /// prompt, and for a constraint to be compiled), and never waits for the engine.
    ///
    /// - The model [`AUTO`] is the tier that the session's controller chooses; see also
    ///   [`settle`](Self::settle). If it fails before it has said anything, the other one answers.
    /// - Where the request does not say, the temperature is 1, as in the OpenAI API, and the seed
    ///   is random; with temperature 0 the answer is the most probable one.
    /// - Tools stay in the prompt under `tool_choice: "none"`, so that the prefix stays resident.
    /// - With a `response_format` (or a guide) the answer is text of that form, so tools that are
    ///   offered as well are not called.
    /// - Arguments of tools that are forced, or `strict`, follow the tools' schemas.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownModel`]; [`RuntimeError::InvalidRequest`] and
    /// [`RuntimeError::Conversation`] for what cannot be served; [`RuntimeError::Engine`] when the
    /// context is too short for the prompt, the queue is full, or the engine has stopped;
    /// [`RuntimeError::BothTiersFailed`] where the tier was left open.
    pub fn chat(&self, mut request: ChatCompletionRequest) -> Result<ChatStream, RuntimeError> {
        if self.is_auto(&request.model) {
            return self.chat_auto(request);
        }
        let tier = self.resolve(&request.model)?;
        let model = request.model.clone();
        let places = answers::places(self.tenant, &request.messages);
        let messages = &mut request.messages;
        let answered = self.sessions.lock().answers.restore(messages, &places);
        let history = History {
            place: places.last().copied().unwrap_or(Place::start(self.tenant)),
            answered,
        };
        let mut stream = self.chat_on(tier, request, history)?;
        self.mark_only(&model, &mut stream);
        Ok(stream)
    }

    /// Answers a conversation, in which the answers are as they were given, by this tier.
    pub(crate) fn chat_on(
        &self,
        tier: &Arc<ServedTier>,
        request: ChatCompletionRequest,
        history: History,
    ) -> Result<ChatStream, RuntimeError> {
        let vocabulary = tier.handle.vocabulary().as_ref();
        let tool_use = validate::tools(&request)?;
        let format = validate::constraint(&request, &tool_use)?;
        let mut settings = validate::chat_settings(&request, vocabulary)?;
        settings.hints.tenant = self.tenant;
        let single_call = request.parallel_tool_calls == Some(false);
        let mode = match &tool_use {
            // An answer of the client's own form may well look like a call, and is none.
            ToolUse::Auto => (format == Constraint::None).then_some(ToolMode::Auto),
            ToolUse::None => None,
            ToolUse::Required => Some(ToolMode::Required),
            ToolUse::Named(name) => Some(ToolMode::Named(name)),
        };
        let conversation = self.conversation(tier, request, history)?;
        let Conversation { tools, prompt, .. } = &conversation;
        let constraint = match mode {
            Some(mode) => tier.call_grammar(tools, mode, !single_call)?,
            None => format,
        };
        let session = Some(prompt.session);
        let prompts = std::slice::from_ref(&prompt.tokens);
        let completions = submit(tier, prompts, &constraint, &settings, session);
        let grammar = if mode.is_some() {
            "tools"
        } else {
            "guided_grammar"
        };
        let completions = completions.map_err(|error| named(error, grammar))?;

        let callable = if mode.is_some() {
            tools.as_slice()
        } else {
            &[]
        };
        let free = constraint == Constraint::None || mode == Some(ToolMode::Auto);
        let begins = ParserOptions {
            reasoning_open: free && opens_reasoning(&prompt.text),
        };
        let style = tier.template.style();
        let choice = |index| {
            let parser = OutputParser::new(style, callable, begins);
            Choice::new(index, parser, style.markup(), single_call)
        };
        let choices = (0..settings.choices).map(choice).collect();
        Ok(ChatStream {
            sessions: self.sessions.clone(),
            conversation,
            head: head("chatcmpl-"),
            events: Merged::new(completions),
            choices,
            ready: VecDeque::new(),
            usage_due: settings.include_usage,
            tier: tier.clone(),
            hints: settings.hints,
            decided: None,
            taken: None,
        })
    }

    /// What a request continues: its history as the template writes it, in tokens: those known from
    /// its session, and the tail's.
    fn conversation(
        &self,
        tier: &ServedTier,
        request: ChatCompletionRequest,
        history: History,
    ) -> Result<Conversation, RuntimeError> {
        let (tenant, messages) = (self.tenant, request.messages);
        let tools = request.tools.unwrap_or_default();
        let variables = request.chat_template_kwargs;
        let text = tier
            .render(&messages, &tools, variables.as_ref(), true)
            .map_err(RuntimeError::Conversation)?;
        let caller = Caller {
            tenant,
            key: request.prompt_cache_key.as_deref(),
            answered: history.answered,
        };
        let results = messages
            .last()
            .is_some_and(|message| message.role == Role::Tool);
        let known = {
            let mut table = self.sessions.lock();
            let known = table.lookup(tier.tier, &caller, &text);
            let now = self.sessions.seconds();
            table
                .tool_times
                .returned(tenant, known.session, results, now);
            known
        };
        let vocabulary = tier.handle.vocabulary().as_ref();
        let prompt = session::tokenize(vocabulary, text, &tier.begin_text, known);
        let tokenized = prompt.tokens.len() - prompt.reused;
        tier.reused_tokens.fetch_add(prompt.reused as u64, Relaxed);
        tier.tokenized_tokens.fetch_add(tokenized as u64, Relaxed);
        Ok(Conversation {
            place: history.place,
            messages,
            tools,
            variables,
            prompt,
            is_last: request.end_session == Some(true),
        })
    }

    /// Continues texts. Tokenizes on the calling thread and never waits for the engine.
    ///
    /// # Errors
    /// As [`chat`](Self::chat).
    pub fn complete(&self, request: CompletionRequest) -> Result<CompletionStream, RuntimeError> {
        let tier = self.resolve(&request.model)?;
        let vocabulary = tier.handle.vocabulary().as_ref();
        let mut settings = validate::completion_settings(&request, vocabulary)?;
        settings.hints.tenant = self.tenant;
        let prompts = prompts(tier, &request.prompt)?;
        let echoes = match request.echo {
            Some(true) => echoes(&request.prompt, vocabulary),
            _ => vec![String::new(); prompts.len()],
        };
        let choices = echoes
            .into_iter()
            .flat_map(|echo| vec![TextChoice::new(echo); settings.choices as usize]);
        let session = request
            .prompt_cache_key
            .map(|key| self.sessions.lock().keyed(self.tenant, &key));
        let completions = submit(tier, &prompts, &Constraint::None, &settings, session);
        let completions = completions.map_err(|error| named(error, "prompt"))?;
        if let Some(session) = session.filter(|_| settings.hints.ends_session) {
            self.sessions.lock().forget(session);
        }
        Ok(CompletionStream {
            head: head("cmpl-"),
            choices: choices.collect(),
            events: Merged::new(completions),
            choices_per_prompt: settings.choices as usize,
            usage_due: settings.include_usage,
            tier: tier.clone(),
        })
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownModel`].
    pub fn tokenize(&self, request: TokenizeRequest) -> Result<TokenizeResponse, RuntimeError> {
        let TokenizeRequest {
            model,
            content,
            add_special,
            parse_special,
        } = request;
        let handle = &self.resolve(&model)?.handle;
        let parse_special = parse_special.unwrap_or(true);
        let tokens = handle
            .vocabulary()
            .tokenize(&content, add_special, parse_special);
        let max_model_len = handle.limits().context_tokens;
        Ok(TokenizeResponse {
            count: tokens.len(),
            tokens,
            max_model_len,
        })
    }

    /// The text of tokens.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownModel`], and [`RuntimeError::InvalidRequest`] for an unknown token.
    pub fn detokenize(
        &self,
        request: DetokenizeRequest,
    ) -> Result<DetokenizeResponse, RuntimeError> {
        let tier = self.resolve(&request.model)?;
        check_tokens(tier, "tokens", &request.tokens)?;
        let vocabulary = tier.handle.vocabulary().as_ref();
        Ok(DetokenizeResponse {
            content: text_of(vocabulary, &request.tokens),
        })
    }

    /// What each tier has done so far.
    pub fn stats(&self) -> Vec<TierStats> {
        let sessions = self.sessions.lock();
        let stats = |tier: &Arc<ServedTier>| TierStats {
            tier: tier.tier,
            model: tier.name.clone(),
            engine: tier.handle.stats(),
            sessions: sessions.len(),
            conversations: sessions.counts(tier.tier),
            reused_prompt_tokens: tier.reused_tokens.load(Relaxed),
            tokenized_prompt_tokens: tier.tokenized_tokens.load(Relaxed),
        };
        self.tiers.iter().map(stats).collect()
    }

    /// What is kept of past sessions for drafts, if anything is.
    pub fn corpus_stats(&self) -> Option<CorpusStats> {
        self.segments.as_ref().map(|segments| segments.stats())
    }

    /// Whether all engines run; they end by [`drain`](Self::drain), or by a fault.
    pub fn is_running(&self) -> bool {
        self.tiers.iter().all(|tier| tier.handle.is_running())
    }

    /// Stops all engines: accepts nothing more, serves what was accepted until `deadline` has
    /// passed, then fails the rest. Must be called inside a tokio runtime with time enabled.
    pub async fn drain(&self, deadline: Duration) {
        self.sessions.lock().cancel_background();
        let drain = |tier: &Arc<ServedTier>| {
            let handle = tier.handle.clone();
            Box::pin(async move { handle.drain(deadline).await })
        };
        let mut draining: Vec<_> = self.tiers.iter().map(drain).collect();
        poll_fn(|context| {
            draining.retain_mut(|drain| drain.as_mut().poll(context).is_pending());
            if draining.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// The tier that `model` names: by served name, by tier, or the default (the strongest).
    fn resolve(&self, model: &str) -> Result<&Arc<ServedTier>, RuntimeError> {
        let by_name = self.tiers.iter().find(|tier| tier.name == model);
        let by_tier = || self.tiers.iter().find(|tier| tier.tier.as_str() == model);
        let default = || {
            self.tiers
                .last()
                .filter(|_| matches!(model, "" | "default" | AUTO))
        };
        if self.is_auto(model) {
            let message = format!("'{AUTO}' chooses a tier for chats only. Name a model here.");
            return Err(RuntimeError::invalid("model", "invalid_value", message));
        }
        by_name
            .or_else(by_tier)
            .or_else(default)
            .ok_or_else(|| RuntimeError::UnknownModel {
                model: model.to_owned(),
                served: self.tiers.iter().map(|tier| tier.name.clone()).collect(),
            })
    }
}

/// Puts the tiers into their order, the smallest first, and refuses contradictions.
fn check_tiers(tiers: &mut [TierOptions], corpus: bool) -> Result<(), RuntimeError> {
    let wrong = |message: String| Err(RuntimeError::Options(message));
    tiers.sort_by_key(|tier| tier.tier);
    if tiers.is_empty() {
        return wrong("no model to serve; give a small or a large one".to_owned());
    }
    for pair in tiers.windows(2) {
        if pair[0].tier == pair[1].tier {
            return wrong(format!(
                "two models are given for the {} tier",
                pair[0].tier
            ));
        }
        if pair[0].name == pair[1].name {
            return wrong(format!(
                "both tiers are named `{}`; rename one",
                pair[0].name
            ));
        }
    }
    if let Some(tier) = tiers.iter().find(|tier| tier.name.is_empty()) {
        return wrong(format!(
            "the {} tier has no name; requests need one",
            tier.tier
        ));
    }
    if let Some(tier) = tiers.iter().find(|tier| tier.name == AUTO) {
        return wrong(format!(
            "the {} tier is named `{AUTO}`, which is how requests leave the choice of a tier open; \
             rename it",
            tier.tier
        ));
    }
    let needs_corpus = |tier: &&TierOptions| tier.drafts == Drafts::Full;
    if let Some(tier) = tiers.iter().find(needs_corpus)
        && !corpus
    {
        return wrong(format!(
            "the {} tier is to draft from past sessions, and there is no folder to keep them \
             in; give one, or draft from its own session",
            tier.tier
        ));
    }
    Ok(())
}

/// Submits the choices of each prompt, one prompt after another: all of them or none.
fn submit(
    tier: &ServedTier,
    prompts: &[Vec<Token>],
    constraint: &Constraint,
    settings: &Settings,
    session: Option<u64>,
) -> Result<Vec<Running>, EngineError> {
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
fn named(error: EngineError, other: &'static str) -> RuntimeError {
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

fn head(prefix: &str) -> Head {
    Head {
        id: random::id(prefix),
        created: unix_seconds(),
    }
}

/// The prompts of a text completion, as tokens.
fn prompts(tier: &ServedTier, prompt: &Prompt) -> Result<Vec<Vec<Token>>, RuntimeError> {
    let vocabulary = tier.handle.vocabulary();
    // An empty text still begins: with what the model begins every text with.
    let tokenize = |text: &String| match vocabulary.tokenize(text, true, true) {
        tokens if tokens.is_empty() => vocabulary.begin_of_sequence().into_iter().collect(),
        tokens => tokens,
    };
    let prompts: Vec<Vec<Token>> = match prompt {
        Prompt::Text(text) => vec![tokenize(text)],
        Prompt::Texts(texts) => {
            validate::prompt_count(texts.len())?;
            texts.iter().map(tokenize).collect()
        }
        Prompt::Tokens(tokens) => {
            check_tokens(tier, "prompt", tokens)?;
            vec![tokens.clone()]
        }
    };
    if prompts.iter().any(Vec::is_empty) {
        let message = "it is empty; give at least one token.";
        return Err(RuntimeError::invalid("prompt", "empty_string", message));
    }
    Ok(prompts)
}

/// The texts that the answers begin with when the client wants its prompts back.
fn echoes(prompt: &Prompt, vocabulary: &dyn Vocabulary) -> Vec<String> {
    match prompt {
        Prompt::Text(text) => vec![text.clone()],
        Prompt::Texts(texts) => texts.clone(),
        Prompt::Tokens(tokens) => vec![text_of(vocabulary, tokens)],
    }
}

/// The text of tokens, control tokens by name, so that a tokenized template comes back as it was.
fn text_of(vocabulary: &dyn Vocabulary, tokens: &[Token]) -> String {
    let bytes = tokens.iter().flat_map(|&token| vocabulary.name(token));
    let bytes: Vec<u8> = bytes.copied().collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn check_tokens(tier: &ServedTier, param: &str, tokens: &[Token]) -> Result<(), RuntimeError> {
    let known = tier.handle.vocabulary().len();
    match tokens.iter().find(|&&token| token as usize >= known) {
        None => Ok(()),
        Some(token) => {
            let last = known - 1;
            let message = format!("Expected token ids from 0 to {last}, but got {token} instead.");
            Err(RuntimeError::invalid(param, "invalid_value", message))
        }
    }
}
