//! What a leg gives the recorder: what came, what it was sent, and where nothing may be kept.

use super::Port;
use crate::base::{Mono, Now, RecordingId};
use crate::media::event::{Audio, Channel, Hidden, Reason, RecordingStart, Tap};
use crate::media::rtp::{HEADER_LEN, Header, Packet};
use crate::media::sink::Sink;
use crate::sdp::Codec;
use bytes::Bytes;

/// A recording that runs through a leg.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recording {
    id: RecordingId,
    paused: bool,
}

/// What becomes of a packet of ours in the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is silence.
    No,
    Yes,
    /// Its place is marked.
    Hidden,
}

impl Port {
    /// What is being recorded through it.
    pub fn recording(&self) -> Option<RecordingId> {
        self.recording.map(|recording| recording.id)
    }

    /// The recording that sound is kept for now.
    pub(super) fn keeps(&self) -> Option<RecordingId> {
        self.recording.filter(|recording| !recording.paused).map(|recording| recording.id)
    }

    /// Begins a recording of what comes and what is sent; one that ran is finished first.
    pub fn record(&mut self, now: Now, start: RecordingStart, out: &mut Sink) {
        self.stop_recording(now, out);
        self.recording = Some(Recording { id: start.recording, paused: false });
        out.taps.push(Tap::Start(start));
    }

    /// Ends the recording, if there is one.
    pub fn stop_recording(&mut self, now: Now, out: &mut Sink) {
        if let Some(Recording { id: recording, .. }) = self.recording.take() {
            out.taps.push(Tap::Finish { recording, at: now.mono });
        }
    }

    /// Keeps nothing from now on, if anything is recorded and kept.
    pub fn pause_recording(&mut self, at: Mono, reason: Reason, out: &mut Sink) {
        if let Some(recording @ Recording { paused: false, .. }) = &mut self.recording {
            recording.paused = true;
            out.taps.push(Tap::Pause { recording: recording.id, at, reason });
        }
    }

    /// Keeps sound again.
    pub fn resume_recording(&mut self, at: Mono, out: &mut Sink) {
        if let Some(recording @ Recording { paused: true, .. }) = &mut self.recording {
            recording.paused = false;
            out.taps.push(Tap::Resume { recording: recording.id, at });
        }
    }

    /// Taps a packet that came.
    pub(super) fn tap_received(&self, now: Now, packet: &Packet<'_>, codec: Codec, out: &mut Sink) {
        if let Some(recording) = self.keeps() {
            let line = (packet.ssrc, packet.sequence, packet.timestamp);
            let payload = out.keep(packet.payload);
            out.taps.push(audio(recording, Channel::Citizen, now.mono, line, codec, payload));
        }
    }

    /// Taps the datagram that was just added.
    pub(super) fn tap_sent(&self, at: Mono, header: &Header, codec: Codec, out: &mut Sink) {
        if let Some(recording) = self.keeps() {
            let line = (header.ssrc, header.sequence, header.timestamp);
            let payload = out.keep_last(HEADER_LEN);
            out.taps.push(audio(recording, Channel::Others, at, line, codec, payload));
        }
    }

    /// Marks the place of a packet of ours that must not be kept.
    pub(super) fn tap_hidden(&self, at: Mono, header: &Header, samples: u32, out: &mut Sink) {
        if let Some(recording) = self.keeps() {
            let (channel, ssrc) = (Channel::Others, header.ssrc);
            let (from, to) = (header.timestamp, header.timestamp.wrapping_add(samples));
            out.taps.push(Tap::Hide(Hidden { recording, channel, at, ssrc, from, to }));
        }
    }
}

/// A tap of one packet; `line` is its SSRC, sequence number and time stamp.
fn audio(
    recording: RecordingId,
    channel: Channel,
    at: Mono,
    line: (u32, u16, u32),
    codec: Codec,
    payload: Bytes,
) -> Tap {
    let (ssrc, sequence, timestamp) = line;
    Tap::Audio(Audio { recording, channel, at, ssrc, sequence, timestamp, codec, payload })
}
