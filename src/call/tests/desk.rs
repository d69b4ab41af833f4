//! Phone keys: what is asked for and when, what the phone hears, and every state × everything that can happen to it.

use super::super::calls::Calls;
use super::super::desk::{Key, Keys, Said, Voice};
use super::super::event::{AgentIdentity, Command, Event, Settings, SiteSettings};
use crate::acd::event::Event as ToAcd;
use crate::base::{AgentId, CallId, LegId, Mint, Mono, Now, PromptId, ShardId, SiteId, Wall};
use crate::media::event::{Action as Media, Counters, Notice as Heard};
use crate::sip::event::{About, Action as Sip, Ending, Flow, Incoming, Notice, Source};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

const PHONE: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";
const VIDEO: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=video 4000 RTP/AVP 99\r\n";
const LEG: LegId = LegId::incoming(ShardId(0), 1);

struct House {
    calls: Calls,
    now: Now,
}

fn settings() -> Settings {
    let keys = [
        ("*11", Key::Ready),
        ("*12", Key::NotReady { reason: "".into() }),
        ("*13", Key::NotReady { reason: "lunch".into() }),
        ("*10", Key::LogOff),
        ("*19", Key::LogIn),
    ];
    let by_key = keys.into_iter().map(|(dialled, key)| (dialled.into(), key)).collect();
    let mut prompts = (1..).map(PromptId);
    let keys = Some(Keys { by_key, voice: Voice::find(true, |_| prompts.next()).unwrap() });
    let (code, domain, area_code) = ("fuzhou".into(), "fuzhou.example".into(), "591".into());
    let site = SiteSettings {
        code,
        domain,
        area_code,
        queues: Vec::new(),
        pauses: Vec::new(),
        keys,
        seats: ["S1".into()].into(),
    };
    let agent = AgentIdentity { site: SiteId(0), name: "1001".into(), phone: "1001".into(), team: "".into() };
    Settings { sites: vec![site], agents: vec![None, Some(agent)], calls_max: 1, ..Settings::default() }
}

impl House {
    fn new() -> House {
        let calls = Calls::new(ShardId(0), Mint::new(0, [1, 2]), Arc::new(settings()));
        House { calls, now: Now { mono: Mono::from_ms(1_000), wall: Wall(1_000_000) } }
    }

    fn tell(&mut self, event: Event) -> Vec<Command> {
        self.now = self.now.after(Duration::from_millis(10));
        let mut out = Vec::new();
        self.calls.handle(self.now, event, &mut out);
        self.calls.check();
        out
    }

    fn pass(&mut self, by: Duration) -> Vec<Command> {
        self.now = self.now.after(by);
        let mut out = Vec::new();
        self.calls.expire(self.now, &mut out);
        self.calls.check();
        out
    }

    fn dials(&mut self, leg: LegId, (user, key): (&str, &str), sdp: Option<&'static [u8]>) -> Vec<Command> {
        self.tell(Event::Sip(Notice::Incoming(Box::new(Incoming {
            leg,
            source: Source::Phone { user: user.into(), domain: "fuzhou.example".into() },
            call_id: "key".into(),
            dialled: key.into(),
            caller: user.into(),
            caller_name: Bytes::new(),
            about: About::default(),
            sdp: sdp.map(Bytes::from_static),
            flow: Flow { listener: 0, connection: 0, peer: "192.0.2.9:5060".parse().unwrap() },
        }))))
    }

    fn port(&mut self) -> Vec<Command> {
        self.tell(Event::PortOpened { leg: LEG, local: "192.0.2.100:10000".parse().unwrap() })
    }

    fn acknowledged(&mut self, sdp: Option<&'static [u8]>) -> Vec<Command> {
        self.tell(Event::Sip(Notice::Acknowledged { leg: LEG, sdp: sdp.map(Bytes::from_static) }))
    }

    fn ends(&mut self, why: Ending) -> Vec<Command> {
        self.tell(Event::Sip(Notice::Ended { leg: LEG, why }))
    }

    fn sip_digit(&mut self, digit: u8) -> Vec<Command> {
        self.tell(Event::Sip(Notice::Digit { leg: LEG, digit }))
    }

    fn closed(&mut self) -> Vec<Command> {
        self.tell(Event::Media(Heard::Closed { leg: LEG, counters: Counters::default() }))
    }

