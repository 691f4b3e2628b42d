//! One run of the agent: its model, tools, memory of what was searched and read, and its record.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentinfer_collab::{
    CHECK_GRAMMAR, CHECK_INSTRUCTION, Decision, Entry, Role, Verdict, read_verdict,
};
use agentinfer_compress::{passages, recall};
use agentinfer_protocol::{
    ChatCompletion, ChatCompletionRequest, JsonSchemaFormat, Message, RecallRequest, ResponseFormat,
};
use futures_util::future::join_all;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::AgentError;
use crate::agent::AgentOptions;
use crate::event::{AgentEvent, EventSink};
use crate::llm::Llm;
use crate::rank::Ranked;
use crate::tiers::{Judged, Tiers, Turn};
use crate::tools::{Document, Hit, Tools};
use crate::trace::{Call, Recorder};

/// Hits asked of a search. Few are read; the others tell how well a linked document fits.
const HITS: usize = 30;

/// Enough for a progress check: its frame, and a reason of at most 160 characters.
const CHECK_TOKENS: u32 = 120;

/// A progress check's name in traces.
const CHECK: &str = "check";

/// One step's request to the model.
pub(crate) struct Step {
    /// The step's name in traces and errors.
    pub(crate) name: &'static str,
    /// The conversation.
    pub(crate) messages: Vec<Message>,
    /// The JSON schema of the answer.
    pub(crate) schema: Value,
    /// At most this many tokens are generated.
    pub(crate) max_tokens: u32,
}

/// Who is asked for a completion, and why.
struct Asked<'a> {
    /// The step's name in traces.
    step: &'static str,
    /// The model.
    model: &'a str,
    /// Why it is this one.
    decision: Option<Decision>,
    /// How long it may take; none where nothing goes on without it.
    deadline: Option<Duration>,
}

impl Asked<'_> {
    /// What `answer` comes to; beyond the deadline it is dropped, which cancels the request.
    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, AgentError>>,
    ) -> Result<T, AgentError> {
        let Some(deadline) = self.deadline else {
            return answer.await;
        };
        let late = |_| {
            Err(AgentError::Late {
                model: self.model.to_owned(),
                deadline,
            })
        };
        timeout(deadline, answer).await.unwrap_or_else(late)
    }
}

