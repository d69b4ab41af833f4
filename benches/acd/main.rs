//! Nanoseconds per event of the ACD at full size: 10,000 and 100,000 waiting callers, 2,000 agents, 64 skills.
//!
//! Median and p99 of single events, less what reading the clock costs, and the allocations in them; beside it two queues as
//! others build them (`peers`) under the same load, which must choose the same callers. Filling the line and signing in are
//! not in it.
//! `cargo bench --bench acd`; `… -- theory` holds the queue against queueing theory instead, with the rows that are soon run,
//! `… -- theory whole` with all, `… -- theory general` with those of M/G/1, Cobham and M/G/c alone.

mod peers;

use hdrhistogram::Histogram;
use jiesu::acd::Acd;
use jiesu::acd::event::*;
use jiesu::base::{AgentId, CallId, ContactId, Mint, Mono, Now, QueueId, ShardId, SkillId, Wall};
use jiesu::simulate::chance::Law;
use jiesu::simulate::proof::{Cell, Compared, Model, Verdict, compare, figures, short_table, table};
use peers::{Caller, Peer, Scan, Sql};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SKILLS: u64 = 64;
const AGENTS: u32 = 2_000;
const WAITING: u32 = 10_000;
const ROUNDS: u32 = 200_000;
/// Of the slower queues.
const SCAN_ROUNDS: u32 = 20_000;
const SQL_ROUNDS: u32 = 1_000;
/// In a whole shift a caller is content with less after so long …
const RELAX: Duration = Duration::from_secs(5);
/// … and a call has so much work behind it.
const WRAP_UP: Duration = Duration::from_millis(500);
/// A point of priority is worth so much waiting.
const AGEING: Duration = Duration::from_secs(10);

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One queue a skill, agents with eight random skills each, in as many different ways as there are `profiles`.
fn site(mint: &mut Mint, profiles: u32) -> Settings {
    let queue = |skill: u64| QueueSettings {
        name: format!("queue {skill}").into(),
        skills: vec![(SkillId(skill as u8), 1 + (skill % 5) as u8)],
        priority: (skill % 3) as u8,
        ageing: AGEING,
        ring_max: Duration::from_secs(15),
        misses_max: 1,
        wrap_up: Duration::ZERO,
        wait_max: Some(Duration::from_secs(3_600)),
        waiting_max: usize::MAX,
        no_agents: NoAgents::Wait,
        routing: Routing::default(),
    };
    // The last skill is nobody's: its queue can never be served.
    let mut skill = || (SkillId((mint.random() % (SKILLS - 1)) as u8), 5 + (mint.random() % 5) as u8);
    let profiles: Vec<Vec<(SkillId, u8)>> = (0..profiles).map(|_| (0..8).map(|_| skill()).collect()).collect();
    let agent =
        |agent: u32| AgentSettings { agent: AgentId(agent), skills: profiles[agent as usize % profiles.len()].clone() };
    Settings {
        queues: (0..SKILLS).map(queue).collect(),
        agents: (0..AGENTS).map(agent).collect(),
        ..Settings::default()
    }
}

struct Run {
    acd: Acd,
    now: Now,
    out: Vec<Command>,
    mint: Mint,
    free: VecDeque<u32>,
    /// Calls under way in order of coming, some of them long gone from the line.
    talking: VecDeque<Lease>,
    times: Times,
    /// Slots in the order in which they were given an agent.
    chosen: Vec<u32>,
}

/// Whom a step offered to whom.
fn offered(out: &[Command]) -> Option<(CallId, Lease)> {
    out.iter().find_map(|command| match command {
        Command::Offer { call, lease, .. } => Some((*call, *lease)),
        Command::Revoke { .. } | Command::Released { .. } | Command::Stands { .. } | Command::Agent(_) => None,
    })
}

impl Run {
    fn new(profiles: u32) -> Run {
        let mut mint = Mint::new(0, [6, 4]);
        let settings = site(&mut mint, profiles);
        Run::of(mint, settings, WAITING)
    }

    fn of(mint: Mint, settings: Settings, waiting: u32) -> Run {
        let acd = Acd::new(Arc::new(settings), 1);
        let now = Now { mono: Mono::from_ms(10_000_000), wall: Wall(0) };
        let free = (0..4 * waiting).collect();
        Run {
            acd,
            now,
            out: Vec::new(),
            mint,
            free,
            talking: VecDeque::new(),
            times: Times::new(clock_ns()),
            chosen: Vec::new(),
        }
    }

