//! Calls refused at the edge for want of room (呼损), one row a minute and trunk.

use super::bulk::{Bound, Bulk};
use super::page::of_site;
use super::{Site, StoreError};
use crate::base::Wall;
use crate::base::fact::{Blocked, Stamped};
use sqlx::SqliteConnection;

impl Site<'_> {
    /// Calls of the site that were refused in minutes that ended from `from` on and before `to`.
    pub async fn blocked(&self, from: Wall, to: Wall) -> Result<u64, StoreError> {
        let mut question = of_site("SELECT COALESCE(SUM(calls), 0) FROM blocked", self.code);
        question.push(" AND at >= ").push_bind(from.0).push(" AND at < ").push_bind(to.0);
        let calls: i64 = question.build_query_scalar().fetch_one(&self.store.readers).await?;
        Ok(calls.unsigned_abs())
    }
}

static INSERT: Bulk =
    Bulk::new("INSERT INTO blocked (site, id, at, trunk, calls) VALUES ", 5, " ON CONFLICT (site, id) DO NOTHING");

/// Writes each minute once.
pub(super) async fn write(
    minutes: &[(&Stamped, &Blocked)],
    database: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    for statement in INSERT.statements(minutes, bind) {
        statement.execute(&mut *database).await?;
    }
    Ok(())
}

fn bind(statement: Bound, (stamped, blocked): &(&Stamped, &Blocked)) -> Bound {
    let calls = i64::try_from(blocked.calls).unwrap_or(i64::MAX);
    statement.bind(&*stamped.site).bind(stamped.id.to_string()).bind(stamped.at.0).bind(&*blocked.trunk).bind(calls)
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;
    use crate::base::FactId;
    use crate::base::fact::Fact;

    #[tokio::test]
    async fn a_minute_told_twice_counts_once_and_only_for_its_site() {
        let store = Store::memory().await.unwrap();
        let minute = |(number, site): (u128, &str)| {
            let fact = Fact::Blocked(Blocked { trunk: "carrier".into(), calls: 3 });
            Stamped { id: FactId(number << 80), at: Wall(60_000), site: site.into(), fact }
        };
        let facts: Vec<_> = (1u128..).zip(["a", "b"]).map(minute).collect();
        store.apply(&facts).await.unwrap();
        store.apply(&facts).await.unwrap();
        assert_eq!(store.site("a").blocked(Wall(0), Wall(i64::MAX)).await.unwrap(), 3);
        assert_eq!(store.site("a").blocked(Wall(0), Wall(60_000)).await.unwrap(), 0);
        assert_eq!(store.site("c").blocked(Wall(0), Wall(i64::MAX)).await.unwrap(), 0);
    }
}
