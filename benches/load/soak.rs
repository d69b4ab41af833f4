//! Hundreds of thousands of calls in a row: what they may leave behind, which is nothing, and memory, which must not grow.
//!
//! `JIESU_LOAD_ONLY=soak cargo bench --bench load`, some fifteen minutes. Each round is 100,000 queued, answered and
//! recorded calls; then SIP's timers run out, recordings are sealed and SQL takes every fact. After the first round
//! memory is what it is; every later one may add at most [`GROWTH_MAX`]. Ends with a failure when something is left.

use crate::engine::{Engine, Footprint};
use crate::town::{Plan, Town};
use crate::{AGENTS, row};
use serde_json::Value;
use std::time::{Duration, Instant};

const CALLS: usize = 100_000;
/// The town forgets its calls between runs of this many, so that it does not grow itself.
const CALLS_A_RUN: usize = 10_000;
const RATE: f64 = 400.0;
/// `JIESU_SOAK_ROUNDS` says another number.
const ROUNDS: usize = 2;
/// What resident memory may grow by from one round to the next.
const GROWTH_MAX: f64 = 0.02;
/// Timers B, F, H and J (RFC 3261 Table 4) run for 32 s; ports rest for 2 s; the async runtime's spare threads for 10 s.
const TIMERS_MAX: Duration = Duration::from_secs(60);

pub fn run() {
    let rounds = std::env::var("JIESU_SOAK_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let engine = Engine::start(AGENTS);
    let mut town = Town::new(engine.sip);
    town.register(0..AGENTS);
    engine.ready(0..AGENTS);
    // What is made with the first call and then kept, such as the open journal and manifest, belongs to the base line.
    town.run(Plan::steady(100.0, Duration::from_secs(3)));
    let base = at_rest(&engine, None);
    println!("base line: {base}\n    {}", engine.footprint());
    let (mut before, mut failures) = (None, Vec::new());
    for round in 1..=rounds {
        let began = Instant::now();
        let through: usize = (0..CALLS / CALLS_A_RUN)
            .map(|_| town.run(Plan::steady(RATE, Duration::from_secs_f64(CALLS_A_RUN as f64 / RATE))).through)
            .sum();
        let lasted = began.elapsed();
        let standing = at_rest(&engine, Some(&base));
        let now = engine.footprint();
        let conditions = format!(
            "{through} of {CALLS} through in {:.0} s at {RATE}/s, all queued, answered, recorded, with orders; {now}; \
             on disk {}",
            lasted.as_secs_f64(),
            engine.on_disk()
        );
        let left = above(&standing, &base);
        row(&format!("round {round}: left when all timers ran out"), words(&left), "nothing", &conditions);
        if !left.is_empty() || through < CALLS {
            failures.push(format!("round {round}: {through} through, left: {}", words(&left)));
        }
        if let Some(before) = before.replace(now) {
            let growth = now.resident_kib / before.resident_kib - 1.0;
            row(
                &format!("round {round}: growth of resident memory"),
                format!("{:+.2} %", 100.0 * growth),
                "≤ 2 %",
                format!("{:.1} MiB after the round before it", before.resident_kib / 1024.0),
            );
            if growth > GROWTH_MAX {
                failures.push(format!("round {round}: memory grew by {:.2} %", 100.0 * growth));
            }
        }
        println!("    faults: {}", engine.internals()["faults"]);
    }
    println!("engine's log, newest first:\n{}", engine.log());
    assert!(failures.is_empty(), "{failures:#?}");
}

/// What stands when everything was sealed and applied and, within the time that timers take, nothing more goes: nothing
/// above `base`, or without one no transaction.
fn at_rest(engine: &Engine, base: Option<&Value>) -> Value {
    engine.settled();
    let began = Instant::now();
    loop {
        let standing = engine.internals()["standing"].clone();
        let rests = base.map_or(standing["transactions"] == 0, |base| above(&standing, base).is_empty());
        if rests || began.elapsed() >= TIMERS_MAX {
            return standing;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// What stands above the base line, and by how much.
fn above(standing: &Value, base: &Value) -> Vec<(String, u64)> {
    let figures = standing.as_object().expect("figures").iter();
    let count = |value: &Value| value.as_u64().expect("a count");
    let excess = figures.map(|(what, now)| (what.clone(), count(now).saturating_sub(count(&base[what]))));
    excess.filter(|(_, more)| *more > 0).collect()
}

fn words(left: &[(String, u64)]) -> String {
    let each: Vec<String> = left.iter().map(|(what, more)| format!("{more} {what}")).collect();
    if each.is_empty() { "nothing".into() } else { each.join(", ") }
}

impl std::fmt::Display for Footprint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |kib: f64| kib / 1024.0;
        write!(
            out,
            "{:.1} MiB resident: {:.1} in the main heap, {:.1} in {} further arenas, {:.1} in stacks and large blocks, \
             {:.1} of files; {} threads, {} open files",
            mib(self.resident_kib),
            mib(self.main_heap_kib),
            mib(self.arenas_kib),
            self.arenas,
            mib(self.other_kib),
            mib(self.files_kib),
            self.threads,
            self.open_files
        )
    }
}
