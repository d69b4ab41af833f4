//! Why: who was eligible for a caller, who was not and why not, and which rule chose.
//!
//! Nothing of this is kept while calls are distributed. Later a copy of the machine is taken through the same inputs again
//! with a [`Watch`] in it; at each decision about the watched contact it looks around, at the very moment at which the
//! decision was made. Without a watch a decision pays one comparison for it. Reads the machine, never changes it.

use super::acd::Acd;
use super::agent::{OWN_CALL, PHONE_LOST, State};
use super::event::{Command, Declined, Event, Lease, QueueSettings, Released, Strategy, Want, When};
use super::line::Standing;
use crate::base::{AgentId, CallId, ContactId, Now, QueueId, SkillId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Of a machine, its settings and its inputs as they are serialised: raised whenever one of them changes.
pub const FORM: u16 = 2;
/// Decisions told of one contact; what comes later is not told.
pub const DECISIONS_MAX: usize = 500;
/// Agents looked at for one decision, in order of configuration: a site's.
pub const AGENTS_LOOKED_AT_MAX: usize = 2_000;
/// Agents named in one group; the others are counted.
pub const AGENTS_NAMED_MAX: usize = 10;

/// Names as they were, for machines know only numbers. Queues bear theirs in the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Of agents, in ascending order of number.
    pub agents: Vec<(AgentId, Box<str>)>,
    /// By skill.
    pub skills: Vec<Box<str>>,
}

impl Names {
    fn agent(&self, agent: AgentId) -> String {
        match self.agents.binary_search_by_key(&agent, |(known, _)| *known) {
            Ok(at) => self.agents[at].1.to_string(),
            Err(_) => format!("agent-{}", agent.0),
        }
    }

    fn skill(&self, SkillId(skill): SkillId) -> String {
        self.skills.get(usize::from(skill)).map_or_else(|| format!("skill-{skill}"), ToString::to_string)
    }
}

/// One decision about a contact, or one event that made it necessary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// What made the queues look.
    pub cause: Cause,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The queue in which the contact stood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Skills asked for at that moment, with the least level of each.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub asked: Vec<Asked>,
    /// How many of the queue's lesser needs were in force.
    pub relaxed: u8,
    /// The site's agents at that moment, by what they were to this caller; empty where nobody was looked for.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub agents: Vec<Group>,
}

/// A skill with the level asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Asked {
    /// Name.
    pub skill: String,
    /// Least level.
    pub level: u8,
}

/// What made the queues look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cause {
    /// The event.
    pub event: What,
    /// Whose, if it was an agent's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A caller came in, or came back.
    CallerCame,
    /// A caller left.
    CallerLeft,
    /// A caller asked for their place: nothing is decided.
    CallerAsked,
    /// A phone rang.
    Ringing,
    /// An agent answered.
    Answered,
    /// An agent answered while the offer was taken back.
    AnsweredLate,
    /// An agent's side refused, or the phone rang out or could not be reached.
    Declined,
    /// A talk, or the call that was offered, ended.
    CallEnded,
    /// An agent asked for work.
    AskedReady,
    /// An agent asked for a pause.
    AskedPause,
    /// An agent signed out.
    AskedOffline,
    /// An agent asked for more time after a call.
    AskedWrapUp,
    /// An agent's phone was registered.
    PhoneUp,
    /// An agent's phone was lost.
    PhoneLost,
    /// An agent began a call of their own.
    OwnCallBegan,
    /// An agent ended a call of their own.
    OwnCallEnded,
    /// A signalling shard was restored and said what it holds.
    ShardRestored,
    /// New settings.
    Configured,
    /// A deadline came: of ringing, wrap-up or waiting.
    Time,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub enum Outcome {
    /// An agent was booked and rung.
    Offered {
        /// Who.
        agent: String,
        /// What chose them.
        rule: Rule,
        /// The figure by which the rule chose.
        figure: String,
        /// How many were eligible.
        eligible: usize,
    },
    /// Nobody was eligible: the caller waits.
    Waits {
        /// Callers of the same queue who are served before.
        ahead: usize,
        /// Whom the caller waits for alone, while the queue prefers them.
        #[serde(skip_serializing_if = "Option::is_none")]
        alone_for: Option<String>,
    },
    /// An agent who could have served the caller came free and took another, who stood before.
    PassedOver {
        /// Who came free.
        agent: String,
        /// Whom they took.
        took: String,
        /// By how many milliseconds the other stood before, waiting and bonus of priority counted.
        by_ms: i64,
    },
    /// A way out led to another queue.
    Moved {
        /// Which.
        to: String,
        /// The way out that applied.
        rule: String,
    },
    /// The caller was sent out of the line.
    Released {
        /// `waited_too_long`, `no_agents`, `full`, `queue_gone` or `diverted`.
        why: String,
        /// The rule that applied.
        rule: String,
    },
    /// An offer was taken back.
    Revoked {
        /// Whom it had been made to.
        agent: String,
    },
    /// The agent answered.
    Answered {
        /// Who.
        agent: String,
    },
    /// The agent's side let the offer come to nothing.
    Declined {
        /// Who.
        agent: String,
        /// How.
        #[schema(value_type = String)]
        why: Declined,
    },
    /// The talk is over.
    TalkEnded {
        /// With whom.
        agent: String,
    },
    /// The caller hung up or left otherwise by themselves.
    Left,
}

