//! The question after a talk through the whole program: asked, answered by a key, and read from the database.

use crate::support::engine::Folder;
use crate::support::hotline::{Hotline, MUSIC_HZ, PROMPT_HZ, folder, prompt};
use crate::support::phone::Phone;
use crate::support::{sql, wav};
use serde_json::Value;
use std::time::Instant;

const DOMAIN: &str = "fuzhou.12345.example";
const CITIZEN: i16 = 1_000;
const AGENT: i16 = 2_400;

fn asking() -> Folder {
    let folder = folder();
    folder.edit("sip-profiles/queues.toml", "ring_max_s = 3", "ring_max_s = 20\nafter = \"satisfaction\"");
    prompt(&folder, "satisfaction-ask", PROMPT_HZ, 2_000);
    prompt(&folder, "satisfaction-thanks", MUSIC_HZ, 300);
    folder
}

/// A citizen and the agent 1001 talk.
fn talk() -> (Hotline, Phone, Phone, String) {
    let mut hotline = Hotline::start(asking());
    let mut agent = Phone::new(hotline.engine.sip, "1001", DOMAIN, wav::to_alaw(AGENT));
    let contact = agent.client.contact();
    assert_eq!(agent.client.sign_in(&[&contact], 600).status, 200);
    hotline.events.phone("1001", true);
    hotline.ready("1001");
    let mut citizen = Phone::new(hotline.engine.sip, "13800138000", "127.0.0.1", wav::to_alaw(CITIZEN));
    citizen.dial("12345");
    agent.rings();
    agent.answers();
    let contact = hotline.events.call("talking");
    citizen.hears_all(&[agent.sound], Instant::now());
    (hotline, citizen, agent, contact)
}

#[test]
fn the_citizen_is_asked_when_the_agent_has_hung_up_and_the_key_stands_in_the_database() {
    let (mut hotline, mut citizen, mut agent, contact) = talk();
    agent.hangs_up();
    hotline.events.agent("1001", "wrap_up");
    citizen.presses("4");
    citizen.is_hung_up();
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("talking", "flow"));
    let given = &past.record["satisfaction"];
    assert_eq!((given["score"].as_i64(), given["agent"].as_str()), (Some(4), Some("1001")), "{given}");
    assert_eq!((&given["target"], &given["order_id"]), (&Value::Null, &past.record["call"]["order_id"]));
    let row = format!("contact = '{contact}' AND score = 4 AND agent = '1001' AND order_id IS NOT NULL");
    assert_eq!(sql::count(&hotline.database(), "call_satisfaction", &row), 1);
    assert!(wav::heard_ms(&past.sound.right, MUSIC_HZ) >= 200, "the recording goes on to the end");
    hotline.nothing_is_left();
}

#[test]
fn a_citizen_who_hangs_up_has_answered_nothing() {
    let (mut hotline, mut citizen, mut agent, contact) = talk();
    agent.hangs_up();
    hotline.events.agent("1001", "wrap_up");
    citizen.hangs_up();
    let past = hotline.past(&contact);
    assert_eq!((past.end(), &past.record["satisfaction"]["score"]), (("talking", "caller"), &Value::Null));
    hotline.nothing_is_left();
}
