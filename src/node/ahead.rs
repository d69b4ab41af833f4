//! Telling targets' own systems of a call ahead of the voice: a bounded queue, one task, a signed request for each transfer.
//!
//! Beside every call's path: the INVITE waits for none of it, and what finds no room, no host or no patience is counted and
//! kept as undelivered. Owns when it is tried again and when given up. Never decides what is told: that is the call's, with
//! what the order says by then.

use super::alarm::Alarm;
use super::clock;
use super::wires::{Wires, lock};
use crate::base::{FactId, Mint, Mono};
use crate::call::ahead::{Ahead, Webhook};
use crate::store::Store;
use crate::store::context::Undelivered;
use crate::store::orders::OrderRow;
use bytes::Bytes;
use letter::Letter;
use reqwest::redirect::Policy;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use utoipa::ToSchema;

pub(super) mod key;
mod letter;

/// What may wait to be taken in hand.
const QUEUE_MAX: usize = 1_024;
/// Requests under way at once to one host.
const REQUESTS_PER_HOST_MAX: usize = 4;
/// What one host may have under way or waiting; what comes beyond it is undelivered at once, so that a host that never
/// answers keeps nobody else waiting.
const LETTERS_PER_HOST_MAX: usize = 64;
/// How long the order may be looked for.
const ORDER_MAX: Duration = Duration::from_millis(300);
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How long one try may take.
const TRY_MAX: Duration = Duration::from_secs(5);
/// Before each try, after the one before.
const PAUSES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];
/// After so long it is of no use to anybody: whoever was rung has answered, or will not.
const DELIVERY_MAX: Duration = Duration::from_secs(30);
/// As much of an answer is read, in bytes, so that its connection can be used again.
const ANSWER_BYTES_MAX: usize = 4 << 10;
/// How long a connection is kept for the next one.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// When the node stops, what is under way has this long, and then as long again to be noted down.
const STOP_MAX: Duration = Duration::from_secs(2);

/// What was told ahead, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Figures {
    /// Taken to be delivered.
    pub taken: u64,
    /// Acknowledged by the target's system.
    pub delivered: u64,
    /// Tries beyond the first.
    pub retried: u64,
    /// Given up and kept as undelivered.
    pub undelivered: u64,
    /// Not even taken, for the queue was full.
    pub dropped: u64,
    /// Taken and neither delivered nor given up yet.
    pub waiting: u64,
}

/// The way to the task, and its figures.
#[derive(Debug)]
pub(super) struct ToAhead {
    queue: mpsc::Sender<Box<Ahead>>,
    dropped: Alarm,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    taken: AtomicU64,
    delivered: AtomicU64,
    retried: AtomicU64,
    undelivered: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl ToAhead {
    pub(super) fn new() -> (ToAhead, mpsc::Receiver<Box<Ahead>>) {
        let (queue, mailbox) = mpsc::channel(QUEUE_MAX);
        (ToAhead { queue, dropped: Alarm::default(), counts: Counts::default() }, mailbox)
    }

    /// Takes it, or counts that it did not. One for a target that is only given a link needs nobody.
    pub(super) fn tell(&self, now: Mono, ahead: Box<Ahead>) {
        if ahead.webhook.is_none() {
            return;
        }
        match self.queue.try_send(ahead) {
            Ok(()) => count(&self.counts.taken),
            Err(_full) => self.dropped.raise(now, 1, |count| {
                tracing::warn!(
                    count,
                    "the queue of what targets are told ahead is full: they learn of calls by ringing"
                );
            }),
        }
    }

    pub(super) fn figures(&self) -> Figures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counts { taken, delivered, retried, undelivered } = &self.counts;
        let (taken, delivered, undelivered) = (read(taken), read(delivered), read(undelivered));
        let waiting = taken.saturating_sub(delivered + undelivered);
        Figures { taken, delivered, retried: read(retried), undelivered, dropped: self.dropped.count(), waiting }
    }
}

/// The running task.
pub(super) struct Courier {
    stop: watch::Sender<Stage>,
    task: JoinHandle<()>,
}

