//! The whole agent over a small corpus, with a model that follows a script.

mod script;

use std::sync::{Arc, Mutex};

use agentinfer_agent::{
    AgentError, AgentEvent, AgentOptions, BoxFuture, Corpus, Document, HttpLlm, Llm, ResearchAgent,
    Silent, Tools,
};
use agentinfer_protocol::{ChatCompletion, ChatCompletionRequest};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};

use self::script::{QUESTION, Script, completion, corpus, good, reading};

/// Never answers.
struct Stuck;

impl Llm for Stuck {
    fn model(&self) -> &str {
        "stuck"
    }

    fn chat(&self, _: ChatCompletionRequest) -> BoxFuture<'_, Result<ChatCompletion, AgentError>> {
        Box::pin(std::future::pending())
    }
}

async fn answer(script: fn(&str, &str) -> Value) -> (agentinfer_agent::Report, Vec<AgentEvent>) {
    let agent = ResearchAgent::new(Arc::new(Script(script)), corpus(), AgentOptions::default());
    let mut events = Vec::new();
    let mut sink = |event| events.push(event);
    let report = agent.run(QUESTION, &mut sink).await.expect("answers");
    (report, events)
}

#[tokio::test]
async fn a_chain_of_facts_becomes_a_cited_answer() {
    let (report, events) = answer(good).await;
    assert_eq!(report.answer, "Kalmar");
    assert!(
        report.cited.starts_with("He was born in Kalmar. [1]"),
        "{}",
        report.cited
    );
    let titles: Vec<_> = report.sources.iter().map(|source| &*source.title).collect();
    assert_eq!(titles, ["Fortress", "Axel Bergh"]);
    assert_eq!(report.sources[1].quote, "He was born in Kalmar.");
    assert_eq!(
        (report.totals.llm_calls, report.totals.prompt_tokens),
        (4, 400)
    );
    assert_eq!(report.resolved, "In which town was Axel Bergh born?");
    let plan = AgentEvent::Plan {
        questions: vec![
            "Who is the engineer who rebuilt the Fortress?".to_owned(),
            "In which town was #1 born?".to_owned(),
        ],
    };
    assert_eq!(events.first(), Some(&plan));
    assert!(matches!(events.last(), Some(AgentEvent::Answer { .. })));
}

#[tokio::test]
async fn no_query_and_no_document_is_asked_for_twice() {
    let (_, events) = answer(good).await;
    let mut queries = Vec::new();
    let mut urls = Vec::new();
    for event in events {
        match event {
            AgentEvent::Search { queries: new, .. } => queries.extend(new),
            AgentEvent::Read { url, .. } => urls.push(url),
            _ => {}
        }
    }
    for mut list in [queries, urls] {
        assert!(!list.is_empty());
        let all = list.len();
        list.sort();
        list.dedup();
        assert_eq!(list.len(), all, "{list:?}");
    }
}

#[tokio::test]
async fn of_a_long_document_what_the_question_is_about_is_read() {
    static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let filler = "It says much about the weather of that year, and little of people. ".repeat(200);
    let text = format!("{filler}The Fortress was rebuilt by Axel Bergh in 1838. {filler}");
    let document = Document {
        url: "fortress.txt".to_owned(),
        title: "Fortress".to_owned(),
        text,
    };
    let tools = Tools::corpus(Corpus::of(vec![document]).expect("has documents"));
    let script = |step: &str, ask: &str| {
        SEEN.lock().expect("no panic").push(ask.to_owned());
        good(step, ask)
    };
    let options = AgentOptions::default();
    let most = options.document_bytes;
    let agent = ResearchAgent::new(Arc::new(Script(script)), tools, options);
    agent.run(QUESTION, &mut Silent).await.expect("answers");
    let seen = SEEN.lock().expect("no panic");
    let read: Vec<_> = seen
        .iter()
        .filter(|ask| ask.contains("Documents:"))
        .collect();
    assert!(!read.is_empty());
    for ask in read {
        assert!(ask.len() < most + 200, "{}", ask.len());
        assert!(ask.contains("rebuilt by Axel Bergh in 1838"), "{ask}");
    }
}

#[tokio::test]
async fn of_many_documents_the_sentences_that_matter_are_read() {
    static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let filler = "It says much about the weather of that year, and little of people. ".repeat(4);
    let document = |title: &str, says: &str| Document {
        url: title.to_lowercase(),
        title: title.to_owned(),
        text: format!("{title} is known to many. {filler}{says} {filler}"),
    };
    let tools = Tools::corpus(
        Corpus::of(vec![
            document(
                "Fortress",
                "The Fortress was rebuilt by the engineer Axel Bergh.",
            ),
            document(
                "Axel Bergh",
                "The engineer who rebuilt it was born in the town of Kalmar.",
            ),
        ])
        .expect("has documents"),
    );
    let script = |step: &str, ask: &str| {
        SEEN.lock().expect("no panic").push(ask.to_owned());
        good(step, ask)
    };
    let options = AgentOptions {
        reading_bytes: Some(300),
        ..AgentOptions::default()
    };
    let agent = ResearchAgent::new(Arc::new(Script(script)), tools, options);
    let report = agent.run(QUESTION, &mut Silent).await.expect("answers");
    let seen = SEEN.lock().expect("no panic");
    let read = seen.iter().filter(|ask| ask.contains("Documents:"));
    let read: Vec<_> = read.collect();
    assert!(!read.is_empty());
    for ask in read {
        assert!(ask.len() < 300 + 200, "{}", ask.len());
        assert!(ask.contains("rebuilt"), "{ask}");
    }
    assert_eq!(report.answer, "Kalmar");
}

