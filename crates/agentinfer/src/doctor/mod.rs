//! What `agentinfer doctor` looks at.

mod cpu;
mod machine;

use agentinfer_models::{ModelsError, Status, Store, TierHint, catalog};
use serde::Serialize;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) check: String,
    /// How it is.
    pub(crate) level: Level,
    /// What was found.
    pub(crate) found: String,
    /// What to do, where something should be done.
    pub(crate) fix: Option<String>,
}

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Works, but not as well as it could.
    Warn,
    /// Must be fixed.
    Fail,
}

impl Level {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

impl Finding {
    fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            level: Level::Ok,
            found: found.into(),
            fix: None,
        }
    }

    fn warn(check: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            level: Level::Warn,
            fix: Some(fix.into()),
            ..Self::ok(check, found)
        }
    }

    fn fail(check: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            level: Level::Fail,
            fix: Some(fix.into()),
            ..Self::ok(check, found)
        }
    }
}

/// Looks at everything.
pub(crate) fn examine() -> Vec<Finding> {
    let mut findings = vec![profile(), cpu::features(), cpu::llama(), cpu::gpu()];
    findings.extend([machine::cores(), machine::memory()]);
    match Store::of_user() {
        Ok(store) => {
            findings.push(machine::disk(store.dir()));
            findings.extend(models(&store));
        }
        Err(error) => findings.push(Finding::fail("models", "no store", error.to_string())),
    }
    findings.extend(machine::tools());
    findings
}

fn profile() -> Finding {
    if cfg!(debug_assertions) {
        let fix = "rebuild with `make build`";
        return Finding::warn("build", "not optimised (a debug build)", fix);
    }
    Finding::ok(
        "build",
        format!("{} {}, optimised", env!("CARGO_PKG_VERSION"), target()),
    )
}

fn target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

fn models(store: &Store) -> Vec<Finding> {
    let one = |entry: &agentinfer_models::ModelEntry| {
        let check = format!("model {}", entry.name);
        let pull = format!("agentinfer models pull {}", entry.name);
        match (store.status(entry), store.verify(entry)) {
            (_, Ok(())) => Finding::ok(check, "installed, SHA-256 verified"),
            // Only tests need it.
            (Status::Missing, _) if entry.tier == TierHint::Test => {
                Finding::ok(check, "not installed (only tests need it)")
            }
            (Status::Missing, _) => Finding::warn(check, "not installed", pull),
            (_, Err(ModelsError::Damaged { detail, .. })) => Finding::fail(check, detail, pull),
            (_, Err(error)) => Finding::fail(check, error.to_string(), pull),
        }
    };
    catalog().iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_missing_damaged_or_optional() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path());
        let levels = |store: &Store| models(store).iter().map(|it| it.level).collect::<Vec<_>>();
        assert_eq!(levels(&store), [Level::Ok, Level::Warn, Level::Warn]);
        std::fs::write(store.path(&catalog()[1]), "GGUF").unwrap();
        assert_eq!(levels(&store), [Level::Ok, Level::Fail, Level::Warn]);
    }
}
