//! Call records (CDR) with their attempts and collected digits.

use super::bulk::{Bound, Bulk};
use super::interventions::{self, InterventionRow};
use super::legs::{self, LegRow};
use super::page::{Page, of_site, turn_to};
use super::satisfaction::{self, SatisfactionRow};
use super::transfers::{self, TransferRow};
use super::{Site, StoreError};
use crate::base::fact::{Attempt, AttemptOutcome, CallRecord, Direction, EndedBy, RouteAttempt, Stage};
use crate::base::{ContactId, Wall};
use sqlx::{Row, SqliteConnection};
use std::collections::BTreeMap;

/// A call record as stored. Times are milliseconds since 1970 (UTC), `null` until that happened.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct CallRow {
    /// Site code.
    pub site: String,
    /// Contact id.
    pub id: String,
    /// Which telling this is.
    pub revision: i64,
    /// `inbound` or `outbound`.
    pub direction: String,
    /// Caller number; empty when withheld. Of an outbound call the hotline's own, which was shown.
    pub caller: String,
    /// Dialled number. Of an outbound call the citizen's.
    pub dialled: String,
    /// Trunk it came or went by; empty for a registered phone.
    pub trunk: String,
    /// SIP Call-ID of the citizen's leg.
    pub sip_call_id: String,
    /// Queue it last waited in.
    pub queue: Option<String>,
    /// Agent who answered.
    pub agent: Option<String>,
    /// INVITE seen.
    pub offered: i64,
    /// 200 sent to the citizen's side.
    pub connected: Option<i64>,
    /// Flow entered.
    pub ivr_in: Option<i64>,
    /// Flow left.
    pub ivr_out: Option<i64>,
    /// Entered a queue.
    pub queued: Option<i64>,
    /// Booked to the agent who answered.
    pub assigned: Option<i64>,
    /// That agent's phone rang.
    pub ringing: Option<i64>,
    /// Answered by a human.
    pub answered: Option<i64>,
    /// The citizen hung up.
    pub caller_hangup: Option<i64>,
    /// The agent hung up.
    pub agent_hangup: Option<i64>,
    /// Last leg gone.
    pub ended: Option<i64>,
    /// Where it stood when it ended: `offered`, `ivr`, `queued`, `ringing`, `talking`; `null` while it lives.
    pub end_stage: Option<String>,
    /// Who ended it: `caller`, `agent`, `flow`, `refused`, `operator`, `network`, `fault`.
    pub end_by: Option<String>,
    /// SIP status towards the citizen.
    pub end_sip_status: Option<i64>,
    /// Q.850 cause.
    pub end_q850: Option<i64>,
    /// Recording of the journey.
    pub recording: Option<String>,
    /// Order opened with it.
    pub order_id: Option<String>,
    /// The caller's name as the network told it; unproved, like all below.
    pub caller_name: Option<String>,
    /// What was dialled before the call was diverted here.
    pub original: Option<String>,
    /// Why it was diverted: `unconditional`, `user-busy`, `302` …
    pub diverted: Option<String>,
    /// From an emergency line or over its trunk, or said to be one by a trunk that may say so.
    pub emergency: bool,
    /// Where the caller is: one line, or a URI to ask.
    pub place: Option<String>,
    /// The police's ticket (警单) it belongs to, as an emergency line has said.
    pub ticket: Option<String>,
    /// User-to-User as it came (RFC 7433).
    pub user_to_user: Option<String>,
}

/// One ringing of one agent.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct AttemptRow {
    /// Agent's name.
    pub agent: String,
    /// Booked.
    pub assigned: i64,
    /// 18x came.
    pub ringing: Option<i64>,
    /// Answered, refused or given up.
    pub ended: Option<i64>,
    /// `answered`, `rejected`, `no_answer`, `unreachable`, `caller_gone`, `answered_elsewhere`; `null` while it rings.
    pub outcome: Option<String>,
}

