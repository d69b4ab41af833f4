//! Who is preferred for a caller: asked for as the call comes, counted only if known before they are queued.

use super::*;
use crate::call::event::{Past, Whom};

const DAY: Duration = Duration::from_secs(86_400);

/// The queue prefers somebody.
fn world(whom: Whom) -> World {
    let mut settings = (*settings()).clone();
    settings.sites[0].queues[0].preferred = Some(whom);
    let mut world = World::new();
    world.tell(Event::Configure(Arc::new(settings)));
    world
}

fn enqueued(out: &[Command]) -> Option<AgentId> {
    let events = acd(out);
    let [ToAcd::Enqueue(caller)] = events[..] else { panic!("{out:?}") };
    caller.preferred
}

/// Up to the queue; what is remembered comes before, or not at all.
fn queued(world: &mut World, past: Option<Past>) -> (CallId, Option<AgentId>) {
    let arrived = world.incoming(CITIZEN, "12345", Some(OFFER));
    let call = views(&arrived)[0].call;
    let asked = arrived.iter().find_map(|it| match it {
        Command::Recall { call, site: SiteId(0), caller } => Some((*call, caller.clone())),
        _ => None,
    });
    assert_eq!(asked, Some((call, "+8613800138000".into())));
    world.sip(Notice::Acknowledged { leg: CITIZEN, sdp: None });
    if let Some(past) = past {
        assert!(world.tell(Event::Recalled { call, past }).is_empty());
    }
    let queued = world.tell(Event::Media(Heard::Played { leg: CITIZEN, play: 1 }));
    (call, enqueued(&queued))
}

#[test]
fn the_queue_says_who_of_those_remembered_is_preferred() {
    let came = Wall(1_000_000 - 86_400_000);
    let past = Past { last: Some((AgentId(4), came)), owner: Some(AgentId(5)) };
    let preferred = |whom| queued(&mut world(whom), Some(past)).1;
    assert_eq!(preferred(Whom::OrderOwner), Some(AgentId(5)));
    assert_eq!(preferred(Whom::Last { within: 2 * DAY }), Some(AgentId(4)));
    assert_eq!(preferred(Whom::Last { within: DAY }), None, "too long ago");
}

#[test]
fn what_is_remembered_too_late_changes_nothing() {
    let mut world = world(Whom::OrderOwner);
    let (call, preferred) = queued(&mut world, None);
    assert_eq!(preferred, None);
    let past = Past { last: None, owner: Some(AgentId(5)) };
    assert!(world.tell(Event::Recalled { call, past }).is_empty());
    assert_eq!(enqueued(&world.pass(Duration::from_secs(31))), None);
}

#[test]
fn nobody_is_asked_where_nobody_is_preferred() {
    let arrived = World::new().incoming(CITIZEN, "12345", Some(OFFER));
    assert!(!arrived.iter().any(|it| matches!(it, Command::Recall { .. })));
}

#[test]
fn a_restored_call_names_the_same_agent() {
    let mut world = world(Whom::OrderOwner);
    let past = Past { last: None, owner: Some(AgentId(5)) };
    queued(&mut world, Some(past));
    let (_, out) = restored(&world, &[CITIZEN], settings());
    let [ToAcd::Adopt { live, .. }] = &acd(&out)[..] else { panic!("the ACD is told: {out:?}") };
    assert_eq!(live[0].caller.preferred, Some(AgentId(5)));
}
