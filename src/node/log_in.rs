//! Whoever types an agent's number and PIN at a seat's phone sits there, and takes no calls until they say so.
//!
//! SQL is asked, beside every call's path. Where it is away, or so many log in at once that there is no end of waiting, nobody is
//! let in.

use super::clock;
use super::wires::Wires;
use crate::acd::event::{Event as ToAcd, Want};
use crate::base::{CallId, SiteId};
use crate::call::desk::Said;
use crate::call::event::Event as ToCalls;
use crate::call::log_in::Claim;
use crate::store::StoreError;
use crate::store::seats::SeatError;
use std::sync::Arc;
use std::time::Duration;

/// Whoever waits longer for others who log in is refused: well before the phone gives up, so that nobody sits down later who
/// has heard that they do not.
const WAIT_MAX: Duration = Duration::from_secs(8);

/// Judges the claim, and tells the call what came of it.
pub(super) fn log_in(wires: &Arc<Wires>, call: CallId, site: SiteId, claim: Claim) {
    let wires = wires.clone();
    tokio::spawn(async move {
        let Ok(Ok(place)) = tokio::time::timeout(WAIT_MAX, wires.seats.places.acquire()).await else {
            return wires.to_call(call.shard, ToCalls::DeskJudged { call, said: Said::Refused });
        };
        let said = judge(&wires, site, &claim).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "nobody can log in by phone");
            Said::Refused
        });
        drop(place);
        wires.to_call(call.shard, ToCalls::DeskJudged { call, said });
    });
}

async fn judge(wires: &Arc<Wires>, site: SiteId, claim: &Claim) -> Result<Said, StoreError> {
    let code = wires.setup.load().code(site);
    let store = wires.seats.store.site(&code);
    if !store.is_pin(&claim.agent, claim.pin.digits(), clock::now().wall).await? {
        // What was typed for a number may be a PIN.
        tracing::warn!(site = %code, seat = %claim.seat, "a wrong number or PIN was typed at a seat");
        return Ok(Said::Wrong);
    }
    let Some(agent) = wires.live.agent(site, &claim.agent).filter(|agent| !wires.live.is_in_call(agent.id)) else {
        return Ok(Said::Refused);
    };
    match store.take_seat(&claim.agent, &claim.seat).await {
        Ok(()) => {}
        Err(SeatError::Occupied) => return Ok(Said::Occupied),
        Err(SeatError::UnknownSeat | SeatError::UnknownAgent | SeatError::Phone(_)) => return Ok(Said::Refused),
        Err(SeatError::Store(error)) => return Err(error),
    }
    wires.seats.sat_down();
    let event = ToAcd::Want { agent: agent.id, state: Want::NotReady { reason: "".into() }, by: None };
    wires.to_acd(site, event);
    wires.seats.tell(wires, site, &claim.agent);
    tracing::info!(site = %code, seat = %claim.seat, agent = %claim.agent, "logged in by phone");
    Ok(Said::LoggedIn)
}
