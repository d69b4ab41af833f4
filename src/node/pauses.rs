//! Who may pause (小休) now, and for which reason: one rule for all who ask by themselves, through the API or a phone key.

use super::live::{Agent, Live};

/// Why an agent may not take a pause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPaused {
    /// The site lists its pauses, and this is none of them.
    #[error("no pause of this site has this reason; it has: {known}")]
    Unknown {
        /// Those it has.
        known: Box<str>,
    },
    /// All places are taken.
    #[error("{taken} agents pause for this reason already, and no more than {most} may at once")]
    Full {
        /// So many.
        taken: usize,
        /// Of so many.
        most: u16,
    },
}

impl Live {
    /// Whether the agent may take this pause now: one of the site's, where it lists any, and not too many at once. Counted
    /// when it is asked for: of two who ask in the same moment both may get the last place.
    ///
    /// # Errors
    /// [`NotPaused`].
    pub fn may_pause(&self, agent: &Agent, reason: &str) -> Result<(), NotPaused> {
        let rules = self.pauses(agent.site);
        let Some(rule) = rules.iter().find(|rule| *rule.reason == *reason) else {
            if rules.is_empty() {
                return Ok(());
            }
            let known: Vec<&str> = rules.iter().map(|rule| &*rule.reason).collect();
            return Err(NotPaused::Unknown { known: known.join(", ").into() });
        };
        let taken = self.paused(agent.site, reason, agent.id);
        match rule.together_max {
            Some(most) if taken >= usize::from(most) => Err(NotPaused::Full { taken, most }),
            Some(_) | None => Ok(()),
        }
    }
}
