//! The front door of the media plane: the legs of one media thread.
//!
//! Actions, datagrams and the clock go in; what comes out lands in the caller's [`Sink`]. Legs stand in a dense table with
//! one deadline each; a tick looks through the deadlines, which for the legs of a thread is cheaper than moving fifty
//! timers a second for every leg through a wheel, and needs no memory. Owns no socket, reads no clock, never logs.

use super::conference::Conference;
use super::event::{Action, Counters, Mark, Notice};
use super::g711::Laws;
use super::port::{Link, Port};
use super::prompt::Library;
use super::rtcp::ReportBlock;
use super::sink::{Kind, Sink};
use crate::base::map::KeyedMap;
use crate::base::{LegId, Mono, Now, RecordingId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

mod conferences;

const NEVER: Mono = Mono(u64::MAX);

/// The legs of one thread.
#[derive(Debug)]
pub struct Plane {
    prompts: Arc<Library>,
    laws: Laws,
    slots: KeyedMap<LegId, u32>,
    legs: Vec<Option<Port>>,
    /// Beside `legs`: when each has something to do.
    due: Vec<Mono>,
    free: Vec<u32>,
    conferences: Vec<Option<Conference>>,
    /// Which conference is whose.
    names: BTreeMap<LegId, u32>,
    strays: u64,
    /// Whose tick is under way.
    ticking: Option<LegId>,
}

/// What a plane holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Open legs.
    pub legs: usize,
    /// Pairs that hear each other.
    pub bridges: usize,
    /// Conferences.
    pub conferences: usize,
    /// Legs with a prompt or music.
    pub playing: usize,
    /// Running recordings.
    pub recordings: usize,
    /// Datagrams for legs that are not there.
    pub strays: u64,
}

/// The health of one leg's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// What came and went.
    pub counters: Counters,
    /// What the other side last reported of our packets.
    pub far: Option<ReportBlock>,
    /// There and back.
    pub round_trip: Option<Duration>,
}

impl Plane {
    /// A plane without legs. `seed` only spreads its table.
    pub fn new(library: Arc<Library>, seed: u64) -> Plane {
        let slots = KeyedMap::new([seed, 0]);
        Plane {
            prompts: library,
            laws: Laws::new(),
            slots,
            legs: Vec::new(),
            due: Vec::new(),
            free: Vec::new(),
            conferences: Vec::new(),
            names: BTreeMap::new(),
            strays: 0,
            ticking: None,
        }
    }

    /// New prompts for plays from now on; running ones go on with what they have.
    pub fn replace_library(&mut self, library: Arc<Library>) {
        self.prompts = library;
    }

    /// Does what a call asks. An action on a leg that is gone does nothing.
    pub fn handle(&mut self, now: Now, action: Action, out: &mut Sink) {
        match action {
            Action::Open { leg, seed } => self.open(leg, || Port::new(leg, seed, now)),
            Action::Reopen { leg, seed, opened, remote, mark } => {
                self.open(leg, || Port::reopened(leg, (seed, opened), mark, now));
                self.change(leg, |port, slot, _| {
                    if let Some(remote) = remote {
                        port.connect(now.mono, remote, slot as usize);
                    }
                    mark.iter().for_each(|mark| port.believed(mark));
                });
            }
            Action::Bridge { a, b } => self.bridge(now.mono, a, b),
            Action::Unbridge { leg } => {
                if let Some(slot) = self.slot(leg) {
                    self.unlink(now.mono, slot);
                }
            }
            Action::StopRecording { citizen, recording, at } => self.stop_recording(at, citizen, recording, out),
            Action::Close { leg } => self.close(now, leg, out),
            Action::Connect { leg, remote } => {
                self.change(leg, |port, slot, _| {
                    if port.connect(now.mono, remote, slot as usize) {
                        out.notices.push(Notice::DigitsSent { leg });
                    }
                });
            }
            Action::Tone { leg, play, tone, repeat } => {
                self.change(leg, |port, _, _| port.play_tone(play, tone, repeat));
            }
            Action::Conference { citizen, parties } => self.confer(now.mono, citizen, &parties),
            Action::SendDigits { leg, digits } => self.change(leg, |port, _, _| port.send_digits(&digits)),
            Action::HideDigits { leg, hide } => self.change(leg, |port, _, _| port.hide_digits(hide)),
            Action::Play { leg, play, prompts, repeat } => {
                self.change(leg, |port, _, library| port.play(library, play, prompts, repeat));
            }
            Action::Stop { leg } => self.change(leg, |port, _, _| port.stop()),
            Action::PauseRecording { citizen, reason } => {
                self.change(citizen, |port, _, _| port.pause_recording(now.mono, reason, out));
            }
            Action::ResumeRecording { citizen } => {
                self.change(citizen, |port, _, _| port.resume_recording(now.mono, out));
            }
            Action::Record { citizen, recording } => {
                self.change(citizen, |port, _, _| port.record(now, recording, out))
            }
        }
    }

