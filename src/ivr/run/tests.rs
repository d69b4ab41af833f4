//! Every event in every state, snapshots, and random callers.

use super::*;
use crate::base::{Mint, QueueId};
use crate::ivr::draft::{Draft, Names};

const DIRECT: &str = "start = 'people'\nhuman = 'people'\n[queue.people]\nqueue = '0'";

/// Prompts and queues are numbers here: "7" is `PromptId(7)`.
const ALL_NODES: &str = r##"
    start = "welcome"
    human = "people"
    [play.welcome]
    prompts = ["1"]
    barge_in = true
    next = "main"
    [menu.main]
    prompts = ["2"]
    choices = { 1 = "law", 2 = "number", 3 = "bye", 4 = "code", 5 = "end" }
    repeat = "*"
    retries = 2
    invalid = ["8"]
    timeout = ["9"]
    [play.law]
    prompts = ["3"]
    next = "expert"
    [collect.number]
    prompts = ["4"]
    digits_min = 2
    digits_max = 4
    retries = 1
    invalid = ["8"]
    timeout = ["9"]
    next = "expert"
    [collect.code]
    prompts = ["5"]
    barge_in = false
    digits_max = 1
    terminator = "*"
    next = "expert"
    [hang_up.bye]
    prompts = ["6"]
    [hang_up.end]
    [queue.people]
    queue = "0"
    [queue.expert]
    queue = "1"
    priority = 10
"##;

pub(in crate::ivr) fn compiled(name: &str, text: &str) -> Arc<Flow> {
    let names =
        Names { prompt: &|name| name.parse().ok().map(PromptId), queue: &|name| name.parse().ok().map(QueueId) };
    Arc::new(toml::from_str::<Draft>(text).unwrap().compile(name, names).unwrap())
}

pub(in crate::ivr) fn flow(name: &str) -> Arc<Flow> {
    compiled(name, if name == "direct" { DIRECT } else { ALL_NODES })
}

fn at(ms: u64) -> Now {
    Now { mono: Mono::from_ms(ms), wall: crate::base::Wall(0) }
}

/// A run led by keys (`.` = played to the end, `!` = its deadline comes).
fn led(script: &str) -> (Run, Vec<Command>) {
    let mut run = Run::new(flow("all"), vec![PromptId(0)]);
    let mut out = Vec::new();
    for step in script.bytes() {
        out.clear();
        press(&mut run, step, &mut out);
    }
    (run, out)
}

fn press(run: &mut Run, step: u8, out: &mut Vec<Command>) {
    let due = run.next_deadline().map_or(0, Mono::ms);
    match step {
        b's' => run.handle(at(0), Event::Start, out),
        b'.' => run.handle(at(0), Event::Played, out),
        b'!' => run.handle(at(due), Event::Deadline, out),
        b'?' => run.handle(at(due.saturating_sub(1)), Event::Deadline, out),
        digit => run.handle(at(0), Event::Digit(digit), out),
    }
}

