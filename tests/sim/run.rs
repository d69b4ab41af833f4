//! One run from one seed: what is drawn, and what a failure shows.

use super::dice::Dice;
use super::world::{Figures, Watch, World};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// A trace shows no more of a line, in characters: a snapshot is long.
const TRACE_LINE_MAX: usize = 1_200;
/// Lines of trace that a failure shows.
const TRACE_SHOWN_MAX: usize = 200;

/// How rough the world of a run is.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Datagrams lost and doubled, in a thousand.
    pub lost: u64,
    pub doubled: u64,
    /// Delay of a datagram: later ones overtake.
    pub delay_ms: (u64, u64),
    /// How many phones and citizens in a thousand misbehave in some way.
    pub wild: u64,
    pub ports_refused: u64,
    pub call_every: Duration,
    pub reload_every: Duration,
    pub operator_every: Duration,
    pub crash_every: Duration,
    pub acd_crash_every: Duration,
    /// How far a crashed shard's snapshot is behind at most, in milliseconds; 0 when journals follow each change.
    pub stale_ms: u64,
    /// Shortest and longest talk, in milliseconds.
    pub talk_ms: (u64, u64),
    /// Fewest and most agents at a site.
    pub staff: (u64, u64),
    /// The whole of a machine, and the laws of the whole, are looked at after every so many-th step.
    pub check_every: u64,
    /// How often media planes look at the clock.
    pub tick: Duration,
    pub lasts: Duration,
    pub drains: bool,
    /// Nobody who stays on the line is turned away, so that all of them must reach an agent.
    pub serves_all: bool,
}

impl Rates {
    /// A world of this roughness or that.
    pub fn draw(dice: &mut Dice, lasts: Duration) -> Rates {
        let never = Duration::ZERO;
        let (call_ms, talk_ms, staff) = dice.pick(&[
            (100, (200, 3_000), (18, 66)),
            (150, (200, 4_000), (14, 50)),
            (300, (200, 3_000), (6, 17)),
            (600, (200, 8_000), (6, 17)),
            (4_000, (2_000, 60_000), (3, 6)),
        ]);
        Rates {
            lost: dice.pick(&[0, 0, 10, 50]),
            doubled: dice.pick(&[0, 5, 50]),
            delay_ms: dice.pick(&[(1, 1), (1, 30), (20, 300)]),
            wild: dice.pick(&[0, 100, 400]),
            ports_refused: dice.pick(&[0, 0, 0, 20]),
            call_every: Duration::from_millis(call_ms),
            talk_ms,
            staff,
            check_every: 16,
            reload_every: dice.pick(&[never, Duration::from_secs(60), Duration::from_secs(300)]),
            operator_every: dice.pick(&[never, Duration::from_secs(120)]),
            crash_every: dice.pick(&[never, Duration::from_secs(60), Duration::from_secs(300)]),
            acd_crash_every: dice.pick(&[never, never, Duration::from_secs(90), Duration::from_secs(300)]),
            stale_ms: dice.pick(&[0, 0, 1_000, 5_000]),
            tick: dice.pick(&[Duration::from_millis(100), Duration::from_millis(400)]),
            lasts,
            drains: dice.permille(300),
            serves_all: false,
        }
    }

    /// Two sites with 250 seats each in the busy hour: a call every 450 ms, 8,000 an hour.
    pub fn seats(lasts: Duration) -> Rates {
        let never = Duration::ZERO;
        Rates {
            lost: 2,
            doubled: 2,
            delay_ms: (1, 30),
            wild: 20,
            ports_refused: 0,
            call_every: Duration::from_millis(400),
            reload_every: Duration::from_secs(300),
            operator_every: Duration::from_secs(60),
            crash_every: never,
            acd_crash_every: never,
            stale_ms: 0,
            talk_ms: (30_000, 200_000),
            staff: (250, 250),
            check_every: 4_096,
            tick: Duration::from_millis(400),
            lasts,
            drains: false,
            serves_all: false,
        }
    }

    /// A network that loses one datagram in five, doubles one in twenty and lets later ones overtake; else all is well.
    pub fn rough_network(lasts: Duration) -> Rates {
        Rates {
            lost: 200,
            doubled: 50,
            delay_ms: (1, 300),
            wild: 0,
            operator_every: Duration::ZERO,
            talk_ms: (500, 8_000),
            staff: (40, 60),
            check_every: 64,
            tick: Duration::from_millis(100),
            serves_all: true,
            ..Rates::seats(lasts)
        }
    }
}

/// Runs `seed` for so long. A failure runs it once more, with a look at everything after each of the last steps, and prints
/// how it came to it.
///
/// # Errors
/// What it failed by.
pub fn run(seed: u64, draw: impl Fn(&mut Dice) -> Rates) -> Result<Figures, String> {
    let start = |watch| {
        let mut dice = Dice::new(seed);
        let rates = draw(&mut dice);
        (World::new(seed, rates, dice, watch), rates)
    };
    let (mut world, rates) = start(None);
    match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(figures) => Ok(figures),
        Err(failure) => {
            let text = said(&*failure);
            let watch = Watch::new(world.now.mono, words(&text));
            explain(seed, rates.lasts, &mut start(Some(watch)).0, &format!("{rates:?}"));
            Err(text)
        }
    }
}

fn said(failure: &(dyn Any + Send)) -> String {
    let text = failure.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| failure.downcast_ref::<String>().cloned()).unwrap_or_default()
}

fn explain(seed: u64, lasts: Duration, world: &mut World, rates: &str) {
    let Err(failure) = catch_unwind(AssertUnwindSafe(|| world.run())) else {
        return eprintln!("seed {seed}: looked at after each step it does not fail: {rates}");
    };
    let lines = world.trace(&words(&said(&*failure)));
    eprintln!("seed {seed}: {rates}\nlast events of those concerned:");
    for line in &lines[lines.len().saturating_sub(TRACE_SHOWN_MAX)..] {
        let cut: String = line.chars().take(TRACE_LINE_MAX).collect();
        eprintln!("  {cut}");
    }
    let minutes = lasts.as_secs() / 60;
    eprintln!("replay: JIESU_SIM_SEED={seed} JIESU_SIM_MINUTES={minutes} cargo test --test tests sim:: -- --nocapture");
}

/// What the failure's text names: Call-IDs of citizens, contacts, calls and legs; and what `JIESU_SIM_WATCH` adds, parted
/// by semicolons.
fn words(text: &str) -> Vec<String> {
    let added = std::env::var("JIESU_SIM_WATCH").unwrap_or_default();
    let mut words: Vec<String> = text
        .split(['"', ' ', '(', ')', ',', '[', ']'])
        .filter(|word| word.contains("@10.") || word.starts_with("js0") || word.starts_with("10."))
        .chain(added.split(';').filter(|word| !word.is_empty()))
        .map(str::to_owned)
        .collect();
    for (before, after) in [("ContactId(", ")"), ("AgentId(", ")"), ("CallId {", "}"), ("leg ", " "), ("LegId(", ")")] {
        let mut rest = text;
        while let Some((_, behind)) = rest.split_once(before) {
            let end = behind.find(after).unwrap_or(behind.len());
            words.push(format!("{before}{}{after}", &behind[..end]));
            rest = behind;
        }
    }
    words.sort();
    words.dedup();
    words
}
