//! The process that the judge runs in: asked many things at a time.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
};

use serde_json::{Value, json};

/// pyiso8583, waiting for requests.
pub(crate) struct Judge {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Judge {
    pub(crate) fn start() -> Judge {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let made = Command::new(here.join("../.ci/python")).output().unwrap();
        assert!(made.status.success(), "no judges: {}", String::from_utf8_lossy(&made.stderr));
        let python = String::from_utf8(made.stdout).unwrap();
        let mut child = Command::new(python.trim())
            .arg(here.join("tests/judges/pyiso8583_judge.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Judge { child, stdin, stdout }
    }

    /// The answers to these requests, in their order.
    pub(crate) fn ask(&mut self, requests: &[Value]) -> Vec<Value> {
        let lines: String = requests.iter().map(|request| format!("{request}\n")).collect();
        let Judge { stdin, stdout, .. } = self;
        thread::scope(|scope| {
            scope.spawn(|| {
                // When the judge breaks, the missing answer tells.
                let _ = stdin.write_all(lines.as_bytes()).and_then(|()| stdin.write_all(b"\n"));
                let _ = stdin.flush();
            });
            requests.iter().map(|request| answer(stdout, request)).collect()
        })
    }
}

fn answer(stdout: &mut BufReader<ChildStdout>, request: &Value) -> Value {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|_| panic!("the judge broke at {request}"))
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks for a message to be read.
pub(crate) fn decode(body: &[u8]) -> Value {
    json!({ "decode": hex::encode(body) })
}

/// Asks for a message to be written.
pub(crate) fn encode(doc: &Value) -> Value {
    json!({ "encode": doc })
}
