//! One Via value (RFC 3261 §20.42, RFC 3581): how a message came and where its response goes.

use super::lex;
use super::params::Params;
use super::uri::{Host, UriError, host_port_of};

/// What every branch of RFC 3261 begins with (§8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// A Via value.
#[derive(Clone, Copy, Debug)]
pub struct Via<'a> {
    /// Protocol, version, transport and sent-by as written, without parameters.
    pub(super) sent: &'a [u8],
    /// The transport.
    pub transport: Transport,
    /// The host of sent-by.
    pub host: Host<'a>,
    /// The port of sent-by, if written.
    pub port: Option<u16>,
    /// `branch`, `received`, `rport`, `maddr`, `ttl` …
    pub params: Params<'a>,
}

/// The transport of a Via.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// RFC 3261 §18.
    Udp,
    /// RFC 3261 §18.
    Tcp,
    /// RFC 3261 §26.2.
    Tls,
    /// RFC 4168.
    Sctp,
    /// RFC 7118.
    Ws,
    /// RFC 7118.
    Wss,
    /// Any other token.
    Other,
}

/// Why a value is no Via.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViaError {
    /// Not `SIP/`, a version, `/` and a token.
    #[error("not SIP over a transport")]
    Protocol,
    /// No valid sent-by.
    #[error("no valid sent-by: {0}")]
    SentBy(#[from] UriError),
    /// A quote that does not close: nobody could add `received`.
    #[error("an open quote")]
    Open,
}

impl<'a> Via<'a> {
    /// Reads one value.
    ///
    /// # Errors
    /// [`ViaError`] when it is none.
    pub fn parse(value: &'a [u8]) -> Result<Via<'a>, ViaError> {
        let value = value.trim_ascii();
        let (sent, params) = match memchr::memchr(b';', value) {
            Some(at) => (value[..at].trim_ascii_end(), &value[at + 1..]),
            None => (value, &[][..]),
        };
        if !lex::is_closed(params) {
            return Err(ViaError::Open);
        }
        let (transport, sent_by) = protocol(sent).ok_or(ViaError::Protocol)?;
        let (host, port) = host_port_of(sent_by)?;
        Ok(Via { sent, transport, host, port, params: Params::new(params) })
    }

    /// The branch; that of an RFC 3261 element begins with [`MAGIC_COOKIE`].
    pub fn branch(&self) -> Option<&'a [u8]> {
        self.params.value("branch").filter(|branch| !branch.is_empty())
    }
}

impl Transport {
    fn parse(name: &[u8]) -> Transport {
        const KNOWN: [(&[u8], Transport); 6] = [
            (b"UDP", Transport::Udp),
            (b"TCP", Transport::Tcp),
            (b"TLS", Transport::Tls),
            (b"SCTP", Transport::Sctp),
            (b"WS", Transport::Ws),
            (b"WSS", Transport::Wss),
        ];
        let known = KNOWN.iter().find(|(text, _)| name.eq_ignore_ascii_case(text));
        known.map_or(Transport::Other, |(_, transport)| *transport)
    }

    /// Its name in a Via; `None` for [`Transport::Other`].
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Transport::Udp => Some("UDP"),
            Transport::Tcp => Some("TCP"),
            Transport::Tls => Some("TLS"),
            Transport::Sctp => Some("SCTP"),
            Transport::Ws => Some("WS"),
            Transport::Wss => Some("WSS"),
            Transport::Other => None,
        }
    }

    /// Whether it delivers each message once or not at all, so that nothing is repeated (RFC 3261 §17).
    pub const fn is_reliable(self) -> bool {
        match self {
            Transport::Udp => false,
            Transport::Tcp | Transport::Tls | Transport::Sctp | Transport::Ws | Transport::Wss => true,
            // Repeating too often harms less than waiting for a repetition that never comes.
            Transport::Other => false,
        }
    }
}

/// Reads `SIP / 2.0 / transport`, blanks allowed around the slashes: the transport and what follows it. Any version will
/// do: a request of another one is refused with 505, and that answer must find its way.
fn protocol(sent: &[u8]) -> Option<(Transport, &[u8])> {
    let (name, rest) = lex::split_once(sent, b'/')?;
    let (version, rest) = lex::split_once(rest, b'/')?;
    if !name.trim_ascii().eq_ignore_ascii_case(b"SIP") || !lex::is_token(version.trim_ascii()) {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let end = rest.iter().position(u8::is_ascii_whitespace)?;
    lex::is_token(&rest[..end]).then(|| (Transport::parse(&rest[..end]), rest[end..].trim_ascii_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transport_sent_by_and_parameters_are_found() {
        let via = Via::parse(b"SIP/2.0/UDP 192.0.2.1:5070;rport;branch=z9hG4bK7;received=192.0.2.9").unwrap();
        assert_eq!((via.transport, via.host, via.port), (Transport::Udp, Host::Ip([192, 0, 2, 1].into()), Some(5070)));
        assert_eq!((via.branch(), via.params.value("rport")), (Some(&b"z9hG4bK7"[..]), Some(&b""[..])));
        assert_eq!(via.params.value("received"), Some(&b"192.0.2.9"[..]));

        let loose = Via::parse(b"SIP  / 2.0\t / tcp   spindle.example.com : 5060 ;  branch  =  z9hG4bK9ikj8 ").unwrap();
        assert_eq!((loose.transport, loose.port), (Transport::Tcp, Some(5060)));
        assert_eq!((loose.host, loose.branch()), (Host::Name("spindle.example.com"), Some(&b"z9hG4bK9ikj8"[..])));

        let v6 = Via::parse(b"SIP/2.0/WSS [2001:db8::9:1]:443;received=[2001:db8::9:255];branch=z9hG4bKas3").unwrap();
        assert_eq!((v6.transport, v6.port), (Transport::Wss, Some(443)));
        assert_eq!(v6.host.to_string(), "[2001:db8::9:1]");
        assert_eq!(Via::parse(b"SIP/2.0/QUIC a.b").unwrap().transport, Transport::Other);
    }

    #[test]
    fn what_is_no_via_is_refused() {
        for value in ["", "SIP/2.0/UDP", "SIP/(/UDP 192.0.2.1", "HTTP/2.0/UDP a", "SIP/2.0/ ;x", "SIP/2.0/U@P a"] {
            assert_eq!(Via::parse(value.as_bytes()).map(|_| ()), Err(ViaError::Protocol), "{value}");
        }
        assert_eq!(Via::parse(b"SIP/2.0/UDP 192.0.2.1:x").map(|_| ()), Err(ViaError::SentBy(UriError::Port)));
        assert_eq!(Via::parse(b"SIP/2.0/UDP a b").map(|_| ()), Err(ViaError::SentBy(UriError::Host)));
    }

    #[test]
    fn only_datagrams_repeat() {
        assert!(!Transport::Udp.is_reliable());
        assert!(Transport::Wss.is_reliable());
        assert_eq!(Transport::Wss.as_str(), Some("WSS"));
    }
}
