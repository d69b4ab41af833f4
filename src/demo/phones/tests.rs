//! Phones on virtual time at one end of the wire, the engine's user agent at the other: whole calls both ways.

use super::*;
use crate::base::Wall;
use crate::sip::event::{DomainSettings, Ending, Source};

const ENGINE: &str = "127.0.0.1:5060";
const PHONES: &str = "127.0.0.1:40000";
const DOMAIN: &str = "fz.cn";

struct Bench {
    engine: Ua,
    phones: Phones,
    now: Now,
    told: Vec<people::Event>,
    media: Vec<Media>,
    notices: Vec<Notice>,
    ports: bool,
}

fn bench() -> Bench {
    let (engine, local): (SocketAddr, SocketAddr) = (ENGINE.parse().unwrap(), PHONES.parse().unwrap());
    let credential = Credential::new("1101", DOMAIN, "secret");
    let sources = vec![(local.ip(), 32)];
    let carrier = TrunkSettings { name: "carrier".into(), sources, trusts_identity: true, ..TrunkSettings::default() };
    let sip = SipSettings {
        listeners: vec![ListenerSettings::udp(engine)],
        trunks: vec![carrier],
        domains: vec![DomainSettings { name: DOMAIN.into(), aliases: vec![] }],
        credentials: Arc::new(vec![credential.clone()]),
        expires_s: (60, 3_600),
        nonce_life: Duration::from_secs(300),
        ..SipSettings::default()
    };
    let now = Now { mono: Mono::from_ms(1_000), wall: Wall(1_000_000) };
    let numbers = vec![Dialled { number: "12345".into(), domain: DOMAIN.into() }];
    let settings = Settings { engine, local, agents: vec![credential], numbers };
    Bench {
        engine: Ua::new(0, ShardId(0), Mint::new(9, [1, 2]), [1, 2], Arc::new(sip)),
        phones: Phones::new(now.mono, settings, Voices::new(), [3, 4]),
        now,
        told: Vec::new(),
        media: Vec::new(),
        notices: Vec::new(),
        ports: true,
    }
}

impl Bench {
    /// Hands over everything until both are silent.
    fn settle(&mut self, mut from_phones: Vec<Command>) {
        let flow = Flow { listener: 0, connection: 0, peer: PHONES.parse().unwrap() };
        let mut to_engine = Vec::new();
        loop {
            for command in std::mem::take(&mut from_phones) {
                match command {
                    Command::Send(bytes) => to_engine.push(ToUa::Received { flow, bytes }),
                    Command::OpenPort(leg) => {
                        let local = self.ports.then(|| "127.0.0.1:30000".parse().unwrap());
                        self.phones.handle(self.now, Event::Port { leg, local }, &mut from_phones);
                    }
                    Command::Media(action) => self.media.push(action),
                    Command::Tell(event) => self.told.push(event),
                }
            }
            let mut from_engine = Vec::new();
            for event in std::mem::take(&mut to_engine) {
                self.engine.handle(self.now, event, &mut from_engine);
            }
            self.heard(from_engine, &mut from_phones);
            if from_phones.is_empty() {
                return;
            }
        }
    }

    fn heard(&mut self, from_engine: Vec<FromUa>, from_phones: &mut Vec<Command>) {
        for command in from_engine {
            match command {
                FromUa::Send { bytes, .. } => {
                    self.phones.handle(self.now, Event::Received(bytes), from_phones);
                }
                FromUa::Tell(notice) => self.notices.push(notice),
                FromUa::Bindings(_) | FromUa::Suspect(_) | FromUa::Answered(_) => {}
            }
        }
    }

    fn phones(&mut self, command: people::Command) {
        let mut out = Vec::new();
        self.phones.handle(self.now, Event::Do(command), &mut out);
        self.settle(out);
    }

    fn engine(&mut self, action: Action) {
        let (mut out, mut from_phones) = (Vec::new(), Vec::new());
        self.engine.handle(self.now, ToUa::Do(action), &mut out);
        self.heard(out, &mut from_phones);
        self.settle(from_phones);
    }

