//! What we write means the same to another SIP stack, the `rsip` crate: method, URI, status, tags, Via, Call-ID, CSeq,
//! Contact, Max-Forwards, body.
//!
//! It is not asked where it cannot read what RFC 3261 allows: see [`beyond`].

use jiesu::sip::message::Contact;
use jiesu::sip::uri::Scheme;
use jiesu::sip::write::Writer;
use jiesu::sip::{Address, Message, Method, Name, Uri};
use rsip::prelude::*;
use rsip::{Headers, SipMessage};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a URI is of a form that `rsip` 0.4 does not read.
fn beyond(uri: &Uri<'_>) -> bool {
    // RFC 3966, RFC 5031: it knows `sip:` and `sips:` only.
    let scheme = !matches!(uri.scheme, Scheme::Sip | Scheme::Sips);
    // RFC 3261 §25.1 `user-unreserved`: it takes them for the end of the user part.
    scheme || uri.user.is_some_and(|user| user.iter().any(|byte| b"&=+$,;?/".contains(byte)))
}

/// Whether both mean the same URI. The other stack writes a transport in capitals; its letter case means nothing (§19.1.4).
fn same(theirs: &rsip::Uri, ours: &Uri<'_>) -> bool {
    let (theirs, ours) = (theirs.to_string(), ours.to_string());
    theirs == ours || (ours.contains(";transport=") && theirs.eq_ignore_ascii_case(&ours))
}

/// Whether a display name is one that `rsip` 0.4 does not read: it looks for the URI inside quotes too.
fn beyond_name(display: &[u8]) -> bool {
    display.iter().any(|byte| matches!(byte, b'<' | b'>' | b'"' | b'\\'))
}

/// Both stacks find the same in what was written.
pub fn agrees(ours: &Message) {
    let shown = || text(ours.bytes());
    if ours.request_uri().is_some_and(|uri| beyond(&uri)) {
        return;
    }
    let theirs = SipMessage::try_from(ours.bytes().to_vec()).unwrap_or_else(|error| panic!("{error}: {}", shown()));
    match &theirs {
        SipMessage::Request(request) => {
            assert_eq!(Some(request.method.to_string().as_bytes()), ours.method_name(), "{}", shown());
            let uri = ours.request_uri().expect("a request");
            assert!(same(&request.uri, &uri), "{}", shown());
        }
        SipMessage::Response(response) => {
            assert_eq!(Some(response.status_code.code()), ours.status(), "{}", shown());
        }
    }
    assert_eq!(theirs.body(), ours.body(), "{}", shown());
    parties(ours, &theirs);
    let via = theirs.via_header().and_then(|via| via.typed()).unwrap_or_else(|error| panic!("{error}: {}", shown()));
    let top = ours.top_via();
    assert_eq!(via.branch().map(|branch| text(branch.value().as_bytes())), top.branch().map(text), "{}", shown());
    assert_eq!(via.uri.host_with_port.to_string(), sent_by(ours), "{}", shown());
    let cseq =
        theirs.cseq_header().and_then(|cseq| cseq.typed()).unwrap_or_else(|error| panic!("{error}: {}", shown()));
    assert_eq!((cseq.seq, cseq.method.to_string().as_str()), (ours.cseq().number, ours.cseq().method.as_str()));
    assert_eq!(theirs.call_id_header().map(|id| text(id.value().as_bytes())).ok(), Some(text(ours.call_id())));
    let hops = theirs.max_forwards_header().ok().map(|hops| hops.num().expect("a number"));
    assert_eq!(hops, ours.max_forwards().map(u32::from), "{}", shown());
    contact(ours, theirs.headers());
}

/// Host and port of the topmost Via, as `rsip` shows them.
fn sent_by(ours: &Message) -> String {
    let via = ours.top_via();
    via.port.map_or_else(|| via.host.to_string(), |port| format!("{}:{port}", via.host))
}

