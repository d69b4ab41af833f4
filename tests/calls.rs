//! Calls from end to end: sipp as citizen and as agent.

use crate::support::hotline::{AGENT_HZ, APOLOGY_HZ, CITIZEN_HZ, Hotline, MUSIC_HZ, PROMPT_HZ, folder, prompt};
use crate::support::{sql, wav};
use serde_json::Value;
use std::net::UdpSocket;

/// What a voice may take from one phone to the recording of the other, and the first packets of a phone.
const SETTLE_MS: usize = 400;

fn part(samples: &[i16], from_ms: usize, to_ms: usize) -> &[i16] {
    &samples[(from_ms * 8).min(samples.len())..(to_ms * 8).min(samples.len())]
}

#[test]
fn both_voices_are_recorded_each_on_its_side_and_only_there() {
    let mut hotline = Hotline::new();
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-answers", &[]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-hangs-up", &["-d", "4000"]);
    let contact = hotline.events.call("talking");
    assert_eq!(hotline.agent("1001")["state"], "talking");
    assert_eq!(hotline.agent("1001")["contact"], *contact);
    citizen.succeeds();
    agent.succeeds();
    hotline.events.agent("1001", "wrap_up");
    hotline.events.agent("1001", "ready");

    let past = hotline.past(&contact);
    let call = &past.record["call"];
    assert_eq!(past.end(), ("talking", "caller"));
    assert_eq!(past.attempts(), [("1001", "answered")]);
    assert_eq!((&call["caller"], &call["agent"]), (&"+8613800138000".into(), &"1001".into()));
    assert_eq!((&call["end_sip_status"], &call["end_q850"]), (&200.into(), &16.into()));
    assert_eq!(call["queue"], "综合");
    assert!(call["caller_hangup"].is_i64() && call["agent_hangup"].is_null());
    // sipp hangs up 4 s after its ACK, give or take what a busy machine adds.
    let length = past.recording["duration_ms"].as_i64().unwrap();
    assert!((3_990..5_500).contains(&length), "{length} ms");

    let (from, to) = (past.at_ms("answered") + SETTLE_MS, past.at_ms("ended") - 100);
    let (left, right) = (part(&past.sound.left, from, to), part(&past.sound.right, from, to));
    wav::speaks_alone(left, CITIZEN_HZ, AGENT_HZ);
    wav::speaks_alone(right, AGENT_HZ, CITIZEN_HZ);
    let before = part(&past.sound.right, 0, past.at_ms("answered"));
    assert_eq!(wav::heard_ms(before, AGENT_HZ), 0, "the agent is heard only after the answer");
    assert!(wav::heard_ms(before, PROMPT_HZ) >= 300, "the greeting and the announcement are recorded");
    hotline.nothing_is_left();
}

#[test]
fn a_caller_who_gives_up_in_the_greeting_opens_no_order() {
    let folder = folder();
    prompt(&folder, "fuzhou-greeting", PROMPT_HZ, 10_000);
    let mut hotline = Hotline::start(folder);
    hotline.phone("1001");
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-hangs-up", &["-d", "600"]);
    let contact = hotline.events.call("ivr");
    citizen.succeeds();
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("ivr", "caller"));
    assert!(past.order.is_none() && past.attempts().is_empty());
    assert_eq!(hotline.agent("1001")["state"], "ready");
    hotline.nothing_is_left();
}

#[test]
fn a_caller_who_gives_up_in_the_queue_leaves_a_draft() {
    let mut hotline = Hotline::new();
    let citizen = hotline.citizen("citizen-hangs-up", &["-d", "2000"]);
    let contact = hotline.events.call("queued");
    citizen.succeeds();
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("queued", "caller"));
    assert!(past.attempts().is_empty());
    let order = past.order.as_ref().expect("an order");
    assert!(order["agent"].is_null() && order["answered"].is_null(), "{order}");
    let waited = part(&past.sound.right, past.at_ms("queued") + 300, past.at_ms("ended") - 100);
    assert!(wav::heard_ms(waited, MUSIC_HZ) >= 500, "music after the announcement");
    hotline.nothing_is_left();
}

#[test]
fn a_caller_who_gives_up_while_it_rings_frees_the_agent_at_once() {
    let mut hotline = Hotline::new();
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-rings-out", &[]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-hangs-up", &["-d", "1800"]);
    let contact = hotline.events.call("ringing");
    citizen.succeeds();
    agent.succeeds();
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("ringing", "caller"));
    assert_eq!(past.attempts(), [("1001", "caller_gone")]);
    assert!(past.record["call"]["agent"].is_null(), "nobody answered");
    hotline.events.agent("1001", "ready");
    hotline.nothing_is_left();
}

