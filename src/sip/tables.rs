//! Every state × every event, for a leg with its dialog and for the bindings of a user: it moves, or it stays for a reason.
//!
//! A state or an action that nobody thought of here does not compile.

use super::event::{Action, Binding, Bindings, Command, Destination, Event, Flow, Invite};
use super::leg::{Reoffer, State};
use super::register::{Asked, Bounds, Change, Registrar};
use super::ua::Ua;
use super::wire;
use crate::base::{LegId, Mint, Mono, Now, ShardId, Wall};
use bytes::Bytes;
use core::time::Duration;
use std::sync::Arc;

/// Offered, Answered, Established, asKed by a re-INVITE of theirs, its 2xx Pending its ACK, a re-INVITE of ours under way
/// (Q), BYE sent, Calling, Given up.
const STATES: &str = "OAEKPQBCG";
const PEER: &str = "10.0.0.2:5060";

enum Input {
    Do(fn(LegId) -> Action),
    Heard(fn(&Bench) -> String),
}
use Input::{Do, Heard};

fn respond(leg: LegId, status: u16) -> Action {
    let sdp = (status == 200).then(|| Bytes::from_static(b"v=0"));
    Action::Respond { leg, status, sdp, q850: None, retry_after_s: None }
}

/// One row an event; `.`: the state stays, `-`: the leg is gone. Why a state may stay:
/// - a request that is out of order, of another dialog or of a method we do not speak is refused and changes nothing;
/// - REFER, INFO, PRACK and UPDATE do their work beside the session and leave it as it is;
/// - one INVITE at a time: a second is refused, and ours waits for its turn; but one of theirs proves that our 2xx came;
/// - an answer is taken only where there is a question; BYE waits for the ACK (§15), so `HangUp` is remembered in `A`;
/// - after our BYE only its answer ends the leg, however the two cross; a leg that is being called has no dialog yet.
#[rustfmt::skip]
const TABLE: [(&str, Input, &str); 29] = [
    ("ACK",                   Heard(|bench| bench.inside("ACK", bench.invite, 'a')),        ".E..E...."),
    ("BYE",                   Heard(|bench| bench.inside("BYE", 90, 'b')),                  "------..."),
    ("BYE out of order",      Heard(|bench| bench.inside("BYE", 0, 'c')),                   "........."),
    ("BYE of another dialog", Heard(|bench| bench.inside("BYE", 90, 'd').replace("tag=theirs", "tag=other")), "........."),
    ("re-INVITE",             Heard(|bench| bench.inside("INVITE", 91, 'e')),               ".KK.K...."),
    ("CANCEL",                Heard(Bench::cancel),                                         "-..E....."),
    ("OPTIONS",               Heard(|bench| bench.inside("OPTIONS", 92, 'f')),              "........."),
    ("UPDATE",                Heard(|bench| bench.inside("UPDATE", 92, 'g')),               "........."),
    ("PRACK",                 Heard(|bench| bench.inside("PRACK", 93, 'h')),                "........."),
    ("INFO",                  Heard(|bench| bench.inside("INFO", 93, 'i')),                 "........."),
    ("REFER",                 Heard(|bench| bench.inside("REFER", 93, 'j')),                "........."),
    ("180 to ours",           Heard(|bench| bench.response(180)),                           "........."),
    ("200 to ours",           Heard(|bench| bench.response(200)),                           ".....E-E-"),
    ("486 to ours",           Heard(|bench| bench.response(486)),                           ".....E---"),
    ("491 to ours",           Heard(|bench| bench.response(491)),                           ".....E---"),
    ("481 to ours",           Heard(|bench| bench.response(481)),                           ".....B---"),
    ("ring back",             Do(|leg| respond(leg, 180)),                                  "........."),
    ("answer",                Do(|leg| respond(leg, 200)),                                  "A........"),
    ("refuse",                Do(|leg| respond(leg, 486)),                                  "-........"),
    ("refuse in words",       Do(|leg| Action::Refuse { leg, status: 403, q850: 21, why: "no".into() }), "-........"),
    ("re-offer",              Do(|leg| Action::Reinvite { leg, sdp: Bytes::from_static(b"v=0") }), "..Q......"),
    ("ask whether it stands", Do(|leg| Action::Probe { leg, sdp: Bytes::from_static(b"v=0") }), "..Q......"),
    ("answer a re-offer",     Do(|leg| Action::AnswerReoffer { leg, answer: Ok(Bytes::from_static(b"v=0")) }), "...P....."),
    ("refuse a re-offer",     Do(|leg| Action::AnswerReoffer { leg, answer: Err(488) }),    "...E....."),
    ("answer a REFER",        Do(|leg| Action::AnswerRefer { leg, refer: 1, status: 603 }), "........."),
    ("refuse a REFER in words", Do(|leg| Action::RefuseRefer { leg, refer: 1, status: 403, why: "no".into() }), "........."),
    ("progress of a REFER",   Do(|leg| Action::ReferProgress { leg, refer: 1, status: 200 }), "........."),
    ("hang up",               Do(|leg| Action::HangUp { leg, q850: 16 }),                   "-.BBBB.G."),
    ("taken elsewhere",       Do(|leg| Action::TakenElsewhere { leg }),                     "-.BBBB.G."),
];

