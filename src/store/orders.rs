//! Work orders (工单) as calls open them, and the history of their states.

use super::bulk::{Bound, Bulk};
use super::page::{Page, of_site, turn_to};
use super::{Site, StoreError};
use crate::base::fact::OrderOpened;
use crate::base::{ContactId, OrderId, Wall};
use sqlx::SqliteConnection;
use std::collections::BTreeMap;

/// An order as stored. Times are milliseconds since 1970 (UTC).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct OrderRow {
    /// Site code.
    pub site: String,
    /// Order id.
    pub id: String,
    /// Which telling by the call this is.
    pub revision: i64,
    /// Where it stands in its life: `draft` when opened.
    pub state: String,
    /// The contact it was opened with.
    pub contact: String,
    /// Recording of that contact.
    pub recording: Option<String>,
    /// Caller number; empty when withheld.
    pub caller: String,
    /// Dialled number.
    pub dialled: String,
    /// Category preset from the dialled number (6 digits); empty when none.
    pub category: String,
    /// Agent who answered.
    pub agent: Option<String>,
    /// When the citizen called.
    pub called: i64,
    /// When the order was opened.
    pub opened: i64,
    /// When a human answered.
    pub answered: Option<i64>,
    /// When the call ended.
    pub ended: Option<i64>,
    /// The call was said to be an emergency.
    pub emergency: bool,
    /// Where the caller was, as the network told it: one line, or a URI to ask.
    pub place: Option<String>,
    /// A simulated line was brought in: an exercise.
    pub drill: bool,
    /// The police's ticket (警单) it is bound to.
    pub ticket: Option<String>,
}

/// One step of an order's life.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct OrderStepRow {
    /// Counts up from 0, the opening.
    pub position: i64,
    /// Who took it; empty for the system.
    pub actor: String,
    /// Their role; `system` for the opening by a call.
    pub role: String,
    /// State left; `null` at the opening.
    pub from_state: Option<String>,
    /// State entered.
    pub to_state: String,
    /// When, milliseconds since 1970 (UTC).
    pub at: i64,
    /// Why.
    pub reason: String,
}

/// Which orders of the site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// Opened at this time or later.
    pub from: Option<Wall>,
    /// Opened before this time.
    pub to: Option<Wall>,
    /// Whose call it was.
    pub agent: Option<String>,
    /// In this state.
    pub state: Option<String>,
    /// Opened with this contact.
    pub contact: Option<ContactId>,
}

impl Site<'_> {
    /// A page of orders, newest first.
    pub async fn orders(&self, filter: &OrderFilter, page: Page<OrderId>) -> Result<Vec<OrderRow>, StoreError> {
        let mut question = of_site("SELECT * FROM orders", self.code);
        if let Some(from) = filter.from {
            question.push(" AND opened >= ").push_bind(from.0);
        }
        if let Some(to) = filter.to {
            question.push(" AND opened < ").push_bind(to.0);
        }
        if let Some(agent) = &filter.agent {
            question.push(" AND agent = ").push_bind(agent);
        }
        if let Some(state) = &filter.state {
            question.push(" AND state = ").push_bind(state);
        }
        if let Some(contact) = filter.contact {
            question.push(" AND contact = ").push_bind(contact.to_string());
        }
        turn_to(&mut question, &page);
        Ok(question.build_query_as().fetch_all(&self.store.readers).await?)
    }

    /// One order.
    pub async fn order(&self, order: OrderId) -> Result<Option<OrderRow>, StoreError> {
        let question = sqlx::query_as("SELECT * FROM orders WHERE site = $1 AND id = $2");
        Ok(question.bind(self.code).bind(order.to_string()).fetch_optional(&self.store.readers).await?)
    }

    /// The agent of a caller's newest order that is not finished. `caller` is canonical.
    pub async fn order_owner(&self, caller: &str) -> Result<Option<String>, StoreError> {
        let question = "SELECT agent FROM orders WHERE site = $1 AND caller = $2 AND agent IS NOT NULL \
                        AND state NOT IN ('invalid', 'not_accepted', 'closed', 'archived') ORDER BY opened DESC LIMIT 1";
        let question = sqlx::query_scalar(question).bind(self.code).bind(caller);
        Ok(question.fetch_optional(&self.store.readers).await?)
    }

    /// An order's life so far, oldest step first.
    pub async fn order_history(&self, order: OrderId) -> Result<Vec<OrderStepRow>, StoreError> {
        let question = "SELECT position, actor, role, from_state, to_state, at, reason FROM order_history \
                        WHERE site = $1 AND order_id = $2 ORDER BY position";
        let question = sqlx::query_as(question).bind(self.code).bind(order.to_string());
        Ok(question.fetch_all(&self.store.readers).await?)
    }
}

static UPSERT: Bulk = Bulk::new(
    "INSERT INTO orders (site, id, revision, state, contact, recording, caller, dialled, category, agent, called, opened, \
     answered, ended, emergency, place, drill, ticket) VALUES ",
    18,
    " ON CONFLICT (site, id) DO UPDATE SET revision = excluded.revision, contact = excluded.contact, \
     recording = excluded.recording, caller = excluded.caller, dialled = excluded.dialled, category = excluded.category, \
     agent = excluded.agent, called = excluded.called, opened = excluded.opened, answered = excluded.answered, \
     ended = excluded.ended, emergency = excluded.emergency, place = excluded.place, drill = excluded.drill, \
     ticket = excluded.ticket \
     WHERE excluded.revision > orders.revision",
);
static OPENING: Bulk = Bulk::new(
    "INSERT INTO order_history (site, order_id, position, actor, role, from_state, to_state, at, reason) VALUES ",
    9,
    " ON CONFLICT (site, order_id, position) DO NOTHING",
);

/// The state in which a call opens an order.
const DRAFT: &str = "draft";

/// Writes the newest telling of each order; a stored state is never touched, and the opening enters the history once.
pub(super) async fn write(
    orders: &BTreeMap<(&str, OrderId), &OrderOpened>,
    database: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    let rows: Vec<(&str, &OrderOpened)> = orders.iter().map(|((site, _), fact)| (*site, *fact)).collect();
    for statement in UPSERT.statements(&rows, bind).chain(OPENING.statements(&rows, bind_opening)) {
        statement.execute(&mut *database).await?;
    }
    Ok(())
}

fn bind(statement: Bound, (site, order): &(&str, &OrderOpened)) -> Bound {
    statement
        .bind(*site)
        .bind(order.order.to_string())
        .bind(i64::from(order.revision))
        .bind(DRAFT)
        .bind(order.contact.to_string())
        .bind(order.recording.map(|id| id.to_string()))
        .bind(&*order.caller)
        .bind(&*order.dialled)
        .bind(&*order.category)
        .bind(order.agent.as_deref())
        .bind(order.called.0)
        .bind(order.opened.0)
        .bind(order.answered.map(|wall| wall.0))
        .bind(order.ended.map(|wall| wall.0))
        .bind(order.emergency)
        .bind(order.place.as_deref())
        .bind(order.drill)
        .bind(order.ticket.as_deref())
}

/// The same whichever telling comes first: `opened` never changes between them.
fn bind_opening(statement: Bound, (site, order): &(&str, &OrderOpened)) -> Bound {
    statement
        .bind(*site)
        .bind(order.order.to_string())
        .bind(0i64)
        .bind("")
        .bind("system")
        .bind(None::<&str>)
        .bind(DRAFT)
        .bind(order.opened.0)
        .bind("")
}
