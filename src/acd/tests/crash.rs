//! Crash and take-over: a snapshot at any moment loses nobody, and the shards' word bends the rest.

use super::model::decisions;
use super::random::{Dice, STRATEGIES, mixed_site, routed_site};
use super::*;
use crate::acd::agent::State;
use crate::acd::{Held, Live, RestoreError, Snapshot};

fn through_text(snapshot: &Snapshot) -> Snapshot {
    serde_json::from_str(&serde_json::to_string(snapshot).unwrap()).unwrap()
}

#[test]
fn a_restored_owner_is_the_same_owner_under_a_higher_epoch() {
    [mixed_site(0), routed_site(Strategy::RingAll)].into_iter().for_each(is_the_same_owner);
}

fn is_the_same_owner(settings: Settings) {
    let settings = Arc::new(settings);
    let (mut dice, mut acd, mut out) = (Dice::new(3), Acd::new(settings.clone(), 1), Vec::new());
    let mut callers = 0;
    for step in 0..30_000 {
        out.clear();
        acd.handle(dice.now, dice.event(), &mut out);
        dice.pass();
        acd.expire(dice.now, &mut out);
        dice.hear(&out);
        if step % 100 == 0 {
            let snapshot = through_text(&acd.snapshot());
            out.clear();
            let epoch = acd.epoch();
            acd = Acd::restore(settings.clone(), snapshot.clone(), dice.now, 1, &mut out).unwrap();
            acd.check();
            assert_eq!(out, [], "a restart nobody notices");
            assert_eq!(acd.epoch(), epoch + 1);
            let again = acd.snapshot();
            assert_eq!(again.callers(), snapshot.callers());
            assert_eq!(again.agents(), snapshot.agents());
            callers += again.callers().len();
        }
    }
    assert!(callers > 1_000, "snapshots of empty queues prove little: {callers}");
}

#[test]
fn leases_of_the_snapshot_stay_good_and_later_ones_of_the_dead_owner_mean_nothing() {
    let mut bench = Bench::with_ready(site(), &[0, 1]);
    bench.enqueue(1, 0);
    bench.answered(1, 0);
    bench.enqueue(2, 0);
    let snapshot = bench.acd.snapshot();
    bench.out.clear();
    bench.acd = Acd::restore(Arc::new(site()), snapshot, bench.now, 9, &mut bench.out).unwrap();
    assert_eq!(bench.answered(3, 1), [], "given after the snapshot");
    bench.answered(2, 1);
    bench.ended(1, 0);
    assert_eq!((bench.state(0), bench.state(1)), (AgentState::WrapUp, AgentState::Talking));
    bench.want(0, Want::Ready);
    bench.enqueue(3, 0);
    let offer = bench.to_calls();
    assert!(matches!(&offer[..], [Command::Offer { lease: Lease { epoch: 9, number: 1, .. }, .. }]), "{offer:?}");
}

#[test]
fn those_who_came_together_keep_their_order_through_a_restore() {
    let mut bench = Bench::new(site());
    bench.enqueue(1, 0);
    bench.enqueue(2, 0);
    let snapshot = bench.acd.snapshot();
    bench.acd = Acd::restore(Arc::new(site()), snapshot, bench.now, 2, &mut Vec::new()).unwrap();
    bench.enqueue(3, 0);
    let ahead = [1, 2, 3].map(|slot| bench.acd.position(call(slot)).unwrap().ahead);
    assert_eq!(ahead, [Some(0), Some(1), Some(2)]);
}

