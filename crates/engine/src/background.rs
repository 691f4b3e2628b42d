//! How background work gives way to requests that somebody waits for.
//!
//! - While another engine of the same [`Device`](crate::Device) has foreground requests, no
//!   background request takes part in a step. Those that run are put back into the queue. Their
//!   cells stay as idle ones, which whoever needs them may evict, and from which they go on later.
//! - A step of background work only computes a tile of a prompt at most, so that who comes
//!   meanwhile does not wait for long. On a device that other engines use too, any step computes
//!   [`prefill_chunk`] tokens of prompts at most, for the same reason.
//! - *Pre-warming*, a background request of no tokens to generate, is in case its session comes: it
//!   gives way in the same manner to foreground requests of its own engine. It preempts nobody, and
//!   displaces no cells that a policy which keeps cells for sessions that are expected back keeps
//!   for one. Where that leaves no room it ends.
//!
//! [`prefill_chunk`]: crate::EngineOptions::prefill_chunk

use crate::device::{Device, Turn};
use crate::event::FinishReason;
use crate::sequence::Sequence;
use crate::stats::add;
use crate::{Engine, Model, TILE};

/// Tokens of prompts in a step that nobody waits for: on two cores with a model of 1.5 billion
/// parameters they take 0.7 seconds, which is how late they make whoever comes meanwhile. In tiles
/// a prompt of 390 tokens takes 4 % longer than at once with Qwen2.5-Coder 0.5B, 8 % with 1.5B.
const BACKGROUND_TOKENS: usize = TILE;

/// What a step must make allowance for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead {
    /// Whether other engines of the device have foreground requests.
    elsewhere: bool,
    /// Whether this engine has.
    here: bool,
    /// Whether there are other engines at all.
    shared: bool,
}

impl Ahead {
    /// Whether a request may run now.
    pub(crate) fn admits(self, sequence: &Sequence) -> bool {
        let gives_way = self.elsewhere || self.here && sequence.prewarms();
        !(sequence.hints.background && gives_way)
    }
}

impl<M: Model> Engine<M> {
    /// Shares `device` with other engines: each step waits for its turn. To be called before any
    /// request comes. Every request that was submitted counts for the device until it has ended, so
    /// steps must be taken.
    #[must_use]
    pub fn with_device(mut self, device: &Device) -> Self {
        self.seat = device.join();
        self
    }

    /// Waits until the engine may take a step.
    pub(crate) fn turn(&self) -> Turn {
        let turn = self.seat.turn();
        let nanoseconds = turn.waited().as_nanos() as u64;
        add(&self.stats.device_wait_nanoseconds, nanoseconds);
        turn
    }

    /// Looks for foreground work, and puts the running requests that keep out of its way back into
    /// the queue. The device is held for background work or not.
    pub(crate) fn give_way(&mut self, turn: &Turn) {
        let mut requests = self.waiting.iter().chain(&self.running);
        let ahead = Ahead {
            elsewhere: !turn.for_background(),
            shared: turn.shared(),
            here: requests.any(|sequence| !sequence.hints.background),
        };
        self.ahead = ahead;
        let mut index = 0;
        while let Some(sequence) = self.running.get(index) {
            if ahead.admits(sequence) {
                index += 1;
                continue;
            }
            self.record_giving_way(index);
            add(&self.stats.gave_way, 1);
            let mut sequence = self.running.remove(index);
            self.release(&mut sequence);
            self.waiting.push(sequence);
        }
    }

    /// Tokens of prompts that this step may compute, where some `decode` in it or not.
    pub(crate) fn prefill_room(&self, decode: bool) -> usize {
        let chunk = self.options.prefill_chunk;
        if self.running.iter().all(|it| it.hints.background) {
            chunk.min(BACKGROUND_TOKENS)
        } else if decode || self.ahead.shared {
            chunk
        } else {
            usize::MAX
        }
    }

    /// Ends a running request that pre-warms, for which there are no cells. Returns whether `id` is
    /// one.
    pub(crate) fn gives_up(&mut self, id: u64) -> bool {
        let index = self.running.iter().position(|other| other.id == id);
        let Some(index) = index.filter(|&index| self.running[index].prewarms()) else {
            return false;
        };
        let sequence = self.running.remove(index);
        self.give_up(sequence);
        true
    }

    /// Ends the requests that pre-warm and that the policy has just not admitted although nobody
    /// runs: there will be no room for them before others come.
    pub(crate) fn give_up_waiting(&mut self) {
        let seen = std::mem::take(&mut self.candidates);
        for request in seen.waiting.iter().filter(|request| request.prewarms) {
            let index = self.waiting.iter().position(|it| it.id == request.id);
            if let Some(index) = index {
                let sequence = self.waiting.remove(index);
                self.give_up(sequence);
            }
        }
        self.candidates = seen;
    }

    fn give_up(&mut self, sequence: Sequence) {
        tracing::debug!(request = sequence.id, "no room to pre-warm");
        add(&self.stats.gave_up, 1);
        self.finish(sequence, FinishReason::NoRoom);
    }

    /// Ends a running request whose prompt is computed and that generates nothing.
    pub(crate) fn end_prefill(&mut self, id: u64) {
        let index = self.running.iter().position(|other| other.id == id);
        let index = index.expect("a batched request is running");
        let sequence = &self.running[index];
        if sequence.max_tokens == 0 && self.uncomputed(sequence) == 0 {
            let sequence = self.running.remove(index);
            self.finish(sequence, FinishReason::Length);
        }
    }
}
