//! Requests of ours outside dialogs, to trunks: OPTIONS (RFC 3261 §11) and REGISTER (§10.2), with digest (§22.2).
//!
//! Owns what stands between a request and its final answer: the challenge answered, the nonce remembered for the next
//! request, the CSeq of registrations. Never decides when to ask or what an answer means: the table of trunks does.

use super::challenge::Challenge;
use super::client::{ClientKey, Purpose};
use super::dialog::{text, via};
use super::event::{Answer, Ask, Command, Question};
use super::message::{Contact, Message};
use super::method::Method;
use super::name::Name;
use super::screen::{ALLOW, SDP};
use super::ua::{Pass, Ua};
use super::uri::{Uri, User};
use super::via::Transport;
use super::write::Writer;
use crate::base::TrunkId;
use crate::base::map::keyed_hash;
use bytes::Bytes;
use slotmap::{SlotMap, new_key_type};
use std::collections::BTreeMap;
use std::net::SocketAddr;

new_key_type! {
    /// A request under way.
    pub struct AskKey;
}

/// Challenges answered for one request: a new nonce for an old one, then for one that went stale meanwhile.
const ANSWERS_MAX: u8 = 2;
/// Requests under way; beyond it new ones are answered with 503 of our own.
const ASKS_MAX: usize = 1_024;

/// All requests under way, and what is remembered of trunks between them.
#[derive(Debug, Default)]
pub(super) struct Asks {
    table: SlotMap<AskKey, Pending>,
    remembered: BTreeMap<TrunkId, Remembered>,
    cseqs: BTreeMap<TrunkId, u32>,
}

#[derive(Debug)]
struct Pending {
    ask: Ask,
    call_id: Box<str>,
    tag: Box<str>,
    cseq: u32,
    client: Option<ClientKey>,
    /// Challenges answered.
    answers: u8,
    /// The nonce that was answered last.
    used: Option<Challenge>,
}

/// A challenge whose nonce may be good for more.
#[derive(Clone, Debug)]
struct Remembered {
    challenge: Challenge,
    proxy: bool,
    count: u32,
}

impl Asks {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether a client transaction belongs to a request under way.
    pub(super) fn owns(&self, key: AskKey, client: ClientKey) -> bool {
        self.table.get(key).is_some_and(|pending| pending.client == Some(client))
    }
}

impl Ua {
    /// Sends the request.
    pub(super) fn ask(&mut self, pass: &mut Pass, ask: Ask) {
        if self.asks.len() >= ASKS_MAX {
            return pass.out.push(Command::Answered(answer_of(&ask, 503)));
        }
        let (call_id, cseq) = match &ask.what {
            Question::Alive => (self.marks.call_id(), 1),
            Question::Register { call_id, .. } => (call_id.clone(), self.next_cseq(pass, ask.id.trunk)),
        };
        let tag = self.marks.tag();
        let key = self.asks.table.insert(Pending { ask, call_id, tag, cseq, client: None, answers: 0, used: None });
        self.send_ask(pass, key);
    }

    /// Counts on from the clock, so that a registrar finds it growing also after a restart (RFC 3261 §10.2.4).
    fn next_cseq(&mut self, pass: &Pass, trunk: TrunkId) -> u32 {
        let clock = u32::try_from((pass.now.wall.0 / 1_000) & 0x3fff_ffff).unwrap_or_default();
        let cseq = self.asks.cseqs.entry(trunk).or_insert(clock.max(1));
        *cseq += 1;
        *cseq
    }

    fn send_ask(&mut self, pass: &mut Pass, key: AskKey) {
        let branch = self.marks.branch();
        let cnonce = keyed_hash(self.seed, branch.as_bytes());
        let Some(pending) = self.asks.table.get_mut(key) else { return };
        let ask = pending.ask.clone();
        let method = method_of(&ask.what);
        let uri = format!("sip:{}", ask.host);
        let mut authorization = None;
        if let (Some(login), Some(known)) = (&ask.login, self.asks.remembered.get_mut(&ask.id.trunk))
            && let Some(credential) = login.credential(known.challenge.realm())
        {
            known.count += 1;
            let value = known.challenge.answer(&credential, method.as_str(), &uri, known.count, cnonce);
            let name = if known.proxy { Name::ProxyAuthorization } else { Name::Authorization };
            pending.used = Some(known.challenge.clone());
            authorization = Some((name, value));
        }
        let identity = (pending.call_id.clone(), pending.tag.clone(), pending.cseq);
        let bytes = self.write_ask(&ask, &uri, identity, &branch, authorization);
        let purpose = Purpose::Ask(key);
        let client = self.open(pass, ask.flow, (method, &branch), bytes, purpose);
        if let Some(pending) = self.asks.table.get_mut(key) {
            pending.client = Some(client);
        }
    }

