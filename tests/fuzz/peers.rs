//! The other ends of a user agent: a carrier's trunk over UDP and TCP, and a phone that registers. They write their
//! requests themselves and answer what they are sent, as a script decides.

use super::corpus::message;
use super::script::Script;
use jiesu::sip::challenge::Challenge;
use jiesu::sip::event::{Credential, Flow};
use jiesu::sip::message::Contact;
use jiesu::sip::write::Writer;
use jiesu::sip::{Message, Method, Name};
use std::net::SocketAddr;

/// Calls whose dialogs are remembered, so that requests can be sent in them.
const CALLS_MAX: usize = 12;
/// One audio stream.
pub const SDP: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 101\r\n\
    a=rtpmap:101 telephone-event/8000\r\n";
const SDP_TYPE: &str = "Content-Type: application/sdp\n";

pub fn trunk() -> Flow {
    Flow { listener: 0, connection: 0, peer: SocketAddr::from(([10, 0, 0, 9], 5060)) }
}

/// The same carrier on a connection of its own.
pub fn trunk_tcp() -> Flow {
    Flow { listener: 1, connection: 7, peer: SocketAddr::from(([10, 0, 0, 9], 41_000)) }
}

pub fn phone() -> Flow {
    Flow { listener: 0, connection: 0, peer: SocketAddr::from(([192, 0, 2, 7], 40_000)) }
}

pub fn stranger() -> Flow {
    Flow { listener: 0, connection: 0, peer: SocketAddr::from(([203, 0, 113, 9], 5060)) }
}

/// One dialog as the other side knows it.
#[derive(Clone, Debug)]
struct Call {
    flow: Flow,
    call_id: String,
    /// From and To of its requests, with tags.
    from: String,
    to: String,
    target: String,
    cseq: u32,
    /// Of its INVITE, for CANCEL and for the ACK of a refusal.
    branch: String,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Peers {
    calls: Vec<Call>,
    /// Calls, branches, tags and CSeqs so far.
    count: u32,
    challenge: Option<Challenge>,
}

/// Something that a peer sends.
pub type Mail = (Flow, Vec<u8>);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn transport(flow: Flow) -> &'static str {
    if flow.is_reliable() { "TCP" } else { "UDP" }
}

impl Call {
    fn request(&self, method: &str, cseq: u32, branch: &str, more: &str, body: &str) -> Vec<u8> {
        let Call { flow, call_id, from, to, target, .. } = self;
        let (transport, peer) = (transport(*flow), flow.peer);
        let lines = format!(
            "Via: SIP/2.0/{transport} {peer};branch={branch};rport\nMax-Forwards: 70\nFrom: {from}\nTo: {to}\n\
             Call-ID: {call_id}\nCSeq: {cseq} {method}\nContact: <sip:x@{peer}>\n{more}"
        );
        message(&format!("{method} {target} SIP/2.0"), &lines, body)
    }
}

impl Peers {
    fn next(&mut self) -> u32 {
        self.count += 1;
        self.count
    }

    fn remember(&mut self, call: Call) {
        if self.calls.len() == CALLS_MAX {
            self.calls.remove(0);
        }
        self.calls.push(call);
    }

    /// A call to the hotline, from the carrier or from a phone that proves itself.
    pub fn invite(&mut self, script: &mut Script<'_>) -> Mail {
        let count = self.next();
        let by_phone = script.chance(60);
        let flow = match (by_phone, script.chance(100)) {
            (true, _) => phone(),
            (false, true) => trunk_tcp(),
            (false, false) => trunk(),
        };
        let from = if by_phone { "<sip:1001@fz.cn>".into() } else { format!("\"A\" <sip:1390000{count:04}@10.0.0.9>") };
        let call = Call {
            flow,
            call_id: format!("c{count}@peer"),
            from: format!("{from};tag=f{count}"),
            to: "<sip:12345@10.0.0.1>".into(),
            target: "sip:12345@10.0.0.1".into(),
            cseq: 1,
            branch: format!("z9hG4bKp{count}"),
        };
        let mut more = String::new();
        for (chance, line) in [
            (60, "Supported: 100rel, timer\nSession-Expires: 1800;refresher=uas\n"),
            (30, "Require: 100rel\n"),
            (40, "Allow: INVITE, ACK, BYE, UPDATE\nExpires: 90\n"),
            (30, "Record-Route: <sip:10.0.0.9:5070;lr>, <sip:10.0.0.9;lr>\n"),
            (
                30,
                "Diversion: <sip:12333@fz.cn>;reason=unconditional\nHistory-Info: <sip:1@a?Reason=SIP%3Bcause%3D302>;index=1\n",
            ),
        ] {
            if script.chance(chance) {
                more.push_str(line);
            }
        }
        if by_phone {
            more.push_str(&self.proof("INVITE", &call.target));
        }
        if script.chance(20)
            && let Some(other) = self.calls.first()
        {
            let tag = |value: &str| value.split(";tag=").nth(1).unwrap_or_default().to_owned();
            more.push_str(&format!(
                "Replaces: {};to-tag={};from-tag={}\n",
                other.call_id,
                tag(&other.to),
                tag(&other.from)
            ));
        }
        let (kind, body) = if script.chance(200) { (SDP_TYPE, SDP) } else { ("", "") };
        let bytes = call.request("INVITE", 1, &call.branch, &format!("{more}{kind}"), body);
        self.remember(call);
        (flow, bytes)
    }

