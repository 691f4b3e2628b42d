//! What sessions did lately, for whoever looks: their latest steps, and the last state of those
//! conversations that may be compressed. In memory only, and bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, UNIX_EPOCH};

use agentinfer_protocol::ui::{SessionOverview, SessionStep, Step};
use agentinfer_protocol::{FinishReason, Message};

use crate::answers;
use crate::chat_stream::ChatStream;
use crate::conversation::Conversation;
use crate::view::ServedView;
use crate::{RuntimeError, Tier};

/// Sessions remembered, of all tenants; of more, the least recently used is forgotten. More than a
/// person looks through, and few enough to be searched one by one.
const MOST_SESSIONS: usize = 256;

/// Steps remembered of a session: as many as a long task has. Each takes some hundred bytes.
const MOST_STEPS: usize = 64;

/// Bytes of conversations remembered, of all tenants: some hundred long ones. They are shared with
/// the requests under way, so in a busy server most of them exist anyway.
const MOST_CONVERSATION_BYTES: usize = 32 << 20;

/// Tools that a step names.
const MOST_TOOLS: usize = 16;

/// Characters of a session's name, or of a tool's.
const NAME_CHARS: usize = 80;

/// Characters of an error's message.
const ERROR_CHARS: usize = 300;

/// The sessions, of all tenants.
#[derive(Debug, Default)]
pub(crate) struct Steps(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// The one used last at the end.
    sessions: VecDeque<SessionRecord>,
    /// Bytes of their conversations.
    bytes: usize,
}

/// A session.
#[derive(Debug)]
struct SessionRecord {
    tenant: u64,
    /// What is told of it, but for its cells.
    overview: SessionOverview,
    steps: VecDeque<Step>,
    last: Option<LastTurn>,
}

/// A conversation that may be compressed, with its last answer.
#[derive(Clone, Debug)]
pub(crate) struct LastTurn {
    pub(crate) view: Arc<ServedView>,
    pub(crate) answer: Message,
    bytes: usize,
}

impl LastTurn {
    fn new(view: &Arc<ServedView>, answer: Message) -> Self {
        let full = view.full().iter().map(answers::bytes);
        Self {
            bytes: full.sum::<usize>() + answers::bytes(&answer),
            view: view.clone(),
            answer,
        }
    }
}

/// A session as it is remembered.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    pub(crate) overview: SessionOverview,
    pub(crate) steps: Vec<Step>,
    pub(crate) last: Option<LastTurn>,
}

impl Steps {
    /// Notes that a step of a conversation is begun by a tier. None where nobody could look for it
    /// again: a request without a name that is its session's first and last.
    pub(crate) fn begin(
        self: &Arc<Self>,
        conversation: &Conversation,
        tier: Tier,
        background: bool,
    ) -> Option<Underway> {
        let Conversation {
            session,
            tenant,
            is_last,
            key,
            ..
        } = conversation;
        let mut table = self.lock();
        if *is_last && key.is_none() && table.find(*session).is_none() {
            return None;
        }
        let at = unix_now();
        let overview = &mut table.used(*session, *tenant, at).overview;
        overview.turns += 1;
        overview.running += 1;
        overview.tier = tier.to_string();
        overview.expected = None;
        overview.ended = false;
        if let Some(key) = key {
            overview.name = Some(cut(key, NAME_CHARS));
        }
        drop(table);
        Some(Underway {
            steps: self.clone(),
            session: *session,
            tier,
            background,
            at,
            begun: Instant::now(),
            ended: false,
        })
    }

    /// A tenant's sessions, those used last first, at most `most`, and how many more there are.
    pub(crate) fn list(&self, tenant: u64, most: usize) -> (Vec<SessionOverview>, usize) {
        let table = self.lock();
        let own = table.of(tenant).rev().map(|recent| &recent.overview);
        let listed: Vec<_> = own.take(most).cloned().collect();
        let unlisted = table.of(tenant).count() - listed.len();
        (listed, unlisted)
    }