/// What chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The queue prefers this agent for this caller.
    Preferred,
    /// One agent alone had the best rank.
    Rank,
    /// Strategy.
    LongestIdle,
    /// Strategy.
    LeastCalls,
    /// Strategy.
    LeastTalk,
    /// Strategy.
    RoundRobin,
    /// Strategy.
    TopDown,
    /// Strategy.
    MostFitting,
    /// Strategy.
    Weighted,
    /// Strategy.
    RingAll,
    /// The agent came free, and of all whom they can serve this caller stood first.
    FirstInLine,
    /// The agent came free, nobody waited without an agent, and the queue rings several together.
    JoinedRinging,
}

/// Agents alike to one caller at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// What they were.
    #[serde(flatten)]
    pub reason: Reason,
    /// How many.
    pub count: usize,
    /// The first of them; of those passed over, those who would have come next.
    pub named: Vec<Seen>,
}

/// One agent as the rule saw them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Seen {
    /// Who.
    pub agent: String,
    /// What the rule looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub figure: Option<String>,
}

/// Why an agent was, or was not, rung.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Reason {
    /// This one was.
    Chosen,
    /// Eligible, but the rule chose another.
    PassedOver,
    /// Eligible, but the caller waits for the preferred agent alone.
    CallerAwaitsPreferred,
    /// Rung already for this very caller.
    RingsForThisCaller,
    /// Rung for another.
    Offered,
    /// Talks.
    Talking,
    /// Does what is left to do after a call.
    WrapUp,
    /// Has a call of their own.
    OwnCall,
    /// The phone is not registered, or could not be reached.
    PhoneLost,
    /// Takes no calls.
    NotReady {
        /// As they said; `rona` after a call that rang out, `rejected` after one that was refused.
        why: String,
    },
    /// Not signed in.
    Offline,
    /// Has not what the queue asks for.
    LacksSkill {
        /// The first skill that falls short.
        skill: String,
        /// The agent's level; 0 for none.
        has: u8,
        /// The level asked for.
        needs: u8,
    },
    /// Beyond the number of agents that are looked at.
    NotLookedAt,
}

/// What a step does with a caller, told just before it is done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sight {
    Preferred(AgentId),
    Chosen(AgentId),
    Beside(AgentId),
    CameFree(AgentId),
    Joins(AgentId),
    Waits,
    Moves(QueueId, When),
    Released(Released, Option<When>),
}

/// Hears what is decided about one contact.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    contact: ContactId,
    names: Names,
    now: Now,
    cause: Cause,
    /// By which the contact is, or was, known in the line.
    calls: Vec<CallId>,
    decisions: Vec<Decision>,
    /// Whether more was decided than is told.
    cut: bool,
}

/// A copy of the machine that goes through its inputs again.
#[derive(Debug)]
pub struct Replay {
    acd: Acd,
    out: Vec<Command>,
}

impl Replay {
    /// From `acd` as it stood at one moment.
    pub fn new(mut acd: Acd, names: Names, contact: ContactId) -> Replay {
        let cause = Cause { event: What::Time, agent: None };
        let (calls, decisions) = (Vec::new(), Vec::new());
        acd.watch = Some(Box::new(Watch { contact, names, now: Now::default(), cause, calls, decisions, cut: false }));
        let mut replay = Replay { acd, out: Vec::new() };
        replay.recognise();
        replay
    }

