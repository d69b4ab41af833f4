//! `jiesu verify`: whether calls, orders, recordings, files, manifest and journal agree.

use crate::base::fact::Stamped;
use crate::base::{Fact, FactId, Mint, Wall};
use crate::config::{Config, Site};
use crate::node::clock;
use crate::node::recorder::{mend, seal_left};
use crate::store::verify::{Difference, Scope};
use crate::store::{Store, journal};
use anyhow::{Context, bail};
use clap::Args;
use jiff::ToSpan;
use jiff::civil::Date;
use std::path::Path;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Code of the site; without it, all sites.
    #[arg(long)]
    site: Option<String>,
    /// First day (YYYY-MM-DD, in the site's time zone); without it, yesterday.
    #[arg(long)]
    from: Option<Date>,
    /// Last day; without it, today.
    #[arg(long)]
    to: Option<Date>,
    /// Beside a running engine: calls older than this are over, whatever their record says.
    #[arg(long, default_value_t = 12)]
    live_h_max: u16,
    /// While no engine runs: mend headers of sound files that a crash has cut, and seal their recordings. Nothing else is
    /// ever changed.
    #[arg(long)]
    repair: bool,
}

/// Prints every difference on a line of its own.
///
/// # Errors
/// When there is any, or something cannot be read.
pub(super) fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    let sites: Vec<&Site> = match &arguments.site {
        Some(code) => {
            let site = config.sites.iter().find(|site| *site.code == **code);
            vec![site.with_context(|| format!("there is no site {code:?} in the configuration"))?]
        }
        None => config.sites.iter().collect(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let left = runtime.block_on(async {
        let store = Store::open(&config.database).await?;
        let mut left = 0;
        for site in sites {
            left += verify(config, &store, site, arguments).await?;
        }
        anyhow::Ok(left)
    })?;
    match left {
        0 => Ok(()),
        left => bail!("{left} differences"),
    }
}

/// How many differences are left.
async fn verify(config: &Config, store: &Store, site: &Site, arguments: &Arguments) -> anyhow::Result<usize> {
    let running = journal::in_use(&config.journal.dir);
    let now = clock::now().wall;
    let live_ms_max = i64::from(arguments.live_h_max) * 3_600_000;
    let (from, to) = days(site, arguments, now)?;
    let scope = Scope {
        site: &site.code,
        from,
        to,
        recordings: &config.node.recordings,
        journal: &config.journal.dir,
        over_before: if running { Wall(now.0 - live_ms_max) } else { now },
        running,
    };
    let mut left = 0;
    for difference in store.verify(&scope).await? {
        let done = if arguments.repair && !running { repair(&scope, store, &difference).await? } else { None };
        println!("{} {difference}{}", site.code, done.unwrap_or_default());
        left += usize::from(done.is_none());
    }
    Ok(left)
}

/// What was done about it, if anything can be.
async fn repair(scope: &Scope<'_>, store: &Store, difference: &Difference) -> anyhow::Result<Option<&'static str>> {
    match difference {
        Difference::Header(path) => {
            mend(path).with_context(|| path.display().to_string())?;
            Ok(Some(" (mended)"))
        }
        Difference::RecordingWithoutEnd(recording, path) => {
            let root = scope.recordings.iter().find(|root| root.join(scope.site).join(path).exists());
            let Some(root) = root else { return Ok(None) };
            seal((scope, root), store, recording).await.with_context(|| format!("recording {recording}")).map(Some)
        }
        _ => Ok(None),
    }
}

/// Seals what a crash left open: the file, the chain and the row then say the same.
async fn seal((scope, root): (&Scope<'_>, &Path), store: &Store, recording: &str) -> anyhow::Result<&'static str> {
    let row = store.site(scope.site).recording(recording.parse()?).await?.context("its row has just gone")?;
    let (fact, repaired) = seal_left(root, scope.site, &row.fact()?)?;
    let at = clock::now().wall;
    let id = FactId(Mint::new(0, [getrandom::u64()?, getrandom::u64()?]).mint(at));
    store.apply(&[Stamped { id, at, site: scope.site.into(), fact: Fact::Recording(Box::new(fact)) }]).await?;
    Ok(if repaired {
        " (its header was mended, it is sealed, and the manifest says so)"
    } else {
        " (it is sealed as far as it came)"
    })
}

/// From the first moment of the first day to the first after the last one.
fn days(site: &Site, arguments: &Arguments, now: Wall) -> anyhow::Result<(Wall, Wall)> {
    let today = jiff::Timestamp::from_millisecond(now.0)?.to_zoned(site.time_zone.clone()).date();
    let first = match arguments.from {
        Some(date) => date,
        None => today.yesterday()?,
    };
    let behind = arguments.to.unwrap_or(today).checked_add(1.day())?;
    let moment = |date: Date| -> anyhow::Result<Wall> {
        Ok(Wall(date.to_zoned(site.time_zone.clone())?.timestamp().as_millisecond()))
    };
    let (from, to) = (moment(first)?, moment(behind)?);
    if from >= to {
        bail!("--from must not be later than --to");
    }
    Ok((from, to))
}
