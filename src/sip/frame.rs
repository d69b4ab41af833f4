//! Cuts a byte stream into messages (RFC 3261 §18.3): TCP and TLS have no datagrams, so Content-Length decides.
//!
//! [`Cutter`] owns the bytes of one connection that are not a whole message yet; it never looks at a byte of a head twice,
//! however small the pieces are in which it comes. Owns no connection and never judges a message.

use super::lex;
use super::name::Name;
use super::parse::{Lines, MESSAGE_BYTES_MAX, Next};
use bytes::{Buf, Bytes, BytesMut};

/// Longest start line and headers of a message on a stream, in bytes.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Two line ends between messages ask for one (RFC 5626 §3.5.1).
pub const PING: &[u8] = b"\r\n\r\n";
/// The answer.
pub const PONG: &[u8] = b"\r\n";

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
    match length(&buffer[..buffer.len().min(HEAD_BYTES_MAX)]) {
        Length::Unknown if buffer.len() < HEAD_BYTES_MAX => Frame::Partial,
        Length::Unknown | Length::None => Frame::Lost,
        Length::Bytes(end) if end <= buffer.len() => Frame::Message(end),
        Length::Bytes(_) => Frame::Partial,
    }
}

/// How long a message is.
enum Length {
    /// Its head is not whole.
    Unknown,
    /// At most [`MESSAGE_BYTES_MAX`].
    Bytes(usize),
    /// It does not say, or is too long.
    None,
}

fn length(head: &[u8]) -> Length {
    let (_, _, mut lines) = Lines::behind_start_line(head);
    let mut length = None;
    loop {
        match lines.next() {
            Next::Header(line) if Name::parse(line.name.of(head)) == Some(Name::ContentLength) => {
                length = lex::decimal(line.value.of(head));
                if length.is_none() {
                    return Length::None;
                }
            }
            Next::Header(_) | Next::Broken => {}
            Next::Cut => return Length::Unknown,
            Next::Body(at) => {
                let end = length.and_then(|length| at.checked_add(usize::try_from(length).ok()?));
                return end.filter(|end| *end <= MESSAGE_BYTES_MAX).map_or(Length::None, Length::Bytes);
            }
        }
    }
}

/// What a connection brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A whole message.
    Message(Bytes),
    /// To be answered with [`PONG`].
    Ping,
    /// Nothing whole until more comes.
    More,
    /// Where the next message begins can no longer be known: the connection ends.
    Lost,
}

/// The unread bytes of one connection.
#[derive(Debug, Default)]
pub struct Cutter {
    buffer: BytesMut,
    /// Bytes of the buffer in which no head ends.
    seen: usize,
    /// Length of the first message, once its head is whole.
    whole: Option<usize>,
}

