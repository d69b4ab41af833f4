//! The table of trunks on its own: channels, rates, reserves, choice of routes, health and registrations.

use super::Trunks;
use super::event::*;
use super::rules::NumberRules;
use crate::base::fact::Direction;
use crate::base::{LegId, Mono, Now, ShardId, TrunkId, Wall};
use crate::sdp::Codec;
use crate::sip::event::{Answer, Ask, Login, Question};
use crate::sip::via::Transport;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const FREE: Limits = Limits { channels: 1_000, reserve: 0, calls_per_s: 1_000 };

pub(crate) fn profile(name: &str) -> Profile {
    let remote = Remote {
        host: "192.0.2.1".into(),
        port: None,
        proxy: None,
        listener: 0,
        transport: Transport::Udp,
        address: Some("192.0.2.1:5060".parse().unwrap()),
    };
    Profile {
        name: name.into(),
        remote: Some(remote),
        login: None,
        register: None,
        priority: 10,
        weight: 1,
        inbound: FREE,
        outbound: FREE,
        inbound_rules: NumberRules::default(),
        outbound_rules: NumberRules::default(),
        watch: None,
        provisional_max: Duration::from_secs(2),
        provisional_max_emergency: Duration::from_secs(1),
        drill: false,
        ring_max: Duration::from_secs(60),
        one_way_max: Duration::from_secs(600),
        codecs: vec![Codec::Pcma],
        next_on: Vec::new(),
        emergency: false,
        full_status: 503,
        wording: Wording::default(),
    }
}

const WATCH: Watch = Watch { every: Duration::from_secs(30), down_after: 2, up_after: 2 };

struct Table {
    trunks: Trunks,
    now: Now,
    legs: u64,
}

impl Table {
    fn new(profiles: Vec<Profile>) -> Table {
        let settings = Settings { trunks: profiles, seed: [1, 2] };
        let now = Now { mono: Mono::from_ms(10_000), wall: Wall(0) };
        Table { trunks: Trunks::new(Arc::new(settings)), now, legs: 0 }
    }

    fn tell(&mut self, event: Event) -> Vec<Command> {
        let mut out = Vec::new();
        self.trunks.handle(self.now, event, &mut out);
        self.trunks.check();
        out
    }

    fn pass(&mut self, by: Duration) -> Vec<Command> {
        self.now = self.now.after(by);
        let mut out = Vec::new();
        self.trunks.expire(self.now, &mut out);
        self.trunks.check();
        out
    }

    fn leg(&mut self) -> LegId {
        self.legs += 1;
        LegId::outgoing(ShardId((self.legs % 3) as u8), self.legs)
    }

    fn seize(&mut self, way: Way, emergency: bool) -> Result<(LegId, u16), Refused> {
        let leg = self.leg();
        match &self.tell(Event::Seize(Seize { leg, way, emergency }))[..] {
            [Command::Granted { leg: granted, trunk, .. }] => {
                assert_eq!(*granted, leg);
                Ok((leg, trunk.0))
            }
            [Command::Refused { why, .. }] => Err(*why),
            other => panic!("a wish is answered once: {other:?}"),
        }
    }

    fn out(&mut self, routes: &[u16], tried: &[u16], emergency: bool) -> Result<(LegId, u16), Refused> {
        let ids = |ids: &[u16]| ids.iter().copied().map(TrunkId).collect();
        self.seize(Way::Out { routes: ids(routes), tried: ids(tried) }, emergency)
    }

    fn inward(&mut self, trunk: u16, emergency: bool) -> Result<(LegId, u16), Refused> {
        self.seize(Way::In(TrunkId(trunk)), emergency)
    }

    fn answer(&mut self, ask: &Ask, status: u16) -> Vec<Command> {
        let answer = Answer { id: ask.id, what: ask.what.clone(), status, expires_s: Some(100), min_expires_s: None };
        self.tell(Event::Answered(answer))
    }
}

fn asks(commands: Vec<Command>) -> Vec<Ask> {
    let ask = |command| if let Command::Ask { ask, .. } = command { Some(*ask) } else { None };
    commands.into_iter().filter_map(ask).collect()
}

