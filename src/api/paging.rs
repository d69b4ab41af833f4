//! Lists of records by cursor: newest first, each page asked for by the last id of the one before.

use super::problem::Problem;
use crate::store::{Limit, Page, StoreError};
use serde::Serialize;
use std::str::FromStr;
use utoipa::ToSchema;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Paged<T> {
    /// Newest first.
    pub items: Vec<T>,
    /// Give it as `before` to get the next page; `null` on the last.
    pub next: Option<String>,
}

/// The page a query asks for.
///
/// # Errors
/// 400 when `before` is no id.
pub fn page<Id: FromStr>(before: Option<&str>, limit: Option<u32>) -> Result<Page<Id>, Problem> {
    let limit = limit.map_or_else(Limit::default, Limit::new);
    Ok(Page { before: optional_id(before, "before")?, limit })
}

/// An id of a query.
///
/// # Errors
/// 400 when it is none.
pub fn optional_id<Id: FromStr>(text: Option<&str>, name: &str) -> Result<Option<Id>, Problem> {
    let parse = |text: &str| text.parse().map_err(|_| Problem::bad_request(format!("{name} is no id")));
    text.map(parse).transpose()
}

/// An id of a path: what is no id names nothing.
///
/// # Errors
/// 404.
pub fn id<Id: FromStr>(text: &str) -> Result<Id, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

impl<T> Paged<T> {
    /// The page of these rows. A full page has a next one, which may be empty.
    pub fn new(items: Vec<T>, limit: Limit, id: impl Fn(&T) -> &str) -> Paged<T> {
        let full = Limit::new(u32::try_from(items.len()).unwrap_or(u32::MAX)) == limit && !items.is_empty();
        let next = items.last().filter(|_| full).map(|last| id(last).to_owned());
        Paged { items, next }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        tracing::warn!(error = &error as &dyn std::error::Error, "the store did not answer");
        Problem::busy("the store is away: ask again")
    }
}