    /// Goes on from another moment's machine.
    pub fn go_on_from(&mut self, acd: Acd, names: Names) {
        let watch = self.acd.watch.take();
        self.acd = acd;
        self.acd.watch = watch.map(|watch| Box::new(Watch { names, ..*watch }));
        self.recognise();
    }

    /// One input, `None` for the passing of time; gives what the machine commands.
    pub fn step(&mut self, now: Now, event: Option<Event>) -> &[Command] {
        self.out.clear();
        let before = self.acd.hears(now, event.as_ref());
        match event {
            Some(event) => self.acd.handle(now, event, &mut self.out),
            None => self.acd.expire(now, &mut self.out),
        }
        self.acd.heard(before, &self.out);
        &self.out
    }

    /// What was decided, and whether more than is told; takes it away.
    pub fn decisions(&mut self) -> (Vec<Decision>, bool) {
        self.acd.watch.as_mut().map_or((Vec::new(), false), |watch| (std::mem::take(&mut watch.decisions), watch.cut))
    }

    /// Finds the contact among those who are here already.
    fn recognise(&mut self) {
        let Some(mut watch) = self.acd.watch.take() else { return };
        let waiting = self.acd.line.callers().map(|(_, caller)| (caller.contact, caller.call));
        let booked = self.acd.agents.iter().filter_map(|agent| agent.state.booking());
        let all = waiting.chain(booked.map(|booking| (booking.contact, booking.call)));
        let calls: Vec<CallId> = all.filter(|(contact, _)| *contact == watch.contact).map(|(_, call)| call).collect();
        calls.into_iter().for_each(|call| watch.know(call));
        self.acd.watch = Some(watch);
    }
}

impl Watch {
    fn know(&mut self, call: CallId) {
        if !self.calls.contains(&call) {
            self.calls.push(call);
        }
    }

    fn tell(&mut self, at: usize, decision: Decision) {
        if self.decisions.len() < DECISIONS_MAX {
            self.decisions.insert(at.min(self.decisions.len()), decision);
        } else {
            self.cut = true;
        }
    }

    fn plain(&self, outcome: Outcome) -> Decision {
        let (cause, at) = (self.cause.clone(), self.now.wall.0);
        Decision { at, cause, outcome, queue: None, asked: Vec::new(), relaxed: 0, agents: Vec::new() }
    }
}

/// What an input says of the contact, noted before it is handled.
struct Before {
    /// Where the decisions of this step begin.
    at: usize,
    outcome: Option<Outcome>,
}

impl Acd {
    /// Tells the watch, if there is one, what is about to be done with the caller in `slot`.
    #[inline]
    pub(super) fn witness(&mut self, slot: u32, sight: Sight) {
        if self.watch.is_some() {
            self.look(slot, sight);
        }
    }

    #[cold]
    fn look(&mut self, slot: u32, sight: Sight) {
        let Some(mut watch) = self.watch.take() else { return };
        if self.line.caller(slot).contact == watch.contact {
            let decision = self.seen(&watch, slot, sight);
            watch.tell(usize::MAX, decision);
        } else if let Sight::CameFree(agent) = sight {
            let outcome = self.passed_over(&watch, slot, agent);
            outcome.into_iter().for_each(|outcome| watch.tell(usize::MAX, watch.plain(outcome)));
        }
        self.watch = Some(watch);
    }

    /// Before an input: what it says by itself.
    fn hears(&mut self, now: Now, event: Option<&Event>) -> Before {
        let Some(mut watch) = self.watch.take() else { return Before { at: 0, outcome: None } };
        let (what, agent) = cause(event);
        watch.now = now;
        watch.cause = Cause { event: what, agent: agent.map(|agent| watch.names.agent(agent)) };
        let outcome = event.and_then(|event| self.said(&mut watch, event));
        let at = watch.decisions.len();
        self.watch = Some(watch);
        Before { at, outcome }
    }

