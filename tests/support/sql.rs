//! The database as an auditor opens it: read-only, beside the engine and without its code.

use serde_json::{Map, Value};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use std::path::Path;

/// The one row of `table` with this id, by the columns that `like` has as keys. Truth values come as 0 and 1.
pub fn row(database: &Path, table: &str, id: &str, like: &Map<String, Value>) -> Value {
    let columns: Vec<String> = like.keys().map(|column| format!("'{column}', \"{column}\"")).collect();
    let question = format!("SELECT json_object({}) FROM {table} WHERE id = $1", columns.join(", "));
    asked(database, async |connection| {
        let rows = sqlx::query(AssertSqlSafe(question)).bind(id).fetch_all(connection).await.expect("the row is read");
        assert_eq!(rows.len(), 1, "{table} {id}");
        serde_json::from_str(rows[0].get::<&str, _>(0)).unwrap()
    })
}

/// How many rows of `table` satisfy `condition`.
pub fn count(database: &Path, table: &str, condition: &str) -> i64 {
    let question = format!("SELECT COUNT(*) FROM {table} WHERE {condition}");
    asked(database, async |connection| {
        sqlx::query_scalar(AssertSqlSafe(question)).fetch_one(connection).await.expect("the rows are counted")
    })
}

/// That SQL holds exactly what the API showed as `shown`.
pub fn agrees(database: &Path, table: &str, shown: &Value) {
    let shown: Map<String, Value> = shown
        .as_object()
        .unwrap_or_else(|| panic!("no object for {table}: {shown}"))
        .iter()
        .map(|(key, value)| {
            (key.clone(), value.as_bool().map_or_else(|| value.clone(), |truth| u8::from(truth).into()))
        })
        .collect();
    let stored = row(database, table, shown["id"].as_str().expect("an id"), &shown);
    assert_eq!(stored, Value::Object(shown), "{table}: SQL and API");
}

fn asked<T>(database: &Path, question: impl AsyncFnOnce(&mut SqliteConnection) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(database).read_only(true);
        let mut connection = options.connect().await.expect("the database is there");
        question(&mut connection).await
    })
}
