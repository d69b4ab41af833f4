//! Bodies of several parts (RFC 2046 §5.1): carriers send the session description beside ISUP in one body (RFC 3204), and
//! every user agent must find it there (RFC 5621 §3).

use super::message::{MediaType, media_type};
use super::name::Name;
use super::parse::{Lines, MESSAGE_BYTES_MAX, Next};

/// Longest boundary (RFC 2046 §5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// The content of the first part of type `kind/subtype` in a multipart body; parts inside parts are not searched.
pub(super) fn part<'a>(content_type: &MediaType<'_>, body: &'a [u8], kind: &str, subtype: &str) -> Option<&'a [u8]> {
    if !content_type.kind.eq_ignore_ascii_case(b"multipart") || body.len() > MESSAGE_BYTES_MAX {
        return None;
    }
    let boundary = content_type.params.value("boundary")?;
    if boundary.is_empty() || boundary.len() > BOUNDARY_BYTES_MAX {
        return None;
    }
    let delimiter = [b"--", boundary].concat();
    let mut rest = behind_delimiter(body, &delimiter)?.1;
    while let Some((part, behind)) = behind_delimiter(rest, &delimiter) {
        let (found, content) = split(part)?;
        if found.is_some_and(|found| found.is(kind, subtype)) {
            return Some(content);
        }
        rest = behind;
    }
    None
}

/// What stands before the next delimiter line, without the line break that belongs to the delimiter, and what follows
/// that line. The closing delimiter has two more hyphens, which no one needs to see.
fn behind_delimiter<'a>(text: &'a [u8], delimiter: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let starts_line = |at: &usize| *at == 0 || text[at - 1] == b'\n';
    let at = memchr::memmem::find_iter(text, delimiter).find(starts_line)?;
    let behind = &text[at + delimiter.len()..];
    let line_end = memchr::memchr(b'\n', behind).map_or(behind.len(), |end| end + 1);
    let before = &text[..at];
    let before = before.strip_suffix(b"\n").unwrap_or(before);
    Some((before.strip_suffix(b"\r").unwrap_or(before), &behind[line_end..]))
}

/// The type and the content of one part.
fn split(part: &[u8]) -> Option<(Option<MediaType<'_>>, &[u8])> {
    let mut lines = Lines::of_part(part);
    let mut found = None;
    loop {
        match lines.next() {
            Next::Header(line) if Name::parse(line.name.of(part)) == Some(Name::ContentType) => {
                found = media_type(line.value.of(part));
            }
            Next::Header(_) | Next::Broken => {}
            Next::Body(at) => return Some((found, &part[at..])),
            Next::Cut => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdp_in<'a>(content_type: &str, body: &'a [u8]) -> Option<&'a [u8]> {
        part(&media_type(content_type.as_bytes()).unwrap(), body, "application", "sdp")
    }

    #[test]
    fn the_session_description_is_found_beside_isup() {
        let body = b"preamble\r\n--a b\r\nContent-Type: application/ISUP;version=x\r\n\r\n\x01--a b\0\r\n--a b  \r\n\
            c: Application/SDP\r\nContent-Disposition: session\r\n\r\nv=0\r\ns=-\r\n\r\n--a b--\r\nepilogue";
        assert_eq!(sdp_in("multipart/mixed;boundary=\"a b\"", body), Some(&b"v=0\r\ns=-\r\n"[..]));
        assert_eq!(sdp_in("multipart/mixed;boundary=zz", body), None);
        assert_eq!(sdp_in("multipart/mixed", body), None);
        assert_eq!(sdp_in("text/plain;boundary=\"a b\"", body), None);
    }

    #[test]
    fn broken_parts_are_no_parts() {
        for body in
            ["", "--b", "--b\r\n", "--b\r\nContent-Type: application/sdp\r\nv=0\r\n--b--", "--b\r\n\r\nv=0\r\n--b"]
        {
            assert_eq!(sdp_in("multipart/mixed;boundary=b", body.as_bytes()), None, "{body}");
        }
    }
}
