//! Who sits where: agents who log in to a seat are at its phone, and nowhere else.
//!
//! SQL owns it; here it is asked for, and the machines are told. Never on the call path.

use super::clock;
use super::setup::Setup;
use super::start::Node;
use super::wires::Wires;
use crate::base::fact::{Audit, Fact, Stamped};
use crate::base::{FactId, Mint, SiteId};
use crate::store::Store;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, Semaphore};

/// PINs looked at at once: each takes a processor for some tenths of a second, beside the calls.
const PINS_MAX: usize = 2;

/// The way to the table of seats.
pub(super) struct Seats {
    pub(super) store: Store,
    /// Of those who log in.
    pub(super) places: Semaphore,
    mint: Mutex<Mint>,
    /// Wakes whoever looks after people.
    changed: Notify,
    /// Held while a phone or who sits at it changes, so that the last word on a phone is the newest.
    pub(super) order: Mutex<()>,
}

impl Seats {
    pub(super) fn of(store: Store, seed: [u64; 2]) -> Seats {
        let mint = Mint::new(super::start::STREAM_BEYOND_SHARDS + 515, seed);
        let (places, mint) = (Semaphore::new(PINS_MAX), Mutex::new(mint));
        Seats { store, places, mint, changed: Notify::new(), order: Mutex::new(()) }
    }

    /// Somebody has sat down: they are at that phone within moments.
    pub(super) fn sat_down(&self) {
        self.changed.notify_one();
    }

    /// Tells the audit what an agent did by phone.
    pub(super) fn tell(&self, wires: &Wires, site: SiteId, agent: &str) {
        let at = clock::now().wall;
        let id = FactId(self.mint.lock().unwrap_or_else(PoisonError::into_inner).mint(at));
        let audit = Audit {
            actor: agent.into(),
            role: "agent".into(),
            action: "agent.set".into(),
            object: agent.into(),
            allowed: true,
            from: "phone".into(),
        };
        let site = wires.setup.load().code(site);
        (wires.facts)(Stamped { id, at, site, fact: Fact::Audit(Box::new(audit)) });
    }

    /// Waits until somebody has sat down or got up.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Takes an agent who has logged off from their seat. Nobody waits for it: what fails stands in the log.
pub(super) fn leave(wires: &Arc<Wires>, site: Box<str>, agent: Box<str>) {
    let wires = wires.clone();
    tokio::spawn(async move {
        match wires.seats.store.site(&site).leave_seat(&agent).await {
            Ok(()) => wires.seats.changed.notify_one(),
            Err(error) => tracing::warn!(%site, %agent, %error, "an agent who has logged off cannot leave the seat"),
        }
    });
}

/// Agents who sit at another phone than `before` have it up or down as it is.
pub(super) fn follow(wires: &Wires, before: &Setup, after: &Setup) {
    let now = super::clock::now().wall;
    for ((user, domain), agent) in after.moved(before) {
        wires.phone(agent, wires.registrations.address(user, domain, now));
    }
}

impl Node {
    /// To be called once an agent has another seat in SQL: they are at its phone within moments.
    pub fn seated(&self) -> impl Fn() + Send + Sync + 'static {
        let wires = self.wires().clone();
        move || wires.seats.changed.notify_one()
    }
}
