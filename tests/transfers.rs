//! Transfers through the whole program: a citizen, an agent and a target on phones of their own over trunks, everything
//! that each of them hears, and what is remembered.

use crate::crash::lasting;
use crate::support::engine::Folder;
use crate::support::hotline::{Hotline, Past, folder};
use crate::support::phone::Phone;
use crate::support::{eventually, sql, wav};
use serde_json::{Value, json};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const DOMAIN: &str = "fuzhou.12345.example";
/// What a citizen, an agent and a target say: levels that are told apart also when two are heard together.
const CITIZEN: i16 = 1_000;
const AGENT: i16 = 2_400;
pub const TARGET: i16 = 5_500;
/// A gap that nobody hears, and what comes between two packets that a busy machine sends.
const GAP_MAX: Duration = Duration::from_millis(20 + 60);

/// The trunk of exercises, where there is one.
const SIMULATED: &str = "sip-profiles/trunks/simulated.toml";

/// Rules of a test, beside those of the house.
pub const MORE_RULES: &str = "sip-profiles/more-rules";

/// A hotline with a carrier for citizens at 127.0.0.9, two trunks out, and targets.
pub fn house(folder: Folder, first: SocketAddr, second: SocketAddr) -> Folder {
    folder.edit("sip-profiles/trunks/carrier.toml", "\"127.0.0.0/8\", \"::1\"", "\"127.0.0.9\"");
    for (name, at, priority) in [("a", first, 1), ("b", second, 2)] {
        let text = format!("sources = [\"{}\"]\nremote = \"{at}\"\npriority = {priority}\n", at.ip());
        write(&folder, &format!("sip-profiles/trunks/{name}.toml"), &text);
    }
    let rule = |numbers: &str, emergency: bool| {
        format!(
            "[[rule]]\nsite = \"fuzhou\"\nnumbers = {numbers}\ntrunks = [\"a\", \"b\"]\ncaller = \"059112345\"\n\
             emergency = {emergency}\n"
        )
    };
    let exercise = rule("[\"990119\"]", false).replace("\"a\", \"b\"", "\"simulated\"");
    let is_simulated = folder.path().join(SIMULATED).exists();
    let rules = [rule("[\"119\"]", true), rule("[\"0591*\"]", false)];
    let more = std::fs::read_to_string(folder.path().join(MORE_RULES)).unwrap_or_default();
    write(
        &folder,
        "sip-profiles/dialling.toml",
        &[rules[0].as_str(), rules[1].as_str(), if is_simulated { exercise.as_str() } else { "" }, &more].concat(),
    );
    write(
        &folder,
        "sip-profiles/targets/fuzhou.toml",
        "[[target]]\nsite = \"fuzhou\"\nname = \"fire\"\ntitle = \"火警\"\nkind = \"emergency\"\nnumbers = [\"119\"]\n\
         key = \"*9\"\n[[target]]\nsite = \"fuzhou\"\nname = \"water\"\nkind = \"utility\"\nnumbers = [\"059196110\"]\n\
         key = \"*2\"\nchannels = 1\n[[target]]\nsite = \"fuzhou\"\nname = \"old\"\nkind = \"sub_center\"\nnumbers = [\"059112333\"]\n\
         until = 2026-01-01\n",
    );
    folder
}

