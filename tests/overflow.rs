//! Ways out of a queue and what is said on the way there, through the whole program: a citizen whom nobody can answer, on a
//! phone that hears everything.

use crate::support::hotline::{APOLOGY_HZ, Hotline, MUSIC_HZ, folder, prompt};
use crate::support::phone::Phone;
use crate::support::{eventually, wav};
use crate::transfers::house;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const COMFORT_HZ: f64 = 900.0;
const PLACE_HZ: f64 = 2_300.0;
const PARTING_HZ: f64 = 3_000.0;
const QUIET: i16 = 600;
const TARGET: i16 = 5_500;

/// The city's queue with further lines.
fn with(folder: &crate::support::engine::Folder, lines: &str) {
    let queue = "name = \"综合\"\nskills = { general = 1 }\npriority = 0\n";
    folder.edit("sip-profiles/queues.toml", queue, &format!("{queue}{lines}\n"));
}

#[test]
fn who_waits_is_comforted_between_the_music_and_hears_where_the_way_out_leads() {
    let folder = folder();
    prompt(&folder, "callback-offer", COMFORT_HZ, 600);
    prompt(&folder, "place-next", PLACE_HZ, 400);
    prompt(&folder, "no-key", PARTING_HZ, 800);
    with(
        &folder,
        "comfort = { every_s = 15, place = true, prompts = [\"callback-offer\"] }\n\
         overflow = [{ waited_s = 18, announcement = \"no-key\" }]",
    );
    let mut hotline = Hotline::start(folder);
    let mut citizen = Phone::new(hotline.engine.sip, "13800138000", "citizens.example", wav::to_alaw(QUIET));
    citizen.dial("12345");
    let contact = hotline.events.call("queued");
    eventually("the call is over", Duration::from_secs(40), || {
        let live = hotline.lead.read("/calls/live").body;
        live["items"].as_array()?.is_empty().then_some(())
    });
    citizen.is_hung_up();
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("queued", "flow"));
    let heard = &past.sound.right;
    let begins = |hertz: f64| {
        let windows = heard.chunks(800).map(|window| wav::tone(window, hertz));
        windows.into_iter().position(|amplitude| amplitude > 1_000.0).map(|at| at * 100)
    };
    let queued = past.at_ms("queued");
    let order = [MUSIC_HZ, PLACE_HZ, COMFORT_HZ, PARTING_HZ].map(|hertz| begins(hertz).expect("it is heard"));
    assert!(order.is_sorted(), "music, then the place, then the comfort, then where the way out leads: {order:?}");
    for (nth, wanted) in [(1, 15_000), (3, 18_000)] {
        let after = order[nth].saturating_sub(queued);
        assert!(after.abs_diff(wanted) <= 400, "{after} ms after it was queued instead of {wanted}");
    }
    let again = wav::heard_ms(&heard[(order[2] + 700) * 8..order[3] * 8], MUSIC_HZ);
    assert!(again >= 1_000, "the music goes on between them: {again} ms");
    assert_eq!(wav::heard_ms(heard, APOLOGY_HZ), 0, "the way out has words of its own");
}

#[test]
fn a_way_out_to_a_target_brings_the_citizen_there_and_one_who_does_not_come_leaves_them_in_the_line() {
    for comes in [true, false] {
        let nowhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let mut target = Phone::at("127.0.0.3", nowhere, "target", wav::to_alaw(TARGET));
        let folder = house(folder(), target.address(), "127.0.0.2:9".parse().unwrap());
        with(&folder, "overflow = [{ waited_s = 1, target = \"water\" }]");
        let mut hotline = Hotline::start(folder);
        target.client.turns_to(hotline.engine.sip);
        let mut citizen = Phone::at("127.0.0.9", hotline.engine.sip, "13800138000", wav::to_alaw(QUIET));
        citizen.dial("12345");
        let contact = hotline.events.call("queued");
        target.rings();
        let rung = Instant::now();
        if comes {
            target.answers();
            citizen.hears_all(&[target.sound], rung);
            target.hears_all(&[citizen.sound], rung);
            target.hangs_up();
            citizen.is_hung_up();
        } else {
            target.refuses("486 Busy Here");
            eventually("the citizen is in the line again", Duration::from_secs(10), || {
                let live = hotline.lead.read("/calls/live").body;
                let call = live["items"].as_array()?.iter().find(|call| call["contact"] == *contact)?.clone();
                (call["stage"] == "queued" && call["transfer"]["result"] == "busy").then_some(())
            });
            citizen.hangs_up();
        }
        let past = hotline.past(&contact);
        let transfer: &Value = &past.record["transfers"][0];
        let (result, end) = if comes { ("completed", ("talking", "target")) } else { ("busy", ("queued", "caller")) };
        assert_eq!((transfer["result"].as_str(), past.end()), (Some(result), end), "{transfer}");
        assert_eq!((transfer["mode"].as_str(), transfer["reason"].as_str()), (Some("blind"), Some("overflow")));
    }
}
