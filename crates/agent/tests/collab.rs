//! The agent with two models that follow scripts: who takes which step.

mod script;

use std::sync::{Arc, Mutex};

use agentinfer_agent::{
    AgentError, AgentOptions, BoxFuture, Collab, Llm, Policy, Report, ResearchAgent, Silent,
};
use agentinfer_protocol::{ChatCompletion, ChatCompletionRequest};
use serde_json::{Value, json};

use self::script::{QUESTION, asked, completion, corpus, good};

/// The large model plans and reads well; the small one as its script says.
struct Pair {
    small: fn(&str, &str) -> Value,
    /// What both write in progress checks.
    verdict: &'static str,
    asked: Mutex<Vec<String>>,
}

impl Pair {
    fn answer(&self, request: &ChatCompletionRequest) -> String {
        if request.guided_grammar.is_some() {
            self.note(&request.model, "check");
            let verdict = self.verdict;
            return format!(
                "===PROGRESS===\n<reason> So it is. </reason> <value> {verdict} </value>\n\
                 ===END_PROGRESS==="
            );
        }
        let (step, ask) = asked(request);
        self.note(&request.model, &step);
        let script = match request.model.as_str() {
            "small" => self.small,
            "large" => good,
            other => panic!("there is no model {other}"),
        };
        script(&step, &ask).to_string()
    }

    fn note(&self, model: &str, step: &str) {
        self.asked
            .lock()
            .expect("unpoisoned")
            .push(format!("{model} {step}"));
    }
}

impl Llm for Pair {
    fn model(&self) -> &str {
        "large"
    }

    fn chat(
        &self,
        request: ChatCompletionRequest,
    ) -> BoxFuture<'_, Result<ChatCompletion, AgentError>> {
        let answer = self.answer(&request);
        Box::pin(async move { Ok(completion(&answer)) })
    }
}

async fn run(policy: &str, small: fn(&str, &str) -> Value, verdict: &'static str) -> Ran {
    let policy: Policy = policy.parse().expect("a policy");
    let collab = Collab::new(policy);
    let pair = Arc::new(Pair {
        small,
        verdict,
        asked: Mutex::default(),
    });
    let options = AgentOptions {
        collab: Some(collab.clone()),
        ..AgentOptions::default()
    };
    let agent = ResearchAgent::new(pair.clone(), corpus(), options);
    let report = agent.run(QUESTION, &mut Silent).await.expect("answers");
    let asked = pair.asked.lock().expect("unpoisoned").clone();
    Ran {
        report,
        asked,
        collab,
    }
}

struct Ran {
    report: Report,
    asked: Vec<String>,
    collab: Collab,
}

fn misreads(step: &str, ask: &str) -> Value {
    match step {
        "document_qa" => json!({"fact": "Zorro did it.", "answer": "Zorro"}),
        _ => good(step, ask),
    }
}

#[tokio::test]
async fn what_no_document_supports_is_read_again_by_the_large_model() {
    let Ran {
        report,
        asked,
        collab,
    } = run("agent", misreads, "TRUE").await;
    assert_eq!(report.answer, "Kalmar");
    let readings: Vec<_> = asked.iter().filter(|step| step.ends_with("qa")).collect();
    assert_eq!(readings, ["small document_qa", "large document_qa"]);
    // Nothing is known yet of the small model, so what stands is looked at as well.
    assert_eq!(asked[..2], ["small plan", "large plan"]);
    assert_eq!(asked[6..], ["large write", "large extract"]);
    assert_eq!((report.totals.large_calls, report.totals.switches), (4, 5));
    assert_eq!(report.totals.llm_calls as usize, asked.len());
    assert!(asked.iter().all(|step| !step.ends_with("check")));
    // Both came to the same plan and answer, and to different readings; that is learned from.
    let known = collab.competence.lock().expect("unpoisoned");
    assert_eq!(known.auc(), Some((1.0, 3)));
}

#[tokio::test]
async fn published_policies_go_by_the_models_own_verdict() {
    let ran = run("paper:warm_up=1:burst=1", good, "FALSE").await;
    assert_eq!(ran.report.answer, "Kalmar");
    let steps: Vec<_> = ran
        .asked
        .iter()
        .filter(|step| !step.ends_with("check"))
        .collect();
    // The writer's two calls are one step.
    assert_eq!(
        steps,
        [
            "large plan",
            "small document_qa",
            "large write",
            "large extract"
        ]
    );
    // Each step is followed by a check of the model that took it.
    assert_eq!(ran.asked.len(), 7, "{:?}", ran.asked);
    assert_eq!(
        ran.asked[1..4],
        ["large check", "small document_qa", "small check"]
    );
}

#[tokio::test]
async fn controls_ask_whom_they_say() {
    for (policy, models) in [
        ("large_only", ["large", "large", "large"]),
        ("small_only", ["small", "small", "small"]),
        ("large_planner", ["large", "small", "small"]),
        ("large_seeker", ["small", "large", "small"]),
    ] {
        let ran = run(policy, good, "TRUE").await;
        assert_eq!(ran.report.answer, "Kalmar", "{policy}");
        let [plan, seek, write] = models;
        let expected = [
            format!("{plan} plan"),
            format!("{seek} document_qa"),
            format!("{write} write"),
            format!("{write} extract"),
        ];
        assert_eq!(ran.asked, expected, "{policy}");
    }
    let ran = run("both", good, "TRUE").await;
    assert_eq!(ran.report.totals.large_calls, 4);
    assert_eq!(ran.asked.len(), 8, "{:?}", ran.asked);
}
