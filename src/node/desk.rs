//! What agents ask for by phone keys: judged as if they had asked through the API, and handed to their queues.

use super::pauses::NotPaused;
use super::wires::Wires;
use crate::acd::event::{Event as ToAcd, Want};
use crate::base::{AgentId, SiteId};
use crate::call::desk::{Key, Said};
use std::sync::Arc;

/// Asks the queues of `site` for what the key means, unless its agent may not have it.
pub(super) fn ask(wires: &Arc<Wires>, (site, id): (SiteId, AgentId), key: Key) -> Said {
    let name = wires.setup.load().agent_name(id);
    let Some(agent) = wires.live.agent(site, &name) else { return Said::Refused };
    let logs_off = key == Key::LogOff;
    let (state, said) = match key {
        Key::Ready => (Want::Ready, Said::Ready),
        Key::LogOff => (Want::Offline, Said::LoggedOff),
        // A seat's phone asks for it, and nobody is at it yet.
        Key::LogIn => return Said::Refused,
        Key::NotReady { reason } => {
            match wires.live.may_pause(&agent, &reason) {
                Ok(()) => {}
                Err(NotPaused::Full { .. }) => return Said::PauseFull,
                Err(NotPaused::Unknown { .. }) => return Said::Refused,
            }
            let said = if reason.is_empty() { Said::NotReady } else { Said::Paused };
            (Want::NotReady { reason: (&*reason).into() }, said)
        }
    };
    let event = ToAcd::Want { agent: id, state, by: None };
    let taken = wires.acds.get(site.index()).is_some_and(|to| to.try_send(event).is_ok());
    if !taken {
        return Said::Refused;
    }
    if logs_off && agent.seat.is_some() {
        super::seats::leave(wires, wires.setup.load().code(site), name.clone());
    }
    wires.seats.tell(wires, site, &name);
    tracing::info!(site = %wires.setup.load().code(site), agent = %name, ?said, "asked for by a phone key");
    said
}
