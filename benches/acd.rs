//! Nanoseconds per event of the ACD at full size: 10,000 waiting callers, 2,000 agents, 64 skills.
//!
//! Median and p99 of single events, less what reading the clock costs.
//! `cargo bench --bench acd`; `cargo bench --bench acd -- theory` holds the queue against queueing theory instead.

use hdrhistogram::Histogram;
use jiesu::acd::Acd;
use jiesu::acd::event::*;
use jiesu::base::{AgentId, CallId, ContactId, Mint, Mono, Now, QueueId, ShardId, SkillId, Wall};
use jiesu::simulate::chance::Law;
use jiesu::simulate::proof::{Cell, Compared, Model, Verdict, compare, figures, table};
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SKILLS: u64 = 64;
const AGENTS: u32 = 2_000;
const WAITING: u32 = 10_000;
const ROUNDS: u32 = 200_000;

/// One queue a skill, agents with eight random skills each, in as many different ways as there are `profiles`.
fn site(mint: &mut Mint, profiles: u32) -> Settings {
    let queue = |skill: u64| QueueSettings {
        name: format!("queue {skill}").into(),
        skills: vec![(SkillId(skill as u8), 1 + (skill % 5) as u8)],
        priority: (skill % 3) as u8,
        ageing: Duration::from_secs(10),
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
    clock: u64,
    free: VecDeque<u32>,
    /// Calls under way in order of coming, some of them long gone from the line.
    talking: VecDeque<Lease>,
    times: Vec<(&'static str, Histogram<u64>)>,
}

impl Run {
    fn new(profiles: u32) -> Run {
        let mut mint = Mint::new(0, [6, 4]);
        let acd = Acd::new(Arc::new(site(&mut mint, profiles)), 1);
        let now = Now { mono: Mono::from_ms(10_000_000), wall: Wall(0) };
        let free = (0..4 * WAITING).collect();
        Run { acd, now, out: Vec::new(), mint, clock: clock_ns(), free, talking: VecDeque::new(), times: Vec::new() }
    }

    fn step(&mut self, name: &'static str, event: Event) {
        self.out.clear();
        let start = Instant::now();
        self.acd.handle(black_box(self.now), event, &mut self.out);
        let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let at = self.times.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            self.times.push((name, Histogram::new(3).expect("three digits are allowed")));
            self.times.len() - 1
        });
        self.times[at].1.saturating_record(took.saturating_sub(self.clock));
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
            self.step("sign in", Event::Want { agent: AgentId(agent), state: Want::Ready });
            self.answer();
        }
    }

    /// The last step's offer is answered.
    fn answer(&mut self) {
        let offer = self.out.iter().find_map(|command| match command {
            Command::Offer { call, lease, .. } => Some((*call, *lease)),
            Command::Revoke { .. } | Command::Released { .. } | Command::Stands { .. } | Command::Agent(_) => None,
        });
        if let Some((call, lease)) = offer {
            self.step("answered", Event::Answered { lease });
            self.talking.push_back(lease);
            self.free.push_back(call.slot);
        }
    }

    fn report(&self, title: &str) {
        let mut all = Histogram::<u64>::new(3).expect("three digits are allowed");
        for (name, times) in &self.times {
            all.add(times).expect("equal shapes");
            print_line(title, name, times);
        }
        print_line(title, "all", &all);
    }
}

/// A row as `scripts/bench.sh` keeps it.
fn print_line(title: &str, name: &str, times: &Histogram<u64>) {
    let (median, p99) = (times.value_at_quantile(0.5), times.value_at_quantile(0.99));
    println!("row\tACD event: {name}, median / p99\t{median} / {p99} ns\t–\t{title}; n={}", times.len());
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
        let slot = run.enqueue("enqueue, all busy", queue);
        if !run.out.is_empty() {
            run.answer();
        } else if run.mint.random().is_multiple_of(8) {
            run.step("cancel, waiting", Event::Cancel { call: call(slot) });
            run.free.push_back(slot);
        } else if let Some(lease) = run.talking.pop_front() {
            run.step("ended, next offered", Event::Ended { lease });
            run.answer();
        }
    }
    run.report("10,000 waiting, 2,000 agents talking, 64 skills");
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
            run.step("ended, idle again", Event::Ended { lease });
        }
    }
    run.report(&format!("{stuck} waiting whom nobody can serve, half of 2,000 agents of {profiles} kinds idle"));
}

/// The whole table of the simulated queue against queueing theory: some minutes. Ends with code 1 where they differ.
fn theory() {
    let cells = table();
    let figures = figures(&cells);
    let (mut agree, mut rare, mut differ) = (0, 0, 0);
    for (seed, cell) in cells.into_iter().enumerate() {
        for row in compare(cell, seed as u64, figures) {
            match row.verdict {
                Verdict::Agrees => agree += 1,
                Verdict::Rare => rare += 1,
                Verdict::Differs => differ += 1,
            }
            print_compared(&row);
        }
    }
    println!("{figures} figures: {agree} agree, {rare} too rare for an interval, {differ} differ");
    assert_eq!(differ, 0, "the queue and the theory differ");
}

fn print_compared(row: &Compared) {
    let Cell { model, agents, load } = row.cell;
    let name = match model {
        Model::Patient => "M/M/c (Erlang C)",
        Model::Impatient => "M/M/c+M (Erlang A)",
        Model::Classes => "M/M/c with classes (Cobham)",
        Model::General(Law::Fixed { .. }) => "M/D/c",
        Model::General(Law::Exponential { .. }) => "M/M/c",
        Model::General(Law::Erlang { .. }) => "M/E4/c",
        Model::General(Law::LogNormal { .. }) => "M/LN/c",
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
    if std::env::args().any(|argument| argument == "theory") {
        return theory();
    }
    println!("clock: {} ns, taken off", clock_ns());
    rush();
    calm(WAITING, 60);
    calm(0, 60);
    calm(WAITING, AGENTS);
}
