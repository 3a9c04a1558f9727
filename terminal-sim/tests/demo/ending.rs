//! How the switch ends: with `--stay` after Enter; and well, however soon it is asked to.

use super::day::{DAY, terminal_sim};
use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use terminal_sim::stage::{Stage, StageOptions};

/// Command lines of the processes that were told of a folder.
fn processes_of(dir: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
    let lines = processes.filter_map(|path| fs::read_to_string(path).ok());
    lines.filter(|line| line.contains(dir.to_str().unwrap())).collect()
}

#[test]
fn the_switch_stays_until_enter_and_then_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("day");
    let mut demo = terminal_sim();
    demo.arg("demo").arg("--stay").arg("--dir").arg(&dir);
    let mut child =
        demo.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    // The day that it is held against is played meanwhile.
    let steps = DAY.report()["steps"].as_array().unwrap().len();
    let mut told = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let last = line.contains("Press Enter");
        told.push(line);
        if last {
            break;
        }
    }
    let told = told.join("\n");
    assert!(told.contains("Press Enter"), "{told}");
    let console = told.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    let answer = |path: &str| {
        let mut stream = TcpStream::connect(console).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(answer("/readyz").starts_with("HTTP/1.1 200"));
    for name in ["tollgate.db", "tollgate.db-wal", "tollgate.db-shm", "lmk"] {
        let mode = fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }

    assert!(processes_of(&dir).len() >= 2, "the demo and the switch");

    assert_eq!(child.try_wait().unwrap(), None);
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{told}");
    assert_eq!(processes_of(&dir), Vec::<String>::new(), "still running");

    // What is told to people is what is told as JSON.
    assert_eq!(told.lines().filter(|line| line.trim_start().starts_with('✓')).count(), steps, "{told}");
    assert!(told.contains("Everything agrees.") && !told.contains('✗'), "{told}");
}

#[tokio::test]
async fn a_switch_that_has_said_it_is_ready_ends_well_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let exe = Some(PathBuf::from(env!("CARGO_BIN_EXE_terminal-sim")));
    let options = StageOptions { dir: folder.path().join("stage"), exe, ..StageOptions::default() };
    let mut stage = Stage::build(options).await.unwrap();
    for _ in 0..5 {
        stage.stop().await.unwrap();
        stage.start(None).await.unwrap();
    }
    stage.stop().await.unwrap();
}
