//! What goes into the media plane and what comes out. Plain data, so that media may one day run in its own process.

use super::dtmf;
pub use super::tone::Tone;
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
    /// A tone, as with `Play`; [`Notice::Played`] tells its end unless it repeats.
    Tone {
        /// The leg.
        leg: LegId,
        /// Comes back in [`Notice::Played`].
        play: u32,
        /// Which.
        tone: Tone,
        /// Again and again.
        repeat: bool,
    },
    /// The conference that goes by the name of the citizen's leg has these parties from now on, and no others: who joins
    /// leaves their bridge, who is not named any more hears silence, a conference of nobody is over. All legs are on one
    /// thread; one that is not here, or no more, is left out. Parties hear what is played to them besides what is said.
    /// A [`Action::Bridge`] of two of its parties ends it without a gap, and relays again.
    Conference {
        /// Whose contact it belongs to; a party, too, only if named.
        citizen: LegId,
        /// All of them.
        parties: Parties,
    },
    /// Press these keys, in the way that was negotiated with the leg; what it would hear otherwise is lost meanwhile.
    /// They follow what is being pressed already. [`Notice::DigitsSent`] tells their end.
    SendDigits {
        /// The leg.
        leg: LegId,
        /// What to press.
        digits: Digits,
    },
    /// Keep the leg's digits out of its recording from now on, or no more: their place is a silence that is marked.
    HideDigits {
        /// The leg that is recorded.
        leg: LegId,
        /// Whether to hide them.
        hide: bool,
    },
    /// Record what comes from a leg (left) and all it is sent (right): the contact's journey through the citizen's leg, and
    /// the track of another party of a conference through that one's. A recording that a process left open when it died
    /// goes on in its file.
    Record {
        /// The leg: the citizen's, or that of the party.
        citizen: LegId,
        /// What and where.
        recording: RecordingStart,
    },
    /// End the recording; the file is as long as from `Record` to here.
    StopRecording {
        /// The leg, as in `Record`.
        citizen: LegId,
        /// Which.
        recording: RecordingId,
        /// Where it ends: the call's own instant, however late the media thread hears of it.
        at: Now,
    },
    /// Keep nothing from now on, but the silence and why.
    PauseRecording {
        /// The leg, as in `Record`.
        citizen: LegId,
        /// Goes into the manifest.
        reason: Reason,
    },
    /// Keep what comes and is sent again.
    ResumeRecording {
        /// The leg, as in `Record`.
        citizen: LegId,
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
            | Action::Tone { leg, .. }
            | Action::SendDigits { leg, .. }
            | Action::HideDigits { leg, .. }
            | Action::Unbridge { leg }
            | Action::Close { leg } => *leg,
            Action::Bridge { a, .. } => *a,
            Action::Conference { citizen, .. }
            | Action::Record { citizen, .. }
            | Action::StopRecording { citizen, .. }
            | Action::PauseRecording { citizen, .. }
            | Action::ResumeRecording { citizen } => *citizen,
        }
    }
}

/// A party of a conference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Its leg.
    pub leg: LegId,
    /// Who hears what it says.
    pub heard_by: HeardBy,
    /// How much louder the others hear it, in dB: -30 to 12, beyond which it is brought within.
    pub gain_db: i8,
    /// Nobody hears it.
    pub muted: bool,
}

impl Party {
    /// One that all others hear as it is.
    pub fn new(leg: LegId) -> Party {
        Party { leg, heard_by: HeardBy::All, gain_db: 0, muted: false }
    }
}

/// Who hears a party of a conference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeardBy {
    /// All others.
    All,
    /// A whisper: this leg and no other.
    Only(LegId),
    /// It listens in.
    Nobody,
}

/// The parties of one conference, at most [`Parties::MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Party>", into = "Vec<Party>")]
pub struct Parties(Vec<Party>);

/// Why these are no parties of a conference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartiesError {
    /// There is no more room.
    #[error("a conference has at most {} parties", Parties::MAX)]
    TooMany,
    /// Nobody sits in two places.
    #[error("a leg is named twice")]
    Twice,
}

impl Parties {
    /// Most parties of a conference.
    pub const MAX: usize = 16;

    /// Checks their number and that each is named once.
    pub fn new(mut parties: Vec<Party>) -> Result<Parties, PartiesError> {
        if parties.len() > Parties::MAX {
            return Err(PartiesError::TooMany);
        }
        let twice = |(place, party): (usize, &Party)| parties[..place].iter().any(|other| other.leg == party.leg);
        if parties.iter().enumerate().any(twice) {
            return Err(PartiesError::Twice);
        }
        parties.iter_mut().for_each(|party| party.gain_db = party.gain_db.clamp(-30, 12));
        Ok(Parties(parties))
    }

    /// They, in the given order.
    pub fn iter(&self) -> impl Iterator<Item = &Party> {
        self.0.iter()
    }
}

impl TryFrom<Vec<Party>> for Parties {
    type Error = PartiesError;
    fn try_from(parties: Vec<Party>) -> Result<Parties, PartiesError> {
        Parties::new(parties)
    }
}

impl From<Parties> for Vec<Party> {
    fn from(parties: Parties) -> Vec<Party> {
        parties.0
    }
}

/// Keys to be pressed, at most [`Digits::MAX`], each for 40 ms to 5 s with as much between them (ITU-T Q.24).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digits {
    codes: Box<[u8]>,
    on_ms: u16,
    off_ms: u16,
}

/// Why keys cannot be pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigitsError {
    /// None, or too many.
    #[error("between 1 and {} digits can be sent at once", Digits::MAX)]
    Count,
    /// Not a key of a telephone.
    #[error("only 0-9, *, # and A-D are digits")]
    Symbol,
    /// Too short to be heard, or endless.
    #[error("a digit and its pause last from 40 to 5000 ms each")]
    Length,
}