#[test]
fn a_restored_offer_and_wrap_up_and_wait_end_on_time() {
    let mut settings = site();
    settings.queues[1].wait_max = Some(Duration::from_secs(20));
    let settings = Arc::new(settings);
    let mut bench = Bench::with_ready((*settings).clone(), &[0, 1]);
    bench.enqueue(1, 0);
    bench.answered(1, 0);
    bench.ended(1, 0);
    bench.enqueue(2, 0);
    bench.enqueue(3, 1);
    let snapshot = through_text(&bench.acd.snapshot());
    bench.acd = Acd::restore(settings, snapshot, bench.now, 2, &mut Vec::new()).unwrap();
    bench.advance(RING);
    assert_eq!(bench.to_calls(), [revoked(2, 2, 1)]);
    bench.advance(Duration::from_secs(5));
    assert_eq!(bench.to_calls(), [released(3, Released::WaitedTooLong)]);
    bench.advance(Duration::from_secs(10));
    assert_eq!(bench.offers(), [(2, 0)], "wrap-up is over");
}

#[test]
fn other_settings_are_told_of_at_once() {
    let mut bench = Bench::with_ready(site(), &[0]);
    bench.enqueue(1, 0);
    bench.enqueue(2, 1);
    bench.enqueue(3, 0);
    let snapshot = bench.acd.snapshot();
    let mut settings = site();
    settings.queues.remove(1);
    settings.agents.remove(0);
    bench.out.clear();
    bench.acd = Acd::restore(Arc::new(settings), snapshot, bench.now, 2, &mut bench.out).unwrap();
    bench.acd.check();
    assert_eq!(bench.to_calls(), [revoked(1, 1, 0), released(2, Released::QueueGone)]);
    assert_eq!(bench.acd.position(call(1)).unwrap().ahead, Some(0));
    assert_eq!(bench.acd.position(call(3)).unwrap().ahead, Some(1));
}

#[test]
fn a_damaged_or_newer_snapshot_is_refused() {
    let mut bench = Bench::with_ready(site(), &[0]);
    bench.enqueue(1, 0);
    let text = serde_json::to_string(&bench.acd.snapshot()).unwrap();
    let restore = |text: &str| {
        let snapshot: Snapshot = serde_json::from_str(text).unwrap();
        Acd::restore(Arc::new(site()), snapshot, Now::default(), 2, &mut Vec::new()).map(|acd| acd.check())
    };
    assert_eq!(restore(&text), Ok(()));
    assert_eq!(restore(&text.replace("\"version\":6", "\"version\":7")), Err(RestoreError::Version(7)));
    for (from, to) in
        [("\"number\":1", "\"number\":2"), ("\"slot\":1", "\"slot\":4294967295"), ("\"turns\":1", "\"turns\":0")]
    {
        assert!(text.contains(from));
        assert_eq!(restore(&text.replacen(from, to, 1)), Err(RestoreError::Damaged), "{from} → {to}");
    }
}

/// What the shards say after the crash.
fn live(slot: u32, held: Option<(Lease, bool)>, since: Mono) -> Live {
    let caller = Enqueue {
        call: call(slot),
        contact: contact(slot),
        queue: QueueId(0),
        priority: 0,
        since,
        preferred: None,
        patience: Patience::Bounded,
    };
    Live { caller, held: held.into_iter().map(|(lease, answered)| Held { lease, answered }).collect() }
}

#[test]
fn the_shards_word_bends_a_stale_snapshot() {
    let mut bench = Bench::with_ready(site(), &[0, 1, 2, 3]);
    for slot in 0..6 {
        bench.enqueue(slot, 0);
    }
    bench.answered(1, 0);
    let snapshot = bench.acd.snapshot();
    bench.acd = Acd::restore(Arc::new(site()), snapshot, bench.now, 2, &mut Vec::new()).unwrap();
    // Since the snapshot: call 0 ended, 1 was answered, 2 still rings, 3 gave up, 4 waits, 5 is gone, 6 came.
    let since = bench.now.mono;
    let truth = [
        live(1, Some((lease(2, 1), true)), since),
        live(2, Some((lease(3, 2), false)), since),
        live(4, None, since),
        live(6, None, since),
    ];
    bench.out.clear();
    bench.acd.adopt(bench.now, &truth, &mut bench.out);
    bench.acd.check();
    assert_eq!(bench.offers(), [(4, 3)], "the agent whose caller gave up takes the next");
    assert_eq!(bench.to_calls().len(), 1);
    let states = [0, 1, 2, 3].map(|agent| bench.state(agent).word());
    assert_eq!(states, ["wrap_up", "talking", "offered", "offered"]);
    assert!(bench.acd.position(call(6)).is_some() && bench.acd.position(call(5)).is_none());
}

