//! Call-backs through the whole program: a citizen trades the line for one, an agent is rung in their place, and the
//! citizen's own phone over a trunk; what is remembered of it, also over a crash.

use crate::crash::lasting;
use crate::support::engine::Folder;
use crate::support::hotline::{Hotline, folder, prompt};
use crate::support::phone::Phone;
use crate::support::{eventually, sql, wav};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const DOMAIN: &str = "fuzhou.12345.example";
const CITIZEN: i16 = 1_000;
const AGENT: i16 = 2_400;
const NUMBER: &str = "13800138000";

/// A hotline that calls back over the trunk `out`, to a phone at `far`.
fn house(folder: Folder, far: SocketAddr) -> Folder {
    prompt(&folder, "callback-promise", 700.0, 200);
    folder.edit("sip-profiles/trunks/carrier.toml", "\"127.0.0.0/8\", \"::1\"", "\"127.0.0.9\"");
    let trunk = format!("sources = [\"{}\"]\nremote = \"{far}\"\n", far.ip());
    std::fs::write(folder.path().join("sip-profiles/trunks/out.toml"), trunk).unwrap();
    let rule = "[[rule]]\nsite = \"fuzhou\"\nnumbers = [\"1??????????\"]\ntrunks = [\"out\"]\ncaller = \"059112345\"\n";
    std::fs::write(folder.path().join("sip-profiles/dialling.toml"), rule).unwrap();
    let callback = "callback = { key = \"1\", promise = \"callback-promise\", attempts_max = 2, retry_s = 600 }";
    let first = "waiting_max = 1000\nno_agents = \"wait\"";
    folder.edit("sip-profiles/queues.toml", first, &format!("{first}\n{callback}"));
    folder
}

/// Phones ring for as long as the test takes.
fn patient() -> Folder {
    let folder = folder();
    folder.edit("sip-profiles/queues.toml", "ring_max_s = 3", "ring_max_s = 20");
    folder
}

struct Stage {
    hotline: Hotline,
    agent: Phone,
    /// The citizen's phone as the trunk reaches it.
    home: Phone,
}

impl Stage {
    fn new(folder: Folder) -> Stage {
        let nowhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let mut home = Phone::at("127.0.0.3", nowhere, NUMBER, wav::to_alaw(CITIZEN));
        let mut hotline = Hotline::start(house(folder, home.address()));
        home.client.turns_to(hotline.engine.sip);
        let mut agent = Phone::new(hotline.engine.sip, "1001", DOMAIN, wav::to_alaw(AGENT));
        let contact = agent.client.contact();
        assert_eq!(agent.client.sign_in(&[&contact], 600).status, 200);
        hotline.events.phone("1001", true);
        Stage { hotline, agent, home }
    }

    /// A citizen waits, presses the key, and is let go. Returns the contact.
    fn promised(&mut self) -> String {
        let mut citizen = Phone::at("127.0.0.9", self.hotline.engine.sip, NUMBER, wav::to_alaw(CITIZEN));
        citizen.dial("12345");
        let contact = self.hotline.events.call("queued");
        citizen.presses("1");
        citizen.is_hung_up();
        contact
    }

    fn callbacks(&self) -> Vec<Value> {
        let answer = self.hotline.lead.read("/callbacks");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["items"].as_array().expect("items").clone()
    }

    fn until(&self, field: &str, value: &Value) -> Value {
        eventually(&format!("{field} is {value}"), Duration::from_secs(10), || {
            let all = self.callbacks();
            all.into_iter().find(|it| it[field] == *value)
        })
    }
}