    fn write_ask(
        &self,
        ask: &Ask,
        uri: &str,
        (call_id, tag, cseq): (Box<str>, Box<str>, u32),
        branch: &str,
        authorization: Option<(Name, String)>,
    ) -> Bytes {
        let method = method_of(&ask.what);
        let advertised = self.settings.advertised(ask.flow);
        let user = ask.login.as_ref().map_or("", |login| &login.user);
        let target = Uri::parse(uri.as_bytes()).expect("hosts of trunks were checked when they were read");
        let mut writer = Writer::request(method, &target);
        writer.line(Name::Via, format_args!("{}", via(&self.settings, ask.flow, branch)));
        writer.header(Name::MaxForwards, "70");
        if let Some(route) = &ask.route {
            writer.line(Name::Route, format_args!("<{route}>"));
        }
        let (from, to) = match &ask.what {
            Question::Alive => (format!("sip:{advertised}"), uri.to_owned()),
            Question::Register { .. } => {
                let address = format!("sip:{}@{}", User(user), without_port(&ask.host));
                (address.clone(), address)
            }
        };
        writer.address(Name::From, b"", from, Some(&tag));
        writer.address(Name::To, b"", to, None);
        writer.header(Name::CallId, call_id.as_bytes());
        writer.line(Name::CSeq, format_args!("{cseq} {method}"));
        match &ask.what {
            Question::Alive => writer.header(Name::Accept, SDP),
            Question::Register { expires_s, .. } => {
                writer.address(Name::Contact, b"", self.settings.contact_of(ask.flow, user), None);
                writer.line(Name::Expires, format_args!("{expires_s}"))
            }
        };
        writer.header(Name::Allow, ALLOW);
        if let Some((name, value)) = authorization {
            writer.header(name, value);
        }
        writer.finish()
    }

    /// A response to the request, or none in time.
    pub(super) fn ask_told(&mut self, pass: &mut Pass, key: AskKey, response: Option<&Message>) {
        let Some(pending) = self.asks.table.get_mut(key) else { return };
        let status = response.and_then(Message::status).unwrap_or(408);
        if status < 200 {
            return;
        }
        let trunk = pending.ask.id.trunk;
        if let (401 | 407, Some(response)) = (status, response)
            && let Some(login) = &pending.ask.login
            && pending.answers < ANSWERS_MAX
            && let Some(challenge) = Challenge::of(response)
            && login.credential(challenge.realm()).is_some()
        {
            // The nonce of our last answer, and not called stale: the password is wrong, and no repetition mends it.
            let fresh = pending.answers == 0 && pending.used.as_ref() != Some(&challenge) || challenge.stale;
            if fresh {
                pending.answers += 1;
                pending.cseq += 1;
                let cseq = pending.cseq;
                self.asks.cseqs.entry(trunk).and_modify(|last| *last = cseq);
                self.asks.remembered.insert(trunk, Remembered { challenge, proxy: status == 407, count: 0 });
                return self.send_ask(pass, key);
            }
        }
        if matches!(status, 401 | 403 | 407) {
            self.asks.remembered.remove(&trunk);
        }
        let Some(Pending { ask, .. }) = self.asks.table.remove(key) else { return };
        let mut answer = answer_of(&ask, status);
        if let Some(response) = response {
            answer.expires_s = granted(response, self.settings.advertised(ask.flow), self.settings.transport(ask.flow));
            answer.min_expires_s = response.number(Name::MinExpires);
        }
        pass.out.push(Command::Answered(answer));
    }
}