/// What every action of a call is called above; `invite` begins a leg and has no state before it.
fn rows(action: &Action) -> &'static [&'static str] {
    match action {
        Action::Respond { .. } => &["ring back", "answer", "refuse"],
        Action::Refuse { .. } => &["refuse in words"],
        Action::Invite(_) => &[],
        // It concerns no leg.
        Action::Ask(_) => &[],
        Action::Reinvite { .. } => &["re-offer"],
        Action::Probe { .. } => &["ask whether it stands"],
        Action::AnswerReoffer { .. } => &["answer a re-offer", "refuse a re-offer"],
        Action::AnswerRefer { .. } => &["answer a REFER"],
        Action::RefuseRefer { .. } => &["refuse a REFER in words"],
        Action::ReferProgress { .. } => &["progress of a REFER"],
        Action::HangUp { .. } => &["hang up"],
        Action::TakenElsewhere { .. } => &["taken elsewhere"],
    }
}

struct Bench {
    ua: Ua,
    now: Now,
    leg: LegId,
    /// Our tag, once we have said it.
    tag: String,
    /// CSeq of their last INVITE.
    invite: u32,
    /// Our last INVITE or BYE.
    ours: String,
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

impl Bench {
    fn new() -> Bench {
        let seed = [3, 4];
        let ua = Ua::new(1, ShardId(0), Mint::new(1, seed), seed, Arc::new(wire::settings(0)));
        let now = Now { mono: Mono::from_ms(1_000), wall: Wall(1_000_000) };
        let leg = LegId::incoming(ShardId(0), 0);
        Bench { ua, now, leg, tag: "none".into(), invite: 1, ours: String::new() }
    }

    fn event(&mut self, event: Event) {
        let mut out = Vec::new();
        self.ua.handle(self.now, event, &mut out);
        self.take(out);
    }

    fn take(&mut self, out: Vec<Command>) {
        self.ua.check();
        for command in out {
            if let Command::Send { bytes, .. } = command {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                if text.starts_with("INVITE") || text.starts_with("BYE") {
                    self.ours = text;
                } else if let Some((_, tag)) =
                    header(&text, "To").split_once(";tag=").filter(|_| text.starts_with("SIP"))
                {
                    self.tag = tag.into();
                }
            }
        }
    }

    fn heard(&mut self, text: String) {
        let flow = Flow { listener: 0, connection: 0, peer: PEER.parse().unwrap() };
        self.event(Event::Received { flow, bytes: Bytes::from(text) });
    }

    fn ask(&mut self, action: Action) {
        self.event(Event::Do(action));
    }

