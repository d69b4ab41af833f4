//! Which modes are open.

use super::rush::Arrivals;
use super::{Change, Hand, Kept, Rule, Settings, View, Why};
use crate::base::{Mono, Now, QueueId, SiteId, Wall};
use std::collections::BTreeMap;

/// How one mode stands.
#[derive(Clone, Debug, Default)]
struct Standing {
    hand: Option<Hand>,
    /// A rush opened it; from when on calm is counted.
    rush: Option<Mono>,
    open: Option<(Why, Wall)>,
    arrivals: Arrivals,
}

/// All modes of a node.
#[derive(Clone, Debug)]
pub struct Modes {
    settings: Settings,
    /// Those of the settings, no others.
    standing: BTreeMap<(SiteId, Box<str>), Standing>,
    /// Somebody's word has changed since [`Modes::look`] was last called.
    touched: bool,
}

impl Modes {
    /// As `kept` by the process before; a rush that it had goes on until it is seen to be over.
    pub fn new(now: Now, settings: Settings, kept: Vec<Kept>) -> Modes {
        let mut modes = Modes { settings: Settings::default(), standing: BTreeMap::new(), touched: false };
        modes.configure(settings);
        for kept in kept {
            if let Some(standing) = modes.standing.get_mut(&(kept.site, kept.name)) {
                (standing.hand, standing.open) = (kept.hand, kept.open);
                standing.rush = kept.rush.then_some(now.mono);
            }
        }
        modes.look(now);
        modes
    }

    /// New settings: modes that still exist stay as they are.
    pub fn configure(&mut self, settings: Settings) {
        let mut before = std::mem::take(&mut self.standing);
        for (site, rules) in (0u16..).map(SiteId).zip(&settings.sites) {
            for rule in rules {
                let key = (site, rule.name.clone());
                let standing = before.remove(&key).unwrap_or_default();
                self.standing.insert(key, standing);
            }
        }
        self.settings = settings;
    }

    /// A new caller came to a queue.
    pub fn arrived(&mut self, now: Mono, site: SiteId, queue: QueueId) {
        let Some(rules) = self.settings.sites.get(site.index()) else { return };
        for rule in rules.iter().filter(|rule| rule.rush.as_ref().is_some_and(|rush| rush.queues.contains(&queue))) {
            if let Some(standing) = self.standing.get_mut(&(site, rule.name.clone())) {
                standing.arrivals.add(now);
            }
        }
    }

    /// Somebody's word; `None` takes it back. False when there is no such mode. What comes of it is said by
    /// [`Modes::look`].
    pub fn set(&mut self, site: SiteId, name: &str, hand: Option<Hand>) -> bool {
        let Some(standing) = self.standing.get_mut(&(site, name.into())) else { return false };
        self.touched |= standing.hand != hand;
        standing.hand = hand;
        true
    }

    /// Looks at the clock, once a second or so. Returns what opened and what was shut; whether [`Modes::kept`] is another
    /// than before, beside.
    pub fn look(&mut self, now: Now) -> (Vec<Change>, bool) {
        let mut changes = Vec::new();
        let mut other = std::mem::take(&mut self.touched);
        for (site, rules) in (0u16..).map(SiteId).zip(&self.settings.sites) {
            for rule in rules {
                let Some(standing) = self.standing.get_mut(&(site, rule.name.clone())) else { continue };
                let (hand, rush) = (standing.hand, standing.rush.is_some());
                let why = standing.decide(now, rule);
                other |= hand != standing.hand || rush != standing.rush.is_some();
                if why == standing.open.map(|(why, _)| why) {
                    continue;
                }
                other = true;
                let since = standing.open.map_or(now.wall, |(_, since)| since);
                let turned = why.is_some() != standing.open.is_some();
                standing.open = why.map(|why| (why, since));
                if turned {
                    changes.push(Change { site, name: rule.name.clone(), open: why });
                }
            }
        }
        (changes, other)
    }

    /// Names of a site's modes that are open, in the order of the settings.
    pub fn open(&self, site: SiteId) -> Vec<Box<str>> {
        let rules = self.settings.sites.get(site.index()).map_or(&[][..], Vec::as_slice);
        let is_open = |rule: &&Rule| self.standing.get(&(site, rule.name.clone())).is_some_and(|it| it.open.is_some());
        rules.iter().filter(is_open).map(|rule| rule.name.clone()).collect()
    }

    /// All modes of a site, in the order of the settings.
    pub fn view(&self, now: Mono, site: SiteId) -> Vec<View> {
        let rules = self.settings.sites.get(site.index()).map_or(&[][..], Vec::as_slice);
        let view = |rule: &Rule| {
            let standing = self.standing.get(&(site, rule.name.clone()))?;
            let arrivals =
                rule.rush.as_ref().map(|rush| (standing.arrivals.within(now, rush.within), rush.begins_over));
            Some(View { name: rule.name.clone(), open: standing.open, hand: standing.hand, arrivals })
        };
        rules.iter().filter_map(view).collect()
    }

    /// What must outlive the process.
    pub fn kept(&self) -> Vec<Kept> {
        let kept = |((site, name), it): (&(SiteId, Box<str>), &Standing)| Kept {
            site: *site,
            name: name.clone(),
            hand: it.hand,
            rush: it.rush.is_some(),
            open: it.open,
        };
        self.standing.iter().map(kept).collect()
    }
}

impl Standing {
    /// Why it is to be open now.
    fn decide(&mut self, now: Now, rule: &Rule) -> Option<Why> {
        self.hand = self.hand.filter(|hand| now.wall < hand.until);
        self.rush = self.rushes(now.mono, rule);
        if let Some(hand) = self.hand {
            return hand.open.then_some(Why::Hand);
        }
        if rule.hours.as_ref().is_some_and(|hours| hours.open(now.wall).is_ok()) {
            return Some(Why::Hours);
        }
        self.rush.map(|_| Why::Rush)
    }

    /// Since when it rushes, as far as calm is concerned.
    fn rushes(&self, now: Mono, rule: &Rule) -> Option<Mono> {
        let rush = rule.rush.as_ref()?;
        match self.rush {
            None => (self.arrivals.within(now, rush.within) > rush.begins_over).then_some(now),
            Some(since) => {
                let calm = now >= since + rush.calm && self.arrivals.within(now, rush.calm) <= rush.ends_at;
                (!calm).then_some(since)
            }
        }
    }
}
