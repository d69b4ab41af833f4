//! The agent's own phone brings a target in, as desk phones do: it holds the citizen, calls the target by itself, and joins
//! the two by REFER with Replaces (RFC 5589 §7), mixes them, or takes the citizen back. Signalling has several shards, so
//! that the phone's second call would go to another than the first.

use crate::crash::lasting;
use crate::support::baresip::Baresip;
use crate::support::engine::Folder;
use crate::support::hotline::{AGENT_HZ, Hotline, folder};
use crate::support::phone::Phone;
use crate::support::{eventually, wav};
use crate::transfers::{Talk, house};
use serde_json::Value;
use std::time::{Duration, Instant};

/// What the agent's phone says in its second call.
const SECOND: i16 = 3_700;

fn sharded(folder: Folder) -> Folder {
    folder.edit("jiesu.toml", "shards = 0", "shards = 4");
    folder
}

fn talk() -> Talk {
    let folder = sharded(folder());
    folder.edit("sip-profiles/queues.toml", "ring_max_s = 3", "ring_max_s = 20");
    Talk::in_house(folder, true)
}

/// The citizen is held, and the phone talks to the target.
fn consulting(talk: &mut Talk, number: &str) -> Phone {
    talk.agent.reoffers("sendonly");
    let mut line = talk.agent.dials_beside(number, wav::to_alaw(SECOND));
    talk.target.rings();
    line.is_told(180);
    talk.target.answers();
    line.connects();
    talk.until("/phase", "consulting");
    let since = Instant::now();
    line.hears_all(&[talk.target.sound], since);
    talk.target.hears_all(&[line.sound], since);
    line
}

/// Music comes to the citizen for a while, and nothing of the others.
fn has_music(talk: &Talk) {
    let from = Instant::now();
    let heard = talk.citizen.first_after(from + Duration::from_millis(400));
    let ear = talk.citizen.ear(from, heard.at);
    let music = wav::heard_ms(&ear, crate::support::hotline::MUSIC_HZ);
    assert!(music >= 200, "{music} ms of music in {} samples", ear.len());
}

/// For how long these samples stay near this level, in milliseconds: a tone only passes it.
fn near_ms(samples: &[i16], level: i16) -> usize {
    let near = |sample: &i16| (i32::from(*sample) - i32::from(level)).abs() <= i32::from(level) / 16;
    samples.chunks_exact(wav::RATE / 100).filter(|some| some.iter().all(near)).count() * 10
}

fn track(talk: &Talk, part: &str) -> wav::Stereo {
    let files = wav::files(&talk.hotline.engine.recordings());
    let file = files.iter().find(|file| file.to_string_lossy().contains(part)).expect("a track");
    wav::Stereo::read(&std::fs::read(file).unwrap())
}