    /// A datagram came to a port of `leg`.
    pub fn receive(&mut self, now: Now, leg: LegId, kind: Kind, from: SocketAddr, bytes: &[u8], out: &mut Sink) {
        let Some(slot) = self.slot(leg) else {
            self.strays += 1;
            return;
        };
        let port = live(&mut self.legs, slot);
        let heard = match kind {
            Kind::Rtp if !port.is_control(bytes) => port.receive(now, from, bytes, out),
            Kind::Rtp | Kind::Rtcp => {
                port.receive_control(now, kind, from, bytes, out);
                None
            }
        };
        let link = port.link;
        self.due[slot as usize] = port.deadline();
        let Some(heard) = heard else { return };
        match link {
            Link::Alone => {}
            Link::Bridge(peer) => {
                let both = self.legs.get_disjoint_mut([slot as usize, peer as usize]);
                let [Some(speaker), Some(listener)] = both.expect("nobody is bridged with itself") else {
                    panic!("both ends of a bridge are live")
                };
                speaker.news_for(listener).iter().for_each(|&key| listener.follow(key));
                listener.relay(now, &heard, &self.laws, out);
                self.due[peer as usize] = listener.deadline();
            }
            Link::Conference(room) => {
                if let (Some((codec, packet)), Some(conference)) = (heard.sound(), &mut self.conferences[room as usize])
                {
                    conference.hear(now.mono, slot, packet.ssrc, packet.timestamp, codec, packet.payload);
                }
            }
        }
    }

    /// Sends, reports and watches as far as due.
    pub fn tick(&mut self, now: Now, out: &mut Sink) {
        for (due, port) in self.due.iter_mut().zip(&mut self.legs) {
            if *due <= now.mono
                && let Some(port) = port
            {
                self.ticking = Some(port.leg());
                port.tick(now, out);
                *due = port.deadline();
            }
        }
        self.converse(now, out);
        self.ticking = None;
    }

    /// After a panic of [`Plane::tick`]: the leg that was being served. All after it are still due.
    pub fn ticking(&self) -> Option<LegId> {
        self.ticking
    }

