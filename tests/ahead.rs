//! Context ahead of the voice, through the whole program: a target's own system over HTTP, its phone over a trunk, and what
//! it finds, and says back, under the link that it was given.

use crate::support::eventually;
use crate::support::hotline::folder;
use crate::support::phone::Phone;
use crate::support::{sql, wav};
use crate::transfers::{MORE_RULES, TARGET, Talk, write};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SECRET: [u8; 32] = [42; 32];
/// All tries of one letter, and a margin for a busy machine.
const GIVEN_UP_MAX: Duration = Duration::from_secs(45);

/// What a target's system does with what it is told.
#[derive(Clone, Copy)]
enum Answers {
    /// These statuses, the last one for ever.
    Statuses(&'static [u16]),
    Never,
}

/// One request as it came.
struct Letter {
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Clone)]
struct Desk {
    answers: Answers,
    count: Arc<AtomicUsize>,
    told: Arc<Mutex<Sender<Letter>>>,
}

/// The system of a target.
struct Center {
    at: SocketAddr,
    letters: Receiver<Letter>,
    _runtime: tokio::runtime::Runtime,
}

impl Center {
    fn new(answers: Answers) -> Center {
        let (told, letters) = channel();
        let desk = Desk { answers, count: Arc::default(), told: Arc::new(Mutex::new(told)) };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let at = listener.local_addr().unwrap();
        let router = Router::new().route("/hook", post(take)).with_state(desk);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Center { at, letters, _runtime: runtime }
    }

    /// The next request: its id, and the event that it holds, after checking that we have signed it.
    fn told(&self) -> (String, Value) {
        let Letter { headers, body } = self.letters.recv_timeout(Duration::from_secs(20)).expect("it is told");
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        let (id, at_s) = (header("webhook-id"), header("webhook-timestamp"));
        let now_s = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        assert!(at_s.parse::<u64>().unwrap().abs_diff(now_s) <= 5, "{at_s} is not now");
        let signing = Hmac::<Sha256>::new_from_slice(&SECRET).unwrap();
        let signed = signing.chain_update(format!("{id}.{at_s}.")).chain_update(&body).finalize().into_bytes();
        assert_eq!(header("webhook-signature"), format!("v1,{}", BASE64_STANDARD.encode(signed)));
        assert!(header("content-type").starts_with("application/cloudevents+json"));
        (id, serde_json::from_slice(&body).expect("JSON"))
    }
}

async fn take(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let nth = desk.count.fetch_add(1, Ordering::SeqCst);
    // A test that has seen enough hears no more.
    let _ = desk.told.lock().unwrap().send(Letter { headers, body });
    match desk.answers {
        Answers::Statuses(statuses) => StatusCode::from_u16(statuses[nth.min(statuses.len() - 1)]).unwrap(),
        Answers::Never => std::future::pending().await,
    }
}

/// Citizen and agent talk; the sub-center `center` has a system and a phone of its own.
struct House {
    talk: Talk,
    center: Center,
    phone: Phone,
}

impl House {
    fn new(answers: Answers) -> House {
        let center = Center::new(answers);
        let folder = folder();
        folder.edit("sip-profiles/queues.toml", "ring_max_s = 3", "ring_max_s = 20");
        let main = std::fs::read_to_string(folder.path().join("jiesu.toml")).unwrap();
        write(&folder, "jiesu.toml", &format!("{main}\n[context]\npublic_url = \"http://localhost/\"\n"));
        let mut phone = Phone::at("127.0.0.31", "127.0.0.1:9".parse().unwrap(), "center", wav::to_alaw(TARGET));
        let (at, ip) = (phone.address(), phone.address().ip());
        let trunk = format!("sources = [\"{ip}\"]\nremote = \"{at}\"\nuser_to_user = true\n");
        write(&folder, "sip-profiles/trunks/center.toml", &trunk);
        let rule =
            "[[rule]]\nsite = \"fuzhou\"\nnumbers = [\"95900\"]\ntrunks = [\"center\"]\ncaller = \"059112345\"\n";
        write(&folder, MORE_RULES, rule);
        write(&folder, "secret", &format!("whsec_{}\n", BASE64_STANDARD.encode(SECRET)));
        let target = format!(
            "[[target]]\nsite = \"fuzhou\"\nname = \"center\"\nkind = \"sub_center\"\nnumbers = [\"95900\"]\n\
             webhook = \"http://{}/hook\"\nwebhook_secret_file = \"secret\"\nlink = true\n",
            center.at
        );
        write(&folder, "sip-profiles/targets/center.toml", &target);
        let talk = Talk::in_house(folder, true);
        phone.client.turns_to(talk.hotline.engine.sip);
        House { talk, center, phone }
    }

