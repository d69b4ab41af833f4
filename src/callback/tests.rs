//! The book of call-backs beside real queues, with outbound calls that answer, fail and get lost as the dice fall.

use super::event::{Attempt, CALLBACKS, Command, Event, QueueSettings, Rules, Settings, Step};
use super::{Callbacks, book};
use crate::acd::Acd;
use crate::acd::event::{
    AgentSettings, AgentState, Command as FromAcd, Declined, Enqueue, Event as ToAcd, NoAgents, Patience,
    QueueSettings as Queue, Settings as AcdSettings, Want,
};
use crate::base::fact::{AttemptResult, CallbackRecord, CallbackResult, CallbackSource, Fact};
use crate::base::hours::{Hours, Window};
use crate::base::{AgentId, CallId, CallbackId, ContactId, Mint, Mono, Now, QueueId, ShardId, SiteId, Wall};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

const SITE: SiteId = SiteId(0);
const MINUTE: Duration = Duration::from_secs(60);
/// A Monday at 08:00 UTC.
const START: Wall = Wall(1_795_420_800_000);

fn before(wall: Wall, by: Duration) -> Wall {
    Wall(wall.0 - by.as_millis() as i64)
}

fn rules() -> Rules {
    let day = Window { weekdays: 0x7f, from_min: 8 * 60, until_min: 20 * 60 };
    let hours = Hours { windows: vec![day], ..Hours::default() };
    Rules { hours, attempts_max: 2, retry_after: 10 * MINUTE }
}

fn settings() -> Arc<Settings> {
    let queue = |name: &str, callbacks| QueueSettings { name: name.into(), callbacks };
    Arc::new(Settings { sites: vec![vec![queue("general", Some(rules())), queue("mute", None)]] })
}

fn acd_settings(agents: u32) -> Arc<AcdSettings> {
    let queue = |name: &str| Queue {
        name: name.into(),
        skills: Vec::new(),
        priority: 0,
        ageing: Duration::from_secs(10),
        ring_max: Duration::from_secs(15),
        misses_max: 3,
        wrap_up: Duration::from_secs(5),
        wait_max: Some(MINUTE),
        waiting_max: 3,
        no_agents: NoAgents::Wait,
        routing: Default::default(),
    };
    let agent = |id| AgentSettings { agent: AgentId(id), skills: Vec::new() };
    let (queues, agents) = (vec![queue("general"), queue("mute")], (0..agents).map(agent).collect());
    Arc::new(AcdSettings { site: SITE, queues, agents, utc_offset_s: 0 })
}

fn record(id: u128, number: &str, since: Wall) -> CallbackRecord {
    CallbackRecord {
        callback: CallbackId(id),
        revision: 1,
        number: number.into(),
        queue: "general".into(),
        priority: 0,
        source: CallbackSource::Key,
        contact: Some(ContactId(id)),
        order: None,
        since,
        asked: since,
        not_before: since,
        attempts: Vec::new(),
        closed: None,
        result: None,
    }
}

/// The book, the queues, and the outbound calls under way.
struct World {
    book: Callbacks,
    acd: Acd,
    now: Now,
    /// By contact: the attempt, and whether its agent has answered.
    calls: BTreeMap<ContactId, (Attempt, bool)>,
    /// What was told last of each.
    told: BTreeMap<CallbackId, CallbackRecord>,
    /// In order of the agents' ringing.
    tried: Vec<CallbackId>,
    /// Citizens on the line who were offered an agent.
    served: Vec<CallId>,
}

impl World {
    fn new(agents: u32) -> World {
        let now = Now { mono: Mono::from_ms(100_000_000), wall: START };
        let mut world = World {
            book: Callbacks::new(settings(), Mint::new(1, [1, 2])),
            acd: Acd::new(acd_settings(agents), 1),
            now,
            calls: BTreeMap::new(),
            told: BTreeMap::new(),
            tried: Vec::new(),
            served: Vec::new(),
        };
        for agent in (0..agents).map(AgentId) {
            world.tell_acd(ToAcd::Phone { agent, up: true });
        }
        world
    }

