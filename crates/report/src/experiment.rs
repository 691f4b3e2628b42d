//! Runs that answered the same questions, with the same models on the same machine, are one
//! experiment.

use std::collections::BTreeMap;

use crate::palette::Palette;
use crate::run::{
    ArmRow, BoundRow, ComparisonRow, LaneRow, LeastRow, Run, SeriesRow, StepRow, TaskRow,
};

/// The arm that others are compared with where a run does not say.
const BASE: &str = "large_only";

/// Arms over the same questions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Experiment {
    pub(crate) bench: String,
    /// Numbers of its runs, from 1.
    pub(crate) runs: Vec<usize>,
    /// The file of questions and how many they are.
    pub(crate) title: String,
    pub(crate) arms: Vec<Arm>,
    pub(crate) tasks: Vec<TaskRow>,
    pub(crate) lanes: Vec<LaneRow>,
    pub(crate) series: Vec<SeriesRow>,
    pub(crate) steps: Vec<StepRow>,
    pub(crate) bound: Option<BoundRow>,
    pub(crate) bounds: Vec<LeastRow>,
    comparisons: Vec<ComparisonRow>,
    /// What makes runs one experiment.
    key: (String, String, String, Vec<String>),
}

/// An arm at a number of sessions at a time, of one run or pooled over several.
#[derive(Clone, Debug)]
pub(crate) struct Arm {
    pub(crate) row: ArmRow,
    /// How many runs have it.
    pub(crate) files: usize,
    /// Number of the first of them, and the name of its first arm.
    run: usize,
    first: String,
}

/// An arm beside the base; each ratio is better the larger it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Compared {
    /// The base's seconds per task by the arm's.
    pub(crate) speedup: Option<f64>,
    pub(crate) speedup_ends: Option<(f64, f64)>,
    /// The arm's tasks per hour by the base's.
    pub(crate) throughput: Option<f64>,
    pub(crate) f1: Option<f64>,
    pub(crate) f1_ends: Option<(f64, f64)>,
    /// The base's prompt tokens computed per task by the arm's.
    pub(crate) computed: Option<f64>,
}

impl Arm {
    /// A sum over the arm's tasks, per task.
    pub(crate) fn per_task(&self, sum: Option<f64>) -> Option<f64> {
        let tasks = self.row.tasks.filter(|tasks| *tasks > 0.0)?;
        Some(sum? / tasks)
    }

    pub(crate) fn name(&self) -> &str {
        &self.row.arm
    }

    /// The policy or setting without its parameters.
    pub(crate) fn kind(&self) -> &str {
        self.name().split(':').next().unwrap_or_default()
    }

    pub(crate) fn has_peer(&self) -> bool {
        self.row.peer.is_some()
    }
}

/// Groups the runs that answered questions.
pub(crate) fn experiments(runs: &[Run]) -> Vec<Experiment> {
    let mut found: Vec<Experiment> = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        // Recordings played live have sets instead of questions.
        if !run.results.arms.iter().any(|row| row.set.is_none()) {
            continue;
        }
        let key = key(run);
        let known = found
            .iter()
            .position(|it| it.key == key && !key.3.is_empty());
        let at = known.unwrap_or_else(|| {
            found.push(Experiment {
                bench: run.bench.clone(),
                title: title(run, key.3.len()),
                key,
                ..Experiment::default()
            });
            found.len() - 1
        });
        found[at].take(index + 1, run);
    }
    found
}

/// Bench, machine, models and questions.
fn key(run: &Run) -> (String, String, String, Vec<String>) {
    let machine = format!("{} {}", run.machine_line(), run.machine.features);
    let mut ids: Vec<String> = run.results.tasks.iter().map(|it| it.id.clone()).collect();
    ids.sort();
    ids.dedup();
    (run.bench.clone(), machine, run.models_line(), ids)
}

fn title(run: &Run, questions: usize) -> String {
    let file = run.option("--tasks").map(|path| {
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        format!(" of {name}")
    });
    let questions = match questions {
        0 => "questions".to_owned(),
        1 => "1 question".to_owned(),
        many => format!("{many} questions"),
    };
    format!("{questions}{}", file.unwrap_or_default())
}

