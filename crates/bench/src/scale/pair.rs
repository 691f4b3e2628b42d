//! Two simulated models and the devices that they compute on.

use std::str::FromStr;

use agentinfer_engine::{Batch, Entry, LatencyCurve};
use serde::Serialize;

use crate::sched::CurveRow;

/// Seconds of a step, by what they go into.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Parts {
    /// What a step of one token takes: all weights are read, whatever the batch.
    pub floor: f64,
    /// Arithmetic beyond that.
    pub compute: f64,
    /// Reading the cells of contexts.
    pub context: f64,
}

impl Parts {
    /// All of them.
    pub fn seconds(&self) -> f64 {
        self.floor + self.compute + self.context
    }
}

/// A model on a device by what it must read and compute: a step takes as long as the longer of the
/// two. With several devices as one (tensor parallelism), rates are their sum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Roofline {
    /// Parameters that a token is multiplied with.
    pub parameters: f64,
    /// Bytes of all weights.
    pub weight_bytes: f64,
    /// Bytes of a token's keys and values.
    pub cell_bytes: f64,
    /// Operations per token and cell of its context: 4 per layer and channel.
    pub attention_flops: f64,
    /// Bytes a second that are sustained.
    pub bandwidth: f64,
    /// Operations a second that are sustained.
    pub flops: f64,
    /// Seconds of a step in which the device waits for the host.
    pub overhead_s: f64,
}

impl Roofline {
    /// A step of so many tokens, which read `cells` and attend to `attended` of them, all added up.
    /// A chunk of a prompt reads its context once and attends to it once per token.
    pub fn parts(&self, tokens: f64, cells: f64, attended: f64) -> Parts {
        let weights = self.weight_bytes / self.bandwidth;
        let read = cells * self.cell_bytes / self.bandwidth;
        let operations = 2.0 * self.parameters * tokens + self.attention_flops * attended;
        let work = operations / self.flops;
        let (compute, context) = match work > weights + read {
            true => (work - weights, 0.0),
            false => (0.0, read),
        };
        Parts {
            floor: self.overhead_s + weights,
            compute,
            context,
        }
    }
}

/// How long a model's steps take.
#[derive(Clone, Debug, PartialEq)]
pub enum Timing {
    /// By what is known of the model and the device.
    Roofline(Roofline),
    /// As steps of a real model were measured.
    Measured(LatencyCurve),
}

impl Timing {
    /// Seconds of a step.
    pub fn parts(&self, batch: &Batch) -> Parts {
        let entries = &batch.entries;
        match self {
            Self::Roofline(roofline) => {
                let attended = entries.iter().map(|entry| f64::from(entry.position) + 1.0);
                // Tokens of a sequence stand together, and the last of them sees all its cells.
                let sequences = entries.chunk_by(|one, next| one.sequence == next.sequence);
                let last = sequences.filter_map(|tokens| tokens.last());
                let cells = last.map(|entry| f64::from(entry.position) + 1.0).sum();
                roofline.parts(entries.len() as f64, cells, attended.sum())
            }
            Self::Measured(curve) => {
                let seconds = |tokens: usize| curve.seconds(&opening(tokens), 0);
                let (floor, flat) = (seconds(1), seconds(entries.len()));
                Parts {
                    floor,
                    compute: flat - floor,
                    context: curve.seconds(batch, 0) - flat,
                }
            }
        }
    }
}

/// A step of so many tokens without context.
fn opening(tokens: usize) -> Batch {
    let entry = Entry {
        token: 0,
        position: 0,
        sequence: 0,
        logits: true,
    };
    Batch {
        entries: vec![entry; tokens],
    }
}

/// A model of a pair and what it may use.
#[derive(Clone, Debug, PartialEq)]
pub struct TierSpec {
    /// What it stands for.
    pub model: &'static str,
    /// How long its steps take.
    pub timing: Timing,
    /// KV cells on the device.
    pub cells: u32,
    /// KV cells that host memory keeps where evicted cells are kept.
    pub host_cells: u64,
    /// Seconds to copy a cell to the host or back.
    pub copy_s: f64,
    /// Sequences that exist at once, idle ones included.
    pub sequences: u32,
    /// Requests that run at once.
    pub max_running: usize,
    /// Tokens of a step, at most.
    pub batch_tokens: u32,
    /// Of prompts, in a step in which others decode.
    pub prefill_chunk: usize,
}