    fn said(&self, watch: &mut Watch, event: &Event) -> Option<Outcome> {
        let held = |lease: &Lease| {
            let state = self.agents.get(lease.agent.index()).map(|agent| &agent.state)?;
            let booking = state.booking().filter(|held| held.lease == *lease && held.contact == watch.contact)?;
            Some((watch.names.agent(booking.lease.agent), matches!(state, State::Talking(_))))
        };
        match event {
            Event::Enqueue(caller) | Event::Overtaken { caller, .. } if caller.contact == watch.contact => {
                watch.know(caller.call);
                let Event::Overtaken { lease, .. } = event else { return None };
                Some(Outcome::Answered { agent: watch.names.agent(lease.agent) })
            }
            Event::Adopt { live, .. } => {
                let contact = watch.contact;
                let own = live.iter().map(|live| &live.caller).filter(|caller| caller.contact == contact);
                own.for_each(|caller| watch.know(caller.call));
                None
            }
            Event::Cancel { call } => {
                let slot = self.line.find(*call)?;
                (self.line.caller(slot).contact == watch.contact).then_some(Outcome::Left)
            }
            Event::Answered { lease } => match held(lease)? {
                (agent, false) => Some(Outcome::Answered { agent }),
                (_, true) => None,
            },
            Event::Declined { lease, why } => match held(lease)? {
                (agent, false) => Some(Outcome::Declined { agent, why: *why }),
                (agent, true) => Some(Outcome::TalkEnded { agent }),
            },
            Event::Ended { lease } => match held(lease)? {
                (_, false) => Some(Outcome::Left),
                (agent, true) => Some(Outcome::TalkEnded { agent }),
            },
            Event::Enqueue(_)
            | Event::Overtaken { .. }
            | Event::Ringing { .. }
            | Event::Where { .. }
            | Event::Want { .. }
            | Event::Phone { .. }
            | Event::OwnCall { .. }
            | Event::Extend { .. }
            | Event::Configure(_) => None,
        }
    }

    /// After an input: what was taken back comes before what was decided anew.
    fn heard(&mut self, Before { at, outcome }: Before, out: &[Command]) {
        let Some(watch) = &mut self.watch else { return };
        let revoked = out.iter().filter_map(|command| match command {
            Command::Revoke { call, lease } if watch.calls.contains(call) => Some(lease.agent),
            Command::Revoke { .. }
            | Command::Offer { .. }
            | Command::Released { .. }
            | Command::Stands { .. }
            | Command::Agent(_) => None,
        });
        let revoked = revoked.map(|agent| Outcome::Revoked { agent: watch.names.agent(agent) });
        // Whoever asked for a queue that never was has no place in which they could be seen.
        let seen = |decision: &Decision| matches!(decision.outcome, Outcome::Released { .. });
        let unseen = !watch.decisions[at..].iter().any(seen);
        let released = out.iter().filter_map(|command| match command {
            Command::Released { call, why } if unseen && watch.calls.contains(call) => Some(*why),
            Command::Released { .. }
            | Command::Offer { .. }
            | Command::Revoke { .. }
            | Command::Stands { .. }
            | Command::Agent(_) => None,
        });
        let released = released.map(limit).map(|(why, rule)| Outcome::Released { why: why.into(), rule: rule.into() });
        let told: Vec<Outcome> = outcome.into_iter().chain(revoked).chain(released).collect();
        for (place, outcome) in (at..).zip(told) {
            let decision = watch.plain(outcome);
            watch.tell(place, decision);
        }
    }

    fn passed_over(&self, watch: &Watch, taken: u32, agent: AgentId) -> Option<Outcome> {
        let slot = watch.calls.iter().rev().find_map(|call| self.line.find(*call))?;
        let (own, other) = (self.line.caller(slot), self.line.caller(taken));
        let waits = own.standing == Standing::Waiting && own.awaits.is_none_or(|awaited| awaited == agent);
        let team = self.skills.team_of(agent)?;
        let need = self.need_of(slot);
        let able = self.skills.able(need)[team / 64] >> (team % 64) & 1 == 1;
        let by_ms = own.place.key_ns.saturating_sub(other.place.key_ns) / 1_000_000;
        let (agent, took) = (watch.names.agent(agent), other.contact.to_string());
        (waits && able).then_some(Outcome::PassedOver { agent, took, by_ms })
    }

