//! How the media of the legs of calls were.

use super::bulk::{Bound, Bulk};
use crate::base::fact::{LegQuality, Party};
use crate::base::{ContactId, LegId};
use sqlx::SqliteConnection;
use std::collections::BTreeMap;

/// The media of one leg of a call, from its port's opening to its closing. A leg with which nothing was agreed has none,
/// nor has one that was open when the process died.
#[derive(Clone, Debug, PartialEq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct LegRow {
    /// Who was at the other end: `citizen`, `agent`, or `far`, who was called outside.
    pub party: String,
    /// The agent's name.
    pub agent: Option<String>,
    /// The trunk of a leg to the outside; empty for a registered phone.
    pub trunk: Option<String>,
    /// Encoding name of the codec: `PCMA` or `PCMU`.
    pub codec: String,
    /// The port was opened (milliseconds since 1970, UTC).
    pub opened: i64,
    /// It was closed.
    pub closed: i64,
    /// RTP packets that came.
    pub received: i64,
    /// Packets to us that were lost.
    pub received_lost: i64,
    /// Interarrival jitter of what came, at the end, in milliseconds.
    pub received_jitter_ms: f64,
    /// Mean opinion score of what came, 1 to 4.5 (ITU-T G.107); `null` if nothing came.
    pub received_mos: Option<f64>,
    /// RTP packets sent.
    pub sent: i64,
    /// Packets of ours that the other side reported as lost.
    pub sent_lost: i64,
    /// Interarrival jitter as it last reported, in milliseconds.
    pub sent_jitter_ms: f64,
    /// Mean opinion score of what was sent; `null` if it reported nothing.
    pub sent_mos: Option<f64>,
    /// Packets from strangers, malformed ones and unknown payload types.
    pub dropped: i64,
    /// There and back in milliseconds; `null` if nothing told it.
    pub round_trip_ms: Option<f64>,
    /// One side heard nothing of the other, or nothing more from some moment on.
    pub one_way: bool,
}

/// The legs of one call, in the order in which they were opened.
pub(super) const OF_CALL: &str = "SELECT party, agent, trunk, codec, opened, closed, received, received_lost, \
     received_jitter_us / 1000.0 AS received_jitter_ms, received_mos / 100.0 AS received_mos, sent, sent_lost, \
     sent_jitter_us / 1000.0 AS sent_jitter_ms, sent_mos / 100.0 AS sent_mos, dropped, \
     round_trip_us / 1000.0 AS round_trip_ms, one_way FROM call_legs WHERE site = $1 AND contact = $2 ORDER BY opened, leg";

static UPSERT: Bulk = Bulk::new(
    "INSERT INTO call_legs (site, contact, leg, party, agent, trunk, codec, opened, closed, received, received_lost, \
     received_jitter_us, received_mos, sent, sent_lost, sent_jitter_us, sent_mos, dropped, round_trip_us, one_way) VALUES ",
    20,
    " ON CONFLICT (site, contact, leg) DO UPDATE SET party = excluded.party, agent = excluded.agent, \
     trunk = excluded.trunk, codec = excluded.codec, opened = excluded.opened, closed = excluded.closed, \
     received = excluded.received, received_lost = excluded.received_lost, \
     received_jitter_us = excluded.received_jitter_us, received_mos = excluded.received_mos, sent = excluded.sent, \
     sent_lost = excluded.sent_lost, sent_jitter_us = excluded.sent_jitter_us, sent_mos = excluded.sent_mos, \
     dropped = excluded.dropped, round_trip_us = excluded.round_trip_us, one_way = excluded.one_way \
     WHERE excluded.received + excluded.sent > call_legs.received + call_legs.sent",
);

/// Site, contact and leg: the key.
pub(super) type Key<'a> = (&'a str, ContactId, LegId);

/// By this the better of two tellings is known.
pub(super) fn packets(leg: &LegQuality) -> u64 {
    leg.received.packets.saturating_add(leg.sent.packets)
}

