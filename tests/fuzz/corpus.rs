//! What mutants of messages start from: the torture messages of RFC 4475 and RFC 5118, and the messages of a day at a
//! hotline.

use std::path::{Path, PathBuf};

/// A file of the project.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// As it stands on the wire: every line feed is CRLF.
fn wire(text: &[u8]) -> Vec<u8> {
    text.split(|&byte| byte == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..])
}

/// The torture messages, in order of their names.
pub fn torture() -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(file("tests/data/torture")).expect("the folder of the torture messages");
    let mut paths: Vec<PathBuf> = files.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| wire(&std::fs::read(path).expect("a message"))).collect()
}

/// A message of these lines with this body.
pub fn message(start: &str, lines: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    wire(format!("{start}\n{lines}Content-Length: {length}\n\n").as_bytes()).into_iter().chain(body.bytes()).collect()
}

/// Every kind of message that phones, carriers and we exchange.
pub fn hotline() -> Vec<Vec<u8>> {
    let sdp = &super::sdp::corpus()[0];
    let sdp = std::str::from_utf8(sdp).expect("text");
    let request = |method: &str, more: &str, body: &str| {
        let lines = format!(
            "Via: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK7a;rport, SIP/2.0/TCP [2001:db8::9]:5070;branch=z9hG4bK7b\n\
             Max-Forwards: 69\nFrom: \"\u{5e02}\u{6c11} \\\"A\\\"\" <sip:13800138000@10.0.0.9;user=phone>;tag=f1\n\
             To: <sip:12345@10.0.0.1>;tag=t1\nCall-ID: 7@10.0.0.9\nCSeq: 7 {method}\n\
             Contact: <sip:13800138000@10.0.0.9:5060;transport=udp>;expires=60;q=0.7\n{more}"
        );
        message(&format!("{method} sip:12345@10.0.0.1:5060;transport=udp SIP/2.0"), &lines, body)
    };
    let response = |status: &str, method: &str, more: &str, body: &str| {
        let lines = format!(
            "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKjs1;received=10.0.0.1;rport=5060\nFrom: <sip:1@fz.cn>;tag=f1\n\
             To: <sip:1001@fz.cn>;tag=t1\nCall-ID: c1\nCSeq: 1 {method}\nContact: <sip:1001@10.0.0.9>\n{more}"
        );
        message(&format!("SIP/2.0 {status}"), &lines, body)
    };
    let offer = format!("{}Content-Type: application/sdp\n", ABILITIES);
    let multipart = format!("--b1\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b1\r\n{PIDF_LO}\r\n--b1--\r\n");
    vec![
        request("INVITE", &offer, sdp),
        request("INVITE", &format!("{DIVERTED}Content-Type: multipart/mixed;boundary=b1\n"), &multipart),
        request("INVITE", &format!("{REPLACING}{offer}"), sdp),
        request("ACK", "Route: <sip:10.0.0.2;lr>, <sip:10.0.0.3;lr>\n", ""),
        request("BYE", "Reason: Q.850;cause=16;text=\"Normal, clearing\"\n", ""),
        request("CANCEL", "Reason: SIP;cause=200;text=\"Call completed elsewhere\"\n", ""),
        request("INFO", "Content-Type: application/dtmf-relay\n", "Signal=5\r\nDuration=160\r\n"),
        request("PRACK", "RAck: 776656 1 INVITE\n", ""),
        request("UPDATE", "Session-Expires: 1800;refresher=uac\nMin-SE: 90\n", ""),
        request(
            "REFER",
            "Refer-To: <sip:1002@fz.cn?Replaces=c1%3Bto-tag%3Dt1%3Bfrom-tag%3Df1>\nReferred-By: <sip:1001@fz.cn>\n",
            "",
        ),
        request(
            "NOTIFY",
            "Event: refer;id=7\nSubscription-State: active;expires=60\nContent-Type: message/sipfrag\n",
            "SIP/2.0 180 Ringing\r\n",
        ),
        request("OPTIONS", "Accept: application/sdp, text/*;q=0.1\n", ""),
        request("SUBSCRIBE", "Event: presence\nExpires: 600\n", ""),
        request("MESSAGE", "Content-Type: text/plain;charset=UTF-8\n", "\u{60a8}\u{597d}"),
        request("REGISTER", PROOF, ""),
        request("REGISTER", "Contact: *\nExpires: 0\nPath: <sip:p1.fz.cn;lr>\n", ""),
        response("100 Trying", "INVITE", "Timestamp: 54.2 0.1\n", ""),
        response(
            "183 Session Progress",
            "INVITE",
            "Require: 100rel\nRSeq: 776656\nContent-Type: application/sdp\n",
            sdp,
        ),
        response(
            "200 OK",
            "INVITE",
            "Record-Route: <sip:10.0.0.2;lr>\nSession-Expires: 90;refresher=uas\nContent-Type: application/sdp\n",
            sdp,
        ),
        response("302 Moved Temporarily", "INVITE", "Contact: \"B\" <sip:1002@fz.cn>;q=0.5, <tel:+8659112345>\n", ""),
        response("401 Unauthorized", "REGISTER", CHALLENGES, ""),
        response(
            "407 Proxy Authentication Required",
            "INVITE",
            "Proxy-Authenticate: Digest realm=\"fz.cn\", nonce=\"a\\\"b\", opaque=\"\", qop=\"auth\", algorithm=MD5-sess, stale=TRUE\n",
            "",
        ),
        response("422 Session Interval Too Small", "INVITE", "Min-SE: 600\n", ""),
        response(
            "503 Service Unavailable",
            "INVITE",
            "Retry-After: 120 (In a meeting);duration=3600\nWarning: 399 a \"b, c\"\n",
            "",
        ),
    ]
}

