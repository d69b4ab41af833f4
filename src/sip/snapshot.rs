//! What of a user agent outlives its process: dialogs and bindings, as plain versioned data.
//!
//! Transactions are dropped: the other side repeats, or gives up and asks again. A 2xx of ours that waits for its ACK is
//! kept and repeated.

use super::dialog::Dialog;
use super::event::{Ending, Flow, Settings};
use super::leg::{Answer, Leg, LegTimer, Reoffer, State};
use super::refer::Refer;
use super::register::ContactSnapshot;
use super::session_timer::SessionTimer;
use super::timers::{Alarm, T1, T1_64};
use super::ua::{Pass, Ua};
use crate::base::{LegId, Mint, Mono, Now, ShardId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The version we write. Older ones stay readable.
pub const VERSION: u16 = 2;

/// More legs than can have come in between the last snapshot and a crash: media may still hold them, so their numbers are
/// not given again.
const LOST_LEGS_MAX: u64 = 1 << 24;

/// More requests than we can have sent in one dialog since: one with an old CSeq would be refused (RFC 3261 §12.2.2), one
/// that leaves some out is not (§12.2.1.1).
const LOST_REQUESTS_MAX: u32 = 1 << 10;

/// A user agent as it outlives its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`VERSION`] of whoever wrote it.
    pub version: u16,
    /// Legs that came in so far, so that no number is used twice.
    pub incoming: u64,
    /// Legs with a dialog, by number.
    pub legs: Vec<LegSnapshot>,
    /// Registered contacts.
    pub contacts: Vec<ContactSnapshot>,
}

/// One leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegSnapshot {
    /// Its number.
    pub leg: LegId,
    /// Its dialog.
    pub dialog: Dialog,
    /// Where it stands.
    pub stands: Stands,
    /// Whether the other side takes UPDATE (from version 2).
    #[serde(default)]
    pub updates: bool,
    /// The session timer and when it ends or is refreshed (from version 2).
    #[serde(default)]
    pub session: Option<Wound>,
    /// REFERs whose sender waits for NOTIFYs (from version 2).
    #[serde(default)]
    pub refers: Vec<u32>,
}

/// A session timer that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wound {
    /// What was agreed on.
    pub timer: SessionTimer,
    /// When the session ends, unless refreshed.
    pub expiry: Mono,
    /// When we refresh, if we do.
    pub refresh: Option<Mono>,
}

/// Where a leg with a dialog stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stands {
    /// Both sides agreed.
    Established,
    /// Our 2xx waits for its ACK.
    Answered {
        /// The 2xx as it was sent.
        bytes: Vec<u8>,
        /// Where to.
        flow: Flow,
        /// CSeq of its INVITE.
        cseq: u32,
        /// Whether the INVITE had the offer.
        has_offer: bool,
        /// Q.850 cause when BYE follows the ACK.
        hang_up: Option<u8>,
    },
    /// BYE was sent; it is sent again.
    Ending(Ending),
}

/// Why a snapshot cannot be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("snapshot of version {0}, which is newer than this program")]
pub struct Unreadable(pub u16);

impl Ua {
    /// What must survive. A re-INVITE under way is forgotten; its session stays as it was.
    pub fn snapshot(&self) -> Snapshot {
        let mut legs: Vec<LegSnapshot> = self.legs.values().filter_map(leg_snapshot).collect();
        legs.sort_by_key(|saved| saved.leg);
        Snapshot { version: VERSION, incoming: self.incoming, legs, contacts: self.registrar.snapshot() }
    }

    /// A user agent that goes on where the snapshot was taken. `mint` must not be one used before.
    ///
    /// # Errors
    /// [`Unreadable`] when the snapshot is newer than this program.
    pub fn restore(
        snapshot: Snapshot,
        (node, shard): (u16, ShardId),
        mint: Mint,
        seed: [u64; 2],
        settings: Arc<Settings>,
        now: Now,
        out: &mut Vec<super::event::Command>,
    ) -> Result<Ua, Unreadable> {
        if snapshot.version > VERSION {
            return Err(Unreadable(snapshot.version));
        }
        let mut ua = Ua::new(node, shard, mint, seed, settings);
        let pass = &mut Pass { now, out };
        ua.incoming = snapshot.incoming + LOST_LEGS_MAX;
        for saved in snapshot.contacts {
            let record = ua.registrar.restore(now, saved);
            ua.watch(record);
        }
        for saved in snapshot.legs {
            ua.restore_leg(pass, saved);
        }
        Ok(ua)
    }

    fn restore_leg(&mut self, pass: &mut Pass, saved: LegSnapshot) {
        let LegSnapshot { leg, mut dialog, stands, updates, session, refers } = saved;
        dialog.local_cseq += LOST_REQUESTS_MAX;
        let tag = dialog.local.tag.clone();
        let key = match stands {
            Stands::Established => self.add(Leg::new(leg, tag, State::Established { dialog, reoffer: Reoffer::Idle })),
            Stands::Answered { bytes, flow, cseq, has_offer, hang_up } => {
                let mut it = Leg::new(leg, tag, State::Answered { dialog, has_offer, hang_up });
                it.answer = Some(Answer { bytes: Bytes::from(bytes), flow, cseq, repeats: 0 });
                let key = self.add(it);
                self.set(key, LegTimer::Repeat, pass.now.mono + T1);
                self.set(key, LegTimer::Life, pass.now.mono + T1_64);
                key
            }
            Stands::Ending(why) => {
                let key = self.add(Leg::new(leg, tag, State::Established { dialog, reoffer: Reoffer::Idle }));
                return self.bye(pass, key, why, None);
            }
        };
        let it = &mut self.legs[key];
        it.updates = updates;
        it.refers = refers.into_iter().map(Refer::subscribed).collect();
        let Some(Wound { timer, expiry, refresh }) = session else { return };
        it.session = Some(timer);
        self.set(key, LegTimer::Expiry, expiry);
        if let Some(refresh) = refresh {
            self.set(key, LegTimer::Refresh, refresh);
        }
    }
}

fn leg_snapshot(leg: &Leg) -> Option<LegSnapshot> {
    let (dialog, stands) = match &leg.state {
        State::Offered(_) | State::Calling(_) => return None,
        State::Established { dialog, .. } => (dialog, Stands::Established),
        State::Ending { dialog, why } => (dialog, Stands::Ending(*why)),
        State::Answered { dialog, has_offer, hang_up } => {
            let Answer { bytes, flow, cseq, .. } = leg.answer.as_ref()?;
            let (bytes, has_offer, hang_up) = (bytes.to_vec(), *has_offer, *hang_up);
            (dialog, Stands::Answered { bytes, flow: *flow, cseq: *cseq, has_offer, hang_up })
        }
    };
    let at = |alarm: &Option<Alarm>| alarm.map(Alarm::at);
    let wound = |timer| Some(Wound { timer, expiry: at(&leg.expiry)?, refresh: at(&leg.refresh) });
    Some(LegSnapshot {
        leg: leg.id,
        dialog: dialog.clone(),
        stands,
        updates: leg.updates,
        session: leg.session.and_then(wound),
        refers: leg.refers.iter().filter(|refer| refer.is_subscribed()).map(|refer| refer.id).collect(),
    })
}
