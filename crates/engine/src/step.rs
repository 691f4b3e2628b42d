//! One step: draft, batch, forward, verify, commit.

use std::time::Instant;

use crate::device::Turn;
use crate::event::{Event, FinishReason, TokenEvent};
use crate::pace::Work;
use crate::sampling;
use crate::sequence::{Reader, Sequence};
use crate::stats::{add, set};
use crate::{Engine, EngineError, Entry, Model, Token};

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Tokens were computed.
    Stepped,
    /// There is work, but every client that it is for must read first.
    Blocked,
    /// There is nothing to do.
    Idle,
}

/// The part of a batch that belongs to one running sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    request: u64,
    /// Index of its first entry in the batch.
    start: usize,
    /// Number of entries.
    count: usize,
    /// Number of draft tokens among them, at the end.
    drafted: usize,
    /// Whether the last of its tokens is computed, so that a new one follows.
    decodes: bool,
}

/// Whether a sequence goes on after a token.
enum Verdict {
    Continues,
    Ends(FinishReason),
    Fails(EngineError),
}

impl<M: Model> Engine<M> {
    /// Takes one step, once it is this engine's turn on the device.
    pub fn step(&mut self) -> Progress {
        if self.is_idle() {
            return Progress::Idle;
        }
        let turn = self.turn();
        self.take_step(turn)
    }

    /// Takes one step on the device that is held.
    pub(crate) fn take_step(&mut self, turn: Turn) -> Progress {
        let begin = self.model.now();
        let plan = Instant::now();
        self.attend_disk();
        self.attend_clients();
        self.give_way(&turn);
        self.admit();
        let progress = self.compute(begin, plan);
        turn.end(progress);
        progress
    }

    /// Computes what the running requests need next, in a step that began at `begin` and is planned
    /// since `plan`.
    fn compute(&mut self, begin: f64, plan: Instant) -> Progress {
        let admitted = plan.elapsed();
        self.compact_if_worth_it();
        let plan = Instant::now();
        let mut shares = std::mem::take(&mut self.shares);
        let work = self.form_batch(&mut shares);
        self.planned = admitted + plan.elapsed();
        let formed = self.model.now();
        if shares.is_empty() {
            self.shares = shares;
            self.record_state();
            self.publish();
            return if self.is_idle() {
                Progress::Idle
            } else {
                Progress::Blocked
            };
        }
        let batch = std::mem::take(&mut self.batch);
        let outcome = self.model.forward(&batch);
        self.batch = batch;
        let computed = self.model.now();
        let share = self.policy.prefill_share(&self.view().costs);
        self.pace.note(work, computed - formed, share);
        let mut sampling_seconds = 0.0;
        match outcome {
            Ok(()) => {
                self.observe_step(work, computed - formed);
                for share in &shares {
                    sampling_seconds += self.commit(share);
                }
                self.settle_drafts(computed - formed);
            }
            Err(error) => self.lose(&shares, &EngineError::Model(error.to_string())),
        }
        self.batch.entries.clear();
        let filled = shares.iter().map(|share| share.count - share.drafted);
        self.compaction.filled(filled, self.residency.used_cells());
        self.shares = shares;
        let end = self.model.now();
        let nanoseconds = |seconds: f64| (seconds * 1e9) as u64;
        add(&self.stats.steps, 1);
        add(&self.stats.step_nanoseconds, nanoseconds(end - begin));
        add(
            &self.stats.forward_nanoseconds,
            nanoseconds(computed - formed),
        );
        add(
            &self.stats.sampling_nanoseconds,
            nanoseconds(sampling_seconds),
        );
        self.record_state();
        self.publish();
        Progress::Stepped
    }

