//! Modes on virtual time.

use super::*;
use crate::base::hours::Window;
use crate::base::{Mono, Now, QueueId};
use std::time::Duration;

const SITE: SiteId = SiteId(0);
const QUEUE: QueueId = QueueId(0);
/// 2026-11-23, a Monday, at midnight in China.
const MONDAY: i64 = 1_795_363_200_000;

fn at(seconds: u64) -> Now {
    Now { mono: Mono::from_ms(seconds * 1_000), wall: Wall(MONDAY + seconds as i64 * 1_000) }
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// Usual are 120 an hour: more than three times that within 5 minutes, until no more than 1.5 times within 15.
fn surge() -> Rule {
    let rush = Rush { queues: vec![QUEUE], begins_over: 30, within: minutes(5), ends_at: 45, calm: minutes(15) };
    Rule { name: "surge".into(), hours: None, rush: Some(rush) }
}

fn night() -> Rule {
    let windows = vec![Window { weekdays: 0x7f, from_min: 20 * 60, until_min: 24 * 60 }];
    let hours = Hours { windows, utc_offset_s: 8 * 3_600, ..Hours::default() };
    Rule { name: "night".into(), hours: Some(hours), rush: None }
}

fn settings() -> Settings {
    Settings { sites: vec![vec![night(), surge()]] }
}

fn modes() -> Modes {
    Modes::new(at(0), settings(), Vec::new())
}

/// Lets callers come, one each `every` seconds, from `from` to `until`, and looks each second. Returns the changes with
/// their second.
fn run(modes: &mut Modes, (from, until): (u64, u64), every: u64) -> Vec<(u64, Box<str>, Option<Why>)> {
    let mut told = Vec::new();
    for second in from..until {
        if second % every == 0 {
            modes.arrived(at(second).mono, SITE, QUEUE);
        }
        let (changes, _) = modes.look(at(second));
        told.extend(changes.into_iter().map(|change| (second, change.name, change.open)));
    }
    told
}

#[test]
fn a_rush_opens_by_its_rate_and_shuts_by_itself_once_it_is_calm() {
    let mut modes = modes();
    assert_eq!(run(&mut modes, (0, 3_600), 30), [], "the usual");
    assert_eq!(run(&mut modes, (3_600, 7_200), 12), [], "two and a half times");
    let opened = run(&mut modes, (7_200, 7_800), 2);
    assert_eq!(opened.len(), 1);
    let (second, name, why) = &opened[0];
    assert_eq!((&**name, *why), ("surge", Some(Why::Rush)));
    assert!((7_202..7_260).contains(second), "{second}: 25 in five minutes already, then one each 2 s");
    assert_eq!(modes.open(SITE), ["surge".into()]);
    assert_eq!(run(&mut modes, (7_800, 12_000), 15), [], "twice the usual: between both thresholds nothing changes");
    let shut = run(&mut modes, (12_000, 14_000), 30);
    assert_eq!(shut.len(), 1);
    assert!((12_200..12_910).contains(&shut[0].0) && shut[0].2.is_none(), "{shut:?}");
    assert_eq!(run(&mut modes, (14_000, 20_000), 30), []);
}

#[test]
fn a_short_rush_stays_open_for_the_time_of_calm() {
    let mut modes = modes();
    let opened = run(&mut modes, (0, 60), 1);
    assert_eq!(opened, [(30, "surge".into(), Some(Why::Rush))]);
    let shut = run(&mut modes, (60, 2_000), 3_000);
    assert_eq!(shut.len(), 1);
    assert!(shut[0].0 >= 30 + 900, "{shut:?}");
}

#[test]
fn somebodys_word_stands_above_hours_and_rush_until_it_runs_out() {
    let mut modes = modes();
    let evening = 20 * 3_600;
    assert_eq!(run(&mut modes, (evening - 2, evening + 2), 3_000), [(evening, "night".into(), Some(Why::Hours))]);
    let until = at(evening + 100).wall;
    assert!(modes.set(SITE, "night", Some(Hand { open: false, until })));
    assert!(!modes.set(SITE, "nigth", None) && !modes.set(SiteId(1), "night", None));
    let told = run(&mut modes, (evening + 2, evening + 200), 3_000);
    assert_eq!(told, [(evening + 2, "night".into(), None), (evening + 100, "night".into(), Some(Why::Hours))]);
    let hand = Some(Hand { open: true, until: at(evening + 260).wall });
    assert!(modes.set(SITE, "surge", hand));
    let told = run(&mut modes, (evening + 200, evening + 300), 3_000);
    let expected = [(evening + 200, "surge".into(), Some(Why::Hand)), (evening + 260, "surge".into(), None)];
    assert_eq!(told, expected);
    assert!(modes.set(SITE, "surge", hand) && modes.set(SITE, "surge", None));
    assert_eq!(modes.look(at(evening + 301)).0, []);
}

/// Why it is open may change without its being shut: nobody is told, but it is shown and kept.
#[test]
fn another_reason_is_no_opening() {
    let mut modes = modes();
    run(&mut modes, (0, 60), 1);
    modes.set(SITE, "surge", Some(Hand { open: true, until: at(5_000).wall }));
    assert_eq!(modes.look(at(61)), (vec![], true));
    let view = &modes.view(at(61).mono, SITE)[1];
    assert_eq!(view.open, Some((Why::Hand, at(30).wall)));
    assert_eq!((view.arrivals, modes.look(at(62)).1), (Some((60, 30)), false));
    let told = run(&mut modes, (62, 6_000), 7_000);
    assert_eq!(told, [(5_000, "surge".into(), None)], "the rush is long over");
}

#[test]
fn a_new_process_goes_on_and_a_reload_keeps_what_stays() {
    let mut modes = modes();
    run(&mut modes, (0, 60), 1);
    modes.set(SITE, "night", Some(Hand { open: true, until: at(9_000).wall }));
    modes.look(at(60));
    let kept = modes.kept();
    let restart = |second: u64| Now { mono: Mono::from_ms(5), wall: at(second).wall };
    let mut after = Modes::new(restart(100), settings(), kept.clone());
    assert_eq!(after.kept(), kept);
    assert_eq!(after.look(restart(101)).0, [], "what was open is no news");
    assert_eq!(after.open(SITE), ["night".into(), "surge".into()]);
    after.configure(Settings { sites: vec![vec![surge()]] });
    assert_eq!(after.open(SITE), ["surge".into()]);
    let calm = Now { mono: Mono::from_ms(901_000), wall: at(1_001).wall };
    let shut = Change { site: SITE, name: "surge".into(), open: None };
    assert_eq!(after.look(calm).0, [shut], "15 minutes of calm from the restart");
}
