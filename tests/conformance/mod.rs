//! The SIP front end against the flows of RFC 3665, RFC 5407 and RFC 5359 as they meet a registrar and a call centre: the
//! citizen calls, an agent's phone is rung. Each side is a scenario in `tests/scenarios`, written once and played over UDP
//! and TCP by sipp, over TLS, WS and WSS by our own player; those through a proxy (`proxied`) over UDP and from UDP to TCP.
//!
//! What the engine has no part in: of RFC 3665, proxies and their failover (§3.4, §3.5). A citizen's call is answered at
//! once: it is never refused as busy, and of CANCEL only one that comes too late can be shown. Of RFC 5359, by phone there
//! is no transfer by REFER to whom no target names (§2.4 to §2.6: declined with 603, and with 481 where Replaces names no call
//! that stands here, shown so; consultation and attended transfer to targets stand in `attended`), no
//! conference (§2.10, §2.11), park (§2.15), pick-up of a ringing call (§2.16: only a leg that talks is replaced), automatic
//! redial (§2.17) or click to dial (§2.18); what agents may call (§2.14) is shown in `trunks`. Forwarding
//! (§2.7 to §2.9) is followed to registered phones alone, find-me (§2.12) is several registrations of one agent, screening
//! (§2.13) is by the dialled number.

mod lane;
mod proxied;
mod rfc3665;
mod rfc5359;
mod rfc5407;

use lane::{House, LANES, Lane, TRANSPORTS, Transport, hotline};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

/// What is played, and how.
struct Case {
    name: &'static str,
    play: fn(&mut Lane),
    /// Those that it makes no sense to play over.
    not: &'static [Transport],
}

/// For what is not to be played over anything but UDP.
const OVER_UDP: &[Transport] = &["tcp", "tls", "ws", "wss"];

const fn case(name: &'static str, play: fn(&mut Lane)) -> Case {
    Case { name, play, not: &[] }
}

/// The long ones stand first, so that the others run beside them.
fn cases() -> Vec<Case> {
    rfc5407::LONG
        .into_iter()
        .chain(proxied::CASES)
        .chain(rfc3665::CASES)
        .chain(rfc5407::CASES)
        .chain(rfc5359::CASES)
        .collect()
}

#[test]
fn flows_are_as_the_rfcs_show_them_over_every_transport() {
    let hotline = hotline();
    let house = House::of(&hotline);
    let cases = cases();
    // A part of the names alone, `over tls` for one.
    let wanted = std::env::var("JIESU_CONFORMANCE").unwrap_or_default();
    let jobs: VecDeque<(&Case, Transport)> = cases
        .iter()
        .flat_map(|case| TRANSPORTS.into_iter().map(move |transport| (case, transport)))
        .filter(|(case, transport)| !case.not.contains(transport))
        .filter(|(case, transport)| format!("{} over {transport}", case.name).contains(&wanted))
        .collect();
    let (jobs, failed) = (Mutex::new(jobs), Mutex::new(Vec::new()));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..LANES {
            let (house, jobs, failed) = (&house, &jobs, &failed);
            scope.spawn(move || {
                let mut lane = house.lane(number);
                loop {
                    let Some((case, transport)) = jobs.lock().unwrap().pop_front() else { break };
                    lane.transport = transport;
                    let since = begin.elapsed();
                    let played = catch_unwind(AssertUnwindSafe(|| {
                        (case.play)(&mut lane);
                        lane.clear();
                    }));
                    let lasted = begin.elapsed() - since;
                    eprintln!("{} over {transport}: {lasted:.1?} from {since:.1?} in lane {number}", case.name);
                    if let Err(why) = played {
                        let why = why.downcast::<String>().map_or_else(|_| "it panicked".into(), |why| *why);
                        failed.lock().unwrap().push(format!("=== {} over {transport}\n{why}", case.name));
                        // What it left behind must not fail the next one.
                        break;
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    hotline.everything_runs_out();
}
