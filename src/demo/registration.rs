//! One phone's registration as a client (RFC 3261 §10.2, RFC 7616): asks, proves itself, refreshes, asks again when refused.
//!
//! A pure machine: the caller sends what it says and calls it at its deadline. Owns no socket and no call.

use crate::base::{Mint, Mono};
use crate::sip::challenge::Challenge;
use crate::sip::event::Credential;
use crate::sip::timers::Timer;
use crate::sip::uri::User;
use crate::sip::{Message, Method, Name, Uri};
use crate::sip::{message::Contact, write::Writer};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;

/// For how long it asks to be registered, in seconds.
const EXPIRES_S: u32 = 300;
/// Before it asks again after a refusal or silence: a new agent is known to the engine within a second.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// A phone's registration.
#[derive(Debug)]
pub struct Registration {
    credential: Credential,
    /// Where the phone is.
    local: SocketAddr,
    call_id: Box<str>,
    tag: Box<str>,
    cseq: u32,
    /// For how long it asks to be registered; zero once it leaves (RFC 3261 §10.2.2).
    expires_s: u32,
    /// The last challenge and how often it was answered.
    challenge: Option<(Challenge, u32)>,
    state: State,
    mint: Mint,
}

#[derive(Debug)]
enum State {
    /// Nothing is under way until then; whether the phone is registered meanwhile.
    Resting { until: Mono, registered: bool },
    /// A REGISTER waits for its answer (figure 6 of RFC 3261, *Trying*).
    Asking { branch: Box<str>, request: Bytes, repeats: u32, repeat_at: Mono, give_up_at: Mono, registered: bool },
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Still, or still not.
    None,
    /// The phone can be called now.
    Up,
    /// It can be called no more.
    Down,
}

impl Registration {
    /// A phone that first asks at `from`. `mint` makes its tags and nonces.
    pub fn new(credential: Credential, local: SocketAddr, from: Mono, mut mint: Mint) -> Registration {
        Registration {
            call_id: format!("{:016x}", mint.random()).into(),
            tag: format!("{:016x}", mint.random()).into(),
            credential,
            local,
            cseq: 0,
            expires_s: EXPIRES_S,
            challenge: None,
            state: State::Resting { until: from, registered: false },
            mint,
        }
    }

    /// Whether the phone can be called.
    pub fn is_up(&self) -> bool {
        match self.state {
            State::Resting { registered, .. } | State::Asking { registered, .. } => registered,
        }
    }

    /// Takes the registration back; returns what to send.
    pub fn leave(&mut self, now: Mono) -> Bytes {
        self.expires_s = 0;
        let registered = self.is_up();
        self.ask(now, registered)
    }

    /// When to call [`Registration::expire`].
    pub fn next_deadline(&self) -> Mono {
        match &self.state {
            State::Resting { until, .. } => *until,
            State::Asking { repeat_at, give_up_at, .. } => *repeat_at.min(give_up_at),
        }
    }

    /// Does what is due; returns what to send and what changed.
    pub fn expire(&mut self, now: Mono) -> (Option<Bytes>, Change) {
        match &mut self.state {
            State::Resting { until, registered } if *until <= now => {
                let registered = *registered;
                (Some(self.ask(now, registered)), Change::None)
            }
            State::Asking { give_up_at, .. } if *give_up_at <= now => (None, self.rest(now, AGAIN_AFTER, false)),
            State::Asking { request, repeats, repeat_at, .. } if *repeat_at <= now => {
                *repeats += 1;
                *repeat_at = now + Timer::E.lasts(*repeats, false);
                (Some(request.clone()), Change::None)
            }
            State::Resting { .. } | State::Asking { .. } => (None, Change::None),
        }
    }