#[test]
fn a_phone_consults_by_a_second_call_and_joins_the_two_by_refer() {
    let mut talk = talk();
    let mut line = consulting(&mut talk, "*2");
    has_music(&talk);
    let answer = talk.agent.refers_to(&line);
    assert!(answer.starts_with("SIP/2.0 202"), "{answer}");
    let news = [talk.agent.is_notified(), talk.agent.is_notified()];
    assert_eq!(news, ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]);
    talk.agent.is_hung_up();
    line.is_hung_up();
    let joined = Instant::now();
    talk.citizen.hears_all(&[talk.target.sound], joined);
    talk.target.hears_all(&[talk.citizen.sound], joined);
    talk.citizen.hears_all(&[talk.target.sound], joined + Duration::from_millis(400));
    let all = talk.citizen.ear(talk.since, Instant::now());
    let quiet = all.chunks(160).filter(|packet| packet.iter().all(|sample| sample.unsigned_abs() <= 500)).count();
    assert!(quiet <= 5, "{quiet} packets without a sound in {} ms", all.len() / 8);
    eprintln!("{quiet} packets without a sound in {} ms: hold, consultation and join", all.len() / 8);
    talk.target.hangs_up();
    talk.citizen.is_hung_up();
    let (past, transfer) = talk.past();
    assert_eq!(past.end(), ("talking", "target"));
    let words = ["target", "mode", "reason", "agent", "result"].map(|name| transfer[name].as_str().unwrap());
    assert_eq!(words, ["water", "attended", "by phone", "1001", "completed"]);
    let times = ["started", "answered", "handed", "ended"].map(|name| transfer[name].as_i64());
    assert!(times.is_sorted() && times.iter().all(Option::is_some), "{times:?}");
    assert_eq!(transfer["joined"], Value::Null);
    talk.hotline.nothing_is_left();
    let (target, agent) = (track(&talk, "-target-1"), track(&talk, "-agent-"));
    let level = |sound: u8| wav::alaw(sound);
    let of_target = [near_ms(&target.left, level(talk.target.sound)), near_ms(&target.right, level(line.sound))];
    let of_agent = [near_ms(&agent.left, level(line.sound)), near_ms(&agent.right, level(talk.target.sound))];
    assert!(of_target.iter().chain(&of_agent).all(|ms| *ms >= 200), "{of_target:?}, {of_agent:?}");
    let right = &past.sound.right;
    assert_eq!(near_ms(right, level(line.sound)), 0, "the citizen's journey has nothing of what the two said aside");
    assert!(near_ms(&right[right.len() - 1_600..], level(talk.target.sound)) >= 100, "the target at its end");
}

#[test]
fn a_busy_or_unknown_target_refuses_the_second_call_and_the_citizen_is_taken_back() {
    let mut talk = talk();
    talk.agent.reoffers("sendonly");
    // Each of them would go to a shard of its own by its Call-ID.
    for number in ["*2", "water", "059196110", "*2", "water", "059196110"] {
        let line = talk.agent.dials_beside(number, wav::to_alaw(SECOND));
        talk.target.rings();
        line.is_told(180);
        talk.target.refuses("486 Busy Here");
        let refused = line.is_told(486);
        assert!(refused.contains("the target is busy") && refused.contains("cause=17"), "{refused}");
        talk.until("/result", "busy");
    }
    for (number, status, why) in
        [("old", 410, "no longer in service"), ("*21", 404, "no target"), ("wat", 404, "no target")]
    {
        let refused = talk.agent.dials_beside(number, wav::to_alaw(SECOND)).is_told(status);
        assert!(refused.contains(why), "{refused}");
    }
    has_music(&talk);
    talk.agent.reoffers("sendrecv");
    let back = Instant::now();
    talk.citizen.hears_all(&[talk.agent.sound], back);
    talk.agent.hears_all(&[talk.citizen.sound], back);
    talk.agent.hangs_up();
    talk.citizen.is_hung_up();
    let (past, transfer) = talk.past();
    assert_eq!((past.end(), transfer["result"].as_str()), (("talking", "agent"), Some("busy")));
    assert_eq!(past.record["transfers"].as_array().map(Vec::len), Some(6));
    talk.hotline.nothing_is_left();
}

#[test]
fn a_phone_mixes_by_itself_takes_the_citizen_back_and_leaves_them_to_the_target_by_hanging_up_both() {
    let mut talk = talk();
    let mut line = consulting(&mut talk, "water");
    line.hangs_up();
    talk.target.is_hung_up();
    talk.until("/result", "returned");
    talk.agent.reoffers("sendrecv");
    let back = Instant::now();
    talk.citizen.hears_all(&[talk.agent.sound], back);
    let mut line = consulting(&mut talk, "water");
    talk.agent.reoffers("sendrecv");
    talk.until("/phase", "joined");
    let mixed = Instant::now();
    talk.citizen.hears_all(&[talk.agent.sound], mixed);
    talk.agent.hears_all(&[talk.citizen.sound], mixed);
    line.hears_all(&[talk.target.sound], mixed);
    talk.target.hears_all(&[line.sound], mixed);
    line.hangs_up();
    talk.agent.hangs_up();
    let left = Instant::now();
    talk.citizen.hears_all(&[talk.target.sound], left);
    talk.target.hears_all(&[talk.citizen.sound], left);
    talk.citizen.hangs_up();
    talk.target.is_hung_up();
    let (past, transfer) = talk.past();
    assert_eq!((past.end(), transfer["result"].as_str()), (("talking", "caller"), Some("completed")));
    assert!(transfer["joined"].as_i64() > transfer["answered"].as_i64(), "{transfer}");
    assert_eq!(past.record["transfers"][0]["result"], "returned");
    talk.hotline.nothing_is_left();
}