pub fn write(folder: &Folder, file: &str, text: &str) {
    let path = folder.path().join(file);
    std::fs::create_dir_all(path.parent().expect("a folder")).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A trunk where nobody answers.
fn dead(ip: &str) -> UdpSocket {
    UdpSocket::bind((ip, 0)).unwrap()
}

/// Citizen and agent talk; a target waits at the second trunk.
pub struct Talk {
    pub hotline: Hotline,
    pub citizen: Phone,
    pub agent: Phone,
    pub target: Phone,
    pub contact: String,
    pub since: Instant,
}

impl Talk {
    /// `live`: the first trunk is the target's, else it is dead and the second one is.
    fn new(live: bool) -> Talk {
        let folder = folder();
        folder.edit("sip-profiles/queues.toml", "ring_max_s = 3", "ring_max_s = 20");
        Talk::in_house(folder, live)
    }

    pub fn in_house(folder: Folder, live: bool) -> Talk {
        let silent = dead("127.0.0.2");
        let nowhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let sound = wav::to_alaw;
        let mut target = Phone::at("127.0.0.3", nowhere, "target", sound(TARGET));
        let (at, other) = (target.address(), silent.local_addr().unwrap());
        let folder = if live { house(folder, at, other) } else { house(folder, other, at) };
        let mut hotline = Hotline::start(folder);
        target.client.turns_to(hotline.engine.sip);
        let mut agent = Phone::new(hotline.engine.sip, "1001", DOMAIN, sound(AGENT));
        let contact = agent.client.contact();
        assert_eq!(agent.client.sign_in(&[&contact], 600).status, 200);
        hotline.events.phone("1001", true);
        hotline.ready("1001");
        let mut citizen = Phone::at("127.0.0.9", hotline.engine.sip, "13800138000", sound(CITIZEN));
        citizen.dial("12345");
        agent.rings();
        agent.answers();
        let contact = hotline.events.call("talking");
        let since = Instant::now();
        citizen.hears_all(&[agent.sound], since);
        agent.hears_all(&[citizen.sound], since);
        Talk { hotline, citizen, agent, target, contact, since }
    }

    pub fn ask(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.hotline.lead.post_json(&format!("/calls/live/{}/transfer{path}", self.contact), body);
        (answer.status, answer.body)
    }

    pub fn start(&self, target: &str, mode: &str) {
        let (status, body) = self.ask("", &json!({ "target": target, "mode": mode, "reason": "needs help" }));
        assert_eq!(status, 202, "{body}");
    }

    /// Light of a target, how that is known, how many calls of ours are with it, and how the last one went.
    fn lamp(&self, target: &str) -> (String, String, i64, Value) {
        let list = self.hotline.lead.read("/targets").body;
        let items = list["items"].as_array().expect("targets");
        let it = items.iter().find(|it| it["name"] == target).expect("the target");
        let word = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
        (word("light"), word("why"), it["running"].as_i64().unwrap_or(-1), it["last"].clone())
    }

    /// What the transfer looks like from outside.
    pub fn until(&self, pointer: &str, value: &str) {
        eventually(&format!("{pointer} is {value}"), Duration::from_secs(10), || {
            let live = self.hotline.lead.read("/calls/live").body;
            let call = live["items"].as_array()?.iter().find(|call| call["contact"] == *self.contact)?.clone();
            (call["transfer"].pointer(pointer)? == value).then_some(())
        });
    }

    /// What remains, with the one transfer's row.
    pub fn past(&self) -> (Past, Value) {
        let past = self.hotline.past(&self.contact);
        let transfers = past.record["transfers"].as_array().expect("transfers").clone();
        let stored = sql::count(&self.hotline.database(), "call_transfers", &format!("contact = '{}'", self.contact));
        assert_eq!(stored, transfers.len() as i64);
        let last = transfers.last().expect("a transfer").clone();
        (past, last)
    }
}

#[test]
fn one_key_brings_the_fire_brigade_over_the_second_route_and_the_agent_leaves() {
    let Talk { hotline, mut citizen, mut agent, mut target, contact, since } = Talk::new(false);
    let pressed = Instant::now();
    agent.presses("*9");
    target.rings();
    let invitation = target.invitation().to_owned();
    for part in [
        "INVITE sip:119@127.0.0.3",
        "From: <sip:059112345@",
        "P-Asserted-Identity: <sip:13800138000@",
        "Priority: emergency",
    ] {
        assert!(invitation.contains(part), "no {part} in {invitation}");
    }
    assert!(pressed.elapsed() < Duration::from_secs(2), "the dead trunk had its one second: {:?}", pressed.elapsed());
    let ringing = Instant::now();
    citizen.hears_all(&[agent.sound], ringing);
    agent.hears_all(&[citizen.sound], ringing);
    target.answers();
    let joined = Instant::now();
    citizen.hears_all(&[agent.sound, target.sound], joined);
    agent.hears_all(&[citizen.sound, target.sound], joined);
    target.hears_all(&[citizen.sound, agent.sound], joined);
    let three = Instant::now();
    agent.hangs_up();
    citizen.hears_all(&[target.sound], three);
    target.hears_all(&[citizen.sound], three);
    let two = Instant::now() + Duration::from_millis(500);
    citizen.hears_all(&[target.sound], two);
    let silence = citizen.longest_silence(since, two);
    assert!(silence <= GAP_MAX, "the citizen heard nothing for {silence:?}");
    eprintln!("longest silence of the citizen over join and leave: {silence:?}");
    target.hangs_up();
    citizen.is_hung_up();

    let talk = Talk { hotline, citizen, agent, target, contact, since };
    let (past, transfer) = talk.past();
    assert_eq!(past.end(), ("talking", "target"));
    let words = ["target", "kind", "mode", "agent", "result"].map(|name| transfer[name].as_str().unwrap());
    assert_eq!(words, ["fire", "emergency", "conference", "1001", "completed"]);
    let times = ["started", "answered", "joined", "handed", "ended"].map(|name| transfer[name].as_i64());
    assert!(times.is_sorted() && times.iter().all(Option::is_some), "{times:?}");
    let routes: Vec<Value> = serde_json::from_str(transfer["routes"].as_str().unwrap()).unwrap();
    let statuses: Vec<(&str, i64)> =
        routes.iter().map(|it| (it["trunk"].as_str().unwrap(), it["sip_status"].as_i64().unwrap())).collect();
    assert_eq!(statuses, [("a", 408), ("b", 200)]);
    talk.hotline.everything_runs_out();
    let files = wav::files(&talk.hotline.engine.recordings());
    let tracks = files
        .iter()
        .filter(|file| file.to_string_lossy().contains("-agent-") || file.to_string_lossy().contains("-target-"));
    assert_eq!((files.len(), tracks.count()), (3, 2), "the journey and a track for each of the others: {files:?}");
    // The journey goes on without the agent: the target alone is on its right at the end.
    let right = &past.sound.right;
    let end = right[right.len() - 800];
    assert!((i32::from(end) - i32::from(wav::alaw(talk.target.sound))).abs() <= 350, "{end} at the end of the journey");
}

#[test]
fn an_exercise_is_marked_from_the_invitation_to_the_order() {
    let folder = folder();
    folder.edit("sip-profiles/queues.toml", "ring_max_s = 3", "ring_max_s = 20");
    let mut line = Phone::at("127.0.0.4", "127.0.0.1:9".parse().unwrap(), "line", wav::to_alaw(TARGET));
    let at = line.address();
    write(&folder, SIMULATED, &format!("sources = [\"{}\"]\nremote = \"{at}\"\ndrill = true\n", at.ip()));
    let target = "[[target]]\nsite = \"fuzhou\"\nname = \"fire-drill\"\nkind = \"emergency\"\ndrill = true\n\
                  numbers = [\"990119\"]\nkey = \"*8\"\n";
    write(&folder, "sip-profiles/targets/drill.toml", target);
    let mut talk = Talk::in_house(folder, true);
    line.client.turns_to(talk.hotline.engine.sip);
    talk.agent.presses("*8");
    line.rings();
    let invitation = line.invitation().to_owned();
    for (part, there) in [("INVITE sip:990119@", true), ("Subject: DRILL", true), ("Priority:", false)] {
        assert_eq!(invitation.contains(part), there, "{part} in {invitation}");
    }
    line.answers();
    let joined = Instant::now();
    talk.citizen.hears_all(&[talk.agent.sound, line.sound], joined);
    let live = talk.hotline.lead.read("/calls/live").body;
    assert_eq!(live["items"][0]["transfer"]["drill"], true, "{live}");
    line.hangs_up();
    talk.until("/result", "returned");
    talk.citizen.hangs_up();
    talk.agent.is_hung_up();
    let (_, transfer) = talk.past();
    assert_eq!((&transfer["drill"], &transfer["kind"]), (&json!(true), &json!("emergency")));
    let database = talk.hotline.database();
    let marked = format!("contact = '{}' AND drill AND NOT emergency", talk.contact);
    assert_eq!(sql::count(&database, "orders", &marked), 1, "the order says that it was an exercise");
    let by_hand = json!({ "agent": "1001", "number": "990119" });
    let refused = talk.hotline.lead.post_json("/calls", &by_hand);
    assert_eq!(refused.status, 403, "nobody dials a simulated line by hand: {}", refused.body);
}

#[test]
fn ten_experts_are_rung_together_and_the_first_who_answers_has_the_citizen() {
    let folder = folder();
    folder.edit("sip-profiles/queues.toml", "ring_max_s = 3", "ring_max_s = 20");
    let nowhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let expert = |nth: usize| Phone::at(&format!("127.0.0.{}", 20 + nth), nowhere, "expert", wav::to_alaw(TARGET));
    let mut experts: Vec<Phone> = (0..10).map(expert).collect();
    let mut rules = String::new();
    for (nth, expert) in experts.iter().enumerate() {
        let at = expert.address();
        let trunk = format!("sources = [\"{}\"]\nremote = \"{at}\"\n", at.ip());
        write(&folder, &format!("sip-profiles/trunks/expert-{nth}.toml"), &trunk);
        rules += &format!(
            "[[rule]]\nsite = \"fuzhou\"\nnumbers = [\"95800{nth}\"]\ntrunks = [\"expert-{nth}\"]\ncaller = \"059112345\"\n"
        );
    }
    write(&folder, MORE_RULES, &rules);
    let numbers: Vec<String> = (0..10).map(|nth| format!("\"95800{nth}\"")).collect();
    let target = format!(
        "[[target]]\nsite = \"fuzhou\"\nname = \"experts\"\nkind = \"expert\"\nring = \"all\"\nnumbers = [{}]\n",
        numbers.join(", ")
    );
    write(&folder, "sip-profiles/targets/experts.toml", &target);
    let mut talk = Talk::in_house(folder, true);
    for expert in &mut experts {
        expert.client.turns_to(talk.hotline.engine.sip);
    }
    talk.start("experts", "consult");
    experts.iter_mut().for_each(Phone::rings);
    let mut sixth = experts.remove(6);
    sixth.answers();
    for other in &mut experts {
        let cancel = other.is_cancelled();
        assert!(cancel.contains("Reason: SIP;cause=200"), "it is no missed call: {cancel}");
    }
    talk.until("/phase", "consulting");
    let consulting = Instant::now();
    sixth.hears_all(&[talk.agent.sound], consulting);
    talk.agent.hears_all(&[sixth.sound], consulting);
    assert_eq!(talk.ask("/complete", &json!({})).0, 202);
    let handed = Instant::now();
    talk.citizen.hears_all(&[sixth.sound], handed);
    sixth.hears_all(&[talk.citizen.sound], handed);
    talk.citizen.hangs_up();
    sixth.is_hung_up();
    let (_, transfer) = talk.past();
    let routes: Vec<Value> = serde_json::from_str(transfer["routes"].as_str().unwrap()).unwrap();
    let ended = |status: i64| routes.iter().filter(|route| route["sip_status"] == status).count();
    assert_eq!((routes.len(), ended(200), ended(487)), (10, 1, 9));
    assert_eq!(transfer["result"], "completed");
}

#[test]
fn a_sub_center_gives_the_citizen_back_and_the_next_agent_has_them() {
    let mut talk = Talk::new(true);
    talk.start("water", "blind");
    talk.target.rings();
    talk.target.answers();
    let handed = Instant::now();
    talk.citizen.hears_all(&[talk.target.sound], handed);
    talk.agent.is_hung_up();
    talk.hotline.ready("1001");
    let back = Instant::now();
    assert!(talk.target.refers_to_number("12345").starts_with("SIP/2.0 202"));
    let news = [talk.target.is_notified(), talk.target.is_notified()];
    assert_eq!(news, ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]);
    talk.target.is_hung_up();
    talk.agent.rings();
    talk.agent.answers();
    let again = Instant::now();
    talk.citizen.hears_all(&[talk.agent.sound], again);
    talk.agent.hears_all(&[talk.citizen.sound], again);
    let silence = talk.citizen.longest_silence(back, again);
    assert!(silence <= Duration::from_secs(1), "the citizen heard nothing for {silence:?}");
    talk.citizen.hangs_up();
    talk.agent.is_hung_up();
    let (past, transfer) = talk.past();
    assert_eq!((&transfer["result"], past.end()), (&json!("completed"), ("talking", "caller")));
    assert_eq!(past.record["attempts"].as_array().map(Vec::len), Some(2), "one journey with two agents");
}

