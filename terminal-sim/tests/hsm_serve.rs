//! `tollgate hsm serve` as a process: ready, asked, ended by either signal.

#![allow(clippy::unwrap_used, reason = "helpers of tests: the lint's exemption covers test functions only")]

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Ends with the test, whatever becomes of it.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(arguments: &[&str]) -> (Served, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_terminal-sim"));
    command.args(["__tollgate", "hsm", "serve", "--listen", "127.0.0.1:0", "--test-lmk"]).args(arguments);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    let address = ready["listen"].as_str().unwrap().to_owned();
    (Served(child), address)
}

fn connected(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket
}

#[test]
fn it_ends_gracefully_on_either_signal() {
    for (signal, threads) in [(Signal::TERM, "1"), (Signal::INT, "3")] {
        let (mut served, address) = serve(&["--threads", threads, "--log", "error"]);
        let mut sockets = [connected(&address), connected(&address)];
        for socket in &mut sockets {
            socket.write_all(b"\x00\x0D0007B20003abc").unwrap();
            let mut answer = [0; 13];
            socket.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"\x00\x0B0007B300abc");
        }
        let pid = Pid::from_child(&served.0);
        kill_process(pid, signal).unwrap();
        // Closed by the server, not reset, while this side keeps its end open.
        for socket in &mut sockets {
            assert_eq!(socket.read(&mut [0; 1]).unwrap(), 0, "{signal:?}");
        }
        assert!(served.0.wait().unwrap().success(), "{signal:?}");
    }
}

#[test]
fn what_it_cannot_serve_with_is_told() {
    let rows: [(&[&str], &str); 5] = [
        (&[], "--test-lmk"),
        (&["--test-lmk", "--tls-certificate", "/nowhere/c.pem"], "--tls-key"),
        (&["--test-lmk", "--tls-client-ca", "/nowhere/c.pem"], "--tls-certificate"),
        (
            &["--test-lmk", "--tls-certificate", "/nowhere/c.pem", "--tls-key", "/nowhere/k.pem"],
            "/nowhere/c.pem",
        ),
        (&["--test-lmk", "--threads", "0"], "--threads"),
    ];
    for (arguments, told) in rows {
        let mut command = Command::new(env!("CARGO_BIN_EXE_terminal-sim"));
        let ended = command
            .args(["__tollgate", "hsm", "serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && stderr.contains(told), "{arguments:?}: {stderr}");
    }
}
