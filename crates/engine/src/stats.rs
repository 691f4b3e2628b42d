//! What the engine has done, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use agentinfer_sam::{Acceptance, DraftSource, Fate, Tally};

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Running counters, written by the engine's thread and read by anybody at any time.
        #[derive(Debug, Default)]
        pub struct EngineStats {
            $($(#[$doc])* pub $name: AtomicU64,)*
            /// Draft tokens by source and position.
            pub acceptance: AcceptanceCounters,
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct StatsSnapshot {
            $($(#[$doc])* pub $name: u64,)*
            /// Draft tokens by source and position.
            pub acceptance: Acceptance,
        }

        impl EngineStats {
            /// Reads all counters (each atomically, not all at the same instant).
            pub fn snapshot(&self) -> StatsSnapshot {
                StatsSnapshot {
                    $($name: self.$name.load(Relaxed),)*
                    acceptance: self.acceptance.snapshot(),
                }
            }
        }

        impl StatsSnapshot {
            /// Name and value of every counter that stands for itself, in order of declaration.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

stats! {
    /// Requests submitted.
    submitted,
    /// Requests completed.
    finished,
    /// Requests that ended because the client went away.
    cancelled,
    /// Requests that failed.
    failed,
    /// Requests refused because the queue was full.
    rejected,
    /// Requests ended because the client stopped reading.
    stalled,
    /// Requests waiting now.
    waiting,
    /// Requests running now.
    running,
    /// Steps taken.
    steps,
    /// Nanoseconds of whole steps.
    step_nanoseconds,
    /// Of these, in the model's forward pass.
    forward_nanoseconds,
    /// Of these, choosing tokens (sampling, constraints, log-probabilities).
    sampling_nanoseconds,
    /// Nanoseconds of waiting for the device while other engines computed, or background work kept
    /// out of their way.
    device_wait_nanoseconds,
    /// Prompt tokens of admitted requests.
    prompt_tokens,
    /// Of these, found resident.
    cached_tokens,
    /// Nanoseconds of copying cells out of the model and back.
    copy_nanoseconds,
    /// Times that all cells were laid out anew.
    compactions,
    /// Of the copying, nanoseconds of that.
    compaction_nanoseconds,
    /// Tokens whose cells were copied out of the model.
    offloaded_tokens,
    /// Tokens whose cells were copied back instead of computed.
    restored_tokens,
    /// Bytes of offloaded cells in host memory now.
    offload_host_bytes,
    /// Bytes of offloaded cells on disk now.
    offload_disk_bytes,
    /// Tokens computed in prefill.
    prefill_tokens,
    /// Tokens generated.
    generated_tokens,
    /// Draft tokens verified.
    drafted_tokens,
    /// Of these, forced by a grammar.
    forced_tokens,
    /// Of all drafted, accepted.
    accepted_tokens,
    /// How many were expected to be accepted, by the probabilities of the drafts that were chosen.
    expected_accepted_tokens,
    /// Nanoseconds of forward passes that only decoded.
    decode_nanoseconds,
    /// How many nanoseconds these were expected to take, by the step-cost curve.
    expected_decode_nanoseconds,
    /// Idle sequences evicted.
    evictions,
    /// Cells freed by eviction.
    evicted_cells,
    /// Running requests preempted.
    preemptions,
    /// Times that running background requests were put back for foreground work.
    gave_way,
    /// Requests to pre-warm that ended because there was no room for them.
    gave_up,
    /// Sessions whose return was foreseen from their tools' usual times.
    expected_returns,
    /// KV cells in total.
    cells_total,
    /// KV cells in use now.
    cells_used,
    /// KV cells in use now by idle sequences only.
    cells_idle,
    /// Idle sequences resident now.
    resident_sequences,
}

/// The counters of an [`Acceptance`].
#[derive(Debug, Default)]
pub struct AcceptanceCounters([[TallyCounters; Acceptance::LAST]; DraftSource::ALL.len()]);

#[derive(Debug, Default)]
struct TallyCounters {
    drafted: AtomicU64,
    tested: AtomicU64,
    accepted: AtomicU64,
}

impl AcceptanceCounters {
    /// Counts a drafted token.
    pub(crate) fn note(&self, fate: Fate) {
        let counters = &self.0[fate.source as usize][fate.position - 1];
        add(&counters.drafted, 1);
        add(&counters.tested, u64::from(fate.tested));
        add(&counters.accepted, u64::from(fate.accepted));
    }

    fn snapshot(&self) -> Acceptance {
        let mut acceptance = Acceptance::default();
        for (source, counters) in DraftSource::ALL.into_iter().zip(&self.0) {
            for (index, counters) in counters.iter().enumerate() {
                *acceptance.tally_mut(source, index + 1) = Tally {
                    drafted: counters.drafted.load(Relaxed),
                    tested: counters.tested.load(Relaxed),
                    accepted: counters.accepted.load(Relaxed),
                };
            }
        }
        acceptance
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Relaxed);
}

/// Sets a gauge.
pub(crate) fn set(gauge: &AtomicU64, value: u64) {
    gauge.store(value, Relaxed);
}

impl StatsSnapshot {
    /// Share of step time that was neither the model, nor sampling, nor copying cells: the
    /// engine's own bookkeeping.
    pub fn bookkeeping_share(&self) -> f64 {
        let work = self.forward_nanoseconds + self.sampling_nanoseconds + self.copy_nanoseconds;
        let own = self.step_nanoseconds.saturating_sub(work);
        own as f64 / (self.step_nanoseconds as f64).max(1.0)
    }
}
