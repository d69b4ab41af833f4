//! Legs of which nothing is heard: what becomes of their calls.

use super::*;
use crate::call::event::SilentStep;

/// Nothing was heard of `leg` for so long; time passes on up to then.
fn quiet(world: &mut World, leg: LegId, silent_s: u64) -> Vec<Command> {
    world.now = world.now.after(Duration::from_secs(10));
    world.tell(Event::Media(Heard::Quiet { leg, silent: Duration::from_secs(silent_s) }))
}

fn steps(out: &[Command]) -> Vec<SilentStep> {
    out.iter().filter_map(|it| if let Command::Silent(silent) = it { Some(silent.step) } else { None }).collect()
}

fn one_way(out: &[Command], leg: LegId) -> Option<bool> {
    out.iter().find_map(|command| match command {
        Command::Fact { fact: Fact::Leg(told), .. } if told.leg == leg => Some(told.one_way),
        _ => None,
    })
}

fn counts(world: &World) -> (u64, u64, u64) {
    let counts = world.calls.counts();
    (counts.silent, counts.silent_one_way, counts.silent_given_up)
}

#[test]
fn a_citizen_who_is_gone_is_asked_at_10_s_and_let_go_at_30() {
    for refused in [None, Some(408), Some(481)] {
        let mut world = World::new();
        world.queued();
        let asked = quiet(&mut world, CITIZEN, 10);
        assert!(matches!(sip(&asked)[..], [Sip::Probe { leg: CITIZEN, .. }]), "{asked:?}");
        assert_eq!(steps(&asked), [SilentStep::Asked]);
        if let Some(status) = refused {
            assert!(world.sip(Notice::ReofferAnswered { leg: CITIZEN, answer: Err(status) }).is_empty());
        }
        assert!(quiet(&mut world, CITIZEN, 20).is_empty(), "not before");
        let gone = quiet(&mut world, CITIZEN, 30);
        assert!(sip(&gone).iter().any(|action| matches!(action, Sip::HangUp { leg: CITIZEN, .. })), "{gone:?}");
        assert_eq!((ended(&gone), steps(&gone)), ((Stage::Queued, EndedBy::Network, 200), vec![SilentStep::GivenUp]));
        assert_eq!(counts(&world), (1, 0, 1));
        world.runs_out(&[CITIZEN]);
    }
}

#[test]
fn a_citizen_who_is_there_is_kept_as_one_way_up_to_the_limit() {
    let mut world = World::new();
    world.queued();
    let mut told = Vec::new();
    let last = (1..).map(|tens| 10 * tens).find_map(|silent_s| {
        let out = quiet(&mut world, CITIZEN, silent_s);
        told.extend(steps(&out));
        if sip(&out).iter().any(|action| matches!(action, Sip::Probe { .. })) {
            told.extend(steps(&world.sip(Notice::ReofferAnswered { leg: CITIZEN, answer: Err(488) })));
        }
        out.iter().any(|it| matches!(it, Command::Fact { fact: Fact::Call(_), .. })).then_some((silent_s, out))
    });
    let (silent_s, out) = last.expect("it ends");
    assert_eq!((silent_s, one_way(&out, CITIZEN)), (600, Some(true)));
    assert_eq!(told, [SilentStep::Asked, SilentStep::OneWay, SilentStep::GivenUp]);
    assert_eq!((ended(&out), counts(&world)), ((Stage::Queued, EndedBy::Network, 200), (1, 1, 1)));
}

#[test]
fn an_agent_who_falls_silent_leaves_the_citizen_at_the_head_of_the_line() {
    let mut world = World::new();
    let (_, leg) = world.talking();
    quiet(&mut world, leg, 10);
    quiet(&mut world, leg, 20);
    let lost = quiet(&mut world, leg, 30);
    assert!(matches!(acd(&lost)[..], [ToAcd::Ended { lease: LEASE }, ToAcd::Enqueue(_)]), "{lost:?}");
    assert!(sip(&lost).iter().any(|action| matches!(action, Sip::HangUp { leg: hung, .. } if *hung == leg)));
    assert_eq!(world.calls.letter(), 'W');
}

#[test]
fn sound_that_comes_again_ends_the_silence() {
    let mut world = World::new();
    let (call, leg) = world.talking();
    quiet(&mut world, leg, 10);
    world.sip(Notice::ReofferAnswered { leg, answer: Err(481) });
    world.tell(Event::Media(Heard::Heard { leg }));
    assert_eq!(steps(&quiet(&mut world, leg, 10)), [SilentStep::Asked], "the next silence has its own question");
    let over = world.tell(Event::HangUp { call });
    assert_eq!((one_way(&over, leg), one_way(&over, CITIZEN)), (Some(false), Some(false)));
}