#[test]
fn emergencies_have_the_reserve_and_nobody_has_more_than_there_is() {
    let limits = Limits { channels: 3, reserve: 1, calls_per_s: 100 };
    let mut table = Table::new(vec![Profile { inbound: limits, outbound: limits, ..profile("a") }]);
    let first = table.inward(0, false).unwrap();
    table.inward(0, false).unwrap();
    assert_eq!(table.inward(0, false), Err(Refused::Full), "the last is kept");
    table.inward(0, true).unwrap();
    assert_eq!(table.inward(0, true), Err(Refused::Full), "there are three");
    assert!(table.out(&[0], &[], false).is_ok(), "the other direction has its own");
    table.tell(Event::Release { leg: first.0 });
    table.tell(Event::Release { leg: first.0 });
    assert_eq!(table.inward(0, false), Err(Refused::Full), "two are in use, one is kept");
    let views = table.trunks.views(table.now.mono);
    let Usage { used, taken, full, .. } = views[0].inbound;
    assert_eq!((used, taken, full, views[0].outbound.used), (2, 3, 3, 1));
}

#[test]
fn calls_a_second_are_bounded_but_for_emergencies() {
    let limits = Limits { channels: 100, reserve: 0, calls_per_s: 2 };
    let mut table = Table::new(vec![Profile { inbound: limits, ..profile("a") }]);
    assert!(table.inward(0, false).is_ok() && table.inward(0, false).is_ok());
    assert_eq!(table.inward(0, false), Err(Refused::TooFast));
    assert!(table.inward(0, true).is_ok());
    table.pass(Duration::from_millis(500));
    assert!(table.inward(0, false).is_ok());
    assert_eq!(table.inward(0, false), Err(Refused::TooFast));
    assert_eq!(table.trunks.views(table.now.mono)[0].inbound.too_fast, 2);
}

#[test]
fn priorities_come_first_and_weights_share_smoothly() {
    let weighted = |name, priority, weight| Profile { priority, weight, ..profile(name) };
    let mut table =
        Table::new(vec![weighted("a", 1, 5), weighted("b", 1, 1), weighted("c", 1, 1), weighted("d", 2, 9)]);
    let chosen: Vec<u16> = (0..7).map(|_| table.out(&[0, 1, 2, 3], &[], false).unwrap().1).collect();
    assert_eq!(chosen, [0, 0, 1, 0, 2, 0, 0], "smooth: no burst of the heavy one between the light ones");
    let mut count = BTreeMap::new();
    for _ in 0..70 {
        *count.entry(table.out(&[0, 1, 2, 3], &[], false).unwrap().1).or_insert(0) += 1;
    }
    assert_eq!(count.into_iter().collect::<Vec<_>>(), [(0, 50), (1, 10), (2, 10)]);
    assert_eq!(
        table.out(&[0, 1, 2, 3], &[0, 1, 2], false).map(|it| it.1),
        Ok(3),
        "the next priority when all were tried"
    );
    assert_eq!(table.out(&[0, 3], &[0, 3], false), Err(Refused::NoRoute));
    assert_eq!(table.out(&[], &[], true), Err(Refused::NoRoute));
}

#[test]
fn a_full_trunk_gives_way_and_a_trunk_without_remote_is_no_route() {
    let one = Limits { channels: 1, ..FREE };
    let mut table = Table::new(vec![
        Profile { outbound: one, priority: 1, ..profile("a") },
        profile("b"),
        Profile { remote: None, priority: 1, ..profile("in") },
    ]);
    assert_eq!(table.out(&[0, 1, 2], &[], false).map(|it| it.1), Ok(0));
    assert_eq!(table.out(&[0, 1, 2], &[], false).map(|it| it.1), Ok(1));
    assert_eq!(table.out(&[0], &[], false), Err(Refused::Full));
    assert_eq!(table.out(&[2], &[], true), Err(Refused::NoRoute));
}

