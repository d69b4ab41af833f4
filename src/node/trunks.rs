//! The shell of the table of trunks: one for all shards, behind a lock that is held for one step.
//!
//! A shard's wish is answered in its own pass, so that limits are exact. What the table asks of trunks goes out by one
//! shard a trunk; its clock is a task of its own.

use super::clock;
use super::guard::fenced;
use super::wires::{Wires, lock};
use crate::base::number::mask;
use crate::base::{Now, ShardId, TrunkId};
use crate::net::dns::Resolver;
use crate::shard;
use crate::trunk::Trunks;
use crate::trunk::event::{Alarm, Command, Event, Settings, View};
use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// Looked at the clock at least this often.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The table.
#[derive(Debug)]
pub(super) struct TrunkTable {
    settings: ArcSwap<Settings>,
    trunks: Mutex<Trunks>,
    /// The next deadline may have come nearer.
    changed: Notify,
}

impl TrunkTable {
    pub(super) fn new(settings: Settings) -> TrunkTable {
        let settings = Arc::new(settings);
        TrunkTable {
            trunks: Mutex::new(Trunks::new(settings.clone())),
            settings: ArcSwap::new(settings),
            changed: Notify::new(),
        }
    }

    /// Takes new settings.
    pub(super) fn configure(&self, now: Now, settings: Settings) {
        let settings = Arc::new(settings);
        self.settings.store(settings.clone());
        let said = self.tell(now, Event::Configure(settings));
        debug_assert!(said.is_empty(), "settings answer no leg: {said:?}");
    }

    /// Takes one event; what is said to legs is given back.
    pub(super) fn tell(&self, now: Now, event: Event) -> Vec<Command> {
        let moves_clock = match &event {
            Event::Answered(_) | Event::Resolved { .. } | Event::Configure(_) => true,
            Event::Seize(_) | Event::Release { .. } | Event::Hold { .. } | Event::Failed { .. } => false,
        };
        let out = self.step(|trunks, out| trunks.handle(now, event, out));
        if moves_clock {
            self.changed.notify_one();
        }
        out.into_iter().filter(|command| !self.alarm(command)).collect()
    }

    /// Everything as it stands.
    pub(super) fn views(&self, now: Now) -> Vec<View> {
        lock(&self.trunks).views(now.mono)
    }

    /// The host by which a trunk at this address is known.
    pub(super) fn host_at(&self, peer: SocketAddr) -> Option<Box<str>> {
        lock(&self.trunks).host_at(peer).map(Into::into)
    }

    fn step(&self, step: impl FnOnce(&mut Trunks, &mut Vec<Command>)) -> Vec<Command> {
        let mut out = Vec::new();
        let mut trunks = lock(&self.trunks);
        if fenced("trunks", 0, || step(&mut trunks, &mut out)).is_err() {
            tracing::error!("the table of trunks lost a step");
        }
        out
    }

    fn name(&self, trunk: TrunkId) -> Box<str> {
        self.settings.load().trunks.get(trunk.index()).map_or_else(|| "".into(), |profile| profile.name.clone())
    }

    /// Says it to people, if it is for them.
    fn alarm(&self, command: &Command) -> bool {
        let Command::Alarm { trunk, what } = command else { return false };
        let name = &*self.name(*trunk);
        match what {
            Alarm::Up => tracing::info!(trunk = name, "trunk is up"),
            Alarm::Down => tracing::error!(trunk = name, "trunk is down"),
            Alarm::Registered => tracing::info!(trunk = name, "registered at the trunk"),
            Alarm::Unregistered(status) => tracing::error!(trunk = name, status, "not registered at the trunk"),
            Alarm::Unresolved => tracing::error!(trunk = name, "the trunk's name has no address"),
        }
        true
    }
}

/// Lets the table's time pass until the node ends.
pub(super) async fn run(wires: Arc<Wires>, resolver: Resolver) {
    for profile in &wires.trunks.settings.load().trunks {
        let account = profile.login.as_ref().map(|login| mask(&login.user));
        tracing::debug!(trunk = &*profile.name, account, remote = profile.remote.is_some(), "trunk");
    }
    loop {
        let now = clock::now();
        let commands = wires.trunks.step(|trunks, out| trunks.expire(now, out));
        for command in commands {
            match command {
                Command::Ask { trunk, ask } => {
                    let shard = usize::from(trunk.0) % wires.shards.len();
                    wires.to_shard(ShardId(shard as u8), shard::Event::Ask(ask));
                }
                Command::Resolve { trunk } => resolve(wires.clone(), resolver.clone(), trunk),
                Command::Alarm { .. } => _ = wires.trunks.alarm(&command),
                // Said only to a wish, in its own pass.
                Command::Granted { .. } | Command::Refused { .. } => {}
            }
        }
        let next = lock(&wires.trunks.trunks).next_deadline();
        let wait = next.map_or(IDLE_MAX, |at| at.since(clock::now().mono).min(IDLE_MAX));
        // Not earlier than a tick, so that a deadline that cannot be met spins nothing.
        let _ = tokio::time::timeout(wait.max(Duration::from_millis(1)), wires.trunks.changed.notified()).await;
    }
}

fn resolve(wires: Arc<Wires>, resolver: Resolver, trunk: TrunkId) {
    let remote = wires.trunks.settings.load().trunks.get(trunk.index()).and_then(|profile| profile.remote.clone());
    let Some(remote) = remote else { return };
    tokio::spawn(async move {
        let (host, port) = remote.proxy.unwrap_or((remote.host, remote.port));
        let (targets, life) = match resolver.targets(&host, port, remote.transport).await {
            Ok((mut targets, life)) => {
                let setup = wires.setup.load();
                let ipv4 = setup.sip.listeners.get(usize::from(remote.listener)).map(|it| it.advertised.is_ipv4());
                // What its listener cannot speak to is no target.
                targets.retain(|target| ipv4.is_none_or(|ipv4| ipv4 == target.is_ipv4()));
                (targets, life)
            }
            Err(error) => {
                tracing::warn!(trunk = &*wires.trunks.name(trunk), %error, "the trunk's name was not found");
                (Vec::new(), Duration::ZERO)
            }
        };
        for command in wires.trunks.tell(clock::now(), Event::Resolved { trunk, targets, life }) {
            debug_assert!(false, "a look-up answers no leg: {command:?}");
        }
    });
}
