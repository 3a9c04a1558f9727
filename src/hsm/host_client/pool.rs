//! Lines to one HSM or several: the one with the least to do is asked; what is lost there, or what it fails
//! at itself, is asked once more elsewhere.
//!
//! Every command of this client may be repeated: it verifies, translates or makes a key that nobody has seen yet.

use super::Host;
use super::line::{Line, Lost, Place};
use super::message::{Answer, Command};
use crate::hsm::HsmError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// Lines of one worker.
pub(super) struct Pool {
    lines: Vec<Line>,
    /// Where the search for a line begins.
    turn: AtomicUsize,
    up: watch::Receiver<usize>,
}

impl Pool {
    /// Starts the tasks of all lines on the runtime that this is called on; they end with the pool.
    pub(super) fn start(hosts: Vec<Host>) -> Self {
        let (up, watched) = watch::channel(0);
        let mut lines = Vec::new();
        for (number, host) in hosts.into_iter().enumerate() {
            let host = Arc::new(host);
            for _ in 0..host.connections {
                lines.push(Line::start(number, Arc::clone(&host), up.clone()));
            }
        }
        Self { lines, turn: AtomicUsize::new(0), up: watched }
    }

    /// Waits until an HSM answers; whether one does within the time.
    pub(super) async fn ready(&self, within: Duration) -> bool {
        let mut up = self.up.clone();
        timeout(within, up.wait_for(|count| *count > 0)).await.is_ok_and(|found| found.is_ok())
    }

    /// How many lines are up.
    pub(super) fn watch(&self) -> watch::Receiver<usize> {
        self.up.clone()
    }

    /// Sends a command and reads its answer.
    ///
    /// # Errors
    /// [`HsmError::Failure`] at once when no HSM is there or all are as busy as they may be, and when two connections
    /// were lost on it; else what the device refuses.
    pub(super) async fn ask(&self, command: Command) -> Result<Answer, HsmError> {
        let command = Arc::new(command.done()?);
        let (line, place) = self.choose(None)?;
        let answer = line.ask(Arc::clone(&command), place).await;
        let failed = line.host;
        match answer.map(Answer::read) {
            // What the device itself fails at, another may do.
            Ok(Err(HsmError::Failure(_)))
                if self.lines.iter().any(|line| line.is_up() && line.host != failed) => {}
            Ok(read) => return read,
            Err(Lost) => {}
        }
        let (line, place) = self.choose(Some(failed))?;
        let again = line.ask(command, place).await;
        Answer::read(again.map_err(|Lost| HsmError::Failure("the HSM does not answer"))?)
    }

    /// The line with the least to do, on another host than the one that failed when there is one.
    fn choose(&self, failed: Option<usize>) -> Result<(&Line, Place), HsmError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.lines.len().max(1);
        let (behind, ahead) = self.lines.split_at_checked(turn).unwrap_or_default();
        let line = ahead
            .iter()
            .chain(behind)
            .filter(|line| line.is_up())
            .min_by_key(|line| (line.is_full(), failed == Some(line.host), line.in_flight()))
            .ok_or(HsmError::Failure("no HSM is connected"))?;
        let place = line.reserve().ok_or(HsmError::Failure("too many commands are in flight"))?;
        Ok((line, place))
    }
}