    fn ready(&mut self, agent: u32) {
        self.tell_acd(ToAcd::Want { agent: AgentId(agent), state: Want::Ready, by: None });
    }

    fn ask(&mut self, id: u128, number: &str, since: Wall) {
        self.tell(Event::Asked { site: SITE, record: Box::new(record(id, number, since)) });
    }

    fn step(&mut self, contact: ContactId, step: Step) {
        let Some((attempt, _)) = self.calls.get(&contact) else { return };
        let callback = attempt.callback;
        match &step {
            Step::AgentThere { .. } => self.calls.get_mut(&contact).unwrap().1 = true,
            Step::Rings => {}
            Step::NotListed | Step::AgentAway(_) | Step::Over(_) => _ = self.calls.remove(&contact),
        }
        self.tell(Event::Attempt { callback, contact, step });
    }

    /// The only outbound call under way.
    fn call(&self) -> ContactId {
        assert_eq!(self.calls.len(), 1, "{:?}", self.calls);
        *self.calls.keys().next().unwrap()
    }

    fn there(&mut self, contact: ContactId) {
        self.step(contact, Step::AgentThere { agent: "1001".into() });
    }

    fn tell_acd(&mut self, event: ToAcd) {
        let mut out = Vec::new();
        self.acd.handle(self.now, event, &mut out);
        self.heard(out);
    }

    fn tell(&mut self, event: Event) {
        let mut out = Vec::new();
        self.book.handle(self.now, event, &mut out);
        self.settle(out);
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now.after(time);
        loop {
            let next = [self.book.next_deadline(), self.acd.next_deadline()].into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= until.mono) else { break };
            self.now = self.now.after(at.since(self.now.mono));
            let mut out = Vec::new();
            self.acd.expire(self.now, &mut out);
            self.heard(out);
            let mut out = Vec::new();
            self.book.expire(self.now, &mut out);
            self.settle(out);
        }
        self.now = until;
    }

    fn heard(&mut self, out: Vec<FromAcd>) {
        for said in out {
            match &said {
                FromAcd::Offer { call, .. } | FromAcd::Revoke { call, .. } | FromAcd::Released { call, .. }
                    if call.shard == CALLBACKS =>
                {
                    self.tell(Event::Acd(said));
                }
                FromAcd::Offer { call, .. } => self.served.push(*call),
                FromAcd::Revoke { .. } | FromAcd::Released { .. } | FromAcd::Stands { .. } | FromAcd::Agent(_) => {}
            }
        }
    }

    fn settle(&mut self, out: Vec<Command>) {
        let mut queue = VecDeque::from(out);
        while let Some(command) = queue.pop_front() {
            match command {
                Command::Acd { event, .. } => self.tell_acd(event),
                Command::Try(attempt) => {
                    let same = self.calls.values().filter(|(other, _)| other.number == attempt.number);
                    assert_eq!(same.count(), 0, "one attempt at a time");
                    self.tried.push(attempt.callback);
                    self.calls.insert(attempt.contact, (*attempt, false));
                }
                Command::GiveUp { contact } => _ = self.calls.remove(&contact),
                Command::Fact { fact: Fact::Callback(told), .. } => {
                    let before = self.told.insert(told.callback, (*told).clone());
                    assert!(before.is_none_or(|before| before.revision < told.revision), "revisions rise");
                }
                Command::Fact { .. } => panic!("no other facts"),
            }
        }
        self.book.check();
        self.acd.check();
    }

    fn result(&self, id: u128) -> Option<CallbackResult> {
        self.told.get(&CallbackId(id)).and_then(|told| told.result)
    }

    fn agent(&self, agent: u32) -> AgentState {
        self.acd.agent(AgentId(agent)).unwrap().state
    }

    fn citizen(&mut self, slot: u32, since: Mono) {
        let call = CallId { shard: ShardId(0), slot, generation: 1 };
        self.tell_acd(ToAcd::Enqueue(Enqueue {
            call,
            contact: ContactId(1_000 + u128::from(slot)),
            queue: QueueId(0),
            priority: 0,
            since,
            preferred: None,
            patience: Patience::Bounded,
        }));
    }
}

