//! What figures are counted from: calls by the time they came, and agents' states in their order.
//!
//! Owns the two questions, answered row by row so that a month of calls never stands in memory. Counts nothing.

use super::page::of_site;
use super::{Site, StoreError};
use crate::base::Wall;
use crate::base::fact::{EndedBy, Stage};
use crate::figures::agents::State;
use crate::figures::calls::Call;
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

/// An inbound call and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFigure {
    /// Queue it last waited in.
    pub queue: Option<String>,
    /// Agent who answered.
    pub agent: Option<String>,
    /// Trunk it came by.
    pub trunk: String,
    /// The rest.
    pub call: Call,
}

/// An agent's state, entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentFigure {
    /// Whose.
    pub agent: String,
    /// When.
    pub at: Wall,
    /// Which.
    pub state: State,
}

impl Site<'_> {
    /// Every inbound call that came in `from..to`, in no order.
    pub async fn each_call(
        &self,
        (from, to): (Wall, Wall),
        mut each: impl FnMut(CallFigure),
    ) -> Result<(), StoreError> {
        let mut question = of_site(
            "SELECT queue, agent, trunk, offered, queued, ringing, answered, ended, end_stage, end_by FROM calls",
            self.code,
        );
        question.push(" AND direction = 'inbound' AND offered >= ").push_bind(from.0);
        question.push(" AND offered < ").push_bind(to.0);
        let mut rows = question.build().fetch(&self.store.readers);
        while let Some(row) = rows.try_next().await? {
            each(call(&row)?);
        }
        Ok(())
    }

    /// The state in which each agent was at `from`, and every one entered in `from..to`, in order. Of one agent when named.
    pub async fn each_state(
        &self,
        (from, to): (Wall, Wall),
        agent: Option<&str>,
        mut each: impl FnMut(AgentFigure),
    ) -> Result<(), StoreError> {
        // Ids are made in the order of time, and the index holds them by agent.
        let mut before = of_site("SELECT agent, at, to_state, reason FROM agent_states AS last", self.code);
        before.push(
            " AND id = (SELECT MAX(id) FROM agent_states WHERE site = last.site AND agent = last.agent AND id < ",
        );
        before.push_bind(first_id(from)).push(")");
        let mut within = of_site("SELECT agent, at, to_state, reason FROM agent_states", self.code);
        within.push(" AND id >= ").push_bind(first_id(from)).push(" AND id < ").push_bind(first_id(to));
        for mut question in [before, within] {
            if let Some(agent) = agent {
                question.push(" AND agent = ").push_bind(agent);
            }
            question.push(" ORDER BY id");
            let mut rows = question.build().fetch(&self.store.readers);
            while let Some(row) = rows.try_next().await? {
                if let Some(figure) = state(&row)? {
                    each(figure);
                }
            }
        }
        Ok(())
    }
}

/// No id made at this moment or later is lower.
fn first_id(at: Wall) -> String {
    let ms = u128::try_from(at.0.max(0)).unwrap_or(0);
    crate::base::FactId(ms << 80).to_string()
}

fn call(row: &SqliteRow) -> Result<CallFigure, sqlx::Error> {
    let time = |name: &str| row.try_get::<Option<i64>, _>(name).map(|at| at.map(Wall));
    let word = |name: &str| row.try_get::<Option<String>, _>(name);
    let stage = word("end_stage")?.and_then(|word| known::<Stage>(&word));
    let by = word("end_by")?.and_then(|word| known::<EndedBy>(&word));
    let ended = time("ended")?.zip(stage.zip(by)).map(|(at, (stage, by))| (at, stage, by));
    Ok(CallFigure {
        queue: row.try_get("queue")?,
        agent: row.try_get("agent")?,
        trunk: row.try_get("trunk")?,
        call: Call {
            offered: Wall(row.try_get("offered")?),
            queued: time("queued")?,
            ringing: time("ringing")?,
            answered: time("answered")?,
            ended,
        },
    })
}

fn state(row: &SqliteRow) -> Result<Option<AgentFigure>, sqlx::Error> {
    let (word, reason): (String, String) = (row.try_get("to_state")?, row.try_get("reason")?);
    let Some(state) = State::new(&word, &reason) else { return Ok(None) };
    Ok(Some(AgentFigure { agent: row.try_get("agent")?, at: Wall(row.try_get("at")?), state }))
}

/// The value of a word that this program, or a newer one, has written.
fn known<T: serde::de::DeserializeOwned>(word: &str) -> Option<T> {
    T::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(word)).ok()
}
