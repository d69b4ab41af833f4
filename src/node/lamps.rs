//! What our own calls have shown of targets, for their lamps: who is with them now, and how the last try went.
//!
//! Fed by what calls show of themselves. Judges nothing: see [`lamp`](crate::call::lamp).

use crate::base::{CallId, SiteId};
use crate::call::event::CallView;
use crate::call::lamp::{LastTry, Use};
use crate::call::targets::Targets;
use std::collections::{BTreeMap, BTreeSet};

type Key = (SiteId, Box<str>);

/// Of every target that was asked for: forgotten when it is no longer configured.
#[derive(Debug, Default)]
pub(super) struct Tries {
    of: BTreeMap<Key, Tried>,
    /// What each call has shown last.
    shown: BTreeMap<CallId, Shown>,
}

#[derive(Debug, Default)]
struct Tried {
    running: BTreeSet<CallId>,
    last: Option<LastTry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    key: Key,
    /// How it went; `None` while it lasts.
    last: Option<LastTry>,
}

impl Tries {
    /// A call shows where it stands.
    pub(super) fn shown(&mut self, view: &CallView) {
        let after = view.transfer.as_ref().map(|it| Shown {
            key: (view.site, it.target.clone()),
            last: it.result.zip(it.ended).map(|(result, at)| LastTry { at, result, status: it.status }),
        });
        let before = match (&after, view.stage) {
            (Some(after), Some(_)) => self.shown.insert(view.call, after.clone()),
            (Some(_), None) | (None, _) => self.shown.remove(&view.call),
        };
        if before == after && view.stage.is_some() {
            return;
        }
        if let Some(tried) = before.and_then(|before| self.of.get_mut(&before.key)) {
            tried.running.remove(&view.call);
        }
        let Some(after) = after else { return };
        let tried = self.of.entry(after.key).or_default();
        match after.last {
            Some(last) => tried.last = tried.last.filter(|it| it.at > last.at).or(Some(last)),
            None if view.stage.is_some() => _ = tried.running.insert(view.call),
            None => {}
        }
    }

    pub(super) fn of(&self, site: SiteId, target: &str) -> Use {
        let tried = self.of.get(&(site, target.into()));
        tried.map_or_else(Use::default, |it| Use { running: it.running.len() as u32, last: it.last })
    }

    /// Other targets from now on.
    pub(super) fn keep(&mut self, targets: &Targets) {
        self.of.retain(|(site, name), tried| !tried.running.is_empty() || targets.named(*site, name).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Wall;
    use crate::base::fact::{Stage, TargetKind, TransferResult};
    use crate::call::transfer::{Phase, TransferView};
    use crate::node::live::tests::view;

    const SITE: SiteId = SiteId(1);

    fn shows(tries: &mut Tries, slot: u32, stage: Option<Stage>, ended: Option<(TransferResult, i64)>) {
        let transfer = TransferView {
            target: "water".into(),
            kind: TargetKind::Utility,
            drill: false,
            phase: ended.is_none().then_some(Phase::Dialling),
            mute: false,
            result: ended.map(|(result, _)| result),
            status: ended.map(|_| 486),
            ended: ended.map(|(_, at)| Wall(at)),
            dial: None,
        };
        tries.shown(&CallView { site: SITE, transfer: Some(transfer), ..view(slot, stage, 0) });
    }

    #[test]
    fn calls_with_a_target_are_counted_once_and_the_newest_result_is_kept() {
        let mut tries = Tries::default();
        let seen = |tries: &Tries| {
            let used = tries.of(SITE, "water");
            (used.running, used.last.map(|last| (last.result, last.at.0)))
        };
        assert_eq!(seen(&tries), (0, None));
        for slot in [1, 1, 2] {
            shows(&mut tries, slot, Some(Stage::Talking), None);
        }
        assert_eq!(seen(&tries), (2, None));
        shows(&mut tries, 1, Some(Stage::Talking), Some((TransferResult::Busy, 50)));
        assert_eq!(seen(&tries), (1, Some((TransferResult::Busy, 50))));
        // One that began again, and one that ends with its call.
        shows(&mut tries, 1, Some(Stage::Talking), None);
        shows(&mut tries, 2, None, Some((TransferResult::Completed, 40)));
        assert_eq!(seen(&tries), (1, Some((TransferResult::Busy, 50))), "an older result changes nothing");
        shows(&mut tries, 1, None, Some((TransferResult::Completed, 60)));
        assert_eq!(seen(&tries), (0, Some((TransferResult::Completed, 60))));
        assert_eq!(tries.of(SiteId(0), "water"), Use::default());
        tries.keep(&Targets::default());
        assert_eq!((seen(&tries), tries.shown.len()), ((0, None), 0));
    }
}