    /// Takes a response, if it is one to its question; returns what to send and what changed.
    pub fn respond(&mut self, now: Mono, response: &Message) -> (Option<Bytes>, Change) {
        let State::Asking { branch, registered, .. } = &self.state else { return (None, Change::None) };
        if response.top_via().branch() != Some(branch.as_bytes()) {
            return (None, Change::None);
        }
        let (registered, proved) = (*registered, self.challenge.is_some());
        match response.status().unwrap_or_default() {
            100..=199 => (None, Change::None),
            200..=299 if self.expires_s == 0 => (None, self.rest(now, Duration::MAX, false)),
            200..=299 => {
                // Refreshed well before its end (§10.2.4).
                let after = Duration::from_secs(u64::from(granted_s(response))) * 3 / 4;
                (None, self.rest(now, after, true))
            }
            401 => match Challenge::of(response) {
                // A second challenge to a fresh answer means that the password is wrong, unless the nonce was old (§22.2).
                Some(challenge) if !proved || challenge.stale => {
                    self.challenge = Some((challenge, 0));
                    (Some(self.ask(now, registered)), Change::None)
                }
                Some(_) | None => {
                    self.challenge = None;
                    (None, self.rest(now, AGAIN_AFTER, false))
                }
            },
            _ => (None, self.rest(now, AGAIN_AFTER, false)),
        }
    }

    fn rest(&mut self, now: Mono, after: Duration, registered: bool) -> Change {
        let was = self.is_up();
        self.state = State::Resting { until: now + after, registered };
        match (was, registered) {
            (false, true) => Change::Up,
            (true, false) => Change::Down,
            (true, true) | (false, false) => Change::None,
        }
    }

    fn ask(&mut self, now: Mono, registered: bool) -> Bytes {
        self.cseq += 1;
        let branch: Box<str> = format!("z9hG4bK{:016x}", self.mint.random()).into();
        let request = self.compose(&branch);
        self.state = State::Asking {
            branch,
            request: request.clone(),
            repeats: 0,
            repeat_at: now + Timer::E.lasts(0, false),
            give_up_at: now + Timer::F.lasts(0, false),
            registered,
        };
        request
    }

    fn compose(&mut self, branch: &str) -> Bytes {
        let Credential { user, domain, .. } = &self.credential;
        let registrar = format!("sip:{domain}");
        let uri = Uri::parse(registrar.as_bytes()).expect("a site's domain is a host name");
        let own = format!("sip:{}@{domain}", User(user));
        let mut writer = Writer::request(Method::Register, &uri);
        writer.line(Name::Via, format_args!("SIP/2.0/UDP {};rport;branch={branch}", self.local));
        writer.header(Name::MaxForwards, "70");
        writer.address(Name::From, b"", &own, Some(&self.tag)).address(Name::To, b"", &own, None);
        writer.header(Name::CallId, self.call_id.as_bytes());
        writer.line(Name::CSeq, format_args!("{} REGISTER", self.cseq));
        writer.line(Name::Contact, format_args!("<sip:{}@{}>", User(user), self.local));
        writer.line(Name::Expires, format_args!("{}", self.expires_s));
        if let Some((challenge, count)) = &mut self.challenge {
            *count += 1;
            let answer = challenge.answer(&self.credential, "REGISTER", &registrar, *count, self.mint.random());
            writer.header(Name::Authorization, answer);
        }
        writer.finish()
    }
}