    fn seen(&self, watch: &Watch, slot: u32, sight: Sight) -> Decision {
        let caller = self.line.caller(slot);
        let settings = caller.queue.and_then(|queue| self.settings.queues.get(queue.index()));
        let name = |queue: QueueId| self.settings.queues.get(queue.index()).map(|queue| queue.name.to_string());
        let asked = settings.map_or(&[][..], |queue| asked(queue, caller.stage));
        let named = |&(skill, level): &(SkillId, u8)| Asked { skill: watch.names.skill(skill), level };
        let chosen = match sight {
            Sight::Preferred(agent)
            | Sight::Chosen(agent)
            | Sight::Beside(agent)
            | Sight::CameFree(agent)
            | Sight::Joins(agent) => Some(agent),
            Sight::Waits | Sight::Moves(..) | Sight::Released(..) => None,
        };
        let outcome = match (sight, chosen) {
            (Sight::Moves(to, when), _) => Outcome::Moved { to: name(to).unwrap_or_default(), rule: way(when) },
            (Sight::Released(why, when), _) => {
                let (word, limit) = limit(why);
                Outcome::Released { why: word.into(), rule: when.map_or_else(|| limit.into(), way) }
            }
            (_, None) => {
                let ahead = self.position(caller.call).and_then(|position| position.ahead).unwrap_or(0);
                Outcome::Waits { ahead, alone_for: caller.awaits.map(|agent| watch.names.agent(agent)) }
            }
            (sight, Some(agent)) => self.offered(watch, slot, (sight, agent)),
        };
        let groups = settings.map(|_| self.groups(watch, slot, asked, chosen));
        Decision {
            queue: caller.queue.and_then(name),
            asked: asked.iter().map(named).collect(),
            relaxed: caller.stage,
            agents: groups.unwrap_or_default(),
            ..watch.plain(outcome)
        }
    }

    fn offered(&self, watch: &Watch, slot: u32, (sight, agent): (Sight, AgentId)) -> Outcome {
        let queue = self.queue_of(slot);
        let eligible = self.eligible(slot);
        let by_lot = queue.routing.strategy == Strategy::Weighted;
        let chooses = matches!(sight, Sight::Chosen(_) | Sight::Beside(_));
        debug_assert!(!chooses || by_lot || eligible.first() == Some(&agent), "the order told is the order chosen by");
        let ranks = |agent| self.key(slot, agent).0;
        let best = eligible.iter().map(|&agent| ranks(agent)).min();
        let of_best = eligible.iter().filter(|&&agent| Some(ranks(agent)) == best).count();
        let by_queue = if of_best == 1 && eligible.len() > 1 && !queue.routing.ranks.is_empty() {
            Rule::Rank
        } else {
            of_strategy(queue.routing.strategy)
        };
        let (rule, figure) = match sight {
            Sight::Preferred(_) => (Rule::Preferred, "named for this caller".into()),
            Sight::CameFree(_) if self.line.caller(slot).awaits == Some(agent) => {
                (Rule::Preferred, "the caller waited for them alone".into())
            }
            Sight::CameFree(_) => (Rule::FirstInLine, "of all whom they can serve this caller stood first".into()),
            Sight::Joins(_) => (Rule::JoinedRinging, "nobody whom they can serve waited without an agent".into()),
            Sight::Chosen(_) | Sight::Beside(_) | Sight::Waits | Sight::Moves(..) | Sight::Released(..) => {
                (by_queue, self.figure(watch, slot, agent))
            }
        };
        Outcome::Offered { agent: watch.names.agent(agent), rule, figure, eligible: eligible.len().max(1) }
    }

    /// Who is idle and has what is asked for, those who would be taken first in front.
    fn eligible(&self, slot: u32) -> Vec<AgentId> {
        let asked = asked(self.queue_of(slot), self.line.caller(slot).stage);
        let able = self.settings.agents.iter().filter(|agent| super::meets(&agent.skills, asked));
        let mut idle: Vec<AgentId> = able.map(|agent| agent.agent).filter(|&agent| self.idle.holds(agent)).collect();
        idle.sort_by_cached_key(|&agent| self.key(slot, agent));
        idle
    }

    /// What the queue's strategy orders by: rank, its own figure, then turn and number.
    pub(super) fn key(&self, slot: u32, agent: AgentId) -> (u32, (bool, u64), u64, u32) {
        let queue = self.queue_of(slot);
        let grade = self.grade(slot, agent);
        let known = &self.agents[agent.index()];
        let last = self.line.caller(slot).queue.and_then(|queue| self.flows[queue.index()].last);
        let number = u64::from(agent.0);
        let own = match queue.routing.strategy {
            Strategy::LongestIdle | Strategy::RingAll | Strategy::Weighted => (false, 0),
            Strategy::MostFitting => (false, u64::from(grade & 0xffff)),
            Strategy::LeastCalls => (false, u64::from(known.tally.calls)),
            Strategy::LeastTalk => (false, u64::try_from(known.tally.talk.as_nanos()).unwrap_or(u64::MAX)),
            Strategy::RoundRobin => (last.is_some_and(|last| agent.0 <= last), number),
            Strategy::TopDown => (false, number),
        };
        (grade >> 16, own, known.turn, agent.0)
    }

