//! Sound of one source as an even stream: a jitter buffer of 20 to 200 ms, only where sound is decoded.
//!
//! Samples stand in a ring by their time stamps. How late packets come is counted; the delay follows what all but the
//! latest 2 % need. It is changed by taking pieces out or putting them in where it is quiet, or where a voice repeats
//! itself; what does not come is concealed. While nothing newer has come either, the time line waits, so that what is
//! only late is still said, and the delay has grown. A source that was heard until now without delay begins without any
//! and gets its delay so. No sample that came in time is left out, but where a burst has filled the ring. Knows no other
//! source.

use super::conceal::Conceal;
use super::g711::{SAMPLES_PER_MS, SAMPLES_PER_SECOND, decode_into};
use super::stretch;
use crate::base::Mono;
use crate::sdp::Codec;

/// Samples asked for at once: 20 ms.
pub const FRAME: usize = 20 * SAMPLES_PER_MS as usize;
/// What the delay is at least and at most, beyond the length of a packet.
const DELAY_MS: std::ops::RangeInclusive<u32> = 20..=200;
/// Samples held: 512 ms. A power of two, so that time stamps wrap on it.
const RING: usize = 4_096;
const MASK: u32 = RING as u32 - 1;
/// No sample: no law decodes to it.
const MISSING: i16 = i16::MIN;
const NS_PER_SAMPLE: u64 = 1_000_000_000 / SAMPLES_PER_SECOND as u64;
/// Lateness is counted in steps of 10 ms, as far as the longest delay.
const STEP: i32 = 10 * SAMPLES_PER_MS as i32;
const STEPS: usize = (*DELAY_MS.end() as usize) / 10 + 1;
/// A packet's weight in the count halves after some 90 packets.
const FORGET_SHIFT: u32 = 7;
const WHOLE: u32 = 1 << 24;
/// Packets later than all but this share may be concealed.
const LATE_SHARE: u32 = WHOLE / 50;
/// The least transit is looked for over this long twice, so that a drifting clock is followed.
const BASE_SAMPLES: u32 = 5 * SAMPLES_PER_SECOND;
/// The delay is let be within these bounds around what it should be, in samples: 5 ms too short, 20 ms too long.
const SHORT_BY: i32 = 40;
const LONG_BY: i32 = 160;
/// A delay too long by this is shortened also where somebody speaks.
const FAR_TOO_LONG: i32 = 800;
/// So like must a voice be to itself to be stretched.
const LIKENESS_MIN: f32 = 0.85;
/// Frames between two stretches of a voice: it must not wobble.
const REST_FRAMES: u8 = 4;
/// Below this level, about −44 dBm0, it is quiet anywhere.
const QUIET: f32 = 100.0;
/// Quiet is also what is 26 dB below the loudest of the last seconds.
const QUIET_BELOW: f32 = 20.0;
/// What one frame takes off the loudest: half in 7 s.
const LOUDEST_FADE: f32 = 0.998;

/// What a source says, to be asked for frame by frame.
#[derive(Clone, Debug)]
pub struct Playout {
    ring: Box<[i16; RING]>,
    source: Option<Source>,
    /// A time stamp that joins on what was heard of the source before.
    expected: Option<(u32, u32)>,
    lateness: Lateness,
    conceal: Conceal,
    loudest: f32,
    rest: u8,
    draining: bool,
    figures: Figures,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    /// Time stamp of the next sample to be given out.
    next: u32,
    /// Its first time stamp: what stands before is the delay that it begins with.
    start: u32,
    /// The time stamp behind the newest sample held.
    end: u32,
    /// Samples made up while the time line waited: the delay has grown by them if what is awaited still comes.
    owed: u32,
    /// Of the last packet: where it began and how long it is.
    packet: (u32, u32),
}

/// What happened to the sound, in samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Given out as they came.
    pub heard: u64,
    /// Made up.
    pub made_up: u64,
    /// Came after their time.
    pub late: u64,
    /// Taken out to shorten the delay.
    pub taken_out: u64,
    /// Put in to lengthen it.
    pub put_in: u64,
}

