//! PINs: what agents type at a seat's phone to say who they are.
//!
//! A few digits are soon guessed. So a wrong one is counted before it is looked at, and after a few nobody is let in for a
//! while; and what is kept of it takes long to be guessed from.

use super::agents::{AgentError, found};
use super::{Site, StoreError};
use crate::base::Wall;
use sha2::Sha256;
use std::fmt::Write;

/// Digits of a PIN.
pub const PIN_DIGITS: std::ops::RangeInclusive<usize> = 4..=12;
/// Wrong ones in a row, after which none is right for [`LOCKED_MS`].
const WRONG_MAX: i64 = 5;
/// Counted from the last one that was looked at.
const LOCKED_MS: i64 = 15 * 60 * 1_000;
/// Rounds of HMAC-SHA-256, as OWASP's Password Storage Cheat Sheet has them (2023).
const ROUNDS: u32 = 600_000;
const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

/// Why a PIN was not set.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// It is no PIN.
    #[error("a PIN is {} to {} digits", PIN_DIGITS.start(), PIN_DIGITS.end())]
    BadPin,
    /// There is no randomness.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// As with any change of an agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

impl Site<'_> {
    /// Gives an agent a PIN, in place of the one before; without one they cannot log in by phone.
    ///
    /// # Errors
    /// [`PinError`].
    pub async fn set_pin(&self, agent: &str, pin: Option<&str>) -> Result<(), PinError> {
        let is_pin = |pin: &str| PIN_DIGITS.contains(&pin.len()) && pin.bytes().all(|digit| digit.is_ascii_digit());
        if !pin.is_none_or(is_pin) {
            return Err(PinError::BadPin);
        }
        let kept = pin.map(Kept::of).transpose()?.map(|kept| kept.written());
        let update = "UPDATE agents SET pin = $3, pin_tries = 0 WHERE site = $1 AND name = $2";
        let update = sqlx::query(update).bind(self.code).bind(agent).bind(kept);
        let update = update.execute(&self.store.writer).await.map_err(AgentError::from)?;
        Ok(found(update.rows_affected())?)
    }

    /// Whether this is the agent's PIN. Nobody's is right who is disabled, has none, or for whom too many were tried. Takes
    /// some tenths of a second of a processor, off the caller's thread.
    ///
    /// # Errors
    /// [`StoreError`]; what is kept cannot be read.
    pub async fn is_pin(&self, agent: &str, pin: &str, now: Wall) -> Result<bool, StoreError> {
        let count = "UPDATE agents SET \
                     pin_tries = CASE WHEN pin_tried + $4 <= $3 THEN 1 ELSE pin_tries + 1 END, \
                     pin_tried = CASE WHEN pin_tried + $4 > $3 AND pin_tries >= $5 THEN pin_tried ELSE $3 END \
                     WHERE site = $1 AND name = $2 AND enabled = TRUE AND pin IS NOT NULL RETURNING pin, pin_tries";
        let count = sqlx::query_as(count).bind(self.code).bind(agent).bind(now.0).bind(LOCKED_MS).bind(WRONG_MAX);
        let Some((kept, tries)): Option<(String, i64)> = count.fetch_optional(&self.store.writer).await? else {
            return Ok(false);
        };
        let kept = Kept::read(&kept).ok_or_else(|| broken("a PIN is not as it was written"))?;
        let pin = pin.to_owned();
        let is_it = tokio::task::spawn_blocking(move || kept.is(&pin)).await;
        let is_it = is_it.map_err(|_panicked| broken("a PIN cannot be looked at"))?;
        if !is_it || tries > WRONG_MAX {
            return Ok(false);
        }
        let forget = sqlx::query("UPDATE agents SET pin_tries = 0 WHERE site = $1 AND name = $2");
        forget.bind(self.code).bind(agent).execute(&self.store.writer).await?;
        Ok(true)
    }
}

fn broken(why: &'static str) -> StoreError {
    StoreError::Away(sqlx::Error::Decode(why.into()))
}

/// What is kept of a PIN: PBKDF2 (RFC 8018 §5.2).
struct Kept {
    rounds: u32,
    salt: [u8; SALT_BYTES],
    key: [u8; KEY_BYTES],
}

