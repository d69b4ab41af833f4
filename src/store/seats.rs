//! Seats: phones that belong to a desk, and who sits there.
//!
//! One agent has a seat at a time, and an agent has one seat: the schema says so, whoever asks first has it.

use super::agents::{AgentError, Secret, found, is_name};
use super::{Site, Store, StoreError};
use sqlx::FromRow;

/// A seat as people see it; secrets stay in the table.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct SeatRow {
    /// Name: user part of the phone's address-of-record.
    pub name: String,
    /// Domain of the address-of-record.
    pub domain: String,
    /// The agent who sits there.
    pub agent: Option<String>,
}

/// Why a change about a seat was refused.
#[derive(Debug, thiserror::Error)]
pub enum SeatError {
    /// The site has no seat of this name.
    #[error("no such seat")]
    UnknownSeat,
    /// The site has no agent of this name, or they are disabled.
    #[error("no such agent, or they are disabled")]
    UnknownAgent,
    /// Somebody else sits there.
    #[error("another agent sits there: they must leave it first")]
    Occupied,
    /// As with an agent: the name, the password, the site.
    #[error(transparent)]
    Phone(#[from] AgentError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for SeatError {
    fn from(error: sqlx::Error) -> Self {
        SeatError::Store(error.into())
    }
}

impl Site<'_> {
    /// Adds a seat, whose phone registers as `name` at `domain`. No agent's phone may be called so.
    pub async fn add_seat(&self, name: &str, domain: &str, password: &str) -> Result<(), SeatError> {
        if !is_name(name) {
            return Err(AgentError::BadName.into());
        }
        let secret = Secret::of(name, domain, password)?;
        let insert = "INSERT INTO seats (site, name, domain, ha1_md5, ha1_sha256) SELECT $1, $2, $3, $4, $5 \
                      WHERE NOT EXISTS (SELECT 1 FROM agents WHERE domain = $3 AND name = $2)";
        let insert = sqlx::query(insert).bind(self.code).bind(name).bind(domain);
        let insert = insert.bind(secret.ha1_md5).bind(secret.ha1_sha256).execute(&self.store.writer).await;
        if insert.map_err(super::agents::refusal)?.rows_affected() == 0 {
            return Err(AgentError::Taken.into());
        }
        Ok(self.store.people_changed().await?)
    }

    /// All seats of the site, by name.
    pub async fn seats(&self) -> Result<Vec<SeatRow>, StoreError> {
        let rows = "SELECT s.name, s.domain, a.name AS agent FROM seats s \
                    LEFT JOIN agents a ON a.site = s.site AND a.seat = s.name WHERE s.site = $1 ORDER BY s.name";
        Ok(sqlx::query_as(rows).bind(self.code).fetch_all(&self.store.readers).await?)
    }

    /// Removes a seat where nobody sits.
    pub async fn remove_seat(&self, name: &str) -> Result<(), SeatError> {
        let mut transaction = self.store.begin().await?;
        let sits = sqlx::query("SELECT 1 FROM agents WHERE site = $1 AND seat = $2").bind(self.code).bind(name);
        if sits.fetch_optional(&mut *transaction).await?.is_some() {
            return Err(SeatError::Occupied);
        }
        let delete = sqlx::query("DELETE FROM seats WHERE site = $1 AND name = $2").bind(self.code).bind(name);
        if delete.execute(&mut *transaction).await?.rows_affected() == 0 {
            return Err(SeatError::UnknownSeat);
        }
        transaction.commit().await?;
        Ok(self.store.people_changed().await?)
    }

    /// Gives a seat's phone a new password.
    pub async fn set_seat_password(&self, name: &str, password: &str) -> Result<(), SeatError> {
        let domain = "SELECT domain FROM seats WHERE site = $1 AND name = $2";
        let domain = sqlx::query_scalar(domain).bind(self.code).bind(name).fetch_optional(&self.store.writer).await?;
        let domain: String = domain.ok_or(SeatError::UnknownSeat)?;
        let secret = Secret::of(name, &domain, password)?;
        let update = "UPDATE seats SET ha1_md5 = $3, ha1_sha256 = $4 WHERE site = $1 AND name = $2";
        let update = sqlx::query(update).bind(self.code).bind(name).bind(secret.ha1_md5).bind(secret.ha1_sha256);
        update.execute(&self.store.writer).await?;
        Ok(self.store.people_changed().await?)
    }

    /// Seats an agent, who leaves the seat they had.
    pub async fn take_seat(&self, agent: &str, seat: &str) -> Result<(), SeatError> {
        let mut transaction = self.store.begin().await?;
        let known = sqlx::query("SELECT 1 FROM seats WHERE site = $1 AND name = $2").bind(self.code).bind(seat);
        if known.fetch_optional(&mut *transaction).await?.is_none() {
            return Err(SeatError::UnknownSeat);
        }
        let update = "UPDATE agents SET seat = $3 WHERE site = $1 AND name = $2 AND enabled = TRUE";
        let update = sqlx::query(update).bind(self.code).bind(agent).bind(seat).execute(&mut *transaction).await;
        let rows = update.map_err(|error| match &error {
            sqlx::Error::Database(database) if database.is_unique_violation() => SeatError::Occupied,
            _ => error.into(),
        })?;
        if rows.rows_affected() == 0 {
            return Err(SeatError::UnknownAgent);
        }
        transaction.commit().await?;
        Ok(self.store.people_changed().await?)
    }

