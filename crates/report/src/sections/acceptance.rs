//! Drafts: by how far they may reach and where they come from, how many of their tokens held.

use super::positions::{self, Drafts};
use super::{note, views};
use crate::bars::{self, Bar};
use crate::markup::Markup;
use crate::page::Report;
use crate::run::{ArmRow, Run, SetRow, SpeculationRow};
use crate::show;
use crate::table::{Cell, Table};

pub(super) fn draw(report: &Report, out: &mut Markup) {
    let mut pieces = Vec::new();
    for (index, run) in report.runs.iter().enumerate() {
        for (title, rows) in sets(run) {
            let mut piece = Markup::new();
            draw_set(report, &rows, &mut piece);
            pieces.push((format!("{title}, run {}", index + 1), piece));
        }
        if !run.results.speculation.is_empty() {
            let mut piece = Markup::new();
            draw_real(report, &run.results.speculation, &mut piece);
            pieces.push((format!("On a real model, run {}", index + 1), piece));
        }
        let mut piece = Markup::new();
        draw_arms(report, &run.results.arms, &mut piece);
        pieces.push((
            format!("While questions were answered, run {}", index + 1),
            piece,
        ));
    }
    pieces.retain(|(_, piece)| !piece.is_empty());
    if pieces.is_empty() {
        return;
    }
    note(
        out,
        "Arms: “session” drafts from the same session only, “agentinfer” and “spec=full” from past \
         sessions too; “arctic” is ArcticInference. Sources of a token, of which the one that \
         spoke most for it counts: “session”, “corpus” (past sessions), “sparse” (templates, in \
         which single tokens differ) and “forced” (a grammar leaves no choice). A token is put to \
         the test if all before it in its draft were accepted. Peers and older files have no \
         positions; there the greatest lengths of drafts show how far they reach.",
    );
    views(out, "recordings", pieces);
}

/// Rows by recordings and mode.
fn sets(run: &Run) -> Vec<(String, Vec<&SetRow>)> {
    let mut found: Vec<(String, Vec<&SetRow>)> = Vec::new();
    for row in &run.results.sets {
        let Some(mode) = &row.mode else {
            continue;
        };
        let corpus = match mode.as_str() {
            "cold" => "corpus empty at first",
            "warm" => "corpus filled with the first half",
            other => other,
        };
        let title = format!("{}, {corpus}", row.set);
        match found.iter_mut().find(|(known, _)| *known == title) {
            Some((_, rows)) => rows.push(row),
            None => found.push((title, vec![row])),
        }
    }
    found
}

fn draw_set(report: &Report, rows: &[&SetRow], out: &mut Markup) {
    let both = [("k1", "accepted"), ("k3", "rejected")];
    let entry = |(class, words): (&str, &str)| (class.to_owned(), words.to_owned());
    bars::legend(out, &both.map(entry));
    let bar = |row: &&SetRow| {
        let (drafted, accepted) = row.drafted.zip(row.accepted)?;
        let tokens = row.tokens.filter(|tokens| *tokens > 0.0)?;
        let most = show::count(row.max_draft.unwrap_or(0.0));
        let shown = show::share(accepted / drafted.max(1.0));
        let part = |class: &str, amount: f64, what: &str| {
            let told = format!("{}: {} tokens {what}", row.arm, show::count(amount));
            (class.to_owned(), amount / tokens, told)
        };
        Some(Bar {
            label: format!(
                "{} {}, at most {most}",
                report.peers.number(&row.arm),
                row.arm
            ),
            value: format!("{shown} accepted"),
            parts: vec![
                part("k1", accepted, "accepted"),
                part("k3", drafted - accepted, "rejected"),
            ],
            ..Bar::default()
        })
    };
    let bars: Vec<Bar> = rows.iter().filter_map(bar).collect();
    bars::draw(out, "Tokens drafted per token said", &bars, None);
    replayed(report, rows).write(out);
    let longest = rows
        .iter()
        .filter_map(|row| row.max_draft)
        .fold(0.0, f64::max);
    let drafts = rows.iter().map(|row| Drafts {
        arm: &row.arm,
        place: show::count(row.max_draft.unwrap_or(0.0)),
        rows: &row.acceptance,
        is_drawn: row.max_draft == Some(longest),
    });
    let drafts: Vec<Drafts<'_>> = drafts.collect();
    positions::draw(&report.peers, "longest draft", &drafts, out);
}

fn replayed(report: &Report, rows: &[&SetRow]) -> Table {
    let mut table = Table::new("Drafts replayed; tokens per step: 1 without drafts")
        .words("source")
        .numbers([
            "longest draft",
            "tokens per step",
            "beyond one, by the peer’s ×",
        ])
        .numbers([
            "accepted of drafted",
            "drafted per step",
            "drafted",
            "accepted",
        ])
        .numbers(["proposal µs, median", "99th percentile"])
        .words("drafted at most what the peer did");
    for row in rows {
        table.row(vec![
            Cell::arm(&report.peers, &row.arm),
            Cell::number(row.max_draft, show::count),
            Cell::number(row.ote, |it| show::fixed(it, 3)),
            Cell::number(row.gain_by_peer, show::times),
            Cell::number(row.shr, show::share),
            Cell::number(row.drafted_per_step, |it| show::fixed(it, 2)),
            Cell::number(row.drafted, show::count),
            Cell::number(row.accepted, show::count),
            Cell::number(row.draft_us_p50, show::short),
            Cell::number(row.draft_us_p99, show::short),
            match row.within_budget {
                Some(true) => Cell::text("yes"),
                Some(false) => Cell::text("no"),
                None => Cell::faint(show::NONE),
            },
        ]);
    }
    table
}

/// The drafts of arms that answered questions.
fn draw_arms(report: &Report, arms: &[ArmRow], out: &mut Markup) {
    let drafts = arms.iter().map(|row| Drafts {
        arm: &row.arm,
        place: row.sessions.map_or(show::NONE.to_owned(), show::count),
        rows: &row.acceptance,
        is_drawn: true,
    });
    let drafts: Vec<Drafts<'_>> = drafts.collect();
    positions::draw(&report.arms, "sessions", &drafts, out);
}

fn draw_real(report: &Report, rows: &[SpeculationRow], out: &mut Markup) {
    let mut table = Table::new("Drafts on a real model, beside the same server without them")
        .words("setting")
        .words("case")
        .numbers([
            "decode × as fast",
            "end to end × as fast",
            "accepted of drafted",
        ])
        .numbers(["drafted", "accepted", "expected to be accepted"]);
    for row in rows {
        let accepted = row
            .accepted_tokens
            .zip(row.drafted_tokens.filter(|it| *it > 0.0));
        table.row(vec![
            Cell::arm(&report.peers, &row.arm),
            Cell::text(&row.case),
            Cell::number(row.decode_by_off, show::times),
            Cell::number(row.end_to_end_by_off, show::times),
            Cell::number(
                accepted.map(|(accepted, drafted)| accepted / drafted),
                show::share,
            ),
            Cell::number(row.drafted_tokens, show::count),
            Cell::number(row.accepted_tokens, show::count),
            Cell::number(row.expected_accepted_tokens, show::count),
        ]);
    }
    table.write(out);
    let drafts = rows.iter().map(|row| Drafts {
        arm: &row.arm,
        place: row.case.clone(),
        rows: &row.acceptance,
        // The cases are many, and alike; the table has them.
        is_drawn: false,
    });
    let drafts: Vec<Drafts<'_>> = drafts.collect();
    positions::draw(&report.peers, "case", &drafts, out);
}
