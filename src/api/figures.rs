//! `/figures`: the hotline's figures (指标) over a period, counted anew from its facts.
//!
//! Owns how a period is cut and grouped, and how much may be asked for. What counts as what stands in
//! [`figures`](crate::figures).

use super::Api;
use super::SiteQuery;
use super::auth::Caller;
use super::may::Action;
use super::problem::{Problem, Problems};
use crate::base::Wall;
use crate::figures::agents::Desk;
use crate::figures::rolling::{self, Steps};
use crate::figures::{FORMULAS, Lengths, agents, calls};
use crate::store::figures::AgentFigure;
use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SemaphorePermit;
use utoipa::{IntoParams, ToSchema};

/// Most questions for figures answered at once; beyond it 503. Each reads many rows.
pub const FIGURES_MAX: usize = 2;
/// Longest period asked for at once, in days.
const DAYS_MAX: i64 = 31;
const DAY_MS: i64 = 86_400_000;
/// Most rows of an answer.
const ROWS_MAX: usize = 10_000;
/// The time in which a human should answer, unless another is asked for (GB/T 33358), in seconds.
const WITHIN_S: u32 = 15;

/// By what calls are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// All together.
    #[default]
    Site,
    /// By the queue they last waited in; `null` for those that asked for nobody.
    Queue,
    /// By the agent who answered; `null` for those unanswered.
    Agent,
    /// By the team (班组) that the agent who answered is in now, empty for none; `null` for those unanswered.
    Team,
    /// By the trunk they came by.
    Trunk,
}

/// Whose time is added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// Each agent's.
    #[default]
    Agent,
    /// All of a team's (班组), as it is made up now.
    Team,
}

/// Figures of which calls, and how.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CallFiguresQuery {
    /// Code of the site; a token for one site need not name it.
    pub site: Option<String>,
    /// Calls that came at this time or later, in milliseconds since 1970; 24 hours ago unless given.
    pub from: Option<i64>,
    /// Calls that came before this time; now unless given.
    pub to: Option<i64>,
    /// How they are grouped.
    #[serde(default)]
    #[param(inline)]
    pub by: By,
    /// Length of an interval in minutes, 1 to 1440, counted from `from`; the whole period when not given. A call belongs to
    /// the interval in which it came.
    pub every_min: Option<u32>,
    /// The time in which a human should answer, in seconds, 1 to 600.
    pub within_s: Option<u32>,
}

/// Figures of whose time.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AgentFiguresQuery {
    /// Code of the site; a token for one site need not name it.
    pub site: Option<String>,
    /// From this time on, in milliseconds since 1970; 24 hours ago unless given.
    pub from: Option<i64>,
    /// Up to this time; now unless given.
    pub to: Option<i64>,
    /// Of this agent alone.
    pub agent: Option<String>,
    /// Of those alone who are in this team now.
    pub team: Option<String>,
    /// Whose time is added up.
    #[serde(default)]
    #[param(inline)]
    pub by: Whose,
}

/// A part of a whole.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Rate {
    /// How many of them.
    pub part: u64,
    /// Of how many.
    pub whole: u64,
    /// From 0 to 1; `null` of nothing.
    pub value: Option<f64>,
}

impl From<crate::figures::Rate> for Rate {
    fn from(rate: crate::figures::Rate) -> Rate {
        Rate { part: rate.part, whole: rate.whole, value: rate.value() }
    }
}

/// Lengths of time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Times {
    /// How many.
    pub count: u64,
    /// All together, in milliseconds.
    pub total_ms: u64,
    /// The longest, in milliseconds.
    pub longest_ms: u64,
    /// The mean in milliseconds; `null` of none.
    pub mean_ms: Option<u64>,
}

impl From<Lengths> for Times {
    fn from(lengths: Lengths) -> Times {
        Times {
            count: lengths.count,
            total_ms: ms(lengths.total),
            longest_ms: ms(lengths.longest),
            mean_ms: lengths.mean().map(ms),
        }
    }
}