    fn step(&mut self, name: &'static str, event: Event) {
        self.out.clear();
        let (acd, now, out) = (&mut self.acd, self.now, &mut self.out);
        self.times.take(name, || acd.handle(black_box(now), event, out));
    }

    fn enqueue(&mut self, name: &'static str, queue: u64) -> u32 {
        let slot = self.free.pop_front().expect("more slots than calls");
        self.now = self.now.after(Duration::from_micros(900));
        let call = call(slot);
        let caller = Enqueue {
            call,
            contact: ContactId(1),
            queue: QueueId(queue as u16),
            priority: 0,
            since: self.now.mono,
            preferred: None,
            patience: Patience::Bounded,
        };
        self.step(name, Event::Enqueue(caller));
        slot
    }

    fn sign_in(&mut self) {
        for agent in 0..AGENTS {
            self.step("sign in", Event::Phone { agent: AgentId(agent), up: true });
            self.step("sign in", Event::Want { agent: AgentId(agent), state: Want::Ready, by: None });
            self.answer();
        }
    }

    /// The last step's offer is answered.
    fn answer(&mut self) {
        if let Some((call, lease)) = offered(&self.out) {
            self.step("answer", Event::Answered { lease });
            self.talking.push_back(lease);
            let slot = 4 * call.slot + u32::from(call.shard.0);
            self.free.push_back(slot);
            self.chosen.push(slot);
        }
    }

    /// A millisecond passes; each offer that it brings is answered, or by the dice left to ring out.
    fn pass(&mut self) {
        self.now = self.now.after(Duration::from_millis(1));
        if self.acd.next_deadline().is_none_or(|deadline| deadline > self.now.mono) {
            return;
        }
        self.out.clear();
        let (acd, now, out) = (&mut self.acd, self.now, &mut self.out);
        let ran_out = |command: &Command| matches!(command, Command::Revoke { .. });
        // What ran out is known only afterwards.
        let name = |out: &[Command]| match (out.iter().any(ran_out), offered(out)) {
            (true, _) => "lease expiry",
            (false, Some(_)) => "wrap-up over, next offered",
            (false, None) => "relax",
        };
        let look = || {
            acd.expire(black_box(now), out);
            out
        };
        self.times.take_named(look, |out| name(out));
        self.pick_up();
    }

    /// One phone of sixteen rings out; its agent is paused by then and comes back.
    fn pick_up(&mut self) {
        let paused: Vec<AgentId> = self.out.iter().filter_map(rang_out).collect();
        if !self.mint.random().is_multiple_of(16) {
            self.answer();
        }
        for agent in paused {
            self.step("ready, next offered", Event::Want { agent, state: Want::Ready, by: None });
            self.answer();
        }
    }

    fn report(&self, title: &str) {
        self.times.report("", title);
    }
}

/// Whom a phone that rang out has paused.
fn rang_out(command: &Command) -> Option<AgentId> {
    match command {
        Command::Agent(AgentChange { agent, to: AgentState::NotReady { .. }, from: AgentState::Offered, .. }) => {
            Some(*agent)
        }
        Command::Agent(_)
        | Command::Offer { .. }
        | Command::Revoke { .. }
        | Command::Released { .. }
        | Command::Stands { .. } => None,
    }
}

/// What events of each name took.
struct Times {
    clock: u64,
    kinds: Vec<Kind>,
}

struct Kind {
    name: &'static str,
    times: Histogram<u64>,
    allocations: usize,
}

impl Times {
    fn new(clock: u64) -> Times {
        Times { clock, kinds: Vec::new() }
    }

    /// Runs one event.
    fn take<T>(&mut self, name: &'static str, event: impl FnOnce() -> T) -> T {
        self.take_named(event, |_| name)
    }

