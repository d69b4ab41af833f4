//! The site simulation: three signal shards, two ACD owners and two media planes on virtual time, with a lossy network,
//! phones and people who misbehave, all from one seed.
//!
//! A failing seed runs once more and prints the last events of those concerned, and the command that replays it.
//! `JIESU_SIM_WATCH` adds words to be looked for in the events, parted by semicolons.
//! `JIESU_SIM_SEED` is the first seed, `JIESU_SIM_SEEDS` says how many and `JIESU_SIM_MINUTES` how long; `JIESU_SOAK=1`
//! runs 100 days.
//!
//! Bugs put in by hand, one at a time, and what this simulation said (the unit tests that also saw it: `u`):
//! | Machine | Bug | Seen as |
//! |---|---|---|
//! | client transaction | the CANCEL of an INVITE that rings is not sent | rings for nobody, u |
//! | client transaction | a refusal is not acknowledged | an agent is held for nobody, u |
//! | server transaction | a final answer is not repeated | a CANCEL finds no INVITE, u |
//! | dialog | BYE has the CSeq of the request before it | citizens are left on the line, u |
//! | user agent | a CANCEL does not find its INVITE | an INVITE that rings is cancelled, u |
//! | user agent's snapshot | phones that rang before a crash are forgotten | rings for nobody, u |
//! | registrar | the end of a binding is not told | the ACD believes in a phone, u |
//! | call | a queue node of the flow does nothing | a fifth of all calls reaches an agent, u |
//! | call | a leg whose BYE is under way keeps its port | a port is open for a call that is over, u |
//! | calls | a new owner of the queues is not answered | talks to an agent who is free |
//! | table of calls | generations begin anew after a restore | a CallId is given twice, u |
//! | call's record | revisions do not leap after a restore | the newest telling has the highest revision |
//! | work order | the order is not told of its call's end | an order whose call never ended |
//! | ACD | no revoke for a lease that no call holds | talks to an agent who is free |
//! | ACD | a talk of before a crash is not taken up | talks to an agent who is free, u |
//! | IVR run | any digit is the first choice | the choice decides the queue, u |
//! | media plane | a closed leg leaves its peer bridged | the plane's own check, u |

mod agent;
mod citizen;
mod desks;
mod dice;
mod laws;
mod run;
mod session;
mod site;
mod text;
mod world;

use run::Rates;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use world::Figures;

/// Seeds run on as many threads.
const THREADS: usize = 2;
/// After so many failing seeds no other is begun.
const FAILURES_MAX: usize = 6;
/// A long run tells how far it is after so many seeds.
const TOLD_EVERY: u64 = 25;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn is_soak() -> bool {
    std::env::var("JIESU_SOAK").is_ok()
}

#[test]
fn every_seed_keeps_every_law() {
    let minutes = number("JIESU_SIM_MINUTES").unwrap_or(if is_soak() { 24 * 60 } else { 20 });
    let many = number("JIESU_SIM_SEEDS");
    let seeds = match number("JIESU_SIM_SEED") {
        Some(seed) => seed..seed + many.unwrap_or(1),
        None => 0..many.unwrap_or(if is_soak() { 100 } else { 30 }),
    };
    let (started, next) = (Instant::now(), AtomicU64::new(seeds.start));
    let (failed, sum) = (Mutex::new(Vec::new()), Mutex::new((0, Figures::default())));
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end || failed.lock().expect("runs catch panics").len() >= FAILURES_MAX {
            return;
        }
        match run::run(seed, |dice| Rates::draw(dice, Duration::from_secs(minutes * 60))) {
            Ok(figures) => {
                let (seeds, sum) = &mut *sum.lock().expect("runs catch panics");
                *seeds += 1;
                sum.add(&figures);
                if *seeds % TOLD_EVERY == 0 {
                    println!("{seeds} seeds so far: {}", sum.sentence(started.elapsed()));
                }
            }
            Err(text) => failed.lock().expect("runs catch panics").push((seed, text)),
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|failure| std::panic::resume_unwind(failure));
        }
    });
    let (_, sum) = sum.into_inner().expect("runs catch panics");
    println!("{} seeds: {}", seeds.end - seeds.start, sum.sentence(started.elapsed()));
    println!("ended: {:?}", sum.ended);
    let failed = failed.into_inner().expect("runs catch panics");
    assert!(failed.is_empty(), "seeds that failed: {failed:#?}");
    // One seed may be a day with hardly an agent; many are not.
    let few = seeds.end - seeds.start < 10;
    assert!(few || sum.answered * 5 > sum.calls, "a fifth of all calls reaches an agent: {sum:?}");
}

/// One datagram in five lost, others doubled and overtaken by later ones: who stays on the line has an agent, one call
/// and one work order.
#[test]
fn a_rough_network_keeps_nobody_from_an_agent() {
    let minutes = number("JIESU_SIM_MINUTES").unwrap_or(if is_soak() { 24 * 60 } else { 60 });
    let started = Instant::now();
    let figures = run::run(11, |_| Rates::rough_network(Duration::from_secs(minutes * 60))).expect("every law is kept");
    println!("rough network: {}", figures.sentence(started.elapsed()));
    println!("ended: {:?}", figures.ended);
    let (stayed, set_up) = (figures.stayed, figures.set_up);
    println!("set up: {set_up} of {stayed} whose citizen stayed on the line");
    assert!(stayed > minutes * 60, "calls enough to judge by: {figures:?}");
    assert!(set_up * 1_000 >= stayed * 999, "99.9 % of those who stay have an agent: {figures:?}");
}

/// How fast a large hotline is simulated: the figure is printed, the laws hold.
#[test]
fn a_hotline_of_500_seats_keeps_every_law() {
    let minutes = number("JIESU_SIM_MINUTES").unwrap_or(if is_soak() { 60 } else { 5 });
    let started = Instant::now();
    let figures = run::run(7, |_| Rates::seats(Duration::from_secs(minutes * 60))).expect("every law is kept");
    println!("500 seats: {}", figures.sentence(started.elapsed()));
    println!("ended: {:?}", figures.ended);
    assert!(figures.answered * 2 > figures.calls, "half of all calls reaches an agent: {figures:?}");
}
