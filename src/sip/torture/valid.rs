//! RFC 4475 §3.1.1 and RFC 5118: valid, whatever they look like.

use super::Torture;

/// RFC 4475 §3.1.1: valid, whatever they look like.
pub(in crate::sip) const VALID: &[Torture] = &[
    Torture { section: "3.1.1.1", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.1.1.sip") },
    Torture { section: "3.1.1.2", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.1.2.sip") },
    Torture { section: "3.1.1.3", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.1.3.sip") },
    Torture { section: "3.1.1.4", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.1.4.sip") },
    Torture { section: "3.1.1.5", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.1.5.sip") },
    Torture { section: "3.1.1.6", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.1.6.sip") },
    Torture { section: "3.1.1.8", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.1.8.sip") },
    Torture { section: "3.1.1.9", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.1.9.sip") },
    Torture { section: "3.1.1.10", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.1.10.sip") },
    Torture { section: "3.1.1.11", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.1.11.sip") },
    Torture { section: "3.1.1.12", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.1.12.sip") },
    Torture { section: "3.1.1.13", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.1.13.sip") },
];

/// RFC 5118: §4.1, §4.5 and §4.6 with their different ways to write an address.
pub(in crate::sip) const IPV6: &[Torture] = &[
    Torture { section: "5118 4.1", text: include_bytes!("../../../tests/data/torture/rfc5118-4.1.sip") },
    Torture { section: "5118 4.5", text: include_bytes!("../../../tests/data/torture/rfc5118-4.5.sip") },
];
