//! Routing of queues and scenarios: what they mean, and each mistake at its place with its cure.

use super::tests::{copy, problems};
use super::trunk_tests::{BASE, DIALLING, GATEWAY};
use super::*;
use crate::acd::event::{Overflow, Strategy, To, When};
use crate::call::event::{CallbackVoice, Elsewhere, Whom};
use std::fs;
use std::time::Duration;

const TARGETS: &str = "sip-profiles/targets/fuzhou.toml";
const QUEUES: &str = "sip-profiles/queues.toml";
const SCENARIO: &str = "docs/simulation/capital-day.toml";

fn queue(name: &str, rest: &str) -> String {
    let voice = "music = \"music-on-hold\"\napology = \"apology\"\n";
    format!("[[queue]]\nsite = \"fuzhou\"\nname = \"{name}\"\nskills = {{ social = 3 }}\n{rest}\n{voice}")
}

/// The shipped queues with three more of fuzhou behind them, the first of them on line 1 of what is added.
fn with(rests: [&str; 3]) -> (tempfile::TempDir, usize) {
    let dir = copy(false);
    let path = dir.path().join(QUEUES);
    let mut text = fs::read_to_string(&path).unwrap();
    let before = text.lines().count();
    for (name, rest) in ["a", "b", "c"].into_iter().zip(rests) {
        text += &queue(name, rest);
    }
    fs::write(path, text).unwrap();
    (dir, before)
}

/// A waterworks, an emergency line, and the trunk that leads to both.
fn with_targets(dir: &tempfile::TempDir) {
    let rule = |number: &str, rest: &str| {
        let head = "[[rule]]\nsite = \"fuzhou\"\ntrunks = [\"gateway\"]\ncaller = \"059112345\"\n";
        format!("{head}numbers = [\"{number}\"]\n{rest}\n")
    };
    let target = |name: &str, kind: &str, number: &str| {
        format!("[[target]]\nsite = \"fuzhou\"\nname = \"{name}\"\nkind = \"{kind}\"\nnumbers = [\"{number}\"]\n")
    };
    let write = |path: &str, text: String| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(GATEWAY, BASE.into());
    write(DIALLING, rule("13800138000", "") + &rule("110", "emergency = true"));
    write(TARGETS, target("water", "utility", "13800138000") + &target("110", "emergency", "110"));
}

