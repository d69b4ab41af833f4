//! Parameters behind a `;`: of URIs, addresses, Via and most other headers (RFC 3261 §25.1 `generic-param`).

use super::lex;

/// The parameters of one value, read when asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    /// `text` is what stands behind the first `;`.
    pub const fn new(text: &'a [u8]) -> Params<'a> {
        Params(text)
    }

    /// Names and values as written, trimmed: a quoted value keeps its quotes, a flag has none. Empty ones are left out.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            while !rest.is_empty() {
                let end = lex::find_bare(rest, b';').unwrap_or(rest.len());
                let param = rest[..end].trim_ascii();
                rest = rest.get(end + 1..).unwrap_or_default();
                if !param.is_empty() {
                    return Some(match lex::split_once(param, b'=') {
                        Some((name, value)) => (name.trim_ascii_end(), Some(value.trim_ascii_start())),
                        None => (param, None),
                    });
                }
            }
            None
        })
    }

    /// The value of the first parameter of this name, in any letter case; a flag's value is empty, a quoted value comes
    /// without its quotes but with its escapes.
    pub fn value(self, name: &str) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// The values of all parameters of this name, where a header should have one.
    pub(super) fn values(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let named = self.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| {
            let value = value.unwrap_or_default();
            lex::quoted(value).map_or(value, |(inside, _)| inside)
        })
    }

    /// Whether a parameter of this name is there, with or without a value.
    pub fn has(self, name: &str) -> bool {
        self.iter().any(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// As written, without the leading `;`.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_case_values_without_quotes_flags_empty() {
        let params = Params::new(br#"TAG = a7 ;lr;; x="1;2,\"3" ; q=0.5"#);
        assert_eq!(params.value("tag"), Some(&b"a7"[..]));
        assert_eq!(params.value("lr"), Some(&b""[..]));
        assert_eq!(params.value("x"), Some(&br#"1;2,\"3"#[..]));
        assert_eq!(params.value("Q"), Some(&b"0.5"[..]));
        assert_eq!((params.has("lr"), params.has("l")), (true, false));
        assert_eq!(params.iter().count(), 4);
        assert_eq!(Params::default().iter().count(), 0);
    }
}