#[test]
fn talks_begun_after_the_snapshot_are_taken_up_and_ringing_is_revoked() {
    let mut bench = Bench::with_ready(site(), &[0, 1, 2]);
    let snapshot = bench.acd.snapshot();
    bench.acd = Acd::restore(Arc::new(site()), snapshot, bench.now, 2, &mut Vec::new()).unwrap();
    let since = bench.now.mono;
    let truth = [
        live(1, Some((lease(1, 0), true)), since),
        live(2, Some((lease(2, 1), false)), since),
        live(3, Some((lease(3, 40), true)), since),
    ];
    bench.out.clear();
    bench.acd.adopt(bench.now, &truth, &mut bench.out);
    bench.acd.check();
    assert_eq!(bench.to_calls()[0], revoked(2, 2, 1));
    assert_eq!(bench.offers(), [(2, 1)], "rung again under a lease that counts");
    bench.ended(1, 0);
    assert_eq!(bench.state(0), AgentState::WrapUp);
    bench.out.clear();
    bench.acd.adopt(bench.now, &[], &mut bench.out);
    bench.acd.check();
    assert_eq!(bench.state(1), AgentState::Ready, "without live calls nobody is booked");
}

#[test]
fn a_restored_shard_speaks_for_its_own_calls_only() {
    let mut bench = Bench::with_ready(site(), &[0, 1, 2]);
    let since = bench.now.mono;
    for slot in 1..=4 {
        bench.enqueue(slot, 0);
    }
    bench.answered(1, 0);
    let elsewhere = CallId { shard: ShardId(1), slot: 9, generation: 0 };
    let caller = Enqueue {
        call: elsewhere,
        contact: contact(9),
        queue: QueueId(0),
        priority: 0,
        since,
        preferred: None,
        patience: Patience::Bounded,
    };
    bench.handle(Event::Enqueue(caller));
    // Call 1 talks on, call 2 lost its ringing phone, call 3 its everything, call 4 ended.
    let told = vec![live(1, Some((lease(1, 0), true)), since), live(2, None, since)];
    bench.handle(Event::Adopt { shard: ShardId(0), live: told, own: Vec::new() });
    assert_eq!(bench.state(0), AgentState::Talking);
    assert!(bench.acd.position(call(3)).is_none() && bench.acd.position(call(4)).is_none());
    let mut calls: Vec<CallId> = bench.acd.line.callers().map(|(_, caller)| caller.call).collect();
    calls.sort();
    assert_eq!(calls, [call(2), elsewhere], "the other shard's caller stays");
    assert_eq!((bench.state(1), bench.state(2)), (AgentState::Offered, AgentState::Offered), "and nobody is to blame");
}

#[test]
fn an_answer_that_crossed_the_loss_of_the_phone_is_a_talk() {
    let mut bench = Bench::with_ready(site(), &[0, 1]);
    let since = bench.now.mono;
    bench.enqueue(1, 0);
    bench.phone(0, false);
    assert_eq!(bench.offers(), [(1, 1)], "somebody else is rung");
    let caller = Enqueue {
        call: call(1),
        contact: contact(1),
        queue: QueueId(0),
        priority: 0,
        since,
        preferred: None,
        patience: Patience::Bounded,
    };
    bench.handle(Event::Overtaken { lease: lease(1, 0), caller });
    assert_eq!((bench.state(0), bench.state(1)), (AgentState::Talking, AgentState::Ready));
    bench.ended(1, 0);
    assert_eq!(bench.state(0), AgentState::WrapUp);
    assert!(bench.acd.counts().callers == 0);
}

