//! What stands goes to disk, off every call's path: calls with their legs, agents, and how far media legs have come.
//!
//! Shards and ACDs hand over what changed, encoded, at most every [`KEEP_EVERY`]; one thread writes it. Nothing waits
//! for the disk: what finds no room is given again. A crash of the process loses the changes of the last [`KEEP_EVERY`];
//! the journal loses no more, and what the two disagree on is settled at the start (`restore`). Records are written by
//! `postcard`, without field names, so that a call costs a microsecond and a kilobyte; each bears a version, and one of
//! another version is a call that cannot go on.

use super::clock;
use crate::acd::KeptAgent;
use crate::base::{AgentId, CallId, LegId, MediaThreadId};
use crate::media::event::{Mark, Marks};
use crate::shard::{self, Standing};
use crate::store::standing::{Key, Records, Standing as File, append};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Changes are collected for so long at most.
pub(super) const KEEP_EVERY: Duration = Duration::from_millis(10);
/// Batches that may wait for the disk: more than a second's, of all shards and ACDs.
const BATCHES_MAX: usize = 1_024;
/// At most one error in so many milliseconds is logged.
const LOG_EVERY_MS: u64 = 1_000;

const CALL: u128 = 1 << 120;
const AGENT: u128 = 2 << 120;
const MARKS: u128 = 3 << 120;
const STARTS: u128 = 4 << 120;
const KINDS: u128 = 0xff << 120;

/// A process that dies sooner after its start may have died of what it took up.
const YOUNG: Duration = Duration::from_secs(10);
/// After so many that died young, the next takes up no calls: they end, so that others can be served.
const DIED_YOUNG_MAX: u8 = 3;

/// What the process before left.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// This life of the node, counted from 1.
    pub(super) epoch: u32,
    pub(super) calls: Vec<Standing>,
    pub(super) agents: Vec<KeptAgent>,
    pub(super) marks: Marks,
    /// Records that cannot be read: damaged, or of another version.
    pub(super) unreadable: Vec<Key>,
    /// How many processes in a row died soon after their start, while calls stood.
    died_young: u8,
}

/// The thread that writes.
pub(super) struct Keeper {
    way: ToKeeper,
    thread: JoinHandle<()>,
}

/// A way to the thread.
#[derive(Clone, Debug)]
pub(super) struct ToKeeper(SyncSender<Message>);

#[derive(Debug)]
enum Message {
    Frames(Vec<u8>),
    Marks(MediaThreadId, Vec<(LegId, Mark)>),
    /// Nothing stands any more: the node stops in order.
    Stop,
}

impl Keeper {
    /// Opens the file in `folder` and gives what it holds.
    pub(super) fn start(folder: impl Into<PathBuf>) -> io::Result<(Keeper, Before)> {
        let (mut file, records) = File::open(folder)?;
        let before = Before::of(file.epoch(), records);
        let mut frames = Vec::new();
        put(&mut frames, STARTS, Some(&before.died_young.saturating_add(1)));
        file.write(&frames)?;
        let (to, messages) = sync_channel(BATCHES_MAX);
        let thread = Builder::new().name("standing".into()).spawn(move || run(file, &messages))?;
        Ok((Keeper { way: ToKeeper(to), thread }, before))
    }

    pub(super) fn way(&self) -> ToKeeper {
        self.way.clone()
    }

    /// The node stops in order: nothing is left to be restored.
    pub(super) fn stop(self) {
        // A thread that is gone has nothing to forget.
        let _ = self.way.0.send(Message::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that keeps what stands had panicked");
        }
    }
}

impl ToKeeper {
    /// Gives records without waiting; what finds no room stays in `frames`.
    pub(super) fn give(&self, frames: &mut Vec<u8>) {
        if frames.is_empty() {
            return;
        }
        match self.0.try_send(Message::Frames(std::mem::take(frames))) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(Message::Frames(refused))) => *frames = refused,
            Err(TrySendError::Full(Message::Marks(..) | Message::Stop)) => unreachable!("frames were given"),
        }
    }

    /// Gives the marks of a thread's legs; without room those of a second later will do.
    pub(super) fn mark(&self, thread: MediaThreadId, marks: Vec<(LegId, Mark)>) {
        let _ = self.0.try_send(Message::Marks(thread, marks));
    }
}