/// Writes each leg, unless one of as many packets is stored.
pub(super) async fn write(
    legs: &BTreeMap<Key<'_>, &LegQuality>,
    database: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    let rows: Vec<(&str, &LegQuality)> = legs.iter().map(|((site, ..), leg)| (*site, *leg)).collect();
    for statement in UPSERT.statements(&rows, bind) {
        statement.execute(&mut *database).await?;
    }
    Ok(())
}

fn bind(statement: Bound, (site, leg): &(&str, &LegQuality)) -> Bound {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let (party, agent, trunk) = match &leg.party {
        Party::Citizen { trunk } => ("citizen", None, Some(&**trunk)),
        Party::Agent { name } => ("agent", Some(&**name), None),
        Party::Far { trunk } => ("far", None, Some(&**trunk)),
    };
    statement
        .bind(*site)
        .bind(leg.contact.to_string())
        .bind(leg.leg.0.cast_signed())
        .bind(party)
        .bind(agent)
        .bind(trunk)
        .bind(&*leg.codec)
        .bind(leg.opened.0)
        .bind(leg.closed.0)
        .bind(count(leg.received.packets))
        .bind(count(leg.received.lost))
        .bind(i64::from(leg.received.jitter_us))
        .bind(leg.received.mos.map(i64::from))
        .bind(count(leg.sent.packets))
        .bind(count(leg.sent.lost))
        .bind(i64::from(leg.sent.jitter_us))
        .bind(leg.sent.mos.map(i64::from))
        .bind(count(leg.dropped))
        .bind(leg.round_trip_us.map(i64::from))
        .bind(leg.one_way)
}

#[cfg(test)]
mod tests {
    use super::super::{Store, sample};
    use super::*;
    use crate::base::fact::{Fact, Stamped};
    use crate::base::{FactId, Wall};

    #[tokio::test]
    async fn legs_stand_beside_their_call_in_the_order_of_their_opening() {
        let store = Store::memory().await.unwrap();
        store.apply(&sample::call("a", 1)).await.unwrap();
        store.apply(&sample::legs("a", 1)).await.unwrap();
        let legs = store.site("a").call(ContactId(sample::id(1))).await.unwrap().unwrap().legs;
        let who: Vec<_> = legs.iter().map(|leg| (&*leg.party, leg.agent.as_deref(), leg.trunk.as_deref())).collect();
        assert_eq!(who, [("citizen", None, Some("unicom-a")), ("agent", Some("1001"), None)]);
        let first = &legs[0];
        assert_eq!((first.received, first.received_lost, first.received_mos), (400, 4, Some(4.32)));
        assert_eq!((first.received_jitter_ms, first.sent_jitter_ms, first.sent_mos), (2.125, 0.0, None));
        assert_eq!((first.round_trip_ms, first.one_way), (Some(31.25), false));
        assert!(store.site("b").call(ContactId(sample::id(1))).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn of_two_tellings_of_a_leg_the_one_of_more_packets_stands() {
        let told = sample::leg(1, 0, 400);
        let stub = LegQuality { closed: Wall(told.closed.0 + 5_000), ..sample::leg(1, 0, 3) };
        let stamp = |id, leg: &LegQuality| {
            let fact = Fact::Leg(Box::new(leg.clone()));
            Stamped { id: FactId(id), at: leg.closed, site: "a".into(), fact }
        };
        let call = sample::call("a", 1).remove(0);
        for order in [[stamp(1, &told), stamp(2, &stub)], [stamp(2, &stub), stamp(1, &told)]] {
            for together in [true, false] {
                let store = Store::memory().await.unwrap();
                store.apply(std::slice::from_ref(&call)).await.unwrap();
                let size = if together { 2 } else { 1 };
                for batch in order.chunks(size) {
                    store.apply(batch).await.unwrap();
                }
                let legs = store.site("a").call(ContactId(sample::id(1))).await.unwrap().unwrap().legs;
                assert_eq!(legs.iter().map(|leg| leg.received).collect::<Vec<_>>(), [400]);
            }
        }
    }
}