fn told(out: &[Command]) -> String {
    let words = out.iter().map(|command| match command {
        Command::Play(prompts) => format!("play {:?}", prompts.iter().map(|prompt| prompt.0).collect::<Vec<_>>()),
        Command::Stop => "stop".into(),
        Command::Collected { node, digits } => format!("{node}={digits}"),
        Command::Queue { queue, priority } => format!("queue {}+{priority}", queue.0),
        Command::HangUp => "hang up".into(),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Events in the columns' order: start, `0`, `1`, `2`, `9`, `*`, `#`, `A`, played, early deadline, deadline.
const EVENTS: &[u8] = b"s0129*#A.?!";

/// Every state, each with what each event makes it say; "" where the event means nothing.
#[rustfmt::skip]
const TABLE: &[(&str, &str, [&str; 11])] = &[
    ("new", "",
        ["play [0]", "", "", "", "", "", "", "", "", "", ""]),
    ("opening", "s",
        ["", "queue 0+0", "", "", "", "", "", "", "play [1]", "", "play [1]"]),
    ("play with barge-in", "s.",
        ["", "queue 0+0", "play [2], main=1, play [3]", "play [2], main=2, play [4]", "play [2], play [8, 2]",
         "play [2], play [2]", "play [2], play [8, 2]", "play [2], play [8, 2]", "play [2]", "", "play [2]"]),
    ("play without barge-in", "s..1",
        ["", "queue 0+0", "", "", "", "", "", "", "queue 1+10", "", "queue 1+10"]),
    ("menu asking", "s..",
        ["", "queue 0+0", "main=1, play [3]", "main=2, play [4]", "play [8, 2]", "play [2]", "play [8, 2]",
         "play [8, 2]", "", "", ""]),
    ("menu waiting", "s...",
        ["", "queue 0+0", "main=1, play [3]", "main=2, play [4]", "play [8, 2]", "play [2]", "play [8, 2]",
         "play [8, 2]", "", "", "play [9, 2]"]),
    ("menu waiting for the last time", "s...!.!.",
        ["", "queue 0+0", "main=1, play [3]", "main=2, play [4]", "queue 0+0", "queue 0+0", "queue 0+0",
         "queue 0+0", "", "", "queue 0+0"]),
    ("collect asking", "s..2",
        ["", "stop", "stop", "stop", "stop", "play [8, 4]", "play [8, 4]", "play [8, 4]", "", "", ""]),
    ("collect waiting", "s..2.",
        ["", "", "", "", "", "play [8, 4]", "play [8, 4]", "play [8, 4]", "", "", "play [9, 4]"]),
    ("collect waiting for the last time", "s..2.!.",
        ["", "", "", "", "", "queue 0+0", "queue 0+0", "queue 0+0", "", "", "queue 0+0"]),
    ("collect with a lone 0", "s..20",
        ["", "", "", "", "", "play [8, 4]", "queue 0+0", "play [8, 4]", "", "", "queue 0+0"]),
    ("collect with too few", "s..21",
        ["", "", "", "", "", "play [8, 4]", "play [8, 4]", "play [8, 4]", "", "", "play [8, 4]"]),
    ("collect with enough", "s..200",
        ["", "", "", "", "", "play [8, 4]", "number=00, queue 1+10", "play [8, 4]", "", "",
         "number=00, queue 1+10"]),
    ("collect before the last digit", "s..2123",
        ["", "number=1230, queue 1+10", "number=1231, queue 1+10", "number=1232, queue 1+10",
         "number=1239, queue 1+10", "play [8, 4]", "number=123, queue 1+10", "play [8, 4]", "", "",
         "number=123, queue 1+10"]),
    ("collect asking without barge-in", "s..4",
        ["", "queue 0+0", "", "", "", "", "", "", "", "", ""]),
    ("collect of one digit waiting", "s..4.",
        ["", "queue 0+0", "code=1, queue 1+10", "code=2, queue 1+10", "code=9, queue 1+10", "play [5]", "play [5]",
         "play [5]", "", "", "play [5]"]),
    ("farewell", "s..3",
        ["", "queue 0+0", "", "", "", "", "", "", "hang up", "", "hang up"]),
    ("over", "s0",
        ["", "", "", "", "", "", "", "", "", "", ""]),
];

#[test]
fn every_event_in_every_state() {
    for (state, script, expected) in TABLE {
        for (event, expected) in EVENTS.iter().zip(expected) {
            let (mut run, mut out) = led(script);
            out.clear();
            let before = run.snapshot();
            press(&mut run, *event, &mut out);
            assert_eq!(told(&out), *expected, "{state}: {:?}", char::from(*event));
            let moved = run.snapshot() != before;
            let silent_move = match *event {
                // The question has been heard, or a digit joins others: nothing to say, but the state moves.
                b'.' | b'!' => matches!(before.state, State::Asking { .. }),
                b'?' | b's' => false,
                digit => {
                    digit.is_ascii_digit() && (matches!(before.state, State::Waiting { .. } | State::Collecting { .. }))
                }
            };
            assert_eq!(moved, !out.is_empty() || silent_move, "{state}: {:?}", char::from(*event));
        }
    }
}

#[test]
fn the_table_has_every_kind_of_state() {
    let mut kinds = [false; 7];
    for (_, script, _) in TABLE {
        let kind = match led(script).0.state {
            State::New => 0,
            State::Opening => 1,
            State::Playing { .. } => 2,
            State::Asking { .. } => 3,
            State::Waiting { .. } => 4,
            State::Collecting { .. } => 5,
            State::Over => 6,
        };
        kinds[kind] = true;
    }
    assert_eq!(kinds, [true; 7]);
}

#[test]
fn waits_are_those_of_the_flow() {
    let cases = [
        ("s", 120_000),
        ("s.", 120_000),
        ("s..", 120_000),
        ("s...", 5_000),
        ("s...9", 240_000),
        ("s..2.", 5_000),
        ("s..21", 4_000),
    ];
    for (script, ms) in cases {
        assert_eq!(led(script).0.next_deadline(), Some(Mono::from_ms(ms)), "{script}");
    }
    assert_eq!(led("").0.next_deadline(), None);
    assert_eq!(led("s0").0.next_deadline(), None);
    assert!(led("s0").0.is_over());
}

#[test]
fn the_direct_flow_goes_from_the_greeting_to_the_queue() {
    let mut out = Vec::new();
    let mut run = Run::new(flow("direct"), vec![PromptId(1), PromptId(2)]);
    run.handle(at(0), Event::Start, &mut out);
    run.handle(at(0), Event::Played, &mut out);
    assert_eq!(told(&out), "play [1, 2], queue 0+0");
    out.clear();
    Run::new(flow("direct"), Vec::new()).handle(at(0), Event::Start, &mut out);
    assert_eq!(told(&out), "queue 0+0");
}

#[test]
fn a_hang_up_node_without_prompts_hangs_up_at_once() {
    assert_eq!(told(&led("s..5").1), "main=5, hang up");
}

#[test]
fn a_snapshot_goes_on_where_the_run_was() {
    for (state, script, expected) in TABLE {
        for (event, expected) in EVENTS.iter().zip(expected) {
            let json = serde_json::to_string(&led(script).0.snapshot()).unwrap();
            let mut run = Run::restore(serde_json::from_str(&json).unwrap(), flow("all")).unwrap();
            let mut out = Vec::new();
            press(&mut run, *event, &mut out);
            assert_eq!(told(&out), *expected, "{state}: {:?}", char::from(*event));
        }
    }
}

#[test]
fn a_snapshot_of_a_changed_flow_or_version_is_refused() {
    let of = |script| led(script).0.snapshot();
    assert_eq!(Run::restore(of("s.."), flow("direct")).unwrap_err(), RestoreError::Changed);
    let other = compiled("all", "start='main'\nhuman='main'\n[queue.main]\nqueue='0'");
    assert_eq!(Run::restore(of("s.."), other).unwrap_err(), RestoreError::Changed);
    let newer = Snapshot { version: 2, ..of("s") };
    assert_eq!(Run::restore(newer, flow("all")).unwrap_err(), RestoreError::Version(2));
    assert!(Run::restore(of("s"), flow("direct")).is_ok(), "the opening has no node");
}

#[test]
fn after_a_restore_the_caller_hears_the_place_again() {
    let cases = [
        ("", ""),
        ("s", "play [0]"),
        ("s.", "play [1]"),
        ("s..9", "play [2]"),
        ("s...", ""),
        ("s..2", "play [4]"),
        ("s..21", ""),
        ("s..3", "play [6]"),
        ("s0", ""),
    ];
    for (script, expected) in cases {
        let (mut run, mut out) = led(script);
        out.clear();
        run.resume(at(7_000), &mut out);
        assert_eq!(told(&out), expected, "{script}");
        run.check();
    }
}

/// Longest possible run of `ALL_NODES`: opening, welcome, then the menu asked three times and a collect twice.
const LONGEST_MS: u64 = 120_000 * (1 + 1 + 1 + 2 * 2 + 1 + 2) + 3 * 5_000 + 2 * (5_000 + 4 * 4_000);

#[test]
fn whatever_is_pressed_it_ends_once_and_in_time() {
    let mut mint = Mint::new(0, [12, 345]);
    for round in 0..5_000 {
        let mut run = Run::new(flow("all"), vec![PromptId(0)]);
        let (mut now, mut out) = (0u64, Vec::new());
        run.handle(at(now), Event::Start, &mut out);
        for step in 0.. {
            let Some(due) = run.next_deadline() else { break };
            assert!(step < 200, "round {round} does not end");
            let random = mint.random();
            let event = match random % 4 {
                0 => Event::Played,
                1 => Event::Deadline,
                _ => Event::Digit(b"0123456789*#ABCD\xff"[(random >> 8) as usize % 17]),
            };
            let pause = if event == Event::Deadline { due.ms() - now } else { (random >> 16) % 3_000 };
            now += pause.min(due.ms() - now);
            run.handle(at(now), event, &mut out);
        }
        let ends = out.iter().filter(|command| matches!(command, Command::Queue { .. } | Command::HangUp)).count();
        assert_eq!(ends, 1, "round {round}: {}", told(&out));
        assert!(matches!(out.last(), Some(Command::Queue { .. } | Command::HangUp)), "round {round}");
        assert!(now <= LONGEST_MS, "round {round} took {now} ms");
    }
}

#[test]
fn zero_reaches_a_human_after_any_history() {
    let mut mint = Mint::new(1, [12, 345]);
    for round in 0..5_000 {
        let mut run = Run::new(flow("all"), vec![PromptId(0)]);
        let mut out = Vec::new();
        run.handle(at(0), Event::Start, &mut out);
        for _ in 0..mint.random() % 12 {
            press(&mut run, b".!19*#4253"[(mint.random() % 10) as usize], &mut out);
        }
        if run.is_over() {
            continue;
        }
        out.clear();
        // Where digits have been given a wrong key discards them, and the next 0 is the first one again.
        let keys: &[u8] = if matches!(run.state, State::Collecting { .. }) { b"A0!" } else { b"0!" };
        for step in keys {
            press(&mut run, *step, &mut out);
        }
        assert!(run.is_over() && told(&out).ends_with("queue 0+0"), "round {round}: {}", told(&out));
    }
}
