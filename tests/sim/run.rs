//! One run from one seed: what is drawn, and what a failure shows.

use super::dice::Dice;
use super::world::{Figures, World};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

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
    /// How often media planes look at the clock.
    pub tick: Duration,
    pub lasts: Duration,
    pub drains: bool,
}

impl Rates {
    fn draw(dice: &mut Dice, lasts: Duration) -> Rates {
        let never = Duration::ZERO;
        Rates {
            lost: dice.pick(&[0, 0, 10, 50]),
            doubled: dice.pick(&[0, 5, 50]),
            delay_ms: dice.pick(&[(1, 1), (1, 30), (20, 300)]),
            wild: dice.pick(&[0, 100, 400]),
            ports_refused: dice.pick(&[0, 0, 0, 20]),
            call_every: dice.pick(&[Duration::from_secs(4), Duration::from_secs(12), Duration::from_secs(40)]),
            reload_every: dice.pick(&[never, Duration::from_secs(60), Duration::from_secs(300)]),
            operator_every: dice.pick(&[never, Duration::from_secs(120)]),
            crash_every: dice.pick(&[never, Duration::from_secs(60), Duration::from_secs(600)]),
            tick: dice.pick(&[Duration::from_millis(100), Duration::from_millis(400)]),
            lasts,
            drains: dice.permille(300),
        }
    }
}

/// Runs `seed` for so long. A failure runs it once more and prints how it came to it.
pub fn run(seed: u64, lasts: Duration) -> Figures {
    let start = |trace| {
        let mut dice = Dice::new(seed);
        let rates = Rates::draw(&mut dice, lasts);
        (World::new(seed, rates, dice, trace), rates)
    };
    let (mut world, rates) = start(false);
    match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(figures) => figures,
        Err(failure) => {
            explain(seed, lasts, &mut start(true).0, &format!("{rates:?}"));
            resume_unwind(failure);
        }
    }
}

fn explain(seed: u64, lasts: Duration, world: &mut World, rates: &str) {
    let failure = catch_unwind(AssertUnwindSafe(|| world.run())).expect_err("a run is the same each time");
    let text = failure.downcast_ref::<String>().cloned().unwrap_or_default();
    let lines = world.trace(&words(&text));
    eprintln!("seed {seed}: {rates}\nlast events of those concerned:");
    for line in &lines[lines.len().saturating_sub(120)..] {
        eprintln!("  {line}");
    }
    let minutes = lasts.as_secs() / 60;
    eprintln!("replay: JIESU_SIM_SEED={seed} JIESU_SIM_MINUTES={minutes} cargo test --test tests sim:: -- --nocapture");
}

/// What the failure's text names: Call-IDs of citizens, contacts, calls and legs.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> =
        text.split(['"', ' ', '(', ')', ',']).filter(|word| word.contains("@10.")).map(str::to_owned).collect();
    for (before, after) in [("ContactId(", ")"), ("CallId {", "}"), ("leg ", " "), ("LegId(", ")")] {
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
