//! One SIP session of a test phone: requests and their repetition, responses and theirs, the dialog between.
//!
//! Written from RFC 3261 for the test alone. Knows how to speak, never when: that is the phone's plan.

use super::text::{Text, finish, sdp};
use jiesu::base::Mono;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

pub const T1: Duration = Duration::from_millis(500);
pub const T2: Duration = Duration::from_secs(4);
pub const T1_64: Duration = Duration::from_secs(32);

/// What a phone wants done.
#[derive(Clone, Debug)]
pub enum Out {
    /// A SIP datagram to the engine.
    Send(String),
    /// An RTP datagram to the engine.
    Rtp(SocketAddr, Vec<u8>),
    /// Come back later.
    At(Duration, Cue),
}

/// What a phone does when its time comes. Sessions are named by Call-ID.
#[derive(Clone, Debug)]
pub enum Cue {
    /// Repeat the request of this branch.
    Resend(String, String),
    /// Repeat our 2xx of this CSeq.
    ResendOk(String, u32, Duration),
    /// 180.
    Ring(String),
    /// 200 to the INVITE.
    Answer(String),
    /// Another final response to the INVITE.
    Reject(String, u16),
    /// The ACK that was held back.
    Ack,
    /// The INVITE was cancelled long ago and had no final answer (RFC 3261 §9.1).
    Lapse,
    /// BYE, or CANCEL while there is no final response.
    HangUp(String),
    /// re-INVITE with this direction.
    Reinvite(String, &'static str),
    /// BYE with a To tag that is nobody's.
    StrayBye,
    /// A digit by RFC 4733.
    Digit(u8),
    /// The phone falls silent for good (citizen) or for so long (agent).
    Vanish(Option<Duration>),
    /// The phone comes back.
    Return,
    /// REGISTER; with false, un-REGISTER.
    Register(bool),
    /// REGISTER once more before it runs out.
    Refresh,
    /// Forget an ended session.
    Forget(String),
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Our INVITE has no final response.
    Calling,
    /// Their INVITE has no final response.
    Asked,
    /// A 2xx went one way or the other.
    Up,
    /// Over.
    Down,
}

#[derive(Clone, Debug)]
struct Pending {
    method: String,
    bytes: String,
    interval: Duration,
    until: Mono,
    proceeding: bool,
}

/// One session.
#[derive(Clone, Debug)]
pub struct Session {
    pub call_id: String,
    pub stage: Stage,
    /// Their media address.
    pub media: Option<SocketAddr>,
    /// The contact that the engine named in its INVITE.
    pub contact: String,
    pub said_bye: bool,
    /// When their INVITE came, and whether we have rung.
    pub asked: Mono,
    pub rung: bool,
    pub cancelled: bool,
    pub acked: bool,
    pub direction: &'static str,
    me: SocketAddr,
    local: String,
    remote: String,
    target: String,
    cseq: u32,
    branches: u32,
    version: u32,
    /// The highest CSeq of theirs in this dialog.
    heard: u32,
    pending: BTreeMap<String, Pending>,
    /// Our last response, by branch and method of the request.
    said: BTreeMap<String, String>,
    /// ACKs of their 2xx, by CSeq.
    pub acks: BTreeMap<u32, String>,
    /// Their INVITE, while we owe or repeat an answer.
    pub invite: Option<Text>,
    oks: BTreeMap<u32, String>,
}

impl Session {
    /// A session that we begin.
    pub fn outgoing(me: SocketAddr, call_id: String, local: String, remote: String, target: String) -> Session {
        Session {
            call_id,
            stage: Stage::Calling,
            media: None,
            contact: String::new(),
            said_bye: false,
            asked: Mono::default(),
            rung: false,
            cancelled: false,
            acked: false,
            direction: "sendrecv",
            me,
            local,
            remote,
            target,
            cseq: 0,
            branches: 0,
            version: 1,
            heard: 0,
            pending: BTreeMap::new(),
            said: BTreeMap::new(),
            acks: BTreeMap::new(),
            invite: None,
            oks: BTreeMap::new(),
        }
    }

