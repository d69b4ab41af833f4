//! Names of header fields: which we know, their compact forms (RFC 3261 §7.3.3 and the IANA registry) and which of them
//! hold comma-separated lists (RFC 3261 §7.3.1 and each header's own grammar).

use core::fmt;

macro_rules! names {
    ($($name:ident $text:literal $($compact:literal)? $kind:ident;)*) => {
        /// A header field we know by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "each variant is the header of its name")]
        pub enum Name { $($name,)* }

        static NAMES: &[(Name, &str, bool)] = &[$((Name::$name, $text, names!(@$kind)),)*];

        fn compact(letter: u8) -> Option<Name> {
            $($(if letter.eq_ignore_ascii_case(&$compact) { return Some(Name::$name); })?)*
            None
        }
    };
    (@list) => { true };
    (@whole) => { false };
}

names! {
    Accept "Accept" list;
    AcceptContact "Accept-Contact" b'a' list;
    AcceptEncoding "Accept-Encoding" list;
    AcceptLanguage "Accept-Language" list;
    AlertInfo "Alert-Info" list;
    Allow "Allow" list;
    AllowEvents "Allow-Events" b'u' list;
    AuthenticationInfo "Authentication-Info" whole;
    Authorization "Authorization" whole;
    CallId "Call-ID" b'i' whole;
    CallInfo "Call-Info" list;
    Contact "Contact" b'm' list;
    ContentDisposition "Content-Disposition" whole;
    ContentEncoding "Content-Encoding" b'e' list;
    ContentLanguage "Content-Language" list;
    ContentLength "Content-Length" b'l' whole;
    ContentType "Content-Type" b'c' whole;
    CSeq "CSeq" whole;
    Date "Date" whole;
    Diversion "Diversion" list;
    ErrorInfo "Error-Info" list;
    Event "Event" b'o' whole;
    Expires "Expires" whole;
    From "From" b'f' whole;
    Geolocation "Geolocation" list;
    HistoryInfo "History-Info" list;
    Identity "Identity" b'y' whole;
    IdentityInfo "Identity-Info" b'n' whole;
    InReplyTo "In-Reply-To" list;
    Join "Join" whole;
    MaxForwards "Max-Forwards" whole;
    MimeVersion "MIME-Version" whole;
    MinExpires "Min-Expires" whole;
    MinSe "Min-SE" whole;
    Organization "Organization" whole;
    PAccessNetworkInfo "P-Access-Network-Info" list;
    PAssertedIdentity "P-Asserted-Identity" list;
    PCalledPartyId "P-Called-Party-ID" whole;
    PChargingVector "P-Charging-Vector" whole;
    PEarlyMedia "P-Early-Media" list;
    PPreferredIdentity "P-Preferred-Identity" list;
    Path "Path" list;
    Priority "Priority" whole;
    Privacy "Privacy" whole;
    ProxyAuthenticate "Proxy-Authenticate" whole;
    ProxyAuthorization "Proxy-Authorization" whole;
    ProxyRequire "Proxy-Require" list;
    RAck "RAck" whole;
    Reason "Reason" list;
    RecordRoute "Record-Route" list;
    ReferSub "Refer-Sub" whole;
    ReferTo "Refer-To" b'r' whole;
    ReferredBy "Referred-By" b'b' whole;
    RejectContact "Reject-Contact" b'j' list;
    RemotePartyId "Remote-Party-ID" list;
    Replaces "Replaces" whole;
    ReplyTo "Reply-To" whole;
    RequestDisposition "Request-Disposition" b'd' list;
    Require "Require" list;
    ResourcePriority "Resource-Priority" list;
    RetryAfter "Retry-After" whole;
    Route "Route" list;
    RSeq "RSeq" whole;
    Server "Server" whole;
    ServiceRoute "Service-Route" list;
    SessionExpires "Session-Expires" b'x' whole;
    SipETag "SIP-ETag" whole;
    SipIfMatch "SIP-If-Match" whole;
    Subject "Subject" b's' whole;
    SubscriptionState "Subscription-State" whole;
    Supported "Supported" b'k' list;
    Timestamp "Timestamp" whole;
    To "To" b't' whole;
    Unsupported "Unsupported" list;
    UserAgent "User-Agent" whole;
    UserToUser "User-to-User" list;
    Via "Via" b'v' list;
    Warning "Warning" list;
    WwwAuthenticate "WWW-Authenticate" whole;
}

