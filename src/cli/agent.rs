//! `jiesu agent`: people and their phones in the database.

use crate::config::Config;
use crate::store::agents::{NewAgent, Skill};
use crate::store::sites::SiteRow;
use crate::store::{Site, Store};
use anyhow::{Context, bail};
use clap::Subcommand;
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
        /// A skill and its level, `general` or `general=5` (1 to 9); may be given several times.
        #[arg(long = "skill", value_parser = skill)]
        skills: Vec<Skill>,
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
        skills: Vec<Skill>,
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
            | Action::Password { site, .. }
            | Action::Disable { site, .. }
            | Action::Enable { site, .. } => site,
        }
    }
}

fn skill(text: &str) -> Result<Skill, String> {
    let (skill, level) = text.split_once('=').unwrap_or((text, "5"));
    match level.parse() {
        Ok(level @ 1..=9) => Ok(Skill { skill: skill.into(), level }),
        Ok(_) | Err(_) => Err("write NAME or NAME=LEVEL with a level of 1 to 9".into()),
    }
}

fn password(given: Option<String>) -> anyhow::Result<String> {
    if let Some(password) = given {
        return Ok(password);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("the password is read from standard input")?;
    Ok(text.lines().next().unwrap_or_default().into())
}

pub(super) fn run(config: &Config, action: Action) -> anyhow::Result<()> {
    let Some(id) = config.site_id(action.site()) else {
        let known: Vec<&str> = config.sites.iter().map(|site| &*site.code).collect();
        bail!("no site {:?}; the configuration has: {}", action.site(), known.join(", "));
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
        let done = act(store.site(&site.code), site, action).await;
        store.close().await;
        done
    })
}

async fn act(people: Site<'_>, site: &crate::config::Site, action: Action) -> anyhow::Result<()> {
    match action {
        Action::Add { name, password: given, display_name, skills, .. } => {
            known_skills(site, &skills)?;
            let password = password(given)?;
            let new = NewAgent { name: &name, display_name: &display_name, domain: &site.domain, password: &password };
            people.add_agent(&new).await.with_context(|| format!("agent {name}"))?;
            people.set_skills(&name, &skills).await?;
            println!("agent {name} of {}: the phone registers as sip:{name}@{}", site.code, site.domain);
        }
        Action::List { .. } => {
            for agent in people.agents().await? {
                let skills: Vec<String> =
                    agent.skills.iter().map(|skill| format!("{}={}", skill.skill, skill.level)).collect();
                let enabled = if agent.enabled { "" } else { "  (disabled)" };
                println!("{}  {}  {}{enabled}", agent.name, agent.display_name, skills.join(" "));
            }
        }
        Action::Skills { name, skills, .. } => {
            known_skills(site, &skills)?;
            people.set_skills(&name, &skills).await.with_context(|| format!("agent {name}"))?;
        }
        Action::Password { name, password: given, .. } => {
            people.set_password(&name, &password(given)?).await.with_context(|| format!("agent {name}"))?;
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

fn known_skills(site: &crate::config::Site, skills: &[Skill]) -> anyhow::Result<()> {
    match skills.iter().find(|skill| site.skill(&skill.skill).is_none()) {
        Some(unknown) => {
            bail!("site {} has no skill {:?}; it has: {}", site.code, unknown.skill, site.skills.join(", "))
        }
        None => Ok(()),
    }
}
