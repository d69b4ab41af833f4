//! The door in virtual time.

use super::*;

const LIMITS: Limits = Limits { lag_max: Duration::from_millis(50), memory_max: 1_000, calls_max: 100_000 };

fn ms(ms: u64) -> Mono {
    Mono::from_ms(ms)
}

fn lag(lag_ms: u64) -> Load {
    Load { lag: Duration::from_millis(lag_ms), ..Load::default() }
}

struct Bench {
    door: Admission,
    now: u64,
    call: u64,
}

impl Bench {
    fn new(limits: Limits) -> Bench {
        Bench { door: Admission::new([1, 2], limits), now: 0, call: 0 }
    }

    fn ask(&mut self, urgency: Urgency) -> Decision {
        self.call += 1;
        self.door.ask(ms(self.now), self.call, || urgency)
    }

    /// So many ticks of 100 ms, with so many calls in each; returns how many passed.
    fn ticks(&mut self, count: u64, calls: u64, load: Load) -> u64 {
        let mut passed = 0;
        for _ in 0..count {
            for number in 0..calls {
                let begun = self.now;
                self.now += 100 * number / calls;
                passed += u64::from(self.ask(Urgency::Usual) == Decision::Pass);
                self.now = begun;
            }
            self.now += 100;
            self.door.measure(ms(self.now), &load);
        }
        passed
    }
}

#[test]
fn one_late_tick_is_a_burst_and_two_are_too_much() {
    let mut bench = Bench::new(LIMITS);
    assert_eq!(bench.ticks(10, 100, lag(0)), 1_000);
    assert_eq!(bench.ticks(1, 100, lag(60)), 100);
    assert_eq!(bench.ticks(1, 100, lag(10)), 100);
    assert_eq!(bench.door.counts().rate, None);
    bench.ticks(2, 100, lag(51));
    let rate = bench.door.counts().rate.expect("shedding");
    assert!((800..=900).contains(&rate), "{rate}: a tenth below what passed");
}

#[test]
fn the_rate_falls_while_behind_rises_while_clear_and_stays_between() {
    let mut bench = Bench::new(LIMITS);
    bench.ticks(20, 100, lag(0));
    bench.ticks(2, 100, lag(60));
    let rate = |bench: &Bench| bench.door.counts().rate.unwrap();
    let first = rate(&bench);
    bench.ticks(1, 100, lag(60));
    let second = rate(&bench);
    assert!(second < first && second * 100 >= first * 80, "{first} {second}");
    bench.ticks(1, 100, lag(201));
    let third = rate(&bench);
    assert!(third * 100 <= second * 72, "{second} {third}");
    bench.ticks(1, 100, lag(40));
    assert_eq!(bench.door.counts().rate, Some(third), "between the marks it stays");
    bench.ticks(1, 100, lag(25));
    assert!(bench.door.counts().rate.unwrap() > third);
}

#[test]
fn what_passes_is_the_rate() {
    let mut bench = Bench::new(LIMITS);
    bench.ticks(20, 100, lag(0));
    bench.ticks(2, 100, lag(60));
    let rate = bench.door.counts().rate.unwrap();
    bench.ticks(1, 300, lag(40));
    let passed = bench.ticks(10, 300, lag(40));
    assert!(passed.abs_diff(rate) <= rate / 20 + 1, "{passed} passed at {rate}/s");
}

#[test]
fn three_seconds_without_a_refusal_open_the_door() {
    let mut bench = Bench::new(LIMITS);
    bench.ticks(20, 100, lag(0));
    bench.ticks(2, 100, lag(60));
    bench.ticks(29, 10, lag(0));
    assert!(bench.door.counts().rate.is_some());
    bench.ticks(2, 10, lag(0));
    assert_eq!(bench.door.counts().rate, None);
}

#[test]
fn the_door_is_never_shut_by_lag_alone() {
    let mut bench = Bench::new(LIMITS);
    bench.ticks(100, 100, lag(5_000));
    assert_eq!(bench.door.counts().rate, Some(5));
    let passed = bench.ticks(10, 100, lag(5_000));
    assert!((4..=6).contains(&passed), "{passed}");
}

#[test]
fn a_strained_recorder_counts_like_lag() {
    let mut bench = Bench::new(LIMITS);
    bench.ticks(2, 10, Load { strained: true, ..Load::default() });
    assert!(bench.door.counts().rate.is_some());
}

