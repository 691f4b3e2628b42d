//! The paper's tables, by what they are about, with ours beside them.

use super::sched::{Figure, Workload, mean, policies, ratio, words, workloads};
use super::{note, paragraph};
use crate::experiment::Arm;
use crate::markup::Markup;
use crate::page::Report;
use crate::paper::{
    ABLATIONS, DRAFTING, LADDER_FEW, LADDER_MANY, MANY_SESSIONS, RUNGS, SCHEDULING,
    SCHEDULING_SESSIONS, WHO_THINKS, times_by_latency,
};
use crate::run::{ArmRow, PolicyRow, Results, SetRow};
use crate::show;
use crate::table::{Cell, NOT_KNOWN, NOT_MEASURED, Table};

pub(super) fn draw(report: &Report, out: &mut Markup) {
    let has_ours = |results: &Results| {
        let is_compress = results.sets.iter().any(|row| row.mode.is_none());
        is_compress || !results.policies.is_empty() || !results.speculation.is_empty()
    };
    let has_ours = report.runs.iter().any(|run| has_ours(&run.results));
    if report.experiments.is_empty() && !has_ours {
        return;
    }
    paragraph(
        out,
        "The paper measured models of 7B and 38B on its own hardware and its own questions \
         (BrowseComp-zh); compare how far each module gets, not seconds or accuracy as such. Its \
         tables 4 to 11 stand here by what they are about, with the figures that are known here; \
         for the rest it says so. Every ratio is turned so that more than 1 is better, with the \
         published form in brackets.",
    );
    draw_who_thinks(report, out);
    draw_search(report, out);
    draw_distillation(report, out);
    draw_ablations(report, out);
    draw_scheduling(report, out);
    draw_drafting(report, out);
    draw_whole(report, out);
}

/// The paper's number, or that it is not known here.
fn paper(value: Option<f64>, show: impl Fn(f64) -> String) -> Cell {
    value.map_or(Cell::faint(NOT_KNOWN), |it| Cell::number(Some(it), show))
}

/// Ours, or that it was not measured.
fn ours(value: Option<f64>, ends: Option<(f64, f64)>, show: impl Fn(f64) -> String) -> Cell {
    match value {
        Some(_) => Cell::interval(value, ends, show),
        None => Cell::faint(NOT_MEASURED),
    }
}

/// A published change of latency in percent, as a ratio.
fn by_latency(percent: f64) -> Cell {
    let times = times_by_latency(percent);
    Cell::of(
        times,
        format!("{} ({} %)", show::times(times), show::signed(percent, 1)),
    )
}

fn draw_who_thinks(report: &Report, out: &mut Markup) {
    let mut table = Table::new("AgentCollab: who thinks")
        .words("who")
        .words("our arm")
        .words("our questions")
        .numbers([
            "paper: accuracy %",
            "paper: times as fast ×",
            "ours: times as fast × (95 %)",
        ])
        .numbers(["ours: F1", "ours: F1 difference (95 %)"]);
    for who in &WHO_THINKS {
        let mut cells = Vec::new();
        for experiment in &report.experiments {
            let load = experiment.loads().first().copied().flatten();
            let same = |arm: &&Arm| who.arms.contains(&arm.kind()) && !arm.has_peer();
            cells.extend(
                experiment
                    .at_load(load)
                    .filter(same)
                    .map(|arm| (experiment, arm)),
            );
        }
        let theirs = [
            paper(who.accuracy, |it| show::fixed(it, 1)),
            paper(who.speedup, show::times),
        ];
        if cells.is_empty() {
            let [accuracy, speedup] = theirs;
            let none = || Cell::faint(NOT_MEASURED);
            let name = Cell::text(who.name);
            table.row(vec![
                name,
                none(),
                none(),
                accuracy,
                speedup,
                none(),
                none(),
                none(),
            ]);
            continue;
        }
        for (experiment, arm) in cells {
            let compared = experiment.compared(arm);
            let [accuracy, speedup] = theirs.clone();
            table.row(vec![
                Cell::text(who.name),
                Cell::arm(&report.arms, arm.name()),
                Cell::text(format!("{}: {}", experiment.bench, experiment.title)),
                accuracy,
                speedup,
                Cell::interval(compared.speedup, compared.speedup_ends, show::times),
                Cell::number(arm.row.f1, show::score),
                Cell::interval(compared.f1, compared.f1_ends, |it| show::signed(it, 3)),
            ]);
        }
    }
    table.write(out);
    note(
        out,
        "Cumulative escalation is of a later paper (arXiv 2603.26034): 33.9 % with bursts that \
         grow, 32.5 % with static ones.",
    );
}

