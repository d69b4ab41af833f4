//! The site simulation: three signal shards, two ACD owners and two media planes on virtual time, with a lossy network,
//! phones and people who misbehave, all from one seed.
//!
//! A failing seed runs once more and prints the last events of those concerned, and the command that replays it.
//! `JIESU_SIM_SEED`, `JIESU_SIM_SEEDS`, `JIESU_SIM_MINUTES` choose; `JIESU_SOAK=1` runs 100 days.
//!
//! Bugs put in by hand, one at a time, and what saw them:
//! | Machine | Bug | Seen by |
//! |---|---|---|
//! | user agent | a BYE of ours is not sent | transactions and dialogs left at the end |
//! | call | a refusal by the agent's phone ends the call | a caller was dropped without a reason |
//! | call | the end of a talk is not told to the ACD | an agent is held for nobody |
//! | call | a reload leaves the queue's number as it was | waits and is in no line of that name |
//! | call's record | the order is forgotten at the answer | one order a contact |
//! | call's snapshot | the lease of a talk is not told after a restore | talks to an agent who is free |
//! | ACD | an agent who refused stays booked | an agent is held for nobody |
//! | ACD | a freed agent does not look at the line | idle beside a caller they can serve |
//! | ACD | no revoke when a ringing phone is lost | talks to an agent who is free |
//! | ACD | an answer that crossed a revoke is not taken up | talks to an agent who is free |
//! | media plane | a closed leg leaves its peer bridged | the plane's own check |

mod agent;
mod citizen;
mod dice;
mod laws;
mod run;
mod session;
mod site;
mod text;
mod world;

use std::time::{Duration, Instant};

#[test]
fn every_seed_keeps_every_law() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let soak = std::env::var("JIESU_SOAK").is_ok();
    let minutes = number("JIESU_SIM_MINUTES").unwrap_or(if soak { 24 * 60 } else { 30 });
    let seeds = match number("JIESU_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("JIESU_SIM_SEEDS").unwrap_or(if soak { 100 } else { 30 }),
    };
    let started = Instant::now();
    let (mut calls, mut answered, mut events, mut crashes, mut time) = (0, 0, 0, 0, Duration::ZERO);
    for seed in seeds.clone() {
        let figures = run::run(seed, Duration::from_secs(minutes * 60));
        calls += figures.calls;
        answered += figures.answered;
        events += figures.events;
        crashes += figures.crashes;
        time += figures.virtual_time;
        if seeds.end - seeds.start == 1 {
            println!("{figures:#?}");
        }
    }
    let wall = started.elapsed();
    println!(
        "{} seeds, {:.1} h, {calls} calls, {answered} answered, {crashes} crashes, {events} events in {wall:.1?}: {:.0} × real time",
        seeds.end - seeds.start,
        time.as_secs_f64() / 3_600.0,
        time.as_secs_f64() / wall.as_secs_f64()
    );
}