/// A server that works off 1,000 calls a second and queues the rest: whatever is offered, it stays near its best and its
/// queue short.
#[test]
fn at_three_times_what_can_be_done_as_much_is_done() {
    let mut bench = Bench::new(LIMITS);
    let (mut queue, mut done, capacity) = (0u64, 0, 100);
    let mut longest = 0;
    for tick in 0..600 {
        queue += bench.ticks(0, 0, lag(0));
        for number in 0..300 {
            bench.now = tick * 100 + number / 3;
            queue += u64::from(bench.ask(Urgency::Usual) == Decision::Pass);
        }
        let work = queue.min(capacity);
        (queue, done) = (queue - work, done + work);
        bench.now = (tick + 1) * 100;
        let waits = queue * 100 / capacity;
        if tick >= 100 {
            longest = longest.max(waits);
        }
        bench.door.measure(ms(bench.now), &lag(waits));
    }
    assert!(done >= 600 * capacity * 95 / 100, "{done} of {}", 600 * capacity);
    assert!(longest <= 200, "waited {longest} ms");
}

#[test]
fn memory_and_calls_close_the_door_and_open_it_later() {
    let mut bench = Bench::new(Limits { calls_max: 100, ..LIMITS });
    let resident = |resident| Load { resident, ..Load::default() };
    for (load, decision) in [
        (resident(899), Decision::Pass),
        (resident(900), Decision::Refuse),
        (resident(860), Decision::Refuse),
        (resident(849), Decision::Pass),
        (resident(899), Decision::Pass),
    ] {
        bench.ticks(1, 0, load);
        assert_eq!(bench.ask(Urgency::Usual), decision, "{load:?}");
    }
    bench.ticks(1, 0, Load { calls: 96, ..Load::default() });
    let answers = [Urgency::Usual; 4].map(|urgency| bench.ask(urgency));
    assert_eq!(answers, [Decision::Pass, Decision::Pass, Decision::Refuse, Decision::Refuse]);
    let answers = [Urgency::Emergency; 3].map(|urgency| bench.ask(urgency));
    assert_eq!(answers, [Decision::Pass, Decision::Pass, Decision::Refuse], "the last two places");
    let counts = bench.door.counts();
    assert_eq!((counts.refused_memory, counts.refused_calls, counts.reserve_used), (2, 3, 2));
    bench.ticks(1, 0, resident(970));
    assert_eq!(bench.ask(Urgency::Emergency), Decision::Refuse);
}

#[test]
fn emergencies_pass_within_their_rate() {
    let mut bench = Bench::new(LIMITS);
    bench.ticks(100, 100, lag(5_000));
    let passed = (0..100).filter(|_| bench.ask(Urgency::Emergency) == Decision::Pass).count();
    assert!((40..=41).contains(&passed), "{passed}");
}

#[test]
fn a_repeated_invite_meets_the_same_decision() {
    let mut bench = Bench::new(LIMITS);
    assert_eq!(bench.door.ask(ms(0), 1, || Urgency::Usual), Decision::Pass);
    bench.ticks(100, 100, lag(5_000));
    assert_eq!(bench.door.ask(ms(bench.now), 1, || Urgency::Usual), Decision::Pass);
    let call = 9_000_000;
    while bench.door.ask(ms(bench.now), call, || Urgency::Usual) == Decision::Pass {
        bench.ticks(400, 0, lag(5_000));
        bench.ticks(1, 100, lag(5_000));
    }
    assert_eq!(bench.door.ask(ms(bench.now), call, || Urgency::Emergency), Decision::RefuseAgain);
    assert!(bench.door.refused(call) && !bench.door.refused(1));
    let (before, site) = (bench.door.counts(), Some(SiteId(1)));
    bench.door.block((site, "carrier".into()));
    bench.door.block((site, "carrier".into()));
    assert_eq!(bench.door.take_blocked(), BTreeMap::from([((site, "carrier".into()), 2)]));
    assert!(bench.door.take_blocked().is_empty());
    assert_eq!(bench.door.blocked_by_trunk()["carrier"], 2);
    assert_eq!(bench.door.counts(), before);
}

#[test]
fn a_moments_lag_of_an_idle_node_refuses_nobody() {
    let mut bench = Bench::new(LIMITS);
    bench.ticks(2, 0, lag(60));
    assert_eq!(bench.door.counts().rate, Some(100));
    let passed = (0..60).filter(|_| bench.ask(Urgency::Usual) == Decision::Pass).count();
    assert_eq!(passed, 50);
}

#[test]
fn a_long_lag_without_calls_leaves_the_first_rate() {
    let mut bench = Bench::new(LIMITS);
    bench.ticks(50, 0, lag(900));
    assert_eq!(bench.door.counts().rate, Some(100));
}
