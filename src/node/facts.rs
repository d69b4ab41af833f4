//! The fact writer: from the machines to the journal, from the journal to SQL and to whoever listens.
//!
//! [`FactWriter::tell`] never waits: a bounded channel, and a refusal that hands the fact back. One thread appends to the
//! journal by group commit; one task applies what is durable to SQL, in order. While SQL is away nothing is lost and
//! memory stays bounded: the task falls behind in the journal and reads the rest from disk when SQL is back, as it does
//! after a restart, from the acknowledged position. Decides nothing about calls and never looks into a fact.

use crate::base::Wall;
use crate::base::fact::Stamped;
use crate::store::journal::{Journal, JournalError, Limits, Position, Reader};
use crate::store::{Store, StoreError};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, watch};

/// Sizes and paces.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of the journal.
    pub folder: PathBuf,
    /// Facts between the machines and the journal. At 300 calls/s of ten facts each, 32,768 are the 10 s that a stalled
    /// disk may take before facts are refused; with a record of 1 KiB behind each that is 32 MiB.
    pub channel_max: usize,
    /// How long the first fact of a commit waits for company.
    pub commit_every: Duration,
    /// Most facts of one commit.
    pub commit_max: usize,
    /// How long the first fact of a transaction waits for company.
    pub apply_every: Duration,
    /// Most facts of one transaction: a few tens of milliseconds, so that commands on orders find the writer soon.
    pub apply_max: usize,
    /// Durable facts kept in memory for SQL; what is beyond is read from disk again.
    pub tail_max: usize,
    /// How often the acknowledged position is written. After a crash the facts of this time are applied once more.
    pub acknowledge_every: Duration,
    /// Shortest and longest wait between two attempts at a disk or a database that fails.
    pub retry: (Duration, Duration),
    /// The journal's own.
    pub journal: Limits,
}

impl Settings {
    /// The usual sizes, with the journal in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Settings {
        Settings {
            folder: folder.into(),
            channel_max: 32_768,
            commit_every: Duration::from_millis(20),
            commit_max: 4_096,
            apply_every: Duration::from_millis(250),
            apply_max: 1_024,
            tail_max: 16_384,
            acknowledge_every: Duration::from_secs(1),
            retry: (Duration::from_millis(50), Duration::from_secs(5)),
            journal: Limits::default(),
        }
    }
}

/// The fact was not taken. It is handed back.
#[derive(Debug, PartialEq)]
pub enum Refused {
    /// The journal has not kept up for as many facts as the channel holds: admit no new call, and try again.
    Full(Box<Stamped>),
    /// The writer has been closed.
    Closed(Box<Stamped>),
}

/// What went through, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Facts taken by [`FactWriter::tell`].
    pub told: u64,
    /// Facts refused by it.
    pub refused: u64,
    /// Facts durable in the journal.
    pub journalled: u64,
    /// Facts applied to SQL, with those left from before the start.
    pub applied: u64,
    /// Facts that SQL will never take; they stay in the journal.
    pub set_aside: u64,
    /// Commits that failed and were tried again, and positions that could not be written and are written later.
    pub journal_errors: u64,
    /// Transactions that failed and were tried again.
    pub sql_errors: u64,
    /// Damaged or unknown records stepped over while reading the journal.
    pub damaged: u64,
    /// Whether SQL stands behind the last durable fact.
    pub behind: bool,
    /// When the oldest fact was stated that SQL is being given now.
    pub oldest: Option<Wall>,
}

/// The writer. Cheap to clone; it ends when the last clone is dropped, or by [`FactWriter::close`].
#[derive(Clone, Debug)]
pub struct FactWriter {
    channel: SyncSender<Message>,
    shared: Arc<Shared>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

#[derive(Debug)]
enum Message {
    Fact(Stamped),
    Close,
}

/// How far things are: what [`FactWriter::drain`] waits on and the task works by.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    journalled: u64,
    end: Position,
    applied: Position,
    /// When the first fact of the batch was stated that SQL is being given.
    oldest: Option<Wall>,
    /// The thread is gone: nothing will be added.
    closed: bool,
}

