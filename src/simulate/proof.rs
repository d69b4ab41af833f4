//! The production queue held against queueing theory: which queues, how long, and whether they agree.
//!
//! Every figure has an interval from 30 batches of at least 100 relaxation times each, the first such stretch dropped. Intervals
//! are widened so that all of a table hold together with 99 % (Bonferroni). Seeds are the places in the table: nothing is
//! run again with another.

use super::batches::{Batches, Figure, student};
use super::chance::Law;
use super::run::Run;
use super::scenario::{Group, Rate, Scenario, Stream};
use super::theory;
use crate::acd::event::{NoAgents, QueueSettings, Routing};
use crate::base::QueueId;
use std::time::Duration;

/// Batches behind each interval.
const BATCHES: usize = 30;
/// Relaxation times in each.
const RELAXATIONS: f64 = 100.0;
/// Fewest calls in a run: short relaxation alone makes no narrow interval.
const CALLS_MIN: f64 = 150_000.0;
/// Probability that a table of true figures has one outside its interval.
const ALPHA: f64 = 0.01;
/// Mean service time; all else follows from it.
const SERVICE_S: f64 = 10.0;
/// Mean patience in Erlang A.
const PATIENCE_S: f64 = 5.0;
/// Answered in time means within this: a twelfth of the service, like 15 s of three minutes.
const WITHIN_S: f64 = SERVICE_S / 12.0;
/// Callers of whom fewer are expected in a whole run are too rare for a normal law of batch means.
const RARE_CALLS: f64 = 1_000.0;
/// Longest run of the short table, in calls.
const SHORT_CALLS: f64 = 1_300_000.0;
/// How far Kimura's formula may be off: it is an approximation.
const KIMURA_ERROR: f64 = 0.05;
/// A point of priority outweighs any wait: classes are fixed. In the files `ageing_s` ends at 3,600: there a point of priority
/// outweighs an hour, and ageing is as good as off while nobody waits longer than that.
const NO_AGEING: Duration = Duration::from_secs(20 * 365 * 86_400);

/// A queue that theory knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Model {
    /// M/M/c, Erlang C.
    Patient,
    /// M/M/c+M, Erlang A.
    Impatient,
    /// M/G/1 for one agent, Pollaczek–Khinchine; M/G/c for more, Kimura.
    General(Law),
    /// M/M/c with three fixed classes of equal load, Cobham.
    Classes,
}

/// One row before it is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Which queue.
    pub model: Model,
    /// Agents.
    pub agents: u32,
    /// Offered traffic by agent.
    pub load: f64,
}

/// One figure of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Which row.
    pub cell: Cell,
    /// What it is called.
    pub figure: &'static str,
    /// Calls of this kind in the run.
    pub calls: f64,
    /// By the formula.
    pub expected: f64,
    /// By the queue.
    pub seen: f64,
    /// Half the interval, without the formula's own error.
    pub half: f64,
    /// How far the formula itself may be off.
    pub formula_error: f64,
    /// How it came out.
    pub verdict: Verdict,
}

/// Whether theory and queue agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Theory lies in the interval.
    Agrees,
    /// Too few such calls are expected for an interval, and few were seen.
    Rare,
    /// Neither.
    Differs,
}

/// All rows: loads of 0.5 to 0.98, 1 to 500 agents.
pub fn table() -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut all = |models: &[Model], agents: &[u32], loads: &[f64]| {
        for &model in models {
            for &agents in agents {
                cells.extend(loads.iter().map(|&load| Cell { model, agents, load }));
            }
        }
    };
    let laws = [
        Model::General(Law::Fixed { mean_s: SERVICE_S }),
        Model::General(Law::Erlang { mean_s: SERVICE_S, stages: 4 }),
        Model::General(Law::LogNormal { mean_s: SERVICE_S, variation: 1.2 }),
    ];
    all(&[Model::Patient], &[1, 2, 10, 50, 200, 500], &[0.5, 0.7, 0.8, 0.9, 0.95, 0.98]);
    all(&[Model::Impatient], &[1, 2, 10, 50, 200, 500], &[0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.2]);
    all(&laws, &[1], &[0.5, 0.7, 0.8, 0.9, 0.95, 0.98]);
    all(&[Model::Classes], &[1, 10, 100], &[0.5, 0.7, 0.8, 0.9, 0.95, 0.98]);
    all(&laws, &[5, 50], &[0.7, 0.8, 0.9, 0.95]);
    cells
}

