//! What users of other queues complain of, each made impossible here, and the promises of fairness.

use super::*;
use crate::base::Mint;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn complaint_1_no_agent_is_stuck_in_any_state() {
    // Booked and never heard of again: the lease ends.
    let mut bench = Bench::with_ready(site(), &[0]);
    bench.enqueue(1, 0);
    assert_eq!(bench.state(0), AgentState::Offered);
    bench.advance(RING);
    assert_eq!(bench.state(0), paused("rona"));
    // In wrap-up and forgotten: it ends too.
    bench.want(0, Want::Ready);
    bench.answered(2, 0);
    bench.ended(2, 0);
    assert_eq!(bench.state(0), AgentState::WrapUp);
    bench.advance(WRAP_UP);
    assert_eq!(bench.state(0), AgentState::Ready);
    // Said to have declined what they had answered: the talk is over all the same.
    bench.enqueue(2, 0);
    bench.answered(3, 0);
    bench.declined(3, 0, Declined::Unreachable);
    assert_eq!(bench.state(0), AgentState::WrapUp);
    // A removed agent goes when the talk ends.
    bench.want(0, Want::Ready);
    bench.enqueue(3, 0);
    bench.answered(4, 0);
    let mut smaller = site();
    smaller.agents.remove(0);
    bench.handle(Event::Configure(Arc::new(smaller)));
    assert_eq!(bench.state(0), AgentState::Talking);
    bench.ended(4, 0);
    assert_eq!(bench.state(0), AgentState::Offline);
}

#[test]
fn complaint_2_nothing_waits_for_a_round_of_looking() {
    let mut bench = Bench::with_ready(site(), &[0]);
    bench.enqueue(1, 0);
    assert_eq!(bench.offers(), [(1, 0)], "a caller is offered in the step in which they come");
    bench.answered(1, 0);
    bench.enqueue(2, 0);
    assert_eq!(bench.acd.next_deadline(), None, "a waiting caller costs no timer");
    bench.ended(1, 0);
    bench.want(0, Want::Ready);
    assert_eq!(bench.offers(), [(2, 0)], "and a free agent in the step in which they become free");
}

#[test]
fn complaint_3_two_agents_never_answer_one_call() {
    let mut bench = Bench::with_ready(site(), &[0, 1]);
    bench.enqueue(1, 0);
    bench.advance(RING);
    assert_eq!(bench.offers(), [(1, 1)]);
    assert_eq!(bench.answered(1, 0), [], "the first lease is dead, even if its agent picks up now");
    bench.answered(2, 1);
    assert_eq!((bench.state(0), bench.state(1)), (paused("rona"), AgentState::Talking));
    assert_eq!(bench.acd.position(call(1)), None);
}

#[test]
fn an_agent_is_paused_after_as_many_misses_in_a_row_as_the_queue_says() {
    let mut settings = site();
    settings.queues[0].misses_max = 3;
    let mut bench = Bench::with_ready(settings, &[0, 1]);
    bench.enqueue(1, 0);
    for (agent, number) in [(1, 2), (0, 3), (1, 4)] {
        bench.advance(RING);
        assert_eq!(
            (bench.offers(), bench.acd.agent(AgentId(agent)).unwrap().lease),
            (vec![(1, agent)], Some(lease(number, agent)))
        );
        assert_eq!(bench.state(1 - agent), AgentState::Ready, "who missed fewer waits behind the others");
    }
    bench.answered(4, 1);
    bench.enqueue(2, 0);
    assert_eq!(bench.offers(), [(2, 0)]);
    bench.declined(5, 0, Declined::NoAnswer);
    assert_eq!((bench.state(0), bench.offers()), (paused("rona"), vec![]), "the third in a row");
    bench.ended(4, 1);
    bench.advance(WRAP_UP);
    assert_eq!(bench.offers(), [(2, 1)]);
    bench.declined(6, 1, Declined::NoAnswer);
    assert_eq!(bench.offers(), [(2, 1)], "an answer begins the count anew");
    bench.want(0, Want::Ready);
    bench.declined(7, 1, Declined::Rejected);
    assert_eq!((bench.state(1), bench.offers()), (paused("rejected"), vec![(2, 0)]), "a refusal pauses at once");
}

#[test]
fn complaint_4_when_the_caller_is_gone_nobody_rings() {
    let mut bench = Bench::with_ready(site(), &[0, 1]);
    bench.enqueue(1, 0);
    assert_eq!(bench.cancel(1).len(), 1, "the agent's change of state, nothing to the call");
    assert_eq!(bench.state(0), AgentState::Ready);
    bench.enqueue(2, 0);
    assert_eq!(bench.offers(), [(2, 0)], "and whose caller gave up is still the longest idle");
}

