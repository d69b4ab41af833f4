//! What the tables say of each other, and what the journal says of them.

use super::{Difference, Scope};
use crate::base::{ContactId, OrderId, RecordingId, Wall};
use crate::store::calls::{CallFilter, CallRow};
use crate::store::journal::Told;
use crate::store::orders::OrderFilter;
use crate::store::recordings::RecordingRow;
use crate::store::{Limit, Page, Site, StoreError};
use core::fmt::Display;
use core::str::FromStr;
use std::collections::BTreeMap;
use std::time::Duration;

/// Recordings are looked for so much around the scope, because their ids are a little older than their sound and their
/// folders are days of UTC.
const MARGIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Recordings by the path of their file.
pub(super) type Rows = BTreeMap<String, RecordingRow>;

fn page<Id>(before: Option<Id>) -> Page<Id> {
    Page { before, limit: Limit::new(Limit::MAX) }
}

/// The last id of a full page; `None` when the list is at its end.
fn next<Id: FromStr>(ids: usize, last: Option<&str>) -> Option<Id> {
    last.filter(|_| ids == Limit::MAX as usize).and_then(|id| id.parse().ok())
}

pub(super) async fn calls(site: Site<'_>, scope: &Scope<'_>, found: &mut Vec<Difference>) -> Result<(), StoreError> {
    let filter = CallFilter { from: Some(scope.from), to: Some(scope.to), ..CallFilter::default() };
    let mut before: Option<ContactId> = None;
    loop {
        let rows = site.calls(&filter, page(before)).await?;
        for row in &rows {
            call(site, scope, row, found).await?;
        }
        before = next(rows.len(), rows.last().map(|row| &*row.id));
        if before.is_none() {
            return Ok(());
        }
    }
}

async fn call(site: Site<'_>, scope: &Scope<'_>, row: &CallRow, found: &mut Vec<Difference>) -> Result<(), StoreError> {
    if row.end_stage.is_none() && row.offered < scope.over_before.0 {
        found.push(Difference::CallWithoutEnd(row.id.clone()));
    }
    match &row.order_id {
        None if row.queued.is_some() => found.push(Difference::CallWithoutOrder(row.id.clone())),
        None => {}
        Some(order) if is_there(site, Table::Orders, order).await? => {}
        Some(order) => found.push(Difference::OrderMissing(row.id.clone(), order.clone())),
    }
    recording_of(site, &format!("call {}", row.id), row.recording.as_deref(), found).await
}

async fn recording_of(
    site: Site<'_>,
    of: &str,
    recording: Option<&str>,
    found: &mut Vec<Difference>,
) -> Result<(), StoreError> {
    if let Some(recording) = recording
        && !is_there(site, Table::Recordings, recording).await?
    {
        found.push(Difference::RecordingMissing(of.into(), recording.into()));
    }
    Ok(())
}

pub(super) async fn orders(site: Site<'_>, scope: &Scope<'_>, found: &mut Vec<Difference>) -> Result<(), StoreError> {
    let filter = OrderFilter { from: Some(scope.from), to: Some(scope.to), ..OrderFilter::default() };
    let mut before: Option<OrderId> = None;
    loop {
        let rows = site.orders(&filter, page(before)).await?;
        for row in &rows {
            if !is_there(site, Table::Calls, &row.contact).await? {
                found.push(Difference::CallMissing(row.id.clone(), row.contact.clone()));
            }
            recording_of(site, &format!("order {}", row.id), row.recording.as_deref(), found).await?;
        }
        before = next(rows.len(), rows.last().map(|row| &*row.id));
        if before.is_none() {
            return Ok(());
        }
    }
}

/// All recordings in scope and around it.
pub(super) async fn recordings(
    site: Site<'_>,
    scope: &Scope<'_>,
    found: &mut Vec<Difference>,
) -> Result<Rows, StoreError> {
    let oldest = scope.from.0.saturating_sub(MARGIN.as_millis() as i64);
    let mut before = Some(RecordingId(born(scope.to + MARGIN)));
    let mut all = Rows::new();
    while before.is_some() {
        let rows = site.recordings(None, page(before)).await?;
        before =
            next(rows.len(), rows.last().map(|row| &*row.id)).filter(|id: &RecordingId| id.0 >= born(Wall(oldest)));
        for row in rows.into_iter().filter(|row| row.started >= oldest) {
            if row.sha256.is_none() && in_scope(scope, &row) && row.started < scope.over_before.0 {
                found.push(Difference::RecordingWithoutEnd(row.id.clone(), row.path.clone()));
            }
            all.insert(row.path.clone(), row);
        }
    }
    Ok(all)
}

pub(super) fn in_scope(scope: &Scope<'_>, row: &RecordingRow) -> bool {
    (scope.from.0..scope.to.0).contains(&row.started)
}

/// The smallest id minted at `wall`: ids begin with their time.
fn born(wall: Wall) -> u128 {
    u128::from(wall.0.max(0).unsigned_abs()) << 80
}

/// What the journal has told and SQL has acknowledged must be there, as new as it was told.
pub(super) async fn told(site: Site<'_>, told: Told, found: &mut Vec<Difference>) -> Result<(), StoreError> {
    async fn compare<Id: Display>(
        (site, table): (Site<'_>, Table),
        told: BTreeMap<Id, u32>,
        found: &mut Vec<Difference>,
    ) -> Result<(), StoreError> {
        for (id, revision) in told {
            let id = id.to_string();
            if site.revision(table, &id).await?.is_none_or(|stored| stored < i64::from(revision)) {
                found.push(Difference::FactNotStored(table.one(), id));
            }
        }
        Ok(())
    }
    if told.damaged > 0 {
        found.push(Difference::JournalDamaged(told.damaged));
    }
    compare((site, Table::Calls), told.calls, found).await?;
    compare((site, Table::Orders), told.orders, found).await?;
    compare((site, Table::Recordings), told.recordings, found).await
}

async fn is_there(site: Site<'_>, table: Table, id: &str) -> Result<bool, StoreError> {
    Ok(site.revision(table, id).await?.is_some())
}

#[derive(Clone, Copy)]
enum Table {
    Calls,
    Orders,
    Recordings,
}

impl Table {
    const fn one(self) -> &'static str {
        match self {
            Table::Calls => "call",
            Table::Orders => "order",
            Table::Recordings => "recording",
        }
    }

    const fn question(self) -> &'static str {
        match self {
            Table::Calls => "SELECT revision FROM calls WHERE site = $1 AND id = $2",
            Table::Orders => "SELECT revision FROM orders WHERE site = $1 AND id = $2",
            Table::Recordings => "SELECT revision FROM recordings WHERE site = $1 AND id = $2",
        }
    }
}

impl Site<'_> {
    async fn revision(&self, table: Table, id: &str) -> Result<Option<i64>, StoreError> {
        let question = sqlx::query_scalar(table.question()).bind(self.code).bind(id);
        Ok(question.fetch_optional(&self.store.readers).await?)
    }
}