/// The rows of [`table`] that are soon run, with their seeds: all families, but the highest loads.
pub fn short_table() -> Vec<(u64, Cell)> {
    (0..).zip(table()).filter(|(_, cell)| cell.calls() <= SHORT_CALLS).collect()
}

/// Runs `cell` with `seed` and compares; `figures` are those of the whole table.
pub fn compare(cell: Cell, seed: u64, figures: usize) -> Vec<Compared> {
    let scenario = cell.scenario(seed);
    let length = Duration::from_secs_f64(cell.batch_s());
    let batches = Batches::new(scenario.streams.len(), BATCHES, length, Duration::from_secs_f64(WITHIN_S));
    let end = batches.whole();
    let batches = Run::new(&scenario, end, batches).finish();
    let t = student(BATCHES as u32 - 1, ALPHA / figures as f64);
    cell.expected().into_iter().map(|wanted| cell.judge(&wanted, &batches, t)).collect()
}

/// How many figures a table compares.
pub fn figures(cells: &[Cell]) -> usize {
    cells.iter().map(|cell| cell.expected().len()).sum()
}

struct Wanted {
    name: &'static str,
    stream: usize,
    figure: Figure,
    value: f64,
    /// The part of calls that the figure is about.
    concerned: f64,
    formula_error: f64,
}

impl Cell {
    fn expected(&self) -> Vec<Wanted> {
        let wanted =
            |name, figure, value, concerned| Wanted { name, stream: 0, figure, value, concerned, formula_error: 0.0 };
        let theory = match self.model {
            Model::Patient => theory::patient(self.agents, self.load, SERVICE_S, WITHIN_S),
            Model::Impatient => theory::impatient(self.agents, self.load, SERVICE_S, PATIENCE_S, WITHIN_S),
            Model::General(law) if self.agents == 1 => theory::single(self.load, law),
            Model::General(law) => {
                let value = theory::general(self.agents, self.load, law);
                let mean = wanted("mean wait, s", Figure::MeanWait, value, 1.0);
                return vec![Wanted { formula_error: KIMURA_ERROR * value, ..mean }];
            }
            Model::Classes => {
                let waits = theory::classes(self.agents, &[self.load / 3.0; 3], SERVICE_S);
                let names = ["mean wait of the first class, s", "… of the second", "… of the third"];
                let waiting = theory::erlang_c(self.agents, self.load * f64::from(self.agents));
                let class =
                    |(stream, (name, value))| Wanted { stream, ..wanted(name, Figure::MeanWait, value, waiting) };
                return names.into_iter().zip(waits).enumerate().map(class).collect();
            }
        };
        let concerned = theory.waiting.unwrap_or(1.0);
        let waiting = theory.waiting.map(|value| wanted("waiting", Figure::Waiting, value, value));
        let within = theory.within.map(|value| wanted("answered in time", Figure::Within, value, 1.0 - value));
        let abandoned = theory.abandoned.map(|value| wanted("given up", Figure::Abandoned, value, value));
        let mean = wanted("mean wait, s", Figure::MeanWait, theory.mean_wait_s, concerned);
        [waiting, Some(mean), within, abandoned].into_iter().flatten().collect()
    }

