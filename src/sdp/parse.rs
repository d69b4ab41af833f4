//! Reads session descriptions (RFC 8866) as the world writes them.
//!
//! Tolerant by rule: unknown lines, attributes and their values are skipped, lines may end in LF, any encoding may stand
//! in free text, `o=`, `s=` and `t=` may lack. Only what would make us send sound to the wrong place is an error: `v=`,
//! `c=` and `m=` lines that cannot be read. Never panics and takes bounded time, whatever comes.

use super::Direction;
use super::description::{Connection, Description, Mapping, Origin, Rtcp, Stream};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest description read, in bytes.
pub const LENGTH_MAX: usize = 16 * 1024;
/// Most `m=` lines of a description.
pub const STREAMS_MAX: usize = 16;
/// Most formats, mappings or parameters kept of a stream: RTP has 128 payload types.
const FORMATS_MAX: usize = 128;

/// Why a body is no session description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// More than [`LENGTH_MAX`] bytes.
    #[error("longer than a session description may be")]
    TooLong,
    /// The first line is not `v=0`.
    #[error("not a session description of version 0")]
    Version,
    /// A `c=` line that names neither an address nor a host.
    #[error("unreadable connection line")]
    Connection,
    /// An `m=` line without media, port, protocol or format.
    #[error("unreadable media line")]
    Media,
    /// More than [`STREAMS_MAX`] streams.
    #[error("too many media lines")]
    TooManyStreams,
}

/// Reads a session description.
pub fn parse(body: &[u8]) -> Result<Description, ParseError> {
    if body.len() > LENGTH_MAX {
        return Err(ParseError::TooLong);
    }
    // Free text may be in any encoding (GBK in `s=` is common); all that is kept is ASCII.
    let text = String::from_utf8_lossy(body);
    let mut lines = text.split('\n').map(str::trim_ascii_end).filter(|line| !line.is_empty());
    if lines.next() != Some("v=0") {
        return Err(ParseError::Version);
    }
    let mut description = Description { origin: no_origin(), connection: None, direction: None, streams: Vec::new() };
    for line in lines {
        match line.split_at_checked(2) {
            Some(("o=", value)) => description.origin = origin(value).unwrap_or_else(no_origin),
            Some(("c=", value)) => take_connection(&mut description, value)?,
            Some(("m=", _)) if description.streams.len() == STREAMS_MAX => return Err(ParseError::TooManyStreams),
            Some(("m=", value)) => description.streams.push(stream(value).ok_or(ParseError::Media)?),
            Some(("a=", value)) => attribute(&mut description, value),
            Some(_) | None => {}
        }
    }
    Ok(description)
}

/// What stands for an `o=` line that is missing or unreadable: nobody's session.
fn no_origin() -> Origin {
    Origin { id: "0".into(), version: "0".into(), address: Connection::Address(Ipv4Addr::UNSPECIFIED.into()) }
}

/// `username sess-id sess-version nettype addrtype address`
fn origin(value: &str) -> Option<Origin> {
    let (head, address) = value.match_indices(' ').nth(2).map(|(at, _)| (&value[..at], &value[at + 1..]))?;
    let mut words = head.split(' ').skip(1);
    let (id, version) = (words.next()?, words.next()?);
    let digits = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    (digits(id) && digits(version)).then_some(())?;
    Some(Origin { id: id.into(), version: version.into(), address: connection(address)? })
}

/// A `c=` line belongs to the stream above it, else to the session. A stream may have several (layered multicast,
/// RFC 8866 §5.7): the first is its own.
fn take_connection(description: &mut Description, value: &str) -> Result<(), ParseError> {
    let found = connection(value).ok_or(ParseError::Connection)?;
    let place = match description.streams.last_mut() {
        Some(stream) => &mut stream.connection,
        None => &mut description.connection,
    };
    place.get_or_insert(found);
    Ok(())
}