const ABILITIES: &str = "Supported: 100rel, timer, replaces\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO\n\
    Session-Expires: 1800;refresher=uac\nMin-SE: 90\nExpires: 120\nP-Asserted-Identity: \"A\" <sip:+8613800138000@c.cn>, \
    <tel:+8613800138000>\nPrivacy: none;id\nPriority: emergency\n";

const DIVERTED: &str = "History-Info: <sip:12345@fz.cn?Reason=SIP%3Bcause%3D302>;index=1, <sip:12333@fz.cn;cause=408>;index=1.1\n\
    Diversion: <sip:12333@fz.cn>;reason=unconditional;counter=1, \"x\" <tel:12345>;reason=\"user-busy\"\n\
    User-to-User: 56a390f3d2b7310023a2;encoding=hex;content=foo\nResource-Priority: esnet.0, wps.3\n\
    Geolocation: <cid:loc@fz.cn>;inserted-by=\"fz.cn\", <https://ls.fz.cn/1>\nGeolocation-Routing: yes\n";

const REPLACING: &str = "Require: replaces\nReplaces: c1@10.0.0.9;to-tag=t1;from-tag=f1;early-only\n\
    Referred-By: <sip:1001@fz.cn>;cid=\"1@x\"\nAlert-Info: <urn:alert:service:call-waiting>\nSubject:\n s\n\tt\n";

const PIDF_LO: &str = "Content-Type: application/pidf+xml\r\nContent-ID: <loc@fz.cn>\r\n\r\n<?xml version=\"1.0\"?>\r\n\
    <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:gml=\"http://www.opengis.net/gml\" entity=\"pres:a@fz.cn\"><tuple id=\"1\"><status><geopriv><location-info>\
    <gml:Point srsName=\"urn:ogc:def:crs:EPSG::4326\"><gml:pos>26.08 119.30</gml:pos></gml:Point></location-info></geopriv></status>\
    </tuple></presence>";

const PROOF: &str = "Authorization: Digest username=\"1001\", realm=\"fz.cn\", nonce=\"n,1\", uri=\"sip:fz.cn\", \
    response=\"6629fae49393a05397450978507c4ef1\", algorithm=SHA-256, cnonce=\"0a4f113b\", qop=auth, nc=00000001, \
    opaque=\"o\"\nAuthorization: Basic QWxhZGRpbg==\n";

const CHALLENGES: &str = "WWW-Authenticate: Digest realm=\"fz.cn\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth,auth-int\"\n\
    WWW-Authenticate: Digest realm=\"fz.cn\", nonce=\"n\\\\1\", algorithm=MD5, qop=\"auth\", opaque=\"o\\\"o\"\n";