#[test]
fn a_call_back_keeps_its_place_between_those_on_the_line() {
    let mut world = World::new(1);
    let ago = |world: &World, s: u64| world.now.mono - Duration::from_secs(s);
    let early = ago(&world, 50);
    world.citizen(0, early);
    world.ask(1, "a", before(START, Duration::from_secs(40)));
    let late = ago(&world, 30);
    world.citizen(1, late);
    world.ready(0);
    assert_eq!(world.served.len(), 1, "who has waited longest is first");
    world.tell_acd(ToAcd::Cancel { call: world.served[0] });
    assert_eq!((world.tried.as_slice(), world.served.len()), (&[CallbackId(1)][..], 1));
    let contact = world.call();
    world.step(contact, Step::Rings);
    world.there(contact);
    assert_eq!(world.agent(0), AgentState::Talking);
    world.step(contact, Step::Over(AttemptResult::Reached));
    assert_eq!((world.result(1), world.agent(0)), (Some(CallbackResult::Reached), AgentState::WrapUp));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.served.len(), 2, "then the one who came later");
    assert_eq!(world.book.counts().open, 0);
}

#[test]
fn neither_the_longest_wait_nor_a_full_queue_is_for_one_who_is_not_on_the_line() {
    let mut world = World::new(1);
    for slot in 0..3 {
        let since = world.now.mono;
        world.citizen(slot, since);
    }
    world.ask(1, "a", START);
    world.pass(20 * MINUTE);
    assert_eq!((world.book.counts().in_line, world.result(1)), (1, None));
    world.ready(0);
    assert_eq!(world.tried.len(), 1);
}

#[test]
fn a_number_that_is_not_reached_is_tried_again_later_and_so_often_at_most() {
    let mut world = World::new(1);
    world.ready(0);
    world.ask(1, "a", START);
    let first = world.call();
    world.there(first);
    world.step(first, Step::Over(AttemptResult::Busy));
    assert_eq!((world.agent(0), world.book.counts().in_line), (AgentState::WrapUp, 0));
    world.pass(Duration::from_secs(599));
    assert_eq!(world.tried.len(), 1);
    world.pass(Duration::from_secs(1));
    let second = world.call();
    world.there(second);
    world.step(second, Step::Over(AttemptResult::NoAnswer));
    let told = &world.told[&CallbackId(1)];
    assert_eq!(told.result, Some(CallbackResult::Unreached));
    let results: Vec<_> = told.attempts.iter().map(|attempt| (attempt.contact, attempt.result)).collect();
    assert_eq!(results, [(first, Some(AttemptResult::Busy)), (second, Some(AttemptResult::NoAnswer))]);
}

#[test]
fn what_fails_on_our_side_uses_up_no_attempt() {
    let mut world = World::new(2);
    world.ready(0);
    world.ask(1, "a", START);
    world.ready(1);
    let contact = world.call();
    world.step(contact, Step::AgentAway(Declined::Rejected));
    assert!(matches!(world.agent(0), AgentState::NotReady { .. }), "who refuses is paused");
    let contact = world.call();
    world.there(contact);
    world.step(contact, Step::Over(AttemptResult::AgentGone));
    world.pass(MINUTE);
    let contact = world.call();
    world.pass(Duration::from_secs(14));
    assert_eq!(world.call(), contact);
    world.pass(Duration::from_secs(1));
    assert_ne!(world.call(), contact, "an agent who lets it ring is given up, and rung anew");
    assert_eq!(world.told[&CallbackId(1)].attempts.len(), 1);
    assert_eq!(world.result(1), None);
    assert_eq!(world.book.counts().in_line, 1);
}