    /// The latest steps of a tenant for which a tier was chosen, the newest first.
    pub(crate) fn decisions(&self, tenant: u64, most: usize) -> Vec<SessionStep> {
        let table = self.lock();
        let mut all: Vec<(&SessionOverview, &Step)> = Vec::new();
        for recent in table.of(tenant) {
            let chosen = recent.steps.iter().filter(|step| step.reason.is_some());
            all.extend(chosen.map(|step| (&recent.overview, step)));
        }
        all.sort_by(|(_, a), (_, b)| b.at.total_cmp(&a.at));
        let shown = all.into_iter().take(most);
        let shown = shown.map(|(session, step)| SessionStep {
            session: session.id,
            name: session.name.clone(),
            step: step.clone(),
        });
        shown.collect()
    }

    /// A session of a tenant; none if there is no such session.
    pub(crate) fn get(&self, tenant: u64, session: u64) -> Option<Remembered> {
        let table = self.lock();
        let mut own = table.of(tenant);
        let recent = own.find(|recent| recent.overview.id == session)?;
        Some(Remembered {
            overview: recent.overview.clone(),
            steps: recent.steps.iter().cloned().collect(),
            last: recent.last.clone(),
        })
    }

    /// A std mutex, never held over an await. It is a record for people: should a holder have
    /// panicked, what it left is still one.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn of(&self, tenant: u64) -> impl DoubleEndedIterator<Item = &SessionRecord> {
        let all = self.sessions.iter();
        all.filter(move |recent| recent.tenant == tenant)
    }

    fn find(&mut self, session: u64) -> Option<&mut SessionRecord> {
        let mut all = self.sessions.iter_mut().rev();
        all.find(|recent| recent.overview.id == session)
    }

    /// A session that is used now, which begins to exist with this.
    fn used(&mut self, session: u64, tenant: u64, now: f64) -> &mut SessionRecord {
        let known = |recent: &SessionRecord| recent.overview.id == session;
        let at = self.sessions.iter().rposition(known);
        let known = at.and_then(|at| self.sessions.remove(at));
        let mut recent = known.unwrap_or_else(|| SessionRecord {
            tenant,
            overview: SessionOverview {
                id: session,
                begun: now,
                ..SessionOverview::default()
            },
            steps: VecDeque::new(),
            last: None,
        });
        recent.overview.used = now;
        if self.sessions.len() >= MOST_SESSIONS {
            let oldest = self.sessions.pop_front();
            self.bytes -= oldest.map_or(0, |oldest| oldest.bytes());
        }
        self.sessions.push_back(recent);
        self.sessions.back_mut().expect("it was just put there")
    }

    /// Remembers a step that has ended, and the conversation with it.
    fn end(&mut self, session: u64, step: Step, ended: Ended) {
        let Some(recent) = self.find(session) else {
            return;
        };
        let before = recent.bytes();
        let overview = &mut recent.overview;
        overview.running = overview.running.saturating_sub(1);
        overview.used = step.at + step.seconds;
        overview.generated_tokens += u64::from(step.completion_tokens);
        if step.served_tokens > 0 {
            overview.prompt_tokens = step.served_tokens;
        }
        overview.expected = ended.expected_seconds.map(|wait| overview.used + wait);
        overview.ended = ended.is_last;
        if recent.steps.len() >= MOST_STEPS {
            recent.steps.pop_front();
        }
        recent.steps.push_back(step);
        // What was said in a session is forgotten with it.
        recent.last = match ended.is_last {
            true => None,
            false => ended.last.or(recent.last.take()),
        };
        let after = recent.bytes();
        self.bytes = self.bytes + after - before;
        let mut oldest = self.sessions.iter_mut();
        while self.bytes > MOST_CONVERSATION_BYTES {
            let Some(recent) = oldest.next() else { break };
            self.bytes -= recent.bytes();
            recent.last = None;
        }
    }
}

impl SessionRecord {
    fn bytes(&self) -> usize {
        self.last.as_ref().map_or(0, |last| last.bytes)
    }
}

