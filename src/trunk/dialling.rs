//! What may be dialled: the one allow-list. What no rule names is not dialled, whoever asks: a phone, a REFER, a 302 or
//! the API.
//!
//! Emergency numbers are met by rules that name them exactly and by no pattern, however wide.

use crate::base::number::{Number, NumberKind};
use crate::base::{SiteId, TrunkId};

/// All rules, in order: the first that names a number decides.
#[derive(Clone, Debug, Default)]
pub struct Dialling {
    /// In the order of the file.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// For callers of this site.
    pub site: SiteId,
    /// Numbers as dialled inside China.
    pub numbers: Vec<Pattern>,
    /// By which trunks; their priorities say in which order.
    pub trunks: Vec<TrunkId>,
    /// The number shown to the called party: the site's own. Canonical.
    pub caller: Number,
    /// Calls by this rule are emergencies.
    pub emergency: bool,
    /// Its trunks lead to simulated lines: such calls are exercises (演练).
    pub drill: bool,
    /// Where such calls are from.
    pub place: Place,
}

/// Where the callers of a rule are, as emergency services are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// A URI that tells it.
    pub uri: Option<Box<str>>,
    /// Elements of a civic address (RFC 5139) and their values.
    pub civic: Vec<(Box<str>, Box<str>)>,
}

/// Which numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// This one.
    Exact(Box<str>),
    /// These digits, `?` standing for any one, and behind them any others when `open`.
    Digits {
        /// Digits and `?`.
        digits: Box<str>,
        /// Whether more may follow.
        open: bool,
    },
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Only digits, `?` and one `*` at the end.
    #[error("contains {0:?}")]
    Character(char),
    /// It would name every number there is.
    #[error("names every number")]
    Everything,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        let (digits, open) = text.strip_suffix('*').map_or((text, false), |digits| (digits, true));
        if let Some(wrong) = digits.chars().find(|c| !c.is_ascii_digit() && *c != '?') {
            return Err(PatternError::Character(wrong));
        }
        if !digits.contains(|c: char| c.is_ascii_digit()) {
            return Err(PatternError::Everything);
        }
        if open || digits.contains('?') {
            return Ok(Pattern::Digits { digits: digits.into(), open });
        }
        Ok(Pattern::Exact(digits.into()))
    }

    fn names(&self, number: &Number, national: &str) -> bool {
        match self {
            Pattern::Exact(exact) => **exact == *national,
            Pattern::Digits { digits, open } => {
                let fits = |(pattern, digit): (u8, u8)| pattern == b'?' || pattern == digit;
                let long = if *open { national.len() > digits.len() } else { national.len() == digits.len() };
                number.kind() != NumberKind::Emergency && long && digits.bytes().zip(national.bytes()).all(fits)
            }
        }
    }
}

impl Rule {
    /// Whether calls by it are made as emergencies are, be it for the exercise.
    pub fn hurries(&self) -> bool {
        self.emergency || self.drill
    }
}

impl Dialling {
    /// The rule by which this number may be dialled at a site.
    pub fn rule(&self, site: SiteId, number: &Number) -> Option<&Rule> {
        let national = number.national();
        let of_site = self.rules.iter().filter(|rule| rule.site == site);
        of_site.into_iter().find(|rule| rule.numbers.iter().any(|pattern| pattern.names(number, &national)))
    }

    /// The same for whoever dials a number, or is called back: a simulated line is reached by nothing but its target.
    pub fn rule_by_hand(&self, site: SiteId, number: &Number) -> Option<&Rule> {
        self.rule(site, number).filter(|rule| !rule.drill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialling(rules: &[(u16, &[&str], bool)]) -> Dialling {
        let rule = |(id, (site, numbers, emergency)): (usize, &(u16, &[&str], bool))| Rule {
            site: SiteId(*site),
            numbers: numbers.iter().map(|text| Pattern::parse(text).unwrap()).collect(),
            trunks: vec![TrunkId(id as u16)],
            caller: Number::parse("059112345", "591").unwrap(),
            emergency: *emergency,
            drill: false,
            place: Place::default(),
        };
        Dialling { rules: rules.iter().enumerate().map(rule).collect() }
    }

    #[test]
    fn the_first_rule_that_names_a_number_decides_and_the_rest_is_refused() {
        let dialling = dialling(&[
            (0, &["110", "119", "120", "122"], true),
            (0, &["1??????????", "0591*"], false),
            (1, &["95598", "1*"], false),
        ]);
        for (site, dialled, rule) in [
            (0, "110", Some(0)),
            (0, "13800138000", Some(1)),
            (0, "+86 138 0013 8000", Some(1)),
            (0, "87654321", Some(1)),
            (0, "059187654321", Some(1)),
            (0, "0595-87654321", None),
            (0, "00442071838750", None),
            (0, "1381101200", None),
            (0, "1101", None),
            (0, "1100", None),
            (0, "0591", None),
            (0, "95598", None),
            (1, "95598", Some(2)),
            // A pattern is no way to the police.
            (1, "110", None),
            (1, "12345", Some(2)),
            (2, "110", None),
        ] {
            let number = Number::parse(dialled, "591").unwrap();
            let found = dialling.rule(SiteId(site), &number).map(|rule| usize::from(rule.trunks[0].0));
            assert_eq!(found, rule, "{dialled} at site {site}");
        }
    }

    #[test]
    fn what_contains_110_never_reaches_the_emergency_rule() {
        let dialling = dialling(&[(0, &["110", "119", "120", "122"], true), (0, &["1*", "2*", "0*", "9*"], false)]);
        for dialled in ["1381101200", "13811011000", "1101", "1100", "1120", "21101100", "0110110", "91101", "110110"] {
            let number = Number::parse(dialled, "591").unwrap();
            assert!(dialling.rule(SiteId(0), &number).is_none_or(|rule| !rule.emergency), "{dialled}");
        }
    }

    #[test]
    fn patterns_are_digits() {
        assert_eq!(Pattern::parse("110"), Ok(Pattern::Exact("110".into())));
        for (text, error) in [
            ("*", PatternError::Everything),
            ("", PatternError::Everything),
            ("??*", PatternError::Everything),
            ("+86*", PatternError::Character('+')),
            ("0*1", PatternError::Character('*')),
            ("13x", PatternError::Character('x')),
        ] {
            assert_eq!(Pattern::parse(text), Err(error), "{text}");
        }
    }
}