    fn pass(&mut self, seconds: u64) {
        let end = self.now.after(Duration::from_secs(seconds));
        loop {
            let next = self.engine.next_deadline().into_iter().chain(self.phones.next_deadline()).min();
            let Some(next) = next.filter(|next| *next <= end.mono) else { break };
            self.now = self.now.after(next.since(self.now.mono));
            let (mut out, mut from_phones) = (Vec::new(), Vec::new());
            self.engine.expire(self.now, &mut out);
            self.heard(out, &mut from_phones);
            self.phones.expire(self.now, &mut from_phones);
            self.settle(from_phones);
        }
        self.now = end;
    }

    fn connected(&self) -> Option<SocketAddr> {
        self.media.iter().rev().find_map(|action| match action {
            Media::Connect { remote, .. } => Some(remote.rtp),
            _ => None,
        })
    }

    fn ring(&mut self) -> (LegId, Session) {
        self.pass(0);
        let leg = LegId::outgoing(ShardId(0), 7);
        let mut session = Session::new(1, "127.0.0.1:10000".parse().unwrap());
        let sdp = session.offer(&[], Direction::SendRecv);
        let (user, domain, caller) = ("1101".into(), DOMAIN.into(), "13900001234".into());
        let (caller_name, headers, ring_max) = ("".into(), vec![], Duration::from_secs(15));
        self.engine(Action::Invite(Box::new(Invite {
            leg,
            to: Destination::User { user, domain },
            caller,
            caller_name,
            sdp,
            headers,
            ring_max,
        })));
        (leg, session)
    }
}

#[test]
fn a_citizen_calls_is_answered_speaks_and_hangs_up() {
    let mut bench = bench();
    bench.phones(people::Command::Dial { citizen: 2, caller: "13900001234".into(), number: 0 });
    let Some(Notice::Incoming(incoming)) = bench.notices.pop() else { panic!("no call") };
    assert_eq!((&*incoming.dialled, &*incoming.caller), ("12345", "13900001234"));
    assert_eq!(incoming.source, Source::Trunk("carrier".into()));
    let mut session = Session::new(5, "127.0.0.1:10000".parse().unwrap());
    let (sdp, agreed) = session.answer(&incoming.sdp.unwrap(), Direction::SendRecv).unwrap();
    assert_eq!((agreed.codec, agreed.rtp.port()), (Codec::Pcma, 30_000));
    bench.engine(respond(incoming.leg, 200, Some(sdp), None));
    assert_eq!(bench.connected(), Some("127.0.0.1:10000".parse().unwrap()));
    assert_eq!(bench.notices.pop(), Some(Notice::Acknowledged { leg: incoming.leg, sdp: None }));

    bench.phones(people::Command::Speak { who: Who::Citizen(2), matter: 1 });
    assert!(matches!(bench.media.last(), Some(Media::Play { prompts, .. }) if prompts.len() == 4));
    bench.phones(people::Command::HangUp { who: Who::Citizen(2) });
    assert_eq!(bench.told.last(), Some(&people::Event::Over { who: Who::Citizen(2) }));
    let why = Ending::Bye { q850: Some(16) };
    assert_eq!(bench.notices.pop(), Some(Notice::Ended { leg: incoming.leg, why }));
    assert!(matches!(bench.media.last(), Some(Media::Close { .. })));
    assert_eq!(bench.phones.calls(), 0);
}

#[test]
fn an_agent_registers_is_rung_answers_and_hears_the_end() {
    let mut bench = bench();
    let (leg, mut session) = bench.ring();
    assert_eq!(bench.told, [people::Event::Phone { agent: 0, up: true }, people::Event::Rings { agent: 0 }]);
    assert_eq!(bench.notices, [Notice::Ringing { leg, sdp: None }]);
    // What is to be said is said once there is a port.
    bench.phones(people::Command::Speak { who: Who::Agent(0), matter: 0 });
    assert!(bench.media.is_empty());
    bench.phones(people::Command::Answer { agent: 0 });
    let Some(Notice::Answered { sdp, .. }) = bench.notices.pop() else { panic!("no answer") };
    assert_eq!(session.accept(&sdp).unwrap().rtp.port(), 30_000);
    assert!(matches!(&bench.media[..], [Media::Open { .. }, Media::Play { .. }, Media::Connect { .. }]));

    // The engine asks whether the dialog still stands.
    let sdp = session.offer(&[], Direction::SendRecv);
    bench.engine(Action::Reinvite { leg, sdp });
    assert!(matches!(bench.notices.pop(), Some(Notice::ReofferAnswered { answer: Ok(_), .. })));
    bench.engine(Action::HangUp { leg, q850: 16 });
    assert_eq!(bench.told.last(), Some(&people::Event::Over { who: Who::Agent(0) }));
    assert_eq!(bench.phones.calls(), 0);
    bench.pass(60);
    assert_eq!((bench.engine.counts().dialogs, bench.engine.counts().transactions), (0, 0));
}