    /// A session that the engine begins with `invite`.
    pub fn incoming(me: SocketAddr, invite: &Text, tag: &str) -> Session {
        let local = format!("{};tag={tag}", invite.header("to"));
        let (remote, target) = (invite.header("from").to_owned(), invite.contact().expect("an INVITE has a Contact"));
        let mut session = Session::outgoing(me, invite.header("call-id").to_owned(), local, remote, target.to_owned());
        session.stage = Stage::Asked;
        session.heard = invite.cseq().0;
        session.media = invite.media();
        session.contact = invite.header("x-jiesu-contact").to_owned();
        session.invite = Some(invite.clone());
        session
    }

    /// Our tag.
    pub fn tag(&self) -> String {
        super::text::param(&self.local, "tag").expect("we have a tag").to_owned()
    }

    /// A new description of ours.
    pub fn describe(&mut self, direction: &'static str) -> String {
        self.version += 1;
        self.direction = direction;
        sdp(self.me, self.version, direction)
    }

    fn write(&self, method: &str, cseq: u32, branch: &str, remote: &str, body: &str) -> String {
        let (me, target, local, call_id) = (self.me, &self.target, &self.local, &self.call_id);
        let out = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {me};rport;branch={branch}\r\nMax-Forwards: 70\r\n\
             From: {local}\r\nTo: {remote}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n"
        );
        finish(out, &format!("Contact: <sip:u@{me}>\r\n"), body)
    }

    fn branch(&mut self) -> String {
        self.branches += 1;
        format!("z9hG4bK{}x{}", self.call_id.replace(['@', '.', ':'], "-"), self.branches)
    }

    /// Sends a request of a new transaction and sees to its repetition.
    pub fn request(&mut self, now: Mono, method: &str, body: &str, out: &mut Vec<Out>) {
        self.cseq += 1;
        let branch = self.branch();
        let bytes = self.write(method, self.cseq, &branch, &self.remote, body);
        self.start(now, method, branch, bytes, out);
    }

    fn start(&mut self, now: Mono, method: &str, branch: String, bytes: String, out: &mut Vec<Out>) {
        out.push(Out::Send(bytes.clone()));
        out.push(Out::At(T1, Cue::Resend(self.call_id.clone(), branch.clone())));
        let pending = Pending { method: method.to_owned(), bytes, interval: T1, until: now + T1_64, proceeding: false };
        self.pending.insert(branch, pending);
    }

    /// Time to repeat a request. True when it has had no answer for 64×T1.
    pub fn resend(&mut self, now: Mono, branch: &str, out: &mut Vec<Out>) -> bool {
        let Some(pending) = self.pending.get_mut(branch) else { return false };
        if pending.proceeding && pending.method == "INVITE" {
            return false;
        }
        if now >= pending.until {
            self.pending.remove(branch);
            return true;
        }
        pending.interval *= 2;
        if pending.method != "INVITE" {
            pending.interval = pending.interval.min(T2);
        }
        out.push(Out::Send(pending.bytes.clone()));
        out.push(Out::At(pending.interval, Cue::Resend(self.call_id.clone(), branch.to_owned())));
        false
    }

    /// CANCEL of the INVITE that waits (it must have had a provisional response, §9.1).
    pub fn cancel(&mut self, now: Mono, out: &mut Vec<Out>) {
        let Some((branch, pending)) = self.pending.iter().find(|(_, it)| it.method == "INVITE" && it.proceeding) else {
            return;
        };
        let branch = branch.clone();
        let cseq = self.cseq;
        assert!(!pending.bytes.is_empty());
        let bytes = self.write("CANCEL", cseq, &branch, &self.remote, "");
        self.cancelled = true;
        self.start(now, "CANCEL", branch + ";c", bytes, out);
    }

