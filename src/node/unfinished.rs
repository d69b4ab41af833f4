//! Calls that a crash cut off and that could not be taken up: they get their end at the next start.
//!
//! Waits for the recorder to seal what the crash left open, since the end of a recording is the best that can be known of
//! its call's. Never touches a call of this life of the process.

use super::wires::Wires;
use crate::base::fact::{Fact, Stamped};
use crate::base::{ContactId, FactId, Mint, Wall};
use crate::config::Config;
use crate::store::Store;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether recordings are sealed by now.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Sealing takes some 10 ms a file; a recording not sealed by then never will be.
const SEAL_WAIT_MAX: Duration = Duration::from_secs(60);

/// What it takes to close them.
pub(super) struct Unfinished {
    pub(super) config: Arc<Config>,
    pub(super) store: Store,
    pub(super) wires: Arc<Wires>,
    pub(super) mint: Mint,
    /// Those that were taken up after all.
    pub(super) restored: BTreeSet<ContactId>,
}

impl Unfinished {
    /// Closes all calls that came before `started`.
    pub(super) async fn close(mut self, started: Wall) {
        let mut waited = Duration::ZERO;
        loop {
            match self.look(started, waited >= SEAL_WAIT_MAX).await {
                Ok(0) => return,
                Ok(left) => tracing::debug!(left, "calls that a crash cut off wait for their end"),
                Err(error) => tracing::warn!(%error, "calls that a crash cut off cannot be read"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
            waited += LOOK_EVERY;
        }
    }

    /// Tells the ends of those that are ripe; returns how many are still without an end in the store.
    async fn look(&mut self, started: Wall, at_once: bool) -> Result<usize, crate::store::StoreError> {
        let mut left = 0;
        for site in &self.config.sites {
            let stored = self.store.site(&site.code);
            let mut found = stored.unfinished(started, &self.restored).await?;
            found.extend(stored.heard_only(started, &self.restored).await?);
            left += found.len();
            for call in found.into_iter().filter(|call| at_once || !call.unsealed) {
                tracing::warn!(contact = %call.record.contact, site = &*site.code, "a call was cut off by a crash");
                let (record, order) = call.closed();
                let facts = [Some(Fact::Call(Box::new(record))), order.map(|order| Fact::Order(Box::new(order)))];
                for fact in facts.into_iter().flatten() {
                    let at = super::clock::now().wall;
                    let id = FactId(self.mint.mint(at));
                    (self.wires.facts)(Stamped { id, at, site: site.code.clone(), fact });
                }
            }
        }
        Ok(left)
    }
}
