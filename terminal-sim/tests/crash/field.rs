//! The terminals out in the shops: some of each dialect, at work whenever the daemon is there.

use crate::chance::Chance;
use crate::log::Log;
use crate::post::Post;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use terminal_sim::record::Recorder;
use terminal_sim::stage::Stage;
use terminal_sim::terminal::{Dialect, TerminalProfile};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Terminals of each dialect that the daemon knows: those at work, and those that replace the lost.
pub(crate) const TERMINALS: u32 = 60;
/// Terminals of each dialect at work.
const AT_WORK: usize = 4;
/// How long a terminal waits for an answer: longer than the switch lets an issuer take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A saved reversal is not given up while the daemon is away.
const SENDS: u32 = 1_000;
/// How long the field may take to come to something.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the daemon is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doors {
    /// It is dead, or starting.
    Shut,
    /// It takes payments.
    Open,
    /// It does, and the day is over: what is pending is finished, and nothing is begun.
    Closing,
}

/// How terminals behave when they do not know how a request ended: once in so many times …
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// … one never comes back, and its saved reversal with it.
    pub(crate) lost: u64,
    /// … one loses power, and comes back with what its state file holds.
    pub(crate) power_cut: u64,
    /// … one sends the same frame once more before it reverses it.
    pub(crate) resend: u64,
}

impl Manners {
    /// As in life.
    pub(crate) const LIFE: Self = Self { lost: 10, power_cut: 5, resend: 4 };
    /// Nobody ever comes back.
    pub(crate) const FORGETFUL: Self = Self { lost: 1, power_cut: 1, resend: 1 };
}

/// Terminals that the daemon knows and nobody uses yet.
#[derive(Debug, Clone)]
pub(crate) struct Spares(Arc<Mutex<BTreeMap<Dialect, Vec<TerminalProfile>>>>);

impl Spares {
    fn of(stage: &Stage) -> Self {
        let states = stage.dir.join("terminals");
        std::fs::create_dir_all(&states).unwrap();
        let profile = |dialect, n| {
            let mut profile = stage.profile(dialect, n).unwrap();
            profile.timeout = TIMEOUT;
            profile.reversal_sends = SENDS;
            profile.state = Some(states.join(format!("{}.json", profile.tid)));
            profile
        };
        let of_dialect = |dialect| (dialect, (1..=TERMINALS).rev().map(|n| profile(dialect, n)).collect());
        Self(Arc::new(Mutex::new(Dialect::ALL.into_iter().map(of_dialect).collect())))
    }

    pub(crate) fn take(&self, dialect: Dialect) -> Option<TerminalProfile> {
        self.0.lock().unwrap().get_mut(&dialect)?.pop()
    }
}

/// What every terminal at work gets.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    pub(crate) manners: Manners,
    pub(crate) log: Log,
    pub(crate) doors: watch::Receiver<Doors>,
    pub(crate) spares: Spares,
    pub(crate) recorder: Recorder,
}

/// The terminals at work.
pub(crate) struct Field {
    doors: watch::Sender<Doors>,
    log: Log,
    posts: JoinSet<()>,
}

impl Field {
    /// Sends the terminals to their shops; they begin when the doors open.
    pub(crate) fn open(stage: &Stage, manners: Manners, mut chance: Chance) -> Self {
        let (sender, doors) = watch::channel(Doors::Shut);
        let log = Log::default();
        let ground = Ground {
            manners,
            log: log.clone(),
            doors,
            spares: Spares::of(stage),
            recorder: stage.recorder.clone(),
        };
        let mut posts = JoinSet::new();
        for dialect in Dialect::ALL.into_iter().cycle().take(Dialect::ALL.len() * AT_WORK) {
            posts.spawn(Post::new(dialect, ground.clone(), chance.fork()).work());
        }
        Self { doors: sender, log, posts }
    }

    pub(crate) fn shut(&self) {
        self.doors.send_replace(Doors::Shut);
    }

    pub(crate) fn open_doors(&self) {
        self.doors.send_replace(Doors::Open);
    }

    /// Lets every terminal finish what is pending and settle.
    pub(crate) async fn close(&mut self) {
        self.doors.send_replace(Doors::Closing);
        let all = async { while self.posts.join_next().await.transpose().unwrap().is_some() {} };
        let closed = tokio::time::timeout(PATIENCE, all).await;
        assert!(closed.is_ok(), "the terminals do not come to rest: {}", self.summary());
    }

    /// Requests that have ended so far.
    pub(crate) fn finished(&self) -> u64 {
        self.log.finished()
    }

    pub(crate) fn log(&self) -> Log {
        self.log.clone()
    }

    pub(crate) fn summary(&self) -> String {
        format!("{:?}, faults {:?}", self.log.counts(), self.log.faults())
    }

    /// Waits until something is so.
    pub(crate) async fn wait_for(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !so(self) {
            assert!(Instant::now() < give_up, "waited for {what}; {}", self.summary());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
