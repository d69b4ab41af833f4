//! Trunks and dialling rules: what they mean, and each mistake at its place with its cure.

use super::tests::{copy, problems};
use super::*;
use crate::base::number::Number;
use crate::base::{SiteId, TrunkId};
use crate::sdp::Codec;
use crate::trunk::event::{Limits, Watch};
use std::fs;
use std::time::Duration;

pub(super) const GATEWAY: &str = "sip-profiles/trunks/gateway.toml";
pub(super) const DIALLING: &str = "sip-profiles/dialling.toml";
pub(super) const BASE: &str = "sources = [\"192.0.2.0/24\"]\nremote = \"192.0.2.10:5070\"\n";
const RULE: &str =
    "[[rule]]\nsite = \"fuzhou\"\nnumbers = [\"1??????????\"]\ntrunks = [\"gateway\"]\ncaller = \"059112345\"\n";

/// What is told of these two files.
fn told(gateway: &str, dialling: &str) -> Vec<String> {
    let dir = copy(false);
    fs::write(dir.path().join(GATEWAY), gateway).unwrap();
    fs::write(dir.path().join(DIALLING), dialling).unwrap();
    problems(&dir)
}

#[test]
fn a_whole_trunk_is_read_and_its_password_never_shown() {
    let dir = copy(false);
    let text = "sources = [\"192.0.2.0/24\"]\nremote = \"sip.carrier.example\"\nproxy = \"192.0.2.20\"\npriority = 3\nweight = 7\n\
                codecs = [\"PCMU\"]\nnext_on = [404, 480]\none_way_max_s = 300\nuser_phone = true\n[account]\nuser = \"059112345\"\n\
                password_file = \"secret\"\nregister_s = 300\n[options]\ninterval_s = 10\n[inbound]\nchannels = 30\nreserve = 2\n\
                replace = { \"059112345\" = \"12345\" }\n[outbound]\ncalls_per_s = 5\nstrip = \"0591\"\nprefix = \"9\"\n";
    fs::write(dir.path().join(GATEWAY), text).unwrap();
    fs::write(dir.path().join(DIALLING), RULE).unwrap();
    fs::write(dir.path().join("secret"), "hush\nnot this\n").unwrap();
    let config = Config::load(&dir.path().join("jiesu.toml")).unwrap();
    let gateway = &config.profiles[1];
    let remote = gateway.remote.as_ref().unwrap();
    assert_eq!(
        (&*remote.host, remote.port, remote.address),
        ("sip.carrier.example", None, "192.0.2.20:5060".parse().ok())
    );
    assert_eq!((remote.route().as_deref(), gateway.priority, gateway.weight), (Some("sip:192.0.2.20;lr"), 3, 7));
    assert_eq!(
        (&*gateway.codecs, &*gateway.next_on, gateway.register),
        (&[Codec::Pcmu][..], &[404, 480][..], Some(Duration::from_secs(300)))
    );
    let most = [gateway, &config.profiles[0]].map(|profile| profile.one_way_max.as_secs());
    assert_eq!(most, [300, 600]);
    assert_eq!(gateway.inbound, Limits { channels: 30, reserve: 2, calls_per_s: 100_000 });
    assert_eq!(gateway.watch, Some(Watch { every: Duration::from_secs(10), down_after: 3, up_after: 2 }));
    assert_eq!(
        (&*gateway.inbound_rules.apply("059112345"), &*gateway.outbound_rules.apply("059187654321")),
        ("12345", "987654321")
    );
    assert_eq!(gateway.login.as_ref().map(|login| &*login.password), Some("hush"));
    assert!(!format!("{config:?}").contains("hush"));
    assert!(config.profiles[0].remote.is_none(), "the shipped carrier only brings calls in");
    let dialling = config.calls().dialling;
    let rule = |number: &str| dialling.rule(SiteId(0), &Number::parse(number, "591").unwrap()).cloned();
    assert_eq!(
        rule("13800138000").map(|rule| (rule.trunks, rule.caller.national())),
        Some((vec![TrunkId(1)], "059112345".into()))
    );
    assert_eq!(rule("110"), None);
}

