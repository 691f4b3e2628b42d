//! Accuracy beside time: a plane of the arms, and all their figures.

use super::plot::{dot, legend_of, line, text};
use super::{at_a_time, note, ticks, views};
use crate::experiment::{Arm, Experiment};
use crate::markup::{Markup, percent, px};
use crate::page::Report;
use crate::show;
use crate::table::{Cell, Table};

/// Pixels from the plane's top to its axis.
const HEIGHT: f64 = 300.0;

pub(super) fn draw(report: &Report, out: &mut Markup) {
    let mut pieces = Vec::new();
    for (experiment, load) in report.loads() {
        let mut piece = Markup::new();
        draw_plane(report, experiment, load, &mut piece);
        draw_table(report, experiment, load, &mut piece);
        let Experiment { bench, title, .. } = experiment;
        pieces.push((format!("{bench}: {title}, {}", at_a_time(load)), piece));
    }
    if pieces.is_empty() {
        return;
    }
    note(
        out,
        "Up is better, left is faster. Lines are 95 % intervals of the paired difference to the \
         base, where the run has them. Ratios are beside the base: more than 1 is better.",
    );
    views(out, "questions", pieces);
}

/// A point of the plane.
struct Point<'a> {
    arm: &'a Arm,
    seconds: f64,
    f1: f64,
    seconds_ends: Option<(f64, f64)>,
    f1_ends: Option<(f64, f64)>,
}

fn points<'a>(experiment: &'a Experiment, load: Option<f64>) -> Vec<Point<'a>> {
    let base = experiment.base(load);
    let point = |arm: &'a Arm| {
        let compared = experiment.compared(arm);
        let base_seconds = base.and_then(|base| base.row.task_seconds_mean);
        let base_f1 = base.and_then(|base| base.row.f1);
        let ends = compared
            .speedup_ends
            .filter(|ends| ends.0 > 0.0)
            .zip(base_seconds);
        Some(Point {
            arm,
            seconds: arm.row.task_seconds_mean?,
            f1: arm.row.f1?,
            seconds_ends: ends.map(|(ends, base)| (base / ends.1, base / ends.0)),
            f1_ends: compared
                .f1_ends
                .zip(base_f1)
                .map(|(it, f1)| (it.0 + f1, it.1 + f1)),
        })
    };
    experiment.at_load(load).filter_map(point).collect()
}

fn draw_plane(report: &Report, experiment: &Experiment, load: Option<f64>, out: &mut Markup) {
    let points = points(experiment, load);
    if points.len() < 2 {
        return;
    }
    let (most, (low, high)) = ranges(&points);
    let x = |seconds: f64| percent((seconds / most).clamp(0.0, 1.0));
    let y = |f1: f64| px(HEIGHT * (1.0 - (f1 - low) / (high - low)).clamp(0.0, 1.0));
    out.open("div", &[("class", &"plot")]);
    let label = "F1 beside seconds per task, one point per arm; the table has the numbers";
    out.open(
        "svg",
        &[
            ("role", &"img"),
            ("aria-label", &label),
            ("width", &"100%"),
            ("height", &px(HEIGHT + 40.0)),
        ],
    );
    for tick in ticks(low, high, 5.0) {
        line(out, "grid", (&"0", &y(tick)), (&"100%", &y(tick)));
        text(out, "-6", &y(tick), "end", &show::fixed(tick, 2));
    }
    for tick in ticks(0.0, most, 5.0) {
        line(out, "grid", (&x(tick), &"0"), (&x(tick), &px(HEIGHT)));
        text(
            out,
            &x(tick),
            &px(HEIGHT + 14.0),
            "middle",
            &show::fixed(tick, 0),
        );
    }
    text(out, "100%", &px(HEIGHT + 32.0), "end", "seconds per task");
    text(out, "-34", &px(-10.0), "start", "F1");
    draw_ends(&points, x, y, out);
    for point in &points {
        draw_point(report, point, &x(point.seconds), &y(point.f1), out);
    }
    out.close("svg");
    out.close("div");
    legend_of(report, points.iter().map(|point| point.arm.name()), out);
}

