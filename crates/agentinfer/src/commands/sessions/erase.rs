//! `agentinfer sessions erase`: nothing is left of a session.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentinfer_memory::{MemoryError, Namespace, Reader, Segments, Store, StoreLimits};
use anyhow::{Context, Result, bail};
use fs4::fs_std::FileExt;
use serde_json::json;

use super::Place;
use crate::config::Raw;
use crate::output;

/// A store that is only erased from evicts nothing.
const UNLIMITED: StoreLimits = StoreLimits {
    bytes: u64::MAX,
    age: Duration::MAX,
};

/// Erase a session, or all of a tenant, so that no byte of it is left.
///
/// What was said is taken out of the folder of sessions. From --corpus-dir the session's tokens are
/// taken, or those of all sessions of its tenant if it is not known which are its own. The KV cells
/// in --offload-dir cannot be told apart by session: all are removed, to be computed again when
/// they are needed. No server may use these folders meanwhile.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    agentinfer sessions erase ID --config agentinfer.toml\n  \
    agentinfer sessions erase --tenant 3f9a --memory-dir memory --corpus-dir corpus --yes")]
pub(crate) struct Args {
    /// The session: its id, or what its client calls it. Without one all of --tenant is erased.
    #[arg(value_name = "ID", required_unless_present = "tenant")]
    session: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Folder of the tokens of past sessions [default: that of the configuration file].
    #[arg(long, env = "AGENTINFER_CORPUS_DIR", value_name = "DIR")]
    corpus_dir: Option<PathBuf>,
    /// Folder of KV cells [default: that of the configuration file].
    #[arg(long, env = "AGENTINFER_OFFLOAD_DIR", value_name = "DIR")]
    offload_dir: Option<PathBuf>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Write JSON: `{"sessions", "past_sessions", "cell_bytes"}`.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let below = Raw::from_file(args.place.config.as_deref())?;
    let folder = args.place.folder(&below)?;
    // Who mistypes the folder must not find a new, empty store in it.
    let target = target(&args, &Reader::open(&folder)?)?;
    // All that is needed is taken before anything is erased.
    let store = alone(Store::open(&folder, UNLIMITED))?;
    let corpus = args.corpus_dir.or(below.engine.corpus_dir);
    let segments = corpus.filter(|folder| folder.is_dir());
    let segments = segments.map(|folder| alone(Segments::open(&folder, u64::MAX)));
    let segments = segments.transpose()?;
    let cells = args.offload_dir.or(below.engine.offload_dir);
    let cells = cells.map(|folder| Cells::take(&folder)).transpose()?;
    if !args.yes && !agreed(&target)? {
        output::note("nothing was erased");
        return Ok(());
    }
    // The store last: it knows what is to be erased from the others, should one of them fail.
    let past_sessions = segments
        .map(|it| target.erase_past(&store, &it))
        .transpose()?;
    let cell_bytes = cells.map(|cells| cells.remove()).transpose()?;
    let erased = match &target.session {
        Some(session) => store.erase(target.tenant, session)?,
        None => store.erase_tenant(target.tenant)?,
    };
    let (past, bytes) = (past_sessions.unwrap_or(0), cell_bytes.unwrap_or(0));
    if args.json {
        return output::json(
            &json!({"sessions": erased.sessions, "past_sessions": past, "cell_bytes": bytes}),
        );
    }
    output::line(format_args!(
        "erased: {} sessions, the tokens of {past} past ones, {bytes} bytes of KV cells",
        erased.sessions
    ))
}

/// What is to be erased.
struct Target {
    tenant: u64,
    /// All of the tenant where none is named.
    session: Option<String>,
}

fn target(args: &Args, reader: &Reader) -> Result<Target> {
    match (&args.session, args.place.tenant) {
        (Some(name), _) => {
            let session = args.place.session(reader, name)?;
            Ok(Target {
                tenant: session.tenant,
                session: Some(session.id),
            })
        }
        (None, Some(tenant)) => Ok(Target {
            tenant,
            session: None,
        }),
        (None, None) => bail!("which session? Give its id, or --tenant"),
    }
}

impl Target {
    /// Erases it from the tokens of past sessions; returns of how many.
    fn erase_past(&self, store: &Store, segments: &Segments) -> Result<u64> {
        let keys = match &self.session {
            Some(session) => store.reader().segments(self.tenant, session)?,
            None => Vec::new(),
        };
        if keys.is_empty() {
            return Ok(segments.erase_tenant(self.tenant)?);
        }
        let mut erased = 0;
        for key in keys {
            let namespace = Namespace {
                tenant: self.tenant,
                tokenizer: key.tokenizer,
            };
            erased += segments.erase(namespace, &[key.key])?;
        }
        Ok(erased)
    }
}

/// Asks on the terminal.
fn agreed(target: &Target) -> Result<bool> {
    let what = match &target.session {
        Some(session) => format!("session {session}"),
        None => format!("all that is known of tenant {:x}", target.tenant),
    };
    if !io::stdin().is_terminal() {
        bail!("this erases {what} for good; give --yes to do so");
    }
    output::note(&format!("Erase {what} for good? [y/N]"));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Says what to do where a store is in use.
fn alone<T>(opened: Result<T, MemoryError>) -> Result<T> {
    match opened {
        Err(MemoryError::InUse { folder }) => Err(in_use(&folder)),
        opened => Ok(opened?),
    }
}

fn in_use(folder: &Path) -> anyhow::Error {
    let folder = folder.display();
    anyhow::anyhow!("{folder} is in use; stop the server that uses it, then erase again")
}

/// The folders of KV cells of all models, with their locks.
struct Cells(Vec<(PathBuf, File)>);

impl Cells {
    fn take(folder: &Path) -> Result<Self> {
        let mut taken = Vec::new();
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let home = entry?.path();
            // What has no lock was not made by a server.
            let Ok(lock) = File::open(home.join("lock")) else {
                continue;
            };
            if !FileExt::try_lock_exclusive(&lock)? {
                return Err(in_use(folder));
            }
            taken.push((home, lock));
        }
        Ok(Self(taken))
    }

    /// Removes the cells and returns how many bytes they had.
    fn remove(self) -> Result<u64> {
        let mut bytes = 0;
        for (home, _lock) in self.0 {
            for entry in fs::read_dir(&home)? {
                let path = entry?.path();
                let ending = path.extension().and_then(|ending| ending.to_str());
                if matches!(ending, Some("kv" | "part")) {
                    bytes += fs::metadata(&path)?.len();
                    let removed = fs::remove_file(&path);
                    removed.with_context(|| format!("cannot remove {}", path.display()))?;
                }
            }
        }
        Ok(bytes)
    }
}