fn ms(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// Figures of the calls of one interval and group. `offered` is the sum of `live`, `answered` and all up to `dropped`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CallFigures {
    /// Beginning of the interval.
    pub from: i64,
    /// Queue, agent or trunk; `null` for none, and when all are together.
    pub group: Option<String>,
    /// All that came.
    pub offered: u64,
    /// Neither answered by a human nor over.
    pub live: u64,
    /// Answered by a human.
    pub answered: u64,
    /// Gave up while they waited for a human.
    pub abandoned: u64,
    /// Gave up in the flow, or before it.
    pub abandoned_ivr: u64,
    /// Ended by the flow: served by itself.
    pub self_served: u64,
    /// Let go by the queue: nobody there, full, or waited too long.
    pub released: u64,
    /// Refused at the door.
    pub blocked: u64,
    /// Ended by somebody of the house before a human answered.
    pub ended_by_us: u64,
    /// Lost before a human answered, by the network or by a fault.
    pub dropped: u64,
    /// Asked for a human.
    pub asked: u64,
    /// Gave up within 5 s, of those in `abandoned`.
    pub abandoned_short: u64,
    /// Cut off while they talked, by the network or by a fault.
    pub cut_off: u64,
    /// 接通率: answered of those who asked for a human.
    pub answer_rate: Rate,
    /// The same of all who called.
    pub answer_rate_of_all: Rate,
    /// Answered in time, of those answered.
    pub in_time_of_answered: Rate,
    /// Answered in time, of those who asked for a human.
    pub in_time_of_asked: Rate,
    /// 服务水平: (ans≤Y + aband≤Y) / (ans + aband); ans≤Y / ans; ans≤Y / (ans + aband); ans≤Y / (ans + aband>Y).
    pub service_levels: [Rate; 4],
    /// 呼损率: gave up waiting (short ones apart), refused or lost, of all who called.
    pub loss_rate: Rate,
    /// From asking for a human to the answer.
    pub wait: Times,
    /// From asking to giving up.
    pub gave_up_after: Times,
    /// Of the phone of the agent who answered.
    pub ring: Times,
    /// From the answer to the end.
    pub talk: Times,
}

impl CallFigures {
    fn new(from: i64, group: Option<String>, tally: &calls::Tally) -> CallFigures {
        CallFigures {
            from,
            group,
            offered: tally.offered,
            live: tally.live,
            answered: tally.answered,
            abandoned: tally.abandoned,
            abandoned_ivr: tally.abandoned_ivr,
            self_served: tally.self_served,
            released: tally.released,
            blocked: tally.blocked,
            ended_by_us: tally.ended_by_us,
            dropped: tally.dropped,
            asked: tally.asked,
            abandoned_short: tally.abandoned_short,
            cut_off: tally.cut_off,
            answer_rate: tally.answer_rate().into(),
            answer_rate_of_all: tally.answer_rate_of_all().into(),
            in_time_of_answered: tally.in_limit_of_answered().into(),
            in_time_of_asked: tally.in_limit_of_asked().into(),
            service_levels: tally.service_levels().map(Rate::from),
            loss_rate: tally.loss_rate().into(),
            wait: tally.wait.into(),
            gave_up_after: tally.gave_up_after.into(),
            ring: tally.ring.into(),
            talk: tally.talk.into(),
        }
    }
}

/// Figures over a period.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Figures<T> {
    /// Beginning of the period.
    pub from: i64,
    /// End of it.
    pub to: i64,
    /// Version of the rules and formulas.
    pub formulas: u32,
    /// By time and name; what is nought is left out.
    pub items: Vec<T>,
}

/// One agent's time, or a team's.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct AgentFigures {
    /// Name; `null` when a team's time is added up.
    pub agent: Option<String>,
    /// The team (班组) as of now; empty for none.
    pub team: String,
    /// All the time logged in, in milliseconds.
    pub logged_in_ms: u64,
    /// Waiting for calls, in milliseconds.
    pub ready_ms: u64,
    /// Being rung: each offer.
    pub ringing: Times,
    /// Each talk.
    pub talking: Times,
    /// Each wrap-up.
    pub wrap_up: Times,
    /// Paused, in milliseconds by reason.
    pub paused_ms: BTreeMap<String, u64>,
    /// Offers that were not answered.
    pub missed: u64,
    /// 座席利用率: ringing, talking and wrapping up, in milliseconds, of the time logged in without pauses.
    pub occupancy: Rate,
}

