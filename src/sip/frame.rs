//! Cuts a byte stream into messages (RFC 3261 §18.3): TCP and TLS have no datagrams, so Content-Length decides.
//!
//! Owns no buffer and no connection: it is asked how long the first message in a buffer is.

use super::lex;
use super::name::Name;
use super::parse::{Lines, MESSAGE_BYTES_MAX, Next};

/// What stands at the beginning of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Not all of a message yet.
    Partial,
    /// This many bytes of line ends before anything else: drop them. Four are a ping, to be answered with one line end
    /// (RFC 5626 §3.5.1).
    LineEnds(usize),
    /// A message of this many bytes.
    Message(usize),
    /// No Content-Length, or a message too long: nobody can know where the next one begins, so the connection ends.
    Lost,
}

/// What `buffer` begins with.
pub fn frame(buffer: &[u8]) -> Frame {
    let line_ends = buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    if line_ends > 0 {
        return Frame::LineEnds(line_ends);
    }
    let head = &buffer[..buffer.len().min(MESSAGE_BYTES_MAX)];
    let (_, _, mut lines) = Lines::behind_start_line(head);
    let mut length = None;
    loop {
        match lines.next() {
            Next::Header(line) if Name::parse(line.name.of(head)) == Some(Name::ContentLength) => {
                length = lex::decimal(line.value.of(head));
                if length.is_none() {
                    return Frame::Lost;
                }
            }
            Next::Header(_) | Next::Broken => {}
            Next::Cut if head.len() < MESSAGE_BYTES_MAX => return Frame::Partial,
            Next::Cut => return Frame::Lost,
            Next::Body(at) => return whole(buffer, at, length),
        }
    }
}

fn whole(buffer: &[u8], body_at: usize, length: Option<u32>) -> Frame {
    let end = length.and_then(|length| body_at.checked_add(usize::try_from(length).ok()?));
    match end {
        Some(end) if end <= MESSAGE_BYTES_MAX => {
            if end <= buffer.len() {
                Frame::Message(end)
            } else {
                Frame::Partial
            }
        }
        Some(_) | None => Frame::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "OPTIONS sip:a SIP/2.0\r\nCall-ID: 1\r\n";

    #[test]
    fn the_first_message_ends_where_it_says() {
        let message = format!("{HEAD}l : 4\r\n\r\nbody");
        let stream = format!("{message}{message}");
        for cut in 1..message.len() {
            assert_eq!(frame(&stream.as_bytes()[..cut]), Frame::Partial, "{cut}");
        }
        assert_eq!(frame(stream.as_bytes()), Frame::Message(message.len()));
        assert_eq!(frame(b""), Frame::Partial);
        assert_eq!(frame(b"\r\n\r\nOPTIONS"), Frame::LineEnds(4));
    }

    #[test]
    fn what_has_no_end_ends_the_connection() {
        for line in ["", "Content-Length: x\r\n", "Content-Length: 65535\r\n", "Content-Length: 4294967296\r\n"] {
            assert_eq!(frame(format!("{HEAD}{line}\r\n").as_bytes()), Frame::Lost, "{line}");
        }
        assert_eq!(frame(&[b'x'; MESSAGE_BYTES_MAX]), Frame::Lost);
        assert_eq!(frame(&[b'x'; MESSAGE_BYTES_MAX - 1]), Frame::Partial);
    }
}