#[test]
fn complaint_5_the_same_agent_is_not_called_twice_for_one_caller() {
    for why in [Declined::Rejected, Declined::NoAnswer, Declined::Unreachable] {
        let mut bench = Bench::with_ready(site(), &[0]);
        bench.enqueue(1, 0);
        bench.declined(1, 0, why);
        assert_eq!(bench.offers(), []);
        let reason = match why {
            Declined::Rejected => "rejected",
            Declined::NoAnswer => "rona",
            Declined::Unreachable => "phone_lost",
        };
        assert_eq!(bench.state(0), paused(reason));
        assert_eq!(bench.declined(1, 0, why), [], "said twice, meant once");
        bench.advance(MINUTE);
        assert_eq!(bench.offers(), []);
        bench.want(0, Want::Ready);
        assert_eq!(bench.offers(), [(1, 0)], "only when the agent asks for it");
    }
}

#[test]
fn complaint_6_ringing_goes_on_whatever_happens_around_it() {
    let mut bench = Bench::with_ready(site(), &[0]);
    bench.enqueue(1, 0);
    for event in [
        Event::Ringing { lease: lease(1, 0) },
        Event::Phone { agent: AgentId(1), up: true },
        Event::Want { agent: AgentId(1), state: Want::Ready, by: None },
        Event::Want { agent: AgentId(0), state: Want::Offline, by: None },
        Event::Configure(Arc::new(site())),
        Event::Declined { lease: lease(1, 1), why: Declined::Rejected },
        Event::Cancel { call: call(9) },
    ] {
        bench.handle(event.clone());
        assert_eq!(bench.to_calls(), [], "{event:?}");
    }
    bench.enqueue(1, 0);
    assert_eq!(bench.to_calls(), [], "enqueued twice, rung once");
    bench.enqueue_as(2, 0, 100, Mono(0));
    assert_eq!(bench.offers(), [(2, 1)], "the most urgent takes another agent");
}

#[test]
fn complaint_7_no_event_waits_for_another() {
    // Whatever order the answers come in, none blocks the others: each is handled to its end.
    let mut bench = Bench::with_ready(site(), &[0, 1, 2, 3]);
    for slot in 0..4 {
        bench.enqueue(slot, 0);
    }
    bench.ended(4, 3);
    bench.declined(2, 1, Declined::Rejected);
    assert_eq!(bench.offers(), [(1, 3)]);
    bench.answered(1, 0);
    bench.cancel(2);
    assert_eq!((bench.state(0), bench.state(2)), (AgentState::Talking, AgentState::Ready));
}

#[test]
fn complaint_8_wrap_up_survives_a_transfer_and_a_reload() {
    let mut bench = Bench::with_ready(site(), &[0, 3]);
    bench.enqueue(1, 0);
    bench.answered(1, 0);
    // Transferred: the call queues for an expert while the first agent still talks.
    bench.enqueue(1, 1);
    assert_eq!(bench.offers(), [(1, 3)]);
    bench.answered(2, 3);
    let mut changed = site();
    changed.queues.remove(0);
    changed.queues[0].wrap_up = MINUTE * 60;
    bench.handle(Event::Configure(Arc::new(changed)));
    bench.ended(1, 0);
    bench.ended(2, 3);
    assert_eq!((bench.state(0), bench.state(3)), (AgentState::WrapUp, AgentState::WrapUp));
    bench.handle(Event::Configure(Arc::new(site())));
    bench.advance(WRAP_UP - Duration::from_millis(1));
    assert_eq!(bench.state(0), AgentState::WrapUp);
    bench.advance(Duration::from_millis(1));
    assert_eq!((bench.state(0), bench.state(3)), (AgentState::Ready, AgentState::Ready));
}

#[test]
fn complaint_9_nobody_starves_across_queues() {
    // One agent, a flood of urgent callers for another queue, and one ordinary caller.
    let mut settings = site();
    settings.queues[1].skills = settings.queues[0].skills.clone();
    settings.queues[1].priority = 30;
    let head_start = settings.queues[1].ageing * 30;
    let mut bench = Bench::with_ready(settings, &[0]);
    bench.enqueue(0, 1);
    let came = bench.now.mono;
    bench.enqueue(1_000, 0);
    let mut served = Vec::new();
    for slot in 1..200 {
        bench.advance(Duration::from_secs(5));
        bench.enqueue(slot, 1);
        let number = served.len() as u64 + 1;
        bench.answered(number, 0);
        bench.ended(number, 0);
        bench.want(0, Want::Ready);
        served.extend(bench.offers().iter().map(|offer| offer.0));
    }
    let turn = served.iter().position(|&slot| slot == 1_000).expect("the ordinary caller is served");
    let overtakers = served[..turn].iter().map(|&slot| came + Duration::from_secs(5) * slot);
    assert!(overtakers.max() < Some(came + head_start), "nobody overtakes who came later than the bonus allows");
    assert!(turn > 30, "and priority is worth something");
}