impl Kept {
    fn of(pin: &str) -> Result<Kept, getrandom::Error> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt)?;
        Ok(Kept { rounds: ROUNDS, salt, key: derived(pin, &salt, ROUNDS) })
    }

    fn is(&self, pin: &str) -> bool {
        subtle::ConstantTimeEq::ct_eq(&derived(pin, &self.salt, self.rounds)[..], &self.key[..]).into()
    }

    /// Rounds, salt and key.
    fn written(&self) -> String {
        let mut text = format!("{}$", self.rounds);
        _ = write!(text, "{}${}", hex::encode(self.salt), hex::encode(self.key));
        text
    }

    fn read(text: &str) -> Option<Kept> {
        let mut parts = text.split('$');
        let rounds = parts.next()?.parse().ok()?;
        let (mut salt, mut key) = ([0; SALT_BYTES], [0; KEY_BYTES]);
        hex::decode_to_slice(parts.next()?, &mut salt).ok()?;
        hex::decode_to_slice(parts.next()?, &mut key).ok()?;
        parts.next().is_none().then_some(Kept { rounds, salt, key })
    }
}

fn derived(pin: &str, salt: &[u8], rounds: u32) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    pbkdf2::pbkdf2_hmac::<Sha256>(pin.as_bytes(), salt, rounds, &mut key);
    key
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::super::agents::NewAgent;
    use super::super::sites::tests::site;
    use super::*;

    #[test]
    fn it_is_pbkdf2() {
        // RFC 7914 §11: PBKDF2-HMAC-SHA-256 of "passwd" and "salt" in one round.
        let expected = "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc";
        assert_eq!(hex::encode(derived("passwd", b"salt", 1)), expected);
        let kept = Kept { rounds: 2, salt: [7; SALT_BYTES], key: derived("1234", &[7; SALT_BYTES], 2) };
        let read = Kept::read(&kept.written()).unwrap();
        assert!(read.is("1234") && !read.is("1235"));
        for wrong in ["", "2$07", "x$07$07", &format!("{}$", kept.written())] {
            assert!(Kept::read(wrong).is_none(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_few_wrong_ones_shut_the_door_for_a_while() {
        let store = Store::memory().await.unwrap();
        store.sync_sites(&[site("a")]).await.unwrap();
        let new = NewAgent { name: "1001", display_name: "", domain: "a.cn", password: "secret" };
        store.site("a").add_agent(&new).await.unwrap();
        let a = store.site("a");
        let start = 1_800_000_000_000;
        let tried = async |pin: &str, at: i64| a.is_pin("1001", pin, Wall(start + at)).await.unwrap();
        assert!(!tried("2468", 0).await, "there is none yet");
        for wrong in ["123", "1234567890123", "12a4", ""] {
            assert!(matches!(a.set_pin("1001", Some(wrong)).await, Err(PinError::BadPin)), "{wrong}");
        }
        assert!(matches!(a.set_pin("1009", Some("2468")).await, Err(PinError::Agent(AgentError::UnknownAgent))));
        a.set_pin("1001", Some("2468")).await.unwrap();
        let kept: String = sqlx::query_scalar("SELECT pin FROM agents").fetch_one(&store.readers).await.unwrap();
        assert!(!kept.contains("2468"));
        assert!(tried("2468", 1).await && !tried("2469", 2).await && tried("2468", 3).await);
        for at in 4..9 {
            assert!(!tried("1111", at).await);
        }
        assert!(!tried("2468", 9).await, "five were wrong");
        assert!(!tried("2468", 8 + LOCKED_MS - 1).await, "still shut");
        assert!(tried("2468", 8 + LOCKED_MS).await, "a try while it was shut did not keep it so");
        a.set_pin("1001", None).await.unwrap();
        assert!(!tried("2468", 9 + LOCKED_MS).await);
        a.set_pin("1001", Some("2468")).await.unwrap();
        a.set_enabled("1001", false).await.unwrap();
        assert!(!tried("2468", 10 + LOCKED_MS).await);
    }
}
