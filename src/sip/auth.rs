//! Who may register and call: nonces and digest verdicts (RFC 3261 §22, RFC 7616, RFC 8760).
//!
//! A nonce is checked without having been kept: it carries its birth time, its shard and a keyed MAC. Only nonces with
//! which somebody has proved a password are remembered, for their short life, so that each count is used once; a
//! stranger can fill nothing. Unknown users cost the same work and get the same answer as wrong passwords.

use super::credentials::Credentials;
use super::digest::{Algorithm, Proof};
use super::event::Credential;
use crate::base::map::KeyedMap;
use crate::base::{Mono, ShardId};
use core::fmt::Write;
use core::time::Duration;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::collections::VecDeque;
use std::hash::Hasher;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Nonces in use that are remembered at most; beyond, the oldest become stale before their time.
pub const NONCES_MAX: usize = 65_536;
/// Length of the part of a nonce that says something: time, shard, serial number.
const SAID: usize = 12 + 2 + 12;
const NONCE_LEN: usize = SAID + 32;

/// Why nobody was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// No credentials for this realm.
    #[error("no credentials")]
    Missing,
    /// The password is right, but the nonce is old, foreign or its count was used (RFC 7616 §3.3 `stale`).
    #[error("stale nonce")]
    Stale,
    /// Unknown user or wrong password: nobody learns which.
    #[error("wrong credentials")]
    Wrong,
}

/// Checks digests for one shard.
#[derive(Debug)]
pub struct Authenticator {
    key: [u64; 2],
    shard: ShardId,
    serial: u64,
    life: Duration,
    credentials: Arc<Vec<Credential>>,
    /// Position in `credentials` by domain and user.
    index: KeyedMap<Box<str>, usize>,
    /// Stands in for a user who does not exist.
    nobody: Credential,
    /// Highest count seen, by serial number of the nonce.
    counts: KeyedMap<u64, u32>,
    /// The same serial numbers and the births of their nonces, in order of first use.
    used: VecDeque<(Mono, u64)>,
    /// Nonces born before are stale, because their counts may have been forgotten.
    floor_ms: u64,
    /// Proofs computed so far.
    proofs: u64,
}

struct Nonce {
    born_ms: u64,
    serial: u64,
}

impl Authenticator {
    /// Whoever knows `seed` can make nonces.
    pub fn new(shard: ShardId, seed: [u64; 2]) -> Self {
        Authenticator {
            key: seed,
            shard,
            serial: 0,
            life: Duration::ZERO,
            credentials: Arc::default(),
            index: KeyedMap::new(seed),
            nobody: Credential::new("", "", &format!("{:016x}{:016x}", seed[1], seed[0])),
            counts: KeyedMap::new(seed),
            used: VecDeque::new(),
            floor_ms: 0,
            proofs: 0,
        }
    }

    /// Takes over users and the life of nonces.
    pub fn configure(&mut self, credentials: &Arc<Vec<Credential>>, nonce_life: Duration) {
        self.life = nonce_life;
        if Arc::ptr_eq(&self.credentials, credentials) {
            return;
        }
        self.credentials = Arc::clone(credentials);
        self.index = KeyedMap::new(self.key);
        for (position, credential) in credentials.iter().enumerate() {
            self.index.insert(name(&credential.domain, &credential.user), position);
        }
    }