impl Experiment {
    fn take(&mut self, number: usize, run: &Run) {
        self.runs.push(number);
        let results = &run.results;
        let first = results
            .arms
            .first()
            .map(|row| row.arm.clone())
            .unwrap_or_default();
        for row in results.arms.iter().filter(|row| row.set.is_none()) {
            let same = |arm: &&mut Arm| arm.row.arm == row.arm && arm.row.sessions == row.sessions;
            match self.arms.iter_mut().find(same) {
                Some(arm) => arm.pool(row),
                None => self.arms.push(Arm {
                    row: row.clone(),
                    files: 1,
                    run: number,
                    first: first.clone(),
                }),
            }
        }
        self.comparisons.extend(results.comparisons.iter().cloned());
        self.tasks.extend(results.tasks.iter().cloned());
        // Runs of another file are others, whatever their numbers.
        let known = self.lanes.iter().filter_map(|lane| lane.run);
        let later = known.fold(-1.0, f64::max) + 1.0;
        self.lanes.extend(results.lanes.iter().map(|lane| LaneRow {
            run: lane.run.map(|run| run + later),
            ..lane.clone()
        }));
        self.series
            .extend(results.series.iter().map(|series| SeriesRow {
                run: series.run.map(|run| run + later),
                ..series.clone()
            }));
        self.steps.extend(results.steps.iter().cloned());
        self.bound = self.bound.or(results.bound);
        self.bounds.extend(results.bounds.iter().cloned());
    }

    /// How many sessions ran at a time, each number once, the fewest first.
    pub(crate) fn loads(&self) -> Vec<Option<f64>> {
        let mut loads: Vec<_> = self.arms.iter().map(|arm| arm.row.sessions).collect();
        loads.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        loads.dedup();
        loads
    }

    /// The arms with so many sessions at a time.
    pub(crate) fn at_load(&self, load: Option<f64>) -> impl Iterator<Item = &Arm> {
        self.arms.iter().filter(move |arm| arm.row.sessions == load)
    }

    /// The name of the arm that others are compared with. A run may compare with several.
    pub(crate) fn base_name(&self) -> &str {
        let said = self.comparisons.first().map(|row| row.base.as_str());
        let known = self
            .arms
            .iter()
            .find(|arm| arm.kind() == BASE)
            .map(Arm::name);
        let first = self.arms.first().map(Arm::name);
        known.or(said).or(first).unwrap_or_default()
    }

    /// The base at the same number of sessions.
    pub(crate) fn base(&self, load: Option<f64>) -> Option<&Arm> {
        let name = self.base_name();
        self.at_load(load).find(|arm| arm.name() == name)
    }

    /// The arm beside the base. Intervals are those of its run: where runs were pooled, or the two
    /// are of different runs, there are none.
    pub(crate) fn compared(&self, arm: &Arm) -> Compared {
        let Some(base) = self.base(arm.row.sessions) else {
            return Compared::default();
        };
        let by = |of: fn(&ArmRow) -> Option<f64>| ratio(of(&arm.row), of(&base.row));
        let by_task = |of: fn(&ArmRow) -> Option<f64>| {
            ratio(base.per_task(of(&base.row)), arm.per_task(of(&arm.row)))
        };
        let mut compared = Compared {
            speedup: ratio(base.row.task_seconds_mean, arm.row.task_seconds_mean),
            throughput: by(|row| row.tasks_per_hour),
            f1: arm
                .row
                .f1
                .zip(base.row.f1)
                .map(|(ours, theirs)| ours - theirs),
            computed: by_task(|row| row.prompt_tokens_computed),
            ..Compared::default()
        };
        if arm.files > 1 || base.files > 1 || arm.name() == base.name() {
            return compared;
        }
        let same = |row: &&ComparisonRow| {
            row.arm == arm.name()
                && row.base == base.name()
                && (row.sessions.is_none() || row.sessions == arm.row.sessions)
        };
        if let Some(row) = self.comparisons.iter().find(same) {
            compared.speedup = row.speedup.or(compared.speedup);
            compared.speedup_ends = row.speedup_low.zip(row.speedup_high);
            compared.throughput = row.throughput.or(compared.throughput);
            compared.f1 = row.f1_difference.or(compared.f1);
            compared.f1_ends = row.f1_low.zip(row.f1_high);
        } else if (arm.run, arm.first.as_str()) == (base.run, base.name()) {
            // Older files compare with their first arm only, in the arm's own row.
            let ends = |triple: Option<[f64; 3]>| triple.map(|[_, low, high]| (low, high));
            compared.speedup_ends = ends(arm.row.speedup);
            compared.f1_ends = ends(arm.row.f1_difference);
        }
        compared
    }

