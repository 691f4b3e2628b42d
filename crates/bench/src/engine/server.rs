//! Servers that are measured, each a process of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

use super::results::OURS;
use crate::BenchError;
use crate::program::{as_typed, command, peer_command, tail};

/// llama-server as it is served best: one pool of cells for as many chats as run at once, flash
/// attention, and everything that keeps prompts. Its cache of prompts in main memory copies slots
/// away and back, which helps some loads and delays others; so it is measured with and without.
const PEER_SETTINGS: [(&str, &[&str]); 2] = [
    ("llama-server", &[]),
    ("llama-server:cache-ram=0", &["--cache-ram", "0"]),
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
}

/// The servers to compare, ours first, with so many KV cells each.
pub(super) fn plan(
    agentinfer: &Path,
    llama_server: Option<&PathBuf>,
    model: &Path,
    threads: u32,
    cells: u32,
) -> Result<Vec<ServerPlan>, BenchError> {
    let mut plans = vec![ServerPlan::new(OURS, command(agentinfer), |command| {
        command.args(["serve", "--large"]).arg(model);
        command.args(["--cells", &cells.to_string()]);
        command.args(["--threads", &threads.to_string()]);
    })?];
    for (arm, settings) in PEER_SETTINGS {
        let Some(program) = llama_server else { break };
        plans.push(ServerPlan::new(arm, peer_command(program), |command| {
            command.arg("-m").arg(model);
            command.args(["-c", &cells.to_string(), "-np", "8", "--kv-unified"]);
            command.args(["-t", &threads.to_string(), "-tb", &threads.to_string()]);
            command.args(["-fa", "on", "-ub", "512", "--cache-reuse", "256"]);
            command.args(settings);
        })?);
    }
    Ok(plans)
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
        let peer = PathBuf::from("/opt/llama-server");
        let plans = plan(
            Path::new("agentinfer"),
            Some(&peer),
            Path::new("m.gguf"),
            3,
            512,
        )
        .unwrap();
        let arms: Vec<&str> = plans.iter().map(|plan| plan.arm).collect();
        assert_eq!(
            arms,
            ["agentinfer", "llama-server", "llama-server:cache-ram=0"]
        );
        for plan in &plans {
            let typed = as_typed(&plan.command);
            assert!(
                typed.contains(" 512 ") && typed.contains("m.gguf"),
                "{typed}"
            );
        }
        let alone = super::plan(Path::new("agentinfer"), None, Path::new("m.gguf"), 3, 512);
        assert_eq!(alone.unwrap().len(), 1);
    }
}
