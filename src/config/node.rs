//! `jiesu.toml`: the node, its API, journal, registrar and sites.

use super::archive::{self, Archive};
use super::context::{self, Context};
use super::problem::{Problem, suggest};
use super::schema;
use super::source::{Check, Reading, Source};
use crate::base::{SiteId, SkillId};
use crate::sip::event::{SessionTimers, TrunkSettings};
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// Roles that a token can have (the console's and the API's access check know the same words).
const ROLES: [&str; 12] = [
    "agent",
    "team_lead",
    "qc",
    "dispatcher",
    "handler",
    "expert",
    "sub_center",
    "callback_agent",
    "supervisor",
    "admin",
    "auditor",
    "province",
];
/// Skills of one site: one bit each in the ACD.
const SKILLS_MAX: usize = 64;
/// Ports of one leg: RTP and RTCP.
const PORTS_PER_LEG: usize = 2;

/// `[node]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique in a cluster.
    pub name: Box<str>,
    /// Where the engine keeps what it writes.
    pub data_dir: PathBuf,
    /// Where recordings go: to the second while the first is full or fails. One or two.
    pub recordings: Vec<PathBuf>,
    /// Signalling threads (≥ 1).
    pub shards: usize,
    /// Media threads (≥ 1).
    pub media_threads: usize,
    /// Address written into session descriptions; `None`: the advertised address of the listener in use.
    pub rtp_address: Option<IpAddr>,
    /// Media ports: begins even, ends odd.
    pub rtp_ports: RangeInclusive<u16>,
    /// Most calls at once on the node.
    pub calls_max: usize,
    /// How long running calls may go on when the node stops.
    pub drain_max: Duration,
    /// Filter for the log.
    pub log: Box<str>,
}

/// `[api]`.
#[derive(Clone, Debug)]
pub struct Api {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// Who may call.
    pub tokens: Vec<Token>,
}

/// One bearer token. The token itself is never kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Written into the audit.
    pub actor: Box<str>,
    /// One of the roles' words (`admin`, `team_lead` …).
    pub role: Box<str>,
    /// The only site it is for; `None` for all.
    pub site: Option<SiteId>,
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
}

/// `[journal]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    /// Its folder.
    pub dir: PathBuf,
    /// Facts of this long share one sync to disk.
    pub commit: Duration,
    /// Size at which a new file begins.
    pub segment_bytes: u64,
    /// How long acknowledged files are kept.
    pub keep: Duration,
}

/// `[routing]`: what queues are told is kept, so that each decision can be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routing {
    /// For so long.
    pub keep: Duration,
    /// All sites together take so many bytes at most; the oldest goes first.
    pub bytes_max: u64,
}

/// `[registrar]`.
#[derive(Clone, Debug)]
pub struct Registrar {
    /// Shortest and longest registration in seconds.
    pub expires_s: (u32, u32),
    /// How long a nonce is good.
    pub nonce_life: Duration,
    /// Contacts of one address-of-record.
    pub contacts_max: usize,
    /// Redirections that one call to a phone follows.
    pub redirects_max: u8,
}

/// `[overload]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overload {
    /// New calls are refused when messages have to wait longer.
    pub lag_max: Duration,
    /// Bytes of memory for the process; `None`: what the system lets it have.
    pub memory_max: Option<u64>,
    /// Trunks all of whose calls are emergencies.
    pub emergency_trunks: BTreeSet<Box<str>>,
}

/// One `[[site]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Its code.
    pub code: Box<str>,
    /// For people.
    pub name: Box<str>,
    /// Domain of its phones.
    pub domain: Box<str>,
    /// Other names of the domain.
    pub aliases: Vec<Box<str>>,
    /// Without the leading 0.
    pub area_code: Box<str>,
    /// For dates.
    pub time_zone: TimeZone,
    /// Sorted: the place is the [`SkillId`].
    pub skills: Vec<Box<str>>,
}

impl Site {
    /// The skill of this name.
    pub fn skill(&self, name: &str) -> Option<SkillId> {
        let place = self.skills.binary_search_by(|skill| (**skill).cmp(name)).ok()?;
        u8::try_from(place).ok().map(SkillId)
    }
}

/// All sites that could be read.
#[derive(Clone, Copy)]
pub(super) struct Sites<'a> {
    pub list: &'a [Site],
    /// Whether none is missing: only then is one not found unknown.
    pub whole: bool,
}

