//! States that somebody else asked for on the agent's behalf: shown as forced for as long as they last.

use super::*;

impl Bench {
    fn forced(&mut self, agent: u32, state: Want) -> &[Command] {
        self.handle(Event::Want { agent: AgentId(agent), state, by: Some("lead".into()) })
    }

    fn by(&self, agent: u32) -> Option<String> {
        self.acd.agent(AgentId(agent)).and_then(|view| view.by).map(|by| by.to_string())
    }

    /// Who is named with each change of an agent's state in the last step.
    fn told(&self) -> Vec<(&'static str, Option<&str>)> {
        let change = |command: &Command| match command {
            Command::Agent(AgentChange { to, by, .. }) => Some((to.word(), by.as_deref().map(|_| "lead"))),
            Command::Offer { .. } | Command::Revoke { .. } | Command::Released { .. } | Command::Stands { .. } => None,
        };
        self.out.iter().filter_map(change).collect()
    }
}

fn lunch() -> Want {
    Want::NotReady { reason: "lunch".into() }
}

#[test]
fn a_forced_state_names_who_asked_until_the_next_one() {
    let mut bench = Bench::with_ready(site(), &[0]);
    assert_eq!(bench.by(0), None);
    bench.forced(0, lunch());
    assert_eq!((bench.told(), bench.by(0)), (vec![("not_ready", Some("lead"))], Some("lead".into())));
    bench.want(0, Want::Ready);
    assert_eq!((bench.told(), bench.by(0)), (vec![("ready", None)], None));
    // What the agent is already is nobody's doing.
    bench.forced(0, Want::Ready);
    assert_eq!((bench.told(), bench.by(0)), (vec![], None));
    bench.forced(0, Want::Offline);
    bench.forced(0, Want::Ready);
    assert_eq!((bench.told(), bench.by(0)), (vec![("ready", Some("lead"))], Some("lead".into())));
}

#[test]
fn what_is_forced_during_a_call_is_named_after_it() {
    for (word, ends) in [("talking", true), ("offered", false)] {
        let mut bench = Bench::with_ready(site(), &[0]);
        bench.enqueue(1, 0);
        if ends {
            bench.answered(1, 0);
        }
        bench.forced(0, lunch());
        assert_eq!((bench.state(0).word(), bench.by(0)), (word, None));
        if ends {
            bench.ended(1, 0);
        } else {
            bench.cancel(1);
        }
        assert_eq!((bench.told(), bench.by(0)), (vec![("not_ready", Some("lead"))], Some("lead".into())));
    }
}

#[test]
fn the_last_word_counts_and_what_nobody_asked_for_names_nobody() {
    // Taken back by the agent, and what follows is not the supervisor's.
    let mut bench = Bench::with_ready(site(), &[0]);
    bench.enqueue(1, 0);
    bench.forced(0, lunch());
    bench.want(0, Want::Ready);
    bench.declined(1, 0, Declined::Rejected);
    assert_eq!((bench.state(0), bench.by(0)), (paused("rejected"), None));
    // To be ready was forced, to be without a phone was not.
    bench.phone(0, false);
    bench.forced(0, Want::Offline);
    bench.forced(0, Want::Ready);
    assert_eq!((bench.state(0), bench.by(0)), (paused("phone_lost"), None));
    // Nor is a wrap-up after a talk in which it was asked for readiness.
    let mut bench = Bench::with_ready(site(), &[0]);
    bench.enqueue(1, 0);
    bench.answered(1, 0);
    bench.forced(0, Want::Ready);
    bench.ended(1, 0);
    assert_eq!((bench.state(0), bench.by(0)), (AgentState::WrapUp, None));
}

#[test]
fn who_forced_it_outlives_the_owner() {
    let mut bench = Bench::with_ready(site(), &[0, 1]);
    bench.forced(0, lunch());
    bench.enqueue(1, 0);
    bench.answered(1, 1);
    bench.forced(1, lunch());
    let snapshot = bench.acd.snapshot();
    bench.acd = Acd::restore(Arc::new(site()), snapshot, bench.now, 2, &mut Vec::new()).unwrap();
    assert_eq!((bench.by(0), bench.by(1)), (Some("lead".into()), None));
    bench.ended(1, 1);
    assert_eq!((bench.state(1), bench.by(1)), (paused("lunch"), Some("lead".into())));
}
