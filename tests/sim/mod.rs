//! The site simulation: three signal shards, two ACD owners and two media planes on virtual time, with a lossy network,
//! phones and people who misbehave, all from one seed.

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
    let minutes = number("JIESU_SIM_MINUTES").unwrap_or(if soak { 24 * 60 } else { 60 });
    let seeds = match number("JIESU_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("JIESU_SIM_SEEDS").unwrap_or(if soak { 30 } else { 20 }),
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