fn draw_search(report: &Report, out: &mut Markup) {
    let of_search = report.experiments.iter().find_map(|experiment| {
        let arm = experiment.arms.iter().find(|arm| arm.kind() == "search")?;
        Some(experiment.compared(arm))
    });
    let compared = of_search.unwrap_or_default();
    let mut table = Table::new("AgentCompress: search compression")
        .words("what")
        .numbers(["paper", "ours"]);
    for (what, theirs, ours) in [
        (
            "crawl calls",
            Cell::of(times_by_latency(-6.0), "1.06× fewer (−6 %)"),
            None,
        ),
        ("latency of reading documents", by_latency(-38.0), None),
        (
            "accuracy, points",
            Cell::of(3.5, show::signed(3.5, 1)),
            compared.f1.map(|f1| {
                let text = format!("{} of F1", show::signed(100.0 * f1, 1));
                Cell::of(100.0 * f1, text)
            }),
        ),
    ] {
        let ours = ours.unwrap_or(Cell::faint(NOT_MEASURED));
        table.row(vec![Cell::text(what), theirs, ours]);
    }
    table.write(out);
}

/// Results of AgentCompress.
fn compressed(report: &Report) -> impl Iterator<Item = &Results> {
    let runs = report.runs.iter().filter(|run| run.bench == "compress");
    runs.map(|run| &run.results)
}

/// A number of an arm, played live, by that without compression.
fn by_off(results: &Results, row: &ArmRow, of: fn(&ArmRow) -> Option<f64>) -> Option<f64> {
    let mut arms = results.arms.iter();
    let off =
        arms.find(|it| it.arm == "off" && it.set == row.set && it.sessions == row.sessions)?;
    Some(of(row)? / of(off)?)
}

fn draw_distillation(report: &Report, out: &mut Markup) {
    let mut table = Table::new("AgentCompress: distillation in the background")
        .words("what")
        .words("our sessions")
        .numbers(["paper", "ours"]);
    let context = |row: &&SetRow| row.arm == "context" && row.mode.is_none();
    let sets: Vec<&SetRow> = compressed(report)
        .flat_map(|it| it.sets.iter().filter(context))
        .collect();
    let tokens = || Cell::of(2.0, "2.00× fewer (40K to 20K)");
    for row in &sets {
        let ratio = row.prompt_tokens_full.zip(row.prompt_tokens_served);
        let ratio = ratio.map(|(full, served)| full / served);
        let ours = ours(ratio, None, |it| show::times(it) + " fewer");
        table.row(vec![
            Cell::text("prompt tokens"),
            Cell::text(&row.set),
            tokens(),
            ours,
        ]);
    }
    if sets.is_empty() {
        let (none, what) = (|| Cell::faint(NOT_MEASURED), Cell::text("prompt tokens"));
        table.row(vec![what, none(), tokens(), none()]);
    }
    let mut is_live = false;
    for results in compressed(report) {
        for row in results.arms.iter().filter(|row| row.arm == "context") {
            is_live = true;
            let faster = by_off(results, row, |it| it.task_seconds_mean).map(|ratio| 1.0 / ratio);
            let turns = by_off(results, row, |it| it.turns_mean);
            let sessions = format!(
                "{}, {}",
                row.set.as_deref().unwrap_or("questions"),
                super::at_a_time(row.sessions)
            );
            draw_live(&mut table, &sessions, (faster, turns));
        }
    }
    if !is_live {
        draw_live(&mut table, NOT_MEASURED, (None, None));
    }
    table.write(out);
}

