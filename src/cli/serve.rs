//! `jiesu serve`: a node, its HTTP and the signals that end them.

use super::reload::{Files, door};
use crate::api::may::Role;
use crate::api::{self, auth::TokenSettings};
use crate::config::Config;
use crate::demo::Demo;
use crate::node::{Node, StartError, clock, listen_cure, log_panics};
use anyhow::Context;
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

pub(super) fn run(path: PathBuf, config: Config, demo: bool) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.node.log).context("[node] log is no tracing filter")?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    log_panics();
    for problem in &config.unusable {
        tracing::error!("{problem}");
    }
    // As many workers as shards: a message from task to task then rarely has to wake another processor, which costs more
    // than handling it.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(config.node.shards).enable_all().build()?;
    runtime.block_on(serve(path, config, demo))
}

async fn serve(path: PathBuf, config: Config, demo: bool) -> anyhow::Result<()> {
    let listener = TcpListener::bind(config.api.listen).await.map_err(|error| StartError::Listen {
        name: "[api] listen".into(),
        address: config.api.listen,
        cure: listen_cure(&error),
        error,
    })?;
    let tokens = tokens(&config)?;
    let node = Node::start(config).await?;
    let demo = if demo { Some(Demo::start(&node).await?) } else { None };
    // Before "ready": who reads that may ask.
    let door = door(node.config());
    announce(&node, listener.local_addr()?);
    let (closing, closed) = watch::channel(false);
    let wired = wire(&node, tokens, closed.clone());
    let connections = wired.connections.clone();
    let files = Files { path, reload: node.reload(), known: wired.tokens.clone() };
    let reloads = tokio::spawn(files.serve(signal(SignalKind::hangup())?, door));
    let http = tokio::spawn(api::serve(listener, api::router(wired), connections, async move {
        let mut closed = closed;
        // A sender that is gone means the same.
        let _ = closed.wait_for(|closed| *closed).await;
    }));
    let (hurry, hurried) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    reloads.abort();
    tracing::info!("draining: no new calls, running ones finish; a second signal ends them");
    if let Some(demo) = demo {
        demo.leave().await;
    }
    let mut drained = tokio::spawn(node.drain(hurried));
    tokio::select! {
        _ = &mut drained => {}
        _ = async { tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} } } => {
            hurry.send_replace(true);
            (&mut drained).await?;
        }
    }
    closing.send_replace(true);
    http.await?;
    tracing::info!("stopped");
    Ok(())
}

/// The lines that people and scripts read.
fn announce(node: &Node, api: std::net::SocketAddr) {
    for listening in node.listening() {
        println!("sip {} {}", listening.address, listening.transport.word());
    }
    println!("api http://{api}");
    for site in &node.config().sites {
        println!("phones of {} register at domain {}", site.name, site.domain);
    }
    println!("ready");
}

/// Who may use the API.
pub(super) fn tokens(config: &Config) -> anyhow::Result<Vec<TokenSettings>> {
    let token = |token: &crate::config::Token| {
        Ok(TokenSettings {
            actor: token.actor.clone(),
            role: role(&token.role)?,
            site: token.site.map(|site| config.sites[site.index()].code.clone()),
            token_sha256: token.sha256,
        })
    };
    config.api.tokens.iter().map(token).collect()
}

fn role(word: &str) -> anyhow::Result<Role> {
    serde_json::from_value(word.into()).with_context(|| format!("[[api.token]] role {word:?}"))
}

fn wire(node: &Node, tokens: Vec<TokenSettings>, closing: watch::Receiver<bool>) -> api::Node {
    let (hang_up, want, extend) = (node.hang_up(), node.want(), node.extend());
    let (bans, lift) = (node.bans(), node.bans());
    let ok = |taken: bool| if taken { Ok(()) } else { Err(api::Busy) };
    api::Node {
        live: node.live().clone(),
        store: node.store().clone(),
        archive: node.archive(),
        recordings_roots: node.config().node.recordings.clone(),
        routing: node.config().routing_folder(),
        tokens: Arc::new(ArcSwap::from_pointee(tokens)),
        hang_up: Arc::new(move |call| ok(hang_up(call))),
        dial: Arc::new(node.dial()),
        call_back: Arc::new(node.call_back()),
        transfer: Arc::new(node.transfer()),
        intervene: Arc::new(node.intervene()),
        targets: Arc::new(node.targets()),
        links: Arc::new(node.links()),
        want: Arc::new(move |site, agent, state, by| ok(want(site, agent, state, by))),
        seated: Arc::new(node.seated()),
        extend: Arc::new(move |site, agent, by| ok(extend(site, agent, by))),
        audit: Arc::new(node.audit()),
        modes: Arc::new(node.modes()),
        set_mode: Arc::new(node.set_mode()),
        bans: Arc::new(move || bans.list()),
        lift_ban: Arc::new(move |source| lift.lift(source)),
        internals: Arc::new(node.internals()),
        connections: api::Connections::default(),
        wall: || clock::now().wall,
        seed: node.seed(),
        closing,
    }
}
