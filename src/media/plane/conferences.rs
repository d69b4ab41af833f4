//! Who hears whom: bridges, conferences, and the way from one to the other and back.

use super::{Plane, live};
use crate::base::{LegId, Mono, Now};
use crate::media::conference::Conference;
use crate::media::event::{Parties, Party};
use crate::media::playout::{FRAME, Figures};
use crate::media::port::Link;
use crate::media::sink::Sink;

impl Plane {
    /// Two legs hear each other. Two of one conference stay in it until the delay there is gone.
    pub(super) fn bridge(&mut self, now: Mono, a: LegId, b: LegId) {
        let (Some(a), Some(b)) = (self.slot(a), self.slot(b)) else {
            return;
        };
        let links = [a, b].map(|slot| live(&mut self.legs, slot).link);
        if a == b || links[0] == Link::Bridge(b) {
            return;
        }
        if let [Link::Conference(one), Link::Conference(other)] = links
            && one == other
        {
            return self.close_conference(now, one, [a, b]);
        }
        for (slot, peer) in [(a, b), (b, a)] {
            self.unlink(now, slot);
            live(&mut self.legs, slot).join(now, peer);
            self.due[slot as usize] = live(&mut self.legs, slot).deadline();
        }
    }

    /// The leg hears nobody any more.
    pub(super) fn unlink(&mut self, now: Mono, slot: u32) {
        let port = live(&mut self.legs, slot);
        match port.link {
            Link::Alone => {}
            Link::Bridge(peer) => {
                port.leave(now, slot as usize);
                live(&mut self.legs, peer).leave(now, peer as usize);
            }
            Link::Conference(room) => {
                port.leave(now, slot as usize);
                self.due[slot as usize] = port.deadline();
                let conference = self.conferences[room as usize].as_mut().expect("a party's conference is there");
                conference.leave(slot);
                if conference.seats().is_empty() {
                    self.forget(room);
                }
            }
        }
    }

    /// The conference has these parties, and no others.
    pub(super) fn confer(&mut self, now: Mono, name: LegId, parties: &Parties) {
        let wanted: Vec<(u32, Party)> =
            parties.iter().filter_map(|party| self.slot(party.leg).map(|slot| (slot, *party))).collect();
        let room = match self.names.get(&name) {
            Some(&room) => room,
            None if wanted.is_empty() => return,
            None => self.found(now, name),
        };
        let gone: Vec<u32> =
            self.seated(room).into_iter().filter(|slot| wanted.iter().all(|(named, _)| named != slot)).collect();
        // What the others heard of each until now is known as long as nobody has left.
        let heard: Vec<Option<(u32, u32)>> =
            wanted.iter().map(|(slot, _)| live(&mut self.legs, *slot).heard()).collect();
        for ((slot, party), heard) in wanted.into_iter().zip(heard) {
            if live(&mut self.legs, slot).link != Link::Conference(room) {
                self.unlink(now, slot);
                let port = live(&mut self.legs, slot);
                port.confer(room);
                self.due[slot as usize] = port.deadline();
            }
            let conference = self.conferences[room as usize].as_mut().expect("just founded");
            conference.seat(slot, party, || heard);
        }
        for slot in gone {
            self.unlink(now, slot);
        }
    }

    /// Does what is due in all conferences.
    pub(super) fn converse(&mut self, now: Now, out: &mut Sink) {
        for room in 0..self.conferences.len() as u32 {
            if self.conferences[room as usize].as_ref().is_some_and(|conference| conference.deadline() <= now.mono) {
                self.converse_in(now, room, out);
            }
        }
    }

    /// When a conference has something to do next.
    pub(super) fn conference_due(&self) -> Option<Mono> {
        self.conferences.iter().flatten().map(Conference::deadline).min()
    }

    /// What happened to the sound of a leg in its conference.
    pub fn playout(&self, leg: LegId) -> Option<Figures> {
        let slot = self.slot(leg)?;
        match self.legs[slot as usize].as_ref()?.link {
            Link::Alone | Link::Bridge(_) => None,
            Link::Conference(room) => self.conferences[room as usize].as_ref()?.figures(slot),
        }
    }