/// All that the shards would say: who is in the line or talks in `acd`.
fn truth(acd: &Acd) -> Vec<Live> {
    let waiting = acd.line.callers().map(|(_, caller)| {
        let held = caller.leases().iter().map(|&lease| Held { lease, answered: false }).collect();
        let queue = caller.queue.unwrap();
        let caller = Enqueue {
            call: caller.call,
            contact: caller.contact,
            queue,
            priority: 0,
            since: caller.since,
            preferred: None,
            patience: Patience::Bounded,
        };
        Live { caller, held }
    });
    let talking = acd.agents.iter().filter_map(|agent| match &agent.state {
        State::Talking(booking) => {
            let (call, contact, held) = (booking.call, booking.contact, Held { lease: booking.lease, answered: true });
            let caller = Enqueue {
                call,
                contact,
                queue: QueueId(0),
                priority: 0,
                since: Mono(0),
                preferred: None,
                patience: Patience::Bounded,
            };
            Some(Live { caller, held: vec![held] })
        }
        State::Offline | State::NotReady { .. } | State::Ready | State::Offered { .. } | State::WrapUp { .. } => None,
    });
    let mut live: Vec<Live> = waiting.collect();
    // A call that talks and queues again is told of once, as what it waits for.
    live.extend(talking.filter(|talk| acd.line.find(talk.caller.call).is_none()).collect::<Vec<_>>());
    live
}

#[test]
fn whatever_was_lost_with_the_owner_the_shards_word_brings_back() {
    [mixed_site(0), routed_site(Strategy::RingAll)].into_iter().for_each(is_brought_back);
}

fn is_brought_back(settings: Settings) {
    let settings = Arc::new(settings);
    let (mut dice, mut acd, mut out) = (Dice::new(8), Acd::new(settings.clone(), 1), Vec::new());
    let mut snapshot = acd.snapshot();
    let mut brought_back = 0;
    for step in 0..40_000 {
        out.clear();
        acd.handle(dice.now, dice.event(), &mut out);
        dice.pass();
        acd.expire(dice.now, &mut out);
        dice.hear(&out);
        if step % 200 == 100 {
            snapshot = acd.snapshot();
        }
        if step % 200 == 150 {
            let live = truth(&acd);
            out.clear();
            acd = Acd::restore(settings.clone(), snapshot.clone(), dice.now, acd.epoch() + 1, &mut out).unwrap();
            acd.adopt(dice.now, &live, &mut out);
            acd.check();
            for live in &live {
                let call = live.caller.call;
                let talks = acd.agents.iter().filter_map(|agent| agent.state.booking());
                let talks = talks.filter(|booking| live.held.iter().any(|held| held.lease == booking.lease)).count();
                let told = out.iter().any(|one| matches!(one, Command::Released { call: gone, .. } if *gone == call));
                assert!(acd.line.find(call).is_some() || talks > 0 || told, "step {step}: {live:?} is lost");
                brought_back += 1;
            }
            let known = |call| live.iter().any(|live| live.caller.call == call);
            assert!(acd.line.callers().all(|(_, caller)| known(caller.call)), "step {step}: a caller nobody knows");
        }
    }
    assert!(brought_back > 1_000, "{brought_back}");
}

/// `event` as `other` must hear it: the same booking bears another lease there.
fn translated(event: Event, acd: &Acd, other: &Acd) -> Event {
    let own = |lease: Lease| match (acd.agent(lease.agent), other.agent(lease.agent)) {
        (Some(here), Some(there)) if here.lease == Some(lease) => there.lease.unwrap_or(lease),
        _ => Lease { epoch: 0, ..lease },
    };
    match event {
        Event::Ringing { lease } => Event::Ringing { lease: own(lease) },
        Event::Answered { lease } => Event::Answered { lease: own(lease) },
        Event::Declined { lease, why } => Event::Declined { lease: own(lease), why },
        Event::Ended { lease } => Event::Ended { lease: own(lease) },
        Event::Overtaken { lease, caller } => Event::Overtaken { lease: own(lease), caller },
        Event::Enqueue(_)
        | Event::Cancel { .. }
        | Event::Where { .. }
        | Event::Want { .. }
        | Event::Phone { .. }
        | Event::OwnCall { .. }
        | Event::Extend { .. }
        | Event::Adopt { .. }
        | Event::Configure(_) => event,
    }
}