fn answer_of(ask: &Ask, status: u16) -> Answer {
    Answer { id: ask.id, what: ask.what.clone(), status, expires_s: None, min_expires_s: None }
}

const fn method_of(what: &Question) -> Method {
    match what {
        Question::Alive => Method::Options,
        Question::Register { .. } => Method::Register,
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') =>
        {
            name
        }
        _ => host,
    }
}

/// What our Contact was granted: the registrar tells of all Contacts of the address (§10.3 (8)).
fn granted(response: &Message, advertised: SocketAddr, transport: Transport) -> Option<u32> {
    let ours = response.contacts().filter_map(Result::ok).find_map(|contact| match contact {
        Contact::At(address) => {
            let (ip, port) = (address.uri.host?.ip()?, address.uri.port.unwrap_or(transport.default_port()));
            ((ip, port) == (advertised.ip(), advertised.port()))
                .then(|| text(address.params.value("expires")?)?.parse().ok())
        }
        Contact::All => None,
    });
    ours.flatten().or_else(|| response.number(Name::Expires))
}

#[cfg(test)]
mod tests {
    use super::super::event::{Action, AskId, Event, Flow, ListenerSettings, Login, Settings};
    use super::*;
    use crate::base::{Mint, Mono, Now, ShardId, Wall};
    use std::sync::Arc;
    use std::time::Duration;

    struct World {
        ua: Ua,
        now: Now,
        sent: Vec<Message>,
        answers: Vec<Answer>,
    }

    fn flow() -> Flow {
        Flow { listener: 0, connection: 0, peer: "192.0.2.1:5060".parse().unwrap() }
    }

    impl World {
        fn new() -> World {
            let listeners = vec![ListenerSettings::udp("192.0.2.100:5060".parse().unwrap())];
            let settings = Arc::new(Settings { listeners, ..Settings::default() });
            let ua = Ua::new(0, ShardId(0), Mint::new(0, [1, 2]), [1, 2], settings);
            let now = Now { mono: Mono::from_ms(1_000), wall: Wall(1_790_000_000_000) };
            World { ua, now, sent: Vec::new(), answers: Vec::new() }
        }

        fn step(&mut self, step: impl FnOnce(&mut Ua, Now, &mut Vec<Command>)) {
            let mut out = Vec::new();
            step(&mut self.ua, self.now, &mut out);
            self.ua.check();
            for command in out {
                match command {
                    Command::Send { bytes, .. } => self.sent.push(Message::parse(bytes).unwrap()),
                    Command::Answered(answer) => self.answers.push(answer),
                    Command::Tell(notice) => panic!("{notice:?}"),
                    Command::Bindings(bindings) => panic!("{bindings:?}"),
                    Command::Suspect(suspicion) => panic!("{suspicion:?}"),
                }
            }
        }

        fn ask(&mut self, number: u32, what: Question) {
            let login = Arc::new(Login { user: "059112345".into(), password: "sesame".into(), realm: None });
            let id = AskId { trunk: TrunkId(3), number };
            let route = Some("sip:192.0.2.20;lr".into());
            let ask = Ask { id, what, host: "ims.example:5070".into(), flow: flow(), route, login: Some(login) };
            self.step(|ua, now, out| ua.handle(now, Event::Do(Action::Ask(Box::new(ask))), out));
        }

        /// Answers the last request.
        fn answer(&mut self, status: u16, fill: impl FnOnce(&mut Writer)) {
            let mut writer = Writer::reply(self.sent.last().unwrap(), status, flow().peer, "p");
            fill(&mut writer);
            let bytes = writer.finish();
            self.step(|ua, now, out| ua.handle(now, Event::Received { flow: flow(), bytes }, out));
        }

        fn challenge(&mut self, status: u16, nonce: &str, stale: bool) {
            let name = if status == 407 { Name::ProxyAuthenticate } else { Name::WwwAuthenticate };
            let stale = if stale { ", stale=true" } else { "" };
            self.answer(status, |writer| {
                writer.line(
                    name,
                    format_args!("Digest realm=\"ims\", nonce=\"{nonce}\", algorithm=SHA-256, qop=\"auth\"{stale}"),
                );
            });
        }