    fn judge(&self, wanted: &Wanted, batches: &Batches, t: f64) -> Compared {
        let estimate = batches.estimate(wanted.stream, wanted.figure);
        let calls = batches.calls(wanted.stream);
        let half = t * estimate.error;
        let off = (estimate.mean - wanted.value).abs();
        let verdict = if wanted.concerned * calls < RARE_CALLS {
            let seen = match wanted.figure {
                Figure::MeanWait => batches.estimate(wanted.stream, Figure::Waiting).mean,
                Figure::Within => 1.0 - estimate.mean,
                Figure::Waiting | Figure::Abandoned => estimate.mean,
            };
            if seen * calls < 4.0 * RARE_CALLS { Verdict::Rare } else { Verdict::Differs }
        } else if off <= half + wanted.formula_error {
            Verdict::Agrees
        } else {
            Verdict::Differs
        };
        Compared {
            cell: *self,
            figure: wanted.name,
            calls,
            expected: wanted.value,
            seen: estimate.mean,
            half,
            formula_error: wanted.formula_error,
            verdict,
        }
    }

    /// After this the queue has forgotten how it stood: of M/M/c in heavy traffic the first term (Cohen 1982), of many
    /// agents with little to do the second; longer by what makes waits longer.
    fn relaxation_s(&self) -> f64 {
        let agents = f64::from(self.agents);
        let forgets = |load: f64| SERVICE_S / (agents * (1.0 - load.sqrt()).powi(2)) + SERVICE_S;
        match self.model {
            Model::Patient => forgets(self.load),
            Model::Impatient => 2.0 * SERVICE_S.max(PATIENCE_S),
            Model::General(law) => forgets(self.load) * (1.0 + law.squared_variation()).max(2.0) / 2.0,
            Model::Classes => forgets(self.load) / (1.0 - self.load * 2.0 / 3.0),
        }
    }

    /// Calls of a whole run, on average.
    fn calls(&self) -> f64 {
        (BATCHES + 1) as f64 * self.batch_s() * self.load * f64::from(self.agents) / SERVICE_S
    }

    fn batch_s(&self) -> f64 {
        let per_s = self.load * f64::from(self.agents) / SERVICE_S;
        (RELAXATIONS * self.relaxation_s()).max(CALLS_MIN / BATCHES as f64 / per_s)
    }

    fn scenario(&self, seed: u64) -> Scenario {
        let exponential = Law::Exponential { mean_s: SERVICE_S };
        let (talk, patience, classes) = match self.model {
            Model::Patient => (exponential, None, 1),
            Model::Impatient => (exponential, Some(Law::Exponential { mean_s: PATIENCE_S }), 1),
            Model::General(law) => (law, None, 1),
            Model::Classes => (exponential, None, 3),
        };
        let per_s = self.load * f64::from(self.agents) / SERVICE_S / f64::from(classes);
        let stream = |class: u8| Stream {
            queue: QueueId(0),
            priority: 2 - class,
            rate: Rate::constant(per_s),
            talk,
            wrap_up: None,
            patience,
            redial: None,
        };
        let group = Group {
            name: "all".into(),
            team: "".into(),
            skills: Vec::new(),
            duty: vec![(Duration::ZERO, self.agents as usize)],
            pick_up: Law::Fixed { mean_s: 0.0 },
        };
        Scenario {
            queues: vec![plain_queue()],
            streams: (0..classes).map(stream).collect(),
            groups: vec![group],
            modes: vec![],
            seed,
        }
    }
}

/// First come, first served within fixed classes; nobody is refused.
fn plain_queue() -> QueueSettings {
    QueueSettings {
        name: "all".into(),
        skills: Vec::new(),
        priority: 0,
        ageing: NO_AGEING,
        ring_max: Duration::from_secs(15),
        misses_max: 1,
        wrap_up: Duration::ZERO,
        wait_max: None,
        waiting_max: usize::MAX,
        no_agents: NoAgents::Wait,
        routing: Routing::default(),
    }
}
