//! The shell of the call-backs: one task for all sites.
//!
//! What is promised is a fact before it is told here, so whatever this task misses, or forgets when the process dies, it
//! finds again in the store.

use super::clock;
use super::facts::FactWriter;
use super::guard::fenced;
use super::start::Node;
use super::wires::{Wires, lock};
use crate::base::fact::{CallbackRecord, CallbackSource, Stamped};
use crate::base::number::{Number, NumberError};
use crate::base::{CallbackId, ContactId, FactId, Mint, Now, OrderId, ShardId, SiteId, Wall};
use crate::call::event::Event as ToCalls;
use crate::callback::event::{Command, Event};
use crate::callback::{Callbacks, Counts};
use crate::store::Store;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Messages that may wait for the task; one that finds no room is found in the store.
pub(super) const EVENTS_MAX: usize = 4_096;
/// Messages taken at once.
const BATCH_MAX: usize = 64;
/// Looked at the clock, and after what was missed, at least this often.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Before the store is asked again, after it could not be read.
const READ_AGAIN: Duration = Duration::from_secs(10);
/// Taken from the store at once, of one site.
const LOADED_MAX: u32 = 10_000;

/// The way to the task.
#[derive(Debug)]
pub(super) struct ToCallbacks {
    events: mpsc::Sender<Event>,
    /// Something found no room: the store knows it.
    missed: AtomicBool,
    /// What stands there, as of the last message.
    counts: Mutex<Counts>,
}

impl ToCallbacks {
    pub(super) fn new() -> (ToCallbacks, mpsc::Receiver<Event>) {
        let (events, mailbox) = mpsc::channel(EVENTS_MAX);
        // What was promised before this process began is in the store too.
        (ToCallbacks { events, missed: AtomicBool::new(true), counts: Mutex::default() }, mailbox)
    }

    /// Hands an event over. Returns whether it found room.
    pub(super) fn tell(&self, event: Event) -> bool {
        let told = self.events.try_send(event).is_ok();
        self.missed.fetch_or(!told, Ordering::Relaxed);
        told
    }

    pub(super) fn counts(&self) -> Counts {
        *lock(&self.counts)
    }
}

/// The call-backs with their hands.
pub(super) struct CallbackTask {
    pub(super) callbacks: Callbacks,
    pub(super) wires: Arc<Wires>,
    pub(super) open: OpenCallbacks,
    pub(super) mint: Mint,
}

impl CallbackTask {
    /// Runs until the mailbox is closed.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        // Of a process before this one nobody holds an agent any more.
        for (site, _) in self.open.sites.clone() {
            self.step(clock::now(), Event::Resync { site });
        }
        let mut some = Vec::new();
        // Read beside this task: offers do not wait while SQL is away.
        let mut reading = JoinSet::new();
        loop {
            if reading.is_empty() && self.wires.callbacks.missed.swap(false, Ordering::Relaxed) {
                reading.spawn(self.open.clone().read());
            }
            let next = self.callbacks.next_deadline();
            let wait = next.map_or(IDLE_MAX, |at| at.since(clock::now().mono).min(IDLE_MAX));
            tokio::select! {
                count = events.recv_many(&mut some, BATCH_MAX) => if count == 0 { return },
                Some(read) = reading.join_next() => self.take_up(read.unwrap_or_default()),
                () = tokio::time::sleep(wait) => {}
            }
            some.drain(..).for_each(|event| self.step(clock::now(), event));
            self.expire(clock::now());
            *lock(&self.wires.callbacks.counts) = self.callbacks.counts();
        }
    }

    fn take_up(&mut self, open: Vec<(SiteId, CallbackRecord)>) {
        for (site, record) in open {
            self.step(clock::now(), Event::Asked { site, record: Box::new(record) });
        }
    }

    fn step(&mut self, now: Now, event: Event) {
        let mut out = Vec::new();
        if fenced("callbacks", 0, || self.callbacks.handle(now, event, &mut out)).is_ok() {
            self.carry_out(now, out);
        }
    }

    fn expire(&mut self, now: Now) {
        let mut out = Vec::new();
        if fenced("callbacks", 0, || self.callbacks.expire(now, &mut out)).is_ok() {
            self.carry_out(now, out);
        }
    }

    fn carry_out(&mut self, now: Now, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Acd { site, event } => self.wires.to_acd(site, event),
                Command::Try(attempt) => self.wires.to_call(self.shard(attempt.contact), ToCalls::CallBack(attempt)),
                Command::GiveUp { contact } => {
                    self.wires.to_call(self.shard(contact), ToCalls::GiveUp { contact });
                }
                Command::Fact { site, fact } => {
                    let (id, site) = (FactId(self.mint.mint(now.wall)), self.wires.setup.load().code(site));
                    (self.wires.facts)(Stamped { id, at: now.wall, site, fact });
                }
            }
        }
    }

    /// The last bits of an id are chance.
    fn shard(&self, contact: ContactId) -> ShardId {
        ShardId((contact.0 % self.wires.shards.len() as u128) as u8)
    }
}

/// Where those are found that are open: promised before this process began, or when the mailbox was full.
#[derive(Clone)]
pub(super) struct OpenCallbacks {
    pub(super) facts: FactWriter,
    pub(super) store: Store,
    /// In numerical order.
    pub(super) sites: Vec<(SiteId, Box<str>)>,
}