/// How late packets come.
#[derive(Clone, Debug)]
struct Lateness {
    /// Of each step of 10 ms: its share of all packets, of [`WHOLE`].
    shares: [u32; STEPS],
    /// Least transits of this stretch of time and the one before, as arrival less time stamp.
    least: [Option<u32>; 2],
    since: u32,
}

impl Playout {
    /// Of nobody yet. `heard` names a source that was heard until now without any delay, and the time stamp that comes
    /// next.
    pub fn new(heard: Option<(u32, u32)>) -> Playout {
        Playout {
            ring: Box::new([MISSING; RING]),
            source: None,
            expected: heard,
            lateness: Lateness::new(),
            conceal: Conceal::default(),
            loudest: 0.0,
            rest: 0,
            draining: false,
            figures: Figures::default(),
        }
    }

    /// A packet came.
    pub fn put(&mut self, now: Mono, ssrc: u32, timestamp: u32, codec: Codec, payload: &[u8]) {
        let length = payload.len() as u32;
        if length == 0 || length as usize > RING / 2 {
            return;
        }
        let clock = (now.0 / NS_PER_SAMPLE) as u32;
        self.lateness.arrive(clock, timestamp);
        let mut source = match self.source {
            Some(source) if source.ssrc == ssrc => source,
            Some(_) | None => self.begin(ssrc, timestamp),
        };
        let mut ahead = timestamp.wrapping_sub(source.next) as i32;
        if ahead > 0 && source.owed > 0 && self.conceal.is_faded() && self.held() == 0 {
            // It begins anew after a silence, at once with all the delay it needs.
            ahead = self.lateness.needed();
            (source.next, source.start) = (timestamp.wrapping_sub(ahead as u32), timestamp);
            source.owed = 0;
        }
        if ahead + length as i32 > RING as i32 || ahead < -(RING as i32) {
            source = self.begin(ssrc, timestamp);
            ahead = 0;
        }
        let late = (-ahead).clamp(0, length as i32);
        self.figures.late += late as u64;
        self.write(timestamp.wrapping_add(late as u32), codec, &payload[late as usize..]);
        let end = timestamp.wrapping_add(length);
        if end.wrapping_sub(source.end) as i32 > 0 {
            source.end = end;
        }
        source.packet = (timestamp, length);
        self.source = Some(source);
    }

    /// The next frame. True if anything but silence of ours is in it.
    pub fn take(&mut self, now: Mono, out: &mut [i16; FRAME]) -> bool {
        let Some(mut source) = self.source else {
            out.fill(0);
            return false;
        };
        let delay = source.delay(now, &self.lateness);
        let wanted = if self.draining { 0 } else { source.wanted(&self.lateness) };
        if !self.stretched(&mut source, delay - wanted, out) {
            self.give(&mut source, out);
        }
        self.source = Some(source);
        let level = level(out);
        self.loudest = (self.loudest * LOUDEST_FADE).max(level);
        self.rest = self.rest.saturating_sub(1);
        level > 0.0
    }

    /// From now on the delay is taken away wherever it is quiet.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// The delay is held again as is needed.
    pub fn keep(&mut self) {
        self.draining = false;
    }

    /// Samples that came and were not given out yet.
    pub fn held(&self) -> usize {
        self.source.map_or(0, |source| (source.end.wrapping_sub(source.next) as i32).max(0) as usize)
    }

    /// All that is held, at once, behind what `out` holds: holes in it are concealed.
    pub fn rest(&mut self, out: &mut Vec<i16>) {
        let Some(mut source) = self.source else { return };
        let start = out.len();
        out.resize(start + self.held(), 0);
        self.give(&mut source, &mut out[start..]);
        self.source = Some(source);
    }

    /// What happened so far.
    pub fn figures(&self) -> Figures {
        self.figures
    }

