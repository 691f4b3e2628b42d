//! Drafted tokens by where they came from and how far into their draft: how many held.

use crate::bars;
use crate::markup::{Markup, percent, px};
use crate::palette::Palette;
use crate::run::AcceptanceRow;
use crate::show;
use crate::table::{Cell, Table};

/// Positions that are shown; the last one stands for all later ones, too.
const POSITIONS: usize = 9;
const TITLES: [&str; POSITIONS] = ["1", "2", "3", "4", "5", "6", "7", "8", "9 and on"];
/// Fewer tokens put to the test are not drawn: their share is mostly chance.
const FEWEST: f64 = 20.0;
/// Height of the drawing, of its axis, and the width that its lines are given in; it is stretched.
const HEIGHT: f64 = 130.0;
const AXIS: f64 = 22.0;
const WIDTH: f64 = 900.0;

/// The sources that are known: name, and the classes of its line and of its points.
const SOURCES: [(&str, &str, &str); 4] = [
    ("session", "s0", "k0"),
    ("corpus", "s1", "k1"),
    ("sparse", "s2", "k5"),
    ("forced", "s3", "k3"),
];

/// Whose drafts.
pub(super) struct Drafts<'a> {
    pub(super) arm: &'a str,
    /// In which replay or case.
    pub(super) place: String,
    pub(super) rows: &'a [AcceptanceRow],
    /// Whether they are drawn, too.
    pub(super) is_drawn: bool,
}

/// Counts by position.
#[derive(Clone, Debug, Default)]
struct Source {
    name: String,
    drafted: [f64; POSITIONS],
    tested: [f64; POSITIONS],
    accepted: [f64; POSITIONS],
}