#[test]
fn an_agent_who_rejects_is_paused_and_the_next_one_gets_the_call() {
    let mut hotline = Hotline::new();
    let (refusing, willing) = (hotline.phone("1001"), hotline.phone("1002"));
    let first = hotline.behaves(&refusing, "agent-rejects", &[]);
    let second = hotline.behaves(&willing, "agent-answers", &[]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-hangs-up", &["-d", "4000"]);
    hotline.events.paused("1001", "rejected");
    first.succeeds();
    hotline.want("1002", "ready");
    let contact = hotline.events.call("talking");
    citizen.succeeds();
    second.succeeds();
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("talking", "caller"));
    assert_eq!(past.attempts(), [("1001", "rejected"), ("1002", "answered")]);
    assert_eq!(past.record["call"]["agent"], "1002");
    assert_eq!(hotline.agent("1001")["reason"], "rejected");
    hotline.nothing_is_left();
}

#[test]
fn an_agent_who_does_not_answer_is_paused_and_the_caller_keeps_their_place() {
    let mut hotline = Hotline::new();
    let phone = hotline.phone("1001");
    let silent = hotline.behaves(&phone, "agent-rings-out", &[]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-waits", &[]);
    let rung = hotline.events.until("ringing", |event| event["data"]["stage"] == "ringing");
    hotline.events.paused("1001", "rona");
    silent.succeeds();
    let later = hotline.citizen("citizen-waits", &[]);
    let contact = rung["data"]["contact"].as_str().unwrap().to_owned();
    hotline.events.until("the second caller waits", |event| {
        event["data"]["stage"] == "queued" && event["data"]["contact"] != *contact
    });
    let agent = hotline.behaves(&phone, "agent-hangs-up", &["-d", "500"]);
    hotline.want("1001", "ready");
    let talking = hotline.events.until("talking", |event| event["data"]["stage"] == "talking");
    assert_eq!(talking["data"]["contact"], *contact, "who came first is served first");
    hotline.want("1001", "not_ready");
    citizen.succeeds();
    agent.succeeds();
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("talking", "agent"));
    assert_eq!(past.attempts(), [("1001", "no_answer"), ("1001", "answered")]);
    let attempt = &past.record["attempts"][0];
    let rang = attempt["ended"].as_i64().unwrap() - attempt["assigned"].as_i64().unwrap();
    assert!((2_000..4_000).contains(&rang), "rang for {rang} ms of at most 3 s");
    let other = &hotline.lead.read("/calls/live").body["items"][0];
    assert_eq!(other["stage"], "queued");
    let other = other["contact"].as_str().unwrap().to_owned();
    assert_eq!(hotline.lead.post(&format!("/calls/live/{other}/hang-up")).status, 202);
    later.succeeds();
    assert_eq!(hotline.past(&other).end(), ("queued", "operator"));
    hotline.nothing_is_left();
}

/// Three agents of Fuzhou whose phones ring together.
fn together() -> Hotline {
    let folder = folder();
    folder.edit("sip-profiles/queues.toml", "ageing_s = 10\n", "strategy = \"ring_all\"\nring_together = 3\n");
    folder.agent("fuzhou", "1003", "general");
    Hotline::start(folder)
}

const TAKEN: &str = "Reason: SIP;cause=200;text=\"Call completed elsewhere\"";

