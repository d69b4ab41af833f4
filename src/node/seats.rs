//! Who sits where: agents who log in to a seat are at its phone, and nowhere else.
//!
//! SQL owns it; here it is asked for, and the machines are told. Never on the call path.

use super::setup::Setup;
use super::start::Node;
use super::wires::Wires;
use crate::store::Store;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// The way to the table of seats.
pub(super) struct Seats {
    store: Store,
    /// Wakes whoever looks after people.
    changed: Notify,
    /// Held while a phone or who sits at it changes, so that the last word on a phone is the newest.
    pub(super) order: Mutex<()>,
}

impl Seats {
    pub(super) fn of(store: Store) -> Seats {
        Seats { store, changed: Notify::new(), order: Mutex::new(()) }
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
