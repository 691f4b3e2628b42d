//! What the machine offers.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Finding;

/// The 1.5B model with 16,384 cells and both tiers' buffers.
const COMFORTABLE_MEMORY: u64 = 4 << 30;
/// The 0.5B model with a small context.
const LEAST_MEMORY: u64 = 1 << 30;
/// The largest model of the catalog, in parts and put together.
const COMFORTABLE_DISK: u64 = 3 << 30;

/// Cores this process may use.
pub(super) fn cores() -> Finding {
    match std::thread::available_parallelism().map_or(1, usize::from) {
        1 => Finding::warn("cores", "1", "give the process two cores or more"),
        usable => Finding::ok("cores", format!("{usable} usable")),
    }
}

/// Memory that models and their KV cells can take.
pub(super) fn memory() -> Finding {
    const CHECK: &str = "memory";
    match available_memory() {
        None => Finding::warn(
            CHECK,
            "cannot tell on this system",
            "make sure 4 GiB are free",
        ),
        Some(bytes) if bytes < LEAST_MEMORY => {
            Finding::fail(CHECK, in_gib(bytes), "free some memory: no model fits")
        }
        Some(bytes) if bytes < COMFORTABLE_MEMORY => {
            let fix = "free some memory, or serve the small model with fewer --cells";
            Finding::warn(CHECK, in_gib(bytes), fix)
        }
        Some(bytes) => Finding::ok(CHECK, in_gib(bytes)),
    }
}

fn in_gib(bytes: u64) -> String {
    format!("{:.1} GiB available", bytes as f64 / f64::from(1 << 30))
}

/// Available bytes, within the limit of the control group this process runs in.
fn available_memory() -> Option<u64> {
    if cfg!(target_os = "macos") {
        let output = Command::new("sysctl")
            .args(["-n", "hw.memsize"])
            .output()
            .ok()?;
        return String::from_utf8(output.stdout).ok()?.trim().parse().ok();
    }
    let free = meminfo_available(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limit = number("/sys/fs/cgroup/memory.max").zip(number("/sys/fs/cgroup/memory.current"));
    Some(limit.map_or(free, |(limit, used)| free.min(limit.saturating_sub(used))))
}

fn meminfo_available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Room for models.
pub(super) fn disk(store: &Path) -> Finding {
    let check = format!("disk for models in {}", store.display());
    let existing = store.ancestors().find(|dir| dir.exists()).unwrap_or(store);
    match fs4::available_space(existing) {
        Ok(bytes) if bytes < COMFORTABLE_DISK => {
            let fix = "free some space, or set AGENTINFER_HOME to a directory on a larger disk";
            Finding::warn(check, in_gib(bytes), fix)
        }
        Ok(bytes) => Finding::ok(check, in_gib(bytes)),
        Err(error) => Finding::fail(check, error.to_string(), "set AGENTINFER_HOME"),
    }
}

/// Programs that builds and pulls need.
pub(super) fn tools() -> Vec<Finding> {
    [
        ("cmake", &["cmake --version"][..], "a build"),
        (
            "C++ compiler",
            &["c++ --version", "clang++ --version", "g++ --version"],
            "a build",
        ),
        (
            "python3 with pip",
            &["python3 -m pip --version"],
            "a pull from PyPI packages",
        ),
    ]
    .into_iter()
    .map(
        |(name, commands, needed_for)| match commands.iter().find_map(|it| first_line(it)) {
            Some(version) => Finding::ok(name, version),
            None => {
                let found = format!("missing; {needed_for} needs it");
                Finding::warn(name, found, "`make setup` installs it or says how")
            }
        },
    )
    .collect()
}

/// The first line that a command prints, if it runs and succeeds.
fn first_line(command: &str) -> Option<String> {
    let mut words = command.split(' ');
    let output = Command::new(words.next()?)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()?
        .to_owned();
    output.status.success().then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read_in_kibibytes() {
        let text = "MemTotal:       24000 kB\nMemAvailable:   12000 kB\n";
        assert_eq!(meminfo_available(text), Some(12_000 * 1024));
        assert_eq!(meminfo_available("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn a_missing_program_has_no_first_line() {
        assert_eq!(first_line("agentinfer-has-no-such-tool --version"), None);
        assert_eq!(first_line("false"), None);
    }
}
