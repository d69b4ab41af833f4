//! The user agent as a whole: calls in both directions, registrations, dialogs and everything in them, while messages
//! come mutated, twice, late, from the wrong place or with another's tags, connections close and the process restarts.

use super::corpus::{hotline, torture};
use super::message::SIP;
use super::mutate::{Kind, Mutator, as_it_is};
use super::oracle;
use super::peers::{Mail, Peers, SDP, phone, stranger, trunk, trunk_tcp};
use super::script::{Script, scripts};
use bytes::Bytes;
use jiesu::base::{LegId, Mint, Mono, Now, ShardId, TrunkId, Wall};
use jiesu::sip::digest::Algorithm;
use jiesu::sip::event::{
    Action, Ask, AskId, Command, Credential, Destination, DomainSettings, Event, Flow, Invite, Large, Limits,
    ListenerSettings, Login, Notice, OverTrunk, Provisionals, Question, Settings, TrunkSettings,
};
use jiesu::sip::parse::VALUE_BYTES_MAX;
use jiesu::sip::ua::{Counts, Ua};
use jiesu::sip::via::Transport;
use jiesu::sip::{Message, Name};
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const SEED: [u64; 2] = [5, 6];
const LEGS_MAX: usize = 10;
const TRANSACTIONS_MAX: usize = 60;
const CONTACTS_MAX: usize = 3;
/// Messages kept to come again.
const PAST_MAX: usize = 40;
/// Commands that one event may cause: every leg and every phone concerned once or twice.
const COMMANDS_MAX: usize = 100;
/// Longest that anything lives without a word from outside: a registration, then the timers of what it leaves.
const QUIET_MAX: Duration = Duration::from_secs(2 * 3_600);

static CORPUS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| torture().into_iter().chain(hotline()).collect());

fn settings() -> Arc<Settings> {
    let listener = |transport| ListenerSettings {
        transport,
        advertised: "10.0.0.1:5060".parse().expect("an address"),
        large: Large::Udp,
        answers_strangers: false,
    };
    Arc::new(Settings {
        listeners: vec![listener(Transport::Udp), listener(Transport::Tcp)],
        trunks: vec![TrunkSettings {
            name: "carrier".into(),
            sources: vec![(trunk().peer.ip(), 32)],
            trusts_identity: true,
            provisionals: Provisionals::Supported,
            large: None,
            login: Some(login()),
        }],
        domains: vec![DomainSettings { name: "fz.cn".into(), aliases: vec!["10.0.0.1".into()] }],
        credentials: Arc::new(vec![Credential::new("1001", "fz.cn", "pw")]),
        expires_s: (60, 3_600),
        digests: vec![Algorithm::Sha256, Algorithm::Md5],
        nonce_life: Duration::from_secs(60),
        redirects_max: 1,
        limits: Limits { legs_max: LEGS_MAX, transactions_max: TRANSACTIONS_MAX, contacts_max: CONTACTS_MAX },
        ..Settings::default()
    })
}

fn agent() -> Destination {
    Destination::User { user: "1001".into(), domain: "fz.cn".into() }
}

fn login() -> Arc<Login> {
    Arc::new(Login { user: "12345".into(), password: "secret".into(), realm: Some("carrier.cn".into()) })
}

fn over_trunk_to(number: &str) -> OverTrunk {
    OverTrunk {
        trunk: TrunkId(0),
        number: number.into(),
        host: trunk().peer.to_string().into(),
        flow: trunk(),
        route: None,
        from_host: "fz.cn".into(),
        user_phone: false,
        asserted: Some("059112345".into()),
        privacy: false,
        location: None,
    }
}

struct World<'a> {
    script: Script<'a>,
    ua: Ua,
    now: Now,
    peers: Peers,
    /// Sound messages that wait to be delivered.
    mail: Vec<Mail>,
    /// Messages that were.
    past: Vec<Mail>,
    legs: BTreeSet<LegId>,
    /// Questions to the trunk without an answer.
    asked: BTreeSet<AskId>,
    dialled: u64,
    lives: u16,
    mutator: Mutator<'static>,
    /// Whether everybody keeps to the rules: then another stack must read all that is sent.
    honest: bool,
    /// Whether what was received last can be read: else its refusal copies what cannot (RFC 3261 §8.2.6.2).
    readable: bool,
}

