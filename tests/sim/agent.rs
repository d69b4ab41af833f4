//! An agent's phone: registers, rings, answers or not, and now and then misbehaves.

use super::dice::Dice;
use super::session::{Cue, Out, Session, Stage};
use super::text::{Text, auth_param, finish, param};
use jiesu::base::Mono;
use md5::{Digest, Md5};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

const EXPIRES_S: u32 = 120;
/// A phone that does not read Expires stops ringing by itself after this.
const RING_OF_ITSELF_S: u64 = 180;

#[derive(Clone, Debug, Default)]
struct Registration {
    cseq: u32,
    nonce: Option<String>,
    count: u32,
    /// The request that waits for its answer: expiry asked for, and how often it was sent.
    waiting: Option<(u32, u32)>,
    challenged: bool,
    wanted: bool,
    /// A refresh is planned.
    refreshing: bool,
}

/// The phone on an agent's desk.
#[derive(Debug)]
pub struct Agent {
    pub me: SocketAddr,
    pub user: String,
    pub domain: String,
    /// How many in a thousand rings or talks go oddly.
    pub wild: u64,
    pub sessions: BTreeMap<String, Session>,
    /// Contacts of talks that this phone has ended since it was last asked.
    pub hung_up: Vec<String>,
    pub silent: bool,
    /// Since when the engine has confirmed that the phone is gone.
    pub away_since: Option<Mono>,
    /// Since when the phone neither hears nor speaks.
    pub silent_since: Option<Mono>,
    /// When the phone last came back: an INVITE that nobody waits for any more may be under way to it still.
    pub returned: Mono,
    /// Stops ringing by itself when the INVITE has run out (RFC 3261 §13.3.1).
    pub reads_expires: bool,
    /// Shortest and longest talk, in milliseconds.
    talk_ms: (u64, u64),
    registration: Registration,
    serial: u64,
}

impl Agent {
    /// A phone that is switched off.
    pub fn new(me: SocketAddr, user: String, domain: String, (wild, talk_ms): (u64, (u64, u64))) -> Agent {
        let reads_expires = user.ends_with(['0', '2', '4', '6', '8']);
        Agent {
            me,
            user,
            domain,
            wild,
            sessions: BTreeMap::new(),
            hung_up: Vec::new(),
            silent: false,
            away_since: None,
            silent_since: None,
            returned: Mono::default(),
            reads_expires,
            talk_ms,
            registration: Registration::default(),
            serial: 0,
        }
    }

    fn odd(&self, dice: &mut Dice, share: u64) -> bool {
        dice.permille(self.wild * share / 100)
    }

    /// A message from the engine.
    pub fn hear(&mut self, now: Mono, text: &Text, dice: &mut Dice, out: &mut Vec<Out>) {
        if self.silent {
            return;
        }
        let Some(method) = text.method().map(str::to_owned) else {
            return self.response(now, text, dice, out);
        };
        let call_id = text.header("call-id").to_owned();
        if let Some(said) = self.sessions.get(&call_id).and_then(|session| session.said_before(text)) {
            return out.push(Out::Send(said.clone()));
        }
        match method.as_str() {
            "ACK" => {
                if let Some(session) = self.sessions.get_mut(&call_id) {
                    session.acknowledged(text);
                    session.acked = true;
                }
            }
            "INVITE" if param(text.header("to"), "tag").is_none() => self.invited(now, text, dice, out),
            "CANCEL" => self.cancelled(&call_id, text, dice, out),
            _ => self.inside(&method, &call_id, text, out),
        }
    }

