//! In which way the agent works: flags that several commands share.

use agentinfer_agent::{AgentOptions, ConversationOptions, Style};
use anyhow::{Result, bail};

use crate::config::Switch;

/// The ways there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Name {
    /// Each step in a short prompt of its own.
    #[default]
    Steps,
    /// One growing conversation with tools.
    Conversation,
}

/// How the agent works in whichever way.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Ways {
    /// Have the smaller model, or the only one, look at the hits of a search by title and snippet,
    /// and read only those that it finds worth it.
    #[arg(long)]
    pub(crate) rank_hits: bool,
    /// Of the documents that the model reads at once, show it at most so many bytes: of each the
    /// beginning, and the sentences that have to do with the question [default: all].
    #[arg(long, value_name = "BYTES")]
    pub(crate) reading_bytes: Option<usize>,
}

impl Ways {
    /// The agent's options, as far as these flags set them.
    pub(crate) fn options(&self) -> AgentOptions {
        AgentOptions {
            rank: self.rank_hits,
            reading_bytes: self.reading_bytes,
            ..AgentOptions::default()
        }
    }
}

/// How the agent works.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How the agent works: in steps, each with a short prompt of its own, or in one growing
    /// conversation with tools, as most agents do.
    #[arg(
        long,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        value_name = "steps|conversation"
    )]
    style: Name,
    /// In a conversation: whether its older results may be served distilled, on or off [default: as
    /// the server is configured].
    #[arg(long, value_name = "on|off")]
    compress: Option<Switch>,
    #[command(flatten)]
    conversation: Conversation,
}

/// How it works in a conversation.
#[derive(Debug, clap::Args)]
pub(crate) struct Conversation {
    /// In a conversation: most completions, of which the last one must answer [default: 12].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    turns: Option<u32>,
    /// In a conversation: bytes of a document that are read, the passages that fit the question
    /// [default: 16384].
    #[arg(long = "page-bytes", value_name = "BYTES")]
    page_bytes: Option<usize>,
    /// In a conversation: offer the model the tool `memory_recall`, which gives the originals of
    /// distilled results back; for servers of this program.
    #[arg(long)]
    recall: bool,
}

impl Args {
    /// The way that was chosen.
    pub(crate) fn style(&self) -> Result<Style> {
        let conversation = ConversationOptions {
            compress: self.compress.map(|it| it == Switch::On),
            ..self.conversation.options()
        };
        match self.style {
            Name::Conversation => Ok(Style::Conversation(conversation)),
            Name::Steps if conversation == ConversationOptions::default() => Ok(Style::Steps),
            Name::Steps => bail!(
                "--turns, --page-bytes, --compress and --recall are for --style conversation; add \
                 it, or leave them out"
            ),
        }
    }
}

impl Conversation {
    /// With defaults where nothing is said.
    pub(crate) fn options(&self) -> ConversationOptions {
        let default = ConversationOptions::default();
        ConversationOptions {
            turns: self.turns.map_or(default.turns, |turns| turns as usize),
            page_bytes: self.page_bytes.unwrap_or(default.page_bytes),
            recall: self.recall,
            ..default
        }
    }
}
