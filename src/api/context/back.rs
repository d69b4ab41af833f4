//! What a target says back by its link: how the call goes there, an order of its own, and that all three shall be together.
//!
//! The link is the right to it, as it is to the page. Owns the bounds of what is taken from outside. Whether a call can do
//! what is asked is the call's to judge.

use super::{Holder, LinkProblems};
use crate::api::live_calls::Asked;
use crate::api::problem::{Body9457, Problem};
use crate::api::{Api, transfers};
use crate::base::{OrderId, Wall};
use crate::call::transfer::{Ask, Phase};
use crate::store::context::{NotRaised, OperationRow, RaisedOrder};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// Longest text of an order, in characters.
pub const TEXT_CHARACTERS_MAX: usize = 2_000;
/// Longest place, in characters.
const PLACE_CHARACTERS_MAX: usize = 200;
/// Longest name of somebody at the target, in characters.
const AGENT_CHARACTERS_MAX: usize = 64;
/// Longest name or address of a recording, in characters.
const RECORDING_CHARACTERS_MAX: usize = 500;
/// Longest wait or talk, in milliseconds: a day.
const LENGTH_MS_MAX: i64 = 86_400_000;
/// The target's clock may differ from ours by so much.
const SKEW_MAX: Duration = Duration::from_secs(300);
/// Digits of a category: two for each level of its tree.
const CATEGORY_DIGITS: usize = 6;

/// What happens at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationEvent {
    /// It rings, or waits in a line there.
    Ringing,
    /// Somebody answers.
    Answered,
    /// It is over there.
    Ended,
    /// There is a recording.
    Recorded,
}

impl OperationEvent {
    fn word(self) -> &'static str {
        match self {
            OperationEvent::Ringing => "ringing",
            OperationEvent::Answered => "answered",
            OperationEvent::Ended => "ended",
            OperationEvent::Recorded => "recorded",
        }
    }
}

/// Operation data of a transfer, as its target has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// What happened. Each is taken once for each transfer: the first stands.
    pub event: OperationEvent,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// How long the citizen had waited there, in milliseconds; a day at most.
    pub wait_ms: Option<i64>,
    /// How long they had talked, in milliseconds; a day at most.
    pub talk_ms: Option<i64>,
    /// Who answered there; 64 characters at most.
    pub agent: Option<String>,
    /// Where the target keeps its recording; 500 characters at most.
    pub recording: Option<String>,
}

/// What has become of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Taken {
    /// The contact.
    pub contact: String,
    /// Which of its transfers, from 1.
    pub transfer: u8,
    /// Whether it had not been said before.
    pub new: bool,
}

/// Takes how the call goes at the target. 201 for news, 200 for what was said before.
#[utoipa::path(post, path = "/context/{token}/operation", tag = "context", params(("token" = String, Path)),
    request_body = Operation, responses((status = 201, description = "taken", body = Taken),
        (status = 200, description = "said before: what was said first stands", body = Taken),
        (status = 422, description = "out of bounds", content_type = "application/problem+json", body = Body9457),
        LinkProblems))]
pub async fn operation(
    State(api): State<Arc<Api>>,
    holder: Holder,
    Json(said): Json<Operation>,
) -> Result<(StatusCode, Json<Taken>), Problem> {
    let now = api.wall();
    said.check((Wall(holder.transfer.started), now))?;
    let row = OperationRow {
        number: holder.link.number.into(),
        event: said.event.word().into(),
        target: holder.transfer.target.clone(),
        at: said.at,
        wait_ms: said.wait_ms,
        talk_ms: said.talk_ms,
        agent: said.agent,
        recording: said.recording,
        received: now.0,
    };
    let contact = holder.link.contact;
    let new = api.node.store.site(&holder.site.code).add_operation(contact, &row).await?;
    holder.done(&api, "operation.tell", &contact.to_string());
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Taken { contact: contact.to_string(), transfer: holder.link.number, new })))
}

