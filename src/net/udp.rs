//! UDP listeners: one task receives for all shards.
//!
//! Owns the reading of a socket. Never judges a message: it reads only what choosing a shard needs.

use crate::sip::event::Flow;
use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as StdSocket};
use std::sync::Arc;
use tokio::net::UdpSocket;

/// The largest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Room for a burst: 100 calls/s for some seconds, should the process be late.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Datagrams read before other tasks have their turn.
const BATCH_MAX: usize = 64;

/// Binds a listener, with room for bursts. One of IPv6 leaves IPv4 to others.
///
/// # Errors
/// What the system says, for example that the port is used.
pub fn bind(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // Beyond the system's bound where we may; else what it gives.
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER_BYTES).is_err() {
        socket.set_recv_buffer_size(BUFFER_BYTES)?;
    }
    socket.set_send_buffer_size(BUFFER_BYTES)?;
    socket.bind(&at.into())?;
    UdpSocket::from_std(socket.into())
}

/// The address from which this machine speaks to `peer`, found without sending anything.
///
/// # Errors
/// There is no way to `peer`.
pub fn address_towards(peer: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().expect("an address");
    let socket = StdSocket::bind(any)?;
    socket.connect(peer)?;
    Ok(socket.local_addr()?.ip())
}

/// Receives for ever; `post` takes each datagram, `failed` what the system says when it gives none. They must not wait.
pub async fn receive(socket: Arc<UdpSocket>, listener: u16, post: impl Fn(Flow, Bytes), failed: impl Fn(io::Error)) {
    let mut buffer = vec![0u8; DATAGRAM_BYTES_MAX];
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        for _ in 0..BATCH_MAX {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, peer)) => {
                    post(Flow { listener, connection: 0, peer }, Bytes::copy_from_slice(&buffer[..length]));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Most likely an ICMP error of an earlier datagram: nothing to do with the next one.
                Err(error) => failed(error),
            }
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_spoken_to_from_the_loopback() {
        assert_eq!(address_towards("127.0.0.1:5060".parse().unwrap()).unwrap(), IpAddr::from([127, 0, 0, 1]));
    }
}