    /// Takes an agent from their seat, if they have one.
    pub async fn leave_seat(&self, agent: &str) -> Result<(), SeatError> {
        let update = sqlx::query("UPDATE agents SET seat = NULL WHERE site = $1 AND name = $2");
        found(update.bind(self.code).bind(agent).execute(&self.store.writer).await?.rows_affected())
            .map_err(|_| SeatError::UnknownAgent)?;
        Ok(self.store.people_changed().await?)
    }
}

impl Store {
    /// Site, name and domain of all seats: a phone of theirs is nobody's until somebody sits there.
    pub(crate) async fn all_seats(&self) -> Result<Vec<(String, String, String)>, StoreError> {
        Ok(sqlx::query_as("SELECT site, name, domain FROM seats ORDER BY site, name").fetch_all(&self.readers).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::agents::NewAgent;
    use super::super::sites::tests::site;
    use super::*;

    async fn store() -> Store {
        let store = Store::memory().await.unwrap();
        store.sync_sites(&[site("a"), site("b")]).await.unwrap();
        for name in ["1001", "1002"] {
            let new = NewAgent { name, display_name: "", domain: "a.cn", password: "secret" };
            store.site("a").add_agent(&new).await.unwrap();
        }
        store
    }

    #[tokio::test]
    async fn a_seat_has_one_agent_and_an_agent_one_seat() {
        let store = store().await;
        let site = store.site("a");
        for seat in ["S1", "S2"] {
            site.add_seat(seat, "a.cn", "secret").await.unwrap();
        }
        site.take_seat("1001", "S1").await.unwrap();
        site.take_seat("1001", "S1").await.unwrap();
        assert!(matches!(site.take_seat("1002", "S1").await, Err(SeatError::Occupied)));
        assert!(matches!(site.remove_seat("S1").await, Err(SeatError::Occupied)));
        site.take_seat("1001", "S2").await.unwrap();
        site.take_seat("1002", "S1").await.unwrap();
        let seats = site.seats().await.unwrap();
        let shown: Vec<_> = seats.iter().map(|seat| (&*seat.name, seat.agent.as_deref())).collect();
        assert_eq!(shown, [("S1", Some("1002")), ("S2", Some("1001"))]);
        let agents = site.agents().await.unwrap();
        assert_eq!(agents[0].seat.as_deref(), Some("S2"));
        site.leave_seat("1001").await.unwrap();
        site.leave_seat("1002").await.unwrap();
        site.remove_seat("S2").await.unwrap();
        assert_eq!(site.seats().await.unwrap().len(), 1);
        assert!(matches!(site.take_seat("1001", "S2").await, Err(SeatError::UnknownSeat)));
        assert!(matches!(site.remove_seat("S2").await, Err(SeatError::UnknownSeat)));
        assert!(matches!(site.take_seat("1009", "S1").await, Err(SeatError::UnknownAgent)));
        assert!(matches!(site.leave_seat("1009").await, Err(SeatError::UnknownAgent)));
        site.set_enabled("1002", false).await.unwrap();
        assert!(matches!(site.take_seat("1002", "S1").await, Err(SeatError::UnknownAgent)));
        assert!(matches!(store.site("b").take_seat("1001", "S1").await, Err(SeatError::UnknownSeat)));
    }

    #[tokio::test]
    async fn no_two_phones_have_one_name_and_a_seats_phone_may_register() {
        let store = store().await;
        let site = store.site("a");
        assert!(matches!(site.add_seat("1001", "a.cn", "x").await, Err(SeatError::Phone(AgentError::Taken))));
        site.add_seat("S1", "a.cn", "secret").await.unwrap();
        assert!(matches!(site.add_seat("S1", "a.cn", "x").await, Err(SeatError::Phone(AgentError::Taken))));
        assert!(matches!(site.add_seat("S 1", "a.cn", "x").await, Err(SeatError::Phone(AgentError::BadName))));
        assert!(matches!(site.add_seat("S3", "a.cn", "").await, Err(SeatError::Phone(AgentError::EmptyPassword))));
        let new = NewAgent { name: "S1", display_name: "", domain: "a.cn", password: "secret" };
        assert!(matches!(site.add_agent(&new).await, Err(AgentError::Taken)));
        let users = async || {
            let all = store.credentials().await.unwrap();
            all.iter().map(|it| (it.user.to_string(), it.ha1_md5)).collect::<Vec<_>>()
        };
        let before = users().await;
        assert_eq!(before.iter().map(|(user, _)| &**user).collect::<Vec<_>>(), ["1001", "1002", "S1"]);
        let revision = store.people_revision().await.unwrap();
        site.set_seat_password("S1", "other").await.unwrap();
        assert!(users().await[2].1 != before[2].1 && store.people_revision().await.unwrap() > revision);
    }
}