    /// The values of `WWW-Authenticate`, one per algorithm, all with the same new nonce.
    pub fn challenges(&mut self, now: Mono, realm: &str, stale: bool, algorithms: &[Algorithm]) -> Vec<String> {
        self.serial += 1;
        let nonce = self.nonce(now.ms(), self.serial);
        let stale = if stale { ", stale=true" } else { "" };
        let value = |algorithm: &Algorithm| {
            let algorithm = algorithm.as_str();
            format!(r#"Digest realm="{realm}", nonce="{nonce}", algorithm={algorithm}, qop="auth"{stale}"#)
        };
        algorithms.iter().map(value).collect()
    }

    /// Which user of `realm` sent a request of this method with these credentials.
    ///
    /// # Errors
    /// [`Unproved`] when none.
    pub fn verify<'a>(
        &mut self,
        now: Mono,
        realm: &str,
        method: &[u8],
        given: impl Iterator<Item = Credentials<'a>>,
    ) -> Result<Box<str>, Unproved> {
        let mut verdict = Err(Unproved::Missing);
        for credentials in given.filter(|credentials| *credentials.realm == *realm.as_bytes()) {
            let Some(proof) = Proof::read(&credentials) else {
                continue;
            };
            verdict = self.judge(now, realm, method, &credentials, &proof);
            if verdict.is_ok() {
                break;
            }
        }
        verdict
    }

    /// How many nonces are remembered.
    pub fn nonces(&self) -> usize {
        self.used.len()
    }

    /// How many proofs were computed: what strangers cost us.
    pub fn proofs(&self) -> u64 {
        self.proofs
    }

    fn judge(
        &mut self,
        now: Mono,
        realm: &str,
        method: &[u8],
        given: &Credentials,
        proof: &Proof,
    ) -> Result<Box<str>, Unproved> {
        let user = std::str::from_utf8(&given.username).unwrap_or_default();
        let known = self.index.at(&name(realm, user)).and_then(|position| self.credentials.get(*position));
        self.proofs += 1;
        // The hash is computed for nobody too, and its result does not matter then.
        let proved = proof.holds(method, known.unwrap_or(&self.nobody));
        let Some(credential) = known.filter(|_| proved) else {
            return Err(Unproved::Wrong);
        };
        let user = credential.user.clone();
        let nonce = self.read(&given.nonce).ok_or(Unproved::Stale)?;
        self.forget(now);
        let age = now.since(Mono::from_ms(nonce.born_ms));
        if nonce.born_ms > now.ms() || age > self.life || nonce.born_ms < self.floor_ms {
            return Err(Unproved::Stale);
        }
        self.count(now, &nonce, proof.count())?;
        Ok(user)
    }

    /// Every count of a nonce is good once, in rising order and with any gaps (RFC 7616 §3.4 `nc`).
    fn count(&mut self, now: Mono, nonce: &Nonce, count: u32) -> Result<(), Unproved> {
        match self.counts.at_mut(&nonce.serial) {
            Some(highest) if count <= *highest => Err(Unproved::Stale),
            Some(highest) => {
                *highest = count;
                Ok(())
            }
            None if count == 0 => Err(Unproved::Stale),
            None => {
                self.counts.insert(nonce.serial, count);
                self.used.push_back((now, nonce.serial));
                Ok(())
            }
        }
    }

    /// Drops nonces whose life must be over, and the oldest of too many.
    fn forget(&mut self, now: Mono) {
        while let Some(&(first_used, serial)) = self.used.front() {
            let over = now.since(first_used) > self.life;
            if !over && self.used.len() < NONCES_MAX {
                break;
            }
            if !over {
                self.floor_ms = self.floor_ms.max(first_used.ms() + 1);
            }
            self.used.pop_front();
            self.counts.remove(&serial);
        }
    }

    fn nonce(&self, born_ms: u64, serial: u64) -> String {
        let mut text = String::with_capacity(NONCE_LEN);
        let (born_ms, serial) = (born_ms & 0xffff_ffff_ffff, serial & 0xffff_ffff_ffff);
        write!(text, "{born_ms:012x}{:02x}{serial:012x}", self.shard.0).expect("writing to a String never fails");
        let mac = self.mac(text.as_bytes());
        text + &mac
    }

    fn mac(&self, said: &[u8]) -> String {
        let mut hasher = SipHasher24::new_with_keys(self.key[0], self.key[1]);
        hasher.write(said);
        format!("{:032x}", hasher.finish128().as_u128())
    }

