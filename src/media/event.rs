//! What goes into the media plane and what comes out. Plain data, so that media may one day run in its own process.

use crate::base::{ContactId, LegId, Mono, Now, PromptId, RecordingId};
use crate::sdp::Codec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// What a call asks of the plane. An action on a leg that is gone does nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A port was bound for this leg (the shell hands the socket over beside this). Nothing is sent or believed yet.
    Open {
        /// The leg.
        leg: LegId,
        /// Seed of its SSRC, first sequence number and time stamp.
        seed: u64,
    },
    /// The leg was open in a process that died: it goes on where it was, on the same line of numbers and with the same
    /// other end. The port was bound anew, as for `Open`.
    Reopen {
        /// The leg.
        leg: LegId,
        /// As in `Open`.
        seed: u64,
        /// When that was.
        opened: Now,
        /// As in the last `Connect`.
        remote: Option<Remote>,
        /// The newest that is known of it; `None` when that is its opening.
        mark: Option<Mark>,
    },
    /// The other side is known, or has changed: send to and accept from there.
    Connect {
        /// The leg.
        leg: LegId,
        /// Where and how.
        remote: Remote,
    },
    /// Play prompts in order, without a gap, to the leg; replaces what it hears. A bridged leg does not hear it until the bridge ends.
    Play {
        /// The leg.
        leg: LegId,
        /// Comes back in [`Notice::Played`].
        play: u32,
        /// What to play.
        prompts: Vec<PromptId>,
        /// Begin again after the last one; music keeps its place for the next caller of the same leg only.
        repeat: bool,
    },
    /// Stop playing: silence.
    Stop {
        /// The leg.
        leg: LegId,
    },
    /// Two legs hear each other. Prompts to either stop.
    Bridge {
        /// One.
        a: LegId,
        /// The other, on the same thread.
        b: LegId,
    },
    /// The leg and its peer hear silence until told otherwise.
    Unbridge {
        /// Either one.
        leg: LegId,
    },
    /// Record the contact's journey: what comes from `citizen` goes left, all it is sent goes right. A recording that a
    /// process left open when it died goes on in its file.
    Record {
        /// The citizen's leg.
        citizen: LegId,
        /// What and where.
        recording: RecordingStart,
    },
    /// End the recording; the file is as long as from `Record` to here.
    StopRecording {
        /// The citizen's leg, as in `Record`.
        citizen: LegId,
        /// Which.
        recording: RecordingId,
        /// Where it ends: the call's own instant, however late the media thread hears of it.
        at: Now,
    },
    /// Close the port and forget the leg. [`Notice::Closed`] follows.
    Close {
        /// The leg.
        leg: LegId,
    },
}

impl Action {
    /// The leg it is about; of two the first.
    pub fn leg(&self) -> LegId {
        match self {
            Action::Open { leg, .. }
            | Action::Reopen { leg, .. }
            | Action::Connect { leg, .. }
            | Action::Play { leg, .. }
            | Action::Stop { leg }
            | Action::Unbridge { leg }
            | Action::Close { leg } => *leg,
            Action::Bridge { a, .. } => *a,
            Action::Record { citizen, .. } | Action::StopRecording { citizen, .. } => *citizen,
        }
    }
}

/// The other end of a leg's media, as negotiated: where our packets go, and the only source from which any are believed.
pub use crate::sdp::Negotiated as Remote;

/// How far a leg had come, so that another process can go on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When this was so.
    pub at: Mono,
    /// The next sequence number of ours.
    pub sequence: u16,
    /// From where its RTP was believed then.
    pub rtp: Option<SocketAddr>,
    /// The same for RTCP.
    pub rtcp: Option<SocketAddr>,
}

/// The marks of many legs.
pub type Marks = BTreeMap<LegId, Mark>;

/// The start of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingStart {
    /// Key.
    pub recording: RecordingId,
    /// Whose journey.
    pub contact: ContactId,
    /// Site code: the first folder of its path.
    pub site: Box<str>,
    /// First sample, on both clocks.
    pub started: Now,
}

/// What the plane tells a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// The last prompt of this play was sent to its end (never for `repeat`, nor after `Stop` or a newer `Play`).
    Played {
        /// The leg.
        leg: LegId,
        /// As given.
        play: u32,
    },
    /// A whole digit came: `0`–`9`, `*`, `#`, `A`–`D`. Told once, at its start.
    Digit {
        /// The leg.
        leg: LegId,
        /// Which.
        digit: u8,
    },
    /// Neither RTP nor RTCP for this long (first told after 10 s, then each 10 s). Held legs are exempt.
    Quiet {
        /// The leg.
        leg: LegId,
        /// Since the last packet, or since `Connect`.
        silent: Duration,
    },
    /// Packets came again after `Quiet`.
    Heard {
        /// The leg.
        leg: LegId,
    },
    /// The port is closed.
    Closed {
        /// The leg.
        leg: LegId,
        /// What came and went.
        counters: Counters,
    },
}

/// What one leg received and sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// RTP packets believed.
    pub received: u64,
    /// RTP packets sent.
    pub sent: u64,
    /// Lost by RFC 3550 A.3 (expected less received), 0 if more came than expected.
    pub lost: u64,
    /// Interarrival jitter in microseconds (RFC 3550 A.8) at the end.
    pub jitter_us: u32,
    /// Packets from strangers, malformed ones and unknown payload types: dropped.
    pub dropped: u64,
}

/// What the plane gives the recorder. All taps of one recording come in order from one thread.
#[derive(Clone, Debug, PartialEq)]
pub enum Tap {
    /// A recording begins.
    Start(RecordingStart),
    /// A packet's worth of sound.
    Audio(Audio),
    /// The recording ends; silence is filled up to here.
    Finish {
        /// Which.
        recording: RecordingId,
        /// Where the file ends.
        at: Mono,
    },
}

/// One packet's worth of G.711 on its way to a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    /// Which recording.
    pub recording: RecordingId,
    /// Which side.
    pub channel: Channel,
    /// When it arrived or was sent.
    pub at: Mono,
    /// RTP synchronisation source: a new one is a new time line.
    pub ssrc: u32,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP time stamp at 8 kHz.
    pub timestamp: u32,
    /// Of the payload.
    pub codec: Codec,
    /// As on the wire: 1 byte a sample. A part of a block that it shares with others ([`Sink::keep`]).
    ///
    /// [`Sink::keep`]: super::Sink::keep
    pub payload: Bytes,
}

/// A side of the stereo file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Channel {
    /// Left: what came from the citizen.
    Citizen,
    /// Right: what the citizen was sent: prompts, music, the agent.
    Others,
}