/// A large and a small model.
#[derive(Clone, Debug, PartialEq)]
pub struct PairSpec {
    /// Its name.
    pub name: &'static str,
    /// Whether both compute on one device, in turn.
    pub shared: bool,
    /// The large model.
    pub large: TierSpec,
    /// The small one.
    pub small: TierSpec,
}

/// Sustained by a data-centre GPU with 80 GB of HBM3: three quarters of 3.35 TB/s, and half of
/// 989 TFLOP/s in 16 bits, which is what well-tuned kernels reach.
const GPU_BANDWIDTH: f64 = 2.5e12;
const GPU_FLOPS: f64 = 500e12;
/// Bytes of its memory that weights and cells may fill: nine tenths, without 4 GB of activations.
const GPU_BYTES: f64 = 68e9;
/// Bytes a second between it and the host, and of the host's memory for cells of each model.
const HOST_BANDWIDTH: f64 = 25e9;
const HOST_BYTES: f64 = 256e9;
/// Seconds of a step for launching kernels and sampling.
const GPU_OVERHEAD_S: f64 = 0.002;

/// Layers, channels, channels of keys and of values, parameters, bytes of a weight.
struct Shape(f64, f64, f64, f64, f64);

/// A model on a GPU of its own.
fn on_gpu(model: &'static str, shape: &Shape) -> TierSpec {
    let Shape(layers, channels, key_channels, parameters, weight) = shape;
    let roofline = Roofline {
        parameters: *parameters,
        weight_bytes: parameters * weight,
        // Keys and values, 2 bytes each.
        cell_bytes: layers * key_channels * 4.0,
        attention_flops: 4.0 * layers * channels,
        bandwidth: GPU_BANDWIDTH,
        flops: GPU_FLOPS,
        overhead_s: GPU_OVERHEAD_S,
    };
    TierSpec {
        model,
        timing: Timing::Roofline(roofline),
        cells: ((GPU_BYTES - roofline.weight_bytes) / roofline.cell_bytes) as u32,
        host_cells: (HOST_BYTES / roofline.cell_bytes) as u64,
        copy_s: roofline.cell_bytes / HOST_BANDWIDTH,
        sequences: 2048,
        max_running: 256,
        batch_tokens: 2048,
        prefill_chunk: 512,
    }
}

/// A model on two cores, served as by default.
fn on_cpu(model: &'static str, curve: LatencyCurve, host_cells: u64) -> TierSpec {
    TierSpec {
        model,
        copy_s: curve.copied,
        timing: Timing::Measured(curve),
        cells: 16_384,
        host_cells,
        sequences: 128,
        max_running: 16,
        batch_tokens: 512,
        prefill_chunk: 128,
    }
}

impl PairSpec {
    /// Models of 38 and 7 billion parameters, each on a GPU of its own. The large one's weights
    /// have 8 bits, so that 30 GB are left for cells; their shapes are those of Qwen2.5 32B and 7B.
    pub fn gpu() -> Self {
        Self {
            name: "gpu",
            shared: false,
            large: on_gpu("38B, 8 bits", &Shape(64.0, 5120.0, 1024.0, 38e9, 1.0)),
            small: on_gpu("7B, 16 bits", &Shape(28.0, 3584.0, 512.0, 7e9, 2.0)),
        }
    }

    /// Qwen2.5-Coder 1.5B and 0.5B (Q4_K_M) on two cores, which they share. The large one's steps
    /// were measured; of the small one are known 22.6 ms for a token and 243 tokens of a prompt a
    /// second, and in between its curve is thought to have the same form.
    pub fn cpu() -> Self {
        let large = LatencyCurve::default();
        let points = large.points.iter();
        let small = LatencyCurve {
            points: points
                .map(|(tokens, s)| (*tokens, 0.0085 + 0.372 * s))
                .collect(),
            // 24 layers of 896 channels beside 28 of 1536.
            context: vec![(0, 0.0), (1, 1.5e-7)],
            ..large.clone()
        };
        Self {
            name: "cpu",
            shared: true,
            // A GiB each for evicted cells, as in `bench research`.
            large: on_cpu("Qwen2.5-Coder 1.5B", large, 37_000),
            small: on_cpu("Qwen2.5-Coder 0.5B", small, 87_000),
        }
    }