/// Seconds granted: the Contact's own, else the message's (§10.2.4).
fn granted_s(response: &Message) -> u32 {
    let own = response.contacts().flatten().find_map(|contact| match contact {
        Contact::At(address) => std::str::from_utf8(address.params.value("expires")?).ok()?.parse().ok(),
        Contact::All => None,
    });
    own.or(response.expires_s()).unwrap_or(EXPIRES_S)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Now, ShardId, Wall};
    use crate::sip::Ua;
    use crate::sip::digest::Algorithm;
    use crate::sip::event::{Command, DomainSettings, Event, Flow, ListenerSettings, Settings};
    use std::sync::Arc;

    const ENGINE: &str = "127.0.0.1:5060";
    const PHONE: &str = "127.0.0.1:40000";

    /// The engine's registrar and a phone that believes in `password`.
    struct Bench {
        engine: Ua,
        phone: Registration,
        now: Now,
        changes: Vec<Change>,
        sent: usize,
    }

    fn bench(password: &str) -> Bench {
        let listener = ListenerSettings::udp(ENGINE.parse().unwrap());
        let settings = Settings {
            listeners: vec![listener],
            domains: vec![DomainSettings { name: "fz.cn".into(), aliases: vec![] }],
            credentials: Arc::new(vec![Credential::new("1101", "fz.cn", "right")]),
            digests: vec![Algorithm::Sha256, Algorithm::Md5],
            expires_s: (60, 120),
            nonce_life: Duration::from_secs(30),
            ..Settings::default()
        };
        let now = Now { mono: Mono::from_ms(1_000), wall: Wall(1_000) };
        let credential = Credential::new("1101", "fz.cn", password);
        Bench {
            engine: Ua::new(0, ShardId(0), Mint::new(1, [1, 2]), [1, 2], Arc::new(settings)),
            phone: Registration::new(credential, PHONE.parse().unwrap(), now.mono, Mint::new(2, [1, 2])),
            now,
            changes: Vec::new(),
            sent: 0,
        }
    }

    impl Bench {
        fn exchange(&mut self, mut request: Option<Bytes>) {
            let flow = Flow { listener: 0, connection: 0, peer: PHONE.parse().unwrap() };
            while let Some(bytes) = request.take() {
                self.sent += 1;
                let mut out = Vec::new();
                self.engine.handle(self.now, Event::Received { flow, bytes }, &mut out);
                for command in out {
                    if let Command::Send { bytes, .. } = command {
                        let (next, change) = self.phone.respond(self.now.mono, &Message::parse(bytes).unwrap());
                        self.changes.extend(Some(change).filter(|change| *change != Change::None));
                        request = next;
                    }
                }
            }
        }

        /// Lets time pass; `lost` swallows what the phone sends.
        fn pass(&mut self, seconds: u64, lost: bool) {
            let end = self.now.after(Duration::from_secs(seconds));
            while self.phone.next_deadline().max(self.now.mono) <= end.mono {
                self.now = self.now.after(self.phone.next_deadline().since(self.now.mono));
                let (request, change) = self.phone.expire(self.now.mono);
                self.changes.extend(Some(change).filter(|change| *change != Change::None));
                self.sent += usize::from(lost && request.is_some());
                self.exchange(request.filter(|_| !lost));
            }
            self.engine.expire(end, &mut Vec::new());
            self.now = end;
        }
    }

    #[test]
    fn it_proves_itself_and_stays_registered_although_nonces_grow_old() {
        let mut bench = bench("right");
        bench.pass(0, false);
        assert_eq!((bench.sent, &*bench.changes), (2, &[Change::Up][..]));
        bench.pass(1_000, false);
        assert_eq!((bench.engine.counts().bindings, &*bench.changes), (1, &[Change::Up][..]));
        // 120 s are granted and refreshed after 90, each time with a stale nonce first.
        assert_eq!(bench.sent, 2 + 2 * (1_000 / 90));
    }

    #[test]
    fn who_leaves_is_registered_no_more_and_asks_no_more() {
        let mut bench = bench("right");
        bench.pass(40, false);
        let request = bench.phone.leave(bench.now.mono);
        bench.exchange(Some(request));
        assert_eq!((bench.engine.counts().bindings, bench.phone.is_up()), (0, false));
        assert_eq!(bench.phone.next_deadline(), Mono(u64::MAX));
    }

    #[test]
    fn a_wrong_password_asks_twice_and_rests() {
        let mut bench = bench("wrong");
        bench.pass(0, false);
        assert_eq!((bench.sent, bench.changes.len(), bench.phone.is_up()), (2, 0, false));
        assert_eq!(bench.phone.next_deadline(), bench.now.mono + AGAIN_AFTER);
    }

    #[test]
    fn silence_is_repeated_into_then_given_up_and_tried_again() {
        let mut bench = bench("right");
        bench.pass(0, false);
        bench.pass(90 + 31, true);
        // Timer E: 0.5, 1, 2, 4, 4 … s within the 32 s of Timer F.
        assert_eq!((bench.sent, &*bench.changes), (2 + 11 - 1, &[Change::Up][..]));
        bench.pass(2, true);
        assert_eq!(bench.changes, [Change::Up, Change::Down]);
        bench.pass(5, false);
        assert_eq!(bench.changes, [Change::Up, Change::Down, Change::Up]);
    }
}