        /// Nonce and count of the credentials in the last request.
        fn proof(&self) -> Option<(String, u32)> {
            let message = self.sent.last().unwrap();
            let given = message.authorizations().chain(message.proxy_authorizations()).next()?;
            Some((String::from_utf8(given.nonce.to_vec()).unwrap(), given.nonce_count().unwrap()))
        }

        fn last(&self) -> String {
            let request = self.sent.last().unwrap();
            let lines = request.headers().map(|(name, value)| [name, b": ", value, b"\n"].concat());
            String::from_utf8(lines.collect::<Vec<_>>().concat()).unwrap()
        }
    }

    fn register() -> Question {
        Question::Register { expires_s: 600, call_id: "our-registration".into() }
    }

    #[test]
    fn a_registration_is_written_as_the_rfc_wants_it_and_its_grant_is_read() {
        let mut world = World::new();
        world.ask(1, register());
        let text = world.last();
        for line in [
            "Route: <sip:192.0.2.20;lr>",
            "From: <sip:059112345@ims.example>;tag=",
            "To: <sip:059112345@ims.example>\n",
            "Call-ID: our-registration\n",
            "Contact: <sip:059112345@192.0.2.100:5060>\n",
            "Expires: 600\n",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        let uri = world.sent[0].request_uri().unwrap();
        assert_eq!(uri.as_bytes(), b"sip:ims.example:5070");
        let first = world.sent[0].cseq().number;
        world.challenge(401, "n1", false);
        assert_eq!(world.proof(), Some(("n1".into(), 1)));
        assert_eq!(world.sent.last().unwrap().cseq().number, first + 1);
        world.answer(200, |writer| {
            writer
                .header(Name::Contact, "<sip:other@192.0.2.9>;expires=9, <sip:059112345@192.0.2.100:5060>;expires=120");
            writer.header(Name::Expires, "77");
        });
        let id = AskId { trunk: TrunkId(3), number: 1 };
        let expected = Answer { id, what: register(), status: 200, expires_s: Some(120), min_expires_s: None };
        assert_eq!(world.answers, [expected]);
        // The next one proves itself at once, with the next count, under a higher CSeq.
        world.ask(2, register());
        assert_eq!(world.proof(), Some(("n1".into(), 2)));
        assert_eq!(world.sent.last().unwrap().cseq().number, first + 2);
        world.challenge(401, "n2", true);
        assert_eq!(world.proof(), Some(("n2".into(), 1)), "a stale nonce is replaced");
        world.answer(200, |_| {});
        assert_eq!(world.answers.last().map(|answer| (answer.status, answer.expires_s)), Some((200, None)));
        assert_eq!(world.ua.asks.len(), 0);
    }

    #[test]
    fn a_wrong_password_ends_and_other_refusals_are_told() {
        let mut world = World::new();
        world.ask(1, register());
        world.challenge(407, "n1", false);
        assert_eq!(world.proof(), Some(("n1".into(), 1)));
        world.challenge(407, "n2", false);
        assert_eq!((world.sent.len(), world.answers[0].status), (2, 407), "no third try");
        world.ask(2, register());
        assert_eq!(world.proof(), None, "what was refused is forgotten");
        world.answer(423, |writer| {
            writer.header(Name::MinExpires, "1800");
        });
        assert_eq!((world.answers[1].status, world.answers[1].min_expires_s), (423, Some(1_800)));
    }

    #[test]
    fn options_without_an_answer_are_told_so_and_leave_nothing() {
        let mut world = World::new();
        world.ask(9, Question::Alive);
        assert!(world.last().contains("From: <sip:192.0.2.100:5060>;tag="), "{}", world.last());
        world.answer(100, |_| {});
        assert!(world.answers.is_empty(), "provisional");
        world.now = world.now.after(Duration::from_secs(40));
        world.step(|ua, now, out| ua.expire(now, out));
        assert_eq!((world.answers[0].status, world.answers[0].what.clone()), (408, Question::Alive));
        let counts = world.ua.counts();
        assert_eq!((counts.transactions, counts.timers, world.ua.asks.len()), (0, 0, 0));
    }
}
