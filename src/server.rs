//! The daemon: store, HSM, workers, links, listeners, console, put together and taken down again.
//!
//! ```text
//! main thread      signals
//! store-writer     one commit for whatever waits
//! worker 0 … n     a current_thread runtime each: its listeners' connections and its own issuer links
//! directory        rereads reference data when the store's revision moves
//! console          HTTP
//! ```
//!
//! Every worker has a link of its own to every issuer, so that no frame crosses threads; STANs are
//! unique all the same, because every link's numbers come out of one counter of the store.

mod hsm;

pub use hsm::{HsmOptions, TcpDevice, lmk_file, open_devices, open_hsm};

use crate::clock::{Clock, TxnIds};
use crate::console::{self, Health};
use crate::crash;
use crate::dialect::{Dialect, issuer as issuer_dialect};
use crate::flow::{self, FlowOptions, IssuerLinkDialect, Link, Numbers, Shared, Switch, TerminalFrames};
use crate::hsm::audit::{KeyName, Operation};
use crate::hsm::{LmkRing, SoftHsm};
use crate::link::{self, Late, LinkClient, LinkOptions, LinkState, ListenerOptions, Sharing};
use crate::metrics::{self, MetricsHandle};
use crate::store::{self, Backend, CommitPoint, Engine, EngineOptions, Op, Outcome, Reader, StoreOptions};
use crate::transaction::{IssuerId, TerminalDialect};
use anyhow::{Context, Result, bail};
use hsm::Hsms;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

/// How often the store is asked whether it still commits.
const STORE_WATCH: Duration = Duration::from_secs(5);
/// How long is waited for links and devices before terminals are served without them.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the store's revision is looked at when nothing else reads it.
const REVISION_POLL: Duration = Duration::from_millis(500);
/// After so many of these a former LMK is looked for in its file: longer than any payment holds a key block.
const LMK_SWEEP_TICKS: u32 = 120;

/// What the daemon is built of.
#[derive(Debug)]
pub struct ServerOptions {
    /// Minutes by which local time is ahead of UTC.
    pub utc_offset_minutes: i32,
    /// Worker threads.
    pub workers: usize,
    /// The store.
    pub store: StoreOptions,
    /// The HSM.
    pub hsm: HsmOptions,
    /// Where terminals connect.
    pub listeners: Vec<TerminalListener>,
    /// Whom to connect to.
    pub issuers: Vec<IssuerLink>,
    /// Where the console listens.
    pub console: Option<SocketAddr>,
    /// Settings of the story.
    pub flow: FlowOptions,
}

/// A terminal listener.
#[derive(Debug, Clone)]
pub struct TerminalListener {
    /// Address.
    pub address: SocketAddr,
    /// What its terminals speak.
    pub dialect: TerminalDialect,
    /// How it behaves.
    pub options: ListenerOptions,
}

/// A link to an issuer.
#[derive(Debug, Clone)]
pub struct IssuerLink {
    /// The issuer.
    pub issuer: IssuerId,
    /// How it behaves.
    pub options: LinkOptions,
    /// How long the issuer may take to answer.
    pub answer: Duration,
    /// After so many hours the keys shared with it are changed; 0: when that is asked for.
    pub key_change_hours: u32,
}

/// Where a running daemon can be reached.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// Listeners by name.
    pub listeners: Vec<(String, SocketAddr)>,
    /// The console.
    pub console: Option<SocketAddr>,
}

/// What every worker gets.
struct Ground {
    options: ServerOptions,
    clock: Clock,
    hsms: Hsms,
    engine: Engine,
    shared: Arc<Shared>,
    ids: Arc<TxnIds>,
    health: Arc<Health>,
    shutdown: CancellationToken,
}