/// What is known at the end of a step beside the step.
#[derive(Debug, Default)]
struct Ended {
    is_last: bool,
    expected_seconds: Option<f64>,
    last: Option<LastTurn>,
}

/// A step under way. Dropped before its end, its client has left.
#[derive(Debug)]
pub(crate) struct Underway {
    steps: Arc<Steps>,
    session: u64,
    tier: Tier,
    background: bool,
    /// When it came, in Unix seconds.
    at: f64,
    begun: Instant,
    ended: bool,
}

impl Underway {
    /// It was answered; the session should be back in `expected_seconds`, if that is known.
    pub(crate) fn answered(mut self, stream: &ChatStream, expected_seconds: Option<f64>) {
        let conversation = &stream.conversation;
        let said = stream.source.said();
        let served = stream.prompt_tokens();
        let view = conversation.view.as_ref();
        let finishes = stream.finishes();
        let first = finishes.first();
        let called = said.iter().flat_map(|said| said.called());
        let end = said.first().and_then(|said| said.ended);
        let step = Step {
            reason: stream.decided.map(|(_, reason)| reason.to_owned()),
            full_tokens: served + view.map_or(0, |view| view.saved_tokens()),
            served_tokens: served,
            computed_tokens: first.map(|finish| finish.prompt_tokens - finish.cached_tokens),
            completion_tokens: stream.completion_tokens(),
            drafted_tokens: finishes.iter().map(|finish| finish.drafted_tokens).sum(),
            accepted_tokens: finishes.iter().map(|finish| finish.accepted_tokens).sum(),
            distilled: view.map(|view| view.distilled()),
            queue_seconds: first.map(|finish| finish.queue_seconds),
            ttft_seconds: first.map(|finish| finish.ttft_seconds),
            tools: called
                .take(MOST_TOOLS)
                .map(|tool| cut(tool, NAME_CHARS))
                .collect(),
            ..self.step(end.map_or("stop", word))
        };
        let answer = said.first().map(|said| said.message());
        let ended = Ended {
            is_last: conversation.is_last,
            expected_seconds,
            last: view
                .zip(answer)
                .map(|(view, answer)| LastTurn::new(view, answer)),
        };
        self.end(step, ended);
    }

    /// It was not: this is why.
    pub(crate) fn failed(mut self, error: &RuntimeError) {
        let step = Step {
            error: Some(cut(&error.to_string(), ERROR_CHARS)),
            ..self.step("failed")
        };
        self.end(step, Ended::default());
    }

    fn step(&self, end: &str) -> Step {
        Step {
            at: self.at,
            tier: self.tier.to_string(),
            seconds: self.begun.elapsed().as_secs_f64(),
            end: end.to_owned(),
            background: self.background,
            ..Step::default()
        }
    }

    fn end(&mut self, step: Step, ended: Ended) {
        self.ended = true;
        self.steps.lock().end(self.session, step, ended);
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if !self.ended {
            let step = self.step("cancelled");
            self.end(step, Ended::default());
        }
    }
}