    fn begin(&mut self, ssrc: u32, timestamp: u32) -> Source {
        self.ring.fill(MISSING);
        let joined = self.expected.take().filter(|(known, next)| {
            let ahead = timestamp.wrapping_sub(*next) as i32;
            *known == ssrc && (-(FRAME as i32)..FRAME as i32 * 10).contains(&ahead)
        });
        // Somebody who was not heard before begins with the delay that is needed: nothing is lost by it.
        let needed = self.lateness.needed() as u32;
        let (next, start) = joined.map_or((timestamp.wrapping_sub(needed), timestamp), |(_, next)| (next, next));
        Source { ssrc, next, start, end: timestamp, owed: 0, packet: (timestamp, FRAME as u32) }
    }

    fn write(&mut self, timestamp: u32, codec: Codec, payload: &[u8]) {
        let start = (timestamp & MASK) as usize;
        let first = payload.len().min(RING - start);
        decode_into(codec, &payload[..first], &mut self.ring[start..start + first]);
        decode_into(codec, &payload[first..], &mut self.ring[..payload.len() - first]);
    }

    /// A frame whose delay is changed, if that is called for and would not be heard.
    fn stretched(&mut self, source: &mut Source, too_long: i32, out: &mut [i16; FRAME]) -> bool {
        let shorten = too_long > if self.draining { SHORT_BY } else { LONG_BY };
        let lengthen = too_long < -SHORT_BY;
        if !(shorten || lengthen) || source.owed > 0 {
            return false;
        }
        let longest = *stretch::LAG.end();
        let mut sound = [0; FRAME + 120];
        let span = if shorten { FRAME + longest } else { FRAME };
        let Some(sound) = self.look(source, &mut sound[..span]) else { return false };
        let quiet = level(sound) < QUIET.max(self.loudest / QUIET_BELOW);
        let voice = self.rest == 0 && (lengthen || too_long > FAR_TOO_LONG || self.draining);
        if !quiet && !voice {
            return false;
        }
        let need = too_long.unsigned_abs() as usize;
        if shorten {
            let Some(fit) = stretch::fit(sound, need.max(*stretch::LAG.start())) else { return false };
            if !quiet && fit.likeness < LIKENESS_MIN {
                return false;
            }
            let taken = FRAME + fit.lag;
            stretch::shorten(&sound[..taken], fit.lag, out);
            self.pass_over(source, taken);
            self.figures.taken_out += fit.lag as u64;
        } else {
            let mut both = [0; 120 + FRAME];
            both[..longest].copy_from_slice(self.conceal.last(longest));
            both[longest..].copy_from_slice(sound);
            // How the sound to come is like what was said `lag` before it.
            let Some(fit) = stretch::fit_back(&both, longest) else { return false };
            if !quiet && fit.likeness < LIKENESS_MIN {
                return false;
            }
            let taken = FRAME - fit.lag;
            stretch::lengthen(self.conceal.last(longest), &sound[..taken], fit.lag, out);
            self.pass_over(source, taken);
            self.figures.put_in += fit.lag as u64;
        }
        self.figures.heard += FRAME as u64;
        self.conceal.heard(out);
        if !quiet {
            self.rest = REST_FRAMES;
        }
        true
    }

    /// Gives out what is next, concealing what is missing.
    fn give(&mut self, source: &mut Source, out: &mut [i16]) {
        let mut rest = out;
        while !rest.is_empty() {
            let known = source.end.wrapping_sub(source.next) as i32;
            if known <= 0 {
                // Nothing newer has come: the time line waits.
                source.owed = source.owed.saturating_add(rest.len() as u32).min(RING as u32);
                self.figures.made_up += rest.len() as u64;
                return self.conceal.make_up(rest);
            }
            let missing = self.at(source.next) == MISSING;
            let run = (1..known).find(|&ahead| (self.at(source.next.wrapping_add(ahead as u32)) == MISSING) != missing);
            let run = run.unwrap_or(known) as usize;
            if missing && source.owed > 0 {
                // What is awaited is lost: what was made up stands in its place.
                let settled = run.min(source.owed as usize);
                self.pass_over(source, settled);
                source.owed -= settled as u32;
                continue;
            }
            let (now, later) = rest.split_at_mut(run.min(rest.len()));
            rest = later;
            if !missing {
                for (ahead, sample) in now.iter_mut().enumerate() {
                    *sample = self.at(source.next.wrapping_add(ahead as u32));
                }
                source.owed = 0;
                self.figures.heard += now.len() as u64;
                self.conceal.heard(now);
            } else if source.start.wrapping_sub(source.next) as i32 > 0 {
                self.conceal.silence(now);
            } else {
                self.figures.made_up += now.len() as u64;
                self.conceal.make_up(now);
            }
            self.pass_over(source, now.len());
        }
    }