    /// Runs one event that is named by what came of it.
    fn take_named<T>(&mut self, event: impl FnOnce() -> T, name: impl FnOnce(&T) -> &'static str) -> T {
        let (before, start) = (allocations(), Instant::now());
        let value = event();
        let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let (allocations, name) = (allocations() - before, name(&value));
        let at = self.kinds.iter().position(|kind| kind.name == name).unwrap_or_else(|| {
            let times = Histogram::new(3).expect("three digits are allowed");
            self.kinds.push(Kind { name, times, allocations: 0 });
            self.kinds.len() - 1
        });
        // A saturating record would not let the histogram grow.
        self.kinds[at].times.record(took.saturating_sub(self.clock)).expect("it grows with its values");
        self.kinds[at].allocations += allocations;
        value
    }

    fn clear(&mut self) {
        self.kinds.clear();
    }

    fn report(&self, whose: &str, title: &str) {
        let mut all = Histogram::<u64>::new(3).expect("three digits are allowed");
        for Kind { name, times, .. } in &self.kinds {
            all.add(times).expect("equal shapes");
            print_line(whose, title, name, times);
        }
        print_line(whose, title, "all", &all);
        for Kind { name, times, allocations } in self.kinds.iter().filter(|_| whose.is_empty()) {
            let each = *allocations as f64 / times.len() as f64;
            println!(
                "row\tACD event: {name}, allocations\t{each:.5} an event\t0\t{title}; {allocations} in n={}",
                times.len()
            );
        }
    }

    /// How many times longer than `ours` each event's mean is.
    fn compare(&self, whose: &str, ours: &Times, title: &str) {
        for Kind { name, times, .. } in &self.kinds {
            let Some(own) = ours.kinds.iter().find(|own| own.name == *name) else { continue };
            let median = times.value_at_quantile(0.5) as f64 / own.times.value_at_quantile(0.5).max(1) as f64;
            let mean = times.mean() / own.times.mean().max(1.0);
            let row = format!("row\tACD event: {name}, {whose}, times ours, median / mean");
            println!("{row}\t{median:.0} / {mean:.0}\tthe reference\t{title}");
        }
    }
}

/// Allocations and growings of the process so far.
fn allocations() -> usize {
    let so_far = ALLOCATOR.stats();
    so_far.allocations + so_far.reallocations
}

/// A row as `scripts/bench.sh` keeps it.
fn print_line(whose: &str, title: &str, name: &str, times: &Histogram<u64>) {
    let (median, p99) = (times.value_at_quantile(0.5), times.value_at_quantile(0.99));
    println!("row\tACD event: {name}{whose}, median / p99\t{median} / {p99} ns\t–\t{title}; n={}", times.len());
}

fn call(slot: u32) -> CallId {
    CallId { shard: ShardId((slot % 4) as u8), slot: slot / 4, generation: 0 }
}