#[test]
fn callers_of_one_priority_are_served_as_they_came_whatever_their_queue() {
    let mut bench = Bench::new(site());
    for (slot, queue) in [(1, 1), (2, 0), (3, 0), (4, 1)] {
        bench.advance(Duration::from_secs(1));
        bench.enqueue(slot, queue);
    }
    bench.phone(3, true);
    bench.phone(0, true);
    for (number, (agent, caller)) in (1u64..).zip([(3, 1), (0, 2), (3, 3), (3, 4)]) {
        bench.want(agent, Want::Ready);
        assert_eq!(bench.offers(), [(caller, agent)]);
        bench.answered(number, agent);
        bench.ended(number, agent);
    }
}

#[test]
fn a_caller_handed_back_stands_where_they_stood() {
    let mut bench = Bench::with_ready(site(), &[0]);
    bench.enqueue(1, 0);
    bench.advance(Duration::from_secs(1));
    bench.enqueue(2, 0);
    bench.declined(1, 0, Declined::Rejected);
    assert_eq!(bench.acd.position(call(1)).unwrap().ahead, Some(0));
    assert_eq!(bench.acd.position(call(2)).unwrap().ahead, Some(1));
    bench.phone(1, true);
    bench.want(1, Want::Ready);
    assert_eq!(bench.offers(), [(1, 1)]);
    assert_eq!(bench.acd.position(call(1)).unwrap().ahead, None);
}

#[test]
fn a_lost_phone_gives_the_caller_back_at_once() {
    let mut bench = Bench::with_ready(site(), &[0, 1]);
    bench.enqueue(1, 0);
    bench.phone(0, false);
    assert_eq!(bench.to_calls()[0], revoked(1, 1, 0));
    assert_eq!(bench.offers(), [(1, 1)]);
    assert_eq!(bench.state(0), paused("phone_lost"));
    bench.phone(0, true);
    assert_eq!(bench.state(0), paused("phone_lost"), "its return does not make ready");
    // While talking the loss counts only if it lasts.
    bench.answered(2, 1);
    bench.phone(1, false);
    assert_eq!(bench.state(1), AgentState::Talking);
    bench.ended(2, 1);
    bench.advance(WRAP_UP);
    assert_eq!(bench.state(1), paused("phone_lost"));
    assert_eq!(bench.want(1, Want::Ready), [], "no phone, no calls");
}

#[test]
fn limits_and_policies_release_with_their_reason() {
    let mut settings = site();
    settings.queues[0].wait_max = Some(MINUTE);
    settings.queues[0].waiting_max = 2;
    settings.queues[1].no_agents = NoAgents::Release;
    let mut bench = Bench::new(settings.clone());
    assert_eq!(bench.enqueue(1, 9), [released(1, Released::QueueGone)]);
    assert_eq!(bench.enqueue(1, 1), [released(1, Released::NoAgents)]);
    bench.pause(3);
    assert_eq!(bench.enqueue(1, 1), [], "somebody is logged in");
    bench.want(3, Want::Offline);
    assert_eq!(bench.to_calls(), [released(1, Released::NoAgents)], "the last one logs off");
    bench.enqueue(2, 0);
    bench.enqueue(3, 0);
    assert_eq!(bench.enqueue(4, 0), [released(4, Released::Full)]);
    assert_eq!(bench.advance(MINUTE), [released(2, Released::WaitedTooLong), released(3, Released::WaitedTooLong)]);
    bench.enqueue(5, 0);
    let mut smaller = settings;
    smaller.queues.remove(0);
    assert_eq!(bench.handle(Event::Configure(Arc::new(smaller))), [released(5, Released::QueueGone)]);
}

#[test]
fn waiting_too_long_ends_no_ringing() {
    let mut settings = site();
    settings.queues[0].wait_max = Some(Duration::from_secs(10));
    let mut bench = Bench::with_ready(settings.clone(), &[0]);
    bench.enqueue(1, 0);
    assert_eq!(bench.advance(Duration::from_secs(12)), []);
    bench.declined(1, 0, Declined::Rejected);
    assert_eq!(bench.to_calls(), [released(1, Released::WaitedTooLong)]);
    // Unless somebody else is idle at that moment.
    let mut bench = Bench::with_ready(settings, &[0, 1]);
    bench.enqueue(1, 0);
    bench.advance(Duration::from_secs(12));
    bench.declined(1, 0, Declined::Rejected);
    assert_eq!(bench.offers(), [(1, 1)]);
}

