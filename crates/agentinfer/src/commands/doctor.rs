//! `agentinfer doctor`: is this machine and this build fit?

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use crate::doctor::{Finding, Level, examine};
use crate::output;

/// Check this build and this machine, and say what to fix.
///
/// Looks at the CPU features that were compiled in against those the machine has, at cores,
/// memory, disk, installed models (verified byte by byte), tools and GPU support. Exits with 1 when
/// something must be fixed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write JSON: `{"ok", "version", "findings": [{"check", "level", "found", "fix"}]}`.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    version: &'static str,
    findings: Vec<Finding>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let findings = examine();
    let ok = findings.iter().all(|finding| finding.level != Level::Fail);
    let report = Report {
        ok,
        version: env!("CARGO_PKG_VERSION"),
        findings,
    };
    if args.json {
        output::json(&report)?;
    } else {
        for Finding {
            check,
            level,
            found,
            fix,
        } in &report.findings
        {
            output::line(format_args!("{:4}  {check}: {found}", level.as_str()))?;
            if let Some(fix) = fix {
                output::line(format_args!("      fix: {fix}"))?;
            }
        }
    }
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