impl Operation {
    /// Between the beginning of the transfer and now, and not too long.
    fn check(&self, (began, now): (Wall, Wall)) -> Result<(), Problem> {
        let skew = i64::try_from(SKEW_MAX.as_millis()).unwrap_or(i64::MAX);
        if !(began.0.saturating_sub(skew)..=now.0.saturating_add(skew)).contains(&self.at) {
            return Err(wrong("at: milliseconds since 1970, not before the transfer and not in the future"));
        }
        for (name, length) in [("wait_ms", self.wait_ms), ("talk_ms", self.talk_ms)] {
            if length.is_some_and(|ms| !(0..=LENGTH_MS_MAX).contains(&ms)) {
                return Err(wrong(format!("{name}: 0 to {LENGTH_MS_MAX} milliseconds")));
            }
        }
        text("agent", self.agent.as_deref(), AGENT_CHARACTERS_MAX)?;
        text("recording", self.recording.as_deref(), RECORDING_CHARACTERS_MAX)
    }
}

fn wrong(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

/// One line of so many characters at most; not empty where there is one.
fn text(name: &str, text: Option<&str>, most: usize) -> Result<(), Problem> {
    let is_good = |text: &str| {
        let count = text.chars().count();
        (1..=most).contains(&count) && !text.trim().is_empty() && !text.chars().any(char::is_control)
    };
    match text {
        Some(text) if !is_good(text) => Err(wrong(format!("{name}: one line of 1 to {most} characters"))),
        Some(_) | None => Ok(()),
    }
}

/// An order that the target raises for the same contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedOrder {
    /// What it is about; 1 to 2,000 characters, lines allowed.
    pub text: String,
    /// Six digits, two for each level of the category tree; none when empty.
    #[serde(default)]
    pub category: String,
    /// Where it is about; 200 characters at most.
    pub place: Option<String>,
}

/// The order that was raised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Raised {
    /// Its id.
    pub order: String,
    /// Whether it had not been raised before.
    pub new: bool,
}

impl WantedOrder {
    fn check(&self) -> Result<(), Problem> {
        let is_kept = |character: char| character == '\n' || !character.is_control();
        let count = self.text.chars().count();
        if !(1..=TEXT_CHARACTERS_MAX).contains(&count) || self.text.trim().is_empty() || !self.text.chars().all(is_kept)
        {
            return Err(wrong(format!("text: 1 to {TEXT_CHARACTERS_MAX} characters of text")));
        }
        let digits = self.category.bytes().all(|byte| byte.is_ascii_digit());
        if !self.category.is_empty() && (self.category.len() != CATEGORY_DIGITS || !digits) {
            return Err(wrong(format!("category: {CATEGORY_DIGITS} digits, or nothing")));
        }
        text("place", self.place.as_deref(), PLACE_CHARACTERS_MAX)
    }
}

/// Raises a further order for the contact, as a draft. Its history says that the target did, and what it is about. 201 for
/// a new one, 200 where the same text had been sent before: asking again opens nothing twice.
#[utoipa::path(post, path = "/context/{token}/orders", tag = "context", params(("token" = String, Path)),
    request_body = WantedOrder, responses((status = 201, description = "raised", body = Raised),
        (status = 200, description = "raised before", body = Raised),
        (status = 409, description = "too many were raised for this contact",
            content_type = "application/problem+json", body = Body9457),
        (status = 422, description = "out of bounds", content_type = "application/problem+json", body = Body9457),
        LinkProblems))]
pub async fn raise_order(
    State(api): State<Arc<Api>>,
    holder: Holder,
    Json(wanted): Json<WantedOrder>,
) -> Result<(StatusCode, Json<Raised>), Problem> {
    wanted.check()?;
    let id = OrderId(api.mint()).to_string();
    let order = RaisedOrder {
        id: id.clone(),
        contact: holder.link.contact,
        target: holder.transfer.target.clone(),
        text: wanted.text,
        category: wanted.category,
        place: wanted.place,
        drill: holder.transfer.drill,
        opened: api.wall().0,
    };
    let stands = api.node.store.site(&holder.site.code).raise_order(&order).await?;
    holder.done(&api, "order.raise", &stands);
    let new = stands == id;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(Raised { order: stands, new })))
}

