//! `jiesu diff` and `jiesu reload` beside a node with callers, as an operator types them.

use crate::support::engine::Folder;
use crate::support::hotline::{Hotline, folder};
use serde_json::{Value, json};

const QUEUES: &str = "sip-profiles/queues.toml";
/// A queue before all others: those behind it get other numbers.
const FIRST: &str = "[[queue]]\nsite = \"fuzhou\"\nname = \"夜间\"\nskills = { general = 1 }\nmusic = \"music-on-hold\"\n\
                     apology = \"apology\"\n\n";

/// What the commands say and whether they end well, each run once.
fn says(folder: &Folder, good: bool, diff: &[&str], reload: &[&str]) {
    for (command, wanted) in [("diff", diff), ("reload", reload)] {
        let (status, text) = folder.run(&[command]);
        assert_eq!(status.code(), Some(i32::from(!good)), "{command}: {text}");
        for line in wanted {
            assert!(text.lines().any(|said| said == *line || said.contains(line)), "{command} lacks {line:?}:\n{text}");
        }
    }
}

/// What stands of calls and agents, without the moments at which it was looked at.
fn standing(hotline: &Hotline) -> (Vec<[Value; 4]>, Value) {
    let live = hotline.lead.read("/calls/live").body["items"].as_array().expect("calls").clone();
    let row = |call: &Value| ["contact", "stage", "queue", "waiting_since"].map(|key| call[key].clone());
    let mut calls: Vec<[Value; 4]> = live.iter().map(row).collect();
    calls.sort_by_key(|call| call[0].to_string());
    let agent = hotline.agent("1001");
    (calls, json!([agent["state"], agent["reason"], agent["phone_up"]]))
}

#[test]
fn a_good_reload_is_shown_and_taken_and_a_bad_one_changes_nothing_while_callers_wait() {
    let mut hotline = Hotline::start(folder());
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-hangs-up", &["-m", "2"]);
    let pause = hotline.lead.put("/agents/1001/state", &json!({ "state": "not_ready", "reason": "lunch" }));
    assert_eq!(pause.status, 202);
    hotline.events.paused("1001", "lunch");
    let citizens = ["first", "second"].map(|_| {
        let citizen = hotline.citizen("citizen-waits", &[]);
        (hotline.events.call("queued"), citizen)
    });
    let before = standing(&hotline);
    assert_eq!(before.0.len(), 2);

    let files = &hotline.engine.folder;
    says(files, true, &["no differences"], &["read again: no differences"]);
    // Each mistake: file, line, column and cure, twice the same; nothing of the good change beside it is taken.
    files.edit(QUEUES, "wrap_up_s = 90", "wrap_up_s = 91");
    let line_of = |file: &str, text: &str| {
        let content = std::fs::read_to_string(files.path().join(file)).unwrap();
        content.lines().position(|line| line.contains(text)).expect("the line is there") + 1
    };
    let social = "name = \"社保\"\n";
    let mistakes = [
        (
            QUEUES,
            social,
            "name = \"社保\"\noverflow = [{ waited_s = 9, to = \"社保\" }]\n",
            "overflow = [{",
            "leave out `to`",
        ),
        (QUEUES, "skills = { social = 3 }", "skills = { socal = 3 }", "socal", "did you mean \"social\"?"),
        ("ivr-flows/direct.toml", "queue = \"综合\"", "queue = \"总合\"", "queue = \"总合\"", "did you mean \"综合\"?"),
    ];
    for (file, from, to, at, cure) in mistakes {
        files.edit(file, from, to);
        let place = format!("{file}:{}:", line_of(file, at));
        says(files, false, &[&place, cure, "in the configuration"], &[&place, cure]);
        files.edit(file, to, from);
    }
    files.edit("jiesu.toml", "calls_max = 2500", "calls_max = 2501");
    let fixed = "[node] changed: start again for that, or take the change back";
    says(files, false, &["table [node]: changed calls_max", "queue fuzhou/社保: changed wrap_up_s", fixed], &[fixed]);
    files.edit("jiesu.toml", "calls_max = 2501", "calls_max = 2500");
    assert_eq!(standing(&hotline), before);

    // The good change was taken by none of these, and is now, with a queue that renumbers the others.
    let text = std::fs::read_to_string(files.path().join(QUEUES)).unwrap();
    std::fs::write(files.path().join(QUEUES), format!("{FIRST}{text}")).unwrap();
    let told = ["queue fuzhou/夜间: added", "queue fuzhou/社保: changed wrap_up_s"];
    says(
        files,
        true,
        &[told[0], told[1], "a reload would take these"],
        &[told[0], told[1], "read again: these are taken"],
    );
    says(files, true, &["no differences"], &["read again: no differences"]);
    let queues = hotline.lead.read("/queues").body;
    assert!(queues.to_string().contains("夜间"), "{queues}");
    assert_eq!(standing(&hotline), before, "callers wait on, and the agent is at lunch still");

    // Who came first is served first.
    hotline.want("1001", "ready");
    for (contact, citizen) in citizens {
        assert_eq!(hotline.events.call("talking"), contact);
        citizen.succeeds();
        hotline.past(&contact);
    }
    agent.succeeds();
    hotline.nothing_is_left();
}

#[test]
fn without_a_node_of_these_files_it_is_said_how_to_reach_one() {
    let folder = Folder::new();
    for command in ["diff", "reload"] {
        let (status, text) = folder.run(&[command]);
        assert_eq!(status.code(), Some(1), "{text}");
        assert!(text.contains("no node of this user is reached at data/control: start one"), "{text}");
    }
    // Files of another folder that name this node's data are not taken for its own.
    let engine = folder.start();
    let other = Folder::new();
    let data = engine.folder.path().join("data");
    other.edit("jiesu.toml", "data_dir = \"data\"", &format!("data_dir = {:?}", data.display().to_string()));
    let (status, text) = other.run(&["reload"]);
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("nothing is changed: this node runs by"), "{text}");
}