fn run(mut file: File, messages: &Receiver<Message>) {
    let mut logged_ms = 0;
    let mut young_until = Some(clock::now().mono + YOUNG);
    let mut written = |done: io::Result<()>| {
        let now_ms = clock::now().mono.ms();
        if let Err(error) = done
            && now_ms >= logged_ms + LOG_EVERY_MS
        {
            logged_ms = now_ms;
            tracing::error!(%error, "what stands cannot be written: a crash now would end calls");
        }
    };
    for message in messages {
        if young_until.take_if(|until| *until <= clock::now().mono).is_some() {
            let mut frames = Vec::new();
            put::<u8>(&mut frames, STARTS, None);
            written(file.write(&frames));
        }
        match message {
            Message::Frames(frames) => written(file.write(&frames)),
            Message::Marks(thread, marks) => {
                let mut frames = Vec::new();
                put(&mut frames, MARKS | u128::from(thread.0), Some(&marks));
                written(file.write(&frames));
            }
            Message::Stop => return written(file.clear()),
        }
    }
}

impl Before {
    pub(super) fn of(epoch: u32, records: Records) -> Before {
        let mut before = Before { epoch, ..Before::default() };
        for (key, payload) in records {
            let understood = match key & KINDS {
                CALL => read(&payload).map(|call| before.calls.push(call)),
                AGENT => read(&payload).map(|agent| before.agents.push(agent)),
                STARTS => read(&payload).map(|starts| before.died_young = starts),
                MARKS => read::<Vec<(LegId, Mark)>>(&payload).map(|marks| before.marks.extend(marks)),
                _ => None,
            };
            if understood.is_none() {
                before.unreadable.push(key);
            }
        }
        if before.died_young >= DIED_YOUNG_MAX {
            tracing::error!(calls = before.calls.len(), "one start after another has failed: calls are not taken up");
            let calls = std::mem::take(&mut before.calls);
            before.unreadable.extend(calls.iter().map(|call| key_of(call.id())));
        }
        before
    }
}

/// Says how a call stands now; `None` that it is gone.
pub(super) fn put_call(frames: &mut Vec<u8>, call: CallId, standing: Option<&Standing>) {
    put(frames, key_of(call), standing);
}

fn key_of(CallId { shard, slot, generation }: CallId) -> Key {
    CALL | u128::from(shard.0) << 64 | u128::from(slot) << 32 | u128::from(generation)
}

/// Says how an agent stands now.
pub(super) fn put_agent(frames: &mut Vec<u8>, agent: AgentId, kept: Option<&KeptAgent>) {
    put(frames, AGENT | u128::from(agent.0), kept);
}

/// Takes away a record that nobody can read.
pub(super) fn put_nothing(frames: &mut Vec<u8>, key: Key) {
    append(frames, key, &[]);
}

fn put<T: Serialize>(frames: &mut Vec<u8>, key: Key, record: Option<&T>) {
    let payload = record.map(|record| {
        let version = shard::standing::VERSION.to_le_bytes().to_vec();
        postcard::to_extend(record, version).expect("plain data always serialises")
    });
    append(frames, key, &payload.unwrap_or_default());
}

fn read<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    let (version, record) = payload.split_first_chunk()?;
    if u16::from_le_bytes(*version) != shard::standing::VERSION {
        return None;
    }
    match postcard::take_from_bytes(record) {
        Ok((record, [])) => Some(record),
        Ok((_, _)) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_in_order_leaves_nothing_and_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let agent = crate::acd::Acd::new(std::sync::Arc::default(), 1);
        for _ in 0..5 {
            let (keeper, before) = Keeper::start(folder.path()).unwrap();
            assert_eq!((before.died_young, before.marks.len()), (0, 0));
            let mark = Mark { at: clock::now().mono, sequence: 7, rtp: None, rtcp: None };
            keeper.way().mark(MediaThreadId(1), vec![(LegId(4), mark)]);
            let mut frames = Vec::new();
            put_agent(&mut frames, AgentId(1), agent.kept_agent(AgentId(1)).as_ref());
            keeper.way().give(&mut frames);
            assert!(frames.is_empty(), "there is room");
            keeper.stop();
        }
    }
}
