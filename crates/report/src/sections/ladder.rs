//! The cumulative ladder: what each module adds to those before it.

use super::{at_a_time, note, paragraph, views};
use crate::bars::{self, Bar};
use crate::experiment::{Arm, Compared, Experiment};
use crate::markup::Markup;
use crate::page::Report;
use crate::paper::{LADDER_FEW, LADDER_MANY, MANY_SESSIONS, RUNGS};
use crate::show;
use crate::table::{Cell, NOT_KNOWN, NOT_MEASURED, Table};

pub(super) fn draw(report: &Report, out: &mut Markup) {
    let mut pieces = Vec::new();
    for (experiment, load) in report.loads() {
        let Some(rungs) = experiment.rungs(load) else {
            continue;
        };
        let mut piece = Markup::new();
        draw_one(report, experiment, load, &rungs, &mut piece);
        pieces.push((format!("{}, {}", experiment.title, at_a_time(load)), piece));
    }
    if pieces.is_empty() {
        return;
    }
    paragraph(
        out,
        "Each rung has one module more than the one above it, all on the same questions; 1 is the \
         large model alone on the same engine with every module off. Bars are ours, with the 95 % \
         interval as a line.",
    );
    bars::legend(
        out,
        &[("paper-swatch".to_owned(), "the paper’s".to_owned())],
    );
    views(out, "sessions at a time", pieces);
}

/// What a ladder shows at a load: throughput where many sessions run, else the time of a task.
pub(super) struct Measure {
    pub(super) name: &'static str,
    pub(super) paper: [Option<f64>; 5],
    is_throughput: bool,
}

impl Measure {
    pub(super) fn at(load: Option<f64>) -> Self {
        let is_throughput = load.is_some_and(|load| load >= MANY_SESSIONS);
        Self {
            name: if is_throughput {
                "tasks per hour"
            } else {
                "task time"
            },
            paper: if is_throughput {
                LADDER_MANY
            } else {
                LADDER_FEW
            },
            is_throughput,
        }
    }

    pub(super) fn of(&self, compared: &Compared) -> Option<f64> {
        match self.is_throughput {
            true => compared.throughput,
            false => compared.speedup,
        }
    }

    pub(super) fn ends(&self, compared: &Compared) -> Option<(f64, f64)> {
        compared.speedup_ends.filter(|_| !self.is_throughput)
    }
}

fn draw_one(
    report: &Report,
    experiment: &Experiment,
    load: Option<f64>,
    rungs: &[Option<&Arm>; 5],
    out: &mut Markup,
) {
    let measure = Measure::at(load);
    let mut table = Table::new(format!(
        "Times as fast as the large model alone, by {}",
        measure.name
    ))
    .words("rung")
    .words("arm")
    .numbers([
        "ours ×",
        "this rung adds ×",
        "paper ×",
        "F1",
        "F1 difference",
    ])
    .numbers(["prompt tokens computed, fewer by ×"]);
    let mut drawn = Vec::new();
    let mut before = None;
    for ((name, arm), paper) in RUNGS.iter().zip(rungs).zip(measure.paper) {
        let compared = arm.map(|arm| experiment.compared(arm)).unwrap_or_default();
        let ours = measure.of(&compared);
        let ends = measure.ends(&compared);
        drawn.push(bar(report, name, *arm, ours, ends, paper));
        let adds = ours
            .zip(before)
            .map(|(ours, before): (f64, f64)| ours / before);
        before = ours.or(before);
        table.row(vec![
            Cell::text(*name),
            arm.map_or(Cell::faint(NOT_MEASURED), |it| {
                Cell::arm(&report.arms, it.name())
            }),
            Cell::interval(ours, ends, show::times),
            Cell::number(adds, show::times),
            paper.map_or(Cell::faint(NOT_KNOWN), |it| {
                Cell::number(Some(it), show::times)
            }),
            Cell::number(arm.and_then(|arm| arm.row.f1), show::score),
            Cell::interval(compared.f1, compared.f1_ends, |it| show::signed(it, 3)),
            Cell::number(compared.computed, show::times),
        ]);
    }
    bars::draw(
        out,
        "Times as fast as the large model alone",
        &drawn,
        Some(1.0),
    );
    table.write(out);
    draw_note(&measure, load, out);
}

/// Says what is beside what.
fn draw_note(measure: &Measure, load: Option<f64>, out: &mut Markup) {
    let about = match measure.is_throughput {
        true => "The paper’s are of throughput with 16 sessions, 7B and 38B on its hardware.",
        false => {
            "The paper’s are of task time at low concurrency, 7B and 38B on its hardware; the \
             1.32× of AgentCollab is of its table about that module."
        }
    };
    note(
        out,
        format!(
            "By {}, {}. {about} Its accuracy with AgentCollab is 33.8 %, of the large model alone \
             34.6 %.",
            measure.name,
            at_a_time(load)
        ),
    );
}

fn bar(
    report: &Report,
    name: &str,
    arm: Option<&Arm>,
    ours: Option<f64>,
    ends: Option<(f64, f64)>,
    paper: Option<f64>,
) -> Bar {
    let class = arm
        .map(|arm| report.arms.class(arm.name()))
        .unwrap_or_default();
    let shown = ours.map_or(NOT_MEASURED.to_owned(), show::times);
    let theirs = paper.map_or(NOT_KNOWN.to_owned(), show::times);
    let interval = ends.map(|ends| format!(" ({})", show::span(ends, |it| show::fixed(it, 2))));
    Bar {
        label: name.to_owned(),
        value: format!("{shown}{} · paper {theirs}", interval.unwrap_or_default()),
        parts: ours
            .map(|ours| (class, ours, format!("{name}: {shown}")))
            .into_iter()
            .collect(),
        ends,
        paper,
    }
}