    /// A response. Returns its status and method when it is the first final one of its transaction, or a 2xx again.
    pub fn response(&mut self, text: &Text) -> Option<(u16, String)> {
        let (status, (cseq, method)) = (text.status()?, text.cseq());
        let key = if method == "CANCEL" { format!("{};c", text.branch()) } else { text.branch().to_owned() };
        if status < 200 {
            if let Some(pending) = self.pending.get_mut(&key) {
                pending.proceeding = true;
            }
            return None;
        }
        let first = self.pending.remove(&key).is_some();
        if method == "INVITE" && status >= 300 {
            return first.then(|| (status, method.to_owned()));
        }
        if method == "INVITE" && self.stage != Stage::Down {
            self.remote = text.header("to").to_owned();
            if let Some(contact) = text.contact() {
                self.target = contact.to_owned();
            }
            self.media = text.media().or(self.media);
        }
        let again = method == "INVITE" && self.acks.contains_key(&cseq);
        (first || again).then(|| (status, method.to_owned()))
    }

    /// The ACK of a 2xx with this CSeq: written once, repeated with every repeated 2xx.
    pub fn ack(&mut self, cseq: u32, body: &str) -> String {
        if !self.acks.contains_key(&cseq) {
            let branch = self.branch();
            let ack = self.write("ACK", cseq, &branch, &self.remote, body);
            self.acks.insert(cseq, ack);
        }
        self.acks[&cseq].clone()
    }

    /// The ACK of a refusal of our INVITE: in the same transaction.
    pub fn ack_refusal(&self, text: &Text) -> String {
        self.write("ACK", text.cseq().0, text.branch(), text.header("to"), "")
    }

    /// A BYE inside no dialog at all.
    pub fn stray_bye(&mut self) -> String {
        let branch = self.branch();
        let remote = format!("{};tag=nobodys", self.remote.split(";tag=").next().unwrap_or_default());
        self.write("BYE", self.cseq + 40, &branch, &remote, "")
    }

    /// Whether a request inside the dialog comes out of order (RFC 3261 §12.2.2); if not, its CSeq counts.
    pub fn is_late(&mut self, request: &Text) -> bool {
        let late = request.cseq().0 <= self.heard;
        self.heard = self.heard.max(request.cseq().0);
        late
    }

    /// What we said to this request before, if it is a repetition.
    pub fn said_before(&self, request: &Text) -> Option<&String> {
        let method = request.method()?;
        self.said.get(&format!("{} {method}", request.branch()))
    }

    /// Answers a request and remembers the answer.
    pub fn say(&mut self, request: &Text, status: u16, body: &str, out: &mut Vec<Out>) {
        let method = request.method().expect("only requests are answered");
        let extra = format!("Contact: <sip:u@{}>\r\n", self.me);
        let bytes = request.reply(status, &self.tag(), &extra, body);
        self.said.insert(format!("{} {method}", request.branch()), bytes.clone());
        out.push(Out::Send(bytes.clone()));
        if method == "INVITE" && (200..300).contains(&status) {
            let (cseq, _) = request.cseq();
            self.oks.insert(cseq, bytes);
            out.push(Out::At(T1, Cue::ResendOk(self.call_id.clone(), cseq, T1)));
        }
    }

    /// Their ACK.
    pub fn acknowledged(&mut self, ack: &Text) {
        self.oks.remove(&ack.cseq().0);
        self.media = ack.media().or(self.media);
    }

    /// Time to repeat a 2xx of ours. True when no ACK has come for 64×T1.
    pub fn resend_ok(&mut self, cseq: u32, waited: Duration, out: &mut Vec<Out>) -> bool {
        let Some(ok) = self.oks.get(&cseq) else { return false };
        if waited >= T1_64 {
            self.oks.remove(&cseq);
            return true;
        }
        out.push(Out::Send(ok.clone()));
        let next = waited.min(T2);
        out.push(Out::At(next, Cue::ResendOk(self.call_id.clone(), cseq, waited + next)));
        false
    }

    /// Whether a request of ours of this method waits for its answer.
    pub fn waits_for(&self, method: &str) -> bool {
        self.pending.values().any(|pending| pending.method == method)
    }

    /// One INVITE at a time (RFC 3261 §14.1), and none after our BYE (§15.1.1), which it could overtake.
    pub fn may_reinvite(&self) -> bool {
        self.acked && !self.said_bye && !self.waits_for("INVITE")
    }

    /// Nothing more is repeated.
    pub fn drop_all(&mut self) {
        self.pending.clear();
        self.oks.clear();
    }
}
