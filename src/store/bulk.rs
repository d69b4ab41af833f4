//! Many rows in one statement.
//!
//! A statement costs far more to hand over than a row: batches of facts are written by a few prepared texts per table,
//! each for a fixed number of rows, so that every text is prepared once and found again.

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite};
use std::sync::{Arc, OnceLock};

/// Rows per statement, largest first; 64 rows of the widest table stay far below the 32,766 parameters of SQLite.
const ROWS: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

/// A statement on the way to having all its values bound.
pub(super) type Bound = Query<'static, Sqlite, SqliteArguments>;

/// A statement over a list of rows: `head (…), (…) tail`.
pub(super) struct Bulk {
    head: &'static str,
    columns: usize,
    tail: &'static str,
    texts: [OnceLock<Arc<str>>; ROWS.len()],
}

impl Bulk {
    /// A statement whose rows have `columns` values each. `head` ends in `VALUES `.
    pub(super) const fn new(head: &'static str, columns: usize, tail: &'static str) -> Bulk {
        Bulk { head, columns, tail, texts: [const { OnceLock::new() }; ROWS.len()] }
    }

    /// The statements that together carry all `rows`, in order, with the values bound by `bind`.
    pub(super) fn statements<'r, T>(
        &'static self,
        rows: &'r [T],
        bind: fn(Bound, &T) -> Bound,
    ) -> impl Iterator<Item = Bound> + 'r {
        let mut left = rows;
        std::iter::from_fn(move || {
            let size = ROWS.iter().position(|rows| *rows <= left.len())?;
            let (now, later) = left.split_at(ROWS[size]);
            left = later;
            // Safe: the text holds only the table's own words and question marks.
            let statement = sqlx::query(AssertSqlSafe(self.text(size)));
            Some(now.iter().fold(statement, bind))
        })
    }

    /// Parameters are SQLite's nameless `?`: to find the number behind a `$N` costs a walk over all names before it,
    /// which in wide statements was two thirds of all time. PostgreSQL's texts need the numbers.
    fn text(&self, size: usize) -> Arc<str> {
        let text = || {
            let row = format!("({})", vec!["?"; self.columns].join(", "));
            [self.head, &vec![row; ROWS[size]].join(", "), self.tail].concat().into()
        };
        self.texts[size].get_or_init(text).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static PAIRS: Bulk = Bulk::new("INSERT INTO pairs VALUES ", 2, " ON CONFLICT DO NOTHING");

    #[test]
    fn the_text_repeats_its_row() {
        assert_eq!(&*PAIRS.text(6), "INSERT INTO pairs VALUES (?, ?) ON CONFLICT DO NOTHING");
        assert_eq!(&*PAIRS.text(5), "INSERT INTO pairs VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING");
    }

    #[test]
    fn rows_of_any_number_are_carried_by_the_fewest_statements() {
        for (rows, statements) in [(0, 0), (1, 1), (7, 3), (8, 1), (64, 1), (73, 3), (138, 4)] {
            let list = vec![(); rows];
            assert_eq!(PAIRS.statements(&list, |statement, ()| statement).count(), statements, "{rows} rows");
        }
    }
}
