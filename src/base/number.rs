//! Telephone numbers as China's network writes them.
//!
//! A [`Number`] is kept in one canonical form, so that comparison is exact: never by substring, prefix or suffix (a
//! number that merely contains 110 is not the police). Source: YD/T 1157 numbering (mobile 11 digits from 13 to 19,
//! area codes 10, 2x and three-digit ones, service numbers 1xx, 95xxx, 96xxx, 10xxx, 12xxx) and ITU-T E.164.

use core::fmt;
use serde::{Deserialize, Serialize};

/// What kind of number this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberKind {
    /// 110, 119, 120, 122.
    Emergency,
    /// 12345, 10086, 95598, 96110, 114 …: dialled as they stand, in every area.
    Service,
    /// A mainland mobile.
    Mobile,
    /// A mainland fixed line with its area code.
    Fixed,
    /// A number outside the mainland, by its country code.
    International,
    /// A number inside an exchange: an extension, or a local number whose area is unknown.
    Local,
}

/// A telephone number in canonical form.
///
/// E.164 with `+` for what has a place in the world; bare digits for service and emergency numbers dialled without an
/// area, and for local ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Number {
    text: Box<str>,
    kind: NumberKind,
}

/// Why a text is no telephone number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// There is no digit in it.
    #[error("no digits")]
    Empty,
    /// It has something other than digits, a leading `+` and the separators ` - . ( )`.
    #[error("contains {0:?}, which no telephone number has")]
    Character(char),
    /// E.164 allows 15 digits; with an international prefix 18.
    #[error("more than 18 digits")]
    TooLong,
}

const EMERGENCY: [&str; 4] = ["110", "119", "120", "122"];
const DIGITS_MAX: usize = 18;

impl Number {
    /// Reads a number as dialled in the area `area_code` (without its leading 0, for example `591`; empty if unknown).
    ///
    /// # Errors
    /// [`NumberError`] when the text is not a telephone number.
    pub fn parse(text: &str, area_code: &str) -> Result<Number, NumberError> {
        let (plus, digits) = digits(text)?;
        let digits = digits.as_str();
        if plus {
            return Ok(international(digits));
        }
        if let Some(abroad) = digits.strip_prefix("00") {
            return Ok(international(abroad));
        }
        if EMERGENCY.contains(&digits) {
            return Ok(Number::new(digits.into(), NumberKind::Emergency));
        }
        if is_service(digits) {
            return Ok(Number::new(digits.into(), NumberKind::Service));
        }
        if is_mobile(digits) {
            return Ok(Number::new(format!("+86{digits}"), NumberKind::Mobile));
        }
        if let Some(national) = digits.strip_prefix('0') {
            return Ok(mainland(national));
        }
        if !area_code.is_empty() && matches!(digits.len(), 7 | 8) {
            return Ok(Number::new(format!("+86{area_code}{digits}"), NumberKind::Fixed));
        }
        Ok(Number::new(digits.into(), NumberKind::Local))
    }

    fn new(text: String, kind: NumberKind) -> Number {
        Number { text: text.into(), kind }
    }

    /// The canonical text: `+8613800138000`, `12345`, `1001`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What kind of number it is.
    pub fn kind(&self) -> NumberKind {
        self.kind
    }

    /// As dialled inside China: `13800138000`, `059187654321`, `0044…`, bare service numbers as they are.
    pub fn national(&self) -> String {
        match (self.kind, self.text.strip_prefix("+86")) {
            (NumberKind::Mobile, Some(national)) => national.into(),
            (_, Some(national)) => format!("0{national}"),
            (NumberKind::International, None) => format!("00{}", &self.text[1..]),
            (_, None) => self.text.as_ref().into(),
        }
    }

    /// The area code without its leading 0 (`10`, `591`) of a number that is written with one.
    pub fn area_code(&self) -> Option<&str> {
        match (self.kind, self.text.strip_prefix("+86")) {
            (NumberKind::Mobile, _) | (_, None) => None,
            (_, Some(national)) => Some(area_of(national)),
        }
    }

    /// A service or emergency number that is written with its area, without it: `+8659112345` is `12345`.
    pub fn without_area(&self) -> Option<&str> {
        match self.kind {
            NumberKind::Service | NumberKind::Emergency => {
                let national = self.text.strip_prefix("+86")?;
                Some(&national[area_of(national).len()..])
            }
            NumberKind::Mobile | NumberKind::Fixed | NumberKind::International | NumberKind::Local => None,
        }
    }

    /// For logs and for eyes that may not see the whole number: first three and last two characters.
    pub fn masked(&self) -> String {
        mask(&self.text)
    }
}

/// Hides the middle of any number-like text; texts of up to five characters are hidden whole.
pub fn mask(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let keep = |index: usize| characters.len() > 5 && (index < 3 || index + 2 >= characters.len());
    characters.iter().enumerate().map(|(index, c)| if keep(index) { *c } else { '*' }).collect()
}

fn digits(text: &str) -> Result<(bool, String), NumberError> {
    let text = text.trim();
    let (plus, rest) = text.strip_prefix('+').map_or((false, text), |rest| (true, rest));
    let mut digits = String::with_capacity(rest.len());
    for c in rest.chars() {
        match c {
            '0'..='9' => digits.push(c),
            ' ' | '-' | '.' | '(' | ')' => {}
            other => return Err(NumberError::Character(other)),
        }
    }
    match digits.len() {
        0 => Err(NumberError::Empty),
        1..=DIGITS_MAX => Ok((plus, digits)),
        _ => Err(NumberError::TooLong),
    }
}

