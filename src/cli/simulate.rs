//! `jiesu simulate`: a day of generated calls through the production queues; nothing running is touched.

use crate::config::Config;
use crate::config::scenario::{Plan, parse_time};
use crate::simulate::chart::{clock, csv, page};
use crate::simulate::day::{Calls, Day, Staff};
use crate::simulate::scenario::{SLOT, SLOTS};
use crate::simulate::staffing::{Needed, needed};
use anyhow::{Context, bail};
use clap::Args;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The scenario: who calls when, who answers; docs/simulation/capital-day.toml is one.
    scenario: PathBuf,
    /// Decides everything that is drawn; without it, the scenario's.
    #[arg(long)]
    seed: Option<u64>,
    /// What if, on all queues, from HH:MM on for so many minutes TIMES as many call (10:00,5,12); may be repeated.
    #[arg(long, value_name = "HH:MM,MINUTES,TIMES")]
    burst: Vec<Burst>,
    /// Find how many agents of this group each half hour needs, and run the day with them.
    #[arg(long, value_name = "GROUP")]
    staff: Option<String>,
    /// Write all figures here.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Write a page with charts here.
    #[arg(long)]
    html: Option<PathBuf>,
}

#[derive(Clone, Debug)]
struct Burst {
    from: Duration,
    length: Duration,
    times: f64,
}

impl FromStr for Burst {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Burst, &'static str> {
        let parts: Vec<&str> = text.split(',').collect();
        let [from, minutes, times] = parts[..] else { return Err("write HH:MM,MINUTES,TIMES, like 10:00,5,12") };
        let from = parse_time(from).ok_or("the first part is a time, like 10:00")?;
        let minutes = minutes.parse::<u64>().ok().filter(|minutes| (1..=1_440).contains(minutes));
        let times = times.parse::<f64>().ok().filter(|times| (0.0..=1_000.0).contains(times));
        let length = Duration::from_secs(60 * minutes.ok_or("the second part is minutes, from 1 to 1440")?);
        Ok(Burst { from, length, times: times.ok_or("the third part is a factor, from 0 to 1000")? })
    }
}

/// Prints the table and writes what was asked for.
///
/// # Errors
/// A scenario that is wrong, a group that is not there, a file that cannot be written.
pub(super) fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    let mut plan = config.scenario(&arguments.scenario)?;
    plan.scenario.seed = arguments.seed.unwrap_or(plan.scenario.seed);
    for burst in &arguments.burst {
        for stream in &mut plan.scenario.streams {
            stream.rate.burst(burst.from, burst.length, burst.times);
        }
        let minutes = burst.length.as_secs() / 60;
        plan.bursts.push(format!("all × {} from {} on for {minutes} min", burst.times, hours(burst.from)));
    }
    let answer = arguments.staff.as_ref().map(|group| staff(&mut plan, group)).transpose()?;
    let day = Day::of(&plan.scenario, plan.target.within);
    print_day(&plan, &day, answer.as_deref());
    let names: Vec<&str> = plan.scenario.queues.iter().map(|queue| &*queue.name).collect();
    if let Some(path) = &arguments.csv {
        write(path, &csv(&day, &names, answer.as_deref()))?;
    }
    if let Some(path) = &arguments.html {
        let title = format!("{} · seed {}", arguments.scenario.display(), plan.scenario.seed);
        write(path, &page(&title, &day, plan.target.share, answer.as_deref()))?;
    }
    Ok(())
}

/// Staffs the plan with what its group needs.
fn staff(plan: &mut Plan, group: &str) -> anyhow::Result<Vec<Needed>> {
    let groups = &plan.scenario.groups;
    let Some(at) = groups.iter().position(|known| *known.name == *group) else {
        let known: Vec<&str> = groups.iter().map(|group| &*group.name).collect();
        bail!("there is no group {group:?} in the scenario; it has {}", known.join(", "));
    };
    let (answer, reached) = needed(&plan.scenario, at, plan.target);
    if !reached {
        println!("The target is not reached everywhere: other groups or the queue's limits hold it back.");
    }
    let duty = (0u32..).zip(&answer).map(|(slot, needed)| (SLOT * slot, needed.agents));
    plan.scenario.groups[at].duty = duty.collect();
    Ok(answer)
}

fn print_day(plan: &Plan, day: &Day, answer: Option<&[Needed]>) {
    let (share, within) = (100.0 * plan.target.share, plan.target.within.as_secs());
    println!(
        "In time: within {within} s of joining the queue; target {share:.0} % of all calls. Seed {}.",
        plan.scenario.seed
    );
    for burst in &plan.bursts {
        println!("Burst: {burst}.");
    }
    for (at, name, open) in &day.modes {
        println!("Mode {name} {} at {}:{:02}.", if *open { "opened" } else { "shut" }, hours(*at), at.as_secs() % 60);
    }
    println!(
        "{:>5} {:>7} {:>7} {:>8} {:>8} {:>7} {:>7} {:>8} {:>8} {:>7} {:>6}{}",
        "",
        "calls",
        "redial",
        "answered",
        "in time",
        "gave up",
        "refused",
        "mean s",
        "max s",
        "agents",
        "busy",
        if answer.is_some() { "  Erlang C" } else { "" },
    );
    let mut all = Staff::default();
    for slot in 0..SLOTS {
        let erlang = answer.map_or(String::new(), |answer| format!(" {:>9}", answer[slot].erlang_c));
        println!("{}{erlang}", row(&clock(slot), &day.all_calls(slot), &day.all_staff(slot)));
        all += day.all_staff(slot);
    }
    let mean = Staff { logged_in: all.logged_in / SLOTS as u32, busy: all.busy / SLOTS as u32 };
    println!("{}", row("day", &day.whole(), &mean));
}

fn row(name: &str, calls: &Calls, staff: &Staff) -> String {
    format!(
        "{name:>5} {:>7} {:>7} {:>8} {:>7.1}% {:>7} {:>7} {:>8.1} {:>8.1} {:>7.1} {:>5.1}%",
        calls.calls,
        calls.redials,
        calls.answered,
        100.0 * calls.service_level(),
        calls.gave_up,
        calls.refused,
        calls.mean_wait_s(),
        calls.longest.as_secs_f64(),
        staff.agents(),
        100.0 * staff.occupancy(),
    )
}

fn hours(moment: Duration) -> String {
    format!("{:02}:{:02}", moment.as_secs() / 3_600, moment.as_secs() / 60 % 60)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}
