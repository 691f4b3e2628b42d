//! `[compress]`: which part of a long conversation is served in another form.

use agentinfer_runtime::{CompressOptions, Distiller};
use anyhow::{Result, anyhow, ensure};
use clap::Args;
use serde::Deserialize;

use super::{Switch, set};

/// As one place says it.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[command(next_help_heading = "Compress")]
pub(crate) struct RawCompress {
    /// Whether older tool results of long conversations are served distilled, unless a request says
    /// otherwise by its field `compress`: on or off [default: off].
    #[arg(
        id = "compress",
        long,
        env = "AGENTINFER_COMPRESS",
        value_name = "on|off"
    )]
    pub(crate) enabled: Option<Switch>,
    /// Who distils them: extract (code, which picks sentences and lines out of them) or model (the
    /// smallest model served, in the background) [default: extract].
    #[arg(long, env = "AGENTINFER_DISTILLER", value_name = "extract|model")]
    pub(crate) distiller: Option<String>,
    /// Prompt tokens from which on a conversation is long [default: 5000].
    #[arg(
        id = "compress_trigger",
        long = "compress-trigger",
        env = "AGENTINFER_COMPRESS_TRIGGER",
        value_name = "TOKENS"
    )]
    pub(crate) trigger: Option<u32>,
    /// Tool results that stay as they are, the latest ones [default: 2].
    #[arg(
        id = "compress_recent",
        long = "compress-recent",
        env = "AGENTINFER_COMPRESS_RECENT",
        value_name = "N"
    )]
    pub(crate) recent: Option<usize>,
}

impl RawCompress {
    /// These settings, and where they say nothing, those below.
    pub(super) fn or(self, below: Self) -> Self {
        Self {
            enabled: self.enabled.or(below.enabled),
            distiller: self.distiller.or(below.distiller),
            trigger: self.trigger.or(below.trigger),
            recent: self.recent.or(below.recent),
        }
    }

    pub(super) fn validate(self) -> Result<CompressOptions> {
        let mut options = CompressOptions::default();
        set(
            &mut options.enabled,
            self.enabled.map(|it| it == Switch::On),
        );
        if let Some(distiller) = self.distiller {
            let distiller = distiller.parse::<Distiller>();
            options.distiller = distiller.map_err(|error| anyhow!("distiller: {error}"))?;
        }
        set(&mut options.planner.trigger_tokens, self.trigger);
        set(&mut options.planner.recent_results, self.recent);
        ensure!(
            options.planner.trigger_tokens > 0,
            "[compress] trigger: it must be at least 1"
        );
        Ok(options)
    }
}
