//! What machines are told while calls run, apart from a reload: people who changed in SQL, skills whose dates have come,
//! modes that opened or were shut.

use super::clock;
use super::setup::{People, Setup};
use super::start::{Current, configure};
use super::wires::Wires;
use crate::base::fact::{Audit, Fact, Stamped};
use crate::base::{FactId, Mint, Now};
use crate::modes::{Change, Why};
use crate::store::{Store, StoreError};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked: an agent added on the command line can register this soon.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The task that looks.
pub(super) struct SettingsWatch {
    pub(super) current: Arc<ArcSwap<Current>>,
    pub(super) store: Store,
    pub(super) wires: Arc<Wires>,
    pub(super) mint: Mint,
}

impl SettingsWatch {
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.wires.seats.changed() => {}
            }
            let now = clock::now();
            let changes = self.wires.modes.look(now);
            changes.iter().for_each(|change| self.tell(now, change));
            let before = self.wires.setup.load_full();
            let people = match self.newer(&before.people).await {
                Ok(people) => people,
                Err(error) => {
                    // Phones and agents go on as they were last known; modes and dates do not wait for SQL.
                    tracing::warn!(%error, "agents cannot be read from the database");
                    None
                }
            };
            if people.is_some() || !changes.is_empty() || before.is_stale(now.wall) {
                let (current, open) = (self.current.load_full(), self.wires.modes.open());
                let people = people.unwrap_or_else(|| before.people.clone());
                configure(
                    &self.wires,
                    Setup::join((&current.config, current.key), &current.listeners, people, &open, now.wall),
                );
            }
        }
    }

    /// The people as they are now, unless nothing changed.
    async fn newer(&self, known: &People) -> Result<Option<Arc<People>>, StoreError> {
        if self.store.people_revision().await? == known.revision {
            return Ok(None);
        }
        People::load(&self.current.load().config, &self.store).await.map(Some)
    }

    /// To the log and the audit.
    fn tell(&mut self, now: Now, change: &Change) {
        let (site, name) = (self.wires.setup.load().code(change.site), &*change.name);
        let why = change.open.map_or("", Why::word);
        tracing::warn!(%site, mode = name, open = change.open.is_some(), why, "a mode was opened or shut");
        let action = if change.open.is_some() { "mode.open" } else { "mode.shut" };
        let audit = Audit {
            actor: "jiesu".into(),
            role: "engine".into(),
            action: action.into(),
            object: name.into(),
            allowed: true,
            from: why.into(),
        };
        let fact = Fact::Audit(Box::new(audit));
        (self.wires.facts)(Stamped { id: FactId(self.mint.mint(now.wall)), at: now.wall, site, fact });
    }
}