impl AgentFigures {
    fn new(agent: Option<String>, team: String, tally: &agents::Tally) -> AgentFigures {
        AgentFigures {
            agent,
            team,
            logged_in_ms: ms(tally.logged_in()),
            ready_ms: ms(tally.ready),
            ringing: tally.ringing.into(),
            talking: tally.talking.into(),
            wrap_up: tally.wrap_up.into(),
            paused_ms: tally.paused.iter().map(|(reason, length)| (reason.to_string(), ms(*length))).collect(),
            missed: tally.missed,
            occupancy: tally.occupancy().into(),
        }
    }
}

/// The answer rate in the last 24 hours, and the lowest in any 24 hours of the last seven days.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct AnswerRate {
    /// Version of the rules and formulas.
    pub formulas: u32,
    /// Answered of those who asked for a human in the last 24 hours.
    pub last_24_h: Rate,
    /// The lowest, in windows that begin every five minutes; `null` without a call in them.
    pub lowest: Option<LowestRate>,
}

/// 24 hours and their answer rate.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LowestRate {
    /// Their beginning.
    pub from: i64,
    /// Their end.
    pub to: i64,
    /// Answered of those who asked for a human.
    pub rate: Rate,
}

/// Figures of the calls that came in a period: every fate, the rates of the standard, the four service levels.
#[utoipa::path(get, path = "/figures/calls", tag = "figures", params(CallFiguresQuery), security(("bearer" = [])),
    responses((status = 200, body = Figures<CallFigures>), Problems))]
pub async fn of_calls(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(query): Query<CallFiguresQuery>,
) -> Result<Json<Figures<CallFigures>>, Problem> {
    let (site, _) = caller.one_site(Action::FiguresRead, query.site.as_deref())?;
    let (from, to) = period(&api, query.from, query.to)?;
    let every = i64::from(within("every_min", query.every_min.unwrap_or(1_440), 1..=1_440)?) * 60_000;
    let every = if query.every_min.is_some() { every } else { to - from };
    let limit = Duration::from_secs(u64::from(within("within_s", query.within_s.unwrap_or(WITHIN_S), 1..=600)?));
    let _place = place(&api)?;
    let teams = if query.by == By::Team { api.node.store.site(&site.code).teams().await? } else { BTreeMap::new() };
    let mut tallies: BTreeMap<(i64, Option<String>), calls::Tally> = BTreeMap::new();
    let count = |figure: crate::store::figures::CallFigure| {
        let interval = from + (figure.call.offered.0 - from).div_euclid(every) * every;
        let group = match query.by {
            By::Site => None,
            By::Queue => figure.queue,
            By::Agent => figure.agent,
            By::Team => figure.agent.map(|agent| team_of(&teams, &agent)),
            By::Trunk => Some(figure.trunk),
        };
        // Beyond the limit nothing more is kept: it is refused below.
        if tallies.len() <= ROWS_MAX {
            tallies.entry((interval, group)).or_default().add(&figure.call, limit);
        }
    };
    api.node.store.site(&site.code).each_call((Wall(from), Wall(to)), count).await?;
    if tallies.len() > ROWS_MAX {
        let detail = format!("more than {ROWS_MAX} rows: ask for a shorter period or longer intervals");
        return Err(Problem::bad_request(detail));
    }
    let items = tallies.into_iter().map(|((from, group), tally)| CallFigures::new(from, group, &tally)).collect();
    Ok(Json(Figures { from, to, formulas: FORMULAS, items }))
}

/// What agents, or teams, did with their time in a period. Who sees only their own gets only their own.
#[utoipa::path(get, path = "/figures/agents", tag = "figures", params(AgentFiguresQuery), security(("bearer" = [])),
    responses((status = 200, body = Figures<AgentFigures>), Problems))]
