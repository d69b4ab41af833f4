//! The two hotlines of the simulation: their settings, in the versions between which a run reloads.

use super::dice::Dice;
use jiesu::acd::event::{AgentSettings, NoAgents, QueueSettings, Routing, Settings as AcdSettings, Strategy};
use jiesu::base::number::Number;
use jiesu::base::{AgentId, PromptId, QueueId, SiteId, SkillId};
use jiesu::call::Phrases;
use jiesu::call::event::{AgentIdentity, Comfort, QueueVoice, Settings as CallSettings, SiteSettings, Whom};
use jiesu::ivr::draft::Names;
use jiesu::ivr::{Draft, Entry, Numbers};
use jiesu::media::{Library, Prompt};
use jiesu::sdp::Codec;
use jiesu::sip::event::{Credential, DomainSettings, Limits, ListenerSettings, Settings as SipSettings, TrunkSettings};
use jiesu::trunk::event::{Limits as Channels, Profile, Settings as TrunkTable, Wording};
use jiesu::trunk::rules::NumberRules;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Where the engine listens.
pub const ENGINE: &str = "10.0.0.1:5060";
const DOMAINS: [&str; 2] = ["fuzhou.example", "quanzhou.example"];
const CODES: [&str; 2] = ["fuzhou", "quanzhou"];
const AREAS: [&str; 2] = ["591", "595"];
/// What citizens dial: a straight line and a menu at either site.
pub const DIALLED: [&str; 4] = ["059112345", "059112333", "059512345", "059512333"];

const GREETING: PromptId = PromptId(0);
const MUSIC: PromptId = PromptId(2);
const APOLOGY: PromptId = PromptId(3);

const DIRECT: &str = "start = \"people\"\nhuman = \"people\"\n[queue.people]\nqueue = \"general\"\n";
const MENU: &str = "start = \"menu\"\nhuman = \"people\"\n[menu.menu]\nprompts = [\"ask\"]\nretries = 1\n\
    first_digit_wait_ms = 3000\nchoices = { 1 = \"social\", 2 = \"case\", 9 = \"bye\" }\nrepeat = \"*\"\n\
    [collect.case]\nprompts = [\"ask\"]\ndigits_max = 4\nfirst_digit_wait_ms = 3000\ndigit_wait_ms = 2000\n\
    next = \"people\"\n[queue.social]\nqueue = \"social\"\npriority = 5\n[queue.people]\nqueue = \"general\"\n\
    [hang_up.bye]\nprompts = [\"bye\"]\n";

/// One generation of settings.
#[derive(Clone, Debug)]
pub struct Site {
    pub sip: Arc<SipSettings>,
    pub calls: Arc<CallSettings>,
    pub acd: Vec<Arc<AcdSettings>>,
}

/// Who works there.
#[derive(Clone, Debug)]
pub struct Person {
    pub agent: AgentId,
    pub site: SiteId,
    pub user: String,
    pub skills: Vec<(SkillId, u8)>,
    pub employed: bool,
}

impl Person {
    /// The phone's domain.
    pub fn domain(&self) -> &'static str {
        DOMAINS[self.site.index()]
    }
}

/// What does not change in a run.
#[derive(Debug)]
pub struct Plan {
    pub people: Vec<Person>,
    ring_max: Duration,
    /// How many phones the queue `general` rings at once; one: whoever has been idle longest.
    together: u8,
    wrap_up: Duration,
    wait_max: Option<Duration>,
    waiting_max: usize,
    no_agents: NoAgents,
    calls_max: usize,
}

