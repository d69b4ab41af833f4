//! `[[pause]]` of `sip-profiles/queues.toml`: for which reasons agents may pause, how many at once, and how long.

use super::node::{Sites, site_of};
use super::schema;
use super::source::Check;
use crate::call::event::Pause;
use std::time::Duration;

/// Longest reason, in characters, as the API takes it.
const REASON_CHARACTERS_MAX: usize = 64;
/// Pauses of one site.
const PAUSES_MAX: usize = 64;

/// Checks all pauses: by site, in the file's order.
pub(super) fn check(check: &mut Check<'_>, raw: &[schema::Pause], sites: Sites<'_>) -> Vec<Vec<Pause>> {
    let mut pauses: Vec<Vec<Pause>> = vec![Vec::new(); sites.list.len()];
    for raw in raw {
        let Some(site) = site_of(check, &raw.site, sites) else { continue };
        let (reason, of_site) = (raw.reason.get_ref().as_str(), &mut pauses[site.index()]);
        if !(1..=REASON_CHARACTERS_MAX).contains(&reason.chars().count()) {
            let cure = format!("write 1 to {REASON_CHARACTERS_MAX} characters");
            check.wrong(&raw.reason.span(), "a reason that is empty or too long", cure);
        }
        if of_site.iter().any(|other| *other.reason == *reason) {
            let message = format!("pause \"{reason}\" of site \"{}\" exists already", raw.site.get_ref());
            check.wrong(&raw.reason.span(), message, "give each pause of a site its own reason");
        }
        if of_site.len() == PAUSES_MAX {
            check.wrong(&raw.reason.span(), "too many pauses", format!("{PAUSES_MAX} at most for one site"));
        }
        let together = raw.together_max.as_ref().map(|count| check.bounded(Some(count), 1, 1..=10_000));
        let longest = raw.longest_min.as_ref().map(|count| 60 * check.bounded(Some(count), 15, 1..=1_440));
        of_site.push(Pause {
            reason: reason.into(),
            together_max: together.and_then(|count| u16::try_from(count).ok()),
            longest: longest.map(Duration::from_secs),
        });
    }
    pauses
}