/// From and To: URI and tag.
fn parties(ours: &Message, theirs: &SipMessage) {
    let shown = || text(ours.bytes());
    if !beyond(&ours.from().uri) && !beyond_name(&ours.from().display_name()) {
        let from =
            theirs.from_header().and_then(|from| from.typed()).unwrap_or_else(|error| panic!("{error}: {}", shown()));
        assert!(same(&from.uri, &ours.from().uri), "{}", shown());
        assert_eq!(from.tag().map(|tag| text(tag.value().as_bytes())), ours.from().tag().map(text), "{}", shown());
    }
    if !beyond(&ours.to().uri) && !beyond_name(&ours.to().display_name()) {
        let to = theirs.to_header().and_then(|to| to.typed()).unwrap_or_else(|error| panic!("{error}: {}", shown()));
        assert!(same(&to.uri, &ours.to().uri), "{}", shown());
        assert_eq!(to.tag().map(|tag| text(tag.value().as_bytes())), ours.to().tag().map(text), "{}", shown());
    }
}

/// The first Contact.
fn contact(ours: &Message, theirs: &Headers) {
    let header = theirs.iter().find_map(|header| match header {
        rsip::Header::Contact(contact) => Some(contact),
        _ => None,
    });
    let found = ours.contacts().next().map(|contact| contact.expect("we write sound Contacts"));
    assert_eq!(header.is_some(), found.is_some(), "{}", text(ours.bytes()));
    if let (Some(theirs), Some(Contact::At(address))) = (header, found)
        && !beyond(&address.uri)
        && !beyond_name(&address.display_name())
    {
        let typed = theirs.typed().unwrap_or_else(|error| panic!("{error}: {}", text(ours.bytes())));
        assert!(same(&typed.uri, &address.uri), "{}", text(ours.bytes()));
    }
}

/// Messages as the writer makes them from any parts: what names and numbers may hold, it escapes.
pub fn parts(bytes: &[u8]) {
    let mut script = super::script::Script::new(bytes);
    while !script.is_over() {
        let (length, user_length) = (script.below(24), script.below(16));
        let display = text(script.take(length));
        let user = text(script.take(user_length));
        let number = u32::from(script.byte()) << 16 | 1;
        let method = [Method::Invite, Method::Bye, Method::Info, Method::Refer, Method::Update][script.below(5)];
        let user = if user.is_empty() { "x" } else { &user };
        let target = format!("sip:{}@10.0.0.9:5062", jiesu::sip::uri::User(user));
        let target = Uri::parse(target.as_bytes()).expect("a written user is sound");
        let mut writer = Writer::request(method, &target);
        writer.header(Name::Via, format!("SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK{number};rport"));
        writer.header(Name::MaxForwards, "70");
        writer.address(Name::From, display.as_bytes(), target, Some("f1")).address(Name::To, b"", "sip:b@fz.cn", None);
        writer.header(Name::CallId, format!("c{number}")).line(Name::CSeq, format_args!("{number} {method}"));
        writer.address(Name::Contact, display.as_bytes(), "sip:10.0.0.1:5060", None);
        let length = script.below(40);
        let body = script.take(length);
        let written = if body.is_empty() { writer.finish() } else { writer.body("text/plain", body) };
        let ours =
            Message::parse(written.clone()).unwrap_or_else(|error| panic!("{error}: {}", written.escape_ascii()));
        assert_eq!(ours.body(), body);
        let shown: Vec<u8> =
            display.bytes().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }).collect();
        let from = Address::parse(ours.header(Name::From).expect("it was written")).expect("a sound From");
        assert_eq!((&*from.display_name(), from.uri.user_text().as_ref()), (&shown[..], user));
        agrees(&ours);
    }
}

#[test]
fn another_stack_reads_messages_of_any_parts() {
    let binary = super::mutate::Kind { text: false, words: &[], repair: super::mutate::as_it_is };
    super::fuzz(&binary, &super::script::scripts(50, 400), 1_500, parts);
}
