//! TCP sockets for SIP: bound so that a restart finds its port again, watched by the kernel for peers that vanish.

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that the kernel keeps until we take them.
const BACKLOG: i32 = 1_024;
/// Room in the kernel for what is written.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// A silent peer is asked by the kernel after so long, …
const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// … again after so long, …
const KEEP_ALIVE_AGAIN: Duration = Duration::from_secs(10);
/// … and is gone after so many questions.
const KEEP_ALIVE_TRIES: u32 = 3;
/// What was sent and is not acknowledged in this time will not be.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// Binds a listener. One of IPv6 leaves IPv4 to others.
///
/// # Errors
/// What the system says, for example that the port is used.
pub fn bind(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of the last life may still be going down (TIME_WAIT).
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Connects from the address of a listener, where it has one.
///
/// # Errors
/// What the system says; the caller bounds the time.
pub async fn connect(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !from.ip().is_unspecified() {
        socket.bind(SocketAddr::new(from.ip(), 0))?;
    }
    socket.connect(to).await
}

/// Ends a connection that is not wanted at once, so that nothing of it stays behind.
pub fn reset(stream: TcpStream) {
    // One that is gone already needs no end.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// Settings of every connection: small messages leave at once, and a peer that vanished is noticed.
///
/// # Errors
/// The connection is gone already.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // What a slow reader can hold of our memory is the queue, not what the kernel would add to it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    let keep_alive =
        TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE_AGAIN).with_retries(KEEP_ALIVE_TRIES);
    socket.set_tcp_keepalive(&keep_alive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
}
