//! Queues that ring several agents together: who joins whom, who has the call, and that nobody is to blame for coming late.

use super::*;
use crate::acd::tests::random::routed_site;

/// The queue `general` rings `together` agents at once.
fn ring_all(together: u8) -> Settings {
    let mut settings = site();
    let routing = &mut settings.queues[0].routing;
    (routing.strategy, routing.ring_together) = (Strategy::RingAll, together);
    settings
}

#[test]
fn the_longest_idle_are_rung_together_and_the_first_answer_has_the_call() {
    let mut bench = Bench::with_ready(ring_all(3), &[2, 0, 3, 1]);
    bench.enqueue(1, 0);
    assert_eq!(bench.offers(), [(1, 2), (1, 0), (1, 3)], "no more than three, the longest idle first");
    assert_eq!(bench.state(1), AgentState::Ready);
    bench.answered(2, 0);
    assert_eq!(bench.to_calls(), [revoked(1, 1, 2), revoked(1, 3, 3)]);
    assert_eq!([0, 1, 2, 3].map(|agent| bench.state(agent).word()), ["talking", "ready", "ready", "ready"]);
    assert_eq!(bench.answered(3, 3), [], "a late answer means nothing");
    assert_eq!(bench.acd.counts().leases, 1);
    bench.enqueue(2, 0);
    assert_eq!(bench.offers(), [(2, 2), (2, 3), (2, 1)], "who came late has kept the place among the idle");
    // Nor did coming late count as a miss: two of three are forgiven.
    let misses = |acd: &Acd| [2, 3].map(|agent| acd.kept_agent(AgentId(agent)).map(|kept| format!("{kept:?}")));
    assert!(misses(&bench.acd).iter().flatten().all(|kept| kept.contains("misses: 0")));
}

#[test]
fn who_becomes_ready_serves_whom_nobody_rings_for_before_joining_another() {
    let mut settings = ring_all(3);
    settings.queues[1].skills = settings.queues[0].skills.clone();
    let mut bench = Bench::with_ready(settings, &[0]);
    bench.enqueue(1, 0);
    bench.enqueue(2, 1);
    assert_eq!(bench.offers(), []);
    bench.phone(1, true);
    assert_eq!(bench.want(1, Want::Ready).len(), 3);
    assert_eq!(bench.offers(), [(2, 1)], "the later caller, for whom nobody rang");
    bench.phone(2, true);
    bench.want(2, Want::Ready);
    assert_eq!(bench.offers(), [(1, 2)], "the queue of the other rings one at a time");
    bench.enqueue(3, 0);
    assert_eq!(bench.offers(), [], "nobody is taken away from another caller");
    bench.answered(3, 2);
    assert_eq!(bench.to_calls()[0], revoked(1, 1, 0));
    assert_eq!(bench.offers(), [(3, 0)], "who came late is free for the next");
}

#[test]
fn each_offer_ends_for_itself_and_the_caller_waits_after_the_last() {
    let mut bench = Bench::with_ready(ring_all(2), &[0, 1, 2]);
    bench.enqueue(1, 0);
    assert_eq!(bench.offers(), [(1, 0), (1, 1)]);
    bench.declined(1, 0, Declined::Rejected);
    assert_eq!((bench.offers(), bench.state(0)), (vec![(1, 2)], paused("rejected")));
    assert_eq!(bench.acd.position(call(1)).unwrap().ahead, None, "still being rung for");
    bench.phone(1, false);
    assert_eq!(bench.to_calls(), [revoked(1, 2, 1)]);
    bench.advance(RING);
    assert_eq!(bench.to_calls(), [revoked(1, 3, 2)]);
    assert_eq!(bench.state(2), paused("rona"));
    assert_eq!(bench.acd.position(call(1)).unwrap().ahead, Some(0), "in the line again");
}

