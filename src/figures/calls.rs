//! What became of citizens' calls, and the rates that a 12345 hotline answers for.
//!
//! A call belongs to the moment it came. It has one fate: it lives, a human answered it, or it ended in one of the ways in
//! which a call ends unanswered.

use super::{Lengths, Rate};
use crate::base::Wall;
use crate::base::fact::{EndedBy, Stage};
use std::time::Duration;

/// Who gives up earlier than this was not turned away by the wait: told apart.
pub const SHORT_MAX: Duration = Duration::from_secs(5);

/// What is known of one inbound call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// INVITE seen.
    pub offered: Wall,
    /// Asked for a human.
    pub queued: Option<Wall>,
    /// The phone of the agent who answered rang.
    pub ringing: Option<Wall>,
    /// A human answered.
    pub answered: Option<Wall>,
    /// Its last leg is gone: when, where it stood, and who ended it.
    pub ended: Option<(Wall, Stage, EndedBy)>,
}

/// Calls of one kind, counted. At all times `offered` is the sum of `live`, `answered` and all fields up to `dropped`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All that came.
    pub offered: u64,
    /// Neither answered by a human nor over.
    pub live: u64,
    /// Answered by a human.
    pub answered: u64,
    /// Gave up while they waited for a human.
    pub abandoned: u64,
    /// Gave up in the flow, or before it.
    pub abandoned_ivr: u64,
    /// Ended by the flow: served by itself.
    pub self_served: u64,
    /// Let go by the queue: nobody there, full, or waited too long.
    pub released: u64,
    /// Refused at the door.
    pub blocked: u64,
    /// Ended by somebody of the house before a human answered.
    pub ended_by_us: u64,
    /// Lost before a human answered, by the network or by a fault.
    pub dropped: u64,
    /// Asked for a human.
    pub asked: u64,
    /// Answered within the limit, from asking on.
    pub answered_in_limit: u64,
    /// Gave up within the limit, of those in `abandoned`.
    pub abandoned_in_limit: u64,
    /// Gave up within [`SHORT_MAX`], of those in `abandoned`.
    pub abandoned_short: u64,
    /// Cut off while they talked, by the network or by a fault.
    pub cut_off: u64,
    /// From asking for a human to the answer.
    pub wait: Lengths,
    /// From asking to giving up.
    pub gave_up_after: Lengths,
    /// Of the phone of the agent who answered.
    pub ring: Lengths,
    /// From the answer to the end.
    pub talk: Lengths,
}

impl Tally {
    /// One more call; `limit` is the time in which a human should answer.
    pub fn add(&mut self, call: &Call, limit: Duration) {
        self.offered += 1;
        self.asked += u64::from(call.queued.is_some());
        match (call.answered, call.ended) {
            (Some(answered), ended) => {
                self.answered += 1;
                if let Some(queued) = call.queued {
                    let wait = between(queued, answered);
                    self.wait.add(wait);
                    self.answered_in_limit += u64::from(wait <= limit);
                }
                if let Some(ringing) = call.ringing {
                    self.ring.add(between(ringing, answered));
                }
                if let Some((at, _, by)) = ended {
                    self.talk.add(between(answered, at));
                    self.cut_off += u64::from(matches!(by, EndedBy::Network | EndedBy::Fault));
                }
            }
            (None, None) => self.live += 1,
            (None, Some((at, stage, by))) => self.unanswered(call, at, (stage, by), limit),
        }
    }

    fn unanswered(&mut self, call: &Call, at: Wall, (stage, by): (Stage, EndedBy), limit: Duration) {
        let waits = matches!(stage, Stage::Queued | Stage::Ringing | Stage::Talking);
        match by {
            EndedBy::Caller if waits => {
                self.abandoned += 1;
                let after = between(call.queued.unwrap_or(call.offered), at);
                self.gave_up_after.add(after);
                self.abandoned_in_limit += u64::from(after <= limit);
                self.abandoned_short += u64::from(after < SHORT_MAX);
            }
            EndedBy::Caller => self.abandoned_ivr += 1,
            EndedBy::Flow if waits => self.released += 1,
            EndedBy::Flow => self.self_served += 1,
            EndedBy::Refused => self.blocked += 1,
            EndedBy::Operator | EndedBy::Agent | EndedBy::Target => self.ended_by_us += 1,
            EndedBy::Network | EndedBy::Fault => self.dropped += 1,
        }
    }

    /// 接通率: answered of those who asked for a human (GB/T 33358: ≥ 95 % in any continuous 24 hours).
    pub fn answer_rate(&self) -> Rate {
        Rate::new(self.answered, self.asked)
    }

    /// The same of all who called.
    pub fn answer_rate_of_all(&self) -> Rate {
        Rate::new(self.answered, self.offered)
    }

    /// Answered within the limit, of those answered.
    pub fn in_limit_of_answered(&self) -> Rate {
        Rate::new(self.answered_in_limit, self.answered)
    }

    /// Answered within the limit, of those who asked for a human.
    pub fn in_limit_of_asked(&self) -> Rate {
        Rate::new(self.answered_in_limit, self.asked)
    }

