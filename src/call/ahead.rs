//! What the target of a transfer is told ahead of the voice, and the link under which it finds the rest.
//!
//! A link is a right of its own: whoever holds it sees one contact, for one transfer, until it runs out. It carries all that
//! is needed to judge it, signed with the node's key (HMAC-SHA256, RFC 2104), so that nothing is stored for it. Owns what
//! a link says, and what stands in what is told. Never sends anything.

use crate::base::fact::{TargetKind, TransferMode};
use crate::base::number::mask;
use crate::base::{ContactId, OrderId, SiteId, Wall};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where a link leads, below the public address.
pub const PATH: &str = "/context/";
/// Of the key that signs links, in bytes.
pub const KEY_BYTES: usize = 32;

/// What is signed begins with this, so that the key's signatures are good for nothing else.
const PURPOSE: &[u8] = b"jiesu link 1";
/// Of a contact, in bytes.
const CONTACT_BYTES: usize = 16;
/// Contact, number of the transfer, end in seconds since 1970.
const SAID_BYTES: usize = CONTACT_BYTES + 1 + 4;
/// Of the signature, in bytes: 128 bits are beyond guessing (RFC 2104 §5 wants at least 80).
const SIGNATURE_BYTES: usize = 16;

/// Signs links. Whoever knows it can make any.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u8; KEY_BYTES]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// How links are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// The address at which targets reach this node, without a slash at its end.
    pub base: Box<str>,
    /// For how long a link is good.
    pub valid: Duration,
    /// Signs them.
    pub key: Key,
}

/// What a link says: one transfer of one contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Whose.
    pub contact: ContactId,
    /// Which of its transfers, from 1.
    pub number: u8,
}

/// Why a link opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLink {
    /// We have not made it.
    #[error("there is no such thing")]
    Wrong,
    /// We have, and it has run out.
    #[error("this link has run out")]
    Expired(Link),
}

impl Links {
    /// The whole link, good from `now` on.
    pub fn mint(&self, link: Link, now: Wall) -> Box<str> {
        format!("{}{PATH}{}", self.base, token(&self.key, link, seconds(now + self.valid))).into()
    }

    /// What the token at the end of a link says. Takes as long for every wrong signature.
    ///
    /// # Errors
    /// [`NoLink`].
    pub fn read(&self, token: &str, now: Wall) -> Result<Link, NoLink> {
        let mut bytes = [0; SAID_BYTES + SIGNATURE_BYTES];
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(token, &mut bytes).map_err(|_| NoLink::Wrong)?;
        if length != bytes.len() {
            return Err(NoLink::Wrong);
        }
        let (said, signature) = bytes.split_at(SAID_BYTES);
        signing(&self.key, said).verify_truncated_left(signature).map_err(|_| NoLink::Wrong)?;
        let (contact, rest) = said.split_at(CONTACT_BYTES);
        let (Ok(contact), [number, until @ ..]) = (contact.try_into(), rest) else { return Err(NoLink::Wrong) };
        let link = Link { contact: ContactId(u128::from_be_bytes(contact)), number: *number };
        match until.try_into().map(u32::from_be_bytes) {
            Ok(until) if seconds(now) < until => Ok(link),
            Ok(_) => Err(NoLink::Expired(link)),
            Err(_) => Err(NoLink::Wrong),
        }
    }
}

/// Seconds since 1970, as far as four bytes reach: until 2106.
fn seconds(wall: Wall) -> u32 {
    u32::try_from(wall.0.max(0) / 1_000).unwrap_or(u32::MAX)
}

fn token(key: &Key, Link { contact, number }: Link, until: u32) -> String {
    let mut bytes = Vec::with_capacity(SAID_BYTES + SIGNATURE_BYTES);
    bytes.extend(contact.0.to_be_bytes());
    bytes.push(number);
    bytes.extend(until.to_be_bytes());
    let signature = signing(key, &bytes).finalize().into_bytes();
    bytes.extend(&signature[..SIGNATURE_BYTES]);
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn signing(Key(key): &Key, said: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key)
        .expect("HMAC takes keys of any length (RFC 2104 §3)")
        .chain_update(PURPOSE)
        .chain_update(said)
}

/// The secret that a target's system and we have in common (Standard Webhooks): 24 to 64 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Box<[u8]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a target's system is told.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its address: `https`, or `http` on this machine.
    pub url: Box<str>,
    /// Scheme, host and port of it: what shares its places, and all of it that may be logged.
    pub origin: Box<str>,
    /// Signs what it is told.
    pub secret: Secret,
}

/// Paths and queries of such addresses hold keys as often as not.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({})", self.origin)
    }
}