/// How far the end of the task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// Nothing more is taken; what is under way goes on.
    Closing,
    /// What is under way is given up.
    Stopping,
}

impl Courier {
    /// Starts the task. `node` is written into what is told.
    ///
    /// # Errors
    /// The system's certificates cannot be read.
    pub(super) fn start(
        (wires, store): (Arc<Wires>, Store),
        mailbox: mpsc::Receiver<Box<Ahead>>,
        (node, mint): (Box<str>, Mint),
    ) -> Result<Courier, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_MAX)
            .timeout(TRY_MAX)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(REQUESTS_PER_HOST_MAX)
            .user_agent(concat!("jiesu/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let (stop, stopping) = watch::channel(Stage::Running);
        let round = Arc::new(Round { wires, store, client, node, mint: Mutex::new(mint), hosts: Mutex::default() });
        Ok(Courier { stop: stop.clone(), task: tokio::spawn(run(round, mailbox, (stop, stopping))) })
    }

    /// What is under way ends within its time; the rest is noted as undelivered.
    pub(super) async fn stop(self) {
        self.stop.send_replace(Stage::Closing);
        if timeout(STOP_MAX * 2, self.task).await.is_err() {
            tracing::warn!("what targets could not be told is not all noted down: the database is away");
        }
    }
}

/// What all deliveries share.
struct Round {
    wires: Arc<Wires>,
    store: Store,
    client: reqwest::Client,
    node: Box<str>,
    mint: Mutex<Mint>,
    hosts: Mutex<BTreeMap<Box<str>, Arc<Host>>>,
}

/// The places of one host.
struct Host {
    letters: Semaphore,
    requests: Semaphore,
}

/// How often it was tried and how the last time went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tries {
    count: u32,
    last: Last,
}

/// Why it is not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// It was answered so.
    Status(u16),
    /// No answer in time.
    Timeout,
    /// No connection, or one that broke, or no certificate that we trust.
    Unreachable,
    /// Too much waits for this host.
    Busy,
    /// The node went down.
    Stopped,
}

impl Last {
    fn word(self) -> &'static str {
        match self {
            Last::Status(_) => "status",
            Last::Timeout => "timeout",
            Last::Unreachable => "unreachable",
            Last::Busy => "busy",
            Last::Stopped => "stopped",
        }
    }

    fn status(self) -> Option<u16> {
        match self {
            Last::Status(status) => Some(status),
            Last::Timeout | Last::Unreachable | Last::Busy | Last::Stopped => None,
        }
    }
}

async fn run(
    round: Arc<Round>,
    mut mailbox: mpsc::Receiver<Box<Ahead>>,
    (stop, mut stopping): (watch::Sender<Stage>, watch::Receiver<Stage>),
) {
    let mut under_way = JoinSet::new();
    let begin = |under_way: &mut JoinSet<()>, ahead: Box<Ahead>| {
        under_way.spawn(round.clone().deliver(ahead, stop.subscribe()));
    };
    loop {
        tokio::select! {
            biased;
            // The sender is ours: it cannot be gone.
            _ = stopping.wait_for(|stage| *stage != Stage::Running) => break,
            Some(_) = under_way.join_next() => {}
            ahead = mailbox.recv() => match ahead {
                Some(ahead) => begin(&mut under_way, ahead),
                None => break,
            },
        }
    }
    mailbox.close();
    while let Ok(ahead) = mailbox.try_recv() {
        begin(&mut under_way, ahead);
    }
    let all = async { while under_way.join_next().await.is_some() {} };
    if timeout(STOP_MAX, all).await.is_err() {
        stop.send_replace(Stage::Stopping);
        while under_way.join_next().await.is_some() {}
    }
}

impl Round {
    async fn deliver(self: Arc<Round>, ahead: Box<Ahead>, mut stopping: watch::Receiver<Stage>) {
        let Some(webhook) = ahead.webhook.clone() else { return };
        let mut tries = Tries { count: 0, last: Last::Busy };
        let host = self.host(&webhook.origin);
        let delivered = match host.letters.try_acquire() {
            Err(_full) => false,
            Ok(_place) => tokio::select! {
                delivered = timeout(DELIVERY_MAX, self.send(&ahead, (&webhook, &host), &mut tries)) => {
                    delivered.unwrap_or(false)
                }
                _ = stopping.wait_for(|stage| *stage == Stage::Stopping) => {
                    tries.last = Last::Stopped;
                    false
                }
            },
        };
        if delivered {
            return count(&self.wires.ahead.counts.delivered);
        }
        count(&self.wires.ahead.counts.undelivered);
        self.note(&ahead, &webhook, tries).await;
    }