/// One route of an outbound call.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct RouteRow {
    /// Trunk.
    pub trunk: String,
    /// Its channel was seized.
    pub seized: i64,
    /// The first provisional response came.
    pub provisional: Option<i64>,
    /// 18x came.
    pub ringing: Option<i64>,
    /// Answered, refused or given up.
    pub ended: Option<i64>,
    /// Final status; 408 when nothing came in time.
    pub sip_status: Option<i64>,
}

/// Digits the citizen gave.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct DigitsRow {
    /// The collecting node of the flow.
    pub node: String,
    /// What was keyed.
    pub digits: String,
}

/// A call with all that hangs on it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct CallDetail {
    /// The record.
    pub call: CallRow,
    /// Every ringing of an agent, in order.
    pub attempts: Vec<AttemptRow>,
    /// Every route of an outbound call, in order.
    pub routes: Vec<RouteRow>,
    /// Every transfer that was begun, in order.
    pub transfers: Vec<TransferRow>,
    /// Whoever stepped in beside the queues, in order.
    pub interventions: Vec<InterventionRow>,
    /// What the citizen answered after the talk; `null` when they were not asked.
    pub satisfaction: Option<SatisfactionRow>,
    /// Digits, in order.
    pub collected: Vec<DigitsRow>,
    /// How the media of its legs were, in the order in which they were opened; of closed ones only.
    pub legs: Vec<LegRow>,
}

/// Which calls of the site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Offered at this time or later.
    pub from: Option<Wall>,
    /// Offered before this time.
    pub to: Option<Wall>,
    /// Answered by this agent.
    pub agent: Option<String>,
    /// How far they came.
    pub state: Option<CallState>,
}

/// How far a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// Not ended.
    Live,
    /// Answered by a human, ended or not.
    Answered,
    /// Ended without a human's answer.
    Unanswered,
}

impl Site<'_> {
    /// A page of calls, newest first.
    pub async fn calls(&self, filter: &CallFilter, page: Page<ContactId>) -> Result<Vec<CallRow>, StoreError> {
        let mut question = of_site("SELECT * FROM calls", self.code);
        if let Some(from) = filter.from {
            question.push(" AND offered >= ").push_bind(from.0);
        }
        if let Some(to) = filter.to {
            question.push(" AND offered < ").push_bind(to.0);
        }
        if let Some(agent) = &filter.agent {
            question.push(" AND agent = ").push_bind(agent);
        }
        match filter.state {
            None => {}
            Some(CallState::Live) => _ = question.push(" AND end_stage IS NULL"),
            Some(CallState::Answered) => _ = question.push(" AND answered IS NOT NULL"),
            Some(CallState::Unanswered) => _ = question.push(" AND end_stage IS NOT NULL AND answered IS NULL"),
        }
        turn_to(&mut question, &page);
        Ok(question.build_query_as().fetch_all(&self.store.readers).await?)
    }

    /// The agent who served a caller last, and when that call came in milliseconds since 1970. `caller` is canonical.
    pub async fn last_agent(&self, caller: &str) -> Result<Option<(String, i64)>, StoreError> {
        let question = "SELECT agent, offered FROM calls WHERE site = $1 AND caller = $2 AND agent IS NOT NULL \
                        AND direction = 'inbound' ORDER BY offered DESC LIMIT 1";
        let question = sqlx::query_as(question).bind(self.code).bind(caller);
        Ok(question.fetch_optional(&self.store.readers).await?)
    }

    /// One call with its attempts and digits, as one moment saw them.
    pub async fn call(&self, contact: ContactId) -> Result<Option<CallDetail>, StoreError> {
        let id = contact.to_string();
        let mut moment = self.store.readers.begin().await?;
        let call = sqlx::query_as("SELECT * FROM calls WHERE site = $1 AND id = $2").bind(self.code).bind(&id);
        let Some(call) = call.fetch_optional(&mut *moment).await? else {
            return Ok(None);
        };
        let attempts = "SELECT agent, assigned, ringing, ended, outcome FROM call_attempts \
                        WHERE site = $1 AND contact = $2 ORDER BY position";
        let attempts = sqlx::query_as(attempts).bind(self.code).bind(&id).fetch_all(&mut *moment).await?;
        let routes = "SELECT trunk, seized, provisional, ringing, ended, sip_status FROM call_routes \
                      WHERE site = $1 AND contact = $2 ORDER BY position";
        let routes = sqlx::query_as(routes).bind(self.code).bind(&id).fetch_all(&mut *moment).await?;
        let transfers = sqlx::query_as(transfers::OF_CALL).bind(self.code).bind(&id).fetch_all(&mut *moment).await?;
        let interventions = sqlx::query_as(interventions::OF_CALL).bind(self.code).bind(&id);
        let interventions = interventions.fetch_all(&mut *moment).await?;
        let satisfaction = sqlx::query_as(satisfaction::OF_CALL).bind(self.code).bind(&id);
        let satisfaction = satisfaction.fetch_optional(&mut *moment).await?;
        let digits = "SELECT node, digits FROM call_digits WHERE site = $1 AND contact = $2 ORDER BY position";
        let collected = sqlx::query_as(digits).bind(self.code).bind(&id).fetch_all(&mut *moment).await?;
        let legs = sqlx::query_as(legs::OF_CALL).bind(self.code).bind(&id).fetch_all(&mut *moment).await?;
        Ok(Some(CallDetail { call, attempts, routes, transfers, interventions, satisfaction, collected, legs }))
    }
}

