//! The page from top to bottom: each section draws what the runs have for it, or nothing.

mod about;
mod acceptance;
mod answers;
mod cells;
mod compress;
mod engine;
mod headline;
mod ladder;
mod lanes;
mod paper;
mod plot;
mod positions;
mod scale;
mod sched;
mod spent;
mod tasks;

use crate::markup::Markup;
use crate::page::Report;
use crate::show;

/// Draws a section.
type Draw = fn(&Report, &mut Markup);

/// Place, title and content of the sections, in reading order.
pub(crate) const SECTIONS: [(&str, &str, Draw); 16] = [
    ("about", "What was measured", about::draw),
    ("headline", "Headline figures", headline::draw),
    ("ladder", "The ladder of modules", ladder::draw),
    ("plane", "Accuracy and time", answers::draw),
    ("paper", "The paper’s tables beside ours", paper::draw),
    ("tokens", "Tokens by kind", spent::draw_tokens),
    ("time", "Time by kind", spent::draw_time),
    ("lanes", "Sessions over time", lanes::draw),
    ("cells", "Shadow price and cells over time", cells::draw),
    (
        "acceptance",
        "Drafts and what was accepted",
        acceptance::draw,
    ),
    (
        "compress",
        "Compression of recorded sessions",
        compress::draw,
    ),
    ("sched", "Scheduling policies", sched::draw),
    ("scale", "Many sessions, simulated", scale::draw),
    ("engine", "Engine beside its peers", engine::draw),
    ("steps", "Steps that both models took", answers::draw_steps),
    ("questions", "Question by question", tasks::draw),
];

/// Shows one of several pieces at a time; without the script, and on paper, one after the other.
fn views(out: &mut Markup, what: &str, pieces: Vec<(String, Markup)>) {
    let pieces: Vec<_> = pieces
        .into_iter()
        .filter(|(_, piece)| !piece.is_empty())
        .collect();
    let is_many = pieces.len() > 1;
    if is_many {
        out.open("div", &[("class", &"views"), ("data-what", &what)]);
    }
    for (label, piece) in &pieces {
        out.open("div", &[("class", &"view"), ("data-label", label)]);
        out.element("h3", &[], label);
        out.append(piece);
        out.close("div");
    }
    if is_many {
        out.close("div");
    }
}

/// A paragraph.
fn paragraph(out: &mut Markup, text: impl std::fmt::Display) {
    out.element("p", &[], text);
}

/// A paragraph that says how to read what is beside it.
fn note(out: &mut Markup, text: impl std::fmt::Display) {
    out.element("p", &[("class", &"note")], text);
}

/// How many sessions ran at a time.
fn at_a_time(load: Option<f64>) -> String {
    match load {
        Some(load) => format!("{} at a time", show::count(load)),
        None => "sessions at a time not known".to_owned(),
    }
}

/// Round numbers between two, about so many.
fn ticks(low: f64, high: f64, about: f64) -> Vec<f64> {
    /// More would only be a mistake, such as of a range that is no number.
    const MOST: usize = 30;
    let rough = (high - low) / about;
    if !rough.is_finite() || rough <= 0.0 {
        return Vec::new();
    }
    let power = 10_f64.powf(rough.log10().floor());
    let mut steps = [1.0, 2.0, 5.0].into_iter().map(|it| it * power);
    let step = steps.find(|step| *step >= rough).unwrap_or(10.0 * power);
    let first = (low / step).ceil();
    let ticks = (0..MOST).map(|index| (first + index as f64) * step);
    ticks
        .take_while(|tick| *tick <= high + step * 1e-6)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 18.0, 4.0), [0.0, 5.0, 10.0, 15.0]);
        assert!(ticks(0.0, 0.0, 4.0).is_empty());
        assert!(ticks(0.0, f64::NAN, 4.0).is_empty());
        assert_eq!(ticks(3.0, 9.0, 3.0), [4.0, 6.0, 8.0]);
    }
}
