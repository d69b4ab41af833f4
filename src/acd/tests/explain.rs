//! Explanations: a copy decides as the original did, and each reason and each rule is told as it was.

use super::random::{Dice, STRATEGIES, mixed_site, routed_site};
use super::*;
use crate::acd::explain::*;
use crate::base::Wall;
use std::collections::BTreeSet;

fn names() -> Names {
    let agents = (0..20).map(|id| (AgentId(id), format!("a{id}").into())).collect();
    Names { agents, skills: vec!["news".into(), "law".into()] }
}

fn copied(acd: &Acd) -> Acd {
    let bytes = postcard::to_stdvec(acd).unwrap();
    postcard::from_bytes(&bytes).unwrap()
}

/// Reloads among the events; a copy is taken again and again, and lives on beside the original.
#[test]
fn a_copy_goes_on_to_decide_as_the_original_to_the_last_tie() {
    for (seed, strategy) in (30..).zip(STRATEGIES) {
        let (mut dice, mut acd) = (Dice::new(seed), Acd::new(Arc::new(routed_site(strategy)), 1));
        let (mut out, mut theirs, mut offers) = (Vec::new(), Vec::new(), 0);
        let mut copy = copied(&acd);
        for step in 0..12_000usize {
            if step % 97 == 0 {
                copy = copied(&acd);
            }
            let event = match step % 1_000 {
                999 => Event::Configure(Arc::new(routed_site(STRATEGIES[step / 1_000 % 8]))),
                _ => dice.event(),
            };
            out.clear();
            theirs.clear();
            copy.handle(dice.now, event.clone(), &mut theirs);
            acd.handle(dice.now, event, &mut out);
            dice.hear(&out);
            dice.pass();
            if acd.next_deadline().is_some_and(|deadline| deadline <= dice.now.mono) {
                acd.expire(dice.now, &mut out);
                copy.expire(dice.now, &mut theirs);
            }
            dice.hear(&out);
            offers += super::offers(&out).len();
            assert_eq!(out, theirs, "{strategy:?}, step {step}");
        }
        assert_eq!(postcard::to_stdvec(&acd).unwrap(), postcard::to_stdvec(&copy).unwrap());
        assert!(offers > 1_500, "{offers}");
    }
}

/// That the order told is the order chosen by is asserted where it is told.
#[test]
fn a_watch_changes_nothing_and_sees_each_offer_in_the_order_chosen_by() {
    let mut rules = BTreeSet::new();
    for (seed, strategy) in (50..).zip(STRATEGIES) {
        for quiet in [false, true] {
            let mut settings = routed_site(strategy);
            settings.agents.truncate(12);
            let settings = Arc::new(settings);
            let (mut dice, mut acd) = (Dice::new(seed), Acd::new(settings.clone(), 1));
            dice.quiet = quiet;
            let mut replay = Replay::new(Acd::new(settings, 1), names(), contact(2));
            let (mut out, mut offered) = (Vec::new(), 0);
            for step in 0..6_000 {
                let event = dice.event();
                out.clear();
                acd.handle(dice.now, event.clone(), &mut out);
                assert_eq!(replay.step(dice.now, Some(event)), out, "{strategy:?}, step {step}");
                dice.hear(&out);
                offered += super::offers(&out).iter().filter(|(slot, _)| *slot == 2).count();
                dice.pass();
                out.clear();
                acd.expire(dice.now, &mut out);
                assert_eq!(replay.step(dice.now, None), out, "{strategy:?}, step {step}");
                dice.hear(&out);
                offered += super::offers(&out).iter().filter(|(slot, _)| *slot == 2).count();
                let (decisions, cut) = replay.decisions();
                assert!(!cut);
                for decision in decisions {
                    if let Outcome::Offered { rule, agent, .. } = decision.outcome {
                        offered -= 1;
                        rules.insert(format!("{rule:?}"));
                        let chosen = decision.agents.iter().filter(|group| group.reason == Reason::Chosen);
                        let chosen: Vec<_> = chosen.flat_map(|group| &group.named).map(|seen| &seen.agent).collect();
                        assert_eq!(chosen, [&agent]);
                    }
                }
            }
            assert_eq!(offered, 0, "{strategy:?}: each offer is told once");
        }
    }
    assert_eq!(rules.len(), 12, "{rules:?}");
}

/// A replay that follows a bench: what was decided about one contact.
struct Told {
    replay: Replay,
    now: Now,
}

