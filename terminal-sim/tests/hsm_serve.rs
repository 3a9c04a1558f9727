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
    start(&[&["--test-lmk"], arguments].concat())
}

fn start(arguments: &[&str]) -> (Served, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_terminal-sim"));
    command.args(["__tollgate", "hsm", "serve", "--listen", "127.0.0.1:0"]).args(arguments);
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
    let rows: [(&[&str], &str); 8] = [
        (&["--config", "/nowhere/t.toml"], "/nowhere/t.toml"),
        (&["--permit", "variant-keys"], "only the public test LMKs"),
        (&["--test-lmk", "--permit", "all"], "x917-export"),
        (&["--test-lmk", "--disable", "EE,QQ"], "one of B2 NC"),
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

/// Under an LMK of its own, which custodians have formed, the server takes what the console formed under it and nothing
/// else; what it makes it still knows after it has begun again.
#[test]
fn it_serves_under_an_lmk_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let config = at("tollgate.toml");
    let text = format!(
        "acquirer_id = \"48310000\"\nstore.url = \"sqlite:{}\"\nsettlement.directory = \"{}\"\n\
         console.address = \"127.0.0.1:0\"\n[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n\
         dialect = \"edc\"\n[hsm]\nlmk_file = \"{}\"\n",
        at("t.db"),
        at("out"),
        at("lmk")
    );
    std::fs::write(&config, text).unwrap();
    let tollgate = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_terminal-sim"));
        let done = command.arg("__tollgate").args(words).args(["--config", &config]).output().unwrap();
        let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
        if done.status.success() { Ok(text(done.stdout)) } else { Err(text(done.stderr)) }
    };
    let none = tollgate(&["hsm", "serve", "--listen", "127.0.0.1:0"]).unwrap_err();
    assert!(none.contains("tollgate lmk form"), "{none}");
    let (one, two) = (at("1"), at("2"));
    for part in [&one, &two] {
        tollgate(&["lmk", "component", "--out", part]).unwrap();
    }
    let formed =
        tollgate(&["lmk", "form", "--component", &one, "--component", &two, "--protection", "plain"]);
    assert!(formed.unwrap().starts_with("lmk  "));
    for (part, digits) in
        [("a", "AE8F54BA29CD2CC73883D373DFF7A8B5"), ("b", "75B6A89BC7946DD06186A89DCE9B5D9B")]
    {
        std::fs::write(at(part), digits).unwrap();
    }
    let (a, b) = (at("a"), at("b"));
    let key = ["hsm", "form", "--usage", "zpk", "--component", &a, "--component", &b];
    let own = tollgate(&key).unwrap();
    let public = tollgate(&[key.as_slice(), &["--test-lmk"]].concat()).unwrap();
    assert!(own.starts_with("S1009672TB00E0000") && own.trim_end().ends_with("  2AE082"), "{own}");
    let block = |line: &str| line.split_once("  ").unwrap().0.to_owned();
    let ask = |socket: &mut TcpStream, command: &str| {
        socket.write_all(&u16::try_from(command.len()).unwrap().to_be_bytes()).unwrap();
        socket.write_all(command.as_bytes()).unwrap();
        let mut length = [0; 2];
        socket.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        socket.read_exact(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    };
    let mut made = None;
    let mut told = None;
    // As it was formed, in the middle of a rotation of the LMK, and when nothing is under the former one any more.
    for before in [&[][..], &["lmk", "rotate"], &["lmk", "rotate", "--finish"]] {
        if !before.is_empty() {
            tollgate(before).unwrap();
        }
        let (_served, address) = start(&["--config", &config]);
        let mut socket = connected(&address);
        let diagnostics = ask(&mut socket, "0001NC");
        assert!(diagnostics.starts_with("0001ND00") && !diagnostics.contains("test"), "{diagnostics}");
        assert_eq!(told.get_or_insert_with(|| diagnostics.clone()), &diagnostics);
        let own = ask(&mut socket, &format!("0002BUFFF{};FFF;000", block(&own)));
        assert_eq!(&own[..14], "0002BV002AE082");
        assert_eq!(ask(&mut socket, &format!("0003BUFFF{};FFF;000", block(&public))), "0003BV13");
        let (key, pin) = made.get_or_insert_with(|| {
            let key = ask(&mut socket, "0004A00FFFS#72T2B00E00")[8..].to_owned();
            (key, ask(&mut socket, "0004JA60000000000006")[8..].to_owned())
        });
        let (key, kcv) = key.split_at(97);
        assert_eq!(&ask(&mut socket, &format!("0005BUFFF{key};FFF;000"))[8..14], kcv);
        // A PIN under the LMK is what it was too.
        let sent = ask(&mut socket, &format!("0006JG{key}01600000000000{pin}"));
        let back = ask(&mut socket, &format!("0007JE{key}{}01600000000000", &sent[8..]));
        assert_eq!(back, format!("0007JF00{pin}"));
    }
    let audit = at("audit.jsonl");
    let record = std::fs::read_to_string(&audit).unwrap();
    let count = |operation: &str| record.matches(&format!("\"operation\":\"{operation}\"")).count();
    assert_eq!(
        ["form-lmk", "rotate-lmk", "form", "start", "load-lmk", "host-A0", "host-BU"].map(count),
        [1, 1, 1, 3, 3, 1, 3]
    );
    assert!(tollgate(&["hsm", "audit", "verify", &audit]).is_ok());
}
