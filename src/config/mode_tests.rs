//! Modes: what they mean, and each mistake at its place with its cure.

use super::tests::{copy, problems};
use super::*;
use crate::acd::event::AgentSettings;
use crate::base::AgentId;
use crate::base::number::Number;
use std::fs;
use std::time::Duration;

const QUEUES: &str = "sip-profiles/queues.toml";

/// The shipped files with more behind the queues, and the line before the first of what is added.
fn with(more: &str) -> (tempfile::TempDir, usize) {
    let dir = copy(false);
    let path = dir.path().join(QUEUES);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("{text}{more}")).unwrap();
    (dir, text.lines().count())
}

#[test]
fn an_open_mode_is_laid_over_queues_voices_and_teams() {
    let night = "[[mode]]\nsite = \"fuzhou\"\nname = \"night\"\nqueues = [\"社保\"]\nhours = [\"mon-sun 20:00-24:00\"]\n\
                 skills = { general = 1 }\n";
    let storm = "[[mode]]\nsite = \"fuzhou\"\nname = \"storm\"\nqueues = [\"综合\", \"社保\"]\nwrap_up_s = 5\n\
                 rush = { normal_per_h = 120, times = 3.0, for_min = 5, calm_min = 15 }\n\
                 incident = { prompt = \"busy\", callers = [\"0591\", \"138\", \"+44\"], dialled = [\"12345\"] }\n\
                 lend = [{ team = \"reserve\", skills = { general = 2 } }]\n";
    let (dir, _) = with(&format!("{night}{storm}").replace("\"busy\"", "\"apology\""));
    let config = Config::load(&dir.path().join("jiesu.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    let rules = &config.modes().sites[0];
    let rush = rules.last().unwrap().rush.clone().unwrap();
    assert_eq!((rush.begins_over, rush.ends_at), (30, 45), "3 x 120 in an hour, 1.5 x 120");
    assert_eq!((rush.within, rush.calm, rush.queues.len()), (Duration::from_secs(300), Duration::from_secs(900), 2));

    let site = SiteId(0);
    let (general, social) = (config.skill_id(site, "general").unwrap(), config.skill_id(site, "social").unwrap());
    let under = |open: &[&str]| {
        let (mut acd, mut calls) = (config.acd(site), config.calls());
        acd.agents = [1, 2].map(|id| AgentSettings { agent: AgentId(id), skills: vec![(social, 4)] }).to_vec();
        let open: Vec<Box<str>> = open.iter().map(|name| (*name).into()).collect();
        let team_of = |agent: &AgentSettings| Some(if agent.agent.0 == 1 { "reserve".into() } else { "".into() });
        config.lay_modes(site, &open, (&mut acd, &mut calls.sites[0].queues), team_of);
        (acd, calls)
    };
    assert_eq!(under(&["gone"]).0.queues, config.acd(site).queues);
    let (acd, calls) = under(&["night", "storm"]);
    assert_eq!(acd.queues[1].skills, [(general, 1)]);
    assert_eq!(acd.queues[0].skills, config.acd(site).queues[0].skills);
    assert!(acd.queues[..2].iter().all(|queue| queue.wrap_up == Duration::from_secs(5)));
    assert_eq!(acd.agents[0].skills, [(social, 4), (general, 2)]);
    assert_eq!(acd.agents[1].skills, [(social, 4)]);
    let incident = &calls.sites[0].queues[0].incidents[0];
    assert_eq!(incident.dialled, [Number::parse("12345", "591").unwrap()]);
    for (caller, dialled, concerned) in [
        ("059187654321", "12345", true),
        ("87654321", "12345", true),
        ("13800138000", "12345", true),
        ("+442079460000", "12345", true),
        ("13900138000", "12345", false),
        ("059587654321", "12345", false),
        ("", "12345", false),
        ("87654321", "12333", false),
    ] {
        assert_eq!(incident.concerns(caller, dialled, "591"), concerned, "{caller} dialled {dialled}");
    }
}

#[test]
fn pauses_are_of_their_site_and_bounded() {
    let pause = |reason: &str, rest: &str| format!("[[pause]]\nsite = \"fuzhou\"\nreason = \"{reason}\"\n{rest}\n");
    let (dir, _) = with(&(pause("break", "together_max = 3\nlongest_min = 15") + &pause("training", "")));
    let config = Config::load(&dir.path().join("jiesu.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    let sites = config.calls().sites;
    let shown: Vec<_> = sites[0].pauses.iter().map(|it| (&*it.reason, it.together_max, it.longest)).collect();
    assert_eq!(shown, [("break", Some(3), Some(Duration::from_secs(900))), ("training", None, None)]);
    assert!(sites[1].pauses.is_empty());
    let (dir, before) = with(&(pause("break", "together_max = 0") + &pause("break", "") + &pause("", "")));
    let told = problems(&dir).join("\n");
    for (line, word) in [(4, "0 is out of bounds"), (7, "exists already"), (11, "a reason that is empty")] {
        let place = format!("{QUEUES}:{}:", before + line);
        assert!(told.lines().any(|it| it.contains(&place) && it.contains(word)), "{word} at {place}:\n{told}");
    }
}

#[test]
fn mistakes_are_told_with_their_cure() {
    let head = |name: &str, rest: &str| format!("[[mode]]\nsite = \"fuzhou\"\nname = \"{name}\"\n{rest}\n");
    let more = head("a", "queues = [\"总合\"]\nwrap_up_s = 5")
        + &head("b", "queues = [\"综合\"]")
        + &head("a", "queues = [\"综合\"]\nskills = { genral = 1 }")
        + &head(
            "c",
            "queues = [\"综合\"]\nwrap_up_s = 5\nrush = { normal_per_h = 0, times = 1.2, for_min = 90, calm_min = 5 }",
        )
        + &head("d", "queues = [\"综合\"]\nincident = { prompt = \"apolgy\", callers = [\"abc\"], dialled = [\"x\"] }")
        + &head(
            "e",
            "queues = [\"综合\"]\nlend = [{ team = \"\", skills = { general = 1 } }]\nhours = [\"sometimes\"]",
        );
    let (dir, before) = with(&more);
    let told = problems(&dir);
    for (line, word) in [
        (4, "unknown queue \"总合\""),
        (8, "this mode changes nothing"),
        (12, "mode \"a\" of site \"fuzhou\" exists already"),
        (14, "unknown skill \"genral\""),
        (20, "this rush does not begin above where it ends"),
        (20, "0 is out of bounds"),
        (20, "90 is out of bounds"),
        (25, "\"abc\" is no beginning of a number"),
        (25, "\"x\" is no number"),
        (30, "this lends nothing"),
        (31, "\"sometimes\" is no part of a week"),
    ] {
        let place = format!("{QUEUES}:{}:", before + line);
        let found = told.iter().any(|told| told.contains(&place) && told.contains(word));
        assert!(found, "no {word:?} at line {}:\n{}", before + line, told.join("\n"));
    }
}

#[test]
fn keys_are_of_their_site_and_each_mistake_is_told() {
    let fuzhou = "[[pause]]\nsite = \"fuzhou\"\nreason = \"lunch\"\n[[keys]]\nsite = \"fuzhou\"\n";
    let (dir, _) = with(&format!("{fuzhou}ready = \"*1\"\npause = {{ \"*13\" = \"lunch\" }}\n"));
    let config = Config::load(&dir.path().join("jiesu.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    let sites = config.calls().sites;
    let keys = |site: usize| sites[site].keys.as_ref().unwrap().by_key.keys().map(|key| &**key).collect::<Vec<_>>();
    assert_eq!(keys(0), ["*1", "*13"]);
    assert!(sites[1].keys.is_none());
    let wrong = "ready = \"11\"\nnot_ready = \"*2\"\nlog_off = \"*13\"\npause = { \"*13\" = \"lunch\", \"*4\" = \"tea\" }\n\
                 [[keys]]\nsite = \"fuzhou\"\n";
    let (dir, before) = with(&format!("{fuzhou}{wrong}"));
    let at = |line: usize, column: usize| format!("{QUEUES}:{}:{column}", before + line);
    let found = problems(&dir);
    for (line, column, message, cure) in [
        (6, 9, "\"11\" is no key", "* and 1 to 3 digits"),
        (7, 13, "pause for the reasons of its [[pause]] alone", "name a key for each"),
        (9, 11, "key \"*13\" is given twice", "choose another"),
        (9, 35, "\"tea\" is no reason to pause", "this site has: lunch"),
        (11, 8, "has its keys already", "into one [[keys]]"),
    ] {
        let is = |text: &&String| text.contains(&at(line, column)) && text.contains(message) && text.contains(cure);
        assert!(found.iter().any(|text| is(&text)), "{} {message}: {found:#?}", at(line, column));
    }
    assert_eq!(found.len(), 5, "{found:#?}");
}