/// `IN IP4 address[/ttl][/count]` or `IN IP6 address[/count]`
fn connection(value: &str) -> Option<Connection> {
    let mut words = value.split_ascii_whitespace();
    let (network, kind, address) = (words.next()?, words.next()?, words.next()?);
    if !network.eq_ignore_ascii_case("IN") {
        return None;
    }
    let address = address.split('/').next()?;
    if kind.eq_ignore_ascii_case("IP4") {
        if let Ok(found) = address.parse::<Ipv4Addr>() {
            return Some(Connection::Address(found.into()));
        }
    } else if kind.eq_ignore_ascii_case("IP6") {
        if let Ok(found) = address.parse::<Ipv6Addr>() {
            return Some(Connection::Address(IpAddr::V6(found).to_canonical()));
        }
    } else {
        return None;
    }
    is_host_name(address).then(|| Connection::Name(address.into()))
}

fn is_host_name(text: &str) -> bool {
    // A name of digits only is a broken address.
    let letter = text.bytes().any(|byte| byte.is_ascii_alphabetic());
    letter && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

/// `media port[/count] protocol format…`
fn stream(value: &str) -> Option<Stream> {
    let mut words = value.split_ascii_whitespace();
    let (media, port, protocol) = (words.next()?, words.next()?, words.next()?);
    let port = port.split('/').next()?.parse().ok()?;
    let formats: Vec<Box<str>> = words.take(FORMATS_MAX).map(Box::from).collect();
    let all_tokens =
        is_token(media) && protocol.split('/').all(is_token) && formats.iter().all(|format| is_token(format));
    (all_tokens && !formats.is_empty()).then(|| Stream::new(media, port, protocol, formats))
}

/// `token` of RFC 8866 §9: what we echo when refusing a stream must be printable.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| {
            byte.is_ascii_graphic() && !matches!(byte, b'"' | b'(' | b')' | b',' | b'/' | b':'..=b'@' | b'['..=b']')
        })
}

/// Attributes we know; the value of one that cannot be read counts as absent.
fn attribute(description: &mut Description, text: &str) {
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    if let Some(direction) = direction(name) {
        match description.streams.last_mut() {
            Some(stream) => stream.direction = Some(direction),
            None => description.direction = Some(direction),
        }
        return;
    }
    let Some(stream) = description.streams.last_mut() else {
        return;
    };
    match name {
        "rtpmap" if stream.mappings.len() < FORMATS_MAX => stream.mappings.extend(mapping(value)),
        "fmtp" if stream.parameters.len() < FORMATS_MAX => stream.parameters.extend(parameters(value)),
        "ptime" => stream.ptime_ms = whole_ms(value).or(stream.ptime_ms),
        "maxptime" => stream.maxptime_ms = whole_ms(value).or(stream.maxptime_ms),
        "rtcp" => stream.rtcp = rtcp(value).or(stream.rtcp.take()),
        "rtcp-mux" => stream.rtcp_mux = true,
        _ => {}
    }
}

fn direction(name: &str) -> Option<Direction> {
    [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive]
        .into_iter()
        .find(|direction| name.eq_ignore_ascii_case(direction.as_str()))
}

/// `payload encoding/clock[/channels]`
fn mapping(value: &str) -> Option<Mapping> {
    let (payload_type, rest) = value.trim_ascii().split_once([' ', '\t'])?;
    let mut parts = rest.trim_ascii().split('/');
    let (encoding, clock_hz) = (parts.next()?, parts.next()?.parse().ok()?);
    let channels = match parts.next() {
        Some(count) => count.parse().ok()?,
        None => 1,
    };
    let payload_type = payload_type.parse().ok().filter(|payload_type| *payload_type < 128)?;
    is_token(encoding).then(|| Mapping { payload_type, encoding: encoding.into(), clock_hz, channels })
}

/// `payload parameters`
fn parameters(value: &str) -> Option<(u8, Box<str>)> {
    let (payload_type, rest) = value.trim_ascii().split_once([' ', '\t'])?;
    let payload_type = payload_type.parse().ok().filter(|payload_type| *payload_type < 128)?;
    let rest = rest.trim_ascii();
    (!rest.is_empty()).then(|| (payload_type, rest.into()))
}