/// All of `jiesu.toml`.
pub(super) struct Main {
    pub node: Node,
    pub api: Api,
    pub journal: Journal,
    pub routing: Routing,
    pub database: PathBuf,
    pub registrar: Registrar,
    pub overload: Overload,
    pub session: SessionTimers,
    pub archive: Option<Archive>,
    pub context: Option<Context>,
    pub sites: Vec<Site>,
}

/// Checks the file's meaning. What is wrong is replaced by a default, for the sake of further checks.
pub(super) fn check(
    source: &Source,
    Reading { value, whole }: &Reading<schema::Main>,
    root: &Path,
    problems: &mut Vec<Problem>,
) -> Option<Main> {
    let raw = value.as_ref()?;
    let mut check = Check { source, problems };
    let sites = sites(&mut check, &raw.site);
    let node = node(&mut check, &raw.node, root);
    let journal = &raw.journal;
    Some(Main {
        api: api(&mut check, &raw.api, Sites { list: &sites, whole: *whole }, root),
        journal: Journal {
            dir: journal.dir.as_ref().map_or_else(|| node.data_dir.join("journal"), |dir| root.join(dir)),
            commit: Duration::from_millis(check.bounded(journal.commit_ms.as_ref(), 20, 1..=1_000)),
            segment_bytes: check.bounded(journal.segment_mib.as_ref(), 64, 1..=1_024) << 20,
            keep: Duration::from_secs(86_400 * check.bounded(journal.keep_days.as_ref(), 7, 0..=3_650)),
        },
        routing: Routing {
            keep: Duration::from_secs(86_400 * check.bounded(raw.routing.keep_days.as_ref(), 30, 1..=3_650)),
            bytes_max: check.bounded(raw.routing.mib_max.as_ref(), 4_096, 16..=1_048_576) << 20,
        },
        database: database(&mut check, &raw.database, &node, root),
        registrar: registrar(&mut check, &raw.registrar),
        overload: overload(&mut check, &raw.overload),
        session: session(&mut check, &raw.session),
        archive: archive::check(&mut check, raw.archive.as_ref(), root),
        context: raw.context.as_ref().map(|raw| context::check(&mut check, raw)),
        node,
        sites,
    })
}

fn node(check: &mut Check<'_>, raw: &schema::Node, root: &Path) -> Node {
    let name = raw.name.get_ref();
    if !is_code(name) {
        let cure = "use 1 to 32 lower-case letters, digits and \"-\"";
        check.wrong(&raw.name.span(), format!("\"{name}\" cannot name a node"), cure);
    }
    // Half the cores signal, half carry media; both need one.
    let half = (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1);
    let threads = |count: u64| if count == 0 { half } else { count as usize };
    let rtp_ports = raw.rtp_ports.as_ref().and_then(|ports| port_range(check, ports)).unwrap_or(10_000..=29_999);
    let calls_max = check.bounded(raw.calls_max.as_ref(), 2_500, 1..=100_000) as usize;
    let legs = rtp_ports.len() / PORTS_PER_LEG;
    if let (Some(written), true) = (&raw.calls_max, calls_max > legs) {
        let message = format!("{calls_max} calls do not fit: rtp_ports has room for {legs} legs");
        check.wrong(&written.span(), message, "widen rtp_ports (two ports a leg) or lower calls_max");
    }
    if let Some(log) = &raw.log {
        let cure = "write a level (error, warn, info, debug, trace) or target=level, comma-separated";
        check.parse::<tracing_subscriber::filter::targets::Targets>(log, "log filter", cure);
    }
    let data_dir = root.join(&raw.data_dir);
    Node {
        name: name.as_str().into(),
        recordings: recordings(check, raw, &data_dir, root),
        data_dir,
        shards: threads(check.bounded(raw.shards.as_ref(), 0, 0..=64)),
        media_threads: threads(check.bounded(raw.media_threads.as_ref(), 0, 0..=64)),
        rtp_address: raw.rtp_address.as_ref().and_then(|address| rtp_address(check, address)),
        rtp_ports,
        calls_max,
        drain_max: check.seconds(raw.drain_s_max.as_ref(), 300, 0..=86_400),
        log: raw.log.as_ref().map_or("info", |log| log.get_ref()).into(),
    }
}

