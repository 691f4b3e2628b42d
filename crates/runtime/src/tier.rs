//! One served model: its engine, its vocabulary and its way of writing a conversation.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use agentinfer_chat::{
    ChatError, ChatTemplate, DEFAULT_TEMPLATE, Date, RenderInput, ToolMode, tool_call_grammar,
};
use agentinfer_engine::trace::TraceFile;
use agentinfer_engine::{
    Constraint, Device, Engine, EngineError, EngineHandle, Model, SimModel, SimVocabulary,
    Speculation, Vocabulary,
};
use agentinfer_llama::ModelFile;
use agentinfer_memory::{SegmentKey, Segments};
use agentinfer_protocol::{Message, ModelCard, Tool};
use serde_json::{Map, Value};

use crate::drafts::{self, Keys};
use crate::random;
use crate::{DiskOptions, Drafts, RuntimeError, Tier, TierOptions, TierSource};

/// Tokens kept free for an answer of no stated length, where a conversation is shortened to fit.
const ANSWER_TOKENS: u32 = 1024;

/// A served model.
pub(crate) struct ServedTier {
    pub(crate) tier: Tier,
    pub(crate) name: String,
    pub(crate) handle: EngineHandle,
    pub(crate) template: ChatTemplate,
    /// How the template writes the begin-of-sequence token; empty if there is none.
    pub(crate) begin_text: String,
    /// How its sessions are known in the segments, if it drafts from them.
    keys: Option<Keys>,
    /// Unix time of the start, in seconds.
    created: u64,
    /// Identifies the model file and this program's version in answers.
    pub(crate) fingerprint: String,
    /// Prompt tokens that were known from the session.
    pub(crate) reused_tokens: AtomicU64,
    /// Prompt tokens that had to be tokenized.
    pub(crate) tokenized_tokens: AtomicU64,
}

impl ServedTier {
    /// Loads the model and starts its engine on `device`.
    pub(crate) fn start(
        options: TierOptions,
        segments: Option<&Arc<Segments>>,
        device: &Device,
    ) -> Result<Self, RuntimeError> {
        let TierOptions {
            tier,
            name,
            source,
            llama,
            mut engine,
            drafts,
            disk,
            sched_trace,
        } = options;
        if drafts == Drafts::Off {
            engine.speculation = Speculation::Off;
        }
        let thread = tier.as_str();
        let label = format!("{tier} model {name}, policy {}", engine.policy);
        let complete = Complete {
            label: &label,
            drafts,
            segments: segments.filter(|_| drafts == Drafts::Full),
            salt: random::seed(),
            device,
            disk: disk.as_ref(),
            sched_trace: sched_trace.as_deref(),
        };
        let (handle, file, path) = match &source {
            TierSource::Gguf(path) => {
                let opened =
                    agentinfer_llama::open(path, &llama).map_err(|source| RuntimeError::Load {
                        model: name.clone(),
                        source,
                    })?;
                let vocabulary = opened.vocabulary;
                let engine = Engine::new(opened.model, vocabulary.clone(), engine);
                let engine = complete.engine(engine, &*vocabulary)?;
                (
                    EngineHandle::spawn(thread, engine)?,
                    Some(opened.file),
                    path.as_path(),
                )
            }
            TierSource::Remote(_) => {
                let message = format!("another server runs the {tier} tier; it has no engine here");
                return Err(RuntimeError::Options(message));
            }
            TierSource::Sim => {
                let vocabulary = Arc::new(SimVocabulary::default());
                let engine = Engine::new(SimModel::default(), vocabulary.clone(), engine);
                let engine = complete.engine(engine, &*vocabulary)?;
                (
                    EngineHandle::spawn(thread, engine)?,
                    None,
                    Path::new("simulated"),
                )
            }
        };
        let text = |read: fn(&ModelFile) -> &String| file.as_ref().map(read).cloned();
        let begin_text = text(|file| &file.bos_text).unwrap_or_default();
        let end_text = text(|file| &file.eos_text).unwrap_or_default();
        let source = file.as_ref().and_then(|file| file.chat_template.as_deref());
        if source.is_none() && file.is_some() {
            tracing::warn!(model = name, "the file has no chat template; using ChatML");
        }
        let source = source.unwrap_or(DEFAULT_TEMPLATE);
        let template = ChatTemplate::new(source, &begin_text, &end_text).map_err(|source| {
            RuntimeError::Template {
                model: name.clone(),
                path: path.to_owned(),
                source,
            }
        })?;
        Ok(Self {
            tier,
            keys: complete.keys(handle.vocabulary().as_ref()),
            template,
            fingerprint: fingerprint(&name, file.as_ref()),
            name,
            handle,
            begin_text,
            created: unix_seconds(),
            reused_tokens: AtomicU64::new(0),
            tokenized_tokens: AtomicU64::new(0),
        })
    }