    /// The answer to the last challenge of the user agent.
    fn proof(&self, method: &str, uri: &str) -> String {
        let credential = Credential::new("1001", "fz.cn", "pw");
        self.challenge.as_ref().map_or_else(String::new, |challenge| {
            format!("Authorization: {}\n", challenge.answer(&credential, method, uri, self.count, 7))
        })
    }

    pub fn register(&mut self, script: &mut Script<'_>) -> Mail {
        let (count, flow) = (self.next(), phone());
        let expires = [60, 600, 3_600, 0, 1][script.below(5)];
        let contact = match script.below(5) {
            0 => "Contact: *\n".into(),
            1 => String::new(),
            other => format!("Contact: <sip:1001@{};x={other}>;expires={expires}\n", flow.peer),
        };
        let lines = format!(
            "Via: SIP/2.0/UDP {};branch=z9hG4bKr{count};rport\nMax-Forwards: 70\nFrom: <sip:1001@fz.cn>;tag=r\n\
             To: <sip:1001@fz.cn>\nCall-ID: r@phone\nCSeq: {count} REGISTER\n{contact}Expires: {expires}\n{}",
            flow.peer,
            self.proof("REGISTER", "sip:fz.cn"),
        );
        (flow, message("REGISTER sip:fz.cn SIP/2.0", &lines, ""))
    }

    /// A request inside a dialog, or about one that begins.
    pub fn request(&mut self, script: &mut Script<'_>) -> Option<Mail> {
        let count = self.next();
        let at = script.below(self.calls.len().max(1));
        let call = self.calls.get_mut(at)?;
        let branch = format!("z9hG4bKq{count}");
        let invite = call.cseq;
        let (method, more, body) = match script.below(14) {
            0 => ("CANCEL", "", ""),
            1 | 2 => ("ACK", "", ""),
            3 => ("ACK", SDP_TYPE, SDP),
            4 | 5 => ("BYE", "Reason: Q.850;cause=16\n", ""),
            6 => ("INVITE", SDP_TYPE, SDP),
            7 => ("INVITE", "", ""),
            8 => ("UPDATE", "Session-Expires: 90\nSupported: timer\n", ""),
            9 => ("UPDATE", SDP_TYPE, SDP),
            10 => ("INFO", "Content-Type: application/dtmf-relay\n", "Signal=5\r\nDuration=160\r\n"),
            11 => ("REFER", "Refer-To: <sip:1002@fz.cn>\nReferred-By: <sip:1001@fz.cn>\n", ""),
            12 => ("PRACK", "RAck: 1 1 INVITE\n", ""),
            _ => ("OPTIONS", "", ""),
        };
        let bytes = match method {
            "CANCEL" => {
                let to = call.to.split(";tag=").next().unwrap_or_default().to_owned();
                Call { to, ..call.clone() }.request(method, invite, &call.branch, more, body)
            }
            "ACK" => call.request(method, invite, &branch, more, body),
            _ => {
                call.cseq += 1;
                if method == "INVITE" {
                    call.branch.clone_from(&branch);
                }
                call.request(method, call.cseq, &branch, more, body)
            }
        };
        Some((call.flow, bytes))
    }

    /// What the peer does about something it was sent.
    pub fn react(&mut self, flow: Flow, sent: &Message, script: &mut Script<'_>, mail: &mut Vec<Mail>) {
        if sent.is_request() { self.answer(flow, sent, script, mail) } else { self.hear(flow, sent, mail) }
    }

