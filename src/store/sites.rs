//! The table of sites. Files own topology: the node writes what its configuration says at each start.

use super::{Store, StoreError};

/// A site as its configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct SiteRow {
    /// Code: the key in every other table.
    pub code: String,
    /// Name for people.
    pub name: String,
    /// IANA time zone of its days and hours.
    pub time_zone: String,
    /// Administrative division code.
    pub area: String,
}

impl Store {
    /// Makes the table say what the configuration says. A site that is no longer configured keeps its row and its facts.
    pub async fn sync_sites(&self, sites: &[SiteRow]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for site in sites {
            let upsert = "INSERT INTO sites (code, name, time_zone, area) VALUES ($1, $2, $3, $4) \
                          ON CONFLICT (code) DO UPDATE SET name = excluded.name, time_zone = excluded.time_zone, \
                          area = excluded.area";
            let statement =
                sqlx::query(upsert).bind(&site.code).bind(&site.name).bind(&site.time_zone).bind(&site.area);
            statement.execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// All sites ever configured, by code.
    pub async fn sites(&self) -> Result<Vec<SiteRow>, StoreError> {
        Ok(sqlx::query_as("SELECT * FROM sites ORDER BY code").fetch_all(&self.readers).await?)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::store) fn site(code: &str) -> SiteRow {
        SiteRow {
            code: code.into(),
            name: format!("{code} 12345"),
            time_zone: "Asia/Shanghai".into(),
            area: "370100".into(),
        }
    }

    #[tokio::test]
    async fn the_configuration_wins_and_a_site_once_known_stays() {
        let store = Store::memory().await.unwrap();
        store.sync_sites(&[site("a"), site("b")]).await.unwrap();
        let renamed = SiteRow { name: "renamed".into(), ..site("a") };
        store.sync_sites(std::slice::from_ref(&renamed)).await.unwrap();
        assert_eq!(store.sites().await.unwrap(), [renamed, site("b")]);
    }
}
