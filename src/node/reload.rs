//! The files read again while calls run: listeners, trunks, what may be dialled, queues, numbers, flows, and tokens.
//!
//! Takes a checked configuration wholly or not at all. What a running process cannot change (its folders, sizes, sites and
//! prompts) is named and refused.

use super::clock;
use super::listeners::Listeners;
use super::setup::{People, Setup};
use super::start::{Current, StartError, configure};
use super::wires::{Wires, lock};
use crate::config::Config;
use crate::store::{Store, StoreError};
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex};

/// Why everything stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// What was changed and cannot be while the node runs.
    #[error("{} changed: start again for that, or take the change back", .0.join(", "))]
    Restart(Vec<&'static str>),
    /// A new listener cannot be bound, or has no good certificate.
    #[error(transparent)]
    Listeners(#[from] StartError),
    /// The people cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes new configurations.
pub struct Reload {
    pub(super) current: Arc<ArcSwap<Current>>,
    pub(super) listeners: Arc<Mutex<Listeners>>,
    pub(super) store: Store,
    pub(super) wires: Arc<Wires>,
    pub(super) seed: [u64; 2],
}

impl Reload {
    /// The configuration that the node has.
    pub fn running(&self) -> Arc<Config> {
        self.current.load().config.clone()
    }

    /// Makes `config` that of the node. Calls and connections stay; a listener that was taken out accepts nothing more.
    ///
    /// # Errors
    /// [`ReloadError`]; nothing has changed then.
    pub async fn take(&self, mut config: Config) -> Result<(), ReloadError> {
        let before = self.current.load_full();
        let fixed = before.config.fixed_differences(&config);
        if !fixed.is_empty() {
            return Err(ReloadError::Restart(fixed));
        }
        config.continues(&before.config);
        let people = People::load(&config, &self.store).await?;
        let (listeners, table) = {
            let mut listeners = lock(&self.listeners);
            listeners.exchange(&config)?;
            (listeners.settings(), config.trunk_table(self.seed, &listeners.numbers(&config)))
        };
        // Before the shards: a call by a new trunk asks for its channel.
        self.wires.trunks.configure(clock::now(), table);
        // Those that are new open with the next look at the clock.
        self.wires.modes.configure(config.modes());
        let setup = Setup::join((&config, before.key), &listeners, people, &self.wires.modes.open(), clock::now().wall);
        self.current.store(Arc::new(Current { config: Arc::new(config), key: before.key, listeners }));
        configure(&self.wires, setup);
        // Last: a message by a new listener must find shards that know it.
        lock(&self.listeners).open(&self.wires);
        Ok(())
    }
}
