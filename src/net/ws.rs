//! The WebSocket handshake of SIP (RFC 7118 §4): subprotocol `sip`, and pages of known origins only (RFC 6455 §10.2).
//!
//! Owns what is accepted and what is answered otherwise. Frames are the crate's.

use crate::sip::parse::MESSAGE_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

/// The subprotocol.
const SUBPROTOCOL: &str = "sip";
/// Room of one connection in each direction; it grows for a longer message.
const BUFFER_BYTES: usize = 8 * 1024;

/// Accepts a client whose page has one of these origins. One without `Origin` is no browser: what it could do here it could
/// do over TCP.
///
/// # Errors
/// What was wrong; the client has been told by status and text.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    origins: &[Box<str>],
) -> Result<WebSocketStream<S>, Error> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES);
    #[expect(clippy::result_large_err, reason = "the crate's own type")]
    let answer = |request: &Request, mut response: Response| {
        if let Err((status, why)) = check(request, origins) {
            let mut refusal = ErrorResponse::new(Some(format!("{why}\n")));
            *refusal.status_mut() = status;
            return Err(refusal);
        }
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        Ok(response)
    };
    accept_hdr_async_with_config(stream, answer, Some(config)).await
}

fn check(request: &Request, origins: &[Box<str>]) -> Result<(), (StatusCode, &'static str)> {
    let offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let mut offered = offered.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    if !offered.any(|name| name.trim().eq_ignore_ascii_case(SUBPROTOCOL)) {
        return Err((StatusCode::BAD_REQUEST, "offer the subprotocol sip (RFC 7118)"));
    }
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        return Ok(());
    };
    let known = |origin: &str| origins.iter().any(|known| **known == *"*" || known.eq_ignore_ascii_case(origin));
    if origin.to_str().is_ok_and(known) {
        return Ok(());
    }
    Err((StatusCode::FORBIDDEN, "this page's origin is not among the `origins` of the listener"))
}

/// A SIP message as a frame: text, unless it holds other bytes (RFC 7118 §4.2).
pub fn frame(bytes: bytes::Bytes) -> Message {
    match tokio_tungstenite::tungstenite::Utf8Bytes::try_from(bytes.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(headers: &[(&str, &str)], origins: &[&str]) -> Option<u16> {
        let mut request = Request::new(());
        for (name, value) in headers {
            let name: header::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let origins: Vec<Box<str>> = origins.iter().map(|origin| (*origin).into()).collect();
        check(&request, &origins).err().map(|(status, _)| status.as_u16())
    }

    #[test]
    fn only_sip_from_known_pages_is_accepted() {
        const SIP: (&str, &str) = ("sec-websocket-protocol", "sip");
        let page = |origin| ("origin", origin);
        let known = ["https://a.example"];
        for (headers, origins, status) in [
            (&[SIP, page("https://a.example")][..], &known[..], None),
            (&[SIP, page("https://A.example")], &known, None),
            (&[("sec-websocket-protocol", "xmpp, sip")], &known, None),
            (&[("sec-websocket-protocol", "xmpp"), SIP], &known, None),
            (&[SIP], &known, None),
            (&[SIP, page("https://b.example")], &["*"], None),
            (&[SIP, page("https://a.example.evil")], &known, Some(403)),
            (&[SIP, page("http://a.example")], &known, Some(403)),
            (&[SIP, page("null")], &known, Some(403)),
            (&[page("https://a.example")], &known, Some(400)),
            (&[("sec-websocket-protocol", "sips")], &known, Some(400)),
        ] {
            assert_eq!(refused(headers, origins), status, "{headers:?}");
        }
    }

    #[test]
    fn a_message_that_is_no_text_goes_as_bytes() {
        assert!(frame(bytes::Bytes::from_static("来电".as_bytes())).is_text());
        assert!(frame(bytes::Bytes::from_static(b"\xc0\xb4")).is_binary());
    }
}
