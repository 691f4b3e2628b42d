//! What plots are made of: marks of arms, their legend, lines and labels.

use std::fmt::Display;

use crate::markup::Markup;
use crate::page::Report;

/// The mark of an arm at a place of a plot.
pub(super) fn dot(report: &Report, arm: &str, title: &str, (x, y): (&str, &str), out: &mut Markup) {
    out.open("g", &[("class", &"point")]);
    out.element("title", &[], title);
    out.open(
        "circle",
        &[
            ("class", &report.arms.class(arm)),
            ("cx", &x),
            ("cy", &y),
            ("r", &"10"),
        ],
    );
    out.close("circle");
    out.element(
        "text",
        &[
            ("class", &"number"),
            ("x", &x),
            ("y", &y),
            ("dy", &"4"),
            ("text-anchor", &"middle"),
        ],
        report.arms.number(arm),
    );
    out.close("g");
}

/// The marks and names of the arms of a plot.
pub(super) fn legend_of<'a>(
    report: &Report,
    arms: impl Iterator<Item = &'a str>,
    out: &mut Markup,
) {
    out.open("ul", &[("class", &"legend")]);
    for arm in arms {
        out.open("li", &[]);
        report.arms.tag(arm).write(out);
        out.text(arm);
        out.close("li");
    }
    out.close("ul");
}

/// Where in a plot: from the left and from the top, as SVG says it.
pub(super) type Place<'a> = (&'a dyn Display, &'a dyn Display);

/// A line of a plot, with the class that tells its looks.
pub(super) fn line(out: &mut Markup, class: &str, from: Place<'_>, to: Place<'_>) {
    out.open(
        "line",
        &[
            ("class", &class),
            ("x1", from.0),
            ("y1", from.1),
            ("x2", to.0),
            ("y2", to.1),
        ],
    );
    out.close("line");
}

/// A label of a plot; `anchor` says which end of it is at the place.
pub(super) fn text(out: &mut Markup, x: &str, y: &str, anchor: &str, text: &str) {
    out.element(
        "text",
        &[("x", &x), ("y", &y), ("dy", &"4"), ("text-anchor", &anchor)],
        text,
    );
}
