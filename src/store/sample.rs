//! Facts for tests: whole calls with everything that is told of them.

use crate::base::fact::*;
use crate::base::{ContactId, FactId, LegId, OrderId, RecordingId, ShardId, Wall};

/// When the first sample call came in.
pub(crate) const START: i64 = 1_780_000_000_000;

/// The id of the `number`-th sample call; its recording, order and facts are numbered after it.
pub(crate) fn id(number: u32) -> u128 {
    let ms = u128::try_from(START).unwrap() + u128::from(number) * 1000;
    ms << 80 | u128::from(number) << 8
}

/// All facts of one answered call, in the order in which they are told: two tellings each of call, order and recording,
/// four changes of the agent, one act.
pub(crate) fn call(site: &str, number: u32) -> Vec<Stamped> {
    let at = |ms: i64| Wall(START + i64::from(number) * 1000 + ms);
    let agent = |from: &str, to: &str| {
        let contact = Some(ContactId(id(number)));
        Fact::Agent(AgentChanged {
            agent: "1001".into(),
            from: from.into(),
            to: to.into(),
            reason: "".into(),
            contact,
            by: None,
        })
    };
    let facts = [
        (900, Fact::Call(Box::new(record(number, 1)))),
        (901, Fact::Order(Box::new(order(number, 1)))),
        (902, agent("ready", "offered")),
        (903, Fact::Recording(Box::new(recording(number, 1)))),
        (2000, agent("offered", "talking")),
        (9000, Fact::Call(Box::new(record(number, 2)))),
        (9001, Fact::Order(Box::new(order(number, 2)))),
        (9002, agent("talking", "wrap_up")),
        (9003, Fact::Recording(Box::new(recording(number, 2)))),
        (9004, agent("wrap_up", "ready")),
        (9005, Fact::Audit(Box::new(act(number)))),
    ];
    let stamp =
        |(position, (ms, fact))| Stamped { id: FactId(id(number) + position), at: at(ms), site: site.into(), fact };
    (1u128..).zip(facts).map(stamp).collect()
}

fn record(number: u32, revision: u32) -> CallRecord {
    let at = |ms: i64| Wall(START + i64::from(number) * 1000 + ms);
    let ended = revision > 1;
    let attempt = |outcome: AttemptOutcome, ms| Attempt {
        agent: "1001".into(),
        assigned: at(ms),
        ringing: Some(at(ms + 20)),
        ended: Some(at(ms + 500)),
        outcome: Some(outcome),
    };
    CallRecord {
        contact: ContactId(id(number)),
        revision,
        direction: if number % 2 == 1 { Direction::Outbound } else { Direction::Inbound },
        caller: "13800000000".into(),
        dialled: "12345".into(),
        trunk: "unicom-a".into(),
        sip_call_id: format!("{number}@192.0.2.1").into(),
        queue: Some("general".into()),
        agent: ended.then(|| "1001".into()),
        times: Times {
            offered: at(0),
            connected: Some(at(100)),
            ivr_in: Some(at(101)),
            ivr_out: Some(at(800)),
            queued: Some(at(801)),
            assigned: ended.then(|| at(1_500)),
            ringing: ended.then(|| at(1_520)),
            answered: ended.then(|| at(2_000)),
            caller_hangup: ended.then(|| at(8_990)),
            agent_hangup: None,
            ended: ended.then(|| at(9_000)),
        },
        attempts: if ended {
            vec![attempt(AttemptOutcome::NoAnswer, 900), attempt(AttemptOutcome::Answered, 1_500)]
        } else {
            Vec::new()
        },
        routes: vec![RouteAttempt {
            trunk: "unicom-a".into(),
            seized: at(5),
            provisional: Some(at(15)),
            ringing: None,
            ended: ended.then(|| at(9_000)),
            sip_status: ended.then_some(200),
        }],
        transfers: vec![transfer(number, ended)],
        interventions: vec![intervention(number, ended)],
        satisfaction: Some(Satisfaction {
            flow: "satisfaction".into(),
            agent: Some("1001".into()),
            target: None,
            asked: at(8_500),
            answered: ended.then(|| at(8_900)),
            score: ended.then_some(5),
        }),
        collected: vec![("menu".into(), "1".into())],
        end: ended.then_some(End { stage: Stage::Talking, by: EndedBy::Caller, sip_status: 200, q850: 16 }),
        recording: ended.then_some(RecordingId(id(number))),
        order: ended.then_some(OrderId(id(number))),
        signalled: Signalled {
            caller_name: Some("张三".into()),
            original: Some("12333".into()),
            diverted: Some("user-busy".into()),
            emergency: true,
            place: Some("福建省 福州市 鼓楼区; 26.08940,119.30120 ±50 m".into()),
            user_to_user: Some("3230;encoding=hex".into()),
            ticket: Some("J3501022026112400071".into()),
        },
    }
}

