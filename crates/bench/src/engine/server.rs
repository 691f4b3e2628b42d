//! The servers that are compared, all with the same sizes.

use std::path::Path;

use tokio::process::Command;

use super::results::OURS;
use super::speculation::{FULL, SETTINGS};
use crate::BenchError;
use crate::program::command;
use crate::servers::{LlamaServer, SERVED_BEST, SPECULATING, ServerPlan, Setting};

/// Chats at once of the largest case.
const MOST_CHATS: usize = 8;

/// What servers are made of: which programs, and the same sizes for all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Programs<'a> {
    pub(super) agentinfer: &'a Path,
    /// Without it there are only ours.
    pub(super) llama_server: Option<&'a Path>,
    pub(super) model: &'a Path,
    pub(super) threads: u32,
    /// KV cells of each.
    pub(super) cells: u32,
}

impl Programs<'_> {
    /// The servers to compare, ours first.
    pub(super) fn plan(&self) -> Result<Vec<ServerPlan>, BenchError> {
        let mut plans = vec![self.ours(OURS, |_| {})?];
        plans.extend(self.peers(&SERVED_BEST, &[])?);
        Ok(plans)
    }

    /// The servers to compare by their speculation, ours first.
    pub(super) fn with_speculation(&self) -> Result<Vec<ServerPlan>, BenchError> {
        let mut plans = Vec::new();
        for (arm, drafts) in SETTINGS {
            let plan = self.ours(arm, |command| {
                command.args(["--spec", drafts, "--offload-mib", "0"]);
            })?;
            plans.push(match arm {
                FULL => plan.with_corpus()?,
                _ => plan,
            });
        }
        plans.extend(self.peers(&SPECULATING, &["--cache-ram", "0"])?);
        Ok(plans)
    }

    fn ours(
        &self,
        arm: &str,
        settings: impl FnOnce(&mut Command),
    ) -> Result<ServerPlan, BenchError> {
        ServerPlan::new(arm, command(self.agentinfer), |command| {
            command.args(["serve", "--large"]).arg(self.model);
            command.args(["--cells", &self.cells.to_string()]);
            command.args(["--threads", &self.threads.to_string()]);
            settings(command);
        })
    }

    /// llama-server with each of the settings, and with what is `common` to all.
    fn peers(&self, settings: &[Setting], common: &[&str]) -> Result<Vec<ServerPlan>, BenchError> {
        let Some(program) = self.llama_server else {
            return Ok(Vec::new());
        };
        let peer = LlamaServer {
            program,
            model: self.model,
            threads: self.threads,
            cells: self.cells,
            parallel: MOST_CHATS,
        };
        let plan = |(arm, settings): &Setting| peer.plan(arm, settings, common);
        settings.iter().map(plan).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_and_every_setting_of_the_peer_get_the_same_sizes() {
        let programs = Programs {
            agentinfer: Path::new("agentinfer"),
            llama_server: Some(Path::new("/opt/llama-server")),
            model: Path::new("m.gguf"),
            threads: 3,
            cells: 512,
        };
        let plans = programs.plan().unwrap();
        let arms: Vec<&str> = plans.iter().map(|plan| plan.arm.as_str()).collect();
        assert_eq!(
            arms,
            [
                "agentinfer",
                "llama-server",
                "llama-server:cache-ram=0",
                "llama-server:no-repack"
            ]
        );
        let speculating = programs.with_speculation().unwrap();
        for plan in plans.iter().chain(&speculating) {
            let typed = plan.typed();
            assert!(
                typed.contains(" 512 ") && typed.contains("m.gguf"),
                "{typed}"
            );
            let name = plan.arm.split(['=', ':']).next_back().unwrap();
            let of_its_name = |part: &str| name.starts_with(part) && part.len() > 2;
            if plan.arm.contains(":ngram") || plan.arm.contains(":spec=") {
                assert!(typed.split(' ').any(of_its_name), "{typed}");
            }
        }
        assert_eq!(speculating.len(), SETTINGS.len() + SPECULATING.len());
        let alone = Programs {
            llama_server: None,
            ..programs
        };
        assert_eq!(alone.plan().unwrap().len(), 1);
        assert_eq!(alone.with_speculation().unwrap().len(), SETTINGS.len());
    }
}
