//! How many agents each half hour needs, found by running the day.
//!
//! Starts from what the traffic alone keeps busy and adds agents where a half hour falls short. What follows a backlog suffers
//! from it and must not be staffed for it: beyond what Erlang C asks for, only the first of a stretch gets more.

use super::day::{Calls, Day};
use super::scenario::{SLOT, SLOTS, Scenario};
use super::theory;
use crate::acd;
use std::time::Duration;

/// Rounds of adding; each adds an agent at least.
const ROUNDS_MAX: usize = 40;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// This part of the calls (0–1) …
    pub share: f64,
    /// … is answered within this time.
    pub within: Duration,
    /// Judged over so many days, whose seeds follow the scenario's.
    pub days: u32,
}

/// One half hour's answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Needed {
    /// Agents.
    pub agents: usize,
    /// What they reach, over all days.
    pub calls: Calls,
    /// What Erlang C says for the same traffic, each half hour alone and everybody patient.
    pub erlang_c: u32,
}

/// How many of group `group` are needed in each half hour for the queues they serve; the other groups stay as they are. The
/// second value tells whether the target was reached everywhere.
pub fn needed(scenario: &Scenario, group: usize, target: Target) -> (Vec<Needed>, bool) {
    let traffic: Vec<(f64, f64)> = (0..SLOTS as u32).map(|slot| traffic(scenario, group, slot)).collect();
    let erlangs = |&(calls, work_s): &(f64, f64)| calls * work_s / SLOT.as_secs_f64();
    let mut agents: Vec<usize> = traffic.iter().map(|traffic| erlangs(traffic).ceil() as usize).collect();
    let by_formula = |traffic: &(f64, f64)| {
        theory::agents_needed(erlangs(traffic), traffic.1, target.within.as_secs_f64(), target.share)
    };
    let by_formula: Vec<u32> = traffic.iter().map(by_formula).collect();
    let mut trial = scenario.clone();
    let mut reached = false;
    let mut seen = vec![Calls::default(); SLOTS];
    for _ in 0..ROUNDS_MAX {
        trial.groups[group].duty = duty(&agents);
        seen = try_out(&mut trial, scenario.seed, group, target);
        let short: Vec<bool> = seen.iter().map(|calls| calls.service_level() < target.share).collect();
        reached = !short.contains(&true);
        if reached {
            break;
        }
        for (slot, agents) in agents.iter_mut().enumerate().filter(|(slot, _)| short[*slot]) {
            let first = slot == 0 || !short[slot - 1];
            if first || *agents < by_formula[slot] as usize {
                let lack = target.share - seen[slot].service_level();
                *agents += ((*agents as f64).sqrt() / 3.0 * lack).ceil().max(1.0) as usize;
            }
        }
    }
    let answer = |slot: usize| Needed { agents: agents[slot], calls: seen[slot], erlang_c: by_formula[slot] };
    ((0..SLOTS).map(answer).collect(), reached)
}

fn duty(agents: &[usize]) -> Vec<(Duration, usize)> {
    (0u32..).zip(agents).map(|(slot, &agents)| (SLOT * slot, agents)).collect()
}

/// Calls and mean work for each that a half hour brings to the queues which the group serves.
fn traffic(scenario: &Scenario, group: usize, slot: u32) -> (f64, f64) {
    let group = &scenario.groups[group];
    let (mut calls, mut work_s) = (0.0, 0.0);
    for stream in &scenario.streams {
        let queue = &scenario.queues[stream.queue.index()];
        if !acd::meets(&group.skills, &queue.skills) {
            continue;
        }
        let wrap_up_s = stream.wrap_up.map_or(f64::MAX, |law| law.mean_s()).min(queue.wrap_up.as_secs_f64());
        let expected = stream.rate.expected(SLOT * slot, SLOT * (slot + 1));
        calls += expected;
        work_s += expected * (group.pick_up.mean_s() + stream.talk.mean_s() + wrap_up_s);
    }
    (calls, if calls > 0.0 { work_s / calls } else { 0.0 })
}

fn try_out(trial: &mut Scenario, seed: u64, group: usize, target: Target) -> Vec<Calls> {
    let skills = trial.groups[group].skills.clone();
    let mut seen = vec![Calls::default(); SLOTS];
    for day in 0..target.days {
        trial.seed = seed + u64::from(day);
        let day = Day::of(trial, target.within);
        for (queue, slots) in trial.queues.iter().zip(&day.calls) {
            if acd::meets(&skills, &queue.skills) {
                seen.iter_mut().zip(slots).for_each(|(sum, calls)| *sum += *calls);
            }
        }
    }
    seen
}
