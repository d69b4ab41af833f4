//! The media plane: RTP legs of G.711, their prompts, bridges, conferences, digits, quality and taps for the recorder.
//!
//! Enters: [`event::Action`]s of calls, datagrams with their source, the clock. Leaves, through one reusable [`Sink`]:
//! datagrams, [`event::Notice`]s, [`event::Tap`]s. Owns no socket and no thread (see `node::media`), decodes nothing that
//! it only relays, and never believes a packet that did not come from where the session description said (RFC 3550, 3551, 4733).

pub mod bridge;
pub mod conceal;
pub mod conference;
pub mod dtmf;
pub mod emodel;
pub mod event;
pub mod g711;
pub mod latch;
pub mod pace;
pub mod plane;
pub mod player;
pub mod playout;
pub mod port;
pub mod prompt;
pub mod quality;
pub mod rtcp;
pub mod rtp;
pub mod sink;
pub mod stretch;
pub mod tone;
pub mod watch;

pub use plane::{Counts, Plane};
pub use prompt::{Library, Prompt};
pub use sink::{Datagram, Kind, Sink};
