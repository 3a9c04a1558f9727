//! What survives a power cut at the terminal: batch number, STAN, items, the pending reversal.
//!
//! One JSON file, replaced as a whole at every change; in memory when the profile names none. Working
//! keys are not in it: a terminal that restarts signs on again. Tracks and PIN blocks are not in it
//! either.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::batch::{Item, Kind};
use super::draft::Draft;

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system refused.
    #[error("terminal state {0}: {1}")]
    Io(PathBuf, #[source] std::io::Error),
    /// The file is not one of ours.
    #[error("terminal state {0}: {1}")]
    Format(PathBuf, #[source] serde_json::Error),
}

/// A reversal saved before its request was sent; gone when a final answer came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingReversal {
    /// What is undone.
    pub kind: Kind,
    /// The whole message as it will be sent, without MAC.
    pub draft: Draft,
    /// STAN of the request.
    pub stan: u32,
    /// Amount of the request, minor units.
    pub minor: i64,
    /// How often it has been sent.
    pub sends: u32,
}

/// An advice that has not been taken yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingAdvice {
    /// What it reports.
    pub kind: Kind,
    /// The message, without MAC.
    pub draft: Draft,
    /// How often it has been sent.
    pub sends: u32,
}

/// The contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The open batch, 1 to 999998.
    pub batch: u32,
    /// The STAN used last; 0 at first.
    pub stan: u32,
    /// The invoice number used last (EDC).
    pub invoice: u32,
    /// Approved transactions of the open batch.
    pub items: Vec<Item>,
    /// The reversal to send before anything else.
    pub reversal: Option<PendingReversal>,
    /// Advices to send before anything else, oldest first.
    pub advices: Vec<PendingAdvice>,
    /// STANs whose reversal was given up; a real terminal prints them.
    pub given_up: Vec<u32>,
    /// STANs of items that have gone up already, so that an upload that broke off can go on.
    pub uploaded: Vec<u32>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            batch: 1,
            stan: 0,
            invoice: 0,
            items: Vec::new(),
            reversal: None,
            advices: Vec::new(),
            given_up: Vec::new(),
            uploaded: Vec::new(),
        }
    }
}

impl State {
    /// The next STAN: 1 to 999999, then 1 again.
    pub fn next_stan(&mut self) -> u32 {
        self.stan = self.stan % 999_999 + 1;
        self.stan
    }

    /// The next invoice number: 1 to 999999, then 1 again.
    pub fn next_invoice(&mut self) -> u32 {
        self.invoice = self.invoice % 999_999 + 1;
        self.invoice
    }

    /// Closes the batch: no items, next number (999998 is followed by 1).
    pub fn close_batch(&mut self) {
        self.batch = self.batch % 999_998 + 1;
        self.items.clear();
        self.uploaded.clear();
    }

    /// Takes a host's batch number over: 0 < n < 999999 (UnionPay DE 60.2 of a sign-on answer).
    pub fn adopt_batch(&mut self, batch: u32) {
        if (1..999_999).contains(&batch) {
            self.batch = batch;
        }
    }
}

/// The state and where it lives.
#[derive(Debug)]
pub(super) struct StateFile {
    path: Option<PathBuf>,
    /// The state; call [`StateFile::save`] after a change.
    pub(super) state: State,
}

impl StateFile {
    /// Reads the file, or starts afresh where there is none.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, StateError> {
        let state = match path {
            None => State::default(),
            Some(path) => read(path)?,
        };
        Ok(Self { path: path.map(Path::to_owned), state })
    }

    /// Writes a new file beside the old one, flushes it and takes the old one's place.
    pub(super) fn save(&self) -> Result<(), StateError> {
        let Some(path) = &self.path else { return Ok(()) };
        let text = serde_json::to_vec_pretty(&self.state).map_err(|e| StateError::Format(path.clone(), e))?;
        replace(path, &text).map_err(|e| StateError::Io(path.clone(), e))
    }
}

fn read(path: &Path) -> Result<State, StateError> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|e| StateError::Format(path.to_owned(), e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
        Err(e) => Err(StateError::Io(path.to_owned(), e)),
    }
}

fn replace(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = std::fs::File::create(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_wrap_and_batches_are_adopted_within_bounds() {
        let mut state = State { stan: 999_998, ..State::default() };
        assert_eq!([state.next_stan(), state.next_stan()], [999_999, 1]);
        for (offered, want) in [(7, 7), (0, 7), (999_999, 7), (999_998, 999_998)] {
            state.adopt_batch(offered);
            assert_eq!(state.batch, want, "{offered}");
        }
        state.close_batch();
        assert_eq!(state.batch, 1);
    }

    #[test]
    fn a_state_file_comes_back_as_it_was_saved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.json");
        let mut file = StateFile::open(Some(&path)).unwrap();
        assert_eq!(file.state, State::default());
        let mut draft = Draft::new("0400");
        draft.text(11, "000007").bytes(55, &[0x9F, 0x26]);
        file.state.next_stan();
        file.state.reversal =
            Some(PendingReversal { kind: Kind::Sale, draft, stan: 7, minor: 100, sends: 1 });
        file.save().unwrap();
        assert_eq!(StateFile::open(Some(&path)).unwrap().state, file.state);
        std::fs::write(&path, b"{").unwrap();
        assert!(matches!(StateFile::open(Some(&path)), Err(StateError::Format(..))));
    }
}