/// Now, in Unix seconds; 0 on a machine whose clock is set before 1970.
pub(crate) fn unix_now() -> f64 {
    UNIX_EPOCH
        .elapsed()
        .map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

/// The beginning of a text.
fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

/// The API's word for how an answer ended.
fn word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::Place;

    fn conversation(session: u64, tenant: u64, key: Option<&str>) -> Conversation {
        Conversation {
            messages: Vec::new(),
            places: Vec::new().into(),
            place: Place::start(tenant),
            tools: Vec::new(),
            variables: None,
            session,
            tenant,
            is_last: false,
            key: key.map(str::to_owned),
            view: None,
        }
    }

    #[test]
    fn steps_and_sessions_are_bounded_and_the_latest_stay() {
        let steps: Arc<Steps> = Arc::default();
        for session in 0..2 * MOST_SESSIONS as u64 {
            let begun = steps.begin(&conversation(session, 1, None), Tier::Small, false);
            assert!(begun.is_some());
        }
        let (listed, unlisted) = steps.list(1, 10);
        assert_eq!(listed[0].id, 2 * MOST_SESSIONS as u64 - 1);
        assert_eq!((listed.len(), unlisted), (10, MOST_SESSIONS - 10));
        assert!(steps.get(1, 0).is_none());
        let long = "é".repeat(1000);
        for _ in 0..2 * MOST_STEPS {
            let known = conversation(400, 1, Some(&long));
            drop(steps.begin(&known, Tier::Large, false));
        }
        let found = steps.get(1, 400).expect("it was used last");
        assert_eq!(found.steps.len(), MOST_STEPS);
        assert_eq!(found.overview.turns as usize, 1 + 2 * MOST_STEPS);
        assert_eq!(
            found.overview.name.map(|it| it.chars().count()),
            Some(NAME_CHARS)
        );
    }

    #[test]
    fn a_tenant_sees_its_own_sessions_only() {
        let steps: Arc<Steps> = Arc::default();
        for tenant in [1, 2] {
            drop(steps.begin(
                &conversation(tenant, tenant, Some("same")),
                Tier::Small,
                false,
            ));
        }
        assert!(steps.get(1, 1).is_some() && steps.get(2, 2).is_some());
        assert!(steps.get(1, 2).is_none() && steps.get(2, 1).is_none());
        let (listed, unlisted) = steps.list(2, 10);
        assert_eq!((listed.len(), listed[0].id, unlisted), (1, 2, 0));
        assert!(steps.list(3, 10).0.is_empty());
    }

    #[test]
    fn how_a_step_ended_is_told() {
        let steps: Arc<Steps> = Arc::default();
        let known = conversation(1, 0, Some("k"));
        let begun = steps
            .begin(&known, Tier::Small, false)
            .expect("it has a name");
        assert_eq!(steps.get(0, 1).expect("begun").overview.running, 1);
        drop(begun);
        let begun = steps
            .begin(&known, Tier::Large, true)
            .expect("it has a name");
        begun.failed(&RuntimeError::Options("broken".to_owned()));
        let found = steps.get(0, 1).expect("begun");
        assert_eq!((found.overview.running, found.overview.turns), (0, 2));
        let ends: Vec<_> = found.steps.iter().map(|step| step.end.as_str()).collect();
        assert_eq!(ends, ["cancelled", "failed"]);
        assert_eq!(found.steps[1].error.as_deref(), Some("broken"));
        assert!(steps.decisions(0, 10).is_empty(), "no tier was chosen");
    }

    #[test]
    fn a_request_without_a_session_is_not_listed() {
        let steps: Arc<Steps> = Arc::default();
        let mut single = conversation(1, 0, None);
        single.is_last = true;
        assert!(steps.begin(&single, Tier::Small, false).is_none());
        drop(steps.begin(&conversation(1, 0, None), Tier::Small, false));
        assert!(
            steps.begin(&single, Tier::Small, false).is_some(),
            "its last"
        );
    }

    #[test]
    fn conversations_make_room_for_later_ones() {
        let mut table = Table::default();
        let turn = |bytes| LastTurn {
            view: Arc::default(),
            answer: Message::assistant(""),
            bytes,
        };
        for session in 0..5 {
            table.used(session, 0, session as f64);
            let ended = Ended {
                last: Some(turn(MOST_CONVERSATION_BYTES / 3)),
                ..Ended::default()
            };
            table.end(session, Step::default(), ended);
            assert!(table.bytes <= MOST_CONVERSATION_BYTES);
        }
        let kept = |recent: &SessionRecord| recent.last.is_some();
        let kept: Vec<bool> = table.sessions.iter().map(kept).collect();
        assert_eq!(kept, [false, false, true, true, true]);
        let ended = Ended {
            is_last: true,
            ..Ended::default()
        };
        table.end(4, Step::default(), ended);
        assert!(
            table.sessions[4].last.is_none(),
            "forgotten with its session"
        );
        assert_eq!(table.bytes, 2 * (MOST_CONVERSATION_BYTES / 3));
    }
}
