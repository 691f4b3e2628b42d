//! The page: a template, and the sections that the runs have something for.

use crate::experiment::{Experiment, arm_names, experiments};
use crate::markup::Markup;
use crate::palette::Palette;
use crate::run::Run;
use crate::sections::SECTIONS;
use crate::{ReportError, RunFile};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// All that is shown.
pub(crate) struct Report {
    pub(crate) runs: Vec<Run>,
    pub(crate) experiments: Vec<Experiment>,
    /// Ways to answer questions, and settings of AgentCompress.
    pub(crate) arms: Palette,
    /// Scheduling policies.
    pub(crate) policies: Palette,
    /// Drafters and servers, ours and peers'.
    pub(crate) peers: Palette,
}

/// Draws the page of these runs, in the order given.
///
/// # Errors
/// When there are none, or one of them is not a report of a bench that is known.
pub fn page(files: &[RunFile<'_>]) -> Result<String, ReportError> {
    if files.is_empty() {
        return Err(ReportError::NoRuns);
    }
    let runs: Vec<Run> = files.iter().map(Run::read).collect::<Result<_, _>>()?;
    let report = Report::new(runs);
    let (mut contents, mut body) = (Markup::new(), Markup::new());
    for (id, title, draw) in SECTIONS {
        let mut section = Markup::new();
        draw(&report, &mut section);
        if section.is_empty() {
            continue;
        }
        contents.open("li", &[]);
        contents.element("a", &[("href", &format!("#{id}"))], title);
        contents.close("li");
        body.open(
            "section",
            &[("id", &id), ("aria-labelledby", &format!("{id}-title"))],
        );
        body.element("h2", &[("id", &format!("{id}-title"))], title);
        body.append(&section);
        body.close("section");
    }
    let mut label = Markup::new();
    label.text(report.label());
    let places: [(&str, &str); 5] = [
        ("{{style}}", STYLE),
        ("{{label}}", &label.into_string()),
        ("{{contents}}", &contents.into_string()),
        ("{{body}}", &body.into_string()),
        ("{{script}}", SCRIPT),
    ];
    Ok(filled(TEMPLATE, &places))
}

/// The template with its places filled in their order, so that no text is taken for a place.
fn filled(template: &str, places: &[(&str, &str)]) -> String {
    let (mut page, mut rest) = (String::new(), template);
    for (place, text) in places {
        let (before, after) = rest.split_once(place).expect("the template has each place");
        page += before;
        page += text;
        rest = after;
    }
    page + rest
}

impl Report {
    /// The experiments, each with every number of sessions at a time that it has.
    pub(crate) fn loads(&self) -> impl Iterator<Item = (&Experiment, Option<f64>)> {
        let experiments = self.experiments.iter();
        experiments.flat_map(|it| it.loads().into_iter().map(move |load| (it, load)))
    }

    fn new(runs: Vec<Run>) -> Self {
        let experiments = experiments(&runs);
        let results = || runs.iter().map(|run| &run.results);
        let policies = results().flat_map(|it| it.policies.iter().map(|row| row.policy.as_str()));
        let peers = results().flat_map(|it| {
            let drafters = it.sets.iter().filter(|row| row.mode.is_some());
            let drafters = drafters.map(|row| row.arm.as_str());
            let servers = it.cases.iter().map(|row| row.arm.as_str());
            let spec = it.speculation.iter().map(|row| row.arm.as_str());
            drafters.chain(servers).chain(spec)
        });
        Self {
            arms: arm_names(&experiments, &runs),
            policies: Palette::of(policies),
            peers: Palette::of(peers),
            experiments,
            runs,
        }
    }

    /// One line about all of it.
    fn label(&self) -> String {
        let mut benches: Vec<&str> = Vec::new();
        for run in &self.runs {
            if !benches.contains(&run.bench.as_str()) {
                benches.push(&run.bench);
            }
        }
        let runs = match self.runs.len() {
            1 => "1 run".to_owned(),
            many => format!("{many} runs"),
        };
        format!("{runs} of agentinfer bench {}", benches.join(", "))
    }
}
