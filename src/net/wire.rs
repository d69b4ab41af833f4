//! One connection's bytes: from handshake to the last frame, reading and writing side by side.
//!
//! Knows how streams and WebSockets carry messages (RFC 3261 §18.3, RFC 7118 §4.2), pings included; who gets a message is
//! its caller's affair.

use super::line::{Line, QUEUE_MESSAGES_MAX, Queue};
use super::tls::Secured;
use super::{tcp, ws};
use crate::sip::frame::{Cut, Cutter, PING, PONG};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

/// A browser is pinged this often: it sends no pings of its own, and proxies forget silent connections.
pub(super) const PING_EVERY: Duration = Duration::from_secs(25);
/// A WebSocket that answers no ping for so long is dead.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(75);
/// The other side takes what is written in this time.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// Read at once.
const READ_BYTES: usize = 8 * 1024;

/// Bytes in both directions.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection after its handshakes.
pub(super) enum Wire {
    /// TCP or TLS.
    Stream(Box<dyn Io>),
    /// A WebSocket over either.
    Web(Box<WebSocketStream<Box<dyn Io>>>),
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Web(#[from] Box<tungstenite::Error>),
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The other side closed it, or it broke.
    Theirs,
    /// What came cannot be cut into messages.
    Unframed,
    /// The other side does not read.
    Unread,
}

/// Shakes hands with whoever connected.
pub(super) async fn accept(
    stream: TcpStream,
    secured: Option<&Secured>,
    origins: Option<&[Box<str>]>,
) -> Result<Wire, HandshakeError> {
    tcp::prepare(&stream)?;
    let io: Box<dyn Io> = match secured {
        Some(secured) => Box::new(TlsAcceptor::from(secured.server.clone()).accept(stream).await?),
        None => Box::new(stream),
    };
    match origins {
        Some(origins) => Ok(Wire::Web(Box::new(ws::accept(io, origins).await.map_err(Box::new)?))),
        None => Ok(Wire::Stream(io)),
    }
}

/// Shakes hands with whom we connected to; its certificate must name the domain, or the address where there is none.
pub(super) async fn connect(
    stream: TcpStream,
    secured: Option<&Secured>,
    domain: Option<&str>,
) -> Result<Wire, HandshakeError> {
    tcp::prepare(&stream)?;
    let Some(secured) = secured else { return Ok(Wire::Stream(Box::new(stream))) };
    let domain = domain.and_then(|domain| ServerName::try_from(domain.to_owned()).ok());
    let name = domain.unwrap_or(ServerName::IpAddress(stream.peer_addr()?.ip().into()));
    let io = TlsConnector::from(secured.client.clone()).connect(name, stream).await?;
    Ok(Wire::Stream(Box::new(io)))
}

/// What a connection's bytes go through: counted, and messages handed on before more is read.
pub(super) trait Intake: Sync {
    /// Whether the other side may know that somebody is there.
    fn is_welcome(&self) -> bool;
    /// Takes one message; returns when there is room for another.
    fn message(&self, bytes: Bytes) -> impl Future<Output = ()> + Send;
    /// So many bytes came.
    fn read(&self, bytes: usize);
    /// So many messages of so many bytes went.
    fn written(&self, messages: usize, bytes: usize);
}

/// Reads and writes until either cannot go on.
pub(super) async fn run(wire: Wire, line: &Line, queue: Queue, intake: &impl Intake) -> End {
    match wire {
        Wire::Stream(io) => {
            let (reading, writing) = tokio::io::split(io);
            tokio::select! {
                end = read_stream(reading, line, intake) => end,
                end = write_stream(writing, line, queue, intake) => end,
            }
        }
        Wire::Web(socket) => {
            let (writing, reading) = socket.split();
            tokio::select! {
                end = read_web(reading, line, intake) => end,
                end = write_web(writing, line, queue, intake) => end,
            }
        }
    }
}

async fn read_stream(mut reading: ReadHalf<Box<dyn Io>>, line: &Line, intake: &impl Intake) -> End {
    let (mut cutter, mut buffer) = (Cutter::default(), vec![0; READ_BYTES]);
    loop {
        let count = match reading.read(&mut buffer).await {
            Ok(0) | Err(_) => return End::Theirs,
            Ok(count) => count,
        };
        intake.read(count);
        cutter.push(&buffer[..count]);
        loop {
            match cutter.cut() {
                Cut::Message(bytes) => {
                    line.whole();
                    intake.message(bytes).await;
                }
                // Whom nobody has heard yet gets no sign that somebody is there.
                Cut::Ping if !intake.is_welcome() => {}
                Cut::Ping => {
                    if line.push(Bytes::from_static(PONG)).is_err() {
                        return End::Unread;
                    }
                }
                Cut::More => break,
                Cut::Lost => return End::Unframed,
            }
        }
        line.heard(cutter.is_within());
    }
}

async fn write_stream(mut writing: WriteHalf<Box<dyn Io>>, line: &Line, mut queue: Queue, intake: &impl Intake) -> End {
    let (mut some, mut buffer) = (Vec::new(), BytesMut::new());
    while queue.recv_many(&mut some, QUEUE_MESSAGES_MAX).await > 0 {
        let count = some.len();
        buffer.clear();
        some.drain(..).for_each(|bytes: Bytes| buffer.extend_from_slice(&bytes));
        let written = async {
            writing.write_all(&buffer).await?;
            writing.flush().await
        };
        match timeout(WRITE_MAX, written).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return End::Theirs,
            Err(_) => return End::Unread,
        }
        line.written(count, buffer.len());
        intake.written(count, buffer.len());
    }
    End::Theirs
}

