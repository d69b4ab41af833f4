//! RFC 5359: services, as far as the engine has them.

use super::lane::{Lane, Who};
use super::rfc5407::agent_does;
use super::{Case, case};

pub const CASES: [Case; 9] = [
    case("5359 2.1 agent holds", |lane| agent_does(lane, "rfc5359/agent-holds")),
    case("5359 2.1 citizen holds", citizen_holds),
    case("5359 2.4 REFER is declined", |lane| agent_does(lane, "rfc5359/agent-refers")),
    case("5359 2.7 forwarding to an agent", forwarded),
    case("5359 2.7 forwarding elsewhere", forwarded_elsewhere),
    case("5359 2.12 find me", find_me),
    case("5359 2.12 find me, both answer", both_answer),
    case("5359 2.13 screening", screened),
    case("3891 take over", taken_over),
];

fn citizen_holds(lane: &mut Lane) {
    let agent = lane.phone(Who::A, "shared/agent-waits");
    lane.ready(Who::A);
    let mut citizen = lane.citizen("rfc5359/citizen-holds");
    let contact = lane.at("talking");
    citizen.go();
    citizen.succeeds();
    agent.succeeds();
    lane.ended(&contact, ("talking", "caller"), &[(Who::A, "answered")]);
}

/// A phone forwards to another phone of this house: that one is rung, for the agent who was offered the call.
fn forwarded(lane: &mut Lane) {
    let target = format!("{}@fuzhou.12345.example", lane.name(Who::B));
    let line = lane.registers(Who::A);
    let first = lane.behaves(line, "rfc5359/agent-forwards", &[("target", &target)]);
    let second = lane.phone(Who::B, "shared/agent-goes");
    lane.ready(Who::A);
    let citizen = lane.citizen("shared/citizen-waits");
    let contact = lane.called();
    first.succeeds();
    second.succeeds();
    citizen.succeeds();
    lane.ended(&contact, ("talking", "agent"), &[(Who::A, "answered")]);
}

/// A phone that would send the citizen out of the house is one that does not answer.
fn forwarded_elsewhere(lane: &mut Lane) {
    let line = lane.registers(Who::A);
    let agent = lane.behaves(line, "rfc5359/agent-forwards", &[("target", "110@elsewhere.example")]);
    lane.ready(Who::A);
    let mut citizen = lane.citizen("shared/citizen-goes");
    agent.succeeds();
    lane.gave_up(Who::A);
    let contact = lane.at("queued");
    citizen.go();
    citizen.succeeds();
    lane.ended(&contact, ("queued", "caller"), &[(Who::A, "unreachable")]);
}

/// All phones of an agent ring; the first that answers has the call, the other is told so.
fn find_me(lane: &mut Lane) {
    one_of_two_has_the_call(lane, "rfc5359/agent-answered-elsewhere");
}

/// The other phone's answer crosses our CANCEL: it is hung up.
fn both_answer(lane: &mut Lane) {
    one_of_two_has_the_call(lane, "rfc5407/agent-answers-too-late");
}

fn one_of_two_has_the_call(lane: &mut Lane, other: &str) {
    let desk = lane.phone(Who::A, other);
    let mobile = lane.phone(Who::A, "shared/agent-rings-and-goes");
    lane.ready(Who::A);
    let citizen = lane.citizen("shared/citizen-waits");
    let contact = lane.called();
    desk.succeeds();
    mobile.succeeds();
    citizen.succeeds();
    lane.ended(&contact, ("talking", "agent"), &[(Who::A, "answered")]);
}

fn screened(lane: &mut Lane) {
    lane.begins("rfc5359/citizen-dials-nobody", "0591999", &[]).succeeds();
}

/// The value of Replaces that names the agent's dialog of which these are the messages (RFC 3891 §6.1).
fn replaces(messages: &str) -> String {
    let header = |name: &str| {
        messages
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_else(|| panic!("no {name}: {messages}"))
            .trim()
    };
    let engine = header("From:").split("tag=").nth(1).expect("a tag");
    format!("{};to-tag={engine};from-tag=1a", header("Call-ID:"))
}

/// A second phone takes the call over: the first one is hung up, the citizen notices nothing.
fn taken_over(lane: &mut Lane) {
    let desk = lane.phone(Who::A, "shared/agent-waits");
    lane.ready(Who::A);
    let mut citizen = lane.citizen("shared/citizen-goes");
    let contact = lane.at("talking");
    let named = replaces(&desk.messages());
    let none = named.replace("from-tag=1a", "from-tag=none");
    let number = lane.number().to_owned();
    lane.begins("rfc5359/agent-takes-over-nothing", &number, &[("replaces", &none)]).succeeds();
    let mobile = lane.begins("rfc5359/agent-takes-over", &number, &[("replaces", &named)]);
    desk.succeeds();
    citizen.go();
    citizen.succeeds();
    mobile.succeeds();
    lane.ended(&contact, ("talking", "caller"), &[(Who::A, "answered")]);
}
