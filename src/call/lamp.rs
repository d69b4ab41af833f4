//! The lamp of a target: whether a transfer to it would be worth trying now, and how that is known.
//!
//! Owns the judgement, from what is known anyway: whether its trunks answer and have channels, how many of our calls are with
//! it, and how the last try went. A lamp refuses nothing: whoever asks is connected if the target answers after all.

use super::targets::Target;
use crate::base::fact::{TargetKind, TransferResult};
use crate::base::{Mono, Now, Wall};
use crate::trunk::Dialling;
use crate::trunk::event::{Settings, View};
use std::collections::BTreeSet;
use std::time::Duration;

/// So long a target that was busy is held to be so.
pub const BUSY_FOR: Duration = Duration::from_secs(60);
/// So long a target to which no route led is held to be unreachable.
pub const UNREACHABLE_FOR: Duration = Duration::from_secs(300);

/// The light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Light {
    /// Nothing speaks against it.
    Free,
    /// It, or the way to it, is taken.
    Busy,
    /// No way leads there.
    Unreachable,
}

impl Light {
    /// The word of the API.
    pub fn word(self) -> &'static str {
        match self {
            Light::Free => "free",
            Light::Busy => "busy",
            Light::Unreachable => "unreachable",
        }
    }
}

/// How that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing speaks against it.
    Ready,
    /// None of its trunks may be used: they do not answer, are not registered or have no address.
    TrunksDown,
    /// Its trunks have no channel for it.
    TrunksFull,
    /// As many of our calls are with it as it takes.
    TargetFull,
    /// So the last try went.
    LastTry,
}

impl Why {
    /// The word of the API.
    pub fn word(self) -> &'static str {
        match self {
            Why::Ready => "ready",
            Why::TrunksDown => "trunks_down",
            Why::TrunksFull => "trunks_full",
            Why::TargetFull => "target_full",
            Why::LastTry => "last_try",
        }
    }
}

/// How the last try went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastTry {
    /// When that was known.
    pub at: Wall,
    /// How.
    pub result: TransferResult,
    /// Final status of the last route that was tried.
    pub status: Option<u16>,
}

/// What is known of our own calls to a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Calls that are with it, or on the way there.
    pub running: u32,
    /// How the last try went, since the start of the node.
    pub last: Option<LastTry>,
}

/// A lamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lamp {
    /// Its light.
    pub light: Light,
    /// How that is known.
    pub why: Why,
    /// Since when, where that is known.
    pub since: Option<Wall>,
}

/// Judges `target` by what its trunks, as numbered in `settings`, look like in `views`, and by our own calls.
pub fn lamp(
    target: &Target,
    (dialling, settings, views): (&Dialling, &Settings, &[View]),
    used: Use,
    now: Now,
) -> Lamp {
    let numbers = target.numbers_of(target.on_duty(now.wall));
    let rules = numbers.iter().filter_map(|number| dialling.rule(target.site, number));
    let trunks: BTreeSet<usize> = rules.flat_map(|rule| &rule.trunks).map(|trunk| trunk.index()).collect();
    let ways = trunks.into_iter().filter_map(|at| settings.trunks.get(at));
    let ways = ways.filter_map(|profile| Some((profile, views.iter().find(|view| view.name == profile.name)?)));
    let (fit, down): (Vec<_>, Vec<_>) = ways.partition(|(_, view)| view.fit);
    if fit.is_empty() {
        let since = down.iter().map(|(_, view)| view.since).max().filter(|since| *since != Mono(0));
        return Lamp { light: Light::Unreachable, why: Why::TrunksDown, since: since.map(|since| wall_of(since, now)) };
    }
    let lately = |last: LastTry, span: Duration| (now.wall < last.at + span).then_some(Some(last.at));
    let last = used.last.and_then(|last| match last.result {
        TransferResult::Unreachable => Some((Light::Unreachable, lately(last, UNREACHABLE_FOR)?)),
        TransferResult::Busy => Some((Light::Busy, lately(last, BUSY_FOR)?)),
        TransferResult::Completed
        | TransferResult::Returned
        | TransferResult::NoAnswer
        | TransferResult::Cancelled
        | TransferResult::CallerGone
        | TransferResult::Lost => None,
    });
    let urgent = target.kind == TargetKind::Emergency && !target.drill;
    let full = fit.iter().all(|(profile, view)| {
        let kept = if urgent { 0 } else { profile.outbound.reserve };
        view.outbound.used >= profile.outbound.channels.saturating_sub(kept)
    });
    match last {
        Some((Light::Unreachable, since)) => Lamp { light: Light::Unreachable, why: Why::LastTry, since },
        _ if full => Lamp { light: Light::Busy, why: Why::TrunksFull, since: None },
        _ if target.channels.is_some_and(|channels| used.running >= channels) => {
            Lamp { light: Light::Busy, why: Why::TargetFull, since: None }
        }
        Some((light, since)) => Lamp { light, why: Why::LastTry, since },
        None => Lamp { light: Light::Free, why: Why::Ready, since: None },
    }
}

