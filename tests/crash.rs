//! A crash of the process loses no call: `kill -9` in the middle of everything, a start on the same ports, and all go on.

use crate::baresip::{Phones, goes_on as grows, phones};
use crate::support::engine::Folder;
use crate::support::hotline::{AGENT_HZ, CITIZEN_HZ, Hotline, folder};
use crate::support::phone::{Heard, Phone};
use crate::support::sipp::{Sipp, ports};
use crate::support::{eventually, sql, wav};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const DOMAIN: &str = "fuzhou.12345.example";
/// Silence that the restarted process may add. The aim is 0.1 s; a debug build on a busy machine needs more.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// The hotline in small on a SIP port that stays the same, with agents from 1001 on and nobody pressed for time.
pub fn lasting(agents: u32) -> Folder {
    let folder = folder();
    let sip = format!("\"127.0.0.1:{}\"", ports(2));
    folder.edit("sip-profiles/listeners/udp.toml", "\"127.0.0.1:0\"", &sip);
    // Ports that no other test's engine takes between a kill and the start after it.
    static HOUSES: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let from = 2_000 + 1_600 * (HOUSES.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 5);
    folder.edit("jiesu.toml", "\"20000-29999\"", &format!("\"{from}-{}\"", from + 1_599));
    folder.edit("jiesu.toml", "calls_max = 2500", "calls_max = 400");
    folder.edit("sip-profiles/queues.toml", "ring_max_s = 3", "ring_max_s = 20");
    for agent in 1_003..1_001 + agents {
        folder.agent("fuzhou", &agent.to_string(), "general");
    }
    folder
}

/// An agent's phone, registered; the agent is ready.
fn agent(hotline: &mut Hotline, name: &'static str, sound: u8) -> Phone {
    let mut phone = Phone::new(hotline.engine.sip, name, DOMAIN, sound);
    let contact = phone.client.contact();
    assert_eq!(phone.client.sign_in(&[&contact], 600).status, 200);
    hotline.events.phone(name, true);
    phone
}

pub fn citizen(hotline: &Hotline, sound: u8) -> Phone {
    let mut phone = Phone::new(hotline.engine.sip, "13800138000", "127.0.0.1", sound);
    phone.dial("12345");
    phone
}

fn contacts(hotline: &Hotline, stage: &str) -> Vec<String> {
    let live = hotline.lead.read("/calls/live").body;
    let items = live["items"].as_array().expect("calls").iter().filter(|call| call["stage"] == stage);
    items.map(|call| call["contact"].as_str().expect("a contact").to_owned()).collect()
}

/// That a phone hears one source on one line of numbers through the crash; gives how long nothing came after `started`.
fn goes_on(phone: &Phone, killed: Instant, started: Instant) -> Duration {
    let (last, first): (Heard, Heard) = (phone.last_before(killed), phone.first_after(started));
    assert_eq!(first.ssrc, last.ssrc, "the same source");
    let ahead = first.sequence.wrapping_sub(last.sequence);
    assert!((1..3_000).contains(&ahead), "sequence numbers jump by {ahead}");
    let samples = i64::from(first.timestamp.wrapping_sub(last.timestamp).cast_signed());
    let away = first.at.duration_since(last.at).as_millis() as i64;
    assert!((samples / 8 - away).abs() < 200, "{samples} samples in {away} ms");
    first.at.duration_since(started)
}