#[test]
fn a_trunk_is_reached_by_the_listener_of_its_transport() {
    for (text, transport, listener, address) in [
        ("remote = \"192.0.2.10\"", Transport::Udp, "udp", Some("192.0.2.10:5060")),
        ("remote = \"192.0.2.10\"\ntransport = \"tcp\"", Transport::Tcp, "tcp", Some("192.0.2.10:5060")),
        ("remote = \"sip.example.cn\"\ntransport = \"tls\"", Transport::Tls, "tls", None),
        ("remote = \"192.0.2.10\"\ntransport = \"tls\"", Transport::Tls, "tls", Some("192.0.2.10:5061")),
    ] {
        let dir = copy(false);
        fs::write(dir.path().join(GATEWAY), format!("sources = [\"192.0.2.0/24\"]\n{text}")).unwrap();
        let own = rcgen::generate_simple_self_signed(["carrier".to_owned()]).unwrap();
        fs::write(dir.path().join("authorities.pem"), own.cert.pem()).unwrap();
        let tls = dir.path().join("sip-profiles/listeners/tls.toml");
        let shipped = fs::read_to_string(&tls).unwrap();
        fs::write(&tls, shipped + "\nauthorities = \"authorities.pem\"\n").unwrap();
        let config = Config::load(&dir.path().join("jiesu.toml")).unwrap();
        let remote = config.profiles[1].remote.as_ref().unwrap();
        assert_eq!(
            (remote.transport, remote.address),
            (transport.sip(), address.map(|it| it.parse().unwrap())),
            "{text}"
        );
        assert_eq!(&*config.listeners[usize::from(remote.listener)].name, listener, "{text}");
    }
}

#[test]
fn after_a_reload_trunks_have_the_numbers_they_had() {
    let dir = copy(false);
    let write = |name: &str| fs::write(dir.path().join(format!("sip-profiles/trunks/{name}.toml")), BASE).unwrap();
    let load = || Config::load(&dir.path().join("jiesu.toml")).unwrap();
    write("gateway");
    fs::write(dir.path().join(DIALLING), RULE).unwrap();
    let before = load();
    // One more comes before it, and the first goes.
    fs::write(dir.path().join("sip-profiles/trunks/bank.toml"), BASE.replace("192.0.2", "198.51.100")).unwrap();
    fs::remove_file(dir.path().join("sip-profiles/trunks/carrier.toml")).unwrap();
    let mut after = load();
    after.continues(&before);
    let names: Vec<&str> = after.profiles.iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["carrier", "gateway", "bank"]);
    assert_eq!((after.profiles[0].inbound.channels, after.profiles[0].remote.is_none()), (0, true));
    assert_eq!(after.calls().dialling.rules[0].trunks, [TrunkId(1)]);
    // And back again.
    fs::write(dir.path().join("sip-profiles/trunks/carrier.toml"), "sources = [\"203.0.113.9\"]").unwrap();
    fs::remove_file(dir.path().join("sip-profiles/trunks/bank.toml")).unwrap();
    let mut again = load();
    again.continues(&after);
    assert_eq!((again.profiles.len(), again.profiles[0].inbound.channels), (3, 100_000));
}

#[test]
fn the_shipped_files_allow_nothing_to_be_dialled() {
    let config = Config::load(&copy(false).path().join("jiesu.toml")).unwrap();
    assert!(config.calls().dialling.rules.is_empty());
}

/// That each of these mistakes is told at its place with its cure: file, place, message, cure.
fn tells(cases: &[(&str, &str, &str, &str)]) {
    for (text, place, message, cure) in cases {
        let start = format!("{GATEWAY}:{place}: ");
        let told = told(text, "");
        let fits = |it: &String| it.starts_with(&start) && it.contains(message) && it.contains(cure);
        assert!(told.iter().any(fits), "{start}{message} / {cure}\n{}", told.join("\n"));
    }
}

