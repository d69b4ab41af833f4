//! The lexical elements of RFC 3261 §25.1 that every header shares: tokens, quoted strings, escapes, decimal numbers.
//!
//! Works on bytes and borrows; never assumes UTF-8, because carriers put GBK where the RFC has UTF-8.

use memchr::{memchr, memchr3};
use std::borrow::Cow;

/// Letters, digits and `marks`: looked up instead of compared, because every header name passes here.
const fn alphanumeric_and(marks: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut byte = 0;
    while byte < set.len() {
        set[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < marks.len() {
        set[marks[at] as usize] = true;
        at += 1;
    }
    set
}

static TOKEN: [bool; 256] = alphanumeric_and(b"-.!%*_+`'~");

/// `token` bytes (§25.1): letters, digits and ``-.!%*_+`'~``.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// Whether `text` is a `token`: one byte at least.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// Whether `text` could end a header line: what no value may contain.
pub(super) fn breaks_line(text: &[u8]) -> bool {
    memchr::memchr2(b'\r', b'\n', text).is_some()
}

/// Splits at the first `separator`: what stands before it and what stands behind it.
pub(super) fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    memchr(separator, text).map(|at| (&text[..at], &text[at + 1..]))
}

/// `text` begins with a quote: what stands inside (still escaped) and what stands behind the closing quote.
pub(super) fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = text.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', inside.get(at..)?)?;
        if inside[at] == b'"' {
            return Some((&inside[..at], &inside[at + 1..]));
        }
        at += 2;
    }
}

/// The position of the first `stop` that is neither in a quoted string nor between angle brackets.
pub(super) fn find_bare(text: &[u8], stop: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr3(stop, b'"', b'<', text.get(at..)?)?;
        let rest = &text[at..];
        at += match rest[0] {
            byte if byte == stop => return Some(at),
            b'"' => rest.len() - quoted(rest)?.1.len(),
            _ => memchr(b'>', rest)? + 1,
        };
    }
}

/// Whether every quote and angle bracket that opens in `text` closes: only then can something be written behind it.
pub(super) fn is_closed(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'"', b'<', rest) {
        let opened = &rest[at..];
        let behind = match opened[0] {
            b'"' => quoted(opened).map(|(_, behind)| behind),
            _ => split_once(opened, b'>').map(|(_, behind)| behind),
        };
        let Some(behind) = behind else { return false };
        rest = behind;
    }
    true
}

/// A `quoted-pair` loses its backslash (§25.1).
pub(super) fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\\', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        let kept = if byte == b'\\' { bytes.next() } else { Some(&byte) };
        plain.extend(kept);
    }
    Cow::Owned(plain)
}

/// What [`unescape`] takes back: inside quotes a quote and a backslash have one before them (§25.1).
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['"', '\\']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('\\', r"\\").replace('"', r#"\""#))
}

/// A value that may be a token or a quoted string, without its quotes and escapes.
pub(super) fn unquote(text: &[u8]) -> Cow<'_, [u8]> {
    quoted(text).map_or(Cow::Borrowed(text), |(inside, _)| unescape(inside))
}

/// `%HH` becomes its byte (§19.1.2); anything else stays, also a `%` that introduces nothing.
pub(super) fn percent_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(escapes(text).map(|(byte, _)| byte).collect())
}

/// The bytes of `text` with `%HH` decoded, and whether each was written so.
pub(super) fn escapes(text: &[u8]) -> impl Iterator<Item = (u8, bool)> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (&first, behind) = rest.split_first()?;
        if let (b'%', Some((&[high, low], after))) = (first, behind.split_first_chunk::<2>())
            && let (Some(high), Some(low)) = (hex(high), hex(low))
        {
            rest = after;
            return Some((high << 4 | low, true));
        }
        rest = behind;
        Some((first, false))
    })
}

/// The value of a hexadecimal digit.
pub(super) fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// `1*DIGIT` up to 4,294,967,295.
pub(super) fn decimal(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u32, |number, &digit| {
        let value = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(value)
    })
}

/// `1*DIGIT` up to 65,535: a port.
pub(super) fn port(text: &[u8]) -> Option<u16> {
    decimal(text).and_then(|number| u16::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text; what stands inside the quotes and what behind them.
    type Case = (&'static [u8], Option<(&'static [u8], &'static [u8])>);

    #[test]
    fn quotes_end_at_the_first_quote_that_is_not_escaped() {
        let cases: [Case; 6] = [
            (br#""a" b"#, Some((b"a", b" b"))),
            (br#""a\"b"c"#, Some((br#"a\"b"#, b"c"))),
            (br#""a\\"c"#, Some((br"a\\", b"c"))),
            (br#""a"#, None),
            (br#""a\"#, None),
            (b"a", None),
        ];
        for (text, expected) in cases {
            assert_eq!(quoted(text), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn separators_in_quotes_and_brackets_do_not_count() {
        let cases: [(&[u8], Option<usize>); 6] = [
            (b"a,b", Some(1)),
            (br#""a,b",c"#, Some(5)),
            (b"<sip:a,b>,c", Some(9)),
            (br#""a,b"#, None),
            (b"<a,b", None),
            (b"", None),
        ];
        for (text, expected) in cases {
            assert_eq!(find_bare(text, b','), expected, "{}", text.escape_ascii());
        }
        for (text, closed) in [("a\"b\"<c>", true), ("", true), ("\"<\"", true), ("a\"b", false), ("<\">\"", false)] {
            assert_eq!(is_closed(text.as_bytes()), closed, "{text}");
        }
    }

    #[test]
    fn escapes_are_decoded_and_broken_ones_stay() {
        assert_eq!(&*unescape(br#"a\"b\\c\"#), br#"a"b\c"#);
        assert_eq!(&*percent_decode(b"%61lice%00%zz%4"), b"alice\0%zz%4");
        assert_eq!(&*unquote(br#""a\"b""#), br#"a"b"#);
        for text in ["", "plain", r#"a"b"#, r"\", r#"\"\\"#] {
            assert_eq!(&*unquote(format!("\"{}\"", escape(text)).as_bytes()), text.as_bytes());
        }
        assert_eq!(&*unquote(b"token"), b"token");
    }

    #[test]
    fn numbers_do_not_wrap() {
        let cases: [(&[u8], Option<u32>); 6] = [
            (b"0", Some(0)),
            (b"4294967295", Some(u32::MAX)),
            (b"4294967296", None),
            (b"", None),
            (b"-1", None),
            (b"1 2", None),
        ];
        for (text, expected) in cases {
            assert_eq!(decimal(text), expected, "{}", text.escape_ascii());
        }
        assert_eq!((port(b"65535"), port(b"65536")), (Some(65535), None));
    }
}