pub async fn of_agents(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(query): Query<AgentFiguresQuery>,
) -> Result<Json<Figures<AgentFigures>>, Problem> {
    let (site, grant) = caller.one_site(Action::AgentRead, query.site.as_deref())?;
    let agent = caller.whose(Action::AgentRead, &site, query.agent, grant.reach)?;
    let (from, to) = period(&api, query.from, query.to)?;
    let _place = place(&api)?;
    let mut desks: BTreeMap<String, Desk> = BTreeMap::new();
    let follow = |AgentFigure { agent, at, state }: AgentFigure| match desks.get_mut(&agent) {
        Some(desk) => desk.enters(at, state),
        // Who was never heard of before was offline.
        None if at.0 >= from => {
            let mut desk = Desk::new(Wall(from), agents::State::Offline);
            desk.enters(at, state);
            desks.insert(agent, desk);
        }
        None => _ = desks.insert(agent, Desk::new(Wall(from), state)),
    };
    api.node.store.site(&site.code).each_state((Wall(from), Wall(to)), agent.as_deref(), follow).await?;
    let tallies = desks.into_iter().map(|(agent, desk)| (agent, desk.until(Wall(to))));
    let teams = api.node.store.site(&site.code).teams().await?;
    let present = tallies.filter(|(_, tally)| *tally != agents::Tally::default());
    let mut rows: BTreeMap<(Option<String>, String), agents::Tally> = BTreeMap::new();
    for (agent, tally) in present {
        let team = team_of(&teams, &agent);
        if query.team.as_ref().is_none_or(|wanted| *wanted == team) {
            let agent = (query.by == Whose::Agent).then_some(agent);
            rows.entry((agent, team)).or_default().merge(tally);
        }
    }
    let items = rows.into_iter().map(|((agent, team), tally)| AgentFigures::new(agent, team, &tally)).collect();
    Ok(Json(Figures { from, to, formulas: FORMULAS, items }))
}

/// The answer rate in the last 24 hours, and the lowest in any continuous 24 hours of the last seven days (GB/T 33358).
#[utoipa::path(get, path = "/figures/answer-rate", tag = "figures", params(SiteQuery), security(("bearer" = [])),
    responses((status = 200, body = AnswerRate), Problems))]
pub async fn answer_rate(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(query): Query<SiteQuery>,
) -> Result<Json<AnswerRate>, Problem> {
    let (site, _) = caller.one_site(Action::FiguresRead, query.site.as_deref())?;
    let now = (api.node.wall)();
    let span = i64::try_from(rolling::SPAN.as_millis()).unwrap_or(i64::MAX);
    let (first, yesterday) = (Wall(now.0 - 7 * span), Wall(now.0 - span));
    let _place = place(&api)?;
    let (mut steps, mut last) = (Steps::default(), crate::figures::Rate::default());
    // A hotline that is younger has no seven days.
    let mut earliest = now;
    let count = |figure: crate::store::figures::CallFigure| {
        // Who waits still is not yet one who was not answered.
        let decided = figure.call.answered.is_some() || figure.call.ended.is_some();
        if figure.call.queued.is_none() || !decided {
            return;
        }
        let answered = figure.call.answered.is_some();
        earliest = earliest.min(figure.call.offered);
        steps.add(figure.call.offered, answered);
        if figure.call.offered >= yesterday {
            last.whole += 1;
            last.part += u64::from(answered);
        }
    };
    api.node.store.site(&site.code).each_call((first, now), count).await?;
    let lowest = steps.lowest(earliest, now).map(|window| LowestRate {
        from: window.from.0,
        to: window.to.0,
        rate: window.rate.into(),
    });
    Ok(Json(AnswerRate { formulas: FORMULAS, last_24_h: last.into(), lowest }))
}

/// Who is not known any more is in no team.
fn team_of(teams: &BTreeMap<String, String>, agent: &str) -> String {
    teams.get(agent).cloned().unwrap_or_default()
}

/// The period asked for.
fn period(api: &Api, from: Option<i64>, to: Option<i64>) -> Result<(i64, i64), Problem> {
    let to = to.unwrap_or_else(|| (api.node.wall)().0);
    let from = from.unwrap_or_else(|| to.saturating_sub(DAY_MS));
    match to.checked_sub(from) {
        Some(1..) if to - from <= DAYS_MAX * DAY_MS && from >= 0 => Ok((from, to)),
        Some(1..) => Err(Problem::bad_request(format!("a period has at most {DAYS_MAX} days and lies behind 1970"))),
        Some(_) | None => Err(Problem::bad_request("a period ends behind its beginning: give from < to")),
    }
}

fn within(name: &str, value: u32, range: std::ops::RangeInclusive<u32>) -> Result<u32, Problem> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(Problem::bad_request(format!("{name} lies from {} to {}", range.start(), range.end())))
}

fn place(api: &Api) -> Result<SemaphorePermit<'_>, Problem> {
    api.figures.try_acquire().map_err(|_| Problem::busy("figures are being counted for others: ask again in a second"))
}