impl Told {
    fn new(settings: Settings) -> Told {
        let now = Now { mono: Mono::from_ms(1_000_000), wall: Wall(5_000) };
        Told { replay: Replay::new(Acd::new(Arc::new(settings), 1), names(), contact(1)), now }
    }

    fn ready(mut self, agents: &[u32]) -> Told {
        for &agent in agents {
            self.phone(agent, true).want(agent, Want::Ready);
        }
        self
    }

    fn tell(&mut self, event: Event) -> &mut Told {
        self.replay.step(self.now, Some(event));
        self
    }

    fn phone(&mut self, agent: u32, up: bool) -> &mut Told {
        self.tell(Event::Phone { agent: AgentId(agent), up })
    }

    fn want(&mut self, agent: u32, state: Want) -> &mut Told {
        self.tell(Event::Want { agent: AgentId(agent), state, by: None })
    }

    fn pause(&mut self, agent: u32) -> &mut Told {
        self.want(agent, Want::NotReady { reason: "lunch".into() })
    }

    fn caller(&mut self, slot: u32, queue: u16, preferred: Option<u32>) -> &mut Told {
        let (since, queue) = (self.now.mono, QueueId(queue));
        let preferred = preferred.map(AgentId);
        let caller = Enqueue {
            call: call(slot),
            contact: contact(slot),
            queue,
            priority: 0,
            since,
            preferred,
            patience: Patience::Bounded,
        };
        self.tell(Event::Enqueue(caller))
    }

    fn pass(&mut self, seconds: u64) -> &mut Told {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.replay.step(self.now, None);
        self
    }

    fn answer(&mut self, number: u64, agent: u32) -> &mut Told {
        self.tell(Event::Answered { lease: lease(number, agent) })
    }

    fn end(&mut self, number: u64, agent: u32) -> &mut Told {
        self.tell(Event::Ended { lease: lease(number, agent) })
    }

    fn all(&mut self) -> Vec<Decision> {
        self.replay.decisions().0
    }

    fn outcomes(&mut self) -> Vec<Outcome> {
        self.all().into_iter().map(|decision| decision.outcome).collect()
    }

