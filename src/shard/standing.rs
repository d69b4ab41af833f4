//! Calls kept one by one, each with its legs, so that a crash of the process loses none of them.
//!
//! A [`Standing`] is written whenever its call has changed; a shard is put together from the newest of each. Never holds
//! registrations: they are kept apart. Nothing here says where it is written to.

use super::{Shard, Snapshot};
use crate::base::{CallId, ContactId, LegId};
use crate::call::snapshot::{Saved, SavedCall};
use crate::media::event::Marks;
use crate::sip::snapshot::{SavedLeg, Snapshot as SipSnapshot};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The version of [`Standing`]: to be raised with every change of its shape, for it is written without field names.
pub const VERSION: u16 = 12;

/// One call with its legs, complete between two events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    id: CallId,
    contact: ContactId,
    /// `None` when only its legs are left: the call cannot go on, and they are to be hung up. So it is with every
    /// outbound call.
    call: Option<SavedCall>,
    legs: Vec<SavedLeg>,
}

impl Standing {
    /// Which call.
    pub fn id(&self) -> CallId {
        self.id
    }

    /// Its lasting id.
    pub fn contact(&self) -> ContactId {
        self.contact
    }

    /// Its legs.
    pub fn legs(&self) -> impl Iterator<Item = LegId> + '_ {
        self.call.iter().flat_map(SavedCall::legs).chain(self.legs.iter().map(SavedLeg::leg))
    }

    /// Whether its end was told already.
    pub fn is_ending(&self) -> bool {
        self.call.as_ref().is_some_and(SavedCall::is_ending)
    }

    /// The call cannot go on: only its legs are restored, to be hung up.
    pub fn give_up(&mut self) {
        self.call = None;
    }
}

impl Shard {
    /// From now on calls that change are noted for [`Shard::take_changed`]: at first all there are.
    pub fn keep_changes(&mut self) {
        self.calls.keep_changes();
    }

    /// Calls that changed since, or are gone.
    pub fn take_changed(&mut self) -> BTreeSet<CallId> {
        self.calls.take_changed()
    }

    /// Whether any call changed since.
    pub fn has_changed(&self) -> bool {
        self.calls.has_changed()
    }

    /// A call as it must survive a crash; `None` when there is nothing to survive.
    pub fn standing(&self, call: CallId) -> Option<Standing> {
        let (contact, legs, saved) = self.calls.saved(call)?;
        let legs = legs.into_iter().filter_map(|leg| self.ua.saved_leg(leg)).collect();
        Some(Standing { id: call, contact, call: saved, legs })
    }

    /// The contacts that stand.
    pub fn contacts(&self) -> impl Iterator<Item = ContactId> + '_ {
        self.calls.contacts()
    }
}

impl Snapshot {
    /// A shard of these calls. `lost` is what is known of the media planes, which died with it.
    pub fn of(standing: Vec<Standing>, lost: Marks) -> Snapshot {
        let (mut calls, mut legs) = (Vec::new(), Vec::new());
        // Even numbers are of legs that came in, odd ones of those that were dialled: see `LegId`. One more is the next.
        let next = |odd: u64| {
            let numbers = standing.iter().flat_map(Standing::legs).filter(move |leg| leg.0 % 2 == odd);
            numbers.map(|leg| (leg.0 << 8 >> 9) + 1).max().unwrap_or(0)
        };
        let (came, dialled) = (next(0), next(1));
        for Standing { call, legs: of_call, .. } in standing {
            legs.extend(of_call);
            calls.extend(call);
        }
        Snapshot { sip: SipSnapshot::of(came, legs), calls: Saved::of(dialled, calls), lost: Some(lost) }
    }
}
