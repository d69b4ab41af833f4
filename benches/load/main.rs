//! What the whole engine costs and bears: the real program, its registrar, journal, orders, SQL and recordings all at
//! work, under a town of citizens and agents on one thread beside it.
//!
//! `cargo bench --bench load`; some two minutes, and `JIESU_BENCH=full` for the full sizes. Each row is figure, value,
//! target and conditions, with tabs between: `scripts/bench.sh` keeps them. Processor time is user and system time of
//! the engine's whole process by `/proc/PID/stat`, until SQL has every fact and every recording is sealed.

mod edge;
mod engine;
mod key;
mod soak;
mod sound;
mod town;
mod wire;

use engine::{Engine, Spent};
use hdrhistogram::Histogram;
use sound::{BareLoop, Phones, cpu_of};
use std::cell::Cell;
use std::time::{Duration, Instant};
use town::{IN_TIME_US, Outcome, Plan, Town};

/// How much is measured.
struct Size {
    starts: usize,
    alone: usize,
    steady: Duration,
    step: Duration,
    held: usize,
    sound: Duration,
    rush: Duration,
}

const SMOKE: Size = Size {
    starts: 3,
    alone: 300,
    steady: Duration::from_secs(10),
    step: Duration::from_secs(5),
    held: 300,
    sound: Duration::from_secs(10),
    rush: Duration::from_secs(30),
};
const FULL: Size = Size {
    starts: 10,
    alone: 2_000,
    steady: Duration::from_secs(20),
    step: Duration::from_secs(10),
    held: 500,
    sound: Duration::from_secs(30),
    rush: Duration::from_secs(300),
};
const AGENTS: usize = 600;
/// Agents of the run in which callers wait for them.
const FEW_AGENTS: usize = 10;
const FEW_CALLS: usize = 600;
const BRIDGED: usize = 100;
const IN_LINE: usize = 250;
const IN_LINE_TALK: Duration = Duration::from_millis(100);
/// Agents of the rush, and how long they talk: 40 calls/s keep 280 of them busy.
const SEATS: usize = 300;
const RUSH_TALK: Duration = Duration::from_secs(7);
const STEPS: [f64; 13] =
    [100.0, 200.0, 400.0, 600.0, 800.0, 1_000.0, 1_250.0, 1_500.0, 1_750.0, 2_000.0, 2_500.0, 3_000.0, 4_000.0];
/// Calls a second that are more than it can bear.
const BEYOND_PER_S: f64 = 3_000.0;
/// The share of calls that must be through for a step to count as kept up.
const KEPT_UP: f64 = 0.999;

fn main() {
    let full = std::env::var("JIESU_BENCH").is_ok_and(|size| size == "full");
    let size = if full { FULL } else { SMOKE };
    let only = std::env::var("JIESU_LOAD_ONLY").unwrap_or_default();
    if only == "soak" {
        return soak::run();
    }
    let wanted = |part: &str| only.is_empty() || only.split(',').any(|name| name == part);
    if wanted("start") {
        starts(&size);
    }
    if wanted("edge") {
        edge::measure();
    }
    if only == "edge" {
        return;
    }
    if wanted("key") {
        key::measure(BEYOND_PER_S);
    }
    if only == "key" {
        return;
    }
    if wanted("rush") {
        rush(&size);
    }
    if only == "rush" {
        return;
    }
    let engine = Engine::start(AGENTS);
    let mut town = Town::new(engine.sip);
    town.register(0..AGENTS);
    if wanted("free") {
        in_line(&engine, &mut town);
    }
    engine.ready(0..FEW_AGENTS);
    if wanted("free") {
        waiting(&engine, &mut town);
    }
    engine.ready(FEW_AGENTS..AGENTS);
    town.run(Plan::steady(100.0, Duration::from_secs(3)));
    if wanted("reach") {
        alone(&engine, &mut town, &size);
    }
    if wanted("cost") {
        for rate in [100.0, 300.0] {
            steady(&engine, &mut town, rate, &size);
        }
    }
    if wanted("memory") {
        held(&engine, &mut town, &size);
    }
    if wanted("sound") {
        bridged(&engine, &mut town, &size);
    }
    if wanted("steps") {
        let best = steps(&engine, &mut town, &size);
        beyond(&engine, &mut town, best, &size);
        row(
            "peak memory of the process",
            format!("{:.0} MiB", engine.memory_kib("VmHWM") / 1024.0),
            "–",
            "after all of it",
        );
    }
    println!("engine's log, newest first:\n{}", engine.log());
}