#[test]
fn options_take_a_trunk_down_and_bring_it_up_and_emergencies_try_it_at_last() {
    let mut table = Table::new(vec![Profile { watch: Some(WATCH), priority: 1, ..profile("a") }, profile("b")]);
    let down = Command::Alarm { trunk: TrunkId(0), what: Alarm::Down };
    let up = Command::Alarm { trunk: TrunkId(0), what: Alarm::Up };
    let ask = asks(table.pass(Duration::ZERO)).remove(0);
    assert_eq!(
        (ask.what.clone(), ask.flow.peer, &*ask.host),
        (Question::Alive, "192.0.2.1:5060".parse().unwrap(), "192.0.2.1")
    );
    assert!(asks(table.pass(Duration::ZERO)).is_empty(), "one at a time");
    assert_eq!(table.answer(&ask, 404), [], "whoever answers is there");
    assert_eq!(table.trunks.next_deadline(), Some(table.now.mono + WATCH.every));
    // Nothing within 4 s; then 503.
    asks(table.pass(WATCH.every)).remove(0);
    assert_eq!(table.pass(Duration::from_secs(4)), []);
    let late = ask;
    assert_eq!(table.answer(&late, 200), [], "an answer to an earlier one is none");
    let ask = asks(table.pass(WATCH.every)).remove(0);
    assert_eq!(table.answer(&ask, 503), [down]);
    assert_eq!(table.out(&[0, 1], &[], false).map(|it| it.1), Ok(1));
    assert_eq!(table.out(&[0], &[], false), Err(Refused::NoRoute));
    assert_eq!(table.out(&[0, 1], &[], true).map(|it| it.1), Ok(1), "a healthy one first");
    assert_eq!(table.out(&[0, 1], &[1], true).map(|it| it.1), Ok(0), "but better a sick one than none");
    let view = &table.trunks.views(table.now.mono)[0];
    assert_eq!((view.up, view.fit, view.since), (Some(false), false, table.now.mono));
    for (status, told) in [(200, vec![]), (200, vec![up])] {
        let ask = asks(table.pass(WATCH.every)).remove(0);
        assert_eq!(table.answer(&ask, status), told);
    }
    assert_eq!(table.out(&[0, 1], &[], false).map(|it| it.1), Ok(0));
}

#[test]
fn calls_that_fail_count_as_failures() {
    let mut table = Table::new(vec![Profile { watch: Some(WATCH), ..profile("a") }, profile("b")]);
    assert_eq!(table.tell(Event::Failed { trunk: TrunkId(0) }), []);
    assert_eq!(
        table.tell(Event::Failed { trunk: TrunkId(0) }),
        [Command::Alarm { trunk: TrunkId(0), what: Alarm::Down }]
    );
    (0..9).for_each(|_| assert_eq!(table.tell(Event::Failed { trunk: TrunkId(1) }), []));
    assert!(table.out(&[1], &[], false).is_ok(), "without OPTIONS nothing could bring it up again");
}

#[test]
fn a_trunk_that_registers_carries_calls_while_it_is_registered() {
    let login = Some(Arc::new(Login { user: "059112345".into(), password: "secret".into(), realm: None }));
    let register = Some(Duration::from_secs(600));
    let mut table = Table::new(vec![Profile { login, register, ..profile("a") }]);
    let alarm = |what| Command::Alarm { trunk: TrunkId(0), what };
    assert_eq!(table.out(&[0], &[], false), Err(Refused::NoRoute));
    let ask = asks(table.pass(Duration::ZERO)).remove(0);
    let Question::Register { expires_s: 600, call_id } = ask.what.clone() else { panic!("{ask:?}") };
    assert!(!format!("{ask:?}").contains("secret"));
    assert_eq!(table.answer(&ask, 200), [alarm(Alarm::Registered)]);
    assert_eq!(table.answer(&ask, 200), [], "said twice");
    assert!(table.out(&[0], &[], false).is_ok());
    // Granted 100 s: renewed after 80, under the same Call-ID.
    assert!(asks(table.pass(Duration::from_secs(79))).is_empty());
    let again = asks(table.pass(Duration::from_secs(1))).remove(0);
    assert!(matches!(&again.what, Question::Register { call_id: same, .. } if *same == call_id));
    assert_eq!(table.answer(&again, 503), [alarm(Alarm::Unregistered(503))]);
    assert!(table.out(&[0], &[], false).is_ok(), "the old one is still good");
    let third = asks(table.pass(Duration::from_secs(2))).remove(0);
    assert_eq!(table.pass(Duration::from_secs(18)), [alarm(Alarm::Unregistered(408))], "it has run out");
    assert_eq!(table.out(&[0], &[], false), Err(Refused::NoRoute));
    assert!(table.out(&[0], &[], true).is_ok(), "for an emergency it is tried");
    assert_eq!(table.answer(&third, 200), [alarm(Alarm::Registered)]);
}

