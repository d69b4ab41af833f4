//! Reading and writing a carrier's INVITE of about 1,300 bytes; `rsip` reads the same bytes as the reference.

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiesu::sip::route::Route;
use jiesu::sip::write::Writer;
use jiesu::sip::{Message, Method, Name, Uri};
use rsip::prelude::*;
use std::hint::black_box;
use std::net::SocketAddr;

const INVITE: &str = "INVITE sip:12345@203.0.113.10:5060;user=phone SIP/2.0\r\n\
    Via: SIP/2.0/UDP 198.51.100.20:5060;branch=z9hG4bK0d7a31c4e9b24f8fa0e6f3;rport\r\n\
    Via: SIP/2.0/UDP 198.51.100.77:5060;branch=z9hG4bK5512ab77e0;received=198.51.100.77\r\n\
    Record-Route: <sip:198.51.100.20;lr;ftag=gK0c9b1e2f>\r\n\
    From: \"13800138000\" <sip:+8613800138000@198.51.100.77;user=phone>;tag=gK0c9b1e2f\r\n\
    To: <sip:12345@203.0.113.10;user=phone>\r\n\
    Call-ID: 1495617283_104982735@198.51.100.77\r\n\
    CSeq: 48151 INVITE\r\n\
    Max-Forwards: 69\r\n\
    Allow: INVITE, ACK, CANCEL, BYE, REGISTER, REFER, INFO, SUBSCRIBE, NOTIFY, PRACK, UPDATE, OPTIONS, MESSAGE\r\n\
    Accept: application/sdp, application/isup, application/dtmf, multipart/mixed\r\n\
    Contact: <sip:+8613800138000@198.51.100.77:5060;transport=udp>\r\n\
    P-Asserted-Identity: <sip:+8613800138000@198.51.100.77;user=phone>\r\n\
    Supported: timer, 100rel, precondition, replaces\r\n\
    Session-Expires: 1800;refresher=uac\r\n\
    Min-SE: 90\r\n\
    User-Agent: Carrier-SBC/9.2.1 build 20250311\r\n\
    Content-Type: application/sdp\r\n\
    Content-Disposition: session; handling=required\r\n\
    Content-Length: 272\r\n\
    \r\n";

const SDP: &str = "v=0\r\n\
    o=SBC 80012 17001 IN IP4 198.51.100.77\r\n\
    s=sip call\r\n\
    c=IN IP4 198.51.100.78\r\n\
    t=0 0\r\n\
    m=audio 24680 RTP/AVP 8 0 18 101\r\n\
    a=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:18 G729/8000\r\n\
    a=fmtp:18 annexb=no\r\n\
    a=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-15\r\n\
    a=sendrecv\r\n\
    a=ptime:20\r\n";

fn invite() -> Bytes {
    let head = INVITE.replace("Content-Length: 272", &format!("Content-Length: {}", SDP.len()));
    Bytes::from(head + SDP)
}

/// What every transaction reads: the five headers.
fn read_five(message: &Message) -> usize {
    let (via, from, to) = (message.top_via(), message.from(), message.to());
    via.branch().map_or(0, <[u8]>::len)
        + from.tag().map_or(0, <[u8]>::len)
        + to.uri.as_bytes().len()
        + message.call_id().len()
        + usize::from(message.cseq().method == Method::Invite)
}

fn parse(c: &mut Criterion) {
    let bytes = invite();
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Bytes(u64::try_from(bytes.len()).expect("a short message")));
    group.bench_function("message and its five headers", |b| {
        b.iter(|| read_five(&Message::parse(black_box(bytes.clone())).expect("a sound INVITE")));
    });
    group.bench_function("rsip and its five headers", |b| {
        b.iter(|| {
            let request = rsip::Request::try_from(black_box(bytes.as_ref())).expect("a sound INVITE");
            let via = request.via_header().expect("Via").typed().expect("Via");
            let from = request.from_header().expect("From").typed().expect("From");
            let to = request.to_header().expect("To").typed().expect("To");
            let call_id = request.call_id_header().expect("Call-ID").value().len();
            let cseq = request.cseq_header().expect("CSeq").typed().expect("CSeq");
            black_box((via, from, to, call_id, cseq))
        });
    });
    group.bench_function("route only", |b| b.iter(|| Route::of(black_box(&bytes), [1, 2])));
    group.finish();
}

fn write(c: &mut Criterion) {
    let message = Message::parse(invite()).expect("a sound INVITE");
    let headers: Vec<(Name, &[u8])> = message
        .headers()
        .filter_map(|(name, value)| Some((Name::parse(name)?, value)))
        .filter(|(name, _)| !matches!(name, Name::ContentLength | Name::ContentType))
        .collect();
    let uri = Uri::parse(b"sip:12345@203.0.113.10:5060;user=phone").expect("a URI");
    let source = SocketAddr::from(([198, 51, 100, 20], 5060));
    let mut group = c.benchmark_group("write");
    group.bench_function("the same INVITE", |b| {
        b.iter(|| {
            let mut writer = Writer::request(Method::Invite, black_box(&uri));
            for &(name, value) in &headers {
                writer.header(name, value);
            }
            writer.body("application/sdp", SDP.as_bytes())
        });
    });
    group.bench_function("180 to it", |b| {
        b.iter(|| Writer::reply(black_box(&message), 180, source, "js0100018f3a5c7e9b1d2f40").finish());
    });
    group.finish();
}

criterion_group!(benches, parse, write);
criterion_main!(benches);
