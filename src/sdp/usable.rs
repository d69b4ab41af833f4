//! What can be used of a stream the other side describes: where it goes, its codecs, what it lets us do.
//!
//! Reads only; [`Session`](super::Session) chooses.

use super::description::{Connection, Description, Stream};
use super::session::Refusal;
use super::{Codec, Direction};
use std::net::{IpAddr, SocketAddr};

/// Packet time we ask for, and send when the other side asks for none.
pub(super) const PTIME_MS: u32 = 20;
/// Packet times we send, in steps of [`PTIME_STEP_MS`].
const PTIME_MS_RANGE: (u32, u32) = (10, 60);
const PTIME_STEP_MS: u32 = 10;
/// Clock of G.711, and so of the telephone-events in its stream (RFC 4733 §2.1).
pub(super) const CLOCK_HZ: u32 = 8000;
pub(super) const AUDIO: &str = "audio";
pub(super) const RTP_AVP: &str = "RTP/AVP";
pub(super) const TELEPHONE_EVENT_NAME: &str = "telephone-event";

/// A codec as the other side numbers it.
pub(super) type Numbered = (Codec, u8);

/// What can be used of a stream of the other side.
pub(super) struct Usable {
    pub(super) rtp: SocketAddr,
    pub(super) rtcp: SocketAddr,
    /// It takes RTCP where it takes RTP, if we do.
    pub(super) rtcp_mux: bool,
    pub(super) codecs: Vec<Numbered>,
    pub(super) telephone_event: Option<u8>,
    /// What it lets us do.
    pub(super) direction: Direction,
    pub(super) ptime_ms: u8,
}

/// Looks at one stream of the other side's `description`; ours is at `local`.
pub(super) fn usable(description: &Description, stream: &Stream, local: SocketAddr) -> Result<Usable, Refusal> {
    if !stream.media.eq_ignore_ascii_case(AUDIO) || stream.port == 0 {
        return Err(Refusal::NoAudio);
    }
    if !stream.protocol.eq_ignore_ascii_case(RTP_AVP) {
        return Err(Refusal::Protocol);
    }
    let codecs: Vec<Numbered> = codecs_of(stream).collect();
    if codecs.is_empty() {
        return Err(Refusal::Codec);
    }
    let address = description.connection_of(stream).and_then(|it| reachable(it, local)).ok_or(Refusal::Address)?;
    let rtcp = match &stream.rtcp {
        Some(rtcp) => {
            // RFC 3605 §2.1: without an address it is the stream's; one we cannot send to is no reason to refuse.
            let own = rtcp.connection.as_ref().and_then(|connection| reachable(connection, local));
            SocketAddr::new(own.unwrap_or(address), rtcp.port)
        }
        // RFC 3550 §11: the next higher port.
        None => SocketAddr::new(address, stream.port.saturating_add(1)),
    };
    Ok(Usable {
        rtp: SocketAddr::new(address, stream.port),
        rtcp,
        rtcp_mux: stream.rtcp_mux,
        codecs,
        telephone_event: telephone_event_of(stream),
        direction: permitted(description.direction_of(stream), address),
        ptime_ms: ptime_ms(stream),
    })
}

/// An address of our own family that is one host's.
fn reachable(connection: &Connection, local: SocketAddr) -> Option<IpAddr> {
    match connection {
        Connection::Address(address) => {
            (address.is_ipv4() == local.is_ipv4() && !address.is_multicast()).then_some(*address)
        }
        Connection::Name(_) => None,
    }
}

/// The G.711 formats of a stream in its order. Static payload types need no mapping (RFC 3551 §6); a mapping rules.
pub(super) fn codecs_of(stream: &Stream) -> impl Iterator<Item = Numbered> + '_ {
    stream.payload_types().filter_map(|number| {
        let is = |codec: &Codec| match stream.mapping(number) {
            Some(map) => {
                map.encoding.eq_ignore_ascii_case(codec.encoding()) && map.clock_hz == CLOCK_HZ && map.channels == 1
            }
            None => codec.static_payload_type() == number,
        };
        [Codec::Pcma, Codec::Pcmu].into_iter().find(is).map(|codec| (codec, number))
    })
}

/// The first telephone-event of the stream's clock. Whatever events its fmtp names, we take and send digits only.
fn telephone_event_of(stream: &Stream) -> Option<u8> {
    stream.payload_types().find(|number| {
        stream
            .mapping(*number)
            .is_some_and(|map| map.encoding.eq_ignore_ascii_case(TELEPHONE_EVENT_NAME) && map.clock_hz == CLOCK_HZ)
    })
}

/// What the other side's direction lets us do. An unspecified address is a hold of old (RFC 3264 §8.4): send nothing.
fn permitted(theirs: Direction, address: IpAddr) -> Direction {
    let ours = theirs.mirrored();
    if address.is_unspecified() { ours.and(Direction::RecvOnly) } else { ours }
}

/// The packet time to send with: what is asked for (RFC 8866 §6.4) within its `maxptime` and our range.
fn ptime_ms(stream: &Stream) -> u8 {
    let (least, most) = PTIME_MS_RANGE;
    let most = stream.maxptime_ms.map_or(most, |asked| asked.clamp(least, most));
    let ms = stream.ptime_ms.unwrap_or(PTIME_MS).clamp(least, most);
    u8::try_from(ms - ms % PTIME_STEP_MS).expect("at most 60")
}
