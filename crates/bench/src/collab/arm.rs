//! One policy over all questions.

use std::sync::{Arc, Mutex, PoisonError};

use agentinfer_agent::{AgentOptions, Collab, ResearchAgent, Silent, Tools, Totals};
use agentinfer_collab::{Competence, Entry, Policy};
use serde::Serialize;
use tokio::time::Instant;

use super::{Calls, Task};
use crate::Score;

/// A policy, and what it has learned until now.
pub(super) struct Arm {
    pub(super) policy: Policy,
    /// How the agent works, whoever takes its steps.
    pub(super) agent: AgentOptions,
    pub(super) competence: Arc<Mutex<Competence>>,
    pub(super) calls: Arc<Calls>,
    pub(super) tools: Tools,
}

/// One task of an arm.
#[derive(Clone, Debug, Serialize)]
pub struct TaskRow {
    /// The arm.
    pub arm: String,
    /// The task's name.
    pub id: String,
    /// What was asked.
    pub question: String,
    /// What was answered.
    pub answer: String,
    /// Exact match.
    pub em: f64,
    /// F1 over words.
    pub f1: f64,
    /// From question to answer: the recorded times of all completions, one after another.
    pub seconds: f64,
    /// Calls, tokens and waiting times.
    pub totals: Totals,
    /// Which tier took which step, why, and what came of it.
    pub steps: Vec<Entry>,
    /// Why the task failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Arm {
    /// Answers a task; `seed` is for what the policy leaves to chance.
    pub(super) async fn answer(&self, task: &Task, seed: u64) -> TaskRow {
        let options = AgentOptions {
            collab: Some(Collab {
                seed,
                competence: self.competence.clone(),
                ..Collab::new(self.policy)
            }),
            // The clock jumps to the next timer while a completion that is not recorded yet is
            // asked for, so any deadline would be over at once.
            rank_deadline: None,
            ..self.agent.clone()
        };
        let agent = ResearchAgent::new(self.calls.clone(), self.tools.clone(), options);
        let begun = Instant::now();
        let report = agent.run(&task.question, &mut Silent).await;
        let seconds = begun.elapsed().as_secs_f64();
        let (answer, totals, steps, error) = match report {
            Ok(report) => (report.answer, report.totals, report.steps, None),
            Err(error) => (
                String::new(),
                Totals::default(),
                Vec::new(),
                Some(error.to_string()),
            ),
        };
        let score = Score::of(&answer, &task.answers);
        TaskRow {
            arm: self.policy.to_string(),
            id: task.id.clone(),
            question: task.question.clone(),
            answer,
            em: score.em,
            f1: score.f1,
            seconds,
            totals,
            steps,
            error,
        }
    }

    /// What is known of the small model by now.
    pub(super) fn learned(&self) -> Competence {
        let competence = self.competence.lock();
        competence.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