/// Draws the drafts of which anything is known; `place` is what tells those of an arm apart.
pub(super) fn draw(palette: &Palette, place: &str, drafts: &[Drafts<'_>], out: &mut Markup) {
    let known: Vec<(&Drafts<'_>, Vec<Source>)> = drafts
        .iter()
        .map(|drafts| (drafts, sources(drafts.rows)))
        .filter(|(_, sources)| !sources.is_empty())
        .collect();
    for (drafts, sources) in known.iter().filter(|(drafts, _)| drafts.is_drawn) {
        let number = palette.number(drafts.arm);
        let title = format!(
            "Accepted of those put to the test, by position in the draft: {number} {}, {place} {}",
            drafts.arm, drafts.place
        );
        plot(&title, sources, out);
    }
    let columns = |caption: &str| {
        Table::new(caption)
            .words("drafts of")
            .words(place)
            .words("source")
    };
    let mut shares = columns("Accepted of those put to the test, by position in the draft")
        .numbers(["drafted", "accepted of drafted"])
        .numbers(TITLES);
    let mut counts = columns("Tokens drafted, by position in the draft").numbers(TITLES);
    for (drafts, sources) in &known {
        let sum = (sources.len() > 1).then(|| all(sources));
        for source in sources.iter().chain(&sum) {
            let first = || {
                let name = Cell::text(&source.name);
                vec![
                    Cell::arm(palette, drafts.arm),
                    Cell::text(&drafts.place),
                    name,
                ]
            };
            let mut row = first();
            let drafted: f64 = source.drafted.iter().sum();
            let accepted: f64 = source.accepted.iter().sum();
            row.push(Cell::number(Some(drafted), show::count));
            row.push(Cell::number(Some(accepted / drafted), show::share));
            row.extend((0..POSITIONS).map(|at| match source.share(at) {
                Some(share) => Cell::of(share, source.told(at)),
                None => Cell::faint(show::NONE),
            }));
            shares.row(row);
            let mut row = first();
            row.extend(
                source
                    .drafted
                    .map(|count| Cell::number(Some(count), show::count)),
            );
            counts.row(row);
        }
    }
    shares.write(out);
    counts.write_folded(out, "How many were drafted at each position");
}

/// The sources of which anything was drafted, in the order in which the rows have them.
fn sources(rows: &[AcceptanceRow]) -> Vec<Source> {
    let mut found: Vec<Source> = Vec::new();
    for row in rows.iter().filter(|row| row.drafted > 0.0) {
        let known = found.iter().position(|it| it.name == row.source);
        let at = known.unwrap_or_else(|| {
            found.push(Source {
                name: row.source.clone(),
                ..Source::default()
            });
            found.len() - 1
        });
        let position = (row.position.max(1.0) as usize).min(POSITIONS) - 1;
        found[at].drafted[position] += row.drafted;
        found[at].tested[position] += row.tested;
        found[at].accepted[position] += row.accepted;
    }
    found
}

fn all(sources: &[Source]) -> Source {
    let mut all = Source {
        name: "all".to_owned(),
        ..Source::default()
    };
    for source in sources {
        for at in 0..POSITIONS {
            all.drafted[at] += source.drafted[at];
            all.tested[at] += source.tested[at];
            all.accepted[at] += source.accepted[at];
        }
    }
    all
}

impl Source {
    /// The share that was accepted at a position, of those put to the test.
    fn share(&self, at: usize) -> Option<f64> {
        let (accepted, tested) = (self.accepted[at], self.tested[at]);
        (tested > 0.0).then(|| accepted / tested)
    }

    fn told(&self, at: usize) -> String {
        let share = self.share(at).map_or(show::NONE.to_owned(), show::share);
        format!("{share} of {}", show::count(self.tested[at]))
    }

    /// Classes of its line and of its points.
    fn classes(&self) -> (&'static str, &'static str) {
        let known = SOURCES.iter().find(|(name, _, _)| *name == self.name);
        known.map_or(("s2", "k5"), |(_, line, point)| (line, point))
    }
}

/// Where the middle of a position is, as a share of the width.
fn middle(at: usize) -> f64 {
    (at as f64 + 0.5) / POSITIONS as f64
}

/// A source and its points: position from 0, and height.
type Line<'a> = (&'a Source, Vec<(usize, f64)>);

fn plot(title: &str, sources: &[Source], out: &mut Markup) {
    let point = |source: &Source, at: usize| {
        let share = source.share(at).filter(|_| source.tested[at] >= FEWEST);
        share.map(|share| (at, HEIGHT * (1.0 - share.clamp(0.0, 1.0))))
    };
    let lines = sources.iter().map(|source| {
        let points = (0..POSITIONS).filter_map(|at| point(source, at));
        (source, points.collect())
    });
    let lines: Vec<Line<'_>> = lines
        .filter(|(_, points): &Line<'_>| !points.is_empty())
        .collect();
    if lines.is_empty() {
        return;
    }
    out.element("h4", &[], title);
    let entry = |(source, _): &Line<'_>| (source.classes().0.to_owned(), source.name.clone());
    bars::legend(out, &lines.iter().map(entry).collect::<Vec<_>>());
    out.open("div", &[("class", &"plot")]);
    out.open(
        "svg",
        &[
            ("role", &"img"),
            ("aria-label", &format!("{title}; the table has the numbers")),
            ("width", &"100%"),
            ("height", &px(HEIGHT + AXIS)),
        ],
    );
    axes(out);
    draw_lines(&lines, out);
    draw_points(&lines, out);
    out.close("svg");
    out.close("div");
}

fn draw_lines(lines: &[Line<'_>], out: &mut Markup) {
    out.open(
        "svg",
        &[
            ("width", &"100%"),
            ("height", &px(HEIGHT)),
            ("viewBox", &format!("0 0 {WIDTH} {HEIGHT}")),
            ("preserveAspectRatio", &"none"),
        ],
    );
    for (source, points) in lines {
        let place = |(at, y): &(usize, f64)| format!("{} {}", px(WIDTH * middle(*at)), px(*y));
        let places: Vec<String> = points.iter().map(place).collect();
        let path = format!("M{}", places.join("L"));
        out.open("path", &[("class", &source.classes().0), ("d", &path)]);
        out.close("path");
    }
    out.close("svg");
}

fn draw_points(lines: &[Line<'_>], out: &mut Markup) {
    for (source, points) in lines {
        for (at, y) in points {
            let circle: [(&'static str, &dyn std::fmt::Display); 4] = [
                ("class", &source.classes().1),
                ("cx", &percent(middle(*at))),
                ("cy", &px(*y)),
                ("r", &"4"),
            ];
            out.open("circle", &circle);
            let told = format!("{}, {}: {}", source.name, TITLES[*at], source.told(*at));
            out.element("title", &[], told);
            out.close("circle");
        }
    }
}

/// Lines at round shares, and the positions below.
fn axes(out: &mut Markup) {
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let y = px(HEIGHT * (1.0 - share));
        let line: [(&'static str, &dyn std::fmt::Display); 5] = [
            ("class", &"grid"),
            ("x1", &"0"),
            ("x2", &"100%"),
            ("y1", &y),
            ("y2", &y),
        ];
        out.open("line", &line);
        out.close("line");
        let place: [(&'static str, &dyn std::fmt::Display); 4] = [
            ("x", &"-6"),
            ("y", &y),
            ("dy", &"4"),
            ("text-anchor", &"end"),
        ];
        out.element("text", &place, format!("{} %", show::count(100.0 * share)));
    }
    for (at, title) in TITLES.iter().enumerate() {
        let place: [(&'static str, &dyn std::fmt::Display); 3] = [
            ("x", &percent(middle(at))),
            ("y", &px(HEIGHT + 15.0)),
            ("text-anchor", &"middle"),
        ];
        // A phone has no room for words here.
        let shown = if at + 1 < POSITIONS { title } else { "9+" };
        out.element("text", &place, shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(source: &str, position: f64, counts: [f64; 3]) -> AcceptanceRow {
        let [drafted, tested, accepted] = counts;
        AcceptanceRow {
            source: source.to_owned(),
            position,
            drafted,
            tested,
            accepted,
        }
    }

    fn drawn(rows: &[AcceptanceRow]) -> String {
        let palette = Palette::of(["ours"].into_iter());
        let drafts = Drafts {
            arm: "ours",
            place: "16".to_owned(),
            rows,
            is_drawn: true,
        };
        let mut out = Markup::new();
        draw(&palette, "longest draft", &[drafts], &mut out);
        out.into_string()
    }

    #[test]
    fn shares_are_of_those_put_to_the_test() {
        let text = drawn(&[
            row("session", 1.0, [2000.0, 2000.0, 1000.0]),
            row("session", 2.0, [1500.0, 800.0, 200.0]),
            row("forced", 1.0, [10.0, 10.0, 9.0]),
            row("forced", 12.0, [5.0, 0.0, 0.0]),
        ]);
        for shown in [
            "50 % of 2,000",
            "25 % of 800",
            "90 % of 10",
            // Both sources at the first position, and in all.
            "50 % of 2,010",
            ">3,515<",
            ">34 %<",
            "How many were drafted at each position",
        ] {
            assert!(text.contains(shown), "{shown} in {text}");
        }
        // Too few forced tokens to be drawn; half of the first, a quarter of the second positions.
        assert_eq!(text.matches("<path").count(), 1);
        assert_eq!(text.matches("<circle").count(), 2);
        assert!(text.contains("d=\"M50.00 65.00L150.00 97.50\""), "{text}");
    }

    #[test]
    fn what_is_not_known_is_not_drawn() {
        assert_eq!(drawn(&[]), "");
        assert_eq!(drawn(&[row("session", 1.0, [0.0; 3])]), "");
        let untested = drawn(&[row("moon", 0.0, [5.0, 0.0, 0.0])]);
        assert!(untested.contains("moon") && !untested.contains("<svg"));
        assert!(!untested.contains("NaN"), "{untested}");
    }
}
