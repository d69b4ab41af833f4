//! The refusal of a new call before anything is made for it: one message in, one message out, nothing kept.
//!
//! The same INVITE gets the same answer each time, so no transaction is needed to repeat it (RFC 3261 §8.2.7).

use super::client::Reason;
use super::event::Flow;
use super::incoming::number;
use super::message::Message;
use super::server::answer_flow;
use super::write::Writer;
use crate::base::map::keyed_hash;
use bytes::Bytes;

/// Q.850: switching equipment congestion.
const CONGESTION: u8 = 42;

/// An INVITE that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Where the refusal goes.
    pub flow: Flow,
    /// The refusal: 503 without Retry-After, which would make a client leave the whole server alone (RFC 3261 §21.5.4).
    pub bytes: Bytes,
    /// What was dialled.
    pub dialled: Box<str>,
}

/// Refuses an INVITE for want of room. `None` when it is none that can be answered: its shard will say what is wrong with it.
/// `seed` is the node's secret.
pub fn refuse(flow: Flow, invite: Bytes, seed: [u64; 2]) -> Option<Refused> {
    let request = Message::parse(invite).ok().filter(Message::is_request)?;
    let tag = format!("{:016x}", keyed_hash(seed, request.call_id()));
    let mut writer = Writer::reply(&request, 503, flow.peer, &tag);
    Reason::from(Some(CONGESTION)).write(&mut writer);
    let dialled = request.request_uri().map_or_else(|| "".into(), |uri| number(&uri));
    Some(Refused { flow: answer_flow(&request.top_via(), flow), bytes: writer.finish(), dialled })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:12345@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9:5070;branch=z9hG4bK1\r\n\
        From: <sip:1@a>;tag=f\r\nTo: <sip:12345@b>\r\nCall-ID: c@x\r\nCSeq: 7 INVITE\r\nMax-Forwards: 70\r\n\r\n";

    fn flow() -> Flow {
        Flow { listener: 0, connection: 0, peer: "10.0.0.9:6000".parse().unwrap() }
    }

    #[test]
    fn a_refusal_says_why_and_is_the_same_each_time() {
        let refused = refuse(flow(), Bytes::from_static(INVITE.as_bytes()), [1, 2]).unwrap();
        assert_eq!(refused.flow.peer, "10.0.0.9:5070".parse().unwrap());
        assert_eq!(&*refused.dialled, "12345");
        let text = String::from_utf8(refused.bytes.to_vec()).unwrap();
        assert!(text.starts_with("SIP/2.0 503 ") && text.contains("\r\nReason: Q.850;cause=42"), "{text}");
        assert!(text.contains("\r\nCSeq: 7 INVITE\r\n") && !text.contains("Retry-After"), "{text}");
        assert!(Message::parse(refused.bytes.clone()).unwrap().to().tag().is_some());
        assert_eq!(refuse(flow(), Bytes::from_static(INVITE.as_bytes()), [1, 2]), Some(refused));
    }

    #[test]
    fn what_cannot_be_answered_here_is_left_to_the_shard() {
        for text in ["INVITE", "INVITE sip:2@b SIP/2.0\r\n\r\n", "SIP/2.0 200 OK\r\n\r\n"] {
            assert_eq!(refuse(flow(), Bytes::copy_from_slice(text.as_bytes()), [1, 2]), None);
        }
    }
}