fn row(figure: &str, value: impl std::fmt::Display, target: &str, conditions: impl std::fmt::Display) {
    println!("row\t{figure}\t{value}\t{target}\t{conditions}");
}

fn us(histogram: &Histogram<u64>) -> String {
    let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    format!("{:.2} / {:.2} ms", ms(0.5), ms(0.99))
}

fn starts(size: &Size) {
    let mut starts: Vec<Duration> = (0..size.starts).map(|_| Engine::start(AGENTS).start).collect();
    starts.sort();
    let ms = |at: usize| starts[at].as_secs_f64() * 1e3;
    let value = format!("{:.0} / {:.0} ms", ms(starts.len() / 2), ms(starts.len() - 1));
    row("start until ready, median / longest", value, "≤ 300 ms", format!("n={}, {AGENTS} agents in SQL", size.starts));
}

/// As many as the seats can take, and for ten seconds twice and a half times that: who is not served then waits.
fn rush(size: &Size) {
    let engine = Engine::start(SEATS);
    let mut town = Town::new(engine.sip);
    town.patient = true;
    town.register(0..SEATS);
    engine.ready(0..SEATS);
    for (rate, lasting) in [(40.0, size.rush), (100.0, Duration::from_secs(10))] {
        let plan = Plan { talk: Some(RUSH_TALK), ..Plan::steady(rate, lasting) };
        let (calls, before) = (plan.calls, engine.spent());
        let outcome = town.run(plan);
        engine.settled();
        let conditions = format!(
            "{SEATS} seats, {RUSH_TALK:?} of talk, a=inactive, recorded; reached in {} (p50 / p99), engine {:.2} cores",
            us(&outcome.reach_us),
            cpu_since(&engine, before).as_secs_f64() / before.at.elapsed().as_secs_f64(),
        );
        let value = format!("{} of {calls} through, {} doubled{}", outcome.through, outcome.doubled, refused(&outcome));
        row(&format!("{rate} calls/s for {} s", lasting.as_secs()), value, "all, 0", conditions);
    }
}

/// Those who wait are there before the first agent is.
fn in_line(engine: &Engine, town: &mut Town) {
    let plan = Plan {
        calls: IN_LINE + FEW_AGENTS,
        rate: Some(100.0),
        talk: Some(IN_LINE_TALK),
        agents_end: true,
        sound: Vec::new(),
    };
    let all_there = Duration::from_secs_f64(plan.calls as f64 / 100.0 + 1.0);
    let outcome = std::thread::scope(|threads| {
        threads.spawn(|| {
            std::thread::sleep(all_there);
            // Agents hang up one after another: ten in one moment would wait for each other.
            for agent in 0..FEW_AGENTS {
                engine.ready(agent..agent + 1);
                std::thread::sleep(IN_LINE_TALK / FEW_AGENTS as u32);
            }
        });
        town.run(plan)
    });
    engine.settled();
    engine.pause(0..FEW_AGENTS);
    let conditions = format!(
        "n={}, {FEW_AGENTS} agents, {IN_LINE} callers in line before the first is ready, {IN_LINE_TALK:?} of talk, from the agent's \
         BYE; {} through",
        outcome.free_us.len(),
        outcome.through
    );
    row("agent free → next INVITE, 250 in line, p50 / p99", us(&outcome.free_us), "≤ 2 ms p99", conditions);
}

fn waiting(engine: &Engine, town: &mut Town) {
    let rate = 300.0;
    let plan = Plan {
        calls: FEW_CALLS,
        rate: Some(rate),
        talk: Some(Duration::from_millis(50)),
        agents_end: true,
        sound: Vec::new(),
    };
    let outcome = town.run(plan);
    engine.settled();
    let conditions = format!(
        "n={}, {FEW_AGENTS} agents, {FEW_CALLS} callers at {rate}/s, from the agent's BYE; {} through",
        outcome.free_us.len(),
        outcome.through
    );
    row("agent free → next INVITE, p50 / p99", us(&outcome.free_us), "≤ 2 ms p99", conditions);
}

