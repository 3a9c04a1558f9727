//! Runs of `terminal-sim demo`, and the judges' interpreter.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

/// The binary under test.
pub(crate) fn terminal_sim() -> Command {
    Command::new(env!("CARGO_BIN_EXE_terminal-sim"))
}

/// A demo that has ended.
pub(crate) struct Day {
    pub(crate) dir: PathBuf,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A day on SQLite, told as JSON, that several tests look at and none alters. `record-copy.jsonl` beside its
/// folder is what `--record` wrote.
pub(crate) static DAY: LazyLock<Day> = LazyLock::new(|| {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo");
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(&home).unwrap();
    let record = record_copy();
    Day::start(&home.join("day"), &["--json", "--record", record.to_str().unwrap()]).ended()
});

/// Where the shared day's `--record` points.
pub(crate) fn record_copy() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo/record-copy.jsonl")
}

/// A demo that runs.
pub(crate) struct Started {
    dir: PathBuf,
    child: Child,
}

impl Day {
    /// Starts a demo in a folder. Its switch logs everything that it can: there secrets would show.
    pub(crate) fn start(dir: &Path, options: &[&str]) -> Started {
        let mut demo = terminal_sim();
        demo.arg("demo").arg("--dir").arg(dir).args(options).env("TOLLGATE_LOG", "trace");
        let child = demo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Started { dir: dir.to_owned(), child }
    }

    /// What it told with `--json`.
    pub(crate) fn report(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// A verb of the switch on the day that was left behind.
    pub(crate) fn verb(&self, verb: &[&str]) -> Output {
        let config = self.dir.join("tollgate.toml");
        terminal_sim().arg("__tollgate").args(verb).arg("--config").arg(config).output().unwrap()
    }
}

impl Started {
    pub(crate) fn ended(self) -> Day {
        let output = self.child.wait_with_output().unwrap();
        Day {
            dir: self.dir,
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Steps of a report that did not go as they should.
pub(crate) fn missed(report: &Value) -> Vec<&str> {
    let steps = report["steps"].as_array().unwrap().iter();
    steps.filter(|step| step["as_expected"] != true).map(|step| step["what"].as_str().unwrap()).collect()
}

/// The net of a book in a report, in minor units.
pub(crate) fn net<'a>(report: &'a Value, book: &str) -> &'a Value {
    let books = report["books"].as_array().unwrap();
    &books.iter().find(|row| row["book"] == book).unwrap()["net_minor"]
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The Python that holds the judges; made at the first call.
pub(crate) fn python() -> PathBuf {
    let made = Command::new(workspace().join(".ci/python")).output().unwrap();
    assert!(made.status.success(), "no judges: {}", String::from_utf8_lossy(&made.stderr));
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim())
}

/// A judge, ready to be given its arguments.
pub(crate) fn judge(name: &str) -> Command {
    let mut judge = Command::new(python());
    judge.arg(workspace().join("terminal-sim/tests/judges").join(name));
    judge
}

/// Whether a judge accepts, and what it says. One that breaks has not spoken.
pub(crate) fn verdict(output: &Output) -> (bool, String) {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = said.lines().next().unwrap_or_default();
    assert!(
        output.status.success() == first.starts_with("OK ")
            && (first.starts_with("OK ") || first.starts_with("FAIL ")),
        "the judge broke: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.success(), said)
}

/// Files of a folder and of the folders in it, sorted.
pub(crate) fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// A copy of a folder with its files.
pub(crate) fn copy(from: &Path, to: &Path) {
    for path in walk(from) {
        let place = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(&path, &place).unwrap();
    }
}