    fn converse_in(&mut self, now: Now, room: u32, out: &mut Sink) {
        let Some(conference) = self.conferences[room as usize].as_mut() else { return };
        let mut frame = [0; FRAME];
        while let Some(turn) = conference.turn(now.mono) {
            conference.listen(turn.at);
            for (place, slot) in (0..).zip(conference.seats().iter().map(|seat| seat.slot)) {
                let port = live(&mut self.legs, slot);
                self.ticking = Some(port.leg());
                let heard = conference.mix(place, &mut frame);
                port.speak(turn, &mut frame, heard, out);
                self.due[slot as usize] = port.deadline();
            }
        }
        if let Some(two) = conference.closed(now.mono) {
            self.relay_again(now.mono, room, two, out);
        }
    }

    /// These two alone stay, until their delay is gone.
    fn close_conference(&mut self, now: Mono, room: u32, two: [u32; 2]) {
        for slot in self.seated(room) {
            if two.contains(&slot) {
                live(&mut self.legs, slot).stop();
            } else {
                self.unlink(now, slot);
            }
        }
        if let Some(conference) = &mut self.conferences[room as usize] {
            conference.close(now, two);
        }
    }

    /// The two hear what is left of each other, and from then on each other's packets.
    fn relay_again(&mut self, now: Mono, room: u32, [a, b]: [u32; 2], out: &mut Sink) {
        for (speaker, listener) in [(a, b), (b, a)] {
            let mut rest = Vec::new();
            if let Some(conference) = &mut self.conferences[room as usize] {
                conference.rest(speaker, &mut rest);
            }
            let port = live(&mut self.legs, listener);
            port.say_rest(now, &rest, out);
            port.join_on(now, speaker, listener as usize);
            self.due[listener as usize] = port.deadline();
        }
        self.forget(room);
    }

    fn seated(&self, room: u32) -> Vec<u32> {
        let conference = self.conferences[room as usize].as_ref();
        conference.map(|conference| conference.seats().iter().map(|seat| seat.slot).collect()).unwrap_or_default()
    }

    fn found(&mut self, now: Mono, name: LegId) -> u32 {
        let free = self.conferences.iter().position(Option::is_none);
        let room = free.unwrap_or_else(|| {
            self.conferences.push(None);
            self.conferences.len() - 1
        });
        self.conferences[room] = Some(Conference::new(now));
        let room = u32::try_from(room).expect("fewer than 2^32 conferences");
        self.names.insert(name, room);
        room
    }

    fn forget(&mut self, room: u32) {
        self.conferences[room as usize] = None;
        self.names.retain(|_, named| *named != room);
    }

    /// Panics if an invariant is broken.
    pub(super) fn check_conferences(&self) {
        for (room, conference) in (0..).zip(&self.conferences) {
            let Some(conference) = conference else {
                assert!(self.names.values().all(|named| *named != room), "what is over has no name");
                continue;
            };
            assert_eq!(self.names.values().filter(|named| **named == room).count(), 1, "each has one name");
            assert!((1..=Parties::MAX).contains(&conference.seats().len()), "some, not too many");
            for seat in conference.seats() {
                let port = self.legs[seat.slot as usize].as_ref().expect("a party is a live leg");
                assert_eq!(port.link, Link::Conference(room), "{:?} knows where it is", port.leg());
                assert_eq!(port.leg(), seat.leg(), "each sits in its own place");
            }
        }
        for (slot, port) in (0..).zip(&self.legs) {
            if let Some(Link::Conference(room)) = port.as_ref().map(|port| port.link) {
                let conference = self.conferences[room as usize].as_ref().expect("its conference is there");
                assert_eq!(conference.seats().iter().filter(|seat| seat.slot == slot).count(), 1, "in one place");
            }
        }
    }
}