    /// Up to this letter.
    fn up_to(letter: char) -> House {
        let mut house = House::new();
        let call = asked(&house.dials(LEG, ("1001", "*12"), Some(PHONE))).unwrap().0;
        house.tell(Event::DeskJudged { call, said: Said::NotReady });
        for reached in "OASE".chars().take_while(|it| *it != letter) {
            _ = match reached {
                'O' => house.port(),
                'A' => house.acknowledged(None),
                _ => house.tell(Event::Media(Heard::Played { leg: LEG, play: 1 })),
            };
        }
        assert_eq!(house.letter(), letter);
        house
    }

    fn letter(&self) -> char {
        self.calls.desks.letter()
    }
}

fn asked(out: &[Command]) -> Option<(CallId, Key)> {
    out.iter().find_map(|it| match it {
        Command::Desk { call, agent: AgentId(1), key, .. } => Some((*call, key.clone())),
        _ => None,
    })
}

fn own_call(out: &[Command]) -> Option<bool> {
    out.iter().find_map(|it| match it {
        Command::Acd { event: ToAcd::OwnCall { agent: AgentId(1), up, .. }, .. } => Some(*up),
        _ => None,
    })
}

fn status(out: &[Command]) -> Option<u16> {
    out.iter().find_map(|it| match it {
        Command::Sip(Sip::Respond { status, .. }) => Some(*status),
        _ => None,
    })
}

fn hung_up(out: &[Command]) -> bool {
    out.iter().any(|it| matches!(it, Command::Sip(Sip::HangUp { leg: LEG, .. })))
}

fn plays(out: &[Command]) -> Option<Vec<PromptId>> {
    out.iter().find_map(|it| match it {
        Command::Media(Media::Play { leg: LEG, prompts, repeat: false, .. }) => Some(prompts.clone()),
        _ => None,
    })
}

#[test]
fn a_key_asks_at_once_says_what_came_of_it_and_hangs_up() {
    for (key, said, prompt) in [
        ("*11", Said::Ready, 1),
        ("*12", Said::NotReady, 2),
        ("*13", Said::Paused, 3),
        ("*10", Said::LoggedOff, 4),
        ("*13", Said::PauseFull, 5),
        ("*11", Said::Refused, 6),
    ] {
        for late_offer in [false, true] {
            let mut house = House::new();
            let (offer, answer) = if late_offer { (None, Some(PHONE)) } else { (Some(PHONE), None) };
            let out = house.dials(LEG, ("1001", key), offer);
            let (call, wish) = asked(&out).unwrap();
            assert_eq!(wish, settings().sites[0].keys.as_ref().unwrap().by_key[key]);
            assert_eq!(own_call(&out), Some(true));
            let place = |what: fn(&Command) -> bool| out.iter().position(what).unwrap();
            let (wished, busy, port) = (
                place(|it| matches!(it, Command::Desk { .. })),
                place(|it| matches!(it, Command::Acd { .. })),
                place(|it| matches!(it, Command::OpenPort { .. })),
            );
            assert_eq!(busy < wished, key == "*11", "who will be ready is busy first");
            assert!(wished < port, "nothing can lose the wish");
            house.tell(Event::DeskJudged { call, said });
            assert_eq!(status(&house.port()), Some(200));
            assert_eq!(plays(&house.acknowledged(answer)), Some(vec![PromptId(prompt)]), "{said:?}");
            let out = house.tell(Event::Media(Heard::Played { leg: LEG, play: 1 }));
            assert!(hung_up(&out) && own_call(&out) == Some(false), "{out:?}");
            house.closed();
            house.ends(Ending::Ours);
            let counts = house.calls.counts();
            assert_eq!((counts.calls, counts.legs, counts.timers), (0, 0, 0));
        }
    }
}

#[test]
fn no_record_is_made_and_nobody_is_shown() {
    let mut house = House::new();
    let mut out = house.dials(LEG, ("1001", "*12"), Some(PHONE));
    out.extend(house.port());
    out.extend(house.acknowledged(None));
    out.extend(house.ends(Ending::Bye { q850: None }));
    out.extend(house.closed());
    let told = |it: &Command| matches!(it, Command::Fact { .. } | Command::Show(_) | Command::Callback(_));
    assert!(!out.iter().any(told), "{out:?}");
}