/// Latency and turns, which only sessions with a model have.
fn draw_live(table: &mut Table, sessions: &str, (faster, turns): (Option<f64>, Option<f64>)) {
    let ends = (times_by_latency(-6.0), times_by_latency(-42.0));
    let published = format!("{} (−6 to −42 % with load)", show::span(ends, show::times));
    let more = |turns: f64| format!("{} as many", show::times(turns));
    for (what, theirs, ours) in [
        (
            "latency",
            Cell::of(ends.0, published),
            ours(faster, None, show::times),
        ),
        (
            "turns (fewer is better)",
            Cell::of(1.03, "1.03 to 1.08× as many"),
            ours(turns, None, more),
        ),
    ] {
        table.row(vec![Cell::text(what), Cell::text(sessions), theirs, ours]);
    }
}

fn draw_ablations(report: &Report, out: &mut Markup) {
    let mut table = Table::new("AgentCompress: what distillation must not leave away")
        .words("left away")
        .words("our arm")
        .words("our sessions")
        .numbers([
            "paper: latency ×",
            "paper: turns × as many",
            "ours: latency × beside context",
        ])
        .numbers([
            "ours: prompt tokens fewer ×",
            "ours: names and numbers kept",
        ]);
    for (kind, what, latency, turns) in ABLATIONS {
        let mut rows = Vec::new();
        for results in compressed(report) {
            let same = |row: &&SetRow| row.arm.split(':').next() == Some(kind);
            rows.extend(results.sets.iter().filter(same).map(|row| (results, row)));
        }
        let theirs = || [by_latency(latency), paper(turns, show::times)];
        if rows.is_empty() {
            let ([latency, turns], none) = (theirs(), || Cell::faint(NOT_MEASURED));
            let what = Cell::text(what);
            table.row(vec![
                what,
                none(),
                none(),
                latency,
                turns,
                none(),
                none(),
                none(),
            ]);
        }
        for (results, row) in rows {
            let [latency, turns] = theirs();
            let ratio = row.prompt_tokens_full.zip(row.prompt_tokens_served);
            table.row(vec![
                Cell::text(what),
                Cell::arm(&report.arms, &row.arm),
                Cell::text(&row.set),
                latency,
                turns,
                ours(beside_context(results, row), None, show::times),
                ours(ratio.map(|(full, served)| full / served), None, show::times),
                ours(row.kept_share, None, show::share),
            ]);
        }
    }
    table.write(out);
}

/// Seconds of `context`, played live, by those of the same sessions' ablation.
fn beside_context(results: &Results, set: &SetRow) -> Option<f64> {
    let of = |arm: &str| {
        let mut arms = results.arms.iter();
        arms.find(|row| row.set.as_ref() == Some(&set.set) && row.arm == arm)
    };
    Some(of("context")?.task_seconds_mean? / of(&set.arm)?.task_seconds_mean?)
}

fn draw_scheduling(report: &Report, out: &mut Markup) {
    let mut table = Table::new("AgentSched: beside first come first served")
        .words("policy")
        .words("our workload")
        .numbers([
            "paper: call latency ×",
            "paper: end to end ×",
            "paper: resident",
        ])
        .numbers([
            "ours: call latency ×",
            "ours: end to end ×",
            "ours: resident",
        ]);
    let rows: Vec<&[PolicyRow]> = report
        .runs
        .iter()
        .map(|run| run.results.policies.as_slice())
        .filter(|rows| !rows.is_empty())
        .collect();
    for policy in ["fcfs", "sjf", "paper", "agent"] {
        let known = SCHEDULING.iter().find(|(name, ..)| *name == policy);
        let inverse = |value: f64| {
            Cell::of(
                1.0 / value,
                format!("{} ({})", show::times(1.0 / value), show::fixed(value, 3)),
            )
        };
        let theirs = || match known {
            Some((_, call, whole, resident)) => {
                let resident = Cell::number(Some(*resident), show::share);
                vec![inverse(*call), inverse(*whole), resident]
            }
            None => vec![
                Cell::faint("ours alone"),
                Cell::faint("–"),
                Cell::faint("–"),
            ],
        };
        let mut is_measured = false;
        for rows in rows.iter().filter(|rows| policies(rows).contains(&policy)) {
            for kind in alike(rows) {
                is_measured = true;
                let mut cells = vec![Cell::arm(&report.policies, policy), Cell::text(words(kind))];
                cells.extend(theirs());
                cells.extend(our_scheduling(rows, kind, policy));
                table.row(cells);
            }
        }
        if !is_measured && known.is_some() {
            let mut cells = vec![Cell::text(policy), Cell::faint(NOT_MEASURED)];
            cells.extend(theirs());
            cells.extend([NOT_MEASURED; 3].map(Cell::faint));
            table.row(cells);
        }
    }
    table.write(out);
}

