//! Who served a caller before: asked of SQL while the caller is being greeted.
//!
//! Beside every call's path: a question that finds the database away, or too many others before it, has no answer, and the
//! call goes on as if nobody were remembered.

use super::wires::Wires;
use crate::base::{AgentId, CallId, SiteId, Wall};
use crate::call::event::{Event as ToCalls, Past, Settings};
use crate::store::{Store, StoreError};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Questions under way at once; further ones are not asked.
const QUESTIONS_MAX: usize = 64;

/// Where to ask.
#[derive(Debug)]
pub(super) struct Memory {
    store: Store,
    places: Arc<Semaphore>,
}

impl Memory {
    pub(super) fn of(store: Store) -> Memory {
        Memory { store, places: Arc::new(Semaphore::new(QUESTIONS_MAX)) }
    }
}

/// Asks, and tells the call what is known.
pub(super) fn recall(wires: &Arc<Wires>, call: CallId, site: SiteId, caller: Box<str>) {
    let Ok(place) = wires.memory.places.clone().try_acquire_owned() else { return };
    let wires = wires.clone();
    tokio::spawn(async move {
        let calls = wires.setup.load().calls.clone();
        match past(&wires.memory.store, &calls, site, &caller).await {
            Ok(past) => wires.to_call(call.shard, ToCalls::Recalled { call, past }),
            Err(error) => tracing::debug!(%error, "nobody is remembered for a caller"),
        }
        drop(place);
    });
}

async fn past(store: &Store, calls: &Settings, site: SiteId, caller: &str) -> Result<Past, StoreError> {
    let store = store.site(&calls.sites[site.index()].code);
    let numbered = |name: &str| {
        let is = |identity: &Option<_>| identity.as_ref().is_some_and(|it| is_named(it, site, name));
        calls.agents.iter().position(is).map(|at| AgentId(at as u32))
    };
    let last = store.last_agent(caller).await?;
    let owner = store.order_owner(caller).await?;
    Ok(Past {
        last: last.and_then(|(name, came)| Some((numbered(&name)?, Wall(came)))),
        owner: owner.and_then(|name| numbered(&name)),
    })
}

fn is_named(identity: &crate::call::event::AgentIdentity, site: SiteId, name: &str) -> bool {
    identity.site == site && *identity.name == *name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::event::{AgentIdentity, SiteSettings};
    use crate::store::sample;

    #[tokio::test]
    async fn the_last_agent_and_the_owner_of_an_order_are_found_by_the_callers_number() {
        let store = Store::memory().await.unwrap();
        // Every other of them goes to the outside.
        for number in 0..5 {
            store.apply(&sample::call("a", number)).await.unwrap();
        }
        let site = |code: &str| SiteSettings {
            code: code.into(),
            domain: "".into(),
            area_code: "".into(),
            queues: Vec::new(),
            pauses: Vec::new(),
            keys: None,
            seats: Default::default(),
        };
        let agent = |site, name: &str| {
            Some(AgentIdentity { site: SiteId(site), name: name.into(), phone: name.into(), team: "".into() })
        };
        let settings = Settings {
            sites: vec![site("a"), site("b")],
            agents: vec![agent(1, "1001"), None, agent(0, "1001")],
            ..Settings::default()
        };
        let of = async |site, caller: &str| past(&store, &settings, SiteId(site), caller).await.unwrap();
        let known = of(0, "13800000000").await;
        assert_eq!(known.last, Some((AgentId(2), Wall(sample::START + 4_000))));
        assert_eq!(known.owner, Some(AgentId(2)));
        assert_eq!(of(1, "13800000000").await, Past::default(), "another site remembers for itself");
        assert_eq!(of(0, "13800000001").await, Past::default());
    }
}
