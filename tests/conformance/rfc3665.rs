//! RFC 3665: registrations and calls. §3.2 and §3.3 with their proxies are in `proxied`.

use super::lane::{Lane, Who};
use super::rfc5407::agent_does;
use super::{Case, case};

pub const CASES: [Case; 17] = [
    case("3665 3.10 no response", no_response),
    case("3665 3.8 no answer", no_answer),
    case("3665 2.1 registration", |lane| registers(lane, "rfc3665/2.1-registration")),
    case("3665 2.2 another contact", |lane| registers(lane, "rfc3665/2.2-another-contact")),
    case("3665 2.3 query", |lane| registers(lane, "rfc3665/2.3-query")),
    case("3665 2.4 cancellation", |lane| registers(lane, "rfc3665/2.4-cancellation")),
    case("3665 2.5 wrong password", wrong_password),
    case("3665 3.1 agent hangs up", |lane| agent_hangs_up(lane, "shared/citizen-waits")),
    case("3665 3.1 citizen hangs up", citizen_hangs_up),
    case("3665 3.3 authenticated", authenticated),
    case("3665 3.6 late offer", |lane| agent_hangs_up(lane, "rfc3665/3.6-late-offer")),
    case("3665 3.7 citizen moves", |lane| agent_hangs_up(lane, "rfc3665/3.7-citizen-moves")),
    case("3665 3.7 citizen asks for an offer", |lane| agent_hangs_up(lane, "rfc3665/3.7-citizen-asks-for-an-offer")),
    case("3665 3.7 agent moves", agent_moves),
    case("3262 3 agent rings reliably", |lane| agent_does(lane, "rfc3262/agent-rings-reliably")),
    case("3665 3.9 busy", |lane| refused(lane, "rfc3665/3.9-agent-busy")),
    case("3665 3.11 unavailable", |lane| refused(lane, "rfc3665/3.11-agent-unavailable")),
];

fn registers(lane: &mut Lane, scenario: &str) {
    let password = format!("secret-{}", lane.name(Who::A));
    lane.registration(Who::A, scenario, &password).succeeds();
    // A connection that ends takes its bindings along, a datagram's stay.
    if scenario.contains("2.1") && lane.transport == "udp" {
        lane.is_registered(Who::A);
    } else {
        lane.is_unregistered(Who::A);
    }
}

fn wrong_password(lane: &mut Lane) {
    lane.registration(Who::A, "rfc3665/2.5-wrong-password", "wrong").succeeds();
    lane.is_unregistered(Who::A);
}

/// A citizen does as `scenario` says until the agent, who answers at once, hangs up.
pub fn agent_hangs_up(lane: &mut Lane, scenario: &str) {
    let agent = lane.phone(Who::A, "shared/agent-goes");
    lane.ready(Who::A);
    let citizen = lane.citizen(scenario);
    let contact = lane.called();
    agent.succeeds();
    citizen.succeeds();
    lane.ended(&contact, ("talking", "agent"), &[(Who::A, "answered")]);
}

/// A citizen who talks hangs up; the agent does as `scenario` says until the end.
pub fn hangs_up_on(lane: &mut Lane, scenario: &str) {
    let agent = lane.phone(Who::A, scenario);
    lane.ready(Who::A);
    let mut citizen = lane.citizen("shared/citizen-goes");
    let contact = lane.at("talking");
    citizen.go();
    citizen.succeeds();
    agent.succeeds();
    lane.ended(&contact, ("talking", "caller"), &[(Who::A, "answered")]);
}

fn citizen_hangs_up(lane: &mut Lane) {
    hangs_up_on(lane, "shared/agent-waits");
}

pub fn agent_moves(lane: &mut Lane) {
    let agent = lane.phone(Who::A, "rfc3665/3.7-agent-moves");
    lane.ready(Who::A);
    let mut citizen = lane.citizen("shared/citizen-goes");
    let contact = lane.at("talking");
    // The ACK that he got, and the one that he sent.
    agent.until("ACK ", 2);
    citizen.go();
    citizen.succeeds();
    agent.succeeds();
    lane.ended(&contact, ("talking", "caller"), &[(Who::A, "answered")]);
}

fn authenticated(lane: &mut Lane) {
    let agent = lane.phone(Who::A, "shared/agent-goes");
    lane.ready(Who::A);
    let caller = lane.phone_calls(Who::B, "rfc3665/3.3-authenticated");
    let contact = lane.called();
    agent.succeeds();
    caller.succeeds();
    lane.ended(&contact, ("talking", "agent"), &[(Who::A, "answered")]);
}

/// The first agent's phone refuses, the second one's answers.
fn refused(lane: &mut Lane, scenario: &str) {
    let first = lane.phone(Who::A, scenario);
    let second = lane.phone(Who::B, "shared/agent-goes");
    lane.ready(Who::A);
    let citizen = lane.citizen("shared/citizen-waits");
    first.succeeds();
    lane.gave_up(Who::A);
    lane.ready(Who::B);
    let contact = lane.called();
    second.succeeds();
    citizen.succeeds();
    lane.ended(&contact, ("talking", "agent"), &[(Who::A, "rejected"), (Who::B, "answered")]);
}

pub fn no_answer(lane: &mut Lane) {
    given_up(lane, "shared/agent-never-answers");
}

/// The agent's phone is cancelled; the citizen is back in the line.
pub fn given_up(lane: &mut Lane, agent: &str) {
    let agent = lane.phone(Who::A, agent);
    lane.ready(Who::A);
    let mut citizen = lane.citizen("shared/citizen-goes");
    let contact = lane.called();
    agent.succeeds();
    lane.gave_up(Who::A);
    citizen.go();
    citizen.succeeds();
    lane.ended(&contact, ("queued", "caller"), &[(Who::A, "no_answer")]);
}

/// The agent's phone says nothing at all.
fn no_response(lane: &mut Lane) {
    let silent = lane.registers(Who::A).keeps_silent();
    lane.ready(Who::A);
    let mut citizen = lane.citizen("shared/citizen-goes");
    let contact = lane.called();
    lane.gave_up(Who::A);
    citizen.go();
    citizen.succeeds();
    lane.ended(&contact, ("queued", "caller"), &[(Who::A, "no_answer")]);
    drop(silent);
}
