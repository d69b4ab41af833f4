//! The demo: simulated citizens and agents who speak real SIP and RTP with this very engine over loopback, so that
//! nobody needs a phone to see it work. Asked for with `jiesu serve --demo`; at most [`crowd::CITIZENS`] calls at once.
//!
//! [`crowd`] is pure (people, phones, registrations); `shell` owns its socket, media thread and task. Never touches the
//! agents who are a visitor's own: those it simulates are marked by their display name.

pub mod crowd;
pub mod people;
pub mod phones;
pub mod registration;
mod shell;
pub mod voices;

pub use shell::{Demo, StartError};
