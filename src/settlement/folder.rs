//! The settlement folder: a file appears there whole or not at all. Knows no content.
//!
//! A file is written under a hidden temporary name and flushed to disk; putting it in place is a rename
//! and a flush of the folder. The folder's lock keeps two runs apart and ends with the process.

use super::SettlementError;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const LOCK: &str = ".lock";
const SUFFIX: &str = ".tmp";

/// The folder, locked.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder where it is missing, and waits for its lock.
    pub(super) fn open(dir: &Path) -> Result<Self, SettlementError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|source| failed(dir, source))?;
        let path = dir.join(LOCK);
        let lock = private().open(&path).map_err(|source| failed(&path, source))?;
        lock.lock().map_err(|source| failed(&path, source))?;
        Ok(Self { dir: dir.to_owned(), _lock: lock })
    }

    /// Writes a file under its temporary name and flushes it.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), SettlementError> {
        let path = self.temporary(name);
        let written = private().truncate(true).open(&path).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(|source| failed(&path, source))
    }

    /// Puts a written file in place.
    pub(super) fn place(&self, name: &str) -> Result<(), SettlementError> {
        let path = self.dir.join(name);
        std::fs::rename(self.temporary(name), &path).map_err(|source| failed(&path, source))
    }

    /// Makes the folder's entries durable.
    pub(super) fn sync(&self) -> Result<(), SettlementError> {
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        synced.map_err(|source| failed(&self.dir, source))
    }

    /// SHA-256 of a file in place, hexadecimal; none when there is no such file.
    pub(super) fn digest(&self, name: &str) -> Result<Option<String>, SettlementError> {
        digest_of(&self.dir.join(name))
    }

    /// SHA-256 of a file under its temporary name, likewise.
    pub(super) fn temporary_digest(&self, name: &str) -> Result<Option<String>, SettlementError> {
        digest_of(&self.temporary(name))
    }

    /// Removes what an interrupted run left under temporary names whose last part before the extension
    /// is `stamp`.
    pub(super) fn sweep(&self, stamp: &str) -> Result<(), SettlementError> {
        let entries = std::fs::read_dir(&self.dir).map_err(|source| failed(&self.dir, source))?;
        for entry in entries {
            let entry = entry.map_err(|source| failed(&self.dir, source))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours =
                name.starts_with('.') && name.ends_with(SUFFIX) && name.contains(&format!("-{stamp}."));
            if ours {
                std::fs::remove_file(entry.path()).map_err(|source| failed(&entry.path(), source))?;
            }
        }
        Ok(())
    }

    fn temporary(&self, name: &str) -> PathBuf {
        self.dir.join(format!(".{name}{SUFFIX}"))
    }
}

/// SHA-256, hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(openssl::sha::sha256(bytes))
}

fn digest_of(path: &Path) -> Result<Option<String>, SettlementError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(sha256(&bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed(path, source)),
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

fn failed(path: &Path, source: std::io::Error) -> SettlementError {
    SettlementError::Folder { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_appear_whole_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settlement");
        let folder = Folder::open(&path).unwrap();
        folder.write("a-20261123.csv", b"one").unwrap();
        assert_eq!(folder.digest("a-20261123.csv").unwrap(), None, "not in place yet");
        assert_eq!(folder.temporary_digest("a-20261123.csv").unwrap(), Some(sha256(b"one")));
        folder.place("a-20261123.csv").unwrap();
        folder.sync().unwrap();
        assert_eq!(folder.digest("a-20261123.csv").unwrap(), Some(sha256(b"one")));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path.join("a-20261123.csv")), 0o600);
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn a_sweep_takes_the_temporary_files_of_its_day_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        for name in ["a-20261123.csv", "b-20261124.csv"] {
            folder.write(name, b"x").unwrap();
        }
        folder.write("c-20261123.csv", b"x").unwrap();
        folder.place("c-20261123.csv").unwrap();
        folder.sweep("20261123").unwrap();
        assert_eq!(folder.temporary_digest("a-20261123.csv").unwrap(), None);
        assert!(folder.temporary_digest("b-20261124.csv").unwrap().is_some());
        assert!(folder.digest("c-20261123.csv").unwrap().is_some());
    }

    #[test]
    fn two_runs_keep_apart() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let second = private().open(dir.path().join(LOCK)).unwrap();
        assert!(second.try_lock().is_err());
        drop(folder);
        assert!(second.try_lock().is_ok());
    }
}
