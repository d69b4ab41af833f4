//! Segments of a random history: what comes back is what went in, and what is missing is said.

use super::replay::{Asked, Break, BreakKind, ExplainError, Explanation, explain};
use super::*;
use crate::acd::event::{AgentSettings, Enqueue, NoAgents, QueueSettings, Settings, Want};
use crate::acd::explain::{Names, Outcome};
use crate::base::{AgentId, CallId, ContactId, Mono, QueueId, ShardId};
use std::sync::Arc;
use tempfile::TempDir;

const BEGIN_MS: i64 = 1_700_000_000_000;
const RING: Duration = Duration::from_secs(15);

/// A site with one queue and two agents whose inputs are written as the node writes them.
struct Site {
    folder: TempDir,
    acd: Acd,
    now: Now,
    segment: Option<Segment>,
    number: u64,
}

fn contact(slot: u32) -> ContactId {
    ContactId(u128::try_from(BEGIN_MS).unwrap() << 80 | u128::from(slot))
}

impl Site {
    fn new() -> Site {
        let queue = QueueSettings {
            name: "general".into(),
            skills: Vec::new(),
            priority: 0,
            ageing: Duration::from_secs(10),
            ring_max: RING,
            misses_max: 1,
            wrap_up: Duration::ZERO,
            wait_max: None,
            waiting_max: 10,
            no_agents: NoAgents::Wait,
            routing: Default::default(),
        };
        let agents = (1..=2).map(|id| AgentSettings { agent: AgentId(id), skills: Vec::new() }).collect();
        let settings = Settings { queues: vec![queue], agents, ..Settings::default() };
        let now = Now { mono: Mono::from_ms(50_000), wall: Wall(BEGIN_MS) };
        let folder = tempfile::tempdir().unwrap();
        let mut site = Site { folder, acd: Acd::new(Arc::new(settings), 1), now, segment: None, number: 0 };
        site.begin(Began::Start);
        site
    }

    fn begin(&mut self, began: Began) {
        let agents = vec![(AgentId(1), "1001".into()), (AgentId(2), "1002".into())];
        let head =
            Head { began, at: self.now.wall, names: Names { agents, skills: Vec::new() }, acd: self.acd.clone() };
        drop(self.segment.take());
        let segment = Segment::begin(self.folder.path(), 0, &head).unwrap();
        self.number = segment.number();
        self.segment = Some(segment);
    }

    fn behind(&mut self) {
        self.begin(Began::Behind(self.number));
    }

    fn tell(&mut self, event: Option<Event>) {
        let mut out = Vec::new();
        self.now = self.now.after(Duration::from_millis(10));
        match event.clone() {
            Some(event) => self.acd.handle(self.now, event, &mut out),
            None => self.acd.expire(self.now, &mut out),
        }
        let segment = self.segment.as_mut().unwrap();
        segment.step(self.now, event, &out).unwrap();
        segment.flush().unwrap();
    }

    fn ready(&mut self, agent: u32) {
        let agent = AgentId(agent);
        self.tell(Some(Event::Phone { agent, up: true }));
        self.tell(Some(Event::Want { agent, state: Want::Ready, by: None }));
    }

    fn caller(&mut self, slot: u32) {
        let call = CallId { shard: ShardId(0), slot, generation: 1 };
        let (contact, queue, since) = (contact(slot), QueueId(0), self.now.mono);
        self.tell(Some(Event::Enqueue(Enqueue {
            call,
            contact,
            queue,
            priority: 0,
            since,
            preferred: None,
            patience: Default::default(),
        })));
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.tell(None);
    }

    fn asked(&self, slot: u32) -> Asked {
        Asked { contact: contact(slot), from: Wall(BEGIN_MS), until: self.now.wall }
    }

    fn why(&self, slot: u32) -> Result<Explanation, ExplainError> {
        explain(self.folder.path(), "fz", self.asked(slot))
    }

    fn segments(&self) -> Vec<Listed> {
        list(self.folder.path()).unwrap()
    }
}

