//! What is compared: our server with some of its modules, and peers.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::rows::Models;
use crate::BenchError;
use crate::program::command;
use crate::servers::{LlamaServer, SERVED_BEST, SPECULATING, ServerPlan};

/// Host memory of each server for cells that had to make room, in MiB: ours per model, for
/// llama-server its cache of prompts. The arms are loaded at the same time, so the defaults of
/// several gigabytes would not fit.
const OFFLOAD_MIB: &str = "1024";

/// One of the four modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Module {
    /// AgentCollab: a small and a large model share each question.
    Collab,
    /// AgentCompress: long conversations are served distilled.
    Compress,
    /// AgentSched: sessions are scheduled by residency, and evicted cells are kept in host memory.
    Sched,
    /// AgentSAM: drafts from this and from past sessions.
    Sam,
}

impl Module {
    /// All of them, and their names.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Collab, "collab"),
        (Self::Compress, "compress"),
        (Self::Sched, "sched"),
        (Self::Sam, "sam"),
    ];
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// Our server, with the large model.
    Large,
    /// Our server, with the small model.
    Small,
    /// llama-server with the large model and these of its settings.
    Peer(&'static [&'static str]),
    /// A server that runs already.
    Running,
}

/// One arm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    name: String,
    who: Who,
    modules: Vec<Module>,
}

/// What servers of all arms are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Programs<'a> {
    pub(super) agentinfer: &'a Path,
    pub(super) llama_server: Option<&'a Path>,
    pub(super) large: Option<&'a Path>,
    pub(super) small: Option<&'a Path>,
    pub(super) threads: u32,
    /// KV cells of each model.
    pub(super) cells: u32,
}

impl Arm {
    /// Reads a list of arms, separated by commas. An arm that begins with `+` has the modules of
    /// the one before and one more; it is named by all of them.
    ///
    /// # Errors
    /// [`BenchError::Option`] names what is no arm.
    pub fn list(text: &str) -> Result<Vec<Self>, BenchError> {
        let mut arms: Vec<Self> = Vec::new();
        for name in text.split(',').map(str::trim) {
            let arm = Self::parse(name, arms.last())?;
            if arms.iter().any(|other| other.name == arm.name) {
                return Err(wrong(format!("{name} is there twice")));
            }
            arms.push(arm);
        }
        Ok(arms)
    }

    fn parse(name: &str, before: Option<&Self>) -> Result<Self, BenchError> {
        let (who, modules) = match name {
            "large_only" => (Who::Large, Vec::new()),
            "small_only" => (Who::Small, Vec::new()),
            "full" => (Who::Large, Module::ALL.map(|(module, _)| module).to_vec()),
            "server" => (Who::Running, Vec::new()),
            _ if name.starts_with("llama-server") => (Who::Peer(peer(name)?), Vec::new()),
            _ => {
                let (known, more) = match name.strip_prefix('+') {
                    Some(more) => {
                        let before = before.filter(|before| before.who == Who::Large);
                        let known = before.map(|before| before.modules.clone());
                        let none = || wrong(format!("{name} adds to no arm of ours before it"));
                        (known.ok_or_else(none)?, more)
                    }
                    None => (Vec::new(), name),
                };
                let more = more.split('+').map(module);
                let mut modules = more.collect::<Result<Vec<_>, _>>()?;
                modules.extend(known);
                modules.sort_unstable();
                modules.dedup();
                (Who::Large, modules)
            }
        };
        let name = match name.starts_with('+') {
            true => joined(&modules),
            false => name.to_owned(),
        };
        Ok(Self { name, who, modules })
    }

    /// Its name in reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The modules that are on.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Whether a module is on.
    pub(super) fn has(&self, module: Module) -> bool {
        self.modules.contains(&module)
    }

