//! The files as written: keys, types and defaults. Meaning is checked next door.

use crate::base::fact::TargetKind;
use crate::sip::event::Large;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::value::Datetime;

/// A text with its place.
pub(super) type Text = Spanned<String>;
type Count = Spanned<u64>;

/// `jiesu.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Main {
    pub node: Node,
    pub api: Api,
    #[serde(default)]
    pub journal: Journal,
    #[serde(default)]
    pub routing: Routing,
    #[serde(default)]
    pub database: Database,
    #[serde(default)]
    pub registrar: Registrar,
    #[serde(default)]
    pub overload: Overload,
    #[serde(default)]
    pub session: Session,
    pub archive: Option<Archive>,
    pub context: Option<Context>,
    pub site: Vec<Site>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    pub name: Text,
    #[serde(default = "data")]
    pub data_dir: String,
    pub recordings: Option<Text>,
    pub recordings_second: Option<Text>,
    pub shards: Option<Count>,
    pub media_threads: Option<Count>,
    pub rtp_address: Option<Text>,
    pub rtp_ports: Option<Text>,
    pub calls_max: Option<Count>,
    pub drain_s_max: Option<Count>,
    pub log: Option<Text>,
}

fn data() -> String {
    "data".into()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Api {
    pub listen: Text,
    #[serde(default)]
    pub token: Vec<Spanned<Token>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    pub actor: Text,
    pub role: Text,
    pub site: Text,
    pub token: Option<Text>,
    pub token_sha256: Option<Text>,
    pub token_file: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    pub dir: Option<String>,
    pub commit_ms: Option<Count>,
    pub segment_mib: Option<Count>,
    pub keep_days: Option<Count>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Routing {
    pub keep_days: Option<Count>,
    pub mib_max: Option<Count>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Database {
    pub url: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registrar {
    pub expires_s_min: Option<Count>,
    pub expires_s_max: Option<Count>,
    pub nonce_life_s: Option<Count>,
    pub contacts_max: Option<Count>,
    pub redirects_max: Option<Count>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    pub expires_s: Option<Count>,
    pub min_se_s: Option<Count>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Archive {
    pub url: Text,
    pub endpoint: Option<Text>,
    pub region: Option<Text>,
    pub virtual_hosted: Option<bool>,
    pub access_key: Option<Text>,
    pub secret_key_file: Option<Text>,
    pub secret_key_env: Option<Text>,
    pub format: Option<Text>,
    pub opus_kbit_s: Option<Count>,
    pub jobs_max: Option<Count>,
    pub attempt_s_max: Option<Count>,
    pub stuck_after_h: Option<Count>,
    pub keep_local_days: Option<Count>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Context {
    pub public_url: Text,
    pub link_valid_s: Option<Count>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Overload {
    pub lag_ms_max: Option<Count>,
    pub memory_mib_max: Option<Count>,
    #[serde(default)]
    pub emergency_trunks: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Site {
    pub code: Text,
    pub name: String,
    pub domain: Text,
    #[serde(default)]
    pub aliases: Vec<Text>,
    pub area_code: Text,
    pub time_zone: Text,
    pub skills: Spanned<Vec<Text>>,
}

/// `sip-profiles/listeners/*.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    pub transport: super::listeners::Transport,
    pub listen: Text,
    pub advertised: Option<Text>,
    #[serde(default)]
    pub strangers: super::listeners::Strangers,
    pub large: Option<Spanned<Large>>,
    pub certificate: Option<Text>,
    pub key: Option<Text>,
    pub self_signed: Option<Spanned<bool>>,
    pub client_certificates: Option<Spanned<super::listeners::Clients>>,
    pub authorities: Option<Text>,
    pub origins: Option<Spanned<Vec<Text>>>,
    pub connections_max: Option<Count>,
    pub connections_per_source_max: Option<Count>,
    pub handshakes_max: Option<Count>,
    pub unregistered_s_max: Option<Count>,
}

/// `sip-profiles/trunks/*.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trunk {
    pub sources: Spanned<Vec<Text>>,
    #[serde(default)]
    pub trusts_identity: bool,
    pub large: Option<Large>,
    #[serde(default)]
    pub provisionals: crate::sip::event::Provisionals,
    pub remote: Option<Text>,
    pub proxy: Option<Text>,
    pub transport: Option<Spanned<TrunkTransport>>,
    pub listener: Option<Text>,
    pub account: Option<Spanned<Account>>,
    pub priority: Option<Count>,
    pub weight: Option<Count>,
    pub inbound: Option<TrunkSide>,
    pub outbound: Option<TrunkSide>,
    pub options: Option<Options>,
    pub first_provisional_ms: Option<Count>,
    pub first_provisional_emergency_ms: Option<Count>,
    pub ring_max_s: Option<Count>,
    pub one_way_max_s: Option<Count>,
    pub codecs: Option<Spanned<Vec<Text>>>,
    #[serde(default)]
    pub next_on: Vec<Count>,
    #[serde(default)]
    pub emergency: bool,
    #[serde(default)]
    pub drill: bool,
    #[serde(default)]
    pub user_phone: bool,
    pub asserts_identity: Option<bool>,
    #[serde(default)]
    pub privacy: bool,
    #[serde(default)]
    pub e164: bool,
    #[serde(default)]
    pub geolocation: crate::trunk::event::Geolocation,
    #[serde(default)]
    pub user_to_user: bool,
    pub from_domain: Option<Text>,
}

/// How requests go to a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TrunkTransport {
    Udp,
    Tcp,
    Tls,
}

impl TrunkTransport {
    /// Of the listener that speaks so.
    pub(super) const fn listener(self) -> super::listeners::Transport {
        match self {
            TrunkTransport::Udp => super::listeners::Transport::Udp,
            TrunkTransport::Tcp => super::listeners::Transport::Tcp,
            TrunkTransport::Tls => super::listeners::Transport::Tls,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Account {
    pub user: Text,
    pub password_file: Option<Text>,
    pub password_env: Option<Text>,
    pub realm: Option<Text>,
    pub register_s: Option<Count>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrunkSide {
    pub channels: Option<Count>,
    pub reserve: Option<Count>,
    pub calls_per_s: Option<Count>,
    pub full_status: Option<Count>,
    pub strip: Option<Text>,
    pub prefix: Option<Text>,
    #[serde(default)]
    pub replace: BTreeMap<Text, Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    pub interval_s: Option<Count>,
    pub down_after: Option<Count>,
    pub up_after: Option<Count>,
}

/// `sip-profiles/dialling.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dialling {
    #[serde(default)]
    pub rule: Vec<DiallingRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DiallingRule {
    pub site: Text,
    pub numbers: Spanned<Vec<Text>>,
    pub trunks: Spanned<Vec<Text>>,
    pub caller: Text,
    #[serde(default)]
    pub emergency: bool,
    pub location: Option<Text>,
    #[serde(default)]
    pub civic: BTreeMap<Text, String>,
}

/// `sip-profiles/targets/*.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Targets {
    #[serde(default)]
    pub target: Vec<Target>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    pub site: Text,
    pub name: Text,
    pub title: Option<String>,
    pub kind: TargetKind,
    #[serde(default)]
    pub drill: bool,
    pub numbers: Spanned<Vec<Text>>,
    pub key: Option<Text>,
    pub ring_max_s: Option<Count>,
    pub channels: Option<Count>,
    pub ring: Option<Ring>,
    pub confirm: Option<Text>,
    pub announcement: Option<Text>,
    #[serde(default)]
    pub hours: Vec<Text>,
    pub from: Option<Spanned<Datetime>>,
    pub until: Option<Spanned<Datetime>>,
    pub webhook: Option<Text>,
    pub webhook_secret_file: Option<Text>,
    pub webhook_secret_env: Option<Text>,
    pub link: Option<Spanned<bool>>,
    #[serde(default)]
    pub duty: Vec<Duty>,
}

/// How a target's numbers are dialled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ring {
    #[default]
    InOrder,
    All,
}

/// A row of a target's duty table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Duty {
    pub numbers: Spanned<Vec<Text>>,
    #[serde(default)]
    pub hours: Vec<Text>,
    pub from: Option<Spanned<Datetime>>,
    pub until: Option<Spanned<Datetime>>,
}

/// `sip-profiles/queues.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Queues {
    pub queue: Vec<Queue>,
    #[serde(default)]
    pub mode: Vec<Mode>,
    #[serde(default)]
    pub pause: Vec<Pause>,
    #[serde(default)]
    pub keys: Vec<Keys>,
}

/// What agents of a site dial for states.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    pub site: Text,
    pub ready: Option<Text>,
    pub not_ready: Option<Text>,
    pub log_off: Option<Text>,
    pub log_in: Option<Text>,
    #[serde(default)]
    pub pause: BTreeMap<Text, Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pause {
    pub site: Text,
    pub reason: Text,
    pub together_max: Option<Count>,
    pub longest_min: Option<Count>,
}

/// What queues do otherwise for a time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mode {
    pub site: Text,
    pub name: Text,
    pub queues: Spanned<Vec<Text>>,
    #[serde(default)]
    pub hours: Vec<Text>,
    pub rush: Option<Spanned<Rush>>,
    pub skills: Option<Spanned<BTreeMap<Text, Count>>>,
    pub wrap_up_s: Option<Count>,
    pub incident: Option<Incident>,
    #[serde(default)]
    pub lend: Vec<Lend>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rush {
    pub normal_per_h: Count,
    pub times: f64,
    pub for_min: Count,
    pub until_times: Option<f64>,
    pub calm_min: Count,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Incident {
    pub prompt: Text,
    #[serde(default)]
    pub callers: Vec<Text>,
    #[serde(default)]
    pub dialled: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lend {
    pub team: Text,
    pub skills: BTreeMap<Text, Count>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Queue {
    pub site: Text,
    pub name: Text,
    pub skills: Spanned<BTreeMap<Text, Count>>,
    pub priority: Option<Count>,
    pub ageing_s: Option<Count>,
    pub ring_max_s: Option<Count>,
    pub misses_max: Option<Count>,
    pub wrap_up_s: Option<Count>,
    pub wait_max_s: Option<Count>,
    pub waiting_max: Option<Count>,
    pub no_agents: Option<crate::acd::event::NoAgents>,
    pub strategy: Option<crate::acd::event::Strategy>,
    pub ring_together: Option<Count>,
    pub preferred: Option<Spanned<Preferred>>,
    #[serde(default)]
    pub ranks: Vec<BTreeMap<Text, Count>>,
    #[serde(default)]
    pub relax: Vec<Relax>,
    #[serde(default)]
    pub overflow: Vec<Spanned<Overflow>>,
    pub comfort: Option<Spanned<Comfort>>,
    pub callback: Option<Spanned<Callback>>,
    #[serde(default)]
    pub auto_answer: bool,
    pub hold_recall_s: Option<Count>,
    pub after: Option<Text>,
    pub park_recall_s: Option<Count>,
    pub announcement: Option<Text>,
    pub music: Text,
    pub apology: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Preferred {
    pub agent: PreferredAgent,
    pub for_s: Count,
    pub days: Option<Count>,
}

/// Whom a queue prefers.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PreferredAgent {
    Last,
    OrderOwner,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Relax {
    pub after_s: Count,
    pub skills: Spanned<BTreeMap<Text, Count>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Overflow {
    pub waited_s: Option<Count>,
    pub length: Option<Count>,
    pub expected_s: Option<Count>,
    pub nobody: Option<Nobody>,
    pub to: Option<Text>,
    pub announcement: Option<Text>,
    pub target: Option<Text>,
    pub callback: Option<Spanned<bool>>,
}

/// What those who wait hear from time to time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Comfort {
    pub every_s: Count,
    #[serde(default)]
    pub prompts: Vec<Text>,
    #[serde(default)]
    pub place: bool,
    #[serde(default)]
    pub wait: bool,
}

/// Call-backs of a queue.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Callback {
    pub key: Option<Text>,
    pub promise: Text,
    #[serde(default)]
    pub hours: Vec<Text>,
    pub attempts_max: Option<Count>,
    pub retry_s: Option<Count>,
    pub missed_after_s: Option<Count>,
}

/// Whom an overflow looks for in vain.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Nobody {
    LoggedIn,
    Ready,
}

/// `ivr-flows/numbers.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Numbers {
    pub number: Vec<Number>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Number {
    pub number: Text,
    pub site: Text,
    pub flow: Text,
    pub greeting: Option<Text>,
    pub notice: Option<Text>,
    #[serde(default)]
    pub transition: Vec<Transition>,
    pub category: Option<Text>,
    pub priority: Option<Count>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Transition {
    pub prompt: Text,
    pub from: Spanned<Datetime>,
    pub until: Spanned<Datetime>,
}
