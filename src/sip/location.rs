//! Where an emergency call is from (RFC 6442): by a URI in Geolocation, or as a PIDF-LO (RFC 4119, RFC 5139) in the body,
//! beside the session description.
//!
//! Writes only. Who may be told, and what, is the configuration's.

use super::event::Location;
use super::name::Name;
use super::screen::SDP;
use super::write::Writer;
use bytes::Bytes;
use std::fmt::Write;

/// Elements of a civic address (RFC 5139 §3.1), as they may be configured.
pub const CIVIC_ELEMENTS: [&str; 28] = [
    "country", "A1", "A2", "A3", "A4", "A5", "A6", "PRM", "PRD", "RD", "STS", "POD", "POM", "RDSEC", "RDBR", "HNO",
    "HNS", "LMK", "LOC", "FLR", "NAM", "PC", "BLD", "UNIT", "ROOM", "SEAT", "PLC", "PCN",
];

/// Whether a text is a URI that tells a place, and may stand between angle brackets.
pub fn is_uri(text: &str) -> bool {
    let known = ["https:", "http:", "sip:", "sips:", "pres:"];
    known.iter().any(|scheme| text.starts_with(scheme))
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"".contains(&byte))
}

/// Ends an INVITE with its location and session description. `own` is our address-of-record, `tag` is ours alone.
pub(super) fn finish(mut writer: Writer, location: &Location, (own, tag): (&str, &str), sdp: &[u8]) -> Bytes {
    // Whoever routes the call may look at it (RFC 6442 §4.2).
    let routing = |writer: &mut Writer| _ = writer.other("Geolocation-Routing", "yes");
    match location {
        Location::Reference(uri) => {
            writer.line(Name::Geolocation, format_args!("<{uri}>"));
            routing(&mut writer);
            writer.body(SDP, sdp)
        }
        Location::Civic(address) => {
            let id = format!("{tag}@location.invalid");
            writer.line(Name::Geolocation, format_args!("<cid:{id}>"));
            routing(&mut writer);
            let boundary = format!("part-{tag}");
            let head = format!("--{boundary}\r\nContent-Type: {SDP}\r\n\r\n");
            let between =
                format!("\r\n--{boundary}\r\nContent-Type: application/pidf+xml\r\nContent-ID: <{id}>\r\n\r\n");
            let tail = format!("\r\n--{boundary}--\r\n");
            let document = document(address, own);
            let body = [head.as_bytes(), sdp, between.as_bytes(), document.as_bytes(), tail.as_bytes()].concat();
            writer.body(&format!("multipart/mixed;boundary={boundary}"), &body)
        }
    }
}

fn document(address: &[(Box<str>, Box<str>)], own: &str) -> String {
    let mut civic = String::new();
    for (element, value) in address {
        // Writing to a String cannot fail.
        let _ = write!(civic, "<ca:{element}>{}</ca:{element}>", escaped(value));
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
         xmlns:gp=\"urn:ietf:params:xml:ns:pidf:geopriv10\" xmlns:ca=\"urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr\" \
         entity=\"{}\"><tuple id=\"place\"><status><gp:geopriv><gp:location-info><ca:civicAddress>{civic}\
         </ca:civicAddress></gp:location-info><gp:usage-rules/></gp:geopriv></status></tuple></presence>",
        escaped(own)
    )
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c if c.is_control() => {}
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::super::message::Message;
    use super::super::method::Method;
    use super::super::uri::Uri;
    use super::*;

    fn invite(location: &Location) -> Message {
        let mut writer = Writer::request(Method::Invite, &Uri::parse(b"sip:110@carrier.cn").unwrap());
        writer.header(Name::Via, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1");
        writer.address(Name::From, b"", "sip:059112345@fz.cn", Some("t1"));
        writer.address(Name::To, b"", "sip:110@carrier.cn", None);
        writer.header(Name::CallId, "c");
        writer.header(Name::CSeq, "1 INVITE");
        Message::parse(finish(writer, location, ("sip:059112345@fz.cn", "t1"), b"v=0\r\n")).unwrap()
    }

    #[test]
    fn a_civic_address_stands_beside_the_session_and_is_pointed_at() {
        let pairs = [("country", "CN"), ("A1", "福建省"), ("NAM", "\"A\" & <B>")];
        let message = invite(&Location::Civic(pairs.map(|(element, value)| (element.into(), value.into())).to_vec()));
        assert_eq!(message.part("application", "sdp").as_deref(), Some(&b"v=0\r\n"[..]));
        assert_eq!(message.header(Name::Geolocation), Some(&b"<cid:t1@location.invalid>"[..]));
        let about = super::super::about::about(&message, b"");
        assert_eq!(about.place.as_deref(), Some("福建省 \"A\" & <B>"), "as others would read it");
        let document = message.part("application", "pidf+xml").unwrap();
        let document = std::str::from_utf8(&document).unwrap();
        for part in [
            "entity=\"sip:059112345@fz.cn\"",
            "<ca:civicAddress><ca:country>CN</ca:country><ca:A1>福建省</ca:A1>",
            "<ca:NAM>&quot;A&quot; &amp; &lt;B&gt;</ca:NAM></ca:civicAddress>",
        ] {
            assert!(document.contains(part), "{part} in {document}");
        }
    }

    #[test]
    fn a_reference_is_a_header_alone() {
        let message = invite(&Location::Reference("https://lis.example/fuzhou".into()));
        assert_eq!(message.body(), b"v=0\r\n");
        let about = super::super::about::about(&message, b"");
        assert_eq!(about.place.as_deref(), Some("https://lis.example/fuzhou"));
    }
}