#[tokio::test]
async fn answers_that_no_document_holds_are_not_quoted() {
    let (report, _) = answer(|step, ask| match step {
        "document_qa" => json!({"fact": "Zorro did it.", "answer": "Zorro"}),
        _ => good(step, ask),
    })
    .await;
    assert_eq!(report.resolved, "In which town was Zorro born?");
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].quote, None);
    assert_eq!((&*report.answer, report.sources), ("Oslo", Vec::new()));
}

#[tokio::test]
async fn an_answer_that_says_nothing_is_none() {
    for script in [
        |step: &str, ask: &str| match step {
            "document_qa" => json!({"fact": "The engineer.", "answer": "the engineer"}),
            _ => good(step, ask),
        },
        |step: &str, ask: &str| match step {
            "document_qa" => json!({"fact": "It is not told.", "answer": "Not mentioned"}),
            _ => good(step, ask),
        },
    ] {
        check_nothing_is_put_in(script).await;
    }
}

async fn check_nothing_is_put_in(script: fn(&str, &str) -> Value) {
    let (report, _) = answer(script).await;
    assert_eq!(report.resolved, QUESTION);
    assert_eq!(
        report.totals.llm_calls, 5,
        "one plan, two documents read, one reading, one answer"
    );
}

#[tokio::test]
async fn descriptions_within_descriptions_and_beside_each_other_are_found_out() {
    let script = |step: &str, ask: &str| {
        let asks = |question: &str| ask.ends_with(&format!("Question: {question}"));
        let unknown = if asks(
            "Which sea lies between the town where the engineer who rebuilt the \
             Fortress was born and the capital of Norway?",
        ) {
            "the town where the engineer who rebuilt the Fortress was born"
        } else if asks("Which sea lies between #1 and the capital of Norway?") {
            "the capital of Norway"
        } else if asks("What is the town where the engineer who rebuilt the Fortress was born?") {
            "the engineer who rebuilt the Fortress"
        } else {
            ""
        };
        let found = if asks("Who is the engineer who rebuilt the Fortress?") {
            "Axel Bergh"
        } else if asks("What is the town where Axel Bergh was born?") {
            "Kalmar"
        } else {
            "Oslo"
        };
        match step {
            "plan" => json!({"unknown": unknown}),
            "document_qa" => json!({"fact": "So it is.", "answer": found}),
            "write" => reading("", ""),
            _ => json!({"answer": "sea"}),
        }
    };
    let agent = ResearchAgent::new(Arc::new(Script(script)), corpus(), AgentOptions::default());
    let question = "Which sea lies between the town where the engineer who rebuilt the Fortress \
        was born and the capital of Norway?";
    let report = agent.run(question, &mut Silent).await.expect("answers");
    assert_eq!(report.resolved, "Which sea lies between Kalmar and Oslo?");
    let answers: Vec<_> = report
        .findings
        .iter()
        .map(|finding| &*finding.answer)
        .collect();
    assert_eq!(answers, ["Axel Bergh", "Kalmar", "Oslo"]);
}

#[tokio::test]
async fn numbers_are_compared_by_code() {
    let script = |step: &str, ask: &str| match step {
        "compare" => {
            assert!(
                !ask.contains('"'),
                "quotation marks would end a JSON string: {ask}"
            );
            json!({
                "facts": "The Fortress was built in 1838. The Mill was built in 1790.",
                "values": {"Fortress": "1838", "Mill": "1790"},
                "conclusion": "1838 is earlier than 1790.",
                "answer": "Fortress",
            })
        }
        _ => panic!("{step}: {ask}"),
    };
    let document = |title: &str, text: &str| Document {
        url: title.to_lowercase(),
        title: title.to_owned(),
        text: text.to_owned(),
    };
    let corpus = Corpus::of(vec![
        document("Fortress", "The \"Fortress\" was built in 1838."),
        document("Mill (Kalmar)", "The Mill was built in 1790."),
    ]);
    let tools = Tools::corpus(corpus.expect("has documents"));
    let agent = ResearchAgent::new(Arc::new(Script(script)), tools, AgentOptions::default());
    let question = "Which was built first, the Fortress or the Mill?";
    let report = agent.run(question, &mut Silent).await.expect("answers");
    assert_eq!(report.answer, "Mill");
    assert!(report.cited.contains("Mill: 1790"), "{}", report.cited);
}