    /// When [`Plane::tick`] has something to do next.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.due.iter().copied().chain(self.conference_due()).min().filter(|&due| due < NEVER)
    }

    /// Closes every leg: the thread ends.
    pub fn close_all(&mut self, now: Now, out: &mut Sink) {
        let legs: Vec<LegId> = self.legs.iter().flatten().map(Port::leg).collect();
        for leg in legs {
            self.close(now, leg, out);
        }
    }

    /// How far every leg has come.
    pub fn marks(&self, at: Mono) -> Vec<(LegId, Mark)> {
        self.legs.iter().flatten().map(|port| (port.leg(), port.mark(at))).collect()
    }

    /// How much is going on.
    pub fn counts(&self) -> Counts {
        let count = |what: fn(&Port) -> bool| self.legs.iter().flatten().filter(|port| what(port)).count();
        Counts {
            legs: self.slots.len(),
            bridges: count(|port| matches!(port.link, Link::Bridge(_))) / 2,
            conferences: self.conferences.iter().flatten().count(),
            playing: count(Port::plays),
            recordings: count(|port| port.recording().is_some()),
            strays: self.strays,
        }
    }

    /// How a leg fares.
    pub fn health(&self, leg: LegId) -> Option<Health> {
        let port = self.legs[self.slot(leg)? as usize].as_ref()?;
        let (far, round_trip) = port.far();
        Some(Health { counters: port.counters(), far, round_trip })
    }

    /// Panics if an invariant is broken.
    pub fn check(&self) {
        assert_eq!(self.legs.len(), self.due.len(), "each slot has a deadline");
        assert_eq!(self.slots.len() + self.free.len(), self.legs.len(), "each slot is a leg's or free");
        let mut recordings = std::collections::BTreeSet::new();
        for (slot, port) in self.legs.iter().enumerate() {
            let Some(port) = port else {
                assert_eq!(self.due[slot], NEVER, "a free slot waits for nothing");
                continue;
            };
            assert_eq!(self.slot(port.leg()), Some(slot as u32), "{:?} is found where it is", port.leg());
            assert_eq!(self.due[slot], port.deadline(), "{:?} is woken when it wants", port.leg());
            if let Link::Bridge(peer) = port.link {
                let other = self.legs[peer as usize].as_ref().expect("a peer is a live leg");
                assert_ne!(peer as usize, slot, "{:?} does not hear itself", port.leg());
                assert_eq!(other.link, Link::Bridge(slot as u32), "{:?} and its peer hear each other", port.leg());
            }
            if let Some(recording) = port.recording() {
                assert!(recordings.insert(recording), "{recording:?} runs on one leg");
            }
        }
        self.check_conferences();
        assert!(self.free.iter().all(|&slot| self.legs[slot as usize].is_none()), "free slots are empty");
    }

    fn slot(&self, leg: LegId) -> Option<u32> {
        self.slots.at(&leg).copied()
    }

    /// Changes a leg, if it is there, and looks anew at when it wants to be woken.
    fn change(&mut self, leg: LegId, change: impl FnOnce(&mut Port, u32, &Library)) {
        if let Some(slot) = self.slot(leg) {
            let port = live(&mut self.legs, slot);
            change(port, slot, &self.prompts);
            self.due[slot as usize] = port.deadline();
        }
    }

    fn open(&mut self, leg: LegId, port: impl FnOnce() -> Port) {
        if self.slots.contains(&leg) {
            return;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.legs.push(None);
            self.due.push(NEVER);
            u32::try_from(self.legs.len() - 1).expect("fewer than 2^32 legs")
        });
        let port = port();
        self.due[slot as usize] = port.deadline();
        self.legs[slot as usize] = Some(port);
        self.slots.insert(leg, slot);
    }

    fn stop_recording(&mut self, at: Now, citizen: LegId, recording: RecordingId, out: &mut Sink) {
        let Some(&slot) = self.slots.at(&citizen) else { return };
        let port = live(&mut self.legs, slot);
        if port.recording() == Some(recording) {
            port.stop_recording(at, out);
        }
    }

    fn close(&mut self, now: Now, leg: LegId, out: &mut Sink) {
        let Some(slot) = self.slots.remove(&leg) else { return };
        self.unlink(now.mono, slot);
        let port = self.legs[slot as usize].take().expect("a named slot holds its leg");
        self.due[slot as usize] = NEVER;
        self.free.push(slot);
        port.close(now, out);
    }
}

fn live(legs: &mut [Option<Port>], slot: u32) -> &mut Port {
    legs[slot as usize].as_mut().expect("a slot in use holds its leg")
}

#[cfg(test)]
mod tests;
