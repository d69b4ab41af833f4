//! The people of the demo: citizens who call now and then, agents who answer, each in their own mood.
//!
//! Decides who dials, answers, refuses, speaks and hangs up, and when; the numbers come from a seed. A pure machine: it
//! knows no SIP ([`phones`](super::phones) does), and of the engine only what a person would notice.

use crate::base::{Mint, Mono};
use std::ops::Range;
use std::time::Duration;

/// Mean time between two calls, while somebody is free to call.
const ARRIVAL_EVERY: Duration = Duration::from_secs(6);
/// The first call comes this soon, so that nobody looks at an empty page.
const FIRST_CALL_AFTER: Duration = Duration::from_secs(4);
/// How long a citizen waits for a human.
const PATIENCE_MS: Range<u64> = 45_000..120_000;
/// How long a citizen talks.
const TALK_MS: Range<u64> = 14_000..25_000;
/// An agent hangs up on whoever talks longer.
const TALK_MAX: Duration = Duration::from_secs(180);
/// An agent reaches for the phone.
const PICK_UP_MS: Range<u64> = 1_000..4_000;
/// An agent who lets it ring gives up listening after this; the engine stops ringing before.
const RING_MAX: Duration = Duration::from_secs(60);
/// Until an agent who has just sat down is ready.
const SIT_DOWN_MS: Range<u64> = 500..3_000;
/// After a call, a refusal or a ringing in vain.
const PAUSE_MS: Range<u64> = 8_000..22_000;
/// What was asked of the engine and not seen to happen is asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Of a hundred ringings so many are refused, and so many ring out.
const REFUSED_PERCENT: u64 = 5;
const UNHEARD_PERCENT: u64 = 4;
/// No real subscriber has these numbers: 1390000xxxx.
const NUMBER_PREFIX: &str = "1390000";

/// Who, by their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A simulated agent.
    Agent(usize),
    /// A simulated citizen.
    Citizen(usize),
}

/// What people notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The agent's phone is registered, or no more.
    Phone {
        /// Which agent.
        agent: usize,
        /// Whether.
        up: bool,
    },
    /// The agent's screen shows another state.
    Screen {
        /// Which agent.
        agent: usize,
        /// Which state.
        state: Screen,
    },
    /// The agent's phone rings.
    Rings {
        /// Which agent.
        agent: usize,
    },
    /// A human speaks to the citizen with this number, as the engine writes it.
    Human {
        /// Canonical number of the citizen.
        caller: Box<str>,
    },
    /// The call is over, by whomever.
    Over {
        /// Whose.
        who: Who,
    },
    /// Everybody goes home: nobody calls any more, and all say good-bye.
    Leave,
}

/// What an agent's screen shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// Offline, paused or in wrap-up.
    NotReady,
    /// 示闲.
    Ready,
    /// Ringing or talking.
    Busy,
}

/// What people do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Call the hotline.
    Dial {
        /// Who.
        citizen: usize,
        /// From which number.
        caller: Box<str>,
        /// Which of the hotline's numbers.
        number: usize,
    },
    /// Answer the ringing phone.
    Answer {
        /// Who.
        agent: usize,
    },
    /// Refuse the ringing phone.
    Refuse {
        /// Who.
        agent: usize,
    },
    /// Begin to speak.
    Speak {
        /// Who.
        who: Who,
        /// What about.
        matter: usize,
    },
    /// End the call.
    HangUp {
        /// Who.
        who: Who,
    },
    /// Press 示闲.
    Ready {
        /// Who.
        agent: usize,
    },
}

/// What an agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agent {
    /// Sits there; will press 示闲 then.
    Idle { ready_at: Option<Mono> },
    /// Hears the phone and will answer then.
    Reaching { at: Mono },
    /// Hears the phone and will refuse then.
    Refusing { at: Mono },
    /// Does not hear the phone.
    Deaf { until: Mono },
    /// Talks.
    Talking { until: Mono },
}

/// Between two calls, with nothing to press.
const IDLE: Agent = Agent::Idle { ready_at: None };

/// An agent at work.
#[derive(Clone, Copy, Debug)]
struct Desk {
    does: Agent,
    phone_up: bool,
    screen: Screen,
}