#[tokio::test]
async fn without_an_answer_there_is_none() {
    let (report, _) = answer(|step, ask| match step {
        "write" => json!("no object"),
        _ => good(step, ask),
    })
    .await;
    assert_eq!((&*report.answer, report.findings.len()), ("", 1));
    assert!(report.cited.contains("no answer"), "{}", report.cited);
}

#[tokio::test]
async fn garbled_replies_do_not_end_the_run() {
    let (report, _) = answer(|step, ask| match step {
        "write" | "extract" => good(step, ask),
        _ => json!("no object"),
    })
    .await;
    assert_eq!((&*report.answer, &*report.resolved), ("Oslo", QUESTION));
}

fn trace(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("there is a trace");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("is JSON"));
    lines.collect()
}

#[tokio::test]
async fn the_trace_has_every_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace.jsonl");
    let options = AgentOptions {
        trace: Some(path.clone()),
        ..AgentOptions::default()
    };
    let agent = ResearchAgent::new(Arc::new(Script(good)), corpus(), options);
    let report = agent.run(QUESTION, &mut Silent).await.expect("answers");
    let lines = trace(&path);
    assert_eq!(lines[0]["kind"], "run");
    let calls: Vec<_> = lines.iter().filter(|line| line["kind"] == "llm").collect();
    assert_eq!(calls.len(), 4);
    assert_eq!(calls[0]["step"], "plan");
    assert_eq!(
        (&calls[0]["prompt_tokens"], &calls[0]["cached_tokens"]),
        (&json!(100), &json!(60))
    );
    let tools = lines.iter().filter(|line| line["kind"] == "tool").count();
    assert_eq!(tools, report.totals.tool_calls as usize);
    let end = lines.last().expect("there is one");
    assert_eq!(
        (&end["outcome"], &end["answer"]),
        (&json!("answered"), &json!("Kalmar"))
    );
}

#[tokio::test]
async fn a_cancelled_run_leaves_a_trace_that_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace.jsonl");
    let options = AgentOptions {
        trace: Some(path.clone()),
        ..AgentOptions::default()
    };
    let agent = ResearchAgent::new(Arc::new(Stuck), corpus(), options);
    let mut silent = Silent;
    let mut run = Box::pin(agent.run(QUESTION, &mut silent));
    tokio::select! {
        biased;
        _ = &mut run => panic!("a model that never answers cannot finish a run"),
        () = std::future::ready(()) => {}
    }
    drop(run);
    let lines = trace(&path);
    assert_eq!(lines[0]["question"], QUESTION);
    assert_eq!(lines.last().expect("there is one")["outcome"], "cancelled");
}

#[tokio::test]
async fn an_empty_question_is_refused() {
    let agent = ResearchAgent::new(Arc::new(Stuck), corpus(), AgentOptions::default());
    let error = agent.run(" \n", &mut Silent).await.expect_err("is refused");
    assert!(matches!(error, AgentError::EmptyQuestion));
}

/// Requests seen by the server of [`http_servers_are_asked_and_their_errors_passed_on`].
type Seen = Arc<Mutex<Vec<Value>>>;

#[tokio::test]
async fn http_servers_are_asked_and_their_errors_passed_on() {
    let seen = Seen::default();
    let keep = seen.clone();
    let handler = move |axum::Json(body): axum::Json<Value>| {
        let keep = keep.clone();
        async move {
            let good = body["model"] == "good";
            keep.lock().expect("not poisoned").push(body);
            if good {
                let answer = serde_json::to_value(completion("hello")).expect("serializes");
                return (StatusCode::OK, axum::Json(answer));
            }
            let error = json!({"message": "no such model", "type": "invalid_request_error"});
            (StatusCode::NOT_FOUND, axum::Json(json!({"error": error})))
        }
    };
    let app = Router::new().route("/v1/chat/completions", post(handler));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("binds");
    let base = format!("http://{}", listener.local_addr().expect("is bound"));
    tokio::spawn(async move { axum::serve(listener, app).await });

    let ask = |model: &str| ChatCompletionRequest {
        model: model.to_owned(),
        ..ChatCompletionRequest::default()
    };
    for url in [base.clone(), format!("{base}/v1/")] {
        let llm = HttpLlm::new(&url, Some("key".to_owned()), "good").expect("is set up");
        let answer = llm.chat(ask("good")).await.expect("answers");
        assert_eq!(answer.choices[0].message.text(), "hello");
    }
    let llm = HttpLlm::new(&base, None, "bad").expect("is set up");
    let error = llm.chat(ask("bad")).await.expect_err("fails").to_string();
    assert!(
        error.contains("404") && error.contains("no such model"),
        "{error}"
    );
    assert_eq!(seen.lock().expect("not poisoned").len(), 3);

    let nowhere = HttpLlm::new("http://127.0.0.1:1", None, "x").expect("is set up");
    let error = nowhere.chat(ask("x")).await.expect_err("fails").to_string();
    assert!(error.contains("is it running?"), "{error}");
}
