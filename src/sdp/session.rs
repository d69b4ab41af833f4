//! One side of one dialog's offer/answer (RFC 3264): what we offer, how we answer, what came of it.
//!
//! One audio stream of G.711 over RTP/AVP; every other stream is refused with port 0, in its place. An answer names one
//! codec only, so that the other side cannot change it in mid-stream. Knows nothing of SIP but the status of a refusal.

use super::description::{Connection, Description, Mapping, Origin, Stream};
use super::parse::{ParseError, parse};
use super::usable::{AUDIO, CLOCK_HZ, Numbered, PTIME_MS, RTP_AVP, TELEPHONE_EVENT_NAME, Usable, codecs_of, usable};
use super::{Codec, Direction};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The payload type of telephone-event we offer unless another is agreed or 101 is taken.
const TELEPHONE_EVENT: u8 = 101;
/// The events we take: digits, `*`, `#` and `A`–`D` (RFC 4733 §3.2).
const EVENTS: &str = "0-15";

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Negotiated {
    /// Where the other side takes RTP. Of an old-style hold (`c=0.0.0.0`) it is the address known before, if any.
    pub rtp: SocketAddr,
    /// Where it takes RTCP; with `rtp` when both share a port, of ours too ([`Negotiated::is_muxed`]).
    pub rtcp: SocketAddr,
    /// Codec both ways.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: u8,
    /// Payload type of telephone-event, if both have it.
    pub telephone_event: Option<u8>,
    /// Ours.
    pub direction: Direction,
    /// Milliseconds of audio in a packet of ours: 10–60 in steps of 10.
    pub ptime_ms: u8,
}

impl Negotiated {
    /// Whether RTP and RTCP share one port on each side (RFC 5761).
    pub fn is_muxed(&self) -> bool {
        self.rtp == self.rtcp
    }
}

/// Why a description cannot be agreed with. The session stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ParseError),
    /// No audio stream, or all with port 0.
    #[error("no audio stream is offered")]
    NoAudio,
    /// Audio, but not over RTP/AVP: SAVP, AVPF, TCP …
    #[error("audio only over a transport we do not speak")]
    Protocol,
    /// Audio to a host name, a multicast group or another address family.
    #[error("audio to an address we cannot send to")]
    Address,
    /// No G.711.
    #[error("no codec in common")]
    Codec,
    /// An answer, but nothing was offered.
    #[error("an answer without an offer")]
    Unasked,
}

impl Refusal {
    /// The status with which to refuse the request that carried the description (RFC 3261 §13.3.1.3, §21.4.1, §21.4.26).
    pub const fn status(self) -> u16 {
        match self {
            Refusal::Unreadable(_) | Refusal::Unasked => 400,
            Refusal::NoAudio | Refusal::Protocol | Refusal::Address | Refusal::Codec => 488,
        }
    }
}

/// One side of one session. As plain data it is its own snapshot, kept inside the (versioned) snapshot of its call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    id: u64,
    local: SocketAddr,
    preferred: Option<Codec>,
    /// Offers ask for one port for RTP and RTCP.
    asks_mux: bool,
    /// What we last said: a change of it raises the version (RFC 3264 §8).
    said: Option<Said>,
    /// The direction of our offer; answers are accepted until the next description of either side, for a provisional
    /// answer comes again in the 2xx (RFC 3261 §13.2.1).
    offered: Option<Direction>,
    negotiated: Option<Negotiated>,
}

/// Our last description.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Said {
    version: u64,
    /// All `m=` lines ever agreed on keep their places (RFC 3264 §8).
    streams: Vec<Stream>,
    /// Which of them is ours.
    audio: usize,
}

impl Session {
    /// A session that nothing has been said of. `id` is unique among ours; RTP is taken at `local`.
    pub fn new(id: u64, local: SocketAddr) -> Session {
        Session { id, local, preferred: None, asks_mux: false, said: None, offered: None, negotiated: None }
    }