/// A target is about to be dialled: what its own system is told.
#[derive(Clone, PartialEq, Eq)]
pub struct Ahead {
    /// Of which transfer.
    pub link: Link,
    /// Whose.
    pub site: SiteId,
    /// Name of the target.
    pub target: Box<str>,
    /// What it is.
    pub kind: TargetKind,
    /// It is an exercise.
    pub drill: bool,
    /// Who hears whom meanwhile.
    pub mode: TransferMode,
    /// Why, in the agent's words.
    pub reason: Box<str>,
    /// Agent who asked; empty when a queue did by itself.
    pub agent: Box<str>,
    /// Canonical number of the citizen; empty when withheld.
    pub caller: Box<str>,
    /// Where the citizen is, as the network told it.
    pub place: Option<Box<str>>,
    /// The order that is open for the contact.
    pub order: Option<OrderId>,
    /// When it was asked for.
    pub at: Wall,
    /// Where the rest is to be found, for a target that has links.
    pub url: Option<Box<str>>,
    /// Where to tell it; not at all where there is none.
    pub webhook: Option<Arc<Webhook>>,
}

/// Neither number nor place nor link may come into a log in clear.
impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Link { contact, number } = self.link;
        let (target, caller, linked) = (&self.target, mask(&self.caller), self.url.is_some());
        write!(f, "Ahead({contact}/{number} to {target:?} for {caller}, linked: {linked}, {:?})", self.webhook)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        let key = Key(std::array::from_fn(|at| at as u8));
        Links { base: "https://12345.example.cn".into(), valid: Duration::from_secs(7_200), key }
    }

    const LINK: Link = Link { contact: ContactId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10), number: 3 };
    const NOW: Wall = Wall(1_700_000_000_999);
    /// Contact, transfer, end, and the first half of what openssl makes of them:
    /// `(printf 'jiesu link 1'; printf 0102…0f100365540d20 | xxd -r -p) | openssl dgst -sha256 -mac HMAC -macopt hexkey:0001…1f`.
    const EXPECTED: &str = "0102030405060708090a0b0c0d0e0f100365540d2057d2ff5e98395bd48d92bd661c3b77a1";

    #[test]
    fn a_link_says_what_it_was_made_for_until_it_runs_out() {
        let (links, url) = (links(), links().mint(LINK, NOW));
        let token = url.strip_prefix("https://12345.example.cn/context/").unwrap();
        assert_eq!(hex::encode(BASE64_URL_SAFE_NO_PAD.decode(token).unwrap()), EXPECTED);
        assert_eq!(token.len(), 50);
        assert_eq!(links.read(token, NOW), Ok(LINK));
        let end = Wall(1_700_007_200_000);
        assert_eq!(links.read(token, Wall(end.0 - 1)), Ok(LINK));
        assert_eq!(links.read(token, end), Err(NoLink::Expired(LINK)));
    }

    #[test]
    fn whatever_is_changed_in_a_link_it_opens_nothing() {
        let (links, url) = (links(), links().mint(LINK, NOW));
        let token = url.rsplit('/').next().unwrap();
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(links.read(&BASE64_URL_SAFE_NO_PAD.encode(changed), NOW), Err(NoLink::Wrong), "bit {bit}");
        }
        let longer = BASE64_URL_SAFE_NO_PAD.encode([&bytes[..], b"x"].concat());
        for wrong in
            ["", "x", &token[..49], &format!("{token}="), &format!("{token}A"), &longer, "中文", &"A".repeat(50)]
        {
            assert_eq!(links.read(wrong, NOW), Err(NoLink::Wrong), "{wrong}");
        }
        let another = Links { key: Key([7; KEY_BYTES]), ..links };
        assert_eq!(another.read(token, NOW), Err(NoLink::Wrong));
    }

    #[test]
    fn no_log_learns_a_number_a_secret_or_a_link() {
        let webhook = Webhook {
            url: "https://center.example/hook?key=hidden".into(),
            origin: "https://center.example".into(),
            secret: Secret(b"hidden".as_slice().into()),
        };
        let ahead = Ahead {
            link: LINK,
            site: SiteId(0),
            target: "water".into(),
            kind: TargetKind::Utility,
            drill: false,
            mode: TransferMode::Blind,
            reason: "burst".into(),
            agent: "1001".into(),
            caller: "+8613800138000".into(),
            place: Some("hidden".into()),
            order: None,
            at: NOW,
            url: Some(links().mint(LINK, NOW)),
            webhook: Some(Arc::new(webhook)),
        };
        let told = format!("{ahead:?} {:?} {:?}", links(), ahead.webhook.as_ref().map(|it| &it.secret));
        assert!(told.contains("water") && told.contains("https://center.example)"), "{told}");
        for hidden in ["13800138000", "hidden", "/context/", "0, 1, 2"] {
            assert!(!told.contains(hidden), "{hidden} in {told}");
        }
    }
}
