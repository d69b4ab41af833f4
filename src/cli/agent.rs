//! `jiesu agent`: people and their phones in the database.

use crate::config::Config;
use crate::store::agents::{NewAgent, Skill};
use crate::store::sites::SiteRow;
use crate::store::{Site, Store};
use anyhow::{Context, bail};
use clap::Subcommand;
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use std::io::Read;

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Add an agent; the phone registers as NAME at the site's domain.
    Add {
        /// Code of the site.
        #[arg(long)]
        site: String,
        /// 1 to 64 of A-Z a-z 0-9 . _ -
        #[arg(long)]
        name: String,
        /// The phone's password; without it, the first line of standard input.
        #[arg(long)]
        password: Option<String>,
        /// Name for people.
        #[arg(long, default_value = "")]
        display_name: String,
        /// A skill and its level, `general` or `general=5` (1 to 9); for some time only,
        /// `law=5@2026-12-01..2026-12-31`, first and last day, either of which may be left out. May be given several times.
        #[arg(long = "skill", value_parser = skill)]
        skills: Vec<Held>,
    },
    /// List a site's agents.
    List {
        /// Code of the site.
        #[arg(long)]
        site: String,
    },
    /// Replace an agent's skills.
    Skills {
        /// Code of the site.
        #[arg(long)]
        site: String,
        /// Who.
        #[arg(long)]
        name: String,
        /// As for `add`.
        #[arg(long = "skill", value_parser = skill)]
        skills: Vec<Held>,
    },
    /// Put an agent into a team.
    Team {
        /// Code of the site.
        #[arg(long)]
        site: String,
        /// Who.
        #[arg(long)]
        name: String,
        /// Name of the team; empty for none.
        #[arg(long)]
        team: String,
    },
    /// Give the phone a new password.
    Password {
        /// Code of the site.
        #[arg(long)]
        site: String,
        /// Who.
        #[arg(long)]
        name: String,
        /// Without it, the first line of standard input.
        #[arg(long)]
        password: Option<String>,
    },
    /// Give the agent a PIN, with which they log in at a seat by its phone.
    Pin {
        /// Code of the site.
        #[arg(long)]
        site: String,
        /// Who.
        #[arg(long)]
        name: String,
        /// 4 to 12 digits, or empty for none; without it, the first line of standard input.
        #[arg(long)]
        pin: Option<String>,
    },
    /// Keep the agent's records but let them register no more.
    Disable {
        /// Code of the site.
        #[arg(long)]
        site: String,
        /// Who.
        #[arg(long)]
        name: String,
    },
    /// Let a disabled agent register again.
    Enable {
        /// Code of the site.
        #[arg(long)]
        site: String,
        /// Who.
        #[arg(long)]
        name: String,
    },
}

impl Action {
    fn site(&self) -> &str {
        match self {
            Action::Add { site, .. }
            | Action::List { site }
            | Action::Skills { site, .. }
            | Action::Team { site, .. }
            | Action::Password { site, .. }
            | Action::Pin { site, .. }
            | Action::Disable { site, .. }
            | Action::Enable { site, .. } => site,
        }
    }
}

/// A skill as it is written: its days are those of a site's calendar, which the text does not name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    skill: String,
    level: u8,
    first: Option<Date>,
    last: Option<Date>,
}

impl Held {
    fn at(&self, zone: &TimeZone) -> anyhow::Result<Skill> {
        let midnight =
            |day: Date| anyhow::Ok(zone.to_zoned(day.to_datetime(Time::midnight()))?.timestamp().as_millisecond());
        let after = self.last.map(Date::tomorrow).transpose().context("the last day is too late")?;
        let (valid_from, valid_until) = (self.first.map(midnight).transpose()?, after.map(midnight).transpose()?);
        Ok(Skill { skill: self.skill.clone(), level: self.level, valid_from, valid_until })
    }
}

fn skill(text: &str) -> Result<Held, String> {
    let cure = || {
        String::from("write NAME, NAME=LEVEL with a level of 1 to 9, or NAME=LEVEL@FIRST..LAST with days as 2026-12-01")
    };
    let (text, days) = text.split_once('@').map_or((text, None), |(text, days)| (text, Some(days)));
    let (skill, level) = text.split_once('=').unwrap_or((text, "5"));
    let level = level.parse().ok().filter(|level| (1..=9).contains(level)).ok_or_else(cure)?;
    let (first, last) = match days {
        Some(days) => days.split_once("..").ok_or_else(cure)?,
        None => ("", ""),
    };
    let day = |text: &str| if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| cure()) };
    Ok(Held { skill: skill.into(), level, first: day(first)?, last: day(last)? })
}

/// As it is listed: what is written to have it.
fn written(skill: &Skill, zone: &TimeZone) -> String {
    let day = |ms: i64| Timestamp::from_millisecond(ms).map(|moment| moment.to_zoned(zone.clone()).date()).ok();
    let first = skill.valid_from.and_then(day).map(|day| day.to_string()).unwrap_or_default();
    let last = skill.valid_until.and_then(|ms| day(ms - 1)).map(|day| day.to_string()).unwrap_or_default();
    let days = if first.is_empty() && last.is_empty() { String::new() } else { format!("@{first}..{last}") };
    format!("{}={}{days}", skill.skill, skill.level)
}

