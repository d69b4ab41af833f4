//! SIP (RFC 3261) as a pure machine.

pub mod event;

// What needs no messages: transactions as tables, timers, digest, the registrar.
pub mod auth;
pub mod client_txn;
pub mod digest;
pub mod register;
pub mod server_txn;
pub mod timers;

// The message: bytes, headers, URIs.
pub mod address;
pub mod challenge;
pub mod credentials;
pub mod frame;
mod lex;
pub mod message;
pub mod method;
mod multipart;
pub mod name;
pub mod params;
pub mod parse;
pub mod route;
pub mod status;
#[cfg(test)]
mod torture;
pub mod uri;
pub mod via;
pub mod write;

// The user agent: tables of what lives, and what becomes of each message.
mod about;
mod ask;
pub mod busy;
mod client;
pub mod dialog;
#[cfg(test)]
mod early;
#[cfg(test)]
mod extensions;
#[cfg(test)]
mod flows;
mod incoming;
mod info;
mod leg;
pub mod location;
mod outgoing;
pub mod place;
mod refer;
mod registration;
mod reliable;
mod replaces;
#[cfg(test)]
mod requests;
mod retry;
mod screen;
mod server;
mod session;
pub mod session_timer;
pub mod snapshot;
#[cfg(test)]
mod tables;
mod transport;
pub mod ua;
mod update;
#[cfg(test)]
mod wire;

pub use about::shown;
pub use address::Address;
pub use message::Message;
pub use method::Method;
pub use name::Name;
pub use ua::Ua;
pub use uri::Uri;
pub use via::Via;
