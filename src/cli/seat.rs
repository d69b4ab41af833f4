//! `jiesu seat`: phones that belong to a desk, in the database.

use super::agent::{password, with_site};
use crate::config::Config;
use crate::store;
use anyhow::Context;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Add a seat; its phone registers as NAME at the site's domain, and is the agent's who logs in to it.
    Add {
        /// Code of the site.
        #[arg(long)]
        site: String,
        /// 1 to 64 of A-Z a-z 0-9 . _ -, no agent's name
        #[arg(long)]
        name: String,
        /// The phone's password; without it, the first line of standard input.
        #[arg(long)]
        password: Option<String>,
    },
    /// List a site's seats and who sits there.
    List {
        /// Code of the site.
        #[arg(long)]
        site: String,
    },
    /// Give the phone a new password.
    Password {
        /// Code of the site.
        #[arg(long)]
        site: String,
        /// Which.
        #[arg(long)]
        name: String,
        /// Without it, the first line of standard input.
        #[arg(long)]
        password: Option<String>,
    },
    /// Remove a seat where nobody sits.
    Remove {
        /// Code of the site.
        #[arg(long)]
        site: String,
        /// Which.
        #[arg(long)]
        name: String,
    },
}

impl Action {
    fn site(&self) -> &str {
        match self {
            Action::Add { site, .. }
            | Action::List { site }
            | Action::Password { site, .. }
            | Action::Remove { site, .. } => site,
        }
    }
}

pub(super) fn run(config: &Config, action: Action) -> anyhow::Result<()> {
    let code = action.site().to_owned();
    with_site(config, &code, async |seats, site| act(seats, site, action).await)
}

async fn act(seats: store::Site<'_>, site: &crate::config::Site, action: Action) -> anyhow::Result<()> {
    match action {
        Action::Add { name, password: given, .. } => {
            let password = password(given)?;
            seats.add_seat(&name, &site.domain, &password).await.with_context(|| format!("seat {name}"))?;
            println!("seat {name} of {}: the phone registers as sip:{name}@{}", site.code, site.domain);
        }
        Action::List { .. } => {
            for seat in seats.seats().await? {
                println!("{}  {}", seat.name, seat.agent.as_deref().unwrap_or("(free)"));
            }
        }
        Action::Password { name, password: given, .. } => {
            seats.set_seat_password(&name, &password(given)?).await.with_context(|| format!("seat {name}"))?;
        }
        Action::Remove { name, .. } => {
            seats.remove_seat(&name).await.with_context(|| format!("seat {name}"))?;
        }
    }
    Ok(())
}
