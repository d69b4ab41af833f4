//! RFC 3665 §3.2 and §3.3 with their proxies, RFC 3327: phones and citizens behind a proxy that stays in the path.

use super::lane::{Lane, Who};
use super::rfc3665::{agent_moves, hangs_up_on, no_answer};
use super::rfc5407::agent_does;
use super::{Case, OVER_UDP};
use crate::support::proxy::Kind;

pub const CASES: [Case; 4] = [
    Case { name: "3665 3.2 loose router", play: |lane| through(lane, Kind::default()), not: OVER_UDP },
    Case {
        name: "2543 strict router",
        play: |lane| through(lane, Kind { strict: true, ..Kind::default() }),
        not: OVER_UDP,
    },
    Case { name: "5658 UDP to TCP", play: |lane| through(lane, Kind { tcp: true, ..Kind::default() }), not: OVER_UDP },
    Case { name: "3327 no answer", play: cancelled, not: OVER_UDP },
];

/// Both ends of both legs are behind the proxy: whatever is said within a dialog passes it.
fn through(lane: &mut Lane, kind: Kind) {
    lane.stand_behind(Kind { asks: true, ..kind });
    let agent = lane.phone(Who::A, "shared/agent-goes");
    lane.ready(Who::A);
    let citizen = lane.citizen_proves("rfc3665/3.2-asked-by-the-proxy");
    let contact = lane.called();
    agent.succeeds();
    citizen.succeeds();
    lane.ended(&contact, ("talking", "agent"), &[(Who::A, "answered")]);
    // Two INVITEs of the citizen's, the first of which went no further, and ours to the agent.
    assert_eq!(lane.passed(["INVITE", "ACK", "BYE"]), [2, 2, 2], "{kind:?}");
    lane.clear();

    lane.stand_behind(kind);
    hangs_up_on(lane, "shared/agent-waits");
    assert_eq!(lane.passed(["INVITE", "ACK", "BYE"]), [2, 2, 2], "{kind:?}");
    lane.clear();
    // The target changes, the route does not.
    agent_moves(lane);
    lane.clear();
    agent_does(lane, "rfc5359/agent-holds");
    lane.clear();
    lane.stand_free();
}

/// A CANCEL goes the way of its INVITE.
fn cancelled(lane: &mut Lane) {
    lane.stand_behind(Kind::default());
    no_answer(lane);
    assert_eq!(lane.passed(["INVITE", "CANCEL", "BYE"]), [2, 1, 1]);
    lane.stand_free();
}