#[test]
fn the_longest_idle_agent_takes_the_call() {
    let mut bench = Bench::with_ready(site(), &[0, 1, 2]);
    let mut idle = vec![0, 1, 2];
    let mut talking = Vec::new();
    let mut mint = Mint::new(0, [1, 1]);
    let mut number = 0;
    for slot in 0..2_000 {
        bench.advance(Duration::from_millis(mint.random() % 5_000));
        if !idle.is_empty() && mint.random().is_multiple_of(2) {
            bench.enqueue(slot, 0);
            number += 1;
            let agent = idle.remove(0);
            assert_eq!(bench.offers(), [(slot, agent)]);
            if mint.random().is_multiple_of(4) {
                bench.cancel(slot);
                idle.insert(0, agent);
            } else {
                bench.answered(number, agent);
                talking.push((number, agent));
            }
        } else if !talking.is_empty() {
            let (number, agent) = talking.remove((mint.random() % talking.len() as u64) as usize);
            bench.ended(number, agent);
            bench.want(agent, Want::Ready);
            idle.push(agent);
        }
    }
    assert!(number > 500);
}

#[test]
fn what_an_agent_asks_for_while_booked_takes_effect_afterwards() {
    let lunch = || Want::NotReady { reason: "lunch".into() };
    for (asked, after_cancel, after_rona, after_talk) in [
        (Want::Ready, AgentState::Ready, paused("rona"), AgentState::WrapUp),
        (lunch(), paused("lunch"), paused("lunch"), paused("lunch")),
        (Want::Offline, AgentState::Offline, AgentState::Offline, AgentState::Offline),
    ] {
        let run = |then: fn(&mut Bench)| {
            let mut bench = Bench::with_ready(site(), &[0]);
            bench.enqueue(1, 0);
            bench.want(0, lunch());
            bench.want(0, asked.clone());
            assert_eq!(bench.out, [], "nothing to see yet");
            then(&mut bench);
            bench.state(0)
        };
        assert_eq!(run(|bench| drop(bench.cancel(1).to_vec())), after_cancel);
        assert_eq!(run(|bench| drop(bench.advance(RING).to_vec())), after_rona);
        let talk = |bench: &mut Bench| {
            bench.answered(1, 0);
            bench.ended(1, 0);
        };
        assert_eq!(run(talk), after_talk);
    }
}

#[test]
fn a_call_moves_to_another_queue_and_a_slots_next_tenant_takes_its_place() {
    let mut bench = Bench::with_ready(site(), &[0]);
    bench.enqueue(1, 0);
    bench.enqueue(1, 1);
    assert_eq!(bench.to_calls(), [revoked(1, 1, 0)]);
    assert_eq!((bench.state(0), bench.acd.position(call(1)).unwrap().queue), (AgentState::Ready, Some(QueueId(1))));
    let next = CallId { generation: 1, ..call(1) };
    let caller = Enqueue {
        call: next,
        contact: contact(1),
        queue: QueueId(1),
        priority: 0,
        since: bench.now.mono,
        preferred: None,
        patience: Patience::Bounded,
    };
    bench.handle(Event::Enqueue(caller));
    assert_eq!(bench.acd.position(call(1)), None);
    assert!(bench.acd.position(next).is_some());
    bench.cancel(1);
    assert!(bench.acd.position(next).is_some(), "the old call's end is not the new one's");
}

#[test]
fn views_tell_what_supervisors_ask() {
    let mut bench = Bench::with_ready(site(), &[0, 3]);
    bench.enqueue(1, 0);
    bench.answered(1, 0);
    for slot in 2..5 {
        bench.advance(Duration::from_secs(1));
        bench.enqueue(slot, 0);
    }
    bench.advance(Duration::from_secs(1));
    let general = bench.acd.queue(bench.now, QueueId(0)).unwrap();
    let longest_wait = Some(Duration::from_secs(3));
    assert_eq!(general, QueueView { waiting: 2, offered: 1, longest_wait, logged_in: 2, ready: 0, talking: 1 });
    let expert = bench.acd.queue(bench.now, QueueId(1)).unwrap();
    assert_eq!(expert, QueueView { logged_in: 1, ..QueueView::default() });
    assert_eq!(bench.acd.queue(bench.now, QueueId(2)), None);
    let view = bench.acd.agent(AgentId(0)).unwrap();
    assert_eq!((view.state, view.lease, view.contact), (AgentState::Talking, Some(lease(1, 0)), Some(contact(1))));
    assert_eq!(bench.acd.agent(AgentId(77)), None);
    assert_eq!(bench.acd.position(call(4)).unwrap().ahead, Some(1));
}