    /// The program whose arm it is, where that is not ours.
    pub(crate) fn peer(&self) -> Option<&'static str> {
        match self.who {
            Who::Peer(_) => Some("llama-server"),
            Who::Running => Some("server"),
            Who::Large | Who::Small => None,
        }
    }

    /// The models that it asks.
    pub(super) fn models(&self) -> Models {
        match self.who {
            Who::Small => Models::Small,
            _ if self.has(Module::Collab) => Models::Both,
            _ => Models::Large,
        }
    }

    /// Whether it needs the small model.
    pub fn needs_small(&self) -> bool {
        self.who == Who::Small || self.has(Module::Collab)
    }

    /// Whether it needs the large model's file.
    pub fn needs_large(&self) -> bool {
        matches!(self.who, Who::Large | Who::Peer(_))
    }

    /// Whether it asks a server that runs already.
    pub fn is_running(&self) -> bool {
        self.who == Who::Running
    }

    /// The model that is asked, where AgentCollab does not choose.
    pub(super) fn model(&self) -> &'static str {
        match self.who {
            Who::Small => "small",
            // llama-server answers with its model, whatever it is called.
            _ => "large",
        }
    }

    /// Its server, for so many sessions at a time; none for a server that runs already.
    pub(super) fn plan(
        &self,
        programs: &Programs<'_>,
        sessions: usize,
    ) -> Result<Option<ServerPlan>, BenchError> {
        match self.who {
            Who::Running => Ok(None),
            Who::Peer(settings) => {
                let program = programs
                    .llama_server
                    .ok_or_else(|| wrong(format!("{} needs --llama-server", self.name)))?;
                let peer = LlamaServer {
                    program,
                    model: self.large(programs)?,
                    threads: programs.threads,
                    cells: programs.cells,
                    parallel: sessions,
                };
                let plan = peer.plan(&self.name, settings, &["--cache-ram", OFFLOAD_MIB]);
                plan.map(Some)
            }
            Who::Large | Who::Small => self.ours(programs, sessions).map(Some),
        }
    }

    fn large<'a>(&self, programs: &Programs<'a>) -> Result<&'a Path, BenchError> {
        let missing = || wrong(format!("{} needs --large", self.name));
        programs.large.ok_or_else(missing)
    }

    fn ours(&self, programs: &Programs<'_>, sessions: usize) -> Result<ServerPlan, BenchError> {
        let small = || {
            let missing = || wrong(format!("{} needs --small", self.name));
            programs.small.ok_or_else(missing)
        };
        let either = |module, on, off| if self.has(module) { on } else { off };
        let mut arguments = vec![
            ("--cells", programs.cells.to_string()),
            ("--threads", programs.threads.to_string()),
            (
                "--policy",
                either(Module::Sched, "agent", "fcfs").to_owned(),
            ),
            (
                "--offload-mib",
                either(Module::Sched, OFFLOAD_MIB, "0").to_owned(),
            ),
            ("--spec", either(Module::Sam, "full", "off").to_owned()),
            (
                "--compress",
                either(Module::Compress, "on", "off").to_owned(),
            ),
            ("--parallel", sessions.to_string()),
        ];
        let path = |path: &Path| path.to_string_lossy().into_owned();
        if self.who == Who::Small {
            arguments.push(("--small", path(small()?)));
        } else {
            arguments.push(("--large", path(self.large(programs)?)));
        }
        if self.has(Module::Collab) {
            arguments.push(("--small", path(small()?)));
        }
        let plan = ServerPlan::new(&self.name, command(programs.agentinfer), |command| {
            command.arg("serve");
            for (flag, value) in arguments {
                command.args([flag, &value]);
            }
        })?;
        match self.has(Module::Sam) {
            true => plan.with_corpus(),
            false => Ok(plan),
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

/// The name of an arm with these modules.
fn joined(modules: &[Module]) -> String {
    let names = Module::ALL.iter();
    let names = names.filter(|(module, _)| modules.contains(module));
    let names: Vec<&str> = names.map(|(_, name)| *name).collect();
    names.join("+")
}

fn module(name: &str) -> Result<Module, BenchError> {
    let known = Module::ALL.iter().find(|(_, known)| *known == name);
    known.map(|(module, _)| *module).ok_or_else(|| {
        wrong(format!(
            "{name:?} is none; there are large_only, small_only, the modules collab, compress, \
             sched and sam, alone or joined as in collab+sam, +MODULE for one more than the arm \
             before, full, llama-server, llama-server:SETTING and server"
        ))
    })
}

/// The settings of llama-server by the name of an arm.
fn peer(name: &str) -> Result<&'static [&'static str], BenchError> {
    let all = || SERVED_BEST.iter().chain(&SPECULATING);
    let found = all().find(|(arm, _)| *arm == name);
    found.map(|(_, settings)| *settings).ok_or_else(|| {
        let names = all().filter_map(|(arm, _)| arm.split_once(':'));
        let names: Vec<&str> = names.map(|(_, setting)| setting).collect();
        wrong(format!(
            "{name}: llama-server has the settings {}",
            names.join(", ")
        ))
    })
}

fn wrong(message: String) -> BenchError {
    BenchError::Option {
        field: "--arms",
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs() -> Programs<'static> {
        Programs {
            agentinfer: Path::new("agentinfer"),
            llama_server: Some(Path::new("/opt/llama-server")),
            large: Some(Path::new("large.gguf")),
            small: Some(Path::new("small.gguf")),
            threads: 2,
            cells: 4096,
        }
    }

    fn typed(arm: &Arm) -> String {
        let plan = arm.plan(&programs(), 4).expect("a plan");
        plan.expect("a server of its own").typed()
    }

    #[test]
    fn arms_add_up() {
        let arms = Arm::list("large_only,collab,+compress,+sched,full,sched+sam").expect("arms");
        let counts: Vec<usize> = arms.iter().map(|arm| arm.modules().len()).collect();
        assert_eq!(counts, [0, 1, 2, 3, 4, 2]);
        assert_eq!(arms[2].name(), "collab+compress");
        assert_eq!(
            arms[3].modules(),
            [Module::Collab, Module::Compress, Module::Sched]
        );
        for (text, said) in [
            ("large", "there are large_only"),
            ("+sam", "adds to no arm"),
            ("llama-server,+sam", "adds to no arm"),
            ("sam,sam", "twice"),
            ("sam,collab,collab+sam,collab,+sam", "twice"),
            ("llama-server:fast", "ngram-simple"),
            ("", "is none"),
        ] {
            let error = Arm::list(text).expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_module_that_is_off_is_off_in_the_server_too() {
        let arms = Arm::list("large_only,full,small_only,collab").expect("arms");
        let [plain, full, small, collab] = &arms[..] else {
            panic!("four arms");
        };
        let plain = typed(plain);
        for off in [
            "--policy fcfs",
            "--offload-mib 0",
            "--spec off",
            "--compress off",
        ] {
            assert!(plain.contains(off), "{plain}");
        }
        assert!(!plain.contains("small.gguf"), "{plain}");
        let full = typed(full);
        for on in [
            "--policy agent",
            "--spec full",
            "--corpus-dir",
            "--compress on",
            "--small small.gguf",
            "--large large.gguf",
        ] {
            assert!(full.contains(on), "{full}");
        }
        assert!(!typed(small).contains("large.gguf"));
        assert!(typed(collab).contains("--spec off"));
    }

    #[test]
    fn peers_get_the_same_sizes_and_what_is_missing_is_named() {
        let arms = Arm::list("llama-server,llama-server:ngram-simple-short,server,collab");
        let arms = arms.expect("arms");
        let typed = typed(&arms[1]);
        for part in ["large.gguf", "-c 4096", "-np 4", "ngram-simple"] {
            assert!(typed.contains(part), "{typed}");
        }
        assert!(arms[2].plan(&programs(), 4).expect("a plan").is_none());
        let poor = Programs {
            llama_server: None,
            small: None,
            ..programs()
        };
        for (arm, needs) in [(&arms[0], "--llama-server"), (&arms[3], "--small")] {
            let error = arm.plan(&poor, 4).expect_err(needs).to_string();
            assert!(error.contains(needs), "{error}");
        }
    }
}