    /// Asks the node for what stands at this path, as anybody would.
    fn get(&self, path: &str, accept: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.talk.hotline.engine.api);
        let mut response = anybody().get(url).header("Accept", accept).call().expect("an answer");
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.talk.hotline.engine.api);
        let mut response = anybody().post(url).send_json(body).expect("an answer");
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// What was told ahead so far, as the node counts it.
    fn figure(&self, name: &str) -> i64 {
        let admin = self.talk.hotline.engine.api("demo-admin-token");
        admin.read("/health/internals").body["ahead"][name].as_i64().expect("a figure")
    }
}

fn anybody() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

#[test]
fn a_sub_center_knows_of_the_call_before_it_rings_and_speaks_back() {
    let mut house = House::new(Answers::Statuses(&[204]));
    house.talk.start("center", "consult");
    // Its phone answers nothing before: so this came ahead of its 180.
    let (id, event) = house.center.told();
    house.phone.rings();
    let (contact, data) = (house.talk.contact.clone(), &event["data"]);
    assert_eq!((&*id, &event["subject"]), (&*format!("{contact}-1"), &json!(contact)));
    assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!("cn.jiesu.transfer.begun.v1")));
    let told = ["caller", "target", "mode", "reason", "agent", "site"].map(|name| data[name].as_str().unwrap());
    assert_eq!(told, ["+8613800138000", "center", "consult", "needs help", "1001", "fuzhou"]);
    let order = data["order"]["id"].as_str().expect("an order").to_owned();
    let link = data["link"].as_str().expect("a link").to_owned();
    let path = link.strip_prefix("http://localhost").expect("below the public address").to_owned();

    let invitation = house.phone.invitation().to_owned();
    for part in [format!("Call-Info: <{link}>;purpose=info"), format!("04{};encoding=hex", hex::encode(&link))] {
        assert!(invitation.contains(&part), "no {part} in {invitation}");
    }
    let (status, text) = house.get(&path, "application/json");
    let shown: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((status, &shown["caller"], &shown["order"]["id"]), (200, &json!("+8613800138000"), &json!(order)));
    let (status, page) = house.get(&path, "text/html");
    assert!(status == 200 && page.contains("+8613800138000") && page.contains("福州"), "{page}");
    let forged = format!("{}A", &path[..path.len() - 1]);
    let forged = if forged == path { format!("{}B", &path[..path.len() - 1]) } else { forged };
    assert_eq!(house.get(&forged, "text/html").0, 404);
    let log = house.talk.hotline.engine.log();
    for secret in [path.rsplit('/').next().unwrap(), "13800138000"] {
        assert!(!log.contains(secret), "the log has {secret}");
    }

    let three_way = format!("{path}/three-way");
    let (status, why) = house.post(&three_way, &json!({}));
    assert!(status == 409 && why["detail"].as_str().unwrap().contains("dialling"), "{why}");
    house.phone.answers();
    house.talk.until("/phase", "consulting");
    assert_eq!(house.post(&three_way, &json!({})).0, 202);
    let joined = Instant::now();
    house.talk.citizen.hears_all(&[house.talk.agent.sound, house.phone.sound], joined);
    house.phone.hears_all(&[house.talk.citizen.sound, house.talk.agent.sound], joined);
    assert_eq!(house.post(&three_way, &json!({})).0, 409, "they are together already");

    let now_ms = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let answered = json!({ "event": "answered", "at": now_ms, "wait_ms": 1_500, "agent": "8001" });
    assert_eq!(house.post(&format!("{path}/operation"), &answered).0, 201);
    assert_eq!(house.post(&format!("{path}/operation"), &answered).0, 200);
    let shown = house.talk.hotline.lead.read(&format!("/calls/{contact}/operation")).body;
    let item = &shown["items"][0];
    assert_eq!(
        (&item["event"], &item["wait_ms"], &item["target"]),
        (&json!("answered"), &json!(1_500), &json!("center"))
    );
    let (status, raised) = house.post(&format!("{path}/orders"), &json!({ "text": "需现场处置" }));
    let raised = raised["order"].as_str().expect("an order").to_owned();
    assert_eq!(status, 201);
    let database = house.talk.hotline.database();
    assert_eq!(sql::count(&database, "orders", &format!("id = '{raised}' AND contact = '{contact}'")), 1);
    let history = format!("order_id = '{raised}' AND actor = 'center' AND role = 'target' AND reason = '需现场处置'");
    assert_eq!(sql::count(&database, "order_history", &history), 1);

    house.phone.hangs_up();
    house.talk.until("/result", "returned");
    house.talk.citizen.hangs_up();
    house.talk.agent.is_hung_up();
    eventually("the call is over", Duration::from_secs(10), || {
        let over = house.talk.hotline.lead.read(&format!("/calls/{contact}")).body["call"]["end_stage"].is_string();
        over.then_some(())
    });
    assert_eq!(house.post(&three_way, &json!({})).0, 409, "the call is over");
    assert_eq!(house.get(&path, "application/json").0, 200, "who works on what was asked for reads on");
    assert_eq!((house.figure("delivered"), house.figure("retried"), house.figure("undelivered")), (1, 0, 0));
    house.talk.hotline.everything_runs_out();
}

