//! Views on a simulated model, whose tokens are bytes and whose context has 8,192 of them.

use std::path::Path;
use std::time::Duration;

use agentinfer_memory::Reader;
use agentinfer_protocol::{ChatCompletion, ChatCompletionRequest, Message, RecallRequest, Role};
use serde_json::{Value, json};

use crate::{
    CompressOptions, CompressStats, Distiller, MemoryOptions, Runtime, RuntimeError,
    RuntimeOptions, StoreLimits, Tier, TierOptions, TierSource,
};

/// Far above what any step here takes: reached only when something hangs.
const HANG: Duration = Duration::from_secs(20);

/// Tokens from which on the conversations here are compressed.
const TRIGGER: u32 = 1500;

fn runtime() -> Runtime {
    runtime_with(Distiller::Extract, None)
}

/// A runtime that keeps its sessions in this folder.
fn runtime_with(distiller: Distiller, memory: Option<&Path>) -> Runtime {
    let tier = TierOptions::new(Tier::Small, "sim", TierSource::Sim);
    let mut compress = CompressOptions {
        enabled: true,
        distiller,
        ..CompressOptions::default()
    };
    compress.planner.trigger_tokens = TRIGGER;
    compress.planner.recent_results = 1;
    let limits = StoreLimits {
        bytes: 64 << 20,
        age: Duration::from_secs(3600),
    };
    let memory = memory.map(|folder| MemoryOptions {
        folder: folder.to_owned(),
        limits,
    });
    let options = RuntimeOptions {
        compress,
        memory,
        ..RuntimeOptions::new(vec![tier])
    };
    Runtime::start(options).expect("a simulated tier starts")
}

/// A page of about 1,000 tokens, of which one line has to do with the question.
fn page(number: usize) -> String {
    let filler =
        |line: usize| format!("Paragraph {line} of it is about gardens, rain and roads.\n");
    let name = format!("The lighthouse of Skagen number {number} was built in 18{number:02}.\n");
    let filler: Vec<String> = (0..16).map(filler).collect();
    format!("{}{name}{}", filler[..8].concat(), filler[8..].concat())
}

/// A client with a tool that looks pages up. The simulated model calls nothing, so the client
/// writes the calls that led to the pages.
struct Client {
    runtime: Runtime,
    messages: Vec<Message>,
    pages: usize,
}

impl Client {
    fn new(runtime: &Runtime) -> Self {
        let task = "When was each lighthouse of Skagen built?";
        Self {
            runtime: runtime.clone(),
            messages: vec![Message::system("Be short."), Message::user(task)],
            pages: 0,
        }
    }

    /// Looks a page up: a call and its result join the conversation.
    fn look(&mut self) {
        let id = format!("call-{}", self.pages);
        let call = json!({
            "role": "assistant", "content": "I look it up.", "tool_calls": [{
                "id": id, "type": "function",
                "function": {"name": "look", "arguments": "{\"at\": \"Skagen\"}"}}],
        });
        self.messages
            .push(serde_json::from_value(call).expect("a message"));
        self.messages.push(Message {
            tool_call_id: Some(id),
            ..Message::new(Role::Tool, page(self.pages))
        });
        self.pages += 1;
    }

    fn request(&self, fields: Value) -> ChatCompletionRequest {
        let mut request = json!({
            "messages": self.messages, "seed": 1, "max_tokens": 64, "prompt_cache_key": "s",
        });
        for (name, value) in fields.as_object().expect("fields are an object") {
            request[name] = value.clone();
        }
        serde_json::from_value(request).expect("a chat request")
    }

    async fn ask(&mut self, fields: Value) -> Result<Turn, RuntimeError> {
        let mut stream = self.runtime.chat(self.request(fields))?;
        let answer = stream.read_all().await?;
        self.messages.push(answer.choices[0].message.clone());
        Ok(Turn {
            distilled: stream.distilled(),
            answer,
        })
    }