    fn at(&self, timestamp: u32) -> i16 {
        self.ring[(timestamp & MASK) as usize]
    }

    /// What comes next, if all of it is there.
    fn look<'a>(&self, source: &Source, out: &'a mut [i16]) -> Option<&'a [i16]> {
        for (ahead, sample) in out.iter_mut().enumerate() {
            *sample = self.at(source.next.wrapping_add(ahead as u32));
            if *sample == MISSING {
                return None;
            }
        }
        Some(out)
    }

    fn pass_over(&mut self, source: &mut Source, samples: usize) {
        for ahead in 0..samples as u32 {
            self.ring[(source.next.wrapping_add(ahead) & MASK) as usize] = MISSING;
        }
        source.next = source.next.wrapping_add(samples as u32);
    }
}

impl Source {
    /// How long after the quickest way the next sample is given out.
    fn delay(&self, now: Mono, lateness: &Lateness) -> i32 {
        let clock = (now.0 / NS_PER_SAMPLE) as u32;
        clock.wrapping_sub(self.next).wrapping_sub(lateness.base()) as i32
    }

    /// How long that should be: what packets need, and the rest of the packet in which a frame ends.
    fn wanted(&self, lateness: &Lateness) -> i32 {
        let (began, length) = self.packet;
        let into = (began.wrapping_sub(self.next) as i32).rem_euclid(length.max(1) as i32);
        let rest = if into < FRAME as i32 { into } else { 0 };
        lateness.needed() + rest
    }
}

impl Lateness {
    fn new() -> Lateness {
        let mut shares = [0; STEPS];
        // Until more is known: as if packets came up to 10 ms late.
        shares[0] = WHOLE;
        Lateness { shares, least: [None; 2], since: 0 }
    }

    fn arrive(&mut self, clock: u32, timestamp: u32) {
        let transit = clock.wrapping_sub(timestamp);
        let [now, before] = &mut self.least;
        let before_jump = now.is_some_and(|least| (transit.wrapping_sub(least) as i32).abs() > RING as i32);
        if now.is_none() || before_jump {
            (*now, *before, self.since) = (Some(transit), None, clock);
        } else if clock.wrapping_sub(self.since) > BASE_SAMPLES {
            (*before, *now, self.since) = (*now, Some(transit), clock);
        } else if now.is_some_and(|least| (transit.wrapping_sub(least) as i32) < 0) {
            *now = Some(transit);
        }
        let late = (transit.wrapping_sub(self.base()) as i32).max(0);
        let step = ((late + STEP - 1) / STEP).min(STEPS as i32 - 1) as usize;
        for share in &mut self.shares {
            *share -= *share >> FORGET_SHIFT;
        }
        self.shares[step] += WHOLE >> FORGET_SHIFT;
    }

    /// The least transit.
    fn base(&self) -> u32 {
        match self.least {
            [Some(now), Some(before)] if (before.wrapping_sub(now) as i32) < 0 => before,
            [Some(now), _] => now,
            [None, _] => 0,
        }
    }

    /// The delay that all but the latest need, in samples.
    fn needed(&self) -> i32 {
        let mut later = 0;
        let step = (0..STEPS).rev().find(|&step| {
            later += self.shares[step];
            later > LATE_SHARE
        });
        let least = (*DELAY_MS.start() * SAMPLES_PER_MS) as i32;
        (step.unwrap_or(0) as i32 * STEP).clamp(least, (*DELAY_MS.end() * SAMPLES_PER_MS) as i32)
    }
}

fn level(sound: &[i16]) -> f32 {
    let power: f32 = sound.iter().map(|&sample| f32::from(sample) * f32::from(sample)).sum();
    (power / sound.len() as f32).sqrt()
}

#[cfg(test)]
mod tests;