#[test]
fn of_agents_rung_together_the_first_answer_has_the_call() {
    let mut hotline = together();
    let phones = ["1001", "1002", "1003"].map(|name| hotline.phone(name));
    let silent = [0, 2].map(|at| hotline.behaves(&phones[at], "agent-rings-out", &[]));
    let winner = hotline.behaves(&phones[1], "agent-answers", &[]);
    ["1001", "1002", "1003"].into_iter().for_each(|name| hotline.ready(name));
    let citizen = hotline.citizen("citizen-hangs-up", &["-d", "3000"]);
    let contact = hotline.events.call("talking");
    for (name, phone) in ["1001", "1003"].into_iter().zip(silent) {
        let messages = phone.succeeds();
        let cancel = messages.split("CANCEL sip:").nth(1).expect("a CANCEL");
        assert!(cancel.contains(TAKEN), "{messages}");
        assert_eq!(hotline.agent(name)["state"], "ready", "nobody is to blame");
    }
    citizen.succeeds();
    winner.succeeds();
    let past = hotline.past(&contact);
    assert_eq!((past.end(), &past.record["call"]["agent"]), (("talking", "caller"), &"1002".into()));
    let mut attempts = past.attempts();
    attempts.sort_unstable();
    assert_eq!(attempts, [("1001", "answered_elsewhere"), ("1002", "answered"), ("1003", "answered_elsewhere")]);
    let (from, to) = (past.at_ms("answered") + SETTLE_MS, past.at_ms("ended") - 100);
    wav::speaks_alone(part(&past.sound.right, from, to), AGENT_HZ, CITIZEN_HZ);
    hotline.nothing_is_left();
}

#[test]
fn an_agent_who_answers_too_late_is_told_that_the_call_was_taken() {
    let mut hotline = together();
    let phones = ["1001", "1002"].map(|name| hotline.phone(name));
    let late = hotline.behaves(&phones[0], "agent-answers-late", &[]);
    let winner = hotline.behaves(&phones[1], "agent-answers", &[]);
    ["1001", "1002"].into_iter().for_each(|name| hotline.ready(name));
    let citizen = hotline.citizen("citizen-hangs-up", &["-d", "3000"]);
    let contact = hotline.events.call("talking");
    let messages = late.succeeds();
    let bye = messages.split("BYE sip:").nth(1).expect("a BYE");
    assert!(bye.contains(TAKEN), "{messages}");
    citizen.succeeds();
    winner.succeeds();
    let past = hotline.past(&contact);
    assert_eq!(past.record["call"]["agent"], "1002");
    assert_eq!(past.attempts(), [("1001", "answered_elsewhere"), ("1002", "answered")]);
    hotline.nothing_is_left();
}

#[test]
fn a_caller_who_calls_again_has_the_same_agent_though_another_is_longer_idle() {
    let folder = folder();
    let prefers = "preferred = { agent = \"last\", for_s = 20 }\n";
    folder.edit("sip-profiles/queues.toml", "ageing_s = 10\n", prefers);
    let mut hotline = Hotline::start(folder);
    let phone = hotline.phone("1001");
    hotline.phone("1002");
    hotline.ready("1001");
    let mut served = Vec::new();
    for _ in 0..2 {
        let agent = hotline.behaves(&phone, "agent-answers", &[]);
        let citizen = hotline.citizen("citizen-hangs-up", &["-d", "2000"]);
        let contact = hotline.events.call("talking");
        if served.is_empty() {
            // Idle from now on, and so longer than the agent who talks.
            hotline.ready("1002");
        }
        citizen.succeeds();
        agent.succeeds();
        hotline.events.agent("1001", "wrap_up");
        hotline.events.agent("1001", "ready");
        served.push(hotline.past(&contact).record["call"]["agent"].clone());
    }
    assert_eq!(served, ["1001", "1001"]);
    hotline.nothing_is_left();
}

#[test]
fn an_agent_who_hangs_up_first_ends_the_call() {
    let mut hotline = Hotline::new();
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-hangs-up", &["-d", "700"]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-waits", &[]);
    let contact = hotline.events.call("talking");
    citizen.succeeds();
    agent.succeeds();
    hotline.events.agent("1001", "ready");
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("talking", "agent"));
    assert!(past.record["call"]["agent_hangup"].is_i64() && past.record["call"]["caller_hangup"].is_null());
    hotline.nothing_is_left();
}

#[test]
fn a_phone_that_has_vanished_costs_the_caller_only_the_ringing() {
    let mut hotline = Hotline::new();
    let phone = hotline.phone("1001");
    let deaf = UdpSocket::bind(("127.0.0.1", phone.port)).unwrap();
    let willing = hotline.phone("1002");
    let agent = hotline.behaves(&willing, "agent-hangs-up", &["-d", "300"]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-waits", &[]);
    hotline.events.agent("1001", "not_ready");
    let mut invite = [0; 4096];
    let size = deaf.recv(&mut invite).unwrap();
    assert!(invite[..size].starts_with(b"INVITE "));
    hotline.want("1002", "ready");
    let contact = hotline.events.call("talking");
    citizen.succeeds();
    agent.succeeds();
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("talking", "agent"));
    let outcomes = past.attempts();
    assert_eq!((outcomes.len(), outcomes[1]), (2, ("1002", "answered")));
    assert!(matches!(outcomes[0], ("1001", "no_answer" | "unreachable")), "{outcomes:?}");
    assert!(past.record["attempts"][0]["ringing"].is_null(), "it never rang");
    hotline.nobody_is_left();
}

