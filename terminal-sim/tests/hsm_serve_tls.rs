//! A switch whose HSM is a process behind TLS: with certificates that OpenSSL's own tool has made, and through the death
//! and the return of that process.

#![allow(clippy::unwrap_used, reason = "helpers of tests: the lint's exemption covers test functions only")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ends with the test, whatever becomes of it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `tollgate` with these words, and gives the line that says it is ready.
fn start(words: &[&str]) -> (Running, serde_json::Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_terminal-sim"));
    let mut child = command.arg("__tollgate").args(words).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Running(child), serde_json::from_str(&line).unwrap())
}

fn openssl(folder: &Path, words: &str) {
    let done = Command::new("openssl").current_dir(folder).args(words.split(' ')).output().unwrap();
    assert!(done.status.success(), "{words}: {}", String::from_utf8_lossy(&done.stderr));
}

/// An authority, and keys with certificates of it for both ends.
fn certificates(folder: &Path) {
    const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(folder, &format!("req -x509 {KEY} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
    openssl(folder, &format!("req -x509 {KEY} -keyout other.key -out other.pem -days 2 -subj /CN=another"));
    for (name, of, usage) in
        [("hsm", "ca", "serverAuth"), ("switch", "ca", "clientAuth"), ("stranger", "other", "clientAuth")]
    {
        let extensions = format!(
            "subjectAltName=DNS:{name}.example\nextendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n"
        );
        std::fs::write(folder.join("extensions"), extensions).unwrap();
        openssl(folder, &format!("req -new {KEY} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        openssl(
            folder,
            &format!(
                "x509 -req -in {name}.csr -CA {of}.pem -CAkey {of}.key -CAcreateserial -days 2 -extfile extensions \
                 -out {name}.pem"
            ),
        );
    }
}

/// What the console answers.
fn get(console: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(console).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Asks the console until its readiness says that every worker has the HSM, or that one has not; and its figures that
/// there are connections, or none.
fn becomes(console: &str, is_there: bool) {
    let begin = Instant::now();
    let is_so = || {
        let figures = get(console, "/metrics");
        let up = figures.lines().find_map(|line| line.strip_prefix("tollgate_hsm_connections "));
        up.is_some_and(|up| (up != "0") == is_there)
            && get(console, "/readyz").contains("no HSM answers") != is_there
    };
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(60), "never: HSM there is {is_there}");
    }
}

#[test]
fn a_switch_follows_its_device_behind_tls() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let at = |name: &str| folder.path().join(name).display().to_string();
    // A port of its own, that the device takes again when it comes back.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let device = || {
        let (certificate, key, ca) = (at("hsm.pem"), at("hsm.key"), at("ca.pem"));
        start(&[
            "hsm",
            "serve",
            "--test-lmk",
            "--listen",
            &address,
            "--tls-certificate",
            &certificate,
            "--tls-key",
            &key,
            "--tls-client-ca",
            &ca,
            "--log",
            "warn",
        ])
        .0
    };
    let switch = |client: &str, server_name: &str| {
        let tls = format!(
            "tls = {{ ca = \"{}\", server_name = \"{server_name}\", certificate = \"{}\", key = \"{}\" }}",
            at("ca.pem"),
            at(&format!("{client}.pem")),
            at(&format!("{client}.key"))
        );
        let text = format!(
            "acquirer_id = \"48310000\"\nstore.url = \"sqlite:{}\"\nsettlement.directory = \"{}\"\n\
             console.address = \"127.0.0.1:0\"\nlog.level = \"warn\"\n[[listener]]\nname = \"a\"\n\
             address = \"127.0.0.1:0\"\ndialect = \"edc\"\n[switch]\nworkers = 2\n[hsm]\nlmk_file = \"{}\"\n\
             backend = \"host-commands\"\n[[hsm.host]]\naddress = \"{address}\"\n{tls}\n",
            at(&format!("{client}.db")),
            at("out"),
            at(&format!("{client}.lmk"))
        );
        let config = at(&format!("{client}.toml"));
        std::fs::write(&config, text).unwrap();
        let (running, ready) = start(&["run", "--config", &config]);
        (running, ready["console"].as_str().unwrap().to_owned())
    };
    let first = device();
    let (_switch, console) = switch("switch", "hsm.example");
    becomes(&console, true);
    drop(first);
    becomes(&console, false);
    let _again = device();
    becomes(&console, true);
    // A device by another name is none of ours, and a stranger none of the device's.
    for (client, server_name) in [("switch", "switch.example"), ("stranger", "hsm.example")] {
        let (_refused, console) = switch(client, server_name);
        becomes(&console, false);
    }
}