static UPSERT: Bulk = Bulk::new(
    "INSERT INTO calls (site, id, revision, direction, caller, dialled, trunk, sip_call_id, queue, agent, offered, connected, ivr_in, \
     ivr_out, queued, assigned, ringing, answered, caller_hangup, agent_hangup, ended, end_stage, end_by, end_sip_status, \
     end_q850, recording, order_id, caller_name, original, diverted, emergency, place, user_to_user, ticket) VALUES ",
    34,
    " ON CONFLICT (site, id) DO UPDATE SET revision = excluded.revision, \
     direction = excluded.direction, caller = excluded.caller, \
     dialled = excluded.dialled, trunk = excluded.trunk, sip_call_id = excluded.sip_call_id, queue = excluded.queue, \
     agent = excluded.agent, offered = excluded.offered, connected = excluded.connected, ivr_in = excluded.ivr_in, \
     ivr_out = excluded.ivr_out, queued = excluded.queued, assigned = excluded.assigned, ringing = excluded.ringing, \
     answered = excluded.answered, caller_hangup = excluded.caller_hangup, agent_hangup = excluded.agent_hangup, \
     ended = excluded.ended, end_stage = excluded.end_stage, end_by = excluded.end_by, \
     end_sip_status = excluded.end_sip_status, end_q850 = excluded.end_q850, recording = excluded.recording, \
     order_id = excluded.order_id, caller_name = excluded.caller_name, original = excluded.original, \
     diverted = excluded.diverted, emergency = excluded.emergency, place = excluded.place, \
     user_to_user = excluded.user_to_user, ticket = excluded.ticket WHERE excluded.revision > calls.revision",
);
static STORED: Bulk = Bulk::new("SELECT site, id, revision FROM calls WHERE (site, id) IN (VALUES ", 2, ")");
static FORGET_ATTEMPTS: Bulk = Bulk::new("DELETE FROM call_attempts WHERE (site, contact) IN (VALUES ", 2, ")");
static FORGET_DIGITS: Bulk = Bulk::new("DELETE FROM call_digits WHERE (site, contact) IN (VALUES ", 2, ")");
static FORGET_ROUTES: Bulk = Bulk::new("DELETE FROM call_routes WHERE (site, contact) IN (VALUES ", 2, ")");
static ROUTES: Bulk = Bulk::new(
    "INSERT INTO call_routes (site, contact, position, trunk, seized, provisional, ringing, ended, sip_status) VALUES ",
    9,
    "",
);
static ATTEMPTS: Bulk = Bulk::new(
    "INSERT INTO call_attempts (site, contact, position, agent, assigned, ringing, ended, outcome) VALUES ",
    8,
    "",
);
static DIGITS: Bulk = Bulk::new("INSERT INTO call_digits (site, contact, position, node, digits) VALUES ", 5, "");

