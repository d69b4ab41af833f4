//! Agents who make calls of their own: no caller is offered to them meanwhile, and nobody stays paused afterwards.

use super::*;
use crate::acd::Snapshot;

fn own(number: u32) -> CallId {
    CallId { shard: ShardId(1), slot: 1 << 31 | number, generation: 1 }
}

impl Bench {
    fn own_call(&mut self, agent: u32, number: u32, up: bool) -> &[Command] {
        self.handle(Event::OwnCall { agent: AgentId(agent), call: own(number), up })
    }
}

#[test]
fn a_ready_agent_is_not_offered_while_on_a_call_of_their_own_and_ready_again_after_it() {
    let mut bench = Bench::with_ready(site(), &[0]);
    bench.own_call(0, 1, true);
    assert_eq!(bench.state(0), paused("own_call"));
    bench.enqueue(1, 0);
    assert_eq!(bench.offers(), []);
    // A second one beside it, and asking for ready, change nothing.
    bench.own_call(0, 2, true);
    bench.want(0, Want::Ready);
    bench.own_call(0, 1, false);
    assert_eq!(bench.state(0), paused("own_call"));
    bench.own_call(0, 2, false);
    assert_eq!(bench.offers(), [(1, 0)]);
}

#[test]
fn what_the_agent_asks_for_meanwhile_holds_and_a_lost_phone_too() {
    for (what, after) in [(0, paused("lunch")), (1, AgentState::Offline), (2, paused("phone_lost"))] {
        let mut bench = Bench::with_ready(site(), &[0]);
        bench.own_call(0, 1, true);
        match what {
            0 => bench.pause(0),
            1 => bench.want(0, Want::Offline),
            _ => bench.phone(0, false),
        };
        bench.own_call(0, 1, false);
        assert_eq!(bench.state(0), after);
    }
}

#[test]
fn an_offered_agent_who_dials_costs_the_caller_no_place() {
    let mut bench = Bench::with_ready(site(), &[0, 1]);
    bench.enqueue(1, 0);
    assert_eq!(bench.offers(), [(1, 0)]);
    bench.own_call(0, 1, true);
    assert!(bench.to_calls().contains(&revoked(1, 1, 0)));
    assert_eq!((bench.offers(), bench.state(0)), (vec![(1, 1)], paused("own_call")));
    bench.own_call(0, 1, false);
    assert_eq!(bench.state(0), AgentState::Ready, "nobody is to blame");
}

#[test]
fn a_call_beside_a_talk_or_wrap_up_waits_for_their_end() {
    let mut bench = Bench::with_ready(site(), &[0]);
    bench.enqueue(1, 0);
    bench.answered(1, 0);
    bench.own_call(0, 1, true);
    assert_eq!(bench.state(0), AgentState::Talking);
    bench.ended(1, 0);
    bench.advance(WRAP_UP);
    assert_eq!(bench.state(0), paused("own_call"));
    bench.own_call(0, 1, false);
    assert_eq!(bench.state(0), AgentState::Ready);
}

#[test]
fn after_a_crash_of_the_process_nobody_is_paused_by_a_call_that_is_gone() {
    let mut bench = Bench::with_ready(site(), &[0, 1]);
    bench.own_call(0, 1, true);
    bench.own_call(1, 2, true);
    bench.pause(1);
    let kept = (0..2).filter_map(|agent| bench.acd.kept_agent(AgentId(agent))).collect();
    let settings = Arc::new(site());
    bench.acd =
        Acd::restore(settings.clone(), Snapshot::of(kept, &[], &settings), bench.now, 2, &mut Vec::new()).unwrap();
    bench.acd.adopt(bench.now, &[], &mut bench.out);
    bench.acd.check();
    assert_eq!((bench.state(0), bench.state(1)), (AgentState::Ready, paused("lunch")));
    bench.enqueue(1, 0);
    assert_eq!(bench.offers(), [(1, 0)]);
}

#[test]
fn calls_of_their_own_end_with_their_shard_and_outlive_the_owner_of_the_queues() {
    let mut bench = Bench::with_ready(site(), &[0]);
    bench.own_call(0, 1, true);
    let mut out = Vec::new();
    bench.acd = Acd::restore(Arc::new(site()), bench.acd.snapshot(), bench.now, 2, &mut out).unwrap();
    bench.want(0, Want::Ready);
    assert_eq!(bench.state(0), paused("own_call"));
    bench.handle(Event::Adopt { shard: ShardId(0), live: Vec::new(), own: Vec::new() });
    assert_eq!(bench.state(0), paused("own_call"), "another shard's restart");
    bench.handle(Event::Adopt { shard: ShardId(1), live: Vec::new(), own: vec![(AgentId(0), own(1))] });
    assert_eq!(bench.state(0), paused("own_call"), "it is still on");
    bench.handle(Event::Adopt { shard: ShardId(1), live: Vec::new(), own: Vec::new() });
    assert_eq!(bench.state(0), AgentState::Ready);
    // An owner who knew nothing of it learns of it.
    bench.handle(Event::Adopt { shard: ShardId(1), live: Vec::new(), own: vec![(AgentId(0), own(2))] });
    assert_eq!(bench.state(0), paused("own_call"));
}