#[test]
fn who_has_waited_too_long_hears_the_apology_and_is_released() {
    let folder = folder();
    folder.edit("sip-profiles/queues.toml", "wait_max_s = 600", "wait_max_s = 1");
    let mut hotline = Hotline::start(folder);
    let citizen = hotline.citizen("citizen-waits", &[]);
    let contact = hotline.events.call("queued");
    citizen.succeeds();
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("queued", "flow"));
    assert!(past.order.is_some());
    assert!(wav::heard_ms(&past.sound.right, APOLOGY_HZ) >= 300, "the whole apology but its edges");
    let last = part(&past.sound.right, past.at_ms("ended") - 300, past.at_ms("ended"));
    assert_eq!(wav::heard_ms(last, MUSIC_HZ), 0, "no music after the apology");
    hotline.nothing_is_left();
}

#[test]
fn an_operator_can_end_a_talk() {
    let mut hotline = Hotline::new();
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-answers", &[]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-waits", &[]);
    let contact = hotline.events.call("talking");
    let answer = hotline.lead.post(&format!("/calls/live/{contact}/hang-up"));
    assert_eq!((answer.status, &answer.body["contact"]), (202, &Value::from(contact.as_str())));
    citizen.succeeds();
    agent.succeeds();
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("talking", "operator"));
    assert!(past.record["call"]["agent_hangup"].is_null() && past.record["call"]["caller_hangup"].is_null());
    hotline.events.agent("1001", "ready");
    assert_eq!(hotline.lead.post(&format!("/calls/live/{contact}/hang-up")).status, 404);
    hotline.nothing_is_left();
}

#[test]
fn zero_in_the_greeting_reaches_a_human_at_once() {
    let folder = folder();
    prompt(&folder, "fuzhou-greeting", PROMPT_HZ, 20_000);
    let mut hotline = Hotline::start(folder);
    let citizen = hotline.citizen("citizen-presses-zero", &["-d", "1500"]);
    let contact = hotline.events.call("queued");
    citizen.succeeds();
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("queued", "caller"));
    let greeted = past.at_ms("queued");
    assert!((500..4_000).contains(&greeted), "queued after {greeted} ms, the key came after 500 ms");
    hotline.nothing_is_left();
}

#[test]
fn a_number_that_is_not_ours_is_refused() {
    let hotline = Hotline::new();
    hotline.citizen_is_refused("0591-99999999", "404");
    hotline.nothing_is_left();
}

#[test]
fn a_trunk_that_leaves_the_offer_to_us_is_served_alike() {
    let mut hotline = Hotline::new();
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-answers", &[]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-late-offer", &["-d", "3000"]);
    let contact = hotline.events.call("talking");
    citizen.succeeds();
    agent.succeeds();
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("talking", "caller"));
    let (from, to) = (past.at_ms("answered") + SETTLE_MS, past.at_ms("ended") - 100);
    assert!(wav::heard_ms(part(&past.sound.left, from, to), CITIZEN_HZ) >= 1_000);
    assert!(wav::heard_ms(part(&past.sound.right, from, to), AGENT_HZ) >= 1_000);
    hotline.nothing_is_left();
}

#[test]
fn forty_callers_at_once_leave_forty_records_and_nothing_else() {
    let hotline = Hotline::new();
    let citizens = hotline.citizen("citizen-hangs-up", &["-d", "2000", "-m", "40", "-r", "40", "-rp", "1000"]);
    citizens.succeeds();
    hotline.nothing_is_left();
    let database = hotline.database();
    let whole = "end_by = 'caller' AND end_stage = 'queued' AND connected IS NOT NULL AND ended IS NOT NULL";
    assert_eq!(sql::count(&database, "calls", whole), 40);
    assert_eq!(sql::count(&database, "orders", "state = 'draft' AND ended IS NOT NULL"), 40);
    assert_eq!(sql::count(&database, "recordings", "sha256 IS NOT NULL AND NOT damaged"), 40);
    assert_eq!(wav::files(&hotline.engine.recordings()).len(), 40);
    hotline.all_timers_run_out();
}
