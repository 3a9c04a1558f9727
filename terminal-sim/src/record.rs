//! The wire record: every frame of both sides as a line of JSON, for judges that share no code with the switch.
//!
//! It knows bytes and links, not messages. A record of the demo holds test cards and test keys only.

use serde::Serialize;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Who sent a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sender {
    /// A POS terminal.
    Terminal,
    /// The switch.
    Switch,
    /// A card issuer.
    Issuer,
}

/// The clear test keys of a link, as hexadecimal digits, for the judge that recomputes MACs and PIN blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LinkKeys {
    /// Terminal master key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmk: Option<String>,
    /// Terminal PIN key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpk: Option<String>,
    /// Terminal MAC key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tak: Option<String>,
    /// Terminal track-data key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tdk: Option<String>,
    /// Zone PIN key of an issuer link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zpk: Option<String>,
    /// Zone MAC key of an issuer link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zak: Option<String>,
    /// Zone master key of an issuer link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zmk: Option<String>,
}

#[derive(Serialize)]
struct FrameLine<'a> {
    us: u64,
    link: &'a str,
    from: Sender,
    dialect: &'a str,
    hex: String,
}

#[derive(Serialize)]
struct KeysLine<'a> {
    note: &'static str,
    us: u64,
    link: &'a str,
    #[serde(flatten)]
    keys: &'a LinkKeys,
}

/// A test card and its PIN, for the judge that opens PIN blocks.
#[derive(Serialize)]
struct CardLine<'a> {
    note: &'static str,
    us: u64,
    pan: &'a str,
    pin: &'a str,
    expiry: &'a str,
}

#[derive(Serialize)]
struct TextLine<'a> {
    note: &'a str,
    us: u64,
    link: &'a str,
}

/// Writes the record. Clones share one file; it is flushed when the last of them is dropped.
#[derive(Clone)]
pub struct Recorder {
    sink: Arc<Mutex<Sink>>,
    start: Instant,
}

struct Sink {
    out: BufWriter<Box<dyn Write + Send>>,
    failure: Option<io::Error>,
}

impl Recorder {
    /// Creates the file, or empties it; time counts from here.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self::to(Box::new(File::create(path)?)))
    }

    /// Records into any writer.
    #[must_use]
    pub fn to(out: Box<dyn Write + Send>) -> Self {
        let sink = Sink { out: BufWriter::new(out), failure: None };
        Self { sink: Arc::new(Mutex::new(sink)), start: Instant::now() }
    }

    /// Records one frame. `link` is `terminal:TID` or `issuer:NAME`; `body` is without its length prefix.
    pub fn frame(&self, link: &str, from: Sender, dialect: &str, body: &[u8]) {
        self.line(|us| FrameLine { us, link, from, dialect, hex: hex::encode_upper(body) });
    }

    /// Records the keys that a link works with from here on.
    pub fn keys(&self, link: &str, keys: &LinkKeys) {
        self.line(|us| KeysLine { note: "keys", us, link, keys });
    }

    /// Records a test card: number, PIN and expiry `YYMM`.
    pub fn card(&self, pan: &str, pin: &str, expiry: &str) {
        self.line(|us| CardLine { note: "card", us, pan, pin, expiry });
    }

    /// Records a remark.
    pub fn note(&self, link: &str, note: &str) {
        self.line(|us| TextLine { note, us, link });
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// This write, or an earlier one, failed.
    pub fn flush(&self) -> io::Result<()> {
        let mut sink = self.lock();
        match sink.failure.take() {
            Some(failure) => Err(failure),
            None => sink.out.flush(),
        }
    }

    /// The time is taken under the lock, so that lines stand in the order of their times.
    fn line<T: Serialize>(&self, content: impl FnOnce(u64) -> T) {
        let mut sink = self.lock();
        let us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let written = serde_json::to_writer(&mut sink.out, &content(us))
            .map_err(io::Error::from)
            .and_then(|()| sink.out.write_all(b"\n"));
        if let Err(failure) = written {
            sink.failure.get_or_insert(failure);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_one_file_that_is_whole_after_the_last_drop() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wire.jsonl");
        let recorder = Recorder::create(&path).unwrap();
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let recorder = recorder.clone();
                std::thread::spawn(move || {
                    for i in 0..50u8 {
                        recorder.frame(&format!("terminal:0000010{n}"), Sender::Switch, "edc", &[i, 0xAB]);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let keys = LinkKeys { zpk: Some("0123456789ABCDEFFEDCBA9876543210".into()), ..LinkKeys::default() };
        recorder.keys("issuer:BANKA", &keys);
        drop(recorder);

        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 201);
        let times: Vec<u64> = lines.iter().map(|l| l["us"].as_u64().unwrap()).collect();
        assert!(times.is_sorted());
        assert_eq!(lines[0]["from"], "switch");
        assert_eq!(lines[0]["dialect"], "edc");
        assert_eq!(lines[0]["hex"].as_str().unwrap().get(2..), Some("AB"));
        let last = &lines[200];
        assert_eq!(last["note"], "keys");
        assert_eq!(last["link"], "issuer:BANKA");
        assert_eq!(last["zpk"], "0123456789ABCDEFFEDCBA9876543210");
        assert!(last.get("tmk").is_none());
    }

    #[test]
    fn a_failed_write_is_told_at_flush() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let recorder = Recorder::to(Box::new(Full));
        recorder.frame("issuer:BANKA", Sender::Issuer, "iso87-ascii", &[0; 20_000]);
        assert_eq!(recorder.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
