//! How many drafted tokens are verified, as configuration says it.

use std::fmt;
use std::str::FromStr;

/// Tokens drafted beside the one that is decoded in the paper's setting: N_propose = 4.
const PAPER_DRAFTED: usize = 3;

/// Most tokens that `fixed` may draft: as many as a whole step of the largest size that has a
/// measured time.
const MOST_FIXED: usize = 64;

/// How many drafted tokens are verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speculation {
    /// None: plain decoding.
    Off,
    /// AgentSAM as published: three for each sequence, none under load.
    Paper(PaperLimits),
    /// So many for each sequence, whatever they cost.
    Fixed(usize),
    /// As many as make the step generate more tokens per second, over the whole batch.
    #[default]
    Adaptive,
}

/// Where the paper's setting stops drafting. The paper names the thresholds and not their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaperLimits {
    /// Tokens of a sequence, above which it gets no draft.
    pub context: usize,
    /// Decoding sequences in a step, above which nobody gets a draft.
    pub batch: usize,
}

impl Default for PaperLimits {
    fn default() -> Self {
        Self {
            context: 32_768,
            batch: 8,
        }
    }
}

impl Speculation {
    /// Most tokens drafted for a sequence of `context` tokens in a step where `decodes` sequences
    /// decode.
    pub fn limit(self, context: usize, decodes: usize) -> usize {
        match self {
            Self::Off => 0,
            Self::Paper(limits) if context > limits.context || decodes > limits.batch => 0,
            Self::Paper(_) => PAPER_DRAFTED,
            Self::Fixed(tokens) => tokens,
            Self::Adaptive => usize::MAX,
        }
    }

    /// Whether tokens that a grammar forces are drafted; the paper knows none.
    pub fn drafts_forced(self) -> bool {
        matches!(self, Self::Fixed(_) | Self::Adaptive)
    }

    fn set(&mut self, name: &str, value: usize) -> Result<(), String> {
        match (self, name) {
            (Self::Fixed(_), "tokens") if !(1..=MOST_FIXED).contains(&value) => {
                return Err(format!("tokens: {value} is outside 1 to {MOST_FIXED}"));
            }
            (Self::Fixed(tokens), "tokens") => *tokens = value,
            (Self::Paper(limits), "context") => limits.context = value,
            (Self::Paper(limits), "batch") => limits.batch = value,
            (Self::Fixed(_), _) => {
                return Err(format!("{name:?} is no parameter; there is tokens"));
            }
            (Self::Paper(_), _) => {
                return Err(format!(
                    "{name:?} is no parameter; there are context, batch"
                ));
            }
            (other, _) => return Err(format!("\"{other}\" takes no parameters")),
        }
        Ok(())
    }
}

impl fmt::Display for Speculation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Adaptive => f.write_str("adaptive"),
            Self::Fixed(tokens) => write!(f, "fixed:tokens={tokens}"),
            Self::Paper(PaperLimits { context, batch }) => {
                write!(f, "paper:context={context}:batch={batch}")
            }
        }
    }
}

impl FromStr for Speculation {
    type Err = String;

    /// Reads `off`, `adaptive`, `paper` or `fixed`, with parameters if wanted: `fixed:tokens=4`,
    /// `paper:context=8192:batch=4`.
    ///
    /// # Errors
    /// With the names that there are, when the setting or a parameter is unknown, or the value is
    /// not a number that it may have.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let mut setting = match parts.next().unwrap_or_default() {
            "off" => Self::Off,
            "adaptive" => Self::Adaptive,
            "paper" => Self::Paper(PaperLimits::default()),
            "fixed" => Self::Fixed(PAPER_DRAFTED),
            name => {
                let names = "adaptive, paper, fixed, off";
                return Err(format!("{name:?} is no setting; there are {names}"));
            }
        };
        for parameter in parts {
            let Some((name, number)) = parameter.split_once('=') else {
                return Err(format!("{parameter:?} is not of the form NAME=NUMBER"));
            };
            let value = number.parse();
            let value = value.map_err(|_| format!("{name}: {number:?} is no whole number"))?;
            setting.set(name, value)?;
        }
        Ok(setting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_they_are_written() {
        for text in [
            "off",
            "adaptive",
            "fixed:tokens=4",
            "paper:context=100:batch=2",
        ] {
            let setting: Speculation = text.parse().expect(text);
            assert_eq!(setting.to_string(), text);
        }
        assert_eq!(
            "paper".parse(),
            Ok(Speculation::Paper(PaperLimits::default()))
        );
        assert_eq!("fixed".parse(), Ok(Speculation::Fixed(3)));
    }

    #[test]
    fn wrong_settings_are_explained() {
        for (text, word) in [
            ("on", "adaptive, paper"),
            ("off:tokens=1", "no parameters"),
            ("fixed:batch=1", "there is tokens"),
            ("fixed:tokens=0", "outside 1 to 64"),
            ("fixed:tokens=65", "outside 1 to 64"),
            ("paper:tokens=1", "context, batch"),
            ("paper:context", "NAME=NUMBER"),
            ("paper:batch=-1", "no whole number"),
        ] {
            let error = text.parse::<Speculation>().expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn limits_hold_under_load_and_in_long_contexts() {
        let paper: Speculation = "paper:context=100:batch=2".parse().expect("a setting");
        for (setting, context, decodes, expected) in [
            (Speculation::Off, 1, 1, 0),
            (Speculation::Fixed(5), 1000, 100, 5),
            (Speculation::Adaptive, 1000, 100, usize::MAX),
            (paper, 100, 2, 3),
            (paper, 101, 2, 0),
            (paper, 100, 3, 0),
        ] {
            assert_eq!(setting.limit(context, decodes), expected, "{setting}");
        }
    }
}
