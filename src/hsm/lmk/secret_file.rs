//! Files that only their owner may touch: read whole and never in part, written once and durably. Knows nothing of what
//! is in them.

use super::{LmkError, at};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use zeroize::Zeroizing;

/// Permission bits of group and others.
const SHARED: u32 = 0o077;
/// Octets of a passphrase at most.
const LONGEST_PASSPHRASE: usize = 1024;

/// A passphrase: the one line of its file, or of a pipe.
///
/// # Errors
/// As [`read_secret`], and [`LmkError::Form`] when it is empty or of several lines.
pub fn read_passphrase(path: &Path) -> Result<Zeroizing<String>, LmkError> {
    let text = read_secret(path, LONGEST_PASSPHRASE)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains('\n') {
        return Err(LmkError::form(path, None, "a passphrase is one line"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// The text of a file that only its owner may touch, or of a pipe.
///
/// # Errors
/// [`LmkError::Shared`], [`LmkError::Form`] when it is longer than `longest` octets or no text,
/// [`LmkError::Io`].
pub fn read_secret(path: &Path, longest: usize) -> Result<Zeroizing<String>, LmkError> {
    let file = File::open(path).map_err(at(path))?;
    let found = file.metadata().map_err(at(path))?;
    if found.is_dir() {
        return Err(LmkError::form(path, None, "not a regular file"));
    }
    if found.is_file() && found.permissions().mode() & SHARED != 0 {
        return Err(LmkError::Shared(path.to_owned()));
    }
    // Room for all of it, so that no part is left behind by growing.
    let mut octets = Zeroizing::new(Vec::with_capacity(longest + 2));
    let limit = u64::try_from(longest + 1).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut octets).map_err(at(path))?;
    if octets.len() > longest {
        return Err(LmkError::form(path, None, format!("longer than {longest} octets")));
    }
    match std::str::from_utf8(&octets) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(LmkError::form(path, None, "not text")),
    }
}

/// Writes a file of mode 0600 that was not there, and makes it and its name durable.
pub(super) fn write_new(path: &Path, octets: &[u8]) -> Result<(), LmkError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(at(path))?;
    file.write_all(octets).and_then(|()| file.sync_all()).map_err(at(path))?;
    sync_folder(path)
}

pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a file's name durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), LmkError> {
    let folder = folder(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}