/// Runs the daemon until SIGTERM or SIGINT. `ready` is called once terminals can connect and every
/// issuer link has come up or had time to.
///
/// # Errors
/// What kept it from starting.
pub fn run(options: ServerOptions, ready: impl FnOnce(&Addresses) -> Result<()>) -> Result<()> {
    let metrics = metrics::install().context("metrics")?;
    let clock = Clock::system(options.utc_offset_minutes).context("utc_offset_minutes is out of range")?;
    let hsms = Hsms::open(&options.hsm, &clock, options.flow.node)?;
    let software = hsms.software();
    let (mut backend, mut reader) = store::open(&options.store).context("cannot open the store")?;
    let ids = Arc::new(TxnIds::new(options.flow.node.0));
    recover(backend.as_mut(), reader.as_mut(), &options, &clock, &ids)?;
    let shared = Arc::new(Shared::new(&reader.directory()?));
    let engine =
        Engine::start(backend, EngineOptions { hook: Some(commit_point), ..EngineOptions::default() })?;
    let health = Arc::new(Health::default());
    health.set_keys_loaded(true);
    health.set_store_writable(true);
    let shutdown = CancellationToken::new();
    let listeners = bind(&options)?;
    let addresses = serve_console(&options, metrics, &health, &shutdown, &listeners)?;
    let ground = Arc::new(Ground {
        options,
        clock,
        hsms,
        engine,
        shared: Arc::clone(&shared),
        ids,
        health: Arc::clone(&health),
        shutdown: shutdown.clone(),
    });
    let directory = follow_directory((reader, software), shared, shutdown.clone())?;
    let workers = start_workers(&ground, listeners)?;
    let signals = EndSignals::watch()?;
    ready(&addresses)?;
    signals.wait();
    health.start_draining();
    shutdown.cancel();
    join("directory", directory)?;
    for worker in workers {
        join("worker", worker)??;
    }
    if let Ok(ground) = Arc::try_unwrap(ground).map_err(|_| "a worker is still there") {
        ground.engine.stop();
    }
    Ok(())
}

fn commit_point(point: CommitPoint) {
    match point {
        CommitPoint::Before => crash::point("commit-before"),
        CommitPoint::After => crash::point("commit-after"),
    }
}

/// What was on its way when this node last ended is unknown, and is reversed; identities go on after the last.
fn recover(
    backend: &mut dyn Backend,
    reader: &mut dyn Reader,
    options: &ServerOptions,
    clock: &Clock,
    ids: &TxnIds,
) -> Result<()> {
    let op = Op::Recover { node: options.flow.node, now_ms: clock.now_ms() };
    let Outcome::Recovered(count) = store::commit_one(backend, op)?.outcome else {
        bail!("the store could not say what is without an outcome");
    };
    if count > 0 {
        tracing::warn!(count, "transactions without an outcome from an earlier run are reversed");
    }
    let latest = store::Filter { latest: Some(1), ..store::Filter::default() };
    if let Some(last) = reader.transactions(&latest)?.first() {
        ids.continue_after(last.id.0);
    }
    Ok(())
}

/// A bound socket for each worker of each listener.
type Bound = Vec<(TerminalListener, SocketAddr, Vec<TcpListener>)>;

fn bind(options: &ServerOptions) -> Result<Bound> {
    let sharing = if options.workers > 1 { Sharing::AmongWorkers } else { Sharing::Sole };
    let bind_one = |listener: &TerminalListener| -> Result<_> {
        let place = || format!("listener {} on {}", listener.options.name, listener.address);
        let first = link::bind(listener.address, sharing).with_context(place)?;
        let address = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..options.workers {
            sockets.push(link::bind(address, sharing).with_context(place)?);
        }
        Ok((listener.clone(), address, sockets))
    };
    options.listeners.iter().map(bind_one).collect()
}

fn serve_console(
    options: &ServerOptions,
    metrics: MetricsHandle,
    health: &Arc<Health>,
    shutdown: &CancellationToken,
    listeners: &Bound,
) -> Result<Addresses> {
    let console = match options.console {
        None => None,
        Some(address) => {
            let listener = TcpListener::bind(address).with_context(|| format!("console on {address}"))?;
            let bound = listener.local_addr()?;
            console::serve(listener, Arc::clone(health), metrics, shutdown.clone())?;
            Some(bound)
        }
    };
    let listeners = listeners.iter().map(|(l, address, _)| (l.options.name.clone(), *address)).collect();
    Ok(Addresses { listeners, console })
}

