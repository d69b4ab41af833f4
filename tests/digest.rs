//! Registration and digest (RFC 3261 §10, RFC 7616, RFC 8760), asked by a client that can lie.

use crate::support::eventually;
use crate::support::hotline::{Hotline, folder};
use crate::support::sip::{Algorithm, Client, Proof, Response};
use crate::support::sipp::{Sipp, ports};
use std::time::Duration;

const DOMAIN: &str = "fuzhou.12345.example";

/// An answer without what must differ between two askers.
fn faceless(response: &Response, client: &Client) -> String {
    let nonce = response.nonce();
    let own = ["Via:", "Call-ID:", "To:"];
    let lines = response.text.lines().filter(|line| !own.iter().any(|name| line.starts_with(name)));
    lines.map(|line| line.replace(&nonce, "NONCE").replace(&client.user, "USER") + "\n").collect()
}

#[test]
fn the_right_password_registers_with_either_hash() {
    let mut hotline = Hotline::new();
    for (user, algorithm) in [("1001", Algorithm::Md5), ("1002", Algorithm::Sha256)] {
        let mut phone = Client::new(hotline.engine.sip, user, DOMAIN);
        let nonce = phone.challenge();
        let contact = phone.contact();
        let answer = phone.register(&[&contact], 600, Some(&Proof { algorithm, nonce, count: 1 }));
        assert_eq!(answer.status, 200, "{algorithm:?}\n{}", answer.text);
        let bound: Vec<&str> = answer.headers("Contact").collect();
        assert_eq!(bound, [format!("{contact};expires=600")]);
        hotline.events.phone(user, true);
    }
    hotline.nothing_is_left();
}

#[test]
fn sipp_registers_with_its_password_and_with_no_other() {
    let mut hotline = Hotline::new();
    hotline.phone("1001");
    for (user, password) in [("1002", "wrong"), ("9999", "secret-9999")] {
        let port = ports(2).to_string();
        let arguments =
            ["-p", &port, "-s", user, "-au", user, "-ap", password, "-key", "domain", DOMAIN, "-key", "expires", "600"];
        Sipp::start(hotline.folder(), hotline.engine.sip, "register-wrong", &arguments).succeeds();
    }
    assert_eq!(hotline.agent("1002")["phone_up"], false);
    hotline.nothing_is_left();
}

#[test]
fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
    let hotline = Hotline::new();
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        let answers = ["1001", "9999"].map(|user| {
            let mut phone = Client::new(hotline.engine.sip, user, DOMAIN);
            phone.password = "wrong".into();
            let nonce = phone.challenge();
            let contact = phone.contact();
            let answer = phone.register(&[&contact], 600, Some(&Proof { algorithm, nonce, count: 1 }));
            assert_eq!(answer.status, 401);
            assert!(!answer.is_stale(), "only who knows the password learns that a nonce is stale");
            faceless(&answer, &phone)
        });
        assert_eq!(answers[0], answers[1]);
    }
    assert_eq!(hotline.agent("1001")["phone_up"], false);
    hotline.nothing_is_left();
}

#[test]
fn a_count_is_good_once_and_a_nonce_that_is_not_ours_never() {
    let hotline = Hotline::new();
    let mut phone = Client::new(hotline.engine.sip, "1001", DOMAIN);
    let contact = phone.contact();
    let first = Proof { algorithm: Algorithm::Md5, nonce: phone.challenge(), count: 3 };
    assert_eq!(phone.register(&[&contact], 600, Some(&first)).status, 200);
    for count in [3, 1] {
        let answer = phone.register(&[&contact], 600, Some(&Proof { count, ..first.clone() }));
        assert_eq!((answer.status, answer.is_stale()), (401, true), "count {count} after 3");
    }
    assert_eq!(phone.register(&[&contact], 600, Some(&Proof { count: 4, ..first.clone() })).status, 200);
    let mut forged = first.nonce.clone();
    let last = if forged.ends_with('0') { "1" } else { "0" };
    forged.replace_range(forged.len() - 1.., last);
    for nonce in [forged.as_str(), "", "00", &"f".repeat(2_000)] {
        let answer = phone.register(&[&contact], 600, Some(&Proof { nonce: nonce.into(), count: 5, ..first }));
        assert_eq!((answer.status, answer.is_stale()), (401, true), "nonce {nonce:?}");
    }
    hotline.nothing_is_left();
}

