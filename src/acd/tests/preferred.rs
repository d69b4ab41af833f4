//! The preferred agent: first for so long, and never at the cost of anybody else's place.

use super::*;

const FOR: Duration = Duration::from_secs(20);

/// The queue `general` prefers somebody for 20 s.
fn preferring() -> Settings {
    let mut settings = site();
    settings.queues[0].routing.preferred = Some(FOR);
    settings
}

impl Bench {
    fn enqueue_for(&mut self, slot: u32, preferred: u32) -> &[Command] {
        let (since, preferred) = (self.now.mono, Some(AgentId(preferred)));
        let queue = QueueId(0);
        let caller = Enqueue {
            call: call(slot),
            contact: contact(slot),
            queue,
            priority: 0,
            since,
            preferred,
            patience: Patience::Bounded,
        };
        self.handle(Event::Enqueue(caller))
    }

    fn ahead(&self, slot: u32) -> Option<usize> {
        self.acd.position(call(slot)).unwrap().ahead
    }
}

#[test]
fn an_idle_agent_who_is_preferred_goes_before_the_strategy() {
    let mut bench = Bench::with_ready(preferring(), &[0, 1, 2]);
    bench.enqueue_for(1, 2);
    assert_eq!(bench.offers(), [(1, 2)]);
    bench.enqueue_as(2, 0, 0, bench.now.mono);
    assert_eq!(bench.offers(), [(2, 0)], "without a preference the longest idle");
    bench.declined(1, 2, Declined::Rejected);
    assert_eq!(bench.offers(), [(1, 1)], "who refuses is preferred no more");
}

#[test]
fn a_caller_waits_for_one_who_is_busy_while_others_pass_to_the_idle() {
    let mut bench = Bench::with_ready(preferring(), &[0, 1]);
    bench.enqueue(1, 0);
    bench.answered(1, 0);
    bench.enqueue_for(2, 0);
    assert_eq!((bench.offers(), bench.state(1)), (vec![], AgentState::Ready), "1 is idle, and not the one");
    bench.enqueue(3, 0);
    assert_eq!(bench.offers(), [(3, 1)], "who came later waits for nobody");
    bench.ended(1, 0);
    bench.want(0, Want::Ready);
    assert_eq!(bench.offers(), [(2, 0)]);
}

#[test]
fn the_wait_for_one_agent_ends_on_time_and_the_place_is_kept() {
    let mut bench = Bench::with_ready(preferring(), &[0]);
    bench.enqueue(1, 0);
    bench.answered(1, 0);
    bench.enqueue_for(2, 0);
    bench.enqueue(3, 0);
    assert_eq!((bench.ahead(2), bench.ahead(3)), (Some(0), Some(1)), "in the line as they came");
    bench.advance(FOR);
    bench.phone(1, true);
    bench.want(1, Want::Ready);
    assert_eq!(bench.offers(), [(2, 1)], "at their place, by whoever is free");
    bench.ended(1, 0);
    bench.want(0, Want::Ready);
    assert_eq!(bench.offers(), [(3, 0)]);
}

#[test]
fn an_idle_agent_takes_the_caller_the_moment_the_wait_is_over() {
    let mut bench = Bench::with_ready(preferring(), &[0, 1]);
    bench.enqueue(1, 0);
    bench.answered(1, 0);
    bench.enqueue_for(2, 0);
    bench.advance(FOR - Duration::from_secs(1));
    assert_eq!(bench.offers(), []);
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.offers(), [(2, 1)]);
}

#[test]
fn nobody_waits_for_one_who_is_paused_offline_unable_or_unknown() {
    for (preferred, prepare) in [
        (1, (|bench| bench.pause(1).len()) as fn(&mut Bench) -> usize),
        (1, |bench| bench.want(1, Want::Offline).len()),
        (2, |_| 0),
        (77, |_| 0),
    ] {
        let mut bench = Bench::with_ready(preferring(), &[1, 0]);
        prepare(&mut bench);
        bench.enqueue_for(1, preferred);
        assert_eq!(bench.offers().len(), 1, "{preferred}");
    }
    let mut settings = preferring();
    settings.queues[0].skills = vec![(SkillId(1), 5)];
    let mut bench = Bench::with_ready(settings, &[0, 3]);
    bench.enqueue_for(1, 0);
    assert_eq!(bench.offers(), [(1, 3)], "0 has not the skill");
}

#[test]
fn an_agent_who_pauses_sets_those_free_who_waited_for_them_in_order() {
    let mut bench = Bench::with_ready(preferring(), &[0, 1]);
    bench.enqueue(1, 0);
    bench.answered(1, 0);
    bench.enqueue_for(2, 0);
    bench.enqueue_for(3, 0);
    bench.pause(0);
    assert_eq!(bench.offers(), [], "the talk goes on");
    bench.ended(1, 0);
    assert_eq!(bench.offers(), [(2, 1)]);
    assert_eq!(bench.ahead(3), Some(0));
    bench.want(0, Want::Ready);
    assert_eq!(bench.offers(), [(3, 0)], "and the strategy finds the same agent again");
}

#[test]
fn who_takes_the_first_of_the_line_takes_them_before_one_who_waits_for_that_agent() {
    let mut bench = Bench::with_ready(preferring(), &[0]);
    bench.enqueue(1, 0);
    bench.answered(1, 0);
    bench.enqueue(2, 0);
    bench.enqueue_for(3, 0);
    bench.ended(1, 0);
    bench.want(0, Want::Ready);
    assert_eq!(bench.offers(), [(2, 0)], "a preference overtakes nobody");
}

#[test]
fn whoever_may_not_wait_is_served_by_anybody() {
    let mut settings = preferring();
    settings.queues[0].waiting_max = 0;
    let mut bench = Bench::with_ready(settings, &[0, 1]);
    bench.enqueue(1, 0);
    bench.answered(1, 0);
    bench.enqueue_for(2, 0);
    assert_eq!(bench.offers(), [(2, 1)]);
}

#[test]
fn the_preferred_agent_is_rung_alone_where_several_are_rung_together() {
    let mut settings = preferring();
    let routing = &mut settings.queues[0].routing;
    (routing.strategy, routing.ring_together) = (Strategy::RingAll, 3);
    let mut bench = Bench::with_ready(settings, &[0, 1, 2]);
    bench.enqueue_for(1, 1);
    assert_eq!(bench.offers(), [(1, 1)]);
    bench.declined(1, 1, Declined::Unreachable);
    assert_eq!(bench.offers(), [(1, 0), (1, 2)]);
}

#[test]
fn a_reload_and_a_new_owner_leave_the_wait_as_it_was() {
    let mut bench = Bench::with_ready(preferring(), &[0, 1]);
    bench.enqueue(1, 0);
    bench.answered(1, 0);
    bench.enqueue_for(2, 0);
    bench.handle(Event::Configure(Arc::new(preferring())));
    assert_eq!(bench.to_calls(), []);
    let snapshot = bench.acd.snapshot();
    bench.out.clear();
    bench.acd = Acd::restore(Arc::new(preferring()), snapshot, bench.now, 2, &mut bench.out).unwrap();
    bench.acd.check();
    assert_eq!(bench.to_calls(), []);
    bench.handle(Event::Configure(Arc::new(site())));
    assert_eq!(bench.offers(), [(2, 1)], "a queue that prefers nobody any more lets nobody wait");
}