#[test]
fn a_system_that_stumbles_is_told_again_under_the_same_id() {
    let mut house = House::new(Answers::Statuses(&[500, 307, 204]));
    house.talk.start("center", "conference");
    house.phone.rings();
    house.phone.answers();
    let joined = Instant::now();
    house.talk.citizen.hears_all(&[house.talk.agent.sound, house.phone.sound], joined);
    let told = [house.center.told(), house.center.told(), house.center.told()];
    assert!(told.iter().all(|letter| *letter == told[0]), "{told:?}");
    eventually("it is delivered", Duration::from_secs(5), || (house.figure("delivered") == 1).then_some(()));
    assert_eq!((house.figure("taken"), house.figure("retried"), house.figure("undelivered")), (1, 2, 0));
    let list = house.talk.hotline.lead.read("/targets/undelivered").body;
    assert_eq!(list["items"], json!([]));
}

#[test]
fn a_system_that_never_answers_costs_the_call_nothing_and_is_listed() {
    let mut house = House::new(Answers::Never);
    let asked = Instant::now();
    house.talk.start("center", "conference");
    house.phone.rings();
    assert!(asked.elapsed() < Duration::from_secs(2), "the INVITE waited: {:?}", asked.elapsed());
    house.phone.answers();
    let joined = Instant::now();
    house.talk.citizen.hears_all(&[house.talk.agent.sound, house.phone.sound], joined);
    let row = eventually("it is given up", GIVEN_UP_MAX, || {
        let list = house.talk.hotline.lead.read("/targets/undelivered").body;
        list["items"].as_array()?.first().cloned()
    });
    let words = ["contact", "target", "why"].map(|name| row[name].as_str().unwrap());
    assert_eq!(words, [&*house.talk.contact, "center", "timeout"]);
    assert_eq!((&row["number"], &row["status"]), (&json!(1), &Value::Null));
    assert!(row["tries"].as_i64().unwrap() >= 3, "{row}");
    let later = Instant::now();
    house.talk.citizen.hears_all(&[house.talk.agent.sound, house.phone.sound], later);
    assert_eq!((house.figure("undelivered"), house.figure("delivered")), (1, 0));
    house.talk.citizen.hangs_up();
    house.phone.is_hung_up();
    house.talk.agent.is_hung_up();
}

#[test]
fn a_node_that_stops_does_not_wait_for_a_system_that_never_answers() {
    let mut house = House::new(Answers::Never);
    house.talk.start("center", "conference");
    house.phone.rings();
    house.center.told();
    house.talk.citizen.hangs_up();
    house.talk.agent.is_hung_up();
    house.phone.is_cancelled();
    let contact = house.talk.contact.clone();
    house.talk.hotline.lead.until(&format!("/calls/{contact}"), |record| record["call"]["end_stage"].is_string());
    let (database, key) = (house.talk.hotline.database(), house.talk.hotline.folder().join("data/link.key"));
    let before = std::fs::read(&key).unwrap();
    house.talk.hotline.engine.terminate();
    let asked = Instant::now();
    assert!(house.talk.hotline.engine.ended().success());
    assert!(asked.elapsed() < Duration::from_secs(15), "it waited {:?}", asked.elapsed());
    assert_eq!(sql::count(&database, "undelivered", &format!("contact = '{contact}' AND why = 'stopped'")), 1);
    house.talk.hotline.start_again();
    assert_eq!(std::fs::read(&key).unwrap(), before, "links that were given stay good");
}
