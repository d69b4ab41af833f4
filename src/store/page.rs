//! Pages of rows, newest first: how every list of the store is bounded.
//!
//! A page is asked for by the last id of the page before (`before`), never by an offset, so that rows which arrive
//! meanwhile move nothing.

/// How many rows a list may return: 1 to [`Limit::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u32);

impl Limit {
    /// The most rows of one page.
    pub const MAX: u32 = 500;

    /// `rows`, brought into bounds.
    pub fn new(rows: u32) -> Limit {
        Limit(rows.clamp(1, Self::MAX))
    }

    pub(super) fn rows(self) -> i64 {
        i64::from(self.0)
    }
}

impl Default for Limit {
    fn default() -> Self {
        Limit(50)
    }
}

/// Which page of a list, newest id first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<Id> {
    /// Only rows with a smaller id; `None` for the first page.
    pub before: Option<Id>,
    /// At most so many.
    pub limit: Limit,
}

impl<Id> Default for Page<Id> {
    fn default() -> Self {
        Page { before: None, limit: Limit::default() }
    }
}

/// A list's query with its site bound; filters and the page are added to it.
pub(super) type Question = sqlx::QueryBuilder<sqlx::Sqlite>;

/// Begins a question about one site.
pub(super) fn of_site(select: &'static str, site: &str) -> Question {
    let mut question = Question::new(select);
    question.push(" WHERE site = ").push_bind(site);
    question
}

/// Ends it with the page: ids below the cursor, newest first.
pub(super) fn turn_to<Id: core::fmt::Display>(question: &mut Question, page: &Page<Id>) {
    if let Some(before) = &page.before {
        question.push(" AND id < ").push_bind(before.to_string());
    }
    question.push(" ORDER BY id DESC LIMIT ").push_bind(page.limit.rows());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_never_empty_by_request_and_never_boundless() {
        let rows = [0, 1, 500, 501, u32::MAX].map(|rows| Limit::new(rows).rows());
        assert_eq!(rows, [1, 1, 500, 500, 500]);
    }
}
