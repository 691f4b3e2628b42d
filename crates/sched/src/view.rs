//! What a policy sees: one moment of the engine, as plain numbers.

use crate::Costs;

/// One moment of the engine. Times are seconds on the engine's clock, memory is counted in KV cells
/// (one token each).
#[derive(Clone, Copy, Debug, Default)]
pub struct View<'a> {
    /// The moment.
    pub now: f64,
    /// Cells that nobody holds.
    pub free_cells: u32,
    /// Cells that only idle sequences hold, which can be had by eviction.
    pub idle_cells: u32,
    /// What computing and copying cost.
    pub costs: Costs,
    /// Requests that wait to be admitted.
    pub waiting: &'a [Waiting],
    /// Requests that hold cells and run.
    pub running: &'a [Running],
    /// Idle sequences whose cells are kept in case their sessions return.
    pub idle: &'a [Resident],
}

impl View<'_> {
    /// Whether a request must be admitted because nobody runs, and the engine would stand still
    /// else: one that pre-warms ends then.
    pub fn must_admit(&self, request: &Waiting) -> bool {
        self.running.is_empty() && !request.prewarms
    }
}

/// A request that waits to be admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Waiting {
    /// The engine's number for the request; numbers rise in order of submission.
    pub id: u64,
    /// When it was submitted.
    pub arrived: f64,
    /// Tokens it must hold before it can decode (prompt, and what it generated if preempted).
    pub prompt_tokens: u32,
    /// How many of these are resident.
    pub resident_tokens: u32,
    /// How many more were evicted and can be copied back.
    pub restorable_tokens: u32,
    /// How often it was preempted.
    pub preemptions: u32,
    /// How urgent its client says it is: lower goes earlier, 0 is usual.
    pub priority: i32,
    /// Whether nobody waits for it: it may be served when others leave capacity.
    pub background: bool,
    /// Whether it is background work that generates nothing: its prompt is computed in case its
    /// session comes, which is worth the cells of nobody who is expected back.
    pub prewarms: bool,
    /// Who pays for it: a number for the client's API key; 0 where keys are not asked for.
    pub tenant: u64,
    /// How many tokens more were computed lately for its tenant than for the tenant that got
    /// least, of those that have requests here.
    pub tenant_lead_tokens: f64,
    /// Tokens that were computed for its session so far, by this request and earlier ones.
    pub attained_tokens: u64,
    /// Its session, if it belongs to one.
    pub session: Option<u64>,
    /// When its session was first seen; when it was submitted if it has none.
    pub session_arrived: f64,
    /// Cells that must be had to admit it: for what is missing, for its first growth, and for what
    /// was promised to those that run.
    pub needed_cells: u32,
    /// Whether these can be had now without preempting anybody.
    pub fits: bool,
}

impl Waiting {
    /// Tokens that must be computed, and cells taken, before it can decode.
    pub fn missing_tokens(&self) -> u32 {
        self.prompt_tokens - self.resident_tokens
    }
}

/// A request that holds cells and runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Running {
    /// The engine's number for the request.
    pub id: u64,
    /// When it was submitted.
    pub arrived: f64,
    /// Cells it holds, shared ones included.
    pub cells: u32,
    /// How often it was preempted.
    pub preemptions: u32,
    /// How urgent its client says it is: lower goes earlier, 0 is usual.
    pub priority: i32,
    /// Whether nobody waits for it: it may be served when others leave capacity.
    pub background: bool,
    /// Who pays for it: a number for the client's API key; 0 where keys are not asked for.
    pub tenant: u64,
    /// How many tokens more were computed lately for its tenant than for the tenant that got
    /// least, of those that have requests here.
    pub tenant_lead_tokens: f64,
    /// Tokens that were computed for its session so far, by this request and earlier ones.
    pub attained_tokens: u64,
    /// When its session was first seen; when it was submitted if it has none.
    pub session_arrived: f64,
}

/// An idle sequence whose cells are kept in case its session returns.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Resident {
    /// The session it belongs to, if known.
    pub session: Option<u64>,
    /// When its session was first seen; when it was last used if it has none.
    pub session_arrived: f64,
    /// Seconds from the end of its session's last call to the next one, as far as they can be
    /// foreseen: as its client says, else as long as the tools that were called usually take,
    /// else the mean of its earlier gaps; none where nothing is known.
    pub expected_gap: Option<f64>,
    /// As its session's last request asked for; lower is served earlier.
    pub priority: i32,
    /// Whether its session's last request was background work.
    pub background: bool,
    /// Whether its client said that the session has ended.
    pub ended: bool,
    /// When it was last used.
    pub last_used: f64,
    /// Cells it holds, shared ones included.
    pub cells: u32,
    /// Cells that dropping it would free (those it shares with nobody).
    pub freed_cells: u32,
}