fn told(explanation: &Explanation) -> Vec<String> {
    let outcome = |outcome: &Outcome| match outcome {
        Outcome::Offered { agent, .. } => format!("offered {agent}"),
        Outcome::Waits { .. } => "waits".into(),
        Outcome::Revoked { agent } => format!("revoked {agent}"),
        other => format!("{other:?}"),
    };
    explanation.decisions.iter().map(|decision| outcome(&decision.outcome)).collect()
}

#[test]
fn a_contact_is_followed_across_segments_to_its_end() {
    let mut site = Site::new();
    site.ready(1);
    site.behind();
    site.caller(7);
    site.behind();
    site.pass(RING);
    site.ready(2);
    let explanation = site.why(7).unwrap();
    assert_eq!(told(&explanation), ["offered 1001", "revoked 1001", "waits", "offered 1002"]);
    assert_eq!((explanation.breaks.len(), explanation.differs_from, explanation.cut), (0, None, false));
    assert_eq!((&*explanation.site, explanation.contact), ("fz", contact(7).to_string()));
    let until = Asked { until: Wall(site.now.wall.0 - 10_000), ..site.asked(7) };
    assert_eq!(told(&explain(site.folder.path(), "fz", until).unwrap()).len(), 1, "no further than was asked for");
}

#[test]
fn another_start_and_a_mended_fault_are_told_where_they_were() {
    let mut site = Site::new();
    site.ready(1);
    site.caller(7);
    let died = site.segments()[0].clone();
    // The process died in the middle of a write.
    std::fs::OpenOptions::new().append(true).open(&died.path).unwrap().write_all(&[9, 0, 0, 0, 1]).unwrap();
    site.now = site.now.after(Duration::from_secs(1));
    site.begin(Began::Start);
    let started = site.now.wall.0;
    site.pass(RING);
    site.now = site.now.after(Duration::from_secs(1));
    site.begin(Began::Fault);
    let explanation = site.why(7).unwrap();
    assert_eq!(told(&explanation), ["offered 1001", "revoked 1001", "waits"]);
    let breaks = [(started, BreakKind::Started), (site.now.wall.0, BreakKind::Mended)];
    assert_eq!(explanation.breaks, breaks.map(|(at, why)| Break { at, why }));
}

#[test]
fn a_file_cut_off_anywhere_tells_what_it_holds_or_says_that_it_holds_nothing() {
    let mut site = Site::new();
    site.ready(1);
    site.caller(7);
    let only = site.segments()[0].clone();
    let whole = std::fs::read(&only.path).unwrap();
    let mut lengths = std::collections::BTreeSet::new();
    for length in (0..whole.len()).rev() {
        std::fs::write(&only.path, &whole[..length]).unwrap();
        match site.why(7) {
            Ok(explanation) => _ = lengths.insert(told(&explanation).len()),
            Err(ExplainError::NotKept) => _ = lengths.insert(99),
            Err(other) => panic!("{length}: {other}"),
        }
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [0, 99]);
    // Inside the order of segments a missing end is a loss.
    std::fs::write(&only.path, &whole[..whole.len() - 3]).unwrap();
    site.behind();
    let error = site.why(7).unwrap_err().to_string();
    assert_eq!(error, format!("{:013}.seg: its end is missing", only.number));
}

#[test]
fn a_changed_byte_is_found() {
    let mut site = Site::new();
    site.ready(1);
    site.caller(7);
    let only = site.segments()[0].clone();
    let whole = std::fs::read(&only.path).unwrap();
    for at in [0, 30, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        std::fs::write(&only.path, &bytes).unwrap();
        let error = site.why(7).unwrap_err();
        assert!(matches!(&error, ExplainError::Unreadable { error: ReadError::Damaged(_), .. }), "{at}: {error}");
    }
}