#[test]
fn calls_of_every_kind_go_on_where_they_were() {
    let mut hotline = Hotline::start(lasting(4));
    let begin = Instant::now();
    let mut talking = (agent(&mut hotline, "1001", 0x11), None::<Phone>);
    hotline.ready("1001");
    talking.1 = Some(citizen(&hotline, 0x21));
    talking.0.rings();
    talking.0.answers();
    let mut holding = (agent(&mut hotline, "1002", 0x12), None::<Phone>);
    hotline.ready("1002");
    holding.1 = Some(citizen(&hotline, 0x22));
    holding.0.rings();
    holding.0.answers();
    holding.1.as_ref().unwrap().hears(0x12, begin);
    holding.0.reoffers("sendonly");
    let mut ringing = (agent(&mut hotline, "1003", 0x13), None::<Phone>);
    hotline.ready("1003");
    ringing.1 = Some(citizen(&hotline, 0x23));
    ringing.0.rings();
    let waiting = citizen(&hotline, 0x24);
    eventually("all stand", Duration::from_secs(10), || {
        let stands = |stage: &str| contacts(&hotline, stage).len();
        ((stands("talking"), stands("ringing"), stands("queued")) == (2, 1, 1)).then_some(())
    });
    let all = [contacts(&hotline, "talking"), contacts(&hotline, "ringing"), contacts(&hotline, "queued")].concat();
    let talks = |agent: &Phone, citizen: &Phone, since| {
        agent.hears(citizen.sound, since);
        citizen.hears(agent.sound, since);
    };
    let (t, h, r) = (talking.1.as_mut().unwrap(), holding.1.as_mut().unwrap(), ringing.1.as_mut().unwrap());
    talks(&talking.0, t, begin);
    let mark = Instant::now() + Duration::from_millis(1_200);
    talks(&talking.0, t, mark);

    let killed = Instant::now();
    hotline.engine.kill();
    let started = Instant::now();
    hotline.start_again();
    let silences = [&talking.0, t, h, r, &waiting].map(|phone| goes_on(phone, killed, started));
    eprintln!("silence after the start: {silences:?}");
    assert!(silences.iter().all(|silence| *silence < SILENCE_MAX), "{silences:?}");
    talks(&talking.0, t, started);
    let still = [contacts(&hotline, "talking"), contacts(&hotline, "ringing"), contacts(&hotline, "queued")].concat();
    assert_eq!(still.len(), 4, "{still:?}");
    assert!(all.iter().all(|contact| still.contains(contact)), "the same calls: {all:?}, {still:?}");
    assert_eq!(hotline.agent("1001")["state"], "talking");
    assert_eq!(hotline.agent("1003")["state"], "offered");

    let now = Instant::now();
    ringing.0.answers();
    talks(&ringing.0, r, now);
    holding.0.reoffers("sendrecv");
    talks(&holding.0, h, now);
    let mut late = agent(&mut hotline, "1004", 0x14);
    hotline.want("1004", "ready");
    late.rings();
    late.answers();
    talks(&late, &waiting, now);

    t.hangs_up();
    talking.0.is_hung_up();
    holding.0.hangs_up();
    h.is_hung_up();
    r.hangs_up();
    ringing.0.is_hung_up();
    late.hangs_up();
    let mut waiting = waiting;
    waiting.is_hung_up();
    all_is_well(&hotline, &all);
}

/// One record, one order and one recording of its length for each call, and nothing else.
pub fn all_is_well(hotline: &Hotline, contacts: &[String]) {
    for contact in contacts {
        let past = hotline.past_through_crash(contact);
        assert_eq!(past.end().0, "talking");
        let answered = past.attempts();
        assert!(matches!(answered[..], [(_, "answered")]), "{answered:?}");
    }
    hotline.nothing_is_left();
    assert_eq!(wav::files(&hotline.engine.recordings()).len(), contacts.len(), "one recording a call");
    assert_eq!(sql::count(&hotline.database(), "calls", "TRUE"), contacts.len() as i64);
    let (status, said) = hotline.engine.folder.run(&["verify"]);
    assert!(status.success(), "{said}");
}

