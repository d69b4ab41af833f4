//! Byte streams: messages cut by Content-Length (RFC 3261 §18.3), and WebSockets from their handshake on (RFC 6455,
//! RFC 7118).

use super::corpus::{hotline, message};
use super::message::SIP;
use super::mutate::{Kind, as_it_is};
use futures_util::StreamExt;
use jiesu::net::ws;
use jiesu::sip::Message;
use jiesu::sip::frame::{Cut, Cutter, HEAD_BYTES_MAX, PING};
use jiesu::sip::parse::MESSAGE_BYTES_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::tungstenite;

/// All that comes out of a stream that comes in pieces of these sizes, in turn.
fn cuts(stream: &[u8], sizes: &[usize]) -> Vec<Cut> {
    let (mut cutter, mut cuts, mut rest) = (Cutter::default(), Vec::new(), stream);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at((*size).min(rest.len()));
        rest = behind;
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

/// A TCP connection: the same comes out whatever the pieces, nothing comes twice, nothing is longer than it may be.
pub fn stream(bytes: &[u8]) {
    let whole = cuts(bytes, &[bytes.len().max(1)]);
    for sizes in [&[1][..], &[7, 1, 40], &[1_000, 3]] {
        assert_eq!(cuts(bytes, sizes), whole, "in pieces of {sizes:?}");
    }
    let length = |cut: &Cut| match cut {
        Cut::Message(message) => {
            assert!((1..=MESSAGE_BYTES_MAX).contains(&message.len()));
            let _ = Message::parse(message.clone());
            message.len()
        }
        Cut::Ping => PING.len(),
        Cut::More | Cut::Lost => 0,
    };
    assert!(whole.iter().map(length).sum::<usize>() <= bytes.len());
    if whole.is_empty() {
        assert!(bytes.len() < HEAD_BYTES_MAX + MESSAGE_BYTES_MAX, "what is kept is bounded");
    }
}

const HANDSHAKE: &str = "GET /sip HTTP/1.1\r\nHost: fz.cn\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\
    Origin: https://a.example\r\n\r\n";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const WS_PING: u8 = 9;
const WS_PONG: u8 = 10;

/// A client's frame (RFC 6455 §5.2), its length written in `width` bytes.
fn ws_frame(last: bool, opcode: u8, width: usize, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![u8::from(last) << 7 | opcode];
    let length = (payload.len() as u64).to_be_bytes();
    match width {
        1 => frame.push(0x80 | length[7]),
        2 => frame.extend([&[0x80 | 126], &length[6..]].concat()),
        _ => frame.extend([&[0x80 | 127], &length[..]].concat()),
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Whole messages, fragments with control frames between them, lengths written too long, and what a client must not send.
fn web_sockets() -> Vec<Vec<u8>> {
    let options = message(
        "OPTIONS sip:a SIP/2.0",
        "Via: SIP/2.0/WS x.invalid;branch=z9hG4bK1\nFrom: <sip:1@a>;tag=1\n\
        To: <sip:a>\nCall-ID: 1\nCSeq: 1 OPTIONS\n",
        "",
    );
    let (head, tail) = options.split_at(60);
    let frames: Vec<Vec<Vec<u8>>> = vec![
        vec![
            ws_frame(true, TEXT, 2, &options),
            ws_frame(true, WS_PING, 1, b"alive?"),
            ws_frame(true, CLOSE, 1, &[3, 232]),
        ],
        vec![ws_frame(false, TEXT, 1, head), ws_frame(true, WS_PONG, 1, b""), ws_frame(true, 0, 2, tail)],
        vec![ws_frame(false, BINARY, 1, head), ws_frame(false, 0, 1, b""), ws_frame(true, 0, 8, tail)],
        vec![
            ws_frame(true, TEXT, 8, &options),
            ws_frame(true, TEXT, 1, b"\xff\xfe"),
            ws_frame(true, 0, 1, b"nothing begun"),
        ],
        vec![ws_frame(true, TEXT, 8, &vec![b'x'; MESSAGE_BYTES_MAX + 1])],
        vec![ws_frame(false, TEXT, 8, &vec![b'x'; 40_000]), ws_frame(true, 0, 8, &vec![b'x'; 40_000])],
        vec![ws_frame(true, WS_PING, 2, &[b'p'; 126]), ws_frame(false, WS_PING, 1, b"p"), ws_frame(true, 3, 1, b"")],
        // Not masked; and a length of 2^63.
        vec![vec![0x81, 2, b'h', b'i']],
        vec![vec![0x82, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]],
    ];
    frames.into_iter().map(|frames| [HANDSHAKE.as_bytes(), &frames.concat()].concat()).collect()
}

/// A WebSocket connection: it ends when the bytes end at the latest, and no message is longer than it may be.
pub fn web_socket(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without clock and sockets");
    runtime.block_on(async {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (taken, answer) = tokio::join!(serve(ours), visit(theirs, bytes));
        let length = |message: &tungstenite::Message| match message {
            tungstenite::Message::Text(_) | tungstenite::Message::Binary(_) => {
                assert!(message.len() <= MESSAGE_BYTES_MAX);
                message.len()
            }
            tungstenite::Message::Ping(bytes) | tungstenite::Message::Pong(bytes) => {
                assert!(bytes.len() <= 125);
                bytes.len()
            }
            tungstenite::Message::Close(_) => 0,
            tungstenite::Message::Frame(_) => panic!("a frame by itself is never told"),
        };
        assert!(taken.iter().map(length).sum::<usize>() <= bytes.len(), "more came out than went in");
        assert!(answer <= 4_096 + 2 * bytes.len(), "{answer} bytes answer {}", bytes.len());
    });
}

/// Our side: all that comes out of it.
async fn serve(ours: DuplexStream) -> Vec<tungstenite::Message> {
    let mut taken = Vec::new();
    if let Ok(mut socket) = ws::accept(ours, &["https://a.example".into()]).await {
        while let Some(Ok(message)) = socket.next().await {
            taken.push(message);
        }
    }
    taken
}

/// Their side: a handshake up to its blank line, then the rest; how many bytes answered.
async fn visit(mut theirs: DuplexStream, bytes: &[u8]) -> usize {
    const BLANK: &[u8] = b"\r\n\r\n";
    let shake =
        bytes.windows(BLANK.len()).position(|window| window == BLANK).map_or(bytes.len(), |at| at + BLANK.len());
    let (shake, rest) = bytes.split_at(shake);
    // Our side may have hung up: then nothing more is to be said.
    let _ = theirs.write_all(shake).await;
    // Our side answers, if this is a handshake, before more comes.
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    let _ = theirs.write_all(rest).await;
    let _ = theirs.shutdown().await;
    theirs.read_to_end(&mut answer).await.expect("our side is closed");
    answer.len()
}

#[test]
fn no_stream_breaks_anything() {
    let all: Vec<Vec<u8>> = hotline().chunks(2).map(|pair| [PING, &pair.concat(), b"\r\n"].concat()).collect();
    super::fuzz(&Kind { repair: as_it_is, ..SIP }, &all, 8_000, stream);
}

#[test]
fn no_web_socket_breaks_anything() {
    let binary = Kind { text: false, words: &[], repair: as_it_is };
    super::fuzz(&binary, &web_sockets(), 4_000, web_socket);
    let handshakes = Kind { text: true, words: &["websocket", "sip", "13", "HTTP/1.0"], repair: as_it_is };
    super::fuzz(&handshakes, &web_sockets()[..1], 2_000, web_socket);
}

#[test]
fn a_sound_web_socket_brings_its_messages() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let brought = |bytes: Vec<u8>| {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (taken, _) = runtime.block_on(async { tokio::join!(serve(ours), visit(theirs, &bytes)) });
        taken.iter().filter(|message| message.is_text() || message.is_binary()).count()
    };
    let counts: Vec<usize> = web_sockets().into_iter().map(brought).collect();
    assert_eq!(counts, [1, 1, 1, 1, 0, 0, 0, 0, 0]);
}