    /// A nonce of ours; whether it is still good is another question.
    fn read(&self, text: &[u8]) -> Option<Nonce> {
        let (said, mac) = text.split_at_checked(SAID)?;
        let ours: bool = self.mac(said).as_bytes().ct_eq(mac).into();
        let said = std::str::from_utf8(said).ok().filter(|_| ours)?;
        let number = |from, to| u64::from_str_radix(&said[from..to], 16).ok();
        let nonce = Nonce { born_ms: number(0, 12)?, serial: number(14, SAID)? };
        (number(12, 14)? == u64::from(self.shard.0)).then_some(nonce)
    }
}

/// Domains and users contain no blank.
fn name(domain: &str, user: &str) -> Box<str> {
    format!("{domain} {user}").into()
}

#[cfg(test)]
mod tests {
    use super::super::digest::tests::answer;
    use super::*;

    const REALM: &str = "fz.12345.cn";
    const BOTH: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Md5];

    fn authenticator() -> Authenticator {
        let mut auth = Authenticator::new(ShardId(3), [7, 8]);
        let users = vec![Credential::new("1001", REALM, "right"), Credential::new("1002", REALM, "other")];
        auth.configure(&Arc::new(users), Duration::from_secs(60));
        auth
    }

    fn nonce(challenge: &str) -> String {
        challenge.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }

    struct Try<'a> {
        user: &'a str,
        password: &'a str,
        nonce: &'a str,
        nc: Option<u32>,
        at_ms: u64,
    }

    fn verify(auth: &mut Authenticator, algorithm: Algorithm, t: &Try) -> Result<Box<str>, Unproved> {
        let value = answer(algorithm, (t.user, REALM, t.password), ("REGISTER", "sip:fz.12345.cn"), t.nonce, t.nc);
        auth.verify(Mono::from_ms(t.at_ms), REALM, b"REGISTER", Credentials::parse(value.as_bytes()).into_iter())
    }

    #[test]
    fn right_wrong_unknown_and_missing() {
        for algorithm in BOTH {
            let mut auth = authenticator();
            let challenges = auth.challenges(Mono::from_ms(5), REALM, false, &BOTH);
            assert!(challenges[0].contains("SHA-256") && challenges[1].contains("MD5"));
            let nonce = nonce(&challenges[0]);
            let right = Try { user: "1001", password: "right", nonce: &nonce, nc: Some(1), at_ms: 9 };
            assert_eq!(verify(&mut auth, algorithm, &right), Ok("1001".into()));
            let wrong = Try { password: "wrong", nc: Some(2), ..right };
            assert_eq!(verify(&mut auth, algorithm, &wrong), Err(Unproved::Wrong));
            let unknown = Try { user: "9999", ..wrong };
            assert_eq!(verify(&mut auth, algorithm, &unknown), Err(Unproved::Wrong));
            assert_eq!(auth.verify(Mono(1), REALM, b"REGISTER", std::iter::empty()), Err(Unproved::Missing));
        }
    }

    #[test]
    fn a_user_who_does_not_exist_costs_what_a_wrong_password_costs() {
        for algorithm in BOTH {
            let mut auth = authenticator();
            let nonce = nonce(&auth.challenges(Mono(0), REALM, false, &BOTH)[0]);
            // Nonces of ours, of nobody and none at all; with a count and without.
            for (nonce, nc) in [(&*nonce, Some(1)), (&*nonce, None), ("f00", Some(1)), ("", Some(1))] {
                let work = ["1001", "9999", "", "ü"].map(|user| {
                    let before = (auth.proofs(), auth.nonces());
                    let tried = Try { user, password: "wrong", nonce, nc, at_ms: 1 };
                    assert_eq!(verify(&mut auth, algorithm, &tried), Err(Unproved::Wrong));
                    (auth.proofs() - before.0, auth.nonces() - before.1)
                });
                assert_eq!(work, [(1, 0); 4], "{nonce} {nc:?}");
            }
        }
    }

    #[test]
    fn a_replay_an_old_nonce_and_a_forged_one_are_stale() {
        let mut auth = authenticator();
        let nonce = nonce(&auth.challenges(Mono::from_ms(1_000), REALM, false, &BOTH)[0]);
        let first = Try { user: "1001", password: "right", nonce: &nonce, nc: Some(5), at_ms: 2_000 };
        assert!(verify(&mut auth, Algorithm::Md5, &first).is_ok());
        for nc in [5, 4, 0] {
            let replayed = Try { nc: Some(nc), ..first };
            assert_eq!(verify(&mut auth, Algorithm::Md5, &replayed), Err(Unproved::Stale));
        }
        let old = Try { nc: Some(6), at_ms: 61_001, ..first };
        assert_eq!(verify(&mut auth, Algorithm::Md5, &old), Err(Unproved::Stale));
        let early = Try { nc: Some(6), at_ms: 999, ..first };
        assert_eq!(verify(&mut auth, Algorithm::Md5, &early), Err(Unproved::Stale));
        for forged in [nonce.replace('1', "2"), nonce[1..].to_owned(), String::new(), "ü".repeat(29)] {
            let forged = Try { nonce: &forged, nc: Some(7), ..first };
            assert_eq!(verify(&mut auth, Algorithm::Md5, &forged), Err(Unproved::Stale));
        }
        assert!(auth.challenges(Mono(0), REALM, true, &BOTH)[1].ends_with(", stale=true"));
    }

    #[test]
    fn another_shards_nonce_is_stale() {
        let mut other = Authenticator::new(ShardId(4), [7, 8]);
        let nonce = nonce(&other.challenges(Mono(0), REALM, false, &BOTH)[0]);
        let tried = Try { user: "1001", password: "right", nonce: &nonce, nc: Some(1), at_ms: 1 };
        assert_eq!(verify(&mut authenticator(), Algorithm::Md5, &tried), Err(Unproved::Stale));
    }

    #[test]
    fn counts_rise_in_any_step_to_0x1000_and_beyond() {
        let mut auth = authenticator();
        let nonce = nonce(&auth.challenges(Mono(0), REALM, false, &BOTH)[0]);
        for nc in (1..=0x20).chain((0x21..=0x1000).step_by(7)).chain([0x1001, 0x5000, u32::MAX - 1]) {
            let tried = Try { user: "1001", password: "right", nonce: &nonce, nc: Some(nc), at_ms: 1 };
            assert!(verify(&mut auth, Algorithm::Sha256, &tried).is_ok(), "{nc:x}");
        }
        assert_eq!(auth.nonces(), 1);
    }

    #[test]
    fn without_qop_a_nonce_is_good_once() {
        let mut auth = authenticator();
        let nonce = nonce(&auth.challenges(Mono(0), REALM, false, &BOTH)[0]);
        let tried = Try { user: "1001", password: "right", nonce: &nonce, nc: None, at_ms: 1 };
        assert!(verify(&mut auth, Algorithm::Md5, &tried).is_ok());
        assert_eq!(verify(&mut auth, Algorithm::Md5, &tried), Err(Unproved::Stale));
    }

    #[test]
    fn used_nonces_are_forgotten_after_their_life_and_never_good_again() {
        let mut auth = authenticator();
        let nonces: Vec<_> = (0..3).map(|_| nonce(&auth.challenges(Mono(0), REALM, false, &BOTH)[0])).collect();
        let tried = |nonce, at_ms| Try { user: "1001", password: "right", nonce, nc: Some(1), at_ms };
        assert!(verify(&mut auth, Algorithm::Md5, &tried(&nonces[0], 1)).is_ok());
        assert!(verify(&mut auth, Algorithm::Md5, &tried(&nonces[1], 60_000)).is_ok());
        assert_eq!(auth.nonces(), 2);
        assert_eq!(verify(&mut auth, Algorithm::Md5, &tried(&nonces[2], 60_002)), Err(Unproved::Stale));
        assert_eq!(auth.nonces(), 1, "the first was used 60.001 s ago");
        assert_eq!(verify(&mut auth, Algorithm::Md5, &tried(&nonces[0], 60_003)), Err(Unproved::Stale));
    }
}