    fn invited(&mut self, now: Mono, text: &Text, dice: &mut Dice, out: &mut Vec<Out>) {
        let call_id = text.header("call-id").to_owned();
        if let Some(session) = self.sessions.get(&call_id) {
            // Repeated: what we said so far was lost.
            if session.stage == Stage::Asked && session.rung {
                out.push(Out::Send(text.reply(180, &session.tag(), &format!("Contact: <sip:u@{}>\r\n", self.me), "")));
            }
            return;
        }
        self.serial += 1;
        let busy = self.sessions.values().any(|session| session.stage != Stage::Down);
        let mut session = Session::incoming(self.me, text, &format!("a{}x{}", self.user, self.serial));
        if busy {
            session.say(text, 486, "", out);
            session.stage = Stage::Down;
            out.push(Out::At(Duration::from_secs(70), Cue::Forget(call_id.clone())));
            self.sessions.insert(call_id, session);
            return;
        }
        session.asked = now;
        self.sessions.insert(call_id.clone(), session);
        out.push(Out::At(dice.ms(5, 300), Cue::Ring(call_id.clone())));
        let expires_s: u64 = text.header("expires").parse().expect("our INVITE says how long it rings");
        let rings = if self.reads_expires { expires_s } else { RING_OF_ITSELF_S };
        out.push(Out::At(Duration::from_secs(rings), Cue::Reject(call_id.clone(), 487)));
        let answer = dice.ms(400, 8_000);
        if self.odd(dice, 10) {
            // The phone goes away at the very moment of the answer, and comes back.
            out.push(Out::At(answer.saturating_sub(dice.ms(0, 60)), Cue::Register(false)));
            out.push(Out::At(answer + dice.ms(100, 3_000), Cue::Register(true)));
        }
        if self.odd(dice, 10) {
            let refusal = dice.pick(&[486, 603, 480, 500, 404]);
            out.push(Out::At(answer, Cue::Reject(call_id, refusal)));
        } else if self.odd(dice, 10) {
            // Never answers.
        } else if self.odd(dice, 4) {
            out.push(Out::At(answer / 2, Cue::Vanish(Some(dice.ms(5_000, 300_000)))));
        } else if self.odd(dice, 6) {
            out.push(Out::At(dice.ms(19_000, 20_500), Cue::Answer(call_id)));
        } else if self.odd(dice, 4) {
            // Two final responses: only the first counts.
            out.push(Out::At(answer, Cue::Answer(call_id.clone())));
            out.push(Out::At(answer + dice.ms(0, 50), Cue::Reject(call_id, 486)));
        } else {
            out.push(Out::At(answer, Cue::Answer(call_id)));
        }
    }

    fn cancelled(&mut self, call_id: &str, text: &Text, dice: &mut Dice, out: &mut Vec<Out>) {
        let crosses = self.odd(dice, 15);
        let Some(session) = self.sessions.get_mut(call_id) else {
            return out.push(Out::Send(text.reply(481, "none", "", "")));
        };
        if crosses && session.stage == Stage::Asked {
            self.answer(call_id, dice, out);
        }
        let session = self.sessions.get_mut(call_id).expect("it was there");
        session.say(text, 200, "", out);
        if session.stage == Stage::Asked {
            let invite = session.invite.clone().expect("an asked session has its INVITE");
            session.say(&invite, 487, "", out);
            self.down(call_id, out);
        }
    }

    fn inside(&mut self, method: &str, call_id: &str, text: &Text, out: &mut Vec<Out>) {
        let Some(session) = self.sessions.get_mut(call_id).filter(|session| session.stage == Stage::Up) else {
            return out.push(Out::Send(text.reply(481, "none", "", "")));
        };
        if session.is_late(text) {
            return session.say(text, 500, "", out);
        }
        match method {
            "BYE" => {
                session.say(text, 200, "", out);
                self.down(call_id, out);
            }
            "INVITE" if session.waits_for("INVITE") => session.say(text, 491, "", out),
            "INVITE" => {
                let direction = session.direction;
                let body = session.describe(direction);
                session.say(text, 200, &body, out);
            }
            _ => session.say(text, 200, "", out),
        }
    }

    fn response(&mut self, now: Mono, text: &Text, dice: &mut Dice, out: &mut Vec<Out>) {
        if text.cseq().1 == "REGISTER" {
            return self.registered(now, text, dice, out);
        }
        let call_id = text.header("call-id").to_owned();
        let Some(session) = self.sessions.get_mut(&call_id) else { return };
        match session.response(text) {
            Some((200..=299, method)) if method == "INVITE" => {
                let ack = session.ack(text.cseq().0, "");
                out.push(Out::Send(ack));
            }
            Some((status, method)) if method == "INVITE" => {
                out.push(Out::Send(session.ack_refusal(text)));
                if status == 481 {
                    self.down(&call_id, out);
                }
            }
            Some((_, method)) if method == "BYE" => self.down(&call_id, out),
            Some(_) | None => {
                if text.status().is_some_and(|status| status >= 300) && text.cseq().1 == "INVITE" {
                    out.push(Out::Send(session.ack_refusal(text)));
                }
            }
        }
    }