    /// The conversation as the model's template writes it; `variables` are the client's own.
    pub(crate) fn render(
        &self,
        messages: &[Message],
        tools: &[Tool],
        variables: Option<&Map<String, Value>>,
        add_generation_prompt: bool,
    ) -> Result<String, ChatError> {
        let date = Some(Date::from_unix(unix_seconds()));
        let input = RenderInput {
            tools,
            variables,
            add_generation_prompt,
            date,
            ..RenderInput::new(messages)
        };
        self.template.render(&input)
    }

    /// What holds calls of `tools` to the form that this model's family writes.
    pub(crate) fn call_grammar(
        &self,
        tools: &[Tool],
        mode: ToolMode<'_>,
        parallel: bool,
    ) -> Result<Constraint, RuntimeError> {
        let vocabulary = self.handle.vocabulary();
        let control = |markup: &str| match vocabulary.tokenize(markup, false, true)[..] {
            [token] if vocabulary.bytes(token).is_empty() => Some(token),
            _ => None,
        };
        let style = self.template.style();
        let grammar = tool_call_grammar(style, tools, mode, parallel, &control);
        let grammar = grammar.map_err(RuntimeError::Conversation)?;
        Ok(grammar.map_or(Constraint::None, Constraint::Lark))
    }

    /// Where a session is in the segments, or will be, if it is kept there.
    pub(crate) fn segment_key(&self, session: u64) -> Option<SegmentKey> {
        self.keys.map(|keys| keys.of(session))
    }

    /// How many tokens a text is by itself.
    pub(crate) fn count(&self, text: &str) -> u32 {
        self.handle.vocabulary().tokenize(text, false, false).len() as u32
    }

    /// Tokens that a prompt may take if an answer of `answer_tokens` is to fit behind it.
    pub(crate) fn room(&self, answer_tokens: Option<u32>) -> usize {
        let context = self.handle.limits().context_tokens;
        let answer = answer_tokens.unwrap_or(ANSWER_TOKENS).min(context / 4);
        (context - answer) as usize
    }

    pub(crate) fn card(&self) -> ModelCard {
        ModelCard {
            id: self.name.clone(),
            object: "model".to_owned(),
            created: self.created,
            owned_by: "agentinfer".to_owned(),
            max_model_len: self.handle.limits().context_tokens,
            tier: self.tier.to_string(),
        }
    }
}

impl std::fmt::Debug for ServedTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServedTier")
            .field("tier", &self.tier)
            .field("name", &self.name)
            .finish()
    }
}

/// What an engine gets beside its model and its options.
struct Complete<'a> {
    label: &'a str,
    drafts: Drafts,
    /// Where it drafts from past sessions.
    segments: Option<&'a Arc<Segments>>,
    /// Tells sessions of this process from others there.
    salt: u64,
    device: &'a Device,
    disk: Option<&'a DiskOptions>,
    sched_trace: Option<&'a Path>,
}

impl Complete<'_> {
    /// How its sessions are known in the segments, if they are there.
    fn keys(&self, vocabulary: &dyn Vocabulary) -> Option<Keys> {
        self.segments.map(|_| Keys::new(vocabulary, self.salt))
    }

    fn engine<M: Model>(
        &self,
        engine: Engine<M>,
        vocabulary: &dyn Vocabulary,
    ) -> Result<Engine<M>, EngineError> {
        let mut engine = engine.with_device(self.device);
        engine.measure_steps()?;
        let segments = self.segments.zip(self.keys(vocabulary));
        if let Some(drafter) = drafts::drafter(self.drafts, vocabulary, segments) {
            engine = engine.with_drafter(drafter);
        }
        if let Some(disk) = self.disk {
            engine = engine.with_disk(&disk.folder, disk.bytes)?;
        }
        match self.sched_trace {
            Some(path) => Ok(engine.with_trace(self.label, Box::new(TraceFile::create(path)?))),
            None => Ok(engine),
        }
    }
}

fn fingerprint(name: &str, file: Option<&ModelFile>) -> String {
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), name).hash(&mut hasher);
    file.map(|file| (&file.architecture, file.parameters, file.bytes))
        .hash(&mut hasher);
    format!("fp_{:016x}", hasher.finish())
}

/// Seconds since 1970; 0 on a machine whose clock is set before that.
pub(crate) fn unix_seconds() -> u64 {
    std::time::UNIX_EPOCH
        .elapsed()
        .map_or(0, |elapsed| elapsed.as_secs())
}
