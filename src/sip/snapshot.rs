//! What of a user agent outlives its process: dialogs and bindings, as plain versioned data.
//!
//! Transactions are dropped: the other side repeats, or gives up and asks again. Two are kept: a 2xx of ours that waits for
//! its ACK is repeated, and phones that we ring go on ringing.

use super::client::Purpose;
use super::dialog::Dialog;
use super::event::{Ending, Flow, Settings};
use super::leg::{Answer, Calling, Leg, LegTimer, Reoffer, State};
use super::message::Message;
use super::refer::Refer;
use super::register::ContactSnapshot;
use super::session_timer::SessionTimer;
use super::timers::{T1, T1_64};
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
    /// Legs whose phones ring, by number; none before version 2.
    #[serde(default)]
    pub ringing: Vec<Ringing>,
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
    /// The session timer (from version 2). It begins anew after a restart: a refresh that nobody kept must not end a call.
    #[serde(default)]
    pub session: Option<SessionTimer>,
    /// REFERs whose sender waits for NOTIFYs (from version 2).
    #[serde(default)]
    pub refers: Vec<u32>,
}

/// A leg whose INVITEs have no final answer yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ringing {
    /// Its number.
    pub leg: LegId,
    /// Our tag.
    pub tag: Box<str>,
    /// When we give up.
    pub until: Mono,
    /// One for each phone that may still answer.
    pub branches: Vec<Branch>,
    /// Whether it goes over a trunk, and whether that gave a sign of life.
    pub trunk: Option<bool>,
}

/// One INVITE that is out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// Where it was sent.
    pub flow: Flow,
    /// As it was sent.
    pub invite: Vec<u8>,
    /// Whether a provisional response came.
    pub heard: bool,
}

/// One leg of either kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SavedLeg {
    /// With a dialog.
    Dialog(Box<LegSnapshot>),
    /// Without one yet.
    Ringing(Ringing),
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
        let saved = self.legs.values().filter_map(|leg| self.saved(leg));
        Snapshot { contacts: self.registrar.snapshot(), ..Snapshot::of(self.incoming, saved) }
    }

    /// What must survive of one leg; `None` for one without a dialog that rings nobody.
    pub fn saved_leg(&self, leg: LegId) -> Option<SavedLeg> {
        self.saved(&self.legs[*self.by_id.at(&leg)?])
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
        for saved in snapshot.ringing {
            ua.ring_on(pass, saved);
        }
        Ok(ua)
    }

    fn ring_on(&mut self, pass: &mut Pass, Ringing { leg, tag, until, branches, trunk }: Ringing) {
        let early = Vec::new();
        let calling = Calling { branches: Vec::new(), best: None, given_up: None, until, early, dialling: None, trunk };
        let key = self.add(Leg::new(leg, tag, State::Calling(calling)));
        let mut clients = Vec::new();
        for Branch { flow, invite, heard } in branches {
            let (flow, sent) = (self.settings.datagrams(flow), (Bytes::from(invite), heard));
            clients.extend(self.clients.reopen(&mut self.alarms, pass, flow, sent, Purpose::Invite(key)));
        }
        if clients.is_empty() {
            self.remove(key);
            return;
        }
        if let State::Calling(calling) = &mut self.legs[key].state {
            calling.branches = clients;
        }
        self.set(key, LegTimer::Life, until);
    }

    fn restore_leg(&mut self, pass: &mut Pass, saved: LegSnapshot) {
        let LegSnapshot { leg, mut dialog, stands, updates, session, refers } = saved;
        dialog.local_cseq += LOST_REQUESTS_MAX;
        dialog.flow = self.settings.datagrams(dialog.flow);
        let tag = dialog.local.tag.clone();
        let begun = dialog.begun_by_them();
        let key = match stands {
            Stands::Established => self.add(Leg::new(leg, tag, State::Established { dialog, reoffer: Reoffer::Idle })),
            Stands::Answered { bytes, flow, cseq, has_offer, hang_up } => {
                let mut it = Leg::new(leg, tag, State::Answered { dialog, has_offer, hang_up });
                let flow = self.settings.datagrams(flow);
                it.answer = Some(Answer { bytes: Bytes::from(bytes), flow, cseq, repeats: 0 });
                let key = self.add(it);
                self.set(key, LegTimer::Repeat, pass.now.mono + T1);
                self.set(key, LegTimer::Life, pass.now.mono + T1_64);
                key
            }
            Stands::Ending(why) => {
                let key = self.add(Leg::new(leg, tag, State::Established { dialog, reoffer: Reoffer::Idle }));
                begun.and_then(|begun| self.taken_over.insert(begun, key));
                return self.bye(pass, key, why, super::client::Reason::None);
            }
        };
        begun.and_then(|begun| self.taken_over.insert(begun, key));
        let it = &mut self.legs[key];
        it.updates = updates;
        it.refers = refers.into_iter().map(Refer::subscribed).collect();
        self.wind(pass, key, session);
    }
}

