//! How the media of legs were: told once a leg, whenever it closes.

use super::*;
use crate::base::fact::{LegQuality, Party, WayQuality};

fn told(out: &[Command]) -> Vec<&LegQuality> {
    let fact = |command| match command {
        &Command::Fact { fact: Fact::Leg(ref leg), .. } => Some(&**leg),
        _ => None,
    };
    out.iter().filter_map(fact).collect()
}

fn who(out: &[Command]) -> Vec<(LegId, Party)> {
    told(out).into_iter().map(|leg| (leg.leg, leg.party.clone())).collect()
}

fn citizen() -> (LegId, Party) {
    (CITIZEN, Party::Citizen { trunk: "carrier".into() })
}

fn agent(leg: LegId) -> (LegId, Party) {
    (leg, Party::Agent { name: "1001".into() })
}

#[test]
fn both_legs_of_a_talk_are_told_as_they_were() {
    let mut world = World::new();
    let (_, leg) = world.talking();
    world.counters = Counters {
        received: 500,
        sent: 400,
        lost: 5,
        jitter_us: 2_000,
        dropped: 3,
        far_lost: 4,
        far_jitter_us: 9_000,
        round_trip_us: Some(30_000),
        mos_received: Some(433),
        mos_sent: Some(441),
    };
    world.pass(Duration::from_secs(10));
    let over = world.sip(Notice::Ended { leg: CITIZEN, why: Ending::Bye { q850: None } });
    assert_eq!(who(&over), [citizen(), agent(leg)]);
    let (call, first) = (record(&over), told(&over)[0]);
    assert_eq!((first.contact, &*first.codec), (call.contact, "PCMA"));
    assert_eq!((Some(first.opened), Some(first.closed)), (call.times.connected, call.times.ended));
    let received = WayQuality { packets: 500, lost: 5, jitter_us: 2_000, mos: Some(433) };
    let sent = WayQuality { packets: 400, lost: 4, jitter_us: 9_000, mos: Some(441) };
    assert_eq!((first.received, first.sent), (received, sent));
    assert_eq!((first.dropped, first.round_trip_us, first.one_way), (3, Some(30_000), false));
    world.runs_out(&[leg]);
}

#[test]
fn a_leg_that_ends_in_mid_call_is_told_then_and_once() {
    let mut world = World::new();
    let (call, leg) = world.talking();
    let lost = world.sip(Notice::Ended { leg, why: Ending::Lost });
    assert_eq!(who(&lost), [agent(leg)]);
    let over = world.tell(Event::HangUp { call });
    assert_eq!(who(&over), [citizen()]);
    world.runs_out(&[CITIZEN, leg]);
}

#[test]
fn a_phone_that_only_rang_has_no_quality_and_a_mute_one_is_one_way() {
    let mut world = World::new();
    let (call, leg) = world.ringing();
    let failed = world.sip(Notice::Failed { leg, status: 486, q850: None });
    assert!(media(&failed).contains(&&Media::Close { leg }), "{failed:?}");
    assert_eq!(who(&failed), []);
    world.counters = Counters { sent: 60, ..Counters::default() };
    let over = world.tell(Event::HangUp { call });
    assert_eq!((who(&over), told(&over)[0].one_way), (vec![citizen()], true));
    world.runs_out(&[CITIZEN]);
}

/// The user agent is done before the media plane: the call waits for what is still to be said, but not for ever.
#[test]
fn a_call_is_not_over_before_its_media_are() {
    let last = |world: &mut World| {
        let mut out = Vec::new();
        world.calls.handle(world.now, Event::Media(Heard::Closed { leg: CITIZEN, counters: world.counters }), &mut out);
        out
    };
    for comes in [true, false] {
        let mut world = World::new();
        world.queued();
        let mut out = Vec::new();
        let bye = Event::Sip(Notice::Ended { leg: CITIZEN, why: Ending::Bye { q850: None } });
        world.calls.handle(world.now, bye, &mut out);
        assert_eq!((world.calls.counts().calls, world.calls.counts().live), (1, 0));
        if comes {
            assert_eq!(who(&last(&mut world)), [citizen()]);
        } else {
            world.pass(Duration::from_secs(71));
        }
        assert_eq!((world.calls.counts().calls, world.calls.counts().timers), (0, 0));
        assert!(last(&mut world).is_empty(), "told once");
    }
}

/// The port went by a fault of ours: the leg is told, and the call ends as it does.
#[test]
fn a_port_that_is_lost_is_told_with_the_end() {
    let mut world = World::new();
    world.queued();
    let over = world.tell(Event::Media(Heard::Closed { leg: CITIZEN, counters: world.counters }));
    assert_eq!((who(&over), ended(&over)), (vec![citizen()], (Stage::Queued, EndedBy::Fault, 200)));
    world.runs_out(&[CITIZEN]);
}
