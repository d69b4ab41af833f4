//! The question after a talk: who hears it, what counts, and that whatever fails in it only ends it.

use super::transfer::House;
use super::*;
use crate::base::fact::{Satisfaction, TransferMode};
use std::collections::BTreeMap;

const FLOW: &str = "start = \"ask\"\nend = \"thanks\"\n[menu.ask]\nprompts = [\"ask\"]\nretries = 1\n\
                    choices = { 1 = \"thanks\", 2 = \"thanks\", 3 = \"thanks\", 4 = \"thanks\", 5 = \"thanks\" }\n\
                    [hang_up.thanks]\nprompts = [\"thanks\"]\n";
const ASK: PromptId = PromptId(20);
const THANKS: PromptId = PromptId(21);

/// A citizen and an agent talk, in a queue that asks afterwards.
fn house() -> House {
    let mut house = House::new();
    house.settings = asking(&house.settings);
    house.tell(Event::Configure(house.settings.clone()));
    house
}

/// As these, with a queue that asks afterwards.
pub(super) fn asking(settings: &Settings) -> Arc<Settings> {
    let draft: Draft = toml::from_str(FLOW).unwrap();
    let prompt = |name: &str| Some(if name == "ask" { ASK } else { THANKS });
    let names = crate::ivr::draft::Names { prompt: &prompt, queue: &|_| None };
    let flow = Arc::new(draft.compile("satisfaction", names).unwrap());
    let mut settings = settings.clone();
    settings.sites[0].queues[0].after = Some(flow);
    Arc::new(settings)
}

/// What the citizen is played, and the number of that play.
fn heard(told: &[Command]) -> (Vec<PromptId>, u32) {
    let mut plays = media(told).into_iter().filter_map(|action| match action {
        Media::Play { leg: CITIZEN, play, prompts, .. } => Some((prompts.clone(), *play)),
        _ => None,
    });
    plays.next_back().expect("the citizen is played something")
}

impl House {
    fn played(&mut self, play: u32) -> Vec<Command> {
        self.tell(Event::Media(Heard::Played { leg: CITIZEN, play }))
    }

    fn given(&self) -> Satisfaction {
        self.record.as_ref().and_then(|record| record.satisfaction.clone()).expect("the question stands in the record")
    }
}

#[test]
fn the_first_key_is_the_answer_and_the_agent_is_free_before_it() {
    let mut house = house();
    let agent = house.agent;
    let left = house.bye(agent);
    assert!(acd(&left).iter().any(|it| matches!(it, ToAcd::Ended { .. })), "the agent wraps up: {left:?}");
    assert_eq!((house.calls.letter(), heard(&left).0), ('Q', vec![ASK]));
    assert_eq!((house.given().agent.as_deref(), house.given().target), (Some("1001"), None));
    let (prompts, play) = heard(&house.sip(Notice::Digit { leg: CITIZEN, digit: b'4' }));
    assert_eq!((prompts, house.given().score), (vec![THANKS], Some(4)));
    // A second key changes nothing.
    house.sip(Notice::Digit { leg: CITIZEN, digit: b'1' });
    let over = house.played(play);
    assert_eq!(ended(&over), (Stage::Talking, EndedBy::Flow, 200));
    assert!(house.given().asked <= house.given().answered.unwrap());
    assert_eq!((house.given().score, house.ears.open.len()), (Some(4), 0));
}

#[test]
fn silence_and_wrong_keys_are_asked_once_more_and_thanked() {
    for wrong in [None, Some(b'9'), Some(b'0')] {
        let mut house = house();
        let left = house.bye(house.agent);
        let mut play = heard(&left).1;
        for prompts in [vec![ASK], vec![THANKS]] {
            let told = match wrong {
                Some(digit) => house.sip(Notice::Digit { leg: CITIZEN, digit }),
                None => {
                    house.played(play);
                    house.pass(Duration::from_secs(6))
                }
            };
            let (heard, next) = heard(&told);
            assert_eq!(heard, prompts, "{wrong:?}");
            play = next;
        }
        assert_eq!(ended(&house.played(play)).1, EndedBy::Flow);
        assert_eq!(house.given().score, None);
    }
}

#[test]
fn a_citizen_who_goes_ends_it_and_a_lost_agent_or_an_old_queue_asks_nothing() {
    let mut asked = house();
    asked.bye(asked.agent);
    assert_eq!(ended(&asked.bye(CITIZEN)), (Stage::Talking, EndedBy::Caller, 200));
    assert_eq!(asked.given().score, None);
    let mut lost = house();
    let leg = lost.agent;
    lost.sip(Notice::Ended { leg, why: Ending::Lost });
    assert_eq!(lost.calls.letter(), 'W');
    let mut plain = House::new();
    assert_eq!(ended(&plain.bye(plain.agent)).1, EndedBy::Agent);
    assert_eq!(plain.record.unwrap().satisfaction, None);
}

#[test]
fn a_target_who_hangs_up_leaves_the_question_and_is_named_in_it() {
    let mut house = house();
    house.start("water", TransferMode::Conference).unwrap();
    house.far_answers();
    house.bye(house.agent);
    assert_eq!(house.calls.letter(), 'X');
    house.bye(house.far());
    assert_eq!((house.calls.letter(), house.used()), ('Q', 0));
    house.sip(Notice::Digit { leg: CITIZEN, digit: b'5' });
    let given = house.given();
    assert_eq!((given.agent.as_deref(), given.target.as_deref(), given.score), (Some("1001"), Some("water"), Some(5)));
}

#[test]
fn the_question_outlives_a_crash() {
    for lost_media in [true, false] {
        let mut house = house();
        house.bye(house.agent);
        let kept = Snapshot::read(&house.calls.snapshot().write(), KIND, VERSION).unwrap();
        let marks = BTreeMap::new();
        let (mut out, now, mint) = (Vec::new(), house.now, Mint::new(1, [3, 4]));
        let settings = house.settings.clone();
        let lost = lost_media.then_some(&marks);
        house.calls = Calls::restore(kept, (ShardId(0), mint), settings, now, (|_| true, lost), &mut out);
        let told = house.settle(out);
        assert_eq!(house.calls.letter(), 'Q');
        assert!(!lost_media || heard(&told).0 == [ASK], "{told:?}");
        house.sip(Notice::Digit { leg: CITIZEN, digit: b'2' });
        assert_eq!(house.given().score, Some(2));
    }
}