impl Ua {
    /// Whether an INVITE outside dialogs began, before a restart, a leg that lives: it was repeated on its way or by its
    /// sender, who had no answer yet.
    pub(super) fn was_taken_over(&self, invite: &Message) -> bool {
        let tag = invite.from().tag().unwrap_or_default();
        let leg = self.taken_over.at(&*begun(invite.call_id(), tag)).and_then(|key| self.legs.get(*key));
        let heard = leg.and_then(Leg::dialog).and_then(|dialog| dialog.remote_cseq);
        invite.to().tag().is_none() && heard.is_some_and(|heard| invite.cseq().number <= heard)
    }
}

impl Dialog {
    /// What tells the INVITE of theirs that began this dialog; `None` when ours did.
    pub(super) fn begun_by_them(&self) -> Option<Box<[u8]>> {
        (!self.ours).then(|| begun(self.call_id.as_bytes(), self.remote.tag.as_bytes()))
    }
}

/// From tag and Call-ID; a tag has no blank.
fn begun(call_id: &[u8], from_tag: &[u8]) -> Box<[u8]> {
    [from_tag, b" ", call_id].concat().into()
}

impl Snapshot {
    /// Of these legs, without registered contacts. `incoming` is how many legs came in so far.
    pub fn of(incoming: u64, saved: impl IntoIterator<Item = SavedLeg>) -> Snapshot {
        let (mut legs, mut ringing) = (Vec::new(), Vec::new());
        for leg in saved {
            match leg {
                SavedLeg::Dialog(leg) => legs.push(*leg),
                SavedLeg::Ringing(leg) => ringing.push(leg),
            }
        }
        legs.sort_by_key(|saved| saved.leg);
        ringing.sort_by_key(|saved| saved.leg);
        Snapshot { version: VERSION, incoming, legs, ringing, contacts: Vec::new() }
    }

    /// All legs that it has.
    pub fn legs(&self) -> impl Iterator<Item = LegId> + '_ {
        let ringing = self.ringing.iter().map(|saved| saved.leg);
        self.legs.iter().map(|saved| saved.leg).chain(ringing)
    }
}

impl SavedLeg {
    /// Its number.
    pub fn leg(&self) -> LegId {
        match self {
            SavedLeg::Dialog(saved) => saved.leg,
            SavedLeg::Ringing(saved) => saved.leg,
        }
    }
}

impl Ua {
    fn saved(&self, leg: &Leg) -> Option<SavedLeg> {
        let (dialog, stands) = match &leg.state {
            State::Offered(_) => return None,
            State::Calling(calling) => return self.ringing(leg, calling).map(SavedLeg::Ringing),
            State::Established { dialog, .. } => (dialog, Stands::Established),
            State::Ending { dialog, why } => (dialog, Stands::Ending(*why)),
            State::Answered { dialog, has_offer, hang_up } => {
                let Answer { bytes, flow, cseq, .. } = leg.answer.as_ref()?;
                let (bytes, has_offer, hang_up) = (bytes.to_vec(), *has_offer, *hang_up);
                (dialog, Stands::Answered { bytes, flow: *flow, cseq: *cseq, has_offer, hang_up })
            }
        };
        Some(SavedLeg::Dialog(Box::new(LegSnapshot {
            leg: leg.id,
            dialog: dialog.clone(),
            stands,
            updates: leg.updates,
            session: leg.session,
            refers: leg.refers.iter().filter(|refer| refer.is_subscribed()).map(|refer| refer.id).collect(),
        })))
    }

    /// Nothing is kept of a leg that is being cancelled.
    fn ringing(&self, leg: &Leg, calling: &Calling) -> Option<Ringing> {
        if calling.given_up.is_some() {
            return None;
        }
        let branch = |key: &_| {
            let client = self.clients.at(*key)?;
            let heard = client.is_heard();
            // A large one that nobody heard by TCP goes by UDP after all.
            let (flow, invite) = match &client.fallback {
                Some((flow, request)) if !heard => (*flow, request),
                Some(_) | None => (client.flow, &client.request),
            };
            Some(Branch { flow, invite: invite.to_vec(), heard })
        };
        let branches = calling.branches.iter().filter_map(branch).collect();
        Some(Ringing { leg: leg.id, tag: leg.tag.clone(), until: calling.until, branches, trunk: calling.trunk })
    }
}