#[test]
fn names_are_looked_up_and_a_dead_address_gives_way() {
    let mut named = profile("a");
    named.watch = Some(WATCH);
    named.remote = named.remote.map(|remote| Remote { host: "sip.example.cn".into(), address: None, ..remote });
    let mut table = Table::new(vec![named]);
    assert_eq!(table.pass(Duration::ZERO), [Command::Resolve { trunk: TrunkId(0) }]);
    assert_eq!(table.out(&[0], &[], true), Err(Refused::NoRoute));
    let resolved = |targets: &[&str], life| Event::Resolved {
        trunk: TrunkId(0),
        targets: targets.iter().map(|target| target.parse().unwrap()).collect(),
        life: Duration::from_secs(life),
    };
    let unresolved = Command::Alarm { trunk: TrunkId(0), what: Alarm::Unresolved };
    assert_eq!(table.tell(resolved(&[], 0)), [unresolved]);
    assert_eq!(table.pass(Duration::from_secs(30)), [Command::Resolve { trunk: TrunkId(0) }]);
    assert_eq!(table.tell(resolved(&["192.0.2.7:5060", "192.0.2.8:5070"], 60)), []);
    let target = |table: &Table| table.trunks.views(table.now.mono)[0].target.unwrap().to_string();
    assert_eq!(target(&table), "192.0.2.7:5060");
    table.tell(Event::Failed { trunk: TrunkId(0) });
    assert_eq!(target(&table), "192.0.2.8:5070");
    // The one in use stays, whatever the order now is; a failed look-up changes nothing.
    table.tell(resolved(&["192.0.2.7:5060", "192.0.2.9:5060", "192.0.2.8:5070"], 60));
    table.tell(resolved(&[], 0));
    assert_eq!(target(&table), "192.0.2.8:5070");
    table.tell(resolved(&["192.0.2.9:5060"], 60));
    assert_eq!(target(&table), "192.0.2.9:5060");
}

#[test]
fn a_restored_shards_word_is_the_truth() {
    let limits = Limits { channels: 2, reserve: 0, calls_per_s: 100 };
    let mut table = Table::new(vec![Profile { inbound: limits, ..profile("a") }]);
    let (lost, _) = table.inward(0, false).unwrap();
    let (other, _) = table.inward(0, false).unwrap();
    assert_ne!(lost.shard(), other.shard());
    let leg = |at: u64| LegId::incoming(lost.shard(), 100 + at);
    let mut kept: Vec<(LegId, TrunkId, Direction)> =
        (0..3).map(|at| (leg(at), TrunkId(0), Direction::Inbound)).collect();
    kept.push((leg(3), TrunkId(0), Direction::Outbound));
    table.tell(Event::Hold { shard: lost.shard(), legs: kept.clone() });
    assert_eq!(table.trunks.views(table.now.mono)[0].inbound.used, 4, "three of it and one of the other");
    assert_eq!(table.trunks.views(table.now.mono)[0].outbound.used, 1);
    assert_eq!(table.inward(0, true), Err(Refused::Full));
    table.tell(Event::Hold { shard: lost.shard(), legs: Vec::new() });
    assert_eq!(table.trunks.views(table.now.mono)[0].inbound.used, 1);
}

/// Chance from a seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ word >> 31) % bound
    }
}