#[test]
fn a_citizen_who_presses_the_key_is_called_back_in_their_place_and_it_is_recorded() {
    let mut stage = Stage::new(patient());
    let contact = stage.promised();
    let open = stage.until("contact", &json!(contact));
    assert_eq!(
        (&open["source"], &open["result"], &open["number"]),
        (&json!("key"), &Value::Null, &json!("+8613800138000"))
    );
    let record = stage.hotline.past(&contact);
    assert_eq!(record.end(), ("queued", "flow"));
    assert_eq!(open["since"], record.record["call"]["queued"], "the place is kept");

    stage.hotline.want("1001", "ready");
    stage.agent.rings();
    let invitation = stage.agent.invitation();
    assert!(invitation.contains("X-Jiesu-Callback: ") && !invitation.contains(NUMBER), "{invitation}");
    stage.agent.answers();
    stage.home.rings();
    assert!(stage.home.invitation().contains(&format!("INVITE sip:{NUMBER}@127.0.0.3")), "{}", stage.home.invitation());
    stage.home.answers();
    let together = Instant::now();
    stage.agent.hears_all(&[stage.home.sound], together);
    stage.home.hears_all(&[stage.agent.sound], together);
    assert_eq!(stage.hotline.agent("1001")["state"], "talking", "the queue has booked the agent");
    stage.home.hangs_up();
    stage.agent.is_hung_up();

    let over = stage.until("result", &json!("reached"));
    assert_eq!(over["id"], open["id"]);
    let attempts: Vec<Value> = serde_json::from_str(over["attempts"].as_str().unwrap()).unwrap();
    let [attempt] = &attempts[..] else { panic!("{attempts:?}") };
    assert_eq!((&attempt["agent"], &attempt["result"]), (&json!("1001"), &json!("reached")));
    let back = attempt["contact"].as_str().unwrap();
    let ended = |call: &Value| call["call"]["ended"].is_i64() && !call["legs"].as_array().unwrap().is_empty();
    let call = stage.hotline.lead.until(&format!("/calls/{back}"), ended);
    let (row, first) = (&call["call"], &record.record["call"]);
    assert_eq!((&row["direction"], &row["queue"], &row["agent"]), (&json!("outbound"), &json!("综合"), &json!("1001")));
    assert_eq!(row["order_id"], first["order_id"], "tied to the order of the first call");
    stage.hotline.everything_runs_out();
    let sealed = sql::count(&stage.hotline.database(), "recordings", &format!("contact = '{back}' AND bytes > 44"));
    assert_eq!(sealed, 1, "it is recorded");
    assert_eq!(sql::count(&stage.hotline.database(), "callbacks", "result = 'reached'"), 1);
    assert_eq!(stage.hotline.lead.read("/missed-calls").body["items"], json!([]));
}

#[test]
fn one_who_does_not_answer_is_tried_later_and_one_who_calls_again_is_not() {
    let mut stage = Stage::new(patient());
    let contact = stage.promised();
    stage.hotline.want("1001", "ready");
    stage.agent.rings();
    stage.agent.answers();
    stage.home.rings();
    stage.home.refuses("486 Busy Here");
    stage.agent.is_hung_up();
    let tried = eventually("the attempt is told", Duration::from_secs(10), || {
        let one = stage.callbacks().into_iter().find(|it| it["contact"] == *contact)?;
        one["attempts"].as_str().is_some_and(|it| it.contains("\"busy\"")).then_some(one)
    });
    let attempts: Vec<Value> = serde_json::from_str(tried["attempts"].as_str().unwrap()).unwrap();
    let rest = tried["not_before"].as_i64().unwrap() - attempts[0]["at"].as_i64().unwrap();
    assert!((600_000..610_000).contains(&rest), "ten minutes later: {tried}");
    let mut citizen = Phone::at("127.0.0.9", stage.hotline.engine.sip, NUMBER, wav::to_alaw(CITIZEN));
    citizen.dial("12345");
    stage.until("result", &json!("called_again"));
    citizen.hangs_up();
}

#[test]
fn a_promise_outlives_a_crash_and_a_missed_call_is_called_back_on_demand() {
    let mut stage = Stage::new(lasting(1));
    let contact = stage.promised();
    stage.until("contact", &json!(contact));
    // Another gives up waiting.
    let mut other = Phone::at("127.0.0.9", stage.hotline.engine.sip, "13900139000", wav::to_alaw(CITIZEN));
    other.dial("12345");
    let missed = stage.hotline.events.call("queued");
    other.hangs_up();
    let listed = eventually("the missed call is listed", Duration::from_secs(10), || {
        let items = stage.hotline.lead.read("/missed-calls").body["items"].as_array()?.clone();
        items.into_iter().find(|it| it["id"] == *missed)
    });
    assert_eq!((&listed["caller"], &listed["queue"]), (&json!("+8613900139000"), &json!("综合")));
    stage.hotline.engine.kill();
    stage.hotline.start_again();
    let taken = stage.hotline.lead.post_json("/callbacks", &json!({ "contact": missed }));
    assert_eq!(taken.status, 202, "{}", taken.body);
    let id = taken.body["id"].clone();
    let asked = stage.until("id", &id);
    assert_eq!((&asked["source"], &asked["since"]), (&json!("desk"), &listed["queued"]));
    assert_eq!(stage.hotline.lead.read("/missed-calls").body["items"], json!([]), "somebody takes care of it");
    let gone = stage.hotline.lead.delete(&format!("/callbacks/{}", id.as_str().unwrap()));
    assert_eq!(gone, 202);
    stage.until("result", &json!("withdrawn"));
    // The first promise stands: the agent is rung for it.
    stage.agent.client.turns_to(stage.hotline.engine.sip);
    let contact = stage.agent.client.contact();
    assert_eq!(stage.agent.client.sign_in(&[&contact], 600).status, 200);
    stage.hotline.events.phone("1001", true);
    stage.hotline.want("1001", "ready");
    stage.agent.rings();
    assert!(stage.agent.invitation().contains("X-Jiesu-Callback: "));
    stage.agent.refuses("603 Decline");
}
