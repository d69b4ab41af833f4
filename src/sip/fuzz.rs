//! What must hold for any bytes at all: nothing panics, what is read is read the same when routed, answered and read
//! again. The body of a fuzz target; `mod tests` runs it on mutants of the torture messages.

use super::message::{Contact, Message};
use super::parse::MESSAGE_BYTES_MAX;
use super::route::Route;
use super::write::{Writer, refuse};
use super::{Name, frame::frame};
use bytes::Bytes;
use std::net::{Ipv4Addr, SocketAddr};

/// Takes `bytes` through everything that faces the network.
#[doc(hidden)]
pub fn fuzz_message(bytes: &[u8]) {
    let _ = frame(bytes);
    let route = Route::of(bytes, [1, 2]);
    let source = SocketAddr::from((Ipv4Addr::LOCALHOST, 5060));
    match Message::parse(Bytes::copy_from_slice(bytes)) {
        Ok(message) => {
            assert!(!matches!(route, Route::KeepAlive | Route::Anywhere), "a sound message has a shard");
            read_all(&message);
            answer(&message, source);
        }
        Err(error) => {
            let refusal = refuse(&error, source, "tag");
            assert_eq!(refusal.is_some(), error.refusable.is_some());
        }
    }
}

/// Every accessor, whatever it finds.
fn read_all(message: &Message) {
    let _ = (message.request_uri().map(|uri| (uri.phone(), uri.equivalent(&uri))), message.top_via().branch());
    let _ = (message.from().display_name(), message.from().tag(), message.to().uri.phone(), message.sdp());
    let _ = (message.expires_s(), message.max_forwards(), message.reason_q850(), message.rack());
    let _ = (message.number(Name::SessionExpires), message.params(Name::Replaces).value("to-tag"));
    let _ = (message.wants_privacy("id"), message.require().count(), message.content_type());
    let _ = (super::about::about(message, &message.from().display_name()), message.params(Name::Replaces).has("a"));
    for value in message.lines(Name::Replaces).chain(message.lines(Name::Join)) {
        let _ = super::replaces::Named::parse(value);
    }
    for contact in message.contacts().flatten() {
        let _ = contact.expires_s();
        if let Contact::At(address) = contact {
            assert!(address.uri.equivalent(&address.uri), "a URI equals itself");
        }
    }
    for address in message.routes().chain(message.record_routes()).chain(message.asserted_identities()).flatten() {
        let _ = (address.display_name(), address.uri.user_text());
    }
    for credentials in message.authorizations().chain(message.proxy_authorizations()) {
        let _ = credentials.nonce_count();
    }
}

/// A response to a sound request is sound, and keeps what it must.
fn answer(request: &Message, source: SocketAddr) {
    if !request.is_request() || request.bytes().len() > MESSAGE_BYTES_MAX / 2 {
        return;
    }
    let bytes = Writer::reply(request, 180, source, "tag").finish();
    // A value near the limit may pass it with our tag.
    let room = request.headers().all(|(_, value)| value.len() < 8000);
    if !room {
        return;
    }
    let response = Message::parse(bytes).expect("the response to a sound request is sound");
    assert_eq!(response.status(), Some(180));
    assert_eq!((response.call_id(), response.cseq()), (request.call_id(), request.cseq()));
    assert_eq!(response.from().tag(), request.from().tag());
    assert_eq!(response.to().tag(), request.to().tag().or(Some(b"tag")));
    assert_eq!(response.vias().count(), request.vias().count());
    assert_eq!(response.top_via().branch(), request.top_via().branch());
}

#[cfg(test)]
mod tests {
    use super::super::torture::{all, wire};
    use super::*;
    use crate::base::Mint;

    const MUTANTS: usize = 200_000;
    const PIECES: [&[u8]; 16] =
        [b"\r\n", b"\n", b"\r", b" ", b"\"", b"<", b">", b";", b",", b":", b"%", b"\\", b"\0", b"\xff", b"@", b"\r\n "];

    fn pick(mint: &mut Mint, below: usize) -> usize {
        usize::try_from(mint.random() % u64::try_from(below.max(1)).unwrap()).unwrap()
    }

    /// Cuts, doubles, replaces or crosses a stretch of bytes.
    fn mutate(mint: &mut Mint, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = pick(mint, bytes.len() + 1);
        let end = (at + pick(mint, 24)).min(bytes.len());
        match pick(mint, 6) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..at, PIECES[pick(mint, PIECES.len())].iter().copied())),
            2 => {
                let stretch = bytes[at..end].to_vec();
                bytes.splice(at..at, stretch);
            }
            3 => {
                let from = pick(mint, other.len());
                let to = (from + pick(mint, 60)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            4 => bytes.truncate(at),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = mint.random().to_le_bytes()[0];
                }
            }
        }
    }

    #[test]
    fn no_mutant_breaks_anything() {
        let seeds: Vec<Bytes> = all().map(|torture| wire(torture.text)).collect();
        let mut mint = Mint::new(0, [2024, 12345]);
        for seed in &seeds {
            fuzz_message(seed);
        }
        for round in 0..MUTANTS {
            let mut mutant = seeds[round % seeds.len()].to_vec();
            for _ in 0..=pick(&mut mint, 3) {
                let other = pick(&mut mint, seeds.len());
                mutate(&mut mint, &mut mutant, &seeds[other]);
            }
            fuzz_message(&mutant);
        }
    }
}