    fn request(method: &str, cseq: u32, branch: char, to: &str) -> String {
        let body = if matches!(method, "INVITE") { "v=0" } else { "" };
        format!(
            "{method} sip:12345@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};rport;branch=z9hG4bK{branch}\r\n\
             From: <sip:gw@10.0.0.2>;tag=theirs\r\nTo: <sip:12345@10.0.0.1>{to}\r\nCall-ID: d\r\nCSeq: {cseq} {method}\r\n\
             Max-Forwards: 70\r\nContact: <sip:gw@{PEER}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn inside(&self, method: &str, cseq: u32, branch: char) -> String {
        Bench::request(method, cseq, branch, &format!(";tag={}", self.tag))
    }

    /// Of their last INVITE.
    fn cancel(&self) -> String {
        match self.invite {
            1 => Bench::request("CANCEL", 1, '1', ""),
            again => self.inside("CANCEL", again, '2'),
        }
    }

    /// To our last request, or to none of ours.
    fn response(&self, status: u16) -> String {
        let [via, from, call_id, cseq] = ["Via", "From", "Call-ID", "CSeq"].map(|name| header(&self.ours, name));
        let to = header(&self.ours, "To").split(';').next().unwrap_or_default();
        if self.ours.is_empty() {
            return format!(
                "SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKnone\r\nFrom: <sip:a@b>;tag=x\r\n\
                To: <sip:c@d>;tag=y\r\nCall-ID: none\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
            );
        }
        format!(
            "SIP/2.0 {status} X\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to};tag=theirs\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n\
             Contact: <sip:gw@{PEER}>\r\nContent-Type: application/sdp\r\nContent-Length: 3\r\n\r\nv=0"
        )
    }

    fn letter(&self) -> char {
        let Some(leg) = self.ua.legs.values().find(|leg| leg.id == self.leg) else { return '-' };
        match &leg.state {
            State::Offered { .. } => 'O',
            State::Answered { .. } => 'A',
            State::Calling(calling) if calling.given_up.is_some() => 'G',
            State::Calling(_) => 'C',
            State::Established { reoffer, .. } => match reoffer {
                Reoffer::Idle => 'E',
                Reoffer::Asked { .. } => 'K',
                Reoffer::Accepting { .. } => 'P',
                Reoffer::Asking { .. } => 'Q',
            },
            State::Ending { .. } => 'B',
        }
    }

    fn pass(&mut self, by: Duration) {
        let end = self.now.after(by);
        while let Some(next) = self.ua.next_deadline().filter(|next| *next <= end.mono) {
            self.now = self.now.after(next.since(self.now.mono));
            let mut out = Vec::new();
            self.ua.expire(self.now, &mut out);
            self.take(out);
        }
        self.now = end;
    }

    fn dial(&mut self) {
        self.leg = LegId::outgoing(ShardId(0), 1);
        let flow = Flow { listener: 0, connection: 0, peer: PEER.parse().unwrap() };
        let expires = self.now.wall + Duration::from_secs(1_000);
        let contacts = vec![Binding { uri: format!("sip:1001@{PEER}").into(), flow, expires, path: Vec::new() }];
        self.event(Event::Bindings(Bindings { user: "1001".into(), domain: "a.cn".into(), contacts }));
        self.ask(Action::Invite(Box::new(Invite {
            leg: self.leg,
            to: Destination::User { user: "1001".into(), domain: "a.cn".into() },
            caller: "".into(),
            caller_name: "".into(),
            sdp: Bytes::from_static(b"v=0"),
            headers: Vec::new(),
            ring_max: Duration::from_secs(20),
        })));
        self.heard(self.response(180));
    }
}

/// A leg in this state.
fn reach(state: char) -> Bench {
    let mut bench = Bench::new();
    let leg = bench.leg;
    if "CG".contains(state) {
        bench.dial();
        if state == 'G' {
            bench.ask(Action::HangUp { leg: bench.leg, q850: 16 });
        }
    } else {
        bench.heard(Bench::request("INVITE", 1, '1', ""));
        // With this they learn our tag.
        bench.ask(respond(leg, 180));
        if state != 'O' {
            bench.ask(respond(leg, 200));
        }
        if !"OA".contains(state) {
            bench.heard(bench.inside("ACK", 1, 'a'));
        }
        if "KP".contains(state) {
            bench.invite = 2;
            bench.heard(bench.inside("INVITE", 2, '2'));
        }
        match state {
            'P' => bench.ask(Action::AnswerReoffer { leg, answer: Ok(Bytes::from_static(b"v=0")) }),
            'Q' => bench.ask(Action::Reinvite { leg, sdp: Bytes::from_static(b"v=0") }),
            'B' => bench.ask(Action::HangUp { leg, q850: 16 }),
            _ => {}
        }
    }
    assert_eq!(bench.letter(), state);
    bench
}

#[test]
fn every_leg_moves_or_stays_as_the_table_says() {
    let mut wrong = Vec::new();
    for (name, input, row) in TABLE {
        for (state, expected) in STATES.chars().zip(row.chars()) {
            let mut bench = reach(state);
            match input {
                Do(action) => {
                    let action = action(bench.leg);
                    assert!(rows(&action).contains(&name), "{name} is the row of {action:?}");
                    bench.ask(action);
                }
                Heard(text) => {
                    let text = text(&bench);
                    bench.heard(text);
                }
            }
            let expected = if expected == '.' { state } else { expected };
            if bench.letter() != expected {
                wrong.push(format!("{name} in {state}: {} and not {expected}", bench.letter()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Every state has a deadline that moves it on; an established session has its timer (RFC 4028), and here nobody answers.
#[test]
fn every_leg_ends_by_itself() {
    let deadlines = [
        ('O', 601, '-'),
        ('A', 33, 'B'),
        ('E', 100_000, '-'),
        ('K', 33, 'E'),
        ('P', 33, 'B'),
        ('Q', 33, 'B'),
        ('B', 33, '-'),
        ('C', 21, 'G'),
        ('G', 33, '-'),
    ];
    assert!(deadlines.iter().map(|(state, ..)| *state).eq(STATES.chars()), "every state has its line");
    for (state, seconds, expected) in deadlines {
        let mut bench = reach(state);
        bench.pass(Duration::from_secs(seconds));
        assert_eq!(bench.letter(), expected, "{state} after {seconds} s");
    }
}

const DESK: &str = "sip:1001@10.0.1.1";
const MOBILE: &str = "sip:1001@10.0.1.2";
const NOW: Now = Now { mono: Mono::from_ms(1_000_000), wall: Wall(1_000_000_000) };

/// A registrar whose user is Nobody yet, Bound once, bound Twice, a Copy of another shard's, or eXpired but not looked at.
fn registrar(state: char) -> (Registrar, u32) {
    let mut registrar = Registrar::new([1, 2]);
    let before = Now { mono: NOW.mono - Duration::from_secs(100), wall: Wall(NOW.wall.0 - 100_000) };
    let (at, contacts): (Now, &[(&str, Option<u32>)]) = match state {
        'N' => (NOW, &[]),
        'B' => (NOW, &[(DESK, Some(60))]),
        'T' => (NOW, &[(DESK, Some(60)), (MOBILE, Some(60))]),
        'X' => (before, &[(DESK, Some(60))]),
        'C' => {
            let record = registrar.replicate(NOW, bindings(true));
            return (registrar, record);
        }
        other => panic!("no state {other}"),
    };
    let record = register(&mut registrar, at, 5, Change::Contacts(contacts)).unwrap();
    (registrar, record)
}

fn bindings(some: bool) -> Bindings {
    let flow = Flow { listener: 0, connection: 0, peer: PEER.parse().unwrap() };
    let contact = Binding { uri: DESK.into(), flow, expires: NOW.wall + Duration::from_secs(60), path: Vec::new() };
    Bindings { user: "1001".into(), domain: "a.cn".into(), contacts: some.then_some(contact).into_iter().collect() }
}

fn register(registrar: &mut Registrar, now: Now, cseq: u32, change: Change) -> Result<u32, u16> {
    let flow = Flow { listener: 0, connection: 0, peer: PEER.parse().unwrap() };
    let asked = Asked { call_id: "r", cseq, change, flow, path: &[] };
    let bounds = Bounds { expires_s: (30, 600), contacts_max: 2 };
    registrar.register(now, "1001", "a.cn", &asked, &bounds).map_err(|error| match error {
        super::register::RegisterError::TooBrief => 423,
        super::register::RegisterError::TooMany => 403,
        super::register::RegisterError::OutOfOrder => 500,
        super::register::RegisterError::BadContact => 400,
    })
}

/// Contacts left after each event in `NBTCX`, or the status that refused it. A refusal changes nothing.
/// `told` is whether the others must be told by [`Registrar::expire`]: only of one's own users, only of a loss.
#[test]
fn every_binding_meets_every_event() {
    let newer =
        |uri, expires| move |it: &mut Registrar| register(it, NOW, 6, Change::Contacts(&[(uri, expires)])).err();
    type Act = Box<dyn Fn(&mut Registrar) -> Option<u16>>;
    let rows: [(&str, Act, [u16; 5]); 12] = [
        ("refresh", Box::new(newer(DESK, Some(60))), [1, 1, 2, 1, 1]),
        ("another phone", Box::new(newer(MOBILE, Some(60))), [1, 2, 2, 2, 1]),
        ("a third phone", Box::new(newer("sip:1001@10.0.1.3", None)), [1, 2, 403, 2, 1]),
        ("unregister", Box::new(newer(DESK, Some(0))), [0, 0, 1, 0, 0]),
        ("too brief", Box::new(newer(DESK, Some(10))), [423, 423, 423, 423, 423]),
        ("no address", Box::new(newer("mailto:a@b", Some(60))), [400, 400, 400, 400, 400]),
        (
            "out of order",
            Box::new(|it| register(it, NOW, 5, Change::Contacts(&[(DESK, Some(60))])).err()),
            [1, 500, 500, 1, 1],
        ),
        ("unregister all", Box::new(|it| register(it, NOW, 6, Change::RemoveAll).err()), [0, 0, 0, 0, 0]),
        ("all, out of order", Box::new(|it| register(it, NOW, 5, Change::RemoveAll).err()), [0, 500, 500, 0, 0]),
        ("a question", Box::new(|it| register(it, NOW, 5, Change::None).err()), [0, 1, 2, 1, 0]),
        (
            "another shard's word",
            Box::new(|it| {
                it.replicate(NOW, bindings(true));
                None
            }),
            [1, 1, 1, 1, 1],
        ),
        (
            "another shard's loss",
            Box::new(|it| {
                it.replicate(NOW, bindings(false));
                None
            }),
            [0, 0, 0, 0, 0],
        ),
    ];
    for (name, act, row) in &rows {
        for (state, expected) in "NBTCX".chars().zip(row) {
            let (mut registrar, record) = registrar(state);
            let before = registrar.bindings(record);
            match act(&mut registrar) {
                Some(status) => {
                    assert_eq!((status, registrar.bindings(record)), (*expected, before), "{name} in {state}");
                }
                None => {
                    let left = registrar.contacts(record, NOW).count();
                    assert_eq!(left, usize::from(*expected), "{name} in {state}");
                }
            }
        }
    }
}

/// What runs out is told of once, and only by the shard that answers for it.
#[test]
fn a_binding_that_runs_out_is_told_of_by_its_owner() {
    let later = Now { mono: NOW.mono + Duration::from_secs(61), wall: NOW.wall + Duration::from_secs(61) };
    for (state, told) in [('N', false), ('B', true), ('T', true), ('C', false), ('X', true)] {
        let (mut registrar, record) = registrar(state);
        let outcomes = [registrar.expire(later, record), registrar.expire(later, record)];
        assert_eq!((outcomes, registrar.len()), ([told, false], 0), "{state}");
    }
    let (mut copy, record) = registrar('C');
    copy.own(record);
    assert!(copy.expire(later, record), "who takes over answers for it");
}