/// The workloads most like the paper's: its number of sessions, of the kind that it describes.
fn alike(rows: &[PolicyRow]) -> Vec<Workload<'_>> {
    let mut kinds = workloads(rows);
    let like = |kind: &Workload<'_>| kind.1 == SCHEDULING_SESSIONS && kind.3 == 1.0;
    if kinds.iter().any(like) {
        kinds.retain(like);
    }
    kinds
}

fn our_scheduling(rows: &[PolicyRow], kind: Workload<'_>, policy: &str) -> [Cell; 3] {
    let faster = |of: Figure| {
        let ratio = ratio(rows, kind, policy, of).map(|(mean, _)| mean);
        ours(ratio, None, show::times)
    };
    [
        faster(|row| row.call_mean_s),
        faster(|row| row.completion_mean_s),
        ours(
            mean(rows, kind, policy, |row| row.hit_rate),
            None,
            show::share,
        ),
    ]
}

fn draw_drafting(report: &Report, out: &mut Markup) {
    let mut table = Table::new("AgentSAM: drafts from what was said")
        .words("source of drafts")
        .words("our case")
        .numbers(["paper: model latency ×", "paper: end to end ×"])
        .numbers(["ours: decoding × as fast", "ours: end to end × as fast"]);
    let rows = || report.runs.iter().flat_map(|run| &run.results.speculation);
    for (arm, name, model, whole) in DRAFTING {
        let same: Vec<_> = rows().filter(|row| row.arm == arm).collect();
        let (model, whole) = (|| by_latency(model), || by_latency(whole));
        if same.is_empty() {
            let none = || Cell::faint(NOT_MEASURED);
            table.row(vec![
                Cell::text(name),
                none(),
                model(),
                whole(),
                none(),
                none(),
            ]);
        }
        for row in same {
            table.row(vec![
                Cell::text(name),
                Cell::text(&row.case),
                model(),
                whole(),
                ours(row.decode_by_off, None, show::times),
                ours(row.end_to_end_by_off, None, show::times),
            ]);
        }
    }
    table.write(out);
}

fn draw_whole(report: &Report, out: &mut Markup) {
    let mut table = Table::new("All together, beside the large model alone")
        .words("rung")
        .numbers(["paper: task time, low concurrency ×", "ours ×"])
        .numbers([
            "paper: throughput, 16 sessions ×",
            "ours, 16 or more ×",
            "ours: F1 difference",
        ]);
    let mut few = [None; 5];
    let mut many = [None; 5];
    let mut f1 = [None; 5];
    for (experiment, load) in report.loads() {
        let Some(rungs) = experiment.rungs(load) else {
            continue;
        };
        let is_many = load.is_some_and(|load| load >= MANY_SESSIONS);
        for (index, arm) in rungs.iter().enumerate() {
            let compared = arm.map(|arm| experiment.compared(arm)).unwrap_or_default();
            let (place, value) = match is_many {
                true => (&mut many[index], compared.throughput),
                false => (&mut few[index], compared.speedup),
            };
            *place = place.or(value);
            f1[index] = f1[index].or(compared.f1);
        }
    }
    for (index, name) in RUNGS.iter().enumerate() {
        table.row(vec![
            Cell::text(*name),
            paper(LADDER_FEW[index], show::times),
            ours(few[index], None, show::times),
            paper(LADDER_MANY[index], show::times),
            ours(many[index], None, show::times),
            ours(f1[index], None, |it| show::signed(it, 3)),
        ]);
    }
    table.write(out);
    note(
        out,
        "The paper’s accuracy: 33.8 % with AgentCollab, 34.6 % with the large model alone; with \
         all modules together it is not known here. Where several experiments have a rung, the \
         first is shown.",
    );
}
