//! Session descriptions: reading, writing, and both sides of offer/answer.

use super::mutate::{Kind, as_it_is};
use jiesu::sdp::{Codec, Direction, LENGTH_MAX, Negotiated, STREAMS_MAX, Session, parse};

const SDP: Kind = Kind {
    text: true,
    words: &[
        "audio",
        "video",
        "RTP/AVP",
        "RTP/SAVP",
        "IN",
        "IP4",
        "IP6",
        "0.0.0.0",
        "::1",
        "224.0.0.1",
        "PCMA/8000",
        "PCMU/8000",
        "telephone-event/8000",
        "a=sendonly",
        "a=inactive",
        "a=rtcp:5",
        "m=audio 4 RTP/AVP 8",
        "c=IN IP4 10.0.0.9",
        "0-15",
    ],
    repair: as_it_is,
};

/// Descriptions as phones and carriers write them.
pub fn corpus() -> Vec<Vec<u8>> {
    let session = "v=0\r\no=phone 1 1 IN IP4 10.0.0.9\r\ns=\u{901a}\u{8bdd}\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n";
    let streams = [
        "m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:60\r\na=sendrecv\r\n",
        "b=AS:80\r\na=sendonly\r\nm=audio 4000/2 RTP/AVP 112 18 97\r\nc=IN IP4 10.0.0.8/127/2\r\na=rtpmap:112 pcma/8000/1\r\n\
         a=fmtp:18 annexb=no\r\na=rtpmap:97 telephone-event/8000\r\na=rtcp:4711 IN IP4 10.0.0.7\r\na=ptime:30.5\r\n",
        "m=video 5000 RTP/AVP 31 32\r\nm=audio 4002 RTP/SAVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3\r\n\
         m=audio 4004 RTP/AVP 0\r\nm=image 5010 udptl t38\r\na=T38FaxVersion:0\r\n",
        "m=audio 0 RTP/AVP 8\r\n",
        "m=audio 4000 RTP/AVP 8\r\nc=IN IP6 2001:db8::9\r\na=inactive\r\n",
        "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=candidate:1 1 UDP 2130706431 10.0.0.9 4000 typ host\r\n",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 8\r\nc=IN IP4 media.example.cn\r\na=mid:0\r\na=setup:actpass\r\n",
    ];
    streams.iter().map(|streams| format!("{session}{streams}").into_bytes()).collect()
}

/// A body that says it is a session description.
pub fn description(bytes: &[u8]) {
    if let Ok(description) = parse(bytes) {
        assert!(description.streams.len() <= STREAMS_MAX);
        let text = description.to_string();
        // Bytes of another encoding grow when they become UTF-8.
        if text.len() <= LENGTH_MAX {
            let again = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text:?}"));
            assert_eq!(again, description, "{text:?}");
            assert_eq!(again.to_string(), text, "writing is stable");
        }
    }
    for (ours, held) in [(Direction::SendRecv, false), (Direction::SendOnly, true)] {
        answered(bytes, ours, held);
    }
    let mut session = session();
    session.offer(&[], Direction::SendRecv);
    let before = session.clone();
    match session.accept(bytes) {
        Ok(negotiated) => sound(&negotiated),
        Err(_) => assert_eq!(session, before, "what is refused changes nothing"),
    }
}

fn session() -> Session {
    Session::new(77, "192.0.2.1:10000".parse().expect("an address"))
}

/// An answer is sound, answers every stream in its place, and is one that an offerer of ours would take.
fn answered(offer: &[u8], direction: Direction, prefers: bool) {
    let mut session = session();
    if prefers {
        session.prefer(Codec::Pcmu);
    }
    let before = session.clone();
    let Ok((answer, negotiated)) = session.answer(offer, direction) else {
        return assert_eq!(session, before, "what is refused changes nothing");
    };
    sound(&negotiated);
    let (offer, answer) = (parse(offer).expect("it was answered"), parse(&answer).expect("our answer is sound"));
    assert_eq!(answer.streams.len(), offer.streams.len());
    assert_eq!(answer.streams.iter().filter(|stream| stream.port != 0).count(), 1, "one stream is taken");
    for (asked, said) in offer.streams.iter().zip(&answer.streams) {
        assert_eq!((&asked.media, &asked.protocol), (&said.media, &said.protocol));
        let asked_for = |format: &str| asked.payload_types().any(|number| format.parse() == Ok(number));
        let known = said.formats.iter().all(|format| asked.formats.contains(format) || asked_for(format));
        assert!(known, "{said:?} answers {asked:?}");
    }
    let again = session.offer(&[], Direction::SendRecv);
    assert_eq!(parse(&again).expect("our offer is sound").streams.len(), offer.streams.len());
}

fn sound(negotiated: &Negotiated) {
    assert!(negotiated.payload_type < 128 && negotiated.telephone_event != Some(negotiated.payload_type));
    assert!((10..=60).contains(&negotiated.ptime_ms) && negotiated.ptime_ms.is_multiple_of(10), "{negotiated:?}");
    assert!(negotiated.rtp.port() != 0 && negotiated.rtcp.port() != 0, "{negotiated:?}");
    assert!(!negotiated.rtp.ip().is_multicast() && !negotiated.rtcp.ip().is_multicast(), "{negotiated:?}");
}

#[test]
fn no_description_breaks_anything() {
    super::fuzz(&SDP, &corpus(), 25_000, description);
}