/// What a run is made of.
pub(crate) struct Run<'a> {
    pub(crate) options: &'a AgentOptions,
    pub(crate) recorder: Recorder,
    /// The run's name as a session, for servers that keep a session's prefix.
    session: String,
    llm: &'a dyn Llm,
    tiers: Tiers,
    tools: &'a Tools,
    sink: Mutex<&'a mut dyn EventSink>,
    /// How many seekers there have been.
    seekers: AtomicUsize,
    /// The hits of every query made, so that none is made twice.
    searched: Mutex<HashMap<String, Vec<Hit>>>,
    /// Every document read, by address.
    read: Mutex<HashMap<String, Document>>,
    /// How hits were ranked.
    pub(crate) ranked: Ranked,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        llm: &'a dyn Llm,
        tools: &'a Tools,
        options: &'a AgentOptions,
        sink: &'a mut dyn EventSink,
        recorder: Recorder,
        session: String,
    ) -> Self {
        Self {
            options,
            recorder,
            session,
            llm,
            tiers: Tiers::new(llm.model(), options.collab.as_ref()),
            tools,
            sink: Mutex::new(sink),
            seekers: AtomicUsize::new(0),
            searched: Mutex::default(),
            read: Mutex::default(),
            ranked: Ranked::default(),
        }
    }

    /// The run's name as a session.
    pub(crate) fn session(&self) -> &str {
        &self.session
    }

    /// The model that thinks, or the large one of two.
    pub(crate) fn model(&self) -> &str {
        self.llm.model()
    }

    /// How many seekers there have been.
    pub(crate) fn seekers(&self) -> usize {
        self.seekers.load(Ordering::Relaxed)
    }

    /// Which tier took which step until now, and what came of it.
    pub(crate) fn steps(&self) -> Vec<Entry> {
        self.tiers.record()
    }

    /// Tells the live view.
    pub(crate) fn tell(&self, event: AgentEvent) {
        lock(&self.sink).event(event);
    }

    /// A number for a seeker, or for the writer, that no other has.
    pub(crate) fn next_seeker(&self) -> usize {
        self.seekers.fetch_add(1, Ordering::Relaxed)
    }

    /// Begins a step that one model takes, and perhaps another once more.
    pub(crate) fn begin(&self, role: Role, kind: &str) -> Turn {
        self.tiers.begin(role, kind)
    }

    /// Begins a step that one model takes, once.
    pub(crate) fn begin_once(&self, role: Role, kind: &str) -> Turn {
        self.tiers.begin_once(role, kind)
    }

    /// Ends a step; with a turn, it must be taken again.
    pub(crate) async fn finish(
        &self,
        turn: Turn,
        judged: Judged,
    ) -> Result<Option<Turn>, AgentError> {
        let verdict = match self.tiers.asks_the_model() && !turn.said.messages.is_empty() {
            true => self.check(&turn).await?,
            false => Verdict::Missing,
        };
        Ok(self.tiers.finish(turn, judged, verdict))
    }

    /// Asks the model for JSON of the step's schema. None when the reply cannot be used: a step
    /// that the model garbles does not end the run.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        turn: &mut Turn,
        step: Step,
    ) -> Result<Option<T>, AgentError> {
        let messages = step.messages.clone();
        let text = self.complete(turn, step.name, request(step)).await?.text();
        turn.said.messages = messages;
        turn.said.messages.push(Message::assistant(text.clone()));
        Ok(usable(&text))
    }

    /// Asks the light model, in the time that hits may take to be ranked. It is nobody's step: code
    /// does without the answer. None when the reply cannot be used.
    pub(crate) async fn ask_light<T: DeserializeOwned>(
        &self,
        step: Step,
    ) -> Result<Option<T>, AgentError> {
        let asked = Asked {
            step: step.name,
            model: self.tiers.light(),
            decision: None,
            deadline: self.options.rank_deadline,
        };
        let answer = self.answer(asked, request(step)).await?;
        Ok(usable(&answer.text()))
    }

    /// What the model that has just answered thinks of its answer.
    async fn check(&self, turn: &Turn) -> Result<Verdict, AgentError> {
        let mut request = ChatCompletionRequest {
            guided_grammar: Some(CHECK_GRAMMAR.to_owned()),
            max_completion_tokens: Some(CHECK_TOKENS),
            ..turn.said.clone()
        };
        request.messages.push(Message::user(CHECK_INSTRUCTION));
        let answer = self.complete(turn, CHECK, request).await?;
        Ok(read_verdict(&answer.text()))
    }

    /// What the turn's model answers.
    pub(crate) async fn complete(
        &self,
        turn: &Turn,
        step: &'static str,
        request: ChatCompletionRequest,
    ) -> Result<Message, AgentError> {
        let asked = Asked {
            step,
            model: self.tiers.model(turn),
            decision: turn.decision(),
            deadline: None,
        };
        self.answer(asked, request).await
    }

    async fn answer(
        &self,
        asked: Asked<'_>,
        request: ChatCompletionRequest,
    ) -> Result<Message, AgentError> {
        let request = ChatCompletionRequest {
            model: asked.model.to_owned(),
            temperature: Some(0.0),
            prompt_cache_key: Some(self.session.clone()),
            ..request
        };
        let call = Call {
            step: asked.step,
            model: asked.model,
            decision: asked.decision,
            begun: Instant::now(),
        };
        let answer = asked.in_time(self.llm.chat(request)).await;
        let answer = answer.inspect_err(|error| {
            self.recorder.llm(&call, Err(&error.to_string()));
        })?;
        let usage = answer.usage.clone();
        let message = first_message(answer);
        self.recorder.llm(&call, Ok((&usage, &said(&message))));
        Ok(message)
    }

    /// The hits of each query. A query made before is answered from memory.
    pub(crate) async fn search(
        &self,
        seeker: usize,
        queries: &[String],
    ) -> Result<Vec<Vec<Hit>>, AgentError> {
        let mut new: Vec<String> = Vec::new();
        for query in queries {
            let known = lock(&self.searched).contains_key(&key(query));
            if !known && new.iter().all(|other| key(other) != key(query)) {
                new.push(query.clone());
            }
        }
        if !new.is_empty() {
            self.tell(AgentEvent::Search {
                seeker,
                queries: new.clone(),
            });
            let begun = Instant::now();
            let found = self.tools.batch_web_search(&new, HITS).await;
            let count = found.as_ref().map(|hits| hits.iter().map(Vec::len).sum());
            self.tool("batch_web_search", begun, &new, count);
            let found = found?;
            let mut searched = lock(&self.searched);
            for (query, hits) in new.iter().zip(found) {
                searched.insert(key(query), hits);
            }
        }
        let searched = lock(&self.searched);
        let hits = queries
            .iter()
            .map(|query| searched.get(&key(query)).cloned());
        Ok(hits.map(Option::unwrap_or_default).collect())
    }

    /// The documents whose titles a text mentions.
    pub(crate) async fn mentioned(&self, text: &str) -> Result<Vec<Hit>, AgentError> {
        self.tools.mentioned(text).await
    }

    /// Reads the documents of the hits for a question, all at once and each only once. One that
    /// cannot be read is left out; of a long one only what has to do with the question is read.
    pub(crate) async fn read(&self, seeker: usize, question: &str, hits: &[Hit]) -> Vec<Document> {
        let documents = join_all(hits.iter().map(|hit| self.read_one(seeker, hit))).await;
        let passages = |document: Document| Document {
            text: recall(&document.text, Some(question), self.options.document_bytes),
            ..document
        };
        documents.into_iter().flatten().map(passages).collect()
    }

    /// What is shown of documents that are read together: of many, the sentences that matter.
    pub(crate) fn shown(&self, question: &str, documents: &[Document]) -> Vec<Document> {
        let Some(most) = self.options.reading_bytes else {
            return documents.to_vec();
        };
        let texts = documents.iter().map(|it| (&*it.title, &*it.text));
        let texts = passages(&texts.collect::<Vec<_>>(), question, most);
        let shown = documents
            .iter()
            .zip(texts)
            .map(|(document, text)| Document {
                text,
                ..document.clone()
            });
        shown.filter(|document| !document.text.is_empty()).collect()
    }

    async fn read_one(&self, seeker: usize, hit: &Hit) -> Option<Document> {
        let reading = self.tools.url_crawler(&hit.url);
        self.open(seeker, &hit.url, reading).await.ok()
    }

    /// Hits of pages, each page once, in the place of hits of their parts.
    pub(crate) fn pages(&self, hits: Vec<Hit>) -> Vec<Hit> {
        let mut pages: Vec<Hit> = Vec::new();
        for hit in hits {
            let url = self.tools.page_url(&hit.url);
            if pages.iter().all(|page| page.url != url) {
                pages.push(Hit { url, ..hit });
            }
        }
        pages
    }

    /// Reads a page, whole.
    pub(crate) async fn page(&self, seeker: usize, url: &str) -> Result<Document, AgentError> {
        self.open(seeker, url, self.tools.page(url)).await
    }

    /// What is remembered of a document; else what reading it comes to.
    async fn open(
        &self,
        seeker: usize,
        url: &str,
        reading: impl Future<Output = Result<Document, AgentError>>,
    ) -> Result<Document, AgentError> {
        if let Some(known) = lock(&self.read).get(url) {
            return Ok(known.clone());
        }
        let begun = Instant::now();
        let document = reading.await;
        let count = document.as_ref().map(|_| 1);
        self.tool("url_crawler", begun, &[url.to_owned()], count);
        let document = document.inspect_err(|error| tracing::warn!(url, %error, "not read"))?;
        self.tell(AgentEvent::Read {
            seeker,
            title: document.title.clone(),
            url: document.url.clone(),
        });
        lock(&self.read).insert(url.to_owned(), document.clone());
        Ok(document)
    }

    /// The original of a result that was served distilled; with a query, what answers it.
    pub(crate) async fn recall(
        &self,
        seeker: usize,
        handle: &str,
        query: Option<&str>,
    ) -> Result<String, AgentError> {
        self.tell(AgentEvent::Recall {
            seeker,
            handle: handle.to_owned(),
        });
        let request = RecallRequest {
            handle: handle.to_owned(),
            query: query.map(str::to_owned),
            max_bytes: None,
        };
        let begun = Instant::now();
        let original = self.llm.recall(request).await;
        let count = original.as_ref().map(|_| 1);
        self.tool("memory_recall", begun, &[handle.to_owned()], count);
        Ok(original?.content)
    }

    fn tool(
        &self,
        tool: &str,
        begun: Instant,
        input: &[String],
        result: Result<usize, &AgentError>,
    ) {
        let error = result.as_ref().err().map(ToString::to_string);
        let result = result.map_err(|_| error.as_deref().unwrap_or_default());
        self.recorder.tool(tool, begun, input, result);
    }
}