#[test]
fn what_befalls_the_call_does_not_lose_the_wish() {
    let mut house = House::new();
    assert!(asked(&house.dials(LEG, ("1001", "*10"), Some(PHONE))).is_some());
    let out = house.tell(Event::PortRefused { leg: LEG });
    assert_eq!((status(&out), own_call(&out)), (Some(503), Some(false)));
    let mut house = House::new();
    assert!(asked(&house.dials(LEG, ("1001", "*10"), Some(VIDEO))).is_some());
    let out = house.port();
    assert_eq!((status(&out), own_call(&out)), (Some(488), Some(false)));
    let mut house = House::new();
    assert!(asked(&house.dials(LEG, ("1001", "*10"), None)).is_some());
    house.port();
    assert!(hung_up(&house.acknowledged(Some(VIDEO))), "nothing can be spoken");
}

#[test]
fn a_key_of_nobody_or_none_is_refused_and_so_is_one_too_many() {
    let mut house = House::new();
    for who in [("1009", "*12"), ("1001", "*99"), ("1001", "*1")] {
        let out = house.dials(LEG, who, Some(PHONE));
        assert_eq!((status(&out), asked(&out)), (Some(404), None), "{who:?}");
    }
    let mut house = House::up_to('S');
    let out = house.dials(LegId::incoming(ShardId(0), 2), ("1001", "*10"), Some(PHONE));
    assert_eq!((status(&out), asked(&out)), (Some(503), None), "calls_max is 1");
    let mut house = House::new();
    house.tell(Event::Drain { retry_after_s: 30 });
    let out = house.dials(LEG, ("1001", "*10"), Some(PHONE));
    assert!(matches!(&out[..], [Command::Sip(Sip::Respond { status: 503, retry_after_s: Some(30), .. })]), "{out:?}");
}

#[test]
fn a_new_owner_of_the_queues_hears_whose_phone_is_in_use() {
    let mut house = House::up_to('S');
    let out = house.tell(Event::Resync { site: SiteId(0) });
    let own = out.iter().find_map(|it| match it {
        Command::Acd { event: ToAcd::Adopt { own, .. }, .. } => Some(own.clone()),
        _ => None,
    });
    assert_eq!(own.unwrap().iter().map(|(agent, _)| *agent).collect::<Vec<_>>(), [AgentId(1)]);
}

#[test]
fn a_step_that_breaks_ends_it() {
    for letter in "OASE".chars() {
        let mut house = House::up_to(letter);
        let mut out = Vec::new();
        house.calls.in_hand = Some(LEG);
        house.calls.give_up(house.now, &mut out);
        house.calls.check();
        assert_eq!(own_call(&out), (letter != 'E').then_some(false), "{letter}");
        house.closed();
        assert_eq!(house.calls.counts().live, 0);
    }
}

/// Keys as they are pressed on the seat's phone.
fn types(house: &mut House, keys: &str) -> Vec<Command> {
    keys.bytes().flat_map(|digit| house.tell(Event::Media(Heard::Digit { leg: LEG, digit }))).collect()
}

fn claimed(out: &[Command]) -> Option<(CallId, (&str, &str, &str))> {
    out.iter().find_map(|it| match it {
        Command::LogIn { call, site: SiteId(0), claim } => {
            Some((*call, (&*claim.seat, &*claim.agent, claim.pin.digits())))
        }
        _ => None,
    })
}

/// The seat's phone is asked for a number.
fn at_the_seat() -> House {
    let mut house = House::new();
    let out = house.dials(LEG, ("S1", "*19"), Some(PHONE));
    assert!(asked(&out).is_none() && own_call(&out).is_none(), "nobody's phone is in use: {out:?}");
    house.port();
    assert_eq!(plays(&house.acknowledged(None)), Some(vec![PromptId(7)]));
    house
}

#[test]
fn whoever_sits_down_types_number_and_pin_and_hears_what_came_of_it() {
    for (said, heard) in [(Said::LoggedIn, 10), (Said::Occupied, 11), (Said::Refused, 6)] {
        let mut house = at_the_seat();
        let out = types(&mut house, "99*1001#");
        assert!(matches!(out[0], Command::Media(Media::Stop { leg: LEG })), "a key ends the prompt");
        assert_eq!(plays(&out), Some(vec![PromptId(8)]), "the PIN is asked for");
        let out = types(&mut house, "2468#");
        let (call, claim) = claimed(&out).unwrap();
        assert_eq!(claim, ("S1", "1001", "2468"));
        assert!(!format!("{out:?}").contains("2468"), "no PIN in a log");
        assert!(types(&mut house, "1#").is_empty(), "it is being judged");
        assert_eq!(plays(&house.tell(Event::DeskJudged { call, said })), Some(vec![PromptId(heard)]));
        house.tell(Event::Media(Heard::Played { leg: LEG, play: 1 }));
        assert_eq!(house.letter(), 'S', "that was another prompt");
        assert!(hung_up(&house.tell(Event::Media(Heard::Played { leg: LEG, play: 3 }))));
    }
}

