//! RFC 4475 §3.1.2 and the invalid ones of §3.3 and RFC 5118: what is wrong with each.

use super::Torture;
use crate::sip::Name;
use crate::sip::parse::Malformed;

/// RFC 4475 §3.1.2, and the invalid ones of §3.3 and RFC 5118: what is wrong, and whether a refusal can be sent.
pub(in crate::sip) const INVALID: &[(Torture, Malformed, bool)] = &[
    (
        Torture { section: "3.1.2.1", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.1.sip") },
        Malformed::Header(Name::Via),
        true,
    ),
    (
        Torture { section: "3.1.2.2", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.2.sip") },
        Malformed::Truncated,
        true,
    ),
    (
        Torture { section: "3.1.2.3", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.3.sip") },
        Malformed::Header(Name::ContentLength),
        true,
    ),
    (
        Torture { section: "3.1.2.4", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.4.sip") },
        Malformed::Header(Name::MaxForwards),
        true,
    ),
    (
        Torture { section: "3.1.2.5", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.5.sip") },
        Malformed::Header(Name::CSeq),
        false,
    ),
    (
        Torture { section: "3.1.2.6", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.6.sip") },
        Malformed::Header(Name::To),
        true,
    ),
    (
        Torture { section: "3.1.2.7", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.7.sip") },
        Malformed::StartLine,
        true,
    ),
    (
        Torture { section: "3.1.2.8", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.8.sip") },
        Malformed::StartLine,
        true,
    ),
    (
        Torture { section: "3.1.2.9", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.9.sip") },
        Malformed::StartLine,
        true,
    ),
    (
        Torture { section: "3.1.2.10", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.10.sip") },
        Malformed::StartLine,
        true,
    ),
    (
        Torture { section: "3.1.2.11", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.11.sip") },
        Malformed::StartLine,
        true,
    ),
    (
        Torture { section: "3.1.2.16", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.16.sip") },
        Malformed::Version,
        true,
    ),
    (
        Torture { section: "3.1.2.17", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.17.sip") },
        Malformed::MethodMismatch,
        true,
    ),
    (
        Torture { section: "3.1.2.18", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.18.sip") },
        Malformed::MethodMismatch,
        true,
    ),
    (
        Torture { section: "3.1.2.19", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.19.sip") },
        Malformed::StartLine,
        false,
    ),
    (
        Torture { section: "3.3.1", text: include_bytes!("../../../tests/data/torture/rfc4475-3.3.1.sip") },
        Malformed::Missing(Name::From),
        false,
    ),
    (
        Torture { section: "3.3.8", text: include_bytes!("../../../tests/data/torture/rfc4475-3.3.8.sip") },
        Malformed::Repeated(Name::CSeq),
        true,
    ),
    (
        Torture { section: "3.3.9", text: include_bytes!("../../../tests/data/torture/rfc4475-3.3.9.sip") },
        Malformed::Repeated(Name::ContentLength),
        true,
    ),
    (
        Torture { section: "5118 4.2", text: include_bytes!("../../../tests/data/torture/rfc5118-4.2.sip") },
        Malformed::StartLine,
        true,
    ),
];
