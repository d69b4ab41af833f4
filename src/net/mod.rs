//! Sockets: how bytes come in and go out. Owns no protocol.

pub mod dns;
pub mod ports;
pub mod udp;
