//! Laws, rates and days of the simulation, and a small part of the table against queueing theory.

use super::batches::{Figure, student};
use super::chance::{Chance, Law};
use super::chart;
use super::day::Day;
use super::proof::{Cell, Model, Verdict, compare, figures, table};
use super::scenario::{Group, Rate, Redial, SLOT, SLOTS, Scenario, Stream};
use super::staffing::{Target, needed};
use super::theory;
use crate::acd::event::{NoAgents, QueueSettings, Routing};
use crate::base::{Mono, QueueId, SkillId};
use crate::modes::{Lent, Overlay, Rule, Rush};
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(15);

fn queue(name: &str, skill: u8) -> QueueSettings {
    QueueSettings {
        name: name.into(),
        skills: vec![(SkillId(skill), 1)],
        priority: 0,
        ageing: Duration::from_secs(10),
        ring_max: Duration::from_secs(15),
        misses_max: 1,
        wrap_up: Duration::from_secs(30),
        wait_max: Some(Duration::from_secs(600)),
        waiting_max: 1_000,
        no_agents: NoAgents::Wait,
        routing: Routing::default(),
    }
}

/// 48 half hours of `calls` each, 60 s of talk, `agents` day and night.
fn day(calls: f64, agents: usize) -> Scenario {
    let stream = Stream {
        queue: QueueId(0),
        priority: 0,
        rate: Rate::by_slot(&[calls; SLOTS]),
        talk: Law::LogNormal { mean_s: 60.0, variation: 1.0 },
        wrap_up: Some(Law::Exponential { mean_s: 10.0 }),
        patience: Some(Law::LogNormal { mean_s: 60.0, variation: 1.0 }),
        redial: Some(Redial { share: 0.5, after: Law::Exponential { mean_s: 60.0 }, times_max: 3 }),
    };
    let group = Group {
        name: "all".into(),
        team: "".into(),
        skills: vec![(SkillId(0), 5)],
        duty: vec![(Duration::ZERO, agents)],
        pick_up: Law::Fixed { mean_s: 2.0 },
    };
    Scenario { queues: vec![queue("general", 0)], streams: vec![stream], groups: vec![group], modes: vec![], seed: 1 }
}

#[test]
fn draws_have_the_mean_and_the_spread_of_their_law() {
    let laws = [
        Law::Fixed { mean_s: 7.0 },
        Law::Exponential { mean_s: 7.0 },
        Law::Erlang { mean_s: 7.0, stages: 4 },
        Law::LogNormal { mean_s: 7.0, variation: 1.2 },
    ];
    for law in laws {
        let mut chance = Chance::new(4, 0);
        let draws: Vec<f64> = (0..200_000).map(|_| law.draw(&mut chance).as_secs_f64()).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let spread = draws.iter().map(|draw| (draw - mean) * (draw - mean)).sum::<f64>() / draws.len() as f64;
        assert!((mean / law.mean_s() - 1.0).abs() < 0.02, "{law:?}: mean {mean}");
        assert!((spread / (mean * mean) - law.squared_variation()).abs() < 0.1, "{law:?}: {spread}");
    }
}

#[test]
fn calls_come_by_the_rate_of_their_half_hour_and_bursts_multiply_it() {
    let mut calls = [0.0; SLOTS];
    (calls[10], calls[11]) = (600.0, 1_200.0);
    let mut rate = Rate::by_slot(&calls);
    rate.burst(SLOT * 11, Duration::from_secs(300), 12.0);
    let whole = rate.expected(Duration::ZERO, SLOT * SLOTS as u32);
    assert!((whole - (600.0 + 1_000.0 + 200.0 * 12.0)).abs() < 1e-6, "{whole}");
    let (mut chance, mut now, mut seen) = (Chance::new(3, 0), Mono(0), [0u32; SLOTS]);
    while let Some(next) = rate.next(now, &mut chance) {
        assert!(next > now);
        now = next;
        seen[(now.ms() / 1_800_000) as usize] += 1;
    }
    assert_eq!(seen.iter().sum::<u32>(), seen[10] + seen[11]);
    assert!((500..700).contains(&seen[10]) && (3_200..3_600).contains(&seen[11]), "{seen:?}");
}

#[test]
fn every_call_of_a_day_has_one_end_and_the_same_seed_gives_the_same_day() {
    for agents in [0, 5, 20] {
        let scenario = day(200.0, agents);
        let seen = Day::of(&scenario, WITHIN);
        let whole = seen.whole();
        assert_eq!(whole.calls, whole.answered + whole.gave_up + whole.refused, "{agents} agents");
        assert!(whole.calls - whole.redials > 9_000 && whole.redials > 0, "{whole:?}");
        assert_eq!(seen, Day::of(&scenario, WITHIN));
        let (first, csv) = (seen.all_staff(9).agents(), chart::csv(&seen, &["general"], None));
        assert!((first - agents as f64).abs() < 1e-6, "{first} agents of {agents}");
        assert_eq!(csv.lines().count(), SLOTS + 1);
        if agents == 0 {
            assert_eq!(whole.answered, 0);
        }
    }
}