/// What two readings of the clock cost by themselves.
fn clock_ns() -> u64 {
    let mut times = Histogram::<u64>::new(3).expect("three digits are allowed");
    for _ in 0..100_000 {
        let start = Instant::now();
        times.saturating_record(u64::try_from(black_box(start).elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    times.value_at_quantile(0.5)
}

/// Everybody is busy and the line stays long: one comes, one talk ends and the next is offered, some give up.
fn rush() {
    let mut run = Run::new(AGENTS);
    for waiting in 0..WAITING + AGENTS {
        run.enqueue("fill", u64::from(waiting) % (SKILLS - 1));
    }
    run.sign_in();
    run.times.clear();
    for _ in 0..ROUNDS {
        let queue = run.mint.random() % (SKILLS - 1);
        let slot = run.enqueue("enqueue", queue);
        if !run.out.is_empty() {
            run.answer();
        } else if run.mint.random().is_multiple_of(8) {
            run.step("abandon", Event::Cancel { call: call(slot) });
            run.free.push_back(slot);
        } else if let Some(lease) = run.talking.pop_front() {
            run.step("release, next offered", Event::Ended { lease });
            run.answer();
        }
    }
    let title = "10,000 waiting, 2,000 agents talking, 64 skills";
    run.report(title);
    let agents = skills_of_agents();
    against(&run, ("a scan under a lock", SCAN_ROUNDS), &mut Scan::new(&agents), title);
    let mut sql = Sql::new(&agents);
    let mut trips = Times::new(run.times.clock);
    for _ in 0..SQL_ROUNDS {
        trips.take("SELECT 1", || sql.round_trip());
    }
    trips.report(" of SQL alone", "the way to SQLite's thread and back, in each of its statements");
    against(&run, ("SQL asked for the next pair", SQL_ROUNDS), &mut sql, title);
}

/// A whole shift: callers come, give up and are content with less; phones ring out; agents answer, have work behind a call,
/// pause and come back. `waiting` stand in line all the time.
fn shift(waiting: u32) {
    let mut mint = Mint::new(0, [6, 4]);
    let mut settings = site(&mut mint, AGENTS);
    for queue in &mut settings.queues {
        queue.wrap_up = WRAP_UP;
        let skills = queue.skills.iter().map(|&(skill, level)| (skill, level.min(2))).collect();
        queue.routing.relax = vec![Relax { after: RELAX, skills }];
    }
    let mut run = Run::of(mint, settings, waiting);
    for caller in 0..waiting + AGENTS {
        run.enqueue("fill", u64::from(caller) % (SKILLS - 1));
        run.pass();
    }
    run.sign_in();
    for round in 0..2 * ROUNDS {
        // The first half fills what grows with the first shift.
        if round == ROUNDS {
            run.times.clear();
        }
        let queue = run.mint.random() % (SKILLS - 1);
        let slot = run.enqueue("enqueue", queue);
        run.answer();
        run.pass();
        match run.mint.random() % 8 {
            0 if run.acd.position(call(slot)).is_some_and(|position| position.ahead.is_some()) => {
                run.step("abandon", Event::Cancel { call: call(slot) });
                run.free.push_back(slot);
            }
            even => {
                let Some(lease) = run.talking.pop_front() else { continue };
                run.step("release", Event::Ended { lease });
                if even == 1 {
                    let agent = lease.agent;
                    run.step(
                        "not ready",
                        Event::Want { agent, state: Want::NotReady { reason: "break".into() }, by: None },
                    );
                    run.step("ready, next offered", Event::Want { agent, state: Want::Ready, by: None });
                    run.answer();
                }
            }
        }
    }
    run.acd.check();
    run.report(&format!("a shift with {waiting} waiting, 2,000 agents, 64 skills, lesser needs after 5 s"));
}

/// The agents of `site` as the peers know them.
fn skills_of_agents() -> Vec<Vec<(u8, u8)>> {
    let settings = site(&mut Mint::new(0, [6, 4]), AGENTS);
    let skills = |agent: &AgentSettings| agent.skills.iter().map(|&(skill, level)| (skill.0, level)).collect();
    settings.agents.iter().map(skills).collect()
}

/// What the load of a peer stands at.
#[derive(Default)]
struct Load {
    /// Microseconds.
    now: i64,
    free: VecDeque<u32>,
    talking: VecDeque<u32>,
    chosen: Vec<u32>,
}

impl Load {
    fn come(&mut self, queue: u64) -> Caller {
        self.now += 900;
        let slot = self.free.pop_front().expect("more slots than calls");
        let key = self.now - (queue % 3) as i64 * AGEING.as_micros() as i64;
        Caller { slot, skill: queue as u8, level: 1 + (queue % 5) as u8, key }
    }

    fn talk(&mut self, slot: u32, agent: u32) {
        self.free.push_back(slot);
        self.chosen.push(slot);
        self.talking.push_back(agent);
    }
}

/// The rush of `ours`, its first rounds, through a peer.
fn against(ours: &Run, (whose, rounds): (&str, u32), peer: &mut impl Peer, title: &str) {
    let mut mint = Mint::new(0, [6, 4]);
    site(&mut mint, AGENTS);
    let mut load = Load { free: (0..4 * WAITING).collect(), ..Load::default() };
    for waiting in 0..WAITING + AGENTS {
        peer.enqueue(load.come(u64::from(waiting) % (SKILLS - 1)));
    }
    for agent in 0..AGENTS {
        let slot = peer.ready(agent, load.now).expect("somebody waits for each");
        load.talk(slot, agent);
    }
    let mut times = Times::new(ours.times.clock);
    for _ in 0..rounds {
        let caller = load.come(mint.random() % (SKILLS - 1));
        if let Some(agent) = times.take("enqueue", || peer.enqueue(caller)) {
            load.talk(caller.slot, agent);
        } else if mint.random().is_multiple_of(8) {
            times.take("abandon", || peer.cancel(caller.slot));
            load.free.push_back(caller.slot);
        } else if let Some(agent) = load.talking.pop_front()
            && let Some(slot) = times.take("release, next offered", || peer.ready(agent, load.now))
        {
            load.talk(slot, agent);
        }
    }
    assert_eq!(load.chosen[..], ours.chosen[..load.chosen.len()], "{whose} chooses as the ACD does");
    let title = format!("{title}; it neither leases nor rings nor tells anybody");
    times.report(&format!(", {whose}"), &title);
    times.compare(whose, &ours.times, &title);
}

/// The hotline keeps up while 10,000 wait whom nobody can serve.
fn calm(stuck: u32, profiles: u32) {
    let mut run = Run::new(profiles);
    for _ in 0..stuck {
        run.enqueue("fill", SKILLS - 1);
    }
    run.sign_in();
    run.times.clear();
    for _ in 0..ROUNDS {
        let queue = run.mint.random() % (SKILLS - 1);
        run.enqueue("enqueue, offered", queue);
        run.answer();
        if run.talking.len() > AGENTS as usize / 2
            && let Some(lease) = run.talking.pop_front()
        {
            run.step("release, idle again", Event::Ended { lease });
        }
    }
    run.report(&format!("{stuck} waiting whom nobody can serve, half of 2,000 agents of {profiles} kinds idle"));
}

/// The simulated queue against queueing theory; every interval is as wide as the whole table wants. Ends with code 1 where they
/// differ.
fn theory(cells: Vec<(u64, Cell)>) {
    let figures = figures(&table());
    let start = Instant::now();
    let (mut agree, mut rare, mut differ) = (0, 0, 0);
    for (seed, cell) in cells {
        for row in compare(cell, seed, figures) {
            match row.verdict {
                Verdict::Agrees => agree += 1,
                Verdict::Rare => rare += 1,
                Verdict::Differs => differ += 1,
            }
            print_compared(&row);
        }
    }
    let took = start.elapsed().as_secs();
    println!(
        "{} figures of {figures} in {took} s: {agree} agree, {rare} too rare for an interval, {differ} differ",
        agree + rare + differ
    );
    assert_eq!(differ, 0, "the queue and the theory differ");
}

fn print_compared(row: &Compared) {
    let Cell { model, agents, load } = row.cell;
    let name = match model {
        Model::Patient => "M/M/c (Erlang C)",
        Model::Impatient => "M/M/c+M (Erlang A)",
        Model::Classes => "M/M/c with classes (Cobham)",
        Model::General(Law::Fixed { .. }) if agents == 1 => "M/D/1 (Pollaczek–Khinchine)",
        Model::General(Law::Erlang { .. }) if agents == 1 => "M/E4/1 (Pollaczek–Khinchine)",
        Model::General(Law::LogNormal { .. }) if agents == 1 => "M/LN/1 (Pollaczek–Khinchine)",
        Model::General(Law::Fixed { .. }) => "M/D/c (Kimura)",
        Model::General(Law::Exponential { .. }) => "M/M/c",
        Model::General(Law::Erlang { .. }) => "M/E4/c (Kimura)",
        Model::General(Law::LogNormal { .. }) => "M/LN/c (Kimura)",
    };
    let verdict = match row.verdict {
        Verdict::Agrees => "agrees",
        Verdict::Rare => "too rare for an interval",
        Verdict::Differs => "DIFFERS",
    };
    let allowed =
        if row.formula_error > 0.0 { format!(", formula within {:.5}", row.formula_error) } else { String::new() };
    println!(
        "row\t{name}, c = {agents}, load {load}: {}\t{:.5} ± {:.5}\t{:.5}{allowed}\t{verdict}; n={:.0}",
        row.figure, row.seen, row.half, row.expected, row.calls
    );
}

fn main() {
    let asked = |word: &str| std::env::args().any(|argument| argument == word);
    let whole = || (0..).zip(table());
    let is_general = |cell: &Cell| matches!(cell.model, Model::General(_) | Model::Classes);
    match asked("theory") {
        true if asked("general") => return theory(whole().filter(|(_, cell)| is_general(cell)).collect()),
        true if asked("whole") => return theory(whole().collect()),
        true => return theory(short_table()),
        false => {}
    }
    println!("clock: {} ns, taken off", clock_ns());
    rush();
    shift(WAITING);
    shift(10 * WAITING);
    calm(WAITING, 60);
    calm(0, 60);
    calm(WAITING, AGENTS);
}
