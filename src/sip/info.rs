//! Digits by INFO (RFC 2976, RFC 6086): `application/dtmf-relay` and `application/dtmf`, which gateways and old phones send
//! where they have no telephone-event.
//!
//! Reads bodies; a repeated INFO is a repeated transaction and comes here once.

use super::event::Notice;
use super::leg::{LegKey, State};
use super::message::Message;
use super::name::Name;
use super::server::ServerKey;
use super::ua::{Pass, Ua};

/// What we read in an INFO.
const ACCEPT: &str = "application/dtmf-relay, application/dtmf";
/// Keys by their event number (RFC 4733 §3.2), as some gateways write them.
const BY_NUMBER: &[u8; 16] = b"0123456789*#ABCD";

impl Ua {
    /// Their INFO.
    pub(super) fn informed(&mut self, pass: &mut Pass, key: ServerKey, leg: LegKey, request: &Message) {
        if request.other("Info-Package").is_some() {
            // RFC 6086 §4.2.2: no package is known here.
            return self.answer(pass, key, 469, |writer| {
                // A name of letters is a token.
                let _ = writer.other("Recv-Info", b"");
            });
        }
        let Some(content_type) = request.content_type().filter(|_| !request.body().is_empty()) else {
            return self.answer(pass, key, 200, |_| {});
        };
        if !content_type.is("application", "dtmf-relay") && !content_type.is("application", "dtmf") {
            return self.answer(pass, key, 415, |writer| {
                writer.header(Name::Accept, ACCEPT);
            });
        }
        let Some(digit) = digit(request.body()) else {
            return self.answer(pass, key, 400, |_| {});
        };
        self.answer(pass, key, 200, |_| {});
        if matches!(self.legs[leg].state, State::Answered { .. } | State::Established { .. }) {
            pass.tell(Notice::Digit { leg: self.legs[leg].id, digit });
        }
    }
}

/// The digit in a body: `Signal=5` in any of its lines, or the digit alone.
fn digit(body: &[u8]) -> Option<u8> {
    let mut lines =
        body.split(|byte| matches!(byte, b'\r' | b'\n')).map(<[u8]>::trim_ascii).filter(|it| !it.is_empty());
    let first = lines.clone().next()?;
    let signal = lines.find_map(|line| {
        let at = line.iter().position(|byte| matches!(byte, b'=' | b':'))?;
        line[..at].trim_ascii().eq_ignore_ascii_case(b"Signal").then(|| line[at + 1..].trim_ascii())
    });
    match signal.unwrap_or(first) {
        [key] => {
            let key = key.to_ascii_uppercase();
            BY_NUMBER.contains(&key).then_some(key)
        }
        [b'1', unit @ b'0'..=b'5'] => BY_NUMBER.get(usize::from(unit - b'0') + 10).copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_as_gateways_write_them() {
        let cases: [(&[u8], Option<u8>); 15] = [
            (b"Signal=5\r\nDuration=100", Some(b'5')),
            (b"Signal=5\r\nDuration=100\r\n", Some(b'5')),
            (b"Signal= *\nDuration= 160\n", Some(b'*')),
            (b"signal = # \r\n", Some(b'#')),
            (b"Duration=100\r\nSIGNAL=d\r\n", Some(b'D')),
            (b"Signal: 7\r\n", Some(b'7')),
            (b"Signal=10\r\n", Some(b'*')),
            (b"Signal=11\r\n", Some(b'#')),
            (b"5", Some(b'5')),
            (b"*\r\n", Some(b'*')),
            (b"", None),
            (b"\r\n", None),
            (b"Signal=16\r\n", None),
            (b"Signal=!\r\n", None),
            (b"Signal=\r\n", None),
        ];
        for (body, expected) in cases {
            assert_eq!(digit(body), expected, "{}", body.escape_ascii());
        }
    }
}