#[test]
fn a_restored_owner_goes_on_to_decide_as_the_old_one_would_have() {
    // A lot follows from its lease, and a new owner's leases are others.
    let by_rule = STRATEGIES.into_iter().filter(|strategy| *strategy != Strategy::Weighted);
    (12..).zip(by_rule).for_each(|(seed, strategy)| goes_on(routed_site(strategy), seed));
    goes_on(mixed_site(0), 12);
}

fn goes_on(settings: Settings, seed: u64) {
    let settings = Arc::new(settings);
    let (mut dice, mut acd) = (Dice::new(seed), Acd::new(settings.clone(), 1));
    let mut other = Acd::new(settings.clone(), 1);
    let (mut out, mut theirs) = (Vec::new(), Vec::new());
    for step in 0..30_000 {
        if step % 60 == 0 {
            other = Acd::restore(settings.clone(), acd.snapshot(), dice.now, 2, &mut theirs).unwrap();
        }
        out.clear();
        theirs.clear();
        let event = dice.event();
        other.handle(dice.now, translated(event.clone(), &acd, &other), &mut theirs);
        acd.handle(dice.now, event, &mut out);
        dice.pass();
        acd.expire(dice.now, &mut out);
        other.expire(dice.now, &mut theirs);
        dice.hear(&out);
        let sorted = |out: &[Command]| {
            let mut decided = decisions(out);
            decided.sort();
            decided
        };
        assert_eq!(sorted(&out), sorted(&theirs), "seed {seed}, step {step}");
    }
}

#[test]
fn agents_kept_one_by_one_go_on_with_the_calls_they_have() {
    let mut bench = Bench::with_ready(site(), &[0, 1, 2, 3]);
    for slot in 1..=4 {
        bench.enqueue(slot, 0);
    }
    bench.answered(1, 0);
    bench.pause(3);
    let kept: Vec<_> = (0..4).filter_map(|agent| bench.acd.kept_agent(AgentId(agent))).collect();
    assert_eq!(kept.iter().map(|kept| kept.agent().0).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let since = bench.now.mono;
    // Call 1 talks, 2 rings, 3 was answered a moment later than is known, 4 is gone; 5 and 6 have come.
    let truth = [
        live(1, Some((lease(1, 0), true)), since),
        live(2, Some((lease(2, 1), false)), since),
        live(3, Some((lease(3, 2), true)), since),
        live(5, None, since),
        live(6, None, since),
    ];
    let settings = Arc::new(site());
    let snapshot = Snapshot::of(kept, &truth, &settings);
    bench.out.clear();
    bench.acd = Acd::restore(settings, snapshot, bench.now, 2, &mut bench.out).unwrap();
    bench.acd.adopt(bench.now, &truth, &mut bench.out);
    bench.acd.check();
    let states = [0, 1, 2, 3].map(|agent| bench.state(agent).word());
    assert_eq!(states, ["talking", "offered", "talking", "offered"]);
    assert_eq!(bench.offers(), [(5, 3)], "nobody else is rung, and nobody is revoked");
    assert_eq!(bench.to_calls().len(), 1);
    bench.ended(2, 1);
    assert_eq!(bench.offers(), [(6, 1)]);
}

/// A shard went back to before two of its callers were in the line, one of whom was being rung for.
#[test]
fn who_is_not_told_of_is_offered_nobody_on_the_way_out() {
    let mut bench = Bench::with_ready(site(), &[0]);
    bench.enqueue(1, 0);
    bench.enqueue(2, 0);
    assert_eq!(bench.offers(), []);
    let shard = call(1).shard;
    bench.handle(Event::Adopt { shard, live: Vec::new(), own: Vec::new() });
    assert_eq!(bench.offers(), [], "an offer to a caller who leaves is taken back by nobody");
    assert_eq!(bench.state(0), AgentState::Ready);
}
