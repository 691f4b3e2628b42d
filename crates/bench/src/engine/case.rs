//! What is measured.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Tokens of the prompt in `prefill_1`.
pub(super) const PROMPT_TOKENS: usize = 512;
/// Tokens generated in `decode_1`, and by every chat.
pub(super) const GENERATED_TOKENS: usize = 64;

/// One comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// Prompt tokens per second of one stream.
    Prefill1,
    /// Generated tokens per second of one stream.
    Decode1,
    /// Generated tokens per second of one chat over HTTP, its prefill included.
    Chats1,
    /// The same of 4 chats at once, over all of them.
    Chats4,
    /// The same of 8 chats at once, over all of them.
    Chats8,
    /// Seconds to the first token of a second turn, the first of which is resident.
    TtftResident,
    /// Seconds to the first token of a second turn, the first of which had to make room for other
    /// conversations.
    TtftEvicted,
    /// Decoded tokens per second and stream of agents that say again what they have read or said,
    /// one at a time.
    SpecAgent1,
    /// The same of 4 agents at once.
    SpecAgent4,
    /// The same of 8 agents at once.
    SpecAgent8,
    /// Decoded tokens per second of a story, which says nothing again.
    SpecNovel1,
    /// The same of 4 stories at once.
    SpecNovel4,
    /// The same of 8 stories at once.
    SpecNovel8,
}

impl Case {
    /// All cases, in the order in which they run.
    pub const ALL: [Self; 13] = [
        Self::Prefill1,
        Self::Decode1,
        Self::Chats1,
        Self::Chats4,
        Self::Chats8,
        Self::TtftResident,
        Self::TtftEvicted,
        Self::SpecAgent1,
        Self::SpecAgent4,
        Self::SpecAgent8,
        Self::SpecNovel1,
        Self::SpecNovel4,
        Self::SpecNovel8,
    ];

    /// The cases about speculation, or the others.
    pub fn about_speculation(wanted: bool) -> Vec<Self> {
        let all = Self::ALL.into_iter();
        all.filter(|case| case.is_speculation() == wanted).collect()
    }

    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prefill1 => "prefill_1",
            Self::Decode1 => "decode_1",
            Self::Chats1 => "chats_1",
            Self::Chats4 => "chats_4",
            Self::Chats8 => "chats_8",
            Self::TtftResident => "ttft_resident",
            Self::TtftEvicted => "ttft_evicted",
            Self::SpecAgent1 => "spec_agent_1",
            Self::SpecAgent4 => "spec_agent_4",
            Self::SpecAgent8 => "spec_agent_8",
            Self::SpecNovel1 => "spec_novel_1",
            Self::SpecNovel4 => "spec_novel_4",
            Self::SpecNovel8 => "spec_novel_8",
        }
    }

    /// The unit of its samples.
    pub fn unit(self) -> &'static str {
        match self {
            Self::TtftResident | Self::TtftEvicted => "s",
            _ => "tok/s",
        }
    }

    /// Whether a larger sample is a better one.
    pub fn more_is_better(self) -> bool {
        self.unit() != "s"
    }

    /// KV cells of the servers that it is measured on.
    pub(super) fn cells(self) -> u32 {
        match self {
            Self::TtftEvicted => 4096,
            // Eight agents' conversations, which no two slots of llama-server share, and no more:
            // a dozen servers have to fit into memory.
            _ if self.is_speculation() => 12_288,
            _ => 16_384,
        }
    }

    /// What tells the servers that it is measured on from those of other cases.
    pub(super) fn servers(self) -> (u32, bool) {
        (self.cells(), self.is_speculation())
    }

    /// Whether settings of speculation are compared.
    pub(super) fn is_speculation(self) -> bool {
        self >= Self::SpecAgent1
    }

    /// Whether all that is said is new, so that speculation can only cost time: what matters then
    /// is how much of ours, and peers are left out.
    pub(super) fn is_novel(self) -> bool {
        self >= Self::SpecNovel1
    }

    /// Whether it is measured through a server, and not in process.
    pub(super) fn is_served(self) -> bool {
        !matches!(self, Self::Prefill1 | Self::Decode1)
    }

    /// How many chats run at once.
    pub(super) fn chats(self) -> usize {
        match self {
            Self::Chats4 | Self::SpecAgent4 | Self::SpecNovel4 => 4,
            Self::Chats8 | Self::SpecAgent8 | Self::SpecNovel8 => 8,
            _ => 1,
        }
    }

    /// A seed of its own for every case and run, the same for all that are compared.
    pub(super) fn seed(self, run: u32) -> u64 {
        (u64::from(run) << 8) | self as u64
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|case| case.name() == name);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("there is no case `{name}`; choose from {known}")
        })
    }
}

impl Serialize for Case {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_lead_back_to_their_cases() {
        for case in Case::ALL {
            assert_eq!(case.name().parse(), Ok(case));
        }
        let error = "chats_9".parse::<Case>().unwrap_err();
        assert!(error.contains("chats_8"), "{error}");
    }

    #[test]
    fn no_two_runs_share_a_seed() {
        let runs = || (0..100).flat_map(|run| Case::ALL.map(|case| case.seed(run)));
        assert_eq!(runs().collect::<BTreeSet<_>>().len(), runs().count());
    }
}