/// Site and contact: the key of a call.
type Key<'a> = (&'a str, ContactId);

/// Writes the newest telling of each call; whatever is stored with the same or a higher revision stays.
pub(super) async fn write(
    calls: &BTreeMap<Key<'_>, &CallRecord>,
    database: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    let keys: Vec<(&str, String)> = calls.keys().map(|(site, contact)| (*site, contact.to_string())).collect();
    let mut stored: Vec<(String, String, i64)> = Vec::new();
    for statement in STORED.statements(&keys, bind_key) {
        for row in statement.fetch_all(&mut *database).await? {
            stored.push((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        }
    }
    let mut told: BTreeMap<(&str, String), &CallRecord> = keys.into_iter().zip(calls.values().copied()).collect();
    let mut replaced = Vec::new();
    for (site, contact, revision) in &stored {
        let Some((key, call)) = told.remove_entry(&(site.as_str(), contact.clone())) else {
            continue;
        };
        if i64::from(call.revision) > *revision {
            replaced.push((key, call));
        }
    }
    let forgotten: Vec<(&str, String)> = replaced.iter().map(|(key, _)| key.clone()).collect();
    for table in [
        &FORGET_ATTEMPTS,
        &FORGET_DIGITS,
        &FORGET_ROUTES,
        &transfers::FORGET,
        &interventions::FORGET,
        &satisfaction::FORGET,
    ] {
        for forget in table.statements(&forgotten, bind_key) {
            forget.execute(&mut *database).await?;
        }
    }
    let rows: Vec<((&str, String), &CallRecord)> = told.into_iter().chain(replaced).collect();
    let (mut attempts, mut digits, mut routes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut transfers, mut interventions, mut given) = (Vec::new(), Vec::new(), Vec::new());
    for (key, call) in &rows {
        attempts.extend((0i64..).zip(&call.attempts).map(|(position, attempt)| (key, position, attempt)));
        routes.extend((0i64..).zip(&call.routes).map(|(position, route)| (key, position, route)));
        transfers.extend((0i64..).zip(&call.transfers).map(|(position, transfer)| (key, position, transfer)));
        given.extend(call.satisfaction.as_ref().map(|it| (key, call.order, it)));
        interventions.extend((0i64..).zip(&call.interventions).map(|(position, it)| (key, position, it)));
        digits.extend((0i64..).zip(&call.collected).map(|(position, given)| (key, position, given)));
    }
    let calls = UPSERT.statements(&rows, bind);
    let attempts = ATTEMPTS.statements(&attempts, bind_attempt);
    let routes = ROUTES.statements(&routes, bind_route);
    let transfers = transfers::INSERT.statements(&transfers, transfers::bind);
    let interventions = interventions::INSERT.statements(&interventions, interventions::bind);
    let given = satisfaction::INSERT.statements(&given, satisfaction::bind);
    let digits = DIGITS.statements(&digits, bind_digits);
    for write in calls.chain(attempts).chain(digits).chain(routes).chain(transfers).chain(interventions).chain(given) {
        write.execute(&mut *database).await?;
    }
    Ok(())
}

fn bind(statement: Bound, ((site, contact), call): &((&str, String), &CallRecord)) -> Bound {
    let ms = |wall: Option<Wall>| wall.map(|wall| wall.0);
    let times = &call.times;
    statement
        .bind(*site)
        .bind(contact)
        .bind(i64::from(call.revision))
        .bind(direction(call.direction))
        .bind(&*call.caller)
        .bind(&*call.dialled)
        .bind(&*call.trunk)
        .bind(&*call.sip_call_id)
        .bind(call.queue.as_deref())
        .bind(call.agent.as_deref())
        .bind(times.offered.0)
        .bind(ms(times.connected))
        .bind(ms(times.ivr_in))
        .bind(ms(times.ivr_out))
        .bind(ms(times.queued))
        .bind(ms(times.assigned))
        .bind(ms(times.ringing))
        .bind(ms(times.answered))
        .bind(ms(times.caller_hangup))
        .bind(ms(times.agent_hangup))
        .bind(ms(times.ended))
        .bind(call.end.map(|end| stage_word(end.stage)))
        .bind(call.end.map(|end| ended_by_word(end.by)))
        .bind(call.end.map(|end| i64::from(end.sip_status)))
        .bind(call.end.map(|end| i64::from(end.q850)))
        .bind(call.recording.map(|id| id.to_string()))
        .bind(call.order.map(|id| id.to_string()))
        .bind(call.signalled.caller_name.as_deref())
        .bind(call.signalled.original.as_deref())
        .bind(call.signalled.diverted.as_deref())
        .bind(call.signalled.emergency)
        .bind(call.signalled.place.as_deref())
        .bind(call.signalled.user_to_user.as_deref())
        .bind(call.signalled.ticket.as_deref())
}

fn bind_key(statement: Bound, (site, contact): &(&str, String)) -> Bound {
    statement.bind(*site).bind(contact)
}

fn bind_attempt(statement: Bound, ((site, contact), position, attempt): &(&(&str, String), i64, &Attempt)) -> Bound {
    statement
        .bind(*site)
        .bind(contact)
        .bind(*position)
        .bind(&*attempt.agent)
        .bind(attempt.assigned.0)
        .bind(attempt.ringing.map(|wall| wall.0))
        .bind(attempt.ended.map(|wall| wall.0))
        .bind(attempt.outcome.map(outcome_word))
}

fn bind_route(statement: Bound, ((site, contact), position, route): &(&(&str, String), i64, &RouteAttempt)) -> Bound {
    let ms = |wall: Option<Wall>| wall.map(|wall| wall.0);
    statement
        .bind(*site)
        .bind(contact)
        .bind(*position)
        .bind(&*route.trunk)
        .bind(route.seized.0)
        .bind(ms(route.provisional))
        .bind(ms(route.ringing))
        .bind(ms(route.ended))
        .bind(route.sip_status.map(i64::from))
}

/// The call's key, the place among its digits, node and digits.
type DigitsOfCall<'a> = (&'a (&'a str, String), i64, &'a (Box<str>, Box<str>));

fn bind_digits(statement: Bound, ((site, contact), position, (node, digits)): &DigitsOfCall) -> Bound {
    statement.bind(*site).bind(contact).bind(*position).bind(&**node).bind(&**digits)
}

const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    }
}

const fn stage_word(stage: Stage) -> &'static str {
    match stage {
        Stage::Offered => "offered",
        Stage::Ivr => "ivr",
        Stage::Queued => "queued",
        Stage::Ringing => "ringing",
        Stage::Talking => "talking",
    }
}

const fn ended_by_word(by: EndedBy) -> &'static str {
    match by {
        EndedBy::Caller => "caller",
        EndedBy::Agent => "agent",
        EndedBy::Target => "target",
        EndedBy::Flow => "flow",
        EndedBy::Refused => "refused",
        EndedBy::Operator => "operator",
        EndedBy::Network => "network",
        EndedBy::Fault => "fault",
    }
}

const fn outcome_word(outcome: AttemptOutcome) -> &'static str {
    match outcome {
        AttemptOutcome::Answered => "answered",
        AttemptOutcome::Rejected => "rejected",
        AttemptOutcome::NoAnswer => "no_answer",
        AttemptOutcome::Unreachable => "unreachable",
        AttemptOutcome::CallerGone => "caller_gone",
        AttemptOutcome::AnsweredElsewhere => "answered_elsewhere",
    }
}