    /// The time of something planned has come.
    pub fn cue(&mut self, now: Mono, cue: Cue, dice: &mut Dice, out: &mut Vec<Out>) {
        match cue {
            Cue::Vanish(time) => return self.vanish(now, time, out),
            Cue::Return => {
                self.silent = false;
                self.silent_since = None;
                self.returned = now;
                return self.register(true, out);
            }
            Cue::Refresh => {
                self.registration.refreshing = false;
                if !self.silent && self.registration.waiting.is_none() {
                    self.register(true, out);
                }
                return;
            }
            Cue::Register(wanted) if !self.silent => return self.register(wanted, out),
            Cue::Forget(call_id) => {
                self.sessions.remove(&call_id);
                return;
            }
            _ if self.silent => return,
            _ => {}
        }
        match cue {
            Cue::Resend(call_id, branch) if call_id == "register" => self.register_again(&branch, out),
            Cue::Resend(call_id, branch) => {
                let given_up = self.sessions.get_mut(&call_id).is_some_and(|session| session.resend(now, &branch, out));
                if given_up {
                    self.down(&call_id, out);
                }
            }
            Cue::ResendOk(call_id, cseq, waited) => {
                let unheard = self.sessions.get_mut(&call_id).is_some_and(|it| it.resend_ok(cseq, waited, out));
                if unheard {
                    self.hang_up(now, &call_id, out);
                }
            }
            Cue::Ring(call_id) => {
                if let Some(session) = self.sessions.get_mut(&call_id).filter(|it| it.stage == Stage::Asked) {
                    session.rung = true;
                    let invite = session.invite.clone().expect("an asked session has its INVITE");
                    let tag = session.tag();
                    let extra = format!("Contact: <sip:u@{}>\r\n", self.me);
                    out.push(Out::Send(invite.reply(180, &tag, &extra, "")));
                }
            }
            Cue::Answer(call_id) => {
                let asked = self.sessions.get(&call_id).is_some_and(|it| it.stage == Stage::Asked);
                if asked {
                    self.answer(&call_id, dice, out);
                }
            }
            Cue::Reject(call_id, status) => self.reject(&call_id, status, out),
            Cue::HangUp(call_id) => self.hang_up(now, &call_id, out),
            Cue::Reinvite(call_id, direction) => {
                let session = self.sessions.get_mut(&call_id).filter(|it| it.stage == Stage::Up);
                if let Some(session) = session.filter(|it| it.may_reinvite()) {
                    let body = session.describe(direction);
                    session.request(now, "INVITE", &body, out);
                }
            }
            _ => {}
        }
    }

    fn answer(&mut self, call_id: &str, dice: &mut Dice, out: &mut Vec<Out>) {
        let talk = dice.ms(self.talk_ms.0, self.talk_ms.1);
        let holds = self.odd(dice, 30).then(|| (dice.ms(500, 20_000), dice.ms(100, 30_000)));
        let vanishes = self.odd(dice, 5).then(|| dice.ms(100, 60_000));
        let unregisters = self.odd(dice, 5).then(|| dice.ms(0, 30_000));
        let session = self.sessions.get_mut(call_id).expect("only a known call is answered");
        let invite = session.invite.clone().expect("an asked session has its INVITE");
        session.stage = Stage::Up;
        let body = session.describe("sendrecv");
        session.say(&invite, 200, &body, out);
        out.push(Out::At(talk, Cue::HangUp(call_id.into())));
        if let Some((after, time)) = holds {
            out.push(Out::At(after, Cue::Reinvite(call_id.into(), "sendonly")));
            out.push(Out::At(after + time, Cue::Reinvite(call_id.into(), "sendrecv")));
        }
        if let Some(after) = vanishes {
            out.push(Out::At(after, Cue::Vanish(Some(dice.ms(5_000, 300_000)))));
        }
        if let Some(after) = unregisters {
            out.push(Out::At(after, Cue::Register(false)));
            out.push(Out::At(after + dice.ms(100, 200_000), Cue::Register(true)));
        }
    }

    fn reject(&mut self, call_id: &str, status: u16, out: &mut Vec<Out>) {
        let Some(session) = self.sessions.get_mut(call_id) else { return };
        let Some(invite) = session.invite.clone() else { return };
        if session.stage == Stage::Asked {
            session.say(&invite, status, "", out);
            self.down(call_id, out);
        } else if status != 487 {
            // The second final response of a phone that has lost its mind: sent, never meant.
            out.push(Out::Send(invite.reply(status, &session.tag(), "", "")));
        }
    }

    fn hang_up(&mut self, now: Mono, call_id: &str, out: &mut Vec<Out>) {
        let Some(session) = self.sessions.get_mut(call_id) else { return };
        if session.stage == Stage::Up && !session.said_bye {
            session.said_bye = true;
            self.hung_up.push(session.contact.clone());
            session.request(now, "BYE", "", out);
        }
    }

    fn vanish(&mut self, now: Mono, time: Option<Duration>, out: &mut Vec<Out>) {
        self.silent = true;
        self.silent_since.get_or_insert(now);
        self.sessions.clear();
        self.registration.waiting = None;
        if let Some(time) = time {
            out.push(Out::At(time, Cue::Return));
        }
    }

    fn down(&mut self, call_id: &str, out: &mut Vec<Out>) {
        if let Some(session) = self.sessions.get_mut(call_id).filter(|session| session.stage != Stage::Down) {
            session.stage = Stage::Down;
            out.push(Out::At(Duration::from_secs(70), Cue::Forget(call_id.into())));
        }
    }
}