impl Cutter {
    /// Takes what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether a message has begun and is not whole: its rest should come soon.
    pub fn is_within(&self) -> bool {
        !self.buffer.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// The next thing; to be asked until it is [`Cut::More`] or [`Cut::Lost`].
    pub fn cut(&mut self) -> Cut {
        if self.whole.is_none() && self.seen == 0 {
            // Each line end by itself: a ping may stand behind any of them.
            while matches!(self.buffer.first(), None | Some(b'\r' | b'\n')) {
                if self.buffer.starts_with(PING) {
                    self.buffer.advance(PING.len());
                    return Cut::Ping;
                }
                // The beginning of a ping, perhaps.
                if PING.starts_with(&self.buffer) {
                    return Cut::More;
                }
                self.buffer.advance(1);
            }
        }
        if self.whole.is_none() {
            match self.head_bytes() {
                Some(bytes) if bytes <= HEAD_BYTES_MAX => {}
                None if self.buffer.len() < HEAD_BYTES_MAX => return Cut::More,
                Some(_) | None => return Cut::Lost,
            }
        }
        let length = match self.whole.map_or_else(|| length(&self.buffer), Length::Bytes) {
            Length::Bytes(bytes) => bytes,
            Length::Unknown | Length::None => return Cut::Lost,
        };
        self.whole = Some(length);
        if self.buffer.len() < length {
            return Cut::More;
        }
        (self.seen, self.whole) = (0, None);
        Cut::Message(self.buffer.split_to(length).freeze())
    }

    /// The length of the head, once it is whole; looks for its end where it has not looked yet.
    fn head_bytes(&mut self) -> Option<usize> {
        let from = self.seen;
        let ends = memchr::memchr_iter(b'\n', &self.buffer[from..]).map(|at| from + at);
        for at in ends {
            match &self.buffer[at + 1..] {
                [b'\n', ..] => return Some(at + 2),
                [b'\r', b'\n', ..] => return Some(at + 3),
                // What follows decides: looked at again when it has come.
                [] | [b'\r'] => {
                    self.seen = at;
                    return None;
                }
                [..] => {}
            }
        }
        self.seen = self.buffer.len();
        None
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
        assert_eq!(frame(&[b'x'; HEAD_BYTES_MAX]), Frame::Lost);
        assert_eq!(frame(&[b'x'; HEAD_BYTES_MAX - 1]), Frame::Partial);
    }

    /// All that comes out of a stream that comes in pieces of `size` bytes.
    fn cuts(stream: &[u8], size: usize) -> Vec<Cut> {
        let (mut cutter, mut cuts) = (Cutter::default(), Vec::new());
        for piece in stream.chunks(size) {
            cutter.push(piece);
            loop {
                match cutter.cut() {
                    Cut::More => break,
                    Cut::Lost => {
                        cuts.push(Cut::Lost);
                        return cuts;
                    }
                    cut => cuts.push(cut),
                }
            }
        }
        cuts
    }

    fn message(body: &str) -> String {
        format!("{HEAD}Content-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn a_stream_means_the_same_in_whatever_pieces_it_comes() {
        let (one, two, bare) = (message(""), message("v=0\r\n\r\nx"), message("b").replace('\r', ""));
        let stream = format!("\r\n\r\n{one}{two}\r\n{bare}\r\n\r\n\r\n\r\n{two}\r\n");
        let whole = |text: &str| Cut::Message(Bytes::copy_from_slice(text.as_bytes()));
        let expected = [Cut::Ping, whole(&one), whole(&two), whole(&bare), Cut::Ping, Cut::Ping, whole(&two)];
        for size in 1..=stream.len() {
            assert_eq!(cuts(stream.as_bytes(), size), expected, "in pieces of {size}");
        }
    }

    /// How many pings there are does not depend on where reads end.
    #[test]
    fn odd_line_ends_hide_no_ping() {
        let stream = format!("\n\r\n\r\n\r\r\n\r\n{}\n\n\r\n\r\n", message(""));
        let whole = Cut::Message(Bytes::from(message("")));
        for size in 1..=stream.len() {
            let expected = [Cut::Ping, Cut::Ping, whole.clone(), Cut::Ping];
            assert_eq!(cuts(stream.as_bytes(), size), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_message_that_has_begun_is_known_from_a_silent_connection() {
        let mut cutter = Cutter::default();
        for (bytes, within) in [("", false), ("\r\n", false), ("O", true), (&message("")[1..], true)] {
            cutter.push(bytes.as_bytes());
            assert_eq!(cutter.is_within(), within, "{bytes}");
        }
        assert!(matches!(cutter.cut(), Cut::Message(_)));
        assert!(!cutter.is_within());
    }

    #[test]
    fn heads_and_bodies_have_bounds_in_whatever_pieces() {
        let long = format!("{HEAD}X: {}", "x".repeat(HEAD_BYTES_MAX));
        let ended = format!("{long}\r\nContent-Length: 0\r\n\r\n");
        let (endless, unsaid) =
            (message("").replace(": 0", ": 65535"), message("").replace("Content-Length: 0\r\n", ""));
        for stream in [&long, &ended, &endless, &unsaid] {
            for size in [1, 7, 4_096, stream.len()] {
                assert_eq!(cuts(stream.as_bytes(), size), [Cut::Lost], "in pieces of {size}");
            }
        }
        let most = "x".repeat(MESSAGE_BYTES_MAX - HEAD.len() - "Content-Length: 65000\r\n\r\n".len());
        assert!(matches!(cuts(message(&most).as_bytes(), 999)[..], [Cut::Message(_)]));
    }

    /// Whatever comes, it ends, and the same bytes come out as a single read would have given.
    #[test]
    fn rubbish_is_cut_the_same_in_all_pieces() {
        let mut mint = crate::base::Mint::new(0, [7, 9]);
        for _ in 0..2_000 {
            let mut stream = [message("abc"), "\r\n\r\n".into(), message("")].concat().into_bytes();
            for _ in 0..=mint.random() % 3 {
                let at = (mint.random() % stream.len() as u64) as usize;
                stream[at] = b"\r\n:0x"[(mint.random() % 5) as usize];
            }
            let size = 1 + (mint.random() % 40) as usize;
            assert_eq!(cuts(&stream, size), cuts(&stream, stream.len()), "{}", stream.escape_ascii());
        }
    }
}