#[test]
fn another_form_is_named_with_its_release() {
    let site = Site::new();
    let mut bytes = MAGIC.to_vec();
    let title = postcard::to_stdvec(&Title { version: VERSION + 1, release: "9.9".into() }).unwrap();
    bytes.extend(u32::try_from(title.len()).unwrap().to_le_bytes());
    bytes.extend(crc32fast::hash(&title).to_le_bytes());
    bytes.extend(title);
    std::fs::write(&site.segments()[0].path, bytes).unwrap();
    let error = site.why(7).unwrap_err().to_string();
    let wanted = "it was written by release 9.9 in form 3; this release reads form 2";
    assert_eq!(error, format!("{:013}.seg: {wanted}", site.number));
}

#[test]
fn what_is_gone_is_said_to_be() {
    let mut site = Site::new();
    site.ready(1);
    site.caller(7);
    site.behind();
    let second = site.number;
    site.pass(Duration::from_secs(1));
    site.behind();
    std::fs::remove_file(&site.segments()[1].path).unwrap();
    let error = site.why(7).unwrap_err();
    assert!(matches!(error, ExplainError::Gone(number) if number == second), "{error}");
    let segments = site.segments();
    segments.iter().for_each(|segment| std::fs::remove_file(&segment.path).unwrap());
    assert!(matches!(site.why(7), Err(ExplainError::NotKept)));
    let nowhere = explain(&site.folder.path().join("nowhere"), "fz", site.asked(7));
    assert!(matches!(nowhere, Err(ExplainError::NotKept)));
}

#[test]
fn a_gap_counts_if_it_began_while_the_contact_lived() {
    let mut site = Site::new();
    site.ready(1);
    site.caller(7);
    let (ended, since) = (site.asked(7), Wall(site.now.wall.0 + 50));
    site.now = site.now.after(Duration::from_secs(10));
    site.begin(Began::Gap { since });
    let later = explain(site.folder.path(), "fz", ended).unwrap();
    assert_eq!(told(&later), ["offered 1001"], "the contact had ended before");
    let ended = Asked { until: Wall(since.0 + 1), ..ended };
    let error = explain(site.folder.path(), "fz", ended).unwrap_err();
    assert!(matches!(error, ExplainError::Gap { since: at } if at == since.0), "{error}");
}

#[test]
fn a_replay_that_differs_is_not_told_as_truth() {
    let mut site = Site::new();
    site.ready(1);
    site.caller(7);
    let at = site.now.after(Duration::from_millis(10));
    let answered = Some(Event::Cancel { call: CallId { shard: ShardId(0), slot: 7, generation: 1 } });
    // By this file the machine had said nothing to it.
    site.segment.as_mut().unwrap().step(at, answered, &[]).unwrap();
    site.segment.as_mut().unwrap().flush().unwrap();
    site.now = at;
    let explanation = site.why(7).unwrap();
    assert_eq!(explanation.differs_from, Some(at.wall.0));
    assert_eq!(told(&explanation), ["offered 1001"]);
}

#[test]
fn the_oldest_go_by_age_and_by_size_and_the_newest_stays() {
    let mut site = Site::new();
    for _ in 0..5 {
        site.now = site.now.after(Duration::from_secs(600));
        site.behind();
    }
    let folders = [site.folder.path().to_owned()];
    let all = site.segments();
    let bytes = |segments: &[Listed]| segments.iter().map(|segment| segment.bytes).sum::<u64>();
    let now = site.now.wall;
    trim(&folders, now, Duration::from_secs(86_400), u64::MAX).unwrap();
    assert_eq!(site.segments(), all);
    trim(&folders, now, Duration::from_secs(1_500), u64::MAX).unwrap();
    assert_eq!(site.segments(), all[2..], "the one whose end is within the time stays");
    trim(&folders, now, Duration::from_secs(86_400), bytes(&all[4..])).unwrap();
    assert_eq!(site.segments(), all[4..]);
    trim(&folders, Wall(i64::MAX), Duration::ZERO, 0).unwrap();
    assert_eq!(site.segments(), all[5..]);
}

#[test]
fn numbers_rise_though_the_clock_goes_back() {
    let mut site = Site::new();
    let first = site.number;
    site.now.wall = Wall(BEGIN_MS - 5_000);
    site.behind();
    assert_eq!(site.number, first + 1);
}
