//! What is kept: SQL for facts, people and orders, and the journal by which facts travel there.
//!
//! Owns the database, its schema (`migrations/`) and every SQL statement, each beside the type of its row. Never on a
//! call's path: facts come by the journal ([`journal`]), what stands is kept in a file ([`standing`]), credentials are read
//! into memory. Every read goes through [`Site`], so a question without its site cannot be asked.

pub mod agent_states;
pub mod agents;
pub mod archive;
pub mod audit;
pub mod blocked;
mod bulk;
pub mod callbacks;
pub mod calls;
pub mod context;
mod facts;
pub mod figures;
pub mod journal;
pub mod interventions;
pub mod legs;
pub mod orders;
pub mod page;
pub mod pins;
pub mod recordings;
pub mod routing;
#[cfg(test)]
pub(crate) mod sample;
pub mod sites;
pub mod standing;
pub mod satisfaction;
pub mod seats;
pub mod transfers;
pub mod unfinished;
pub mod verify;

pub use page::{Limit, Page};

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlSafeStr, SqlStr, Transaction};
use std::path::Path;
use std::time::Duration;

/// Readers beside the one writer. Reads are short; more would only fight for the disk.
const READERS_MAX: u32 = 4;

/// How long a statement waits for a lock of another process (a backup, a command line) before it fails.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// How long a caller waits for a connection before the store counts as away.
const ACQUIRE_MAX: Duration = Duration::from_secs(10);

/// Prepared statements a connection keeps: all those of [`bulk`] and some more.
const STATEMENTS_MAX: usize = 256;

/// Pages in memory per connection, in SQLite's words 32 MiB: the leaves that batches of facts append to.
const CACHE_SIZE: &str = "-32768";

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
}

/// One site's part of the store: the only way to ask it anything about calls, orders, recordings, people and audit.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    store: &'a Store,
    code: &'a str,
}

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its folder cannot be used.
    #[error("the database cannot be opened")]
    Open(#[source] sqlx::Error),
    /// The folder of the file is not there and cannot be made.
    #[error("the database's folder {folder} cannot be made")]
    Folder {
        /// Which.
        folder: String,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
    /// The schema is of a newer program, was altered, or a step failed.
    #[error("the database's schema cannot be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
}

/// Why a statement failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, locked, full or broken: the same statement may succeed later.
    #[error("the database is away")]
    Away(#[source] sqlx::Error),
    /// A value breaks a rule of the schema: the same statement will never succeed.
    #[error("the database refuses the values")]
    Rejected(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind as Kind;
        let rejected = match &error {
            sqlx::Error::Database(database) => match database.kind() {
                Kind::UniqueViolation
                | Kind::ForeignKeyViolation
                | Kind::NotNullViolation
                | Kind::CheckViolation
                | Kind::ExclusionViolation => true,
                // 22xxx of PostgreSQL: a value its types cannot hold, such as U+0000 in a text.
                _ => database.code().is_some_and(|code| code.len() == 5 && code.starts_with("22")),
            },
            sqlx::Error::Encode(_) => true,
            _ => false,
        };
        if rejected { StoreError::Rejected(error) } else { StoreError::Away(error) }
    }
}

impl Store {
    /// Opens (creates) the database file and brings its schema up to date.
    ///
    /// WAL lets readers and the writer work side by side. `synchronous=FULL` because the journal drops what SQL has
    /// acknowledged: a commit must survive a power cut. It costs one sync per batch of facts, not per fact.
    pub async fn open(path: impl AsRef<Path>) -> Result<Store, OpenError> {
        let path = path.as_ref();
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| OpenError::Folder { folder: folder.display().to_string(), error })?;
        }
        let options = options().filename(path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        let writer = pool(1).connect_with(options.clone()).await.map_err(OpenError::Open)?;
        migrate(&writer).await?;
        let readers = pool(READERS_MAX).connect_with(options.read_only(true)).await.map_err(OpenError::Open)?;
        Ok(Store { writer, readers })
    }

    /// An empty store in memory, for tests and trials: one connection, gone with the last clone.
    pub async fn memory() -> Result<Store, OpenError> {
        let writer = pool(1).connect_with(options().in_memory(true)).await.map_err(OpenError::Open)?;
        migrate(&writer).await?;
        Ok(Store { readers: writer.clone(), writer })
    }

    /// The part of the store that belongs to the site of this code. A site nobody knows is simply empty.
    pub fn site<'a>(&'a self, code: &'a str) -> Site<'a> {
        Site { store: self, code }
    }

    /// Ends all connections, with SQLite's write-ahead log folded into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Begins a transaction that writes: the lock is taken now, so that it never fails half-way for a reader's sake.
    ///
    /// When the disk fails in mid-transaction SQLite rolls back by itself; sqlx's own ROLLBACK then fails, and it goes on
    /// believing that the transaction stands. Nothing could ever be written on that connection again: it is replaced.
    async fn begin(&self) -> Result<Transaction<'static, sqlx::Sqlite>, sqlx::Error> {
        const BEGIN: &str = "BEGIN IMMEDIATE";
        match self.writer.begin_with(BEGIN).await {
            Err(sqlx::Error::InvalidSavePointStatement) => {
                self.writer.acquire().await?.close().await?;
                self.writer.begin_with(BEGIN).await
            }
            begun => begun,
        }
    }
}

