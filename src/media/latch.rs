//! From where a leg's packets are believed, and where its own go.
//!
//! The IP address must be the one in the session description. The port may differ once: behind a translator, or from a
//! phone that sends from elsewhere, the first port heard from that address is the one (symmetric RTP, RFC 4961), and then
//! only that one until the description is given anew; only the described port itself takes its place back, for at one
//! address there may be many phones, and one that has not heard of its call's end yet may speak first to a port that was
//! given out again. Injected packets (RFC 3550 §9) from a third party never enter.

use std::net::SocketAddr;

/// The source of one flow, RTP or RTCP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Latch {
    /// Nothing is known of the other side; nothing is believed.
    #[default]
    Shut,
    /// Waiting for the first packet; until then ours go to `to`.
    Open {
        /// The described address, or the one latched under the same description.
        to: SocketAddr,
        /// As described.
        named: SocketAddr,
    },
    /// This source and no other.
    Held {
        /// Where packets come from and ours go.
        from: SocketAddr,
        /// As described.
        named: SocketAddr,
    },
}

impl Latch {
    /// The other side described itself. The same description again opens the latch without forgetting where it was, for
    /// a held phone behind a translator sends nothing and yet wants its music.
    pub fn name(&mut self, named: SocketAddr) {
        *self = match *self {
            Latch::Held { from, named: before } if before == named => Latch::Open { to: from, named },
            Latch::Open { to, named: before } if before == named => Latch::Open { to, named },
            Latch::Shut | Latch::Open { .. } | Latch::Held { .. } => Latch::Open { to: named, named },
        };
    }

    /// Under the same description packets came from `from` before.
    pub fn resume(&mut self, from: SocketAddr) {
        match self {
            Latch::Open { to, named } if named.ip().to_canonical() == from.ip().to_canonical() => *to = from,
            Latch::Shut | Latch::Open { .. } | Latch::Held { .. } => {}
        }
    }

    /// From where packets are believed, once that is fixed.
    pub fn held(&self) -> Option<SocketAddr> {
        match *self {
            Latch::Shut | Latch::Open { .. } => None,
            Latch::Held { from, .. } => Some(from),
        }
    }

    /// Whether a packet from `from` is believed. `sound` says that it is of a kind we negotiated: only such a packet may
    /// fix the source.
    pub fn admits(&mut self, from: SocketAddr, sound: bool) -> bool {
        match *self {
            Latch::Shut => false,
            Latch::Held { from: only, .. } if same(only, from) => true,
            Latch::Held { named, .. } => {
                let described = sound && same(named, from);
                if described {
                    *self = Latch::Held { from, named };
                }
                described
            }
            Latch::Open { named, .. } => {
                let right = named.ip().to_canonical() == from.ip().to_canonical();
                if right && sound {
                    *self = Latch::Held { from, named };
                }
                right
            }
        }
    }

    /// Where our packets go; `None` before the other side is known, or while it names nowhere (0.0.0.0: RFC 2543's hold).
    pub fn destination(&self) -> Option<SocketAddr> {
        let to = match *self {
            Latch::Shut => return None,
            Latch::Open { to, .. } => to,
            Latch::Held { from, .. } => from,
        };
        (!to.ip().is_unspecified() && to.port() != 0).then_some(to)
    }
}

/// Equal, also when one is written as an IPv4 address mapped into IPv6.
fn same(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && one.ip().to_canonical() == other.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_port_of_the_described_address_is_the_only_one() {
        let mut latch = Latch::default();
        assert!(!latch.admits(at("10.0.0.1:4000"), true));
        assert_eq!(latch.destination(), None);
        latch.name(at("10.0.0.1:4000"));
        assert_eq!(latch.destination(), Some(at("10.0.0.1:4000")));
        for (from, sound, believed) in [
            ("10.0.0.2:4000", true, false),         // a stranger
            ("10.0.0.1:4444", false, true),         // the right host, but nothing that fixes the port
            ("10.0.0.1:5555", true, true),          // the first sound: this port
            ("10.0.0.1:4001", true, false),         // a second port
            ("10.0.0.1:4000", false, false),        // the described one, with nothing that fixes it
            ("10.0.0.2:5555", true, false),         // the right port of a stranger
            ("[::ffff:10.0.0.1]:5555", true, true), // the same address, written as IPv6
        ] {
            assert_eq!(latch.admits(at(from), sound), believed, "{from}");
        }
        assert_eq!(latch.destination(), Some(at("10.0.0.1:5555")));
    }

    #[test]
    fn the_described_port_takes_its_place_back_and_keeps_it() {
        let mut latch = Latch::default();
        latch.name(at("10.0.0.1:4000"));
        for (from, believed) in
            [("10.0.0.1:5555", true), ("10.0.0.1:4000", true), ("10.0.0.1:5555", false), ("10.0.0.1:4000", true)]
        {
            assert_eq!(latch.admits(at(from), true), believed, "{from}");
        }
        assert_eq!(latch.destination(), Some(at("10.0.0.1:4000")));
    }

    #[test]
    fn the_same_description_keeps_the_way_and_a_new_one_forgets_it() {
        let mut latch = Latch::default();
        latch.name(at("10.0.0.1:4000"));
        assert!(latch.admits(at("10.0.0.1:5555"), true));
        latch.name(at("10.0.0.1:4000"));
        assert_eq!(latch.destination(), Some(at("10.0.0.1:5555")));
        assert!(latch.admits(at("10.0.0.1:6666"), true), "open again");
        let mut again = Latch::default();
        again.name(at("10.0.0.1:4000"));
        for from in ["10.0.0.2:5555", "10.0.0.1:5555"] {
            again.resume(at(from));
        }
        assert_eq!((again.destination(), again.held()), (Some(at("10.0.0.1:5555")), None), "after a crash");
        latch.name(at("10.0.0.9:4000"));
        assert_eq!(latch.destination(), Some(at("10.0.0.9:4000")));
        assert!(!latch.admits(at("10.0.0.1:6666"), true));
    }
}