#[test]
fn whoever_calls_again_is_not_called_back() {
    let mut world = World::new(1);
    world.ask(1, "a", START);
    world.tell(Event::Came { site: SITE, number: "b".into() });
    world.tell(Event::Came { site: SiteId(1), number: "a".into() });
    assert_eq!(world.result(1), None);
    world.tell(Event::Came { site: SITE, number: "a".into() });
    assert_eq!((world.result(1), world.book.counts().open), (Some(CallbackResult::CalledAgain), 0));
    world.ready(0);
    assert_eq!(world.tried, [], "nobody is rung for them");
    world.ask(2, "c", world.now.wall);
    let contact = world.call();
    world.tell(Event::Came { site: SITE, number: "c".into() });
    assert_eq!(
        (world.result(2), world.agent(0), world.calls.len()),
        (Some(CallbackResult::CalledAgain), AgentState::Ready, 0)
    );
    world.step(contact, Step::Rings);
    world.ask(3, "d", world.now.wall);
    let contact = world.call();
    world.there(contact);
    world.tell(Event::Came { site: SITE, number: "d".into() });
    world.tell(Event::Withdraw { callback: CallbackId(3) });
    assert_eq!(world.result(3), None, "what is being dialled decides for itself");
}

#[test]
fn one_number_has_one_call_back_and_a_queue_without_any_says_so() {
    let mut world = World::new(1);
    world.ask(1, "a", START);
    world.ask(1, "a", START);
    assert_eq!(world.told.len(), 0, "the same again says nothing");
    world.ask(2, "a", START);
    assert_eq!((world.result(2), world.book.counts().open), (Some(CallbackResult::Duplicate), 1));
    let mute = CallbackRecord { queue: "mute".into(), ..record(3, "b", START) };
    world.tell(Event::Asked { site: SITE, record: Box::new(mute) });
    assert_eq!(world.result(3), Some(CallbackResult::QueueGone));
    world.tell(Event::Withdraw { callback: CallbackId(1) });
    assert_eq!(world.result(1), Some(CallbackResult::Withdrawn));
    // The store is a moment behind, and calls them open still.
    world.ask(1, "a", START);
    world.ask(2, "a", START);
    assert_eq!(world.book.counts().open, 0);
    world.ready(0);
    assert_eq!(world.tried, []);
}

#[test]
fn nobody_is_called_at_night_and_places_stand_in_the_morning() {
    let mut world = World::new(1);
    world.ask(1, "a", START);
    world.pass(13 * 60 * MINUTE);
    assert_eq!(world.book.counts().in_line, 0, "at nine in the evening nobody waits");
    world.ask(2, "b", world.now.wall);
    world.ready(0);
    world.pass(60 * MINUTE);
    assert_eq!(world.tried, []);
    world.pass(10 * 60 * MINUTE);
    assert_eq!(world.tried, [CallbackId(1)]);
    let contact = world.call();
    world.there(contact);
    world.step(contact, Step::Over(AttemptResult::Reached));
    world.pass(Duration::from_secs(6));
    assert_eq!(world.tried, [CallbackId(1), CallbackId(2)]);
}

#[test]
fn the_line_holds_so_many_and_the_others_follow_by_their_places() {
    let mut world = World::new(1);
    let count = book::IN_LINE_MAX as u128 + 50;
    for id in 1..=count {
        let waited = Duration::from_secs(if id > book::IN_LINE_MAX as u128 { 2_000 - id as u64 } else { 10 });
        world.ask(id, &id.to_string(), before(START, waited));
    }
    assert_eq!(world.book.counts().in_line, book::IN_LINE_MAX);
    world.tell(Event::Withdraw { callback: CallbackId(1) });
    assert_eq!(world.book.counts().in_line, book::IN_LINE_MAX);
    world.ready(0);
    assert_eq!(world.tried, [CallbackId(book::IN_LINE_MAX as u128 + 1)], "of those outside the one who waits longest");
}

#[test]
fn a_new_owner_of_the_queues_takes_up_what_waits_rings_and_talks() {
    let mut world = World::new(2);
    world.ready(0);
    world.ask(1, "a", START);
    let talking = world.call();
    world.there(talking);
    world.ready(1);
    world.ask(2, "b", START);
    world.ask(3, "c", START);
    world.acd = Acd::restore(acd_settings(2), world.acd.snapshot(), world.now, 2, &mut Vec::new()).unwrap();
    world.tell(Event::Resync { site: SITE });
    assert_eq!((world.agent(0), world.agent(1)), (AgentState::Talking, AgentState::Offered));
    // And one who remembers nothing.
    world.acd = Acd::new(acd_settings(2), 3);
    world.tell(Event::Resync { site: SITE });
    assert_eq!(world.agent(0), AgentState::Talking);
    world.step(talking, Step::Over(AttemptResult::Reached));
    assert_eq!(world.result(1), Some(CallbackResult::Reached));
}

