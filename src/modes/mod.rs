//! Modes (值守模式): what queues do otherwise for a time — by night, in a rush of calls (突发), or by hand.
//!
//! [`Modes`] owns which modes are open, since when and why: hours of the week, an arrival rate, or somebody's word, which
//! stands above both until it runs out. What an open mode changes is configuration's to say, and taken as a reload is. Never
//! counts who waits, and never routes anybody.

mod clock;
mod overlay;
mod rush;
#[cfg(test)]
mod tests;

pub use clock::Modes;
pub use overlay::{Lent, Overlay};
pub use rush::Rush;

use crate::base::hours::Hours;
use crate::base::{SiteId, Wall};
use serde::{Deserialize, Serialize};

/// What modes there are, by [`SiteId`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// In the order in which they are laid over each other.
    pub sites: Vec<Vec<Rule>>,
}

/// When a mode opens. One without hours and rush opens by hand alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Name, unique in its site.
    pub name: Box<str>,
    /// In these hours, if any.
    pub hours: Option<Hours>,
    /// And in a rush, if so.
    pub rush: Option<Rush>,
}

/// Somebody's word on a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hand {
    /// Open or shut, whatever hours and arrivals say.
    pub open: bool,
    /// Until then; afterwards hours and arrivals decide again.
    pub until: Wall,
}

/// Why a mode is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Somebody said so.
    Hand,
    /// Its hours have come.
    Hours,
    /// More callers come than it allows.
    Rush,
}

impl Why {
    /// The word of the API and the audit.
    pub fn word(self) -> &'static str {
        match self {
            Why::Hand => "hand",
            Why::Hours => "hours",
            Why::Rush => "rush",
        }
    }
}

/// A mode as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: Box<str>,
    /// Why it is open, and since when; `None` while it is shut.
    pub open: Option<(Why, Wall)>,
    /// Somebody's word, while it holds.
    pub hand: Option<Hand>,
    /// Callers who came to its queues within the rush's window, and how many may.
    pub arrivals: Option<(u64, u64)>,
}

/// A mode opened, or was shut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub site: SiteId,
    /// Which.
    pub name: Box<str>,
    /// Why it is open now; `None` when it is shut.
    pub open: Option<Why>,
}

/// What outlives the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Whose.
    pub site: SiteId,
    /// Which.
    pub name: Box<str>,
    /// Somebody's word.
    pub hand: Option<Hand>,
    /// Whether a rush had opened it.
    pub rush: bool,
    /// Why and since when it was open.
    pub open: Option<(Why, Wall)>,
}
