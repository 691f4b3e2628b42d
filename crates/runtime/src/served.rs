//! The tiers that a runtime serves, whoever runs them.

use std::sync::Arc;
use std::time::Duration;

use agentinfer_engine::Device;
use agentinfer_memory::Segments;
use agentinfer_protocol::ModelCard;

use crate::remote::RemoteTier;
use crate::tier::ServedTier;
use crate::{AUTO, Drafts, RuntimeError, Tier, TierOptions, TierSource};

/// A tier: an engine of this process, or another server.
#[derive(Clone, Debug)]
pub(crate) enum Served {
    Engine(Arc<ServedTier>),
    Remote(Arc<RemoteTier>),
}

impl Served {
    /// Starts an engine on `device`; another server is not waited for.
    pub(crate) fn start(
        options: TierOptions,
        segments: Option<&Arc<Segments>>,
        device: &Device,
    ) -> Result<Self, RuntimeError> {
        let TierOptions { tier, name, .. } = &options;
        Ok(match &options.source {
            TierSource::Remote(remote) => {
                let remote = RemoteTier::start(*tier, name.clone(), remote.clone())?;
                Self::Remote(Arc::new(remote))
            }
            TierSource::Gguf(_) | TierSource::Sim => {
                Self::Engine(Arc::new(ServedTier::start(options, segments, device)?))
            }
        })
    }

    /// Its role.
    pub(crate) fn tier(&self) -> Tier {
        match self {
            Self::Engine(engine) => engine.tier,
            Self::Remote(remote) => remote.tier,
        }
    }

    /// The served model's name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Engine(engine) => &engine.name,
            Self::Remote(remote) => &remote.name,
        }
    }

    pub(crate) fn card(&self) -> ModelCard {
        match self {
            Self::Engine(engine) => engine.card(),
            Self::Remote(remote) => remote.card(),
        }
    }

    /// Its engine, for what only an engine of this process can do.
    ///
    /// # Errors
    /// [`RuntimeError::InvalidRequest`] where another server runs the model.
    pub(crate) fn engine(&self) -> Result<&Arc<ServedTier>, RuntimeError> {
        match self {
            Self::Engine(engine) => Ok(engine),
            Self::Remote(remote) => {
                let message = format!(
                    "'{}' is run by another server, which answers chats only. Ask that server \
                     itself, or name a model of this one.",
                    remote.name
                );
                Err(RuntimeError::invalid("model", "unsupported_value", message))
            }
        }
    }

    /// Its engine, if it has one.
    pub(crate) fn local(&self) -> Option<&Arc<ServedTier>> {
        match self {
            Self::Engine(engine) => Some(engine),
            Self::Remote(_) => None,
        }
    }

    /// The server that runs it, if another one does.
    pub(crate) fn remote(&self) -> Option<&Arc<RemoteTier>> {
        match self {
            Self::Engine(_) => None,
            Self::Remote(remote) => Some(remote),
        }
    }

    /// Accepts nothing more, serves what was accepted until `deadline` has passed, then fails the
    /// rest.
    pub(crate) async fn drain(&self, deadline: Duration) {
        match self {
            Self::Engine(engine) => engine.handle.drain(deadline).await,
            Self::Remote(remote) => remote.drain(deadline).await,
        }
    }
}

/// Puts the tiers into their order, the smallest first, and refuses contradictions.
pub(crate) fn check_tiers(tiers: &mut [TierOptions], corpus: bool) -> Result<(), RuntimeError> {
    let wrong = |message: String| Err(RuntimeError::Options(message));
    tiers.sort_by_key(|tier| tier.tier);
    if tiers.is_empty() {
        return wrong("no model to serve; give a small or a large one".to_owned());
    }
    for pair in tiers.windows(2) {
        if pair[0].tier == pair[1].tier {
            return wrong(format!(
                "two models are given for the {} tier",
                pair[0].tier
            ));
        }
        if pair[0].name == pair[1].name {
            return wrong(format!(
                "both tiers are named `{}`; rename one",
                pair[0].name
            ));
        }
    }
    if let Some(tier) = tiers.iter().find(|tier| tier.name.is_empty()) {
        return wrong(format!(
            "the {} tier has no name; requests need one",
            tier.tier
        ));
    }
    if let Some(tier) = tiers.iter().find(|tier| tier.name == AUTO) {
        return wrong(format!(
            "the {} tier is named `{AUTO}`, which is how requests leave the choice of a tier open; \
             rename it",
            tier.tier
        ));
    }
    let needs_corpus = |tier: &&TierOptions| tier.drafts == Drafts::Full;
    if let Some(tier) = tiers.iter().find(needs_corpus)
        && !corpus
    {
        return wrong(format!(
            "the {} tier is to draft from past sessions, and there is no folder to keep them \
             in; give one, or draft from its own session",
            tier.tier
        ));
    }
    Ok(())
}
