//! Laying cells out anew, so that those of a sequence lie together again.
//!
//! New cells go wherever others were freed, and sequences that decode side by side take turns. On a
//! model that [attends in tiles](crate::Model::attends_in_tiles) a sequence pays for every tile in
//! which one of its cells lies, so prefill gets slower and slower towards the price of all that is
//! resident (measured: half as fast after some minutes of full memory). Which cells lie where only
//! the model knows; the engine counts those that were filled in a way that scatters.
//!
//! All cells are copied out, dropped, and copied back sequence by sequence; what several sequences
//! hold is copied once and shared anew. The ledger stays as it is.

use crate::model::TILE;
use crate::stats::add;
use crate::{Engine, Model, ModelError, SequenceId};

/// Share of the used cells that must have been filled in a scattering way. What was freed by one
/// sequence lies together still when the next one fills it, so a few do little harm: simulated with
/// llama.cpp's way to place cells, steps take 3.5 % longer than with perfect order at a tenth or a
/// quarter, 3.8 % at a half, 5 % at all.
const LEAST_SHARE: f64 = 0.25;

/// Copying a cell out and back takes as long as so many tokens' attention to it, with some margin.
/// Measured on Qwen2.5-Coder 0.5B: 6 (6 microseconds by 1). A larger model takes longer for both.
const TOKENS_OF_A_COPY: f64 = 16.0;

/// Bytes of host memory for all cells at once. Where more are used, cells stay where they are:
/// everybody would wait for half a second, as long as a step with a chunk of prefill takes.
const MOST_BYTES: u64 = 1 << 30;

/// How scattered the cells are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compaction {
    /// Whether the model gains by it and can do it.
    possible: bool,
    /// The most cells in use since they were laid out. Cells beyond are filled for the first time.
    peak: u32,
    /// Cells filled since then that may lie apart.
    scattered: u32,
    /// Cells that were copied back in this step, in pieces of a tile.
    pub(crate) restored: usize,
    /// Bytes of a saved cell, as far as known.
    cell_bytes: u64,
}

/// One of the moves by which empty sequences get their cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// `to` shares the first `tokens` cells of `from`.
    Share {
        from: SequenceId,
        to: SequenceId,
        tokens: u32,
    },
    /// `sequence`, which has `from` cells, gets those until `to`.
    Restore {
        sequence: SequenceId,
        from: u32,
        to: u32,
    },
}

impl Compaction {
    pub(crate) fn new(model: &impl Model) -> Self {
        Self {
            possible: model.attends_in_tiles() && model.saved_format().is_some(),
            peak: 0,
            scattered: 0,
            restored: 0,
            cell_bytes: 0,
        }
    }

    /// Notes the end of a step that computed so many tokens of each sequence, and how many cells
    /// are used now.
    pub(crate) fn filled(&mut self, cells: impl Iterator<Item = usize> + Clone, used: u32) {
        let total = self.restored + cells.clone().sum::<usize>();
        self.restored = 0;
        let again = (total as u32).saturating_sub(used.saturating_sub(self.peak));
        let pieces = cells.clone().filter(|count| *count < TILE).sum::<usize>() as u32;
        let side_by_side = if cells.count() > 1 { pieces } else { 0 };
        self.scattered += again.max(side_by_side);
        self.peak = self.peak.max(used);
    }

    /// The share of so many used cells that may lie apart, if it is worth looking at.
    fn scattered_share(&self, used: u32) -> Option<f64> {
        let fits = self.cell_bytes * u64::from(used) <= MOST_BYTES;
        let share = f64::from(self.scattered.min(used)) / f64::from(used.max(1));
        (self.possible && fits && share >= LEAST_SHARE).then_some(share)
    }
}

impl<M: Model> Engine<M> {
    /// Lays the cells out anew if the prefill that is known gains more than that takes: each of its
    /// tokens attends to the scattered share of the cells in vain.
    pub(crate) fn compact_if_worth_it(&mut self) {
        let used = self.residency.used_cells();
        let Some(share) = self.compaction.scattered_share(used) else {
            return;
        };
        let prefill = self.running.iter().map(|sequence| {
            let computed = self.uncomputed(sequence);
            computed.saturating_sub(sequence.stored.tokens_to_copy())
        });
        // Shorter ones are not computed in tiles.
        let prefill: usize = prefill.filter(|tokens| *tokens >= TILE).sum();
        if prefill as f64 * share > TOKENS_OF_A_COPY {
            self.compact();
        }
    }