/// What a citizen does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Citizen {
    /// Has no wish to call.
    Home,
    /// Waits for a human.
    Waiting { caller: Box<str>, until: Mono },
    /// Talks to one.
    Talking { until: Mono },
    /// Has hung up; the phone's own timers bring [`Event::Over`].
    Leaving,
}

/// Everybody.
#[derive(Debug)]
pub struct People {
    agents: Vec<Desk>,
    citizens: Vec<Citizen>,
    /// How many numbers the hotline has, and how many matters there are to speak of.
    numbers: usize,
    matters: usize,
    next_call: Option<Mono>,
    mint: Mint,
}

impl People {
    /// So many agents and citizens, all at rest. `numbers` and `matters` are at least 1.
    pub fn new(
        now: Mono,
        (agents, citizens): (usize, usize),
        (numbers, matters): (usize, usize),
        mint: Mint,
    ) -> People {
        People {
            agents: vec![Desk { does: IDLE, phone_up: false, screen: Screen::Busy }; agents],
            citizens: vec![Citizen::Home; citizens],
            numbers,
            matters,
            next_call: Some(now + FIRST_CALL_AFTER),
            mint,
        }
    }

    /// Takes what somebody noticed.
    pub fn handle(&mut self, now: Mono, event: Event, out: &mut Vec<Command>) {
        match event {
            Event::Phone { agent, up } => self.agents[agent].phone_up = up,
            Event::Screen { agent, state } => self.screen(now, agent, state),
            Event::Rings { agent } => self.agents[agent].does = self.mood(now),
            Event::Human { caller } => self.greeted(now, &caller, out),
            Event::Over { who: Who::Agent(agent) } => {
                self.agents[agent].does = IDLE;
                self.screen(now, agent, self.agents[agent].screen);
            }
            Event::Over { who: Who::Citizen(citizen) } => self.citizens[citizen] = Citizen::Home,
            Event::Leave => self.leave(out),
        }
        self.check();
    }

    /// When to call [`People::expire`].
    pub fn next_deadline(&self) -> Option<Mono> {
        let agents = self.agents.iter().filter_map(|desk| desk.does.deadline());
        let citizens = self.citizens.iter().filter_map(Citizen::deadline);
        agents.chain(citizens).chain(self.next_call).min()
    }

    /// Does what is due.
    pub fn expire(&mut self, now: Mono, out: &mut Vec<Command>) {
        for agent in 0..self.agents.len() {
            if self.agents[agent].does.deadline().is_some_and(|at| at <= now) {
                self.agent_due(now, agent, out);
            }
        }
        for (citizen, state) in self.citizens.iter_mut().enumerate() {
            if state.deadline().is_some_and(|at| at <= now) {
                *state = Citizen::Leaving;
                out.push(Command::HangUp { who: Who::Citizen(citizen) });
            }
        }
        if self.next_call.is_some_and(|at| at <= now) {
            self.next_call = Some(now + self.pause_between_calls());
            self.somebody_calls(now, out);
        }
        self.check();
    }

    /// Panics when something is not as it must be.
    pub fn check(&self) {
        let waiting = |citizen: &Citizen| match citizen {
            Citizen::Waiting { caller, .. } => Some(caller.clone()),
            Citizen::Home | Citizen::Talking { .. } | Citizen::Leaving => None,
        };
        let mut numbers: Vec<Box<str>> = self.citizens.iter().filter_map(waiting).collect();
        let count = numbers.len();
        numbers.sort();
        numbers.dedup();
        assert_eq!(numbers.len(), count, "no two citizens have one number");
    }

    fn screen(&mut self, now: Mono, agent: usize, state: Screen) {
        let soon = now + self.among(if self.agents[agent].phone_up { PAUSE_MS } else { SIT_DOWN_MS });
        self.agents[agent].screen = state;
        if let Agent::Idle { ready_at } = &mut self.agents[agent].does {
            match state {
                Screen::NotReady => *ready_at = ready_at.or(Some(soon)),
                Screen::Ready | Screen::Busy => *ready_at = None,
            }
        }
    }

    fn mood(&mut self, now: Mono) -> Agent {
        let at = now + self.among(PICK_UP_MS);
        match self.mint.random() % 100 {
            percent if percent < REFUSED_PERCENT => Agent::Refusing { at },
            percent if percent < REFUSED_PERCENT + UNHEARD_PERCENT => Agent::Deaf { until: now + RING_MAX },
            _ => Agent::Reaching { at },
        }
    }