impl OpenCallbacks {
    /// Waits until the store has all that was told before, also by a process that died: one whose end is still on its way
    /// would be called once more. While the store is away it is asked again.
    async fn read(self) -> Vec<(SiteId, CallbackRecord)> {
        self.facts.drain().await;
        let mut open = Vec::new();
        for (site, code) in &self.sites {
            open.extend(self.of_site(code).await.into_iter().map(|record| (*site, record)));
        }
        open
    }

    async fn of_site(&self, code: &str) -> Vec<CallbackRecord> {
        loop {
            match self.store.site(code).open_callbacks(LOADED_MAX).await {
                Ok(open) => return open,
                Err(error) => tracing::warn!(%error, site = code, "open call-backs cannot be read: asked again"),
            }
            tokio::time::sleep(READ_AGAIN).await;
        }
    }
}

/// What somebody of ours wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The call-back it shall be.
    pub callback: CallbackId,
    /// Whose.
    pub site: SiteId,
    /// Name of the queue whose agents call.
    pub queue: Box<str>,
    /// Whom to call, as people write numbers.
    pub number: Box<str>,
    /// The contact it comes from.
    pub contact: Option<ContactId>,
    /// The order it is about.
    pub order: Option<OrderId>,
    /// Since when they have been waiting; `None` from now on.
    pub since: Option<Wall>,
}

/// Why nobody is called back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It cannot be called at all.
    #[error("the number {0}")]
    Number(#[from] NumberError),
    /// No rule of the allow-list names it.
    #[error("no rule of sip-profiles/dialling.toml names this number for this site")]
    NotListed,
    /// The queue is not there, or calls nobody back.
    #[error("this queue calls nobody back: give it `callback` in sip-profiles/queues.toml")]
    NoCallbacks,
    /// Too many messages wait.
    #[error("the node is too busy to take this: ask again")]
    Busy,
}

/// What is asked of the call-backs by hand.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Call somebody back.
    Take(Box<Wish>),
    /// Do not, after all.
    Withdraw(CallbackId),
}

impl Node {
    /// Hands wishes to the call-backs.
    pub fn call_back(&self) -> impl Fn(Ask) -> Result<(), NotTaken> + Send + Sync + 'static {
        let wires = self.wires().clone();
        move |ask| match ask {
            Ask::Take(wish) => take(&wires, *wish),
            Ask::Withdraw(callback) => {
                if wires.callbacks.tell(Event::Withdraw { callback }) {
                    Ok(())
                } else {
                    Err(NotTaken::Busy)
                }
            }
        }
    }
}

fn take(wires: &Wires, wish: Wish) -> Result<(), NotTaken> {
    let setup = wires.setup.load();
    let area = setup.calls.sites.get(wish.site.index()).map_or("", |site| &site.area_code);
    let number = Number::parse(&wish.number, area)?;
    if setup.calls.dialling.rule_by_hand(wish.site, &number).is_none() {
        return Err(NotTaken::NotListed);
    }
    if setup.callbacks.queue(wish.site, &wish.queue).is_none() {
        return Err(NotTaken::NoCallbacks);
    }
    let asked = clock::now().wall;
    let record = Box::new(CallbackRecord {
        callback: wish.callback,
        revision: 1,
        number: number.as_str().into(),
        queue: wish.queue,
        priority: 0,
        source: CallbackSource::Desk,
        contact: wish.contact,
        order: wish.order,
        since: wish.since.unwrap_or(asked),
        asked,
        not_before: asked,
        attempts: Vec::new(),
        closed: None,
        result: None,
    });
    let fact = crate::base::Fact::Callback(record.clone());
    (wires.facts)(Stamped { id: FactId(wish.callback.0), at: asked, site: setup.code(wish.site), fact });
    // One that finds no room now is found in the store.
    wires.callbacks.tell(Event::Asked { site: wish.site, record });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::facts::Settings;
    use super::*;
    use crate::base::Fact;
    use crate::base::fact::CallbackResult;
    use crate::store::sample;

    fn told(revision: u32, result: Option<CallbackResult>) -> Stamped {
        let record = CallbackRecord {
            callback: CallbackId(1),
            revision,
            number: "+8613800000001".into(),
            queue: "general".into(),
            priority: 3,
            source: CallbackSource::Key,
            contact: None,
            order: None,
            since: Wall(1_000),
            asked: Wall(1_000),
            not_before: Wall(1_000),
            attempts: Vec::new(),
            closed: result.map(|_| Wall(2_000)),
            result,
        };
        let fact = Fact::Callback(Box::new(record));
        Stamped { id: FactId(u128::from(revision)), at: Wall(0), site: "a".into(), fact }
    }

    #[tokio::test]
    async fn one_whose_end_is_on_its_way_to_the_store_is_not_taken_for_open() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::memory().await.unwrap();
        let facts = FactWriter::start(Settings::new(folder.path()), store.clone()).unwrap();
        let open = OpenCallbacks { facts: facts.clone(), store: store.clone(), sites: vec![(SiteId(0), "a".into())] };
        facts.tell(told(1, None)).unwrap();
        assert_eq!(open.clone().read().await.len(), 1);
        store.run("ALTER TABLE calls RENAME TO away").await;
        sample::call("a", 1).into_iter().for_each(|fact| facts.tell(fact).unwrap());
        facts.tell(told(2, Some(CallbackResult::Reached))).unwrap();
        let mut reading = std::pin::pin!(open.read());
        while facts.counts().sql_errors < 2 {
            tokio::select! {
                biased;
                _ = &mut reading => panic!("the store has not heard of the end"),
                () = tokio::task::yield_now() => {}
            }
        }
        store.run("ALTER TABLE away RENAME TO calls").await;
        assert_eq!(reading.await, []);
        facts.close().await;
    }
}
