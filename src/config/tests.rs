//! The shipped files load and mean what they say; each kind of mistake is told at its place with its cure.

use super::*;
use crate::acd::event::NoAgents;
use crate::base::Wall;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;
use tempfile::TempDir;

fn shipped() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A copy of the shipped files, to be spoilt. The prompts are a link unless `own_prompts`.
pub(super) fn copy(own_prompts: bool) -> TempDir {
    let dir = TempDir::new().unwrap();
    for folder in ["", "sip-profiles", "sip-profiles/listeners", "sip-profiles/trunks", "ivr-flows"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
        for (path, _) in source::files(&shipped().join(folder), "toml").unwrap() {
            let name = path.file_name().unwrap();
            if folder.is_empty() && name != "jiesu.toml" {
                continue;
            }
            fs::copy(&path, dir.path().join(folder).join(name)).unwrap();
        }
    }
    let (from, to) = (shipped().join("ivr-flows/prompts"), dir.path().join("ivr-flows/prompts"));
    if own_prompts {
        fs::create_dir(&to).unwrap();
        for (path, _) in source::files(&from, "wav").unwrap() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    } else {
        std::os::unix::fs::symlink(from, to).unwrap();
    }
    dir
}

fn edit(dir: &TempDir, file: &str, from: &str, to: &str) -> String {
    let path = dir.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} holds {from:?}");
    let text = text.replacen(from, to, 1);
    fs::write(path, &text).unwrap();
    text
}

/// All problems, with paths as the user would see them from the configuration's folder.
pub(super) fn problems(dir: &TempDir) -> Vec<String> {
    let errors = Config::load(&dir.path().join("jiesu.toml")).expect_err("a spoilt configuration");
    let root = format!("{}/", dir.path().display());
    errors.0.iter().map(|problem| problem.to_string().replace(&root, "")).collect()
}