fn recordings(check: &mut Check<'_>, raw: &schema::Node, data_dir: &Path, root: &Path) -> Vec<PathBuf> {
    let first = raw.recordings.as_ref().map_or_else(|| data_dir.join("recordings"), |dir| root.join(dir.get_ref()));
    let mut folders = vec![first];
    if let Some(second) = &raw.recordings_second {
        let folder = root.join(second.get_ref());
        if folder == folders[0] {
            let cure = "name a directory on another disk, or leave recordings_second out";
            check.wrong(&second.span(), "recordings_second is the same directory as recordings", cure);
        } else {
            folders.push(folder);
        }
    }
    folders
}

/// Directories of recordings that could not be written to now. No mistake of the file: an engine starts as long as one of
/// them works.
pub(super) fn unusable(source: &Source, raw: &schema::Node, root: &Path) -> Vec<Problem> {
    // The first is made when it is missing; the second is most likely another disk, which is then not mounted.
    let named = [(&raw.recordings, true), (&raw.recordings_second, false)];
    let named = named.into_iter().filter_map(|(folder, made)| folder.as_ref().map(|folder| (folder, made)));
    let problem = |(folder, made): (&schema::Text, bool)| {
        let path = root.join(folder.get_ref());
        let message = format!("recordings cannot be written to \"{}\": {}", folder.get_ref(), obstacle(&path, made)?);
        let cure = "mount the disk or make the directory, and let the engine's user write there";
        Some(source.problem(&folder.span(), message, cure))
    };
    named.filter_map(problem).collect()
}

/// What keeps us from writing to a directory; one that will be made is as good as the first above it that is there.
fn obstacle(path: &Path, made: bool) -> Option<String> {
    let there = if made { path.ancestors().find(|path| path.exists() || path.as_os_str().is_empty())? } else { path };
    // A relative path of one part has no directory above it but the current one.
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    match std::fs::metadata(there) {
        Err(error) => Some(error.to_string()),
        Ok(found) if !found.is_dir() => Some("it is no directory".into()),
        Ok(_) => {
            use rustix::fs::{Access, access};
            access(there, Access::WRITE_OK | Access::EXEC_OK).err().map(|error| error.to_string())
        }
    }
}

fn rtp_address(check: &mut Check<'_>, text: &schema::Text) -> Option<IpAddr> {
    let address: IpAddr = check.parse(text, "address", "write an IP address such as 203.0.113.5, without a port")?;
    if address.is_unspecified() {
        let message = format!("nobody can send to {address}");
        check.wrong(&text.span(), message, "write the address at which others reach this machine");
    }
    Some(address)
}

fn port_range(check: &mut Check<'_>, text: &schema::Text) -> Option<RangeInclusive<u16>> {
    let range = text.get_ref().split_once('-').and_then(|(first, last)| {
        let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first >= 1_024 && first.is_multiple_of(2) && !last.is_multiple_of(2) && first < last).then_some(first..=last)
    });
    if range.is_none() {
        let cure = "write FIRST-LAST, FIRST even (RTP) and at least 1024, LAST odd (RTCP): \"10000-29999\"";
        check.wrong(&text.span(), format!("\"{}\" is no range of media ports", text.get_ref()), cure);
    }
    range
}

fn database(check: &mut Check<'_>, raw: &schema::Database, node: &Node, root: &Path) -> PathBuf {
    let usual = node.data_dir.join("jiesu.db");
    let Some(url) = &raw.url else { return usual };
    if let Some(path) = url.get_ref().strip_prefix("sqlite:") {
        return root.join(path.trim_start_matches("//"));
    }
    // The text may hold a password: it is not repeated.
    check.wrong(&url.span(), "unknown kind of database", "records are kept in SQLite: write \"sqlite:PATH\"");
    usual
}

fn registrar(check: &mut Check<'_>, raw: &schema::Registrar) -> Registrar {
    let least = check.bounded(raw.expires_s_min.as_ref(), 60, 1..=86_400);
    let most = check.bounded(raw.expires_s_max.as_ref(), 3_600.max(least), least..=604_800);
    Registrar {
        expires_s: (least as u32, most as u32),
        nonce_life: check.seconds(raw.nonce_life_s.as_ref(), 300, 10..=86_400),
        contacts_max: check.bounded(raw.contacts_max.as_ref(), 8, 1..=64) as usize,
        redirects_max: check.bounded(raw.redirects_max.as_ref(), 0, 0..=5) as u8,
    }
}