/// Rereads the reference data, and first the LMKs that its key blocks may be under, when the store's revision
/// moves.
fn follow_directory(
    (mut reader, hsm): (Box<dyn Reader>, Option<Arc<SoftHsm>>),
    shared: Arc<Shared>,
    shutdown: CancellationToken,
) -> Result<JoinHandle<()>> {
    let follow = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let Ok(runtime) = runtime else { return };
        let mut ticks: u32 = 0;
        let mut known = hsm.as_ref().map(|hsm| hsm.lmks().check_values()).unwrap_or_default();
        while runtime
            .block_on(async { tokio::time::timeout(REVISION_POLL, shutdown.cancelled()).await.is_err() })
        {
            let moved = reader.day().map(|(_, revision)| revision != shared.directory().revision);
            ticks = ticks.wrapping_add(1);
            if let Some(hsm) = &hsm {
                follow_lmks(&hsm.lmks(), matches!(moved, Ok(true)), ticks);
                record_lmks(hsm, &mut known);
            }
            match moved.and_then(|moved| if moved { reader.directory().map(Some) } else { Ok(None) }) {
                Ok(Some(read)) => shared.reload(&read),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "reference data could not be read"),
            }
            measure_saf(reader.as_mut(), &shared);
        }
    };
    Ok(std::thread::Builder::new().name("directory".into()).spawn(follow)?)
}

/// Learns a new LMK, and now and then forgets one that its file dropped.
fn follow_lmks(lmks: &LmkRing, moved: bool, ticks: u32) {
    let learnt = if moved { lmks.learn().map(|_| ()) } else { Ok(()) };
    let swept = if ticks.is_multiple_of(LMK_SWEEP_TICKS) { lmks.sweep() } else { Ok(()) };
    if let Err(error) = learnt.and(swept) {
        tracing::error!(%error, "the LMK file could not be reread");
    }
}

/// Records the LMKs that were learnt, whoever learnt them.
fn record_lmks(hsm: &SoftHsm, known: &mut Vec<String>) {
    let now = hsm.lmks().check_values();
    if let Some(audit) = hsm.audit() {
        for check_value in now.iter().filter(|check_value| !known.contains(check_value)) {
            // What cannot be written has been told.
            let _ = audit.done(Operation::LoadLmk, &KeyName::text(check_value.as_bytes()));
        }
    }
    *known = now;
}

/// How many entries wait for each issuer.
fn measure_saf(reader: &mut dyn Reader, shared: &Shared) {
    let Ok(depths) = reader.saf_depth() else { return };
    for issuer in &shared.directory().issuers {
        let waiting = depths.iter().find(|(of, ..)| of == issuer).map_or(0, |(_, count, _)| *count);
        metrics::saf_depth(issuer.trimmed(), usize::try_from(waiting).unwrap_or(usize::MAX));
    }
}

/// Starts the workers; returns when each has its links up, or has waited for them long enough.
fn start_workers(ground: &Arc<Ground>, bound: Bound) -> Result<Vec<JoinHandle<Result<()>>>> {
    let mut sockets: Vec<Vec<(TerminalListener, TcpListener)>> = Vec::new();
    sockets.resize_with(ground.options.workers, Vec::new);
    for (listener, _, mut of_listener) in bound {
        for worker in &mut sockets {
            worker.extend(of_listener.pop().map(|socket| (listener.clone(), socket)));
        }
    }
    let (up, all_up) = std::sync::mpsc::channel();
    let mut workers = Vec::new();
    for (number, sockets) in sockets.into_iter().enumerate() {
        let (ground, up) = (Arc::clone(ground), up.clone());
        let name = format!("worker-{number}");
        let role = if number == 0 { Role::First } else { Role::Other };
        workers
            .push(std::thread::Builder::new().name(name).spawn(move || worker(&ground, role, sockets, up))?);
    }
    drop(up);
    for _ in 0..workers.len() {
        all_up.recv().context("a worker ended before it was ready")?;
    }
    Ok(workers)
}

/// The first worker also delivers what is stored to be forwarded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    First,
    Other,
}

fn worker(
    ground: &Arc<Ground>,
    role: Role,
    sockets: Vec<(TerminalListener, TcpListener)>,
    up: std::sync::mpsc::Sender<()>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let switch = build_switch(ground).await?;
        if role == Role::First {
            tokio::task::spawn_local(watch_store(Rc::clone(&switch), Arc::clone(&ground.health)));
            for issuer in switch.links.keys() {
                tokio::task::spawn_local(flow::run_saf(Rc::clone(&switch), *issuer));
            }
            for issuer in &ground.options.issuers {
                let every = issuer.key_change_hours;
                tokio::task::spawn_local(flow::run_key_change(Rc::clone(&switch), issuer.issuer, every));
            }
        }
        for issuer in switch.links.keys() {
            tokio::task::spawn_local(flow::answer_issuer(Rc::clone(&switch), *issuer));
        }
        let mut serving = tokio::task::JoinSet::new();
        for (listener, socket) in sockets {
            let socket = tokio::net::TcpListener::from_std(socket)?;
            let handler =
                TerminalFrames { switch: Rc::clone(&switch), dialect: Dialect::of(listener.dialect) };
            let (options, stop) = (Rc::new(listener.options), ground.shutdown.clone());
            serving.spawn_local(link::listen(socket, options, Rc::new(handler), stop));
        }
        wait_for_links(&switch).await;
        let _ = up.send(());
        ground.shutdown.cancelled().await;
        drain(&switch, &mut serving).await;
        Ok(())
    })
}

