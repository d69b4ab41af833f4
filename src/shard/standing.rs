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
pub const VERSION: u16 = 1;

/// One call with its legs, complete between two events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    call: SavedCall,
    legs: Vec<SavedLeg>,
    /// Whether only its legs are left: the call cannot go on, and they are to be hung up.
    over: bool,
}

impl Standing {
    /// Which call.
    pub fn id(&self) -> CallId {
        self.call.id()
    }

    /// Its lasting id.
    pub fn contact(&self) -> ContactId {
        self.call.contact()
    }

    /// Its legs.
    pub fn legs(&self) -> impl Iterator<Item = LegId> + '_ {
        self.call.legs()
    }

    /// Whether its end was told already.
    pub fn is_ending(&self) -> bool {
        self.call.is_ending()
    }

    /// The call cannot go on: only its legs are restored, to be hung up.
    pub fn give_up(&mut self) {
        self.over = true;
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
        let call = self.calls.saved(call)?;
        let legs = call.legs().filter_map(|leg| self.ua.saved_leg(leg)).collect();
        Some(Standing { call, legs, over: false })
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
        for Standing { call, legs: of_call, over } in standing {
            legs.extend(of_call);
            if !over {
                calls.push(call);
            }
        }
        // Even numbers are of legs that came in: see `LegId`. One more is the next.
        let came = legs.iter().map(SavedLeg::leg).filter(|leg| leg.0 % 2 == 0).map(|leg| (leg.0 << 8 >> 9) + 1);
        let sip = SipSnapshot::of(came.max().unwrap_or(0), legs);
        Snapshot { sip, calls: Saved::of(calls), lost: Some(lost) }
    }
}