/// The most seconds of a plane, and its least and most F1, with room around the points.
fn ranges(points: &[Point<'_>]) -> (f64, (f64, f64)) {
    let (mut most, mut low, mut high) = (0.0_f64, 1.0_f64, 0.0_f64);
    for point in points {
        let f1 = point.f1_ends.unwrap_or((point.f1, point.f1));
        most = most.max(point.seconds_ends.map_or(point.seconds, |ends| ends.1));
        low = low.min(f1.0).min(point.f1);
        high = high.max(f1.1).max(point.f1);
    }
    (1.06 * most, ((low - 0.04).max(0.0), (high + 0.04).min(1.0)))
}

/// Draws intervals; `x` and `y` are the places of seconds and of an F1.
fn draw_ends(
    points: &[Point<'_>],
    x: impl Fn(f64) -> String,
    y: impl Fn(f64) -> String,
    out: &mut Markup,
) {
    for point in points {
        if let Some((low, high)) = point.seconds_ends {
            line(
                out,
                "ends",
                (&x(low), &y(point.f1)),
                (&x(high), &y(point.f1)),
            );
        }
        if let Some((low, high)) = point.f1_ends {
            line(
                out,
                "ends",
                (&x(point.seconds), &y(low)),
                (&x(point.seconds), &y(high)),
            );
        }
    }
}

fn draw_point(report: &Report, point: &Point<'_>, x: &str, y: &str, out: &mut Markup) {
    let name = point.arm.name();
    let (seconds, f1) = (show::short(point.seconds), show::score(point.f1));
    let title = format!("{name}: {seconds} s, F1 {f1}");
    dot(report, name, &title, (x, y), out);
}

fn draw_table(report: &Report, experiment: &Experiment, load: Option<f64>, out: &mut Markup) {
    let base = experiment.base_name();
    let mut table = Table::new(format!("Arms beside {base}, {}", at_a_time(load)))
        .words("arm")
        .numbers(["questions", "F1", "F1 difference (95 %)", "exact match"])
        .numbers(["seconds a question", "times as fast × (95 %)"])
        .numbers(["questions per hour", "throughput ×", "errors"])
        .words("runs");
    for arm in experiment.at_load(load) {
        let (row, compared) = (&arm.row, experiment.compared(arm));
        table.row(vec![
            Cell::arm(&report.arms, arm.name()),
            Cell::number(row.tasks, show::count),
            Cell::number(row.f1, show::score),
            Cell::interval(compared.f1, compared.f1_ends, |it| show::signed(it, 3)),
            Cell::number(row.em, show::score),
            Cell::number(row.task_seconds_mean, show::short),
            Cell::interval(compared.speedup, compared.speedup_ends, show::times),
            Cell::number(row.tasks_per_hour, show::short),
            Cell::number(compared.throughput, show::times),
            Cell::number(row.errors, show::count),
            Cell::text(match arm.files {
                1 => show::count(row.runs.unwrap_or(1.0)),
                files => format!("{files} files, pooled"),
            }),
        ]);
    }
    table.write(out);
    draw_bound(experiment, out);
    draw_work(report, experiment, load, out);
}

/// What the answers took.
fn draw_work(report: &Report, experiment: &Experiment, load: Option<f64>, out: &mut Markup) {
    let mut table = Table::new(format!("What it took, {}", at_a_time(load)))
        .words("arm")
        .words("modules")
        .numbers([
            "completions a question",
            "by the large model",
            "switches",
            "stalled s",
        ])
        .numbers(["prompt tokens a question: full", "served", "computed"])
        .numbers(["tokens generated a question"]);
    for arm in experiment.at_load(load) {
        let row = &arm.row;
        let each = |sum| Cell::number(arm.per_task(sum), show::count);
        table.row(vec![
            Cell::arm(&report.arms, arm.name()),
            modules(arm),
            Cell::number(row.turns_mean, |it| show::fixed(it, 2)),
            Cell::number(row.large_step_share, show::share),
            Cell::number(row.switches, show::count),
            Cell::number(row.stall_seconds, show::short),
            each(row.prompt_tokens_full),
            each(row.prompt_tokens_served),
            each(row.prompt_tokens_computed),
            each(row.completion_tokens),
        ]);
    }
    table.write(out);
}

fn draw_bound(experiment: &Experiment, out: &mut Markup) {
    if let Some(bound) = experiment.bound.filter(|bound| bound.speedup.is_some()) {
        let [speedup, f1] = [bound.speedup, bound.f1].map(|it| it.unwrap_or(f64::NAN));
        note(
            out,
            format!(
                "Bound: each question given to the fastest arm that answers it no worse than the \
                 first arm would be {} as fast, with an F1 of {}.",
                show::times(speedup),
                show::score(f1)
            ),
        );
    }
}

fn modules(arm: &Arm) -> Cell {
    match (&arm.row.peer, &arm.row.modules) {
        (Some(peer), _) => Cell::text(format!("peer: {peer}")),
        (None, Some(modules)) if modules.is_empty() => Cell::text("none"),
        (None, Some(modules)) => Cell::text(modules.join(", ")),
        (None, None) => Cell::faint(show::NONE),
    }
}

/// Steps that were taken by both models: whether they came to the same.
pub(super) fn draw_steps(report: &Report, out: &mut Markup) {
    for experiment in &report.experiments {
        let mut table = Table::new(format!("{}, {}", experiment.bench, experiment.title))
            .words("arm")
            .words("kind of step")
            .numbers([
                "steps",
                "both came to the same",
                "small model s",
                "large model s",
            ])
            .numbers(["small model × as fast", "check precision", "check recall"]);
        for row in &experiment.steps {
            let same = row.same.zip(row.steps).map(|(same, steps)| same / steps);
            let times = row
                .large_seconds
                .zip(row.small_seconds)
                .map(|(large, small)| large / small);
            table.row(vec![
                Cell::arm(&report.arms, &row.arm),
                Cell::text(&row.kind),
                Cell::number(row.steps, show::count),
                Cell::number(same, show::share),
                Cell::number(row.small_seconds, show::short),
                Cell::number(row.large_seconds, show::short),
                Cell::number(times, show::times),
                Cell::number(row.check_precision, show::share),
                Cell::number(row.check_recall, show::share),
            ]);
        }
        table.write(out);
    }
}
