//! Several agents rung for one caller: the first answer has the call, and nobody ever talks beside another.

use super::*;

const OTHER: Lease = Lease { epoch: 1, number: 2, agent: AgentId(0) };

/// Two phones ring.
fn two_ring(world: &mut World) -> (CallId, [LegId; 2]) {
    let (call, first) = world.ringing();
    let second = world.offer(call, OTHER);
    for leg in [first, second] {
        let rings = world.sip(Notice::Ringing { leg, sdp: None });
        assert!(matches!(acd(&rings)[..], [ToAcd::Ringing { .. }]));
    }
    (call, [first, second])
}

fn outcomes(out: &[Command]) -> Vec<AttemptOutcome> {
    record(out).attempts.iter().filter_map(|attempt| attempt.outcome).collect()
}

fn answers(world: &mut World, leg: LegId) -> Vec<Command> {
    world.sip(Notice::Answered { leg, sdp: Bytes::from_static(PHONE) })
}

fn place(out: &[Command], which: impl Fn(&Command) -> bool) -> usize {
    out.iter().position(which).unwrap_or_else(|| panic!("{out:?}"))
}

#[test]
fn the_others_are_cancelled_before_the_winner_is_joined() {
    let mut world = World::new();
    let (_, [first, second]) = two_ring(&mut world);
    let answered = answers(&mut world, second);
    let cancelled = place(&answered, |it| matches!(it, Command::Sip(Sip::TakenElsewhere { leg }) if *leg == first));
    let joined = place(&answered, |it| matches!(it, Command::Media(Media::Bridge { a: CITIZEN, b }) if *b == second));
    assert!(cancelled < joined, "{answered:?}");
    assert!(matches!(acd(&answered)[..], [ToAcd::Answered { lease: OTHER }]), "{answered:?}");
    assert_eq!(outcomes(&answered), [AttemptOutcome::AnsweredElsewhere, AttemptOutcome::Answered]);
    let attempts = &record(&answered).attempts;
    assert_eq!(record(&answered).times.ringing, attempts[1].ringing, "the ringing of the one who answered");
    assert_eq!(views(&answered)[0].agents, [AgentId(0)]);
    // The other's answer crossed the CANCEL: the user agent ends it, and nobody is joined or counted.
    assert!(media(&answers(&mut world, first)).is_empty());
    assert!(world.sip(Notice::Failed { leg: first, status: 487, q850: None }).is_empty());
    let over = world.sip(Notice::Ended { leg: CITIZEN, why: Ending::Bye { q850: None } });
    assert_eq!(outcomes(&over), [AttemptOutcome::AnsweredElsewhere, AttemptOutcome::Answered]);
    world.runs_out(&[second]);
}

#[test]
fn the_caller_waits_only_after_the_last_of_them() {
    let mut world = World::new();
    let (_, [first, second]) = two_ring(&mut world);
    let refused = world.sip(Notice::Failed { leg: first, status: 486, q850: None });
    assert!(matches!(acd(&refused)[..], [ToAcd::Declined { lease: LEASE, why: Declined::Rejected }]));
    assert_eq!((world.calls.letter(), views(&refused)[0].agents.len()), ('R', 1));
    let revoked = world.tell(Event::Acd(Acd::Revoke { call: views(&refused)[0].call, lease: OTHER }));
    assert!(matches!(sip(&revoked)[..], [Sip::HangUp { leg, .. }] if *leg == second));
    assert_eq!(world.calls.letter(), 'W');
    let over = world.sip(Notice::Ended { leg: CITIZEN, why: Ending::Bye { q850: None } });
    assert_eq!(outcomes(&over), [AttemptOutcome::Rejected, AttemptOutcome::NoAnswer]);
}

#[test]
fn each_lease_that_nobody_ends_ends_for_itself() {
    let mut world = World::new();
    let (call, first) = world.ringing();
    world.pass(Duration::from_secs(10));
    let second = world.offer(call, OTHER);
    let late = world.pass(Duration::from_secs(16));
    assert!(matches!(sip(&late)[..], [Sip::HangUp { leg, .. }] if *leg == first), "{late:?}");
    assert_eq!(world.calls.letter(), 'R');
    let late = world.pass(Duration::from_secs(10));
    assert!(matches!(sip(&late)[..], [Sip::HangUp { leg, .. }] if *leg == second), "{late:?}");
    assert_eq!(world.calls.letter(), 'W');
}

#[test]
fn a_want_of_ports_for_one_leaves_the_others_ringing() {
    let mut world = World::new();
    let (call, _) = world.ringing();
    world.ports_open = false;
    let ring_until = world.now.mono + Duration::from_secs(20);
    let offered = world.tell(Event::Acd(Acd::Offer { call, lease: OTHER, ring_until }));
    let leg = offered.iter().find_map(|it| if let Command::OpenPort { leg, .. } = it { Some(*leg) } else { None });
    let refused = world.tell(Event::PortRefused { leg: leg.unwrap() });
    assert!(matches!(acd(&refused)[..], [ToAcd::Ended { lease: OTHER }]), "{refused:?}");
    assert_eq!(world.calls.letter(), 'R');
}

#[test]
fn a_caller_who_gives_up_stops_every_phone() {
    let mut world = World::new();
    let (_, legs) = two_ring(&mut world);
    let over = world.sip(Notice::Ended { leg: CITIZEN, why: Ending::Bye { q850: None } });
    assert_eq!(outcomes(&over), [AttemptOutcome::CallerGone; 2]);
    for leg in legs {
        assert!(sip(&over).iter().any(|action| matches!(action, Sip::HangUp { leg: hung, .. } if *hung == leg)));
        world.sip(Notice::Failed { leg, status: 487, q850: None });
    }
    world.runs_out(&[]);
}

#[test]
fn phones_that_a_restored_user_agent_knows_ring_on() {
    let mut world = World::new();
    let (_, [first, second]) = two_ring(&mut world);
    let (mut calls, out) = restored(&world, &[CITIZEN, second], settings());
    let [ToAcd::Adopt { live, .. }] = &acd(&out)[..] else { panic!("the ACD is told: {out:?}") };
    assert_eq!(live[0].held, [Held { lease: OTHER, answered: false }]);
    assert!(media(&out).iter().any(|action| matches!(action, Media::Close { leg } if *leg == first)));
    let mut out = Vec::new();
    let sdp = Bytes::from_static(PHONE);
    calls.handle(world.now, Event::Sip(Notice::Answered { leg: second, sdp }), &mut out);
    assert_eq!(outcomes(&out), [AttemptOutcome::Unreachable, AttemptOutcome::Answered]);
}
