//! One file per subcommand: its arguments, and the library calls they stand for.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod index;
pub(crate) mod models;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod sched;
pub(crate) mod serve;
pub(crate) mod sessions;
pub(crate) mod world;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::Command;

/// Exit code of a command that Ctrl-C ended, as shells count it.
const INTERRUPTED: u8 = 130;

/// Runs a subcommand.
pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Models(command) => models::run(command),
        Command::Serve(args) => serve::run(args),
        Command::Run(args) => run::run(args),
        Command::Index(args) => index::run(args),
        Command::Demo(args) => demo::run(args),
        Command::World(command) => world::run(command),
        Command::Sched(command) => sched::run(command),
        Command::Sessions(command) => sessions::run(command),
        Command::Bench(command) => bench::run(command),
        Command::Report(args) => report::run(args),
        Command::Doctor(args) => doctor::run(args),
    }
}