#[test]
fn agents_come_and_go_by_their_shifts_and_a_phone_that_rings_out_comes_back() {
    let mut scenario = day(50.0, 6);
    scenario.groups[0].duty = vec![(SLOT * 16, 6), (SLOT * 32, 0)];
    // Above the queue's 15 s once in a while.
    scenario.groups[0].pick_up = Law::Exponential { mean_s: 4.0 };
    let seen = Day::of(&scenario, WITHIN);
    assert_eq!(seen.all_staff(15).agents(), 0.0);
    assert!((5.9..6.1).contains(&seen.all_staff(24).agents()));
    assert!(seen.all_staff(33).agents() < 0.5, "talks go on to their end");
    assert_eq!((seen.all_calls(10).answered, seen.all_calls(40).answered), (0, 0));
    assert!(seen.all_calls(24).answered > 30, "{:?}", seen.all_calls(24));
}

#[test]
fn a_storm_is_seen_in_its_half_hour_and_staffing_reaches_the_target() {
    let mut scenario = day(200.0, 16);
    let calm = Day::of(&scenario, WITHIN);
    scenario.streams[0].rate.burst(SLOT * 20, Duration::from_secs(300), 12.0);
    let storm = Day::of(&scenario, WITHIN);
    assert!(storm.all_calls(20).calls > 2 * calm.all_calls(20).calls);
    assert!(storm.all_calls(20).service_level() < 0.5 && calm.all_calls(20).service_level() > 0.9);
    assert_eq!(storm.all_calls(19).calls, calm.all_calls(19).calls, "the same citizens before it");

    let mut calls = [0.0; SLOTS];
    (calls[20], calls[21], calls[22]) = (200.0, 300.0, 100.0);
    scenario.streams[0].rate = Rate::by_slot(&calls);
    let target = Target { share: 0.95, within: WITHIN, days: 3 };
    let (answer, reached) = needed(&scenario, 0, target);
    assert!(reached);
    for slot in &answer[20..23] {
        assert!(slot.calls.service_level() >= 0.95, "{slot:?}");
        assert!(slot.agents.abs_diff(slot.erlang_c as usize) <= 4, "{slot:?}");
    }
    assert_eq!(answer[30].agents, 0);
    let page = chart::page("<storm>", &storm, 0.95, Some(&answer));
    assert!(page.contains("&lt;storm&gt;") && page.matches("<svg").count() == 3 && !page.contains("NaN"));
}

/// Values printed in tables: Erlang C of 10 agents with 8 erlangs; t of 29 degrees; and special cases of each formula.
#[test]
fn the_formulas_give_known_values() {
    assert!((theory::erlang_c(10, 8.0) - 0.4092).abs() < 1e-4);
    assert!((theory::erlang_c(1, 0.7) - 0.7).abs() < 1e-12);
    assert_eq!(theory::agents_needed(10.0, 180.0, 20.0, 0.8), 14);
    assert!((student(29, 0.05) - 2.045).abs() < 1e-3 && (student(29, 0.01) - 2.756).abs() < 1e-3);
    let exponential = Law::Exponential { mean_s: 3.0 };
    let (mm1, pk) = (theory::patient(1, 0.8, 3.0, 5.0), theory::single(0.8, exponential));
    assert!((mm1.mean_wait_s - 12.0).abs() < 1e-9 && (pk.mean_wait_s - 12.0).abs() < 1e-9);
    assert!((theory::general(7, 0.8, exponential) - theory::patient(7, 0.8, 3.0, 0.0).mean_wait_s).abs() < 1e-9);
    // With patience without end Erlang A is Erlang C; without classes Cobham is too.
    let (a, c) = (theory::impatient(9, 0.8, 3.0, 1e7, 1.0), theory::patient(9, 0.8, 3.0, 1.0));
    for (a, c) in [(a.waiting, c.waiting), (Some(a.mean_wait_s), Some(c.mean_wait_s)), (a.within, c.within)] {
        assert!((a.unwrap() - c.unwrap()).abs() < 1e-4, "{a:?} {c:?}");
    }
    assert!((theory::classes(9, &[0.8], 3.0)[0] - c.mean_wait_s).abs() < 1e-9);
}

