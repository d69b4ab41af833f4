//! Every state × every event, for agents and for callers: it moves, it is remembered, or it is ignored for a reason.

use super::*;
use Then::{Ignored, Moves, Remembered};

#[derive(Clone, Copy, Debug)]
enum Then {
    /// To what, and with which commands to the call.
    Moves(&'static str),
    /// Nothing to see from outside, but it counts later.
    Remembered,
    /// Nothing happens at all; why.
    Ignored(&'static str),
}

const FENCED: Then = Ignored("fenced: not the agent's present lease");
const TOLD: Then = Ignored("they are so already");
const NOT_DUE: Then = Ignored("nothing is due");
const NO_WRAP_UP: Then = Ignored("there is nothing to lengthen");
const NO_CALLER: Then = Ignored("the call is not in the line");
const ANSWERED: Then = Ignored("the call left the line by the answer; its talk ends with Ended");

/// One agent, one queue; the agent's first lease is long dead, the second is the present one.
fn agent_in(state: &str) -> Bench {
    let mut settings = site();
    settings.queues.truncate(1);
    settings.agents.truncate(1);
    let mut bench = Bench::with_ready(settings, &[0]);
    bench.enqueue(1, 0);
    bench.answered(1, 0);
    bench.ended(1, 0);
    bench.want(0, Want::Ready);
    match state {
        "offline" => drop(bench.want(0, Want::Offline).to_vec()),
        "not_ready" => drop(bench.pause(0).to_vec()),
        "ready" => {}
        "offered" => drop(bench.enqueue(2, 0).to_vec()),
        "talking" | "wrap_up" => {
            bench.enqueue(2, 0);
            bench.answered(2, 0);
            if state == "wrap_up" {
                bench.ended(2, 0);
            }
        }
        other => panic!("no such state: {other}"),
    }
    assert_eq!(bench.state(0).word(), state);
    bench
}

enum Input {
    Event(Event),
    Time(Duration),
}

impl Bench {
    fn apply(&mut self, input: &Input) {
        match input {
            Input::Event(event) => drop(self.handle(event.clone()).to_vec()),
            Input::Time(by) => drop(self.advance(*by).to_vec()),
        }
    }

    /// What the last step said to calls, in words.
    fn said(&self) -> String {
        let word = |command: &Command| match command {
            Command::Offer { .. } => Some("offer "),
            Command::Revoke { .. } => Some("revoke "),
            Command::Released { why: Released::WaitedTooLong, .. } => Some("waited_too_long "),
            Command::Released { why: Released::NoAgents, .. } => Some("no_agents "),
            Command::Released { why: Released::Full, .. } => Some("full "),
            Command::Released { why: Released::QueueGone, .. } => Some("queue_gone "),
            Command::Released { why: Released::Diverted { .. }, .. } => Some("diverted "),
            Command::Stands { .. } => Some("stands "),
            Command::Agent(_) => None,
        };
        self.out.iter().filter_map(word).collect()
    }
}

fn want(state: Want) -> Input {
    Input::Event(Event::Want { agent: AgentId(0), state, by: None })
}

fn shown(state: &AgentState) -> String {
    match state {
        AgentState::NotReady { reason } => format!("not_ready {reason}"),
        AgentState::Offline | AgentState::Ready | AgentState::Offered | AgentState::Talking | AgentState::WrapUp => {
            state.word().to_owned()
        }
    }
}

/// In the order of the columns: offline, not_ready, ready, offered, talking, wrap_up.
#[expect(clippy::too_many_lines, reason = "a table reads best in one piece")]
fn agent_table() -> Vec<(&'static str, Input, [Then; 6])> {
    let by = |number| lease(number, 0);
    let declined = |why| Input::Event(Event::Declined { lease: by(2), why });
    let phone = |up| Input::Event(Event::Phone { agent: AgentId(0), up });
    let mut same = site();
    same.queues.truncate(1);
    same.agents.truncate(1);
    let mut without = same.clone();
    without.agents.clear();
    let event = Input::Event;
    let lunch = Moves("not_ready lunch");
    vec![
        ("ready", want(Want::Ready), [Moves("ready"), Moves("ready"), TOLD, TOLD, TOLD, Moves("ready")]),
        ("lunch", want(Want::NotReady { reason: "lunch".into() }), [lunch, TOLD, lunch, Remembered, Remembered, lunch]),
        (
            "offline",
            want(Want::Offline),
            [TOLD, Moves("offline"), Moves("offline"), Remembered, Remembered, Moves("offline")],
        ),
        ("phone up", phone(true), [TOLD; 6]),
        (
            "phone down",
            phone(false),
            [
                Remembered,
                Remembered,
                Moves("not_ready phone_lost"),
                Moves("revoke not_ready phone_lost"),
                Remembered,
                Remembered,
            ],
        ),
        (
            "ringing",
            event(Event::Ringing { lease: by(2) }),
            [FENCED, FENCED, FENCED, Ignored("the offer has its deadline"), Ignored("answered already"), FENCED],
        ),
        (
            "answered",
            event(Event::Answered { lease: by(2) }),
            [FENCED, FENCED, FENCED, Moves("talking"), Ignored("said twice"), FENCED],
        ),
        (
            "rejected",
            declined(Declined::Rejected),
            [FENCED, FENCED, FENCED, Moves("not_ready rejected"), Moves("wrap_up"), FENCED],
        ),
        (
            "no answer",
            declined(Declined::NoAnswer),
            [FENCED, FENCED, FENCED, Moves("not_ready rona"), Moves("wrap_up"), FENCED],
        ),
        (
            "unreachable",
            declined(Declined::Unreachable),
            [FENCED, FENCED, FENCED, Moves("not_ready phone_lost"), Moves("wrap_up"), FENCED],
        ),
        (
            "ended",
            event(Event::Ended { lease: by(2) }),
            [FENCED, FENCED, FENCED, Moves("ready"), Moves("wrap_up"), FENCED],
        ),
        ("stale answered", event(Event::Answered { lease: by(1) }), [FENCED; 6]),
        ("stale declined", event(Event::Declined { lease: by(1), why: Declined::Rejected }), [FENCED; 6]),
        ("stale ended", event(Event::Ended { lease: by(1) }), [FENCED; 6]),
        ("other epoch", event(Event::Ended { lease: Lease { epoch: 0, ..by(2) } }), [FENCED; 6]),
        (
            "cancel",
            event(Event::Cancel { call: call(2) }),
            [NO_CALLER, NO_CALLER, NO_CALLER, Moves("ready"), ANSWERED, NO_CALLER],
        ),
        ("ring time", Input::Time(RING), [NOT_DUE, NOT_DUE, NOT_DUE, Moves("revoke not_ready rona"), NOT_DUE, NOT_DUE]),
        (
            "wrap-up time",
            Input::Time(WRAP_UP),
            [NOT_DUE, NOT_DUE, NOT_DUE, Moves("revoke not_ready rona"), NOT_DUE, Moves("ready")],
        ),
        (
            "longer wrap-up",
            event(Event::Extend { agent: AgentId(0), by: Duration::from_secs(7) }),
            [NO_WRAP_UP, NO_WRAP_UP, NO_WRAP_UP, NO_WRAP_UP, NO_WRAP_UP, Remembered],
        ),
        ("reload", event(Event::Configure(Arc::new(same))), [Ignored("they still exist"); 6]),
        (
            "reload without them",
            event(Event::Configure(Arc::new(without))),
            [
                TOLD,
                Moves("offline"),
                Moves("offline"),
                Moves("revoke offline"),
                Ignored("the talk goes on; Offline follows it"),
                Moves("offline"),
            ],
        ),
    ]
}

#[test]
fn every_agent_state_meets_every_event() {
    for (name, input, row) in agent_table() {
        for (state, then) in ["offline", "not_ready", "ready", "offered", "talking", "wrap_up"].into_iter().zip(row) {
            let mut bench = agent_in(state);
            let before = (bench.acd.snapshot(), shown(&bench.state(0)));
            bench.apply(&input);
            let after = (bench.acd.snapshot(), shown(&bench.state(0)));
            let at = format!("{name} while {state}: {:?}", bench.out);
            match then {
                Moves(to) => {
                    assert_eq!(bench.said() + &after.1, to, "{at}");
                    let told = bench.out.iter().filter(|command| matches!(command, Command::Agent(_))).count();
                    assert_eq!(told, 1, "the world is told once: {at}");
                }
                Remembered => {
                    assert_eq!((&*bench.out, &after.1), (&[][..], &before.1), "{at}");
                    assert_ne!(after.0, before.0, "{at}");
                }
                Ignored(why) => {
                    assert_eq!((&*bench.out, after), (&[][..], before), "{why}: {at}");
                }
            }
        }
    }
}

/// Call 2 as a caller: queue 0 with agent 0 (agent 1 offline), queue 1 that nobody serves and queue 2 that is full.
fn caller_who(stands: &str) -> Bench {
    let mut bench = Bench::with_ready(caller_site(), &[0]);
    bench.enqueue(9, 2);
    match stands {
        "absent" => {}
        "waiting" => {
            bench.pause(0);
            bench.enqueue(2, 0);
        }
        "offered" => drop(bench.enqueue(2, 0).to_vec()),
        "answered" => {
            bench.enqueue(2, 0);
            bench.answered(1, 0);
        }
        other => panic!("no such standing: {other}"),
    }
    bench
}

fn caller_site() -> Settings {
    let mut settings = site();
    settings.agents.truncate(2);
    settings.queues[0].wait_max = Some(RING - Duration::from_secs(5));
    settings.queues[1].no_agents = NoAgents::Wait;
    settings.queues.push(queue("full", &[(SkillId(7), 1)]));
    settings.queues[2].waiting_max = 1;
    settings
}

fn stands(bench: &Bench) -> &'static str {
    match bench.acd.position(call(2)) {
        None => "out",
        Some(Position { ahead: Some(_), .. }) => "waiting",
        Some(Position { ahead: None, .. }) => "offered",
    }
}

/// In the order of the columns: absent, waiting, offered, answered.
fn caller_table() -> Vec<(&'static str, Input, [Then; 4])> {
    let enqueue = |queue| {
        let since = Mono::from_ms(1_000_000);
        Input::Event(Event::Enqueue(Enqueue {
            call: call(2),
            contact: contact(2),
            queue: QueueId(queue),
            priority: 0,
            since,
            preferred: None,
            patience: Patience::Bounded,
        }))
    };
    let by = lease(1, 0);
    let mut without = caller_site();
    without.queues.remove(0);
    let event = Input::Event;
    let kept = Ignored("in this queue already: the place is kept");
    let unbooked = Ignored("no lease is theirs");
    vec![
        ("enqueue", enqueue(0), [Moves("offer offered"), kept, kept, Moves("waiting")]),
        ("elsewhere", enqueue(1), [Moves("waiting"), Moves("waiting"), Moves("revoke waiting"), Moves("waiting")]),
        ("full", enqueue(2), [Moves("full out"), Moves("full out"), Moves("revoke full out"), Moves("full out")]),
        (
            "unknown",
            enqueue(8),
            [Moves("queue_gone out"), Moves("queue_gone out"), Moves("revoke queue_gone out"), Moves("queue_gone out")],
        ),
        ("cancel", event(Event::Cancel { call: call(2) }), [NO_CALLER, Moves("out"), Moves("out"), ANSWERED]),
        ("ready", want(Want::Ready), [TOLD, Moves("offer offered"), TOLD, TOLD]),
        (
            "wait time",
            Input::Time(RING - Duration::from_secs(5)),
            [NOT_DUE, Moves("waited_too_long out"), Ignored("never while somebody is rung"), NOT_DUE],
        ),
        (
            "ring time",
            Input::Time(RING),
            [NOT_DUE, Moves("waited_too_long out"), Moves("revoke waited_too_long out"), NOT_DUE],
        ),
        ("answered", event(Event::Answered { lease: by }), [unbooked, unbooked, Moves("out"), Ignored("said twice")]),
        (
            "declined",
            event(Event::Declined { lease: by, why: Declined::Rejected }),
            [unbooked, unbooked, Moves("waiting"), Moves("out")],
        ),
        ("ended", event(Event::Ended { lease: by }), [unbooked, unbooked, Moves("out"), Moves("out")]),
        ("reload", event(Event::Configure(Arc::new(caller_site()))), [Ignored("everything still exists"); 4]),
        (
            "reload without the queue",
            event(Event::Configure(Arc::new(without))),
            [NO_CALLER, Moves("queue_gone out"), Remembered, Remembered],
        ),
    ]
}

#[test]
fn every_caller_meets_every_event() {
    for (name, input, row) in caller_table() {
        for (standing, then) in ["absent", "waiting", "offered", "answered"].into_iter().zip(row) {
            let mut bench = caller_who(standing);
            let before = bench.acd.snapshot();
            bench.apply(&input);
            let after = bench.acd.snapshot();
            let at = format!("{name} while {standing}: {:?}", bench.out);
            match then {
                Moves(to) => {
                    assert_eq!(bench.said() + stands(&bench), to, "{at}");
                    assert!(after != before || !bench.out.is_empty(), "{at}");
                }
                Remembered => {
                    assert_eq!(bench.out, [], "{at}");
                    assert_ne!(after, before, "{at}");
                }
                Ignored(why) => assert_eq!((&*bench.out, after), (&[][..], before), "{why}: {at}"),
            }
        }
    }
}

#[test]
fn what_names_nobody_is_dropped() {
    let mut bench = Bench::with_ready(site(), &[0]);
    for event in [
        Event::Want { agent: AgentId(77), state: Want::Ready, by: None },
        Event::Want { agent: AgentId(u32::MAX), state: Want::Ready, by: None },
        Event::Phone { agent: AgentId(u32::MAX), up: true },
        Event::Phone { agent: AgentId(77), up: false },
        Event::Ended { lease: lease(1, u32::MAX) },
        Event::Answered { lease: lease(1, 77) },
        Event::Cancel { call: CallId { shard: ShardId(200), slot: u32::MAX, generation: 1 } },
    ] {
        assert_eq!(bench.handle(event.clone()), [], "{event:?}");
    }
    // A phone that was there before its agent came with a reload is not forgotten.
    let mut settings = site();
    bench.phone(5, true);
    settings.agents.push(AgentSettings { agent: AgentId(5), skills: vec![(SkillId(0), 9)] });
    bench.handle(Event::Configure(Arc::new(settings)));
    bench.want(5, Want::Ready);
    assert_eq!(bench.state(5), AgentState::Ready);
}

#[test]
fn a_wrap_up_is_lengthened_to_an_hour_at_most_and_never_shortened() {
    let extend = |seconds| Input::Event(Event::Extend { agent: AgentId(0), by: Duration::from_secs(seconds) });
    for (asked, ends) in [(vec![7], WRAP_UP + Duration::from_secs(7)), (vec![20, 0, 4_000], WRAP_UP_MAX)] {
        let mut bench = agent_in("wrap_up");
        asked.into_iter().for_each(|seconds| bench.apply(&extend(seconds)));
        bench.apply(&Input::Time(ends - Duration::from_secs(1)));
        assert_eq!(bench.out, [], "{ends:?}");
        bench.apply(&Input::Time(Duration::from_secs(1)));
        assert_eq!(shown(&bench.state(0)), "ready", "{ends:?}");
    }
}
