//! `jiesu explain`: why a caller got this agent and no other, for people.
//!
//! Reads what the queues were told and the database, both beside a running engine or without one.

use crate::acd::explain::{Decision, Group, Outcome, Reason, Rule, What};
use crate::base::ContactId;
use crate::config::Config;
use crate::node::clock;
use crate::store::Store;
use crate::store::routing::replay::{Asked, BreakKind, Explanation, explain};
use anyhow::{Context, bail};
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The contact, as the API and the records write it.
    contact: String,
    /// The explanation as JSON, as the API gives it.
    #[arg(long)]
    json: bool,
}

/// Prints the explanation.
///
/// # Errors
/// When there is no such call, or what the queues were told at its time is not there.
pub(super) fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    let contact: ContactId = arguments.contact.parse().with_context(|| format!("{:?}", arguments.contact))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(async {
        let store = Store::open(&config.database).await?;
        for site in &config.sites {
            if let Some(detail) = store.site(&site.code).call(contact).await? {
                return anyhow::Ok(Some((site, detail.call)));
            }
        }
        Ok(None)
    })?;
    let Some((site, call)) = found else { bail!("no site has a call {contact}") };
    let asked = Asked::of_record(contact, &call, clock::now().wall);
    let folder = config.routing_folder().join(&*site.code);
    let explanation = explain(&folder, &site.code, asked).with_context(|| folder.display().to_string())?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&explanation)?);
    } else {
        print!("{}", shown(&explanation, &site.time_zone));
    }
    Ok(())
}

/// The explanation as lines of text.
fn shown(explanation: &Explanation, zone: &TimeZone) -> String {
    let mut text = format!("contact {} at {}\n", explanation.contact, explanation.site);
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    let mut breaks = explanation.breaks.iter().peekable();
    let broken = |at: i64, why: BreakKind| {
        let why = match why {
            BreakKind::Started => "the engine was started anew",
            BreakKind::Mended => "the queues were mended after a fault",
        };
        format!("{}  -- {why}: what was told in the last moment before may be missing", time(at, zone))
    };
    for decision in &explanation.decisions {
        while let Some(one) = breaks.next_if(|one| one.at <= decision.at) {
            line(broken(one.at, one.why));
        }
        line(headline(decision, zone));
        decision.agents.iter().for_each(|group| line(group_line(group)));
    }
    breaks.for_each(|one| line(broken(one.at, one.why)));
    if explanation.decisions.is_empty() {
        line("no queue decided anything about this call".into());
    }
    if explanation.cut {
        line("there were more decisions; they are not told".into());
    }
    if let Some(at) = explanation.differs_from {
        let at = time(at, zone);
        line(format!("{at}  -- from here on the replay differs from what was commanded: nothing later is explained"));
    }
    text
}

fn time(at: i64, zone: &TimeZone) -> String {
    let at = Timestamp::from_millisecond(at).unwrap_or_default().to_zoned(zone.clone());
    at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

fn headline(decision: &Decision, zone: &TimeZone) -> String {
    let mut text = format!("{}  {}", time(decision.at, zone), outcome(&decision.outcome));
    if let Some(queue) = &decision.queue {
        let _ = write!(text, " [queue {queue}");
        let asked: Vec<String> = decision.asked.iter().map(|one| format!("{} {}", one.skill, one.level)).collect();
        if !asked.is_empty() {
            let _ = write!(text, ", asks for {}", asked.join(" and "));
        }
        if decision.relaxed > 0 {
            let _ = write!(text, ", relaxed {}", decision.relaxed);
        }
        text.push(']');
    }
    let whose = decision.cause.agent.as_ref().map_or_else(String::new, |agent| format!(" by {agent}"));
    let _ = write!(text, " ({}{whose})", event(decision.cause.event));
    text
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Offered { agent, rule: by, figure, eligible } => {
            let others = match eligible {
                0 | 1 => "only one eligible".into(),
                eligible => format!("{eligible} eligible"),
            };
            format!("offered to {agent} by {}: {figure} ({others})", rule(*by))
        }
        Outcome::Waits { ahead, alone_for: None } => format!("waits: nobody eligible, {ahead} ahead"),
        Outcome::Waits { ahead, alone_for: Some(agent) } => {
            format!("waits for the preferred {agent} alone, {ahead} ahead")
        }
        Outcome::PassedOver { agent, took, by_ms } => {
            format!("passed over: {agent} came free and took {took}, who stood before by {} s", *by_ms as f64 / 1e3)
        }
        Outcome::Moved { to, rule } => format!("moves to queue {to} by {rule}"),
        Outcome::Released { rule, .. } => format!("sent out of the line by {rule}"),
        Outcome::Revoked { agent } => format!("the offer to {agent} is taken back"),
        Outcome::Answered { agent } => format!("{agent} answers"),
        Outcome::Declined { agent, why } => format!("{agent} does not take it: {}", declined(*why)),
        Outcome::TalkEnded { agent } => format!("the talk with {agent} is over"),
        Outcome::Left => "the caller left".into(),
    }
}