    fn grade(&self, slot: u32, agent: AgentId) -> u32 {
        let grades = self.line.caller(slot).queue.map_or(&[][..], |queue| self.skills.grades(queue));
        self.skills.team_of(agent).and_then(|team| grades.get(team)).copied().unwrap_or(0)
    }

    /// The same in words.
    fn figure(&self, watch: &Watch, slot: u32, agent: AgentId) -> String {
        let (queue, known) = (self.queue_of(slot), &self.agents[agent.index()]);
        let ready_s = watch.now.mono.since(known.since).as_secs_f64();
        let last = self.line.caller(slot).queue.and_then(|queue| self.flows[queue.index()].last);
        let (rank, ..) = self.key(slot, agent);
        let fine = self.grade(slot, agent) & 0xffff;
        let own = match queue.routing.strategy {
            Strategy::LongestIdle | Strategy::RingAll => format!("ready for {ready_s:.1} s, turn {}", known.turn),
            Strategy::LeastCalls => format!("{} calls today", known.tally.calls),
            Strategy::LeastTalk => format!("{:.0} s of talk today", known.tally.talk.as_secs_f64()),
            Strategy::RoundRobin => {
                let last = last.map_or_else(|| "nobody".into(), |last| format!("number {last}"));
                format!("number {}, last rung {last}", agent.0)
            }
            Strategy::TopDown => format!("number {}", agent.0),
            Strategy::MostFitting => format!("{fine} off the levels asked for, turn {}", known.turn),
            Strategy::Weighted => format!("{fine} chances in the lot"),
        };
        let ranks = queue.routing.ranks.len();
        if ranks == 0 { own } else { format!("rank {} of {}, {own}", rank + 1, ranks + 1) }
    }

    fn groups(&self, watch: &Watch, slot: u32, asked: &[(SkillId, u8)], chosen: Option<AgentId>) -> Vec<Group> {
        let mut groups: BTreeMap<Reason, (usize, Vec<AgentId>)> = BTreeMap::new();
        let looked_at = self.settings.agents.len().min(AGENTS_LOOKED_AT_MAX);
        for agent in &self.settings.agents[..looked_at] {
            let reason = match chosen {
                Some(chosen) if chosen == agent.agent => Reason::Chosen,
                Some(_) | None => self.reason(watch, slot, agent.agent, lacking(&agent.skills, asked)),
            };
            let (count, named) = groups.entry(reason).or_default();
            *count += 1;
            named.push(agent.agent);
        }
        let rest = self.settings.agents.len() - looked_at;
        if rest > 0 {
            groups.insert(Reason::NotLookedAt, (rest, Vec::new()));
        }
        let seen = |(reason, (count, mut agents)): (Reason, (usize, Vec<AgentId>))| {
            let by_rule = matches!(reason, Reason::Chosen | Reason::PassedOver);
            if by_rule {
                agents.sort_by_cached_key(|&agent| self.key(slot, agent));
            }
            let seen = |agent: AgentId| Seen {
                agent: watch.names.agent(agent),
                figure: by_rule.then(|| self.figure(watch, slot, agent)),
            };
            Group { reason, count, named: agents.into_iter().take(AGENTS_NAMED_MAX).map(seen).collect() }
        };
        groups.into_iter().map(seen).collect()
    }

    fn reason(&self, watch: &Watch, slot: u32, agent: AgentId, lacking: Option<(SkillId, u8, u8)>) -> Reason {
        if let Some((skill, has, needs)) = lacking {
            return Reason::LacksSkill { skill: watch.names.skill(skill), has, needs };
        }
        let caller = self.line.caller(slot);
        match &self.agents[agent.index()].state {
            State::Offline => Reason::Offline,
            State::NotReady { reason } if **reason == *OWN_CALL => Reason::OwnCall,
            State::NotReady { reason } if **reason == *PHONE_LOST => Reason::PhoneLost,
            State::NotReady { reason } => Reason::NotReady { why: reason.to_string() },
            State::Ready if caller.awaits.is_some() => Reason::CallerAwaitsPreferred,
            State::Ready => Reason::PassedOver,
            State::Offered { booking, .. } if booking.call == caller.call => Reason::RingsForThisCaller,
            State::Offered { .. } => Reason::Offered,
            State::Talking(_) => Reason::Talking,
            State::WrapUp { .. } => Reason::WrapUp,
        }
    }
}

