//! What the machines of a node are told: configuration from files, people from SQL, joined.

use crate::acd::explain::Names;
use crate::base::{AgentId, SiteId};
use crate::call::event::AgentIdentity;
use crate::config::Config;
use crate::store::agents::AgentRow;
use crate::store::{Store, StoreError};
use crate::{acd, call, callback, sip};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One generation of settings.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) sip: Arc<sip::event::Settings>,
    pub(super) calls: Arc<call::event::Settings>,
    pub(super) callbacks: Arc<callback::event::Settings>,
    /// By site.
    pub(super) acd: Vec<Arc<acd::event::Settings>>,
    /// By site: the names of its skills.
    skills: Vec<Vec<Box<str>>>,
    by_phone: BTreeMap<(Box<str>, Box<str>), (SiteId, AgentId)>,
    /// How many people there are, and which state of theirs this is.
    pub(super) people: usize,
    pub(super) revision: i64,
}

impl Setup {
    /// Joins what the files say, with the listeners as they were bound, and the people of all sites.
    pub(super) async fn load(
        config: &Config,
        listeners: &[sip::event::ListenerSettings],
        store: &Store,
    ) -> Result<Setup, StoreError> {
        // Read first: a change that comes in between is seen at the next look.
        let revision = store.people_revision().await?;
        let mut people: Vec<AgentRow> = Vec::new();
        for site in &config.sites {
            people.extend(store.site(&site.code).agents().await?);
        }
        let credentials = store.credentials().await?;
        let sip =
            sip::event::Settings { listeners: listeners.to_vec(), credentials: Arc::new(credentials), ..config.sip() };
        let mut calls = config.calls();
        let mut acd: Vec<_> = (0u16..).zip(&config.sites).map(|(id, _)| config.acd(SiteId(id))).collect();
        let mut by_phone = BTreeMap::new();
        for person in people.iter().filter(|person| person.enabled) {
            let Some(site) = config.site_id(&person.site) else { continue };
            let agent = AgentId(person.number);
            if calls.agents.len() <= agent.index() {
                calls.agents.resize(agent.index() + 1, None);
            }
            calls.agents[agent.index()] = Some(AgentIdentity { site, name: person.name.as_str().into() });
            acd[site.index()].agents.push(person.settings(&config.sites[site.index()].skills));
            by_phone.insert((person.name.as_str().into(), person.domain.as_str().into()), (site, agent));
        }
        let acd = acd.into_iter().map(Arc::new).collect();
        let skills = config.sites.iter().map(|site| site.skills.clone()).collect();
        let (sip, calls, callbacks) = (Arc::new(sip), Arc::new(calls), Arc::new(config.callbacks()));
        Ok(Setup { sip, calls, callbacks, acd, skills, by_phone, people: people.len(), revision })
    }

    /// Other listeners than it was loaded with.
    pub(super) fn hear(&mut self, listeners: Vec<sip::event::ListenerSettings>) {
        Arc::make_mut(&mut self.sip).listeners = listeners;
    }

    /// Made of settings alone, without people.
    #[cfg(test)]
    pub(super) fn of(sip: Arc<sip::event::Settings>, calls: Arc<call::event::Settings>) -> Setup {
        let acd = calls.sites.iter().map(|_| Arc::default()).collect();
        let callbacks = Arc::default();
        let skills = calls.sites.iter().map(|_| Vec::new()).collect();
        Setup { sip, calls, callbacks, acd, skills, by_phone: BTreeMap::new(), people: 0, revision: 0 }
    }

    /// The agent whose phone has this address-of-record.
    pub(super) fn agent_of(&self, user: &str, domain: &str) -> Option<(SiteId, AgentId)> {
        self.by_phone.get(&(user.into(), domain.into())).copied()
    }

    pub(super) fn code(&self, site: SiteId) -> Box<str> {
        self.calls.sites[site.index()].code.clone()
    }

    /// Of a site's agents and skills, for those who look back.
    pub(super) fn names(&self, site: SiteId) -> Names {
        let named = |agent: &acd::event::AgentSettings| (agent.agent, self.agent_name(agent.agent));
        let mut agents: Vec<_> = self.acd[site.index()].agents.iter().map(named).collect();
        agents.sort_unstable();
        Names { agents, skills: self.skills[site.index()].clone() }
    }

    pub(super) fn agent_name(&self, agent: AgentId) -> Box<str> {
        let identity = self.calls.agents.get(agent.index()).and_then(Option::as_ref);
        identity.map_or_else(|| format!("agent-{}", agent.0).into(), |identity| identity.name.clone())
    }
}
