//! llama-server, and the settings with which it is measured.

use std::path::Path;

use super::ServerPlan;
use crate::BenchError;
use crate::program::peer_command;

/// The name of an arm and what makes it.
pub(crate) type Setting = (&'static str, &'static [&'static str]);

/// llama-server as it is served best: one pool of cells for as many chats as run at once, flash
/// attention, and everything that keeps prompts. Its cache of prompts in main memory copies slots
/// away and back, which helps some loads and delays others; so it is measured with and without.
/// Weights that it lays out anew decode fastest; plain ones read prompts faster on some CPUs.
pub(crate) const SERVED_BEST: [Setting; 3] = [
    ("llama-server", &[]),
    ("llama-server:cache-ram=0", &["--cache-ram", "0"]),
    ("llama-server:no-repack", &["--no-repack"]),
];

/// llama-server with each of its types of speculation that need no second model, as they are by
/// default: made for machines on which a long draft costs little. So besides `ngram-mod`, which
/// drafts no less than 48 tokens, and `ngram-simple`, which drafts 48 whatever their chances, there
/// are shorter ones; `ngram-map-k4v` is as its documentation shows it.
pub(crate) const SPECULATING: [Setting; 8] = [
    ("llama-server", &[]),
    ("llama-server:ngram-cache", &["--spec-type", "ngram-cache"]),
    (
        "llama-server:ngram-simple",
        &["--spec-type", "ngram-simple"],
    ),
    (
        "llama-server:ngram-simple-short",
        &[
            "--spec-type",
            "ngram-simple",
            "--spec-ngram-simple-size-n",
            "8",
            "--spec-ngram-simple-size-m",
            "8",
        ],
    ),
    ("llama-server:ngram-map-k", &["--spec-type", "ngram-map-k"]),
    (
        "llama-server:ngram-map-k4v",
        &[
            "--spec-type",
            "ngram-map-k4v",
            "--spec-ngram-map-k4v-size-n",
            "8",
            "--spec-ngram-map-k4v-size-m",
            "8",
            "--spec-ngram-map-k4v-min-hits",
            "2",
        ],
    ),
    ("llama-server:ngram-mod", &["--spec-type", "ngram-mod"]),
    (
        "llama-server:ngram-mod-short",
        &[
            "--spec-type",
            "ngram-mod",
            "--spec-ngram-mod-n-match",
            "8",
            "--spec-ngram-mod-n-min",
            "2",
            "--spec-ngram-mod-n-max",
            "16",
        ],
    ),
];

/// llama-server and its sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LlamaServer<'a> {
    pub(crate) program: &'a Path,
    pub(crate) model: &'a Path,
    pub(crate) threads: u32,
    /// KV cells, shared by all chats.
    pub(crate) cells: u32,
    /// Chats at once.
    pub(crate) parallel: usize,
}

impl LlamaServer<'_> {
    /// The server with the settings of an arm, and with what is `common` to all arms.
    pub(crate) fn plan(
        &self,
        arm: &str,
        settings: &[&str],
        common: &[&str],
    ) -> Result<ServerPlan, BenchError> {
        let (cells, threads) = (self.cells.to_string(), self.threads.to_string());
        ServerPlan::new(arm, peer_command(self.program), |command| {
            command.arg("-m").arg(self.model);
            command.args(["-c", &cells, "-np", &self.parallel.to_string()]);
            command.args(["--kv-unified", "-t", &threads, "-tb", &threads]);
            command.args(["-fa", "on", "-ub", "512", "--cache-reuse", "256"]);
            command.args(common).args(settings);
        })
    }
}