#[test]
fn a_mobile_is_there_when_somebody_has_pressed_one_and_a_citizen_aside_is_told_why() {
    let folder = folder();
    folder.edit("sip-profiles/queues.toml", "ring_max_s = 3", "ring_max_s = 20");
    let target = "[[target]]\nsite = \"fuzhou\"\nname = \"mobile\"\nkind = \"expert\"\nnumbers = [\"059113800001\"]\n\
                  confirm = \"press-one\"\nannouncement = \"transfer-wait\"\n";
    write(&folder, "sip-profiles/targets/mobile.toml", target);
    let mut talk = Talk::in_house(folder, true);
    let begun = Instant::now();
    talk.start("mobile", "consult");
    talk.target.rings();
    talk.target.answers();
    let asked = Instant::now();
    eventually("the citizen hears something, then the target", Duration::from_secs(10), || {
        let loud = |phone: &Phone, since: Instant| {
            let heard = phone.ear(since, Instant::now());
            heard.iter().filter(|sample| sample.unsigned_abs() > 3_000).count() > 800
        };
        (loud(&talk.citizen, begun) && loud(&talk.target, asked)).then_some(())
    });
    talk.until("/phase", "dialling");
    talk.target.presses("1");
    talk.until("/phase", "consulting");
    let there = Instant::now();
    talk.target.hears_all(&[talk.agent.sound], there);
    talk.agent.hears_all(&[talk.target.sound], there);
    let (status, body) = talk.ask("/complete", &json!({}));
    assert_eq!(status, 202, "{body}");
    let handed = Instant::now();
    talk.citizen.hears_all(&[talk.target.sound], handed);
    let silence = talk.citizen.longest_silence(begun, handed);
    assert!(silence <= Duration::from_secs(1), "the citizen heard nothing for {silence:?}");
    talk.citizen.hangs_up();
    talk.target.is_hung_up();
    let (_, transfer) = talk.past();
    assert_eq!(transfer["result"], "completed");
}

