//! What a target's system is told: a CloudEvent (CloudEvents 1.0, JSON, structured mode), signed as Standard Webhooks say.
//!
//! Owns its words and its signature. Never sends it.

use crate::base::Wall;
use crate::call::ahead::{Ahead, Link, Secret};
use crate::store::orders::OrderRow;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

/// Of a CloudEvent in structured mode.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";
/// What has happened.
const TYPE: &str = "cn.jiesu.transfer.begun.v1";

/// One of them: the same at each try.
#[derive(Debug)]
pub(super) struct Letter {
    /// By which a receiver knows that it has it already.
    pub(super) id: Box<str>,
    pub(super) body: Bytes,
}

impl Letter {
    /// `order` as SQL has it now; the node's name and the site's code say who speaks.
    pub(super) fn write(ahead: &Ahead, order: Option<&OrderRow>, (node, site): (&str, &str)) -> Letter {
        let Link { contact, number } = ahead.link;
        let (id, time) = (format!("{contact}-{number}"), rfc3339(ahead.at));
        let order = match (order, ahead.order) {
            (Some(order), _) => json!({
                "id": order.id, "state": order.state, "category": order.category, "place": order.place,
                "emergency": order.emergency, "ticket": order.ticket, "opened": rfc3339(Wall(order.opened)),
            }),
            (None, Some(id)) => json!({ "id": id }),
            (None, None) => json!(null),
        };
        let event = json!({
            "specversion": "1.0",
            "type": TYPE,
            "source": format!("/jiesu/{node}/{site}"),
            "id": id,
            "time": time,
            "subject": contact,
            "datacontenttype": "application/json",
            "data": {
                "contact": contact, "transfer": number, "site": site, "caller": &*ahead.caller, "place": ahead.place,
                "target": ahead.target, "kind": ahead.kind.word(), "drill": ahead.drill, "mode": ahead.mode.word(),
                "reason": ahead.reason, "agent": ahead.agent, "started": time, "order": order, "link": ahead.url,
            },
        });
        Letter { id: id.into(), body: event.to_string().into() }
    }

    /// The value of `webhook-signature` for a try at this second since 1970.
    pub(super) fn signature(&self, Secret(secret): &Secret, at_s: i64) -> String {
        let signing = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length (RFC 2104 §3)");
        let said = signing.chain_update(format!("{}.{at_s}.", self.id)).chain_update(&self.body);
        format!("v1,{}", BASE64_STANDARD.encode(said.finalize().into_bytes()))
    }
}

/// A time that cannot be written, beyond the year 9999, is none.
fn rfc3339(Wall(ms): Wall) -> Option<String> {
    jiff::Timestamp::from_millisecond(ms).ok().map(|at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fact::{TargetKind, TransferMode};
    use crate::base::{ContactId, OrderId, SiteId};
    use serde_json::Value;

    /// As openssl makes it: `printf 'msg_1.1700000000.{"a":1}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0001…1f -binary | base64`.
    #[test]
    fn it_is_signed_as_standard_webhooks_say() {
        let letter = Letter { id: "msg_1".into(), body: Bytes::from_static(b"{\"a\":1}") };
        let secret = Secret((0..32).collect());
        assert_eq!(letter.signature(&secret, 1_700_000_000), "v1,AMaOha7DUT/0J0JMycRuYOBSvbx3WtwLd2khXXbaVj4=");
    }

    #[test]
    fn it_is_a_cloud_event_of_what_the_call_and_the_order_say() {
        let mut ahead = Ahead {
            link: Link { contact: ContactId(1), number: 2 },
            site: SiteId(0),
            target: "water".into(),
            kind: TargetKind::Utility,
            drill: true,
            mode: TransferMode::Consult,
            reason: "管道 \"爆裂\"".into(),
            agent: "1001".into(),
            caller: "+8613800138000".into(),
            place: Some("鼓楼区".into()),
            order: Some(OrderId(3)),
            at: Wall(1_700_000_000_500),
            url: Some("https://12345.example.cn/context/x".into()),
            webhook: None,
        };
        let letter = Letter::write(&ahead, None, ("node-1", "fz"));
        let event: Value = serde_json::from_slice(&letter.body).unwrap();
        let contact = ContactId(1).to_string();
        let expected = json!({
            "specversion": "1.0", "type": "cn.jiesu.transfer.begun.v1", "source": "/jiesu/node-1/fz",
            "id": format!("{contact}-2"), "time": "2023-11-14T22:13:20.5Z", "subject": contact,
            "datacontenttype": "application/json",
            "data": {
                "contact": contact, "transfer": 2, "site": "fz", "caller": "+8613800138000", "place": "鼓楼区",
                "target": "water", "kind": "utility", "drill": true, "mode": "consult", "reason": "管道 \"爆裂\"",
                "agent": "1001", "started": "2023-11-14T22:13:20.5Z", "order": { "id": OrderId(3).to_string() },
                "link": "https://12345.example.cn/context/x",
            },
        });
        assert_eq!((event, &*letter.id), (expected, &*format!("{contact}-2")));
        (ahead.order, ahead.url, ahead.place) = (None, None, None);
        let event: Value = serde_json::from_slice(&Letter::write(&ahead, None, ("n", "fz")).body).unwrap();
        let data = &event["data"];
        assert!(data["order"].is_null() && data["link"].is_null() && data["place"].is_null(), "{event}");
    }
}