const EMPTY: u8 = u8::MAX;

/// Open-addressed table from [`slot`] to a position in [`NAMES`], made by the compiler.
static TABLE: [u8; 256] = {
    let mut table = [EMPTY; 256];
    let mut position = 0;
    while position < NAMES.len() {
        let mut at = slot(NAMES[position].1.as_bytes());
        while table[at] != EMPTY {
            at = (at + 1) % table.len();
        }
        table[at] = position as u8;
        position += 1;
    }
    table
};

/// Where a name of two bytes at least is looked for first; letter case does not matter.
const fn slot(name: &[u8]) -> usize {
    let first = (name[0] | 0x20) as usize;
    let last = (name[name.len() - 1] | 0x20) as usize;
    let middle = (name[name.len() / 2] | 0x20) as usize;
    (name.len() * 83 + first * 7 + middle * 31 + last) % 256
}

impl Name {
    /// By its long or compact name, in any letter case.
    pub fn parse(name: &[u8]) -> Option<Name> {
        match name {
            [] => return None,
            [letter] => return compact(*letter),
            _ => {}
        }
        let mut at = slot(name);
        while let Some((known, text, _)) = NAMES.get(usize::from(TABLE[at])) {
            // Nearly everyone spells as the RFCs do, and comparing as it stands is faster.
            if name == text.as_bytes() || name.eq_ignore_ascii_case(text.as_bytes()) {
                return Some(*known);
            }
            at = (at + 1) % TABLE.len();
        }
        None
    }

    /// The long name as the RFCs spell it.
    pub const fn as_str(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// Whether its value is a comma-separated list, so that several lines mean the same as one.
    pub const fn is_list(self) -> bool {
        NAMES[self as usize].2
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_stands_at_its_place() {
        for (position, &(name, text, _)) in NAMES.iter().enumerate() {
            assert_eq!(name as usize, position);
            assert_eq!(Name::parse(text.as_bytes()), Some(name));
            assert_eq!(Name::parse(text.to_ascii_uppercase().as_bytes()), Some(name));
            assert_eq!(Name::parse(text.to_ascii_lowercase().as_bytes()), Some(name));
        }
        for stranger in ["", "X-Name", "Vi", "Too", "Call_ID"] {
            assert_eq!(Name::parse(stranger.as_bytes()), None, "{stranger}");
        }
    }

    #[test]
    fn compact_forms_follow_the_registry() {
        let registry = [
            ("a", Name::AcceptContact),
            ("b", Name::ReferredBy),
            ("c", Name::ContentType),
            ("d", Name::RequestDisposition),
            ("e", Name::ContentEncoding),
            ("f", Name::From),
            ("i", Name::CallId),
            ("j", Name::RejectContact),
            ("k", Name::Supported),
            ("l", Name::ContentLength),
            ("m", Name::Contact),
            ("n", Name::IdentityInfo),
            ("o", Name::Event),
            ("r", Name::ReferTo),
            ("s", Name::Subject),
            ("t", Name::To),
            ("u", Name::AllowEvents),
            ("v", Name::Via),
            ("x", Name::SessionExpires),
            ("y", Name::Identity),
        ];
        for (letter, name) in registry {
            assert_eq!(Name::parse(letter.as_bytes()), Some(name));
            assert_eq!(Name::parse(letter.to_uppercase().as_bytes()), Some(name));
        }
        assert_eq!(Name::parse(b"z"), None);
    }
}