#[test]
fn a_busy_target_leaves_citizen_and_agent_as_they_were() {
    for mode in ["conference", "consult", "blind"] {
        let mut talk = Talk::new(true);
        talk.start("water", mode);
        talk.target.rings();
        if mode != "conference" {
            talk.until("/phase", "dialling");
        }
        let refused = Instant::now();
        talk.target.refuses("486 Busy Here");
        talk.until("/result", "busy");
        let (light, why, running, last) = talk.lamp("water");
        assert_eq!((&*light, &*why, running), ("busy", "last_try", 0));
        assert_eq!((&last["result"], &last["status"]), (&json!("busy"), &json!(486)));
        let back = talk.citizen.hears_all(&[talk.agent.sound], refused).at.duration_since(refused);
        assert!(back <= Duration::from_secs(1), "{mode}: the citizen is back with the agent after {back:?}");
        talk.agent.hears_all(&[talk.citizen.sound], refused);
        if mode == "conference" {
            let silence = talk.citizen.longest_silence(talk.since, Instant::now());
            assert!(silence <= GAP_MAX, "{silence:?}");
        }
        talk.citizen.hangs_up();
        talk.agent.is_hung_up();
        let (past, transfer) = talk.past();
        assert_eq!((past.end(), transfer["result"].as_str()), (("talking", "caller"), Some("busy")), "{mode}");
    }
}