impl Digits {
    /// Most keys at once.
    pub const MAX: usize = 64;

    /// Keys `0`–`9`, `*`, `#`, `A`–`D`, each pressed for `on_ms` with `off_ms` after it.
    pub fn new(symbols: &str, on_ms: u16, off_ms: u16) -> Result<Digits, DigitsError> {
        let codes: Option<Box<[u8]>> = symbols.bytes().map(dtmf::code).collect();
        let codes = codes.ok_or(DigitsError::Symbol)?;
        if codes.is_empty() || codes.len() > Digits::MAX {
            return Err(DigitsError::Count);
        }
        let lengths = 40..=5_000;
        if !lengths.contains(&on_ms) || !lengths.contains(&off_ms) {
            return Err(DigitsError::Length);
        }
        Ok(Digits { codes, on_ms, off_ms })
    }

    /// The codes of RFC 4733 §3.2, and milliseconds on and off.
    pub fn presses(&self) -> (&[u8], u16, u16) {
        (&self.codes, self.on_ms, self.off_ms)
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
    /// Which of the contact's.
    pub track: Track,
}

/// Which sound of a contact a recording holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Track {
    /// What the citizen said and heard, from beginning to end.
    #[default]
    Journey,
    /// What another party said and heard, whispers included.
    Party(PartyName),
}

/// The name of a party as a part of a file's name: 1 to 32 letters, digits, `-` and `_`, the first a letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Box<str>", into = "Box<str>")]
pub struct PartyName(Box<str>);

/// Not such a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a party's name has 1 to {} letters, digits, - or _, the first a letter", PartyName::MAX)]
pub struct PartyNameError;

impl PartyName {
    /// Longest, in bytes.
    pub const MAX: usize = 32;

    /// As it stands in a file's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<Box<str>> for PartyName {
    type Error = PartyNameError;
    fn try_from(text: Box<str>) -> Result<PartyName, PartyNameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
        if first && text.len() <= PartyName::MAX && text.bytes().all(allowed) {
            Ok(PartyName(text))
        } else {
            Err(PartyNameError)
        }
    }
}

impl From<PartyName> for Box<str> {
    fn from(name: PartyName) -> Box<str> {
        name.0
    }
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
    /// All keys of the last [`Action::SendDigits`] were pressed; also told when the leg was put on hold before.
    DigitsSent {
        /// The leg.
        leg: LegId,
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
    /// No RTP for [`MUTE_AFTER`](super::watch::MUTE_AFTER), whatever RTCP says. Held legs are exempt.
    Mute {
        /// The leg.
        leg: LegId,
    },
    /// RTP comes again after `Mute`.
    Sounds {
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
    /// Lost of ours, as the other side last reported; never more than were sent.
    pub far_lost: u64,
    /// Interarrival jitter in microseconds, as it last reported.
    pub far_jitter_us: u32,
    /// There and back in microseconds, from RTCP; `None` as long as no report allowed it.
    pub round_trip_us: Option<u32>,
    /// How what came sounds behind a phone's concealment, as a mean opinion score in hundredths (ITU-T G.107); `None`
    /// if nothing came.
    pub mos_received: Option<u16>,
    /// The same of what was sent; `None` if the other side reports nothing.
    pub mos_sent: Option<u16>,
}

impl Counters {
    /// Whether the leg was spoken to and never spoke: one side of it heard nothing.
    pub fn one_way(&self) -> bool {
        self.sent > 0 && self.received == 0
    }
}

/// What the plane gives the recorder. All taps of one recording come in order from one thread.
#[derive(Clone, Debug, PartialEq)]
pub enum Tap {
    /// A recording begins.
    Start(RecordingStart),
    /// A packet's worth of sound.
    Audio(Audio),
    /// Sound that must not be kept, given already or still to come.
    Hide(Hidden),
    /// From here on nothing is kept, until [`Tap::Resume`].
    Pause {
        /// Which.
        recording: RecordingId,
        /// From when.
        at: Mono,
        /// For those who will ask.
        reason: Reason,
    },
    /// Sound is kept again.
    Resume {
        /// Which.
        recording: RecordingId,
        /// From when.
        at: Mono,
    },
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

/// A stretch of a source's sound that must not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Which recording.
    pub recording: RecordingId,
    /// Whose side.
    pub channel: Channel,
    /// When this became known.
    pub at: Mono,
    /// The source, as in [`Audio`].
    pub ssrc: u32,
    /// First sample, as a time stamp of the source.
    pub from: u32,
    /// The first one behind.
    pub to: u32,
}

/// Why a recording pauses, as it is written beside the sound: 1 to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Box<str>", into = "Box<str>")]
pub struct Reason(Box<str>);

/// No reason, or a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reason has between 1 and {} bytes", Reason::MAX)]
pub struct ReasonError;

impl Reason {
    /// Longest, in bytes.
    pub const MAX: usize = 64;
}

impl TryFrom<Box<str>> for Reason {
    type Error = ReasonError;
    fn try_from(text: Box<str>) -> Result<Reason, ReasonError> {
        if (1..=Reason::MAX).contains(&text.len()) { Ok(Reason(text)) } else { Err(ReasonError) }
    }
}

impl From<Reason> for Box<str> {
    fn from(reason: Reason) -> Box<str> {
        reason.0
    }
}

/// A side of the stereo file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Left: what came from the citizen.
    Citizen,
    /// Right: what the citizen was sent: prompts, music, the agent.
    Others,
}
