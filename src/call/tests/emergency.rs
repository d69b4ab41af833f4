//! What an emergency line is told of the citizen for whom it is called, and exercises with a simulated one.

use super::transfer::House;
use super::*;
use crate::base::fact::{TransferMode, TransferResult};
use crate::call::transfer::{Ask, NotTransferred};
use crate::sip::event::{Invite, Location, OverTrunk};
use crate::trunk::Dialling;

fn over(invite: &Invite) -> &OverTrunk {
    match &invite.to {
        Destination::Trunk(over) => over,
        Destination::User { .. } => panic!("not over a trunk"),
    }
}

fn header<'a>(invite: &'a Invite, name: &str) -> Option<&'a str> {
    invite.headers.iter().find(|(it, _)| **it == *name).map(|(_, value)| &**value)
}

/// What the first route to `target` is told of a citizen, and the second.
fn told(target: &str, caller: &str, place: Option<&str>) -> [Invite; 2] {
    let mut house = House::called(caller, About { place: place.map(Into::into), ..About::default() });
    house.start(target, TransferMode::Conference).unwrap();
    let first = house.sent.take().expect("an INVITE");
    house.pass(Duration::from_millis(2_001));
    let second = house.sent.take().unwrap_or_else(|| first.clone());
    let by_trunk = |one: &Invite| over(one).trunk;
    let mut both = [first, second];
    both.sort_by_key(by_trunk);
    both
}

#[test]
fn an_emergency_line_is_told_who_the_citizen_is_and_where_not_where_the_hotline_sits() {
    let [body, header_] = told("fire", "13800138000", Some("福州市 仓山区 上渡路 9 号"));
    assert_eq!(over(&body).asserted.as_deref(), Some("13800138000"), "the citizen's number");
    assert_eq!(&*body.caller, "059112345", "called by the hotline");
    let Some(Location::Civic(civic)) = &over(&body).location else { panic!("an address") };
    let civic: Vec<(&str, &str)> = civic.iter().map(|(element, value)| (&**element, &**value)).collect();
    assert_eq!(civic, [("country", "CN"), ("A1", "福建省"), ("A3", "福州市"), ("LOC", "福州市 仓山区 上渡路 9 号")]);
    assert_eq!(over(&header_).location, None, "words are no URI, and the hotline's would lead to the wrong house");
    let [_, by_uri] = told("fire", "13800138000", Some("https://lis.example/citizen/7"));
    let own = Some(Location::Reference("https://lis.example/citizen/7".into()));
    assert_eq!(over(&by_uri).location, own);
    let [withheld, _] = told("fire", "", None);
    assert_eq!(over(&withheld).asserted.as_deref(), Some("059112345"), "who withholds their number cannot be asserted");
    assert_eq!(header(&withheld, "Priority"), Some("emergency"));
}

#[test]
fn nobody_else_is_told_more_than_before() {
    let [first, second] = told("water", "13800138000", Some("福州市"));
    for invite in [first, second] {
        assert_eq!(over(&invite).asserted.as_deref(), Some("059112345"));
        assert_eq!(
            (over(&invite).location.clone(), header(&invite, "Priority"), header(&invite, "Subject")),
            (None, None, None)
        );
    }
}

#[test]
fn an_exercise_says_so_everywhere_and_is_no_emergency() {
    let mut house = House::new();
    house.start("drill", TransferMode::Conference).unwrap();
    let invite = house.sent.take().expect("an INVITE");
    assert_eq!(over(&invite).trunk.0, 2, "over the simulated line");
    assert_eq!(header(&invite, "Subject"), Some("DRILL"));
    assert_eq!((header(&invite, "Priority"), header(&invite, "Resource-Priority")), (None, None));
    assert_eq!(over(&invite).asserted.as_deref(), Some("13800138000"), "in all else it is as it would be");
    assert!(over(&invite).location.is_some());
    let out = house.pass(Duration::from_millis(1_001));
    let order = out.iter().find_map(|command| match command {
        Command::Fact { fact: Fact::Order(order), .. } => Some((order.emergency, order.drill)),
        _ => None,
    });
    assert_eq!(order, Some((false, true)), "nobody is sent out because of it");
    let view = views(&out).into_iter().find_map(|view| view.transfer.clone()).expect("it is shown");
    assert_eq!((view.drill, view.result, view.dial), (true, Some(TransferResult::Unreachable), None));
    assert!(house.last().drill && house.letter() == 'T');
}

#[test]
fn an_exercise_never_rings_at_a_true_line_nor_an_emergency_at_a_simulated_one() {
    for target in ["drill", "fire"] {
        let mut house = House::new();
        let mut settings = (*house.settings).clone();
        let mut rules = settings.dialling.rules.clone();
        rules.iter_mut().for_each(|rule| rule.drill = !rule.drill);
        settings.dialling = Arc::new(Dialling { rules });
        house.tell(Event::Configure(Arc::new(settings)));
        let ask = Ask::Start { target: target.into(), mode: TransferMode::Conference, reason: "x".into() };
        assert_eq!(house.ask(ask), Err(NotTransferred::NotListed), "{target}");
        assert!(house.sent.is_none());
    }
}

#[test]
fn the_polices_ticket_is_bound_to_the_order_of_their_call_and_of_nobody_elses() {
    for (caller, emergency, bound) in
        [("110", false, Some("J3501-7")), ("13800138000", true, None), ("13800138000", false, None)]
    {
        let about = About { emergency, ticket: Some("J3501-7".into()), ..About::default() };
        let house = House::called(caller, about);
        let record = house.record.as_ref().expect("the call was told");
        assert_eq!(record.signalled.ticket.as_deref(), bound);
        assert_eq!(house.order.as_ref().expect("an order").ticket.as_deref(), bound);
    }
}