#[test]
fn each_mistake_of_a_trunk_is_told_at_its_place_with_its_cure() {
    tells(&[
        (
            "sources = [\"192.0.2.1\"]\nremote = \"192.0.2.2:5060\"",
            "2:10",
            "192.0.2.2 is not among `sources`",
            "add \"192.0.2.2\"",
        ),
        (
            "sources = [\"192.0.2.1\"]\nremote = \"192.0.2.1:sip\"",
            "2:10",
            "is neither an address nor a domain",
            "192.0.2.1:5060",
        ),
        ("sources = [\"192.0.2.1\"]\nremote = \"a b\"", "2:10", "is neither an address nor a domain", "sip.example.cn"),
        ("sources = [\"192.0.2.1\"]\npriority = 5", "2:12", "`priority` without `remote`", "add remote"),
        (
            "sources = [\"192.0.2.0/24\"]\nremote = \"192.0.2.1\"\n[account]\nuser = \"1\"",
            "3:1",
            "without a password",
            "password_file",
        ),
        (
            "sources = [\"192.0.2.0/24\"]\nremote = \"192.0.2.1\"\naccount = { user = \"1\", password_file = \"nowhere\" }",
            "3:41",
            "cannot be read",
            "on one line",
        ),
        (
            "sources = [\"192.0.2.0/24\"]\nremote = \"192.0.2.1\"\naccount = { user = \"1\", password_env = \"JIESU_NO_SUCH\" }",
            "3:40",
            "JIESU_NO_SUCH is not set",
            "set it",
        ),
        (
            "sources = [\"192.0.2.0/24\"]\ninbound = { channels = 2, reserve = 3 }",
            "2:37",
            "a reserve of 3 out of 2 channels",
            "fewer",
        ),
        ("sources = [\"192.0.2.0/24\"]\ninbound = { full_status = 404 }", "2:27", "404 is no such status", "503"),
        ("sources = [\"192.0.2.0/24\"]\ninbound = { strip = \"a\" }", "2:21", "\"a\" is no part of a number", "digits"),
        ("sources = [\"192.0.2.0/24\"]\ncodecs = [\"g729\"]", "2:11", "unknown codec \"g729\"", "pcma"),
        ("sources = [\"192.0.2.0/24\"]\none_way_max_s = 29", "2:17", "29 is out of bounds", "from 30 to 86400"),
        ("sources = [\"192.0.2.0/24\"]\nweight = 0", "2:10", "0 is out of bounds", "from 1 to 100"),
        ("sources = [\"192.0.2.0/24\"]\noutbond = {}", "2:1", "unknown key `outbond`", "did you mean \"outbound\"?"),
    ]);
}

#[test]
fn a_trunk_that_no_listener_can_reach_is_told_so() {
    tells(&[
        (
            "sources = [\"192.0.2.0/24\"]\nremote = \"192.0.2.1\"\ntransport = \"tls\"",
            "3:13",
            "listener \"tls\" believes no certificate",
            "add authorities",
        ),
        (
            "sources = [\"2001:db8::/32\"]\nremote = \"[2001:db8::9]:5060\"",
            "2:10",
            "no such listener speaks",
            "add one to sip-profiles/listeners",
        ),
        (
            "sources = [\"192.0.2.0/24\"]\nremote = \"192.0.2.1\"\nlistener = \"udp\"\ntransport = \"tcp\"",
            "3:12",
            "no such listener speaks",
            "one of: tcp",
        ),
        (
            "sources = [\"192.0.2.0/24\"]\nremote = \"192.0.2.1\"\nlistener = \"vpn\"",
            "3:12",
            "no such listener",
            "one of: udp",
        ),
    ]);
}

#[test]
fn an_emergency_rule_says_where_its_callers_are_when_a_trunk_wants_to_know() {
    let rule = RULE.replace("1??????????", "110") + "emergency = true\n";
    for (form, missing) in [("header", "location"), ("body", "civic")] {
        let trunk = format!("{BASE}geolocation = \"{form}\"\n");
        let told = told(&trunk, &rule);
        assert!(told.len() == 1 && told[0].starts_with(&format!("{DIALLING}:4:11: ")), "{told:?}");
        assert!(
            told[0].contains(&format!("no `{missing}`")) && told[0].contains(&format!("add {missing} = ")),
            "{told:?}"
        );
    }
    let dir = copy(false);
    let place = "location = \"https://lis.example/1\"\ncivic = { RD = \"五四路\", A1 = \"福建省\" }\n";
    fs::write(dir.path().join(GATEWAY), format!("{BASE}geolocation = \"body\"\nuser_to_user = true\n")).unwrap();
    fs::write(dir.path().join(DIALLING), rule + place).unwrap();
    let config = Config::load(&dir.path().join("jiesu.toml")).unwrap();
    let found = &config.calls().dialling.rules[0].place;
    assert_eq!(found.uri.as_deref(), Some("https://lis.example/1"));
    let pairs: Vec<(&str, &str)> = found.civic.iter().map(|(element, value)| (&**element, &**value)).collect();
    assert_eq!(pairs, [("A1", "福建省"), ("RD", "五四路")], "as people read an address");
    assert!(config.profiles[1].wording.user_to_user);
}

