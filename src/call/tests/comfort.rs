//! What those who wait hear between the music.

use super::*;
use crate::acd::Expected;
use crate::call::Phrases;
use crate::call::event::Comfort;

const TIP: PromptId = PromptId(40);
const OFFER_TO_CALL: PromptId = PromptId(41);
/// Of `place-next` among the phrases, which are numbered from 100.
const NEXT: PromptId = PromptId(113);

fn waiting(place: bool, wait: bool) -> (World, CallId) {
    let mut settings = (*settings()).clone();
    let every = Duration::from_secs(20);
    settings.sites[0].queues[0].comfort = Some(Comfort { every, prompts: vec![TIP, OFFER_TO_CALL], place, wait });
    let count = std::cell::Cell::new(100);
    settings.phrases = Phrases::find(|_| Some(PromptId(count.replace(count.get() + 1)))).ok();
    let mut world = World::new();
    world.tell(Event::Configure(Arc::new(settings)));
    let call = views(&world.incoming(CITIZEN, "12345", Some(OFFER)))[0].call;
    world.sip(Notice::Acknowledged { leg: CITIZEN, sdp: None });
    world.tell(Event::Media(Heard::Played { leg: CITIZEN, play: 1 }));
    (world, call)
}

/// The prompts of each play, and whether it goes on for ever.
fn plays(out: &[Command]) -> Vec<(Vec<PromptId>, bool)> {
    let play = |it: &Command| match it {
        Command::Media(Media::Play { prompts, repeat, .. }) => Some((prompts.clone(), *repeat)),
        _ => None,
    };
    out.iter().filter_map(play).collect()
}

fn asks(out: &[Command]) -> bool {
    acd(out).into_iter().any(|event| matches!(event, ToAcd::Where { .. }))
}

#[test]
fn one_prompt_after_another_with_music_between() {
    let (mut world, _) = waiting(false, false);
    for expected in [TIP, OFFER_TO_CALL, TIP] {
        assert_eq!(plays(&world.pass(Duration::from_secs(19))), []);
        let out = world.pass(Duration::from_secs(1));
        assert!(!asks(&out), "nothing is asked that is not said");
        assert_eq!(plays(&out), [(vec![expected], false)]);
        let play = out.iter().find_map(|it| match it {
            Command::Media(Media::Play { play, .. }) => Some(*play),
            _ => None,
        });
        let play = play.expect("it was played");
        let out = world.tell(Event::Media(Heard::Played { leg: CITIZEN, play }));
        assert_eq!(plays(&out), [(vec![MUSIC], true)]);
    }
}

#[test]
fn place_and_wait_are_what_the_queue_says_at_that_moment() {
    let (mut world, call) = waiting(true, true);
    let out = world.pass(Duration::from_secs(20));
    assert!(asks(&out) && plays(&out).is_empty(), "{out:?}");
    let [from, middle, until] = [10, 30, 59].map(Duration::from_secs);
    let expected = Some(Expected { from, middle, until });
    let out = world.tell(Event::Acd(Acd::Stands { call, ahead: 0, expected }));
    assert_eq!(plays(&out), [(vec![NEXT, PromptId(119), TIP], false)]);
    world.pass(Duration::from_secs(20));
    let out = world.tell(Event::Acd(Acd::Stands { call, ahead: 3, expected: None }));
    let counted = [PromptId(114), PromptId(103), PromptId(115), OFFER_TO_CALL];
    assert_eq!(plays(&out), [(counted.to_vec(), false)], "too little known is not said");
}

#[test]
fn nobody_is_consoled_whose_agent_is_rung_or_who_is_gone() {
    let (mut world, call) = waiting(true, false);
    world.pass(Duration::from_secs(20));
    let ring_until = world.now.mono + Duration::from_secs(60);
    world.tell(Event::Acd(Acd::Offer { call, lease: LEASE, ring_until }));
    let late = world.tell(Event::Acd(Acd::Stands { call, ahead: 1, expected: None }));
    assert_eq!(plays(&late), []);
    assert_eq!(plays(&world.pass(Duration::from_secs(30))), [], "while a phone rings");
    world.tell(Event::Acd(Acd::Revoke { call, lease: LEASE }));
    assert!(!asks(&world.pass(Duration::from_millis(10))), "not at once when back in the line");
    world.sip(Notice::Ended { leg: CITIZEN, why: Ending::Bye { q850: None } });
    assert_eq!(plays(&world.pass(Duration::from_secs(60))), []);
}
