//! Sockets: how bytes come in and go out. Owns no protocol beyond framing, handshakes and keep-alive.

pub mod dns;
pub mod connections;
pub mod door;
pub mod line;
pub mod packet;
pub mod ports;
pub mod tcp;
pub mod tls;
pub mod udp;
pub mod ws;
mod wire;
