//! Who counts as one source: an IPv4 address, or an IPv6 network of 64 bits, which one customer has for themselves.

use crate::base::map::keyed_hash;
use core::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// One source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The source of a packet from this address.
    pub fn of(ip: IpAddr) -> Source {
        Source(match ip.to_canonical() {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        })
    }

    /// A hash that nobody without the seed can aim.
    pub(super) fn hash(self, seed: [u64; 2]) -> u64 {
        match self.0 {
            IpAddr::V4(ip) => keyed_hash(seed, &ip.octets()),
            IpAddr::V6(ip) => keyed_hash(seed, &ip.octets()[..8]),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => write!(f, "{ip}"),
            IpAddr::V6(ip) => write!(f, "{ip}/64"),
        }
    }
}

impl core::str::FromStr for Source {
    type Err = core::net::AddrParseError;

    /// An address; what stands behind a slash says nothing new.
    fn from_str(text: &str) -> Result<Source, core::net::AddrParseError> {
        text.split('/').next().unwrap_or_default().parse().map(Source::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_customer_is_one_source() {
        for (text, shown) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::/64", "2001:db8:1:2::/64"),
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!(source.to_string(), shown);
            assert_eq!(source.to_string().parse(), Ok(source));
        }
        assert!("phone".parse::<Source>().is_err());
        let [a, b] = ["2001:db8::1", "2001:db8:0:1::1"].map(|text| text.parse::<Source>().unwrap());
        assert_ne!(a.hash([1, 2]), b.hash([1, 2]));
        assert_ne!(a.hash([1, 2]), a.hash([1, 3]));
    }
}