fn wall_of(at: Mono, now: Now) -> Wall {
    let ago = i64::try_from(now.mono.since(at).as_millis()).unwrap_or(i64::MAX);
    Wall(now.wall.0.saturating_sub(ago))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hours::Hours;
    use crate::base::number::Number;
    use crate::base::{SiteId, TrunkId};
    use crate::trunk::Trunks;
    use crate::trunk::dialling::{Pattern, Place, Rule};
    use crate::trunk::event::{Limits, Profile};
    use crate::trunk::tests::profile;
    use std::sync::Arc;

    const LIMITS: Limits = Limits { channels: 4, reserve: 1, calls_per_s: 10 };
    const NOW: Now = Now { mono: Mono::from_ms(900_000), wall: Wall(1_000_900_000) };

    fn target(kind: TargetKind) -> Target {
        Target {
            site: SiteId(0),
            name: "water".into(),
            title: "water".into(),
            kind,
            drill: false,
            numbers: vec![Number::parse("059196110", "").unwrap()],
            key: None,
            ring_max: None,
            channels: Some(2),
            together: false,
            confirm: None,
            announcement: None,
            hours: Hours::default(),
            duty: Vec::new(),
            webhook: None,
            link: false,
        }
    }

    /// Two trunks, the first one's state and use as given, the second one down for 10 s and not of the target unless `both`.
    fn judge(target: &Target, first: impl Fn(&mut View), both: bool, used: Use) -> (Light, Why, Option<i64>) {
        let first_trunk = Profile { outbound: LIMITS, ..profile("a") };
        let settings = Settings { trunks: vec![first_trunk, profile("b")], seed: [1, 2] };
        let mut views = Trunks::new(Arc::new(settings.clone())).views(NOW.mono);
        views[0].fit = true;
        first(&mut views[0]);
        (views[1].fit, views[1].since) = (false, Mono::from_ms(890_000));
        let rule = Rule {
            site: SiteId(0),
            numbers: vec![Pattern::parse("0591*").unwrap()],
            trunks: (0..=u16::from(both)).map(TrunkId).collect(),
            caller: Number::parse("059112345", "591").unwrap(),
            emergency: false,
            drill: false,
            place: Place::default(),
        };
        let Lamp { light, why, since } = lamp(target, (&Dialling { rules: vec![rule] }, &settings, &views), used, NOW);
        (light, why, since.map(|since| (NOW.wall.0 - since.0) / 1_000))
    }

    fn last(result: TransferResult, ago_s: i64) -> Use {
        let at = Wall(NOW.wall.0 - ago_s * 1_000);
        Use { running: 0, last: Some(LastTry { at, result, status: Some(503) }) }
    }

    #[test]
    fn trunks_our_calls_and_the_last_try_decide_in_this_order() {
        let water = target(TargetKind::Utility);
        let fine = |_: &mut View| {};
        let down = |view: &mut View| (view.fit, view.since) = (false, Mono::from_ms(780_000));
        let full = |view: &mut View| view.outbound.used = view.outbound.channels;
        let running = |running| Use { running, last: None };
        assert_eq!(judge(&water, fine, true, Use::default()), (Light::Free, Why::Ready, None), "one way is enough");
        assert_eq!(judge(&water, down, false, Use::default()), (Light::Unreachable, Why::TrunksDown, Some(120)));
        assert_eq!(judge(&water, down, true, Use::default()), (Light::Unreachable, Why::TrunksDown, Some(10)));
        assert_eq!(judge(&water, full, true, Use::default()), (Light::Busy, Why::TrunksFull, None));
        assert_eq!(judge(&water, fine, false, running(1)).0, Light::Free);
        assert_eq!(judge(&water, fine, false, running(2)), (Light::Busy, Why::TargetFull, None));
        for (result, ago_s, expected) in [
            (TransferResult::Unreachable, 120, (Light::Unreachable, Why::LastTry, Some(120))),
            (TransferResult::Unreachable, 301, (Light::Free, Why::Ready, None)),
            (TransferResult::Busy, 59, (Light::Busy, Why::LastTry, Some(59))),
            (TransferResult::Busy, 60, (Light::Free, Why::Ready, None)),
            (TransferResult::Completed, 1, (Light::Free, Why::Ready, None)),
        ] {
            assert_eq!(judge(&water, fine, false, last(result, ago_s)), expected, "{result:?} {ago_s}");
        }
        let unreached = last(TransferResult::Unreachable, 5);
        assert_eq!(judge(&water, full, false, unreached).0, Light::Unreachable, "worse than full");
        assert_eq!(judge(&water, down, false, last(TransferResult::Busy, 5)).1, Why::TrunksDown);
    }

    #[test]
    fn the_reserve_is_free_to_emergencies_alone() {
        let all_but_reserve = |view: &mut View| view.outbound.used = LIMITS.channels - LIMITS.reserve;
        for (kind, light) in [(TargetKind::Emergency, Light::Free), (TargetKind::Utility, Light::Busy)] {
            assert_eq!(judge(&target(kind), all_but_reserve, false, Use::default()).0, light, "{kind:?}");
        }
    }
}