fn international(digits: &str) -> Number {
    match digits.strip_prefix("86") {
        // Carriers also write +86 0591 …: the trunk prefix is not part of the number.
        Some(national) => mainland(national.strip_prefix('0').unwrap_or(national)),
        None => Number::new(format!("+{digits}"), NumberKind::International),
    }
}

/// A number after +86 or after the trunk prefix 0 (a mobile dialled through another area's exchange has that too).
fn mainland(national: &str) -> Number {
    if EMERGENCY.contains(&national) {
        return Number::new(national.into(), NumberKind::Emergency);
    }
    if is_service(national) {
        return Number::new(national.into(), NumberKind::Service);
    }
    let text = format!("+86{national}");
    if is_mobile(national) {
        return Number::new(text, NumberKind::Mobile);
    }
    // 0591 12345 is another hotline than 0595 12345: the area stays part of the number.
    let bare = &national[area_of(national).len()..];
    if EMERGENCY.contains(&bare) {
        return Number::new(text, NumberKind::Emergency);
    }
    let kind = if is_service(bare) { NumberKind::Service } else { NumberKind::Fixed };
    Number::new(text, kind)
}

fn area_of(national: &str) -> &str {
    let length = if national.starts_with("10") || national.starts_with('2') { 2 } else { 3 };
    &national[..length.min(national.len())]
}

fn is_mobile(digits: &str) -> bool {
    digits.len() == 11 && digits.starts_with('1') && matches!(digits.as_bytes()[1], b'3'..=b'9')
}

/// Service numbers: three digits from 1, five or six digits from 10, 11, 12, 95 or 96.
fn is_service(digits: &str) -> bool {
    match digits.len() {
        3 => digits.starts_with("11") || digits.starts_with("12"),
        5 | 6 => ["10", "11", "12", "95", "96"].iter().any(|prefix| digits.starts_with(prefix)),
        _ => false,
    }
}

impl TryFrom<String> for Number {
    type Error = NumberError;
    fn try_from(text: String) -> Result<Number, NumberError> {
        Number::parse(&text, "")
    }
}

impl From<Number> for String {
    fn from(number: Number) -> String {
        number.text.into()
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NumberKind::*;

    #[test]
    fn every_way_of_writing_a_number_is_one_number() {
        let cases = [
            ("13800138000", "591", "+8613800138000", Mobile),
            ("013800138000", "591", "+8613800138000", Mobile),
            ("+86 138-0013-8000", "", "+8613800138000", Mobile),
            ("008613800138000", "", "+8613800138000", Mobile),
            ("87654321", "591", "+8659187654321", Fixed),
            ("0591-87654321", "10", "+8659187654321", Fixed),
            ("(010)87654321", "", "+861087654321", Fixed),
            ("+8601087654321", "", "+861087654321", Fixed),
            ("12345", "591", "12345", Service),
            ("+8612345", "", "12345", Service),
            ("+8659112345", "", "+8659112345", Service),
            ("059112345", "595", "+8659112345", Service),
            ("059512345", "591", "+8659512345", Service),
            ("95598", "591", "95598", Service),
            ("110", "591", "110", Emergency),
            ("+86591110", "", "+86591110", Emergency),
            ("+442071838750", "", "+442071838750", International),
            ("00442071838750", "", "+442071838750", International),
            ("1001", "591", "1001", Local),
            ("87654321", "", "87654321", Local),
        ];
        for (text, area, canonical, kind) in cases {
            let number = Number::parse(text, area).unwrap();
            assert_eq!((number.as_str(), number.kind()), (canonical, kind), "{text} in {area:?}");
        }
    }

    #[test]
    fn a_number_that_contains_110_is_not_the_police() {
        for text in ["1101", "61101100", "13811011000", "059111011011"] {
            assert_ne!(Number::parse(text, "591").unwrap().kind(), Emergency, "{text}");
        }
    }

    #[test]
    fn national_form_and_area() {
        let number = Number::parse("+8659187654321", "").unwrap();
        assert_eq!((number.national().as_str(), number.area_code()), ("059187654321", Some("591")));
        assert_eq!(Number::parse("+861087654321", "").unwrap().area_code(), Some("10"));
        assert_eq!(Number::parse("+442071838750", "").unwrap().national(), "00442071838750");
    }

    #[test]
    fn what_is_no_number_says_why() {
        assert_eq!(Number::parse("anonymous", ""), Err(NumberError::Character('a')));
        assert_eq!(Number::parse("  ", ""), Err(NumberError::Empty));
        assert_eq!(Number::parse(&"1".repeat(19), ""), Err(NumberError::TooLong));
    }

    #[test]
    fn masks_keep_only_the_ends() {
        assert_eq!(Number::parse("13800138000", "").unwrap().masked(), "+86*********00");
        assert_eq!(mask("12345"), "*****");
    }

    #[test]
    fn reads_back_what_it_writes() {
        for text in ["13800138000", "059187654321", "12345", "059112345", "110", "1001", "00442071838750"] {
            let number = Number::parse(text, "").unwrap();
            let json = serde_json::to_string(&number).unwrap();
            assert_eq!(serde_json::from_str::<Number>(&json).unwrap(), number, "{text}");
        }
    }
}