impl From<NotRaised> for Problem {
    fn from(why: NotRaised) -> Problem {
        match why {
            NotRaised::TooMany => Problem::new(StatusCode::CONFLICT, why.to_string()),
            NotRaised::NoContact => Problem::not_found(),
            NotRaised::Store(error) => error.into(),
        }
    }
}

/// While agent and target consult: all three hear each other from now on, as if the agent had asked for it.
#[utoipa::path(post, path = "/context/{token}/three-way", tag = "context", params(("token" = String, Path)),
    responses((status = 202, description = "done", body = Asked),
        (status = 409, description = "agent and target do not consult",
            content_type = "application/problem+json", body = Body9457), LinkProblems))]
pub async fn three_way(State(api): State<Arc<Api>>, holder: Holder) -> Result<(StatusCode, Json<Asked>), Problem> {
    let over = || Problem::new(StatusCode::CONFLICT, "this transfer is over");
    let call = api.node.live.call(holder.link.contact).ok_or_else(over)?;
    let phase = call.view.transfer.as_ref().and_then(|transfer| transfer.phase).filter(|_| holder.is_last);
    match phase {
        Some(Phase::Consulting) => {}
        Some(other @ (Phase::Dialling | Phase::Joined | Phase::Handed)) => {
            let detail = format!("agent and target do not consult: the transfer is \"{}\"", other.word());
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
        None => return Err(over()),
    }
    // In the agent's name: should another talk by now, the call refuses it.
    let agent = call.view.agents.first().copied().ok_or_else(over)?;
    let seq = transfers::tell(&api, call.view.call, Some(agent), Ask::Join).await?;
    let contact = holder.link.contact.to_string();
    holder.done(&api, "call.three_way", &contact);
    Ok((StatusCode::ACCEPTED, Json(Asked { contact, seq })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_data_are_of_their_time_and_bounded() {
        let (began, now) = (Wall(1_000_000), Wall(2_000_000));
        let good = Operation {
            event: OperationEvent::Answered,
            at: 1_500_000,
            wait_ms: Some(0),
            talk_ms: Some(LENGTH_MS_MAX),
            agent: Some("王".repeat(AGENT_CHARACTERS_MAX)),
            recording: Some("r".repeat(RECORDING_CHARACTERS_MAX)),
        };
        assert!(good.check((began, now)).is_ok());
        for at in [began.0 - 300_000, now.0 + 300_000] {
            assert!(Operation { at, ..good.clone() }.check((began, now)).is_ok(), "{at}");
        }
        let wrong = [
            Operation { at: began.0 - 300_001, ..good.clone() },
            Operation { at: now.0 + 300_001, ..good.clone() },
            Operation { at: i64::MIN, ..good.clone() },
            Operation { wait_ms: Some(-1), ..good.clone() },
            Operation { talk_ms: Some(LENGTH_MS_MAX + 1), ..good.clone() },
            Operation { agent: Some("王".repeat(AGENT_CHARACTERS_MAX + 1)), ..good.clone() },
            Operation { agent: Some(" ".into()), ..good.clone() },
            Operation { recording: Some("a\nb".into()), ..good },
        ];
        for wrong in wrong {
            assert!(wrong.check((began, now)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_order_has_a_text_and_perhaps_a_category() {
        let order =
            |text: &str, category: &str| WantedOrder { text: text.into(), category: category.into(), place: None };
        let longest = "长".repeat(TEXT_CHARACTERS_MAX);
        for (text, category) in [("a\nb", ""), (&*longest, "010203")] {
            assert!(order(text, category).check().is_ok(), "{category}");
        }
        for (text, category) in
            [("", ""), (" \n", ""), (&*format!("{longest}!"), ""), ("a\0", ""), ("a", "01020"), ("a", "01020x")]
        {
            assert!(order(text, category).check().is_err(), "{text:.9} {category}");
        }
    }
}
