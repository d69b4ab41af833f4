//! How a trunk wants called numbers written: one exact replacement, or strip and prefix.
//!
//! Nothing here looks for a number inside another: 1381101200 has nothing to do with 110.

use std::collections::BTreeMap;

/// The rewriting of called numbers, in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberRules {
    /// Whole numbers and what stands for them: `110` → `02712110`. Nothing else is done to such a number.
    pub replace: BTreeMap<Box<str>, Box<str>>,
    /// Taken off when the number begins with it and is longer.
    pub strip: Box<str>,
    /// Put before what is left.
    pub prefix: Box<str>,
}

impl NumberRules {
    /// The number as the other side wants it.
    pub fn apply(&self, number: &str) -> Box<str> {
        if let Some(replacement) = self.replace.get(number) {
            return replacement.clone();
        }
        let bare = number.strip_prefix(&*self.strip).filter(|rest| !rest.is_empty()).unwrap_or(number);
        format!("{}{bare}", self.prefix).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_replaced_and_beginnings_changed() {
        let rules = NumberRules {
            replace: BTreeMap::from([("110".into(), "0591110".into())]),
            strip: "0591".into(),
            prefix: "9".into(),
        };
        for (number, written) in [
            ("110", "0591110"),
            ("1381101200", "91381101200"),
            ("1101", "91101"),
            ("059187654321", "987654321"),
            ("0591", "90591"),
            ("8705911", "98705911"),
        ] {
            assert_eq!(&*rules.apply(number), written, "{number}");
        }
        assert_eq!(&*NumberRules::default().apply("13800138000"), "13800138000");
    }
}