    /// Chooses `codec` wherever the other side has it, whatever it likes better: the codec of the leg to be bridged,
    /// so that packets can be relayed untouched.
    pub fn prefer(&mut self, codec: Codec) {
        self.preferred = Some(codec);
    }

    /// Offers ask for RTP and RTCP on one port from now on (RFC 5761 §5.1.1), as browsers want it. Without this they are
    /// asked for only where the other side brought it up; it may always say no.
    pub fn ask_rtcp_mux(&mut self) {
        self.asks_mux = true;
    }

    /// What was agreed on last.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.negotiated.as_ref()
    }

    /// An offer of `codecs` in order of preference (none means both). Also the offer in a 2xx, when the INVITE had none.
    ///
    /// A re-offer keeps agreed payload types and the places of refused streams (RFC 3264 §8).
    pub fn offer(&mut self, codecs: &[Codec], direction: Direction) -> Bytes {
        let codecs = self.numbered(codecs);
        let telephone_event = self.telephone_event_to_offer(&codecs);
        let mut ours = self.stream(&codecs, Some(telephone_event), direction);
        ours.rtcp_mux = self.asks_mux || self.negotiated.is_some_and(|negotiated| negotiated.is_muxed());
        let (mut streams, audio) = match &self.said {
            Some(said) => (said.streams.iter().map(Stream::refused).collect(), said.audio),
            None => (vec![Stream::new(AUDIO, 0, RTP_AVP, Vec::new())], 0),
        };
        streams[audio] = ours;
        self.offered = Some(direction);
        self.say(streams, audio)
    }

    /// Answers `offer`; `direction` is the most we want. The offerer's payload types are kept.
    pub fn answer(&mut self, offer: &[u8], direction: Direction) -> Result<(Bytes, Negotiated), Refusal> {
        let offer = parse(offer)?;
        let (audio, usable) = self.first_usable(&offer)?;
        let chosen = self.choose(&usable.codecs);
        let mux = usable.rtcp_mux && can_mux(chosen, usable.telephone_event);
        let negotiated = self.agree(usable, chosen, (direction, mux));
        let mut streams: Vec<Stream> = offer.streams.iter().map(Stream::refused).collect();
        streams[audio] = self.stream(&[chosen], negotiated.telephone_event, negotiated.direction);
        streams[audio].rtcp_mux = mux;
        // RFC 3264 §6: the answer repeats what names the stream.
        streams[audio].media.clone_from(&offer.streams[audio].media);
        streams[audio].protocol.clone_from(&offer.streams[audio].protocol);
        self.negotiated = Some(negotiated);
        self.offered = None;
        Ok((self.say(streams, audio), negotiated))
    }

    /// Takes the answer to our last offer.
    pub fn accept(&mut self, answer: &[u8]) -> Result<Negotiated, Refusal> {
        let (Some(direction), Some(said)) = (self.offered, &self.said) else {
            return Err(Refusal::Unasked);
        };
        let answer = parse(answer)?;
        // RFC 3264 §6: streams are matched by place. One that answers fewer or more still has ours at its place.
        let stream = answer.streams.get(said.audio).ok_or(Refusal::NoAudio)?;
        let mut usable = usable(&answer, stream, self.local)?;
        let offered = &said.streams[said.audio];
        usable.codecs.retain(|(codec, _)| codecs_of(offered).any(|(ours, _)| ours == *codec));
        let chosen = *usable.codecs.first().ok_or(Refusal::Codec)?;
        let mux = usable.rtcp_mux && offered.rtcp_mux;
        let negotiated = self.agree(usable, chosen, (direction, mux));
        self.negotiated = Some(negotiated);
        Ok(negotiated)
    }

    /// The stream to take: the first that can be used; else why the most promising one cannot.
    fn first_usable(&self, offer: &Description) -> Result<(usize, Usable), Refusal> {
        let mut why = Refusal::NoAudio;
        for (at, stream) in offer.streams.iter().enumerate() {
            match usable(offer, stream, self.local) {
                Ok(usable) => return Ok((at, usable)),
                Err(Refusal::NoAudio) => {}
                Err(refusal) => why = refusal,
            }
        }
        Err(why)
    }

    /// The codec to answer with: what the bridge needs, else what runs already, else what the offerer likes best.
    fn choose(&self, offered: &[Numbered]) -> Numbered {
        let running = self.negotiated.map(|negotiated| negotiated.codec);
        [self.preferred, running]
            .into_iter()
            .flatten()
            .find_map(|wanted| offered.iter().find(|(codec, _)| *codec == wanted))
            .copied()
            .unwrap_or(offered[0])
    }

    fn agree(
        &self,
        usable: Usable,
        (codec, payload_type): Numbered,
        (direction, mux): (Direction, bool),
    ) -> Negotiated {
        let held = usable.rtp.ip().is_unspecified();
        let (rtp, rtcp) = match self.negotiated {
            // RFC 3264 §8.4: it says only "send nothing"; what it sends itself still comes from where it did.
            Some(before) if held => (before.rtp, before.rtcp),
            Some(_) | None if mux => (usable.rtp, usable.rtp),
            Some(_) | None => (usable.rtp, usable.rtcp),
        };
        Negotiated {
            rtp,
            rtcp,
            codec,
            payload_type,
            telephone_event: usable.telephone_event,
            direction: direction.and(usable.direction),
            ptime_ms: usable.ptime_ms,
        }
    }

    /// The codecs to offer with their payload types; the preferred one first, none twice.
    fn numbered(&self, codecs: &[Codec]) -> Vec<Numbered> {
        let wanted = if codecs.is_empty() { &[Codec::Pcma, Codec::Pcmu][..] } else { codecs };
        let preferred = self.preferred.filter(|codec| wanted.contains(codec));
        let mut numbered: Vec<Numbered> = Vec::new();
        for codec in preferred.iter().chain(wanted) {
            let agreed = self.negotiated.filter(|negotiated| negotiated.codec == *codec);
            let payload_type = agreed.map_or(codec.static_payload_type(), |negotiated| negotiated.payload_type);
            if numbered.iter().all(|(known, number)| known != codec && *number != payload_type) {
                numbered.push((*codec, payload_type));
            }
        }
        numbered
    }

    fn telephone_event_to_offer(&self, codecs: &[Numbered]) -> u8 {
        let agreed = self.negotiated.and_then(|negotiated| negotiated.telephone_event);
        let free = |number: &u8| codecs.iter().all(|(_, taken)| taken != number);
        agreed
            .into_iter()
            .chain([TELEPHONE_EVENT])
            .chain(96..=127)
            .find(free)
            .expect("two codecs cannot take 32 numbers")
    }

    fn stream(&self, codecs: &[Numbered], telephone_event: Option<u8>, direction: Direction) -> Stream {
        let numbers = codecs.iter().map(|(_, number)| *number).chain(telephone_event);
        let mut stream =
            Stream::new(AUDIO, self.local.port(), RTP_AVP, numbers.map(|n| n.to_string().into()).collect());
        let mapping =
            |payload_type, name: &str| Mapping { payload_type, encoding: name.into(), clock_hz: CLOCK_HZ, channels: 1 };
        stream.mappings.extend(codecs.iter().map(|(codec, number)| mapping(*number, codec.encoding())));
        if let Some(number) = telephone_event {
            stream.mappings.push(mapping(number, TELEPHONE_EVENT_NAME));
            stream.parameters.push((number, EVENTS.into()));
        }
        stream.ptime_ms = Some(PTIME_MS);
        stream.direction = Some(direction);
        stream
    }

    /// Writes our description; its version grows only when something in it changes.
    fn say(&mut self, streams: Vec<Stream>, audio: usize) -> Bytes {
        let version = match &self.said {
            Some(said) if said.streams == streams => said.version,
            Some(said) => said.version + 1,
            None => 1,
        };
        let address = Connection::Address(self.local.ip());
        let description = Description {
            origin: Origin {
                id: self.id.to_string().into(),
                version: version.to_string().into(),
                address: address.clone(),
            },
            connection: Some(address),
            direction: None,
            streams,
        };
        let text = description.to_string().into();
        self.said = Some(Said { version, streams: description.streams, audio });
        text
    }
}