#[test]
fn each_mistake_of_a_target_is_told_at_its_place_with_its_cure() {
    const TARGETS: &str = "sip-profiles/targets/fuzhou.toml";
    const GOOD: &str = "[[target]]\nsite = \"fuzhou\"\nname = \"water\"\nkind = \"utility\"\nnumbers = [\"13800138000\"]\n\
                        key = \"*2\"\nring_max_s = 20\nhours = [\"mon-fri 08:00-18:00\"]\n";
    let dir = copy(false);
    fs::write(dir.path().join(GATEWAY), BASE).unwrap();
    fs::write(dir.path().join(DIALLING), RULE).unwrap();
    fs::create_dir_all(dir.path().join(TARGETS).parent().unwrap()).unwrap();
    let told = |text: &str| {
        fs::write(dir.path().join(TARGETS), text).unwrap();
        problems(&dir)
    };
    let second = |name: &str, key: &str| format!("{GOOD}{}", GOOD.replacen("water", name, 1).replacen("*2", key, 1));
    fs::write(dir.path().join(TARGETS), second("gas", "*3")).unwrap();
    let targets = Config::load(&dir.path().join("jiesu.toml")).unwrap().calls().targets;
    let water = targets.named(SiteId(0), "water").expect("it is read");
    assert_eq!((water.ring_max, water.numbers[0].as_str()), (Some(Duration::from_secs(20)), "+8613800138000"));
    assert_eq!((water.hours.windows.len(), water.hours.utc_offset_s, &*water.title), (1, 28_800, "water"));
    for (from, to, place, message, cure) in [
        ("fuzhou", "fuzhuo", "2:8", "unknown site", "did you mean \"fuzhou\"?"),
        ("water", "", "3:8", "is no name", "1 to 32"),
        ("utility", "utilty", "4:8", "utilty", "utility"),
        ("13800138000", "1x", "5:12", "is no number", "inside China"),
        ("13800138000", "059187654321", "5:12", "no rule of dialling.toml names", "add a [[rule]]"),
        ("[\"13800138000\"]", "[]", "5:11", "0 numbers", "name 1 to 10"),
        ("*2", "2", "6:7", "is no key", "* and 1 to 3 digits"),
        ("*2", "*2345", "6:7", "is no key", "* and 1 to 3 digits"),
        ("20", "2", "7:14", "2 is out of bounds", "5"),
        ("mon-fri", "mo-fr", "8:10", "is no part of a week", "mon-fri 08:00-18:00"),
        ("18:00", "08:00", "8:10", "is no part of a week", "mon-fri 08:00-18:00"),
        ("18:00", "24:30", "8:10", "is no part of a week", "mon-fri 08:00-18:00"),
        (
            "hours",
            "from = 2026-02-01\nuntil = 2026-01-01\nhours",
            "9:9",
            "it ends before it begins",
            "first day without",
        ),
        ("key", "colour = 1\nkey", "6:1", "colour", "key"),
        ("key", "confirm = \"nowhere\"\nkey", "6:11", "unknown prompt \"nowhere\"", "or put nowhere.wav into"),
        ("key", "announcement = \"nowhere\"\nkey", "6:16", "unknown prompt \"nowhere\"", "or put nowhere.wav into"),
    ] {
        let start = format!("{TARGETS}:{place}: ");
        let told = told(&GOOD.replacen(from, to, 1));
        let fits = |it: &String| it.starts_with(&start) && it.contains(message) && it.contains(cure);
        assert!(told.len() == 1 && fits(&told[0]), "{to}: {start}{message} / {cure}\n{}", told.join("\n"));
    }
    let row = |row: &str| told(&format!("{GOOD}[[target.duty]]\n{row}\n"));
    for (text, place, message) in [
        ("numbers = [\"059187654321\"]", "10:12", "no rule of dialling.toml names"),
        ("numbers = []", "10:11", "0 numbers"),
        ("numbers = [\"13800138000\"]\nhours = [\"nightly\"]", "11:10", "is no part of a week"),
    ] {
        let told = row(text);
        assert!(told.len() == 1 && told[0].starts_with(&format!("{TARGETS}:{place}: ")), "{told:?}");
        assert!(told[0].contains(message), "{told:?}");
    }
    for (name, key, message) in
        [("water", "*3", "a second target \"water\""), ("gas", "*2", "begin alike"), ("gas", "*21", "begin alike")]
    {
        let told = told(&second(name, key));
        assert!(told.len() == 1 && told[0].contains(message), "{told:?}");
    }
    let police = told(&GOOD.replacen("13800138000", "110", 1));
    let queues = dir.path().join("sip-profiles/queues.toml");
    let shipped = fs::read_to_string(&queues).unwrap();
    fs::write(&queues, format!("{shipped}[[keys]]\nsite = \"fuzhou\"\nready = \"*2\"\nlog_off = \"*21\"\n")).unwrap();
    let keys = told(GOOD);
    assert!(keys.len() == 1 && keys[0].contains("\"*2\" is the key of target \"water\""), "{keys:?}");
    fs::write(&queues, shipped).unwrap();
    assert!(police.iter().any(|it| it.contains("is an emergency number")), "{police:?}");
}