    fn one(&mut self) -> Decision {
        let mut all = self.all();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}

fn by(decision: &Decision) -> (&str, Rule, &str, usize) {
    match &decision.outcome {
        Outcome::Offered { agent, rule, figure, eligible } => (agent, *rule, figure, *eligible),
        other => panic!("{other:?}"),
    }
}

fn group(decision: &Decision) -> Vec<(Reason, Vec<&str>)> {
    decision.agents.iter().map(|it| (it.reason.clone(), it.named.iter().map(|seen| &*seen.agent).collect())).collect()
}

fn one_queue(routing: Routing, levels: &[u8]) -> Settings {
    let mut general = queue("general", &[(SkillId(0), 1)]);
    general.routing = routing;
    let agent = |(id, &level): (u32, &u8)| AgentSettings { agent: AgentId(id), skills: vec![(SkillId(0), level)] };
    Settings { queues: vec![general], agents: (0u32..).zip(levels).map(agent).collect(), ..Settings::default() }
}

fn of(strategy: Strategy) -> Settings {
    one_queue(Routing { strategy, ring_together: 2, ..Routing::default() }, &[3, 2, 1])
}

#[test]
fn every_reason_not_to_ring_an_agent_is_told() {
    let mut settings = site();
    for agent in 4..10 {
        settings.agents.push(AgentSettings { agent: AgentId(agent), skills: vec![(SkillId(0), 1)] });
    }
    settings.agents.push(AgentSettings { agent: AgentId(10), skills: vec![] });
    settings.agents.push(AgentSettings { agent: AgentId(11), skills: vec![(SkillId(1), 5)] });
    settings.queues[0].skills = vec![(SkillId(0), 1)];
    // 0 talks, 1 is rung, 2 wraps up, 3 on a call of their own, 4 paused, 5 lost the phone, 6 and 7 are ready.
    let mut told = Told::new(settings).ready(&[0, 1, 2]);
    told.caller(20, 0, None).answer(1, 0).caller(21, 0, None).caller(22, 0, None).answer(3, 2).end(3, 2);
    for agent in 3..8 {
        told.phone(agent, true).want(agent, Want::Ready);
    }
    let own = CallId { shard: ShardId(0), slot: 90, generation: 0 };
    told.tell(Event::OwnCall { agent: AgentId(3), call: own, up: true }).pause(4).phone(5, false);
    let decision = told.caller(1, 0, None).one();
    let lacks = Reason::LacksSkill { skill: "news".into(), has: 0, needs: 1 };
    assert_eq!(
        group(&decision),
        [
            (Reason::Chosen, vec!["a6"]),
            (Reason::PassedOver, vec!["a7"]),
            (Reason::Offered, vec!["a1"]),
            (Reason::Talking, vec!["a0"]),
            (Reason::WrapUp, vec!["a2"]),
            (Reason::OwnCall, vec!["a3"]),
            (Reason::PhoneLost, vec!["a5"]),
            (Reason::NotReady { why: "lunch".into() }, vec!["a4"]),
            (Reason::Offline, vec!["a8", "a9"]),
            (lacks, vec!["a10", "a11"]),
        ]
    );
    assert_eq!(decision.cause, Cause { event: What::CallerCame, agent: None });
    assert_eq!((decision.at, decision.queue.as_deref(), decision.relaxed), (5_000, Some("general"), 0));
    assert_eq!(decision.asked, [Asked { skill: "news".into(), level: 1 }]);
}

#[test]
fn a_level_too_low_is_told_with_both_levels() {
    let mut told = Told::new(site()).ready(&[2]);
    let decision = told.caller(1, 1, None).one();
    assert_eq!(decision.outcome, Outcome::Waits { ahead: 0, alone_for: None });
    let lacks = |has| Reason::LacksSkill { skill: "law".into(), has, needs: 5 };
    assert_eq!(group(&decision), [(Reason::Offline, vec!["a3"]), (lacks(0), vec!["a0", "a1"]), (lacks(4), vec!["a2"])]);
}

#[test]
fn each_strategy_tells_the_figure_that_decided() {
    for (strategy, rule, agent, figure) in [
        (Strategy::LongestIdle, Rule::LongestIdle, "a2", "ready for 60.0 s, turn 1"),
        (Strategy::RingAll, Rule::RingAll, "a2", "ready for 60.0 s, turn 1"),
        (Strategy::TopDown, Rule::TopDown, "a0", "number 0"),
        (Strategy::RoundRobin, Rule::RoundRobin, "a0", "number 0, last rung nobody"),
        (Strategy::MostFitting, Rule::MostFitting, "a2", "0 off the levels asked for, turn 1"),
        (Strategy::LeastCalls, Rule::LeastCalls, "a2", "0 calls today"),
        (Strategy::LeastTalk, Rule::LeastTalk, "a2", "0 s of talk today"),
    ] {
        let mut told = Told::new(of(strategy)).ready(&[2, 1, 0]);
        let all = told.pass(60).caller(1, 0, None).all();
        assert_eq!(by(&all[0]), (agent, rule, figure, 3), "{strategy:?}");
        assert_eq!(all.len(), if strategy == Strategy::RingAll { 2 } else { 1 });
    }
    let mut told = Told::new(of(Strategy::Weighted)).ready(&[2, 1, 0]);
    let decision = told.caller(1, 0, None).one();
    let (agent, rule, figure, eligible) = by(&decision);
    let chances = ["3 chances in the lot", "2 chances in the lot", "1 chances in the lot"];
    assert_eq!((rule, figure, eligible), (Rule::Weighted, chances[agent[1..].parse::<usize>().unwrap()], 3));
}

#[test]
fn figures_of_the_day_and_of_the_round_decide_and_are_told() {
    for (strategy, figure, passed) in [
        (Strategy::LeastCalls, "0 calls today", "1 calls today"),
        (Strategy::LeastTalk, "0 s of talk today", "40 s of talk today"),
        (Strategy::RoundRobin, "number 2, last rung number 0", "number 0, last rung number 0"),
    ] {
        let mut told = Told::new(of(strategy)).ready(&[0, 2]);
        told.caller(9, 0, None).answer(1, 0).pass(40).end(1, 0).want(0, Want::Ready);
        let decision = told.caller(1, 0, None).one();
        assert_eq!((by(&decision).0, by(&decision).2), ("a2", figure), "{strategy:?}");
        let other = &decision.agents[1];
        assert_eq!((&other.reason, other.named[0].figure.as_deref()), (&Reason::PassedOver, Some(passed)));
    }
}

#[test]
fn a_rank_that_one_agent_alone_has_is_the_rule() {
    let ranks = vec![vec![(SkillId(0), 3)], vec![(SkillId(0), 2)]];
    let mut told = Told::new(one_queue(Routing { ranks, ..Routing::default() }, &[3, 2, 1])).ready(&[2, 1, 0]);
    let decision = told.caller(1, 0, None).one();
    assert_eq!(by(&decision), ("a0", Rule::Rank, "rank 1 of 3, ready for 0.0 s, turn 3", 3));
    assert_eq!(group(&decision)[1], (Reason::PassedOver, vec!["a1", "a2"]));
}

#[test]
fn preference_is_told_and_what_waiting_for_it_costs() {
    let routing = Routing { preferred: Some(Duration::from_secs(20)), ..Routing::default() };
    let settings = one_queue(routing, &[1, 1]);
    let mut told = Told::new(settings.clone()).ready(&[0, 1]);
    let decision = told.caller(1, 0, Some(1)).one();
    assert_eq!(by(&decision), ("a1", Rule::Preferred, "named for this caller", 2));
    // a1 talks to another: the caller waits for them alone though a0 is free; time ends that.
    let mut told = Told::new(settings).ready(&[1, 0]);
    told.caller(9, 0, None).answer(1, 1);
    let waits = told.caller(1, 0, Some(1)).one();
    assert_eq!(waits.outcome, Outcome::Waits { ahead: 0, alone_for: Some("a1".into()) });
    assert_eq!(group(&waits), [(Reason::CallerAwaitsPreferred, vec!["a0"]), (Reason::Talking, vec!["a1"])]);
    let decision = told.pass(20).one();
    assert_eq!(by(&decision).1, Rule::LongestIdle);
    assert_eq!(decision.cause.event, What::Time);
}

#[test]
fn who_came_free_takes_who_stood_first_and_the_other_hears_of_it() {
    let mut told = Told::new(of(Strategy::LongestIdle));
    told.phone(0, true).phone(1, true);
    told.caller(9, 0, None).pass(3).caller(1, 0, None);
    assert_eq!(told.one().outcome, Outcome::Waits { ahead: 1, alone_for: None });
    let passed = told.want(0, Want::Ready).one();
    let took = contact(9).to_string();
    assert_eq!(passed.outcome, Outcome::PassedOver { agent: "a0".into(), took, by_ms: 3_000 });
    assert_eq!(passed.cause, Cause { event: What::AskedReady, agent: Some("a0".into()) });
    let decision = told.want(1, Want::Ready).one();
    assert_eq!((by(&decision).0, by(&decision).1), ("a1", Rule::FirstInLine));
    assert_eq!(group(&decision)[1], (Reason::Offered, vec!["a0"]));
}

#[test]
fn ringing_together_tells_who_joined_and_who_was_let_go() {
    let mut told = Told::new(of(Strategy::RingAll)).ready(&[0]);
    assert_eq!(by(&told.caller(1, 0, None).one()).1, Rule::RingAll);
    let joined = told.phone(1, true).want(1, Want::Ready).one();
    assert_eq!((by(&joined).0, by(&joined).1), ("a1", Rule::JoinedRinging));
    assert_eq!(group(&joined)[1], (Reason::RingsForThisCaller, vec!["a0"]));
    let [answered, revoked] = &told.answer(2, 1).outcomes()[..] else { panic!("an answer and a revoke") };
    assert_eq!(*answered, Outcome::Answered { agent: "a1".into() });
    assert_eq!(*revoked, Outcome::Revoked { agent: "a0".into() });
    assert_eq!(told.end(2, 1).outcomes(), [Outcome::TalkEnded { agent: "a1".into() }]);
}

#[test]
fn revokes_and_refusals_are_told_with_their_cause_before_what_follows() {
    let mut told = Told::new(of(Strategy::LongestIdle)).ready(&[0, 1, 2]);
    told.caller(1, 0, None).all();
    let refused = told.tell(Event::Declined { lease: lease(1, 0), why: Declined::Rejected }).all();
    assert_eq!(refused[0].outcome, Outcome::Declined { agent: "a0".into(), why: Declined::Rejected });
    assert_eq!(by(&refused[1]).0, "a1");
    assert_eq!(group(&refused[1])[2], (Reason::NotReady { why: "rejected".into() }, vec!["a0"]));
    let rang_out = told.pass(15).all();
    assert_eq!(rang_out[0].outcome, Outcome::Revoked { agent: "a1".into() });
    assert_eq!((rang_out[0].cause.event, by(&rang_out[1]).0), (What::Time, "a2"));
    let lost = told.phone(2, false).all();
    assert_eq!(lost[0].outcome, Outcome::Revoked { agent: "a2".into() });
    assert_eq!(lost[0].cause, Cause { event: What::PhoneLost, agent: Some("a2".into()) });
    assert_eq!(lost[1].outcome, Outcome::Waits { ahead: 0, alone_for: None });
    assert_eq!(told.tell(Event::Cancel { call: call(1) }).outcomes(), [Outcome::Left]);
}

#[test]
fn lesser_needs_ways_out_and_limits_are_told_with_their_rule() {
    let seconds = Duration::from_secs;
    let over = |when, to: Option<u16>| Overflow { when, to: to.map_or(To::Release, |to| To::Queue(QueueId(to))) };
    let mut settings = site();
    settings.queues[1].routing.relax = vec![Relax { after: seconds(5), skills: vec![(SkillId(1), 4)] }];
    settings.queues[1].routing.overflow = vec![over(When::Waited(seconds(10)), Some(0))];
    settings.queues[0].wait_max = Some(seconds(60));
    let mut told = Told::new(settings.clone());
    told.phone(3, true).pause(3);
    assert_eq!(told.caller(1, 1, None).one().relaxed, 0);
    let relaxed = told.pass(5).one();
    assert_eq!((relaxed.relaxed, &relaxed.asked[..]), (1, &[Asked { skill: "law".into(), level: 4 }][..]));
    let moved = told.pass(5).all();
    assert_eq!(moved[0].outcome, Outcome::Moved { to: "general".into(), rule: "overflow: waited 10 s".into() });
    assert_eq!(moved[1].queue.as_deref(), Some("general"));
    let [Outcome::Released { why, rule }] = &told.pass(50).outcomes()[..] else { panic!("released") };
    assert_eq!((&**why, &**rule), ("waited_too_long", "the queue's longest wait"));
    let released = |settings: &Settings| match Told::new(settings.clone()).caller(1, 0, None).outcomes().pop() {
        Some(Outcome::Released { why, rule }) => (why, rule),
        other => panic!("{other:?}"),
    };
    for (when, why, rule) in [
        (When::Length(0), "full", "overflow: 0 or more waited"),
        (When::NobodyReady, "no_agents", "overflow: nobody was ready"),
        (When::NobodyLoggedIn, "no_agents", "overflow: nobody who could answer was signed in"),
    ] {
        settings.queues[0].routing.overflow = vec![over(when, None)];
        assert_eq!(released(&settings), (why.to_owned(), rule.to_owned()));
    }
    settings.queues[0].routing.overflow.clear();
    settings.queues[0].waiting_max = 0;
    assert_eq!(released(&settings), ("full".to_owned(), "the queue held as many as it may".into()));
    settings.queues[0].no_agents = NoAgents::Release;
    assert_eq!(released(&settings).0, "no_agents");
    settings.queues.clear();
    assert_eq!(released(&settings), ("queue_gone".to_owned(), "the queue was taken away, or never was".into()));
}

#[test]
fn a_big_site_is_named_in_part_and_counted_whole() {
    let levels = vec![1; AGENTS_LOOKED_AT_MAX + 7];
    let mut told = Told::new(one_queue(Routing::default(), &levels));
    let decision = told.caller(1, 0, None).one();
    let counts: Vec<_> = decision.agents.iter().map(|it| (it.reason.clone(), it.count, it.named.len())).collect();
    assert_eq!(counts, [(Reason::Offline, AGENTS_LOOKED_AT_MAX, AGENTS_NAMED_MAX), (Reason::NotLookedAt, 7, 0)]);
}

#[test]
fn no_more_is_told_than_the_limit() {
    let mut told = Told::new(of(Strategy::LongestIdle));
    for _ in 0..=DECISIONS_MAX {
        told.caller(1, 0, None).tell(Event::Cancel { call: call(1) });
    }
    let (decisions, cut) = told.replay.decisions();
    assert_eq!((decisions.len(), cut), (DECISIONS_MAX, true));
}

/// What is kept of a machine and of its inputs is in files: when this changes, so must [`FORM`].
#[test]
fn what_is_kept_is_written_as_it_was() {
    let (mut dice, mut acd, mut out) = (Dice::new(1), Acd::new(Arc::new(mixed_site(0)), 1), Vec::new());
    let mut inputs = Vec::new();
    for _ in 0..2_000 {
        let event = dice.event();
        inputs.extend(postcard::to_stdvec(&event).unwrap());
        out.clear();
        acd.handle(dice.now, event, &mut out);
        dice.pass();
        acd.expire(dice.now, &mut out);
        dice.hear(&out);
    }
    let sums = (crc32fast::hash(&postcard::to_stdvec(&acd).unwrap()), crc32fast::hash(&inputs));
    assert_eq!((FORM, sums), (2, (1_901_235_409, 2_810_732_892)), "raise the form");
}