pub(super) fn password(given: Option<String>) -> anyhow::Result<String> {
    if let Some(password) = given {
        return Ok(password);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("the password is read from standard input")?;
    Ok(text.lines().next().unwrap_or_default().into())
}

pub(super) fn run(config: &Config, action: Action) -> anyhow::Result<()> {
    let code = action.site().to_owned();
    with_site(config, &code, async |people, site| act(people, site, action).await)
}

/// Does something with what the database has of one site.
pub(super) fn with_site(
    config: &Config,
    code: &str,
    act: impl AsyncFnOnce(Site<'_>, &crate::config::Site) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(id) = config.site_id(code) else {
        let known: Vec<&str> = config.sites.iter().map(|site| &*site.code).collect();
        bail!("no site {code:?}; the configuration has: {}", known.join(", "));
    };
    let site = &config.sites[id.index()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Store::open(&config.database).await?;
        store
            .sync_sites(&[SiteRow {
                code: site.code.to_string(),
                name: site.name.to_string(),
                time_zone: site.time_zone.iana_name().unwrap_or("UTC").to_string(),
                area: site.area_code.to_string(),
            }])
            .await?;
        let done = act(store.site(&site.code), site).await;
        store.close().await;
        done
    })
}

async fn act(people: Site<'_>, site: &crate::config::Site, action: Action) -> anyhow::Result<()> {
    match action {
        Action::Add { name, password: given, display_name, skills, .. } => {
            let skills = known_skills(site, &skills)?;
            let password = password(given)?;
            let new = NewAgent { name: &name, display_name: &display_name, domain: &site.domain, password: &password };
            people.add_agent(&new).await.with_context(|| format!("agent {name}"))?;
            people.set_skills(&name, &skills).await?;
            println!("agent {name} of {}: the phone registers as sip:{name}@{}", site.code, site.domain);
        }
        Action::List { .. } => {
            for agent in people.agents().await? {
                let skills: Vec<String> = agent.skills.iter().map(|skill| written(skill, &site.time_zone)).collect();
                let enabled = if agent.enabled { "" } else { "  (disabled)" };
                let team = if agent.team.is_empty() { String::new() } else { format!("  [{}]", agent.team) };
                let seat = agent.seat.as_ref().map(|seat| format!("  at {seat}")).unwrap_or_default();
                println!("{}  {}{team}{seat}  {}{enabled}", agent.name, agent.display_name, skills.join(" "));
            }
        }
        Action::Skills { name, skills, .. } => {
            let skills = known_skills(site, &skills)?;
            people.set_skills(&name, &skills).await.with_context(|| format!("agent {name}"))?;
        }
        Action::Team { name, team, .. } => {
            people.set_team(&name, &team).await.with_context(|| format!("agent {name}"))?;
        }
        Action::Password { name, password: given, .. } => {
            people.set_password(&name, &password(given)?).await.with_context(|| format!("agent {name}"))?;
        }
        Action::Pin { name, pin, .. } => {
            let pin = password(pin)?;
            let pin = Some(pin.as_str()).filter(|pin| !pin.is_empty());
            people.set_pin(&name, pin).await.with_context(|| format!("agent {name}"))?;
        }
        Action::Disable { name, .. } => {
            people.set_enabled(&name, false).await.with_context(|| format!("agent {name}"))?;
        }
        Action::Enable { name, .. } => {
            people.set_enabled(&name, true).await.with_context(|| format!("agent {name}"))?;
        }
    }
    Ok(())
}

fn known_skills(site: &crate::config::Site, skills: &[Held]) -> anyhow::Result<Vec<Skill>> {
    if let Some(unknown) = skills.iter().find(|skill| site.skill(&skill.skill).is_none()) {
        bail!("site {} has no skill {:?}; it has: {}", site.code, unknown.skill, site.skills.join(", "));
    }
    skills.iter().map(|skill| skill.at(&site.time_zone)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skills_are_listed_as_they_are_written() {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        for text in ["law=5", "law=9@2026-12-01..2026-12-31", "law=1@..2026-12-31", "law=1@2026-12-01.."] {
            assert_eq!(written(&skill(text).unwrap().at(&zone).unwrap(), &zone), text);
        }
        let day = skill("law@2026-12-01..2026-12-01").unwrap().at(&zone).unwrap();
        assert_eq!((day.level, day.valid_from), (5, Some(1_796_054_400_000)));
        assert_eq!(day.valid_until.unwrap() - day.valid_from.unwrap(), 86_400_000);
        for wrong in ["law=0", "law=10", "law=5@2026-12-01", "law=5@1..2", "law="] {
            assert!(skill(wrong).is_err(), "{wrong}");
        }
    }
}
