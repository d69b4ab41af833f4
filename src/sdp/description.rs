//! A session description as plain data, and its exact text (RFC 8866 §5).
//!
//! Owns what telephony reads and writes: origin, connection, direction, streams, their payload types, packet time and
//! RTCP port. Other lines are dropped by the parser and never written.

use super::Direction;
use core::fmt;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A session description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// `o=`.
    pub origin: Origin,
    /// `c=` for all streams without their own.
    pub connection: Option<Connection>,
    /// Direction of all streams without their own.
    pub direction: Option<Direction>,
    /// `m=`, in order.
    pub streams: Vec<Stream>,
}

/// Who described the session, and which version this is (RFC 8866 §5.2). The user name is always `-`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `sess-id`: digits; kept as text, for some write more than 64 bits.
    pub id: Box<str>,
    /// `sess-version`, likewise.
    pub version: Box<str>,
    /// The describing host.
    pub address: Connection,
}

/// Where media goes (RFC 8866 §5.7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Connection {
    /// An address.
    Address(IpAddr),
    /// A host name; we resolve none.
    Name(Box<str>),
}

/// One media stream (RFC 8866 §5.14).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// `audio`, `video`, `image` …
    pub media: Box<str>,
    /// 0 means refused or not wanted (RFC 3264 §6, §8.2).
    pub port: u16,
    /// `RTP/AVP` …
    pub protocol: Box<str>,
    /// Formats as written: payload types for RTP.
    pub formats: Vec<Box<str>>,
    /// Its own `c=`.
    pub connection: Option<Connection>,
    /// `a=rtpmap`.
    pub mappings: Vec<Mapping>,
    /// `a=fmtp`: payload type and parameters.
    pub parameters: Vec<(u8, Box<str>)>,
    /// `a=ptime` in whole milliseconds.
    pub ptime_ms: Option<u32>,
    /// `a=maxptime` in whole milliseconds.
    pub maxptime_ms: Option<u32>,
    /// `a=rtcp`.
    pub rtcp: Option<Rtcp>,
    /// `a=rtcp-mux`: RTCP may share the port of RTP (RFC 5761 §5.1.1).
    pub rtcp_mux: bool,
    /// Its own direction.
    pub direction: Option<Direction>,
}

/// What a payload type means (RFC 8866 §6.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// 0–127.
    pub payload_type: u8,
    /// Encoding name; compared without regard to case.
    pub encoding: Box<str>,
    /// Clock rate.
    pub clock_hz: u32,
    /// 1 unless written.
    pub channels: u8,
}

/// Where RTCP goes when it is not the next port (RFC 3605 §2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rtcp {
    /// Its port.
    pub port: u16,
    /// Its address when it is not the stream's.
    pub connection: Option<Connection>,
}

impl Description {
    /// Where `stream` goes: its own `c=`, else the session's.
    pub fn connection_of<'a>(&'a self, stream: &'a Stream) -> Option<&'a Connection> {
        stream.connection.as_ref().or(self.connection.as_ref())
    }

    /// The direction of `stream` seen from its writer: its own, else the session's, else both ways (RFC 8866 §6.7).
    pub fn direction_of(&self, stream: &Stream) -> Direction {
        stream.direction.or(self.direction).unwrap_or(Direction::SendRecv)
    }
}

impl Stream {
    /// A stream of which nothing is known but its `m=` line.
    pub fn new(media: &str, port: u16, protocol: &str, formats: Vec<Box<str>>) -> Stream {
        Stream {
            media: media.into(),
            port,
            protocol: protocol.into(),
            formats,
            connection: None,
            mappings: Vec::new(),
            parameters: Vec::new(),
            ptime_ms: None,
            maxptime_ms: None,
            rtcp: None,
            rtcp_mux: false,
            direction: None,
        }
    }

    /// The same line refused: port 0 and, since one format must stand there, the first (RFC 3264 §6).
    pub fn refused(&self) -> Stream {
        Stream::new(&self.media, 0, &self.protocol, self.formats.iter().take(1).cloned().collect())
    }

    /// The numeric formats, in order of preference.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> + '_ {
        self.formats.iter().filter_map(|format| format.parse().ok()).filter(|payload_type| *payload_type < 128)
    }

    /// What `a=rtpmap` says of a payload type; the first line wins.
    pub fn mapping(&self, payload_type: u8) -> Option<&Mapping> {
        self.mappings.iter().find(|mapping| mapping.payload_type == payload_type)
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { id, version, address } = &self.origin;
        write!(f, "v=0\r\no=- {id} {version} {address}\r\ns=-\r\n")?;
        if let Some(connection) = &self.connection {
            write!(f, "c={connection}\r\n")?;
        }
        f.write_str("t=0 0\r\n")?;
        if let Some(direction) = self.direction {
            write!(f, "a={}\r\n", direction.as_str())?;
        }
        self.streams.iter().try_for_each(|stream| stream.fmt(f))
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={} {} {}", self.media, self.port, self.protocol)?;
        self.formats.iter().try_for_each(|format| write!(f, " {format}"))?;
        f.write_str("\r\n")?;
        if let Some(connection) = &self.connection {
            write!(f, "c={connection}\r\n")?;
        }
        for Mapping { payload_type, encoding, clock_hz, channels } in &self.mappings {
            write!(f, "a=rtpmap:{payload_type} {encoding}/{clock_hz}")?;
            if *channels != 1 {
                write!(f, "/{channels}")?;
            }
            f.write_str("\r\n")?;
        }
        for (payload_type, parameters) in &self.parameters {
            write!(f, "a=fmtp:{payload_type} {parameters}\r\n")?;
        }
        for (name, value) in [("ptime", self.ptime_ms), ("maxptime", self.maxptime_ms)] {
            if let Some(ms) = value {
                write!(f, "a={name}:{ms}\r\n")?;
            }
        }
        match &self.rtcp {
            Some(Rtcp { port, connection: Some(connection) }) => write!(f, "a=rtcp:{port} {connection}\r\n")?,
            Some(Rtcp { port, connection: None }) => write!(f, "a=rtcp:{port}\r\n")?,
            None => {}
        }
        if self.rtcp_mux {
            f.write_str("a=rtcp-mux\r\n")?;
        }
        match self.direction {
            Some(direction) => write!(f, "a={}\r\n", direction.as_str()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Connection::Address(IpAddr::V4(address)) => write!(f, "IN IP4 {address}"),
            Connection::Address(IpAddr::V6(address)) => write!(f, "IN IP6 {address}"),
            Connection::Name(name) => write!(f, "IN IP4 {name}"),
        }
    }
}
