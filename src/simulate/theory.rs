//! What queueing theory says of simple queues: the formulas that the simulation of the production queue is held against.
//!
//! `servers` is the number of agents, `load` the part of them that is busy on average, `service_s` the mean service time
//! in seconds. Waiting times are those of all callers, zeros counted.

use super::chance::Law;

/// What a formula says; `None` where it says nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// The part of callers who wait at all.
    pub waiting: Option<f64>,
    /// Mean wait in seconds; of those who give up, until they do.
    pub mean_wait_s: f64,
    /// The part answered within the time asked for.
    pub within: Option<f64>,
    /// The part who give up.
    pub abandoned: Option<f64>,
}

/// Probability that all of `servers` are busy under `erlangs` of traffic when callers wait (Erlang 1917, "Erlang C").
pub fn erlang_c(servers: u32, erlangs: f64) -> f64 {
    let mut blocked = 1.0;
    for busy in 1..=servers {
        blocked = erlangs * blocked / (f64::from(busy) + erlangs * blocked);
    }
    let load = erlangs / f64::from(servers);
    blocked / (1.0 - load * (1.0 - blocked))
}

/// M/M/c.
pub fn patient(servers: u32, load: f64, service_s: f64, within_s: f64) -> Expected {
    let waiting = erlang_c(servers, load * f64::from(servers));
    let drain_per_s = f64::from(servers) * (1.0 - load) / service_s;
    Expected {
        waiting: Some(waiting),
        mean_wait_s: waiting / drain_per_s,
        within: Some(1.0 - waiting * (-drain_per_s * within_s).exp()),
        abandoned: None,
    }
}

/// Fewest agents that answer `share` of the calls within `within_s` by Erlang C; for no traffic none.
pub fn agents_needed(erlangs: f64, service_s: f64, within_s: f64, share: f64) -> u32 {
    if erlangs <= 0.0 {
        return 0;
    }
    let enough = |&servers: &u32| {
        let load = erlangs / f64::from(servers);
        load < 1.0 && patient(servers, load, service_s, within_s).within.is_some_and(|within| within >= share)
    };
    let fewest = erlangs as u32 + 1;
    (fewest..).find(enough).unwrap_or(fewest)
}

/// M/M/c+M: exponential patience (Palm 1957, "Erlang A"), by the stationary law of the birth and death chain.
pub fn impatient(servers: u32, load: f64, service_s: f64, patience_s: f64, within_s: f64) -> Expected {
    let (per_s, done, lost) = (load * f64::from(servers) / service_s, 1.0 / service_s, 1.0 / patience_s);
    let busy = f64::from(servers);
    // From the fullest level down the weights are summed as multiples of the level with all busy and nobody waiting.
    let mut weights = vec![1.0f64];
    while weights.last().is_some_and(|&weight| weight > 1e-18) {
        let waiting = weights.len() as f64;
        weights.push(weights[weights.len() - 1] * per_s / (busy * done + waiting * lost));
    }
    let mut below = 0.0;
    let mut weight = 1.0;
    for level in (1..=servers).rev() {
        weight *= f64::from(level) * done / per_s;
        below += weight;
    }
    let all: f64 = below + weights.iter().sum::<f64>();
    let ahead: Vec<f64> = weights.iter().map(|weight| weight / all).collect();
    let queue: f64 = (0u32..).zip(&ahead).map(|(waiting, part)| f64::from(waiting) * part).sum();
    Expected {
        waiting: Some(1.0 - below / all),
        mean_wait_s: queue / per_s,
        within: Some(below / all + served_within(&ahead, (busy * done, lost), within_s)),
        abandoned: Some(lost * queue / per_s),
    }
}

/// The part of callers who find `ahead[k]` of the time k waiting before them, all busy, and are served within `within_s`: the
/// chain of those ahead melts one by one, or the caller gives up. Uniformised (Jensen 1953).
fn served_within(ahead: &[f64], (done, lost): (f64, f64), within_s: f64) -> f64 {
    let fastest = done + (ahead.len() as f64 + 1.0) * lost;
    let (mut state, mut served) = (ahead.to_vec(), 0.0);
    let mean = fastest * within_s;
    let steps = (mean + 12.0 * mean.sqrt() + 30.0) as u32;
    let (mut log_poisson, mut sum) = (-mean, 0.0);
    for step in 0..=steps {
        sum += log_poisson.exp() * served;
        log_poisson += mean.ln() - f64::from(step + 1).ln();
        served += state[0] * done / fastest;
        for at in 0..state.len() {
            let leaving = (done + (at as f64 + 1.0) * lost) / fastest;
            let coming = state.get(at + 1).map_or(0.0, |next| next * (done + (at as f64 + 1.0) * lost) / fastest);
            state[at] = state[at] * (1.0 - leaving) + coming;
        }
    }
    sum
}

/// M/G/1 (Pollaczek 1930, Khinchine 1932).
pub fn single(load: f64, service: Law) -> Expected {
    let mean_wait_s = load * service.mean_s() * (1.0 + service.squared_variation()) / (2.0 * (1.0 - load));
    Expected { waiting: Some(load), mean_wait_s, within: None, abandoned: None }
}

/// M/M/c with fixed classes, none interrupted (Cobham 1954): the mean wait of each class, the first served first;
/// `loads` are the parts of all servers that each keeps busy.
pub fn classes(servers: u32, loads: &[f64], service_s: f64) -> Vec<f64> {
    let load: f64 = loads.iter().sum();
    let residual = erlang_c(servers, load * f64::from(servers)) * service_s / f64::from(servers);
    let mut before = 0.0;
    let wait = |&own: &f64| {
        let up_to = before + own;
        let wait = residual / ((1.0 - before) * (1.0 - up_to));
        before = up_to;
        wait
    };
    loads.iter().map(wait).collect()
}

/// M/G/c by Kimura's two-moment formula (1986), with Cosmetatos's (1975) for fixed service times inside.
pub fn general(servers: u32, load: f64, service: Law) -> f64 {
    let exponential = patient(servers, load, service.mean_s(), 0.0).mean_wait_s;
    let (agents, spread) = (f64::from(servers), service.squared_variation());
    let cooperation = (1.0 - load) * (agents - 1.0) * ((4.0 + 5.0 * agents).sqrt() - 2.0) / (16.0 * agents * load);
    let fixed = exponential * (1.0 + cooperation) / 2.0;
    (1.0 + spread) / (2.0 * spread / exponential + (1.0 - spread) / fixed)
}
