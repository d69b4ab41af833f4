//! What is wrong with a configuration: where, what, and the cure.

use std::fmt;
use std::path::PathBuf;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file or folder.
    pub path: PathBuf,
    /// Line and column, both from 1, the column in characters; `None` when the whole file is meant.
    pub at: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub cure: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some((line, column)) = self.at {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}\n    cure: {}", self.message, self.cure)
    }
}

/// All mistakes of a configuration, in order of file and line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Problem>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let count = self.0.len();
        write!(f, "{count} mistake{} in the configuration", if count == 1 { "" } else { "s" })
    }
}

impl std::error::Error for ConfigErrors {}

/// Most names listed when a name is unknown.
const LISTED_MAX: usize = 12;

/// The known name that was probably meant.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &str| strsim::osa_distance(&name.to_lowercase(), &other.to_lowercase());
    let (least, other) = known.into_iter().map(|other| (distance(other), other)).min()?;
    // A third of the letters may be wrong, and one always.
    (least <= (name.chars().count() / 3).max(1)).then_some(other)
}

/// The cure for an unknown name: the nearest, or all that are known.
pub(super) fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let listed = known.iter().take(LISTED_MAX).copied().collect::<Vec<_>>().join(", ");
    let more = if known.len() > LISTED_MAX { ", …" } else { "" };
    match nearest(name, known.iter().copied()) {
        Some(other) => format!("did you mean \"{other}\"? Known: {listed}{more}"),
        None if known.is_empty() => "none is defined yet".into(),
        None => format!("use one of {listed}{more}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_only_if_near() {
        let known = ["priority", "ageing_s", "ring_max_s"];
        assert_eq!(nearest("prioritty", known), Some("priority"));
        assert_eq!(nearest("Ring_max", known), Some("ring_max_s"));
        assert_eq!(nearest("music", known), None);
        assert_eq!(suggest("x", []), "none is defined yet");
        assert_eq!(suggest("music", known), "use one of priority, ageing_s, ring_max_s");
    }

    #[test]
    fn is_written_as_compilers_write() {
        let problem = Problem {
            path: "a/b.toml".into(),
            at: Some((3, 7)),
            message: "unknown key".into(),
            cure: "remove it".into(),
        };
        assert_eq!(problem.to_string(), "a/b.toml:3:7: unknown key\n    cure: remove it");
        let whole = Problem { at: None, ..problem };
        let errors = ConfigErrors(vec![whole]);
        assert_eq!(errors.to_string(), "a/b.toml: unknown key\n    cure: remove it\n1 mistake in the configuration");
    }
}