    /// Lays the cells out anew, sequence by sequence; [`step`](Self::step) does so itself when it
    /// pays. Changes nothing but the time that later steps take. Returns whether it was done: not
    /// if the model cannot copy cells, or they are too many.
    pub fn compact(&mut self) -> bool {
        let begin = self.model.now();
        let moves = self.residency.moves();
        let saved = self.copy_out(&moves);
        if let Ok(saved) = &saved {
            self.lay_out(&moves, saved);
        }
        let seconds = self.model.now() - begin;
        let used = self.residency.used_cells();
        let done = saved.is_ok();
        tracing::debug!(used, seconds, done, "cells laid out anew");
        self.compaction.peak = used;
        self.compaction.scattered = 0;
        add(&self.stats.compactions, u64::from(done));
        add(&self.stats.compaction_nanoseconds, (seconds * 1e9) as u64);
        add(&self.stats.copy_nanoseconds, (seconds * 1e9) as u64);
        done
    }

    /// Copies out what the moves put back, in their order. Nothing changes.
    fn copy_out(&mut self, moves: &[Move]) -> Result<Vec<Vec<u8>>, ModelError> {
        let used = u64::from(self.residency.used_cells());
        let mut saved = Vec::new();
        for step in moves {
            let Move::Restore { sequence, from, to } = *step else {
                continue;
            };
            let data = self.model.save(sequence, from, to)?;
            let bytes = data.len() as u64 / u64::from(to - from);
            self.compaction.cell_bytes = bytes;
            if bytes * used > MOST_BYTES {
                return Err(ModelError("too many bytes".to_owned()));
            }
            saved.push(data);
        }
        Ok(saved)
    }

    /// Drops all cells and puts them back. What cannot be put back is lost, and computed again when
    /// it is needed.
    fn lay_out(&mut self, moves: &[Move], saved: &[Vec<u8>]) {
        let mut held = vec![0; self.limits.sequences as usize];
        for sequence in 0..self.limits.sequences {
            if self.residency.len(sequence) > 0 {
                self.model.truncate(sequence, 0);
            }
        }
        let mut saved = saved.iter();
        for step in moves {
            match *step {
                Move::Share { from, to, tokens } => {
                    let tokens = tokens.min(held[from as usize]);
                    if tokens > 0 {
                        self.model.share(from, to, tokens);
                    }
                    held[to as usize] = tokens;
                }
                Move::Restore { sequence, from, to } => {
                    let data = saved.next().map_or(&[][..], Vec::as_slice);
                    // Not if what comes before is lost.
                    if held[sequence as usize] == from {
                        match self.model.restore(sequence, from, to - from, data) {
                            Ok(()) => held[sequence as usize] = to,
                            Err(error) => tracing::warn!(%error, sequence, "KV cells are lost"),
                        }
                    }
                }
            }
        }
        for (sequence, held) in (0..).zip(held) {
            if held < self.residency.len(sequence) {
                self.note_loss(sequence, held);
            }
        }
    }

    /// Notes that a sequence holds its first `held` cells only. If it is a running request's, the
    /// next steps compute the others again.
    fn note_loss(&mut self, sequence: SequenceId, held: u32) {
        if self.residency.is_idle(sequence) {
            self.residency.evict(sequence, held);
            return;
        }
        self.residency.truncate(sequence, held);
        let mut running = self.running.iter_mut();
        if let Some(request) = running.find(|request| request.slot == Some(sequence)) {
            request.stored.copy_nothing();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_again_or_side_by_side_counts_as_scattered() {
        let mut compaction = Compaction {
            possible: true,
            peak: 0,
            scattered: 0,
            restored: 0,
            cell_bytes: 0,
        };
        // Cells that each sequence gets, how many are used then, and how many are scattered.
        let steps: [(&[usize], u32, u32); 7] = [
            (&[512], 512, 0),
            // One that decodes beside a prompt; two that decode.
            (&[1, 128], 641, 1),
            (&[1, 1], 643, 3),
            (&[1], 644, 3),
            // After 100 were evicted: filled again, and beyond.
            (&[50], 594, 53),
            (&[128], 672, 153),
            // With 100 that were copied back, where none had been before.
            (&[28], 800, 153),
        ];
        for (cells, used, scattered) in steps {
            compaction.restored = if used == 800 { 100 } else { 0 };
            compaction.filled(cells.iter().copied(), used);
            assert_eq!(compaction.scattered, scattered, "{cells:?}");
        }
        assert_eq!(compaction.scattered_share(700), None);
        assert_eq!(compaction.scattered_share(306), Some(0.5));
        compaction.cell_bytes = MOST_BYTES / 300;
        assert_eq!(compaction.scattered_share(306), None, "too many bytes");
    }
}
