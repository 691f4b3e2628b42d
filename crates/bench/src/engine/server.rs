//! Servers that are measured, each a process of its own.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::{NamedTempFile, TempDir};
use tokio::process::{Child, Command};

use super::results::OURS;
use super::speculation::{FULL, SETTINGS};
use crate::BenchError;
use crate::program::{as_typed, command, peer_command, tail};

/// llama-server as it is served best: one pool of cells for as many chats as run at once, flash
/// attention, and everything that keeps prompts. Its cache of prompts in main memory copies slots
/// away and back, which helps some loads and delays others; so it is measured with and without.
const PEER_SETTINGS: [(&str, &[&str]); 2] = [
    ("llama-server", &[]),
    ("llama-server:cache-ram=0", &["--cache-ram", "0"]),
];

/// llama-server with each of its types of speculation that need no second model, as they are by
/// default: made for machines on which a long draft costs little. So besides `ngram-mod`, which
/// drafts no less than 48 tokens, and `ngram-simple`, which drafts 48 whatever their chances, there
/// are shorter ones; `ngram-map-k4v` is as its documentation shows it.
const PEER_SPECULATION: [(&str, &[&str]); 8] = [
    ("llama-server", &[]),
    ("llama-server:ngram-cache", &["--spec-type", "ngram-cache"]),
    (
        "llama-server:ngram-simple",
        &["--spec-type", "ngram-simple"],
    ),
    (
        "llama-server:ngram-simple-short",
        &[
            "--spec-type",
            "ngram-simple",
            "--spec-ngram-simple-size-n",
            "8",
            "--spec-ngram-simple-size-m",
            "8",
        ],
    ),
    ("llama-server:ngram-map-k", &["--spec-type", "ngram-map-k"]),
    (
        "llama-server:ngram-map-k4v",
        &[
            "--spec-type",
            "ngram-map-k4v",
            "--spec-ngram-map-k4v-size-n",
            "8",
            "--spec-ngram-map-k4v-size-m",
            "8",
            "--spec-ngram-map-k4v-min-hits",
            "2",
        ],
    ),
    ("llama-server:ngram-mod", &["--spec-type", "ngram-mod"]),
    (
        "llama-server:ngram-mod-short",
        &[
            "--spec-type",
            "ngram-mod",
            "--spec-ngram-mod-n-match",
            "8",
            "--spec-ngram-mod-n-min",
            "2",
            "--spec-ngram-mod-n-max",
            "16",
        ],
    ),
];

/// Longest wait until a server is ready: it reads some gigabytes, perhaps from a slow disk.
const READY_DEADLINE: Duration = Duration::from_secs(300);
/// Time between two looks at whether a server is ready.
const READY_POLL: Duration = Duration::from_millis(50);

/// `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A server that has not been started.
#[derive(Debug)]
pub(super) struct ServerPlan {
    pub(super) arm: &'static str,
    command: Command,
    url: String,
    /// Where it keeps what past sessions said; goes with it.
    corpus: Option<TempDir>,
}

/// A running server; dropping it kills it.
#[derive(Debug)]
pub(super) struct ServerProcess {
    /// The arm's name.
    pub(super) arm: &'static str,
    /// Its address, without a path.
    pub(super) url: String,
    /// Its command line.
    pub(super) typed: String,
    child: Child,
    log: NamedTempFile,
    /// Lives as long as the server does.
    _corpus: Option<TempDir>,
}

/// What servers are made of: which programs, and the same sizes for all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Programs<'a> {
    pub(super) agentinfer: &'a Path,
    /// Without it there are only ours.
    pub(super) llama_server: Option<&'a Path>,
    pub(super) model: &'a Path,
    pub(super) threads: u32,
    /// KV cells of each.
    pub(super) cells: u32,
}

