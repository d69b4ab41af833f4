//! The end of a node: no new calls, running ones finish, and all that is known is written.

use super::{Node, save_registrations};
use crate::base::ShardId;
use crate::call::event::Event as ToCalls;
use crate::node::live::Object;
use crate::node::wires::lock;
use std::time::Duration;
use tokio::sync::watch;

/// Seconds after which a refused trunk may try again while we drain.
const RETRY_AFTER_S: u32 = 30;
/// After the bound of draining, callers still there are hung up on and have this long to say so.
const HANG_UP_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long the database may take for the last facts.
const FACTS_WAIT_MAX: Duration = Duration::from_secs(30);

impl Node {
    /// No new calls; running ones finish, within the configured bound or until `hurry` turns true; then everything is
    /// written and the node ends.
    pub async fn drain(self, mut hurry: watch::Receiver<bool>) {
        for index in 0..self.wires.shards.len() {
            self.wires.to_call(ShardId(index as u8), ToCalls::Drain { retry_after_s: RETRY_AFTER_S });
        }
        let hurried = async move {
            // A closed channel can hurry nobody.
            if hurry.wait_for(|hurry| *hurry).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.no_calls() => {}
            () = tokio::time::sleep(self.config.node.drain_max) => self.hang_up_all().await,
            () = hurried => self.hang_up_all().await,
        }
        self.courier.stop().await;
        lock(&self.listeners).close();
        for task in &self.tasks {
            task.abort();
        }
        for task in self.tasks {
            // Cancelled, as asked.
            let _ = task.await;
        }
        save_registrations(&self.wires);
        let (media, recorder, keeper, archive) = (self.media, self.recorder, self.keeper, self.archive);
        let routing = self.routing;
        let stopped = tokio::task::spawn_blocking(move || {
            if let Some((_, worker)) = archive {
                worker.stop();
            }
            drop(media);
            recorder.stop();
            keeper.stop();
            routing.stop();
        });
        if stopped.await.is_err() {
            tracing::error!("the media threads or the recorder did not stop in order");
        }
        if tokio::time::timeout(FACTS_WAIT_MAX, self.facts.drain()).await.is_err() {
            tracing::warn!(
                "the database is away: what it does not have yet is in the journal and follows at the next start"
            );
        } else {
            self.facts.close().await;
        }
        self.store.close().await;
    }

    async fn no_calls(&self) {
        let mut changes = self.wires.live.watch();
        while self.wires.calls_live() > 0 {
            // The last call's end is shown before it is counted: hence also a look by the clock.
            let _ = tokio::time::timeout(Duration::from_millis(100), changes.changed()).await;
        }
    }

    async fn hang_up_all(&self) {
        let snapshot = self.wires.live.snapshot(None);
        for change in snapshot.objects {
            if let Object::Call(call) = &change.object {
                self.wires.hang_up(call.view.call);
            }
        }
        if tokio::time::timeout(HANG_UP_WAIT_MAX, self.no_calls()).await.is_err() {
            tracing::error!(calls = self.wires.calls_live(), "calls are cut off");
        }
    }
}