#[test]
fn a_consultation_is_joined_or_completed_and_what_cannot_be_is_refused() {
    let mut talk = Talk::new(true);
    let wanted = |target: &str| json!({ "target": target, "reason": "needs help" });
    for (body, status, part) in [
        (wanted("119"), 422, "no target of this name"),
        (wanted("1381101200"), 422, "no target of this name"),
        (wanted("400119"), 422, "no target of this name"),
        (wanted("old"), 409, "no longer in service"),
        (json!({ "target": "water", "reason": "" }), 422, "say why"),
    ] {
        let (told, problem) = talk.ask("", &body);
        assert!(told == status && problem["detail"].as_str().is_some_and(|it| it.contains(part)), "{body}: {problem}");
    }
    assert_eq!(talk.ask("/join", &json!({})).0, 409);
    assert_eq!(talk.lamp("water"), ("free".into(), "ready".into(), 0, Value::Null));
    talk.start("water", "consult");
    talk.target.rings();
    talk.target.answers();
    talk.until("/phase", "consulting");
    assert_eq!(talk.lamp("water"), ("busy".into(), "target_full".into(), 1, Value::Null));
    assert_eq!(talk.ask("", &wanted("fire")).0, 409, "one at a time");
    let consulting = Instant::now();
    talk.agent.hears_all(&[talk.target.sound], consulting);
    talk.target.hears_all(&[talk.agent.sound], consulting);
    // One note of the music may be as loud as a voice; not one packet after the other.
    let apart = eventually("the citizen hears something", Duration::from_secs(5), || {
        Some(talk.citizen.sounds_since(consulting)).filter(|sounds| sounds.len() >= 20)
    });
    let voices = apart.iter().filter(|sound| [talk.agent.sound, talk.target.sound].contains(sound)).count();
    assert!(voices < apart.len() / 2, "the citizen has music: {apart:x?}");
    assert_eq!(talk.ask("/join", &json!({})).0, 202);
    let joined = Instant::now();
    talk.citizen.hears_all(&[talk.agent.sound, talk.target.sound], joined);
    assert_eq!(talk.ask("/complete", &json!({})).0, 202);
    talk.agent.is_hung_up();
    let handed = Instant::now();
    talk.citizen.hears_all(&[talk.target.sound], handed);
    talk.target.hears_all(&[talk.citizen.sound], handed);
    assert_eq!(talk.ask("", &wanted("fire")).0, 409, "no agent talks");
    talk.citizen.hangs_up();
    talk.target.is_hung_up();
    let (past, transfer) = talk.past();
    assert_eq!((past.end(), transfer["result"].as_str()), (("talking", "caller"), Some("completed")));
    talk.hotline.nothing_is_left();
}