#[test]
fn each_mistake_of_a_dialling_rule_is_told_at_its_place_with_its_cure() {
    for (from, to, place, message, cure) in [
        ("fuzhou", "fuzhuo", "2:8", "unknown site", "did you mean \"fuzhou\"?"),
        ("\"gateway\"", "\"gatewy\"", "4:11", "unknown trunk \"gatewy\"", "did you mean \"gateway\"?"),
        ("\"gateway\"", "\"carrier\"", "4:11", "trunk \"carrier\" only brings calls in", "add remote"),
        ("\"gateway\"", "", "4:10", "a rule without a trunk", "at least one"),
        ("1??????????", "*", "3:12", "names every number", "write digits"),
        ("1??????????", "1x", "3:12", "contains 'x'", "write digits"),
        ("1??????????", "110", "3:12", "\"110\" is an emergency number", "emergency = true"),
        ("059112345", "us", "5:10", "\"us\" is no number", "own number"),
        ("caller", "location = \"here\"\ncaller", "5:12", "\"here\" is no URI", "https"),
        ("caller", "civic = { street = \"x\" }\ncaller", "5:11", "\"street\" is no element", "RD"),
        ("caller", "emergency = true\ncaller", "3:12", "is no emergency number", "110, 119, 120 or 122"),
    ] {
        let start = format!("{DIALLING}:{place}: ");
        let told = told(BASE, &RULE.replacen(from, to, 1));
        let fits = |it: &String| it.starts_with(&start) && it.contains(message) && it.contains(cure);
        assert!(told.len() == 1 && fits(&told[0]), "{to}: {start}{message} / {cure}\n{}", told.join("\n"));
    }
}

#[test]
fn drills_and_true_lines_are_not_mixed() {
    const TARGETS: &str = "sip-profiles/targets/fuzhou.toml";
    const SIMULATED: &str = "sip-profiles/trunks/simulated.toml";
    let dir = copy(false);
    let base = BASE.replace("192.0.2.", "198.51.100.");
    fs::write(dir.path().join(GATEWAY), BASE).unwrap();
    fs::write(dir.path().join(SIMULATED), format!("{base}drill = true\n")).unwrap();
    fs::create_dir_all(dir.path().join(TARGETS).parent().unwrap()).unwrap();
    let both = RULE.replace("\"gateway\"", "\"gateway\", \"simulated\"");
    let drill = RULE.replace("1??????????", "990119").replace("gateway", "simulated");
    let police = RULE.replace("1??????????", "119").replace("gateway", "simulated") + "emergency = true\n";
    for (rule, place, message, cure) in [
        (&both, "4:22", "one for drills, one not", "for the drill trunks alone"),
        (&police, "4:11", "an emergency would reach nobody", "without drill = true"),
    ] {
        fs::write(dir.path().join(DIALLING), rule).unwrap();
        let told = problems(&dir);
        let start = format!("{DIALLING}:{place}: ");
        let fits = |it: &String| it.starts_with(&start) && it.contains(message) && it.contains(cure);
        assert!(told.len() == 1 && fits(&told[0]), "{start}{message} / {cure}\n{}", told.join("\n"));
    }
    fs::write(dir.path().join(DIALLING), format!("{RULE}{drill}")).unwrap();
    let target = |number: &str, more: &str| {
        let text = format!(
            "[[target]]\nsite = \"fuzhou\"\nname = \"fire-drill\"\nkind = \"emergency\"\nnumbers = [\"{number}\"]\n{more}"
        );
        fs::write(dir.path().join(TARGETS), text).unwrap();
    };
    for (number, more, message, cure) in [
        ("990119", "", "is dialled over trunks for drills", "drill = true"),
        ("13800138000", "drill = true\n", "is no simulated line", "drill = true"),
    ] {
        target(number, more);
        let told = problems(&dir);
        let start = format!("{TARGETS}:5:12: ");
        let fits = |it: &String| it.starts_with(&start) && it.contains(message) && it.contains(cure);
        assert!(told.len() == 1 && fits(&told[0]), "{start}{message} / {cure}\n{}", told.join("\n"));
    }
    target("990119", "drill = true\n");
    let config = Config::load(&dir.path().join("jiesu.toml")).unwrap();
    let calls = config.calls();
    assert!(calls.targets.list[0].drill && calls.dialling.rules[1].drill && !calls.dialling.rules[0].drill);
}