/// RFC 8866 §6.4 allows fractions; whole milliseconds are all G.711 is cut into.
fn whole_ms(value: &str) -> Option<u32> {
    value.trim_ascii().split('.').next()?.parse().ok().filter(|ms| *ms > 0)
}

/// `port [nettype addrtype address]` (RFC 3605 §2.1)
fn rtcp(value: &str) -> Option<Rtcp> {
    let (port, address) = match value.trim_ascii().split_once(' ') {
        Some((port, address)) => (port, Some(connection(address)?)),
        None => (value.trim_ascii(), None),
    };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some(Rtcp { port, connection: address })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Mint;

    const CARRIER: &str = "v=0\r\no=HuaweiSoftX3000 1073741831 1073741832 IN IP4 10.1.2.3\r\ns=Sip Call\r\n\
        c=IN IP4 10.1.2.4\r\nt=0 0\r\na=sendonly\r\nm=audio 20002 RTP/AVP 8 0 18 97\r\nb=AS:80\r\n\
        a=rtpmap:8 PCMA/8000\r\na=rtpmap:97 telephone-event/8000/1\r\na=fmtp:97 0-16\r\na=ptime:20.0\r\na=maxptime:40\r\n\
        a=rtcp:20009 IN IP4 10.1.2.5\r\na=silenceSupp:off - - - -\r\nm=video 0 RTP/AVP 34\r\nc=IN IP6 2001:db8::1\r\na=inactive\r\n";

    fn address(text: &str) -> Connection {
        Connection::Address(text.parse().expect("an address"))
    }

    #[test]
    fn a_whole_description_is_read() {
        let read = parse(CARRIER.as_bytes()).expect("a description");
        assert_eq!((&*read.origin.id, &*read.origin.version), ("1073741831", "1073741832"));
        assert_eq!(read.direction, Some(Direction::SendOnly));
        let [audio, video] = &read.streams[..] else { panic!("two streams") };
        assert_eq!(audio.payload_types().collect::<Vec<_>>(), [8, 0, 18, 97]);
        assert_eq!(
            audio.mapping(97).map(|map| (&*map.encoding, map.clock_hz, map.channels)),
            Some(("telephone-event", 8000, 1))
        );
        assert_eq!(audio.parameters, [(97, "0-16".into())]);
        assert_eq!((audio.ptime_ms, audio.maxptime_ms), (Some(20), Some(40)));
        assert_eq!(audio.rtcp, Some(Rtcp { port: 20009, connection: Some(address("10.1.2.5")) }));
        assert_eq!((read.direction_of(audio), read.direction_of(video)), (Direction::SendOnly, Direction::Inactive));
        assert_eq!(read.connection_of(audio), Some(&address("10.1.2.4")));
        assert_eq!(read.connection_of(video), Some(&address("2001:db8::1")));
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let read = parse(CARRIER.as_bytes()).expect("a description");
        let again = parse(read.to_string().as_bytes()).expect("our own writing");
        assert_eq!(read, again);
        assert_eq!(read.to_string(), again.to_string());
    }

    #[test]
    fn sloppy_writing_is_understood() {
        let cases: [&[u8]; 7] = [
            b"v=0\nm=audio 4000 RTP/AVP 8\n",
            b"v=0\r\n\r\nm=audio 4000 RTP/AVP 8",
            b"v=0 \r\ns=\xc4\xe3\xba\xc3\r\nm=audio 4000/2 RTP/AVP 8 \r\n",
            b"v=0\r\no=rubbish\r\nx\r\nz=\r\nm=audio 4000 RTP/AVP 8\r\na=rtpmap:999 X/1\r\na=rtpmap:8\r\na=ptime:0\r\n",
            b"v=0\r\nm=audio  4000  RTP/AVP  8\r\na=\r\na=rtcp:0\r\na=rtcp:x\r\na=fmtp:8\r\na=fmtp:8 \r\n",
            b"v=0\r\no=- 1 x IN IP4 1.2.3.4\r\nm=audio 4000 RTP/AVP 8\r\na=rtcp:5 IN IP4\r\n",
            b"v=0\r\nt=0 0\r\n\xff\xff=\r\nm=audio 4000 RTP/AVP 8\r\na=rtpmap:8 /8000\r\na=maxptime:-4\r\n",
        ];
        let plain = [Stream::new("audio", 4000, "RTP/AVP", vec!["8".into()])];
        for body in cases {
            let read = parse(body).expect("a description");
            assert_eq!(read.streams, plain, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn what_could_mislead_sound_is_an_error() {
        let long = format!("v=0\r\n{}", "a=x\r\n".repeat(LENGTH_MAX));
        let many = format!("v=0\r\n{}", "m=audio 1 RTP/AVP 8\r\n".repeat(STREAMS_MAX + 1));
        let cases = [
            ("", ParseError::Version),
            ("v=1\r\nm=audio 4000 RTP/AVP 8\r\n", ParseError::Version),
            ("o=- 1 1 IN IP4 1.2.3.4\r\nv=0\r\n", ParseError::Version),
            ("v=0\r\nc=IN IP4 300.2.3.4\r\n", ParseError::Connection),
            ("v=0\r\nc=IN IP4\r\n", ParseError::Connection),
            ("v=0\r\nc=ATM NSAP x\r\n", ParseError::Connection),
            ("v=0\r\nc=IN IP6 fe80::1%eth0\r\n", ParseError::Connection),
            ("v=0\r\nm=audio 70000 RTP/AVP 8\r\n", ParseError::Media),
            ("v=0\r\nm=audio -1 RTP/AVP 8\r\n", ParseError::Media),
            ("v=0\r\nm=audio 4000 RTP/AVP\r\n", ParseError::Media),
            ("v=0\r\nm=audio 4000\r\n", ParseError::Media),
            ("v=0\r\nm=au(dio 4000 RTP/AVP 8\r\n", ParseError::Media),
            (&long, ParseError::TooLong),
            (&many, ParseError::TooManyStreams),
        ];
        for (body, error) in cases {
            assert_eq!(parse(body.as_bytes()), Err(error), "{body:.60}");
        }
    }

    #[test]
    fn connection_lines() {
        let cases = [
            ("IN IP4 1.2.3.4", Some(address("1.2.3.4"))),
            ("IN IP4 224.2.1.1/127/3", Some(address("224.2.1.1"))),
            ("in ip6 ::1", Some(address("::1"))),
            ("IN IP6 ::ffff:1.2.3.4", Some(address("1.2.3.4"))),
            ("IN IP4 media.example.cn", Some(Connection::Name("media.example.cn".into()))),
            ("IN IP4 1.2.3", None),
            ("IN IP4 a b", Some(Connection::Name("a".into()))),
            ("IN IP5 1.2.3.4", None),
        ];
        for (text, expected) in cases {
            assert_eq!(connection(text), expected, "{text}");
        }
    }

    /// Random damage to a good description never panics, and whatever is still read is written and read back the same.
    #[test]
    fn damaged_descriptions_never_panic() {
        let mut mint = Mint::new(0, [7, 1]);
        for _ in 0..20_000 {
            let mut body = CARRIER.as_bytes().to_vec();
            for _ in 0..1 + mint.random() % 6 {
                let at = (mint.random() % body.len() as u64) as usize;
                match mint.random() % 4 {
                    0 => body[at] = mint.random() as u8,
                    1 => drop(body.remove(at)),
                    2 => body.insert(at, b" \r\n=/:0"[(mint.random() % 7) as usize]),
                    _ => body.truncate(at.max(5)),
                }
            }
            if let Ok(read) = parse(&body) {
                assert_eq!(
                    parse(read.to_string().as_bytes()).as_ref(),
                    Ok(&read),
                    "{}",
                    String::from_utf8_lossy(&body)
                );
            }
        }
    }
}