/// Registration (RFC 3261 §10, §22.4).
impl Agent {
    fn register(&mut self, wanted: bool, out: &mut Vec<Out>) {
        self.away_since = None;
        self.registration.wanted = wanted;
        self.registration.challenged = false;
        self.registration.waiting = Some((if wanted { EXPIRES_S } else { 0 }, 0));
        self.registration.cseq += 1;
        self.send_register(out);
    }

    fn send_register(&mut self, out: &mut Vec<Out>) {
        let Some((expires, sent)) = &mut self.registration.waiting else { return };
        *sent += 1;
        let (expires, sent) = (*expires, *sent);
        let cseq = self.registration.cseq;
        let authorization = self.authorization(sent);
        let (me, user, domain) = (self.me, &self.user, &self.domain);
        let start = format!(
            "REGISTER sip:{domain} SIP/2.0\r\nVia: SIP/2.0/UDP {me};rport;branch=z9hG4bKr{user}x{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{domain}>;tag=r{user}\r\nTo: <sip:{user}@{domain}>\r\n\
             Call-ID: r{user}@{me}\r\nCSeq: {cseq} REGISTER\r\n"
        );
        let extra = format!("Contact: <sip:{user}@{me}>\r\nExpires: {expires}\r\n{authorization}");
        out.push(Out::Send(finish(start, &extra, "")));
        let wait = Duration::from_millis(500 << sent.min(4).saturating_sub(1));
        out.push(Out::At(wait, Cue::Resend("register".into(), cseq.to_string())));
    }

    fn register_again(&mut self, cseq: &str, out: &mut Vec<Out>) {
        if cseq != self.registration.cseq.to_string() {
            return;
        }
        match self.registration.waiting {
            Some((_, sent)) if sent > 8 => {
                self.registration.waiting = None;
                out.push(Out::At(Duration::from_secs(5), Cue::Register(self.registration.wanted)));
            }
            Some(_) => self.send_register(out),
            None => {}
        }
    }

    /// Digest in MD5 with qop (RFC 2617 §3.2.2), the count raised once for each request, not for its repetition.
    fn authorization(&mut self, sent: u32) -> String {
        let Some(nonce) = self.registration.nonce.clone() else { return String::new() };
        if sent == 1 {
            self.registration.count += 1;
        }
        let hash = |text: String| hex::encode(Md5::digest(text));
        let (user, domain, count) = (&self.user, &self.domain, format!("{:08x}", self.registration.count));
        let secret = hash(format!("{user}:{domain}:secret-{user}"));
        let response = hash(format!("{secret}:{nonce}:{count}:cn:auth:{}", hash(format!("REGISTER:sip:{domain}"))));
        format!(
            "Authorization: Digest username=\"{user}\", realm=\"{domain}\", nonce=\"{nonce}\", uri=\"sip:{domain}\", \
             response=\"{response}\", algorithm=MD5, qop=auth, nc={count}, cnonce=\"cn\"\r\n"
        )
    }

    fn registered(&mut self, now: Mono, text: &Text, dice: &mut Dice, out: &mut Vec<Out>) {
        if text.cseq().0 != self.registration.cseq || self.registration.waiting.is_none() {
            return;
        }
        match text.status() {
            Some(401) => {
                let challenge = text.header("www-authenticate");
                let stale = auth_param(challenge, "stale") == Some("true");
                if self.registration.challenged && !stale {
                    // Removed from the settings; perhaps only for a while.
                    self.registration.waiting = None;
                    self.registration.nonce = None;
                    return self.refresh_after(dice.ms(20_000, 60_000), out);
                }
                self.registration.nonce = auth_param(challenge, "nonce").map(str::to_owned);
                self.registration.count = 0;
                self.registration.challenged = true;
                self.registration.cseq += 1;
                if let Some((_, sent)) = &mut self.registration.waiting {
                    *sent = 0;
                }
                self.send_register(out);
            }
            Some(200..=299) => {
                self.registration.waiting = None;
                self.away_since = (!self.registration.wanted).then_some(now);
                if self.registration.wanted {
                    self.refresh_after(dice.ms(50_000, 100_000), out);
                }
            }
            Some(403 | 404) => {
                self.registration.waiting = None;
                self.refresh_after(dice.ms(20_000, 60_000), out);
            }
            _ => {}
        }
    }

    fn refresh_after(&mut self, wait: Duration, out: &mut Vec<Out>) {
        if !std::mem::replace(&mut self.registration.refreshing, true) {
            out.push(Out::At(wait, Cue::Refresh));
        }
    }
}