fn alone(engine: &Engine, town: &mut Town, size: &Size) {
    let plan = Plan { calls: size.alone, rate: None, talk: Some(Duration::ZERO), agents_end: false, sound: Vec::new() };
    let outcome = town.run(plan);
    engine.settled();
    let conditions = format!("n={}, one call at a time, no greeting, {AGENTS} idle agents", outcome.reach_us.len());
    row("citizen's INVITE → agent's INVITE, p50 / p99", us(&outcome.reach_us), "≤ 2 ms p99", conditions);
}

fn cpu_since(engine: &Engine, before: Spent) -> Duration {
    engine.spent().cpu - before.cpu
}

fn share(through: usize, calls: usize) -> f64 {
    through as f64 / calls as f64
}

fn steady(engine: &Engine, town: &mut Town, rate: f64, size: &Size) {
    engine.settled();
    let idle = idle_share(engine);
    let (before, threads) = (engine.spent(), engine.threads());
    let calls = Plan::steady(rate, size.steady).calls;
    let outcome = town.run(Plan::steady(rate, size.steady));
    engine.settled();
    let (cpu, wall) = (cpu_since(engine, before), before.at.elapsed());
    let ms = cpu.as_secs_f64() * 1e3 / outcome.through.max(1) as f64;
    let reach = us(&outcome.reach_us);
    let conditions = format!(
        "n={} of {calls}, 100 ms of talk, a=inactive, each recorded, {AGENTS} agents; reached in {reach} (p50 / p99); \
         {:.0} s until SQL had all; idle {:.2} % of a core",
        outcome.through,
        wall.as_secs_f64(),
        100.0 * idle
    );
    row(&format!("CPU per queued call at {rate}/s"), format!("{ms:.3} ms"), "≤ 0.5 ms", conditions);
    for (name, spent) in engine.threads() {
        let spent = spent.saturating_sub(threads.get(&name).copied().unwrap_or_default());
        let ms = spent.as_secs_f64() * 1e3 / outcome.through.max(1) as f64;
        if ms >= 0.005 {
            println!("    {name}: {ms:.3} ms a call");
        }
    }
}