    /// The places of a host. One that nobody is in is forgotten: hosts come and go with the configuration.
    fn host(&self, origin: &str) -> Arc<Host> {
        let mut hosts = lock(&self.hosts);
        hosts.retain(|_, host| Arc::strong_count(host) > 1);
        let fresh =
            || Host { letters: Semaphore::new(LETTERS_PER_HOST_MAX), requests: Semaphore::new(REQUESTS_PER_HOST_MAX) };
        hosts.entry(origin.into()).or_insert_with(|| Arc::new(fresh())).clone()
    }

    /// Tries until it is acknowledged; false when there is no further try.
    async fn send(&self, ahead: &Ahead, (webhook, host): (&Webhook, &Host), tries: &mut Tries) -> bool {
        let site = self.wires.setup.load().code(ahead.site);
        let order = self.order(&site, ahead).await;
        let letter = Letter::write(ahead, order.as_ref(), (&self.node, &site));
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            // Never closed.
            let Ok(_place) = host.requests.acquire().await else { return false };
            if tries.count > 0 {
                count(&self.wires.ahead.counts.retried);
            }
            // Cut short by the end of all its time, a try has had none of its own.
            *tries = Tries { count: tries.count + 1, last: Last::Timeout };
            match self.attempt(webhook, &letter).await {
                Ok(200..=299) => return true,
                Ok(status) => tries.last = Last::Status(status),
                Err(error) if error.is_timeout() => {}
                Err(_) => tries.last = Last::Unreachable,
            }
        }
        false
    }

    async fn attempt(&self, webhook: &Webhook, letter: &Letter) -> Result<u16, reqwest::Error> {
        let at_s = clock::now().wall.0 / 1_000;
        let mut response = self
            .client
            .post(&*webhook.url)
            .header("content-type", letter::CONTENT_TYPE)
            .header("webhook-id", &*letter.id)
            .header("webhook-timestamp", at_s)
            .header("webhook-signature", letter.signature(&webhook.secret, at_s))
            .body(Bytes::clone(&letter.body))
            .send()
            .await?;
        let (status, mut read) = (response.status().as_u16(), 0);
        // What an answer says means nothing; an end that is read leaves the connection for the next one.
        while read < ANSWER_BYTES_MAX
            && let Ok(Some(some)) = response.chunk().await
        {
            read += some.len();
        }
        Ok(status)
    }

    /// The order as it stands now, if SQL says so in time.
    async fn order(&self, site: &str, ahead: &Ahead) -> Option<OrderRow> {
        let asked = self.store.site(site);
        timeout(ORDER_MAX, asked.order(ahead.order?)).await.ok()?.ok().flatten()
    }

    async fn note(&self, ahead: &Ahead, webhook: &Webhook, Tries { count, last }: Tries) {
        let now = clock::now();
        let (target, origin, why, status) = (&*ahead.target, &*webhook.origin, last.word(), last.status());
        tracing::warn!(contact = %ahead.link.contact, target, origin, tries = count, why, status, "a target was not told ahead");
        let id = FactId(lock(&self.mint).mint(now.wall));
        let site = self.wires.setup.load().code(ahead.site);
        let row = Undelivered {
            site: site.to_string(),
            id: id.to_string(),
            contact: ahead.link.contact.to_string(),
            number: ahead.link.number.into(),
            target: target.to_owned(),
            origin: origin.to_owned(),
            tries: count.into(),
            status: status.map(i64::from),
            why: why.to_owned(),
            at: now.wall.0,
        };
        if let Err(error) = self.store.site(&site).add_undelivered(&row).await {
            tracing::error!(%error, contact = row.contact, "what a target was not told is not noted down");
        }
    }
}