impl<'a> World<'a> {
    fn new(bytes: &'a [u8], honest: bool) -> World<'a> {
        let mut script = Script::new(bytes);
        static KIND: Kind = SIP;
        World {
            mutator: Mutator::seeded(&KIND, &CORPUS, script.number()),
            script,
            ua: Ua::new(1, ShardId(0), Mint::new(1, SEED), SEED, settings()),
            now: Now { mono: Mono::from_ms(5_000), wall: Wall(9_000_000) },
            peers: Peers::default(),
            mail: Vec::new(),
            past: Vec::new(),
            legs: BTreeSet::new(),
            asked: BTreeSet::new(),
            dialled: 0,
            lives: 1,
            honest,
            readable: true,
        }
    }

    fn step(&mut self) {
        let kind = self.script.below(40);
        match kind {
            0..=2 => {
                let mail = self.peers.invite(&mut self.script);
                self.mail.push(mail);
            }
            3 | 4 => {
                let mail = self.peers.register(&mut self.script);
                self.mail.push(mail);
            }
            5..=7 => {
                let mail = self.peers.request(&mut self.script);
                self.mail.extend(mail);
            }
            8..=12 => self.act(),
            13..=21 => self.deliver(false),
            22..=32 => self.pass(),
            _ if self.honest => self.pass(),
            33..=35 => self.deliver(true),
            36 => self.again(),
            37 => self.intrude(),
            38 => self.close(),
            _ => self.restart(),
        }
    }

    /// The next message, or a mutant of it; then perhaps the true one as well.
    fn deliver(&mut self, mutated: bool) {
        if self.mail.is_empty() {
            return;
        }
        let at = if self.honest { 0 } else { self.script.below(self.mail.len()) };
        let (flow, bytes) = self.mail.remove(at);
        if mutated {
            let mutant = self.mutator.mutated(bytes.clone());
            self.receive(flow, mutant);
            if self.script.chance(128) {
                return;
            }
        }
        self.receive(flow, bytes);
    }

    /// Something that came before: as it was, from another place, or with what identifies it changed.
    fn again(&mut self) {
        if self.past.is_empty() {
            return;
        }
        let (flow, mut bytes) = self.past[self.script.below(self.past.len())].clone();
        let other = self.past[self.script.below(self.past.len())].1.clone();
        match self.script.below(6) {
            0 => bytes = crossed(&bytes, &other, "To:"),
            1 => bytes = crossed(&bytes, &other, "From:"),
            2 => bytes = crossed(&bytes, &other, "Via:"),
            3 => bytes = crossed(&bytes, &other, "CSeq:"),
            4 => bytes = crossed(&bytes, &other, "Call-ID:"),
            _ => {}
        }
        let flow = if self.script.chance(200) {
            flow
        } else {
            [trunk(), trunk_tcp(), phone(), stranger()][self.script.below(4)]
        };
        self.receive(flow, bytes);
    }

    /// A stranger with a mutant of anything.
    fn intrude(&mut self) {
        let bytes = self.mutator.mutant();
        let before = self.legs.len();
        self.receive(stranger(), bytes);
        assert!(self.legs.len() <= before, "a stranger begins no call");
    }

    fn close(&mut self) {
        let flow =
            [trunk_tcp(), Flow { connection: Flow::ANY, listener: 1, ..trunk() }, trunk_tcp()][self.script.below(3)];
        self.event(Event::Closed { flow });
    }

    /// The process dies and another goes on from its snapshot, as it is kept on disk.
    fn restart(&mut self) {
        if self.script.chance(128) {
            return self.event(Event::Configure(settings()));
        }
        let kept = serde_json::to_vec(&self.ua.snapshot()).expect("plain data");
        let snapshot = serde_json::from_slice(&kept).expect("it was written so");
        self.lives += 1;
        let (mint, mut out) = (Mint::new(self.lives, SEED), Vec::new());
        self.ua =
            Ua::restore(snapshot, (1, ShardId(0)), mint, SEED, settings(), self.now, &mut out).expect("our version");
        self.legs.retain(|leg| self.ua.knows(*leg));
        // Whoever asked is gone too.
        self.asked.clear();
        self.settle(out);
    }

    /// What a call asks for, in whatever state the leg is.
    fn act(&mut self) {
        let sdp = Bytes::from_static(SDP.as_bytes());
        let at = self.script.below(self.legs.len().max(1));
        let leg = self.legs.iter().nth(at).copied().unwrap_or(LegId(2));
        let respond = |status, sdp, retry_after_s| Action::Respond { leg, status, sdp, q850: Some(17), retry_after_s };
        let action = match self.script.below(16) {
            0 | 1 => return self.dial(),
            2 => respond(180, None, None),
            3 => respond(183, Some(sdp), None),
            4..=7 => respond(200, Some(sdp), None),
            8 if self.script.chance(128) => Action::Refuse { leg, status: 480, q850: 16, why: "not now".into() },
            8 => respond(486, None, None),
            9 => respond(503, None, Some(30)),
            10 => Action::Reinvite { leg, sdp },
            11 => Action::AnswerReoffer { leg, answer: Ok(sdp) },
            12 => Action::AnswerReoffer { leg, answer: Err(488) },
            13 if self.script.chance(64) => {
                let refer = u32::from(self.script.byte() % 8);
                Action::RefuseRefer { leg, refer, status: 403, why: "not now".into() }
            }
            13 => Action::AnswerRefer { leg, refer: u32::from(self.script.byte() % 8), status: 202 },
            14 => {
                let refer = u32::from(self.script.byte() % 8);
                Action::ReferProgress { leg, refer, status: [100, 200, 486][self.script.below(3)] }
            }
            _ => Action::HangUp { leg, q850: 16 },
        };
        self.event(Event::Do(action));
    }

    fn dial(&mut self) {
        if self.legs.len() >= LEGS_MAX {
            return;
        }
        self.dialled += 1;
        if self.script.chance(32) {
            return self.ask();
        }
        let leg = LegId::outgoing(ShardId(0), self.dialled);
        let (over_trunk, named) = (self.script.chance(128), self.script.chance(200));
        self.legs.insert(leg);
        self.event(Event::Do(Action::Invite(Box::new(Invite {
            leg,
            to: if over_trunk { Destination::Trunk(Box::new(over_trunk_to("13800138000"))) } else { agent() },
            caller: if named { "059112345678".into() } else { "".into() },
            caller_name: "\u{5e02}\u{6c11} \"A\"".into(),
            sdp: Bytes::from_static(SDP.as_bytes()),
            headers: vec![("X-Jiesu-Contact".into(), "01".into())],
            ring_max: Duration::from_secs(20),
        }))));
    }

    /// A question to the trunk, which has an answer in any case.
    fn ask(&mut self) {
        let OverTrunk { host, flow, .. } = over_trunk_to("");
        let id = AskId { trunk: TrunkId(0), number: u32::try_from(self.dialled).expect("a script is short") };
        let call_id = "registration".into();
        let what =
            if self.script.chance(128) { Question::Alive } else { Question::Register { expires_s: 600, call_id } };
        self.asked.insert(id);
        self.event(Event::Do(Action::Ask(Box::new(Ask { id, what, host, flow, route: None, login: Some(login()) }))));
    }

    fn receive(&mut self, flow: Flow, bytes: Vec<u8>) {
        if self.past.len() == PAST_MAX {
            self.past.remove(0);
        }
        self.past.push((flow, bytes.clone()));
        self.readable = Message::parse(bytes.clone().into()).is_ok();
        self.event(Event::Received { flow, bytes: bytes.into() });
        self.readable = true;
    }

    fn event(&mut self, event: Event) {
        let mut out = Vec::new();
        self.ua.handle(self.now, event, &mut out);
        self.settle(out);
    }

    /// Lets some time pass, or all until the next timer.
    fn pass(&mut self) {
        let by = match self.script.below(8) {
            0 => Duration::ZERO,
            1..=4 => Duration::from_millis(u64::from(self.script.byte()) * 4),
            5 | 6 => self.ua.next_deadline().map_or(Duration::ZERO, |at| at.since(self.now.mono)),
            _ => Duration::from_secs(u64::from(self.script.byte())),
        };
        self.run(by);
    }

    /// Every timer at its time, for so long.
    fn run(&mut self, by: Duration) {
        let end = self.now.after(by);
        while let Some(next) = self.ua.next_deadline().filter(|next| *next <= end.mono) {
            self.now = self.now.after(next.since(self.now.mono));
            let mut out = Vec::new();
            self.ua.expire(self.now, &mut out);
            self.settle(out);
        }
        self.now = self.now.after(end.mono.since(self.now.mono));
    }

    /// Everything that must hold between two events.
    fn settle(&mut self, out: Vec<Command>) {
        self.ua.check();
        assert!(out.len() <= COMMANDS_MAX, "{} commands", out.len());
        for command in out {
            match command {
                Command::Send { flow, bytes } => self.sent(flow, bytes),
                Command::Tell(notice) => self.told(&notice),
                Command::Bindings(bindings) => assert!(bindings.contacts.len() <= CONTACTS_MAX),
                Command::Suspect(_) => {}
                Command::Answered(answer) => assert!(self.asked.remove(&answer.id), "asked and not yet answered"),
            }
        }
        let Counts { transactions, dialogs, timers, bindings } = self.ua.counts();
        assert_eq!(dialogs, self.legs.len(), "calls know of every leg");
        assert!(dialogs <= 2 * LEGS_MAX && bindings <= CONTACTS_MAX);
        // Requests inside dialogs are served beyond the limit, and each leg may have some of ours.
        assert!(
            transactions <= TRANSACTIONS_MAX + 40 * (dialogs + 1) + self.asked.len(),
            "{transactions} transactions"
        );
        assert!(timers <= 4 * transactions + 6 * dialogs + 4, "{timers} timers");
    }

    fn sent(&mut self, flow: Flow, bytes: Bytes) {
        let message = match Message::parse(bytes.clone()) {
            Ok(message) => message,
            // A header at the limit has passed it with our tag.
            Err(_) if bytes.len() > VALUE_BYTES_MAX || !self.readable => return,
            Err(error) => panic!("we sent what nobody can read: {error}: {}", bytes.escape_ascii()),
        };
        if self.honest {
            oracle::agrees(&message);
        }
        assert!(message.header(Name::CallId).is_some());
        if flow.peer != stranger().peer {
            self.peers.react(flow, &message, &mut self.script, &mut self.mail);
        }
        self.mail.truncate(PAST_MAX);
    }

    /// A leg lives from its first notice, or from being dialled, to its last.
    fn told(&mut self, notice: &Notice) {
        let known = match notice {
            Notice::Incoming(incoming) => {
                assert!(self.legs.insert(incoming.leg), "a leg comes in once: {incoming:?}");
                true
            }
            Notice::Ended { leg, .. } | Notice::Failed { leg, .. } => self.legs.remove(leg),
            Notice::Referred(referred) => self.legs.contains(&referred.leg),
            Notice::Cancelled { leg }
            | Notice::Acknowledged { leg, .. }
            | Notice::Trying { leg }
            | Notice::Connecting { leg, .. }
            | Notice::Resent { leg, .. }
            | Notice::Ringing { leg, .. }
            | Notice::Answered { leg, .. }
            | Notice::Reoffered { leg, .. }
            | Notice::EarlyAnswer { leg, .. }
            | Notice::Refresh { leg }
            | Notice::Digit { leg, .. }
            | Notice::ReofferAnswered { leg, .. } => self.legs.contains(leg),
        };
        assert!(known, "a notice of a leg that is not there: {notice:?}");
    }

    /// Everybody hangs up and is silent: nothing may be left.
    fn end(&mut self) {
        for leg in self.legs.clone() {
            self.event(Event::Do(Action::HangUp { leg, q850: 16 }));
        }
        self.run(QUIET_MAX);
        assert_eq!(self.ua.counts(), Counts::default(), "nothing is left");
        assert!(self.legs.is_empty(), "every leg has had its end: {:?}", self.legs);
        assert!(self.asked.is_empty(), "every question has had its answer: {:?}", self.asked);
        assert_eq!(self.ua.next_deadline(), None);
    }
}

/// `bytes` with the header `name` of another message.
fn crossed(bytes: &[u8], other: &[u8], name: &str) -> Vec<u8> {
    let find = |bytes: &[u8]| {
        let at = bytes.windows(name.len()).position(|window| window == name.as_bytes())?;
        let length = bytes[at..].iter().position(|byte| *byte == b'\r')?;
        Some(at..at + length)
    };
    match (find(bytes), find(other)) {
        (Some(here), Some(there)) => [&bytes[..here.start], &other[there], &bytes[here.end..]].concat(),
        (Some(_), None) | (None, _) => bytes.to_vec(),
    }
}

fn drive(bytes: &[u8], honest: bool) {
    let mut world = World::new(bytes, honest);
    while !world.script.is_over() {
        world.step();
    }
    world.end();
}

/// A day at the hotline among peers of whom some are broken and some mean ill.
pub fn day(bytes: &[u8]) {
    drive(bytes, false);
}

/// The same among peers that keep to the rules; what is sent means the same to another stack.
pub fn honest_day(bytes: &[u8]) {
    drive(bytes, true);
}

const SCRIPT: Kind = Kind { text: false, words: &[], repair: as_it_is };

#[test]
fn no_peer_breaks_the_user_agent() {
    super::fuzz(&SCRIPT, &scripts(60, 3_000), 600, day);
}

#[test]
fn another_stack_reads_all_that_is_sent() {
    super::fuzz(&SCRIPT, &scripts(20, 3_000), 100, honest_day);
}