fn overload(check: &mut Check<'_>, raw: &schema::Overload) -> Overload {
    let memory_mib = raw.memory_mib_max.as_ref();
    Overload {
        lag_max: Duration::from_millis(check.bounded(raw.lag_ms_max.as_ref(), 200, 5..=2_000)),
        memory_max: memory_mib.map(|mib| check.bounded(Some(mib), 0, 64..=16_777_216) << 20),
        emergency_trunks: raw.emergency_trunks.iter().map(|name| name.get_ref().as_str().into()).collect(),
    }
}

/// Trunks named in `[overload]` must be there.
pub(super) fn check_emergency_trunks(check: &mut Check<'_>, raw: &schema::Overload, trunks: &[TrunkSettings]) {
    for name in &raw.emergency_trunks {
        if !trunks.iter().any(|trunk| *trunk.name == **name.get_ref()) {
            let cure = suggest(name.get_ref(), trunks.iter().map(|trunk| &*trunk.name));
            check.wrong(&name.span(), format!("unknown trunk \"{}\"", name.get_ref()), cure);
        }
    }
}

/// RFC 4028 §4: no interval is shorter than 90 s. 0 switches asking off.
fn session(check: &mut Check<'_>, raw: &schema::Session) -> SessionTimers {
    let min_se_s = check.bounded(raw.min_se_s.as_ref(), 90, 90..=86_400);
    let expires_s = match &raw.expires_s {
        Some(off) if *off.get_ref() == 0 => 0,
        asked => check.bounded(asked.as_ref(), 1_800.max(min_se_s), min_se_s..=86_400),
    };
    SessionTimers { expires_s: expires_s as u32, min_se_s: min_se_s as u32 }
}

fn api(check: &mut Check<'_>, raw: &schema::Api, sites: Sites<'_>, root: &Path) -> Api {
    let cure = "write address and port: \"127.0.0.1:8080\"";
    let listen = check.parse(&raw.listen, "address", cure).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let mut tokens: Vec<Token> = Vec::new();
    for raw in &raw.token {
        let Some(token) = token(check, raw, listen, sites, root) else {
            continue;
        };
        if tokens.iter().any(|other| other.sha256 == token.sha256) {
            check.wrong(&raw.span(), "this token is given twice", "give each actor a token of its own");
        }
        tokens.push(token);
    }
    Api { listen, tokens }
}

fn token(
    check: &mut Check<'_>,
    raw: &Spanned<schema::Token>,
    listen: SocketAddr,
    sites: Sites<'_>,
    root: &Path,
) -> Option<Token> {
    let (span, raw) = (raw.span(), raw.get_ref());
    let role = raw.role.get_ref().as_str();
    if !ROLES.contains(&role) {
        check.wrong(&raw.role.span(), format!("unknown role \"{role}\""), suggest(role, ROLES));
    }
    if raw.actor.get_ref().is_empty() {
        check.wrong(&raw.actor.span(), "a token without an actor", "name who holds it: the audit needs it");
    }
    // An unknown site is a mistake already: which one stands here then does not matter.
    let site = (raw.site.get_ref() != "*").then(|| site_of(check, &raw.site, sites).unwrap_or_default());
    let sha256 = match (&raw.token, &raw.token_sha256, &raw.token_file) {
        (Some(token), None, None) => {
            if !listen.ip().is_loopback() {
                let cure = "use token_sha256 or token_file; a token in clear is only for an API on loopback";
                check.wrong(&token.span(), "a token in clear while the API listens to the network", cure);
            }
            digest(check, token, token.get_ref())
        }
        (None, Some(hash), None) => sha256_of_hex(check, hash),
        (None, None, Some(file)) => match std::fs::read_to_string(root.join(file.get_ref())) {
            Ok(text) => digest(check, file, text.lines().next().unwrap_or_default().trim()),
            Err(error) => {
                let message = format!("token file \"{}\" cannot be read: {error}", file.get_ref());
                check.wrong(&file.span(), message, "write the token on the first line of that file");
                None
            }
        },
        _ => {
            check.wrong(&span, "one secret is needed", "give exactly one of token_sha256, token_file and token");
            None
        }
    };
    Some(Token { actor: raw.actor.get_ref().as_str().into(), role: role.into(), site, sha256: sha256? })
}