fn declined(why: crate::acd::event::Declined) -> &'static str {
    use crate::acd::event::Declined;
    match why {
        Declined::Rejected => "refused",
        Declined::NoAnswer => "no answer",
        Declined::Unreachable => "the phone cannot be reached",
    }
}

fn rule(rule: Rule) -> &'static str {
    match rule {
        Rule::Preferred => "preference",
        Rule::Rank => "rank",
        Rule::LongestIdle => "longest idle",
        Rule::LeastCalls => "least calls",
        Rule::LeastTalk => "least talk",
        Rule::RoundRobin => "round robin",
        Rule::TopDown => "top down",
        Rule::MostFitting => "most fitting",
        Rule::Weighted => "lot",
        Rule::RingAll => "ringing together",
        Rule::FirstInLine => "first in line",
        Rule::JoinedRinging => "joining the ringing",
    }
}

fn event(what: What) -> &'static str {
    match what {
        What::CallerCame => "the caller came",
        What::CallerLeft => "a caller left",
        What::CallerAsked => "a caller asked for their place",
        What::Ringing => "ringing",
        What::Answered => "answer",
        What::AnsweredLate => "late answer",
        What::Declined => "no answer or refusal",
        What::CallEnded => "end of a call",
        What::AskedReady => "asking for work",
        What::AskedPause => "asking for a pause",
        What::AskedWrapUp => "asking for more time after a call",
        What::AskedOffline => "signing out",
        What::PhoneUp => "phone registered",
        What::PhoneLost => "phone lost",
        What::OwnCallBegan => "own call begun",
        What::OwnCallEnded => "own call ended",
        What::ShardRestored => "a shard was restored",
        What::Configured => "new settings",
        What::Time => "a deadline",
    }
}

fn group_line(group: &Group) -> String {
    let reason = match &group.reason {
        Reason::Chosen => "chosen".into(),
        Reason::PassedOver => "eligible, not chosen".into(),
        Reason::CallerAwaitsPreferred => "eligible, but the caller waits for another".into(),
        Reason::RingsForThisCaller => "rings for this caller already".into(),
        Reason::Offered => "rings for another caller".into(),
        Reason::Talking => "talks".into(),
        Reason::WrapUp => "in wrap-up".into(),
        Reason::OwnCall => "in a call of their own".into(),
        Reason::PhoneLost => "phone not registered or not reachable".into(),
        Reason::NotReady { why } => format!("paused: {why}"),
        Reason::Offline => "signed out".into(),
        Reason::LacksSkill { skill, has, needs } => format!("lacks {skill}: has {has}, needs {needs}"),
        Reason::NotLookedAt => "not looked at".into(),
    };
    let seen = |seen: &crate::acd::explain::Seen| match &seen.figure {
        Some(figure) => format!("{} ({figure})", seen.agent),
        None => seen.agent.clone(),
    };
    let mut named: Vec<String> = group.named.iter().map(seen).collect();
    if group.count > named.len() && !named.is_empty() {
        named.push(format!("and {} more", group.count - named.len()));
    }
    format!("{:>28} {:5}  {}", reason, group.count, named.join(", "))
}
