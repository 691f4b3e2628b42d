//! What is known of the small model, by tenant, and the file that keeps it between runs.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use agentinfer_collab::Competence;
use agentinfer_memory::{Record, Store};
use serde::{Deserialize, Serialize};

use crate::RuntimeError;

/// Tenants of whom something is known: more than a server has API keys. Each takes at most some
/// fifty kilobytes; of more, the one that came first is forgotten.
const MAX_TENANTS: usize = 256;

/// Number of the file's format. It changes with the features that competence is learned by.
const FORMAT: u32 = 1;

/// What is known of the small model for each tenant, as it is kept in a file between runs.
#[derive(Clone, Debug, Default)]
pub struct Competences {
    /// The tenant that came first first.
    tenants: VecDeque<(u64, Competence)>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    format: u32,
    tenants: VecDeque<(u64, Competence)>,
}

impl Competences {
    /// What is known for a tenant.
    pub fn of(&mut self, tenant: u64) -> &mut Competence {
        let known = self.tenants.iter().position(|(other, _)| *other == tenant);
        let at = known.unwrap_or_else(|| {
            if self.tenants.len() >= MAX_TENANTS {
                self.tenants.pop_front();
            }
            self.tenants.push_back((tenant, Competence::default()));
            self.tenants.len() - 1
        });
        &mut self.tenants[at].1
    }

    /// How well it tells good steps from bad, for the tenant with the most that are known.
    pub(crate) fn auc(&self) -> Option<(f64, usize)> {
        let known = self.tenants.iter().filter_map(|(_, known)| known.auc());
        known.max_by_key(|(_, steps)| *steps)
    }

    /// Reads what was written; nothing is known where there is no file.
    ///
    /// # Errors
    /// For a file that cannot be read, or is not one of these: it is not to be written over.
    pub fn read(path: &Path) -> Result<Self, RuntimeError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unusable(path, &error.to_string())),
        };
        let kept: Kept = serde_json::from_slice(&text)
            .map_err(|error| unusable(path, &format!("it was not written by this: {error}")))?;
        if kept.format != FORMAT {
            let message = format!("its format is {}, not {FORMAT}", kept.format);
            return Err(unusable(path, &message));
        }
        Ok(Self {
            tenants: kept.tenants,
        })
    }

    /// What a store has of a pair of models. What cannot be read is learned anew.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn stored(store: &Store, pair: &str) -> Result<Self, RuntimeError> {
        let mut all = Self::default();
        for (tenant, json) in store.reader().competences(pair)? {
            match serde_json::from_str::<(u32, Competence)>(&json) {
                Ok((FORMAT, competence)) => *all.of(tenant) = competence,
                _ => tracing::warn!(pair, "what is known of the small model is of another form"),
            }
        }
        Ok(all)
    }

    /// Hands it to a store.
    pub(crate) fn store(self, store: &Store, pair: &str) {
        for (tenant, competence) in self.tenants {
            // It has no keys that are not text and no numbers that JSON lacks.
            let json = serde_json::to_string(&(FORMAT, competence)).unwrap_or_default();
            store.write(Record::Competence {
                tenant,
                pair: pair.to_owned(),
                json,
            });
        }
    }

    /// Writes it beside the file, then in its place: whatever ends the process, there is a whole
    /// file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(self, path: &Path) -> Result<(), RuntimeError> {
        let kept = Kept {
            format: FORMAT,
            tenants: self.tenants,
        };
        let write = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut beside = path.as_os_str().to_owned();
            beside.push(".partial");
            let mut file = File::create(&beside)?;
            file.write_all(&serde_json::to_vec(&kept)?)?;
            file.sync_all()?;
            fs::rename(&beside, path)
        };
        write().map_err(|error: io::Error| unusable(path, &error.to_string()))
    }
}

fn unusable(path: &Path, message: &str) -> RuntimeError {
    RuntimeError::Competence {
        path: path.to_owned(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentinfer_collab::Outcome;
    use agentinfer_memory::StoreLimits;

    use super::*;

    #[test]
    fn what_is_known_is_read_again_and_other_files_are_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/competence.json");
        let mut known = Competences::read(&path).expect("none is no error");
        for tenant in [0, u64::MAX] {
            for same in [true, false] {
                known.of(tenant).learn("tools", &Outcome::default(), same);
            }
        }
        let p = |known: &mut Competences, tenant| {
            known.of(tenant).probability("tools", &Outcome::default())
        };
        let expected = p(&mut known, u64::MAX);
        known.clone().write(&path).expect("written");
        known.write(&path).expect("written again");
        let mut again = Competences::read(&path).expect("read");
        assert!((p(&mut again, u64::MAX) - expected).abs() < 1e-9);
        assert_eq!(again.auc().map(|(_, steps)| steps), Some(2));
        assert_eq!(
            fs::read_dir(folder.path().join("new"))
                .expect("a folder")
                .count(),
            1
        );
        for (text, says) in [
            ("my notes", "was not written by this"),
            (r#"{"format": 0, "tenants": []}"#, "its format is 0, not 1"),
        ] {
            fs::write(&path, text).expect("written");
            let error = Competences::read(&path).expect_err(text).to_string();
            assert!(
                error.contains(says) && error.contains("competence.json"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_store_keeps_it_by_pair_and_tenant() {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = StoreLimits {
            bytes: 16 << 20,
            age: Duration::from_secs(3600),
        };
        let store = Store::open(folder.path(), limits).expect("opens");
        let mut known = Competences::default();
        known.of(7).learn("tools", &Outcome::default(), false);
        let p = |known: &mut Competences| known.of(7).probability("tools", &Outcome::default());
        let expected = p(&mut known);
        known.store(&store, "a and b");
        store.write(Record::Competence {
            tenant: 8,
            pair: "a and b".to_owned(),
            json: "[0, {}]".to_owned(),
        });
        store.settle();
        let mut again = Competences::stored(&store, "a and b").expect("read");
        assert!((p(&mut again) - expected).abs() < 1e-9);
        assert_eq!(again.tenants.len(), 1, "that of another form is left out");
        let other = Competences::stored(&store, "a and c").expect("read");
        assert!(other.tenants.is_empty());
    }

    #[test]
    fn tenants_are_bounded() {
        let mut known = Competences::default();
        (0..2 * MAX_TENANTS as u64).for_each(|tenant| {
            known.of(tenant);
        });
        assert_eq!(known.tenants.len(), MAX_TENANTS);
    }
}
