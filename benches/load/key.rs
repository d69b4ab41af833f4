//! One key: from an agent's last digit to the INVITE at the emergency trunk, while as many citizens talk and are recorded as
//! a busy hotline has, and while new callers are being refused because nobody answers those before them and the node is full.
//!
//! An engine of its own, with a trunk for citizens and one to the police, who are busy: every key is a transfer in vain, and
//! agent and citizen talk on.

use crate::engine::Engine;
use crate::row;
use crate::sound::Phones;
use crate::town::{Outcome, Plan, Town, histogram};
use crate::wire::Heard;
use crate::{refused, us};
use hdrhistogram::Histogram;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const AGENTS: usize = 600;
/// Citizens who talk while keys are pressed.
const TALKS: usize = 500;
/// Keys that are pressed in each part, one after another.
const PRESSES: usize = 500;
const BETWEEN: Duration = Duration::from_millis(20);
/// An INVITE that is not there after so long never will be.
const INVITE_MAX: Duration = Duration::from_secs(5);
/// Citizens of the rush count from here, so that they are not taken for those who talk.
const RUSH_FIRST: usize = 1_000_000;
const RUSH_TALK: Duration = Duration::from_millis(100);
const KEY: [char; 2] = ['*', '1'];

/// All three rows.
pub fn measure(rush_per_s: f64) {
    let police = UdpSocket::bind("127.0.0.5:0").expect("the loopback is wide");
    police.set_read_timeout(Some(INVITE_MAX)).expect("sockets may wait");
    let at = police.local_addr().expect("bound");
    let engine = Engine::start_with(
        AGENTS,
        "127.0.0.1/32",
        &[
            ("sip-profiles/trunks/police.toml", format!("sources = [\"{}\"]\nremote = \"{at}\"\n", at.ip())),
            ("sip-profiles/dialling.toml", RULE.to_owned()),
            ("sip-profiles/targets/load.toml", TARGET.to_owned()),
        ],
    );
    let mut town = Town::new(engine.sip);
    town.register(0..AGENTS);
    engine.ready(0..AGENTS);
    let mut phones = Phones::new(TALKS);
    let plan = Plan::steady(50.0, Duration::from_secs_f64(TALKS as f64 / 50.0));
    town.run(Plan { talk: None, sound: phones.ports.clone(), ..plan });
    let targets = town.sound();
    assert_eq!(targets.len(), TALKS, "every citizen talks");

    let quiet = press_all(&mut town, &police);
    let what = format!("n={}, the police are busy each time", quiet.len());
    let conditions = format!("{TALKS} talks, silent; {what}");
    row("one key → INVITE at the emergency trunk, p50 / p99", us(&quiet), "≤ 20 ms p99", conditions);

    let lasting = (BETWEEN + Duration::from_millis(5)) * PRESSES as u32;
    let sounding = std::thread::scope(|threads| {
        threads.spawn(|| phones.speak(&targets, lasting, || ()));
        std::thread::sleep(Duration::from_secs(1));
        press_all(&mut town, &police)
    });
    let conditions =
        format!("{TALKS} talks with sound both ways, relayed and recorded, the phones on the same processors; {what}");
    row("… while all of them sound", us(&sounding), "≤ 20 ms p99", conditions);

    let (rushed, outcome) = in_a_rush(&engine, &mut town, &police, rush_per_s);
    let conditions = format!(
        "{TALKS} talks, silent, and {rush_per_s} new calls/s meanwhile whom no agent takes: {} through{}; {what}",
        outcome.through,
        refused(&outcome)
    );
    row("… while new callers are refused", us(&rushed), "≤ 100 ms p99", conditions);
    println!("    faults: {}", engine.internals()["faults"]);
}

const RULE: &str =
    "[[rule]]\nsite = \"load\"\nnumbers = [\"110\"]\ntrunks = [\"police\"]\ncaller = \"059112345\"\nemergency = true\n";
const TARGET: &str =
    "[[target]]\nsite = \"load\"\nname = \"police\"\nkind = \"emergency\"\nnumbers = [\"110\"]\nkey = \"*1\"\n";

/// More callers than the node has room for, until all keys are pressed: the phones of the agents belong to the other town and
/// take none of them.
fn in_a_rush(engine: &Engine, town: &mut Town, police: &UdpSocket, per_s: f64) -> (Histogram<u64>, Outcome) {
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let rush = threads.spawn(|| {
            let mut rush = Town::numbered_from(engine.sip, RUSH_FIRST);
            let mut all: Option<Outcome> = None;
            while !over.load(Ordering::Relaxed) {
                let plan = Plan { talk: Some(RUSH_TALK), ..Plan::steady(per_s, Duration::from_secs(2)) };
                let part = rush.run(plan);
                match &mut all {
                    Some(all) => all.add(part),
                    None => all = Some(part),
                }
            }
            all.expect("it ran")
        });
        // Until the node has noticed.
        std::thread::sleep(Duration::from_secs(1));
        let pressed = press_all(town, police);
        over.store(true, Ordering::Relaxed);
        (pressed, rush.join().expect("the rush ends"))
    })
}

/// One agent after another presses the key; the police are busy.
fn press_all(town: &mut Town, police: &UdpSocket) -> Histogram<u64> {
    let mut times = histogram();
    for press in 0..PRESSES {
        town.press(press % TALKS, KEY[0]);
        town.pump(BETWEEN);
        let pressed = Instant::now();
        town.press(press % TALKS, KEY[1]);
        times.saturating_record(busy(police, pressed));
        town.pump(Duration::ZERO);
    }
    times
}

/// Waits for the INVITE, refuses it, and takes its ACK; how long after `pressed` it came, in microseconds.
fn busy(police: &UdpSocket, pressed: Instant) -> u64 {
    let (mut buffer, mut after) = ([0; 8_192], None);
    loop {
        let (length, from) = police.recv_from(&mut buffer).expect("an INVITE and its ACK come");
        let now = Instant::now();
        let text = std::str::from_utf8(&buffer[..length]).expect("text");
        let heard = Heard::read(text);
        match (heard.start.split(' ').next().unwrap_or_default(), after) {
            ("INVITE", _) => {
                after.get_or_insert((now - pressed).as_micros() as u64);
                police.send_to(heard.answer("486 Busy Here", "p", "", "").as_bytes(), from).expect("sent");
            }
            ("ACK", Some(after)) => return after,
            _ => {}
        }
    }
}
