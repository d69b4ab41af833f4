//! What each dialled number (DNIS) means: site, flow, greeting, preset category.
//!
//! Owns the look-up from whatever a carrier writes to the one entry meant; never guesses: a number that could be two
//! entries is none. A merged line keeps its own entry with a transition prompt that starts and ends by date.

use super::flow::Flow;
use crate::base::number::{Number, NumberError};
use crate::base::{PromptId, SiteId, Wall};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// All dialled numbers of the node.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// By canonical number.
    entries: BTreeMap<Box<str>, Entry>,
    /// Area codes of the sites: what a number written without one may mean.
    areas: BTreeSet<Box<str>>,
}

/// One dialled number.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Canonical.
    pub number: Number,
    /// Whose.
    pub site: SiteId,
    /// What callers go through.
    pub flow: Arc<Flow>,
    /// Who answers: "福州市12345…".
    pub greeting: Option<PromptId>,
    /// That the call is recorded.
    pub notice: Option<PromptId>,
    /// Played before the greeting within their dates: that the line was merged.
    pub transitions: Vec<Dated>,
    /// Category preset for the order: six digits, or empty.
    pub category: Box<str>,
    /// Added to the queue's priority (0–100).
    pub priority: u8,
}

/// A prompt with its dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dated {
    /// First instant at which it is played.
    pub from: Wall,
    /// First instant at which it is no more.
    pub until: Wall,
    /// What.
    pub prompt: PromptId,
}

impl Entry {
    /// What a caller hears first at `wall`: the transition while it lasts, then greeting and recording notice.
    pub fn opening(&self, wall: Wall) -> Vec<PromptId> {
        let in_force = self.transitions.iter().filter(|dated| dated.from <= wall && wall < dated.until);
        in_force.map(|dated| dated.prompt).chain(self.greeting).chain(self.notice).collect()
    }
}

impl Numbers {
    /// Adds an entry; `area_code` is that of its site. Returns the entry that stood under the same number.
    pub fn insert(&mut self, entry: Entry, area_code: &str) -> Option<Entry> {
        if !area_code.is_empty() {
            self.areas.insert(area_code.into());
        }
        self.entries.insert(entry.number.as_str().into(), entry)
    }

    /// The entry under exactly this canonical number.
    pub fn at(&self, canonical: &str) -> Option<&Entry> {
        self.entries.get(canonical)
    }

    /// The entry that is meant by what was dialled, as a carrier or a phone wrote it.
    ///
    /// A service number with an area (`+86 595 12345`) is first looked for as that city's own entry, then as the bare
    /// service number. A local number without its area finds an entry when only one of our areas has it.
    pub fn lookup(&self, dialled: &str) -> Option<&Entry> {
        let number = Number::parse(dialled, "").ok()?;
        self.at(number.as_str()).or_else(|| self.at(number.without_area()?)).or_else(|| self.local(dialled))
    }

    /// All entries, in order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    fn local(&self, dialled: &str) -> Option<&Entry> {
        let mut found = None;
        for area in &self.areas {
            let entry = Number::parse(dialled, area).ok().and_then(|number| self.at(number.as_str()));
            match (found, entry) {
                (Some(_), Some(_)) => return None,
                (None, Some(_)) => found = entry,
                (_, None) => {}
            }
        }
        found
    }
}

/// Reads a number as an entry is configured: a service number with its area stays apart from the bare one.
///
/// # Errors
/// [`NumberError`] when the text is not a telephone number.
pub fn canonical(text: &str, area_code: &str) -> Result<Number, NumberError> {
    Number::parse(text, area_code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ivr::run::tests::flow;

    fn entry(number: &str, area: &str, site: u16) -> Entry {
        Entry {
            number: canonical(number, area).unwrap(),
            site: SiteId(site),
            flow: flow("direct"),
            greeting: Some(PromptId(1)),
            notice: Some(PromptId(2)),
            transitions: vec![Dated { from: Wall(100), until: Wall(200), prompt: PromptId(3) }],
            category: "".into(),
            priority: 0,
        }
    }

    fn numbers(entries: &[(&str, &str, u16)]) -> Numbers {
        let mut numbers = Numbers::default();
        for (number, area, site) in entries {
            assert!(numbers.insert(entry(number, area, *site), area).is_none(), "{number} is new");
        }
        numbers
    }

    #[test]
    fn each_way_of_dialling_finds_the_entry_meant() {
        let numbers = numbers(&[
            ("12345", "591", 0),
            ("059112345", "591", 0),
            ("+8659512345", "595", 1),
            ("12333", "595", 1),
            ("87654321", "591", 0),
        ]);
        let cases = [
            ("12345", Some(0)),
            ("+8612345", Some(0)),
            ("059512345", Some(1)),
            ("+8659512345", Some(1)),
            ("+86-595-12345", Some(1)),
            ("008659512345", Some(1)),
            ("+8605 9512345", Some(1)),
            ("+8659112345", Some(0)),
            // No entry of its own for Beijing: the service number itself.
            ("+861012345", Some(0)),
            ("+8612333", Some(1)),
            ("87654321", Some(0)),
            ("0591-87654321", Some(0)),
            ("0595-87654321", None),
            ("123450", None),
            ("2345", None),
            ("110", None),
            ("0110", None),
            ("", None),
            ("+", None),
            ("0", None),
            ("00", None),
            ("+86", None),
            ("+860", None),
            ("sip:12345", None),
        ];
        for (dialled, site) in cases {
            assert_eq!(numbers.lookup(dialled).map(|entry| entry.site.0), site, "{dialled:?}");
        }
    }

    #[test]
    fn a_local_number_that_two_areas_have_is_none() {
        let numbers = numbers(&[("87654321", "591", 0), ("87654321", "595", 1)]);
        assert!(numbers.lookup("87654321").is_none());
        assert_eq!(numbers.lookup("059587654321").map(|entry| entry.site), Some(SiteId(1)));
    }

    #[test]
    fn the_transition_prompt_is_heard_in_its_dates_only() {
        let entry = entry("12333", "595", 1);
        let heard = |ms| entry.opening(Wall(ms)).iter().map(|prompt| prompt.0).collect::<Vec<_>>();
        assert_eq!(heard(99), [1, 2]);
        assert_eq!(heard(100), [3, 1, 2]);
        assert_eq!(heard(199), [3, 1, 2]);
        assert_eq!(heard(200), [1, 2]);
    }

    #[test]
    fn the_second_entry_of_a_number_gives_back_the_first() {
        let mut numbers = numbers(&[("0595-12345", "595", 1)]);
        let first = numbers.insert(entry("+8659512345", "595", 2), "595");
        assert_eq!(first.map(|entry| entry.site), Some(SiteId(1)));
        assert_eq!(numbers.iter().count(), 1);
    }
}