#[test]
fn a_crash_in_the_middle_of_a_consultation_keeps_both_calls_of_the_phone() {
    let mut talk = Talk::in_house(sharded(lasting(2)), true);
    let mut line = consulting(&mut talk, "*2");
    // What the last few milliseconds brought is not on disk yet.
    has_music(&talk);
    talk.hotline.engine.kill();
    talk.hotline.start_again();
    let again = Instant::now();
    line.hears_all(&[talk.target.sound], again);
    talk.target.hears_all(&[line.sound], again);
    has_music(&talk);
    assert!(talk.agent.refers_to(&line).starts_with("SIP/2.0 202"));
    let joined = Instant::now();
    talk.citizen.hears_all(&[talk.target.sound], joined);
    talk.agent.is_hung_up();
    line.is_hung_up();
    talk.target.hangs_up();
    talk.citizen.is_hung_up();
    let past = talk.hotline.past_through_crash(&talk.contact);
    assert_eq!(past.record["transfers"][0]["result"], "completed");
    talk.hotline.nothing_is_left();
}

/// A real phone, as far as baresip goes (1.0 knows no attended transfer): it holds, dials, hangs up and resumes.
#[test]
fn baresip_consults_by_a_second_call_and_takes_the_citizen_back() {
    let folder = sharded(folder());
    let nowhere = "127.0.0.2:9".parse().unwrap();
    let mut target = Phone::at("127.0.0.3", nowhere, "target", wav::to_alaw(5_500));
    let mut hotline = Hotline::start(house(folder, target.address(), nowhere));
    target.client.turns_to(hotline.engine.sip);
    let voice = hotline.folder().join("agent.wav");
    wav::write_pcm(&voice, AGENT_HZ, 60_000);
    let place = hotline.folder().to_path_buf();
    let mut agent =
        Baresip::start(&place, hotline.engine.sip, "1001", "fuzhou.12345.example", Some("secret-1001"), &voice);
    hotline.events.phone("1001", true);
    hotline.ready("1001");
    let mut citizen = Phone::at("127.0.0.9", hotline.engine.sip, "13800138000", wav::to_alaw(1_000));
    citizen.dial("12345");
    let contact = hotline.events.call("talking");
    agent.until("CALL_ESTABLISHED");
    agent.command("hold", "");
    agent.command("dial", "sip:water@fuzhou.12345.example");
    target.rings();
    target.answers();
    agent.until("CALL_ESTABLISHED");
    let consulting = Instant::now();
    let heard = target.first_after(consulting + Duration::from_millis(500));
    let tone = wav::heard_ms(&target.ear(consulting, heard.at), AGENT_HZ);
    assert!(tone >= 200, "the target hears the agent for {tone} ms");
    agent.command("hangup", "");
    target.is_hung_up();
    agent.until("CALL_CLOSED");
    agent.command("resume", "");
    eventually("the citizen hears the agent", Duration::from_secs(10), || {
        let now = Instant::now();
        let ear = citizen.ear(now - Duration::from_millis(400), now);
        (wav::heard_ms(&ear, AGENT_HZ) >= 200).then_some(())
    });
    citizen.hangs_up();
    let past = hotline.past(&contact);
    let transfer = &past.record["transfers"][0];
    assert_eq!((&transfer["mode"], &transfer["result"]), (&"attended".into(), &"returned".into()));
    hotline.nothing_is_left();
}
