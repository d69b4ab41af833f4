//! `Idempotency-Key` on call actions (draft-ietf-httpapi-idempotency-key-header): the same key of the same actor within
//! 24 hours gets the answer of the first time, and nothing is done twice.
//!
//! Owns a bounded table; when it is full the oldest answer is forgotten. Refusals are not kept: those who were told
//! "busy" ask again with the same key.

use super::may::Actor;
use super::problem::Problem;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// How long an answer is kept.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Most answers kept.
pub const ANSWERS_MAX: usize = 10_000;
/// Longest key, in characters.
pub const KEY_CHARACTERS_MAX: usize = 255;

/// Actor, their site, and the key.
type Name = (Box<str>, Option<Box<str>>, Box<str>);

/// Answers given, by actor and key.
#[derive(Debug)]
pub struct Answers<T> {
    table: Mutex<Table<T>>,
}

#[derive(Debug)]
struct Table<T> {
    answers: BTreeMap<Arc<Name>, (Box<str>, T)>,
    /// Oldest first.
    ages: VecDeque<(Instant, Arc<Name>)>,
}

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Answers { table: Mutex::new(Table { answers: BTreeMap::new(), ages: VecDeque::new() }) }
    }
}

/// The request's key.
///
/// # Errors
/// 400 when it is no printable text of at most [`KEY_CHARACTERS_MAX`].
pub fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    if text.is_empty() || text.len() > KEY_CHARACTERS_MAX {
        return Err(Problem::bad_request("Idempotency-Key must be 1 to 255 printable ASCII characters"));
    }
    Ok(Some(text))
}

impl<T: Clone> Answers<T> {
    /// Does it, unless `actor` had it done under this `key` before. `request` is what the key stands for.
    ///
    /// The table is locked while it is done, so that two requests of one key at once do it once; `act` must not wait.
    ///
    /// # Errors
    /// 422 when the key stood for something else; whatever `act` returns.
    pub fn once(
        &self,
        now: Instant,
        actor: &Actor,
        key: &str,
        request: &str,
        act: impl FnOnce() -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.forget(|since, _| now.saturating_duration_since(since) >= KEPT_FOR);
        let name: Arc<Name> = Arc::new((actor.name.clone(), actor.site.clone(), key.into()));
        if let Some((first, answer)) = table.answers.get(&name) {
            let same = **first == *request;
            let reused =
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "this Idempotency-Key stood for another request");
            return if same { Ok(answer.clone()) } else { Err(reused) };
        }
        let answer = act()?;
        table.forget(|_, kept| kept >= ANSWERS_MAX);
        table.answers.insert(Arc::clone(&name), (request.into(), answer.clone()));
        table.ages.push_back((now, name));
        Ok(answer)
    }
}

impl<T> Table<T> {
    /// Forgets the oldest while `enough` says so of its age and of how many are kept.
    fn forget(&mut self, enough: impl Fn(Instant, usize) -> bool) {
        while self.ages.front().is_some_and(|(since, _)| enough(*since, self.ages.len())) {
            if let Some((_, name)) = self.ages.pop_front() {
                self.answers.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::may::Role;

    fn actor(name: &str) -> Actor {
        Actor { name: name.into(), role: Role::TeamLead, site: None }
    }

    #[test]
    fn the_same_key_gets_the_first_answer() {
        let answers = Answers::default();
        let now = Instant::now();
        assert_eq!(answers.once(now, &actor("a"), "k", "hang up 1", || Ok(1)), Ok(1));
        assert_eq!(answers.once(now, &actor("a"), "k", "hang up 1", || Ok(2)), Ok(1));
        assert_eq!(answers.once(now, &actor("b"), "k", "hang up 1", || Ok(3)), Ok(3));
        assert!(answers.once(now, &actor("a"), "k", "hang up 2", || Ok(4)).is_err());
        assert_eq!(answers.once(now + KEPT_FOR, &actor("a"), "k", "hang up 2", || Ok(5)), Ok(5));
    }

    #[test]
    fn a_refusal_is_not_kept() {
        let answers = Answers::default();
        let now = Instant::now();
        assert_eq!(
            answers.once(now, &actor("a"), "k", "r", || Err(Problem::busy("later"))),
            Err(Problem::busy("later"))
        );
        assert_eq!(answers.once(now, &actor("a"), "k", "r", || Ok(1)), Ok(1));
    }

    #[test]
    fn the_oldest_goes_when_the_table_is_full() {
        let answers = Answers::default();
        let now = Instant::now();
        for count in 0..=ANSWERS_MAX {
            assert_eq!(answers.once(now, &actor("a"), &count.to_string(), "r", || Ok(count)), Ok(count));
        }
        assert_eq!(answers.table.lock().unwrap().answers.len(), ANSWERS_MAX);
        assert_eq!(answers.once(now, &actor("a"), "1", "r", || Ok(0)), Ok(1));
        assert_eq!(answers.once(now, &actor("a"), "0", "r", || Ok(7)), Ok(7));
    }

    #[test]
    fn keys_are_printable_and_short() {
        let with = |key: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, axum::http::HeaderValue::from_bytes(key).unwrap());
            headers
        };
        assert_eq!(key(&HeaderMap::new()), Ok(None));
        assert_eq!(key(&with(b"8e03978e")), Ok(Some("8e03978e")));
        for bad in [b"".as_slice(), &[b'x'; 256], "键".as_bytes()] {
            assert!(key(&with(bad)).is_err(), "{bad:?}");
        }
    }
}