#[test]
fn one_nonce_serves_4096_registrations() {
    let hotline = Hotline::new();
    let mut phone = Client::new(hotline.engine.sip, "1001", DOMAIN);
    let (nonce, contact) = (phone.challenge(), phone.contact());
    for count in 1..=0x1000 {
        let algorithm = if count % 2 == 0 { Algorithm::Md5 } else { Algorithm::Sha256 };
        let answer = phone.register(&[&contact], 600, Some(&Proof { algorithm, nonce: nonce.clone(), count }));
        assert_eq!(answer.status, 200, "nc={count:08x}\n{}", answer.text);
    }
    hotline.nothing_is_left();
}

#[test]
fn an_old_nonce_is_stale_and_its_successor_good() {
    let folder = folder();
    folder.edit("jiesu.toml", "nonce_life_s = 300", "nonce_life_s = 10");
    let hotline = Hotline::start(folder);
    let mut phone = Client::new(hotline.engine.sip, "1001", DOMAIN);
    let (nonce, contact) = (phone.challenge(), phone.contact());
    let mut count = 0;
    let stale = eventually("the nonce grows old", Duration::from_secs(20), || {
        count += 1;
        let proof = Proof { algorithm: Algorithm::Md5, nonce: nonce.clone(), count };
        let answer = phone.register(&[&contact], 600, Some(&proof));
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((stale.status, stale.is_stale()), (401, true));
    assert!(count > 1, "it was good at first");
    let proof = Proof { algorithm: Algorithm::Md5, nonce: stale.nonce(), count: 1 };
    assert_eq!(phone.register(&[&contact], 600, Some(&proof)).status, 200);
    hotline.nothing_is_left();
}

#[test]
fn an_agent_has_several_phones_and_is_reachable_until_the_last_is_gone() {
    let mut hotline = Hotline::new();
    let mut phone = Client::new(hotline.engine.sip, "1001", DOMAIN);
    let (desk, home) = ("<sip:1001@127.0.0.1:40001>", "<sip:1001@127.0.0.1:40002>");
    assert_eq!(phone.sign_in(&[desk], 600).status, 200);
    hotline.events.phone("1001", true);
    let both = phone.sign_in(&[home], 300);
    let mut bound: Vec<&str> = both.headers("Contact").flat_map(|value| value.split(", ")).collect();
    bound.sort_unstable();
    assert_eq!(bound.len(), 2, "{}", both.text);
    assert!(bound[0].starts_with(desk) && bound[1].starts_with(&format!("{home};expires=300")), "{bound:?}");
    let one = phone.sign_in(&[&format!("{desk};expires=0")], 600);
    assert_eq!(one.headers("Contact").count(), 1, "{}", one.text);
    assert_eq!(hotline.agent("1001")["phone_up"], true);
    let none = phone.sign_in(&["*"], 0);
    assert_eq!((none.status, none.headers("Contact").count()), (200, 0), "{}", none.text);
    hotline.events.phone("1001", false);
    assert_eq!(hotline.agent("1001")["phone_up"], false);
    hotline.nothing_is_left();
}

#[test]
fn a_registration_that_is_not_renewed_runs_out() {
    let folder = folder();
    folder.edit("jiesu.toml", "expires_s_min = 60", "expires_s_min = 1");
    let mut hotline = Hotline::start(folder);
    let mut phone = Client::new(hotline.engine.sip, "1001", DOMAIN);
    let contact = phone.contact();
    assert_eq!(phone.sign_in(&[&contact], 1).status, 200);
    hotline.events.phone("1001", true);
    hotline.events.phone("1001", false);
    hotline.nothing_is_left();
}

#[test]
fn a_registration_is_neither_shorter_nor_longer_than_allowed() {
    let hotline = Hotline::new();
    let mut phone = Client::new(hotline.engine.sip, "1001", DOMAIN);
    let contact = phone.contact();
    let brief = phone.sign_in(&[&contact], 59);
    assert_eq!((brief.status, brief.headers("Min-Expires").collect::<Vec<_>>()), (423, vec!["60"]));
    let long = phone.sign_in(&[&contact], 86_400);
    assert_eq!(long.headers("Contact").collect::<Vec<_>>(), [format!("{contact};expires=3600")]);
    hotline.nothing_is_left();
}