    fn greeted(&mut self, now: Mono, number: &str, out: &mut Vec<Command>) {
        let until = now + self.among(TALK_MS);
        let matter = self.mint.random() as usize % self.matters;
        let waits = |citizen: &Citizen| match citizen {
            Citizen::Waiting { caller, .. } => number.ends_with(&**caller),
            Citizen::Home | Citizen::Talking { .. } | Citizen::Leaving => false,
        };
        if let Some(citizen) = self.citizens.iter().position(waits) {
            self.citizens[citizen] = Citizen::Talking { until };
            out.push(Command::Speak { who: Who::Citizen(citizen), matter });
        }
    }

    fn agent_due(&mut self, now: Mono, agent: usize, out: &mut Vec<Command>) {
        let Desk { does, phone_up, .. } = self.agents[agent];
        self.agents[agent].does = match does {
            Agent::Idle { .. } => {
                if phone_up {
                    out.push(Command::Ready { agent });
                }
                Agent::Idle { ready_at: Some(now + AGAIN_AFTER) }
            }
            Agent::Reaching { .. } => {
                out.push(Command::Answer { agent });
                out.push(Command::Speak { who: Who::Agent(agent), matter: 0 });
                Agent::Talking { until: now + TALK_MAX }
            }
            Agent::Refusing { .. } | Agent::Deaf { .. } => {
                out.push(Command::Refuse { agent });
                IDLE
            }
            Agent::Talking { .. } => {
                out.push(Command::HangUp { who: Who::Agent(agent) });
                IDLE
            }
        };
    }

    fn somebody_calls(&mut self, now: Mono, out: &mut Vec<Command>) {
        let Some(citizen) = self.citizens.iter().position(|citizen| *citizen == Citizen::Home) else { return };
        // The last digits are the citizen's own: no two have the same.
        let digits = self.mint.random() as usize % (10_000 / self.citizens.len()) * self.citizens.len() + citizen;
        let caller: Box<str> = format!("{NUMBER_PREFIX}{digits:04}").into();
        let number = self.mint.random() as usize % self.numbers;
        self.citizens[citizen] = Citizen::Waiting { caller: caller.clone(), until: now + self.among(PATIENCE_MS) };
        out.push(Command::Dial { citizen, caller, number });
    }

    fn leave(&mut self, out: &mut Vec<Command>) {
        self.next_call = None;
        for (citizen, state) in self.citizens.iter_mut().enumerate() {
            if state.deadline().is_some() {
                *state = Citizen::Leaving;
                out.push(Command::HangUp { who: Who::Citizen(citizen) });
            }
        }
    }

    /// Exponential, as the times between calls of many people are; at most five times the mean.
    fn pause_between_calls(&mut self) -> Duration {
        let even = (self.mint.random() >> 11) as f64 / (1u64 << 53) as f64;
        ARRIVAL_EVERY.mul_f64((-(1.0 - even).ln()).clamp(0.05, 5.0))
    }

    fn among(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.mint.random() % (range.end - range.start))
    }
}

impl Agent {
    fn deadline(&self) -> Option<Mono> {
        match *self {
            Agent::Idle { ready_at } => ready_at,
            Agent::Reaching { at } | Agent::Refusing { at } => Some(at),
            Agent::Deaf { until } | Agent::Talking { until } => Some(until),
        }
    }
}

