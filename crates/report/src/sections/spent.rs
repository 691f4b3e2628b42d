//! Where tokens and seconds went, per question.

use std::collections::BTreeMap;

use super::{at_a_time, note, views};
use crate::bars::{self, Bar};
use crate::experiment::{Arm, Experiment};
use crate::markup::Markup;
use crate::page::Report;
use crate::show;
use crate::table::{Cell, Table};

/// A kind of thing that is summed: its class in the style sheet and its name.
type Kind = (&'static str, &'static str);

/// Tokens that were computed.
const COMPUTED: [Kind; 3] = [
    ("k0", "prompt"),
    ("k1", "generated"),
    ("k3", "drafted and rejected"),
];
/// Tokens that need not be.
const SPARED: [Kind; 2] = [("k4", "resident"), ("k5", "distilled away")];
/// Seconds.
const SECONDS: [Kind; 5] = [
    ("k0", "prefill"),
    ("k1", "decode"),
    ("k2", "waiting"),
    ("k4", "tools"),
    ("k6", "other"),
];

/// Sums of an arm by kind; none where it is not known.
struct Amounts<'a, const N: usize> {
    arm: &'a Arm,
    per_task: [Option<f64>; N],
}

pub(super) fn draw_tokens(report: &Report, out: &mut Markup) {
    let mut pieces = Vec::new();
    for (experiment, load) in report.loads() {
        let mut piece = Markup::new();
        draw_tokens_of(report, experiment, load, &mut piece);
        pieces.push((format!("{}, {}", experiment.title, at_a_time(load)), piece));
    }
    if pieces.iter().all(|(_, piece)| piece.is_empty()) {
        return;
    }
    note(
        out,
        "Tokens per question. Bars show what models computed: useful are prompts and what was \
         generated. The table adds what was spared. Prompts that were computed again, because \
         their cells had to make room, are among the first kind.",
    );
    views(out, "questions", pieces);
}

fn draw_tokens_of(report: &Report, experiment: &Experiment, load: Option<f64>, out: &mut Markup) {
    let known = |it: &Amounts<'_, 5>| it.per_task[0].is_some();
    let rows: Vec<_> = experiment.at_load(load).map(tokens).filter(known).collect();
    if rows.is_empty() {
        return;
    }
    let ([a, b, c], [d, e]) = (COMPUTED, SPARED);
    let kinds = [a, b, c, d, e];
    draw_bars(
        report,
        "Tokens computed per question",
        &COMPUTED,
        &rows,
        "tokens",
        out,
    );
    draw_table(
        report,
        "Tokens per question",
        &kinds,
        &rows,
        show::count,
        out,
    );
}

/// Tokens of all kinds, those computed first.
fn tokens(arm: &Arm) -> Amounts<'_, 5> {
    let ([a, b, c], [d, e]) = (computed(arm), spared(arm));
    Amounts {
        arm,
        per_task: [a, b, c, d, e].map(|sum| arm.per_task(sum)),
    }
}

/// Sums of [`COMPUTED`].
fn computed(arm: &Arm) -> [Option<f64>; 3] {
    let row = &arm.row;
    let of = |key: &str| row.tokens.as_ref().and_then(|it| it.get(key).copied());
    [
        of("prompt_computed").or(row.prompt_tokens_computed),
        of("generated").or(row.completion_tokens),
        of("drafted")
            .zip(of("accepted"))
            .map(|(drafted, accepted)| drafted - accepted),
    ]
}

/// Sums of [`SPARED`].
fn spared(arm: &Arm) -> [Option<f64>; 2] {
    let row = &arm.row;
    let of = |key: &str| row.tokens.as_ref().and_then(|it| it.get(key).copied());
    let less = |more: Option<f64>, by: Option<f64>| more.zip(by).map(|(a, b)| (a - b).max(0.0));
    [
        of("prompt_resident").or(less(row.prompt_tokens_served, row.prompt_tokens_computed)),
        of("distilled_away").or(less(row.prompt_tokens_full, row.prompt_tokens_served)),
    ]
}

