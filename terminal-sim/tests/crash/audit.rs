//! The end: queues drained, books written down, the auditor called. The auditor is a program of its own in
//! another language; it knows the store's tables and the books' files, and none of our code.

use crate::log::{End, Log};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use terminal_sim::stage::{ISSUERS, Stage};
use tokio::time::Instant;

/// How long the queues may take to drain.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until every reversal and advice has reached its issuer; one that is parked never will.
pub(crate) async fn drained(stage: &Stage) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let status: serde_json::Value =
            serde_json::from_str(&stage.verb(&["day", "status", "--json"]).unwrap()).unwrap();
        if status["saf"].as_array().unwrap().is_empty() {
            return;
        }
        assert!(Instant::now() < give_up, "{} does not drain: {}", stage.dir.display(), status["saf"]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Python that the outside judges have.
fn python() -> PathBuf {
    let made = Command::new(home().join("../.ci/python")).output().unwrap();
    assert!(made.status.success(), "no judges: {}", String::from_utf8_lossy(&made.stderr));
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim())
}

/// Everybody's books in one folder.
pub(crate) struct Books {
    dir: PathBuf,
    log: Log,
}

/// What the auditor says.
pub(crate) struct Verdict {
    pub(crate) exit: Option<i32>,
    pub(crate) said: String,
}

impl Books {
    pub(crate) fn export(stage: &Stage, log: Log) -> Self {
        let books = Self { dir: stage.dir.clone(), log };
        for ((name, ..), handle) in ISSUERS.iter().zip(&stage.issuers) {
            handle.books.lock().unwrap().export().write(&books.issuer(name)).unwrap();
        }
        books.log.write(&books.terminals());
        books
    }

    fn issuer(&self, name: &str) -> PathBuf {
        self.dir.join(format!("issuer-{name}.json"))
    }

    fn terminals(&self) -> PathBuf {
        self.dir.join("terminals.jsonl")
    }

    pub(crate) fn place(&self) -> String {
        format!("books in {}, {:?}", self.dir.display(), self.log.counts())
    }

    /// Calls the auditor.
    pub(crate) fn audit(&self) -> Verdict {
        let mut command = Command::new(python());
        command
            .arg(home().join("tests/judges/crash_auditor.py"))
            .arg("--db")
            .arg(self.dir.join("tollgate.db"));
        for (name, ..) in ISSUERS {
            command.arg("--issuer").arg(self.issuer(name));
        }
        let done = command.arg("--terminals").arg(self.terminals()).output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        Verdict { exit: done.status.code(), said: String::from_utf8_lossy(&said).into_owned() }
    }

    /// An audit of nothing proves nothing; and neither a terminal nor the daemon saw what must not be.
    pub(crate) fn hold_something(&self) {
        let counts = self.log.counts();
        assert_eq!(self.log.faults(), Vec::<String>::new(), "{}", self.place());
        let said = std::fs::read_to_string(self.dir.join("tollgate.log")).unwrap();
        let errors: Vec<_> =
            said.lines().filter(|line| line.contains(" ERROR ") || line.starts_with("tollgate: ")).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", self.place());
        let at_least = [(End::Approved, 100), (End::Declined, 1), (End::Reversed, 5), (End::GivenUp, 1)];
        assert!(counts.batches_settled >= 3, "{}", self.place());
        for (end, least) in at_least {
            assert!(counts.ends.get(&end).is_some_and(|n| *n >= least), "{end:?}: {}", self.place());
        }
    }

    /// Takes the folder away; it stays when something was wrong.
    pub(crate) fn remove(&self) {
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}