#[test]
fn an_agent_refuses_lets_it_ring_out_or_has_no_port() {
    for (ports, command, status) in [
        (true, Some(people::Command::Refuse { agent: 0 }), 486),
        (false, Some(people::Command::Answer { agent: 0 }), 500),
        (true, None, 408),
    ] {
        let mut bench = bench();
        bench.ports = ports;
        let (leg, _) = bench.ring();
        match command {
            Some(command) => bench.phones(command),
            None => bench.pass(16),
        }
        let failed = bench.notices.iter().find_map(|notice| match notice {
            Notice::Failed { leg: gone, status, .. } if *gone == leg => Some(*status),
            _ => None,
        });
        assert_eq!((failed, bench.phones.calls()), (Some(status), 0));
        assert_eq!(bench.told.last(), Some(&people::Event::Over { who: Who::Agent(0) }));
    }
}

#[test]
fn a_second_call_finds_the_agent_busy_and_a_stranger_nobody() {
    let mut bench = bench();
    bench.ring();
    let first = bench.notices.len();
    let leg = LegId::outgoing(ShardId(0), 8);
    let sdp = Session::new(2, "127.0.0.1:10002".parse().unwrap()).offer(&[], Direction::SendRecv);
    let (user, domain, caller) = ("1101".into(), DOMAIN.into(), "".into());
    let (caller_name, headers, ring_max) = ("".into(), vec![], Duration::from_secs(15));
    let to = Destination::User { user, domain };
    bench.engine(Action::Invite(Box::new(Invite { leg, to, caller, caller_name, sdp, headers, ring_max })));
    assert_eq!(bench.notices[first..], [Notice::Failed { leg, status: 486, q850: Some(17) }]);
    assert_eq!(bench.phones.calls(), 1);
}

#[test]
fn a_hotline_that_is_not_there_is_not_waited_for() {
    let mut bench = bench();
    bench.ports = false;
    bench.phones(people::Command::Dial { citizen: 0, caller: "13900001234".into(), number: 0 });
    assert_eq!(bench.told, [people::Event::Over { who: Who::Citizen(0) }]);
    bench.ports = true;
    // Nobody answers: the datagrams are lost.
    let mut out = Vec::new();
    let dial = people::Command::Dial { citizen: 0, caller: "13900001234".into(), number: 0 };
    bench.phones.handle(bench.now, Event::Do(dial), &mut out);
    let Some(Command::OpenPort(leg)) = out.pop() else { panic!("no port asked for") };
    let local = Some("127.0.0.1:30000".parse().unwrap());
    bench.phones.handle(bench.now, Event::Port { leg, local }, &mut out);
    for _ in 0..200 {
        bench.now = bench.now.after(Duration::from_secs(1));
        bench.phones.expire(bench.now, &mut out);
    }
    assert_eq!(bench.phones.calls(), 0);
}

#[test]
fn whoever_leaves_ends_the_call_first() {
    let mut bench = bench();
    bench.ring();
    let mut out = Vec::new();
    bench.phones.handle(bench.now, Event::Leave, &mut out);
    bench.settle(out);
    assert_eq!((bench.engine.counts().bindings, bench.phones.are_gone()), (1, false));
    bench.phones(people::Command::Refuse { agent: 0 });
    assert_eq!((bench.engine.counts().bindings, bench.phones.are_gone()), (0, true));
}
