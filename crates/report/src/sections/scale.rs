//! The modules for many sessions, simulated: throughput by sessions, and what saturates first.

use super::plot::{dot, legend_of, line, text};
use super::{note, ticks, views};
use crate::markup::{Markup, percent, px};
use crate::page::Report;
use crate::run::ScaleRow;
use crate::show;
use crate::table::{Cell, Table};

/// Pixels from the plot's top to its axis.
const HEIGHT: f64 = 280.0;

/// An arm with so many sessions: the means over the seeds.
struct Point<'a> {
    arm: &'a str,
    sessions: f64,
    rows: Vec<&'a ScaleRow>,
}

impl Point<'_> {
    fn mean(&self, of: impl Fn(&ScaleRow) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = self.rows.iter().filter_map(|row| of(row)).collect();
        let count = values.len() as f64;
        (count > 0.0).then(|| values.iter().sum::<f64>() / count)
    }

    fn tasks_per_hour(&self) -> f64 {
        self.mean(|row| row.tasks_per_hour).unwrap_or(0.0)
    }
}

pub(super) fn draw(report: &Report, out: &mut Markup) {
    let mut pieces = Vec::new();
    for (index, run) in report.runs.iter().enumerate() {
        let rows = &run.results.scale;
        let Some(first) = rows.first() else { continue };
        let points = points(rows);
        let mut piece = Markup::new();
        draw_plot(report, &points, &mut piece);
        draw_first(report, run, &mut piece);
        draw_table(report, &points, &mut piece);
        pieces.push((format!("{} pair, run {}", first.pair, index + 1), piece));
    }
    if pieces.is_empty() {
        return;
    }
    note(
        out,
        "Simulated time: production engines, scheduler and controller with two models that only \
         take time. Sessions that are done in an hour, by how many there are; the run says what \
         models and devices were taken to be.",
    );
    views(out, "pairs", pieces);
}

/// The points, in the order of the rows.
fn points(rows: &[ScaleRow]) -> Vec<Point<'_>> {
    let mut points: Vec<Point<'_>> = Vec::new();
    for row in rows {
        let sessions = row.sessions.unwrap_or(0.0);
        let known = points
            .iter_mut()
            .find(|it| it.arm == row.arm && it.sessions == sessions);
        match known {
            Some(point) => point.rows.push(row),
            None => points.push(Point {
                arm: &row.arm,
                sessions,
                rows: vec![row],
            }),
        }
    }
    points
}

/// The arms, in their order.
fn arms<'a>(points: &[Point<'a>]) -> Vec<&'a str> {
    let mut arms = Vec::new();
    for point in points {
        if !arms.contains(&point.arm) {
            arms.push(point.arm);
        }
    }
    arms
}

fn draw_plot(report: &Report, points: &[Point<'_>], out: &mut Markup) {
    let sessions = points.iter().map(|point| point.sessions);
    let (least, most) = sessions.fold((f64::INFINITY, 0.0_f64), |ends, it| {
        (ends.0.min(it), ends.1.max(it))
    });
    let high = points.iter().map(Point::tasks_per_hour);
    let high = 1.06 * high.fold(0.0, f64::max);
    if least <= 0.0 || least >= most || high <= 0.0 {
        return;
    }
    // From 4 to 96 %, so that marks and numbers have room.
    let along = |sessions: f64| (sessions / least).ln() / (most / least).ln();
    let x = |sessions: f64| percent(0.04 + 0.92 * along(sessions));
    let y = |tasks: f64| px(HEIGHT * (1.0 - tasks / high));
    out.open("div", &[("class", &"plot")]);
    let label = "Tasks an hour by sessions, a line per arm; the table has the numbers";
    out.open(
        "svg",
        &[
            ("role", &"img"),
            ("aria-label", &label),
            ("width", &"100%"),
            ("height", &px(HEIGHT + 40.0)),
        ],
    );
    for tick in ticks(0.0, high, 5.0) {
        line(out, "grid", (&"0", &y(tick)), (&"100%", &y(tick)));
        text(out, "-6", &y(tick), "end", &show::count(tick));
    }
    let mut marked: Vec<f64> = points.iter().map(|point| point.sessions).collect();
    marked.sort_by(f64::total_cmp);
    marked.dedup();
    for tick in marked {
        let below = px(HEIGHT + 14.0);
        text(out, &x(tick), &below, "middle", &show::count(tick));
    }
    text(out, "100%", &px(HEIGHT + 32.0), "end", "sessions");
    text(out, "-34", &px(-10.0), "start", "tasks an hour");
    for arm in arms(points) {
        let mut own: Vec<_> = points.iter().filter(|point| point.arm == arm).collect();
        own.sort_by(|one, other| one.sessions.total_cmp(&other.sessions));
        let place = |point: &Point<'_>| (x(point.sessions), y(point.tasks_per_hour()));
        for pair in own.windows(2) {
            let (from, to) = (place(pair[0]), place(pair[1]));
            line(out, "ends", (&from.0, &from.1), (&to.0, &to.1));
        }
        for point in own {
            let (x, y) = place(point);
            let tasks = show::short(point.tasks_per_hour());
            let title = format!("{arm}: {tasks} an hour, {} sessions", point.sessions);
            dot(report, arm, &title, (&x, &y), out);
        }
    }
    out.close("svg");
    out.close("div");
    legend_of(report, arms(points).into_iter(), out);
}

fn draw_first(report: &Report, run: &crate::run::Run, out: &mut Markup) {
    let mut table = Table::new("What saturates first")
        .words("arm")
        .words("what")
        .numbers(["from sessions on"])
        .words("why");
    for row in &run.results.first {
        table.row(vec![
            Cell::arm(&report.arms, &row.arm),
            Cell::text(&row.what),
            Cell::number(row.sessions, show::count),
            Cell::text(&row.reason),
        ]);
    }
    table.write(out);
}

fn draw_table(report: &Report, points: &[Point<'_>], out: &mut Markup) {
    let mut table = Table::new("Means over the seeds; ratios are beside the first arm")
        .words("arm")
        .numbers([
            "sessions",
            "task s",
            "times as fast ×",
            "tasks an hour",
            "throughput ×",
            "first token s",
        ])
        .numbers([
            "resident",
            "large busy",
            "small busy",
            "large cells held",
            "small cells held",
        ])
        .words("saturated");
    for point in points {
        let share = |of: fn(&ScaleRow) -> Option<f64>| Cell::number(point.mean(of), show::share);
        let saturated = point.rows.first().map_or("", |row| &row.first_saturated);
        table.row(vec![
            Cell::arm(&report.arms, point.arm),
            Cell::number(Some(point.sessions), show::count),
            Cell::number(point.mean(|row| row.task_seconds_mean), show::short),
            Cell::number(point.mean(|row| row.speedup), show::times),
            Cell::number(point.mean(|row| row.tasks_per_hour), show::short),
            Cell::number(point.mean(|row| row.throughput), show::times),
            Cell::number(point.mean(|row| row.ttft_mean_s), show::short),
            share(|row| row.hit_rate),
            share(|row| row.large.busy_share),
            share(|row| row.small.busy_share),
            share(|row| row.large.cells_held_share),
            share(|row| row.small.cells_held_share),
            Cell::text(saturated),
        ]);
    }
    table.write_folded(out, "Times, hits and loads of every arm");
}