#[test]
fn a_target_that_sends_nothing_gives_the_agent_the_citizen_back_until_it_does() {
    let mut talk = Talk::new(true);
    talk.start("water", "consult");
    talk.target.rings();
    talk.target.answers();
    let answered = Instant::now();
    talk.agent.hears_all(&[talk.target.sound], answered);
    let mute = |talk: &Talk, mute: bool| {
        eventually(&format!("the transfer is shown as mute: {mute}"), Duration::from_secs(10), || {
            let live = talk.hotline.lead.read("/calls/live").body;
            let call = live["items"].as_array()?.iter().find(|call| call["contact"] == *talk.contact)?.clone();
            (call["transfer"]["mute"] == mute).then_some(())
        });
    };
    mute(&talk, false);
    talk.target.mutes(true);
    let silent = Instant::now();
    let back = talk.citizen.hears_all(&[talk.agent.sound], silent).at - silent;
    assert!((Duration::from_millis(2_800)..Duration::from_millis(3_500)).contains(&back), "after {back:?}");
    talk.agent.hears_all(&[talk.citizen.sound], silent);
    mute(&talk, true);
    talk.target.mutes(false);
    let again = Instant::now();
    talk.agent.hears_all(&[talk.target.sound], again);
    mute(&talk, false);
    eventually("the citizen has music", Duration::from_secs(2), || {
        let apart = talk.citizen.last_before(Instant::now()).sound;
        (apart != talk.agent.sound && apart != talk.target.sound).then_some(())
    });
    assert_eq!(talk.ask("/cancel", &json!({})).0, 202);
    talk.target.is_hung_up();
    talk.citizen.hangs_up();
    talk.agent.is_hung_up();
    let (_, transfer) = talk.past();
    assert!(transfer["mute"].as_i64() > transfer["answered"].as_i64(), "{transfer}");
    // Music until then: all of it, for a tone may cross zero in the middle of each packet.
    let music = talk.citizen.ear(silent, silent + Duration::from_millis(2_800));
    let quiet = music.chunks(160).filter(|packet| packet.iter().all(|sample| sample.unsigned_abs() <= 500)).count();
    assert!(music.len() >= 20_000 && quiet <= 4, "{quiet} packets without sound in {} samples", music.len());
    talk.hotline.nothing_is_left();
}

#[test]
fn a_crash_in_the_middle_of_three_parts_nobody() {
    // On ports that no other test's engine takes between the kill and the start.
    let mut talk = Talk::in_house(lasting(2), true);
    talk.start("water", "conference");
    talk.target.rings();
    talk.target.answers();
    let joined = Instant::now();
    talk.citizen.hears_all(&[talk.agent.sound, talk.target.sound], joined);
    talk.until("/phase", "joined");
    talk.hotline.engine.kill();
    talk.hotline.start_again();
    let again = Instant::now();
    talk.citizen.hears_all(&[talk.agent.sound, talk.target.sound], again);
    talk.agent.hears_all(&[talk.citizen.sound, talk.target.sound], again);
    talk.target.hears_all(&[talk.citizen.sound, talk.agent.sound], again);
    talk.agent.hangs_up();
    let left = Instant::now();
    talk.citizen.hears_all(&[talk.target.sound], left);
    talk.target.hangs_up();
    talk.citizen.is_hung_up();
    let past = talk.hotline.past_through_crash(&talk.contact);
    assert_eq!(past.record["transfers"][0]["result"], "completed");
    talk.hotline.nothing_is_left();
}