/// Whatever comes in whatever order: never more than agreed, the reserve for emergencies alone, and nothing leaks.
#[test]
fn limits_hold_in_any_disorder() {
    for seed in 0..40 {
        let mut chance = Chance(seed);
        let mut limits = || {
            let channels = chance.below(6) as u32 + 1;
            Limits {
                channels,
                reserve: chance.below(u64::from(channels)) as u32,
                calls_per_s: chance.below(20) as u32 + 1,
            }
        };
        let profiles: Vec<Profile> = ["a", "b", "c"]
            .iter()
            .map(|name| Profile { inbound: limits(), outbound: limits(), watch: Some(WATCH), ..profile(name) })
            .collect();
        let agreed: Vec<[Limits; 2]> = profiles.iter().map(|it| [it.inbound, it.outbound]).collect();
        let mut table = Table::new(profiles);
        let mut held: BTreeMap<LegId, bool> = BTreeMap::new();
        let mut granted_emergency = false;
        for _ in 0..3_000 {
            table.now = table.now.after(Duration::from_millis(chance.below(80)));
            let emergency = chance.below(4) == 0;
            let wish = match chance.below(8) {
                0 | 1 => Some(table.inward(chance.below(3) as u16, emergency)),
                2 | 3 => Some(table.out(&[0, 1, 2], &[chance.below(4) as u16], emergency)),
                4..=6 => {
                    if let Some(leg) = held.keys().nth(chance.below(held.len().max(1) as u64) as usize).copied() {
                        held.remove(&leg);
                        table.tell(Event::Release { leg });
                    }
                    None
                }
                _ => {
                    table.tell(Event::Failed { trunk: TrunkId(chance.below(4) as u16) });
                    let asked = asks(table.pass(Duration::ZERO));
                    asked.iter().for_each(|ask| _ = table.answer(ask, if chance.below(3) == 0 { 503 } else { 200 }));
                    None
                }
            };
            if let Some(Ok((leg, _))) = wish {
                granted_emergency |= emergency;
                held.insert(leg, emergency);
            }
            let ordinary = held.values().filter(|emergency| !**emergency).count();
            let views = table.trunks.views(table.now.mono);
            let used: u32 = views.iter().map(|view| view.inbound.used + view.outbound.used).sum();
            assert_eq!(used as usize, held.len(), "nothing leaks");
            for (view, agreed) in views.iter().zip(&agreed) {
                assert!(view.inbound.used <= agreed[0].channels && view.outbound.used <= agreed[1].channels);
            }
            let for_all: u32 = agreed.iter().flatten().map(|limits| limits.channels - limits.reserve).sum();
            assert!(ordinary <= for_all as usize, "the reserve is for emergencies");
        }
        assert!(granted_emergency);
        let left: Vec<LegId> = held.into_keys().collect();
        left.into_iter().for_each(|leg| _ = table.tell(Event::Release { leg }));
        let views = table.trunks.views(table.now.mono);
        assert!(views.iter().all(|view| view.inbound.used + view.outbound.used == 0));
    }
}

#[test]
fn new_settings_leave_places_channels_and_what_stands_and_find_out_anew_what_changed() {
    let watched = Profile { watch: Some(WATCH), ..profile("a") };
    let mut table = Table::new(vec![watched.clone(), profile("b")]);
    let leg = table.out(&[0], &[], false).unwrap().0;
    let ask = asks(table.pass(Duration::ZERO)).remove(0);
    let limited = |of: &Profile| Profile { outbound: Limits { channels: 1, ..FREE }, ..of.clone() };
    let configure = |trunks: Vec<Profile>| Event::Configure(Arc::new(Settings { trunks, seed: [1, 2] }));
    // Other limits: the channel in use counts, and the answer under way is still awaited.
    table.tell(configure(vec![limited(&watched), profile("b").retired(), profile("c")]));
    assert_eq!(table.out(&[0], &[], false), Err(Refused::Full));
    assert_eq!(table.out(&[1], &[], false), Err(Refused::NoRoute), "taken out of the files");
    assert_eq!(table.out(&[1, 2], &[], false).map(|it| it.1), Ok(2));
    table.answer(&ask, 503);
    assert_eq!(table.trunks.views(table.now.mono)[0].outbound.used, 1);
    // Another address: what was asked at the old one says nothing of the new one.
    let ask = asks(table.pass(WATCH.every)).remove(0);
    let mut moved = limited(&watched);
    moved.remote.as_mut().unwrap().address = Some("192.0.2.9:5060".parse().unwrap());
    table.tell(configure(vec![moved, profile("b"), profile("c")]));
    assert_eq!(table.answer(&ask, 503), []);
    assert_eq!(table.trunks.views(table.now.mono)[0].target, "192.0.2.9:5060".parse().ok());
    table.tell(Event::Release { leg });
    assert_eq!(table.out(&[0], &[], false).map(|it| it.1), Ok(0));
    assert_eq!(table.out(&[1], &[], false).map(|it| it.1), Ok(1), "back again");
}
