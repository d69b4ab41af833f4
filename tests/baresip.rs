//! Calls between two real phones: baresip registers with digest, answers by itself, holds and resumes.

use crate::support::baresip::Baresip;
use crate::support::hotline::{AGENT_HZ, CITIZEN_HZ, Hotline, MUSIC_HZ};
use crate::support::{eventually, wav};
use std::path::PathBuf;
use std::time::Duration;

const CITIZEN: &str = "13900139000";

pub struct Phones {
    pub citizen: Baresip,
    pub agent: Baresip,
}

/// Agent 1001 at a registered baresip, ready; a citizen's baresip, idle.
pub fn phones(hotline: &mut Hotline) -> Phones {
    let (citizen_voice, agent_voice) = (hotline.folder().join("citizen.wav"), hotline.folder().join("agent.wav"));
    wav::write_pcm(&citizen_voice, CITIZEN_HZ, 60_000);
    wav::write_pcm(&agent_voice, AGENT_HZ, 60_000);
    let (folder, engine) = (hotline.folder().to_path_buf(), hotline.engine.sip);
    let domain = "fuzhou.12345.example";
    let agent = Baresip::start(&folder, engine, "1001", domain, Some("secret-1001"), &agent_voice);
    let citizen = Baresip::start(&folder, engine, CITIZEN, "127.0.0.1", None, &citizen_voice);
    hotline.events.phone("1001", true);
    hotline.ready("1001");
    Phones { citizen, agent }
}

/// Waits until the only recording is `ms` longer than it is now: time as the call knows it, however busy the machine.
pub fn goes_on(hotline: &Hotline, ms: u64) {
    let length = || -> Option<u64> {
        let file: PathBuf = wav::files(&hotline.engine.recordings()).pop()?;
        Some(std::fs::metadata(file).ok()?.len() / 16)
    };
    let begin = eventually("a recording", Duration::from_secs(10), length);
    eventually("the recording grows", Duration::from_secs(30), || (length()? >= begin + ms).then_some(()));
}

#[test]
fn two_phones_hear_each_other_and_are_recorded_on_their_sides() {
    let mut hotline = Hotline::new();
    let Phones { mut citizen, mut agent } = phones(&mut hotline);
    citizen.command("dial", &format!("sip:12345@{}", hotline.engine.sip));
    let contact = hotline.events.call("talking");
    goes_on(&hotline, 3_000);
    citizen.command("hangup", "");
    agent.until("CALL_CLOSED");
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("talking", "caller"));
    assert_eq!(past.record["call"]["caller"], format!("+86{CITIZEN}"));
    assert_eq!(past.attempts(), [("1001", "answered")]);

    let (from, to) = (past.at_ms("answered") + 600, past.at_ms("ended") - 100);
    let talk_ms = (to - from) / 100 * 100;
    let (left, right) = (&past.sound.left[from * 8..to * 8], &past.sound.right[from * 8..to * 8]);
    wav::speaks_alone(left, CITIZEN_HZ, AGENT_HZ);
    wav::speaks_alone(right, AGENT_HZ, CITIZEN_HZ);
    let (by_citizen, by_agent) = (citizen.heard(), agent.heard());
    assert!(wav::heard_ms(&by_citizen, AGENT_HZ) >= talk_ms - 500, "the citizen hears the agent");
    assert!(wav::heard_ms(&by_agent, CITIZEN_HZ) >= talk_ms - 500, "the agent hears the citizen");
    assert_eq!(
        wav::heard_ms(&by_citizen, CITIZEN_HZ) + wav::heard_ms(&by_agent, AGENT_HZ),
        0,
        "nobody hears themselves"
    );
    hotline.nothing_is_left();
}

#[test]
fn who_is_held_hears_music_and_then_the_agent_again() {
    let mut hotline = Hotline::new();
    let Phones { mut citizen, mut agent } = phones(&mut hotline);
    citizen.command("dial", &format!("sip:12345@{}", hotline.engine.sip));
    let contact = hotline.events.call("talking");
    agent.until("CALL_ESTABLISHED");
    goes_on(&hotline, 2_000);
    agent.command("hold", "");
    goes_on(&hotline, 3_000);
    assert_eq!(hotline.agent("1001")["state"], "talking", "who holds is still in the call");
    agent.command("resume", "");
    goes_on(&hotline, 3_000);
    agent.command("hangup", "");
    citizen.until("CALL_CLOSED");
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("talking", "agent"));

    let (from, to) = (past.at_ms("answered") + 600, past.at_ms("ended") - 100);
    let right = &past.sound.right[from * 8..to * 8];
    // One letter for 100 ms; each change takes one or two, and a busy machine costs some.
    let course: String = right
        .chunks_exact(800)
        .map(|window| match (wav::heard_ms(window, AGENT_HZ), wav::heard_ms(window, MUSIC_HZ)) {
            (100, 0) => 'a',
            (0, 100) => 'm',
            _ => '-',
        })
        .collect();
    let parts: Vec<(char, usize)> = course.chars().fold(Vec::new(), |mut parts: Vec<(char, usize)>, heard| {
        match parts.last_mut() {
            _ if heard == '-' => {}
            Some((last, count)) if *last == heard => *count += 1,
            _ => parts.push((heard, 1)),
        }
        parts
    });
    assert!(matches!(parts[..], [('a', 10..), ('m', 20..), ('a', 20..)]), "{course}");
    assert!(course.matches('-').count() <= 12, "{course}");
    let left = &past.sound.left[from * 8..to * 8];
    let missing = left.len() / 800 * 100 - wav::heard_ms(left, CITIZEN_HZ);
    assert!(missing <= left.len() / 800 * 10, "the citizen is recorded through hold and resume but for {missing} ms");
    let heard = citizen.heard();
    assert!(wav::heard_ms(&heard, MUSIC_HZ) >= 2_000 && wav::heard_ms(&heard, AGENT_HZ) >= 3_000);
    hotline.nothing_is_left();
}

#[test]
fn a_citizen_who_holds_comes_back_to_the_same_agent() {
    let mut hotline = Hotline::new();
    let Phones { mut citizen, mut agent } = phones(&mut hotline);
    citizen.command("dial", &format!("sip:12345@{}", hotline.engine.sip));
    let contact = hotline.events.call("talking");
    citizen.until("CALL_ESTABLISHED");
    goes_on(&hotline, 1_000);
    citizen.command("hold", "");
    goes_on(&hotline, 2_000);
    assert_eq!(hotline.lead.read("/calls/live").body["items"][0]["stage"], "talking");
    citizen.command("resume", "");
    goes_on(&hotline, 3_000);
    citizen.command("hangup", "");
    agent.until("CALL_CLOSED");
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("talking", "caller"));
    assert_eq!(past.attempts(), [("1001", "answered")]);
    let last = past.at_ms("ended") - 1_500..past.at_ms("ended") - 200;
    let part = |side: &[i16]| side[last.start * 8..last.end * 8].to_vec();
    wav::speaks_alone(&part(&past.sound.left), CITIZEN_HZ, AGENT_HZ);
    wav::speaks_alone(&part(&past.sound.right), AGENT_HZ, CITIZEN_HZ);
    assert_eq!(wav::heard_ms(&past.sound.right[past.at_ms("answered") * 8 + 4_800..], MUSIC_HZ), 0);
    hotline.nothing_is_left();
}