    /// The arms of the ladder at a load: the base, then those whose modules are the first one, two,
    /// three and four of [`MODULES`]. None where nothing but the base is there.
    pub(crate) fn rungs(&self, load: Option<f64>) -> Option<[Option<&Arm>; 5]> {
        let of = |count: usize| {
            let modules = &MODULES[..count];
            self.at_load(load).find(|arm| {
                let on = arm.row.modules.as_deref().unwrap_or_default();
                let all = modules
                    .iter()
                    .all(|module| on.iter().any(|it| it == module));
                all && on.len() == count && !arm.has_peer()
            })
        };
        let rungs = [self.base(load), of(1), of(2), of(3), of(4)];
        rungs[1..].iter().any(Option::is_some).then_some(rungs)
    }
}

/// The modules in the order in which the ladder adds them.
pub(crate) const MODULES: [&str; 4] = ["collab", "compress", "sched", "sam"];

fn ratio(above: Option<f64>, below: Option<f64>) -> Option<f64> {
    let below = below.filter(|value| *value > 0.0)?;
    Some(above? / below)
}

impl Arm {
    /// Adds what another run has of the same arm: means are weighted by tasks, counts are summed.
    fn pool(&mut self, other: &ArmRow) {
        let row = &mut self.row;
        let weights = (row.tasks.unwrap_or(0.0), other.tasks.unwrap_or(0.0));
        let calls = (row.llm_calls.unwrap_or(0.0), other.llm_calls.unwrap_or(0.0));
        let hours = |row: &ArmRow| ratio(row.tasks, row.tasks_per_hour);
        let all_hours = hours(row).zip(hours(other)).map(|(a, b)| a + b);
        row.tasks_per_hour = ratio(Some(weights.0 + weights.1), all_hours);
        for (mean, more) in [
            (&mut row.em, other.em),
            (&mut row.f1, other.f1),
            (&mut row.task_seconds_mean, other.task_seconds_mean),
            (&mut row.turns_mean, other.turns_mean),
        ] {
            *mean = weighted(*mean, more, weights);
        }
        row.large_step_share = weighted(row.large_step_share, other.large_step_share, calls);
        for (sum, more) in [
            (&mut row.runs, other.runs),
            (&mut row.tasks, other.tasks),
            (&mut row.llm_calls, other.llm_calls),
            (&mut row.prompt_tokens_full, other.prompt_tokens_full),
            (&mut row.prompt_tokens_served, other.prompt_tokens_served),
            (
                &mut row.prompt_tokens_computed,
                other.prompt_tokens_computed,
            ),
            (&mut row.completion_tokens, other.completion_tokens),
            (&mut row.switches, other.switches),
            (&mut row.stall_seconds, other.stall_seconds),
            (&mut row.errors, other.errors),
        ] {
            *sum = sum.zip(more).map(|(a, b)| a + b);
        }
        row.seconds = sums(row.seconds.take(), other.seconds.as_ref());
        row.tokens = sums(row.tokens.take(), other.tokens.as_ref());
        self.files += 1;
    }
}

/// A weighted mean, if both are known.
fn weighted(a: Option<f64>, b: Option<f64>, (of_a, of_b): (f64, f64)) -> Option<f64> {
    let (a, b) = a.zip(b)?;
    ratio(Some(a * of_a + b * of_b), Some(of_a + of_b))
}

/// Sums by key, if both are known.
fn sums(
    ours: Option<BTreeMap<String, f64>>,
    more: Option<&BTreeMap<String, f64>>,
) -> Option<BTreeMap<String, f64>> {
    let (mut ours, more) = ours.zip(more)?;
    for (key, value) in more {
        *ours.entry(key.clone()).or_default() += value;
    }
    Some(ours)
}

/// All arms' names, those of questions first.
pub(crate) fn arm_names(experiments: &[Experiment], runs: &[Run]) -> Palette {
    let answered = experiments.iter().flat_map(|it| {
        let base = std::iter::once(it.base_name());
        base.chain(it.arms.iter().map(Arm::name))
    });
    let compress = runs.iter().filter(|run| run.bench == "compress");
    let played = compress.flat_map(|run| {
        let sets = run.results.sets.iter().map(|row| row.arm.as_str());
        sets.chain(run.results.arms.iter().map(|row| row.arm.as_str()))
    });
    let simulated = runs.iter().flat_map(|run| &run.results.scale);
    let simulated = simulated.map(|row| row.arm.as_str());
    Palette::of(answered.chain(played).chain(simulated))
}