#[test]
fn three_may_be_wrong_and_no_more() {
    let mut house = at_the_seat();
    for tried in 1..=3 {
        let (call, _) = claimed(&types(&mut house, "1001#1111#")).unwrap();
        let out = house.tell(Event::DeskJudged { call, said: Said::Wrong });
        let again = vec![PromptId(9), PromptId(7)];
        assert_eq!(plays(&out), Some(if tried < 3 { again } else { vec![PromptId(9)] }), "{tried}");
    }
    assert_eq!((house.letter(), claimed(&types(&mut house, "1001#2468#"))), ('S', None));
}

#[test]
fn who_types_no_more_and_who_is_never_judged_are_hung_up() {
    let mut house = at_the_seat();
    types(&mut house, "10");
    house.pass(Duration::from_secs(19));
    types(&mut house, "0");
    house.pass(Duration::from_secs(19));
    assert_eq!(house.letter(), 'K', "each key gives time for the next");
    assert!(hung_up(&house.pass(Duration::from_secs(2))));
    let mut house = at_the_seat();
    types(&mut house, "1001#2468#");
    assert_eq!(plays(&house.pass(Duration::from_secs(16))), Some(vec![PromptId(6)]));
    assert!(hung_up(&house.pass(Duration::from_secs(16))));
}

#[test]
fn only_a_seats_phone_logs_in_and_what_is_typed_is_bounded() {
    let mut house = House::new();
    assert_eq!(status(&house.dials(LEG, ("1001", "*19"), Some(PHONE))), Some(404));
    let mut house = at_the_seat();
    types(&mut house, "1");
    assert!(house.sip_digit(b'#').is_empty(), "a phone that tells each key twice is heard once");
    let mut house = at_the_seat();
    let long = "7".repeat(1_000);
    let out = types(&mut house, &format!("{long}#{long}#"));
    let (_, (_, agent, pin)) = claimed(&out).unwrap();
    assert_eq!((agent.len(), pin.len()), (32, 32));
}

/// Every state × everything that can happen to it.
#[test]
fn the_whole_table() {
    type Happens = fn(&mut House) -> Vec<Command>;
    let happens: [(&str, Happens); 11] = [
        ("port", House::port),
        ("no port", |house| house.tell(Event::PortRefused { leg: LEG })),
        ("ACK", |house| house.acknowledged(None)),
        ("played", |house| house.tell(Event::Media(Heard::Played { leg: LEG, play: 1 }))),
        ("BYE", |house| house.ends(Ending::Bye { q850: None })),
        ("CANCEL", |house| house.ends(Ending::Cancel)),
        ("no ACK", |house| house.ends(Ending::NoAck)),
        ("re-INVITE", |house| house.tell(Event::Sip(Notice::Reoffered { leg: LEG, sdp: Some(PHONE.into()) }))),
        ("port lost", House::closed),
        ("5 s", |house| house.pass(Duration::from_secs(5))),
        ("36 s", |house| house.pass(Duration::from_secs(36))),
    ];
    let rest = [('K', "KEKKEEEKEKE"), ('C', "CECCEEECECS")];
    let at = |state| match state {
        'K' => at_the_seat(),
        'C' => {
            let mut house = at_the_seat();
            types(&mut house, "1001#2468#");
            house
        }
        letter => House::up_to(letter),
    };
    for (state, expected) in
        [('O', "AEOOEEEOEEE"), ('A', "AESAEEEAEAE"), ('S', "SESEEEESESE"), ('E', "EEEEEEEEEEE")].into_iter().chain(rest)
    {
        for ((what, happens), expected) in happens.iter().zip(expected.chars()) {
            let mut house = at(state);
            happens(&mut house);
            // Once the leg has run out it is forgotten, which is an end like any other.
            let after = if house.letter() == '-' { 'E' } else { house.letter() };
            assert_eq!(after, expected, "{state} after {what}");
        }
    }
}