fn options() -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .foreign_keys(true)
        .busy_timeout(BUSY_MAX)
        .synchronous(SqliteSynchronous::Full)
        .statement_cache_capacity(STATEMENTS_MAX)
        .pragma("cache_size", CACHE_SIZE)
        .disable_statement_logging()
}

/// Connections live as long as the store: a reconnect would throw prepared statements away, and memory with them.
fn pool(connections_max: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_MAX)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

async fn migrate(writer: &SqlitePool) -> Result<(), OpenError> {
    const STEPS: [(&str, &str); 22] = [
        ("sites and agents", include_str!("../../migrations/0001_sites_and_agents.sql")),
        ("calls", include_str!("../../migrations/0002_calls.sql")),
        ("recordings and orders", include_str!("../../migrations/0003_recordings_and_orders.sql")),
        ("agent states and audit", include_str!("../../migrations/0004_agent_states_and_audit.sql")),
        ("people", include_str!("../../migrations/0005_people.sql")),
        ("signalled", include_str!("../../migrations/0006_signalled.sql")),
        ("outbound calls", include_str!("../../migrations/0007_outbound.sql")),
        ("blocked", include_str!("../../migrations/0008_blocked.sql")),
        ("archive", include_str!("../../migrations/0009_archive.sql")),
        ("legs", include_str!("../../migrations/0010_legs.sql")),
        ("transfers", include_str!("../../migrations/0011_transfers.sql")),
        ("by caller", include_str!("../../migrations/0012_by_caller.sql")),
        ("callbacks", include_str!("../../migrations/0013_callbacks.sql")),
        ("interventions", include_str!("../../migrations/0014_interventions.sql")),
        ("satisfaction", include_str!("../../migrations/0015_satisfaction.sql")),
        ("teams", include_str!("../../migrations/0016_teams.sql")),
        ("transfer mute", include_str!("../../migrations/0017_transfer_mute.sql")),
        ("forced states", include_str!("../../migrations/0018_forced_states.sql")),
        ("drills and tickets", include_str!("../../migrations/0019_drills_and_tickets.sql")),
        ("seats", include_str!("../../migrations/0020_seats.sql")),
        ("pins", include_str!("../../migrations/0021_pins.sql")),
        ("context", include_str!("../../migrations/0022_context.sql")),
    ];
    let step = |(number, (name, sql)): (i64, (&'static str, &'static str))| {
        let sql: SqlStr = sql.into_sql_str();
        Migration::new(number, name.into(), MigrationType::Simple, sql, false)
    };
    let steps = (1..).zip(STEPS).map(step).collect();
    Migrator::with_migrations(steps).run(writer).await.map_err(OpenError::Migrate)
}

#[cfg(test)]
impl Store {
    /// Lets a test bring the database into trouble.
    pub(crate) async fn run(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.writer).await.unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_schema_is_brought_up_to_date_once_and_reopened_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jiesu.db");
        let store = Store::open(&path).await.unwrap();
        store.sync_sites(&[sites::tests::site("a")]).await.unwrap();
        store.close().await;
        let again = Store::open(&path).await.unwrap();
        assert_eq!(again.sites().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_schema_of_a_newer_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jiesu.db");
        let store = Store::open(&path).await.unwrap();
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (9999, 'newer', TRUE, x'00', 0)";
        sqlx::query(newer).execute(&store.writer).await.unwrap();
        store.close().await;
        assert!(matches!(Store::open(&path).await, Err(OpenError::Migrate(_))));
    }

    #[tokio::test]
    async fn a_folder_is_no_database() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Store::open(folder.path()).await, Err(OpenError::Open(_))));
    }

    /// As a failed write or sync leaves it.
    #[tokio::test]
    async fn a_transaction_that_sqlite_rolled_back_by_itself_stops_none_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("jiesu.db")).await.unwrap();
        let mut broken = store.begin().await.unwrap();
        sqlx::query("ROLLBACK").execute(&mut *broken).await.unwrap();
        assert!(broken.commit().await.is_err());
        store.sync_sites(&[sites::tests::site("a")]).await.unwrap();
        assert_eq!(store.sites().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn readers_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("jiesu.db")).await.unwrap();
        assert!(sqlx::query("DELETE FROM calls").execute(&store.readers).await.is_err());
    }
}