#[test]
fn after_a_crash_what_was_cut_off_is_tried_again() {
    let mut world = World::new(1);
    world.ready(0);
    world.ask(1, "a", START);
    let contact = world.call();
    world.there(contact);
    let told = world.told[&CallbackId(1)].clone();
    assert_eq!(told.attempts[0].result, None);
    let mut after = World::new(1);
    after.ready(0);
    after.tell(Event::Asked { site: SITE, record: Box::new(told) });
    let contact = after.call();
    after.there(contact);
    let results: Vec<_> = after.told[&CallbackId(1)].attempts.iter().map(|attempt| attempt.result).collect();
    assert_eq!(results, [Some(AttemptResult::Fault), None]);
}

/// Whatever happens: one attempt at a time and number, every call-back ends, agents and queues are as they were.
#[test]
fn no_history_strands_a_call_back_or_an_agent() {
    let (mut closed, mut reached) = (0, 0);
    for seed in 0..60 {
        let mut dice = Mint::new(9, [seed, 77]);
        let mut below = |end: u64| dice.random() % end;
        let mut world = World::new(4);
        for agent in 0..4 {
            world.ready(agent);
        }
        for id in 1..=400u128 {
            let calls: Vec<ContactId> = world.calls.keys().copied().collect();
            let one = (!calls.is_empty()).then(|| calls[below(calls.len() as u64) as usize]);
            match (below(12), one) {
                (0..3, _) => {
                    let since = before(world.now.wall, Duration::from_secs(below(600)));
                    world.ask(id, &below(12).to_string(), since);
                }
                (3, _) => world.tell(Event::Came { site: SITE, number: below(12).to_string().into() }),
                (4, _) => world.tell(Event::Withdraw { callback: CallbackId(u128::from(below(id as u64))) }),
                (5, _) => world.ready(below(4) as u32),
                (6, Some(contact)) => world.step(contact, Step::Rings),
                (7..9, Some(contact)) if !world.calls[&contact].1 => world.there(contact),
                (7..9, Some(contact)) => {
                    let results = [AttemptResult::Reached, AttemptResult::Busy, AttemptResult::AgentGone];
                    world.step(contact, Step::Over(results[below(3) as usize]));
                }
                (9, Some(contact)) if !world.calls[&contact].1 => {
                    let why = [Declined::Rejected, Declined::NoAnswer, Declined::Unreachable][below(3) as usize];
                    world.step(contact, Step::AgentAway(why));
                }
                // Lost without a word.
                (10, Some(contact)) => _ = world.calls.remove(&contact),
                _ => world.tell(Event::Resync { site: SITE }),
            }
            world.pass(Duration::from_secs(below(40)));
        }
        for _ in 0..2_000 {
            if world.book.counts().open == 0 {
                break;
            }
            (0..4).for_each(|agent| world.ready(agent));
            for contact in world.calls.keys().copied().collect::<Vec<_>>() {
                match world.calls[&contact].1 {
                    false => world.there(contact),
                    true => world.step(contact, Step::Over(AttemptResult::Reached)),
                }
            }
            world.pass(2 * MINUTE);
        }
        assert_eq!(world.book.counts(), super::Counts::default(), "seed {seed}: {:?}", world.book);
        assert_eq!(world.acd.counts().callers, 0, "seed {seed}");
        for agent in 0..4 {
            assert!(!matches!(world.agent(agent), AgentState::Offered | AgentState::Talking), "seed {seed}");
        }
        closed += world.told.values().filter(|told| told.result.is_some()).count();
        reached += world.told.values().filter(|told| told.result == Some(CallbackResult::Reached)).count();
    }
    assert!(closed > 3_000 && reached > 500, "{closed} closed, {reached} reached");
}