#[test]
fn routing_becomes_the_acds_settings() {
    let rules = "overflow = [{ length = 9, to = \"b\" }, { expected_s = 300, to = \"c\" }, { waited_s = 60 }]";
    let skills = "strategy = \"least_talk\"\nranks = [{ social = 7 }, { social = 5, general = 1 }]\n\
                  relax = [{ after_s = 30, skills = { social = 1 } }, { after_s = 60, skills = {} }]";
    let nobody = "overflow = [{ nobody = \"logged_in\", to = \"综合\" }, { nobody = \"ready\", to = \"c\" }]";
    let (dir, _) = with([rules, nobody, skills]);
    let config = Config::load(&dir.path().join("jiesu.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    let site = config.acd(SiteId(0));
    assert_eq!(site.utc_offset_s, 8 * 3_600);
    let [.., a, b, c] = &site.queues[..] else { panic!("three more") };
    let id = |name| To::Queue(config.queue_id(SiteId(0), name).unwrap());
    let rule = |when, to| Overflow { when, to };
    let seconds = Duration::from_secs;
    assert_eq!(
        a.routing.overflow,
        [
            rule(When::Length(9), id("b")),
            rule(When::Expected(seconds(300)), id("c")),
            rule(When::Waited(seconds(60)), To::Release)
        ]
    );
    assert_eq!(b.routing.overflow, [rule(When::NobodyLoggedIn, id("综合")), rule(When::NobodyReady, id("c"))]);
    assert_eq!((c.routing.strategy, a.routing.strategy), (Strategy::LeastTalk, Strategy::LongestIdle));
    let together = |rest| {
        let (dir, _) = with([rest, "", ""]);
        let config = Config::load(&dir.path().join("jiesu.toml")).unwrap_or_else(|errors| panic!("{errors}"));
        config.acd(SiteId(0)).queues.iter().find(|queue| &*queue.name == "a").unwrap().routing.together()
    };
    assert_eq!((together("strategy = \"ring_all\""), together("")), (8, 1));
    assert_eq!(together("strategy = \"ring_all\"\nring_together = 3"), 3);
    let prefers = |rest| {
        let (dir, _) = with([rest, "", ""]);
        let config = Config::load(&dir.path().join("jiesu.toml")).unwrap_or_else(|errors| panic!("{errors}"));
        let place = config.queue_id(SiteId(0), "a").unwrap().index();
        (config.acd(SiteId(0)).queues[place].routing.preferred, config.calls().sites[0].queues[place].preferred)
    };
    let (seconds_of, days) = (|s| Some(seconds(s)), |days: u64| Some(Whom::Last { within: seconds(days * 86_400) }));
    assert_eq!(prefers("preferred = { agent = \"last\", for_s = 20 }"), (seconds_of(20), days(30)));
    assert_eq!(prefers("preferred = { agent = \"last\", for_s = 9, days = 7 }"), (seconds_of(9), days(7)));
    assert_eq!(prefers("preferred = { agent = \"order_owner\", for_s = 9 }"), (seconds_of(9), Some(Whom::OrderOwner)));
    let [general, social] = ["general", "social"].map(|name| config.skill_id(SiteId(0), name).unwrap());
    assert_eq!(c.routing.ranks, [vec![(social, 7)], vec![(general, 1), (social, 5)]]);
    let relax: Vec<_> = c.routing.relax.iter().map(|relax| (relax.after.as_secs(), &relax.skills[..])).collect();
    assert_eq!(relax, [(30, &[(social, 1)][..]), (60, &[])]);
}

#[test]
fn call_backs_and_ways_to_elsewhere_become_settings_of_calls_and_of_call_backs() {
    let rest = "callback = { key = \"1\", promise = \"no-key\", hours = [\"mon-sun 08:00-21:00\"], attempts_max = 2, \
                retry_s = 300, missed_after_s = 45 }\noverflow = [{ waited_s = 60, announcement = \"wrong-key\" }, \
                { length = 9, callback = true }, { nobody = \"ready\", target = \"water\" }]";
    let (dir, _) = with([rest, "", ""]);
    with_targets(&dir);
    let config = Config::load(&dir.path().join("jiesu.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    let place = config.queue_id(SiteId(0), "a").unwrap();
    let prompt = |name| config.prompt_id(name).unwrap();
    let calls = config.calls();
    let voice = &calls.sites[0].queues[place.index()];
    let seconds = Duration::from_secs;
    let offered = CallbackVoice { key: Some(b'1'), promise: prompt("no-key"), missed_after: Some(seconds(45)) };
    assert_eq!(voice.callback, Some(offered));
    let ways = [Elsewhere::Announcement(prompt("wrong-key")), Elsewhere::Callback, Elsewhere::Target("water".into())];
    assert_eq!(voice.elsewhere, ways);
    let overflow = &config.acd(SiteId(0)).queues[place.index()].routing.overflow;
    assert_eq!(overflow.iter().map(|rule| rule.to).collect::<Vec<_>>(), [0, 1, 2].map(To::Elsewhere));
    let callbacks = config.callbacks();
    let (queue, rules) = callbacks.queue(SiteId(0), "a").unwrap();
    assert_eq!((queue, rules.attempts_max, rules.retry_after), (place, 2, seconds(300)));
    assert_eq!((rules.hours.windows.len(), rules.hours.utc_offset_s), (1, 8 * 3_600));
    assert!(callbacks.queue(SiteId(0), "b").is_none(), "a queue without them calls nobody back");
}

#[test]
fn each_mistake_of_routing_is_told_at_its_place_with_its_cure() {
    for (rests, line, message, cure) in [
        (
            ["overflow = [{ length = 1, to = \"a\" }]", "", ""],
            5,
            "overflows into itself through \"a\"",
            "does not lead back",
        ),
        (
            [
                "overflow = [{ length = 1, to = \"b\" }]",
                "overflow = [{ length = 1, to = \"c\" }]",
                "overflow = [{ length = 1, to = \"a\" }]",
            ],
            19,
            "queue \"c\" overflows into itself through \"a\"",
            "does not lead back",
        ),
        (["overflow = [{ length = 1, target = \"d\" }]", "", ""], 5, "unknown target \"d\"", "use one of"),
        (["overflow = [{ length = 1, target = \"110\" }]", "", ""], 5, "to an emergency line", "sub-center"),
        (["overflow = [{ length = 1, announcement = \"d\" }]", "", ""], 5, "unknown prompt", "use one of"),
        (["overflow = [{ length = 1, callback = true }]", "", ""], 5, "calls nobody back", "the queue's own"),
        (
            ["overflow = [{ length = 1, to = \"b\", callback = true }]", "", ""],
            5,
            "leads to one place",
            "one of to, announcement",
        ),
        (["comfort = { every_s = 60 }", "", ""], 5, "nothing is said", "name prompts"),
        (["comfort = { every_s = 5, place = true }", "", ""], 5, "5 is out of bounds", "from 15 to"),
        (["callback = { key = \"12\", promise = \"apology\" }", "", ""], 5, "no key of a telephone", "0 to 9"),
        (["callback = { key = \"1\" }", "", ""], 5, "key `promise` is missing", "add promise"),
        (["callback = { promise = \"apology\", hours = [\"8-20\"] }", "", ""], 5, "no part of a week", "mon-fri"),
        (["overflow = [{ length = 1, to = \"d\" }]", "", ""], 5, "unknown queue \"d\"", "Known"),
        (["overflow = [{ to = \"b\" }]", "", ""], 5, "needs one condition", "exactly one"),
        (["overflow = [{ length = 1, waited_s = 2 }]", "", ""], 5, "needs one condition", "exactly one"),
        (["overflow = [{ waited_s = 0 }]", "", ""], 5, "0 is out of bounds", "from 1 to"),
        (["strategy = \"ring_all\"\nring_together = 17", "", ""], 6, "17 is out of bounds", "from 2 to 16"),
        (["ring_together = 4", "", ""], 5, "means nothing with this strategy", "\"ring_all\", or leave it out"),
        (["preferred = { agent = \"last\" }", "", ""], 5, "key `for_s` is missing", "add for_s"),
        (["preferred = { agent = \"last\", for_s = 301 }", "", ""], 5, "301 is out of bounds", "from 1 to 300"),
        (
            ["preferred = { agent = \"order_owner\", for_s = 9, days = 9 }", "", ""],
            5,
            "days mean nothing",
            "leave it out",
        ),
        (["strategy = \"longest\"", "", ""], 5, "unknown value `longest`", "longest_idle"),
        (["ranks = [{ socia = 3 }]", "", ""], 5, "unknown skill \"socia\"", "social"),
        (["relax = [{ after_s = 9, skills = { social = 4 } }]", "", ""], 5, "asks for more", "same level or lower"),
        (["relax = [{ after_s = 9, skills = { general = 1 } }]", "", ""], 5, "asks for more", "same skills or fewer"),
        (
            ["relax = [{ after_s = 9, skills = { social = 2 } }, { after_s = 9, skills = {} }]", "", ""],
            5,
            "not later than",
            "in order",
        ),
    ] {
        let (dir, before) = with(rests);
        with_targets(&dir);
        let told = problems(&dir);
        let place = format!("{QUEUES}:{}:", before + line);
        let [one] = &told[..] else { panic!("{rests:?}: {told:#?}") };
        assert!(one.starts_with(&place) && one.contains(message) && one.contains(cure), "{rests:?}: {one}");
    }
}

#[test]
fn the_shipped_scenario_is_a_day_of_a_capital() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let config = Config::load(&root.join("jiesu.toml")).unwrap();
    let plan = config.scenario(&root.join(SCENARIO)).unwrap_or_else(|errors| panic!("{errors}"));
    assert!((plan.scenario.expected() - 56_000.0).abs() < 1e-6);
    assert_eq!((plan.target.share, plan.target.within), (0.95, Duration::from_secs(15)));
    assert!((300..=400).contains(&plan.scenario.groups[0].size()), "{}", plan.scenario.groups[0].size());
}

#[test]
fn each_mistake_of_a_scenario_is_told_at_its_place() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let config = Config::load(&root.join("jiesu.toml")).unwrap();
    let shipped = fs::read_to_string(root.join(SCENARIO)).unwrap();
    let dir = copy(false);
    let path = dir.path().join("day.toml");
    for (from, to, message) in [
        ("site = \"fuzhou\"", "site = \"fuzho\"", "unknown site \"fuzho\""),
        ("queue = \"综合\"", "queue = \"综\"", "unknown queue \"综\""),
        ("     6,  5,", "     6,", "a curve of 47 numbers"),
        ("variation = 1.0 }", "stages = 2 }", "a log_normal law needs a variation"),
        ("mean_s = 2 }", "mean_s = -2 }", "mean_s must lie from"),
        ("general = 5", "genera = 5", "unknown skill \"genera\""),
        ("\"24:00\"", "\"24:30\"", "\"24:30\" is no time of the day"),
        ("percent = 40", "percent = 140", "140 is out of bounds"),
        ("seed = 1", "sed = 1", "unknown key `sed`"),
    ] {
        assert!(shipped.contains(from), "{from}");
        fs::write(&path, shipped.replacen(from, to, 1)).unwrap();
        let line = shipped.lines().position(|line| line.contains(from)).unwrap() + 1;
        let errors = config.scenario(&path).expect_err(to);
        let one = errors.0[0].to_string();
        assert!(errors.0.len() == 1 && one.contains(message), "{to}: {errors}");
        // A curve is placed where its list begins.
        assert!(message.contains("curve") || one.contains(&format!("day.toml:{line}:")), "{to}: {one}");
    }
}
