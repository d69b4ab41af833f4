//! A conference: several legs hear each other, each all others that it may (N-1), mixed in frames of 20 ms.
//!
//! What comes from a leg is played out evenly ([`Playout`]) and added up for each listener, with a limiter in place of
//! clipping. Two legs that are to hear each other alone again stay here until the delay of their playouts is gone.
//! Sends nothing and knows no leg's line: the plane takes the frames from here and gives them to the legs.

use super::event::{HeardBy, Party};
use super::pace::{Pace, TICK, Turn};
use super::playout::{FRAME, Figures, Playout};
use crate::base::{LegId, Mono};
use crate::sdp::Codec;
use std::time::Duration;

/// Length of a frame.
pub const FRAME_LENGTH: Duration = Duration::from_millis(20);
/// Two legs stay no longer to get rid of their delay; what is left then follows at once.
const CLOSING_MAX: Duration = Duration::from_secs(2);
/// What may follow at once when two legs leave: two packets each.
const LEFT_MAX: usize = 2 * FRAME;
/// Up to here sound is as it was: 2.5 dB below the loudest.
const KNEE: i32 = 24_576;
const LOUDEST: i32 = i16::MAX as i32;
/// 0 dB as a factor.
const UNITY: i32 = 1 << 12;

/// A conference. Its legs are known by their slots in the plane.
#[derive(Clone, Debug)]
pub struct Conference {
    pace: Pace,
    seats: Vec<Seat>,
    /// Two legs are going back to hear each other alone: at the latest then.
    closing: Option<Mono>,
}

/// A party's place.
#[derive(Clone, Debug)]
pub struct Seat {
    /// The leg's slot.
    pub slot: u32,
    party: Party,
    gain: i32,
    playout: Playout,
    /// What it says in the present frame, and whether that is anything.
    says: [i16; FRAME],
    speaks: bool,
}

impl Conference {
    /// An empty one. Its first frame is due when all who were heard until now have spoken once more.
    pub fn new(now: Mono) -> Conference {
        let tick = TICK.as_nanos() as u64;
        let stagger = ((now + FRAME_LENGTH).0 / tick) as usize;
        Conference { pace: Pace::start(now, FRAME_LENGTH, stagger), seats: Vec::new(), closing: None }
    }

    /// The next instant at which a frame is due.
    pub fn deadline(&self) -> Mono {
        self.pace.next()
    }

    /// The next frame due by `now`.
    pub fn turn(&mut self, now: Mono) -> Option<Turn> {
        self.pace.take(now)
    }

    /// A leg takes a place, or its place is changed. `heard` as in [`Playout::new`].
    pub fn seat(&mut self, slot: u32, party: Party, heard: impl FnOnce() -> Option<(u32, u32)>) {
        let gain = (10f64.powf(f64::from(party.gain_db) / 20.0) * f64::from(UNITY)).round() as i32;
        match self.seats.iter_mut().find(|seat| seat.slot == slot) {
            Some(seat) => (seat.party, seat.gain) = (party, gain),
            None => {
                let playout = Playout::new(heard());
                self.seats.push(Seat { slot, party, gain, playout, says: [0; FRAME], speaks: false });
            }
        }
        self.closing = None;
        self.seats.iter_mut().for_each(|seat| seat.playout.keep());
    }

    /// A leg gives its place up.
    pub fn leave(&mut self, slot: u32) {
        self.seats.retain(|seat| seat.slot != slot);
        if self.seats.len() < 2 {
            self.closing = None;
        }
    }

    /// Who is there, in the order of their coming.
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// These two alone stay, hear each other as they are, and go as soon as their delay is gone.
    pub fn close(&mut self, now: Mono, two: [u32; 2]) {
        self.seats.retain(|seat| two.contains(&seat.slot));
        for seat in &mut self.seats {
            seat.party = Party::new(seat.party.leg);
            seat.gain = UNITY;
            seat.playout.drain();
        }
        self.closing.get_or_insert(now + CLOSING_MAX);
    }

    /// The two who go now: their delay is gone, or cannot be waited for.
    pub fn closed(&self, now: Mono) -> Option<[u32; 2]> {
        let until = self.closing?;
        let [one, other] = &self.seats[..] else { return None };
        let left = [one, other].map(|seat| seat.playout.held());
        (now >= until || left.iter().all(|&left| left <= LEFT_MAX)).then_some([one.slot, other.slot])
    }

    /// Whether two are on their way out.
    pub fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// A packet of the leg in `slot`.
    pub fn hear(&mut self, now: Mono, slot: u32, ssrc: u32, timestamp: u32, codec: Codec, payload: &[u8]) {
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.slot == slot) {
            seat.playout.put(now, ssrc, timestamp, codec, payload);
        }
    }

    /// Takes the frame of `now` from all.
    pub fn listen(&mut self, now: Mono) {
        for seat in &mut self.seats {
            seat.speaks = seat.playout.take(now, &mut seat.says) && !seat.party.muted;
        }
    }

    /// What the party in this place hears. True if anything.
    pub fn mix(&self, place: usize, out: &mut [i16; FRAME]) -> bool {
        let listener = self.seats[place].party.leg;
        let mut sum = [0i32; FRAME];
        let mut heard = 0;
        let mut gain = UNITY;
        let mut only = &[0; FRAME];
        for (_, seat) in self.seats.iter().enumerate().filter(|(other, seat)| *other != place && seat.speaks) {
            let allowed = match seat.party.heard_by {
                HeardBy::All => true,
                HeardBy::Only(one) => one == listener,
                HeardBy::Nobody => false,
            };
            if allowed {
                heard += 1;
                (gain, only) = (seat.gain, &seat.says);
                add(&mut sum, &seat.says, seat.gain);
            }
        }
        if heard == 1 && gain == UNITY {
            // Nobody else speaks: not a sample is touched.
            *out = *only;
        } else {
            for (out, sum) in out.iter_mut().zip(&sum) {
                *out = limit(*sum);
            }
        }
        heard > 0
    }

    /// All that is still to be said by the leg in `slot`, behind what `out` holds.
    pub fn rest(&mut self, slot: u32, out: &mut Vec<i16>) {
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.slot == slot) {
            seat.playout.rest(out);
        }
    }

    /// What happened to a party's sound.
    pub fn figures(&self, slot: u32) -> Option<Figures> {
        self.seats.iter().find(|seat| seat.slot == slot).map(|seat| seat.playout.figures())
    }
}

