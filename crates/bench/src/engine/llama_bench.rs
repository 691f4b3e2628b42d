//! The peer of single streams.

use std::path::PathBuf;

use serde::Deserialize;
use tokio::process::Command;

use super::Case;
use super::case::{GENERATED_TOKENS, PROMPT_TOKENS};
use crate::BenchError;
use crate::program::{as_typed, peer_command, tail};

/// llama-bench with a model.
#[derive(Clone, Debug)]
pub(super) struct LlamaBench {
    pub(super) program: PathBuf,
    pub(super) model: PathBuf,
    pub(super) threads: u32,
    /// Whether it lays weights out anew, which is best for decoding; plain ones read prompts faster
    /// on some CPUs.
    pub(super) repack: bool,
}

impl LlamaBench {
    /// The arm's name.
    pub(super) fn name(&self) -> &'static str {
        match self.repack {
            true => "llama-bench",
            false => "llama-bench:no-repack",
        }
    }

    /// Tokens per second of one measurement, before which it warms up by itself.
    pub(super) async fn sample(&self, case: Case) -> Result<f64, BenchError> {
        let failed = |message| BenchError::Program {
            program: self.name().to_owned(),
            message,
        };
        let output = self.command(case).output().await;
        let output = output.map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            let said = tail(&String::from_utf8_lossy(&output.stderr));
            return Err(failed(format!("{}\n{said}", output.status)));
        }
        let (prompt, generated) = sizes(case);
        tokens_per_second(&String::from_utf8_lossy(&output.stdout), prompt, generated)
            .map_err(failed)
    }

    /// The command line of a case.
    pub(super) fn typed(&self, case: Case) -> String {
        as_typed(&self.command(case))
    }

    fn command(&self, case: Case) -> Command {
        let (prompt, generated) = sizes(case);
        let mut command = peer_command(&self.program);
        command.arg("-m").arg(&self.model);
        command.args(["-p", &prompt.to_string(), "-n", &generated.to_string()]);
        command.args(["-t", &self.threads.to_string()]);
        command.args(["-fa", "1", "-ub", "512", "-r", "1", "-o", "json"]);
        if !self.repack {
            command.args(["--repack", "0"]);
        }
        command
    }
}

/// Tokens of the prompt and tokens to generate.
fn sizes(case: Case) -> (usize, usize) {
    match case {
        Case::Prefill1 => (PROMPT_TOKENS, 0),
        _ => (0, GENERATED_TOKENS),
    }
}

/// One entry of what llama-bench writes with `-o json`.
#[derive(Deserialize)]
struct Entry {
    n_prompt: usize,
    n_gen: usize,
    avg_ts: f64,
}

fn tokens_per_second(json: &str, prompt: usize, generated: usize) -> Result<f64, String> {
    let entries: Vec<Entry> =
        serde_json::from_str(json).map_err(|error| format!("its output is not known: {error}"))?;
    let asked = |entry: &&Entry| (entry.n_prompt, entry.n_gen) == (prompt, generated);
    match entries.iter().find(asked) {
        Some(entry) if entry.avg_ts > 0.0 => Ok(entry.avg_ts),
        Some(entry) => Err(format!("it reports {} tokens per second", entry.avg_ts)),
        None => Err(format!(
            "its output has no test of {prompt} prompt and {generated} generated tokens"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What llama-bench (llama.cpp b11434) wrote for `-p 64 -n 0 -r 1`.
    const OUTPUT: &str = include_str!("../../tests/fixtures/llama_bench.json");

    #[test]
    fn real_output_is_read() {
        assert_eq!(tokens_per_second(OUTPUT, 64, 0), Ok(28.595_275));
    }

    #[test]
    fn other_output_is_refused_with_a_reason() {
        for (output, prompt, reason) in [
            (OUTPUT, 512, "no test of 512 prompt"),
            ("[\n", 64, "not known"),
            (r#"[{"n_prompt": 64}]"#, 64, "missing field"),
            (
                r#"[{"n_prompt": 64, "n_gen": 0, "avg_ts": 0.0}]"#,
                64,
                "reports 0",
            ),
        ] {
            let error = tokens_per_second(output, prompt, 0).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn the_command_line_is_the_comparable_one() {
        let bench = LlamaBench {
            program: "/opt/llama-bench".into(),
            model: "m.gguf".into(),
            threads: 3,
            repack: true,
        };
        let line = "/opt/llama-bench -m m.gguf -p 512 -n 0 -t 3 -fa 1 -ub 512 -r 1 -o json";
        assert_eq!(bench.typed(Case::Prefill1), line);
        assert!(bench.typed(Case::Decode1).contains("-p 0 -n 64 -t 3"));
        let plain = LlamaBench {
            repack: false,
            ..bench
        };
        assert_eq!(plain.typed(Case::Prefill1), format!("{line} --repack 0"));
    }
}
