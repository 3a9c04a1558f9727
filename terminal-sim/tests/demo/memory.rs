//! What the processes of the switch keep in memory after a day: no card number, track, PIN, PIN block or key. A judge
//! reads their memory as a forced core image would have it.

use super::day::{judge, terminal_sim};
use super::secrets;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};

/// A demo that has ended its day and stays; with the test it ends.
struct Staying(Child);

impl Drop for Staying {
    fn drop(&mut self) {
        // Its end is that of the processes it has started.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Processes that a process has started, with their command lines.
fn children(parent: u32) -> Vec<(u32, String)> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.unwrap().file_name().to_str()?.parse().ok()?;
        // The parent is the second number behind the name, which is in parentheses.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let of: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        (of == parent).then(|| (pid, line.replace('\0', " ")))
    });
    processes.collect()
}

/// The names of the secrets that the judge finds in a process.
fn found(pid: u32, secrets: &str) -> Vec<String> {
    let mut judge = judge("memory_image.py");
    let mut judge = judge.arg(pid.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    judge.stdin.take().unwrap().write_all(secrets.as_bytes()).unwrap();
    let said = judge.wait_with_output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    let (found, last) =
        text.trim_end().rsplit_once('\n').map_or((vec![], text.trim_end()), |(found, last)| {
            (found.lines().map(str::to_owned).collect(), last)
        });
    // A process of the switch has tens of megabytes: fewer were not all of it.
    let searched: u64 = last.strip_prefix("searched ").unwrap().trim_end_matches(" octets").parse().unwrap();
    assert!(said.status.success() && searched > 10_000_000, "{text}");
    found
}

#[test]
fn memory_holds_no_secret_once_the_day_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("day");
    let mut demo = terminal_sim();
    demo.arg("demo").arg("--stay").arg("--dir").arg(&dir);
    let child = demo.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut demo = Staying(child);
    let told = BufReader::new(demo.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(told.into_iter().any(|line| line.contains("Press Enter")));

    let secrets = secrets::in_memory(&dir);
    let processes = children(demo.0.id());
    let switch = processes.iter().filter(|(_, line)| line.contains(" __tollgate "));
    let mut searched = Vec::new();
    for (pid, line) in switch {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"], "{line}");
        assert_eq!(found(*pid, &secrets), [""; 0], "{line}");
        searched.push(line.split_whitespace().skip(2).take(2).collect::<Vec<_>>().join(" "));
    }
    assert!(searched.iter().any(|verb| verb.starts_with("run")), "{processes:?}");
    let devices = std::env::var("TOLLGATE_TEST_HSM").is_ok_and(|hsm| hsm == "host-commands");
    assert_eq!(searched.contains(&"hsm serve".to_owned()), devices, "{processes:?}");
}

/// The judge is seen to find what is there: in this process, which holds every secret once.
#[test]
fn a_secret_in_memory_is_found() {
    // Not in the text that the judge is given, and in no constant.
    let canary: Vec<u8> = (0_u8..24).map(|at| at.wrapping_mul(37) ^ 0x5A).collect();
    let large = vec![0xA5_u8; 16_000_000];
    let mut text = String::new();
    for octet in &canary {
        write!(text, "{octet:02x}").unwrap();
    }
    let there = found(std::process::id(), &format!("Canary {text}\n"));
    assert!(there.iter().any(|line| line == &format!("Canary {:x}", canary.as_ptr().addr())), "{there:?}");
    let other: String = text.chars().rev().collect();
    assert_eq!(found(std::process::id(), &format!("Other {other}\n")), [""; 0]);
    assert!(large.iter().all(|octet| *octet == 0xA5));
}
