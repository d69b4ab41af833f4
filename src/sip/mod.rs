//! SIP (RFC 3261) as a pure machine.

pub mod event;
