//! `jiesu diff` and `jiesu reload`, and what the node does when they or a SIGHUP ask.
//!
//! The node reads its own files, so that what is shown, what is taken and what a SIGHUP takes are one thing.

use super::control::{Answer, CHANGES_MAX, Differences, Door, Question, Wanted, answer, ask};
use super::serve::tokens;
use crate::api::auth::TokenSettings;
use crate::config::Config;
use crate::node::Reload;
use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::Signal;

/// The files of a running node and what takes them.
pub(super) struct Files {
    pub path: PathBuf,
    pub reload: Reload,
    pub known: Arc<ArcSwap<Vec<TokenSettings>>>,
}

impl Files {
    /// Serves SIGHUP and the door, one after the other.
    pub(super) async fn serve(self, mut hangup: Signal, door: Option<Door>) {
        let next = async || match &door {
            Some(door) => door.asked().await,
            None => std::future::pending().await,
        };
        loop {
            tokio::select! {
                asked = hangup.recv() => match asked {
                    Some(()) => drop(self.take().await),
                    None => return,
                },
                (question, stream) = next() => answer(stream, &self.reply(&question).await).await,
            }
        }
    }

    async fn reply(&self, question: &Question) -> Answer {
        if let Err(reason) = self.is_meant(&question.config) {
            return Answer::Refused(format!("{reason:#}"));
        }
        let told = match question.wanted {
            Wanted::Diff => Config::load(&self.path).map(|config| self.differences(&config)).map_err(Into::into),
            Wanted::Reload => self.take().await,
        };
        told.map_or_else(|reason| Answer::Refused(format!("{reason:#}")), Answer::Told)
    }

    fn is_meant(&self, asked: &Path) -> anyhow::Result<()> {
        let own = self.path.canonicalize().with_context(|| self.path.display().to_string())?;
        if own != asked {
            bail!("this node runs by {}: name that with --config, not {}", own.display(), asked.display());
        }
        Ok(())
    }

    /// Makes the files the node's configuration, wholly or not at all; tells the log.
    async fn take(&self) -> anyhow::Result<Differences> {
        let taken = self.try_take().await;
        match &taken {
            Ok(told) => {
                let changes = told.changes.len() + told.more;
                tracing::info!(changes, "the configuration was read again");
            }
            Err(error) => tracing::error!("nothing is changed: {error:#}"),
        }
        taken
    }

    async fn try_take(&self) -> anyhow::Result<Differences> {
        let config = Config::load(&self.path)?;
        let (told, tokens) = (self.differences(&config), tokens(&config)?);
        self.reload.take(config).await?;
        self.known.store(Arc::new(tokens));
        Ok(told)
    }

    fn differences(&self, config: &Config) -> Differences {
        let running = self.reload.running();
        let mut changes = running.changes(config);
        let more = changes.len().saturating_sub(CHANGES_MAX);
        changes.truncate(CHANGES_MAX);
        let fixed = running.fixed_differences(config).into_iter().map(Into::into).collect();
        Differences { changes, more, fixed }
    }
}

/// The door of the node, if there can be one: without it SIGHUP alone reloads.
pub(super) fn door(config: &Config) -> Option<Door> {
    let folder = &config.node.data_dir;
    let failed = |error: &std::io::Error| {
        let cure = "`jiesu diff` and `jiesu reload` do not reach this node, SIGHUP does: mend [node] data_dir (a path of \
                    less than 100 bytes, writable), start again";
        tracing::error!(%error, folder = %folder.display(), "no control socket; {cure}");
    };
    Door::open(folder).inspect_err(failed).ok()
}

/// Asks the node of these files and prints what it says.
///
/// # Errors
/// The files hold mistakes, no node runs by them, or a reload is (or would be) refused.
pub(super) fn run(path: &Path, wanted: Wanted) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    for problem in &config.unusable {
        eprintln!("jiesu: {problem}");
    }
    let told = match ask(&config.node.data_dir, &Question { wanted, config: path.canonicalize()? })? {
        Answer::Told(told) => told,
        Answer::Refused(reason) => bail!("nothing is changed: {reason}"),
    };
    told.changes.iter().for_each(|change| println!("{change}"));
    if told.more > 0 {
        println!("and {} more", told.more);
    }
    if !told.fixed.is_empty() {
        let fixed = told.fixed.join(", ");
        bail!("a reload would be refused: {fixed} changed: start again for that, or take the change back");
    }
    println!(
        "{}",
        match (wanted, told.changes.is_empty()) {
            (Wanted::Diff, true) => "no differences",
            (Wanted::Diff, false) => "a reload would take these",
            (Wanted::Reload, true) => "read again: no differences",
            (Wanted::Reload, false) => "read again: these are taken",
        }
    );
    Ok(())
}