fn digest(check: &mut Check<'_>, place: &schema::Text, token: &str) -> Option<[u8; 32]> {
    if token.is_empty() {
        check.wrong(&place.span(), "an empty token", "make one, for example with: openssl rand -hex 32");
        return None;
    }
    Some(Sha256::digest(token).into())
}

fn sha256_of_hex(check: &mut Check<'_>, hash: &schema::Text) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    match hex::decode_to_slice(hash.get_ref(), &mut bytes) {
        Ok(()) => Some(bytes),
        Err(_) => {
            let cure = "write the 64 hexadecimal digits that this prints: printf %s TOKEN | sha256sum";
            check.wrong(&hash.span(), "not a SHA-256", cure);
            None
        }
    }
}

/// The site of this code.
pub(super) fn site_of(check: &mut Check<'_>, code: &schema::Text, sites: Sites<'_>) -> Option<SiteId> {
    let place = sites.list.iter().position(|site| *site.code == **code.get_ref());
    if place.is_none() && sites.whole {
        let cure = suggest(code.get_ref(), sites.list.iter().map(|site| &*site.code));
        check.wrong(&code.span(), format!("unknown site \"{}\"", code.get_ref()), cure);
    }
    place.and_then(|place| u16::try_from(place).ok()).map(SiteId)
}

fn sites(check: &mut Check<'_>, raw: &[schema::Site]) -> Vec<Site> {
    let mut codes = BTreeSet::new();
    let mut domains: BTreeMap<String, &str> = BTreeMap::new();
    let mut sites = Vec::new();
    for raw in raw {
        let code = raw.code.get_ref();
        if !is_code(code) {
            let cure = "use 1 to 32 lower-case letters, digits and \"-\"";
            check.wrong(&raw.code.span(), format!("\"{code}\" cannot be a site's code"), cure);
        }
        if !codes.insert(code) {
            check.wrong(&raw.code.span(), format!("site \"{code}\" exists already"), "give each site its own code");
        }
        for domain in std::iter::once(&raw.domain).chain(&raw.aliases) {
            if let Some(other) = domains.insert(domain.get_ref().to_lowercase(), code) {
                let message = format!("domain \"{}\" belongs to site \"{other}\" already", domain.get_ref());
                check.wrong(&domain.span(), message, "a phone's domain decides its site: use each name once");
            }
        }
        let area = raw.area_code.get_ref();
        if !(2..=3).contains(&area.len()) || area.starts_with('0') || !area.bytes().all(|digit| digit.is_ascii_digit())
        {
            let cure = "write 2 or 3 digits without the leading 0: \"591\", \"10\"";
            check.wrong(&raw.area_code.span(), format!("\"{area}\" is no area code"), cure);
        }
        sites.push(Site {
            code: code.as_str().into(),
            name: raw.name.as_str().into(),
            domain: raw.domain.get_ref().as_str().into(),
            aliases: raw.aliases.iter().map(|alias| alias.get_ref().as_str().into()).collect(),
            area_code: area.as_str().into(),
            time_zone: time_zone(check, &raw.time_zone),
            skills: skills(check, &raw.skills),
        });
    }
    sites
}

fn time_zone(check: &mut Check<'_>, name: &schema::Text) -> TimeZone {
    TimeZone::get(name.get_ref()).unwrap_or_else(|_| {
        let known: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
        let cure = match super::problem::nearest(name.get_ref(), known.iter().map(String::as_str)) {
            Some(zone) => format!("did you mean \"{zone}\"?"),
            None => "write a name of the IANA time zone database: \"Asia/Shanghai\"".into(),
        };
        check.wrong(&name.span(), format!("unknown time zone \"{}\"", name.get_ref()), cure);
        TimeZone::UTC
    })
}

fn skills(check: &mut Check<'_>, raw: &Spanned<Vec<schema::Text>>) -> Vec<Box<str>> {
    let mut skills: BTreeSet<Box<str>> = BTreeSet::new();
    for skill in raw.get_ref() {
        if !skills.insert(skill.get_ref().as_str().into()) {
            check.wrong(&skill.span(), format!("skill \"{}\" is named twice", skill.get_ref()), "name it once");
        }
    }
    if skills.len() > SKILLS_MAX {
        let message = format!("{} skills are too many", skills.len());
        check.wrong(&raw.span(), message, format!("a site has at most {SKILLS_MAX}"));
    }
    skills.into_iter().collect()
}

fn is_code(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