type Web = WebSocketStream<Box<dyn Io>>;

async fn read_web(mut reading: SplitStream<Box<Web>>, line: &Line, intake: &impl Intake) -> End {
    while let Some(Ok(message)) = reading.next().await {
        let bytes = match message {
            Message::Text(text) => Bytes::from(text),
            Message::Binary(bytes) => bytes,
            // The crate answers pings itself.
            Message::Ping(bytes) | Message::Pong(bytes) => {
                intake.read(bytes.len());
                line.heard(false);
                continue;
            }
            Message::Close(_) | Message::Frame(_) => return End::Theirs,
        };
        intake.read(bytes.len());
        line.heard(false);
        if bytes == PING {
            if line.push(Bytes::from_static(PONG)).is_err() {
                return End::Unread;
            }
        } else if bytes != PONG {
            line.whole();
            intake.message(bytes).await;
        }
    }
    End::Theirs
}

async fn write_web(
    mut writing: SplitSink<Box<Web>, Message>,
    line: &Line,
    mut queue: Queue,
    intake: &impl Intake,
) -> End {
    let mut pings = interval(PING_EVERY);
    // The first one comes at once.
    pings.tick().await;
    loop {
        let (frames, counted) = tokio::select! {
            bytes = queue.recv() => {
                let Some(bytes) = bytes else { return End::Theirs };
                let length = bytes.len();
                ([Some(ws::frame(bytes)), None], Some(length))
            }
            // JsSIP's own keep-alive (RFC 7118 §6), and that of all WebSockets (RFC 6455 §5.5.2).
            _ = pings.tick() => {
                ([Some(ws::frame(Bytes::from_static(PING))), Some(Message::Ping(Bytes::new()))], None)
            }
        };
        let written = async {
            for frame in frames.into_iter().flatten() {
                writing.send(frame).await?;
            }
            Ok::<(), tungstenite::Error>(())
        };
        match timeout(WRITE_MAX, written).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return End::Theirs,
            Err(_) => return End::Unread,
        }
        if let Some(bytes) = counted {
            line.written(1, bytes);
            intake.written(1, bytes);
        }
    }
}