impl Citizen {
    fn deadline(&self) -> Option<Mono> {
        match self {
            Citizen::Waiting { until, .. } | Citizen::Talking { until } => Some(*until),
            Citizen::Home | Citizen::Leaving => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        people: People,
        now: Mono,
        done: Vec<(u64, Command)>,
    }

    fn world(seed: u64) -> World {
        let now = Mono::from_ms(0);
        let people = People::new(now, (2, 3), (2, 2), Mint::new(1, [seed, 1]));
        World { people, now, done: Vec::new() }
    }

    impl World {
        fn tell(&mut self, event: Event) {
            let mut out = Vec::new();
            self.people.handle(self.now, event, &mut out);
            self.done.extend(out.into_iter().map(|command| (self.now.ms(), command)));
        }

        /// Lets time pass, until somebody does something that `wanted` knows.
        fn until(&mut self, wanted: impl Fn(&Command) -> bool) -> Command {
            for _ in 0..10_000 {
                self.now = self.people.next_deadline().expect("somebody has something to do").max(self.now);
                let mut out = Vec::new();
                self.people.expire(self.now, &mut out);
                let found = out.iter().find(|command| wanted(command)).cloned();
                self.done.extend(out.into_iter().map(|command| (self.now.ms(), command)));
                if let Some(found) = found {
                    return found;
                }
            }
            panic!("nobody did it: {:?}", self.done);
        }
    }

    #[test]
    fn an_agent_is_ready_soon_and_again_after_each_call() {
        let mut world = world(1);
        world.tell(Event::Screen { agent: 0, state: Screen::NotReady });
        world.tell(Event::Phone { agent: 0, up: true });
        world.until(|command| *command == Command::Ready { agent: 0 });
        assert!(world.now.ms() <= SIT_DOWN_MS.end);
        // The engine did not hear it: asked again, until the screen shows it.
        let asked = world.now;
        world.until(|command| *command == Command::Ready { agent: 0 });
        assert_eq!(world.now, asked + AGAIN_AFTER);
        world.tell(Event::Screen { agent: 0, state: Screen::Ready });
        world.tell(Event::Rings { agent: 0 });
        let rang = world.now;
        world.people.agents[0].does = Agent::Reaching { at: rang + Duration::from_secs(2) };
        world.until(|command| *command == Command::Answer { agent: 0 });
        assert_eq!(world.now, rang + Duration::from_secs(2));
        // The screen may be faster than the phone.
        world.tell(Event::Screen { agent: 0, state: Screen::NotReady });
        world.tell(Event::Over { who: Who::Agent(0) });
        let over = world.now;
        world.until(|command| *command == Command::Ready { agent: 0 });
        let pause = world.now.since(over).as_millis() as u64;
        assert!(PAUSE_MS.contains(&pause), "{pause}");
    }

    #[test]
    fn a_citizen_waits_talks_and_hangs_up() {
        let mut world = world(2);
        let Command::Dial { citizen, caller, .. } = world.until(|it| matches!(it, Command::Dial { .. })) else {
            panic!()
        };
        assert_eq!((world.now, caller.len()), (Mono::from_ms(0) + FIRST_CALL_AFTER, 11));
        world.tell(Event::Human { caller: format!("+86{caller}").into() });
        assert!(matches!(world.done.last(), Some((_, Command::Speak { who: Who::Citizen(0), .. }))));
        let began = world.now;
        world.until(|command| *command == Command::HangUp { who: Who::Citizen(citizen) });
        let talked = world.now.since(began).as_millis() as u64;
        assert!(TALK_MS.contains(&talked), "{talked}");
    }

    #[test]
    fn no_more_call_than_there_are_citizens_and_nobody_waits_for_ever() {
        let mut world = world(3);
        world.until(|command| matches!(command, Command::HangUp { .. }));
        let calls = world.done.iter().filter(|(_, command)| matches!(command, Command::Dial { .. })).count();
        assert_eq!(calls, 3);
        assert!(world.now.ms() <= FIRST_CALL_AFTER.as_millis() as u64 + 30_000 + PATIENCE_MS.end);
    }

    #[test]
    fn all_moods_occur_and_the_same_seed_gives_the_same_day() {
        let moods = |seed| {
            let mut world = world(seed);
            (0..400).map(|_| world.people.mood(world.now)).collect::<Vec<_>>()
        };
        let day = moods(4);
        assert!(day.iter().any(|mood| matches!(mood, Agent::Refusing { .. })));
        assert!(day.iter().any(|mood| matches!(mood, Agent::Deaf { .. })));
        assert!(day.iter().filter(|mood| matches!(mood, Agent::Reaching { .. })).count() > 340);
        assert_eq!(day, moods(4));
        assert_ne!(day, moods(5));
    }

    #[test]
    fn everybody_goes_home() {
        let mut world = world(6);
        world.until(|command| matches!(command, Command::Dial { .. }));
        world.tell(Event::Leave);
        assert_eq!(world.done.last().unwrap().1, Command::HangUp { who: Who::Citizen(0) });
        world.tell(Event::Over { who: Who::Citizen(0) });
        assert_eq!(world.people.next_deadline(), None);
    }
}