/// Queries that differ in case, order of spaces or punctuation only are the same.
pub(crate) fn key(query: &str) -> String {
    let words = query.split(|c: char| !c.is_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ").to_lowercase()
}

fn request(step: Step) -> ChatCompletionRequest {
    ChatCompletionRequest {
        response_format: Some(ResponseFormat::JsonSchema {
            json_schema: JsonSchemaFormat {
                name: step.name.to_owned(),
                schema: Some(step.schema),
                // Strict modes refuse bounds on lengths; whoever constrains output at all does so
                // without this.
                strict: None,
            },
        }),
        messages: step.messages,
        max_completion_tokens: Some(step.max_tokens),
        ..ChatCompletionRequest::default()
    }
}

/// The first answer; an empty one where there is none.
fn first_message(answer: ChatCompletion) -> Message {
    let first = answer.choices.into_iter().next();
    first.map_or_else(|| Message::assistant(""), |choice| choice.message)
}

/// An answer's text, and its calls as they are traced.
fn said(message: &Message) -> String {
    let calls = message.tool_calls.iter().flatten();
    let calls = calls.map(|call| format!("{}({})", call.function.name, call.function.arguments));
    let parts = [message.text()].into_iter().chain(calls);
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    parts.join("\n")
}

/// What a reply says; none where it cannot be used.
fn usable<T: DeserializeOwned>(text: &str) -> Option<T> {
    let parsed = parse(text);
    let parsed = parsed.inspect_err(|error| tracing::debug!(%error, text, "unusable reply"));
    parsed.ok()
}

/// Parses JSON; where a server does not constrain its output, also JSON within other text.
fn parse<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| {
        let inner = text.find('{').zip(text.rfind('}'));
        match inner {
            Some((start, end)) if start < end => serde_json::from_str(&text[start..=end]),
            _ => Err(error),
        }
    })
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is only added to: a panic elsewhere leaves it as good as it was.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