impl Seat {
    /// Whose it is.
    pub fn leg(&self) -> LegId {
        self.party.leg
    }
}

fn add(sum: &mut [i32; FRAME], says: &[i16; FRAME], gain: i32) {
    if gain == UNITY {
        for (sum, &sample) in sum.iter_mut().zip(says) {
            *sum += i32::from(sample);
        }
    } else {
        for (sum, &sample) in sum.iter_mut().zip(says) {
            *sum += (i32::from(sample) * gain) >> 12;
        }
    }
}

/// Two sounds at once, without clipping.
pub fn both(one: i16, other: i16) -> i16 {
    limit(i32::from(one) + i32::from(other))
}

/// As it is up to the knee; beyond it nearer and nearer to the loudest, never beyond, without an edge.
fn limit(sum: i32) -> i16 {
    let size = sum.abs();
    if size <= KNEE {
        return sum as i16;
    }
    let (over, room) = (i64::from(size - KNEE), i64::from(LOUDEST - KNEE));
    let limited = KNEE + (room * over / (over + room)) as i32;
    (limited * sum.signum()) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ShardId;
    use crate::media::g711::encode;

    const CODEC: Codec = Codec::Pcma;

    fn leg(number: u64) -> LegId {
        LegId::incoming(ShardId(0), number)
    }

    /// Parties of steady levels, one for each given, after 200 ms.
    fn conference(parties: &[(Party, i16)]) -> Conference {
        let mut conference = Conference::new(Mono(0));
        for (slot, (party, _)) in (0..).zip(parties) {
            conference.seat(slot, *party, || None);
        }
        for count in 0..20u64 {
            let now = Mono::from_ms(20 * count);
            for (slot, (_, level)) in (0..).zip(parties) {
                let payload = encode(CODEC, &[*level; FRAME]);
                conference.hear(now, slot, 7, 160 * count as u32, CODEC, &payload);
            }
            conference.listen(now + Duration::from_millis(10));
        }
        conference
    }

    fn heard(conference: &Conference, place: usize) -> i16 {
        let mut out = [0; FRAME];
        conference.mix(place, &mut out);
        assert!(out.iter().all(|&sample| sample == out[0]));
        out[0]
    }

    #[test]
    fn each_hears_all_others_and_not_itself() {
        for count in [3u64, 5, 16] {
            let parties: Vec<(Party, i16)> =
                (0..count).map(|number| (Party::new(leg(number)), 8 << (number % 8) | 8)).collect();
            let conference = conference(&parties);
            let levels: Vec<i16> = parties
                .iter()
                .map(|(_, level)| crate::media::g711::decode(CODEC, &encode(CODEC, &[*level]))[0])
                .collect();
            for place in 0..count as usize {
                let sum: i16 = levels.iter().sum::<i16>() - levels[place];
                assert_eq!(heard(&conference, place), sum, "{place} of {count}");
            }
        }
    }

    #[test]
    fn whispers_listeners_gain_and_mute() {
        let [citizen, agent, lead, expert] = [1, 2, 3, 4].map(leg);
        let party = |leg, heard_by| Party { heard_by, ..Party::new(leg) };
        let conference = conference(&[
            (party(citizen, HeardBy::All), 1_008),
            (Party { gain_db: 6, ..party(agent, HeardBy::All) }, 2_016),
            (party(lead, HeardBy::Only(agent)), 4_032),
            (Party { muted: true, ..party(expert, HeardBy::All) }, 504),
        ]);
        let louder = heard(&conference, 0);
        assert!((4_000..=4_050).contains(&louder), "the citizen hears the agent alone, 6 dB louder: {louder}");
        assert_eq!(heard(&conference, 1), 1_008 + 4_032, "the agent hears the whisper");
        assert_eq!(heard(&conference, 2), 1_008 + louder, "the team lead hears both");
        assert_eq!(heard(&conference, 3), 1_008 + louder);
    }

    #[test]
    fn the_limiter_is_transparent_smooth_and_never_clips() {
        assert!((-KNEE..=KNEE).all(|sum| i32::from(limit(sum)) == sum));
        let mut last = limit(-16 * 32_768);
        for sum in -16 * 32_768 + 1..=16 * 32_768 {
            let now = limit(sum);
            assert!(now >= last && now - last <= 1, "{sum}");
            assert_eq!(i32::from(now), -i32::from(limit(-sum)));
            last = now;
        }
        assert!(last < i16::MAX && last > 32_000);
    }
}