/// What the engine takes with nothing to do, by its threads: the whole process is told in steps of 10 ms only.
fn idle_share(engine: &Engine) -> f64 {
    let spent = || engine.threads().values().sum::<Duration>();
    let (before, at) = (spent(), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    (spent() - before).as_secs_f64() / at.elapsed().as_secs_f64()
}

fn held(engine: &Engine, town: &mut Town, size: &Size) {
    engine.settled();
    let before = engine.memory_kib("VmRSS");
    let plan = Plan { talk: None, ..Plan::steady(100.0, Duration::from_secs_f64(size.held as f64 / 100.0)) };
    let outcome = town.run(plan);
    std::thread::sleep(Duration::from_secs(1));
    let each = (engine.memory_kib("VmRSS") - before) / size.held as f64;
    town.end();
    engine.settled();
    let conditions = format!(
        "growth of resident memory by {} bridged and recorded calls, reached in {}",
        size.held,
        us(&outcome.reach_us)
    );
    row("memory per call", format!("{each:.0} KiB"), "≤ 64 KiB", conditions);
}

fn bridged(engine: &Engine, town: &mut Town, size: &Size) {
    let mut phones = Phones::new(BRIDGED);
    let bare = BareLoop::start(&phones.ports);
    let start = Cell::new((Duration::ZERO, Instant::now()));
    phones.speak(&bare.targets, size.sound, || start.set((cpu_of("bare"), Instant::now())));
    let percent = |cpu: Duration, since: Instant| 100.0 * cpu.as_secs_f64() / since.elapsed().as_secs_f64();
    let floor = percent(cpu_of("bare") - start.get().0, start.get().1);
    drop(bare);

    let rate = Plan::steady(50.0, Duration::from_secs_f64(BRIDGED as f64 / 50.0));
    town.run(Plan { talk: None, sound: phones.ports.clone(), ..rate });
    let targets = town.sound();
    assert_eq!(targets.len(), BRIDGED, "every call is bridged");
    let (before, threads) = (Cell::new(engine.spent()), Cell::new(engine.threads()));
    let heard = phones.speak(&targets, size.sound, || {
        before.set(engine.spent());
        threads.set(engine.threads());
    });
    let (wall, cpu) = (before.get().at.elapsed(), cpu_since(engine, before.get()));
    let (ours, earlier) = (percent(cpu, before.get().at), threads.take());
    for (name, spent) in engine.threads() {
        let spent = spent.saturating_sub(earlier.get(&name).copied().unwrap_or_default());
        println!("    {name}: {:.2} %", 100.0 * spent.as_secs_f64() / wall.as_secs_f64());
    }
    town.end();
    engine.settled();
    let conditions =
        format!("{BRIDGED} calls × 2 × 50 packets/s for {:.0} s, G.711 relayed and recorded", wall.as_secs_f64());
    let reference = format!("≤ 5 %; bare loop {floor:.1} %");
    row("CPU per 100 bridged and recorded calls", format!("{ours:.1} % of a core"), &reference, &conditions);
    row("… to the bare receive + send loop", format!("{:.2}", ours / floor), "≤ 2", &conditions);
    let lost = heard.sent.saturating_sub(heard.heard);
    row("packets lost", format!("{lost} of {}", heard.sent), "0", &conditions);
    row("one-way delay added, p50 / p99", us(&heard.delay_us), "≤ 5 / 10 ms", &conditions);
}

/// Goes up until calls are lost; returns the highest rate at which none were.
fn steps(engine: &Engine, town: &mut Town, size: &Size) -> f64 {
    let mut best = (0.0, String::new());
    for rate in STEPS {
        engine.settled();
        let (before, own) = (engine.spent(), own_cpu());
        let plan = Plan::steady(rate, size.step);
        let calls = plan.calls;
        let outcome = town.run(plan);
        let wall = before.at.elapsed().as_secs_f64();
        let cores = cpu_since(engine, before).as_secs_f64() / wall;
        let town_cores = (own_cpu() - own).as_secs_f64() / wall;
        let text = format!(
            "{} of {calls} through in {:.0} s, reached in {}, engine {cores:.2} and generator {town_cores:.2} cores, \
             generator late by {} ms at most",
            outcome.through,
            size.step.as_secs_f64(),
            us(&outcome.reach_us),
            outcome.late.as_millis(),
        );
        println!("    {rate}/s: {text}{}", refused(&outcome));
        if share(outcome.through, calls) < KEPT_UP {
            break;
        }
        best = (rate, text);
    }
    row("calls/s kept up at ≥ 99.9 %", best.0, "≥ 1000", best.1);
    best.0
}

fn beyond(engine: &Engine, town: &mut Town, best: f64, size: &Size) {
    engine.settled();
    let rate = 3.0 * best;
    let plan = Plan::steady(rate, size.step);
    let calls = plan.calls;
    let outcome = town.run(plan);
    let in_time = outcome.reach_us.count_between(0, IN_TIME_US);
    let each = in_time as f64 / size.step.as_secs_f64();
    let value = format!("{:.0} % of its best", 100.0 * each / best);
    let conditions = format!(
        "{rate}/s for {:.0} s: {in_time} in time and {} of {calls} through{}, reached in {}, generator late by {} ms at most",
        size.step.as_secs_f64(),
        outcome.through,
        refused(&outcome),
        us(&outcome.reach_us),
        outcome.late.as_millis()
    );
    row("calls in time at three times that", value, "≥ 95 %", conditions);
    let faults = engine.internals()["faults"].to_string();
    println!("    faults: {faults}");
}

fn refused(outcome: &Outcome) -> String {
    outcome.refused.iter().map(|(code, count)| format!(", {count} refused with {code}")).collect()
}

/// Processor time of this process.
fn own_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0))
}