/// What a queue asks for at a stage of waiting.
fn asked(queue: &QueueSettings, stage: u8) -> &[(SkillId, u8)] {
    let relaxed = usize::from(stage).checked_sub(1).and_then(|at| queue.routing.relax.get(at));
    relaxed.map_or(&queue.skills, |relax| &relax.skills)
}

/// The first skill that falls short, with the level held and the level asked for.
fn lacking(own: &[(SkillId, u8)], asked: &[(SkillId, u8)]) -> Option<(SkillId, u8, u8)> {
    let level = |skill| own.iter().filter(|(held, _)| *held == skill).map(|(_, level)| *level).max().unwrap_or(0);
    asked.iter().map(|&(skill, needs)| (skill, level(skill), needs)).find(|(_, has, needs)| has < needs)
}

fn of_strategy(strategy: Strategy) -> Rule {
    match strategy {
        Strategy::LongestIdle => Rule::LongestIdle,
        Strategy::LeastCalls => Rule::LeastCalls,
        Strategy::LeastTalk => Rule::LeastTalk,
        Strategy::RoundRobin => Rule::RoundRobin,
        Strategy::TopDown => Rule::TopDown,
        Strategy::MostFitting => Rule::MostFitting,
        Strategy::Weighted => Rule::Weighted,
        Strategy::RingAll => Rule::RingAll,
    }
}

fn way(when: When) -> String {
    match when {
        When::Waited(longest) => format!("overflow: waited {} s", longest.as_secs_f64()),
        When::Length(length) => format!("overflow: {length} or more waited"),
        When::Expected(longest) => format!("overflow: a wait of more than {} s was expected", longest.as_secs_f64()),
        When::NobodyLoggedIn => "overflow: nobody who could answer was signed in".into(),
        When::NobodyReady => "overflow: nobody was ready".into(),
    }
}

/// The word of a release, and the rule behind it where no way out applied.
fn limit(why: Released) -> (&'static str, &'static str) {
    match why {
        Released::WaitedTooLong => ("waited_too_long", "the queue's longest wait"),
        Released::NoAgents => {
            ("no_agents", "nobody who could answer was signed in, and the queue does not wait for that")
        }
        Released::Full => ("full", "the queue held as many as it may"),
        Released::QueueGone => ("queue_gone", "the queue was taken away, or never was"),
        Released::Diverted { .. } => ("diverted", "a way out that leads elsewhere"),
    }
}

fn cause(event: Option<&Event>) -> (What, Option<AgentId>) {
    match event {
        None => (What::Time, None),
        Some(Event::Enqueue(_)) => (What::CallerCame, None),
        Some(Event::Cancel { .. }) => (What::CallerLeft, None),
        Some(Event::Where { .. }) => (What::CallerAsked, None),
        Some(Event::Ringing { lease }) => (What::Ringing, Some(lease.agent)),
        Some(Event::Answered { lease }) => (What::Answered, Some(lease.agent)),
        Some(Event::Overtaken { lease, .. }) => (What::AnsweredLate, Some(lease.agent)),
        Some(Event::Declined { lease, .. }) => (What::Declined, Some(lease.agent)),
        Some(Event::Ended { lease }) => (What::CallEnded, Some(lease.agent)),
        Some(Event::Want { agent, state, .. }) => {
            let what = match state {
                Want::Ready => What::AskedReady,
                Want::NotReady { .. } => What::AskedPause,
                Want::Offline => What::AskedOffline,
            };
            (what, Some(*agent))
        }
        Some(Event::Phone { agent, up }) => (if *up { What::PhoneUp } else { What::PhoneLost }, Some(*agent)),
        Some(Event::OwnCall { agent, up, .. }) => {
            (if *up { What::OwnCallBegan } else { What::OwnCallEnded }, Some(*agent))
        }
        Some(Event::Adopt { .. }) => (What::ShardRestored, None),
        Some(Event::Configure(_)) => (What::Configured, None),
        Some(Event::Extend { agent, .. }) => (What::AskedWrapUp, Some(*agent)),
    }
}
