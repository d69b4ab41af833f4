//! RFC 5407: races between the two ends of a dialog.

use super::lane::{Lane, Who};
use super::rfc3665::{agent_hangs_up, hangs_up_on};
use super::{Case, case};

/// The engine re-INVITEs a phone of which it has heard nothing for 30 s.
pub const LONG: [Case; 1] = [case("5407 3.3.1 glare", glare)];

pub const CASES: [Case; 12] = [
    case("5407 3.1.2 agent answers too late", agent_answers_too_late),
    case("5407 3.1.2 citizen cancels too late", citizen_cancels_too_late),
    case("3261 13.3.1.4 citizen acks late", citizen_acks_late),
    case("3261 13.2.2.4 agent repeats 200", |lane| agent_does(lane, "rfc5407/agent-repeats-200")),
    case("5407 3.1.4 re-INVITE before ACK", |lane| agent_hangs_up(lane, "rfc5407/citizen-reinvites-before-ack")),
    case("5407 3.1.5 re-INVITE before answer", |lane| agent_hangs_up(lane, "rfc5407/citizen-reinvites-before-answer")),
    case("5407 3.1.6 BYE before ACK", citizen_hangs_up_before_ack),
    case("5407 3.2.1 BYE into BYE", |lane| hangs_up_on(lane, "rfc5407/agent-byes-into-bye")),
    case("5407 3.3.3 REFER into BYE", |lane| hangs_up_on(lane, "rfc5407/agent-refers-into-bye")),
    case("5407 3.2.2 re-INVITE into BYE", |lane| hangs_up_on(lane, "rfc5407/agent-reinvites-into-bye")),
    case("5407 3.1.6 BYE in re-INVITE", |lane| agent_does(lane, "rfc5407/agent-hangs-up-in-reinvite")),
    case("3261 13.2.2.4 late fork", late_fork),
];

/// The agent does as `scenario` says and hangs up.
pub fn agent_does(lane: &mut Lane, scenario: &str) {
    agent_does_to(lane, scenario, "shared/citizen-waits");
}

fn agent_does_to(lane: &mut Lane, scenario: &str, citizen: &str) {
    let agent = lane.phone(Who::A, scenario);
    lane.ready(Who::A);
    let citizen = lane.citizen(citizen);
    let contact = lane.called();
    agent.succeeds();
    citizen.succeeds();
    lane.ended(&contact, ("talking", "agent"), &[(Who::A, "answered")]);
}

fn glare(lane: &mut Lane) {
    agent_does_to(lane, "rfc5407/agent-glare", "rfc5407/citizen-is-asked");
}

fn agent_answers_too_late(lane: &mut Lane) {
    super::rfc3665::given_up(lane, "rfc5407/agent-answers-too-late");
}

/// Nobody is ready: the call waits in the line when its citizen hangs up.
fn citizen_cancels_too_late(lane: &mut Lane) {
    let mut citizen = lane.citizen("rfc5407/citizen-cancels-too-late");
    let contact = lane.at("queued");
    citizen.go();
    citizen.succeeds();
    lane.ended(&contact, ("queued", "caller"), &[]);
}

fn citizen_acks_late(lane: &mut Lane) {
    let agent = lane.phone(Who::A, "shared/agent-goes");
    lane.ready(Who::A);
    let citizen = lane.citizen("rfc5407/citizen-acks-late");
    let contact = lane.called();
    agent.succeeds();
    let messages = citizen.succeeds();
    assert!(messages.matches("SIP/2.0 200 OK").count() >= 2, "the 200 was repeated:\n{messages}");
    lane.ended(&contact, ("talking", "agent"), &[(Who::A, "answered")]);
}

fn citizen_hangs_up_before_ack(lane: &mut Lane) {
    lane.citizen("rfc5407/citizen-hangs-up-before-ack").succeeds();
    let contact = lane.called();
    lane.ended(&contact, ("offered", "caller"), &[]);
}

/// One of two answers is kept; its call goes on until the citizen hangs up.
fn late_fork(lane: &mut Lane) {
    let agent = lane.phone(Who::A, "rfc5407/agent-forks");
    lane.ready(Who::A);
    let mut citizen = lane.citizen("shared/citizen-goes");
    let contact = lane.at("talking");
    agent.until("BYE sip:fork@", 1);
    citizen.go();
    citizen.succeeds();
    agent.succeeds();
    lane.ended(&contact, ("talking", "caller"), &[(Who::A, "answered")]);
}