impl Programs<'_> {
    /// The servers to compare, ours first.
    pub(super) fn plan(&self) -> Result<Vec<ServerPlan>, BenchError> {
        let mut plans = vec![self.ours(OURS, |_| {})?];
        plans.extend(self.peers(&PEER_SETTINGS, &[])?);
        Ok(plans)
    }

    /// The servers to compare by their speculation, ours first.
    pub(super) fn with_speculation(&self) -> Result<Vec<ServerPlan>, BenchError> {
        let mut plans = Vec::new();
        for (arm, drafts) in SETTINGS {
            let folder = tempfile::tempdir();
            let corpus = folder.map_err(|error| failed(arm, error.to_string()))?;
            let mut plan = self.ours(arm, |command| {
                command.args(["--spec", drafts, "--offload-mib", "0"]);
                if arm == FULL {
                    command.arg("--corpus-dir").arg(corpus.path());
                }
            })?;
            plan.corpus = Some(corpus);
            plans.push(plan);
        }
        plans.extend(self.peers(&PEER_SPECULATION, &["--cache-ram", "0"])?);
        Ok(plans)
    }

    fn ours(
        &self,
        arm: &'static str,
        settings: impl FnOnce(&mut Command),
    ) -> Result<ServerPlan, BenchError> {
        ServerPlan::new(arm, command(self.agentinfer), |command| {
            command.args(["serve", "--large"]).arg(self.model);
            command.args(["--cells", &self.cells.to_string()]);
            command.args(["--threads", &self.threads.to_string()]);
            settings(command);
        })
    }

    /// llama-server with each of the settings, and with what is `common` to all.
    fn peers(
        &self,
        settings: &[(&'static str, &[&str])],
        common: &[&str],
    ) -> Result<Vec<ServerPlan>, BenchError> {
        let Some(program) = self.llama_server else {
            return Ok(Vec::new());
        };
        let (cells, threads) = (self.cells.to_string(), self.threads.to_string());
        let plan = |&(arm, settings): &(&'static str, &[&str])| {
            ServerPlan::new(arm, peer_command(program), |command| {
                command.arg("-m").arg(self.model);
                command.args(["-c", &cells, "-np", "8", "--kv-unified"]);
                command.args(["-t", &threads, "-tb", &threads]);
                command.args(["-fa", "on", "-ub", "512", "--cache-reuse", "256"]);
                command.args(common).args(settings);
            })
        };
        settings.iter().map(plan).collect()
    }
}

impl ServerPlan {
    fn new(
        arm: &'static str,
        mut command: Command,
        arguments: impl FnOnce(&mut Command),
    ) -> Result<Self, BenchError> {
        let port = free_port().map_err(|error| failed(arm, format!("no free port: {error}")))?;
        arguments(&mut command);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        Ok(Self {
            arm,
            command,
            url: format!("http://127.0.0.1:{port}"),
            corpus: None,
        })
    }

    /// Starts the server and waits until it has loaded its model.
    pub(super) async fn start(
        mut self,
        client: &reqwest::Client,
    ) -> Result<ServerProcess, BenchError> {
        let arm = self.arm;
        let impossible = |error: std::io::Error| failed(arm, error.to_string());
        // A file and not a pipe: nobody needs to read it for the server to go on.
        let log = NamedTempFile::new().map_err(impossible)?;
        self.command.stdout(log.reopen().map_err(impossible)?);
        self.command.stderr(log.reopen().map_err(impossible)?);
        let typed = as_typed(&self.command);
        let child = self.command.spawn().map_err(impossible)?;
        let mut server = ServerProcess {
            arm,
            url: self.url,
            typed,
            child,
            log,
            _corpus: self.corpus,
        };
        let begun = Instant::now();
        while !server.is_ready(client).await {
            let ended = server.child.try_wait().map_err(impossible)?;
            let problem = match ended {
                Some(status) => format!("it ended ({status}) before it was ready"),
                None if begun.elapsed() > READY_DEADLINE => "it does not become ready".to_owned(),
                None => {
                    tokio::time::sleep(READY_POLL).await;
                    continue;
                }
            };
            return Err(server.failure(&problem));
        }
        Ok(server)
    }
}

impl ServerProcess {
    async fn is_ready(&self, client: &reqwest::Client) -> bool {
        let answer = client.get(format!("{}/health", self.url)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Ends the server, and waits until it has ended.
    pub(super) async fn stop(mut self) -> Result<(), BenchError> {
        let ended = self.child.kill().await;
        ended.map_err(|error| failed(self.arm, format!("it cannot be ended: {error}")))
    }

    /// A problem with the server, and the last that it said itself.
    pub(super) fn failure(&self, problem: &str) -> BenchError {
        let said = std::fs::read(self.log.path()).unwrap_or_default();
        let said = tail(&String::from_utf8_lossy(&said));
        failed(self.arm, format!("{problem}; it said last:\n{said}"))
    }

    /// Processor time used so far, over all cores; absent where the system does not say.
    pub(super) fn cpu_seconds(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()?)).ok()?;
        cpu_seconds(&stat)
    }
}

/// User and system time in a line of `/proc/PID/stat`.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The program's name, in parentheses, may hold anything; the fields after it are numbers.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn failed(arm: &str, message: String) -> BenchError {
    BenchError::Program {
        program: arm.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_past_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 99 0 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
        let ours = std::fs::read_to_string("/proc/self/stat");
        if let Ok(stat) = ours {
            assert!(cpu_seconds(&stat).is_some(), "{stat}");
        }
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_says_why() {
        let shell = |script: &str| {
            let plan = ServerPlan::new("peer", command(Path::new("/bin/sh")), |command| {
                command.args(["-c", script]);
            });
            plan.unwrap()
        };
        let client = reqwest::Client::new();
        let error = shell("echo no such model >&2; exit 3").start(&client).await;
        let said = error.unwrap_err().to_string();
        assert!(
            said.contains("no such model") && said.contains('3'),
            "{said}"
        );
        let missing = ServerPlan::new("peer", command(Path::new("/nonexistent")), |_| {});
        let error = missing.unwrap().start(&client).await.unwrap_err();
        assert!(error.to_string().starts_with("peer failed"), "{error}");
    }

    #[test]
    fn ours_and_every_setting_of_the_peer_get_the_same_sizes() {
        let programs = Programs {
            agentinfer: Path::new("agentinfer"),
            llama_server: Some(Path::new("/opt/llama-server")),
            model: Path::new("m.gguf"),
            threads: 3,
            cells: 512,
        };
        let plans = programs.plan().unwrap();
        let arms: Vec<&str> = plans.iter().map(|plan| plan.arm).collect();
        assert_eq!(
            arms,
            ["agentinfer", "llama-server", "llama-server:cache-ram=0"]
        );
        let speculating = programs.with_speculation().unwrap();
        for plan in plans.iter().chain(&speculating) {
            let typed = as_typed(&plan.command);
            assert!(
                typed.contains(" 512 ") && typed.contains("m.gguf"),
                "{typed}"
            );
            let name = plan.arm.split(['=', ':']).next_back().unwrap();
            let of_its_name = |part: &str| name.starts_with(part) && part.len() > 2;
            if plan.arm.contains(":ngram") || plan.arm.contains(":spec=") {
                assert!(typed.split(' ').any(of_its_name), "{typed}");
            }
        }
        assert_eq!(speculating.len(), SETTINGS.len() + PEER_SPECULATION.len());
        let alone = Programs {
            llama_server: None,
            ..programs
        };
        assert_eq!(alone.plan().unwrap().len(), 1);
        assert_eq!(alone.with_speculation().unwrap().len(), SETTINGS.len());
    }
}
