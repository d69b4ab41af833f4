//! To whom citizens are transferred: the directory of targets, as configured.
//!
//! Targets are found by their exact name or key, never by a part of it. Owns the question whether a target may be asked
//! now. Never dials.

use super::ahead::Webhook;
use crate::base::SiteId;
use crate::base::fact::TargetKind;
use crate::base::hours::Hours;
use crate::base::number::Number;
use crate::base::{PromptId, Wall};
use std::sync::Arc;
use std::time::Duration;

/// Most numbers of a target, or of a row of its duty table.
pub const NUMBERS_MAX: usize = 10;

/// One target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// For agents of this site.
    pub site: SiteId,
    /// By which it is asked for; unique within the site.
    pub name: Box<str>,
    /// As agents read it.
    pub title: Box<str>,
    /// What it is.
    pub kind: TargetKind,
    /// It is a simulated one, for exercises (演练): everything about such a transfer says so.
    pub drill: bool,
    /// Whom to dial, in this order: the next where the one before came to nothing. At least one; each is named by a rule of
    /// the allow-list.
    pub numbers: Vec<Number>,
    /// What an agent presses to ask for it: `*` and one to three digits.
    pub key: Option<Box<str>>,
    /// How long each number may ring, where that is less than its trunk allows.
    pub ring_max: Option<Duration>,
    /// How many of our calls it takes at once, where that is known: for its lamp alone.
    pub channels: Option<u32>,
    /// All numbers are dialled at once, and the first that answers is taken; else one after another.
    pub together: bool,
    /// Played to whoever answers, until they press `1`: for phones of people, whose voice mail would answer too. At once
    /// there when `None`.
    pub confirm: Option<PromptId>,
    /// Played to a citizen who is left aside for it, before the music.
    pub announcement: Option<PromptId>,
    /// When it is there.
    pub hours: Hours,
    /// Who is on duty when (值班表): the first row that holds says whom to dial instead of `numbers`.
    pub duty: Vec<Duty>,
    /// Its own system is told ahead of the voice, here.
    pub webhook: Option<Arc<Webhook>>,
    /// It is given a link to what is known of the contact.
    pub link: bool,
}

/// A row of a duty table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duty {
    /// Whom to dial, as in [`Target::numbers`].
    pub numbers: Vec<Number>,
    /// When they are on duty.
    pub hours: Hours,
}

impl Target {
    /// The row of the duty table that holds at this moment.
    pub fn on_duty(&self, now: Wall) -> Option<usize> {
        self.duty.iter().position(|row| row.hours.open(now).is_ok())
    }

    /// Whom to dial by this row, or without one; also when the table has become shorter.
    pub fn numbers_of(&self, row: Option<usize>) -> &[Number] {
        row.and_then(|row| self.duty.get(row)).map_or(&self.numbers, |row| &row.numbers)
    }

    /// Whether it is reached by this number, whoever is on duty.
    pub fn has(&self, number: &Number) -> bool {
        self.numbers.contains(number) || self.duty.iter().any(|row| row.numbers.contains(number))
    }
}

/// All targets of all sites.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// In order of sites and names.
    pub list: Vec<Target>,
}

impl Targets {
    /// Those of a site.
    pub fn of(&self, site: SiteId) -> impl Iterator<Item = &Target> {
        self.list.iter().filter(move |target| target.site == site)
    }

    /// The one of this name, letter by letter.
    pub fn named(&self, site: SiteId, name: &str) -> Option<&Target> {
        self.of(site).find(|target| *target.name == *name)
    }

    /// The one asked for by this key, digit by digit.
    pub fn of_key(&self, site: SiteId, key: &str) -> Option<&Target> {
        self.of(site).find(|target| target.key.as_deref() == Some(key))
    }

    /// Whether more digits behind these may make a key.
    pub fn may_become_key(&self, site: SiteId, typed: &str) -> bool {
        self.of(site).any(|it| it.key.as_deref().is_some_and(|key| key.len() > typed.len() && key.starts_with(typed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys_are_met_exactly() {
        let target = |name: &str, key: Option<&str>| Target {
            site: SiteId(0),
            name: name.into(),
            title: name.into(),
            kind: TargetKind::Emergency,
            drill: false,
            numbers: vec![Number::parse("110", "").unwrap()],
            key: key.map(Into::into),
            ring_max: None,
            channels: None,
            together: false,
            confirm: None,
            announcement: None,
            hours: Hours::default(),
            duty: Vec::new(),
            webhook: None,
            link: false,
        };
        let targets =
            Targets { list: vec![target("110", Some("*1")), target("water", Some("*21")), target("gas", None)] };
        let site = SiteId(0);
        for name in ["1381101200", "400119", "11", "1100", "wat", "WATER", ""] {
            assert_eq!(targets.named(site, name), None, "{name}");
        }
        assert!(targets.named(site, "110").is_some() && targets.named(SiteId(1), "110").is_none());
        for (key, found) in [("*1", true), ("*2", false), ("*21", true), ("*211", false), ("*", false), ("1", false)] {
            assert_eq!(targets.of_key(site, key).is_some(), found, "{key}");
        }
        for (typed, may) in [("*", true), ("*1", false), ("*2", true), ("*21", false), ("*3", false)] {
            assert_eq!(targets.may_become_key(site, typed), may, "{typed}");
        }
    }
}