    /// Asks, and waits until what is then done in the background is done.
    async fn settled(&mut self) -> Turn {
        let turn = self.ask(json!({})).await.expect("no failure");
        let view = || self.runtime.view(self.request(json!({}))).expect("a view");
        let all = async {
            // A look at the view lets it take effect.
            while view().distilled.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(HANG, all).await;
        assert!(in_time.is_ok(), "{:?}", self.runtime.compress_stats());
        self.messages.push(Message::user("Go on."));
        turn
    }
}

struct Turn {
    distilled: Option<usize>,
    answer: ChatCompletion,
}

impl Turn {
    /// Prompt tokens in full, as served, and of these those that were resident.
    fn tokens(&self) -> (u32, u32, u32) {
        let usage = &self.answer.usage;
        let details = usage.prompt_tokens_details.as_ref().expect("details");
        let full = details.full_tokens.expect("it may be compressed");
        (full, usage.prompt_tokens, details.cached_tokens)
    }
}

fn assert_valid(full: &[Message], served: &[Message]) {
    assert_eq!(full.len(), served.len());
    for (full, served) in full.iter().zip(served) {
        if full.role == Role::Tool {
            assert_eq!(full.tool_call_id, served.tool_call_id);
            assert_eq!(served.role, Role::Tool);
        } else {
            assert_eq!(full, served);
        }
    }
}

#[tokio::test]
async fn the_next_request_is_served_a_view_that_is_resident() {
    let runtime = runtime();
    let mut client = Client::new(&runtime);
    (0..3).for_each(|_| client.look());
    let first = client.settled().await;
    assert_eq!(first.distilled, Some(0));
    let (full, served, _) = first.tokens();
    assert_eq!(full, served, "nothing was known of it");

    let second = client.ask(json!({})).await.expect("no failure");
    assert_eq!(second.distilled, Some(2), "all but the latest result");
    let (full, served, cached) = second.tokens();
    assert!(
        f64::from(served) < 0.7 * f64::from(full),
        "{served} of {full}"
    );
    let new = "Go on.".len() as u32 + 64;
    assert!(cached + new >= served, "{cached} of {served} are resident");
    let stats = runtime.compress_stats();
    assert_eq!((stats.swaps, stats.distilled, stats.views), (1, 2, 1));
    assert_eq!((stats.fitted, stats.stall_seconds), (0, 0.0));
}

#[tokio::test]
async fn a_view_changes_results_of_tools_only() {
    let runtime = runtime();
    let mut client = Client::new(&runtime);
    (0..3).for_each(|_| client.look());
    client.settled().await;
    let view = runtime.view(client.request(json!({}))).expect("a view");
    assert_valid(&client.messages, &view.messages);
    assert!(view.served_tokens < view.full_tokens);
    for result in &view.distilled {
        let text = view.messages[result.index].text();
        assert!(text.contains(&result.handle), "{text}");
        // What the task and the pages have in common stays.
        assert!(text.contains("Skagen"), "{text}");
        assert!(result.tokens < result.original_tokens);
    }
    // What was distilled may mean something else where the conversation has another end.
    let messages = client.messages.clone();
    client.messages.truncate(6);
    client.messages.push(Message::user("Never mind."));
    let edited = runtime.view(client.request(json!({}))).expect("a view");
    assert_eq!(edited.messages, client.messages);
    client.messages = messages;
    let again = runtime.view(client.request(json!({}))).expect("a view");
    assert_eq!(again.messages, view.messages);
    // Another line of the conversation has no part in it.
    let mut other = Client::new(&runtime);
    other.messages[1] = Message::user("And in Norway?");
    (0..3).for_each(|_| other.look());
    let view = runtime.view(other.request(json!({}))).expect("a view");
    assert_eq!(view.messages, other.messages);
}

#[tokio::test]
async fn a_session_that_goes_on_at_once_is_served_what_there_is() {
    let runtime = runtime();
    let mut client = Client::new(&runtime);
    (0..3).for_each(|_| client.look());
    let mut turns = 0;
    loop {
        let turn = client.ask(json!({})).await.expect("no failure");
        turns += 1;
        let (full, served, _) = turn.tokens();
        if turn.distilled != Some(0) {
            assert!(served < full);
            break;
        }
        assert_eq!(full, served);
        assert!(turns < 1000, "{:?}", runtime.compress_stats());
        client.messages.push(Message::user("On."));
    }
    assert_eq!(runtime.compress_stats().stall_seconds, 0.0);
}

#[tokio::test]
async fn a_conversation_goes_on_past_the_window() {
    let runtime = runtime();
    let mut client = Client::new(&runtime);
    (0..9).for_each(|_| client.look());
    let refused = client.ask(json!({"compress": false})).await;
    let error = refused.err().expect("it is too long");
    assert_eq!(error.code(), Some("context_length_exceeded"));

    for _ in 0..4 {
        let turn = client.ask(json!({})).await.expect("it is shortened");
        let (full, served, _) = turn.tokens();
        assert!(full > 8192 && served < 8192, "{served} of {full}");
        assert!(turn.distilled > Some(0));
        (0..2).for_each(|_| client.look());
    }
    let stats = runtime.compress_stats();
    assert!(stats.fitted > 0 && stats.stall_seconds > 0.0, "{stats:?}");
}

#[tokio::test]
async fn an_original_comes_back_verbatim_to_its_tenant() {
    let runtime = runtime();
    let mut client = Client::new(&runtime);
    (0..3).for_each(|_| client.look());
    client.settled().await;
    let view = runtime.view(client.request(json!({}))).expect("a view");
    for result in &view.distilled {
        let request = RecallRequest {
            handle: result.handle.clone(),
            ..RecallRequest::default()
        };
        let recalled = runtime.recall(&request).expect("it is known");
        assert_eq!(recalled.content, client.messages[result.index].text());
        assert_eq!(recalled.bytes, recalled.content.len());
        assert_eq!(recalled.tool.as_deref(), Some("look"));
        let bounded = RecallRequest {
            query: Some("When was the lighthouse of Skagen built?".to_owned()),
            max_bytes: Some(200),
            ..request.clone()
        };
        let part = runtime.recall(&bounded).expect("it is known").content;
        assert!(part.len() <= 200 && part.contains("Skagen"), "{part}");
        let error = runtime.for_tenant(7).recall(&request);
        let error = error.expect_err("another tenant's");
        assert_eq!(error.code(), Some("handle_not_found"));
        assert!(error.to_string().contains(&request.handle));
    }
    let stats = runtime.compress_stats();
    assert_eq!(stats.recall_misses, view.distilled.len() as u64);
}

#[tokio::test]
async fn the_model_is_offered_to_recall_where_its_client_asks_for_it() {
    let runtime = runtime();
    let client = Client::new(&runtime);
    let offered = |fields: Value| {
        let stream = runtime.chat(client.request(fields)).expect("served");
        let tools = stream.conversation.tools.iter();
        tools
            .map(|tool| tool.function.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(offered(json!({})), [""; 0]);
    assert_eq!(offered(json!({"memory_recall": true})), ["memory_recall"]);
    let own = json!({"memory_recall": true, "tools": [
        {"type": "function", "function": {"name": "memory_recall"}}]});
    assert_eq!(offered(own), ["memory_recall"], "the client's own stays");
}

#[tokio::test]
async fn nothing_is_done_unasked() {
    let runtime = runtime();
    let mut client = Client::new(&runtime);
    (0..3).for_each(|_| client.look());
    for _ in 0..3 {
        let turn = client.ask(json!({"compress": false})).await;
        let turn = turn.expect("no failure");
        assert_eq!(turn.distilled, None);
        let details = turn.answer.usage.prompt_tokens_details.expect("details");
        assert_eq!(details.full_tokens, None);
        client.messages.push(Message::user("Go on."));
    }
    assert_eq!(runtime.compress_stats(), CompressStats::default());
}

#[tokio::test]
async fn an_ended_session_is_kept_once_and_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = runtime_with(Distiller::Extract, Some(folder.path()));
    let mut client = Client::new(&runtime);
    let fields = json!({"prompt_cache_key": null});
    client.ask(fields).await.expect("no failure");
    client.messages.push(Message::user("And then?"));
    let fields = json!({"prompt_cache_key": null, "end_session": true});
    client.ask(fields).await.expect("no failure");
    let reader = Reader::open(folder.path()).expect("there is a store");
    let sessions = || reader.list(None, 10).expect("it can be read");
    let ended = async {
        while !sessions().iter().any(|session| session.ended) {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(HANG, ended).await;
    assert!(in_time.is_ok(), "{:?}", sessions());
    let sessions = sessions();
    let turns: Vec<u64> = sessions.iter().map(|session| session.turns).collect();
    assert_eq!(turns, [client.messages.len() as u64]);
    let forgotten = async {
        while runtime.stats()[0].sessions > 0 {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(HANG, forgotten).await.is_ok());
}

#[tokio::test]
async fn what_was_said_and_distilled_outlives_the_process_and_the_view_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    // What a model is asked in order to distil is no session.
    let runtime = runtime_with(Distiller::Model, Some(folder.path()));
    let mut client = Client::new(&runtime);
    (0..3).for_each(|_| client.look());
    client.settled().await;
    let view = runtime.view(client.request(json!({}))).expect("a view");
    client.ask(json!({})).await.expect("no failure");
    let mut private = Client::new(&runtime);
    let fields = json!({"prompt_cache_retention": "in_memory", "prompt_cache_key": "p"});
    private.ask(fields).await.expect("no failure");
    drop(private);
    // The turns of two requests, and what the second was served distilled.
    let records = 2 + view.distilled.len() as u64;
    let written = async {
        while runtime.store_stats().expect("a store").written < records {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(HANG, written).await;
    assert!(in_time.is_ok(), "{:?}", runtime.store_stats());
    let messages = client.messages.clone();
    drop((client, runtime));

    let reader = Reader::open(folder.path()).expect("there is a store");
    // Another one of the same process, which was not to be on disk, is not there.
    let sessions = reader.list(None, 10).expect("it can be read");
    let [session] = &sessions[..] else {
        panic!("one session: {sessions:?}")
    };
    assert_eq!(session.name.as_deref(), Some("s"));
    assert_eq!(session.title, messages[1].text());
    assert_eq!(session.turns, messages.len() as u64);

    let runtime = runtime_with(Distiller::Extract, Some(folder.path()));
    let mut again = Client::new(&runtime);
    again.messages = messages;
    let full = runtime.view(again.request(json!({}))).expect("a view");
    assert_eq!(full.messages, again.messages, "no block has outlived it");
    for result in &view.distilled {
        let request = RecallRequest {
            handle: result.handle.clone(),
            ..RecallRequest::default()
        };
        let recalled = runtime.recall(&request).expect("the store has it");
        assert_eq!(recalled.content, again.messages[result.index].text());
        assert_eq!(recalled.tool.as_deref(), Some("look"));
    }
    // It is the same session, however often its process ends.
    again.messages.push(Message::user("Still there?"));
    again.ask(json!({})).await.expect("no failure");
    let known = || reader.list(None, 10).expect("it can be read");
    let grown = async {
        while known()[0].turns < again.messages.len() as u64 {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(HANG, grown).await.is_ok());
    assert_eq!(known().len(), 1);
}