    /// Fills the batch: decodes with their drafts first, then prefill in the policy's order.
    fn form_batch(&mut self, shares: &mut Vec<Share>) -> Work {
        shares.clear();
        let now = self.model.now();
        let mut room = self.limits.batch_tokens as usize;
        let mut turns = std::mem::take(&mut self.turns);
        self.order_turns(&mut turns);
        let decodes = turns.iter().filter(|turn| turn.decodes).count();
        let decoding = turns[..decodes].iter().map(|turn| turn.tenure);
        let first = decoding.fold(f64::NEG_INFINITY, f64::max);
        let mut work = Work::Decode;
        self.draft(&turns, decodes, first);
        for (place, turn) in turns.iter().enumerate() {
            if place == decodes {
                room = room.min(self.prefill_room(!shares.is_empty()));
            }
            let gives_way = !shares.is_empty() && !turn.decodes && turn.tenure < first;
            if gives_way && self.pace.pauses() {
                break;
            }
            let id = turn.request;
            if !turn.decodes && room > 0 && !self.restore(id, !shares.is_empty()) {
                continue;
            }
            // A preempted request is not running any more.
            let Some(index) = self.running.iter().position(|other| other.id == id) else {
                continue;
            };
            if room == 0 || self.running[index].outbox.flush(now) != Reader::Ready {
                continue;
            }
            let left = self.uncomputed(&self.running[index]);
            let drafted = match turn.decodes {
                true => self.running[index].draft.len(),
                false => 0,
            };
            let count = left.min(room) + drafted;
            if self.reserve(count, id) {
                shares.push(self.add_entries(id, count, drafted));
                room -= count;
                self.drafting.added(turn.decodes, count);
                if !turn.decodes && work == Work::Decode {
                    work = if gives_way { Work::Both } else { Work::Prefill };
                }
            }
        }
        self.turns = turns;
        work
    }

    /// Tokens of a running sequence that have no cell yet; at least one.
    pub(crate) fn uncomputed(&self, sequence: &Sequence) -> usize {
        let computed = sequence
            .slot
            .map_or(0, |slot| self.residency.len(slot) as usize);
        sequence.tokens.len() - computed
    }

    /// Puts `count` entries of request `id`, its draft of `drafted` included, into the batch.
    fn add_entries(&mut self, id: u64, count: usize, drafted: usize) -> Share {
        // `reserve` may have moved the sequence within the list by preempting another.
        let index = self.running.iter().position(|sequence| sequence.id == id);
        let sequence = &mut self.running[index.expect("the needy request is never preempted")];
        let slot = sequence.slot.expect("a running request has a sequence");
        let computed = self.residency.len(slot) as usize;
        let known = count - drafted;
        let decodes = computed + known == sequence.tokens.len() && sequence.max_tokens > 0;
        let start = self.batch.entries.len();
        // A draft that got no room before is not verified any more.
        sequence.draft.truncate(drafted);
        let tokens = &sequence.tokens[computed..computed + known];
        self.residency.append(slot, tokens);
        let guesses = sequence.draft.iter().map(|guess| guess.token);
        for (offset, token) in tokens.iter().copied().chain(guesses).enumerate() {
            self.batch.entries.push(Entry {
                token,
                position: (computed + offset) as u32,
                sequence: slot,
                logits: decodes && offset + 1 >= known,
            });
        }
        for guess in &sequence.draft {
            self.residency.append(slot, &[guess.token]);
        }
        sequence.counts.computed += count as u64;
        let now = self.model.now();
        if let Some(session) = sequence.session {
            self.sessions.serve(session, count as u64, now);
        }
        self.tenants.serve(sequence.hints.tenant, count as u64, now);
        let prefilled = if known > 1 { known } else { 0 };
        add(&self.stats.prefill_tokens, prefilled as u64);
        Share {
            request: id,
            start,
            count,
            drafted,
            decodes,
        }
    }

    /// Takes what the model said for one sequence: chooses tokens as long as they agree with the
    /// draft, and removes the cells of the rest. Returns the seconds spent choosing.
    fn commit(&mut self, share: &Share) -> f64 {
        if !share.decodes {
            self.end_prefill(share.request);
            return 0.0;
        }
        let index = self
            .running
            .iter()
            .position(|sequence| sequence.id == share.request);
        let mut sequence = self
            .running
            .remove(index.expect("a batched request is running"));
        let index = index.unwrap_or(0);
        let begin = self.model.now();
        let draft = std::mem::take(&mut sequence.draft);
        let first_row = share.start + share.count - 1 - share.drafted;
        let length = sequence.tokens.len();
        sequence.counts.decode_steps += 1;
        let mut verdict = Verdict::Continues;
        let (mut accepted, mut refused) = (0, false);
        for row in 0..=share.drafted {
            let (token, outcome) = self.next_token(&mut sequence, first_row + row);
            verdict = outcome;
            let agrees = draft.get(row).map(|guess| guess.token) == token;
            if !matches!(verdict, Verdict::Continues) || !agrees {
                refused = row < share.drafted && !agrees;
                break;
            }
            accepted += 1;
        }
        let seconds = self.model.now() - begin;
        self.drafter.extend(sequence.id, &sequence.tokens[length..]);
        if share.drafted > 0 {
            sequence.counts.drafted += share.drafted as u32;
            sequence.counts.accepted += accepted as u32;
            self.learn_draft(&sequence, &draft, accepted, refused);
        }
        let slot = sequence.slot.expect("a running request has a sequence");
        self.truncate(slot, (length + accepted) as u32);
        sequence.draft = draft;
        match verdict {
            Verdict::Continues => self.running.insert(index, sequence),
            Verdict::Ends(reason) => self.finish(sequence, reason),
            Verdict::Fails(error) => self.fail(sequence, error),
        }
        seconds
    }

