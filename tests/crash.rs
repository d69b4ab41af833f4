//! A crash of the process loses no call: `kill -9` in the middle of everything, a start on the same ports, and all go on.

use crate::support::engine::Folder;
use crate::support::hotline::{Hotline, folder};
use crate::support::phone::{Heard, Phone};
use crate::support::sipp::{Sipp, ports};
use crate::support::{eventually, sql, wav};
use std::time::{Duration, Instant};

const DOMAIN: &str = "fuzhou.12345.example";
/// Silence that the restarted process may add. The aim is 0.1 s; a debug build on a busy machine needs more.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// The hotline in small on a SIP port that stays the same, with agents from 1001 on and nobody pressed for time.
fn lasting(agents: u32) -> Folder {
    let folder = folder();
    let sip = format!("\"127.0.0.1:{}\"", ports(2));
    folder.edit("sip-profiles/listeners/udp.toml", "\"127.0.0.1:0\"", &sip);
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

fn citizen(hotline: &Hotline, sound: u8) -> Phone {
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
    for contact in &all {
        let past = hotline.past_through_crash(contact);
        assert_eq!(past.end().0, "talking");
        let answered = past.attempts();
        assert!(matches!(answered[..], [(_, "answered")]), "{answered:?}");
    }
    hotline.nothing_is_left();
    assert_eq!(wav::files(&hotline.engine.recordings()).len(), 4, "one recording a call");
    assert_eq!(sql::count(&hotline.database(), "calls", "TRUE"), 4);
    let (status, said) = hotline.engine.folder.run(&["verify"]);
    assert!(status.success(), "{said}");
}