pub(super) fn draw_time(report: &Report, out: &mut Markup) {
    let mut pieces = Vec::new();
    for (experiment, load) in report.loads() {
        let rows: Vec<_> = experiment.at_load(load).filter_map(seconds).collect();
        let mut piece = Markup::new();
        if !rows.is_empty() {
            draw_bars(
                report,
                "Seconds per question",
                &SECONDS,
                &rows,
                "s",
                &mut piece,
            );
            let show = |seconds| show::fixed(seconds, 2);
            draw_table(
                report,
                "Seconds per question",
                &SECONDS,
                &rows,
                show,
                &mut piece,
            );
            draw_bound(experiment, load, &mut piece);
        }
        pieces.push((format!("{}, {}", experiment.title, at_a_time(load)), piece));
    }
    if pieces.iter().all(|(_, piece)| piece.is_empty()) {
        return;
    }
    note(
        out,
        "Seconds per question, summed over its calls. What sessions at a time share is counted for \
         each, so sums may exceed a question’s seconds.",
    );
    views(out, "questions", pieces);
}

fn seconds(arm: &Arm) -> Option<Amounts<'_, 5>> {
    let sums: &BTreeMap<String, f64> = arm.row.seconds.as_ref()?;
    let per_task = SECONDS.map(|(_, kind)| arm.per_task(sums.get(kind).copied()));
    Some(Amounts { arm, per_task })
}

/// What an ideal run of an arm's work would take.
fn draw_bound(experiment: &Experiment, load: Option<f64>, out: &mut Markup) {
    for bound in experiment
        .bounds
        .iter()
        .filter(|bound| bound.sessions == load)
    {
        note(
            out,
            format!(
                "Bound: an ideal run computes each prompt token that {} computed, at its best rate \
                 of prefill ({} tokens per second), and has every token guessed. That takes {}; it \
                 took {} as long.",
                bound.arm,
                show::count(bound.prefill_rate.round()),
                show::duration(bound.seconds),
                show::times(bound.speedup)
            ),
        );
    }
}

fn draw_bars<const N: usize>(
    report: &Report,
    title: &str,
    kinds: &[Kind],
    rows: &[Amounts<'_, N>],
    unit: &str,
    out: &mut Markup,
) {
    let present = |index: usize| {
        rows.iter()
            .any(|row| row.per_task[index].unwrap_or(0.0) > 0.0)
    };
    let shown: Vec<usize> = (0..kinds.len()).filter(|index| present(*index)).collect();
    let entry = |index: &usize| (kinds[*index].0.to_owned(), kinds[*index].1.to_owned());
    bars::legend(out, &shown.iter().map(entry).collect::<Vec<_>>());
    let bars: Vec<Bar> = rows
        .iter()
        .map(|row| {
            let name = row.arm.name();
            let parts = shown.iter().filter_map(|index| {
                let (class, kind) = kinds[*index];
                let amount = row.per_task[*index]?;
                let told = format!("{name}, {kind}: {} {unit}", show::short(amount));
                Some((class.to_owned(), amount, told))
            });
            let parts: Vec<_> = parts.collect();
            let sum: f64 = parts.iter().map(|(_, amount, _)| amount).sum();
            Bar {
                label: format!("{} {name}", report.arms.number(name)),
                value: format!("{} {unit}", show::short(sum)),
                parts,
                ..Bar::default()
            }
        })
        .collect();
    bars::draw(out, title, &bars, None);
}

fn draw_table<const N: usize>(
    report: &Report,
    title: &str,
    kinds: &[Kind; N],
    rows: &[Amounts<'_, N>],
    show: fn(f64) -> String,
    out: &mut Markup,
) {
    let mut table = Table::new(title)
        .words("arm")
        .numbers(kinds.map(|(_, kind)| kind));
    for row in rows {
        let mut cells = vec![Cell::arm(&report.arms, row.arm.name())];
        cells.extend(row.per_task.iter().map(|it| Cell::number(*it, show)));
        table.row(cells);
    }
    table.write(out);
}