#[test]
fn the_shipped_configuration_loads_and_means_what_it_says() {
    let config = Config::load(&shipped().join("jiesu.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.site_id("fuzhou"), config.site_id("quanzhou")), (Some(SiteId(0)), Some(SiteId(1))));
    assert_eq!((config.node.name.as_ref(), config.node.rtp_ports.clone()), ("node-1", 10_000..=29_999));
    assert!(config.node.shards >= 1 && config.node.media_threads >= 1);
    assert_eq!(config.node.recordings, [shipped().join("data/recordings")]);
    assert_eq!(config.journal.dir, shipped().join("data/journal"));
    assert_eq!(config.database, shipped().join("data/jiesu.db"));

    let sip = config.sip();
    let listeners: Vec<_> = sip.listeners.iter().map(|it| format!("{:?} {}", it.transport, it.advertised)).collect();
    let ports =
        ["Tcp 127.0.0.1:5060", "Tls 127.0.0.1:5061", "Udp 127.0.0.1:5060", "Ws 127.0.0.1:5066", "Wss 127.0.0.1:7443"];
    assert_eq!(listeners, ports);
    let sources = [("127.0.0.0".parse::<IpAddr>().unwrap(), 8), ("::1".parse().unwrap(), 128)];
    assert_eq!((&*sip.trunks[0].name, &*sip.trunks[0].sources), ("carrier", &sources[..]));
    assert_eq!(*sip.domains[0].name, *"fuzhou.12345.example");
    assert_eq!(sip.domains[0].aliases, ["127.0.0.1".into(), "localhost".into()]);
    assert_eq!((sip.expires_s, sip.nonce_life), ((60, 3_600), Duration::from_secs(300)));
}

#[test]
fn queues_and_skills_become_the_acds_settings() {
    let config = Config::load(&shipped().join("jiesu.toml")).unwrap();
    let fuzhou = config.acd(SiteId(0));
    assert_eq!(fuzhou.site, SiteId(0));
    let [general, social] = &fuzhou.queues[..] else { panic!("two queues") };
    assert_eq!((&*general.name, &*social.name), ("综合", "社保"));
    let skill = |name| config.skill_id(SiteId(0), name).unwrap();
    assert_eq!((skill("general"), skill("social")), (SkillId(0), SkillId(1)));
    assert_eq!(config.skill_id(SiteId(0), "x"), None);
    assert_eq!((&social.skills[..], social.priority), (&[(skill("social"), 3)][..], 5));
    assert_eq!((general.ageing, general.ring_max), (Duration::from_secs(10), Duration::from_secs(15)));
    assert_eq!((general.wrap_up, general.wait_max), (Duration::from_secs(60), Some(Duration::from_secs(600))));
    assert_eq!((general.waiting_max, general.no_agents), (1_000, NoAgents::Wait));
    assert_eq!(config.queue_id(SiteId(1), "人社"), Some(QueueId(1)));
    assert_eq!(config.queue_id(SiteId(1), "社保"), None);
}

#[test]
fn numbers_and_voices_become_the_calls_settings() {
    let config = Config::load(&shipped().join("jiesu.toml")).unwrap();
    let calls = config.calls();
    assert_eq!(calls.calls_max, config.node.calls_max.div_ceil(config.node.shards));
    assert_eq!((&*calls.sites[1].code, &*calls.sites[1].area_code), ("quanzhou", "595"));
    let prompt = |name| config.prompt_id(name).unwrap();
    let voice = &calls.sites[0].queues[0];
    assert_eq!((voice.announcement, voice.music), (Some(prompt("queue-announcement")), prompt("music-on-hold")));
    assert_eq!(voice.apology, prompt("apology"));

    let site = |dialled| calls.numbers.lookup(dialled).map(|entry| (entry.site.0, entry.flow.name().to_owned()));
    assert_eq!(site("12345"), Some((0, "direct".into())));
    assert_eq!(site("059112345"), Some((0, "direct".into())));
    assert_eq!(site("87654321"), Some((0, "menu-example".into())));
    assert_eq!(site("+8659512345"), Some((1, "direct".into())));
    assert_eq!(site("10086"), None);

    let merged = calls.numbers.lookup("12333").unwrap();
    assert_eq!((&*merged.category, merged.flow.human()), ("030200", Some((QueueId(1), 0))));
    let plain = [prompt("quanzhou-greeting"), prompt("recording-notice")];
    let first = [&[prompt("12333-merged")], &plain[..]].concat();
    // Midnight in Shanghai is 16:00 UTC of the day before.
    let [from, until] = [1_782_835_200_000, 1_798_646_400_000];
    assert_eq!(merged.opening(Wall(from - 1)), plain);
    assert_eq!(merged.opening(Wall(from)), first);
    assert_eq!(merged.opening(Wall(until - 1)), first);
    assert_eq!(merged.opening(Wall(until)), plain);
}

#[test]
fn the_shipped_prompts_are_loud_enough_music_is_soft_and_long_enough() {
    let config = Config::load(&shipped().join("jiesu.toml")).unwrap();
    let sounds = config.load_prompts().unwrap();
    assert_eq!(sounds.len(), config.prompts().len());
    let peak = |samples: &[i16]| samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
    for (id, path) in config.prompts() {
        let samples = &sounds[id.index()];
        if path.ends_with("music-on-hold.wav") {
            assert!(samples.len() >= 20 * 8_000, "a loop of at least 20 s");
            assert!((2_900..=3_400).contains(&peak(samples)), "-20 dB: {}", peak(samples));
            assert!(
                peak(&samples[..8]) < 300 && peak(&samples[samples.len() - 8..]) < 300,
                "the loop's seam is silent"
            );
        } else {
            assert!(peak(samples) > 20_000, "{}: -3 dB", path.display());
            assert!(path.with_extension("txt").exists(), "{}: its text stands beside it", path.display());
        }
    }
}

const MAIN: &str = "jiesu.toml";
const UDP: &str = "sip-profiles/listeners/udp.toml";
const CARRIER: &str = "sip-profiles/trunks/carrier.toml";
const QUEUES: &str = "sip-profiles/queues.toml";
const NUMBERS: &str = "ivr-flows/numbers.toml";
const MENU: &str = "ivr-flows/menu-example.toml";

/// File, what is replaced by what, the place that must be named, and a part of the message and of the cure.
type Mistake = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const MISTAKES: &[Mistake] = &[
    (MAIN, "data_dir =", "data_dri =", "data_dri", "unknown key `data_dri`", "did you mean \"data_dir\"?"),
    (MAIN, "[journal]", "[jurnal]", "jurnal", "unknown key `jurnal`", "did you mean \"journal\"?"),
    (MAIN, "name = \"node-1\"", "", "[node]", "key `name` is missing", "add name = …"),
    (MAIN, "name = \"node-1\"", "name = 1", "1 ", "invalid type: integer `1`", "write a string"),
    (MAIN, "\"node-1\"", "\"Node 1\"", "\"Node 1\"", "\"Node 1\" cannot name a node", "lower-case letters"),
    (MAIN, "shards = 0", "shards = 900", "900", "900 is out of bounds", "from 0 to 64"),
    (MAIN, "\"10000-29999\"", "\"29999-10000\"", "\"29999-10000\"", "is no range of media ports", "FIRST-LAST"),
    (MAIN, "calls_max = 2500", "calls_max = 20000", "20000", "rtp_ports has room for 10000 legs", "widen rtp_ports"),
    (MAIN, "# rtp_address = \"203.0.113.5\"", "rtp_address = \"0.0.0.0\"", "\"0.0.0.0\"", "nobody can send to 0.0.0.0", "reach this machine"),
    (MAIN, "log = \"info\"", "log = \"=loud=\"", "\"=loud=\"", "is no log filter", "error, warn, info"),
    (MAIN, "\"127.0.0.1:8080\"", "\"localhost\"", "\"localhost\"", "\"localhost\" is no address", "write address and port"),
    (MAIN, "\"127.0.0.1:8080\"", "\"0.0.0.0:8080\"", "\"demo-admin-token\"", "a token in clear while the API listens to the network", "token_sha256"),
    (MAIN, "role = \"admin\"", "role = \"admn\"", "\"admn\"", "unknown role \"admn\"", "did you mean \"admin\"?"),
    (MAIN, "token = \"demo-admin-token\"", "token_sha256 = \"12ab\"", "\"12ab\"", "not a SHA-256", "sha256sum"),
    (MAIN, "token = \"demo-admin-token\"", "token_file = \"nowhere\"", "\"nowhere\"", "token file \"nowhere\" cannot be read", "first line"),
    (MAIN, "token = \"demo-admin-token\"", "", "[[api.token]]", "one secret is needed", "exactly one of"),
    (MAIN, "\"demo-fuzhou-lead-token\"", "\"demo-admin-token\"", "[[api.token]]\nactor = \"fuzhou", "this token is given twice", "of its own"),
    (MAIN, "site = \"fuzhou\"", "site = \"fuzhuo\"", "\"fuzhuo\"", "unknown site \"fuzhuo\"", "did you mean \"fuzhou\"?"),
    (MAIN, "sqlite:data", "mysql:data", "\"mysql:data", "unknown kind of database", "sqlite:PATH"),
    (MAIN, "expires_s_max = 3600", "expires_s_max = 30", "30 ", "30 is out of bounds", "from 60 to"),
    (MAIN, "code = \"quanzhou\"", "code = \"fuzhou\"", "\"fuzhou\"\nname = \"泉州", "site \"fuzhou\" exists already", "its own code"),
    (MAIN, "\"quanzhou.12345.example\"", "\"LocalHost\"", "\"LocalHost\"", "belongs to site \"fuzhou\" already", "decides its site"),
    (MAIN, "area_code = \"595\"", "area_code = \"0595\"", "\"0595\"", "\"0595\" is no area code", "without the leading 0"),
    (MAIN, "time_zone = \"Asia/Shanghai\"\nskills", "time_zone = \"Asia/Shangai\"\nskills", "\"Asia/Shangai\"", "unknown time zone", "did you mean \"Asia/Shanghai\"?"),
    (MAIN, "\"social\"]", "\"general\"]", "\"general\"]", "skill \"general\" is named twice", "once"),
    (MAIN, "[node]", "[node", "\n", "unclosed table", "toml.io"),
    (UDP, "\"udp\"", "\"upd\"", "\"upd\"", "unknown value `upd`", "did you mean \"udp\"?"),
    (UDP, "\"0.0.0.0:5060\"", "\"0.0.0.0\"", "\"0.0.0.0\"", "\"0.0.0.0\" is no address", "192.0.2.1:5060"),
    (UDP, "advertised =", "# ", "\"0.0.0.0:5060\"", "nobody can answer to 0.0.0.0:5060", "add advertised"),
    (UDP, "\"127.0.0.1:5060\"", "\"[::1]:5060\"", "\"[::1]:5060\"", "different address families", "one for IPv6"),
    (CARRIER, "127.0.0.0/8", "127.0.0.1/8", "\"127.0.0.1/8\"", "is an address within a network", "127.0.0.0/8 for the whole network"),
    (CARRIER, "\"::1\"", "\"carrier.example\"", "\"carrier.example\"", "\"carrier.example\" is no network", "192.0.2.0/24"),
    (CARRIER, "[\"127.0.0.0/8\", \"::1\"]", "[]", "[]", "a trunk without sources", "networks"),
    (MAIN, "expires_s = 1800", "expires_s = 60", "60", "60 is out of bounds", "from 90 to 86400"),
    (MAIN, "min_se_s = 90 ", "min_se_s = 30 ", "30 ", "30 is out of bounds", "from 90"),
    (CARRIER, "provisionals = \"required\"", "provisionals = \"always\"", "\"always\"", "unknown value `always`", "required"),
    (QUEUES, "site = \"quanzhou\"", "site = \"xiamen\"", "\"xiamen\"", "unknown site \"xiamen\"", "use one of fuzhou, quanzhou"),
    (QUEUES, "{ social = 3 }", "{ socail = 3 }", "socail", "unknown skill \"socail\" at site \"fuzhou\"", "did you mean \"social\"?"),
    (QUEUES, "{ social = 3 }", "{ social = 10 }", "10 }", "10 is out of bounds", "from 1 to 9"),
    (QUEUES, "name = \"社保\"", "name = \"综合\"", "\"综合\"\nskills = { social", "queue \"综合\" of site \"fuzhou\" exists already", "its own name"),
    (QUEUES, "\"wait\"\nannouncement", "\"stay\"\nannouncement", "\"stay\"", "unknown value `stay`", "use one of wait, release"),
    (QUEUES, "music = \"music-on-hold\"", "music = \"music-on-hol\"", "\"music-on-hol\"", "unknown prompt \"music-on-hol\"", "did you mean \"music-on-hold\"?"),
    (QUEUES, "priority = 0\n", "priority = -1\n", "-1", "invalid value: integer `-1`", "write u64"),
    (NUMBERS, "number = \"12345\"", "number = \"12E45\"", "\"12E45\"", "\"12E45\" is no telephone number: contains 'E'", "as people dial it"),
    (NUMBERS, "number = \"0591-12345\"", "number = \"+86 12345\"", "\"+86 12345\"", "is given already", "remove one"),
    (NUMBERS, "number = \"12345\"", "number = \"120\"", "\"120\"", "120 is an emergency number", "never queued"),
    (NUMBERS, "flow = \"direct\"", "flow = \"dirct\"", "\"dirct\"", "unknown flow \"dirct\"", "did you mean \"direct\"?"),
    (NUMBERS, "greeting = \"fuzhou-greeting\"", "greeting = \"xiamen\"", "\"xiamen\"", "unknown prompt \"xiamen\"", "put xiamen.wav into"),
    (NUMBERS, "\"030200\"", "\"32\"", "\"32\"", "\"32\" is no category", "six digits"),
    (NUMBERS, "until = 2026-12-31", "until = 2026-07-01", "2026-07-01 }", "the transition ends before it begins", "first day without"),
    (NUMBERS, "from = 2026-07-01", "from = 2026-07-01T08:00:00", "2026-07-01T", "2026-07-01T08:00:00 is no day", "a date alone"),
    (MENU, "2 = \"progress\" }", "2 = \"progres\" }", "\"progres\"", "unknown node \"progres\"", "did you mean \"progress\"?"),
    (MENU, "next = \"asked-for-progress\"", "next = \"menu\"", "menu]", "runs in a circle through \"menu\"", "repeat"),
    (MENU, "queue = \"社保\"", "queue = \"社会\"", "\"社会\"", "unknown queue \"社会\" at site \"fuzhou\"", "did you mean \"社保\"?"),
    (MENU, "[\"progress-ask\"]", "[\"progress-asks\"]", "\"progress-asks\"", "unknown prompt \"progress-asks\"", "did you mean \"progress-ask\"?"),
    (MENU, "human = \"people\"", "human = \"menu\"", "\"menu\"", "must name a queue node", "[queue.…]"),
    (MENU, "[queue.social]", "[qeue.social]", "qeue", "unknown key `qeue`", "did you mean \"queue\"?"),
];

#[test]
fn each_mistake_is_told_at_its_place_with_its_cure() {
    for (file, from, to, place, message, cure) in MISTAKES {
        let dir = copy(false);
        let text = edit(&dir, file, from, to);
        let edited = text.find(to).unwrap();
        let after = text[edited..].find(place).map(|place| edited + place);
        let at = after.or_else(|| text.find(place)).unwrap_or_else(|| panic!("{to}: {place:?}"));
        let line = text[..at].matches('\n').count() + 1;
        let column = text[text[..at].rfind('\n').map_or(0, |newline| newline + 1)..at].chars().count() + 1;
        let start = format!("{file}:{line}:{column}: ");
        let told = problems(&dir);
        let matches = |problem: &String| {
            let (head, advice) = problem.split_once("\n    cure: ").unwrap();
            head.starts_with(&start) && head.contains(message) && advice.contains(cure)
        };
        assert!(told.iter().any(matches), "{to:?}: {start}{message} / {cure}\n{}", told.join("\n"));
    }
}

/// Writes a second file, looks, and expects one problem.
fn beside(name: &str, text: &str, expected: &str, cure: &str) {
    let dir = copy(false);
    fs::write(dir.path().join(name), text).unwrap();
    let told = problems(&dir);
    assert!(told.len() == 1 && told[0].starts_with(expected) && told[0].contains(cure), "{expected}: {told:#?}");
}

#[test]
fn mistakes_between_files_are_told() {
    beside(
        "sip-profiles/trunks/gateway.toml",
        "sources = [\"192.0.2.1\",\n \"127.0.0.1\"]",
        "sip-profiles/trunks/gateway.toml:2:2: 127.0.0.1/32 overlaps 127.0.0.0/8 of trunk \"carrier\"",
        "give each address to one trunk",
    );
    beside(
        "sip-profiles/listeners/vpn.toml",
        "transport = \"udp\"\nlisten = \"192.0.2.1:5060\"",
        "sip-profiles/listeners/vpn.toml:2:10: 192.0.2.1:5060 is taken by listener \"udp\"",
        "another address or port",
    );
    let listeners = [
        ("\"tls\"", "", "2:10: one certificate is needed", "self_signed = true for a trial"),
        ("\"tls\"", "certificate = \"a.pem\"", "3:15: one certificate is needed", "key = \"FILE.pem\""),
        (
            "\"tls\"",
            "certificate = \"a.pem\"\nkey = \"b.pem\"",
            "3:15: a.pem cannot be read",
            "PEM files that this user may read",
        ),
        (
            "\"tls\"",
            "self_signed = true\nclient_certificates = \"required\"",
            "4:23: nobody says whose certificates are good",
            "authorities = \"CA.pem\"",
        ),
        ("\"wss\"", "self_signed = true", "2:10: no page may connect", "origins = [\"https://console.example\"]"),
        ("\"ws\"", "origins = [\"https://a.b/c\"]", "3:12: \"https://a.b/c\" is no origin", "no path"),
        ("\"tcp\"", "self_signed = true", "3:15: `self_signed` means nothing with transport = \"tcp\"", "remove it"),
        ("\"tcp\"", "large = \"udp\"", "3:9: `large` means nothing", "another transport"),
        ("\"udp\"", "handshakes_max = 9", "3:18: `handshakes_max` means nothing", "another transport"),
        ("\"tcp\"", "handshakes_max = 0", "3:18: 0 is out of bounds", "from 1 to 65536"),
        ("\"sctp\"", "", "1:13: unknown value `sctp`", "use one of udp, tcp, tls, ws, wss"),
    ];
    for (transport, more, expected, cure) in listeners {
        let text = format!("transport = {transport}\nlisten = \"192.0.2.1:5099\"\n{more}");
        beside("sip-profiles/listeners/x.toml", &text, &format!("sip-profiles/listeners/x.toml:{expected}"), cure);
    }
    beside(
        "ivr-flows/unused.toml",
        "start = \"a\"\nhuman = \"a\"\n[queue.a]\nqueue = \"any\"\n[hang_up.b]",
        "ivr-flows/unused.toml:5:10: node \"b\" is never reached",
        "remove it",
    );
    let dir = copy(false);
    edit(
        &dir,
        NUMBERS,
        "site = \"quanzhou\"\nflow = \"social-security\"",
        "site = \"fuzhou\"\nflow = \"social-security\"",
    );
    let told = problems(&dir);
    let expected = "ivr-flows/social-security.toml:7:9: unknown queue \"人社\" at site \"fuzhou\"";
    assert!(told.len() == 1 && told[0].starts_with(expected), "{told:#?}");
}

#[test]
fn missing_files_are_told() {
    let cases = [
        ("jiesu.toml", "jiesu.toml: cannot be read: ", "name the file with --config PATH"),
        ("sip-profiles/queues.toml", "sip-profiles/queues.toml: cannot be read: ", "at least one [[queue]]"),
        ("ivr-flows/numbers.toml", "ivr-flows/numbers.toml: cannot be read: ", "which number belongs to which site"),
        (
            "ivr-flows/direct.toml",
            "ivr-flows/numbers.toml:16:8: unknown flow \"direct\"",
            "use one of menu-example, satisfaction, social-security",
        ),
        ("ivr-flows/prompts", "ivr-flows/prompts: cannot be read: ", "make prompts"),
    ];
    for (file, message, cure) in cases {
        let dir = copy(false);
        fs::remove_file(dir.path().join(file)).unwrap();
        let told = problems(&dir);
        assert!(told.iter().any(|problem| problem.starts_with(message) && problem.contains(cure)), "{file}: {told:#?}");
    }
    let dir = copy(false);
    fs::remove_dir_all(dir.path().join("sip-profiles/listeners")).unwrap();
    let told = problems(&dir);
    assert!(told[0].starts_with("sip-profiles/listeners: no listener"), "{told:#?}");
    assert!(told[0].contains("write a file such as udp.toml"), "{told:#?}");
    let dir = copy(false);
    fs::remove_dir_all(dir.path().join("sip-profiles/trunks")).unwrap();
    assert!(Config::load(&dir.path().join(MAIN)).is_ok(), "a node without trunks serves its phones");
}

#[test]
fn prompts_must_be_sound() {
    let spoil = |name: &str, bytes: &[u8]| {
        let dir = copy(true);
        fs::write(dir.path().join("ivr-flows/prompts").join(name), bytes).unwrap();
        problems(&dir)
    };
    let wav = |spec: hound::WavSpec, samples: usize| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        (0..samples).for_each(|_| writer.write_sample(0i16).unwrap());
        writer.finalize().unwrap();
        bytes.into_inner()
    };
    let good = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let [slow, round] =
        [(1, 4_000), (6, 48_000)].map(|(channels, sample_rate)| hound::WavSpec { channels, sample_rate, ..good });
    let convert = "sox apology.wav -r 8000 -c 1 -b 16 -e signed-integer new.wav";
    let cases = [
        (wav(slow, 4_000), "has 4000 Hz: from 8000 to 192000 can be played", convert),
        (wav(round, 48_000), "has 6 channels: only mono and stereo can be played", convert),
        (b"ID3".to_vec(), "is no WAV that can be played", convert),
        (wav(good, 0), "holds no sound", "record it again"),
        (wav(good, 121 * 8_000), "is longer than 120 s", "only a queue's music may be longer"),
    ];
    for (bytes, message, cure) in cases {
        let told = spoil("apology.wav", &bytes);
        assert!(told.len() == 1 && told[0].starts_with("ivr-flows/prompts/apology.wav: "), "{message}: {told:#?}");
        assert!(told[0].contains(message) && told[0].contains(cure), "{message}: {told:#?}");
    }
    let dir = copy(true);
    fs::write(dir.path().join("ivr-flows/prompts/music-on-hold.wav"), wav(good, 121 * 8_000)).unwrap();
    assert!(Config::load(&dir.path().join(MAIN)).is_ok(), "music may be long");
    let wide = hound::WavSpec { channels: 2, sample_rate: 44_100, ..good };
    fs::write(dir.path().join("ivr-flows/prompts/apology.wav"), wav(wide, 2 * 44_100)).unwrap();
    let config = Config::load(&dir.path().join(MAIN)).unwrap();
    let (id, _) = config.prompts().into_iter().find(|(_, path)| path.ends_with("apology.wav")).unwrap();
    assert_eq!(config.load_prompts().unwrap()[id.index()].len(), 8_000, "any rate is brought to ours");
}

#[test]
fn a_text_without_its_sound_is_told_to_be_made() {
    let dir = copy(true);
    fs::remove_file(dir.path().join("ivr-flows/prompts/menu.wav")).unwrap();
    fs::write(dir.path().join("ivr-flows/prompts/menu.txt"), "咨询").unwrap();
    let told = problems(&dir);
    assert!(
        told.len() == 1 && told[0].contains("unknown prompt \"menu\"") && told[0].contains("run `make prompts`"),
        "{told:#?}"
    );
}

#[test]
fn all_mistakes_of_all_files_are_told_at_once_in_order() {
    let dir = copy(false);
    edit(&dir, MAIN, "shards = 0", "shard = 0");
    edit(&dir, MAIN, "area_code = \"595\"", "area_code = \"0595\"");
    edit(&dir, UDP, "\"udp\"", "\"upd\"");
    edit(&dir, CARRIER, "trusts_identity = true", "trusts_identity = 1");
    edit(&dir, QUEUES, "waiting_max = 1000", "waiting_max = 0");
    edit(&dir, QUEUES, "{ social = 3 }", "{ socail = 3 }");
    edit(&dir, MENU, "2 = \"progress\" }", "2 = \"progres\" }");
    edit(&dir, NUMBERS, "\"030200\"", "\"32\"");
    let told: Vec<String> = problems(&dir).iter().map(|p| p.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(told, [MENU, NUMBERS, MAIN, MAIN, UDP, QUEUES, QUEUES, CARRIER].map(String::from));
}

#[test]
fn a_mistake_does_not_breed_others() {
    let cases = [
        // The site is lost with its missing key: what names it is not to blame.
        (MAIN, "code = \"quanzhou\"", ""),
        (MAIN, "[node]", "[node"),
        (QUEUES, "site = \"quanzhou\"\nname = \"人社\"", "site = \"quanzhou\""),
        (QUEUES, "[[queue]]", "[[queue]"),
        ("ivr-flows/direct.toml", "human = ", "humn = "),
    ];
    for (file, from, to) in cases {
        let dir = copy(false);
        edit(&dir, file, from, to);
        let told = problems(&dir);
        assert!(told.len() == 1 && told[0].starts_with(file), "{to}: {told:#?}");
    }
}

#[test]
fn tokens_are_kept_as_hashes_only() {
    let dir = copy(false);
    fs::write(dir.path().join("token"), "demo-fuzhou-lead-token\n").unwrap();
    edit(&dir, MAIN, "token = \"demo-fuzhou-lead-token\"", "token_file = \"token\"");
    let by_file = Config::load(&dir.path().join(MAIN)).unwrap();
    let in_clear = Config::load(&shipped().join(MAIN)).unwrap();
    assert_eq!(by_file.api.tokens, in_clear.api.tokens);
    let site_of = |actor: &str| by_file.api.tokens.iter().find(|token| &*token.actor == actor).map(|token| token.site);
    assert_eq!((site_of("demo-admin"), site_of("fuzhou-lead")), (Some(None), Some(Some(SiteId(0)))));
    assert!(!format!("{in_clear:?}").contains("lead-token"));
}