/// The short runs of the table, with its own seeds and its own width of intervals.
#[test]
fn the_queue_agrees_with_theory() {
    let cells = table();
    let all = figures(&cells);
    let chosen = |cell: &Cell| match cell.model {
        Model::Patient | Model::Impatient => [2, 10, 50].contains(&cell.agents) && cell.load == 0.8,
        Model::General(_) => cell.load == 0.8 && cell.agents <= 5,
        Model::Classes => cell.load == 0.7 && cell.agents == 10,
    };
    let mut compared = 0;
    for (seed, cell) in cells.iter().enumerate().filter(|(_, cell)| chosen(cell)) {
        for row in compare(*cell, seed as u64, all) {
            assert_eq!(row.verdict, Verdict::Agrees, "{row:?}");
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared} figures");
}

/// The intervals are narrow enough to notice: a queue with one agent of ten too few is found out.
#[test]
fn a_queue_that_is_not_the_one_of_the_formula_differs() {
    use super::batches::Batches;
    use super::run::Run;
    let mut scenario = day(0.0, 9);
    scenario.queues[0].wrap_up = Duration::ZERO;
    scenario.queues[0].wait_max = None;
    scenario.groups[0].pick_up = Law::Fixed { mean_s: 0.0 };
    let stream = &mut scenario.streams[0];
    (stream.wrap_up, stream.patience, stream.redial) = (None, None, None);
    (stream.talk, stream.rate) = (Law::Exponential { mean_s: 10.0 }, Rate::constant(0.7));
    let batches = Batches::new(1, 30, Duration::from_secs(10_000), WITHIN);
    let end = batches.whole();
    let waiting = Run::new(&scenario, end, batches).finish().estimate(0, Figure::Waiting);
    let t = student(29, 0.01 / figures(&table()) as f64);
    assert!((waiting.mean - theory::erlang_c(9, 7.0)).abs() < t * waiting.error, "{waiting:?}");
    assert!((waiting.mean - theory::erlang_c(10, 7.0)).abs() > t * waiting.error, "{waiting:?}");
}

/// As `name` says: more than `begins_over` in ten minutes open it, no more than `ends_at` in ten minutes shut it.
fn rush(name: &str, (begins_over, ends_at): (u64, u64), overlay: Overlay) -> (Rule, Overlay) {
    let span = Duration::from_secs(600);
    let rush = Rush { queues: vec![QueueId(0)], begins_over, within: span, ends_at, calm: span };
    (Rule { name: name.into(), hours: None, rush: Some(rush) }, overlay)
}

#[test]
fn a_rush_opens_its_mode_and_what_it_changes_helps() {
    let mut plain = day(600.0, 30);
    let reserve = Group {
        name: "reserve".into(),
        team: "后备".into(),
        skills: vec![(SkillId(1), 5)],
        duty: vec![(Duration::ZERO, 60)],
        pick_up: Law::Fixed { mean_s: 2.0 },
    };
    plain.groups.push(reserve);
    plain.streams[0].rate.burst(Duration::from_secs(36_000), Duration::from_secs(3_600), 3.0);
    let mut ready = plain.clone();
    let lent = Lent { team: "后备".into(), skills: vec![(SkillId(0), 3)] };
    let overlay = Overlay { queues: vec![QueueId(0)], lends: vec![lent], ..Overlay::default() };
    ready.modes = vec![rush("storm", (400, 350), overlay), rush("never", (100_000, 1), Overlay::default())];

    let (without, with) = (Day::of(&plain, WITHIN), Day::of(&ready, WITHIN));
    assert_eq!(without.modes, []);
    let [(opened, name, true), (shut, other, false)] = &with.modes[..] else { panic!("{:?}", with.modes) };
    assert_eq!((&**name, &**other), ("storm", "storm"));
    // 10 calls in half a minute are usual, 30 in the rush: 400 in ten minutes after some five of them.
    assert!((36_120..36_600).contains(&opened.as_secs()), "{opened:?}");
    assert!((39_600..41_400).contains(&shut.as_secs()), "{shut:?}");
    let rush = |day: &Day| [20, 21].map(|slot| day.all_calls(slot).service_level());
    assert!(rush(&without)[1] < 0.5 && rush(&with)[1] > 0.9, "{:?} {:?}", rush(&without), rush(&with));
    // The reserve was there all day, and answered in the rush alone.
    let busy = |slot: usize| with.staff[1][slot].busy.as_secs();
    assert!(busy(19) == 0 && busy(21) > 0 && busy(30) == 0 && with.staff[1][19].logged_in.as_secs() == 108_000);
    // What came before the mode opened came alike.
    assert_eq!(without.calls[0][..20], with.calls[0][..20]);
}