#[test]
fn two_real_phones_talk_on_through_a_crash() {
    let mut hotline = Hotline::start(lasting(2));
    let Phones { mut citizen, mut agent } = phones(&mut hotline);
    citizen.command("dial", &format!("sip:12345@{}", hotline.engine.sip));
    let contact = hotline.events.call("talking");
    grows(&hotline, 3_000);
    hotline.engine.kill();
    hotline.start_again();
    grows(&hotline, 4_000);
    citizen.command("hangup", "");
    agent.until("CALL_CLOSED");
    let past = hotline.past_through_crash(&contact);
    assert_eq!((past.end(), past.attempts()), (("talking", "caller"), vec![("1001", "answered")]));
    let (from, to) = (past.at_ms("answered") + 600, past.at_ms("ended") - 100);
    let talk_ms = (to - from) / 100 * 100;
    let (left, right) = (&past.sound.left[from * 8..to * 8], &past.sound.right[from * 8..to * 8]);
    let heard = [
        wav::heard_ms(left, CITIZEN_HZ),
        wav::heard_ms(right, AGENT_HZ),
        wav::heard_ms(&citizen.heard(), AGENT_HZ),
        wav::heard_ms(&agent.heard(), CITIZEN_HZ),
    ];
    eprintln!("of {talk_ms} ms are recorded left and right, and heard by citizen and agent: {heard:?}");
    // Less what is lost of the last second, what the start takes, and what a phone makes of a gap.
    assert!(heard.iter().all(|heard| *heard + 2_500 >= talk_ms), "{heard:?} of {talk_ms} ms");
    hotline.nothing_is_left();
}

/// What of a file may be missing when the process is killed: less than a second is not written yet.
const UNWRITTEN_MAX: Duration = Duration::from_secs(1);

#[test]
fn every_file_of_a_hundred_running_recordings_plays_up_to_the_kill() {
    const SILENCE: u8 = 0xd5;
    let mut hotline = Hotline::start(lasting(2));
    let sounds = (0x80..=0xff).filter(|sound| *sound != SILENCE).take(100);
    let phones: Vec<(Instant, Phone)> = sounds
        .map(|sound| {
            let phone = citizen(&hotline, sound);
            (Instant::now(), phone)
        })
        .collect();
    let last = phones.last().expect("a hundred").0;
    for (_, phone) in &phones {
        phone.first_after(last + UNWRITTEN_MAX);
    }
    let killed = Instant::now();
    hotline.engine.kill();
    let files = wav::files(&hotline.engine.recordings());
    // Each phone is known by its sound; a file whose header says more than there is cannot be read.
    let mut ends: BTreeMap<i16, Duration> = BTreeMap::new();
    for file in &files {
        let left = wav::Stereo::read(&std::fs::read(file).unwrap()).left;
        let last = left.iter().rposition(|sample| *sample != wav::alaw(SILENCE)).expect("somebody speaks");
        let heard = Duration::from_micros(last as u64 * 125);
        assert_eq!(ends.insert(left[last], heard), None, "two files of one phone");
    }
    assert_eq!(ends.len(), phones.len());
    for (since, phone) in &phones {
        let (spoken, written) = (killed - *since, ends[&wav::alaw(phone.sound)]);
        assert!(written + UNWRITTEN_MAX >= spoken, "{written:?} of {spoken:?} are in the file");
    }
    let missing = phones.iter().map(|(since, phone)| (killed - *since).saturating_sub(ends[&wav::alaw(phone.sound)]));
    eprintln!("at most {:?} are missing", missing.max());
}

/// Calls that may be lost: those that came or changed in the last moment, before anything was written of them.
const LOST_MAX: i64 = 15;

