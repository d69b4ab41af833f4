//! RFC 4475 §3.1.2.12–15, §3.2, §3.3, §3.4: readable, judged by whoever needs them.

use super::Torture;

/// RFC 4475 §3.1.2.12–15, §3.2, §3.3, §3.4: readable messages; what they ask for is judged by whoever needs it.
pub(in crate::sip) const APPLICATION: &[Torture] = &[
    Torture { section: "3.1.2.12", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.12.sip") },
    Torture { section: "3.1.2.13", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.13.sip") },
    Torture { section: "3.1.2.14", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.14.sip") },
    Torture { section: "3.1.2.15", text: include_bytes!("../../../tests/data/torture/rfc4475-3.1.2.15.sip") },
    Torture { section: "3.2.1", text: include_bytes!("../../../tests/data/torture/rfc4475-3.2.1.sip") },
    Torture { section: "3.3.2", text: include_bytes!("../../../tests/data/torture/rfc4475-3.3.2.sip") },
    Torture { section: "3.3.4", text: include_bytes!("../../../tests/data/torture/rfc4475-3.3.4.sip") },
    Torture { section: "3.3.5", text: include_bytes!("../../../tests/data/torture/rfc4475-3.3.5.sip") },
    Torture { section: "3.3.7", text: include_bytes!("../../../tests/data/torture/rfc4475-3.3.7.sip") },
    Torture { section: "3.3.12", text: include_bytes!("../../../tests/data/torture/rfc4475-3.3.12.sip") },
    Torture { section: "3.3.14", text: include_bytes!("../../../tests/data/torture/rfc4475-3.3.14.sip") },
    Torture { section: "3.4.1", text: include_bytes!("../../../tests/data/torture/rfc4475-3.4.1.sip") },
];