    /// A response: the ACK or PRACK that it wants, the challenge to be answered, the dialog that it makes.
    fn hear(&mut self, flow: Flow, response: &Message, mail: &mut Vec<Mail>) {
        let status = response.status().unwrap_or_default();
        if status == 401 {
            self.challenge = Challenge::of(response);
        }
        let count = self.next();
        let Some(call) = self.calls.iter_mut().find(|call| call.call_id.as_bytes() == response.call_id()) else {
            return;
        };
        if response.cseq().method != Method::Invite || status == 100 {
            return;
        }
        if let Some(to) = response.header(Name::To) {
            call.to = text(to);
        }
        if let Some(Ok(Contact::At(contact))) = response.contacts().next() {
            call.target = contact.uri.to_string();
        }
        let cseq = response.cseq().number;
        if let (101..=199, Some(rseq)) = (status, response.number(Name::RSeq)) {
            call.cseq += 1;
            let more = format!("RAck: {rseq} {cseq} INVITE\n");
            mail.push((flow, call.request("PRACK", call.cseq, &format!("z9hG4bKq{count}"), &more, "")));
        }
        if status >= 200 {
            let branch = if status < 300 { format!("z9hG4bKq{count}") } else { call.branch.clone() };
            mail.push((flow, call.request("ACK", cseq, &branch, "", "")));
        }
    }

    /// A request: one response or two.
    fn answer(&mut self, flow: Flow, request: &Message, script: &mut Script<'_>, mail: &mut Vec<Mail>) {
        let method = request.cseq().method;
        if method == Method::Ack {
            return;
        }
        let count = self.next();
        let tag = format!("p{count}");
        if method == Method::Invite && request.to().tag().is_none() {
            self.remember(Call {
                flow,
                call_id: text(request.call_id()),
                from: format!("{};tag={tag}", text(request.header(Name::To).unwrap_or_default())),
                to: text(request.header(Name::From).unwrap_or_default()),
                target: request.contacts().flatten().next().map_or_else(String::new, |contact| match contact {
                    Contact::At(address) => address.uri.to_string(),
                    Contact::All => String::new(),
                }),
                cseq: 100,
                branch: format!("z9hG4bKu{count}"),
            });
        }
        let mut reply = |status: u16, more: &[(Name, &str)], body: &str| {
            let mut writer = Writer::reply(request, status, flow.peer, &tag);
            writer.header(Name::Contact, format!("<sip:1001@{}>", flow.peer));
            for (name, value) in more {
                writer.header(*name, value);
            }
            let bytes = if body.is_empty() { writer.finish() } else { writer.body("application/sdp", body.as_bytes()) };
            mail.push((flow, bytes.to_vec()));
        };
        if method != Method::Invite {
            return match script.below(12) {
                0 => reply(481, &[], ""),
                1 => reply(408, &[], ""),
                2 => reply(401, &[(Name::WwwAuthenticate, CHALLENGE)], ""),
                3 => reply(422, &[(Name::MinSe, "600")], ""),
                4 => reply(491, &[], ""),
                5 => reply(100, &[], ""),
                _ => reply(200, &[(Name::SessionExpires, "90;refresher=uac")], ""),
            };
        }
        match script.below(4) {
            0 => reply(100, &[], ""),
            1 => reply(180, &[(Name::Allow, "UPDATE")], ""),
            2 => reply(183, &[(Name::Require, "100rel"), (Name::RSeq, "7")], SDP),
            _ => {}
        }
        match script.below(14) {
            0 => reply(486, &[(Name::Reason, "Q.850;cause=17")], ""),
            1 => reply(407, &[(Name::ProxyAuthenticate, CHALLENGE)], ""),
            2 => reply(401, &[(Name::WwwAuthenticate, CHALLENGE)], ""),
            3 => reply(302, &[(Name::Contact, "<sip:1001@fz.cn>;q=0.5")], ""),
            4 => reply(422, &[(Name::MinSe, "3600")], ""),
            5 => reply(503, &[(Name::RetryAfter, "30 (full)")], ""),
            6 => reply(491, &[], ""),
            7 => reply(200, &[], ""),
            8 => {}
            _ => reply(200, &[(Name::SessionExpires, "1800;refresher=uas")], SDP),
        }
    }
}

const CHALLENGE: &str = "Digest realm=\"carrier.cn\", nonce=\"n\\\"1\", opaque=\"\", algorithm=SHA-256, qop=\"auth\"";