#[test]
fn a_crash_under_load_doubles_nothing_and_loses_next_to_nothing() {
    const CALLS: i64 = 300;
    let mut hotline = Hotline::start(lasting(8));
    let rooms = [("agent-of-many", 1_001..1_005, ports(2)), ("agent-rings-out", 1_005..1_009, ports(2))];
    for (_, names, port) in &rooms {
        for name in names.clone().map(|name: u32| name.to_string()) {
            Sipp::register(hotline.folder(), hotline.engine.sip, DOMAIN, &name, *port);
            hotline.events.phone(&name, true);
            hotline.ready(&name);
        }
    }
    let agents = rooms.map(|(scenario, _, port)| {
        let many = ["-p", &port.to_string(), "-m", "100000"];
        let agents = Sipp::start(hotline.folder(), hotline.engine.sip, scenario, &many);
        agents.listens(port);
        agents
    });
    let many = ["-m", &CALLS.to_string(), "-r", "100", "-d", "8000", "-recv_timeout", "20000"];
    let citizens = hotline.citizen("citizen-of-many", &many);
    eventually("a crowd has come", Duration::from_secs(20), || {
        let live = hotline.lead.read("/calls/live").body["items"].as_array().expect("calls").len();
        (live >= 150).then_some(())
    });
    hotline.engine.kill();
    hotline.start_again();
    let log = hotline.engine.log();
    let live: i64 = log.split("go_on=").nth(1).and_then(|told| told.split_whitespace().next()?.parse().ok()).unwrap();
    assert!(live >= 150 - LOST_MAX, "only {live} calls go on");
    citizens.ends();
    // A phone of sipp that was hung up in the wrong moment lets its BYE run out (Timer F).
    let admin = hotline.engine.api("demo-admin-token");
    eventually("nothing is left", Duration::from_secs(60), || {
        let inside = admin.read("/health/internals").body;
        let stands = ["calls", "dialogs", "leases", "callers", "media_legs", "recordings", "ports"];
        let left = stands.iter().any(|name| inside["standing"][name] != 0);
        (!left && inside["facts"]["behind"] == false).then_some(())
    });
    drop(agents);

    let database = hotline.database();
    let count = |table: &str, condition: &str| sql::count(&database, table, condition);
    let calls = count("calls", "TRUE");
    assert!((CALLS - LOST_MAX..=CALLS).contains(&calls), "{calls} records of {CALLS} calls");
    eventually("every call has its end, and every recording", Duration::from_secs(20), || {
        (count("calls", "ended IS NULL") + count("recordings", "sha256 IS NULL") == 0).then_some(())
    });
    let cut = count("calls", "end_by <> 'caller'");
    eprintln!("{live} went on, {calls} records, {cut} ended otherwise than by the caller");
    assert!(cut <= LOST_MAX, "{cut} calls were cut off");
    // A call of the last moment may be known by its recording alone.
    let told = count("calls", "sip_call_id <> ''");
    assert_eq!(count("(SELECT DISTINCT sip_call_id FROM calls)", "sip_call_id <> ''"), told, "no call is told twice");
    let queued = count("calls", "queued IS NOT NULL");
    assert!(queued > CALLS / 2, "{queued} came to the queue");
    assert_eq!(count("orders", "ended IS NOT NULL"), queued);
    assert_eq!(count("(SELECT DISTINCT contact FROM orders)", "TRUE"), count("orders", "TRUE"));
    let recordings = count("recordings", "TRUE");
    assert_eq!(count("recordings", "sha256 IS NOT NULL"), recordings, "every recording is sealed");
    assert_eq!(count("recordings", "contact NOT IN (SELECT id FROM calls)"), 0, "no recording without its call");
    let unheard = "connected IS NOT NULL AND id NOT IN (SELECT contact FROM recordings)";
    assert_eq!(count("calls", &format!("{unheard} AND end_by = 'caller'")), 0, "who came to their own end is recorded");
    assert!(recordings + cut >= calls, "{recordings} recordings of {calls} calls, {cut} cut off");
    let of_length = "SELECT 1 FROM calls c WHERE c.recording = recordings.id \
                     AND ABS(c.ended - c.connected - recordings.duration_ms) <= 1000";
    assert_eq!(count("recordings", &format!("NOT EXISTS ({of_length})")), 0, "recordings of their calls' length");
    for file in wav::files(&hotline.engine.recordings()) {
        wav::Stereo::read(&std::fs::read(file).unwrap());
    }
    let (status, said) = hotline.engine.folder.run(&["verify"]);
    assert!(status.success(), "{said}");
}