fn intervention(number: u32, ended: bool) -> Intervention {
    let at = |ms: i64| Wall(START + i64::from(number) * 1000 + ms);
    Intervention {
        kind: InterventionKind::Whisper,
        by: "1009".into(),
        agent: Some("1001".into()),
        started: at(5_000),
        answered: Some(at(5_500)),
        ended: ended.then(|| at(8_000)),
        result: ended.then_some(InterventionResult::Done),
    }
}

fn transfer(number: u32, ended: bool) -> TransferRecord {
    let at = |ms: i64| Wall(START + i64::from(number) * 1000 + ms);
    TransferRecord {
        target: "fire".into(),
        kind: TargetKind::Emergency,
        mode: TransferMode::Conference,
        reason: "火警".into(),
        agent: "1001".into(),
        started: at(3_000),
        answered: Some(at(4_000)),
        joined: Some(at(4_000)),
        mute: Some(at(7_000)),
        handed: None,
        ended: ended.then(|| at(8_000)),
        result: ended.then_some(TransferResult::Returned),
        routes: Vec::new(),
        drill: true,
    }
}

fn recording(number: u32, revision: u32) -> RecordingFact {
    let at = |ms: i64| Wall(START + i64::from(number) * 1000 + ms);
    let finished = RecordingFinished {
        ended: at(9_000),
        duration_ms: 7_000,
        bytes: 112_044,
        sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into(),
        damaged: false,
    };
    RecordingFact {
        recording: RecordingId(id(number)),
        revision,
        contact: ContactId(id(number)),
        path: format!("2026/05/28/{number}.wav").into(),
        started: at(2_000),
        finished: (revision > 1).then_some(finished),
    }
}

fn order(number: u32, revision: u32) -> OrderOpened {
    let at = |ms: i64| Wall(START + i64::from(number) * 1000 + ms);
    let ended = revision > 1;
    OrderOpened {
        order: OrderId(id(number)),
        revision,
        contact: ContactId(id(number)),
        recording: ended.then_some(RecordingId(id(number))),
        caller: "13800000000".into(),
        dialled: "12345".into(),
        category: "010203".into(),
        agent: ended.then(|| "1001".into()),
        called: at(0),
        opened: at(901),
        answered: ended.then(|| at(2_000)),
        ended: ended.then(|| at(9_000)),
        emergency: true,
        place: Some("福建省 福州市 鼓楼区; 26.08940,119.30120 ±50 m".into()),
        drill: true,
        ticket: Some("J3501022026112400071".into()),
    }
}

/// What is told of the two legs of that call.
pub(crate) fn legs(site: &str, number: u32) -> [Stamped; 2] {
    [(0, 400), (1, 350)].map(|(place, packets)| {
        let leg = leg(number, place, packets);
        let (id, at) = (FactId(id(number) + 100 + u128::from(place)), leg.closed);
        Stamped { id, at, site: site.into(), fact: Fact::Leg(Box::new(leg)) }
    })
}

/// The citizen's leg (0) or the agent's, from which so many packets came.
pub(crate) fn leg(number: u32, place: u64, packets: u64) -> LegQuality {
    let at = |ms: i64| Wall(START + i64::from(number) * 1000 + ms);
    let party = match place {
        0 => Party::Citizen { trunk: "unicom-a".into() },
        _ => Party::Agent { name: "1001".into() },
    };
    LegQuality {
        contact: ContactId(id(number)),
        leg: LegId::incoming(ShardId(0), place),
        party,
        codec: "PCMA".into(),
        opened: at(90 + 1_500 * i64::from(place > 0)),
        closed: at(9_005),
        received: WayQuality { packets, lost: packets / 100, jitter_us: 2_125, mos: Some(432) },
        sent: WayQuality::default(),
        dropped: 1,
        round_trip_us: Some(31_250),
        one_way: false,
    }
}

fn act(number: u32) -> Audit {
    Audit {
        actor: "王主任".into(),
        role: "supervisor".into(),
        action: "recording.read".into(),
        object: RecordingId(id(number)).to_string().into(),
        allowed: number.is_multiple_of(2),
        from: "127.0.0.1:40000".into(),
    }
}