/// The facts of one commit and where they lie.
#[derive(Debug)]
struct Commit {
    from: Position,
    to: Position,
    facts: Vec<Stamped>,
}

/// The newest commits, as far as memory may hold them: a copy of the journal's tail.
#[derive(Debug, Default)]
struct Tail {
    commits: VecDeque<Commit>,
    facts: usize,
}

#[derive(Debug)]
struct Shared {
    tail: Mutex<Tail>,
    progress: watch::Sender<Progress>,
    applied: broadcast::Sender<Arc<Vec<Stamped>>>,
    told: AtomicU64,
    refused: AtomicU64,
    applied_count: AtomicU64,
    set_aside: AtomicU64,
    journal_errors: AtomicU64,
    sql_errors: AtomicU64,
    damaged: AtomicU64,
}

/// Batches a slow listener may fall behind before it is told that it missed some.
const LISTENER_BATCHES_MAX: usize = 256;

impl FactWriter {
    /// Opens the journal and starts the thread and, on the present runtime, the task. What was not acknowledged before
    /// is applied first.
    pub fn start(settings: Settings, store: Store) -> Result<FactWriter, JournalError> {
        let journal = Journal::open(&settings.folder, settings.journal)?;
        if journal.torn_bytes() > 0 {
            tracing::warn!(bytes = journal.torn_bytes(), "an unfinished commit was cut from the journal");
        }
        let reader = journal.reader();
        let progress = Progress { end: journal.end(), applied: journal.acknowledged(), ..Progress::default() };
        let shared = Arc::new(Shared::new(progress));
        let (channel, messages) = sync_channel(settings.channel_max);
        let appender = Appender { journal, messages, shared: shared.clone(), settings: settings.clone() };
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || appender.run())?;
        let applier = Applier { reader: Some(reader), store, shared: shared.clone(), settings };
        tokio::spawn(applier.run());
        Ok(FactWriter { channel, shared, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Takes a fact without waiting. It is durable within some 20 ms and the time of a sync.
    pub fn tell(&self, fact: Stamped) -> Result<(), Refused> {
        match self.channel.try_send(Message::Fact(fact)) {
            Ok(()) => {
                self.shared.told.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(TrySendError::Full(Message::Fact(fact))) => {
                self.shared.refused.fetch_add(1, Ordering::Relaxed);
                Err(Refused::Full(Box::new(fact)))
            }
            Err(TrySendError::Disconnected(Message::Fact(fact))) => {
                self.shared.refused.fetch_add(1, Ordering::Relaxed);
                Err(Refused::Closed(Box::new(fact)))
            }
            Err(TrySendError::Full(Message::Close) | TrySendError::Disconnected(Message::Close)) => {
                unreachable!("what comes back is what was sent: a fact")
            }
        }
    }

    /// What is applied to SQL from now on, batch by batch in order. After a crash some batches come again.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Vec<Stamped>>> {
        self.shared.applied.subscribe()
    }

    /// How things stand.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let shared = &self.shared;
        let progress = *shared.progress.borrow();
        Counts {
            told: read(&shared.told),
            refused: read(&shared.refused),
            journalled: progress.journalled,
            applied: read(&shared.applied_count),
            set_aside: read(&shared.set_aside),
            journal_errors: read(&shared.journal_errors),
            sql_errors: read(&shared.sql_errors),
            damaged: read(&shared.damaged),
            behind: progress.applied < progress.end,
            oldest: progress.oldest,
        }
    }

    /// Waits until all that was told before is in SQL. Waits for as long as the disk or SQL is away: give it a time-out.
    pub async fn drain(&self) {
        let told = self.shared.told.load(Ordering::Relaxed);
        let mut progress = self.shared.progress.subscribe();
        // Errors would say that the sender is gone, but we hold it.
        let journalled = progress.wait_for(|now| now.closed || now.journalled >= told).await.map(|now| now.end);
        // That place, and not the end of the moment: where facts never pause, SQL is always a little behind.
        let applied = |now: &Progress| now.closed || journalled.as_ref().is_ok_and(|end| now.applied >= *end);
        _ = progress.wait_for(applied).await;
    }

    /// Drains, acknowledges and ends the thread and the task; the journal's folder is free afterwards. The machines that
    /// hold other clones must have stopped: what they tell later is refused, and at this very moment may be lost.
    pub async fn close(self) {
        self.drain().await;
        let ended = tokio::task::spawn_blocking(move || {
            // The thread may have ended with an earlier close.
            _ = self.channel.send(Message::Close);
            let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            thread.map(JoinHandle::join)
        });
        if let Ok(Some(Err(panic))) = ended.await {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Shared {
    fn new(progress: Progress) -> Shared {
        Shared {
            tail: Mutex::default(),
            progress: watch::Sender::new(progress),
            applied: broadcast::Sender::new(LISTENER_BATCHES_MAX),
            told: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            applied_count: AtomicU64::new(0),
            set_aside: AtomicU64::new(0),
            journal_errors: AtomicU64::new(0),
            sql_errors: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
        }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    /// Adds a commit, unless memory holds enough: then it is found on disk.
    fn push(&mut self, commit: Commit, max: usize) {
        if self.facts + commit.facts.len() <= max {
            self.facts += commit.facts.len();
            self.commits.push_back(commit);
        }
    }

    /// The commits that follow `position` without a gap, of about `max` facts; none when that place is on disk only.
    fn take(&mut self, position: Position, max: usize) -> Option<(Vec<Stamped>, Position)> {
        while self.commits.front().is_some_and(|first| first.from < position) {
            self.pop();
        }
        let (mut facts, mut to) = (Vec::new(), position);
        while facts.len() < max
            && let Some(first) = self.commits.front()
            && first.from == to
        {
            let first = self.pop()?;
            to = first.to;
            facts.extend(first.facts);
        }
        (to != position).then_some((facts, to))
    }

    fn pop(&mut self) -> Option<Commit> {
        let first = self.commits.pop_front()?;
        self.facts -= first.facts.len();
        Some(first)
    }
}

/// The thread between the channel and the journal. All writing in the journal's folder is done here.
struct Appender {
    journal: Journal,
    messages: Receiver<Message>,
    shared: Arc<Shared>,
    settings: Settings,
}

impl Appender {
    fn run(mut self) {
        let (mut acknowledged, mut closing) = (Instant::now(), false);
        loop {
            let facts = self.gather(&mut closing);
            let idle = facts.is_empty();
            if !idle {
                self.commit(facts);
            }
            if closing || acknowledged.elapsed() >= self.settings.acknowledge_every {
                self.acknowledge();
                acknowledged = Instant::now();
            }
            if closing && idle {
                break;
            }
        }
    }

    /// Waits for a fact, and then a little for others. When the writer is closing, only takes what is there.
    fn gather(&self, closing: &mut bool) -> Vec<Stamped> {
        let mut facts = Vec::new();
        if !*closing {
            match self.messages.recv_timeout(self.settings.acknowledge_every) {
                Ok(Message::Fact(fact)) => {
                    facts.push(fact);
                    // Asleep, not receiving: one wake-up a commit instead of one a fact.
                    std::thread::sleep(self.settings.commit_every);
                }
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => *closing = true,
                Err(RecvTimeoutError::Timeout) => return facts,
            }
        }
        while facts.len() < self.settings.commit_max {
            match self.messages.try_recv() {
                Ok(Message::Fact(fact)) => facts.push(fact),
                Ok(Message::Close) => *closing = true,
                Err(_) => break,
            }
        }
        facts
    }

    /// Makes the facts durable, however long it takes. Meanwhile the channel fills, and then facts are refused.
    fn commit(&mut self, mut facts: Vec<Stamped>) {
        let count = facts.len() as u64;
        let from = self.journal.end();
        facts.retain(|fact| self.append(fact));
        let to = self.insist();
        self.shared.tail().push(Commit { from, to, facts }, self.settings.tail_max);
        self.shared.progress.send_modify(|progress| {
            progress.journalled += count;
            progress.end = to;
        });
    }

    /// False for a fact that no journal can hold.
    fn append(&mut self, fact: &Stamped) -> bool {
        let error = match self.journal.append(fact) {
            Ok(()) => return true,
            Err(JournalError::Full) => {
                self.insist();
                return self.append(fact);
            }
            Err(error) => error,
        };
        self.shared.set_aside.fetch_add(1, Ordering::Relaxed);
        let (id, kind) = (fact.id, fact.fact.kind());
        tracing::error!(%id, kind, error = &error as &dyn std::error::Error, "a fact cannot be journalled");
        false
    }

    /// Commits what was appended, however long the disk is away.
    fn insist(&mut self) -> Position {
        let (mut wait, longest) = self.settings.retry;
        loop {
            match self.journal.commit() {
                Ok(to) => return to,
                Err(error) => {
                    self.shared.journal_errors.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(error = &error as &dyn std::error::Error, "the journal cannot be written");
                    std::thread::sleep(wait);
                    wait = (wait * 2).min(longest);
                }
            }
        }
    }

    fn acknowledge(&mut self) {
        let applied = self.shared.progress.borrow().applied;
        if let Err(error) = self.journal.acknowledge(applied) {
            // Facts would be applied once more than needed; nothing is lost.
            self.shared.journal_errors.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(error = &error as &dyn std::error::Error, "the journal's position cannot be written");
        }
    }
}

impl Drop for Appender {
    /// Also when the thread panics: nobody shall wait for it.
    fn drop(&mut self) {
        self.shared.progress.send_modify(|progress| progress.closed = true);
    }
}

/// The task between the journal and SQL.
struct Applier {
    /// Taken while a blocking thread reads with it.
    reader: Option<Reader>,
    store: Store,
    shared: Arc<Shared>,
    settings: Settings,
}

impl Applier {
    async fn run(mut self) {
        let mut progress = self.shared.progress.subscribe();
        // Whether more waits than one transaction holds: then there is no waiting for company.
        let mut hurried = false;
        loop {
            let due = |now: &Progress| now.applied < now.end || now.closed;
            if !hurried && progress.wait_for(due).await.is_ok() {
                tokio::time::sleep(self.settings.apply_every).await;
            }
            let now = *progress.borrow_and_update();
            if now.applied >= now.end {
                if now.closed {
                    break;
                }
                hurried = false;
                continue;
            }
            let Some((facts, to)) = self.next(now).await else { break };
            hurried = facts.len() >= self.settings.apply_max;
            self.giving(facts.first().map(|fact| fact.at));
            let Some(facts) = self.apply(facts).await else { break };
            self.shared.applied_count.fetch_add(facts.len() as u64, Ordering::Relaxed);
            if self.shared.applied.receiver_count() > 0 && !facts.is_empty() {
                // An error says that the last listener has just gone.
                _ = self.shared.applied.send(Arc::new(facts));
            }
            self.shared.progress.send_modify(|progress| {
                progress.applied = to;
                progress.oldest = None;
            });
        }
    }

    fn giving(&self, oldest: Option<Wall>) {
        // Nobody waits for this.
        self.shared.progress.send_if_modified(|progress| {
            progress.oldest = oldest;
            false
        });
    }

    /// The facts behind the applied position, from memory or from disk. None: the writer ends.
    async fn next(&mut self, now: Progress) -> Option<(Vec<Stamped>, Position)> {
        let max = self.settings.apply_max;
        if let Some(next) = self.shared.tail().take(now.applied, max) {
            return Some(next);
        }
        let (mut wait, longest) = self.settings.retry;
        loop {
            let mut reader = self.reader.take()?;
            let read = tokio::task::spawn_blocking(move || {
                let before = reader.damage();
                reader.seek(now.applied);
                let facts = reader.read(now.end, max);
                (facts, before, reader)
            });
            let (facts, before, reader) = read.await.ok()?;
            let (to, damage) = (reader.position(), reader.damage());
            self.reader = Some(reader);
            if damage != before {
                let damaged = damage.records + damage.segments + damage.unknown;
                self.shared.damaged.store(damaged, Ordering::Relaxed);
                tracing::error!(?damage, "the journal is damaged; reading goes on behind it");
            }
            match facts {
                Ok(facts) => return Some((facts, to)),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the journal cannot be read");
                    self.pause(&mut wait, longest).await?;
                }
            }
        }
    }

    /// Applies the facts, however long SQL is away, and gives back those it took. None: the writer ends; the facts are
    /// in the journal.
    async fn apply(&self, facts: Vec<Stamped>) -> Option<Vec<Stamped>> {
        match self.insist(&facts).await? {
            Ok(()) => Some(facts),
            Err(_) => {
                // One fact spoils the batch. All are tried alone, and it stays behind.
                let mut taken = Vec::with_capacity(facts.len());
                for fact in facts {
                    match self.insist(std::slice::from_ref(&fact)).await? {
                        Ok(()) => taken.push(fact),
                        Err(error) => {
                            self.shared.set_aside.fetch_add(1, Ordering::Relaxed);
                            let (id, kind) = (fact.id, fact.fact.kind());
                            tracing::error!(%id, kind, error = &error as &dyn std::error::Error, "a fact is set aside");
                        }
                    }
                }
                Some(taken)
            }
        }
    }

    /// One transaction, tried again while SQL is away. None: the writer ends.
    async fn insist(&self, facts: &[Stamped]) -> Option<Result<(), StoreError>> {
        let (mut wait, longest) = self.settings.retry;
        loop {
            match self.store.apply(facts).await {
                Err(error @ StoreError::Away(_)) => {
                    self.shared.sql_errors.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(error = &error as &dyn std::error::Error, "facts wait for SQL");
                    self.pause(&mut wait, longest).await?;
                }
                done => return Some(done),
            }
        }
    }

    /// Waits before the next attempt, a little longer each time. None: the writer has ended meanwhile.
    async fn pause(&self, wait: &mut Duration, longest: Duration) -> Option<()> {
        let mut progress = self.shared.progress.subscribe();
        let closed = tokio::time::timeout(*wait, progress.wait_for(|now| now.closed)).await;
        *wait = (*wait * 2).min(longest);
        closed.is_err().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::calls::CallFilter;
    use crate::store::{Page, sample};
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// Small and quick: everything overflows that can.
    fn settings(folder: &Path) -> Settings {
        let ms = Duration::from_millis;
        Settings {
            channel_max: 4_000,
            commit_max: 50,
            apply_max: 64,
            tail_max: 100,
            commit_every: ms(1),
            apply_every: ms(1),
            retry: (ms(1), ms(2)),
            ..Settings::new(folder)
        }
    }

    fn calls(numbers: std::ops::Range<u32>) -> Vec<Stamped> {
        numbers.flat_map(|number| sample::call("a", number)).collect()
    }

    fn tell(writer: &FactWriter, facts: &[Stamped]) {
        facts.iter().for_each(|fact| writer.tell(fact.clone()).unwrap());
    }

    async fn journalled(writer: &FactWriter, count: u64) {
        let mut progress = writer.shared.progress.subscribe();
        progress.wait_for(|now| now.journalled >= count).await.unwrap();
    }

    /// Ends the thread as a crash would: nothing is drained.
    fn abandon(writer: FactWriter) {
        let thread = writer.thread.lock().unwrap().take().unwrap();
        drop(writer);
        thread.join().unwrap();
    }

    async fn heard(listener: &mut broadcast::Receiver<Arc<Vec<Stamped>>>, count: usize) -> Vec<Stamped> {
        let mut heard = Vec::new();
        while heard.len() < count {
            heard.extend(listener.recv().await.unwrap().iter().cloned());
        }
        heard
    }

    #[tokio::test]
    async fn what_is_told_is_durable_applied_and_heard_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::memory().await.unwrap();
        let writer = FactWriter::start(settings(folder.path()), store.clone()).unwrap();
        let mut listener = writer.subscribe();
        let facts = calls(0..30);
        tell(&writer, &facts);
        writer.drain().await;
        let counts = writer.counts();
        assert_eq!((counts.told, counts.journalled, counts.applied), (330, 330, 330));
        assert!(!counts.behind && counts.refused == 0 && counts.damaged == 0);
        assert_eq!(heard(&mut listener, 330).await, facts);
        assert_eq!(store.site("a").calls(&CallFilter::default(), Page::default()).await.unwrap().len(), 30);
        writer.close().await;
    }

    #[tokio::test]
    async fn while_sql_is_away_facts_wait_on_disk_and_none_is_lost_or_out_of_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::memory().await.unwrap();
        store.run("ALTER TABLE calls RENAME TO away").await;
        let writer = FactWriter::start(settings(folder.path()), store.clone()).unwrap();
        let mut listener = writer.subscribe();
        let facts = calls(0..200);
        tell(&writer, &facts);
        journalled(&writer, 2_200).await;
        while writer.counts().sql_errors < 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(writer.counts().applied, 0);
        assert!(writer.counts().behind);
        assert_eq!(writer.counts().oldest, Some(facts[0].at));
        assert!(writer.shared.tail().facts <= 100, "memory is bounded");
        store.run("ALTER TABLE away RENAME TO calls").await;
        assert_eq!(heard(&mut listener, 2_200).await, facts);
        writer.drain().await;
        assert_eq!(writer.counts().oldest, None);
        writer.close().await;
    }

    #[tokio::test]
    async fn a_restart_catches_up_from_the_acknowledged_position() {
        let folder = tempfile::tempdir().unwrap();
        let first = Store::memory().await.unwrap();
        let writer = FactWriter::start(settings(folder.path()), first.clone()).unwrap();
        tell(&writer, &calls(0..10));
        writer.close().await;
        first.run("ALTER TABLE calls RENAME TO away").await;
        let writer = FactWriter::start(settings(folder.path()), first).unwrap();
        tell(&writer, &calls(10..40));
        journalled(&writer, 330).await;
        abandon(writer);
        let second = Store::memory().await.unwrap();
        let writer = FactWriter::start(settings(folder.path()), second.clone()).unwrap();
        tell(&writer, &calls(40..45));
        writer.drain().await;
        assert_eq!(writer.counts().applied, 35 * 11, "the first ten were acknowledged");
        let calls = second.site("a").calls(&CallFilter::default(), Page::default()).await.unwrap();
        assert_eq!(calls.len(), 35);
        writer.close().await;
    }

    /// A segment that leads to `/dev/full` stands for a full disk.
    #[tokio::test]
    async fn a_full_disk_fills_the_channel_and_the_refused_fact_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::memory().await.unwrap();
        let settings = Settings { channel_max: 20, ..settings(folder.path()) };
        let writer = FactWriter::start(settings, store.clone()).unwrap();
        let segment = folder.path().join("000000000001.journal");
        symlink("/dev/full", &segment).unwrap();
        let facts = calls(0..100);
        let mut told = 0;
        let refused = loop {
            match writer.tell(facts[told].clone()) {
                Ok(()) => told += 1,
                Err(refused) if writer.counts().journal_errors > 0 => break refused,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        assert_eq!(refused, Refused::Full(Box::new(facts[told].clone())));
        assert!(told <= 20 + 50, "bounded by the channel and one commit");
        assert_eq!(writer.counts().journalled, 0);
        std::fs::remove_file(&segment).unwrap();
        writer.drain().await;
        assert_eq!(writer.counts().applied, told as u64);
        assert!(writer.counts().refused > 0);
        writer.close().await;
    }

    /// Each commit has a segment of its own, so that any one of them can be led to `/dev/full`.
    #[tokio::test]
    async fn whichever_commit_and_whichever_transaction_fails_nothing_is_lost_doubled_or_out_of_order() {
        for failing in 1..=6u64 {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::memory().await.unwrap();
            let mut settings = settings(folder.path());
            settings.journal.segment_bytes_max = 1;
            let writer = FactWriter::start(settings, store.clone()).unwrap();
            let mut listener = writer.subscribe();
            let segment = folder.path().join(format!("{failing:012}.journal"));
            symlink("/dev/full", &segment).unwrap();
            for number in 0..failing as u32 - 1 {
                tell(&writer, &sample::call("a", number));
                journalled(&writer, 11 * u64::from(number + 1)).await;
                writer.drain().await;
            }
            store.run("ALTER TABLE calls RENAME TO away").await;
            tell(&writer, &sample::call("a", failing as u32 - 1));
            while writer.counts().journal_errors == 0 {
                tokio::task::yield_now().await;
            }
            std::fs::remove_file(&segment).unwrap();
            while writer.counts().sql_errors == 0 {
                tokio::task::yield_now().await;
            }
            store.run("ALTER TABLE away RENAME TO calls").await;
            writer.drain().await;
            assert_eq!(heard(&mut listener, 11 * failing as usize).await, calls(0..failing as u32), "{failing}");
            let stored = store.site("a").calls(&CallFilter::default(), Page::default()).await.unwrap();
            assert_eq!((stored.len() as u64, writer.counts().applied), (failing, 11 * failing));
            writer.close().await;
        }
    }

    #[tokio::test]
    async fn a_fact_that_sql_refuses_is_set_aside_and_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::memory().await.unwrap();
        store.run("CREATE UNIQUE INDEX once ON audit (object)").await;
        let writer = FactWriter::start(settings(folder.path()), store.clone()).unwrap();
        let mut facts = calls(0..3);
        facts.extend(sample::call("b", 1));
        tell(&writer, &facts);
        writer.drain().await;
        let counts = writer.counts();
        assert_eq!((counts.applied, counts.set_aside), (43, 1));
        assert_eq!(store.site("b").calls(&CallFilter::default(), Page::default()).await.unwrap().len(), 1);
        writer.close().await;
    }

    #[tokio::test]
    async fn a_closed_writer_refuses_and_a_second_one_is_kept_out_until_then() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::memory().await.unwrap();
        let writer = FactWriter::start(settings(folder.path()), store.clone()).unwrap();
        let second = FactWriter::start(settings(folder.path()), store.clone());
        assert!(matches!(second, Err(JournalError::InUse)));
        let clone = writer.clone();
        writer.close().await;
        let fact = calls(0..1).remove(0);
        assert_eq!(clone.tell(fact.clone()), Err(Refused::Closed(Box::new(fact))));
        FactWriter::start(settings(folder.path()), store).unwrap().close().await;
    }

    #[tokio::test]
    async fn facts_larger_than_the_journal_may_hold_at_once_are_committed_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::memory().await.unwrap();
        let mut settings = settings(folder.path());
        settings.journal.pending_bytes_max = 1_000;
        let writer = FactWriter::start(settings, store).unwrap();
        tell(&writer, &calls(0..20));
        writer.drain().await;
        assert_eq!((writer.counts().applied, writer.counts().set_aside), (220, 0));
        writer.close().await;
    }
}