/// On a shared port these payload types are RTCP's (RFC 5761 §4).
fn can_mux((_, payload_type): Numbered, telephone_event: Option<u8>) -> bool {
    [Some(payload_type), telephone_event].into_iter().flatten().all(|number| !(64..=95).contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Mint;
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};

    const LOCAL: &str = "192.0.2.1:10000";

    fn session() -> Session {
        Session::new(77, LOCAL.parse().expect("an address"))
    }

    fn offer_of(session: &str, streams: &str) -> String {
        format!("v=0\r\no=x 1 1 IN IP4 198.51.100.9\r\ns=-\r\n{session}t=0 0\r\n{streams}")
    }

    /// An offer from 198.51.100.9 with these media lines.
    fn offer(streams: &str) -> String {
        offer_of("c=IN IP4 198.51.100.9\r\n", streams)
    }

    fn answered(streams: &str) -> Result<(String, Negotiated), Refusal> {
        let (text, negotiated) = session().answer(offer(streams).as_bytes(), SendRecv)?;
        Ok((String::from_utf8(text.to_vec()).expect("ASCII"), negotiated))
    }

    fn media_lines(text: &str) -> Vec<&str> {
        text.lines().filter(|line| line.starts_with("m=")).collect()
    }

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).expect("ASCII")
    }

    #[test]
    fn an_offer_is_written_exactly() {
        let written = session().offer(&[Codec::Pcma, Codec::Pcmu], SendRecv);
        assert_eq!(
            text(&written),
            "v=0\r\no=- 77 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 10000 RTP/AVP 8 0 101\r\n\
             a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n\
             a=ptime:20\r\na=sendrecv\r\n"
        );
    }

    #[test]
    fn codecs_and_payload_types_of_answers() {
        use Codec::{Pcma, Pcmu};
        let event = |number| format!("a=rtpmap:{number} telephone-event/8000\r\na=fmtp:{number} 0-16\r\n");
        let wide = "a=rtpmap:96 telephone-event/48000\r\n";
        let cases = [
            ("8 0", String::new(), (Pcma, 8, None), "8"),
            ("0 8", String::new(), (Pcmu, 0, None), "0"),
            ("18 8", String::new(), (Pcma, 8, None), "8"),
            ("8 97", event(97), (Pcma, 8, Some(97)), "8 97"),
            // What is mapped but not listed is no format of the stream.
            ("8", event(97), (Pcma, 8, None), "8"),
            ("112", "a=rtpmap:112 pcma/8000\r\n".into(), (Pcma, 112, None), "112"),
            ("96 0", "a=rtpmap:96 PCMA/16000\r\n".into(), (Pcmu, 0, None), "0"),
            ("96 0", "a=rtpmap:96 PCMA/8000/2\r\n".into(), (Pcmu, 0, None), "0"),
            ("8 96 98", format!("{wide}{}", event(98)), (Pcma, 8, Some(98)), "8 98"),
        ];
        for (formats, lines, expected, line) in cases {
            let (text, got) = answered(&format!("m=audio 4000 RTP/AVP {formats}\r\n{lines}")).expect(formats);
            assert_eq!((got.codec, got.payload_type, got.telephone_event), expected, "{formats} {lines}");
            assert_eq!(media_lines(&text), [format!("m=audio 10000 RTP/AVP {line}")], "{formats} {lines}");
        }
    }

    #[test]
    fn refusals() {
        let cases = [
            ("", Refusal::NoAudio, 488),
            ("m=audio 0 RTP/AVP 8\r\n", Refusal::NoAudio, 488),
            ("m=video 4000 RTP/AVP 8\r\n", Refusal::NoAudio, 488),
            ("m=audio 4000 RTP/SAVP 8\r\n", Refusal::Protocol, 488),
            ("m=audio 4000 RTP/AVPF 8\r\n", Refusal::Protocol, 488),
            ("m=audio 4000 RTP/AVP 18 101\r\na=rtpmap:101 telephone-event/8000\r\n", Refusal::Codec, 488),
            ("m=audio 4000 RTP/AVP 8\r\na=rtpmap:8 G729/8000\r\n", Refusal::Codec, 488),
            ("m=audio 4000 RTP/AVP 8\r\nc=IN IP4 media.example.cn\r\n", Refusal::Address, 488),
            ("m=audio 4000 RTP/AVP 8\r\nc=IN IP4 224.2.1.1/127\r\n", Refusal::Address, 488),
            ("m=audio 4000 RTP/AVP 8\r\nc=IN IP6 2001:db8::1\r\n", Refusal::Address, 488),
            ("m=audio 4000 RTP/AVP\r\n", Refusal::Unreadable(ParseError::Media), 400),
        ];
        for (streams, refusal, status) in cases {
            let mut session = session();
            let before = session.clone();
            assert_eq!(session.answer(offer(streams).as_bytes(), SendRecv), Err(refusal), "{streams}");
            assert_eq!((refusal.status(), session), (status, before), "{streams}");
        }
        assert_eq!(
            session().answer(offer_of("", "m=audio 4000 RTP/AVP 8\r\n").as_bytes(), SendRecv),
            Err(Refusal::Address)
        );
        assert_eq!(session().accept(offer("m=audio 4000 RTP/AVP 8\r\n").as_bytes()), Err(Refusal::Unasked));
    }

    #[test]
    fn other_streams_are_refused_in_their_places() {
        let streams = "m=video 5000 RTP/AVP 31 32\r\nm=audio 4002 RTP/SAVP 8\r\nm=audio 4004 RTP/AVP 0\r\n\
            m=audio 4006 RTP/AVP 8\r\nm=image 5010 udptl t38\r\n";
        let mut session = session();
        let (answer, negotiated) = session.answer(offer(streams).as_bytes(), SendRecv).expect("an answer");
        let lines = [
            "m=video 0 RTP/AVP 31",
            "m=audio 0 RTP/SAVP 8",
            "m=audio 10000 RTP/AVP 0",
            "m=audio 0 RTP/AVP 8",
            "m=image 0 udptl t38",
        ];
        assert_eq!((media_lines(text(&answer)), negotiated.rtp.port()), (lines.to_vec(), 4004));
        // RFC 3264 §8: our own later offer keeps every place.
        let reoffer = session.offer(&[Codec::Pcmu], SendOnly);
        let expected = [lines[0], lines[1], "m=audio 10000 RTP/AVP 0 101", lines[3], lines[4]];
        assert_eq!(media_lines(text(&reoffer)), expected);
        let accepted = session.accept(offer(&streams.replace("4004", "4444")).as_bytes()).expect("agreed");
        assert_eq!((accepted.rtp.port(), accepted.direction), (4444, SendOnly));
    }

    /// Every direction of theirs × everything we may want × old-style hold.
    #[test]
    fn directions() {
        let all = [SendRecv, SendOnly, RecvOnly, Inactive];
        for theirs in all {
            for ours in all {
                for held in [false, true] {
                    let address = if held { "0.0.0.0" } else { "198.51.100.9" };
                    let media = format!("m=audio 4000 RTP/AVP 8\r\nc=IN IP4 {address}\r\na={}\r\n", theirs.as_str());
                    let (answer, negotiated) = session().answer(offer(&media).as_bytes(), ours).expect("an answer");
                    let got = negotiated.direction;
                    assert_eq!(got.sends(), ours.sends() && theirs.receives() && !held, "{theirs:?} {ours:?} {held}");
                    assert_eq!(got.receives(), ours.receives() && theirs.sends(), "{theirs:?} {ours:?} {held}");
                    assert!(text(&answer).ends_with(&format!("a={}\r\n", got.as_str())));
                }
            }
        }
        for (session_line, media_line, expected) in
            [("a=sendonly\r\n", "", RecvOnly), ("a=sendonly\r\n", "a=sendrecv\r\n", SendRecv), ("", "", SendRecv)]
        {
            let body = offer_of(
                &format!("c=IN IP4 198.51.100.9\r\n{session_line}"),
                &format!("m=audio 4 RTP/AVP 8\r\n{media_line}"),
            );
            let (_, negotiated) = session().answer(body.as_bytes(), SendRecv).expect("an answer");
            assert_eq!(negotiated.direction, expected, "{session_line}{media_line}");
        }
    }

    #[test]
    fn addresses_ports_and_packet_times() {
        let cases = [
            ("", "198.51.100.9:4000", "198.51.100.9:4001", 20),
            ("a=rtcp:4100\r\na=rtcp-mux\r\n", "198.51.100.9:4000", "198.51.100.9:4000", 20),
            ("a=rtcp:4100\r\n", "198.51.100.9:4000", "198.51.100.9:4100", 20),
            ("a=rtcp:4100 IN IP4 203.0.113.5\r\na=ptime:30\r\n", "198.51.100.9:4000", "203.0.113.5:4100", 30),
            ("a=rtcp:4100 IN IP6 ::1\r\na=ptime:5\r\n", "198.51.100.9:4000", "198.51.100.9:4100", 10),
            ("c=IN IP4 203.0.113.7\r\na=ptime:200\r\n", "203.0.113.7:4000", "203.0.113.7:4001", 60),
            ("a=ptime:40\r\na=maxptime:30\r\n", "198.51.100.9:4000", "198.51.100.9:4001", 30),
            ("a=maxptime:1\r\na=ptime:25\r\n", "198.51.100.9:4000", "198.51.100.9:4001", 10),
        ];
        for (lines, rtp, rtcp, ptime_ms) in cases {
            let (_, got) = answered(&format!("m=audio 4000 RTP/AVP 8\r\n{lines}")).expect(lines);
            assert_eq!(
                (got.rtp.to_string().as_str(), got.rtcp.to_string().as_str(), got.ptime_ms),
                (rtp, rtcp, ptime_ms),
                "{lines}"
            );
        }
        let mut v6 = Session::new(1, "[2001:db8::1]:10000".parse().expect("an address"));
        let body = offer_of("c=IN IP6 2001:db8::9\r\n", "m=audio 65535 RTP/AVP 8\r\n");
        let (answer, got) = v6.answer(body.as_bytes(), SendRecv).expect("an answer");
        assert!(text(&answer).contains("c=IN IP6 2001:db8::1\r\n"));
        assert_eq!((got.rtp.to_string().as_str(), got.rtcp.port()), ("[2001:db8::9]:65535", 65535));
    }

    #[test]
    fn one_port_is_shared_where_both_say_so() {
        let muxed = "a=rtcp-mux\r\n";
        for (offered, asked, shared) in [
            ("m=audio 4000 RTP/AVP 8\r\na=rtcp-mux\r\n", true, true),
            ("m=audio 4000 RTP/AVP 8\r\n", false, false),
            // Not with a payload type that would be taken for RTCP.
            ("m=audio 4000 RTP/AVP 72\r\na=rtpmap:72 PCMA/8000\r\na=rtcp-mux\r\n", true, false),
            ("m=audio 4000 RTP/AVP 8 95\r\na=rtpmap:95 telephone-event/8000\r\na=rtcp-mux\r\n", true, false),
        ] {
            let mut session = session();
            let (answer, got) = session.answer(offer(offered).as_bytes(), SendRecv).expect(offered);
            assert_eq!((offered.contains(muxed), text(&answer).contains(muxed)), (asked, shared), "{offered}");
            assert_eq!((got.is_muxed(), got.rtcp.port()), (shared, if shared { 4000 } else { 4001 }), "{offered}");
            let again = session.offer(&[], SendRecv);
            assert_eq!(text(&again).contains(muxed), shared, "what was agreed is offered again");
        }
        for (asks, answered, shared) in [(true, true, true), (true, false, false), (false, true, false)] {
            let mut session = session();
            if asks {
                session.ask_rtcp_mux();
            }
            assert_eq!(text(&session.offer(&[], SendRecv)).contains(muxed), asks);
            let lines = format!("m=audio 4000 RTP/AVP 8\r\n{}", if answered { muxed } else { "" });
            let got = session.accept(offer(&lines).as_bytes()).expect("an answer");
            assert_eq!((got.is_muxed(), got.rtcp.port()), (shared, if shared { 4000 } else { 4001 }));
        }
    }

    #[test]
    fn the_codec_of_the_bridge_is_preferred_then_the_running_one() {
        let body = offer("m=audio 4000 RTP/AVP 8 0\r\n");
        let mut session = session();
        session.prefer(Codec::Pcmu);
        assert_eq!(session.answer(body.as_bytes(), SendRecv).expect("an answer").1.codec, Codec::Pcmu);
        let mut other = super::tests::session();
        let only_mu = offer("m=audio 4000 RTP/AVP 0\r\n");
        assert_eq!(other.answer(only_mu.as_bytes(), SendRecv).expect("an answer").1.codec, Codec::Pcmu);
        assert_eq!(
            other.answer(body.as_bytes(), SendRecv).expect("an answer").1.codec,
            Codec::Pcmu,
            "no change in mid-call"
        );
        session.prefer(Codec::Pcma);
        assert!(text(&session.offer(&[Codec::Pcmu, Codec::Pcma], SendRecv)).contains("RTP/AVP 8 0 101\r\n"));
        assert!(
            text(&session.offer(&[Codec::Pcmu], SendRecv)).contains("RTP/AVP 0 101\r\n"),
            "never what was not asked for"
        );
    }

    #[test]
    fn the_version_grows_only_when_the_text_changes() {
        let mut session = session();
        let version = |text: &Bytes| parse(text).expect("ours").origin.version;
        let first = session.offer(&[Codec::Pcma], SendRecv);
        let same = session.offer(&[Codec::Pcma], SendRecv);
        let held = session.offer(&[Codec::Pcma], SendOnly);
        let resumed = session.offer(&[Codec::Pcma], SendRecv);
        assert_eq!(first, same);
        assert_eq!([&first, &held, &resumed].map(version).map(|text| text.to_string()), ["1", "2", "3"]);
    }

    #[test]
    fn a_reoffer_keeps_agreed_payload_types() {
        let mut session = session();
        let body =
            offer("m=audio 4000 RTP/AVP 101 99\r\na=rtpmap:101 PCMA/8000\r\na=rtpmap:99 telephone-event/8000\r\n");
        session.answer(body.as_bytes(), SendRecv).expect("an answer");
        let kept = session.offer(&[Codec::Pcma, Codec::Pcmu], SendRecv);
        assert_eq!(media_lines(text(&kept)), ["m=audio 10000 RTP/AVP 101 0 99"]);
        let body = offer("m=audio 4000 RTP/AVP 101\r\na=rtpmap:101 PCMA/8000\r\n");
        session.answer(body.as_bytes(), SendRecv).expect("an answer");
        let moved = session.offer(&[Codec::Pcma], SendRecv);
        assert_eq!(media_lines(text(&moved)), ["m=audio 10000 RTP/AVP 101 96"], "101 is taken");
    }

    #[test]
    fn answers_to_our_offer() {
        let event = "a=rtpmap:96 telephone-event/8000\r\n";
        let mut caller = session();
        caller.offer(&[Codec::Pcma, Codec::Pcmu], SendRecv);
        let early = caller.accept(offer("m=audio 4000 RTP/AVP 0 8\r\n").as_bytes()).expect("a provisional answer");
        assert_eq!(early.codec, Codec::Pcmu, "theirs is the preference now");
        let last = caller
            .accept(offer(&format!("m=audio 4002 RTP/AVP 8 96\r\na=recvonly\r\n{event}")).as_bytes())
            .expect("final");
        assert_eq!((last.codec, last.telephone_event, last.direction), (Codec::Pcma, Some(96), SendOnly));
        for (streams, refusal) in [
            ("", Refusal::NoAudio),
            ("m=audio 0 RTP/AVP 8\r\n", Refusal::NoAudio),
            ("m=audio 4000 RTP/AVP 18\r\n", Refusal::Codec),
            ("m=audio 4000 RTP/SAVP 8\r\n", Refusal::Protocol),
        ] {
            assert_eq!(caller.accept(offer(streams).as_bytes()), Err(refusal), "{streams}");
            assert_eq!(caller.negotiated(), Some(&last), "a refused answer changes nothing");
        }
        caller.offer(&[Codec::Pcma], SendRecv);
        assert_eq!(caller.accept(offer("m=audio 4000 RTP/AVP 0\r\n").as_bytes()), Err(Refusal::Codec), "not offered");
    }

    #[test]
    fn an_old_style_hold_keeps_the_known_address() {
        let mut session = session();
        let (_, before) = session.answer(offer("m=audio 4000 RTP/AVP 8\r\n").as_bytes(), SendRecv).expect("an answer");
        let held = offer_of("c=IN IP4 0.0.0.0\r\n", "m=audio 4000 RTP/AVP 8\r\n");
        let (_, held) = session.answer(held.as_bytes(), SendRecv).expect("an answer");
        assert_eq!(held, Negotiated { direction: RecvOnly, ..before });
    }

    #[test]
    fn a_snapshot_goes_on_where_it_was() {
        let mut session = session();
        session
            .answer(offer("m=audio 4000 RTP/AVP 8\r\nm=video 1 RTP/AVP 9\r\n").as_bytes(), SendRecv)
            .expect("an answer");
        let kept = serde_json::to_string(&session).expect("plain data");
        let mut restored: Session = serde_json::from_str(&kept).expect("its own writing");
        assert_eq!(restored, session);
        assert_eq!(restored.offer(&[], SendOnly), session.offer(&[], SendOnly));
    }

    /// Two of our own sides always agree, whatever they want; what a mangled offer makes us say is always readable.
    #[test]
    fn both_sides_agree_and_damage_never_panics() {
        let mut mint = Mint::new(0, [3, 9]);
        let codecs = [[Codec::Pcma, Codec::Pcmu], [Codec::Pcmu, Codec::Pcma]];
        let all = [SendRecv, SendOnly, RecvOnly, Inactive];
        let mut pick = |n: usize| (mint.random() % n as u64) as usize;
        let mut sides = [session(), Session::new(2, "192.0.2.2:20000".parse().expect("an address"))];
        for _ in 0..5_000 {
            let from = pick(2);
            let offer = sides[from].offer(&codecs[pick(2)][..1 + pick(2)], all[pick(4)]);
            let mut damaged = offer.to_vec();
            let at = pick(damaged.len());
            damaged[at] = b"\r\n 09=:/azm\xff"[pick(12)];
            if let Ok((answer, _)) = sides[1 - from].clone().answer(&damaged, SendRecv) {
                parse(&answer).expect("our own writing");
                let _ = sides[from].clone().accept(&answer);
            }
            let (answer, theirs) = sides[1 - from].answer(&offer, all[pick(4)]).expect("an answer");
            let ours = sides[from].accept(&answer).expect("agreed");
            assert_eq!(
                (ours.codec, ours.payload_type, ours.telephone_event),
                (theirs.codec, theirs.payload_type, theirs.telephone_event)
            );
            assert_eq!(ours.direction, theirs.direction.mirrored());
        }
    }
}