    /// Its row in the results.
    pub fn row(&self) -> PairRow {
        let tier = |tier: &TierSpec| TierRow {
            model: tier.model,
            cells: tier.cells,
            max_running: tier.max_running,
            roofline: match tier.timing {
                Timing::Roofline(roofline) => Some(roofline),
                Timing::Measured(_) => None,
            },
            curve: match &tier.timing {
                Timing::Roofline(_) => None,
                Timing::Measured(curve) => Some(curve.clone().into()),
            },
        };
        PairRow {
            pair: self.name,
            one_device: self.shared,
            large: tier(&self.large),
            small: tier(&self.small),
        }
    }
}

impl FromStr for PairSpec {
    type Err = String;

    /// # Errors
    /// With the names that there are.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "gpu" => Ok(Self::gpu()),
            "cpu" => Ok(Self::cpu()),
            _ => Err(format!("{text:?} is no pair; there are gpu and cpu")),
        }
    }
}

/// What a pair was taken to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PairRow {
    /// Its name.
    pub pair: &'static str,
    /// Whether both compute on one device, in turn.
    pub one_device: bool,
    /// The large model.
    pub large: TierRow,
    /// The small one.
    pub small: TierRow,
}

/// What a model was taken to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TierRow {
    /// What it stands for.
    pub model: &'static str,
    /// KV cells.
    pub cells: u32,
    /// Requests that run at once.
    pub max_running: usize,
    /// Where steps take as long as what is read and computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roofline: Option<Roofline>,
    /// Where they take as long as was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<CurveRow>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(decodes: u32, context: u32, prompt: u32) -> Batch {
        let decoding = (0..decodes).map(|sequence| (sequence, context));
        let prompt = (0..prompt).map(|position| (decodes, position));
        let entries = decoding.chain(prompt).map(|(sequence, position)| Entry {
            token: 7,
            position,
            sequence,
            logits: true,
        });
        Batch {
            entries: entries.collect(),
        }
    }

    #[test]
    fn more_takes_no_less_and_the_large_model_longer() {
        for pair in [PairSpec::gpu(), PairSpec::cpu()] {
            let seconds = |tier: &TierSpec, batch| tier.timing.parts(&batch).seconds();
            let mut before = [0.0; 2];
            for decodes in [1, 2, 8, 32, 64, 128, 256] {
                let both = [&pair.large, &pair.small].map(|it| seconds(it, step(decodes, 900, 0)));
                assert!(both[0] > both[1], "{decodes}: {both:?}");
                assert!(
                    both[0] >= before[0] && both[1] >= before[1],
                    "{decodes}: {both:?}"
                );
                before = both;
                let longer = seconds(&pair.large, step(decodes, 9000, 0));
                assert!(longer > both[0], "{decodes}: a context ten times as long");
                let beside = seconds(&pair.large, step(decodes, 900, 512));
                assert!(beside > both[0], "{decodes}: a prompt beside it");
            }
        }
    }

    #[test]
    fn a_decode_is_bound_by_weights_then_by_contexts_and_a_prompt_by_arithmetic() {
        let PairSpec { large, small, .. } = PairSpec::gpu();
        // 38 GB at 2.5 TB/s, and 2 ms.
        let one = large.timing.parts(&step(1, 1, 0));
        assert!(
            (one.floor - 0.0172).abs() < 1e-9 && one.compute == 0.0,
            "{one:?}"
        );
        let many = large.timing.parts(&step(64, 8000, 0));
        assert!(many.context > many.floor && many.compute == 0.0, "{many:?}");
        let prompt = large.timing.parts(&step(0, 0, 2048));
        assert!(prompt.compute > 0.25 && prompt.context == 0.0, "{prompt:?}");
        assert_eq!((large.cells, small.cells), (114_440, 941_685));
    }
}
