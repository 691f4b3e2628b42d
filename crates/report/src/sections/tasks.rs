//! Every question with what each arm answered.

use super::{at_a_time, note, views};
use crate::experiment::Experiment;
use crate::markup::Markup;
use crate::page::Report;
use crate::run::TaskRow;
use crate::show;
use crate::table::{Cell, Table};

/// Questions shown of an experiment: each is a row with three cells per arm.
const MOST_QUESTIONS: usize = 2000;

pub(super) fn draw(report: &Report, out: &mut Markup) {
    let mut pieces = Vec::new();
    for (experiment, load) in report.loads() {
        let mut piece = Markup::new();
        draw_one(report, experiment, load, &mut piece);
        let Experiment { bench, title, .. } = experiment;
        pieces.push((format!("{bench}: {title}, {}", at_a_time(load)), piece));
    }
    if pieces.iter().all(|(_, piece)| piece.is_empty()) {
        return;
    }
    note(
        out,
        "Press a column’s title to sort by it. Of an arm that was run several times F1 and seconds \
         are means, and all its different answers are shown.",
    );
    views(out, "questions", pieces);
}

fn draw_one(report: &Report, experiment: &Experiment, load: Option<f64>, out: &mut Markup) {
    let here = || experiment.tasks.iter().filter(|row| row.sessions == load);
    let mut questions: Vec<&TaskRow> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for row in here() {
        if seen.insert(row.id.as_str()) {
            questions.push(row);
        }
    }
    if questions.len() > MOST_QUESTIONS {
        note(
            out,
            format!(
                "The first {MOST_QUESTIONS} of {} questions.",
                questions.len()
            ),
        );
        questions.truncate(MOST_QUESTIONS);
    }
    let mut by_arm = std::collections::HashMap::<(&str, &str), Vec<&TaskRow>>::new();
    for row in here() {
        by_arm.entry((&row.arm, &row.id)).or_default().push(row);
    }
    let arms: Vec<&str> = experiment.at_load(load).map(|arm| arm.name()).collect();
    let arms: Vec<&str> = arms
        .into_iter()
        .filter(|arm| here().any(|row| row.arm == *arm))
        .collect();
    let mut table = Table::new("Questions and answers")
        .words("question")
        .words("right answer")
        .group("", None, 2)
        .filtered();
    for arm in &arms {
        let tag = report.arms.tag(arm);
        table = table
            .words("answer")
            .numbers(["F1", "s"])
            .group(arm, Some(tag), 3);
    }
    for question in questions {
        let mut row = vec![Cell::text(&question.question), references(question)];
        for arm in &arms {
            let rows = by_arm.get(&(*arm, question.id.as_str()));
            let rows = rows.map_or(&[][..], Vec::as_slice);
            let mean = |of: fn(&TaskRow) -> Option<f64>| {
                let values: Vec<f64> = rows.iter().filter_map(|row| of(row)).collect();
                (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
            };
            row.push(answers(rows));
            row.push(Cell::number(mean(|row| row.f1), |it| show::fixed(it, 2)));
            row.push(Cell::number(mean(|row| row.seconds), show::short));
        }
        table.row(row);
    }
    table.write(out);
}

fn references(task: &TaskRow) -> Cell {
    match &task.references {
        Some(references) if !references.is_empty() => Cell::text(references.join(" / ")),
        _ => Cell::faint(show::NONE),
    }
}

/// The different answers, or why there is none.
fn answers(rows: &[&TaskRow]) -> Cell {
    let mut said: Vec<String> = Vec::new();
    for row in rows {
        let failed = row.error.as_ref().map(|error| format!("failed: {error}"));
        let text = failed.or(row.answer.clone()).unwrap_or_default();
        if !text.is_empty() && !said.contains(&text) {
            said.push(text);
        }
    }
    match said.is_empty() {
        true => Cell::faint(show::NONE),
        false => Cell::text(said.join(" / ")),
    }
}
