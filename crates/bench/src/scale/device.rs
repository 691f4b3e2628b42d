//! A simulated model on a simulated device, which says what its time went into.

use agentinfer_engine::{
    Batch, LatencyCurve, Model, ModelError, ModelLimits, SequenceId, SimModel, SimVocabulary,
    Vocabulary,
};

use super::pair::{Parts, TierSpec, Timing};

/// Bytes that [`SimModel`] saves for a cell.
pub(super) const SAVED_BYTES: u64 = 8;

/// What [`SimModel`] would say, in the time that `timing` gives.
pub(super) struct Simulated {
    model: SimModel,
    timing: Timing,
    copy_s: f64,
    clock: f64,
    /// What the time went into.
    pub(super) spent: Spent,
}

/// Seconds that a device has worked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub(super) steps: Parts,
    /// Copying cells to the host and back.
    pub(super) copies: f64,
}

/// A model that takes no time of its own.
pub(super) fn timeless(cells: u32, sequences: u32, batch_tokens: u32) -> SimModel {
    let limits = ModelLimits {
        cells,
        sequences,
        batch_tokens,
        context_tokens: cells,
        vocabulary: SimVocabulary::default().len() as u32,
    };
    let curve = LatencyCurve {
        points: Vec::new(),
        context: Vec::new(),
        copied: 0.0,
        ..LatencyCurve::default()
    };
    SimModel::new(limits, curve)
}

impl Simulated {
    pub(super) fn new(spec: &TierSpec) -> Self {
        Self {
            model: timeless(spec.cells, spec.sequences, spec.batch_tokens),
            timing: spec.timing.clone(),
            copy_s: spec.copy_s,
            clock: 0.0,
            spent: Spent::default(),
        }
    }

    /// Lets time pass until `moment`, if it is not past.
    pub(super) fn wait_until(&mut self, moment: f64) {
        self.clock = self.clock.max(moment);
    }

    /// Begins at 0 again: what was measured before is nobody's time.
    pub(super) fn restart(&mut self) {
        (self.clock, self.spent) = (0.0, Spent::default());
    }

    fn copy(&mut self, cells: u32) {
        let seconds = f64::from(cells) * self.copy_s;
        self.clock += seconds;
        self.spent.copies += seconds;
    }
}

impl Model for Simulated {
    fn limits(&self) -> ModelLimits {
        self.model.limits()
    }

    fn forward(&mut self, batch: &Batch) -> Result<(), ModelError> {
        self.model.forward(batch)?;
        let parts = self.timing.parts(batch);
        self.clock += parts.seconds();
        let steps = &mut self.spent.steps;
        steps.floor += parts.floor;
        steps.compute += parts.compute;
        steps.context += parts.context;
        Ok(())
    }

    fn logits(&self, index: usize) -> &[f32] {
        self.model.logits(index)
    }

    fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32) {
        self.model.share(from, to, tokens);
    }

    fn truncate(&mut self, sequence: SequenceId, tokens: u32) {
        self.model.truncate(sequence, tokens);
    }

    fn saved_format(&self) -> Option<String> {
        self.model.saved_format()
    }

    fn save(&mut self, sequence: SequenceId, from: u32, to: u32) -> Result<Vec<u8>, ModelError> {
        self.copy(to - from);
        self.model.save(sequence, from, to)
    }

    fn restore(
        &mut self,
        sequence: SequenceId,
        from: u32,
        tokens: u32,
        saved: &[u8],
    ) -> Result<(), ModelError> {
        self.copy(tokens);
        self.model.restore(sequence, from, tokens, saved)
    }

    fn now(&self) -> f64 {
        self.clock
    }
}
