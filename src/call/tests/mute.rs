//! A target that has answered and of which nothing comes: the agent is told, and has the citizen back until something does.

use super::transfer::House;
use super::*;
use crate::call::event::CallView;
use crate::call::transfer::{Ask, Phase};
use std::collections::BTreeMap;

impl House {
    fn mute(&mut self, mute: bool) -> Vec<Command> {
        let leg = self.far();
        self.tell(Event::Media(if mute { Heard::Mute { leg } } else { Heard::Sounds { leg } }))
    }
}

/// Whether the agent is told that the target is mute.
fn told(out: &[Command]) -> Option<bool> {
    let shown: Vec<&CallView> = views(out);
    shown.last().and_then(|view| view.transfer.as_ref()).map(|transfer| transfer.mute)
}

#[test]
fn an_agent_who_consults_with_a_mute_target_has_the_citizen_back_until_it_sounds() {
    let mut house = House::up_to('C', "water");
    let (agent, far) = (house.agent, house.far());
    assert_eq!((house.ears.with(agent), house.ears.with(CITIZEN)), (vec![far], vec![]));
    let mute = house.mute(true);
    assert_eq!((told(&mute), house.ears.with(CITIZEN)), (Some(true), vec![agent, far]));
    assert_eq!((house.ears.with(far), house.letter()), (vec![CITIZEN, agent], 'C'));
    let first = house.last().mute.expect("the record knows it");
    let sounds = house.mute(false);
    assert_eq!((told(&sounds), house.ears.with(CITIZEN), house.ears.with(agent)), (Some(false), vec![], vec![far]));
    assert!(house.ears.plays.contains(&CITIZEN), "music again");
    house.mute(true);
    assert_eq!(house.last().mute, Some(first), "the first time is kept");
    house.ask(Ask::Cancel).unwrap();
    assert_eq!((house.letter(), house.ears.with(CITIZEN)), ('T', vec![agent]));
}

#[test]
fn one_that_sent_nothing_before_its_answer_counts_from_the_answer() {
    let mut house = House::up_to('s', "water");
    let leg = house.far();
    house.sip(Notice::Ringing { leg, sdp: Some(Bytes::from_static(super::transfer::FAR)) });
    assert_eq!(told(&house.mute(true)), None, "who rings need not sound");
    let answered = house.far_answers();
    assert_eq!((told(&answered), house.letter()), (Some(true), 'C'));
    assert_eq!(house.ears.with(CITIZEN), [house.agent, leg]);
    assert!(house.last().mute.is_some());
}

#[test]
fn an_agent_who_holds_leaves_the_citizen_with_music_though_the_target_is_mute() {
    let mut house = House::up_to('C', "water");
    let leg = house.agent;
    house.sip(Notice::Reoffered { leg, sdp: Some(Bytes::from_static(HOLDING)) });
    house.mute(true);
    assert!(house.ears.plays.contains(&CITIZEN));
    house.sip(Notice::Reoffered { leg, sdp: Some(Bytes::from_static(PHONE)) });
    assert_eq!(house.ears.with(CITIZEN), [leg, house.far()]);
}

#[test]
fn a_crash_keeps_that_it_is_mute_unless_its_media_begin_anew() {
    for lost_media in [false, true] {
        let mut house = House::up_to('C', "water");
        house.mute(true);
        let kept = Snapshot::read(&house.calls.snapshot().write(), KIND, VERSION).unwrap();
        let marks = BTreeMap::new();
        let (mut out, settings) = (Vec::new(), house.settings.clone());
        let lost = lost_media.then_some(&marks);
        house.trunks = crate::trunk::Trunks::new(settings.trunks.clone());
        house.calls =
            Calls::restore(kept, (ShardId(0), Mint::new(1, [3, 4])), settings, house.now, (|_| true, lost), &mut out);
        let out = house.settle(out);
        assert_eq!((told(&out), house.letter()), (Some(!lost_media), 'C'));
        let phase = views(&out).last().and_then(|view| view.transfer.as_ref()?.phase);
        assert_eq!(phase, Some(Phase::Consulting));
    }
}