    /// 服务水平 by the four formulas in use: (ans≤Y + aband≤Y) / (ans + aband); ans≤Y / ans; ans≤Y / (ans + aband);
    /// ans≤Y / (ans + aband>Y).
    pub fn service_levels(&self) -> [Rate; 4] {
        let (ans, aband) = (self.answered, self.abandoned);
        let (ans_in, aband_in) = (self.answered_in_limit, self.abandoned_in_limit);
        [
            Rate::new(ans_in + aband_in, ans + aband),
            Rate::new(ans_in, ans),
            Rate::new(ans_in, ans + aband),
            Rate::new(ans_in, ans + aband - aband_in),
        ]
    }

    /// 呼损率: gave up waiting, were refused or were lost, of all who called; short ones and those in the flow apart.
    pub fn loss_rate(&self) -> Rate {
        Rate::new(self.abandoned - self.abandoned_short + self.blocked + self.dropped, self.offered)
    }
}

/// Facts of one call never run backwards; those of a clock that was set do not count.
fn between(from: Wall, to: Wall) -> Duration {
    Duration::from_millis(u64::try_from(to.0 - from.0).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(15);

    /// Came at 0, asked at `queued`, was answered after `wait`, ended.
    fn call(queued: Option<i64>, answered: Option<i64>, ended: Option<(i64, Stage, EndedBy)>) -> Call {
        let ringing = answered.map(|at| Wall(at - 2_000));
        let ended = ended.map(|(at, stage, by)| (Wall(at), stage, by));
        Call { offered: Wall(0), queued: queued.map(Wall), ringing, answered: answered.map(Wall), ended }
    }

    fn tally(calls: &[Call]) -> Tally {
        let mut tally = Tally::default();
        calls.iter().for_each(|call| tally.add(call, LIMIT));
        tally
    }

    #[test]
    fn the_formulas_by_hand() {
        use EndedBy::{Caller, Flow, Network, Refused};
        let day = tally(&[
            call(Some(1_000), Some(11_000), Some((61_000, Stage::Talking, Caller))),
            call(Some(1_000), Some(16_000), None),
            call(Some(1_000), Some(41_000), Some((101_000, Stage::Talking, Network))),
            call(Some(1_000), None, Some((4_000, Stage::Queued, Caller))),
            call(Some(1_000), None, Some((16_001, Stage::Ringing, Caller))),
            call(Some(1_000), None, Some((91_000, Stage::Queued, Flow))),
            call(None, None, Some((9_000, Stage::Ivr, Caller))),
            call(None, None, Some((9_000, Stage::Ivr, Flow))),
            call(None, None, Some((0, Stage::Offered, Refused))),
            call(None, None, None),
        ]);
        assert_eq!(day.answer_rate(), Rate::new(3, 6));
        assert_eq!(day.answer_rate_of_all(), Rate::new(3, 10));
        assert_eq!((day.in_limit_of_answered(), day.in_limit_of_asked()), (Rate::new(2, 3), Rate::new(2, 6)));
        let levels = [Rate::new(3, 5), Rate::new(2, 3), Rate::new(2, 5), Rate::new(2, 4)];
        assert_eq!(day.service_levels(), levels, "one of two gave up within the limit, the other a millisecond later");
        assert_eq!(day.loss_rate(), Rate::new(2, 10), "one who waited, one refused; the short one is apart");
        assert_eq!((day.cut_off, day.released, day.self_served, day.abandoned_ivr), (1, 1, 1, 1));
        let mean = day.wait.mean().map(|mean| mean.as_millis());
        assert_eq!((mean, day.wait.longest), (Some(65_000 / 3), Duration::from_secs(40)));
        assert_eq!((day.ring.count, day.ring.total), (3, Duration::from_secs(6)));
        assert_eq!((day.talk.count, day.talk.total), (2, Duration::from_secs(110)));
        assert_eq!(Tally::default().answer_rate().value(), None, "nothing is not nought");
    }

    #[test]
    fn every_call_has_one_fate() {
        let stages = [Stage::Offered, Stage::Ivr, Stage::Queued, Stage::Ringing, Stage::Talking];
        let enders = [
            EndedBy::Caller,
            EndedBy::Agent,
            EndedBy::Target,
            EndedBy::Flow,
            EndedBy::Refused,
            EndedBy::Operator,
            EndedBy::Network,
            EndedBy::Fault,
        ];
        let ends = stages.into_iter().flat_map(|stage| enders.map(|by| Some((9_000, stage, by)))).chain([None]);
        for end in ends {
            for (queued, answered) in
                [(None, None), (Some(1_000), None), (Some(1_000), Some(5_000)), (None, Some(5_000))]
            {
                let one = tally(&[call(queued, answered, end)]);
                let fates = [
                    one.live,
                    one.answered,
                    one.abandoned,
                    one.abandoned_ivr,
                    one.self_served,
                    one.released,
                    one.blocked,
                    one.ended_by_us,
                    one.dropped,
                ];
                assert_eq!(
                    (one.offered, fates.iter().sum::<u64>()),
                    (1, 1),
                    "{end:?} {queued:?} {answered:?}: {one:?}"
                );
                let rates = [one.answer_rate_of_all(), one.loss_rate(), one.in_limit_of_answered()];
                assert!(rates.iter().chain(&one.service_levels()).all(|rate| rate.part <= rate.whole), "{one:?}");
            }
        }
    }
}