    /// Chooses and emits one token from batch row `row`.
    fn next_token(&mut self, sequence: &mut Sequence, row: usize) -> (Option<Token>, Verdict) {
        let logits = self.model.logits(row);
        let allowed = match &mut sequence.matching {
            None => None,
            Some(matching) => match matching.allowed() {
                Ok(mask) => Some(mask),
                Err(error) => return (None, Verdict::Fails(error)),
            },
        };
        let token = sequence
            .sampler
            .choose(logits, allowed.as_ref(), &mut self.scratch);
        let count = sequence.sampler.logprobs();
        let logprob = count.map(|count| sampling::logprobs(logits, token, count as usize));
        sequence.sampler.accept(token);
        sequence.tokens.push(token);
        add(&self.stats.generated_tokens, 1);
        let now = self.model.now();
        if sequence.times.first_token.is_none() {
            sequence.times.first_token = Some(now);
            self.record_first_token(sequence.id, now);
        }
        let verdict = self.judge(sequence, token);
        let ends = matches!(verdict, Verdict::Ends(FinishReason::EndOfTurn));
        let bytes = if ends {
            &[]
        } else {
            self.vocabulary.bytes(token)
        };
        let assembled = sequence.text.push(bytes);
        let event = TokenEvent {
            token,
            text: assembled.text,
            logprob,
        };
        sequence.outbox.send(Event::Token(event), now);
        match (assembled.stop, verdict) {
            (Some(stop), _) => (Some(token), Verdict::Ends(FinishReason::StopText(stop))),
            (None, verdict) => (Some(token), verdict),
        }
    }

    /// Whether the sequence ends with `token`, its newest.
    fn judge(&self, sequence: &mut Sequence, token: Token) -> Verdict {
        let end = self.vocabulary.is_end_of_generation(token) && !sequence.ignore_eos;
        if end || sequence.stop_tokens.contains(&token) {
            return Verdict::Ends(FinishReason::EndOfTurn);
        }
        if let Some(matching) = &mut sequence.matching {
            match matching.consume(token) {
                Ok(false) => {}
                Ok(true) => return Verdict::Ends(FinishReason::ConstraintComplete),
                Err(error) => return Verdict::Fails(error),
            }
        }
        let full = sequence.tokens.len() >= self.limits.context_tokens as usize;
        if full || sequence.generated() >= sequence.max_tokens {
            return Verdict::Ends(FinishReason::Length);
        }
        Verdict::Continues
    }

    /// After a failed forward pass: what the batch's sequences hold is unknown, so they end.
    fn lose(&mut self, shares: &[Share], error: &EngineError) {
        tracing::error!(%error, requests = shares.len(), "forward pass failed");
        for share in shares {
            let index = self
                .running
                .iter()
                .position(|sequence| sequence.id == share.request);
            let sequence = self
                .running
                .remove(index.expect("a batched request is running"));
            if let Some(slot) = sequence.slot {
                self.truncate(slot, 0);
            }
            self.fail(sequence, error.clone());
        }
    }

    fn publish(&self) {
        set(&self.stats.waiting, self.waiting.len() as u64);
        set(&self.stats.running, self.running.len() as u64);
        set(
            &self.stats.cells_used,
            u64::from(self.residency.used_cells()),
        );
        set(
            &self.stats.cells_idle,
            u64::from(self.residency.evictable_cells()),
        );
        set(
            &self.stats.resident_sequences,
            self.residency.idle_count() as u64,
        );
    }
}
