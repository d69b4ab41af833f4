//! What the machines of a node are told: configuration from files, people from SQL, joined.

use crate::acd::explain::Names;
use crate::base::{AgentId, SiteId, Wall};
use crate::call::ahead::{Key, Links};
use crate::call::event::AgentIdentity;
use crate::config::{Config, Context};
use crate::sip::event::Credential;
use crate::store::agents::AgentRow;
use crate::store::{Store, StoreError};
use crate::{acd, call, callback, sip};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Those who answer, as SQL knows them.
#[derive(Debug)]
pub(super) struct People {
    agents: Vec<AgentRow>,
    /// Site, name and domain of each seat.
    seats: Vec<(String, String, String)>,
    credentials: Arc<Vec<Credential>>,
    /// Which state of theirs this is.
    pub(super) revision: i64,
}

impl People {
    /// Of all sites.
    pub(super) async fn load(config: &Config, store: &Store) -> Result<Arc<People>, StoreError> {
        // Read first: a change that comes in between is seen at the next look.
        let revision = store.people_revision().await?;
        let mut agents: Vec<AgentRow> = Vec::new();
        for site in &config.sites {
            agents.extend(store.site(&site.code).agents().await?);
        }
        let (seats, credentials) = (store.all_seats().await?, Arc::new(store.credentials().await?));
        Ok(Arc::new(People { agents, seats, credentials, revision }))
    }

    /// The seat where an agent sits: name and domain of its phone.
    fn seat_of(&self, person: &AgentRow) -> Option<(&str, &str)> {
        let seat = person.seat.as_deref()?;
        let is = |(site, name, _): &&(String, String, String)| *site == person.site && *name == *seat;
        self.seats.iter().find(is).map(|(_, name, domain)| (name.as_str(), domain.as_str()))
    }
}

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
    /// Of whom it was made.
    pub(super) people: Arc<People>,
    /// When the next skill of somebody begins or ends.
    changes_at: Option<Wall>,
}

impl Setup {
    /// Joins what the files say, with the listeners as they were bound, the key of links, the people, and the modes that are `open` by site.
    pub(super) fn join(
        (config, key): (&Config, Key),
        listeners: &[sip::event::ListenerSettings],
        people: Arc<People>,
        open: &[Vec<Box<str>>],
        now: Wall,
    ) -> Setup {
        let (listeners, credentials) = (listeners.to_vec(), people.credentials.clone());
        let sip = sip::event::Settings { listeners, credentials, ..config.sip() };
        let mut calls = config.calls();
        let links = |context: &Context| Links { base: context.public_url.clone(), valid: context.link_valid, key };
        calls.links = config.context.as_ref().map(links).map(Arc::new);
        let mut acd: Vec<_> = (0u16..).zip(&config.sites).map(|(id, _)| config.acd(SiteId(id))).collect();
        let mut by_phone = BTreeMap::new();
        for person in people.agents.iter().filter(|person| person.enabled) {
            let Some(site) = config.site_id(&person.site) else { continue };
            let agent = AgentId(person.number);
            if calls.agents.len() <= agent.index() {
                calls.agents.resize(agent.index() + 1, None);
            }
            let (name, team) = (person.name.as_str().into(), person.team.as_str().into());
            // Whoever sits at a seat is at its phone alone.
            let (phone, domain) = people.seat_of(person).unwrap_or((&person.name, &person.domain));
            calls.agents[agent.index()] = Some(AgentIdentity { site, name, phone: phone.into(), team });
            acd[site.index()].agents.push(person.settings(&config.sites[site.index()].skills, now));
            by_phone.insert((phone.into(), domain.into()), (site, agent));
        }
        for ((id, acd), open) in (0u16..).map(SiteId).zip(&mut acd).zip(open) {
            let agents = &calls.agents;
            let team_of = |agent: &acd::event::AgentSettings| Some(agents[agent.agent.index()].as_ref()?.team.clone());
            config.lay_modes(id, open, (acd, &mut calls.sites[id.index()].queues), team_of);
        }
        for (site, name, _) in &people.seats {
            if let Some(id) = config.site_id(site) {
                calls.sites[id.index()].seats.insert(name.as_str().into());
            }
        }
        let acd = acd.into_iter().map(Arc::new).collect();
        let skills = config.sites.iter().map(|site| site.skills.clone()).collect();
        let (sip, calls, callbacks) = (Arc::new(sip), Arc::new(calls), Arc::new(config.callbacks()));
        let changes_at = people.agents.iter().filter_map(|person| person.changes_after(now)).min();
        Setup { sip, calls, callbacks, acd, skills, by_phone, people, changes_at }
    }

    /// Whether somebody's skill has begun or ended since it was joined.
    pub(super) fn is_stale(&self, now: Wall) -> bool {
        self.changes_at.is_some_and(|at| at <= now)
    }

    /// How many people there are.
    pub(super) fn head_count(&self) -> usize {
        self.people.agents.len()
    }

    /// Made of settings alone, without people.
    #[cfg(test)]
    pub(super) fn of(sip: Arc<sip::event::Settings>, calls: Arc<call::event::Settings>) -> Setup {
        let acd = calls.sites.iter().map(|_| Arc::default()).collect();
        let callbacks = Arc::default();
        let skills = calls.sites.iter().map(|_| Vec::new()).collect();
        let people =
            Arc::new(People { agents: Vec::new(), seats: Vec::new(), credentials: Arc::default(), revision: 0 });
        Setup { sip, calls, callbacks, acd, skills, by_phone: BTreeMap::new(), people, changes_at: None }
    }

    /// The agent whose phone has this address-of-record.
    pub(super) fn agent_of(&self, user: &str, domain: &str) -> Option<(SiteId, AgentId)> {
        self.by_phone.get(&(user.into(), domain.into())).copied()
    }

    /// Whoever sits at another phone than before: user and domain of the new one.
    pub(super) fn moved<'a>(
        &'a self,
        before: &'a Setup,
    ) -> impl Iterator<Item = ((&'a str, &'a str), (SiteId, AgentId))> {
        let moved = self.by_phone.iter().filter(|(phone, agent)| before.by_phone.get(phone) != Some(agent));
        moved.map(|((user, domain), agent)| ((&**user, &**domain), *agent))
    }

    /// User part of the address-of-record at which the agent is rung.
    pub(super) fn agent_phone(&self, agent: AgentId) -> Box<str> {
        let identity = self.calls.agents.get(agent.index()).and_then(Option::as_ref);
        identity.map_or_else(|| self.agent_name(agent), |identity| identity.phone.clone())
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