async fn build_switch(ground: &Arc<Ground>) -> Result<Rc<Switch>> {
    let store = ground.engine.store();
    let spec = issuer_dialect::spec().map_err(anyhow::Error::msg)?;
    let mut links = HashMap::new();
    for configured in &ground.options.issuers {
        let Some(first) = flow::stan_block(&store, configured.issuer).await else {
            bail!("the store reserved no STANs")
        };
        let dialect = Rc::new(IssuerLinkDialect::new(spec, ground.clock.clone()));
        let (client, late) = link::start(configured.options.clone(), dialect, (first, flow::STAN_BLOCK));
        tokio::task::spawn_local(absorb(configured.issuer, late));
        tokio::task::spawn_local(follow_link(client.clone(), Arc::clone(&ground.health)));
        links.insert(configured.issuer, Link::new(configured.issuer, client, configured.answer));
    }
    Ok(Rc::new(Switch {
        options: ground.options.flow.clone(),
        clock: ground.clock.clone(),
        hsm: ground.hsms.of_worker(&ground.health).await?,
        store,
        shared: Arc::clone(&ground.shared),
        numbers: Numbers::new(Arc::clone(&ground.ids)),
        links,
        in_flight: RefCell::default(),
        answers: metrics::AnswerMeter::default(),
    }))
}

/// A late answer is never delivered: its transaction has timed out, and its reversal is queued. The
/// link has counted it.
async fn absorb(issuer: IssuerId, mut late: mpsc::Receiver<Late>) {
    while let Some(answer) = late.recv().await {
        tracing::warn!(%issuer, key = ?answer.key, "an answer came too late and is not delivered");
    }
}

async fn follow_link(client: LinkClient, health: Arc<Health>) {
    let mut states = client.watch();
    let mut was_up = false;
    loop {
        let up = *states.borrow_and_update() == LinkState::Up;
        if up != was_up {
            if up {
                health.link_came_up()
            } else {
                health.link_went_down()
            }
            was_up = up;
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

/// Readiness follows what the store says to a commit that changes nothing.
async fn watch_store(switch: Rc<Switch>, health: Arc<Health>) {
    loop {
        let committed = switch.store.submit(Op::Ping).await;
        health.set_store_writable(!matches!(committed.outcome, Outcome::Failed));
        tokio::time::sleep(STORE_WATCH).await;
    }
}

/// Gives the links a moment to sign on, so that the first payment after "ready" finds them.
async fn wait_for_links(switch: &Switch) {
    let all = async {
        for link in switch.links.values() {
            let _ = link.client.watch().wait_for(|state| *state == LinkState::Up).await;
        }
    };
    let _ = tokio::time::timeout(PATIENCE, all).await;
}

/// Lets payments on their way finish, then signs off from the issuers.
async fn drain(switch: &Switch, serving: &mut tokio::task::JoinSet<()>) {
    let longest = switch.links.values().map(|l| l.answer).max().unwrap_or_default() + Duration::from_secs(1);
    let _ = tokio::time::timeout(longest, async { while serving.join_next().await.is_some() {} }).await;
    for link in switch.links.values() {
        let _ = tokio::time::timeout(Duration::from_secs(1), link.client.close()).await;
    }
}

/// The signals that ask the daemon to end. One that comes after `watch` is not lost, and ends nothing by itself.
pub(crate) struct EndSignals {
    runtime: tokio::runtime::Runtime,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl EndSignals {
    pub(crate) fn watch() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let context = runtime.enter();
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        drop(context);
        Ok(Self { runtime, terminate, interrupt })
    }

    pub(crate) fn wait(mut self) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
        });
    }
}

fn join<T>(name: &str, thread: JoinHandle<T>) -> Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!("thread {name} panicked"))
}