impl Plan {
    /// Draws the people and the queues' rules; `serves_all` when no rule may turn anybody away.
    pub fn draw(dice: &mut Dice, (least, most): (u64, u64), serves_all: bool) -> Plan {
        let mut people = Vec::new();
        for site in 0..2u16 {
            for desk in 1..=least + dice.below(most - least + 1) {
                let mut skills = vec![(SkillId(0), 5)];
                if dice.permille(600) {
                    skills.push((SkillId(1), 1 + dice.below(9) as u8));
                }
                let (agent, user) = (AgentId(people.len() as u32), format!("{}{desk:03}", site + 1));
                people.push(Person { agent, site: SiteId(site), user, skills, employed: true });
            }
        }
        let plan = Plan {
            people,
            ring_max: dice.ms(8_000, 20_000),
            together: dice.pick(&[1, 1, 2, 4]),
            wrap_up: if dice.permille(500) { dice.ms(500, 10_000) } else { Duration::ZERO },
            wait_max: dice.permille(600).then(|| dice.ms(20_000, 200_000)),
            waiting_max: dice.pick(&[2, 10, 1_000]),
            no_agents: dice.pick(&[NoAgents::Wait, NoAgents::Wait, NoAgents::Release]),
            calls_max: dice.pick(&[least as usize, 5_000, 5_000]),
        };
        if !serves_all {
            return plan;
        }
        Plan { wait_max: None, waiting_max: 5_000, no_agents: NoAgents::Wait, calls_max: 5_000, ..plan }
    }

    /// Whose phone this is.
    pub fn person(&self, user: &str, domain: &str) -> Option<&Person> {
        self.people.iter().find(|it| it.user == *user && it.domain() == domain)
    }

    /// The settings with the queues in order or reversed.
    pub fn settings(&self, reversed: bool) -> Site {
        let mut queues = vec!["general", "social", "night"];
        if reversed {
            queues.reverse();
        }
        let calls = CallSettings {
            sites: (0..2).map(|site| site_settings(site, &queues)).collect(),
            agents: self.people.iter().map(|person| self.identity(person)).collect(),
            numbers: numbers(&queues),
            trunks: Arc::new(trunks()),
            phrases: Phrases::find(|_| Some(GREETING)).ok(),
            calls_max: self.calls_max,
            ..CallSettings::default()
        };
        let acd = (0..2).map(|site| Arc::new(self.acd(SiteId(site), &queues))).collect();
        Site { sip: Arc::new(self.sip()), calls: Arc::new(calls), acd }
    }

    fn identity(&self, person: &Person) -> Option<AgentIdentity> {
        let name: Box<str> = person.user.as_str().into();
        person.employed.then(|| AgentIdentity { site: person.site, phone: name.clone(), name, team: "".into() })
    }

    fn sip(&self) -> SipSettings {
        let employed = self.people.iter().filter(|person| person.employed);
        let credential = |it: &Person| Credential::new(&it.user, it.domain(), &format!("secret-{}", it.user));
        let domain = |name: &&str| DomainSettings { name: (*name).into(), aliases: vec!["10.0.0.1".into()] };
        SipSettings {
            listeners: vec![ListenerSettings::udp(ENGINE.parse().expect("an address"))],
            trunks: vec![TrunkSettings {
                name: "carrier".into(),
                sources: vec![("10.8.0.0".parse().expect("an address"), 13)],
                trusts_identity: true,
                ..TrunkSettings::default()
            }],
            domains: DOMAINS.iter().map(domain).collect(),
            credentials: Arc::new(employed.map(credential).collect()),
            expires_s: (30, 600),
            digests: Vec::new(),
            nonce_life: Duration::from_secs(90),
            limits: Limits::default(),
            ..SipSettings::default()
        }
    }

    fn acd(&self, site: SiteId, queues: &[&str]) -> AcdSettings {
        let queue = |name: &&str| QueueSettings {
            name: (*name).into(),
            skills: vec![(SkillId(u8::from(*name == "social")), 1)],
            priority: 10,
            ageing: Duration::from_secs(2),
            ring_max: self.ring_max,
            misses_max: 1 + (self.ring_max.as_secs() % 3) as u8,
            wrap_up: self.wrap_up,
            wait_max: self.wait_max,
            waiting_max: self.waiting_max,
            no_agents: self.no_agents,
            routing: match (self.together, *name) {
                (2.., "general") => {
                    Routing { strategy: Strategy::RingAll, ring_together: self.together, ..Routing::default() }
                }
                (_, "social") => Routing { preferred: Some(Duration::from_secs(10)), ..Routing::default() },
                _ => Routing::default(),
            },
        };
        let people = self.people.iter().filter(|person| person.employed && person.site == site);
        let agents = people.map(|it| AgentSettings { agent: it.agent, skills: it.skills.clone() }).collect();
        AcdSettings { site, queues: queues.iter().map(queue).collect(), agents, utc_offset_s: 0 }
    }
}