#[test]
fn a_booking_given_back_without_blame_is_not_made_again_at_once() {
    let mut bench = Bench::with_ready(ring_all(3), &[0, 1]);
    bench.enqueue(1, 0);
    bench.ended(2, 1);
    assert_eq!((bench.offers(), bench.state(1)), (vec![], AgentState::Ready));
    bench.ended(1, 0);
    assert_eq!((bench.offers(), bench.acd.counts().callers), (vec![], 0), "the last one takes the caller along");
    bench.enqueue(1, 0);
    assert_eq!(bench.offers(), [(1, 0), (1, 1)], "and who asks again is rung for by all");
}

#[test]
fn a_caller_who_gives_up_sets_all_free_the_longest_idle_first() {
    let mut bench = Bench::with_ready(ring_all(3), &[3, 0, 1]);
    bench.enqueue(1, 0);
    bench.enqueue(2, 1);
    bench.cancel(1);
    assert_eq!(bench.offers(), [(2, 3)]);
    assert_eq!([0, 1].map(|agent| bench.state(agent)), [AgentState::Ready, AgentState::Ready]);
    assert_eq!(bench.to_calls().len(), 1, "the call knows whom it rang");
}

#[test]
fn an_answer_that_crossed_its_revoke_parts_the_others() {
    let mut bench = Bench::with_ready(ring_all(3), &[0, 1]);
    let since = bench.now.mono;
    bench.enqueue(1, 0);
    bench.phone(0, false);
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
    assert_eq!(bench.to_calls(), [revoked(1, 2, 1)]);
    assert_eq!((bench.state(0), bench.state(1)), (AgentState::Talking, AgentState::Ready));
    assert_eq!(bench.acd.counts().callers, 0);
}

#[test]
fn a_reload_rings_more_and_takes_nobody_away() {
    let mut bench = Bench::with_ready(site(), &[0, 1, 2]);
    bench.enqueue(1, 0);
    bench.enqueue(2, 0);
    assert_eq!(bench.state(2), AgentState::Ready);
    bench.handle(Event::Configure(Arc::new(ring_all(3))));
    assert_eq!(bench.offers(), [(1, 2)], "whom nobody rings for goes before, then the first of the line");
    bench.handle(Event::Configure(Arc::new(site())));
    assert_eq!(bench.to_calls(), [], "who rings rings on");
    bench.answered(3, 2);
    assert_eq!(bench.to_calls(), [revoked(1, 1, 0)]);
}

/// A restored shard knows one of two phones that rang.
#[test]
fn the_shards_word_bends_a_group() {
    let mut bench = Bench::with_ready(ring_all(2), &[0, 1, 2]);
    let since = bench.now.mono;
    bench.enqueue(1, 0);
    let caller = Enqueue {
        call: call(1),
        contact: contact(1),
        queue: QueueId(0),
        priority: 0,
        since,
        preferred: None,
        patience: Patience::Bounded,
    };
    let held = vec![crate::acd::Held { lease: lease(2, 1), answered: false }];
    let live = vec![crate::acd::Live { caller, held }];
    bench.handle(Event::Adopt { shard: ShardId(0), live, own: Vec::new() });
    assert_eq!(bench.to_calls()[0], revoked(1, 1, 0));
    assert_eq!((bench.offers(), bench.state(1)), (vec![(1, 0)], AgentState::Offered), "nobody is to blame");
}

/// Long runs of random events: no agent and no call twice, nobody idle beside a caller, every wait bounded.
#[test]
fn invariants_hold_whatever_happens_to_groups() {
    let mut dice = random::Dice::new(4_711);
    dice.quiet = true;
    let mut acd = Acd::new(Arc::new(routed_site(Strategy::RingAll)), 1);
    let (mut out, mut joined) = (Vec::new(), 0);
    for _ in 0..60_000 {
        out.clear();
        acd.handle(dice.now, dice.event(), &mut out);
        acd.check();
        dice.pass();
        acd.expire(dice.now, &mut out);
        acd.check();
        dice.hear(&out);
        joined += acd.line.callers().filter(|(_, caller)| caller.leases().len() > 1).count();
    }
    assert!(joined > 10_000, "{joined}");
}