/// One carrier that only brings calls in; what it may bring is more than ever comes.
pub fn trunks() -> TrunkTable {
    let limits = Channels { channels: 50_000, reserve: 2, calls_per_s: 50_000 };
    let carrier = Profile {
        name: "carrier".into(),
        remote: None,
        login: None,
        register: None,
        priority: 1,
        weight: 1,
        inbound: limits,
        outbound: limits,
        inbound_rules: NumberRules::default(),
        outbound_rules: NumberRules::default(),
        watch: None,
        provisional_max: Duration::from_secs(2),
        provisional_max_emergency: Duration::from_secs(1),
        ring_max: Duration::from_secs(60),
        one_way_max: Duration::from_secs(600),
        codecs: vec![Codec::Pcma, Codec::Pcmu],
        next_on: Vec::new(),
        emergency: false,
        drill: false,
        full_status: 503,
        wording: Wording::default(),
    };
    TrunkTable { trunks: vec![carrier], seed: [1, 2] }
}

fn site_settings(site: usize, queues: &[&str]) -> SiteSettings {
    let voice = |name: &&str| QueueVoice {
        name: (*name).into(),
        announcement: (*name == "social").then_some(GREETING),
        music: MUSIC,
        apology: APOLOGY,
        auto_answer: false,
        preferred: (*name == "social").then_some(Whom::OrderOwner),
        after: None,
        hold_recall: Duration::from_secs(60),
        park_recall: Duration::from_secs(90),
        comfort: Some(Comfort {
            every: std::time::Duration::from_secs(20),
            prompts: vec![GREETING],
            place: true,
            wait: true,
        }),
        callback: None,
        elsewhere: Vec::new(),
        incidents: Vec::new(),
    };
    SiteSettings {
        code: CODES[site].into(),
        domain: DOMAINS[site].into(),
        area_code: AREAS[site].into(),
        queues: queues.iter().map(voice).collect(),
        pauses: Vec::new(),
        keys: None,
        seats: Default::default(),
    }
}

fn numbers(queues: &[&str]) -> Numbers {
    let mut numbers = Numbers::default();
    let prompt = |name: &str| Some(PromptId(if name == "ask" { 1 } else { 4 }));
    let queue = |name: &str| queues.iter().position(|it| *it == name).map(|at| QueueId(at as u16));
    for (at, dialled) in DIALLED.iter().enumerate() {
        let (site, text) = (at / 2, if at % 2 == 0 { DIRECT } else { MENU });
        let draft: Draft = toml::from_str(text).expect("the flow is TOML");
        let flow = draft.compile("flow", Names { prompt: &prompt, queue: &queue }).expect("the flow is good");
        let entry = Entry {
            number: Number::parse(dialled, AREAS[site]).expect("a number"),
            site: SiteId(site as u16),
            flow: Arc::new(flow),
            greeting: (at % 2 == 0).then_some(GREETING),
            notice: None,
            transitions: Vec::new(),
            category: "010203".into(),
            priority: 0,
        };
        numbers.insert(entry, AREAS[site]);
    }
    numbers
}

/// Short prompts, so that a call hears many.
pub fn library() -> Arc<Library> {
    let mut library = Library::new();
    for ms in [900usize, 1_200, 3_000, 700, 500] {
        library.add(Prompt::new(&vec![500i16; ms * 8]));
    }
    Arc::new(library)
}

/// Desks in a room.
const ROOM: u32 = 250;

/// Where an agent's phone stands.
pub fn desk(agent: AgentId) -> SocketAddr {
    SocketAddr::from(([10, 0, 1 + (agent.0 / ROOM) as u8, (agent.0 % ROOM) as u8 + 1], 5060))
}

/// Whose desk this is, by number; nothing for a citizen's line.
pub fn at_desk(at: SocketAddr) -> Option<usize> {
    let IpAddr::V4(ip) = at.ip() else { return None };
    let [_, floor, room, desk] = ip.octets();
    (floor == 0).then(|| (usize::from(room) - 1) * ROOM as usize + usize::from(desk) - 1)
}

/// Where the `serial`-th citizen's call comes from.
pub fn line(serial: u64) -> SocketAddr {
    SocketAddr::from(([10, 8 + (serial >> 16 & 7) as u8, (serial >> 8) as u8, serial as u8], 5060))
}
